"""The way from a table's raw numbers to a network's input, as lines of NumPy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.exports.model import Exported
from chainrule.exports.numpy_network import Parts
from chainrule.exports.tables import Table

__all__ = ["input_lines"]

_WRONG = "X must hold finite numbers, not too large beside those of training, or NaN for a gap"


def input_lines(model: Exported, parts: Parts) -> Iterator[str]:
    """Lines that check X and make the networks' input of it."""
    n, table = model.n_columns, model.table
    has_categories = table is not None and bool(table.categories)
    yield f'X = np.asarray(X, "{"object" if has_categories else model.input_dtype}")'
    yield f"if X.ndim != 2 or X.shape[1] != {n}:"
    yield f'    raise ValueError(f"X must have shape (n, {n}); got {{X.shape}}")'
    if table is not None:
        yield from _table_lines(table, parts, model.dtype)


def _table_lines(table: Table, parts: Parts, dtype: np.dtype) -> Iterator[str]:
    parts.constants |= {"fill": table.fill, "centre": table.centre, "scale": table.scale}
    if table.categories:
        parts.constant("is_category", np.isin(np.arange(len(table.names)), list(table.categories)))
        yield 'rows, X = X, np.where(is_category, 0, X).astype("float64")'
    yield "gaps = np.isnan(X)"
    yield "X = np.where(gaps, fill, X)"
    if table.yes_no:
        yield f"if not np.isin(X[:, {table.yes_no}], (0, 1)).all():"
        yield f'    raise ValueError("columns {table.yes_no} of X must hold 0 or 1, or NaN for a gap")'
    yield "numbers = (X - centre) / scale"
    yield "if not np.isfinite(numbers).all():"
    yield f'    raise ValueError("{_WRONG}")'
    if table.limit is not None:
        parts.constant("limit", table.limit)
        yield "numbers = numbers / np.hypot(1, numbers / limit)"
    yield from _input_lines(table, parts, "" if dtype == np.float64 else f'.astype("{dtype}")')


def _input_lines(table: Table, parts: Parts, cast: str) -> Iterator[str]:
    """The network's inputs, side by side."""
    n = len(table.names)
    if len(table.inputs) == n and not table.categories:
        columns = table.columns("number")
        yield f"X = numbers{'' if columns == list(range(n)) else f'[:, {columns}]'}{cast}"
        return
    yield "X = np.column_stack(["
    for part, column in table.inputs:
        if part == "rank":
            knots = parts.constant(f"knots_{column}", table.curves[column].x)
            ranks = parts.constant(f"ranks_{column}", table.curves[column].y)
            yield f"    np.interp(X[:, {column}], {knots}, {ranks}),"
        elif part == "categories":
            parts.helper("text", "one_hot")
            categories = table.categories[column]
            texts = parts.constant(f"categories_{column}", categories.texts)
            yield f"    one_hot(rows[:, {column}], {texts}, others_share={categories.others_share}),"
        else:
            yield f"    {part}s[:, {column}],"
    yield f"]){cast}"
