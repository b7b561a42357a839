"""Section 1: Rosenblatt's rule, his theorem's bound, and the two quantities of its proof."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import hadamard

from chainrule.estimators import Perceptron, maximum_margin
from chainrule.estimators.perceptron_rule import Unit
from chainrule.optim import SGD
from chainrule.tape import tensor

__all__ = [
    "Bound",
    "Run",
    "bounds_of_many_sets",
    "hardest_set",
    "run_of_the_rule",
    "separable_set",
    "subgradient_descent",
    "updates",
]


@dataclass(frozen=True)
class Bound:
    """How many mistakes were made on a set, and how many there could have been.

    Attributes
    ----------
    dimension, rows : int
    mistakes : int
        The most of all orders of the rows that were tried.
    bound : float
        ‖w*‖² R² / γ² for the plane of maximum margin.
    converged : bool
        Whether training came to rest in every order.
    """

    dimension: int
    rows: int
    mistakes: int
    bound: float
    converged: bool


@dataclass(frozen=True)
class Run:
    """The weights of one training after each mistake, the bias as the last of them.

    Attributes
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
        −1 or +1.
    weights : ndarray of shape (k + 1, d + 1)
        Before the first of k mistakes, and after each.
    best : ndarray of shape (d + 1,)
        w*, of norm 1: the plane of maximum margin.
    margin, radius : float
        γ under that w*, and R.
    """

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    best: np.ndarray
    margin: float
    radius: float

    @property
    def along_best(self) -> np.ndarray:
        """wₖᵀw* of each k."""
        return np.asarray(self.weights @ self.best)

    @property
    def norms(self) -> np.ndarray:
        """‖wₖ‖ of each k."""
        return np.asarray(np.linalg.norm(self.weights, axis=1))

    @property
    def violation(self) -> float:
        """By how much an inequality of the proof was broken at the worst mistake, as a share of R; or 0."""
        k = np.arange(len(self.weights))
        too_short = k * self.margin - self.along_best
        too_long = self.norms - np.sqrt(k) * self.radius
        return float(max(0.0, too_short.max(), too_long.max()) / self.radius)


def separable_set(dimension: int, rows: int, gap: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normal points about a random plane, those nearer to it than `gap` left out.

    Parameters
    ----------
    dimension, rows : int
    gap : float
        Positive: the least distance from the plane.
    seed : int

    Returns
    -------
    X : ndarray of shape (rows, dimension)
    y : ndarray of shape (rows,)
        −1 or +1, both of which occur.

    Raises
    ------
    ValueError
        If there are fewer than two rows, or `gap` is not positive.

    Examples
    --------
    >>> X, y = separable_set(2, 10, gap=0.1)
    >>> X.shape, sorted(set(y.tolist()))
    ((10, 2), [-1, 1])
    """
    if rows < 2:
        raise ValueError(f"rows must be at least 2, got {rows}")
    if not gap > 0:
        raise ValueError(f"gap must be positive, got {gap}")
    random = np.random.default_rng(seed)
    normal = random.standard_normal(dimension)
    normal /= np.linalg.norm(normal)
    X = random.standard_normal((rows, dimension))
    offset = 0.3 * random.standard_normal()
    z = X @ normal + offset
    # What lies too near is moved away from the plane, along its normal, to where it may be.
    side = np.where(z >= 0, 1, -1)
    side[:2] = -1, 1
    X += np.outer(side * np.maximum(side * z, gap) - z, normal)
    return X, side


