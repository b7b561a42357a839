"""Training with products of bf16 numbers: what the processor must have, and the kernels.

Weights, values, deltas and moments stay in single precision, and so does every sum. Only the factors of the
three products of a linear layer, (1), (5) and (6), are rounded while they are packed:

- ``"bf16"``: to 8 bits of precision; a product's relative error is about 2⁻⁹.
- ``"bf16x3"``: to the sum of two such numbers, three products in place of one; about 2⁻¹⁸.

The kernels and their arguments are in ``bfloat16_packing.py`` and ``bfloat16_products.py``.
"""

import ctypes
import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from chainrule.engine import objects
from chainrule.engine.bfloat16_packing import BLOCK, PACKING, PANEL, PANEL_ROW, emit_packing
from chainrule.engine.bfloat16_products import PRODUCTS, UPDATES, emit_packed_product, emit_packed_update
from chainrule.engine.bfloat16_tiles import AMX, PRODUCT_UNITS
from chainrule.engine.objects import UNITS, TileKernel, vector_unit
from chainrule.engine.steps import VARIANTS, Rule
from chainrule.engine.trace import trace

__all__ = ["PRECISIONS", "PackedKernels", "available", "packed_kernels", "packed_update"]

# How many bf16 numbers stand for one number.
PRECISIONS = {"bf16": 1, "bf16x3": 2}

VECTORS = UNITS["avx512"]

# Linux: tile registers are used only by processes that asked for them.
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18


def available() -> tuple[str, ...]:
    """The instruction sets for bf16 that this processor and its operating system offer, the faster first.

    Asks the operating system for the permission to use AMX where the processor has it.
    """
    if vector_unit() is not VECTORS:
        return ()
    features = llvm.get_host_cpu_features()
    units = [unit for unit in PRODUCT_UNITS.values() if all(features.get(name) for name in unit.features)]
    return tuple(unit.name for unit in units if unit is not AMX or _system_permits_amx())


@cache
def _system_permits_amx() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    words = [ctypes.c_long(word) for word in (_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA)]
    return int(ctypes.CDLL(None).syscall(*words)) == 0


@dataclass(frozen=True)
class PackedKernels:
    """The kernels of one precision, and the room that packed factors take.

    Attributes
    ----------
    precision : {"bf16", "bf16x3"}
    instructions : {"amx", "avx512_bf16"}
    kernels : dict of str to TileKernel
        ``pack_rows``, ``pack_pairs``, ``pack_transpose``, ``pack_columns``, ``product``.
    """

    precision: str
    instructions: str
    kernels: dict[str, TileKernel]

    def __getitem__(self, name: str) -> TileKernel:
        return self.kernels[name]

    @staticmethod
    def terms_written(n_terms: int) -> int:
        """Terms of a packed factor, with the zeros that fill up its last block."""
        return -(-n_terms // BLOCK) * BLOCK

    def row_bytes(self, n_terms: int) -> int:
        """From one row of a packed left factor to the next: whole cache lines, never a multiple of 1 KB."""
        n_parts = PRECISIONS[self.precision]
        size = n_parts * 2 * self.terms_written(n_terms)
        return size if size % 1024 else size + n_parts * 64

    def panel_bytes(self, n_terms: int) -> int:
        """From one panel of 64 columns of a packed right factor to the next."""
        return PRECISIONS[self.precision] * self.terms_written(n_terms) // 2 * PANEL_ROW

    def left_bytes(self, n_rows: int, n_terms: int) -> int:
        """Room for a left factor. The last tile reads rows beyond the last one; no result comes of them."""
        return (n_rows + AMX.height - 1) * self.row_bytes(n_terms)

    def right_bytes(self, n_terms: int, columns: int) -> int:
        """Room for a right factor."""
        return -(-columns // PANEL) * self.panel_bytes(n_terms)


def packed_kernels(precision: str) -> PackedKernels:
    """The kernels for this processor, compiled or loaded when first asked for.

    Raises
    ------
    ValueError
        If the precision is unknown, or the processor or its operating system lacks the instructions.
    """
    return _packed_kernels(precision, _instructions(precision))


def packed_update(precision: str, rule: Any, variant: str) -> TileKernel:
    """``gradient_update`` for an optimizer's rule and one of the ``updates.VARIANTS``.

    Raises
    ------
    ValueError
        As ``packed_kernels``, or if the variant is unknown.
    TypeError
        If the rule does something that cannot be compiled.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; got {variant!r}")
    return _packed_update(precision, _instructions(precision), Rule(trace(rule), variant))


def _instructions(precision: str) -> str:
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)} here; got {precision!r}")
    names = available()
    if not names:
        raise ValueError(
            f"precision={precision!r} needs a processor with AVX512_BF16, or with AMX under Linux; "
            f"this one ({llvm.get_host_cpu_name()}, vectors: {vector_unit().name}) offers neither"
        )
    return names[0]


@cache
def _packed_kernels(precision: str, instructions: str) -> PackedKernels:
    identity = (precision, instructions)
    kernels = objects.load_kernels(
        PACKING | PRODUCTS, identity, lambda: emit_module(precision, instructions), VECTORS
    )
    return PackedKernels(precision, instructions, kernels)


@cache
def _packed_update(precision: str, instructions: str, rule: Rule) -> TileKernel:
    identity = (precision, instructions, rule)
    kernels = objects.load_kernels(
        UPDATES, identity, lambda: emit_module(precision, instructions, rule), VECTORS
    )
    return kernels["gradient_update"]


def emit_module(precision: str, instructions: str, rule: Rule | None = None) -> ir.Module:
    """The kernels of one precision; with an optimizer's rule, the one that applies it."""
    module = ir.Module(name="chainrule_bfloat16")
    module.triple = llvm.get_default_triple()
    product_unit, n_parts = PRODUCT_UNITS[instructions], PRECISIONS[precision]
    tile = product_unit.emit_tile(module, n_parts, VECTORS)
    if rule is not None:
        emit_packed_update(module, rule, tile, product_unit, VECTORS)
        return module
    emit_packing(module, n_parts, VECTORS)
    emit_packed_product(module, tile, product_unit, VECTORS)
    return module
