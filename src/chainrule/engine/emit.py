"""Building blocks for kernels: vectors, loads, fused multiply-adds and loops, emitted as LLVM IR from Python.

A kernel is written against an ``Emitter``: it knows the number type and the processor's vectors, and each
of its methods appends one instruction. What comes out is one LLVM function; ``objects.py`` turns a module of
them into machine code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

__all__ = ["POINTER", "Emitter", "VectorUnit", "constant"]

I32 = ir.IntType(32)
I64 = ir.IntType(64)
POINTER = ir.PointerType()


@dataclass(frozen=True)
class VectorUnit:
    """What the generator needs to know of a processor.

    Attributes
    ----------
    name : str
        "avx512", "avx2", "neon" or "baseline".
    vector_bytes : int
        Size of a vector register.
    tile : tuple of int
        Rows and vectors of a register tile: rows × vectors accumulators, with room left for one row of the
        right factor and a broadcast number.
    """

    name: str
    vector_bytes: int
    tile: tuple[int, int]

    def lanes(self, dtype: Any) -> int:
        """Numbers in a vector."""
        return self.vector_bytes // np.dtype(dtype).itemsize


def constant(value: int) -> ir.Constant:
    """A 64-bit integer."""
    return ir.Constant(I64, value)


class Emitter:
    """Appends instructions to one function.

    Parameters
    ----------
    function : ir.Function
    dtype : float32 or float64
    unit : VectorUnit
    """

    def __init__(self, function: ir.Function, dtype: Any, unit: VectorUnit) -> None:
        self.function = function
        self.unit = unit
        self.itemsize = np.dtype(dtype).itemsize
        self.lanes = unit.lanes(dtype)
        self.real = ir.FloatType() if self.itemsize == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.real, self.lanes)
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))

    # -- addresses and memory ----------------------------------------------------------------------

    def at(self, pointer: ir.Value, offset: ir.Value | int) -> ir.Value:
        """The address ``offset`` bytes further on."""
        offset = constant(offset) if isinstance(offset, int) else offset
        return self.builder.gep(pointer, [offset], source_etype=ir.IntType(8))

    def load(self, pointer: ir.Value) -> ir.Value:
        """A vector, from any address."""
        return self.builder.load(pointer, typ=self.vector, align=self.itemsize)

    def store(self, value: ir.Value, pointer: ir.Value) -> None:
        """A vector, to any address."""
        self.builder.store(value, pointer, align=self.itemsize)

    def load_row(self, pointer: ir.Value, n_vectors: int, mask: ir.Value | None = None) -> list[ir.Value]:
        """Consecutive vectors; with a mask, one of which only a part is read."""
        if mask is not None:
            return [self.load_part(pointer, mask)]
        return [self.load(self.at(pointer, q * self.unit.vector_bytes)) for q in range(n_vectors)]

    def store_row(self, row: list[ir.Value], pointer: ir.Value, mask: ir.Value | None = None) -> None:
        """Consecutive vectors; with a mask, one of which only a part is written."""
        if mask is not None:
            self.store_part(row[0], pointer, mask)
            return
        for q, value in enumerate(row):
            self.store(value, self.at(pointer, q * self.unit.vector_bytes))

    # The first ``count`` lanes only: the rest of a row that does not fill its last vector.

    def mask(self, count: ir.Value) -> ir.Value:
        """True in the first ``count`` lanes."""
        kind = ir.VectorType(I32, self.lanes)
        number = self.builder.insert_element(
            ir.Constant(kind, ir.Undefined), self.builder.trunc(count, I32), ir.Constant(I32, 0)
        )
        everywhere = self.builder.shuffle_vector(
            number, ir.Constant(kind, ir.Undefined), ir.Constant(kind, [0] * self.lanes)
        )
        return self.builder.icmp_signed("<", ir.Constant(kind, list(range(self.lanes))), everywhere)

    def load_part(self, pointer: ir.Value, mask: ir.Value) -> ir.Value:
        """A vector of which only the masked lanes are read; zero in the others."""
        kind = f"v{self.lanes}f{8 * self.itemsize}.p0"
        function = self.declare(
            f"llvm.masked.load.{kind}", self.vector, [POINTER, I32, mask.type, self.vector]
        )
        return self.builder.call(function, [pointer, ir.Constant(I32, self.itemsize), mask, self.zero()])

    def store_part(self, value: ir.Value, pointer: ir.Value, mask: ir.Value) -> None:
        """Store the masked lanes only."""
        kind = f"v{self.lanes}f{8 * self.itemsize}.p0"
        function = self.declare(
            f"llvm.masked.store.{kind}", ir.VoidType(), [self.vector, POINTER, I32, mask.type]
        )
        self.builder.call(function, [value, pointer, ir.Constant(I32, self.itemsize), mask])

    def load_real(self, pointer: ir.Value) -> ir.Value:
        """One number."""
        return self.builder.load(pointer, typ=self.real, align=self.itemsize)

    # -- arithmetic --------------------------------------------------------------------------------

    def zero(self) -> ir.Constant:
        """A vector of zeros."""
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def broadcast(self, number: ir.Value) -> ir.Value:
        """A vector with the same number in every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, number, ir.Constant(I32, 0))
        mask = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, undefined, mask)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a·b + c, in one instruction where the processor has it."""
        kind = f"v{self.lanes}f{8 * self.itemsize}"
        return self.builder.call(
            self.declare(f"llvm.fmuladd.{kind}", self.vector, [self.vector] * 3), [a, b, c]
        )

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a + b."""
        return self.builder.fadd(a, b)

    def declare(self, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
        """An outside function, declared once a module."""
        module = self.function.module
        return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)

    # -- control -----------------------------------------------------------------------------------

    def loop(
        self,
        start: ir.Value,
        stop: ir.Value,
        step: int,
        carried: list[ir.Value],
        body: Callable[[ir.Value, list[ir.Value]], list[ir.Value]],
    ) -> tuple[ir.Value, list[ir.Value]]:
        """``for i in range(start, stop, step)`` with values carried from turn to turn.

        Returns the first i not done and the values carried out. The body may not run at all.
        """
        before = self.builder.block
        turn = self.function.append_basic_block("turn")
        after = self.function.append_basic_block("after")
        self.builder.cbranch(self.builder.icmp_signed("<", start, stop), turn, after)
        self.builder.position_at_end(turn)
        index = self.builder.phi(I64)
        inside = [self.builder.phi(value.type) for value in carried]
        results = body(index, list(inside))
        following = self.builder.add(index, constant(step))
        end = self.builder.block
        self.builder.cbranch(self.builder.icmp_signed("<", following, stop), turn, after)
        self.builder.position_at_end(after)
        index_out = self.builder.phi(I64)
        outside = [self.builder.phi(value.type) for value in carried]
        for phi, first, later in zip([index, *inside], [start, *carried], [following, *results], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(later, end)
        for phi, first, later in zip(
            [index_out, *outside], [start, *carried], [following, *results], strict=True
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(later, end)
        return index_out, outside

    def choose(self, selector: ir.Value, cases: dict[int, Callable[[], None]]) -> None:
        """Run one of the cases by number, then return from the function."""
        start = self.builder.block
        blocks = {number: self.function.append_basic_block(f"case{number}") for number in cases}
        switch = self.builder.switch(selector, next(iter(blocks.values())))
        for number, block in blocks.items():
            switch.add_case(constant(number), block)
            self.builder.position_at_end(block)
            cases[number]()
            self.builder.ret_void()
        assert start.is_terminated
