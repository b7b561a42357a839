"""Factors of bf16 products: rounded to bf16 while they are copied to where, and as, the processor takes them.

A bf16 number is the upper half of a single one: 8 bits of precision, the same range. The processor sums such
products in pairs of terms, so that what it reads are words of 32 bits that hold the numbers of terms 2p and
2p + 1:

- A left factor is kept as rows of bf16 numbers: word p of row i is (a_i[2p], a_i[2p + 1]).
- A right factor is kept as panels of 64 columns, and a panel as rows of words: for each pair p the words
  (B[2p, j], B[2p + 1, j]) of the 64 columns j.

The sum over the terms is filled up with zeros to whole blocks of 32 terms. Columns beyond the last, and rows
of a left factor beyond the last, may hold anything: their results are never stored.

For three products in place of one, a number is the sum of two bf16 numbers: its rounded value, and what
rounding left over. Then the second half of every row, or panel, holds the remainders.

==================  ====================================  =================================
kernel              factor                                of the equation
==================  ====================================  =================================
``pack_rows``       left, rows as they lie                H in (1) and Δ in (5)
``pack_pairs``      right, as it lies                     V in (1) and Δ in (6)
``pack_transpose``  right, the transpose of what lies     Vᵀ in (5)
``pack_columns``    left, the transpose of what lies      Hᵀ in (6)
==================  ====================================  =================================
"""

from collections.abc import Callable

import numpy as np
from llvmlite import ir

from chainrule.engine.emit import I32, Emitter, Values, VectorUnit, constant, kernel
from chainrule.engine.layout import PANEL
from chainrule.engine.tiles import transposed

__all__ = [
    "BLOCK",
    "PACKING",
    "PANEL",
    "PANEL_ROW",
    "BFloatType",
    "Fields",
    "at_column",
    "block_end",
    "emit_packing",
]

BLOCK = 32  # terms
PANEL_ROW = 4 * PANEL  # bytes of the words of one pair of terms

# Names of the arguments of each kernel, in order: addresses, and strides and offsets in bytes.
Fields = dict[str, tuple[str, ...]]

PACKING: Fields = {
    "pack_rows": (
        "left", "left_offset", "n_terms", "n_written", "target", "target_stride", "share", "shares"
    ),
    "pack_pairs": ("source", "source_stride", "n_terms", "columns", "target", "panel"),
    "pack_transpose": ("source", "source_stride", "n_terms", "columns", "target", "panel"),
    "pack_columns": ("left", "left_offset", "rows", "target", "target_stride"),
}  # fmt: skip


class BFloatType(ir.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloatType)

    def __hash__(self) -> int:
        return hash(BFloatType)


def emit_packing(module: ir.Module, n_parts: int, unit: VectorUnit) -> None:
    """Add the four kernels to a module.

    Parameters
    ----------
    module : ir.Module
    n_parts : {1, 2}
        How many bf16 numbers a number becomes.
    unit : VectorUnit
    """
    emitters: dict[str, Callable[[_Packing], None]] = {
        "pack_rows": _pack_rows,
        "pack_pairs": _pack_pairs,
        "pack_transpose": _pack_transpose,
        "pack_columns": _pack_columns,
    }
    for name, emit in emitters.items():
        packing = _Packing(module, name, PACKING[name], n_parts, unit)
        emit(packing)
        packing.e.builder.ret_void()


