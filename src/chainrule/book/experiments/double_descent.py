"""Section 8: test error against the number of parameters, below and beyond interpolation.

Two kinds of models of one task, ten handwritten digits from few examples. Random features: a hidden ReLU
layer that is drawn and left alone, and an output layer that is solved for, exactly. Trained networks: both
layers learn, by Adam. A share of the training labels may be drawn anew, at random; the test labels are clean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

import chainrule.nn as nn
import chainrule.optim as optim
from chainrule.functions import get_initializer
from chainrule.train import Job, fit_many, predict

__all__ = [
    "Peak", "RandomFeatures", "Task", "TrainedNetworks", "digits_task", "least_norm", "peak_of",
    "random_features", "readout_by_descent", "trained_networks",
]  # fmt: skip

CLASSES, PIXELS = 10, 64


@dataclass(frozen=True, eq=False)
class Task:
    """Few examples to learn from, many to be tested on.

    Attributes
    ----------
    X, y : ndarray
        To learn from; some of the labels may be wrong.
    X_test, y_test : ndarray
        Whose labels are right.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X / 16, y


def digits_task(n: int, noise: float, seed: int, n_test: int = 600) -> Task:
    """Draw n digits to learn from, a share of whose labels is drawn anew.

    Parameters
    ----------
    n : int
        Examples to learn from.
    noise : float
        Share of them whose label is drawn from all ten classes.
    seed : int
    n_test : int
        Further examples, to be tested on.

    Returns
    -------
    Task

    Raises
    ------
    ValueError
        If there are not so many digits, or `noise` is no share.

    Examples
    --------
    >>> task = digits_task(100, 0.2, seed=0)
    >>> task.X.shape, task.X_test.shape
    ((100, 64), (600, 64))
    """
    X, y = _digits()
    if not 0 < n <= len(X) - n_test:
        raise ValueError(f"n must be from 1 to {len(X) - n_test}, what the test leaves, got {n}")
    if not 0 <= noise <= 1:
        raise ValueError(f"noise must be a share from 0 to 1, got {noise}")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(X))
    train, test = rows[:n], rows[n : n + n_test]
    labels, drawn = y[train].copy(), rng.random(n) < noise
    labels[drawn] = rng.integers(0, CLASSES, drawn.sum())
    return Task(X[train], labels, X[test], y[test])


def _one_hot(y: np.ndarray) -> np.ndarray:
    return np.asarray(np.eye(CLASSES)[y])


def _squared_error(outputs: np.ndarray, y: np.ndarray) -> float:
    """‖ŷ − y‖², twice the chapter's loss, the mean over the examples."""
    return float(((outputs - _one_hot(y)) ** 2).sum(axis=1).mean())


def _wrong(outputs: np.ndarray, y: np.ndarray) -> float:
    """The share of the examples whose largest output is another class's."""
    return float((outputs.argmax(axis=1) != y).mean())


# ------------------------------------------------------------------------------------------ random features


def least_norm(H: np.ndarray, Y: np.ndarray, ridges: Sequence[float] = (0.0,)) -> list[np.ndarray]:
    """The V that minimizes ‖H V − Y‖² + ridge ‖V‖², for each ridge; for 0 the one of least norm.

    With H = A diag(s) Bᵀ it is V = B diag(s / (s² + ridge)) Aᵀ Y, where 0/0 counts as 0.

    Parameters
    ----------
    H : ndarray of shape (n, width)
    Y : ndarray of shape (n, n_outputs)
    ridges : sequence of float

    Returns
    -------
    list of ndarray of shape (width, n_outputs)

    Examples
    --------
    >>> [V] = least_norm(np.array([[1.0, 1.0]]), np.array([[1.0]]))      # of all v₁ + v₂ = 1
    >>> V.ravel().round(6)
    array([0.5, 0.5])
    """
    A, s, B_transposed = np.linalg.svd(H, full_matrices=False)
    present = s > s[0] * max(H.shape) * np.finfo(H.dtype).eps
    found = []
    for ridge in ridges:
        factor = np.where(present, s / np.where(present, s**2 + ridge, 1.0), 0.0)
        found.append(np.asarray(B_transposed.T @ (factor[:, None] * (A.T @ Y))))
    return found


def _drawn_weights(width: int, seed: int) -> np.ndarray:
    """W of the hidden layer by equation (9), which nothing changes."""
    return get_initializer("he_normal").draw((width, PIXELS), np.random.default_rng(seed))


