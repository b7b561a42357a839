"""Section 1: what one plane cannot part, two planes and a second layer can; and what descent finds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chainrule import nn
from chainrule.estimators import Perceptron, Separability, is_separable
from chainrule.optim import Adam
from chainrule.train import Job, fit_many

__all__ = [
    "CORNERS",
    "TRUTH",
    "Cycle",
    "Trained",
    "endless_training",
    "no_plane",
    "relu_network",
    "train_networks",
    "two_planes",
]

CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
TRUTH = np.array([0, 1, 1, 0])

_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(frozen=True)
class Cycle:
    """What a perceptron goes through again and again.

    Attributes
    ----------
    begins : int
        After how many epochs the weights are for the first time what they will be again.
    length : int
        After how many further epochs they are; 0 if they were not within the epochs there were.
    mistakes : int
        In one round.
    """

    begins: int
    length: int
    mistakes: int


@dataclass(frozen=True)
class Trained:
    """How many trainings ended with all four points right.

    Attributes
    ----------
    activation : str
    units : int
        In the one hidden layer.
    solved : ndarray of bool, shape (seeds,)
    """

    activation: str
    units: int
    solved: np.ndarray

    @property
    def share(self) -> float:
        """Of the seeds."""
        return float(self.solved.mean())


def no_plane() -> Separability:
    """Decide by linear programming whether a plane parts the four points.

    Returns
    -------
    Separability

    Examples
    --------
    >>> found = no_plane()
    >>> bool(found), found.exact
    (False, True)
    """
    return is_separable(CORNERS, TRUTH)


def endless_training(X: np.ndarray = CORNERS, y: np.ndarray = TRUTH, epochs: int = 1000) -> Cycle:
    """Train a perceptron, always in the order of the rows, until its weights are what they were before.

    What follows depends on the weights alone: if they come back after a mistake, training never ends.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    epochs : int
        The most there are.

    Returns
    -------
    Cycle

    Examples
    --------
    >>> endless_training().mistakes > 0
    True
    >>> endless_training(CORNERS, [0, 1, 1, 1])  # OR: the weights stay as they are, without a mistake
    Cycle(begins=3, length=1, mistakes=0)
    """
    perceptron = Perceptron(shuffle=False)
    seen = {(0.0,) * (X.shape[1] + 1): 0}
    mistakes = [0]
    for epoch in range(1, epochs + 1):
        perceptron.partial_fit(X, y, classes=[0, 1])
        mistakes.append(perceptron.n_updates_)
        state = (*perceptron.coef_[0].tolist(), float(perceptron.intercept_[0]))
        if state in seen:
            begins = seen[state]
            return Cycle(begins, epoch - begins, mistakes[epoch] - mistakes[begins])
        seen[state] = epoch
    return Cycle(epochs, 0, 0)


def two_planes(X: np.ndarray = CORNERS) -> tuple[np.ndarray, np.ndarray]:
    """Three perceptrons: x₁ + x₂ ≥ ½, x₁ + x₂ ≥ 3/2, and the first but not the second.

    Parameters
    ----------
    X : ndarray of shape (n, 2)

    Returns
    -------
    hidden : ndarray of shape (n, 2)
        The answers of the first layer, −1 or +1.
    answer : ndarray of shape (n,)
        That of the second, −1 or +1.

    Examples
    --------
    >>> two_planes()[1].tolist()
    [-1, 1, 1, -1]
    """
    first = _perceptron([[1.0, 1.0], [1.0, 1.0]], [-0.5, -1.5])
    second = _perceptron([[1.0, -1.0]], [-1.0])
    hidden = np.where(first(X) >= 0, 1, -1)  # sign(0) = +1
    return hidden, np.where(second(hidden.astype(float)) >= 0, 1, -1)[:, 0]


def relu_network() -> nn.Sequential:
    """Two ReLUs and a linear output that compute exclusive or exactly: relu(s) − 2 relu(s − 1), s = x₁ + x₂.

    Returns
    -------
    Sequential

    Examples
    --------
    >>> relu_network()(CORNERS)[:, 0].tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    return nn.Sequential(
        _perceptron([[1.0, 1.0], [1.0, 1.0]], [0.0, -1.0]), nn.ReLU(), _perceptron([[1.0, -2.0]], [0.0])
    )


def _perceptron(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    """The linear part z = Wx + b, with given numbers."""
    layer = nn.Linear(len(weight[0]), len(weight), dtype=np.float64)
    layer.weight, layer.bias = weight, bias
    return layer


def train_networks(activation: str, units: int, seeds: int, steps: int = 1500, rate: float = 0.03) -> Trained:
    """Train networks of one hidden layer on the four points by Adam, all points at each step.

    Parameters
    ----------
    activation : {"tanh", "relu"}
    units : int
    seeds : int
        How many networks, each from weights of its own.
    steps : int
    rate : float
        Adam's learning rate.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        If the activation is none of the two.

    Examples
    --------
    >>> train_networks("tanh", 2, seeds=2, steps=20).solved.shape
    (2,)
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation must be 'tanh' or 'relu', got {activation!r}")
    networks = []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        first, last = nn.Linear(2, units, rng=random), nn.Linear(units, 1, rng=random)
        networks.append(nn.Sequential(first, _ACTIVATIONS[activation](), last))
    # The four points over and over again: an epoch is many steps.
    epochs = 10
    rows = np.tile(np.arange(4), -(-steps // epochs))
    settings = {"loss": "binary_cross_entropy", "epochs": epochs, "batch_size": 4, "shuffle": False}
    fit_many(
        [Job(net, CORNERS, TRUTH, optimizer=Adam(lr=rate), rows=rows, **settings) for net in networks],
        progress=False,
    )
    answers = [net(CORNERS.astype(np.float32))[:, 0] > 0 for net in networks]
    return Trained(activation, units, np.array([bool((one == (TRUTH == 1)).all()) for one in answers]))
