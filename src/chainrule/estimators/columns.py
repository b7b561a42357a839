"""Reading the columns of a data frame: what each holds, and the one that is to be predicted.

Every complaint names the column, and where it can the value and its row.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api import types as pandas_types

__all__ = [
    "class_labels",
    "column_kind",
    "date_column",
    "infer_task",
    "number_column",
    "refuse_mixture",
    "split_target",
    "text_column",
    "truth_column",
]

Kind = Literal["numeric", "date", "boolean", "categorical"]
Task = Literal["classification", "regression"]

KINDS: tuple[Kind, ...] = ("numeric", "date", "boolean", "categorical")

# What pandas calls the content of a column of Python objects, and what it is to a network.
_KIND_OF_CONTENT: dict[str, Kind] = {
    "boolean": "boolean",
    "integer": "numeric",
    "floating": "numeric",
    "mixed-integer-float": "numeric",
    "decimal": "numeric",
    "timedelta": "numeric",
    "timedelta64": "numeric",
    "date": "date",
    "datetime": "date",
    "datetime64": "date",
    "string": "categorical",
    "mixed": "categorical",
    "mixed-integer": "categorical",
}

_MIXTURES = ("mixed", "mixed-integer")

# Whole numbers with at most so many different values are taken for classes.
_MOST_INTEGER_CLASSES = 20


# ------------------------------------------------------------------------------- the column to predict


def split_target(frame: pd.DataFrame, target: str) -> tuple[pd.DataFrame, pd.Series, int]:
    """Separate the column to predict from the columns to predict it from.

    Rows in which the target is missing cannot be learned from: they are left out, and counted.

    Parameters
    ----------
    frame : pandas.DataFrame of shape (n_rows, n_columns)
        The whole table.
    target : str
        Name of the column to predict.

    Returns
    -------
    features : pandas.DataFrame
        The other columns, of the rows that have a target.
    values : pandas.Series
        The target of these rows.
    n_dropped : int
        Number of rows left out.

    Raises
    ------
    ValueError
        If the table is empty, has no such column (the message lists those it has), no other column, no row
        with a target, or the same target in every row.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"x": [1, 2, 3], "y": ["a", None, "b"]})
    >>> features, values, n_dropped = split_target(table, "y")
    >>> list(values), n_dropped
    (['a', 'b'], 1)
    >>> split_target(table, "Y")
    Traceback (most recent call last):
        ...
    ValueError: the table has no column 'Y', did you mean 'y'? Its columns: x, y
    """
    frame = checked_frame(frame)
    if target not in frame.columns:
        hint = near_match(target, frame.columns)
        raise ValueError(f"the table has no column {target!r}{hint} Its columns: {listed(frame.columns)}")
    if len(frame) == 0:
        raise ValueError("the table has no rows to learn from")
    known = frame[target].notna()
    values = frame.loc[known, target]
    if len(values) == 0:
        raise ValueError(f"target column {target!r} has no value in any row")
    if values.nunique() == 1:
        only = values.iloc[0]
        raise ValueError(f"target column {target!r} has one value only, {only!r}: nothing to tell apart")
    features = frame.loc[known].drop(columns=target)
    if features.shape[1] == 0:
        raise ValueError(f"the table has no column beside the target {target!r} to learn from")
    return features, values, int((~known).sum())


def infer_task(target: pd.Series) -> Task:
    """Whether predicting a column means naming a class or a number.

    Text and truth values are classes. Whole numbers are classes if there are at most 20 different ones and
    each is there twice on average. All other numbers are numbers.

    Parameters
    ----------
    target : pandas.Series
        The column to predict, without missing values.

    Returns
    -------
    {"classification", "regression"}

    Examples
    --------
    >>> import pandas as pd
    >>> infer_task(pd.Series(["yes", "no"])), infer_task(pd.Series([1.5, 2.5]))
    ('classification', 'regression')
    >>> infer_task(pd.Series([0, 1, 1, 0])), infer_task(pd.Series([31, 47, 29, 60]))
    ('classification', 'regression')
    """
    if column_kind(target) != "numeric":
        return "classification"
    numbers = number_column(target)
    different = len(np.unique(numbers))
    whole = bool(np.all(numbers == np.floor(numbers)))
    few = different <= min(_MOST_INTEGER_CLASSES, len(numbers) // 2)
    return "classification" if whole and few else "regression"


def class_labels(target: pd.Series) -> np.ndarray:
    """The classes of a target column: whole numbers stay numbers, everything else becomes text.

    Parameters
    ----------
    target : pandas.Series of length n
        The column to predict, without missing values.

    Returns
    -------
    numpy.ndarray of shape (n,), int64 or str

    Raises
    ------
    ValueError
        If the column holds fractions or dates.

    Examples
    --------
    >>> import pandas as pd
    >>> class_labels(pd.Series([1.0, 0.0])), class_labels(pd.Series([True, False]))
    (array([1, 0]), array(['True', 'False'], dtype='<U5'))
    """
    if column_kind(target) != "numeric":
        return np.array(text_column(target), dtype=np.str_)
    numbers = number_column(target)
    fractions = numbers != np.floor(numbers)
    if fractions.any():
        found = first_value(target, fractions)
        raise ValueError(f"target column {target.name!r} holds fractions ({found}): use regression")
    return numbers.astype(np.int64)


# --------------------------------------------------------------------------------- reading one column


def column_kind(column: pd.Series) -> Kind:
    """What a column is to a network.

    Parameters
    ----------
    column : pandas.Series
        A column with at least one value.

    Returns
    -------
    {"numeric", "date", "boolean", "categorical"}
        Durations are numbers of seconds. Text is a date if every value is written as ISO 8601 has it,
        2024-02-29 or 2024-02-29T13:05.

    Raises
    ------
    ValueError
        If it holds complex numbers or the like; the message says what to do.

    Examples
    --------
    >>> import pandas as pd
    >>> column_kind(pd.Series([1, None])), column_kind(pd.Series([True])), column_kind(pd.Series(["a"]))
    ('numeric', 'boolean', 'categorical')
    >>> column_kind(pd.Series(["2024-02-29", None]))
    'date'
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "categorical"
    if pandas_types.is_bool_dtype(column.dtype):
        return "boolean"
    if pandas_types.is_numeric_dtype(column.dtype) and not pandas_types.is_complex_dtype(column.dtype):
        return "numeric"
    content = pandas_types.infer_dtype(column, skipna=True)
    if content not in _KIND_OF_CONTENT:
        raise ValueError(
            f"column {column.name!r} holds {content} values, neither numbers, dates, truth values nor text: "
            "turn them into numbers first or leave the column out"
        )
    if content == "string" and _are_dates(column):
        return "date"
    return _KIND_OF_CONTENT[content]


