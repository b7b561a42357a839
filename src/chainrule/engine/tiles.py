"""The kernels of matrix products, emitted for one number type and one processor.

A product is computed in register tiles: a few rows of the result by a few vectors of its columns, with all
of the sum over k in registers. ``walks.py`` lays the tiles side by side. Two families cover the three
products of a step:

- **N**: C[r, :] = Σ_k a_r[k] B[k, :], the numbers of each left row lying together. The forward pass (1), with
  B = Wᵀ as it lies, and δ (5), with B = W copied together.
- **T**: C[i, :] = Σ_r a_r[i] B[r, :], the sum running down the columns of the left factor. The weight
  gradient (6), with a_r = h of example r and B = Δ: it comes out as Wᵀ lies, one row an input unit.

In both, a_r is an example's row, and the left factor is a table of the rows' addresses: examples are used
where they lie. Every number is summed in the order of k, whatever tile it falls into, so that neither the
shape of a tile nor the number of threads changes a bit of the result.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from chainrule.engine.emit import (
    I32,
    POINTER,
    Emitter,
    Values,
    VectorUnit,
    constant,
    internal,
    kernel,
)
from chainrule.engine.walks import Panel, down_the_rows, emit_over_columns

__all__ = ["FIELDS", "emit_copy", "emit_gradient", "emit_product", "emit_transpose", "sum_of_products"]

# The arguments of each kernel, in order: addresses, and strides and offsets in bytes.
FIELDS = {
    "product": (
        "left", "left_offset", "n_terms", "right", "right_stride", "result", "result_stride", "columns",
        "row", "adds", "share", "shares",
    ),
    "gradient": (
        "left", "left_offset", "rows", "right", "right_stride", "result", "result_stride", "columns",
    ),
    "transpose": ("source", "source_stride", "rows", "columns", "target", "target_stride"),
    "copy": ("source", "source_stride", "rows", "columns", "target", "target_stride"),
}  # fmt: skip

# Terms of a sum in one turn of its loop.
UNROLL = 4


# -- products --------------------------------------------------------------------------------------


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
        left = e.pointer(words["left"])

        def tile(row: ir.Value, height: int) -> None:
            sums = sum_of_products(panel, height, words["n_terms"], _rows_of(panel, left, row, height))
            _finish(panel, row, sums)

        down_the_rows(panel, first, last, tile)

    emit_over_columns(module, "product", FIELDS["product"], dtype, unit, down)


def emit_gradient(module: ir.Module, dtype: Any, unit: VectorUnit) -> None:
    """G[i, :] = Σ_r left[r][i] B[r, :] over the rows r of the batch: equation (6)."""

    def down(panel: Panel) -> None:
        e, words = panel.e, panel.words
        result = panel.column("result")
        n_rows = e.from_step(panel.step, "n_rows")

        def tile(row: ir.Value, height: int) -> None:
            sums = sum_of_products(panel, height, n_rows, columns_of(panel, row))
            for i, values in enumerate(sums):
                panel.store(values, e.at_row(result, words["result_stride"], e.builder.add(row, constant(i))))

        down_the_rows(panel, constant(0), words["rows"], tile)

    emit_over_columns(module, "gradient", FIELDS["gradient"], dtype, unit, down)


# A left factor gives, for term ``k + u``, the number of each row of the tile.
Left = Callable[[ir.Value, int], Callable[[int], ir.Value]]


def _rows_of(panel: Panel, left: ir.Value, row: ir.Value, height: int) -> Left:
    """a_r[k] for the N family: the rows' addresses are loaded once a tile."""
    e = panel.e
    offset = panel.words["left_offset"]
    starts = [e.at(e.word(left, e.builder.add(row, constant(i)), POINTER), offset) for i in range(height)]

    def numbers(k: ir.Value, u: int) -> Callable[[int], ir.Value]:
        place = e.builder.mul(k, constant(e.itemsize))
        return lambda i: e.load_real(e.at(e.at(starts[i], place), u * e.itemsize))

    return numbers


