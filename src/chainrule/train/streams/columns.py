"""Columns of Arrow as arrays of NumPy, with nothing missing and nothing turned into what it was not."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["as_matrix", "as_target", "as_vector", "column_sort", "import_arrow", "pick"]


def import_arrow() -> Any:
    """The package pyarrow; ImportError that says how to come by it."""
    try:
        import pyarrow
    except ImportError:
        raise ImportError(
            "streaming Parquet and CSV files needs pyarrow, which is not installed: "
            "pip install 'chainrule[arrow]'"
        ) from None
    return pyarrow


def column_sort(kind: Any) -> str:
    """What an Arrow type is to a network: number, truth value, text, nothing (all missing), or its name."""
    types = import_arrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_boolean(kind):
        return "truth value"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    return "nothing" if types.is_null(kind) else str(kind)


def pick(
    available: Sequence[str], where: str, columns: Sequence[str] | None, target: Any, weight: Any
) -> tuple[list[str], list[str], list[str]]:
    """Names of features, targets and weights among the columns of a table.

    Raises
    ------
    ValueError
        If one is not there, or is there twice; the message lists those that are.
    """
    twice = [name for name in dict.fromkeys(available) if available.count(name) > 1]
    if twice:
        raise ValueError(f"{where} has more than one column named {twice[0]!r}")
    targets = [] if target is None else [target] if isinstance(target, str) else list(target)
    weights = [] if weight is None else [weight]
    kept = [*targets, *weights]
    features = [name for name in (available if columns is None else columns) if name not in kept]
    roles = {"target": targets, "weight": weights, "columns": features}
    for role, names in roles.items():
        for name in names:
            if name not in available:
                shown = ", ".join(map(repr, available[:20])) + (", ..." if len(available) > 20 else "")
                raise ValueError(f"{role}: {where} has no column {name!r}; its columns are {shown}")
    if not features:
        raise ValueError(f"{where} has no column left to learn from")
    return features, targets, weights


def as_vector(column: Any, name: str, where: str, first: int) -> np.ndarray:
    """A column of numbers; ``first`` is the number of its first row in the file ``where``."""
    sort = column_sort(column.type)
    if sort in ("text", "nothing") or (sort != "number" and sort != "truth value"):
        found = next((repr(value) for value in column.to_pylist() if value is not None), "nothing")
        raise ValueError(
            f"column {name!r} of {where} must hold numbers; got {found} of type {column.type}: "
            "give a preprocessor, or leave the column out"
        )
    _refuse_missing(column, name, where, first)
    if import_arrow().types.is_decimal(column.type):
        column = column.cast("float64")
    vector: np.ndarray = column.to_numpy(zero_copy_only=False)
    return vector


def as_matrix(batch: Any, names: Sequence[str], where: str, first: int) -> np.ndarray:
    """Columns of numbers side by side, in the narrowest type that holds them all."""
    vectors = [as_vector(batch.column(name), name, where, first) for name in names]
    matrix = np.empty(
        (batch.num_rows, len(names)), np.result_type(np.float32, *{one.dtype for one in vectors})
    )
    for place, vector in enumerate(vectors):
        matrix[:, place] = vector
    return matrix


def as_target(batch: Any, names: Sequence[str], where: str, first: int) -> np.ndarray | None:
    """The target: a vector of numbers, truth values or texts, or the columns of several numbers."""
    if not names:
        return None
    if len(names) > 1:
        return as_matrix(batch, names, where, first)
    column = batch.column(names[0])
    if column_sort(column.type) != "text":
        return as_vector(column, names[0], where, first)
    _refuse_missing(column, names[0], where, first)
    return np.array(column.to_pylist(), dtype=object)


def _refuse_missing(column: Any, name: str, where: str, first: int) -> None:
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(f"column {name!r} has no value in row {first + row} of {where}")
