"""How a kernel goes over a matrix: groups of columns from left to right, and down each of them in tiles.

A group is as many vectors wide as a tile; what is left over at the right edge has a narrower group, the last
vector of which is used in part. No group reads or writes a column that is not there, so nothing need be
padded. Each kind of group is a function of its own in the module, so that a tile has all the registers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from chainrule.engine.emit import I64, POINTER, Emitter, VectorUnit, constant, internal, kernel

__all__ = ["Group", "Panel", "down_the_rows", "emit_over_columns", "groups"]


@dataclass(frozen=True)
class Group:
    """Neighbouring columns that one tile is wide.

    Attributes
    ----------
    vectors : int
    masked : bool
        Whether only a part of the last vector is used.
    """

    vectors: int
    masked: bool

    @property
    def name(self) -> str:
        """Part of the symbols of functions for this kind of group."""
        return f"{self.vectors}.masked" if self.masked else str(self.vectors)

    def mask(self, e: Emitter, columns: ir.Value) -> ir.Value | None:
        """The lanes of the last vector that are there, of a group with so many columns; None for all."""
        whole = (self.vectors - 1) * e.lanes
        return e.mask(e.builder.sub(columns, constant(whole))) if self.masked else None

    def heights(self, unit: VectorUnit) -> list[int]:
        """Heights of its tiles, tallest first; any number of rows is a sum of them.

        A tile of one vector is taller: its sums must be as many as the processor has under way at once.
        """
        tallest = unit.tile[0] + 2 if self.vectors == 1 else unit.tile[0]
        return [tallest, *(rows for rows in (4, 2, 1) if rows < tallest)]

    def fewest(self, lanes: int) -> int:
        """The group serves where at least so many columns are left."""
        return (self.vectors - 1) * lanes + 1 if self.masked else self.vectors * lanes


def groups(unit: VectorUnit) -> list[Group]:
    """The kinds of group, in the order in which they serve a row."""
    widths = range(unit.tile[1], 0, -1)
    if unit.masks:
        return [Group(unit.tile[1], False), *(Group(vectors, True) for vectors in widths)]
    return [*(Group(vectors, False) for vectors in widths), Group(1, True)]


@dataclass
class Panel:
    """What goes down the rows of one group of columns.

    Attributes
    ----------
    e : Emitter
    words : dict
        The kernel's arguments.
    step : ir.Value
        Pointer to the step's record.
    group : Group
    first : ir.Value
        The first column.
    mask : ir.Value or None
        The lanes of the last vector that are columns; None for all.
    """

    e: Emitter
    words: dict[str, ir.Value]
    step: ir.Value
    group: Group
    first: ir.Value
    mask: ir.Value | None

    def column(self, field: str) -> ir.Value:
        """Pointer to the group's first number in the first row of the matrix whose address a field is."""
        offset = self.e.builder.mul(self.first, constant(self.e.itemsize))
        return self.e.at(self.e.pointer(self.words[field]), offset)

    def row(self, field: str, stride: str, row: ir.Value) -> ir.Value:
        """Pointer to the group's first number in a row of the matrix with this address and stride."""
        return self.e.at_row(self.column(field), self.words[stride], row)

    def load(self, pointer: ir.Value) -> list[ir.Value]:
        """The group's vectors in one row."""
        return self.e.load_row(pointer, self.group.vectors, self.mask)

    def store(self, row: list[ir.Value], pointer: ir.Value) -> None:
        """Store the group's vectors in one row."""
        self.e.store_row(row, pointer, self.mask)


def emit_over_columns(
    module: ir.Module,
    name: str,
    fields: Sequence[str],
    dtype: Any,
    unit: VectorUnit,
    down: Callable[[Panel], None],
) -> None:
    """Add the kernel ``name`` to a module: ``down`` emits what is done with one group of ``columns``."""
    e, arguments, step = kernel(module, name, dtype, unit)
    columns = e.word(arguments, fields.index("columns"))
    column: ir.Value = constant(0)
    for group in groups(unit):
        function = _emit_group(module, name, fields, group, dtype, unit, down)
        fewest = group.fewest(e.lanes)
        last = e.builder.sub(columns, constant(fewest - 1))

        def turn(column: ir.Value, _: list[ir.Value], function: ir.Function = function) -> None:
            e.call(function, [arguments, step, column])

        column, _ = e.loop(column, last, group.vectors * e.lanes, turn)
    e.builder.ret_void()


def _emit_group(
    module: ir.Module,
    name: str,
    fields: Sequence[str],
    group: Group,
    dtype: Any,
    unit: VectorUnit,
    down: Callable[[Panel], None],
) -> ir.Function:
    e = internal(module, f"{name}.{group.name}", [POINTER, POINTER, I64], dtype, unit)
    arguments, step, first = e.function.args
    words = {field: e.word(arguments, place) for place, field in enumerate(fields)}
    mask = group.mask(e, e.builder.sub(words["columns"], first))
    down(Panel(e, words, step, group, first, mask))
    e.builder.ret_void()
    return e.function


def down_the_rows(
    panel: Panel, first: ir.Value, last: ir.Value, tile: Callable[[ir.Value, int], None]
) -> None:
    """Emit ``tile(row, height)`` for rows [first, last): the tallest as long as they fit, then lower ones.

    Where two rows would be left over after tiles of six, the last eight are two tiles of four: a tile of two
    reads as many numbers of the right factor as a tall one and computes a third with them.
    """
    e, row = panel.e, first
    for height in panel.group.heights(e.unit):
        until = e.builder.sub(last, constant(height - 1))
        if height == 6:
            left_over = e.builder.urem(e.builder.sub(last, first), constant(6))
            two = e.builder.icmp_unsigned("==", left_over, constant(2))
            until = e.builder.sub(until, e.builder.select(two, constant(6), constant(0)))

        def turn(row: ir.Value, _: list[ir.Value], height: int = height) -> None:
            tile(row, height)

        row, _ = e.loop(row, until, height, turn)
