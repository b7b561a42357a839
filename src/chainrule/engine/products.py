"""The kernels of the matrix products of a step, emitted for one number type and one processor."""

from typing import Any

from llvmlite import ir

from chainrule.engine.emit import Values, VectorUnit, constant
from chainrule.engine.narrow import SumTo, in_blocks_of_inputs
from chainrule.engine.tiles import columns_of, rows_of, rows_of_right, sum_of_products
from chainrule.engine.walks import Panel, down_the_rows, emit_over_columns

__all__ = ["FIELDS", "emit_gradient", "emit_product"]

# The arguments of each kernel, in order: addresses, and strides and offsets in bytes.
FIELDS = {
    "product": (
        "left", "left_offset", "n_terms", "right", "right_stride", "result", "result_stride", "columns",
        "row", "adds", "share", "shares",
    ),
    "gradient": (
        "left", "left_offset", "rows", "right", "right_stride", "result", "result_stride", "columns",
    ),
}  # fmt: skip


def emit_product(module: ir.Module, dtype: Any, unit: VectorUnit) -> None:
    """C[r, :] = Σ_k left[r][k] B[k, :], a row added to each of C's and C added to what is there if asked.

    The rows are this thread's share of the batch's.
    """

    def down(panel: Panel) -> None:
        e, words = panel.e, panel.words
        n_rows = e.from_step(panel.step, "n_rows")

        def edge(share: ir.Value) -> ir.Value:
            return e.builder.udiv(e.builder.mul(n_rows, share), words["shares"])

        first, last = edge(words["share"]), edge(e.builder.add(words["share"], constant(1)))
        left, right = e.pointer(words["left"]), rows_of_right(panel)

        def tile(row: ir.Value, height: int) -> None:
            shape, rows = (height, panel.group.vectors), rows_of(panel, left, row, height)
            _finish(panel, row, sum_of_products(e, shape, words["n_terms"], rows, right))

        down_the_rows(panel, first, last, tile)

    emit_over_columns(module, "product", FIELDS["product"], dtype, unit, down)


def emit_gradient(module: ir.Module, dtype: Any, unit: VectorUnit) -> None:
    """G[i, :] = Σ_r left[r][i] B[r, :] over the rows r of the batch: equation (6)."""

    def down(panel: Panel) -> None:
        e, words = panel.e, panel.words
        result = panel.column("result")
        n_rows = e.from_step(panel.step, "n_rows")

        def tile(row: ir.Value, height: int) -> None:
            shape = (height, panel.group.vectors)
            sums = sum_of_products(e, shape, n_rows, columns_of(panel, row), rows_of_right(panel))
            for i, values in enumerate(sums):
                panel.store(values, e.at_row(result, words["result_stride"], e.builder.add(row, constant(i))))

        def block(first: ir.Value, _: ir.Value, sum_to: SumTo) -> None:
            sum_to(e.at_row(result, words["result_stride"], first), words["result_stride"])

        down_the_rows(panel, in_blocks_of_inputs(panel, block), words["rows"], tile)

    emit_over_columns(module, "gradient", FIELDS["gradient"], dtype, unit, down)


def _finish(panel: Panel, row: ir.Value, sums: list[Values]) -> None:
    """The epilogue of a product: a row and what is there are added where that is asked for."""
    e, words, vectors = panel.e, panel.words, panel.group.vectors
    result = panel.column("result")
    places = [
        e.at_row(result, words["result_stride"], e.builder.add(row, constant(i))) for i in range(len(sums))
    ]
    tile = [value for values in sums for value in values]

    def with_row() -> Values:
        added = panel.load(panel.column("row"))
        return [e.builder.fadd(value, added[q % vectors]) for q, value in enumerate(tile)]

    tile = e.when(e.builder.icmp_unsigned("!=", words["row"], constant(0)), with_row, tile)

    def with_result() -> Values:
        before = [value for place in places for value in panel.load(place)]
        return [e.builder.fadd(value, there) for value, there in zip(tile, before, strict=True)]

    tile = e.when(e.builder.icmp_unsigned("!=", words["adds"], constant(0)), with_result, tile)
    for i, place in enumerate(places):
        panel.store(tile[i * vectors : (i + 1) * vectors], place)
