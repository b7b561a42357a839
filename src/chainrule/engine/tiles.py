"""The kernels of matrix products, emitted for one number type and one processor.

A kernel computes one register tile: a few rows of the result by a few vectors of its columns, with all of
the sum over k in registers. ``products.py`` walks the tiles. Two families cover the three products of a step:

- **N**: C[i, :] = Σ_k a_i[k] B[k, :], the numbers of each left row lying together. The forward pass (1), with
  B = Wᵀ repacked, and δ (5), with B = W as it lies.
- **T**: C[i, :] = Σ_r a_r[i] B[r, :], the sum running down the columns of the left factor. The weight
  gradient (6), with a_r = δ of example r and B = H: it comes out as W lies, one row an output unit.

Columns that do not fill a vector go through a kernel of one masked vector, so nothing need be padded.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from chainrule.engine.emit import I64, POINTER, Emitter, VectorUnit, constant

__all__ = ["ACCUMULATE", "ADD_ROW", "SET", "emit_product", "emit_transpose", "kernel_name"]

# What becomes of a tile once it is summed: it is stored, stored with a row (the bias) added, or added to C.
SET, ADD_ROW, ACCUMULATE = 0, 1, 2

UNROLL = 4


def kernel_name(family: str, rows: int, vectors: int, masked: bool) -> str:
    """The symbol of a kernel."""
    return f"chainrule_{family}_{rows}x{'masked' if masked else vectors}"


def emit_product(
    module: ir.Module, family: str, shape: tuple[int, int], masked: bool, dtype: Any, unit: VectorUnit
) -> None:
    """Add one kernel to a module.

    ``f(n_terms, A, A_stride, B, B_stride, C, C_stride, what, row, columns)``: addresses, strides in bytes.
    For N, ``A_stride`` leads from row i to row i + 1; for T, from term to term. ``columns`` is how many a
    masked kernel has.
    """
    rows, vectors = shape
    arguments = [I64, POINTER, I64, POINTER, I64, POINTER, I64, I64, POINTER, I64]
    function = ir.Function(
        module, ir.FunctionType(ir.VoidType(), arguments), kernel_name(family, rows, vectors, masked)
    )
    function.attributes.add("nounwind")
    n_terms, a, a_stride, b, b_stride, c, c_stride, what, row, columns = function.args
    e = Emitter(function, dtype, unit)
    mask = e.mask(columns) if masked else None
    left = _rows_of(e, rows, a, a_stride) if family == "N" else _columns_of(e, a, a_stride)
    tile = _sum_of_products(e, shape, n_terms, (b, b_stride, mask), left)
    _finish(e, tile, (c, c_stride, mask), what, row)


def _rows_of(e: Emitter, rows: int, a: ir.Value, stride: ir.Value) -> Callable:
    """a_i[k] for the N family: each row has its own address."""
    starts = [e.at(a, e.builder.mul(stride, constant(i))) for i in range(rows)]

    def left(k: ir.Value, u: int) -> Callable[[int], ir.Value]:
        offset = e.builder.mul(k, constant(e.itemsize))
        return lambda i: e.load_real(e.at(e.at(starts[i], offset), u * e.itemsize))

    return left


def _columns_of(e: Emitter, a: ir.Value, stride: ir.Value) -> Callable:
    """a_k[i] for the T family: the numbers of one term lie together."""

    def left(k: ir.Value, u: int) -> Callable[[int], ir.Value]:
        term = e.at(a, e.builder.mul(e.builder.add(k, constant(u)), stride))
        return lambda i: e.load_real(e.at(term, i * e.itemsize))

    return left


def _sum_of_products(
    e: Emitter,
    shape: tuple[int, int],
    n_terms: ir.Value,
    right: tuple[ir.Value, ir.Value, ir.Value | None],
    left: Callable,
) -> list[list[ir.Value]]:
    """The tile Σ_k left(k)(i) B[k, :], four terms a turn, then one a turn for the rest."""
    rows, vectors = shape
    start, stride, mask = right
    carried = [e.zero()] * (rows * vectors) + [start]
    k: ir.Value = constant(0)
    for terms in (UNROLL, 1):

        def turn(k: ir.Value, values: list[ir.Value], terms: int = terms) -> list[ir.Value]:
            tile, pointer = values[:-1], values[-1]
            for u in range(terms):
                b_row = e.load_row(pointer, vectors, mask)
                number = left(k, u)
                for i in range(rows):
                    a = e.broadcast(number(i))
                    for q in range(vectors):
                        tile[i * vectors + q] = e.multiply_add(a, b_row[q], tile[i * vectors + q])
                pointer = e.at(pointer, stride)
            return [*tile, pointer]

        k, carried = e.loop(k, e.builder.sub(n_terms, constant(terms - 1)), terms, carried, turn)
    return [carried[i * vectors : (i + 1) * vectors] for i in range(rows)]


def _finish(
    e: Emitter,
    tile: list[list[ir.Value]],
    result: tuple[ir.Value, ir.Value, ir.Value | None],
    what: ir.Value,
    row: ir.Value,
) -> None:
    """The epilogue: what becomes of the tile, chosen when the kernel runs."""
    c, stride, mask = result
    vectors = len(tile[0])
    places = [e.at(c, e.builder.mul(stride, constant(i))) for i in range(len(tile))]

    def store() -> None:
        for values, place in zip(tile, places, strict=True):
            e.store_row(values, place, mask)

    def add_row() -> None:
        added = e.load_row(row, vectors, mask)
        for values, place in zip(tile, places, strict=True):
            e.store_row([e.add(a, b) for a, b in zip(values, added, strict=True)], place, mask)

    def accumulate() -> None:
        for values, place in zip(tile, places, strict=True):
            before = e.load_row(place, vectors, mask)
            e.store_row([e.add(a, b) for a, b in zip(values, before, strict=True)], place, mask)

    e.choose(what, {SET: store, ADD_ROW: add_row, ACCUMULATE: accumulate})


def emit_transpose(module: ir.Module, dtype: Any, unit: VectorUnit) -> None:
    """``transpose(A, A_stride, C, C_stride)``: C = Aᵀ for a square block, as many rows as a vector has lanes.

    In stages of pairs: at stage s, rows i and i + s exchange the half of their lanes where bit s differs.
    """
    arguments = [POINTER, I64, POINTER, I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "chainrule_transpose")
    function.attributes.add("nounwind")
    a, a_stride, c, c_stride = function.args
    e = Emitter(function, dtype, unit)
    n = e.lanes
    rows = [e.load(e.at(a, e.builder.mul(a_stride, constant(i)))) for i in range(n)]
    s = 1
    while s < n:
        kept = ir.Constant(
            ir.VectorType(ir.IntType(32), n), [l if not l & s else n + l - s for l in range(n)]
        )
        moved = ir.Constant(
            ir.VectorType(ir.IntType(32), n), [l + s if not l & s else n + l for l in range(n)]
        )
        for i in range(n):
            if not i & s:
                first, second = rows[i], rows[i + s]
                rows[i] = e.builder.shuffle_vector(first, second, kept)
                rows[i + s] = e.builder.shuffle_vector(first, second, moved)
        s *= 2
    for i in range(n):
        e.store(rows[i], e.at(c, e.builder.mul(c_stride, constant(i))))
    e.builder.ret_void()
