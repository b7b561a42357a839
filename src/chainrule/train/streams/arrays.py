"""Sources that are arrays: ``.npy`` files, memory maps, and chunks of arrays that the user makes."""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from chainrule.train.streams.pieces import Piece, rows_a_piece

__all__ = ["ArraySource", "ChunkSource", "NpyFile"]

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class _Rows(Protocol):
    """An array of which some rows can be read: a NumPy array, a memory map, an ``NpyFile``."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice) -> np.ndarray: ...


class NpyFile:
    """An array in a ``.npy`` file, of which rows are read when asked for.

    A memory map would do the same, but its address space is as large as the file, which a limit on the
    address space forbids.

    Parameters
    ----------
    path : path

    Raises
    ------
    ValueError
        If it is no such file, holds Python objects, or is shorter than it says.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "numbers.npy")
    ...     np.save(path, np.arange(10).reshape(5, 2))
    ...     NpyFile(path)[1:3]
    array([[2, 3],
           [4, 5]])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        with open(path, "rb") as file:
            try:
                version = np.lib.format.read_magic(file)
                if version not in _HEADERS:
                    raise ValueError(f"its format has version {version}")
                self.shape, self._by_column, self.dtype = _HEADERS[version](file)
            except ValueError as error:
                raise ValueError(f"{self.path} is not a .npy file of numbers: {error}") from None
            self._offset = file.tell()
            size = file.seek(0, os.SEEK_END) - self._offset
        if self.dtype.hasobject or self.dtype.names:
            raise ValueError(f"{self.path} must hold an array of numbers; got dtype {self.dtype}")
        wanted = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        if size < wanted:
            raise ValueError(
                f"{self.path} is cut off: shape {self.shape} takes {wanted} bytes, it has {size}"
            )

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        count = max(0, stop - start)
        width = int(np.prod(self.shape[1:]))
        if not self._by_column:
            return self._read(start * width, count * width).reshape(count, *self.shape[1:])
        columns = [self._read(column * self.shape[0] + start, count) for column in range(width)]
        return np.stack(columns, axis=-1).reshape((count, *self.shape[1:]), order="F")

    def _read(self, first: int, count: int) -> np.ndarray:
        numbers = np.fromfile(self.path, self.dtype, count, offset=self._offset + first * self.dtype.itemsize)
        if len(numbers) < count:
            raise ValueError(f"{self.path} has become shorter since it was opened")
        return numbers


def opened(array: Any) -> Any:
    """What a user gives as an array: a path becomes an ``NpyFile``."""
    if isinstance(array, str | os.PathLike):
        return NpyFile(array)
    return array if hasattr(array, "shape") and hasattr(array, "dtype") else np.asarray(array)


def _numeric(name: str, array: _Rows) -> _Rows:
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numeric; got dtype {array.dtype}")
    return array


class ArraySource:
    """Arrays that lie in files: X and y, or one array of which a column is the target.

    Parameters
    ----------
    X : path, memory map or array of shape (n, d)
    y : path or array of shape (n,) or (n, k), optional
    target : int, optional
        Column of X that is the target, where there is no y.
    columns : sequence of int, optional
        Those of X that are features; by default all that are neither target nor weight.
    weight : path, array of shape (n,) or int, optional
        Weights of the rows, or the column of X that holds them.
    """

    def __init__(
        self, X: Any, y: Any = None, *, target: Any = None, columns: Any = None, weight: Any = None
    ) -> None:
        self._X = _numeric("X", opened(X))
        if len(self._X.shape) != 2:
            raise ValueError(f"X must have two dimensions, one row an example; got shape {self._X.shape}")
        n, d = self._X.shape
        if n == 0:
            raise ValueError(f"X is empty: it must have at least one row; got shape {self._X.shape}")
        if y is not None and target is not None:
            raise ValueError("target names a column of X that is the target: leave it out where y is given")
        self._y = self._beside("y", y, n)
        self._weights = None if isinstance(weight, int) else self._beside("weight", weight, n)
        self._target = None if target is None else _column("target", target, d)
        self._weight = _column("weight", weight, d) if isinstance(weight, int) else None
        taken = {self._target, self._weight}
        wanted = range(d) if columns is None else [_column("columns", one, d) for one in columns]
        self._columns = [column for column in wanted if column not in taken]
        if not self._columns:
            raise ValueError("no column is left to learn from")
        self._file = getattr(self._X, "path", "")
        self._rows = rows_a_piece(self._X.dtype.itemsize * d)
        self.names = [str(column) for column in self._columns]
        self.target = "y" if self._target is None else f"column {self._target}"

    @staticmethod
    def _beside(name: str, values: Any, n: int) -> _Rows | None:
        """What has one entry a row of X."""
        if values is None:
            return None
        array: _Rows = opened(values)
        if not array.shape or array.shape[0] != n:
            raise ValueError(f"{name} must have one entry a row of X, {n}; got shape {array.shape}")
        return array

    def pieces(
        self, random: np.random.Generator | None, *, features: bool = True, frames: bool = False
    ) -> Iterator[Piece]:
        """See ``Source``; blocks are some consecutive rows."""
        n = self._X.shape[0]
        starts = np.arange(0, n, self._rows)
        if random is not None:
            starts = random.permutation(starts)
        needs_X = features or self._target is not None or self._weight is not None
        for start in starts:
            rows = slice(int(start), min(n, int(start) + self._rows))
            X = np.asarray(self._X[rows]) if needs_X else None
            yield Piece(
                None if X is None or not features else self._features(X),
                self._of(X, self._target, self._y, rows),
                self._of(X, self._weight, self._weights, rows),
                np.arange(rows.start, rows.stop),
                self._file,
            )

    def _features(self, X: np.ndarray) -> np.ndarray:
        first, last = self._columns[0], self._columns[-1]
        if self._columns == list(range(first, last + 1)):
            return X[:, first : last + 1]  # a view
        chosen: np.ndarray = X[:, self._columns]
        return chosen

    @staticmethod
    def _of(X: Any, column: int | None, beside: _Rows | None, rows: slice) -> np.ndarray | None:
        """The target or the weights of some rows, from a column of X or from their own array."""
        if column is not None:
            chosen: np.ndarray = X[:, column]
            return chosen
        return None if beside is None else np.asarray(beside[rows])


