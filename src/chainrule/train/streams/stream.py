"""A stream: data that need not be in memory, and the way from its rows to the numbers of a network."""

import copy
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.train.streams.arrays import ArraySource, ChunkSource
from chainrule.train.streams.pieces import Part, Piece, Source
from chainrule.train.streams.survey import (
    SAMPLE_ROWS,
    Moments,
    Survey,
    as_labels,
    joined,
    refuse_infinite,
    sample_of,
)
from chainrule.train.streams.tables import open_table

__all__ = ["Stream", "stream"]


@dataclass(frozen=True)
class _Encoding:
    """What is learned from the rows: the preprocessor fitted, moments, and the classes."""

    preprocessor: Any
    mean: np.ndarray | None
    scale: np.ndarray | None
    names: list[str]


@dataclass
class _Learned:
    """What a stream and its parts know; None before the first use.

    Attributes
    ----------
    encoding : _Encoding or None
    classes : list or None
        Empty where the target does not name classes.
    """

    encoding: _Encoding | None = None
    classes: list[Any] | None = None


class Stream:
    """Rows to learn from that need not be in memory: ``stream`` makes it, ``fit`` takes it for X and y.

    Nothing is read before it is needed. What is learned from the rows (classes, the preprocessor, means) is
    learned once, at the first use: where that is a ``fit`` that holds rows out, from the rows to train on.

    Parameters
    ----------
    source : Source
    preprocessor : object with ``fit`` and ``transform``, optional
    labels : bool, optional
        Whether the target names classes; by default, if it is text or truth values.
    buffer_rows : int, optional
        Rows that the shuffle buffer holds.
    seed : int
        Of the sample that the preprocessor is fitted on.

    Examples
    --------
    >>> rows = Stream(ChunkSource([([[1.0, 10.0]], ["a"]), ([[3.0, 30.0]], ["b"])]))
    >>> rows.n_rows, rows.classes
    (2, ['a', 'b'])
    >>> for X, y, weights in rows.standardized():
    ...     print(X, y, weights)
    [[-1. -1.]] [0] None
    [[1. 1.]] [1] None
    """

    def __init__(
        self,
        source: Source,
        *,
        preprocessor: Any = None,
        labels: bool | None = None,
        buffer_rows: int | None = None,
        seed: int = 0,
    ) -> None:
        if buffer_rows is not None and (isinstance(buffer_rows, bool) or not buffer_rows >= 1):
            raise ValueError(f"buffer_rows must be a whole number, at least 1; got {buffer_rows!r}")
        for method in ("fit", "transform"):
            if preprocessor is not None and not hasattr(preprocessor, method):
                raise TypeError(
                    f"preprocessor must have methods fit and transform; got {type(preprocessor).__name__}"
                )
        self._source = source
        self._preprocessor = preprocessor
        self._labels = labels
        self.buffer_rows = None if buffer_rows is None else int(buffer_rows)
        self._seed = seed
        self._standardized = False
        self._target_map: Callable[[np.ndarray], np.ndarray] | None = None
        self._parts: tuple[Part, ...] = ()
        self._teacher: Stream | None = None
        self._known_survey: Survey | None = None
        self._learned = _Learned()

    # -- other streams from this one -------------------------------------------------------------------

    def _altered(self, **attributes: Any) -> "Stream":
        """A copy with other rows, or another way from them to numbers."""
        other = copy.copy(self)
        other._known_survey = None
        for name, value in attributes.items():
            setattr(other, name, value)
        return other

    def standardized(self) -> "Stream":
        """The same rows with each column at mean 0 and standard deviation 1.

        The means are taken in one pass over the rows to train on, at the first use. A column with one value
        becomes 0.
        """
        return self._altered(_standardized=True, _learned=_Learned())

    def prepared(
        self,
        preprocessor: Any,
        *,
        labels: bool | None = None,
        targets: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> "Stream":
        """The same rows through a preprocessor.

        Parameters
        ----------
        preprocessor : object with ``fit`` and ``transform``
        labels : bool, optional
            Whether the target names classes; by default as it was.
        targets : callable, optional
            Makes of numbers to predict what the network is to give for them.
        """
        labels = self._labels if labels is None else labels
        return self._altered(
            _preprocessor=preprocessor, _labels=labels, _target_map=targets, _learned=_Learned()
        )

    def split(self, share: float, seed: int = 0) -> tuple["Stream", "Stream"]:
        """The rows to train on and about ``share`` of the rows to hold out.

        A row's number decides on which side it falls, so that nothing has to be kept of the split.
        What is learned from the rows is learned from those to train on.

        Raises
        ------
        ValueError
            If the share does not lie between 0 and 1.
        """
        if isinstance(share, bool) or not 0 < share < 1:
            raise ValueError(f"validation must be a share of the rows between 0 and 1; got {share!r}")
        # A part is cut by other random numbers than the whole was, were it with the same seed.
        seed += len(self._parts) << 32
        training = self._altered(_parts=(*self._parts, Part(share, seed, held_out=False)))
        held_out = (*self._parts, Part(share, seed, held_out=True))
        return training, self._altered(_parts=held_out, _teacher=training)

    def like(self, other: "Stream") -> "Stream":
        """These rows, preprocessed, standardised and labelled as those of another stream are."""
        if not isinstance(other, Stream):
            raise TypeError(f"other must be a stream; got {type(other).__name__}")
        own, others = list(self._source.names), list(other._source.names)
        if own != others and not (other._uses_frames and set(others) <= set(own)):
            raise ValueError(f"the streams must have the same columns; got {own} and {others}")
        return self._altered(_teacher=other)

    # -- what is learned from the rows -----------------------------------------------------------------

    @property
    def survey(self) -> Survey:
        """The rows counted, and what their targets are; a pass over the targets at the first use."""
        if self._known_survey is None:
            learned = self._learned.classes if self._teacher is None else self._teacher.classes
            labels = self._labels if learned is None else bool(learned)
            self._known_survey = Survey.of(self._pieces(None, features=False), labels, self._source.target)
        return self._known_survey

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return self.survey.n_rows

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and columns of what a network is given."""
        return self.n_rows, len(self.names)

    @property
    def names(self) -> list[str]:
        """The columns of what a network is given."""
        return self._encoding.names

    @property
    def columns(self) -> list[str]:
        """The columns of X as it is stored."""
        return list(self._source.names)

    @property
    def target(self) -> str:
        """What the target is called in messages."""
        return self._source.target

    @property
    def classes(self) -> list[Any]:
        """The labels of the classes in their order; empty where the target does not name classes."""
        if self._teacher is not None:
            return self._teacher.classes
        if self._learned.classes is None:
            self._learned.classes = self.survey.classes
        return self._learned.classes

    @property
    def _encoding(self) -> _Encoding:
        if self._teacher is not None:
            return self._teacher._encoding
        if self._learned.encoding is None:
            encoding = self._fitted_preprocessor()
            if self._standardized:
                moments = Moments()
                for piece in self._some_pieces():
                    moments.add(self._numbers(piece, encoding, np.float64))
                scale = np.sqrt(moments.variance)
                # The rounding of a sum of equal numbers is no spread.
                flat = scale <= 10 * np.finfo(np.float64).eps * np.abs(moments.mean)
                encoding = replace(encoding, mean=moments.mean, scale=np.where(flat, 1.0, scale))
            self._learned.encoding = encoding
        return self._learned.encoding

    def _fitted_preprocessor(self) -> _Encoding:
        given = self._preprocessor
        if given is None:
            return _Encoding(None, None, None, self._source.names)
        if not _is_fitted(given):
            given = copy.deepcopy(given)
            given.fit(sample_of(self._some_pieces(), self._seed)[0])
        first = next(self._some_pieces())
        width = np.shape(_transformed(given, first))[1]
        known = getattr(given, "feature_names_out", None)
        names = list(known) if isinstance(known, list) else [str(place) for place in range(width)]
        return _Encoding(given, None, None, names)

    @property
    def _uses_frames(self) -> bool:
        """Whether a preprocessor, its own or its teacher's, is to see the columns as they are."""
        return self._preprocessor is not None if self._teacher is None else self._teacher._uses_frames

    # -- rows ------------------------------------------------------------------------------------------

    def _pieces(
        self, random: np.random.Generator | None, *, features: bool = True, frames: bool = False
    ) -> Iterator[Piece]:
        frames = frames or self._uses_frames
        for piece in self._source.pieces(random, features=features, frames=frames):
            for part in self._parts:
                piece = part.of(piece)
            yield piece

    def _some_pieces(self, *, frames: bool = False) -> Iterator[Piece]:
        """The pieces that have rows; ValueError if none has."""
        empty = True
        for piece in self._pieces(None, frames=frames):
            if len(piece):
                empty = False
                yield piece
        if empty:
            raise ValueError("the stream is empty: it has no row")

    def _numbers(self, piece: Piece, encoding: _Encoding, dtype: Any) -> np.ndarray:
        """The features of a piece as finite numbers."""
        X = piece.X
        if encoding.preprocessor is not None:
            X = _transformed(encoding.preprocessor, piece)
        elif not isinstance(X, np.ndarray):
            X = _plain(X)
        if encoding.mean is not None and encoding.scale is not None:
            refuse_infinite(X, piece, encoding.names)
            X = (X - encoding.mean) / encoding.scale
        with np.errstate(over="ignore"):
            X = np.ascontiguousarray(X, dtype)
        refuse_infinite(X, piece, encoding.names)
        return X

    def _targets(self, y: np.ndarray | None, place: Any) -> np.ndarray | None:
        """Class indices, or numbers."""
        if y is None:
            return None
        if self._target_map is not None:
            return self._target_map(y)
        if not self.classes:
            whole = y.ndim == 1 and y.dtype.kind == "f" and bool((y == np.floor(y)).all())
            return y.astype(np.int64) if whole else y  # class indices are often stored as floats
        index = {label: place for place, label in enumerate(self.classes)}
        found = [index.get(label, -1) for label in as_labels(y).tolist()]
        if -1 in found:
            row = found.index(-1)
            raise ValueError(
                f"{self.target} is {y.tolist()[row]!r} {place(row)}, which is not among the classes learned"
            )
        return np.array(found, dtype=np.int64)

    def chunks(
        self, random: np.random.Generator | None = None, dtype: Any = np.float32
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]]:
        """X, y and weights, a piece at a time; blocks of them in an order that ``random`` draws, if given.

        Raises
        ------
        ValueError
            If a number is missing, infinite or none; the message names its column and its row.
        """
        encoding = self._encoding
        for piece in self._pieces(random):
            if len(piece):
                yield (
                    self._numbers(piece, encoding, dtype),
                    self._targets(piece.y, piece.place),
                    piece.weights,
                )

    def sample(self, n_rows: int = SAMPLE_ROWS) -> tuple[Any, Any]:
        """At most so many rows in memory, X and y as they are stored, drawn without bias; the same each time.

        X is a data frame where the data are a table.
        """
        return sample_of(self._some_pieces(frames=True), self._seed, n_rows)

    def stored(self, n_rows: int = 1) -> Iterator[Any]:
        """X as it is stored, in the order of the data: pieces joined until they have ``n_rows`` rows."""
        waiting: list[Any] = []
        n_waiting = 0
        for piece in self._some_pieces(frames=True):
            waiting.append(piece.X)
            n_waiting += len(piece)
            if n_waiting >= n_rows:
                yield joined(waiting)
                waiting, n_waiting = [], 0
        if waiting:
            yield joined(waiting)

    def check_width(self, n_inputs: int) -> None:
        """ValueError if a network that takes ``n_inputs`` numbers cannot take these rows."""
        if n_inputs != len(self.names):
            raise ValueError(f"the module takes {n_inputs} inputs; the stream has {len(self.names)} columns")

    def features(self, dtype: Any = np.float32) -> Iterator[np.ndarray]:
        """X, a piece at a time, in the order of the data."""
        encoding = self._encoding
        for piece in self._pieces(None):
            if len(piece):
                yield self._numbers(piece, encoding, dtype)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]]:
        return self.chunks()

    def transform(self, X: Any, y: Any = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows that are in memory, (X, y), as those of the stream are given to a network."""
        if not hasattr(X, "iloc"):
            X = np.asarray(X)
        piece = Piece(X, None if y is None else np.asarray(y), None, np.arange(len(X)))
        return self._numbers(piece, self._encoding, np.float64), self._targets(piece.y, piece.place)

    def __repr__(self) -> str:
        rows = "rows not counted yet" if self._known_survey is None else f"{self.n_rows} rows"
        return f"Stream({rows}, {len(self._source.names)} columns, target {self.target})"


def stream(
    data: Any,
    y: Any = None,
    *,
    target: Any = None,
    columns: Any = None,
    weight: Any = None,
    preprocessor: Any = None,
    labels: bool | None = None,
    buffer_rows: int | None = None,
) -> Stream:
    """Data larger than memory, for ``fit`` and ``predict``.

    Parameters
    ----------
    data : path, list of paths, array, memory map, or chunks
        - A Parquet or CSV file, a directory of such files, or a list of them. Needs pyarrow.
        - A ``.npy`` file, or an array such as a memory map, of shape (n, d).
        - Any iterable of (X, y) or (X, y, weights) that can be gone through again and again, or a function
          that returns a new one for each pass.
    y : path or array of shape (n,) or (n, k), optional
        The targets, where the data is an array without them.
    target : str, list of str or int, optional
        The column to predict: by name in a table, by number in an array. Without one the stream can be
        predicted from only.
    columns : list of str or int, optional
        The columns to predict from; by default all others.
    weight : str, int, path or array, optional
        The column of the rows' weights, or an array of them.
    preprocessor : object with ``fit`` and ``transform``, optional
        Makes numbers of data frames, ``TablePreprocessor()`` for one. One that is not fitted yet is copied
        and fitted on a sample of 50,000 rows at most; the categories it then knows are those of the sample.
    labels : bool, optional
        Whether the target names classes, which become 0, 1, ... in their sorted order; by default if it is
        text or truth values.
    buffer_rows : int, optional
        Rows that the shuffle buffer holds; by default as many as take 64 MB.

    Returns
    -------
    Stream

    Raises
    ------
    ImportError
        If pyarrow is needed and not installed.
    ValueError, TypeError, OSError
        If the data cannot be read as that; the message names the file.

    Examples
    --------
    >>> import chainrule
    >>> from chainrule import nn
    >>> def chunks():
    ...     random = np.random.default_rng(0)
    ...     for _ in range(20):
    ...         X = random.normal(size=(100, 3))
    ...         yield X, np.where(X[:, 0] > X[:, 1], "first", "second")
    >>> rows = chainrule.stream(chunks)
    >>> net = nn.Sequential(nn.Linear(3, 8, rng=0), nn.ReLU(), nn.Linear(8, 2, rng=1))
    >>> history = chainrule.fit(net, rows, loss=nn.CrossEntropyLoss(), epochs=20, validation=0.1,
    ...                         metrics=["accuracy"], verbose=0)
    >>> rows.classes, history["accuracy"][-1] > 0.9
    (['first', 'second'], True)
    """
    table = _is_table(data)
    roles = {"target": target, "columns": columns, "weight": weight}
    source: Source
    if table:
        if y is not None:
            raise ValueError("y must not be given for a table: its target is a column, target='name'")
        source = open_table(data, **roles)
    elif isinstance(data, str | os.PathLike) or (hasattr(data, "shape") and hasattr(data, "dtype")):
        source = ArraySource(data, y, **roles)
    else:
        given = [name for name, value in {"y": y, **roles}.items() if value is not None]
        if given:
            raise ValueError(f"{given[0]} must not be given for chunks: each is (X, y) or (X, y, weights)")
        if not isinstance(data, Iterable) and not callable(data):
            raise TypeError(
                f"data must be a path, an array or an iterable of chunks; got {type(data).__name__}"
            )
        source = ChunkSource(data)
    return Stream(source, preprocessor=preprocessor, labels=labels, buffer_rows=buffer_rows)


def _is_table(data: Any) -> bool:
    """Whether these are paths of anything but ``.npy`` files."""
    if isinstance(data, list | tuple) and data:
        return all(isinstance(one, str | os.PathLike) for one in data)
    return isinstance(data, str | os.PathLike) and not os.fspath(data).lower().endswith(".npy")


def _is_fitted(preprocessor: Any) -> bool:
    """scikit-learn's convention: what is learned has a name that ends in an underscore."""
    return any(name.endswith("_") and not name.startswith("_") for name in vars(preprocessor))


def _transformed(preprocessor: Any, piece: Piece) -> Any:
    """What a preprocessor makes of a piece; its complaints get the name of the file."""
    try:
        return preprocessor.transform(piece.X)
    except ValueError as error:
        raise ValueError(f"{error}" + (f" of {piece.file}" if piece.file else "")) from error


def _plain(frame: Any) -> np.ndarray:
    """A data frame of numbers as a matrix."""
    wrong = [name for name, dtype in frame.dtypes.items() if dtype.kind not in "fiub"]
    if wrong:
        raise ValueError(
            f"column {wrong[0]!r} must hold numbers; got {frame.dtypes[wrong[0]]}: give a preprocessor"
        )
    matrix: np.ndarray = frame.to_numpy(dtype=np.float64)
    return matrix
