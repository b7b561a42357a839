"""From a table's raw numbers to what a network takes: what a `TablePreprocessor` has learned, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Categories", "Curve", "Table", "table_of"]

# Robust numbers never go beyond this: `chainrule.estimators.numbers.smoothly_clipped`.
_LIMIT = 3.0


@dataclass(frozen=True)
class Curve:
    """Points (x, y) that straight lines join, level before the first and after the last: ``numpy.interp``."""

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, x: Sequence[float], y: Sequence[float]) -> Curve:
        """The curve through these points, x in ascending order."""
        return cls(np.array(x, np.float64), np.array(y, np.float64))


@dataclass(frozen=True)
class Categories:
    """The categories of a column with an input each, None for a gap; perhaps all others share one more."""

    texts: list[str | None]
    others_share: bool


@dataclass(frozen=True)
class Table:
    """What is done to a table in float64, where NaN is a gap; arrays have an entry for each column.

    A gap becomes ``fill``; z = (x − centre) / scale; then z / √(1 + (z/limit)²), where there is a limit.

    Attributes
    ----------
    names : tuple of str
        The table's columns.
    fill, centre, scale : numpy.ndarray
    limit : numpy.ndarray or None
        Infinite for a column that is not clipped; None if no column is.
    curves : dict of int to Curve
        By column, in ascending order: what gives its ranks.
    yes_no : list of int
        Columns that hold 0 and 1.
    categories : dict of int to Categories
        Of the columns that hold categories; the arrays' entries mean nothing there.
    inputs : list of (str, int)
        The network's inputs: "number", "rank" or "gap", 1 where there is one, of a column, or a number of
        them, its "categories".
    """

    names: tuple[str, ...]
    fill: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    limit: np.ndarray | None
    curves: dict[int, Curve]
    yes_no: list[int]
    categories: dict[int, Categories]
    inputs: list[tuple[str, int]]

    def columns(self, part: str) -> list[int]:
        """The columns that the network takes this part of, in its order."""
        return [column for its_part, column in self.inputs if its_part == part]


def table_of(preprocessor: Any, kinds: Sequence[str]) -> Table:
    """What a fitted `TablePreprocessor` does, whose columns are of these kinds.

    Raises
    ------
    ValueError
        If it has other columns; the message names them.
    """
    columns = preprocessor.to_dict()["columns"]
    others = [f"{one['name']!r} ({one['kind']})" for one in columns if one["kind"] not in kinds]
    if others:
        can = f"{', '.join(kinds[:-1])} and {kinds[-1]}"
        raise ValueError(f"only tables of {can} columns can be exported; got {', '.join(others)}")
    return Table(
        names=tuple(column["name"] for column in columns),
        fill=_array(columns, ("fill", "centre", "median"), 0.0),
        centre=_array(columns, ("centre", "mean"), 0.0),
        scale=_array(columns, ("scale",), 1.0),
        limit=_limits(columns),
        curves={k: Curve.of(one["knots"], one["ranks"]) for k, one in enumerate(columns) if one.get("knots")},
        yes_no=[k for k, column in enumerate(columns) if column["kind"] == "boolean"],
        categories={
            k: Categories(one["categories"], bool(one.get("rare")))
            for k, one in enumerate(columns)
            if one["kind"] == "categorical"
        },
        inputs=_inputs(columns),
    )


def _array(columns: Sequence[Mapping[str, Any]], fields: Sequence[str], otherwise: float) -> np.ndarray:
    """For each column the first of the fields that it has."""
    found = [[column[field] for field in fields if field in column] for column in columns]
    return np.array([values[0] if values else otherwise for values in found], np.float64)


def _limits(columns: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
    """Robust numbers, which have a centre, are clipped; others are not."""
    limits = np.array([_LIMIT if "centre" in column else np.inf for column in columns])
    return limits if np.isfinite(limits).any() else None


def _inputs(columns: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Numbers come first, each followed by its rank and its gaps; then truth values, then categories."""
    inputs = []
    for k, column in enumerate(columns):
        if column["kind"] == "numeric":
            parts = ["number", *["rank"] * bool(column.get("knots")), *["gap"] * bool(column.get("missing"))]
            inputs += [(part, k) for part in parts]
    for kind, part in (("boolean", "number"), ("categorical", "categories")):
        inputs += [(part, k) for k, column in enumerate(columns) if column["kind"] == kind]
    return inputs
