"""How the engine's code is compiled, and where the result is kept.

Three decorators are the only door to Numba in this library, so that flags are decided in one place:

- ``device`` for a function that other compiled functions call.
- ``inlined`` for one so small, and in so hot a loop, that a call would keep the loop from being vectorised.
- ``embedded`` for one as hot that calls others.

``Kernel`` compiles a function to a plain address and keeps it on disk. Schedules call kernels by address:
this is how one worker plays any network, and compiles no more than the kernels that it needs.

Neither "no NaN" nor "no infinity" is among the fast-math flags: a library that diagnoses NaN must be
able to see one.

The cache. Numba's own keys an entry on the time stamp of the file that defines the function, so an
edited helper in another file gives a stale hit. Ours is keyed on what the machine code depends on: every
source file of the engine, the bytecode of the functions compiled in from elsewhere, the types, the
processor and the versions of Python, Numba, LLVM and NumPy. Each entry is one file with its own checksum; one
that does not match is compiled anew. Nothing depends on being able to write it.
"""

import hashlib
import inspect
import math
import pickle
import sys
import types as python_types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from llvmlite import ir
from numba.core import compiler, sigutils
from numba.core.caching import _Cache
from numba.core.ccallback import CFunc
from numba.core.serialize import dumps

from chainrule.engine.calls import STEP, STEP_REALS, pack, place_in_step
from chainrule.engine.kept import announce_compiling, cache_directory, keep, kept, sources_hash

__all__ = ["Kernel", "cache_directory", "compilable", "device", "embedded", "fingerprint", "inlined"]

# Reassociation lets reductions use vectors; contraction lets a·b + c be one instruction.
FAST_MATH = {"reassoc", "contract", "arcp", "nsz"}
OPTIONS: dict[str, Any] = {"fastmath": FAST_MATH, "error_model": "numpy", "boundscheck": False}


_njit: Any = numba.njit  # its annotations do not know all of its options
_CFunc: Any = CFunc

# Python's way into a function, which would have to unpack every field of its arguments, is often ten times as
# much code as the function; those that only compiled functions call do without.
NO_WRAPPERS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def device(function: Callable) -> Callable:
    """Compile a function that only compiled functions call; Python itself has no way into it."""
    return _njit(function, nogil=True, **NO_WRAPPERS, **OPTIONS)


def inlined(function: Callable) -> Callable:
    """Compile a small function into its callers, whatever LLVM thinks of its size."""
    return _njit(function, inline="always", nogil=True, **NO_WRAPPERS, **OPTIONS)


def embedded(function: Callable) -> Callable:
    """Compile a function once, and have LLVM put it into its callers.

    Numba does its own part of the work once, where it does that of an ``inlined`` function, and of all
    that is inlined into that, again for every caller.
    """
    return _njit(function, forceinline=True, nogil=True, **NO_WRAPPERS, **OPTIONS)


class Kernel:
    """A compiled function that a schedule calls: ``f(address of arguments, address of the step's record)``.

    Parameters
    ----------
    function : callable
        Takes numbers. A parameter that bears the name of a field of the step's record (``calls.STEP``) is
        read from there; ``step`` is the address of that record; all others are the call's own arguments,
        integers (addresses, sizes, flags) or, where annotated ``float``, reals of ``dtype``.
    identity : tuple
        What tells this kernel from others made by the same code: names and bytecode of the functions
        it closes over.
    dtype : float32 or float64

    Attributes
    ----------
    name : str
    fields : tuple of str
        Names of the call's own arguments, in order.
    reals : frozenset of str
        Those that are real numbers.
    """

    def __init__(self, function: Callable, identity: tuple, dtype: Any = np.float64) -> None:
        names = inspect.signature(function).parameters
        in_step = (*STEP, *STEP_REALS, "step")
        self.name = function.__name__
        self.fields = tuple(name for name in names if name not in in_step)
        self.reals = frozenset(name for name in self.fields if names[name].annotation is float)
        real = numba.from_dtype(np.dtype(dtype))
        kinds = [
            real if name in self.reals else numba.float64 if name in STEP_REALS else numba.intp
            for name in names
        ]
        function.__dict__["__chainrule_identity__"] = (*identity, np.dtype(dtype).name)
        self._compiled = _CompiledKernel(function, numba.void(*kinds), self.fields)

    def pack(self, **values: Any) -> list[int]:
        """The words of a call with these arguments."""
        return pack(self.fields, self.reals, values)

    @property
    def address(self) -> int:
        """Where the machine code is; valid while this object lives."""
        return int(self._compiled.address)


