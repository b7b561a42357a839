"""Section 6: a surface with two basins, a saddle and a ridge, and a path of SGD over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.tape import Tensor, finite_differences, grad, hessian

__all__ = [
    "CriticalPoint",
    "Descent",
    "critical_points",
    "descend",
    "ends_by_batch",
    "gradient",
    "gradient_error",
    "height",
]

# Where the descents begin: on the slope behind the shallow basin.
START = (1.9, 1.7)
# How many examples the loss is the mean of, and how far their gradients lie from its.
EXAMPLES, SCATTER = 64, 7.0


def height(places: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """The surface: a double well in x, tilted, a bowl in y, and a hill on the ridge between the wells.

    Parameters
    ----------
    places : Tensor or ndarray of shape (..., 2)

    Returns
    -------
    Tensor or ndarray of shape (...)

    Examples
    --------
    >>> height(np.array([[1.0, 0.0], [-1.0, 0.0]])).round(2)              # the left well is deeper
    array([ 0.34, -0.26])
    """
    x, y = places[..., 0], places[..., 1]
    well, tilt, bowl = (x**2 - 1) ** 2, 0.3 * x, 0.4 * y**2
    hill = 1.4 * np.exp(-2 * x**2 - 2 * (y - 0.9) ** 2)
    return well + tilt + bowl + hill


def gradient(places: np.ndarray) -> np.ndarray:
    """∇f at each of many places, by the tape.

    Parameters
    ----------
    places : ndarray of shape (n, 2)

    Returns
    -------
    ndarray of shape (n, 2)

    Examples
    --------
    >>> gradient(np.array([[0.0, 0.9]])).round(2)                         # the tilt, and the bowl's slope
    array([[0.3 , 0.72]])
    """
    leaf = Tensor(np.array(places, np.float64), requires_grad=True)
    # A place's height depends on that place alone: the gradient of the sum holds every place's own.
    (found,) = grad(height(leaf).sum(), leaf)
    return np.asarray(found.numpy()) if found is not None else np.zeros_like(places)


def gradient_error(n: int = 100, seed: int = 0) -> float:
    """The largest difference of the tape's ∇f from central differences, over random places.

    Parameters
    ----------
    n : int
    seed : int

    Returns
    -------
    float
    """
    places = np.random.default_rng(seed).uniform(-2, 2, (n, 2))
    differences = finite_differences(lambda at: height(at).sum(), [places])[0]
    return float(np.abs(gradient(places) - differences).max())


@dataclass(frozen=True, eq=False)
class CriticalPoint:
    """A place where the gradient is zero.

    Attributes
    ----------
    place : ndarray of shape (2,)
    height : float
    eigenvalues : ndarray of shape (2,)
        Of the Hessian, ascending.
    gradient_norm : float
    """

    place: np.ndarray
    height: float
    eigenvalues: np.ndarray
    gradient_norm: float

    @property
    def kind(self) -> str:
        """What the signs of the eigenvalues make it."""
        below = int((self.eigenvalues < 0).sum())
        return ("minimum", "saddle", "maximum")[below]


def critical_points(n_starts: int = 12, n_steps: int = 30) -> tuple[CriticalPoint, ...]:
    """All critical points that Newton's method reaches from a grid of starts, the lowest first.

    Parameters
    ----------
    n_starts : int
        Along each axis.
    n_steps : int
        Of Newton's method, which goes to any zero of the gradient, be it a minimum or not.

    Returns
    -------
    tuple of CriticalPoint

    Examples
    --------
    >>> [point.kind for point in critical_points(n_starts=8)]
    ['minimum', 'minimum', 'saddle', 'saddle', 'maximum']
    """
    along = np.linspace(-2, 2, n_starts)
    found: list[CriticalPoint] = []
    for start in np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2):
        point = _newton(start, n_steps)
        known = any(np.linalg.norm(point.place - other.place) < 1e-6 for other in found)
        if point.gradient_norm < 1e-9 and not known:
            found.append(point)
    return tuple(sorted(found, key=lambda one: one.height))


def _newton(place: np.ndarray, n_steps: int) -> CriticalPoint:
    for _ in range(n_steps):
        slope = gradient(place[None])[0]
        if np.linalg.norm(slope) < 1e-12:
            break
        step = np.linalg.lstsq(_hessian(place), slope, rcond=None)[0]
        # No step leaves the map: where the Hessian is nearly singular Newton's would.
        place = place - step * min(1.0, 0.5 / np.linalg.norm(step))
    norm = float(np.linalg.norm(gradient(place[None])[0]))
    return CriticalPoint(place, float(height(place)), np.linalg.eigvalsh(_hessian(place)), norm)


def _hessian(place: np.ndarray) -> np.ndarray:
    return np.asarray(hessian(height, place).numpy())


@dataclass(frozen=True, eq=False)
class Descent:
    """SGD on the surface, from many seeds at once.

    Attributes
    ----------
    batch : int
    paths : ndarray of shape (n_steps + 1, seeds, 2)
    """

    batch: int
    paths: np.ndarray

    @property
    def in_the_deep_basin(self) -> float:
        """The share of the seeds that end to the left of the ridge."""
        return float((self.paths[-1, :, 0] < 0).mean())


def descend(
    batch: int,
    seeds: Sequence[int],
    n_steps: int = 600,
    learning_rate: float = 0.05,
    start: tuple[float, float] = START,
) -> Descent:
    """Mini-batch SGD on the surface as the mean loss of examples.

    Example i has the loss f(θ) + ξᵢᵀθ, and the ξᵢ sum to zero: the mean loss is the surface, a batch's
    gradient is ∇f plus the mean of the ξᵢ that were drawn. The learning rate falls to zero along half a
    cosine, so that a path comes to rest.

    Parameters
    ----------
    batch : int
        How many of the examples, drawn without replacement; all of them are gradient descent.
    seeds : sequence of int
        Each draws its batches anew; the examples stay.
    n_steps : int
    learning_rate : float
    start : tuple of float

    Returns
    -------
    Descent

    Raises
    ------
    ValueError
        If the batch is empty or larger than the examples are many.

    Examples
    --------
    >>> descend(EXAMPLES, seeds=[0]).in_the_deep_basin                    # no noise: the nearest basin
    0.0
    """
    if not 1 <= batch <= EXAMPLES:
        raise ValueError(f"batch must be from 1 to {EXAMPLES}, got {batch}")
    offsets = SCATTER * np.random.default_rng(0).standard_normal((EXAMPLES, 2))
    offsets -= offsets.mean(axis=0)
    draws = [np.random.default_rng(seed) for seed in seeds]
    paths = np.empty((n_steps + 1, len(draws), 2))
    paths[0] = start
    for step in range(n_steps):
        rate = learning_rate * 0.5 * (1 + np.cos(np.pi * step / n_steps))
        noise = np.stack([offsets[rng.permutation(EXAMPLES)[:batch]].mean(axis=0) for rng in draws])
        moved = paths[step] - rate * (gradient(paths[step]) + noise)
        # The walls of the well are steep: a step from high up on them would leap over everything.
        paths[step + 1] = np.clip(moved, -2.2, 2.2)
    return Descent(batch, paths)


def ends_by_batch(batches: Sequence[int], seeds: Sequence[int]) -> tuple[Descent, ...]:
    """The same descents with batches of several sizes.

    Parameters
    ----------
    batches, seeds : sequences of int

    Returns
    -------
    tuple of Descent
    """
    return tuple(descend(batch, seeds) for batch in batches)
