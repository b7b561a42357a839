"""Small networks of every kind, data that their losses take, and the mean loss without an executor."""

from collections.abc import Callable
from typing import Any

import numpy as np
from tests.strategies import targets_for

from chainrule import nn
from chainrule.functions import LOSSES
from chainrule.plan import LossTerm


def linear(d_in, d_out, seed, bias=True):
    return nn.Linear(d_in, d_out, bias, dtype=np.float64, rng=seed)


def _residual(body):
    return nn.Residual(nn.Sequential(*body))


# Each with what is particular in its middle, 3 inputs and 2 outputs.
NETWORKS: dict[str, Callable[[], list[nn.Module]]] = {
    "one linear": lambda: [linear(3, 2, 0)],
    "no bias": lambda: [linear(3, 4, 0, bias=False), nn.Tanh(), linear(4, 2, 1, bias=False)],
    "deep": lambda: [linear(3, 4, 0), nn.Tanh(), linear(4, 3, 1), nn.Sigmoid(), linear(3, 2, 2)],
    "output activation": lambda: [linear(3, 4, 0), nn.Tanh(), linear(4, 2, 1), nn.Softplus()],
    "activation first": lambda: [nn.Tanh(), linear(3, 2, 0)],
    "two activations": lambda: [linear(3, 4, 0), nn.Tanh(), nn.GELU(), linear(4, 2, 1)],
    "identity": lambda: [linear(3, 4, 0), nn.Identity(), linear(4, 2, 1), nn.Identity()],
    "batch norm": lambda: [linear(3, 4, 0), nn.BatchNorm1d(4, dtype=np.float64), nn.SiLU(), linear(4, 2, 1)],
    "batch norm first": lambda: [nn.BatchNorm1d(3, dtype=np.float64), linear(3, 2, 0)],
    "batch norm, not affine": lambda: [
        linear(3, 4, 0), nn.BatchNorm1d(4, affine=False, dtype=np.float64), nn.Tanh(), linear(4, 2, 1),
    ],
    "layer norm": lambda: [linear(3, 4, 0), nn.LayerNorm(4, dtype=np.float64), nn.Tanh(), linear(4, 2, 1)],
    "layer norm, no bias": lambda: [
        linear(3, 4, 0), nn.LayerNorm(4, bias=False, dtype=np.float64), linear(4, 2, 1),
    ],
    "layer norm last": lambda: [linear(3, 2, 0), nn.LayerNorm(2, eps=0.5, dtype=np.float64)],
    "dropout": lambda: [linear(3, 4, 0), nn.Tanh(), nn.Dropout(0.3), linear(4, 2, 1)],
    "residual": lambda: [
        linear(3, 4, 0), nn.Tanh(), _residual([linear(4, 4, 1), nn.Mish()]), linear(4, 2, 2),
    ],
    "residual from the input": lambda: [_residual([linear(3, 3, 0), nn.Tanh()]), linear(3, 2, 1)],
    "residual, then an activation": lambda: [_residual([linear(3, 3, 0)]), nn.Tanh(), linear(3, 2, 1)],
    "residual around an activation": lambda: [linear(3, 3, 0), _residual([nn.Sigmoid()]), linear(3, 2, 1)],
    "residual around nothing": lambda: [linear(3, 3, 0), _residual([]), linear(3, 2, 1)],
    "projection": lambda: [nn.Residual(nn.Sequential(linear(3, 2, 0), nn.Tanh()), linear(3, 2, 1))],
    "residual of residuals": lambda: [
        linear(3, 4, 0),
        _residual([nn.LayerNorm(4, dtype=np.float64), _residual([linear(4, 4, 1), nn.ELU()])]),
        linear(4, 2, 2),
    ],
}  # fmt: skip


def network(name: str) -> nn.Sequential:
    return moved(nn.Sequential(*NETWORKS[name]()))


def moved(module: nn.Sequential) -> nn.Sequential:
    """With parameters and running statistics off their symmetric initial values."""
    rng = np.random.default_rng(7)
    state = module.state_dict()
    for key, array in state.items():
        if array.dtype.kind == "f":
            state[key] = array + rng.uniform(0.05, 0.4, array.shape)
    module.load_state_dict(state)
    return module


def data(record: str, n_rows: int, d_in: int, d_out: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(n_rows, d_in)), targets_for(LOSSES[record], n_rows, d_out, rng)


def mean_loss(module: nn.Module, x: np.ndarray, y: np.ndarray, term: LossTerm) -> float:
    """The mean of the record's values on what the module itself computes."""
    z = module(x)
    return float(term.scale * LOSSES[term.name].value(z, y, np.float64(term.setting)).mean())


def central_differences(
    module: nn.Module, loss: Callable[[], float], step: float = 1e-5
) -> dict[str, np.ndarray]:
    """∂loss/∂w for every parameter of a module, one number at a time."""
    gradients: dict[str, Any] = {}
    names = [name for name, _ in module.named_parameters()]
    for name in names:
        kept = module.state_dict()[name]
        gradients[name] = np.empty_like(kept)
        for index in np.ndindex(kept.shape):
            sides = []
            for sign in (1, -1):
                changed = kept.copy()
                changed[index] += sign * step
                module.load_state_dict({name: changed}, strict=False)
                sides.append(loss())
            gradients[name][index] = (sides[0] - sides[1]) / (2 * step)
        module.load_state_dict({name: kept}, strict=False)
    return gradients
