"""The few things compiled code needs that Numba has no word for: addresses, atomics, calls by address."""

import sys

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "add_atomically",
    "call_address",
    "cpu_pause",
    "flush_denormals",
    "futex_wait",
    "futex_wake",
    "load_atomically",
    "restore_denormals",
    "store_atomically",
]

_POINTER = ir.PointerType()
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)

# Linux's futex system call: (word, operation, value); "private" since no other process shares the word.
_FUTEX_NUMBER = {"x86_64": 202, "aarch64": 98}
_FUTEX_WAIT_PRIVATE = 128
_FUTEX_WAKE_PRIVATE = 129


def _declare(module, name, function_type):
    return module.globals.get(name) or ir.Function(module, function_type, name)


@intrinsic
def add_atomically(typing_context, address, value):
    """Add to the int64 at an address; the value before."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", builder.inttoptr(args[0], _POINTER), args[1], "seq_cst")

    return types.int64(types.intp, types.int64), codegen


@intrinsic
def store_atomically(typing_context, address, value):
    """Store to the int64 at an address, after everything before it."""

    def codegen(context, builder, signature, args):
        builder.atomic_rmw("xchg", builder.inttoptr(args[0], _POINTER), args[1], "seq_cst")
        return context.get_dummy_value()

    return types.void(types.intp, types.int64), codegen


@intrinsic
def load_atomically(typing_context, address):
    """Load the int64 at an address, before everything after it, after every store that is atomic too."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.load_atomic(pointer, "seq_cst", 8, typ=_I64)

    return types.int64(types.intp), codegen


@intrinsic
def cpu_pause(typing_context):
    """Tell the processor that this is a spin loop, where it has an instruction for that."""

    def codegen(context, builder, signature, args):
        if context.codegen().target_data and "x86" in builder.module.triple:
            builder.call(
                _declare(builder.module, "llvm.x86.sse2.pause", ir.FunctionType(ir.VoidType(), [])), []
            )
        return context.get_dummy_value()

    return types.void(), codegen


def _futex(builder, address, operation, value):
    machine = builder.module.triple.split("-")[0]
    number = _FUTEX_NUMBER.get(machine)
    if number is None or not sys.platform.startswith("linux"):
        return
    system_call = _declare(builder.module, "syscall", ir.FunctionType(_I64, [_I64], var_arg=True))
    zero = ir.Constant(_I64, 0)
    pointer = builder.inttoptr(address, _POINTER)
    builder.call(
        system_call,
        [ir.Constant(_I64, number), pointer, ir.Constant(_I64, operation), value, zero, zero, zero],
    )


@intrinsic
def futex_wait(typing_context, address, value):
    """Sleep while the low 32 bits at an address equal ``value``; returns at once where there is no futex."""

    def codegen(context, builder, signature, args):
        _futex(builder, args[0], _FUTEX_WAIT_PRIVATE, args[1])
        return context.get_dummy_value()

    return types.void(types.intp, types.int64), codegen


@intrinsic
def futex_wake(typing_context, address):
    """Wake every thread that sleeps on an address."""

    def codegen(context, builder, signature, args):
        _futex(builder, args[0], _FUTEX_WAKE_PRIVATE, ir.Constant(_I64, 1 << 20))
        return context.get_dummy_value()

    return types.void(types.intp), codegen


# SSE's control register: bit 15 flushes denormal results to zero, bit 6 reads denormal inputs as zero.
_FLUSH_BITS = 0x8040


@intrinsic
def flush_denormals(typing_context):
    """Flush denormals to zero on this thread; returns the state to restore. Dead units otherwise drive
    Adam's moments into denormals, which slow a step down 2-20 times."""

    def codegen(context, builder, signature, args):
        if "x86" not in builder.module.triple:
            return ir.Constant(_I32, 0)
        slot = cgutils.alloca_once(builder, _I32)
        control = ir.FunctionType(ir.VoidType(), [_POINTER])
        builder.call(_declare(builder.module, "llvm.x86.sse.stmxcsr", control), [slot])
        before = builder.load(slot)
        builder.store(builder.or_(before, ir.Constant(_I32, _FLUSH_BITS)), slot)
        builder.call(_declare(builder.module, "llvm.x86.sse.ldmxcsr", control), [slot])
        return before

    return types.uint32(), codegen


@intrinsic
def restore_denormals(typing_context, state):
    """Undo ``flush_denormals``."""

    def codegen(context, builder, signature, args):
        if "x86" in builder.module.triple:
            slot = cgutils.alloca_once(builder, _I32)
            builder.store(args[0], slot)
            control = ir.FunctionType(ir.VoidType(), [_POINTER])
            builder.call(_declare(builder.module, "llvm.x86.sse.ldmxcsr", control), [slot])
        return context.get_dummy_value()

    return types.void(types.uint32), codegen


@intrinsic
def call_address(typing_context, address, arguments):
    """Call the function at an address with a tuple of integers; it returns nothing."""

    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1])
        function_type = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], function_type.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.intp, arguments), codegen


# -- arithmetic for vector_math --------------------------------------------------------------------


def _llvm(builder, name, real, n_arguments):
    suffix = {"float": "f32", "double": "f64"}[str(real)]
    return _declare(builder.module, f"llvm.{name}.{suffix}", ir.FunctionType(real, [real] * n_arguments))


@intrinsic
def fused(typing_context, a, b, c):
    """a·b + c rounded once; a call, so that fast-math does not rearrange it."""

    def codegen(context, builder, signature, args):
        return builder.call(_llvm(builder, "fma", context.get_value_type(a), 3), args)

    return a(a, a, a), codegen


def chebyshev(terms):
    """Clenshaw's recurrence over these coefficients, highest first, unrolled: (y) -> (d, the d before)."""

    @intrinsic
    def clenshaw(typing_context, y):
        def codegen(context, builder, signature, args):
            real = context.get_value_type(y)
            multiply_add = _llvm(builder, "fma", real, 3)
            d, before = ir.Constant(real, 0.0), ir.Constant(real, 0.0)
            for term in terms:
                difference = builder.fsub(ir.Constant(real, float(term)), before)
                d, before = builder.call(multiply_add, [args[0], d, difference]), d
            return context.make_tuple(builder, signature.return_type, [d, before])

        return types.UniTuple(y, 2)(y), codegen

    return clenshaw


@intrinsic
def nearest(typing_context, x):
    """The nearest integer, as a real."""

    def codegen(context, builder, signature, args):
        return builder.call(_llvm(builder, "rint", context.get_value_type(x), 1), args)

    return x(x), codegen


@intrinsic
def bits_of(typing_context, x):
    """The bits of a real, as an integer of its size."""
    result = types.int32 if x == types.float32 else types.int64

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(result))

    return result(x), codegen


@intrinsic
def real_of(typing_context, bits, like):
    """The real of ``like``'s type that has these bits."""
    width = types.int32 if like == types.float32 else types.int64

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(like))

    return like(width, like), codegen
