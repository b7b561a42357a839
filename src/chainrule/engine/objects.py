"""From emitted code to addresses: the processor's vectors, the compiler, and the kept object files.

The kernels of ``tiles.py`` do not go through Numba: LLVM compiles them as they are, all of one number type in
about half a second, into an object file that is kept beside Numba's (see ``kept.py``) and loads in
milliseconds.
"""

import hashlib
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from chainrule.engine import tiles
from chainrule.engine.emit import VectorUnit
from chainrule.engine.kept import announce_compiling, cache_directory, keep, kept

__all__ = ["FAMILIES", "MAX_ROWS", "MAX_VECTORS", "UNITS", "TileTable", "tile_table", "vector_unit"]

UNITS = {
    unit.name: unit
    for unit in (
        VectorUnit("avx512", 64, (6, 4)),
        VectorUnit("avx2", 32, (6, 2)),
        VectorUnit("neon", 16, (6, 2)),
        VectorUnit("baseline", 16, (4, 2)),
    )
}

# Features to switch off so that a wider processor compiles for a narrower unit.
_WITHOUT = {"avx2": ",-avx512f", "baseline": ",-avx512f,-avx2,-fma,-avx"}

FAMILIES = "NT"
MAX_ROWS, MAX_VECTORS = 6, 4

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


class TileTable:
    """The addresses of the kernels of one number type.

    Attributes
    ----------
    addresses : ndarray of int64
        Entry ``(family · 7 + rows) · 5 + vectors``, with 0 vectors for the masked kernel; then the transpose.
    tallest, widest : int
        Rows and vectors of the largest tile.
    """

    def __init__(self, dtype: Any, unit: VectorUnit) -> None:
        machine = _target_machine(unit)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(_object_file(dtype, unit)))
        self._engine.finalize_object()
        self.tallest, self.widest = unit.tile
        self.addresses = np.zeros(len(FAMILIES) * (MAX_ROWS + 1) * (MAX_VECTORS + 1) + 1, np.int64)
        for number, family in enumerate(FAMILIES):
            for rows in _heights(unit):
                for vectors in range(self.widest + 1):
                    name = tiles.kernel_name(family, rows, vectors, masked=vectors == 0)
                    place = (number * (MAX_ROWS + 1) + rows) * (MAX_VECTORS + 1) + vectors
                    self.addresses[place] = self._engine.get_function_address(name)
        self.addresses[-1] = self._engine.get_function_address("chainrule_transpose")


@cache
def _table(dtype: np.dtype, unit: VectorUnit) -> TileTable:
    return TileTable(dtype, unit)


def tile_table(dtype: Any) -> TileTable:
    """The kernels for a number type on this processor, compiled or loaded when first asked for."""
    with _lock:
        return _table(np.dtype(dtype), vector_unit())


def _heights(unit: VectorUnit) -> list[int]:
    """Heights of tiles; any number of rows is a sum of them."""
    return [rows for rows in (6, 4, 2, 1) if rows <= unit.tile[0]]


def _target_machine(unit: VectorUnit) -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten() + _WITHOUT.get(unit.name, "")
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True)


def emit_module(dtype: Any, unit: VectorUnit) -> ir.Module:
    """All the kernels of one number type."""
    module = ir.Module(name="chainrule")
    module.triple = llvm.get_default_triple()
    for family in FAMILIES:
        for rows in _heights(unit):
            tiles.emit_product(module, family, (rows, 1), True, dtype, unit)
            for vectors in range(1, unit.tile[1] + 1):
                tiles.emit_product(module, family, (rows, vectors), False, dtype, unit)
    tiles.emit_transpose(module, dtype, unit)
    for function in module.functions:
        if not function.is_declaration:
            # Whole registers, also where LLVM would by itself prefer narrower ones. (llvmlite's own ``add``
            # refuses attributes that have a value.)
            set.add(function.attributes, f'"prefer-vector-width"="{8 * unit.vector_bytes}"')
    return module


def _compile(dtype: Any, unit: VectorUnit) -> bytes:
    announce_compiling()
    machine = _target_machine(unit)
    module = llvm.parse_assembly(str(emit_module(dtype, unit)))
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    result: bytes = machine.emit_object(module)
    return result


def _object_path(dtype: Any, unit: VectorUnit) -> Path | None:
    directory = cache_directory()
    if directory is None:
        return None
    digest = hashlib.sha256()
    for name in ("emit.py", "tiles.py", "objects.py"):
        digest.update((Path(__file__).parent / name).read_bytes())
    host = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), llvm.llvm_version_info)
    digest.update(repr((host, unit, np.dtype(dtype).name, os.environ.get("CHAINRULE_ISA"))).encode())
    return directory / f"tiles-{digest.hexdigest()[:32]}.kernel"


def _object_file(dtype: Any, unit: VectorUnit) -> bytes:
    """The object code, from disk if its checksum is right, else compiled and kept where that is possible."""
    path = _object_path(dtype, unit)
    code = kept(path)
    if code is None:
        code = _compile(dtype, unit)
        keep(path, code)
    return code
