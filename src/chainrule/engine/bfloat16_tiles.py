"""Products of packed bf16 factors, summed in single precision by instructions that the processor has for it.

Two sets of instructions do the same:

- **AVX512_BF16**: one instruction adds a pair of terms to each of 16 numbers. A tile is 6 rows by 4 vectors.
- **AMX**: one instruction adds 16 pairs of terms to each of 16 × 16 numbers, held in tile registers. A tile
  is 32 rows by two times 32 columns.

Every number is summed in the order of its pairs, or of its blocks of 16 pairs, whatever tile it falls into.
The two sets round in different places: a result is the same for any number of threads, but not from one set
to the other.

Where factors have two parts, a = a₁ + a₂ and b = b₁ + b₂, three sums go into one result: a₂ b₁, then a₁ b₂,
then a₁ b₁. What is left out, a₂ b₂, is smaller than a b by a factor of about 2¹⁸.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from llvmlite import ir

from chainrule.engine.bfloat16_packing import BLOCK, PANEL, PANEL_ROW, BFloatType, block_end
from chainrule.engine.emit import I8, I64, POINTER, Emitter, Values, VectorUnit, constant, internal

__all__ = ["AMX", "AVX512_BF16", "PRODUCT_UNITS", "ProductUnit", "Tile"]

# Which part of the left factor is multiplied by which of the right one, the smallest products first.
PARTS = {1: ((0, 0),), 2: ((1, 0), (0, 1), (0, 0))}


@dataclass(frozen=True)
class Tile:
    """What a tile's function is given: where the factors are, and where the sums go.

    Row i of the sums lies at ``sums + PANEL_ROW · i``. Sums of rows and columns that are not there may be
    computed too: nobody reads them.
    """

    left: ir.Value
    left_stride: ir.Value
    right: ir.Value
    panel: ir.Value
    n_terms: ir.Value
    rows: ir.Value
    columns: ir.Value
    sums: ir.Value


@dataclass(frozen=True)
class ProductUnit:
    """A set of instructions for products of bf16 numbers.

    Attributes
    ----------
    name : str
        "avx512_bf16" or "amx".
    features : tuple of str
        What the processor must have, as LLVM calls it.
    height : int
        Rows of a tile.
    emit_sums : callable
        ``emit_sums(e, tile, n_parts)`` emits a tile's sums.
    begin, end : callable
        What is emitted where a kernel begins and ends.
    """

    name: str
    features: tuple[str, ...]
    height: int
    emit_sums: Callable[[Emitter, Tile, int], None]
    begin: Callable[[Emitter], None]
    end: Callable[[Emitter], None]

    def emit_tile(self, module: ir.Module, n_parts: int, unit: VectorUnit) -> ir.Function:
        """Add the function to a module that computes one tile."""
        arguments = [POINTER, I64, POINTER, I64, I64, I64, I64, POINTER]
        e = internal(module, "tile", arguments, np.float32, unit)
        self.emit_sums(e, Tile(*e.function.args), n_parts)
        e.builder.ret_void()
        return e.function


def _parts(e: Emitter, tile: Tile, n_parts: int) -> list[tuple[ir.Value, ir.Value]]:
    """Where the factors of each sum begin: a second part is half a row, or half a panel, further on."""

    def beginning(factor: ir.Value, size: ir.Value, part: int) -> ir.Value:
        return e.at(factor, e.builder.lshr(size, constant(1))) if part else factor

    return [
        (beginning(tile.left, tile.left_stride, left), beginning(tile.right, tile.panel, right))
        for left, right in PARTS[n_parts]
    ]


# -- AVX512_BF16 -----------------------------------------------------------------------------------

TERMS = 4  # of a sum in one turn of its loop

# Rows and vectors of the tiles: the smaller ones serve where what is left over fits.
HEIGHTS, WIDTHS = (6, 2), (4, 2)


def _sums_by_vectors(e: Emitter, tile: Tile, n_parts: int) -> None:
    low = e.builder.icmp_signed("<=", tile.rows, constant(HEIGHTS[1]))
    narrow = e.builder.icmp_signed("<=", tile.columns, constant(WIDTHS[1] * e.lanes))
    case = e.builder.or_(e.builder.shl(e.builder.zext(low, I64), constant(1)), e.builder.zext(narrow, I64))
    for number, (rows, vectors) in enumerate((h, w) for h in HEIGHTS for w in WIDTHS):

        def one(rows: int = rows, vectors: int = vectors) -> None:
            _sums_of_shape(e, tile, n_parts, rows, vectors)

        e.when(e.builder.icmp_signed("==", case, constant(number)), one)


def _sums_of_shape(e: Emitter, tile: Tile, n_parts: int, rows: int, vectors: int) -> None:
    sums: Values = [e.splat(0.0)] * (rows * vectors)
    for left, right in _parts(e, tile, n_parts):
        starts = [e.at_row(left, tile.left_stride, i) for i in range(rows)]

        def turn(k: ir.Value, sums: Values, starts: Values = starts, right: ir.Value = right) -> Values:
            left_place, right_place = (e.builder.mul(k, constant(n)) for n in (2, PANEL_ROW // 2))
            for pair in range(TERMS // 2):
                place = e.at(e.at(right, right_place), PANEL_ROW * pair)
                words = e.load_row(place, vectors)
                for i in range(rows):
                    number = e.broadcast(e.load_real(e.at(e.at(starts[i], left_place), 4 * pair)))
                    for q in range(vectors):
                        n = i * vectors + q
                        sums[n] = _add_pairs(e, sums[n], number, words[q])
            return sums

        _, sums = e.loop(constant(0), block_end(e, tile.n_terms, TERMS), TERMS, turn, sums)
    for i in range(rows):
        e.store_row(sums[i * vectors : (i + 1) * vectors], e.at(tile.sums, PANEL_ROW * i))


def _add_pairs(e: Emitter, sums: ir.Value, left: ir.Value, right: ir.Value) -> ir.Value:
    """To each number the products of a pair: of its second terms, then of its first, each sum rounded."""
    pairs = ir.VectorType(BFloatType(), 2 * e.lanes)
    factors = [e.builder.bitcast(words, pairs) for words in (left, right)]
    return e.intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", e.vector, [sums, *factors])


def _nothing(e: Emitter) -> None:
    pass


AVX512_BF16 = ProductUnit(
    "avx512_bf16", ("avx512bf16",), HEIGHTS[0], _sums_by_vectors, begin=_nothing, end=_nothing
)


# -- AMX -------------------------------------------------------------------------------------------

# Tile registers: four of sums, and two of rows of each factor; each is 16 rows of 64 bytes.
SUMS, LEFT, RIGHT = ((0, 1), (2, 3)), (4, 5), (6, 7)
TILE_ROWS, TILE_BYTES = 16, 64
HALF = PANEL // 2


def _sums_by_tiles(e: Emitter, tile: Tile, n_parts: int) -> None:
    for half in (0, 1):

        def columns(half: int = half) -> None:
            _sums_of_half(e, tile, n_parts, 2 * TILE_BYTES * half)

        e.when(e.builder.icmp_signed(">", tile.columns, constant(HALF * half)), columns)


def _sums_of_half(e: Emitter, tile: Tile, n_parts: int, offset: int) -> None:
    """32 rows by the 32 columns that begin ``offset`` bytes into the panel's rows."""
    stride = constant(PANEL_ROW)
    for number in (*SUMS[0], *SUMS[1]):
        _tile_instruction(e, "tilezero", [_number(number)])
    for left, right in _parts(e, tile, n_parts):

        def block(k: ir.Value, _: Values, left: ir.Value = left, right: ir.Value = right) -> None:
            rows = e.at(left, e.builder.mul(k, constant(2)))
            words = e.at(e.at(right, e.builder.mul(k, constant(PANEL_ROW // 2))), offset)
            for n in (0, 1):
                place = e.at_row(rows, tile.left_stride, TILE_ROWS * n)
                _tile_instruction(e, "tileloadd64", [_number(LEFT[n]), place, tile.left_stride])
                _tile_instruction(e, "tileloadd64", [_number(RIGHT[n]), e.at(words, TILE_BYTES * n), stride])
            for i in (0, 1):
                for j in (0, 1):
                    factors = [_number(LEFT[i]), _number(RIGHT[j])]
                    _tile_instruction(e, "tdpbf16ps", [_number(SUMS[i][j]), *factors])

        e.loop(constant(0), block_end(e, tile.n_terms), BLOCK, block)
    for i in (0, 1):
        for j in (0, 1):
            place = e.at(tile.sums, TILE_ROWS * i * PANEL_ROW + offset + TILE_BYTES * j)
            _tile_instruction(e, "tilestored64", [_number(SUMS[i][j]), place, stride])


def _number(register: int) -> ir.Constant:
    return ir.Constant(I8, register)


def _configure_tiles(e: Emitter) -> None:
    """Eight tile registers of 16 rows of 64 bytes each."""
    columns = b"".join(TILE_BYTES.to_bytes(2, "little") for _ in range(8)).ljust(32, b"\0")
    content = bytearray((b"\1" + bytes(15) + columns + bytes([TILE_ROWS] * 8)).ljust(64, b"\0"))
    module, kind = e.function.module, ir.ArrayType(I8, 64)
    name = "tile_configuration"
    if name not in module.globals:
        variable = ir.GlobalVariable(module, kind, name)
        variable.linkage, variable.global_constant, variable.align = "internal", True, 64
        variable.initializer = ir.Constant(kind, content)
    _tile_instruction(e, "ldtilecfg", [module.globals[name]])


def _release_tiles(e: Emitter) -> None:
    """So that the operating system need not keep them when it switches to another thread."""
    _tile_instruction(e, "tilerelease", [])


def _tile_instruction(e: Emitter, name: str, arguments: Values) -> None:
    e.intrinsic(f"llvm.x86.{name}", ir.VoidType(), arguments)


AMX = ProductUnit(
    "amx",
    ("amx-tile", "amx-bf16", "avx512bf16"),
    2 * TILE_ROWS,
    _sums_by_tiles,
    begin=_configure_tiles,
    end=_release_tiles,
)

# In the order of preference.
PRODUCT_UNITS = {unit.name: unit for unit in (AMX, AVX512_BF16)}
