"""Section 6: where descent ends, from many random starts, in narrow and in wide networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule import nn
from chainrule.health import curvature
from chainrule.optim import Adam
from chainrule.train import Job, fit_many

__all__ = [
    "TEACHER_WIDTH",
    "Ends",
    "Problem",
    "Steepness",
    "ends_of_descent",
    "network",
    "spiral",
    "steepness",
    "teacher",
    "teacher_as_student",
    "unexplained",
]

TEACHER_WIDTH = 4

# Full-batch steps an epoch: the rows are repeated, so that the bookkeeping of an epoch is paid less often.
_STEPS_AN_EPOCH = 50


@dataclass(frozen=True, eq=False)
class Problem:
    """Examples to learn, and others to be judged by.

    Attributes
    ----------
    name : str
    X, y : ndarray of shape (n, d) and (n,)
    X_held_out, y_held_out : ndarray
        As many columns, of the same distribution.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    X_held_out: np.ndarray
    y_held_out: np.ndarray


def spiral(n: int = 200, n_held_out: int = 1000, seed: int = 0) -> Problem:
    """Two arms of a spiral with noise, the targets −1 and 1.

    Parameters
    ----------
    n, n_held_out : int
    seed : int

    Returns
    -------
    Problem
    """
    rng = np.random.default_rng(seed)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        radius, arm = np.sqrt(rng.uniform(0.02, 1.0, count)), rng.integers(0, 2, count)
        angle = np.pi * (3 * radius + arm)
        places = 2 * radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        return places + 0.1 * rng.standard_normal((count, 2)), 2.0 * arm - 1.0

    return Problem("spiral", *draw(n), *draw(n_held_out))