def _column(name: str, number: Any, width: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or not -width <= number < width:
        raise ValueError(f"{name} must be the number of a column of X, 0 to {width - 1}; got {number!r}")
    return int(number) % width


class ChunkSource:
    """Chunks (X, y) or (X, y, weights) from whatever can be iterated again and again.

    Parameters
    ----------
    chunks : iterable, or function that returns one
        Each pass over it gives the same chunks in the same order.
    """

    target = "y"

    def __init__(self, chunks: Iterable | Callable[[], Iterable]) -> None:
        if not callable(chunks) and iter(chunks) is chunks:
            raise TypeError(
                f"a {type(chunks).__name__} can be gone through once only, and training goes "
                "through its data again and again: give a list of chunks, or a function that returns a "
                "new generator"
            )
        self._chunks = chunks
        self.names = self._names()

    def _names(self) -> list[str]:
        for chunk in self._again():
            X = self._read(chunk, 0, 0).X
            names = list(X.columns) if hasattr(X, "columns") else range(X.shape[1])
            return [str(name) for name in names]
        raise ValueError("the stream is empty: it has no chunk")

    def _again(self) -> Iterable:
        return self._chunks() if callable(self._chunks) else self._chunks

    def pieces(
        self, random: np.random.Generator | None, *, features: bool = True, frames: bool = False
    ) -> Iterator[Piece]:
        """See ``Source``; the order of the chunks is the user's."""
        first = 0
        for number, chunk in enumerate(self._again()):
            piece = self._read(chunk, number, first)
            width = piece.X.shape[1]
            if width != len(self.names):
                raise ValueError(f"chunk {number} has {width} columns, the first has {len(self.names)}")
            first += len(piece)
            rows = rows_a_piece(8 * width)
            for start in range(0, len(piece), rows):
                yield piece.taken(np.arange(start, min(len(piece), start + rows)))

    @staticmethod
    def _read(chunk: Any, number: int, first: int) -> Piece:
        if not isinstance(chunk, tuple | list) or len(chunk) not in (2, 3):
            raise ValueError(f"chunk {number} must be (X, y) or (X, y, weights); got {type(chunk).__name__}")
        X, y, *rest = chunk
        if not hasattr(X, "iloc"):
            X = np.asarray(X)
            if X.ndim != 2 or X.dtype.kind not in "fiub":
                raise ValueError(
                    f"X of chunk {number} must be an array of numbers with two dimensions, or a data frame; "
                    f"got shape {X.shape} and dtype {X.dtype}"
                )
        n = len(X)
        y = None if y is None else np.asarray(y)
        weights = np.asarray(rest[0]) if rest and rest[0] is not None else None
        for name, values in (("y", y), ("weights", weights)):
            if values is not None and (values.ndim == 0 or len(values) != n):
                raise ValueError(
                    f"{name} of chunk {number} must have one entry a row of X, {n}; got shape {values.shape}"
                )
        return Piece(X, y, weights, np.arange(first, first + n))
