"""The functions a network is made of: activations, losses and initializers, one record each."""

from chainrule.functions.activations import ACTIVATIONS, Activation, get_activation
from chainrule.functions.initializers import INITIALIZERS, Initializer, get_initializer
from chainrule.functions.losses import LOSSES, Loss, get_loss

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "LOSSES",
    "Activation",
    "Initializer",
    "Loss",
    "get_activation",
    "get_initializer",
    "get_loss",
]
