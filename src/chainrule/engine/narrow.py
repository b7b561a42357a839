"""The weight gradient (6) of few output units, with vectors over the inputs.

Elsewhere a tile of ∂V = Hᵀ Δ has vectors over its columns, the output units. Where these are fewer than a
vector has lanes, most of it would stay empty: here a tile is a few columns by vectors of many inputs, rows of
H as they lie, and is transposed when it is done. The terms of a sum and their order are the same, and so are
the bits.
"""

from collections.abc import Callable

from llvmlite import ir

from chainrule.engine.emit import I64, POINTER, Emitter, Values, constant, internal
from chainrule.engine.tiles import Left, edge_block, sum_of_products
from chainrule.engine.walks import Panel

__all__ = ["VECTORS", "SumTo", "in_blocks_of_inputs", "may_be_narrow"]

# Vectors of inputs in a tile.
VECTORS = 4

HEIGHTS = (4, 2, 1)

# Computes the gradient of a block of inputs: ``f(target, target_stride)``.
SumTo = Callable[[ir.Value, ir.Value], None]


def may_be_narrow(panel: Panel) -> bool:
    """Whether the panel's columns may be so few that this way is faster."""
    return panel.group.vectors == 1 and panel.group.masked and panel.e.unit.masks


def in_blocks_of_inputs(panel: Panel, body: Callable[[ir.Value, ir.Value, SumTo], None]) -> ir.Value:
    """Where this way is faster, ``body(first, n, sum_to)`` for blocks of n inputs.

    Returns the first input that is left for the other way.
    """
    if not may_be_narrow(panel):
        return constant(0)
    e, words = panel.e, panel.words
    function = _narrow_gradient(e)
    block, inputs = constant(VECTORS * e.lanes), words["rows"]
    columns = e.builder.sub(words["columns"], panel.first)

    def turn(first: ir.Value, _: Values) -> None:
        left = e.builder.sub(inputs, first)
        n = e.builder.select(e.builder.icmp_signed("<", left, block), left, block)
        offset = e.builder.add(words["left_offset"], e.builder.mul(first, constant(e.itemsize)))

        def sum_to(target: ir.Value, target_stride: ir.Value) -> None:
            factors = [e.pointer(words["left"]), offset, panel.column("right"), words["right_stride"]]
            n_rows = e.from_step(panel.step, "n_rows")
            e.call(function, [*factors, n_rows, n, columns, target, target_stride])

        body(first, n, sum_to)

    # A block takes as long with half of its inputs: fewer are better left to the other way.
    narrow = e.builder.icmp_signed("<=", columns, constant(e.lanes * 3 // 4))
    most = e.builder.sub(inputs, constant(VECTORS * e.lanes // 2))
    return e.loop(constant(0), e.builder.select(narrow, most, constant(0)), VECTORS * e.lanes, turn)[0]


def _narrow_gradient(outer: Emitter) -> ir.Function:
    """``f(left, left_offset, right, right_stride, n_rows, inputs, columns, target, target_stride)``."""
    module, name = outer.function.module, "narrow_gradient"
    if name in module.globals:
        return module.globals[name]
    edge = edge_block(module, outer.dtype, outer.unit)
    kinds = [POINTER, I64, POINTER, *[I64] * 4, POINTER, I64]
    e = internal(module, name, kinds, outer.dtype, outer.unit)
    left, offset, right, right_stride, n_rows, inputs, columns, target, target_stride = e.function.args
    vector_bytes = e.unit.vector_bytes
    row_bytes = constant(VECTORS * vector_bytes)
    sums_at = e.room(e.lanes * VECTORS * vector_bytes)
    lefts = [e.builder.sub(inputs, constant(q * e.lanes)) for q in range(VECTORS)]
    masks = [e.mask(count) for count in lefts]

    def inputs_of(k: ir.Value, u: int, pointer: ir.Value) -> tuple[Values, ir.Value]:
        row = e.at(e.word(left, e.builder.add(k, constant(u)), POINTER), offset)
        return [e.load_part(e.at(row, q * vector_bytes), mask) for q, mask in enumerate(masks)], pointer

    first: ir.Value = constant(0)
    for height in HEIGHTS:

        def tile(column: ir.Value, _: Values, height: int = height) -> None:
            delta = _deltas(e, right, right_stride, column)
            sums = sum_of_products(e, (height, VECTORS), n_rows, delta, (right, inputs_of))
            for i, values in enumerate(sums):
                e.store_row(values, e.at_row(sums_at, row_bytes, e.builder.add(column, constant(i))))

        first, _ = e.loop(first, e.builder.sub(columns, constant(height - 1)), height, tile)
    for q, count in enumerate(lefts):

        def transpose(q: int = q, count: ir.Value = count) -> None:
            place = e.at_row(target, target_stride, q * e.lanes)
            source = e.at(sums_at, q * vector_bytes)
            e.call(edge, [source, row_bytes, place, target_stride, columns, count])

        e.when(e.builder.icmp_signed("<", constant(0), count), transpose)
    e.builder.ret_void()
    return e.function


def _deltas(e: Emitter, right: ir.Value, stride: ir.Value, column: ir.Value) -> Left:
    """δ_r of the tile's output units for example r."""
    first = e.at(right, e.builder.mul(column, constant(e.itemsize)))

    def numbers(k: ir.Value, u: int) -> Callable[[int], ir.Value]:
        term = e.at_row(first, stride, e.builder.add(k, constant(u)))
        return lambda i: e.load_real(e.at(term, i * e.itemsize))

    return numbers