class _CompiledKernel(_CFunc):
    """A compiled function with a second entry, of two addresses, which reads every argument from its word."""

    def __init__(self, function: Callable, signature: Any, fields: tuple[str, ...]) -> None:
        super().__init__(function, sigutils.normalize_signature(signature), {}, dict(OPTIONS))
        self._fields = fields
        self._cache = KernelCache(function)
        self.compile()
        self._wrapper_address = self._library.get_pointer_to_function(f"kernel.{self.native_name}")

    def _compile_uncached(self) -> Any:
        result = super()._compile_uncached()
        result.library.add_ir_module(self._entry_module(result.fndesc))
        return result

    def _entry_module(self, function: Any) -> ir.Module:
        """The second entry, in LLVM's language."""
        context = self._targetdescr.target_context
        word, call = ir.IntType(64), context.call_conv
        module = context.create_module("kernel")
        signature = call.get_function_type(function.restype, function.argtypes)
        callee = ir.Function(module, signature, function.llvm_func_name)
        name = f"kernel.{function.llvm_cfunc_wrapper_name}"
        entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [word, word]), name)
        builder = ir.IRBuilder(entry.append_basic_block())
        own, step = (builder.inttoptr(address, ir.PointerType()) for address in entry.args)

        def argument(name: str, kind: Any) -> Any:
            if name == "step":
                return entry.args[1]
            is_own = name in self._fields
            words, place = (own, self._fields.index(name)) if is_own else (step, place_in_step(name))
            stored = word if kind == numba.intp else ir.DoubleType()
            value = builder.load(builder.gep(words, [word(place)], source_etype=word), typ=stored)
            return builder.fptrunc(value, ir.FloatType()) if kind == numba.float32 else value

        values = [argument(*one) for one in zip(function.args, function.argtypes, strict=True)]
        call.call_function(builder, callee, function.restype, function.argtypes, values, attrs=("noinline",))
        builder.ret_void()
        return module


def compilable(
    function: Callable, dtype: Any, vector_math: Any = math, compiled: dict[Callable, Any] | None = None
) -> Any:
    """Compile a plain function, and every plain function it calls by name, as ``inlined`` functions.

    The records of ``chainrule.functions`` are ordinary Python and know nothing of Numba; this is where
    they become compilable. ``vector_math`` takes the place of the module ``math``. Their constants take the
    kernel's dtype: one that stays double would widen, and slow down, a whole loop of floats.
    """
    compiled = {} if compiled is None else compiled
    if function not in compiled:
        real = np.dtype(dtype).type

        def narrow(value: Any) -> Any:
            return real(value) if isinstance(value, float) else value

        names = dict(function.__globals__)
        for name in function.__code__.co_names:
            if isinstance(names.get(name), python_types.FunctionType):
                names[name] = compilable(names[name], dtype, vector_math, compiled)
            elif names.get(name) is math:
                names[name] = vector_math
            elif name in names:
                names[name] = narrow(names[name])
        code = function.__code__.replace(
            co_consts=tuple(narrow(value) for value in function.__code__.co_consts)
        )
        twin = python_types.FunctionType(code, names, function.__name__, function.__defaults__)
        compiled[function] = inlined(twin)
    return compiled[function]


def fingerprint(function: Callable) -> str:
    """Hash of a function's bytecode and constants, and of those of the functions it calls by name."""
    seen: set[Callable] = set()
    digest = hashlib.sha256()

    def visit(one: Callable) -> None:
        if one in seen:
            return
        seen.add(one)
        code = one.__code__
        digest.update(repr((code.co_code, code.co_consts, code.co_names, one.__defaults__)).encode())
        for name in code.co_names:
            value = one.__globals__.get(name)
            if isinstance(value, python_types.FunctionType):
                visit(value)
            elif isinstance(value, int | float | str):
                digest.update(repr(value).encode())

    visit(function)
    return digest.hexdigest()


# -- the cache on disk -----------------------------------------------------------------------------


class KernelCache(_Cache):
    """One file an entry: a checksum, then Numba's pickled compile result."""

    def __init__(self, function: Callable) -> None:
        self._function = function

    @property
    def cache_path(self) -> str:
        return str(cache_directory() or "")

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        directory = cache_directory()
        if directory is None:
            return None
        identity = getattr(self._function, "__chainrule_identity__", ())
        versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
        key = (
            sources_hash(), versions, self._function.__module__, self._function.__qualname__,
            identity, str(signature), codegen.magic_tuple(),
        )  # fmt: skip
        name = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
        return directory / f"{self._function.__name__}-{name}.kernel"

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compile result kept for these types, or None."""
        target_context.refresh()
        payload = kept(self._path(signature, target_context.codegen()))
        if payload is not None:
            try:
                return compiler.CompileResult._rebuild(target_context, *pickle.loads(payload))
            except Exception:  # noqa: BLE001 - whatever is wrong with it, compiling anew mends it
                pass
        announce_compiling()
        return None

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep a compile result; a full or read-only disk is no error, only slower next time."""
        keep(self._path(signature, data.codegen), dumps(data._reduce()))
