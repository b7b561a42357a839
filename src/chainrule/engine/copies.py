"""The kernels that copy a matrix, as it is or transposed."""

from typing import Any

from llvmlite import ir

from chainrule.engine.emit import Values, VectorUnit, constant, kernel
from chainrule.engine.tiles import edge_block, transposed

__all__ = ["FIELDS", "emit_copy", "emit_transpose"]

# The arguments of both, in order: addresses, and strides in bytes.
FIELDS = {
    "transpose": ("source", "source_stride", "rows", "columns", "target", "target_stride"),
    "copy": ("source", "source_stride", "rows", "columns", "target", "target_stride"),
}


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
    edge = edge_block(module, dtype, unit)
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
            for i, value in enumerate(transposed(e, rows)):
                e.store(value, e.at_row(new, strides[1], i))

        e.when(whole, whole_block)
        e.when(e.builder.not_(whole), lambda: e.call(edge, [old, strides[0], new, strides[1], *left]))

    def blocks_of_rows(row: ir.Value, _: Values) -> None:
        e.loop(constant(0), words["columns"], e.lanes, lambda column, _: block(row, column))

    e.loop(constant(0), words["rows"], e.lanes, blocks_of_rows)
    e.builder.ret_void()
