"""Kernels of products of packed bf16 factors: the way over the tiles, and what becomes of their sums."""

from collections.abc import Callable

import numpy as np
from llvmlite import ir

from chainrule.engine.bfloat16_packing import PANEL_ROW, at_column
from chainrule.engine.bfloat16_tiles import ProductUnit
from chainrule.engine.emit import I8, Values, VectorUnit, constant
from chainrule.engine.walks import Panel, emit_over_columns

__all__ = ["PRODUCTS", "emit_packed_product"]

CACHE_LINE = 64

FACTORS = ("left", "left_stride", "rows", "n_terms", "right", "panel", "columns")
PRODUCTS = {
    "product": (*FACTORS, "result", "result_stride", "row", "adds", "share", "shares"),
}


def emit_packed_product(
    module: ir.Module, tile: ir.Function, product_unit: ProductUnit, unit: VectorUnit
) -> None:
    """C[i, :] = Σ_k A[i, k] B[k, :] for this thread's share of the rows; a row is added, and C, if asked.

    0 rows, or terms, stand for as many as the batch has rows: (1) and (5) have the rows of the batch, (6)
    sums over them.
    """

    def down(panel: Panel) -> None:
        e, b, words = panel.e, panel.e.builder, panel.words
        n_rows = _or_of_batch(panel, "rows")
        first, last = (
            b.udiv(b.mul(n_rows, share), words["shares"])
            for share in (words["share"], b.add(words["share"], constant(1)))
        )
        result, row = panel.column("result"), panel.column("row")
        has_row, adds = (b.icmp_unsigned("!=", words[field], constant(0)) for field in ("row", "adds"))

        def finish(i: ir.Value, sums: Values) -> None:
            place = e.at_row(result, words["result_stride"], i)
            for condition, addend in ((has_row, row), (adds, place)):

                def added(sums: Values = sums, addend: ir.Value = addend) -> Values:
                    return [
                        b.fadd(value, other) for value, other in zip(sums, panel.load(addend), strict=True)
                    ]

                sums = e.when(condition, added, sums)
            panel.store(sums, place)

        _down_the_tiles(panel, product_unit, tile, (first, last), finish)

    emit_over_columns(module, "product", PRODUCTS["product"], np.float32, unit, down)


def _or_of_batch(panel: Panel, field: str) -> ir.Value:
    """A number of rows or of terms; 0 stands for as many as the batch has rows."""
    b, value = panel.e.builder, panel.words[field]
    return b.select(b.icmp_signed("==", value, constant(0)), panel.e.from_step(panel.step, "n_rows"), value)


def _down_the_tiles(
    panel: Panel,
    product_unit: ProductUnit,
    tile: ir.Function,
    edges: tuple[ir.Value, ir.Value],
    finish: Callable[[ir.Value, Values], None],
) -> None:
    """The sums of a group of columns, tile after tile, and ``finish(row, sums)`` for each row of them."""
    e, b, words = panel.e, panel.e.builder, panel.words
    first, last = edges
    room = b.alloca(ir.ArrayType(I8, product_unit.height * PANEL_ROW))
    room.align = CACHE_LINE
    n_terms, height = _or_of_batch(panel, "n_terms"), constant(product_unit.height)
    right = at_column(e, e.pointer(words["right"]), words["panel"], panel.first)
    columns = constant(panel.group.vectors * e.lanes)
    product_unit.begin(e)

    def one_tile(row: ir.Value, _: Values) -> None:
        left = e.at_row(e.pointer(words["left"]), words["left_stride"], row)
        rows = b.sub(last, row)
        rows = b.select(b.icmp_signed("<", rows, height), rows, height)
        factors = [left, words["left_stride"], right, words["panel"], n_terms]
        e.call(tile, [*factors, rows, columns, room])

        def one_row(i: ir.Value, _: Values) -> None:
            sums = e.load_row(e.at_row(room, constant(PANEL_ROW), i), panel.group.vectors)
            finish(b.add(row, i), sums)

        e.loop(constant(0), rows, 1, one_row)

    e.loop(first, last, product_unit.height, one_tile)
    product_unit.end(e)