def _features(X: np.ndarray, W: np.ndarray) -> np.ndarray:
    """One hidden ReLU layer, over the root of its width, so that a ridge means the same at each width."""
    return np.asarray(np.maximum(X @ W.T, 0) / np.sqrt(len(W)))


@dataclass(frozen=True, eq=False)
class RandomFeatures:
    """Errors of random features with a solved output layer.

    Attributes
    ----------
    n : int
        Examples to learn from.
    widths : tuple of int
        Features; the trained parameters are so many for each output.
    noises, ridges : tuple of float
    squared, wrong : ndarray of shape (noises, ridges, seeds, widths)
        On the test examples: the squared error, and the share of wrong classes.
    train_squared : ndarray of the same shape
    """

    n: int
    widths: tuple[int, ...]
    noises: tuple[float, ...]
    ridges: tuple[float, ...]
    squared: np.ndarray
    wrong: np.ndarray
    train_squared: np.ndarray


def random_features(
    n: int,
    widths: Sequence[int],
    *,
    noises: Sequence[float] = (0.0, 0.2),
    ridges: Sequence[float] = (0.0,),
    seeds: Sequence[int] = range(5),
) -> RandomFeatures:
    """Test error of random ReLU features with least squares, against how many there are.

    Parameters
    ----------
    n : int
        Examples to learn from.
    widths : sequence of int
        How many features.
    noises : sequence of float
        Shares of the labels that are drawn anew.
    ridges : sequence of float
        0 is the least norm.
    seeds : sequence of int
        Each draws the examples and the features.

    Returns
    -------
    RandomFeatures

    Examples
    --------
    >>> found = random_features(40, (10, 40, 400), noises=(0.2,), seeds=range(3))
    >>> below, at, beyond = np.median(found.squared[0, 0], axis=0)
    >>> bool(at > 10 * below and at > 10 * beyond)
    True
    """
    shape = (len(noises), len(ridges), len(seeds), len(widths))
    squared, wrong, train = np.empty(shape), np.empty(shape), np.empty(shape)
    for s, seed in enumerate(seeds):
        W = _drawn_weights(max(widths), seed)
        tasks = [digits_task(n, noise, seed) for noise in noises]
        Y = np.concatenate([_one_hot(task.y) for task in tasks], axis=1)
        for w, width in enumerate(widths):
            H, H_test = (_features(X, W[:width]) for X in (tasks[0].X, tasks[0].X_test))
            for r, V in enumerate(least_norm(H, Y, ridges)):
                outputs, fitted = np.hsplit(H_test @ V, len(noises)), np.hsplit(H @ V, len(noises))
                for k, task in enumerate(tasks):
                    squared[k, r, s, w] = _squared_error(outputs[k], task.y_test)
                    wrong[k, r, s, w] = _wrong(outputs[k], task.y_test)
                    train[k, r, s, w] = _squared_error(fitted[k], task.y)
    return RandomFeatures(n, tuple(widths), tuple(noises), tuple(ridges), squared, wrong, train)


def readout_by_descent(n: int = 20, width: int = 200, steps: int = 2000, seed: int = 0) -> float:
    """How far gradient descent from zero ends from the solution of least norm, as a share of the latter.

    Its steps are sums of rows of H, equation (6), so V never leaves their span; of all solutions the one in
    it has the least norm.

    Parameters
    ----------
    n, width, steps, seed : int

    Returns
    -------
    float
    """
    task = digits_task(n, 0.2, seed)
    H, Y = _features(task.X, _drawn_weights(width, seed)), _one_hot(task.y)
    singular = np.linalg.svd(H, compute_uv=False)
    rate = 1 / singular[0] ** 2
    # Nesterov's momentum, for the smallest singular value that gradient descent has to wait for.
    momentum = (singular[0] - singular[-1]) / (singular[0] + singular[-1])
    V = before = np.zeros((width, CLASSES))
    for _ in range(steps):
        ahead = V + momentum * (V - before)
        V, before = ahead - rate * H.T @ (H @ ahead - Y), V
    [least] = least_norm(H, Y)
    return float(np.linalg.norm(V - least) / np.linalg.norm(least))


# ----------------------------------------------------------------------------------------- trained networks


