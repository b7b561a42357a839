"""Tables as the commands read them: what a reader would silently repair is refused."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_one_type", "read_rows"]

# With a larger share of text among its numbers, a column is taken for one of text.
_MOST_TEXT = 0.25


def read_rows(data: Path, as_text: Collection[str] = ()) -> tuple[pd.DataFrame, list[str]]:
    """The table of a file and notes on how it was read; ValueError for ragged rows."""
    from chainrule.io import read_table

    frame, notes = read_table(data, as_text=as_text)
    # Only a row whose last value is missing can be too short.
    if frame.shape[1] and frame.iloc[:, -1].isna().any() and data.is_file():
        _check_row_lengths(data, frame.shape[1])
    return frame, notes


def _check_row_lengths(data: Path, at_least: int) -> None:
    """Refuse a CSV file with a row that has fewer values than the header has names."""
    opened = gzip.open if data.suffix == ".gz" else open
    with opened(data, "rt", encoding="utf-8-sig", newline="") as file:
        start = file.readline()
        while start and not start.strip():
            start = file.readline()
        delimiter = max((",", ";", "\t"), key=start.count)
        if start.count(delimiter) + 1 < at_least:
            return  # names with line ends in them, or no CSV file
        n_names = len(next(csv.reader([start], delimiter=delimiter)))
        reader = csv.reader(file, delimiter=delimiter)
        for row in reader:
            if row and len(row) < n_names:
                plural = "" if len(row) == 1 else "s"
                raise ValueError(
                    f"{data}: not a table (line {reader.line_num + 1} has {len(row)} value{plural}, "
                    f"the header {n_names} names; a missing value still needs its separator)"
                )


def check_one_type(features: pd.DataFrame, text: Collection[str]) -> None:
    """Refuse a column that is mostly numbers with a little text in it.

    Such a column would be read as text, each number a category of its own.
    """
    import pandas as pd

    for name in features.columns:
        column = features[name].dropna()
        if name in text or pd.api.types.is_numeric_dtype(column) or len(column) == 0:
            continue
        words = column.astype(object).map(str)
        is_text = pd.to_numeric(words, errors="coerce").isna()
        # A number that begins with 0 is a code.
        are_codes = words.str.match(r"\s*0\d").any()
        if is_text.any() and is_text.mean() < _MOST_TEXT and not are_codes:
            found = words[is_text]
            raise ValueError(
                f"column {name!r} mixes numbers and text: {len(words) - len(found)} numbers, but "
                f"{found.iloc[0]!r} in row {found.index[0]}; correct it, or say --text {name} if they are "
                f"codes, or --drop {name}"
            )