def refuse_mixture(column: pd.Series) -> None:
    """ValueError if a column of Python objects holds several types that do not go together.

    Examples
    --------
    >>> import pandas as pd
    >>> refuse_mixture(pd.Series([1.5, "n/a"], name="mass", dtype=object))
    Traceback (most recent call last):
    ValueError: column 'mass' mixes types: 1 values of type float, but 'n/a' in row 1; correct it, or make...
    """
    if column.dtype != object or pandas_types.infer_dtype(column, skipna=True) not in _MIXTURES:
        return
    values = column.dropna()
    counts = Counter(type(value).__name__ for value in values)
    (usual, n_usual), *_ = counts.most_common()
    different = np.array([type(value).__name__ != usual for value in values])
    other = f", but {first_value(values, different)}" if different.any() else ""
    raise ValueError(
        f"column {column.name!r} mixes types: {n_usual} values of type {usual}{other}; correct it, or make "
        "all of it text if they are codes, or leave it out"
    )


# A day of a year, and perhaps a time of day.
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?", re.ASCII)


def _are_dates(column: pd.Series) -> bool:
    """Whether every text of a column is a date; most columns are told by their first."""
    texts = column.dropna()
    if not _DATE.fullmatch(str(texts.iloc[0]).strip()):
        return False
    return all(_DATE.fullmatch(str(text).strip()) for text in texts) and not np.isnan(_seconds(texts)).any()


