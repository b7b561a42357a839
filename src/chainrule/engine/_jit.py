"""How the engine's code is compiled, and where the result is kept.

Three decorators are the only door to Numba in this library, so that flags are decided in one place:

- ``device`` for a function that other compiled functions call.
- ``inlined`` for one so small, and in so hot a loop, that a call would keep the loop from being vectorised.
- ``entry`` for a function that Python calls; it releases the interpreter lock and is cached on disk.

``Kernel`` compiles a function to a plain address, which ``entry`` functions call through a pointer:
this is how one worker runs any activation, loss or optimizer without being compiled anew for each.

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
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import compiler, sigutils
from numba.core.caching import _Cache
from numba.core.ccallback import CFunc
from numba.core.serialize import dumps

from chainrule.engine._intrinsics import array_at
from chainrule.engine.calls import STEP, STEP_REALS, pack, place_in_step
from chainrule.engine.kept import announce_compiling, cache_directory, keep, kept

__all__ = ["Kernel", "cache_directory", "compilable", "device", "entry", "fingerprint", "inlined"]

# Reassociation lets reductions use vectors; contraction lets a·b + c be one instruction.
FAST_MATH = {"reassoc", "contract", "arcp", "nsz"}
OPTIONS: dict[str, Any] = {"fastmath": FAST_MATH, "error_model": "numpy", "boundscheck": False}


_njit: Any = numba.njit  # its annotations do not know all of its options

# Python's way into a function, which would have to unpack every field of its arguments, is often ten times as
# much code as the function; those that only compiled functions call do without.
NO_WRAPPERS: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def device(function: Callable) -> Callable:
    """Compile a function that only compiled functions call; Python itself has no way into it."""
    return _njit(function, nogil=True, **NO_WRAPPERS, **OPTIONS)


def inlined(function: Callable) -> Callable:
    """Compile a small function into its callers, whatever LLVM thinks of its size."""
    return _njit(function, inline="always", nogil=True, **NO_WRAPPERS, **OPTIONS)


def entry(function: Callable) -> Any:
    """Compile, and keep on disk, a function that Python calls without holding the interpreter lock."""
    dispatcher = _njit(function, nogil=True, no_cfunc_wrapper=True, **OPTIONS)
    dispatcher._cache = KernelCache(function)
    return dispatcher


@inlined
def _integer_at(address, place):
    return numba.carray(array_at(address + place * 8, 0), 1)[0]


@inlined
def _double_at(address, place):
    return numba.carray(array_at(address + place * 8, 0.0), 1)[0]


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
        self.name = function.__name__
        names = inspect.signature(function).parameters
        in_step = (*STEP, *STEP_REALS, "step")
        self.fields = tuple(name for name in names if name not in in_step)
        self.reals = frozenset(name for name in self.fields if names[name].annotation is float)
        caller = self._caller(function, tuple(names), np.dtype(dtype).type)
        caller.__name__, caller.__qualname__ = function.__name__, function.__qualname__
        caller.__module__ = function.__module__
        caller.__chainrule_identity__ = (*identity, np.dtype(dtype).name)
        make: Any = CFunc
        signature = sigutils.normalize_signature(numba.void(numba.intp, numba.intp))
        self._compiled = make(caller, signature, {}, dict(OPTIONS))
        self._compiled._cache = KernelCache(caller)
        self._compiled.compile()

    def _caller(self, function: Callable, names: tuple[str, ...], real: Any) -> Any:
        """A function of the two addresses that reads every argument from its word."""
        words = []
        for name in names:
            if name == "step":
                words.append("step")
            elif name in STEP:
                words.append(f"integer_at(step, {place_in_step(name)})")
            elif name in STEP_REALS:
                words.append(f"double_at(step, {place_in_step(name)})")
            else:
                read = f"double_at(arguments, {self.fields.index(name)})"
                words.append(f"real({read})" if name in self.reals else read.replace("double", "integer"))
        source = f"def caller(arguments, step):\n    function({', '.join(words)})\n"
        space = {
            "function": inlined(function), "integer_at": _integer_at, "double_at": _double_at, "real": real
        }  # fmt: skip
        exec(source, space)
        return space["caller"]

    def pack(self, **values: Any) -> list[int]:
        """The words of a call with these arguments."""
        return pack(self.fields, self.reals, values)

    @property
    def address(self) -> int:
        """Where the machine code is; valid while this object lives."""
        return int(self._compiled.address)


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


@cache
def _sources_hash() -> str:
    """Hash of everything the machine code depends on, apart from the function and its types."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
    digest.update(repr(versions).encode())
    return digest.hexdigest()


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
        key = (
            _sources_hash(), self._function.__module__, self._function.__qualname__,
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