def columns_of(panel: Panel, row: ir.Value) -> Left:
    """a_r[i] for the T family: each term has a row of its own, and its numbers lie together."""
    e = panel.e
    left = e.pointer(panel.words["left"])
    offset = e.builder.add(panel.words["left_offset"], e.builder.mul(row, constant(e.itemsize)))

    def numbers(k: ir.Value, u: int) -> Callable[[int], ir.Value]:
        term = e.at(e.word(left, e.builder.add(k, constant(u)), POINTER), offset)
        return lambda i: e.load_real(e.at(term, i * e.itemsize))

    return numbers


def sum_of_products(
    panel: Panel, height: int, n_terms: ir.Value, left: Left, ahead: Callable[[ir.Value], None] | None = None
) -> list[Values]:
    """The tile Σ_k left(k)(i) B[k, :], four terms a turn, then one a turn for the rest.

    ``ahead(i)`` is emitted to run once for each row of the tile, evenly spread over the sum.
    """
    e, vectors = panel.e, panel.group.vectors
    carried: Values = [e.splat(0.0)] * (height * vectors) + [panel.column("right")]

    def terms_until(stop: ir.Value, terms: int, k: ir.Value, carried: Values) -> tuple[ir.Value, Values]:
        def turn(k: ir.Value, values: Values) -> Values:
            *tile, pointer = values
            for u in range(terms):
                right = panel.load(pointer)
                number = left(k, u)
                for i in range(height):
                    a = e.broadcast(number(i))
                    for q in range(vectors):
                        tile[i * vectors + q] = e.multiply_add(a, right[q], tile[i * vectors + q])
                pointer = e.at(pointer, panel.words["right_stride"])
            return [*tile, pointer]

        return e.loop(k, e.builder.sub(stop, constant(terms - 1)), terms, turn, carried)

    def part(i: ir.Value, values: Values) -> Values:
        *carried, k = values
        if ahead is not None:
            ahead(i)
        stop = e.builder.mul(n_terms, e.builder.add(i, constant(1)))
        k, carried = terms_until(e.builder.udiv(stop, constant(height)), UNROLL, k, carried)
        return [*carried, k]

    k: ir.Value = constant(0)
    if ahead is None:
        k, carried = terms_until(n_terms, UNROLL, k, carried)
    else:
        _, (*carried, k) = e.loop(constant(0), constant(height), 1, part, [*carried, k])
    _, carried = terms_until(n_terms, 1, k, carried)
    return [carried[i * vectors : (i + 1) * vectors] for i in range(height)]


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


# -- copies ----------------------------------------------------------------------------------------


def emit_copy(module: ir.Module, dtype: Any, unit: VectorUnit) -> None:
    """target[r, :] = source[r, :], for ``rows`` rows, or for those of the batch where that is 0."""
    fields = FIELDS["copy"]
    e, arguments, step = kernel(module, "copy", dtype, unit)
    words = {field: e.word(arguments, place) for place, field in enumerate(fields)}
    whole_batch = e.builder.icmp_unsigned("==", words["rows"], constant(0))
    rows = e.builder.select(whole_batch, e.from_step(step, "n_rows"), words["rows"])
    rest = e.builder.and_(words["columns"], constant(e.lanes - 1))
    mask = e.mask(rest)
    whole = e.builder.sub(words["columns"], rest)
    source, target = e.pointer(words["source"]), e.pointer(words["target"])

    def copy_row(row: ir.Value, _: Values) -> None:
        old, new = (
            e.at_row(source, words["source_stride"], row),
            e.at_row(target, words["target_stride"], row),
        )
        column: ir.Value = constant(0)
        for vectors in (4, 1):

            def turn(column: ir.Value, _: Values, vectors: int = vectors) -> None:
                offset = e.builder.mul(column, constant(e.itemsize))
                e.store_row(e.load_row(e.at(old, offset), vectors), e.at(new, offset))

            stop = e.builder.sub(whole, constant((vectors - 1) * e.lanes))
            column, _ = e.loop(column, stop, vectors * e.lanes, turn)
        offset = e.builder.mul(column, constant(e.itemsize))
        e.when(
            e.builder.icmp_unsigned("!=", rest, constant(0)),
            lambda: e.store_part(e.load_part(e.at(old, offset), mask), e.at(new, offset), mask),
        )

    e.loop(constant(0), rows, 1, copy_row)
    e.builder.ret_void()


