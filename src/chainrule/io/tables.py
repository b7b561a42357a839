"""CSV files in: strictly, or not at all."""

from __future__ import annotations

import csv
import gzip
import os
import warnings
import zlib
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["read_table"]

# What reading a damaged text or gzip file raises, beside ValueError.
_DAMAGED = (EOFError, csv.Error, gzip.BadGzipFile, zlib.error)


def read_table(path: str | os.PathLike[str], as_text: Collection[str] = ()) -> tuple[pd.DataFrame, list[str]]:
    """Read a CSV file with a header line, strictly: what is not a table is refused, not repaired.

    Columns are separated by commas, semicolons or tabs, whichever the header line has most of; the file may
    be compressed with gzip (``.gz``). Columns without a name are left out: they hold row numbers.

    Parameters
    ----------
    path : path
        The file.
    as_text : collection of str
        Columns not to be read as numbers, so that the code 007 stays as it is.

    Returns
    -------
    frame : pandas.DataFrame of shape (n_rows, n_columns)
        The table.
    notes : list of str
        What was left out.

    Raises
    ------
    OSError
        If the file is not there or cannot be read.
    ValueError
        If it is not text in UTF-8, is empty, has a row with too many or too few values, or two columns of
        one name.
    """
    path = Path(path)
    names, separator = _read_header(path)
    repeated = [name for name, count in Counter(names).items() if count > 1 and name]
    if repeated:
        raise ValueError(f"{path}: the table has more than one column named {repeated[0]!r}")
    try:
        with warnings.catch_warnings():
            # By default a row with too many values loses some, with a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                index_col=False,
                low_memory=False,
                dtype={name: str for name in as_text if name in names},
            )
    except (*_DAMAGED, ValueError, pd.errors.ParserWarning) as error:
        raise ValueError(f"{path}: not a table ({error})") from error
    # Only a row whose last value is missing can be too short.
    if frame.shape[1] and frame.iloc[:, -1].isna().any():
        _check_row_lengths(path, separator)
    unnamed = [position for position, name in enumerate(names) if not name]
    notes = [f"{len(unnamed)} column(s) without a name are left out (a row number?)"] if unnamed else []
    return frame.drop(columns=frame.columns[unnamed]), notes


def _read_header(path: Path) -> tuple[list[str], str]:
    """The column names of a CSV file and the character between them: a comma, semicolon or tab."""
    opened = _opener(path)
    try:
        with opened(path, "rb") as binary:
            start = binary.read(1 << 16)
        if not start.strip():
            raise ValueError(f"{path}: the file is empty")
        if b"\0" in start:
            raise ValueError(f"{path}: not a table (it is not a text file)")
        first_line = start.lstrip().split(b"\n")[0]
        separator = max((",", ";", "\t"), key=lambda character: first_line.count(character.encode()))
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            names = next((row for row in csv.reader(file, delimiter=separator) if row), [])
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a table (it is not text in UTF-8: {error.reason})") from error
    except _DAMAGED as error:
        raise ValueError(f"{path}: not a table ({error})") from error
    return names, separator


def _opener(path: Path) -> Any:
    return gzip.open if path.suffix == ".gz" else open


def _check_row_lengths(path: Path, separator: str) -> None:
    """Refuse a row that has fewer values than the header has names, which pandas fills up."""
    with _opener(path)(path, "rt", encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        rows = (row for row in reader if row)
        n_names = len(next(rows))
        for row in rows:
            if len(row) < n_names:
                plural = "" if len(row) == 1 else "s"
                raise ValueError(
                    f"{path}: not a table (line {reader.line_num} has {len(row)} value{plural}, "
                    f"the header {n_names} names; a missing value still needs its separator)"
                )
