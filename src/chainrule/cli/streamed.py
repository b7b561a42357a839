"""Tables that are read piece by piece: Parquet, ``.npy`` files, directories, and CSV files on request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from chainrule.cli.problem import Question
    from chainrule.train.streams import Stream

__all__ = ["MOST_IN_MEMORY", "Sampled", "is_streamed", "open_stream", "sampled_table", "stored_frames"]

# Rows of a stream that are in memory to describe it, to search and to test on, at most.
MOST_IN_MEMORY = 50_000
# Rows that are predicted from at a time.
_ROWS_AT_A_TIME = 20_000
_ENDINGS = (".parquet", ".pq", ".npy")


def is_streamed(data: Path, asked: bool = False) -> bool:
    """Whether a path is read piece by piece: if that is asked for, or it is never read as a whole."""
    return asked or data.is_dir() or data.suffix.lower() in _ENDINGS


def open_stream(data: Path, target: str | None = None, drop: tuple[str, ...] = ()) -> Stream:
    """The stream of a path; the columns of an array go by their numbers."""
    from chainrule.train.streams import stream

    if data.suffix.lower() == ".npy":
        if drop:
            raise ValueError("--drop: the columns of a .npy file cannot be left out")
        return stream(data, target=None if target is None else _column_number(target))
    rows = stream(data, target=target)
    if not drop:
        return rows
    unknown = [name for name in drop if name not in rows.columns]
    if unknown:
        raise ValueError(f"--drop: {data} has no column {unknown[0]!r}")
    return stream(data, target=target, columns=[name for name in rows.columns if name not in drop])


def _column_number(target: str) -> int:
    try:
        return int(target)
    except ValueError:
        raise ValueError(
            f"--target of a .npy file must be the number of a column, such as -1 for the last; got {target!r}"
        ) from None


class Sampled:
    """A stream's rows to learn from, and samples of these and of the rows to test on.

    Attributes
    ----------
    training : Stream
    features : pandas.DataFrame
        The sample of the rows to learn from, and after it that of those to test on.
    values : pandas.Series
        Their targets.
    n_training : int
        How many of the sample are there to learn from.
    n_held_out : int
        How many rows are held out to test on.
    """

    def __init__(self, stream: Stream, question: Question) -> None:
        import numpy as np
        import pandas as pd

        self.training, held_out = stream.split(question.test_size, question.seed)
        parts = [self.training.sample(MOST_IN_MEMORY), held_out.sample(MOST_IN_MEMORY)]
        self.features = pd.concat([_frame(X) for X, _ in parts], ignore_index=True)
        self.values = pd.Series(np.concatenate([y for _, y in parts]), name=question.target)
        self.n_training = len(parts[0][1])
        self.n_held_out = held_out.n_rows

    @property
    def notes(self) -> list[str]:
        """What was read in part only."""
        n_rows = self.training.n_rows
        notes = []
        if n_rows > self.n_training:
            notes.append(f"columns are described by a sample of {self.n_training:,} of {n_rows:,} rows")
        n_tested = len(self.values) - self.n_training
        if self.n_held_out > n_tested:
            notes.append(f"tested on a sample of {n_tested:,} of {self.n_held_out:,} rows held out")
        return notes


def sampled_table(data: Path, target: str | None) -> tuple[pd.DataFrame, list[str]]:
    """A sample of a stream's rows with the column of their targets, and what to say of it."""
    rows = open_stream(data, target)
    X, y = rows.sample(MOST_IN_MEMORY)
    notes = []
    if rows.n_rows > len(X):
        notes.append(f"a sample of {len(X):,} of {rows.n_rows:,} rows")
    frame = _frame(X).reset_index(drop=True)
    return (frame if target is None else frame.assign(**{target: y})), notes


def stored_frames(data: Path, target: str | None, columns: list[str]) -> Iterator[pd.DataFrame]:
    """All rows in their order, some thousand at a time; of an array without the column of the target."""
    from chainrule.train.streams import stream

    is_array = data.suffix.lower() == ".npy"
    rows = stream(data)
    if is_array and target is not None and len(rows.columns) == len(columns) + 1:
        rows = open_stream(data, target)
    for X in rows.stored(_ROWS_AT_A_TIME):
        yield _frame(X)


def _frame(X: Any) -> pd.DataFrame:
    from chainrule.estimators.frames import as_frame

    return as_frame(X)