def _teacher_weights(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W, b and a of the teacher: steep units in random directions, with outputs of either sign."""
    rng = np.random.default_rng([seed, 1])
    W = rng.standard_normal((TEACHER_WIDTH, 2))
    W *= 3 / np.linalg.norm(W, axis=1, keepdims=True)
    return W, rng.uniform(-2, 2, TEACHER_WIDTH), np.resize([1.0, -1.0], TEACHER_WIDTH)


def teacher(n: int = 200, n_held_out: int = 1000, seed: int = 0) -> Problem:
    """What a network of four tanh units computes, without noise: the least loss of as many units is 0.

    Parameters
    ----------
    n, n_held_out : int
    seed : int

    Returns
    -------
    Problem
    """
    rng = np.random.default_rng([seed, 0])
    W, b, a = _teacher_weights(seed)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        X = rng.standard_normal((count, 2))
        return X, np.tanh(X @ W.T + b) @ a

    return Problem("teacher", *draw(n), *draw(n_held_out))


def teacher_as_student(width: int, seed: int = 0) -> nn.Sequential:
    """A network of some width that computes what the teacher does: its other units count for nothing.

    Parameters
    ----------
    width : int
        At least the teacher's.
    seed : int
        The teacher's.

    Returns
    -------
    Sequential

    Raises
    ------
    ValueError
        If the width is less than the teacher's.

    Examples
    --------
    >>> problem = teacher()
    >>> bool(unexplained(teacher_as_student(6), problem.X, problem.y) < 1e-20)
    True
    """
    if width < TEACHER_WIDTH:
        raise ValueError(f"width must be at least the teacher's, {TEACHER_WIDTH}, got {width}")
    W, b, a = _teacher_weights(seed)
    rest = width - TEACHER_WIDTH
    net = nn.Sequential(
        nn.Linear(2, width, dtype=np.float64), nn.Tanh(), nn.Linear(width, 1, dtype=np.float64)
    )
    net[0].weight, net[0].bias = np.pad(W, ((0, rest), (0, 0))), np.pad(b, (0, rest))
    net[2].weight, net[2].bias = np.pad(a, (0, rest))[None], np.zeros(1)
    return net


def network(width: int, seed: int) -> nn.Sequential:
    """A random start: one hidden layer of tanh units between two inputs and an output.

    Parameters
    ----------
    width, seed : int

    Returns
    -------
    Sequential
    """
    rng = np.random.default_rng([seed, width])
    return nn.Sequential(nn.Linear(2, width, rng=rng), nn.Tanh(), nn.Linear(width, 1, rng=rng))


def unexplained(net: nn.Sequential, X: np.ndarray, y: np.ndarray) -> float:
    """The mean squared error in units of the targets' variance: 1 − R².

    Parameters
    ----------
    net : Sequential
    X, y : ndarray

    Returns
    -------
    float
        1 for a network that always says the mean.
    """
    dtype = net[0].weight.detach().numpy().dtype
    predicted = np.asarray(net(X.astype(dtype)), dtype=np.float64).ravel()
    return float(np.mean((predicted - y) ** 2) / y.var())


@dataclass(frozen=True, eq=False)
class Ends:
    """Where the runs of one width ended; losses are in units of the targets' variance.

    Attributes
    ----------
    width : int
    training, held_out : ndarray of shape (n_runs,)
        The losses in the end.
    half_way : ndarray of shape (n_runs,)
        The training losses after a whole training of half as many steps, from the same start.
    nets : tuple of Sequential
        The trained networks.
    """

    width: int
    training: np.ndarray
    held_out: np.ndarray
    half_way: np.ndarray
    nets: tuple[nn.Sequential, ...]

    @property
    def spread(self) -> float:
        """The standard deviation of the training losses."""
        return float(np.std(self.training))

    def settled(self, tolerance: float) -> np.ndarray:
        """Which runs were no better for twice the steps, up to a tolerance."""
        return np.abs(self.half_way - self.training) <= tolerance

    def stuck(self, much: float) -> np.ndarray:
        """Which runs ended much above the best of this width, and had settled there."""
        return (self.training > self.training.min() + much) & self.settled(much / 5)


def ends_of_descent(
    problem: Problem, *, widths: Sequence[int], seeds: Sequence[int], steps: int
) -> list[Ends]:
    """Train networks from many starts by Adam on all examples at once, its rate annealed to 0.

    Parameters
    ----------
    problem : Problem
    widths, seeds : sequence of int
    steps : int
        At least 100. Every start is trained twice, with half of the steps and with all of them.

    Returns
    -------
    list of Ends
        One a width.

    Examples
    --------
    >>> found = ends_of_descent(teacher(n=30), widths=[2, 8], seeds=[0, 1], steps=200)
    >>> [one.width for one in found], found[0].training.shape
    ([2, 8], (2,))
    """
    if steps < 2 * _STEPS_AN_EPOCH:
        raise ValueError(f"steps must be at least {2 * _STEPS_AN_EPOCH}, got {steps}")
    kinds = [(width, length) for width in widths for length in (steps // 2, steps)]
    nets = [network(width, seed) for width, _ in kinds for seed in seeds]
    lengths = [length for _, length in kinds for _ in seeds]
    jobs = [_job(problem, net, length) for net, length in zip(nets, lengths, strict=True)]
    fit_many(jobs, progress=False)
    found = []
    for number, width in enumerate(widths):
        first = 2 * number * len(seeds)
        half, whole = (nets[begin : begin + len(seeds)] for begin in (first, first + len(seeds)))
        found.append(
            Ends(
                width,
                np.array([unexplained(net, problem.X, problem.y) for net in whole]),
                np.array([unexplained(net, problem.X_held_out, problem.y_held_out) for net in whole]),
                np.array([unexplained(net, problem.X, problem.y) for net in half]),
                tuple(whole),
            )
        )
    return found


def _job(problem: Problem, net: nn.Sequential, steps: int) -> Job:
    n = len(problem.X)
    return Job(
        net,
        problem.X,
        problem.y,
        loss=nn.HalfSquaredErrorLoss(),
        optimizer=Adam(lr=0.02),
        schedule="cosine",
        epochs=steps // _STEPS_AN_EPOCH,
        rows=np.tile(np.arange(n), _STEPS_AN_EPOCH),
        batch_size=n,
        shuffle=False,
        verbose=0,
    )


@dataclass(frozen=True, eq=False)
class Steepness:
    """The Hessian where some runs of one width ended.

    Attributes
    ----------
    width : int
    top, lowest : ndarray of shape (n_runs,)
        The largest and the smallest eigenvalue.
    gradient : ndarray of shape (n_runs,)
        ‖∇ℒ‖.
    """

    width: int
    top: np.ndarray
    lowest: np.ndarray
    gradient: np.ndarray


def steepness(problem: Problem, ends: Ends, at_most: int) -> Steepness:
    """Measure how sharply the loss rises about the best ends of one width.

    Parameters
    ----------
    problem : Problem
    ends : Ends
    at_most : int
        How many runs, those of the least training loss.

    Returns
    -------
    Steepness
    """
    best = np.argsort(ends.training)[:at_most]
    found = [
        curvature(ends.nets[run], problem.X, problem.y, nn.HalfSquaredErrorLoss(), n_vectors=2, n_steps=40)
        for run in best
    ]
    return Steepness(
        ends.width,
        np.array([one.top[0] for one in found]),
        np.array([one.lowest[0] for one in found]),
        np.sqrt([one.gradient_norm_squared for one in found]),
    )
