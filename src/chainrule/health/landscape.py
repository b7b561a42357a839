"""Slices through the loss landscape (section 6): along random directions, and through a training's path.

A network computes the same with one layer's weights doubled and the next one's halved, so that a step of a
given length means little by itself: directions are scaled filter by filter to the weights (Li et al. 2018).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.health.arguments import check_number, check_size, generator
from chainrule.health.differentiable import Differentiable
from chainrule.health.threads import on_one_thread

__all__ = [
    "LossPlane",
    "LossSlice",
    "PathPlane",
    "filter_normalized_direction",
    "loss_plane",
    "loss_slice",
    "path_plane",
]


@dataclass(frozen=True)
class LossSlice:
    """The loss along one direction: ℒ(θ + α d).

    Attributes
    ----------
    alpha, loss : ndarray of shape (n_points,)
        A loss that is not finite is inf or nan.
    direction : ndarray of shape (P,)
    """

    alpha: np.ndarray
    loss: np.ndarray
    direction: np.ndarray


@dataclass(frozen=True)
class LossPlane:
    """The loss on a plane: ℒ(θ + α d₁ + β d₂).

    Attributes
    ----------
    alpha, beta : ndarray of shape (n_points,)
    loss : ndarray of shape (n_points, n_points)
        Rows by β, columns by α, as contour plots take it.
    directions : ndarray of shape (2, P)
    """

    alpha: np.ndarray
    beta: np.ndarray
    loss: np.ndarray
    directions: np.ndarray


@dataclass(frozen=True)
class PathPlane:
    """The plane that a training's path lies closest to, with the loss on it: ℒ(θ_T + α d₁ + β d₂).

    Attributes
    ----------
    alpha, beta, loss : ndarray
        As of `LossPlane`; the grid covers the path.
    directions : ndarray of shape (2, P)
        The path's first two principal components, orthonormal.
    coordinates : ndarray of shape (T, 2)
        (α, β) of every place on the path; the last is (0, 0).
    path_loss : ndarray of shape (T,)
        The loss on the path itself, which off the plane is not the plane's.
    explained_variance : ndarray of shape (2,)
        The share of the path's variance along each direction.
    """

    alpha: np.ndarray
    beta: np.ndarray
    loss: np.ndarray
    directions: np.ndarray
    coordinates: np.ndarray
    path_loss: np.ndarray
    explained_variance: np.ndarray


def filter_normalized_direction(module: Any, seed: int = 0) -> np.ndarray:
    """Draw a random direction, each filter of it as long as the model's (Li et al. 2018, §4).

    A filter is what makes one unit: a row of a weight matrix. Biases and the parameters of normalisation
    are left where they are: their entries are 0.

    Parameters
    ----------
    module : chainrule.nn.Module or torch.nn.Module
    seed : int, default=0

    Returns
    -------
    ndarray of shape (P,)
        In the order of `parameter_vector`.

    Raises
    ------
    TypeError
        If ``module`` is of neither library.
    ValueError
        If it has no weight matrix to train.

    Examples
    --------
    >>> from chainrule import nn
    >>> layer = nn.Linear(2, 2)
    >>> layer.weight = [[3.0, 4.0], [0.0, 0.0]]
    >>> direction = filter_normalized_direction(layer)
    >>> np.linalg.norm(direction[:2]).round(12), direction[2:]
    (np.float64(5.0), array([0., 0., 0., 0.]))
    """
    return _direction(Differentiable(module), generator(seed))


def _direction(model: Differentiable, rng: np.random.Generator) -> np.ndarray:
    weights = [slot for slot in model.slots if len(slot.shape) > 1]
    if not weights:
        raise ValueError("module has no weight matrix that requires a gradient")
    parameters = model.parameters
    direction = np.zeros(model.n_parameters)
    for slot in weights:
        filters = slot.view(parameters).reshape(slot.shape[0], -1)
        drawn = rng.standard_normal(filters.shape)
        lengths = np.linalg.norm(filters, axis=1, keepdims=True)
        drawn *= lengths / np.linalg.norm(drawn, axis=1, keepdims=True)
        slot.view(direction)[...] = drawn.reshape(slot.shape)
    return direction


@on_one_thread
def loss_slice(
    module: Any,
    X: Any,
    y: Any,
    loss: Any,
    *,
    n_points: int = 51,
    radius: float = 1.0,
    seed: int = 0,
) -> LossSlice:
    """The loss along a random filter-normalised direction (Li et al. 2018).

    The model is not changed; it is measured in evaluation mode, in double precision, with X as one batch.

    Parameters
    ----------
    module : chainrule.nn.Module or torch.nn.Module
    X : array-like of shape (n, ...)
    y : array-like of shape (n,) or (n, outputs)
    loss : loss module, str or callable
        As in `Differentiable`.
    n_points : int, default=51
        Evenly spaced over [−radius, radius]; an odd number has the model itself in the middle.
    radius : float, default=1.0
        At 1 every filter has moved by its own length.
    seed : int, default=0

    Returns
    -------
    LossSlice

    Raises
    ------
    TypeError
        If ``module`` or ``loss`` is of neither library, or X or y is not numeric.
    ValueError
        If the model has no weight matrix to train.

    References
    ----------
    Li, Xu, Taylor, Studer & Goldstein 2018 (arXiv:1712.09913).

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import nn
    >>> layer = nn.Linear(1, 1, bias=False)
    >>> layer.weight = [[2.0]]
    >>> found = loss_slice(layer, [[1.0]], [[2.0]], nn.HalfSquaredErrorLoss(), n_points=3)
    >>> found.alpha, found.loss                                           # ½ (2 ± 2 − 2)²
    (array([-1.,  0.,  1.]), array([2., 0., 2.]))
    """
    model = Differentiable(module, loss)
    alpha = _span(n_points, radius)
    direction = _direction(model, generator(seed))
    origin = model.parameters
    losses = np.array([model.loss(origin + a * direction, X, y) for a in alpha])
    return LossSlice(alpha, losses, direction)


@on_one_thread
def loss_plane(
    module: Any,
    X: Any,
    y: Any,
    loss: Any,
    *,
    n_points: int = 25,
    radius: float = 1.0,
    seed: int = 0,
) -> LossPlane:
    """The loss on the plane of two random filter-normalised directions (Li et al. 2018).

    Parameters
    ----------
    module, X, y, loss, radius, seed
        As in `loss_slice`.
    n_points : int, default=25
        Along each direction: the loss is computed at the square of it.

    Returns
    -------
    LossPlane

    Raises
    ------
    TypeError, ValueError
        As `loss_slice`.

    Examples
    --------
    >>> from chainrule import nn
    >>> net = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 1, rng=1))
    >>> X = np.eye(3)
    >>> found = loss_plane(net, X, net(X), nn.MSELoss(), n_points=5)
    >>> found.loss.shape, found.loss.min() == found.loss[2, 2]            # the model fits these targets
    ((5, 5), np.True_)
    """
    model = Differentiable(module, loss)
    alpha = _span(n_points, radius)
    rng = generator(seed)
    directions = np.stack([_direction(model, rng), _direction(model, rng)])
    return LossPlane(
        alpha, alpha, _on_grid(model, model.parameters, directions, (alpha, alpha), (X, y)), directions
    )


@on_one_thread
def path_plane(
    module: Any,
    path: Sequence[Any],
    X: Any,
    y: Any,
    loss: Any,
    *,
    n_points: int = 25,
    margin: float = 0.2,
) -> PathPlane:
    """The plane through the end of a training's path that the path lies closest to, and the loss on it.

    Its directions are the first two principal components of the path (Li et al. 2018, §7). What the model
    holds beside its parameters, such as running statistics, is as in ``module`` everywhere.

    Parameters
    ----------
    module : chainrule.nn.Module or torch.nn.Module
        Any model of the architecture; its parameters do not matter.
    path : sequence of array-like of shape (P,)
        Parameter vectors in the order of the training, at least three: what `parameter_vector` gives.
    X, y, loss
        As in `loss_slice`.
    n_points : int, default=25
        Along each direction.
    margin : float, default=0.2
        How far the grid reaches beyond the path, relative to the path's extent.

    Returns
    -------
    PathPlane

    Raises
    ------
    TypeError
        As `loss_slice`.
    ValueError
        If the path is not of finite vectors of the model's size, or lies on one line.

    Examples
    --------
    >>> from chainrule import nn
    >>> path = [[4.0, 2.0], [2.0, 2.0], [0.0, 0.0]]
    >>> found = path_plane(nn.Linear(2, 1, bias=False), path, np.eye(2), np.zeros(2), nn.MSELoss())
    >>> found.path_loss, found.coordinates.shape, found.explained_variance.sum().round(12)
    (array([10.,  4.,  0.]), (3, 2), np.float64(1.0))
    """
    model = Differentiable(module, loss)
    n_points = check_size("n_points", n_points, low=2)
    places = _places(path, model.n_parameters)
    directions, explained = _principal_components(places)
    coordinates = (places - places[-1]) @ directions.T
    # One extent for both axes, or a plane's circles would not be drawn round.
    extent = np.ptp(coordinates, axis=0).max() * check_number("margin", margin)
    alpha, beta = (
        np.linspace(along.min() - extent, along.max() + extent, n_points) for along in coordinates.T
    )
    return PathPlane(
        alpha,
        beta,
        _on_grid(model, places[-1], directions, (alpha, beta), (X, y)),
        directions,
        coordinates,
        np.array([model.loss(place, X, y) for place in places]),
        explained,
    )


def _places(path: Sequence[Any], n_parameters: int) -> np.ndarray:
    """The path as (T, P)."""
    vectors = [np.asarray(place, np.float64) for place in path]
    if len(vectors) < 3:
        raise ValueError(f"path must have at least three parameter vectors; got {len(vectors)}")
    for number, vector in enumerate(vectors):
        if vector.shape != (n_parameters,) or not np.isfinite(vector).all():
            raise ValueError(
                f"path must be of finite vectors of shape ({n_parameters},); number {number} "
                + (f"has shape {vector.shape}" if vector.shape != (n_parameters,) else "is not finite")
            )
    return np.stack(vectors)


def _principal_components(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two directions, (2, P), and each one's share of the variance."""
    _, scales, components = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)
    if scales.size < 2 or scales[1] <= 1e-10 * scales[0]:
        raise ValueError("path must span a plane; all its places lie on one line")
    # A singular vector's sign is arbitrary; the path is to begin on the positive side.
    directions = components[:2]
    start = directions @ (places[0] - places[-1])
    directions = directions * np.where(start < 0, -1.0, 1.0)[:, None]
    return directions, scales[:2] ** 2 / np.sum(scales**2)


def _span(n_points: int, radius: float) -> np.ndarray:
    n_points, radius = check_size("n_points", n_points, low=2), check_number("radius", radius)
    return np.linspace(-radius, radius, n_points)


def _on_grid(
    model: Differentiable,
    origin: np.ndarray,
    directions: np.ndarray,
    spans: tuple[np.ndarray, np.ndarray],
    data: tuple[Any, Any],
) -> np.ndarray:
    """ℒ(origin + α d₁ + β d₂) on a grid, rows by β."""
    alphas, betas = spans
    return np.array(
        [[model.loss(origin + a * directions[0] + b * directions[1], *data) for a in alphas] for b in betas]
    )
