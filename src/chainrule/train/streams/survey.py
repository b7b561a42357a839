"""What has to be known of all rows before the first is learned from: one pass over targets and weights."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.train.streams.pieces import Piece, row_hash

__all__ = [
    "MOST_CLASSES",
    "SAMPLE_ROWS",
    "Moments",
    "Survey",
    "as_labels",
    "joined",
    "refuse_infinite",
    "sample_of",
]

# A target with more different texts is taken for an identifier.
MOST_CLASSES = 10_000
# Rows that a preprocessor is fitted on.
SAMPLE_ROWS = 50_000


@dataclass
class Survey:
    """The rows counted, and their targets.

    Attributes
    ----------
    n_rows : int
    labels : bool
        Whether the target names classes.
    counts : Counter
        How often each class occurs, where it does, or each whole number of a small set.
    lowest, highest : ndarray
        Of numeric targets, column by column.
    weight : float
        Sum of the rows' weights.
    """

    n_rows: int = 0
    labels: bool = False
    counts: Counter = field(default_factory=Counter)
    lowest: Any = np.inf
    highest: Any = -np.inf
    weight: float = 0.0
    _countable: bool = True

    @classmethod
    def of(cls, pieces: Iterable[Piece], labels: bool | None, target: str) -> "Survey":
        """Go through the pieces; ``labels`` None takes texts and truth values for classes."""
        survey = cls(labels=bool(labels))
        for piece in pieces:
            if piece.y is not None and len(piece):
                if survey.n_rows == 0 and labels is None:
                    survey.labels = piece.y.ndim == 1 and piece.y.dtype.kind in "OUSb"
                survey._note_targets(piece, target)
            survey._note_weights(piece)
            survey.n_rows += len(piece)
        return survey

    def _note_targets(self, piece: Piece, target: str) -> None:
        y = piece.y
        assert y is not None
        if self.labels:
            labels = as_labels(y).tolist()
            self.counts.update(labels)
            missing = [row for row, label in enumerate(labels) if label is None or label != label]
            if missing:
                raise ValueError(f"{target} has no value {piece.place(missing[0])}")
            if len(self.counts) > MOST_CLASSES:
                raise ValueError(
                    f"{target} has more than {MOST_CLASSES} different values: it looks like an identifier, "
                    "not like classes"
                )
            return
        if y.dtype.kind not in "fiub":
            row = next((k for k, one in enumerate(y.tolist()) if not isinstance(one, int | float)), 0)
            raise ValueError(f"{target} must hold numbers; got {y[row]!r} {piece.place(row)}")
        if y.dtype.kind == "f":
            refuse_infinite(y, piece, [target] if y.ndim == 1 else [target] * y.shape[1], "")
        self.lowest = np.minimum(self.lowest, y.min(axis=0))
        self.highest = np.maximum(self.highest, y.max(axis=0))
        if self._countable:
            self._countable = y.ndim == 1 and bool((y == np.floor(y)).all())
            self.counts.update(y.astype(np.int64).tolist() if self._countable else ())
            self._countable &= len(self.counts) <= MOST_CLASSES

    def _note_weights(self, piece: Piece) -> None:
        if piece.weights is None:
            self.weight += len(piece)
            return
        weights = np.asarray(piece.weights, dtype=np.float64)
        wrong = ~(np.isfinite(weights) & (weights >= 0))
        if weights.ndim != 1 or wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"weights must be finite and non-negative; got {weights[row]} {piece.place(row)}"
            )
        self.weight += float(weights.sum())

    @property
    def classes(self) -> list[Any]:
        """The classes in their order; the place of each is its index."""
        return sorted(self.counts) if self.labels else []

    def class_counts(self, classes: list[Any], n_classes: int) -> np.ndarray | None:
        """How often each class, or class index, occurs; None where the target is not of such."""
        if self.labels:
            counts = [self.counts[label] for label in classes]
        elif self._countable and min(self.counts, default=-1) >= 0 and max(self.counts) < n_classes:
            counts = [self.counts[index] for index in range(n_classes)]
        else:
            return None
        return np.array(counts + [0] * (n_classes - len(counts)))

    def check(self, target: str) -> None:
        """Refuse what nothing can be learned from.

        Raises
        ------
        ValueError
            If there are no rows, the target has one value only, or all weights are zero.
        """
        if self.n_rows == 0:
            raise ValueError("the stream is empty: it has no row")
        if not self.weight > 0:
            raise ValueError("weights must not all be zero")
        only = self.classes if self.labels else [self.lowest]
        if (self.labels and len(only) == 1) or (not self.labels and np.all(self.lowest == self.highest)):
            raise ValueError(f"{target} has one value only, {only[0]!s}: there is nothing to learn")


def as_labels(y: np.ndarray) -> np.ndarray:
    """Labels of classes; whole numbers are integers, whatever they were stored as."""
    if y.ndim != 1:
        raise ValueError(f"labels of classes must be one column; got shape {y.shape}")
    if y.dtype.kind == "f" and (y == np.floor(y)).all():
        return y.astype(np.int64)
    return y


def refuse_infinite(X: np.ndarray, piece: Piece, names: list[str], kind: str = "column ") -> None:
    """ValueError for the first number that is NaN or infinite, with its column and its row."""
    if not np.isfinite(X).all():
        row, *column = np.argwhere(~np.isfinite(X))[0]
        name = names[column[0]] if column else names[0]
        shown = f"{kind}{name!r}" if kind else name
        value = X[(row, *column)]
        raise ValueError(f"{shown} must hold finite numbers; got {value} {piece.place(int(row))}")


class Moments:
    """Mean and variance of each column, piece by piece: Chan, Golub and LeVeque's way of merging (1979).

    Examples
    --------
    >>> moments = Moments()
    >>> for part in ([[1.0], [2.0]], [[6.0]]):
    ...     moments.add(np.array(part))
    >>> moments.mean, moments.variance
    (array([3.]), array([4.66666667]))
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self._squares: Any = 0.0

    def add(self, X: np.ndarray) -> None:
        """Take in more rows."""
        if not len(X):
            return
        X = X.astype(np.float64, copy=False)
        n, mean = len(X), X.mean(axis=0)
        total, delta = self.count + n, mean - self.mean
        self._squares = self._squares + ((X - mean) ** 2).sum(axis=0) + delta**2 * (self.count * n / total)
        self.mean = self.mean + delta * (n / total)
        self.count = total

    @property
    def variance(self) -> Any:
        """Of all rows so far, divided by their number."""
        return self._squares / self.count


