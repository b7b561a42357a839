"""Small trainings that the tests of this room look at."""

from itertools import pairwise

import numpy as np

from chainrule import nn, optim
from chainrule.health.trainings import Training


def blobs(n: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes in the plane, one on each side of a triangle."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    centres = np.array([[0.0, 1.5], [1.3, -0.75], [-1.3, -0.75]])
    return (centres[y] + 0.5 * rng.normal(size=(n, 2))).astype(np.float32), y


def chain(*widths: int, activation: str = "relu", seed: int = 0) -> nn.Sequential:
    """Linear modules with an activation between them, by He's rule."""
    rng = np.random.default_rng(seed)
    modules: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        modules += [
            nn.Linear(n_in, n_out, rng=rng).initialize("he_normal", rng),
            nn.activation_module(activation),
        ]
    return nn.Sequential(*modules[:-1])


def classes(module: nn.Module | None = None, **changes: object) -> Training:
    """A training that learns the three classes."""
    X, y = blobs()
    module = chain(2, 16, 3) if module is None else module
    made = Training(module, X, y, nn.CrossEntropyLoss(), optim.Adam(lr=1e-2), epochs=15)
    return made.altered(**changes)


def numbers(module: nn.Module | None = None, **changes: object) -> Training:
    """A training that learns a product."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(800, 2)).astype(np.float32)
    y = (X[:, :1] * X[:, 1:]).astype(np.float32)
    module = chain(2, 24, 24, 1, activation="tanh") if module is None else module
    return Training(module, X, y, nn.MSELoss(), optim.Adam(lr=1e-2), epochs=20).altered(**changes)