class _Packing:
    """A packing kernel on its way: the emitter, the arguments by name, and how numbers are rounded."""

    def __init__(
        self, module: ir.Module, name: str, fields: tuple[str, ...], n_parts: int, unit: VectorUnit
    ) -> None:
        self.e, arguments, self.step = kernel(module, name, np.float32, unit)
        self.n_parts = n_parts
        self.arguments = {field: self.e.word(arguments, place) for place, field in enumerate(fields)}
        self.n_rows = self.e.from_step(self.step, "n_rows")

    def __getitem__(self, field: str) -> ir.Value:
        return self.arguments[field]

    def pointer(self, field: str) -> ir.Value:
        return self.e.pointer(self.arguments[field])

    def parts(self, numbers: ir.Value) -> Values:
        """A vector of numbers rounded to bf16; where two parts are wanted, also what that left over."""
        b, kind = self.e.builder, ir.VectorType(BFloatType(), self.e.lanes)
        high = b.fptrunc(numbers, kind)
        if self.n_parts == 1:
            return [high]
        return [high, b.fptrunc(b.fsub(numbers, b.fpext(high, self.e.vector)), kind)]

    def words(self, pair: Values, alternately: bool) -> Values:
        """Words of two vectors of numbers, for each part: one after the other, or their numbers in turn."""
        n = self.e.lanes
        places = [lane + n * half for lane in range(n) for half in (0, 1)] if alternately else range(2 * n)
        order = ir.Constant(ir.VectorType(I32, 2 * n), list(places))
        b, parts = self.e.builder, zip(*(self.parts(numbers) for numbers in pair), strict=True)
        # A word is as wide as a single-precision number, and travels as one.
        return [b.bitcast(b.shuffle_vector(one, other, order), self.e.vector) for one, other in parts]

    def beginnings(self, target: ir.Value, size: ir.Value) -> Values:
        """Where the parts of a row or a panel of ``size`` bytes begin."""
        half = self.e.builder.lshr(size, constant(1))
        return [target, self.e.at(target, half)][: self.n_parts]


def block_end(e: Emitter, n_terms: ir.Value, block: int = BLOCK) -> ir.Value:
    """The number of terms, rounded up to whole blocks."""
    return e.builder.and_(e.builder.add(n_terms, constant(block - 1)), constant(-block))


def at_column(e: Emitter, panels: ir.Value, panel: ir.Value, column: ir.Value) -> ir.Value:
    """The address of a column's first word in a right factor."""
    b = e.builder
    inside = b.mul(b.and_(column, constant(PANEL - 1)), constant(4))
    return e.at(e.at(panels, b.mul(b.udiv(column, constant(PANEL)), panel)), inside)


def _where(e: Emitter, condition: ir.Value, value: ir.Value) -> ir.Value:
    """The value where the condition holds, else 0."""
    return e.builder.select(condition, value, constant(0))


def _smaller(e: Emitter, a: ir.Value, b: ir.Value) -> ir.Value:
    return e.builder.select(e.builder.icmp_signed("<", a, b), a, b)


def _pack_rows(p: _Packing) -> None:
    """Numbers [0, n_terms) of each row, from ``left_offset`` on, then zeros up to ``n_written``."""
    e, b = p.e, p.e.builder
    first, last = (
        b.sdiv(b.mul(p.n_rows, share), p["shares"]) for share in (p["share"], b.add(p["share"], constant(1)))
    )

    def row(r: ir.Value, _: Values) -> None:
        source = e.at(e.pointer(e.word(p.pointer("left"), r)), p["left_offset"])
        targets = p.beginnings(e.at_row(p.pointer("target"), p["target_stride"], r), p["target_stride"])

        def some(k: ir.Value, _: Values) -> None:
            mask = e.mask(b.sub(p["n_terms"], k))
            numbers = e.load_part(e.at(source, b.mul(k, constant(4))), mask)
            for target, part in zip(targets, p.parts(numbers), strict=True):
                b.store(part, e.at(target, b.mul(k, constant(2))), align=2)

        e.loop(constant(0), p["n_written"], e.lanes, some)

    e.loop(first, last, 1, row)


