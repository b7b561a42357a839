"""Section 6: the loss of a real network, around a training's path and between two trainings' ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule import nn
from chainrule.health import LossPlane, PathPlane, curvature, loss_plane, parameter_vector, path_plane
from chainrule.health.differentiable import Differentiable

__all__ = ["Between", "NetworkLandscape", "between_minima", "network_landscape", "rings", "small_network"]

LOSS = "binary_cross_entropy"


def rings(n: int = 80, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A disc of one class within a ring of the other.

    Parameters
    ----------
    n : int
    seed : int

    Returns
    -------
    X : ndarray of shape (n, 2)
    y : ndarray of shape (n, 1)
        1 in the ring.

    Examples
    --------
    >>> X, y = rings()
    >>> X.shape, float(y.mean())
    ((80, 2), 0.5)
    """
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    angle, radius = rng.uniform(0, 2 * np.pi, n), np.where(y, rng.uniform(1.2, 1.8, n), rng.uniform(0, 1, n))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), y[:, None].astype(float)


def small_network(seed: int, width: int = 8) -> nn.Sequential:
    """A network of one hidden layer of tanh units.

    Parameters
    ----------
    seed : int
    width : int

    Returns
    -------
    Sequential
    """
    first, second = np.random.SeedSequence(seed).spawn(2)
    return nn.Sequential(
        nn.Linear(2, width, rng=np.random.default_rng(first)),
        nn.Tanh(),
        nn.Linear(width, 1, rng=np.random.default_rng(second)),
    )


def _train(seed: int, n_steps: int, batch: int = 16, learning_rate: float = 0.5) -> np.ndarray:
    """The parameters after each step of mini-batch SGD, (n_steps + 1, P)."""
    X, y = rings()
    net = small_network(seed)
    model, rng = Differentiable(net, LOSS), np.random.default_rng(seed)
    path = [parameter_vector(net)]
    for _ in range(n_steps):
        rows = rng.permutation(len(X))[:batch]
        path.append(path[-1] - learning_rate * model.gradient(path[-1], X[rows], y[rows]))
    return np.stack(path)


@dataclass(frozen=True, eq=False)
class NetworkLandscape:
    """The loss of one network, in two planes.

    Attributes
    ----------
    path : PathPlane
        The plane closest to the path of its training.
    random : LossPlane
        The plane of two random filter-normalised directions around the path's end.
    start_lowest, end_lowest : float
        The least eigenvalue of the Hessian at the path's beginning and at its end.
    start_highest, end_highest : float
        The greatest.
    """

    path: PathPlane
    random: LossPlane
    start_lowest: float
    end_lowest: float
    start_highest: float
    end_highest: float


def network_landscape(seed: int = 0, n_steps: int = 400, n_points: int = 25) -> NetworkLandscape:
    """Train a small network by SGD, and compute the loss in the plane of its path and in a random plane.

    Parameters
    ----------
    seed : int
    n_steps : int
        Of SGD.
    n_points : int
        Of each plane, along each direction.

    Returns
    -------
    NetworkLandscape

    Examples
    --------
    >>> found = network_landscape(n_steps=20, n_points=3)
    >>> found.path.coordinates.shape, found.random.loss.shape
    ((21, 2), (3, 3))
    """
    X, y = rings()
    path = _train(seed, n_steps)
    net = small_network(seed)
    start = curvature(net, X, y, LOSS)
    plane = path_plane(net, list(path), X, y, LOSS, n_points=n_points)
    _set(net, path[-1])
    end = curvature(net, X, y, LOSS)
    around = loss_plane(net, X, y, LOSS, n_points=n_points, radius=1.0, seed=seed)
    return NetworkLandscape(
        plane, around, float(start.lowest[0]), float(end.lowest[0]), float(start.top[0]), float(end.top[0])
    )


def _set(net: nn.Sequential, flat: np.ndarray) -> None:
    """Give a network the parameters of a vector, in the order of ``parameter_vector``."""
    for slot in Differentiable(net).slots:
        number, name = slot.name.split(".")
        setattr(net[int(number)], name, slot.view(flat).copy())


@dataclass(frozen=True, eq=False)
class Between:
    """The loss on the straight lines between the ends of trainings.

    Attributes
    ----------
    share : ndarray of shape (n_points,)
        Of the way from one end to the other.
    losses : ndarray of shape (pairs, n_points)
    start_losses : ndarray of shape (pairs,)
        Before the training of the first of each pair.
    """

    share: np.ndarray
    losses: np.ndarray
    start_losses: np.ndarray

    @property
    def higher_end(self) -> np.ndarray:
        """The greater loss of each pair's two ends."""
        return np.maximum(self.losses[:, 0], self.losses[:, -1])

    @property
    def ridges(self) -> np.ndarray:
        """By how much the loss on each line rises above the higher of its ends."""
        return np.asarray(self.losses.max(axis=1) - self.higher_end)


def between_minima(pairs: Sequence[tuple[int, int]], n_steps: int = 400, n_points: int = 41) -> Between:
    """Train two networks from different starts, and walk straight from the end of one to that of the other.

    Parameters
    ----------
    pairs : sequence of two seeds
    n_steps : int
        Of SGD, for each.
    n_points : int
        On the line.

    Returns
    -------
    Between

    Examples
    --------
    >>> found = between_minima([(0, 0)], n_steps=2, n_points=3)           # a place and itself
    >>> bool(found.ridges[0] == 0)
    True
    """
    X, y = rings()
    model = Differentiable(small_network(0), LOSS)
    ends = {seed: _train(seed, n_steps)[[0, -1]] for seed in sorted({one for pair in pairs for one in pair})}
    share = np.linspace(0, 1, n_points)
    losses = np.array(
        [[model.loss((1 - t) * ends[a][1] + t * ends[b][1], X, y) for t in share] for a, b in pairs]
    )
    return Between(share, losses, np.array([model.loss(ends[a][0], X, y) for a, _ in pairs]))