@dataclass(frozen=True, eq=False)
class TrainedNetworks:
    """Errors of networks with one hidden layer, both of whose layers were trained.

    Attributes
    ----------
    n : int
        Examples to learn from.
    loss : str
        The loss that was minimized, a name of the library's.
    noise : float
    widths : tuple of int
    parameters : tuple of int
        Weights and biases of the network of each width.
    squared, wrong, train_squared, train_wrong : ndarray of shape (seeds, widths)
        The squared error and the share of wrong classes, on the test and on the training examples.
    """

    n: int
    loss: str
    noise: float
    widths: tuple[int, ...]
    parameters: tuple[int, ...]
    squared: np.ndarray
    wrong: np.ndarray
    train_squared: np.ndarray
    train_wrong: np.ndarray


def trained_networks(
    n: int,
    widths: Sequence[int],
    *,
    loss: str = "half_squared_error",
    noise: float = 0.2,
    steps: int = 4000,
    seeds: Sequence[int] = range(5),
) -> TrainedNetworks:
    """Test error of trained networks against their width.

    Parameters
    ----------
    n : int
        Examples to learn from.
    widths : sequence of int
        ReLU units of the hidden layer.
    loss : {"half_squared_error", "softmax_cross_entropy"}
    noise : float
        Share of the labels that is drawn anew.
    steps : int
        Of Adam, on batches of n rows, with a rate that falls from 0.01 to 0 as a cosine does.
    seeds : sequence of int
        Each draws the examples and the first weights.

    Returns
    -------
    TrainedNetworks

    Examples
    --------
    >>> found = trained_networks(30, (2, 60), steps=800, seeds=(0,))
    >>> found.parameters, bool(found.train_wrong[0, 1] == 0)
    ((160, 4510), True)
    """
    tasks = {seed: digits_task(n, noise, seed) for seed in seeds}
    jobs = [_job(tasks[seed], width, loss, steps, seed) for seed in seeds for width in widths]
    fit_many(jobs, n_jobs=1, progress=False)
    measured = []
    for job, task in zip(jobs, (tasks[seed] for seed in seeds for _ in widths), strict=True):
        test, train = (predict(job.module, X, n_jobs=1) for X in (task.X_test, task.X))
        measured.append(
            (
                _squared_error(test, task.y_test),
                _wrong(test, task.y_test),
                _squared_error(train, task.y),
                _wrong(train, task.y),
            )
        )
    errors = np.array(measured).T.reshape(4, len(seeds), len(widths))
    parameters = tuple((PIXELS + 1) * width + (width + 1) * CLASSES for width in widths)
    return TrainedNetworks(n, loss, noise, tuple(widths), parameters, *errors)


# The rows are given many times over: an epoch is then as many steps.
_STEPS_AN_EPOCH = 40


def _job(task: Task, width: int, loss: str, steps: int, seed: int) -> Job:
    n = len(task.X)
    net = nn.Sequential(nn.Linear(PIXELS, width), nn.ReLU(), nn.Linear(width, CLASSES))
    net[0].initialize("he_normal", rng=seed)
    net[2].initialize("xavier_normal", rng=seed + 1000)
    return Job(
        net,
        task.X.astype(np.float32),
        _one_hot(task.y) if loss == "half_squared_error" else task.y,
        loss=loss,
        optimizer=optim.Adam(lr=0.01),
        schedule="cosine",
        epochs=max(1, steps // _STEPS_AN_EPOCH),
        batch_size=n,
        rows=np.tile(np.arange(n), _STEPS_AN_EPOCH),
        seed=seed,
    )


# --------------------------------------------------------------------------------------------------- peaks


@dataclass(frozen=True)
class Peak:
    """Where a curve rises and falls again.

    Attributes
    ----------
    at : float
        Where on the x-axis.
    height : float
        How many times the least value before it and the least after it, the smaller of the two: 1 is no peak.
    """

    at: float
    height: float


def peak_of(x: Sequence[float], values: np.ndarray) -> Peak:
    """The highest peak of a curve with an ascent before it and a descent after it.

    Parameters
    ----------
    x : sequence of float
    values : ndarray of the same length
        Positive.

    Returns
    -------
    Peak

    Raises
    ------
    ValueError
        If a value is not positive.

    Examples
    --------
    >>> peak_of([1, 2, 3, 4], np.array([2.0, 1.0, 3.0, 0.5]))
    Peak(at=3.0, height=3.0)
    >>> peak_of([1, 2, 3], np.array([3.0, 2.0, 1.0])).height            # it only falls
    1.0
    """
    before = np.minimum.accumulate(values)
    after = np.minimum.accumulate(values[::-1])[::-1]
    if not (values > 0).all():
        raise ValueError("values must be positive, a peak's height is a ratio of them")
    heights = values / np.maximum(before, after)
    best = int(np.argmax(heights))
    return Peak(float(x[best]), float(heights[best]))