def _seconds(column: pd.Series) -> np.ndarray:
    """Dates as seconds since 1970 by the clock on the wall; NaN for a gap and for what is no date."""
    if isinstance(column.dtype, pd.DatetimeTZDtype) or pandas_types.is_datetime64_dtype(column.dtype):
        dates = column
    else:
        plain = column.astype(object).where(column.notna(), None)
        dates = pd.to_datetime(plain.map(_without_zone), errors="coerce", format="ISO8601")
    if isinstance(dates.dtype, pd.DatetimeTZDtype):
        dates = dates.dt.tz_localize(None)
    return (dates - pd.Timestamp(0)).dt.total_seconds().to_numpy(np.float64)


# The zone at the end of a time: Z, +02:00.
_ZONE = re.compile(r"(Z|[+-]\d{2}:?\d{2})$", re.ASCII)


def _without_zone(value: Any) -> Any:
    """The time on the wall of a date that may name its zone."""
    if isinstance(value, str):
        text = value.strip()
        return _ZONE.sub("", text) if len(text) > len("2024-02-29") else text
    return value.replace(tzinfo=None) if getattr(value, "tzinfo", None) is not None else value


def date_column(column: pd.Series) -> np.ndarray:
    """A column of dates as seconds since 1970, by the clock on the wall where a time zone is given.

    Parameters
    ----------
    column : pandas.Series of length n
        Dates, or text as ISO 8601 writes them.

    Returns
    -------
    numpy.ndarray of shape (n,), float64
        NaN where a value is missing.

    Raises
    ------
    ValueError
        If a value is no date; the message names the column, the value and its row.

    Examples
    --------
    >>> import pandas as pd
    >>> date_column(pd.Series(["1970-01-02", None, "1970-01-01T10:00+02:00"]))
    array([86400.,    nan, 36000.])
    >>> date_column(pd.Series(["soon"], name="due"))
    Traceback (most recent call last):
        ...
    ValueError: column 'due' must hold dates, got 'soon' in row 0
    """
    if pandas_types.is_numeric_dtype(column.dtype) and column.notna().any():
        found = first_value(column, column.notna().to_numpy())
        raise ValueError(f"column {column.name!r} must hold dates, got {found}")
    seconds = _seconds(column)
    no_dates = np.isnan(seconds) & ~column.isna().to_numpy()
    if no_dates.any():
        raise ValueError(f"column {column.name!r} must hold dates, got {first_value(column, no_dates)}")
    return seconds


def number_column(column: pd.Series) -> np.ndarray:
    """A column as float64, NaN where a value is missing.

    Parameters
    ----------
    column : pandas.Series of length n
        Numbers, or text that is written like numbers.

    Returns
    -------
    numpy.ndarray of shape (n,), float64

    Raises
    ------
    ValueError
        If a value is not a number, or infinite; the message names the column, the value and its row.

    Examples
    --------
    >>> import pandas as pd
    >>> number_column(pd.Series(["1.5", None], name="mass"))
    array([1.5, nan])
    >>> number_column(pd.Series([1, "heavy"], name="mass"))
    Traceback (most recent call last):
        ...
    ValueError: column 'mass' must hold numbers, got 'heavy' in row 1
    """
    missing = column.isna().to_numpy()
    if not missing.all() and column_kind(column) == "date":  # which would become nanoseconds below
        raise ValueError(f"column {column.name!r} must hold numbers, got {first_value(column, ~missing)}")
    if pandas_types.is_timedelta64_dtype(column.dtype):
        column = column.dt.total_seconds()
    if not pandas_types.is_numeric_dtype(column.dtype):
        numeric = pd.to_numeric(column.astype(object), errors="coerce")
    else:
        numeric = column
    numbers = numeric.to_numpy(dtype=np.float64, na_value=np.nan)
    not_numbers = np.isnan(numbers) & ~missing
    if not_numbers.any():
        found = first_value(column, not_numbers)
        raise ValueError(f"column {column.name!r} must hold numbers, got {found}")
    infinite = np.isinf(numbers)
    if infinite.any():
        found = first_value(column, infinite)
        raise ValueError(f"column {column.name!r} must hold finite numbers, got {found}")
    return numbers


