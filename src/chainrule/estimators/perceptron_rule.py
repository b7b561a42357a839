"""Rosenblatt's rule on rows, one after the other, and the search for the next mistake.

Between two mistakes the weights do not change, so the scores of many rows can be computed at once: the first
row among them that is on the wrong side is the next mistake, and what was computed behind it is thrown away.
That is the rule's own order, and its own numbers, since the score of a row does not depend on which rows are
beside it.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import issparse

__all__ = ["Patience", "Penalty", "Targets", "Unit", "epoch", "shuffled"]

# Rows that are brought into the order of the epoch at once.
CHUNK = 1024
# The fewest rows that are scored at once: for so few it takes no longer than for one.
FEWEST = 8


@dataclass
class Unit:
    """A perceptron: z = w·x + b, ŷ = sign(z).

    Attributes
    ----------
    weight : ndarray of shape (d,)
        Changed in place.
    bias : float
    has_bias : bool
        Whether the rule changes the bias.
    n_updates : int
    """

    weight: np.ndarray
    bias: float
    has_bias: bool
    n_updates: int = 0

    def update(self, columns: Any, x: np.ndarray, step: float) -> None:
        """w ← w + η y x, b ← b + η y, with ``step`` for η y."""
        self.weight[columns] += step * x
        if self.has_bias:
            self.bias += step
        self.n_updates += 1

    def is_finite(self) -> bool:
        """Whether all numbers are."""
        return bool(np.isfinite(self.bias) and np.isfinite(self.weight).all())


@dataclass(frozen=True)
class Targets:
    """What one unit is to learn.

    Attributes
    ----------
    is_positive : ndarray of bool, shape (n,)
        yᵢ = +1.
    step : ndarray of shape (n,)
        η yᵢ, times the weights of row and class.
    """

    is_positive: np.ndarray
    step: np.ndarray


@dataclass
class Penalty:
    """α((1 − ρ) ½‖w‖² + ρ‖w‖₁), which acts after each row, mistake or not, as in scikit-learn.

    Its part in ‖w‖² shrinks the weights. Its part in ‖w‖₁ pulls them towards 0 and no further: a weight owes
    what the penalty has come to, less what it has already paid (the cumulative penalty of Tsuruoka, Tsujii
    and Ananiadou 2009, "Stochastic gradient descent training for L1-regularized log-linear models").

    Attributes
    ----------
    alpha, l1_ratio, eta : float
        α, ρ and η.
    paid : ndarray of shape (d,)
        What each weight has received.
    due : float
        What a weight that was never 0 ought to have paid.
    """

    alpha: float
    l1_ratio: float
    eta: float
    n_features: int
    due: float = 0.0
    paid: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.paid = np.zeros(self.n_features)

    def value(self, weight: np.ndarray) -> float:
        """The penalty itself."""
        l2, l1 = float(weight @ weight) / 2, float(np.abs(weight).sum())
        return self.alpha * ((1 - self.l1_ratio) * l2 + self.l1_ratio * l1)

    def shrink(self, weight: np.ndarray) -> None:
        """w ← (1 − (1 − ρ)ηα) w, or 0 where that would change its sign."""
        weight *= max(0.0, 1 - (1 - self.l1_ratio) * self.eta * self.alpha)

    def pull(self, weight: np.ndarray) -> None:
        """Have the weights pay what they owe."""
        if self.l1_ratio == 0:
            return
        self.due += self.l1_ratio * self.eta * self.alpha
        side = np.sign(weight)
        after = side * np.maximum(side * weight - (self.due + side * self.paid), 0)
        self.paid += after - weight
        weight[:] = after


class Patience:
    """scikit-learn's stopping rule: so many epochs in a row that are not better than the best by ``tol``."""

    def __init__(self, tol: float | None, epochs: int) -> None:
        self._tol, self._epochs = tol, epochs
        self._best, self._stale = np.inf, 0

    def is_exhausted(self, value: float) -> bool:
        """Take note of what an epoch has come to, the less the better."""
        is_stale = self._tol is not None and value > self._best - self._tol
        self._stale = self._stale + 1 if is_stale else 0
        self._best = min(self._best, value)
        return self._stale >= self._epochs