def _pack_pairs(p: _Packing) -> None:
    """Rows 2p and 2p + 1 side by side. 0 terms stand for as many as the batch has rows."""
    e, b = p.e, p.e.builder
    n_terms = b.select(b.icmp_signed("==", p["n_terms"], constant(0)), p.n_rows, p["n_terms"])

    def panel(j: ir.Value, _: Values) -> None:
        source = e.at(p.pointer("source"), b.mul(j, constant(4)))
        targets = p.beginnings(at_column(e, p.pointer("target"), p["panel"], j), p["panel"])
        n = b.sub(p["columns"], j)

        def pair(k: ir.Value, _: Values) -> None:
            rows = [k, b.add(k, constant(1))]
            counts = [_where(e, b.icmp_signed("<", row, n_terms), n) for row in rows]
            sources = [e.at_row(source, p["source_stride"], row) for row in rows]
            offset = b.mul(k, constant(PANEL_ROW // 2))
            for q in range(0, PANEL, e.lanes):
                numbers = [
                    e.load_part(e.at(place, 4 * q), e.mask(b.sub(count, constant(q))))
                    for place, count in zip(sources, counts, strict=True)
                ]
                for target, words in zip(targets, p.words(numbers, alternately=True), strict=True):
                    e.store(words, e.at(e.at(target, offset), 4 * q))

        e.loop(constant(0), block_end(e, n_terms), 2, pair)

    e.loop(constant(0), p["columns"], PANEL, panel)


def _pack_transpose(p: _Packing) -> None:
    """Column j is row j of the source: words of as many rows as a vector has lanes, transposed."""
    e, b = p.e, p.e.builder
    last = b.sub(p["columns"], constant(1))

    def group(j: ir.Value, _: Values) -> None:
        rows = [_smaller(e, b.add(j, constant(i)), last) for i in range(e.lanes)]
        sources = [e.at_row(p.pointer("source"), p["source_stride"], row) for row in rows]
        targets = p.beginnings(at_column(e, p.pointer("target"), p["panel"], j), p["panel"])

        def block(k: ir.Value, _: Values) -> None:
            masks = [e.mask(b.sub(p["n_terms"], b.add(k, constant(u)))) for u in (0, e.lanes)]
            words = []
            for source in sources:
                place = e.at(source, b.mul(k, constant(4)))
                halves = [e.load_part(e.at(place, 4 * e.lanes * u), masks[u]) for u in (0, 1)]
                words.append(p.words(halves, alternately=False))
            offset = b.mul(k, constant(PANEL_ROW // 2))
            for target, square in zip(targets, zip(*words, strict=True), strict=True):
                for i, pair in enumerate(transposed(e, list(square))):
                    e.store(pair, e.at(e.at(target, offset), PANEL_ROW * i))

        e.loop(constant(0), block_end(e, p["n_terms"]), BLOCK, block)

    e.loop(constant(0), p["columns"], e.lanes, group)


def _pack_columns(p: _Packing) -> None:
    """Row i is column i of the rows of the batch: pairs of rows side by side, a block of them transposed."""
    e, b = p.e, p.e.builder
    last = b.sub(p.n_rows, constant(1))

    def block(k: ir.Value, _: Values) -> None:
        terms = [b.add(k, constant(u)) for u in range(BLOCK)]
        sources = [
            e.at(e.pointer(e.word(p.pointer("left"), _smaller(e, term, last))), p["left_offset"])
            for term in terms
        ]
        counts = [_where(e, b.icmp_signed("<", term, p.n_rows), p["rows"]) for term in terms]

        def group(i: ir.Value, _: Values) -> None:
            numbers = [
                e.load_part(e.at(source, b.mul(i, constant(4))), e.mask(b.sub(count, i)))
                for source, count in zip(sources, counts, strict=True)
            ]
            words = [p.words(numbers[u : u + 2], alternately=True) for u in range(0, BLOCK, 2)]
            for part, square in enumerate(zip(*words, strict=True)):
                for lane, row in enumerate(transposed(e, list(square))):
                    place = e.at_row(p.pointer("target"), p["target_stride"], b.add(i, constant(lane)))
                    beginning = p.beginnings(place, p["target_stride"])[part]
                    e.store(row, e.at(beginning, b.mul(k, constant(2))))

        e.loop(constant(0), p["rows"], e.lanes, group)

    e.loop(constant(0), block_end(e, p.n_rows), BLOCK, block)