def truth_column(column: pd.Series) -> np.ndarray:
    """A yes/no column as 0.0, 1.0 and, where a value is missing, NaN.

    Parameters
    ----------
    column : pandas.Series of length n
        Truth values, the numbers 0 and 1, or the words true and false.

    Returns
    -------
    numpy.ndarray of shape (n,), float64

    Raises
    ------
    ValueError
        If a value is none of these.

    Examples
    --------
    >>> import pandas as pd
    >>> truth_column(pd.Series([True, "false", None, 1]))
    array([ 1.,  0., nan,  1.])
    """
    truth = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
    missing = column.isna().to_numpy()
    words = column.astype(object).map(lambda value: truth.get(str(value).strip().lower(), np.nan))
    numbers = words.to_numpy(dtype=np.float64)
    neither = np.isnan(numbers) & ~missing
    if neither.any():
        raise ValueError(f"column {column.name!r} must hold truth values, got {first_value(column, neither)}")
    return numbers


def text_column(column: pd.Series) -> list[str | None]:
    """A column of categories as text, None where a value is missing.

    A whole number is written without a fraction, so that a code stays the same code when a gap elsewhere in
    its column makes pandas read the column as floats.

    Parameters
    ----------
    column : pandas.Series of length n
        Values of any type.

    Returns
    -------
    list of n str or None

    Examples
    --------
    >>> import pandas as pd
    >>> text_column(pd.Series([7.0, None])), text_column(pd.Series(["a", "b"]))
    (['7', None], ['a', 'b'])
    """
    if column.dtype != object or pd.api.types.infer_dtype(column, skipna=True) == "string":
        # Each different value once. Of mixed types 1 and True would be one value.
        places, values = pd.factorize(column)
        texts = np.array([*map(_text, values), None], dtype=object)
        known: list[str | None] = texts[places].tolist()
        return known
    missing = column.isna()
    return [None if gap else _text(value) for value, gap in zip(column, missing, strict=True)]


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


# ----------------------------------------------------------------------------------- checks and messages


def checked_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its column names as text; TypeError or ValueError if it is no frame or two agree."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"expected a pandas DataFrame, got {type(frame).__name__}")
    names = [str(name) for name in frame.columns]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"the table has more than one column named {', '.join(map(repr, repeated))}")
    return frame.set_axis(names, axis="columns")


def listed(names: Sequence[str], at_most: int = 20) -> str:
    """The names with commas between them; of many the first ones and the number of the others."""
    more = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {more} more" if more > 0 else "")


def near_match(name: str, candidates: Iterable[str]) -> str:
    """', did you mean ...?' when a candidate looks like the name, else a full stop."""
    lowered = {candidate.lower(): candidate for candidate in candidates}
    found = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f", did you mean {lowered[found[0]]!r}?" if found else "."


def first_value(column: pd.Series, where: np.ndarray) -> str:
    """The first value that a mask of the column's length marks, and its row."""
    position = int(np.flatnonzero(where)[0])
    value = column.iloc[position]
    return f"{value.item() if isinstance(value, np.generic) else value!r} in row {column.index[position]}"
