"""What every source of a stream gives: pieces of some thousand rows, each row with a number of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

__all__ = ["PIECE_BYTES", "Part", "Piece", "Source", "row_hash", "rows_a_piece"]

# Roughly what a piece takes in memory.
PIECE_BYTES = 1 << 19


@dataclass(frozen=True)
class Piece:
    """Rows of a source as it holds them.

    Attributes
    ----------
    X : ndarray of shape (n, d), DataFrame or None
        None where only targets and weights were asked for.
    y : ndarray of shape (n,) or (n, k), or None
        None where the source has no target.
    weights : ndarray of shape (n,) or None
    numbers : ndarray of int64 of shape (n,)
        The number of each row among all rows of the source.
    file : str
        The file they came from; empty where there is none.
    first : int
        Number of that file's first row.
    """

    X: Any
    y: np.ndarray | None
    weights: np.ndarray | None
    numbers: np.ndarray
    file: str = ""
    first: int = 0

    def __len__(self) -> int:
        return len(self.numbers)

    def taken(self, rows: np.ndarray) -> "Piece":
        """Some of the rows, by a mask or by their places in the piece."""
        X = self.X
        if X is not None:
            X = X[rows] if isinstance(X, np.ndarray) else X.iloc[rows]
        y = None if self.y is None else self.y[rows]
        weights = None if self.weights is None else self.weights[rows]
        return Piece(X, y, weights, self.numbers[rows], self.file, self.first)

    def place(self, row: int) -> str:
        """Where a row of the piece is, for messages: rows are counted from 0, in each file anew."""
        return f"in row {self.numbers[row] - self.first}" + (f" of {self.file}" if self.file else "")


class Source(Protocol):
    """Rows that can be gone through again and again without being in memory.

    Attributes
    ----------
    names : list of str
        Of the columns of X.
    target : str
        What messages call the target.
    """

    names: list[str]
    target: str

    def pieces(
        self, random: np.random.Generator | None, *, features: bool = True, frames: bool = False
    ) -> Iterator[Piece]:
        """Every row once: in the order of the data, or blocks of it in an order that ``random`` draws.

        Without ``features`` X may be None, which saves reading it. With ``frames`` X is as a preprocessor
        takes it, a data frame where the source is a table.
        """


def rows_a_piece(bytes_a_row: float) -> int:
    """How many rows of so many bytes make a piece."""
    return max(1, int(PIECE_BYTES / max(1, bytes_a_row)))


def row_hash(numbers: np.ndarray, seed: int) -> np.ndarray:
    """A uniform number in [0, 1) for each row number: the same for a row however the rows are read.

    The finalizer of SplitMix64 (Steele, Lea and Flood, 2014) on number and seed.

    Examples
    --------
    >>> row_hash(np.arange(3), seed=0).round(3)
    array([0.883, 0.432, 0.026])
    """
    step = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        z = _mixed((numbers.astype(np.uint64) + np.uint64(1)) * step + _mixed(np.array([seed], np.uint64)))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


@dataclass(frozen=True)
class Part:
    """The rows whose hash lies on one side of a share: what a split gives."""

    share: float
    seed: int
    held_out: bool

    def of(self, piece: Piece) -> Piece:
        """Those of a piece that belong to the part."""
        below = row_hash(piece.numbers, self.seed) < self.share
        return piece.taken(below if self.held_out else ~below)


def _mixed(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
