"""A few lines of machine code that measuring needs, compiled from LLVM's intermediate representation.

Python takes some tenths of a microsecond to call anything, which is longer than the smallest products here:
what is that short is repeated by compiled code.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np

__all__ = ["address", "compiled", "repeat", "vector_bytes"]


def vector_bytes() -> int:
    """Size of this processor's vector registers."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") and features.get("fma") else 16


def _target_machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )


# Machine code lives as long as its engine.
_engines: list[Any] = []


@cache
def compiled(source: str, name: str) -> int:
    """The address of a function of a module in LLVM's intermediate representation."""
    machine = _target_machine()
    module = llvm.parse_assembly(source)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    builder.getModulePassManager().run(module, builder)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address(name))


def address(array: np.ndarray) -> int:
    """Where an array's entries begin."""
    return int(array.ctypes.data)


def _repeating(n_arguments: int) -> str:
    """A function that calls another one again and again with the same 64-bit arguments, read from a list."""
    places = range(n_arguments)
    loads = "\n".join(
        f"  %at{i} = getelementptr i64, ptr %arguments, i64 {i}\n  %a{i} = load i64, ptr %at{i}"
        for i in places
    )
    return f"""
define void @repeat(ptr %function, ptr %arguments, i64 %times) {{
entry:
{loads}
  br label %turn
turn:
  %i = phi i64 [ 0, %entry ], [ %next, %turn ]
  call void %function({", ".join(f"i64 %a{i}" for i in places)})
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %turn, label %done
done:
  ret void
}}
"""


def repeat(function: int, arguments: list[int]) -> Callable[[int], None]:
    """``repeated(n)`` calls the C function at an address ``n`` times with the same integers or addresses.

    It does not hold the interpreter lock meanwhile.
    """
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    loop = kind(compiled(_repeating(len(arguments)), "repeat"))
    words = np.array(arguments, np.int64)
    return lambda times: loop(function, address(words), times)
