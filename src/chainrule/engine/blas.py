"""Another way to matrix products: sgemm and dgemm of a BLAS, called by address from compiled code.

The engine's own kernels are used unless the environment variable ``CHAINRULE_BLAS`` names a library: "scipy"
for the one that SciPy brings, "mkl" for Intel's, where it is installed (the ``mkl`` extra). The engine runs
its own threads, so while it runs the library's must not: a guard that counts its holders sets the library to
one thread for as long as any training is under way, and restores what was there when the last one ends.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba.extending import get_cython_function_address
from threadpoolctl import ThreadpoolController

from chainrule.engine._intrinsics import gemm_call
from chainrule.engine._jit import device

__all__ = ["gemm", "gemm_address", "library_name", "one_blas_thread"]


@cache
def _mkl() -> ctypes.CDLL:
    """MKL's single library, of the ``mkl`` package in this environment."""
    for folder in (Path(sys.prefix) / "lib", Path(sys.prefix) / "Library" / "bin"):
        for path in sorted([*folder.glob("libmkl_rt.so*"), *folder.glob("mkl_rt*.dll")], reverse=True):
            try:
                return ctypes.CDLL(str(path))
            except OSError:
                continue
    raise ValueError("CHAINRULE_BLAS is 'mkl', but no mkl is installed: pip install 'chainrule[mkl]'")


def library_name() -> str:
    """Whose matrix product the engine calls: "scipy", "mkl", or "" for its own kernels.

    Raises
    ------
    ValueError
        If the environment variable ``CHAINRULE_BLAS`` has another value.
    """
    name = os.environ.get("CHAINRULE_BLAS", "").lower()
    if name not in ("", "scipy", "mkl"):
        raise ValueError(f"CHAINRULE_BLAS must be 'scipy' or 'mkl'; got {name!r}")
    return name


def gemm_address(dtype: Any) -> int:
    """Address of the Fortran-style matrix product for float32 or float64; 0 for the engine's own kernels."""
    function = "sgemm" if np.dtype(dtype) == np.float32 else "dgemm"
    library = library_name()
    if not library:
        return 0
    if library == "scipy":
        return int(get_cython_function_address("scipy.linalg.cython_blas", function))
    address = ctypes.cast(getattr(_mkl(), function), ctypes.c_void_p).value
    assert address is not None
    return address


@device
def gemm(address, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, beta, c, ldc):
    """C (m, n) = op(A) (m, k) op(B) (k, n) + beta C on row-major matrices at addresses a, b, c.

    A row-major matrix is its own transpose in column-major order, so the Fortran routine is asked
    for Cᵀ = op(B)ᵀ op(A)ᵀ.
    """
    codes = (84 if transpose_b else 78, 84 if transpose_a else 78)  # 'T', 'N'
    gemm_call(address, codes, (n, m, k), (b, a, c), (ldb, lda, ldc), beta)


def _set_threads(library: Any, count: int) -> None:
    """Set a library's limit from any Python thread.

    From version 3.8, threadpoolctl's public setter does nothing in other threads than the first that
    called it; the guard's lock already keeps ours from contradicting each other.
    """
    getattr(library, "_real_set_num_threads", library.set_num_threads)(count)


class _SingleThreadGuard:
    """Counts who needs the BLAS to be single-threaded; acts at the first and the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._before: list[tuple[Any, int]] = []
        self._controller: ThreadpoolController | None = None

    def acquire(self) -> None:
        with self._lock:
            if self._holders == 0:
                if self._controller is None:
                    self._controller = ThreadpoolController().select(user_api="blas")
                libraries = self._controller.lib_controllers
                self._before = [(library, library.num_threads) for library in libraries]
                for library in libraries:
                    _set_threads(library, 1)
            self._holders += 1

    def release(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                for library, count in self._before:
                    _set_threads(library, count)

    def forget(self) -> None:
        """In a forked child nobody trains yet, and the parent's lock may be held for ever."""
        self.__init__()  # type: ignore[misc]


_guard = _SingleThreadGuard()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_guard.forget)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold the BLAS libraries at one thread, where one is used; any number of trainings may hold at once."""
    if not library_name():
        yield
        return
    _guard.acquire()
    try:
        yield
    finally:
        _guard.release()