def emit_transpose(module: ir.Module, dtype: Any, unit: VectorUnit) -> None:
    """target[c, r] = source[r, c], in square blocks of as many rows as a vector has lanes."""
    edge = _emit_edge_block(module, dtype, unit)
    e, arguments, _ = kernel(module, "transpose", dtype, unit)
    words = {field: e.word(arguments, place) for place, field in enumerate(FIELDS["transpose"])}
    source, target, n = e.pointer(words["source"]), e.pointer(words["target"]), constant(e.lanes)
    strides = (words["source_stride"], words["target_stride"])

    def block(row: ir.Value, column: ir.Value) -> None:
        old = e.at(e.at_row(source, strides[0], row), e.builder.mul(column, constant(e.itemsize)))
        new = e.at(e.at_row(target, strides[1], column), e.builder.mul(row, constant(e.itemsize)))
        left = e.builder.sub(words["rows"], row), e.builder.sub(words["columns"], column)
        whole = e.builder.and_(*(e.builder.icmp_signed(">=", count, n) for count in left))

        def whole_block() -> None:
            rows = [e.load(e.at_row(old, strides[0], i)) for i in range(e.lanes)]
            for i, value in enumerate(_transposed(e, rows)):
                e.store(value, e.at_row(new, strides[1], i))

        e.when(whole, whole_block)
        e.when(e.builder.not_(whole), lambda: e.call(edge, [old, strides[0], new, strides[1], *left]))

    def blocks_of_rows(row: ir.Value, _: Values) -> None:
        e.loop(constant(0), words["columns"], e.lanes, lambda column, _: block(row, column))

    e.loop(constant(0), words["rows"], e.lanes, blocks_of_rows)
    e.builder.ret_void()


def _emit_edge_block(module: ir.Module, dtype: Any, unit: VectorUnit) -> ir.Function:
    """The same for a block of which only the first rows and columns are there."""
    words = [POINTER, constant(0).type, POINTER, *[constant(0).type] * 3]
    e = internal(module, "transpose.edge", words, dtype, unit)
    old, old_stride, new, new_stride, rows, columns = e.function.args
    row_mask, column_mask = e.mask(rows), e.mask(columns)

    def line(mask: ir.Value, others: ir.Value, i: int) -> ir.Value:
        """``mask`` where line i of the block is there, else no lane at all."""
        there = e.builder.extract_element(others, ir.Constant(I32, i))
        return e.builder.select(there, mask, ir.Constant(mask.type, [0] * e.lanes))

    loaded = [
        e.load_part(e.at_row(old, old_stride, i), line(column_mask, row_mask, i)) for i in range(e.lanes)
    ]
    for i, value in enumerate(_transposed(e, loaded)):
        e.store_part(value, e.at_row(new, new_stride, i), line(row_mask, column_mask, i))
    e.builder.ret_void()
    return e.function


def _transposed(e: Emitter, rows: Values) -> Values:
    """A square block's columns, in stages: at stage s, rows i and i + s exchange half of their lanes.

    Those are the lanes where bit s differs.
    """
    n, rows = e.lanes, list(rows)
    lanes = ir.VectorType(I32, n)
    s = 1
    while s < n:
        kept = ir.Constant(lanes, [l if not l & s else n + l - s for l in range(n)])
        moved = ir.Constant(lanes, [l + s if not l & s else n + l for l in range(n)])
        for i in range(n):
            if not i & s:
                first, second = rows[i], rows[i + s]
                rows[i] = e.builder.shuffle_vector(first, second, kept)
                rows[i + s] = e.builder.shuffle_vector(first, second, moved)
        s *= 2
    return rows
