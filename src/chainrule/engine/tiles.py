"""Register tiles: sums of products, and square blocks that are transposed.

A product is computed in tiles: a few rows of the result by a few vectors of its columns, with all of the sum
over k in registers. Two families cover the three products of a step:

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

from chainrule.engine.emit import I32, I64, POINTER, Emitter, Values, VectorUnit, constant, internal
from chainrule.engine.walks import Panel

__all__ = [
    "Left", "Right", "columns_of", "edge_block", "rows_of", "rows_of_right", "sum_of_products",
    "transposed",
]  # fmt: skip

# Terms of a sum in one turn of its loop.
UNROLL = 4


# -- products --------------------------------------------------------------------------------------

# A left factor gives, for term ``k + u``, the number of each row of the tile.
Left = Callable[[ir.Value, int], Callable[[int], ir.Value]]

# A right factor: a pointer that is carried from term to term, and a function that gives, for term ``k + u``,
# the vectors of its row and the pointer of the next.
Right = tuple[ir.Value, Callable[[ir.Value, int, ir.Value], tuple[Values, ir.Value]]]


def rows_of(panel: Panel, left: ir.Value, row: ir.Value, height: int) -> Left:
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


def rows_of_right(panel: Panel) -> Right:
    """B[k, :], rows of a matrix."""
    stride = panel.words["right_stride"]

    def row(_: ir.Value, __: int, pointer: ir.Value) -> tuple[Values, ir.Value]:
        return panel.load(pointer), panel.e.at(pointer, stride)

    return panel.column("right"), row


def sum_of_products(
    e: Emitter,
    shape: tuple[int, int],
    n_terms: ir.Value,
    left: Left,
    right: Right,
    ahead: Callable[[ir.Value], None] | None = None,
) -> list[Values]:
    """The tile Σ_k left(k)(i) B[k, :], four terms a turn, then one a turn for the rest.

    ``shape`` is its rows and vectors. ``ahead(i)`` is emitted to run once for each row, evenly spread over
    the sum.
    """
    (height, vectors), (start, right_row) = shape, right
    carried: Values = [e.splat(0.0)] * (height * vectors) + [start]

    def terms_until(stop: ir.Value, terms: int, k: ir.Value, carried: Values) -> tuple[ir.Value, Values]:
        def turn(k: ir.Value, values: Values) -> Values:
            *tile, pointer = values
            for u in range(terms):
                b, pointer = right_row(k, u, pointer)
                number = left(k, u)
                for i in range(height):
                    a = e.broadcast(number(i))
                    for q in range(vectors):
                        tile[i * vectors + q] = e.multiply_add(a, b[q], tile[i * vectors + q])
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


# -- transposes ----------------------------------------------------------------------------------------


def edge_block(module: ir.Module, dtype: Any, unit: VectorUnit) -> ir.Function:
    """A function that transposes a block of which only the first rows and columns are there."""
    if "transpose.edge" in module.globals:
        return module.globals["transpose.edge"]
    words = [POINTER, I64, POINTER, *[I64] * 3]
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
    for i, value in enumerate(transposed(e, loaded)):
        e.store_part(value, e.at_row(new, new_stride, i), line(row_mask, column_mask, i))
    e.builder.ret_void()
    return e.function


def transposed(e: Emitter, rows: Values) -> Values:
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
