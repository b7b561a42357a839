"""Kernels of products of packed bf16 factors: the way over the tiles, and what becomes of their sums."""

from collections.abc import Callable

import numpy as np
from llvmlite import ir

from chainrule.engine.bfloat16_packing import PANEL_ROW, Fields, at_column
from chainrule.engine.bfloat16_tiles import ProductUnit
from chainrule.engine.emit import Values, VectorUnit, constant
from chainrule.engine.steps import Rule, Step
from chainrule.engine.walks import Panel, emit_over_columns

__all__ = ["PRODUCTS", "UPDATES", "emit_packed_product", "emit_packed_update"]

# The arguments of each kernel, in order: addresses, and strides and sizes in bytes.
FACTORS = ("left", "left_stride", "rows", "right", "panel", "columns")
PRODUCTS: Fields = {
    "product": (*FACTORS, "n_terms", "result", "result_stride", "row", "adds", "share", "shares"),
}
UPDATES: Fields = {
    "gradient_update": (
        *FACTORS, "weights", "first", "second", "stride", "decays", "penalised", "penalties",
    ),
}  # fmt: skip


def emit_packed_product(
    module: ir.Module, tile: ir.Function, product_unit: ProductUnit, unit: VectorUnit
) -> None:
    """C[i, :] = Σ_k A[i, k] B[k, :] for this thread's share of the rows; a row is added, and C, if asked.

    0 rows, or terms, stand for as many as the batch has rows: (1) and (5) have the rows of the batch, (6)
    sums over them.
    """

    def down(panel: Panel) -> None:
        b, words = panel.e.builder, panel.words
        n_rows = _or_of_batch(panel, "rows")
        first, last = (
            b.udiv(b.mul(n_rows, share), words["shares"])
            for share in (words["share"], b.add(words["share"], constant(1)))
        )

        def finish(row: ir.Value, rows: ir.Value, sums: ir.Value) -> None:
            _store(panel, row, rows, sums)

        _down_the_tiles(panel, (product_unit, tile), _or_of_batch(panel, "n_terms"), (first, last), finish)

    emit_over_columns(module, "product", PRODUCTS["product"], np.float32, unit, down)


def _store(panel: Panel, first: ir.Value, rows: ir.Value, sums: ir.Value) -> None:
    """Rows of sums become rows of the result; a row and what is there are added where that is asked for."""
    e, b, words = panel.e, panel.e.builder, panel.words
    has_row, adds = (b.icmp_unsigned("!=", words[field], constant(0)) for field in ("row", "adds"))

    def one(i: ir.Value, _: Values) -> None:
        values = e.load_row(e.at_row(sums, constant(PANEL_ROW), i), panel.group.vectors)
        place = e.at_row(panel.column("result"), words["result_stride"], b.add(first, i))
        for condition, addend in ((has_row, panel.column("row")), (adds, place)):

            def added(values: Values = values, addend: ir.Value = addend) -> Values:
                return [b.fadd(value, other) for value, other in zip(values, panel.load(addend), strict=True)]

            values = e.when(condition, added, values)
        panel.store(values, place)

    e.loop(constant(0), rows, 1, one)


def emit_packed_update(
    module: ir.Module, rule: Rule, tile: ir.Function, product_unit: ProductUnit, unit: VectorUnit
) -> None:
    """The weight gradient (6), and instead of storing it one step of the optimizer's rule."""

    def down(panel: Panel) -> None:
        step = Step(panel, rule)

        def finish(row: ir.Value, rows: ir.Value, sums: ir.Value) -> None:
            step.take(row, rows, sums, constant(PANEL_ROW))

        n_terms, edges = panel.e.from_step(panel.step, "n_rows"), (constant(0), panel.words["rows"])
        _down_the_tiles(panel, (product_unit, tile), n_terms, edges, finish)
        step.report_penalties()

    emit_over_columns(module, "gradient_update", UPDATES["gradient_update"], np.float32, unit, down)


def _or_of_batch(panel: Panel, field: str) -> ir.Value:
    """A number of rows or of terms; 0 stands for as many as the batch has rows."""
    b, value = panel.e.builder, panel.words[field]
    return b.select(b.icmp_signed("==", value, constant(0)), panel.e.from_step(panel.step, "n_rows"), value)


def _down_the_tiles(
    panel: Panel,
    maker: tuple[ProductUnit, ir.Function],
    n_terms: ir.Value,
    edges: tuple[ir.Value, ir.Value],
    finish: Callable[[ir.Value, ir.Value, ir.Value], None],
) -> None:
    """The sums of a group of columns, tile after tile.

    Each tile is given to ``finish(row, rows, sums)``: its first row, how many rows there are, and where the
    sums of the first one lie; those of the next lie ``PANEL_ROW`` bytes further on.
    """
    e, b, words = panel.e, panel.e.builder, panel.words
    (product_unit, tile), (first, last) = maker, edges
    sums, height = e.room(product_unit.height * PANEL_ROW), constant(product_unit.height)
    right = at_column(e, e.pointer(words["right"]), words["panel"], panel.first)
    columns = constant(panel.group.vectors * e.lanes)
    product_unit.begin(e)

    def one(row: ir.Value, _: Values) -> None:
        left = e.at_row(e.pointer(words["left"]), words["left_stride"], row)
        rows = b.sub(last, row)
        rows = b.select(b.icmp_signed("<", rows, height), rows, height)
        factors = [left, words["left_stride"], right, words["panel"], n_terms]
        e.call(tile, [*factors, rows, columns, sums])
        finish(row, rows, sums)

    e.loop(first, last, product_unit.height, one)
    product_unit.end(e)
