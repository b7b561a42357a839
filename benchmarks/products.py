"""Matrix products on one thread: a BLAS by the address of its ``sgemm``, beside the engine's own kernels.

Both are repeated by compiled code, so that calling them from Python, which takes longer than the smallest
products here, is not measured.
"""

import ctypes
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import native
import numpy as np
from library import make
from machine import blas_facts
from session import Unavailable
from timer import Timer

__all__ = ["Blas", "Mkl", "Multiplier", "Product", "ProductTimer", "SciPy"]


@dataclass(frozen=True)
class Product:
    """C (rows, columns) = A B, or Aᵀ B if ``transposed``, with so many terms in each sum."""

    rows: int
    terms: int
    columns: int
    transposed: bool = False

    @property
    def operations(self) -> float:
        """Multiplications and additions."""
        return 2.0 * self.rows * self.terms * self.columns

    @property
    def name(self) -> str:
        """As in ``32×784 · 784×128``, and with a ᵀ for a product such as the gradient of the weights."""
        if self.transposed:
            return f"({self.terms}×{self.rows})ᵀ · {self.terms}×{self.columns}"
        return f"{self.rows}×{self.terms} · {self.terms}×{self.columns}"

    def matrices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A, as it lies in memory, B, and C to be overwritten: float32, row after row.

        As in training: activations and their gradients in padded rows, weights and theirs without gaps.
        """
        rng = np.random.default_rng(0)
        left = (self.terms, self.rows) if self.transposed else (self.rows, self.terms)
        return (
            laid_out(rng.standard_normal(left), padded=True),
            laid_out(rng.standard_normal((self.terms, self.columns)), padded=self.transposed),
            laid_out(np.zeros((self.rows, self.columns)), padded=not self.transposed),
        )

    def textbook(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        """The product in float64."""
        A, B = A.astype(np.float64), B.astype(np.float64)
        return (A.T if self.transposed else A) @ B


CACHE_LINE = 64
# Rows whose distance is a multiple of this fall into the same few places of the caches.
BAD_STRIDE = 1024


def laid_out(values: np.ndarray, padded: bool) -> np.ndarray:
    """The same numbers in float32, beginning on a cache line; padded rows lie at no bad distance."""
    n_rows, n_columns = values.shape
    stride = n_columns * 4
    if padded:
        stride = -(-stride // CACHE_LINE) * CACHE_LINE
        stride += CACHE_LINE if stride % BAD_STRIDE == 0 else 0
    raw = np.empty(n_rows * stride + CACHE_LINE, np.uint8)
    offset = -raw.ctypes.data % CACHE_LINE
    result = np.ndarray((n_rows, n_columns), np.float32, raw, offset, (stride, 4))
    result[...] = values
    return result


class Multiplier(ABC):
    """Whose product is measured."""

    distributions: tuple[str, ...] = ()

    @abstractmethod
    def setup(self, product: Product, A: np.ndarray, B: np.ndarray, C: np.ndarray) -> Callable[[int], None]:
        """Make ready; returns what computes C = A B so many times."""

    def facts(self) -> str:
        """What of the configuration a reader should know."""
        return ""


class ProductTimer(Timer):
    """Repeats one product; a unit is a product.

    Raises
    ------
    RuntimeError
        If it is wrong.
    """

    def __init__(self, where: str, settings: dict[str, Any], product: dict[str, Any]) -> None:
        shape = Product(**product)
        self.multiplier: Multiplier = make(where, settings)
        self.A, self.B, self.C = shape.matrices()
        self.run = self.multiplier.setup(shape, self.A, self.B, self.C)
        self.run(1)
        if not np.allclose(self.C, shape.textbook(self.A, self.B), rtol=1e-3, atol=1e-3):
            raise RuntimeError(f"{where} computes a wrong product")

    def repeat(self, n: int) -> int:
        self.run(n)
        return n

    def versions(self) -> dict[str, str]:
        return {name: metadata.version(name) for name in self.multiplier.distributions}

    def facts(self) -> str:
        return self.multiplier.facts()


class Blas(Multiplier):
    """A library's ``sgemm``. A row-major matrix is its own transpose in Fortran's order: Cᵀ = Bᵀ Aᵀ."""

    @abstractmethod
    def sgemm(self) -> int:
        """Address of the Fortran-style function; the library is set to one thread."""

    def setup(self, product: Product, A: np.ndarray, B: np.ndarray, C: np.ndarray) -> Callable[[int], None]:
        sizes = np.array([product.columns, product.rows, product.terms], np.int32)
        strides = np.array([matrix.strides[0] // 4 for matrix in (B, A, C)], np.int32)
        factors = np.array([1, 0], np.float32)
        letters = np.frombuffer(b"NT" if product.transposed else b"NN", np.uint8).copy()
        self._kept = (sizes, strides, factors, letters)
        at = native.address
        n, one, zero = at(sizes), at(factors), at(factors) + 4
        arguments = [
            at(letters), at(letters) + 1, n, n + 4, n + 8, one,
            at(B), at(strides), at(A), at(strides) + 4, zero, at(C), at(strides) + 8,
        ]  # fmt: skip
        return native.repeat(self.sgemm(), arguments)


class SciPy(Blas):
    """The BLAS that SciPy brings."""

    distributions = ("scipy",)

    def sgemm(self) -> int:
        import scipy.linalg.cython_blas
        from numba.extending import get_cython_function_address
        from threadpoolctl import threadpool_limits

        assert scipy.linalg.cython_blas
        self._limits = threadpool_limits(1, user_api="blas")  # for as long as this process lives
        return int(get_cython_function_address("scipy.linalg.cython_blas", "sgemm"))

    def facts(self) -> str:
        return f"{blas_facts('scipy', threads=False)}, one thread"


class Mkl(Blas):
    """Intel's library, of the ``mkl`` package in this environment."""

    distributions = ("mkl",)

    def sgemm(self) -> int:
        os.environ["MKL_THREADING_LAYER"] = "SEQUENTIAL"  # read when it is loaded
        folders = (Path(sys.prefix) / "lib", Path(sys.prefix) / "Library" / "bin")
        found = [path for folder in folders for path in folder.glob("*mkl_rt*") if path.is_file()]
        if not found:
            raise Unavailable("the package mkl is not installed")
        self._library = ctypes.CDLL(str(found[0]))
        return int(ctypes.cast(self._library.sgemm, ctypes.c_void_p).value or 0)

    def facts(self) -> str:
        return "one thread"
