"""Networks as you describe them: PyTorch's layers, names, shapes and semantics.

Examples
--------
>>> import numpy as np
>>> from chainrule import nn
>>> nn.manual_seed(0)
>>> net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
>>> {name: array.shape for name, array in net.named_parameters()}
{'0.weight': (16, 4), '0.bias': (16,), '2.weight': (3, 16), '2.bias': (3,)}
>>> net(np.zeros((5, 4), dtype=np.float32)).shape
(5, 3)
"""

from chainrule.nn.activations import (
    ELU,
    GELU,
    SELU,
    ActivationModule,
    Identity,
    LeakyReLU,
    Mish,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    activation_module,
)
from chainrule.nn.builder import Builder
from chainrule.nn.dropout import Dropout
from chainrule.nn.linear import Linear
from chainrule.nn.losses import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HalfSquaredErrorLoss,
    HuberLoss,
    L1Loss,
    LossModule,
    MSELoss,
    PoissonNLLLoss,
    QuantileLoss,
)
from chainrule.nn.module import IncompatibleKeys, Module
from chainrule.nn.normalization import BatchNorm1d, LayerNorm
from chainrule.nn.random import as_generator, manual_seed, rand, randint, randn, randperm
from chainrule.nn.residual import Residual
from chainrule.nn.sequential import Sequential
from chainrule.nn.summary import Summary, SummaryRow, summary
from chainrule.nn.utils import clip_grad_norm_, clip_grad_value_
from chainrule.tape import Parameter

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "ActivationModule",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "Builder",
    "CrossEntropyLoss",
    "Dropout",
    "HalfSquaredErrorLoss",
    "HuberLoss",
    "Identity",
    "IncompatibleKeys",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LossModule",
    "MSELoss",
    "Mish",
    "Module",
    "Parameter",
    "PoissonNLLLoss",
    "QuantileLoss",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Summary",
    "SummaryRow",
    "Tanh",
    "activation_module",
    "as_generator",
    "clip_grad_norm_",
    "clip_grad_value_",
    "manual_seed",
    "rand",
    "randint",
    "randn",
    "randperm",
    "summary",
]