def hardest_set(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are orthogonal to one another, the constant feature counted: no mistake helps with another.

    They are the rows of a Hadamard matrix, whose first column is the constant feature. The bound is their
    number, and all but one of them, the only positive one, are mistakes.

    Parameters
    ----------
    order : int
        A power of two.

    Returns
    -------
    X : ndarray of shape (order, order - 1)
    y : ndarray of shape (order,)

    Examples
    --------
    >>> X, y = hardest_set(4)
    >>> X.tolist(), y.tolist()
    ([[1.0, 1.0, 1.0], [-1.0, 1.0, -1.0], [1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]], [1, -1, -1, -1])
    """
    return hadamard(order)[:, 1:].astype(float), np.array([1] + [-1] * (order - 1))


def bound_of(X: np.ndarray, y: np.ndarray, orders: Iterable[int] = (0,)) -> Bound:
    """Train a perceptron in some orders of the rows, and hold the most mistakes against the bound.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    orders : iterable of int
        Seeds of the shuffling.

    Returns
    -------
    Bound

    Examples
    --------
    >>> found = bound_of(*hardest_set(8))
    >>> found.mistakes, round(found.bound, 9)
    (7, 8.0)
    """
    fitted = [Perceptron(tol=None, max_iter=1_000_000, random_state=seed).fit(X, y) for seed in orders]
    return Bound(
        X.shape[1],
        len(X),
        max(one.n_updates_ for one in fitted),
        maximum_margin(X, y).bound,
        all(one.converged_ for one in fitted),
    )


def bounds_of_many_sets(sets: int, orders: int = 3, seed: int = 0) -> list[Bound]:
    """Mistakes against the bound on separable sets of 2 to 32 dimensions, 10 to 200 rows, wide and narrow.

    Parameters
    ----------
    sets : int
    orders : int
        Orders of the rows that are tried on each.
    seed : int

    Returns
    -------
    list of Bound

    Examples
    --------
    >>> all(one.converged and one.mistakes <= one.bound for one in bounds_of_many_sets(3, orders=1))
    True
    """
    random = np.random.default_rng(seed)
    found = []
    for number in range(sets):
        dimension = int(2 ** random.uniform(1, 5))
        rows = int(10 * 20 ** random.uniform())
        gap = 10 ** random.uniform(-2, 0)
        X, y = separable_set(dimension, rows, gap, seed=1000 * seed + number)
        found.append(bound_of(X, y, range(orders)))
    return found


def updates(X: np.ndarray, y: np.ndarray, epochs: int) -> Iterator[tuple[int, np.ndarray]]:
    """Rosenblatt's rule row by row, in the order of the rows, until an epoch passes without a mistake.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
        −1 or +1.
    epochs : int
        The most there are.

    Yields
    ------
    (int, ndarray)
        The row that was a mistake, and the weights after it, the bias last.
    """
    unit = Unit(np.zeros(X.shape[1]), 0.0, has_bias=True)
    for _ in range(epochs):
        before = unit.n_updates
        for row, (x, label) in enumerate(zip(X, y, strict=True)):
            z = unit.weight @ x + unit.bias
            if (z >= 0) != (label > 0):  # sign(0) = +1
                unit.update(slice(None), x, float(label))
                yield row, np.append(unit.weight, unit.bias)
        if unit.n_updates == before:
            return


def run_of_the_rule(X: np.ndarray, y: np.ndarray, epochs: int = 100_000) -> Run:
    """Train on separable data and keep every wₖ.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    epochs : int
        The most there are.

    Returns
    -------
    Run

    Examples
    --------
    >>> run = run_of_the_rule(*hardest_set(4))
    >>> len(run.weights) - 1, run.norms.round(9).tolist()  # √k R, R = 2, at every k
    (3, [0.0, 2.0, 2.828427125, 3.464101615])
    """
    plane = maximum_margin(X, y)
    best = np.append(plane.weight, plane.bias)
    weights = [np.zeros(X.shape[1] + 1), *(after for _, after in updates(X, y, epochs))]
    return Run(X, y, np.array(weights), best / np.linalg.norm(best), plane.margin, plane.radius)


def subgradient_descent(X: np.ndarray, y: np.ndarray, mistakes: Iterable[int], rate: float) -> np.ndarray:
    """Steps of SGD down −y(wᵀx + b), one a misclassified row, with the tape's gradient.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    mistakes : iterable of int
        The row of each step.
    rate : float
        η.

    Returns
    -------
    ndarray of shape (k, d + 1)
        The weights after each step, the bias last.

    Examples
    --------
    >>> subgradient_descent(np.array([[2.0], [3.0]]), np.array([-1, 1]), [0, 1], rate=1.0).tolist()
    [[-2.0, -1.0], [1.0, 0.0]]
    """
    w, b = tensor(np.zeros(X.shape[1]), requires_grad=True), tensor(np.zeros(()), requires_grad=True)
    optimizer = SGD([w, b], lr=rate)
    path = []
    for row in mistakes:
        optimizer.zero_grad()
        loss = -float(y[row]) * ((w * X[row]).sum() + b)
        loss.backward()
        optimizer.step()
        path.append(np.append(w.data, b.data))
    return np.array(path)