def epoch(unit: Unit, X: Any, targets: Targets, order: np.ndarray, penalty: Penalty | None) -> float:
    """One pass over the rows of X in ``order``; the sum of the objective, each row with the weights it met.

    The objective is the rule's, −yᵢzᵢ on mistakes and else 0, plus the penalty.
    """
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # the caller asks whether the weights are finite
        for begin in range(0, len(order), CHUNK):
            chunk = order[begin : begin + CHUNK]
            rows = (_SparseRows if issparse(X) else _DenseRows)(X[chunk])
            chosen = Targets(targets.is_positive[chunk], targets.step[chunk])
            if penalty is None:
                total += _visit(unit, rows, chosen)
            else:
                total += _visit_with_penalty(unit, rows, chosen, penalty)
    return total


def _visit(unit: Unit, rows: Any, targets: Targets) -> float:
    """Update on each mistake among the rows, found by scoring many rows at once."""
    loss = 0.0
    begin, count, n = 0, FEWEST, len(targets.step)
    while begin < n:
        z = rows.scores(begin, begin + count, unit.weight) + unit.bias
        is_mistake = (z >= 0) != targets.is_positive[begin : begin + count]  # sign(0) = +1
        first = int(is_mistake.argmax())
        if not is_mistake[first]:
            begin, count = begin + count, 2 * count
            continue
        loss += abs(float(z[first]))
        columns, x = rows.row(begin + first)
        unit.update(columns, x, float(targets.step[begin + first]))
        # The next mistake is about as far away as this one was.
        begin, count = begin + first + 1, max(FEWEST, 2 * (first + 1))
    return loss


def _visit_with_penalty(unit: Unit, rows: Any, targets: Targets, penalty: Penalty) -> float:
    """The same row by row, since a penalty changes the weights at each."""
    objective = 0.0
    weight = unit.weight
    for i, (is_positive, step) in enumerate(
        zip(targets.is_positive.tolist(), targets.step.tolist(), strict=True)
    ):
        columns, x = rows.row(i)
        z = float(x @ weight[columns]) + unit.bias
        objective += penalty.value(weight)
        penalty.shrink(weight)
        if (z >= 0) != is_positive:
            objective += abs(z)
            unit.update(columns, x, step)
        penalty.pull(weight)
    return objective


class _DenseRows:
    """Rows of an array. A row's score is one dot product, whatever is computed with it."""

    def __init__(self, X: np.ndarray) -> None:
        self._X = X

    def scores(self, begin: int, end: int, weight: np.ndarray) -> np.ndarray:
        """w·x of the rows from ``begin`` to before ``end``, or to the last."""
        products: np.ndarray = np.vecdot(self._X[begin:end], weight)
        return products

    def row(self, i: int) -> tuple[Any, np.ndarray]:
        """Where its numbers belong among the features, and the numbers."""
        return slice(None), self._X[i]


class _SparseRows:
    """Rows of a CSR matrix, likewise."""

    def __init__(self, X: Any) -> None:
        self._values, self._columns, self._starts = X.data, X.indices, X.indptr

    def scores(self, begin: int, end: int, weight: np.ndarray) -> np.ndarray:
        starts = self._starts[begin : end + 1]
        stored = slice(starts[0], starts[-1])
        products = self._values[stored] * weight[self._columns[stored]]
        scores = np.zeros(len(starts) - 1, dtype=weight.dtype)
        is_filled = starts[1:] > starts[:-1]  # an empty segment would give its neighbour's first product
        scores[is_filled] = np.add.reduceat(products, starts[:-1][is_filled] - starts[0])
        return scores

    def row(self, i: int) -> tuple[Any, np.ndarray]:
        stored = slice(self._starts[i], self._starts[i + 1])
        return self._columns[stored], self._values[stored]


def shuffled(n: int, seed: int) -> np.ndarray:
    """The permutation of n rows by which scikit-learn's stochastic solvers reorder them before each epoch.

    Fisher and Yates' shuffle, with Marsaglia's 32-bit xorshift generator (2003) and its numbers taken modulo
    2³¹.
    """
    state = seed or 1
    order = list(range(n))
    for i in range(n - 1):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        j = i + (state & 0x7FFFFFFF) % (n - i)
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.intp)