def sample_of(pieces: Iterable[Piece], seed: int, n_rows: int = SAMPLE_ROWS) -> tuple[Any, Any]:
    """At most ``n_rows`` rows drawn without bias, in their order: X as one frame or array, and y.

    Each row has a random number that depends on its own number only, and those with the smallest are kept:
    what a reservoir does, independent of how the rows are cut into pieces.
    """
    kept: list[Piece] = []
    keys = np.empty(0)
    bound = np.inf
    for piece in pieces:
        own = row_hash(piece.numbers, seed)
        chosen = np.flatnonzero(own < bound)
        if not len(chosen):
            continue
        kept.append(piece.taken(chosen))
        keys = np.concatenate([keys, own[chosen]])
        if len(keys) > 2 * n_rows:
            kept, keys = _smallest(kept, keys, n_rows)
            bound = keys.max()
    kept, _keys = _smallest(kept, keys, n_rows)
    targets = [piece.y for piece in kept if piece.y is not None]
    return joined([piece.X for piece in kept]), np.concatenate(targets) if targets else None


def _smallest(pieces: list[Piece], keys: np.ndarray, n_rows: int) -> tuple[list[Piece], np.ndarray]:
    if len(keys) <= n_rows:
        return pieces, keys
    bound = np.partition(keys, n_rows - 1)[n_rows - 1]
    return [piece.taken(part <= bound) for piece, part in _with_keys(pieces, keys)], keys[keys <= bound]


def _with_keys(pieces: list[Piece], keys: np.ndarray) -> Iterator[tuple[Piece, np.ndarray]]:
    edges = np.cumsum([0, *map(len, pieces)])
    for place, piece in enumerate(pieces):
        yield piece, keys[edges[place] : edges[place + 1]]


def joined(parts: list[Any]) -> Any:
    """Features of several pieces as one frame or array."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    import pandas as pd

    return pd.concat(parts)
