"""Networks and data that the tests of ``chainrule.health`` share, and what must not change of a model."""

import itertools

import numpy as np

from chainrule import nn
from chainrule.functions import ACTIVATIONS

RECORDS = sorted(ACTIVATIONS)
DATA = np.random.default_rng(7)
X = DATA.standard_normal((12, 5))
CLASSES = DATA.integers(0, 3, 12)
TARGETS = DATA.standard_normal((12, 3))


def linear(width_in, width_out, seed, bias=True, dtype=np.float64):
    return nn.Linear(width_in, width_out, bias, dtype=dtype, rng=seed)


def mlp(record="tanh", widths=(5, 6, 4, 3), dtype=np.float64):
    """A chain of linear layers with one activation between them."""
    modules = []
    for seed, (width_in, width_out) in enumerate(itertools.pairwise(widths)):
        modules += [linear(width_in, width_out, seed, dtype=dtype), nn.activation_module(record)]
    return nn.Sequential(*modules[:-1])


def every_kind():
    """Normalisation, dropout and a residual block, with statistics that are not those of the start."""
    network = nn.Sequential(
        linear(5, 6, 0),
        nn.BatchNorm1d(6, dtype=np.float64),
        nn.Tanh(),
        nn.Dropout(0.5),
        nn.Residual(nn.Sequential(linear(6, 6, 1), nn.SiLU(), linear(6, 6, 2))),
        nn.LayerNorm(6, dtype=np.float64),
        nn.Sequential(linear(6, 4, 3), nn.GELU()),
        linear(4, 3, 4),
    )
    network(X)
    network(2 * X + 1)
    return network


def snapshot(module):
    """Everything of a model of either library that a measurement must leave as it is."""
    numbers = {
        name: (str(value.dtype), np.asarray(value).tobytes()) for name, value in module.state_dict().items()
    }
    parameters = [
        (
            name,
            id(one),
            one.requires_grad,
            None if one.grad is None else np.asarray(one.grad.tolist()).tobytes(),
        )
        for name, one in module.named_parameters()
    ]
    modes = [
        (id(one), one.training, list(one._forward_hooks), list(one._forward_pre_hooks))
        for one in module.modules()
    ]
    return numbers, parameters, modes, repr(module)


def differences(function, x, step=1e-6):
    """The Jacobian of a function of a vector, by central differences: (outputs, inputs)."""
    x = np.asarray(x, np.float64)
    columns = []
    for place in range(x.size):
        change = np.zeros(x.size)
        change[place] = step
        change = change.reshape(x.shape)
        columns.append((np.ravel(function(x + change)) - np.ravel(function(x - change))) / (2 * step))
    return np.stack(columns, axis=1)


def close(found, expected, tolerance=1e-7):
    """Equal up to a tolerance, relative to the largest entry where that is above 1."""
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)
