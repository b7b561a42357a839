"""What makes a layer again: its class and its arguments, for what writes networks and reads them."""

from chainrule.nn.activations import (
    ELU,
    GELU,
    SELU,
    Identity,
    LeakyReLU,
    Mish,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from chainrule.nn.dropout import Dropout
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module
from chainrule.nn.normalization import BatchNorm1d, LayerNorm

__all__ = ["ARGUMENTS"]

# Of every layer that holds no others, the arguments that are attributes of the same name. Beside them Linear
# and LayerNorm take ``bias``, and all layers with numbers of their own ``dtype``. A dropout's generator is no
# argument of the network.
ARGUMENTS: dict[type[Module], tuple[str, ...]] = {
    Identity: (),
    Sigmoid: (),
    Tanh: (),
    ReLU: (),
    SELU: (),
    SiLU: (),
    Mish: (),
    LeakyReLU: ("negative_slope",),
    ELU: ("alpha",),
    Softplus: ("beta", "threshold"),
    GELU: ("approximate",),
    Dropout: ("p",),
    Linear: ("in_features", "out_features"),
    BatchNorm1d: ("num_features", "eps", "momentum", "affine"),
    LayerNorm: ("normalized_shape", "eps", "elementwise_affine"),
}
