"""Building blocks for kernels: vectors, loads, fused multiply-adds and loops, emitted as LLVM IR from Python.

A kernel is written against an ``Emitter``: it knows the number type and the processor's vectors, and each
of its methods appends a few instructions. What comes out is LLVM functions; ``objects.py`` turns a module of
them into machine code.

Every kernel that a schedule calls is ``f(address of its arguments, address of the step's record)``, see
``calls.py``; ``kernel`` begins one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from chainrule.engine.calls import place_in_step

__all__ = ["DOUBLE", "I64", "POINTER", "Emitter", "Values", "VectorUnit", "constant", "internal", "kernel"]

I1 = ir.IntType(1)
I8 = ir.IntType(8)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
DOUBLE = ir.DoubleType()
POINTER = ir.PointerType()

WORD_BYTES = 8

# Values that a loop carries or that a tile consists of.
Values = list[ir.Value]


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
        Rows and vectors of the largest register tile: rows × vectors accumulators, with room left for one row
        of the right factor and a broadcast number.
    fuses : bool
        Whether a·b + c is one instruction, rounded once.
    masks : bool
        Whether loading and storing a part of a vector costs no more than the whole.
    """

    name: str
    vector_bytes: int
    tile: tuple[int, int]
    fuses: bool = True
    masks: bool = False

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
        self.dtype = np.dtype(dtype)
        self.itemsize = self.dtype.itemsize
        self.lanes = unit.lanes(dtype)
        self.real = ir.FloatType() if self.itemsize == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.real, self.lanes)
        self.kind = f"v{self.lanes}f{8 * self.itemsize}"  # of vectors, in the names of LLVM's intrinsics
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        # Whole registers, also where LLVM would by itself prefer narrower ones. (llvmlite's own ``add``
        # refuses attributes that have a value.)
        set.add(function.attributes, f'"prefer-vector-width"="{8 * unit.vector_bytes}"')
        function.attributes.add("nounwind")

    # -- words -------------------------------------------------------------------------------------

    def word(self, pointer: ir.Value, place: int | ir.Value, kind: ir.Type = I64) -> ir.Value:
        """One of a row of 64-bit words."""
        if isinstance(place, int):
            address = self.at(pointer, place * WORD_BYTES)
        else:
            address = self.builder.gep(pointer, [place], source_etype=I64)
        return self.builder.load(address, typ=kind, align=WORD_BYTES)

    def from_step(self, step: ir.Value, name: str) -> ir.Value:
        """An integer of the step's record."""
        return self.word(step, place_in_step(name))

    def double_from_step(self, step: ir.Value, name: str) -> ir.Value:
        """A real of the step's record."""
        return self.word(step, place_in_step(name), DOUBLE)

    def rounded(self, number: ir.Value) -> ir.Value:
        """A double in the kernel's number type."""
        return number if self.itemsize == 8 else self.builder.fptrunc(number, self.real)

    def widened(self, number: ir.Value) -> ir.Value:
        """A number of the kernel's type as a double."""
        return number if self.itemsize == 8 else self.builder.fpext(number, DOUBLE)

    # -- addresses and memory ----------------------------------------------------------------------

    def pointer(self, address: ir.Value) -> ir.Value:
        """The pointer that an integer address stands for."""
        return self.builder.inttoptr(address, POINTER)

    def at(self, pointer: ir.Value, offset: ir.Value | int) -> ir.Value:
        """The address ``offset`` bytes further on."""
        if isinstance(offset, int):
            return pointer if offset == 0 else self.builder.gep(pointer, [constant(offset)], source_etype=I8)
        return self.builder.gep(pointer, [offset], source_etype=I8)

    def at_row(self, pointer: ir.Value, stride: ir.Value, row: ir.Value | int) -> ir.Value:
        """The address of a row of a matrix whose rows are ``stride`` bytes apart."""
        row = constant(row) if isinstance(row, int) else row
        return self.at(pointer, self.builder.mul(row, stride))

    def room(self, n_bytes: int) -> ir.Value:
        """Memory of the function's own."""
        with self.builder.goto_entry_block():
            place = self.builder.alloca(ir.ArrayType(I8, n_bytes))
            place.align = 64
            return self.pointer(self.builder.ptrtoint(place, I64))

    def load(self, pointer: ir.Value) -> ir.Value:
        """A vector, from any address."""
        return self.builder.load(pointer, typ=self.vector, align=self.itemsize)

    def store(self, value: ir.Value, pointer: ir.Value) -> None:
        """A vector, to any address."""
        self.builder.store(value, pointer, align=self.itemsize)

    def prefetch(self, pointer: ir.Value) -> None:
        """Ask for a cache line that will be read and written."""
        arguments = [pointer, *(ir.Constant(I32, number) for number in (1, 3, 1))]
        self.intrinsic("llvm.prefetch.p0", ir.VoidType(), arguments)

    def load_row(self, pointer: ir.Value, n_vectors: int, mask: ir.Value | None = None) -> Values:
        """Consecutive vectors; with a mask, only a part of the last one is read."""
        places = [self.at(pointer, q * self.unit.vector_bytes) for q in range(n_vectors)]
        if mask is None:
            return [self.load(place) for place in places]
        return [*(self.load(place) for place in places[:-1]), self.load_part(places[-1], mask)]

    def store_row(self, row: Values, pointer: ir.Value, mask: ir.Value | None = None) -> None:
        """Consecutive vectors; with a mask, only a part of the last one is written."""
        for q, value in enumerate(row):
            place = self.at(pointer, q * self.unit.vector_bytes)
            if mask is not None and q == len(row) - 1:
                self.store_part(value, place, mask)
            else:
                self.store(value, place)

    # The first ``count`` lanes only: the rest of a row that does not fill its last vector.

    def mask(self, count: ir.Value) -> ir.Value:
        """True in the first ``count`` lanes."""
        kind = ir.VectorType(I32, self.lanes)
        everywhere = self._everywhere(self.builder.trunc(count, I32), kind)
        return self.builder.icmp_signed("<", ir.Constant(kind, list(range(self.lanes))), everywhere)

    def load_part(self, pointer: ir.Value, mask: ir.Value) -> ir.Value:
        """A vector of which only the masked lanes are read; zero in the others."""
        arguments = [pointer, ir.Constant(I32, self.itemsize), mask, self.splat(0.0)]
        return self.intrinsic(f"llvm.masked.load.{self.kind}.p0", self.vector, arguments)

    def store_part(self, value: ir.Value, pointer: ir.Value, mask: ir.Value) -> None:
        """Store the masked lanes only."""
        arguments = [value, pointer, ir.Constant(I32, self.itemsize), mask]
        self.intrinsic(f"llvm.masked.store.{self.kind}.p0", ir.VoidType(), arguments)

    def load_real(self, pointer: ir.Value) -> ir.Value:
        """One number."""
        return self.builder.load(pointer, typ=self.real, align=self.itemsize)

    # -- arithmetic --------------------------------------------------------------------------------

    def splat(self, number: float) -> ir.Constant:
        """A constant vector."""
        return ir.Constant(self.vector, [float(self.dtype.type(number))] * self.lanes)

    def broadcast(self, number: ir.Value) -> ir.Value:
        """A vector with the same number in every lane."""
        return self._everywhere(number, self.vector)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a·b + c: rounded once where the processor can, after the product and after the sum where not."""
        if not self.unit.fuses:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        return self.intrinsic(f"llvm.fma.{self.kind}", self.vector, [a, b, c])

    # The instructions that a traced rule consists of (see ``trace.py``), each rounded as IEEE 754 says.

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a + b."""
        return self.builder.fadd(a, b)

    def subtract(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a − b."""
        return self.builder.fsub(a, b)

    def multiply(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a·b."""
        return self.builder.fmul(a, b)

    def divide(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """a / b."""
        return self.builder.fdiv(a, b)

    def negate(self, a: ir.Value) -> ir.Value:
        """−a."""
        return self.builder.fneg(a)

    def absolute(self, a: ir.Value) -> ir.Value:
        """|a|."""
        return self.intrinsic(f"llvm.fabs.{self.kind}", self.vector, [a])

    def sqrt(self, a: ir.Value) -> ir.Value:
        """√a."""
        return self.intrinsic(f"llvm.sqrt.{self.kind}", self.vector, [a])

    def less(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Where a < b."""
        return self.builder.fcmp_ordered("<", a, b)

    def less_equal(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Where a ≤ b."""
        return self.builder.fcmp_ordered("<=", a, b)

    def equal(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Where a = b."""
        return self.builder.fcmp_ordered("==", a, b)

    def not_equal(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Where a ≠ b, or one of them is NaN."""
        return self.builder.fcmp_unordered("!=", a, b)

    def select(self, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        """a where the condition holds, else b."""
        return self.builder.select(condition, a, b)

    def _everywhere(self, number: ir.Value, kind: ir.VectorType) -> ir.Value:
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, number, ir.Constant(I32, 0))
        places = ir.Constant(ir.VectorType(I32, self.lanes), None)  # all 0
        return self.builder.shuffle_vector(first, undefined, places)

    def intrinsic(self, name: str, result: ir.Type, arguments: Values) -> ir.Value:
        """A call of one of LLVM's own functions, declared once a module."""
        module = self.function.module
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(module.globals.get(name) or ir.Function(module, kind, name), arguments)

    # -- control -----------------------------------------------------------------------------------

    def call(self, function: ir.Function, arguments: Sequence[ir.Value]) -> None:
        """Call a function of the same module."""
        self.builder.call(function, arguments)

    def loop(
        self,
        start: ir.Value,
        stop: ir.Value,
        step: int,
        body: Callable[[ir.Value, Values], Values | None],
        carried: Sequence[ir.Value] = (),
    ) -> tuple[ir.Value, Values]:
        """``for i in range(start, stop, step)`` with values carried from turn to turn.

        Returns the first i not done and the values carried out. The body may not run at all.
        """
        before = self.builder.block
        turn = self.function.append_basic_block("turn")
        after = self.function.append_basic_block("after")
        self.builder.cbranch(self.builder.icmp_signed("<", start, stop), turn, after)
        self.builder.position_at_end(turn)
        first = [start, *carried]
        inside = [self.builder.phi(value.type) for value in first]
        results = body(inside[0], inside[1:]) or []
        later = [self.builder.add(inside[0], constant(step)), *results]
        end = self.builder.block
        self.builder.cbranch(self.builder.icmp_signed("<", later[0], stop), turn, after)
        self.builder.position_at_end(after)
        outside = [self.builder.phi(value.type) for value in first]
        for place, value, next_value in zip([*inside, *outside], first * 2, later * 2, strict=True):
            place.add_incoming(value, before)
            place.add_incoming(next_value, end)
        return outside[0], outside[1:]

    def when(
        self, condition: ir.Value, body: Callable[[], Values | None], otherwise: Sequence[ir.Value] = ()
    ) -> Values:
        """The values that ``body`` gives where the condition holds, else others."""
        before = self.builder.block
        then = self.function.append_basic_block("then")
        after = self.function.append_basic_block("after")
        self.builder.cbranch(condition, then, after)
        self.builder.position_at_end(then)
        results = body() or []
        end = self.builder.block
        self.builder.branch(after)
        self.builder.position_at_end(after)
        merged = [self.builder.phi(value.type) for value in otherwise]
        for place, value, other in zip(merged, results, otherwise, strict=True):
            place.add_incoming(value, end)
            place.add_incoming(other, before)
        return merged


def kernel(module: ir.Module, name: str, dtype: Any, unit: VectorUnit) -> tuple[Emitter, ir.Value, ir.Value]:
    """Begin a function that a schedule calls; also pointers to its arguments and to the step's record."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64, I64]), name)
    e = Emitter(function, dtype, unit)
    return e, e.pointer(function.args[0]), e.pointer(function.args[1])


def internal(
    module: ir.Module, name: str, arguments: Sequence[ir.Type], dtype: Any, unit: VectorUnit
) -> Emitter:
    """Begin a function that only kernels of the same module call."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return Emitter(function, dtype, unit)
