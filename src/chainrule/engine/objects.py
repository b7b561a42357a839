"""From emitted code to addresses: the processor's vectors, the compiler, and the kept object files.

The kernels of ``tiles.py`` do not go through Numba: LLVM compiles them as they are, all products of one
number type in less than half a second, into an object file that is kept beside Numba's (see ``kept.py``) and
loads in milliseconds.
"""

import gc
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from chainrule.engine import copies, products, updates
from chainrule.engine.calls import pack
from chainrule.engine.emit import VectorUnit
from chainrule.engine.kept import announce_compiling, cache_directory, keep, kept, sources_hash
from chainrule.engine.trace import trace

__all__ = ["UNITS", "TileKernel", "product_kernels", "update_kernels", "vector_unit"]

UNITS = {
    unit.name: unit
    for unit in (
        VectorUnit("avx512", 64, (6, 4), masks=True),
        VectorUnit("avx2", 32, (6, 2)),
        VectorUnit("neon", 16, (6, 2)),
        VectorUnit("baseline", 16, (4, 2), fuses=False),
    )
}

# Features to switch off so that a wider processor compiles for a narrower unit.
_WITHOUT = {"avx2": ",-avx512f", "baseline": ",-avx512f,-avx2,-fma,-avx"}

# What the machine code depends on besides the processor and the compiler.
_lock = threading.Lock()


def vector_unit() -> VectorUnit:
    """The host's vectors, unless the environment variable ``CHAINRULE_ISA`` names a narrower unit."""
    forced = os.environ.get("CHAINRULE_ISA", "")
    if forced:
        if forced not in UNITS:
            raise ValueError(f"CHAINRULE_ISA must be one of {', '.join(UNITS)}; got {forced!r}")
        return UNITS[forced]
    return _host_unit()


@cache
def _host_unit() -> VectorUnit:
    """The widest vectors that the processor has."""
    features = llvm.get_host_cpu_features()
    if all(features.get(name) for name in ("avx512f", "avx512vl", "avx512dq")):
        return UNITS["avx512"]
    if features.get("avx2") and features.get("fma"):
        return UNITS["avx2"]
    return UNITS["neon" if _architecture() in ("aarch64", "arm64") else "baseline"]


def _architecture() -> str:
    return str(llvm.get_default_triple().split("-")[0])


@dataclass(frozen=True)
class TileKernel:
    """A kernel that a schedule calls, ``f(address of its arguments, address of the step's record)``.

    Attributes
    ----------
    name : str
    fields : tuple of str
        Names of the arguments, in order; all of them are integers.
    reals : frozenset of str
        Those that are real numbers: none.
    address : int
        Where the machine code is; valid while this object lives.
    """

    name: str
    fields: tuple[str, ...]
    address: int
    _code: Any = field(repr=False, compare=False)
    reals: frozenset[str] = frozenset()

    def pack(self, **values: Any) -> list[int]:
        """The words of a call with these arguments."""
        return pack(self.fields, self.reals, values)


def product_kernels(dtype: Any) -> dict[str, TileKernel]:
    """The kernels for a number type on this processor by name, compiled or loaded when first asked for."""
    with _lock:
        return _product_kernels(np.dtype(dtype), vector_unit())


@cache
def _product_kernels(dtype: np.dtype, unit: VectorUnit) -> dict[str, TileKernel]:
    fields, identity = products.FIELDS | copies.FIELDS, ("products", dtype.name)
    return load_kernels(fields, identity, lambda: emit_products(dtype, unit), unit)


def emit_products(dtype: Any, unit: VectorUnit) -> ir.Module:
    """The kernels that need no optimizer, of one number type."""
    module = ir.Module(name="chainrule")
    module.triple = llvm.get_default_triple()
    products.emit_product(module, dtype, unit)
    products.emit_gradient(module, dtype, unit)
    copies.emit_transpose(module, dtype, unit)
    copies.emit_copy(module, dtype, unit)
    return module


def update_kernels(rule: Any, variant: str, dtype: Any) -> dict[str, TileKernel]:
    """The kernels that apply an ``UpdateRule`` of ``chainrule.optim``, by name.

    Parameters
    ----------
    rule : UpdateRule
    variant : str
        One of ``updates.VARIANTS``: which penalties there may be.
    dtype : float32 or float64

    Raises
    ------
    TypeError
        If the rule does something that cannot be compiled.
    """
    if variant not in updates.VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(updates.VARIANTS)}; got {variant!r}")
    step = updates.Rule(trace(rule), variant)
    with _lock:
        return _update_kernels(step, np.dtype(dtype), vector_unit())


@cache
def _update_kernels(rule: updates.Rule, dtype: np.dtype, unit: VectorUnit) -> dict[str, TileKernel]:
    # The traced rule is what is compiled: a rule that has changed, be it in a constant of another module, is
    # another program and has other kernels.
    identity = ("updates", dtype.name, rule)
    return load_kernels(updates.FIELDS, identity, lambda: emit_updates(rule, dtype, unit), unit)


def emit_updates(rule: updates.Rule, dtype: Any, unit: VectorUnit) -> ir.Module:
    """The kernels of one optimizer's rule."""
    module = ir.Module(name="chainrule")
    module.triple = llvm.get_default_triple()
    updates.emit_gradient_update(module, rule, dtype, unit)
    updates.emit_update(module, rule, dtype, unit)
    return module


# -- compiling and keeping -------------------------------------------------------------------------


def load_kernels(
    fields: dict[str, tuple[str, ...]], identity: tuple, emit: Callable[[], ir.Module], unit: VectorUnit
) -> dict[str, TileKernel]:
    """The kernels of one module by name, compiled or loaded.

    Parameters
    ----------
    fields : dict
        Names of the kernels, and of the arguments of each.
    identity : tuple
        What tells this module from others.
    emit : callable
        Makes the module.
    unit : VectorUnit
    """
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine(unit))
    engine.add_object_file(llvm.ObjectFileRef.from_data(_object_file(identity, emit, unit)))
    engine.finalize_object()
    return {
        name: TileKernel(name, names, engine.get_function_address(name), engine)
        for name, names in fields.items()
    }


def _target_machine(unit: VectorUnit) -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten() + _WITHOUT.get(unit.name, "")
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True)


def _object_file(identity: tuple, emit: Callable[[], ir.Module], unit: VectorUnit) -> bytes:
    """The object code, from disk if its checksum is right, else compiled and kept where that is possible."""
    path = _object_path(identity, unit)
    code = kept(path)
    if code is None:
        announce_compiling()
        # Straight to machine code: passes over the module would double the time and find nothing to do.
        with _collector_at_rest():
            text = str(emit())
        code = bytes(_target_machine(unit).emit_object(llvm.parse_assembly(text)))
        keep(path, code)
    return code


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """No search for garbage among a hundred thousand new objects, all in use: it would take as long again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _object_path(identity: tuple, unit: VectorUnit) -> Path | None:
    directory = cache_directory()
    if directory is None:
        return None
    host = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), llvm.llvm_version_info)
    key = (sources_hash(), host, unit, identity, os.environ.get("CHAINRULE_ISA"))
    return directory / f"tiles-{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.kernel"
