"""Numbers of tensors of either library, read where they lie, and norms that cost one pass over them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["array", "duplicates", "fingerprints", "is_any", "is_torch", "norm", "parameters_of", "squares"]

# A sum of squares in float32 outside of these is computed again in float64: it may have over- or underflowed.
LEAST, MOST = 1e-20, 1e30
# Rows whose fingerprints differ by less than this share of the largest are the same row.
SAME = 1e-5


def is_torch(value: Any) -> bool:
    """Whether it is an object of PyTorch, or of a class derived from one of its classes; imports nothing."""
    return any(kind.__module__.split(".")[0] == "torch" for kind in type(value).__mro__)


def array(tensor: Any) -> np.ndarray:
    """The numbers of a tensor: the memory itself where NumPy can read it, float32 or float64."""
    if not hasattr(tensor, "detach") or not hasattr(tensor, "cpu"):
        return np.asarray(tensor.data)
    tensor = tensor.detach()
    if tensor.is_sparse:
        tensor = tensor.to_dense()
    if tensor.dtype.itemsize < 4:
        tensor = tensor.float()
    numbers: np.ndarray = tensor.cpu().numpy()
    if numbers.dtype.kind == "c":
        return np.ascontiguousarray(numbers).view(numbers.real.dtype)
    return numbers


def is_any(tensor: Any) -> bool:
    """Whether a tensor has an entry that is not 0."""
    return bool(array(tensor).any())


def squares(numbers: np.ndarray) -> float:
    """Σ aᵢ², not finite only if an entry is not."""
    flat = numbers.ravel(order="K")
    total = float(np.dot(flat, flat))
    if flat.dtype == np.float32 and not LEAST < total < MOST and flat.size:
        flat = flat.astype(np.float64)
        total = float(np.dot(flat, flat))
    return total


def norm(numbers: np.ndarray) -> float:
    """√Σ aᵢ²."""
    return math.sqrt(squares(numbers))


@lru_cache(maxsize=64)
def _direction(size: int) -> np.ndarray:
    """A fixed vector without pattern: the same in every run, and no generator of the user's is drawn from."""
    return np.random.default_rng(size).standard_normal(size).astype(np.float32)


def fingerprints(rows: np.ndarray) -> np.ndarray:
    """One number a row, the same for the same row, as a share of the largest."""
    rows = rows.reshape(len(rows), -1)
    prints: np.ndarray = rows @ _direction(rows.shape[1])
    most = float(np.abs(prints).max(initial=0.0))
    return prints / most if most > 0 else prints


def duplicates(columns: list[np.ndarray]) -> float:
    """Share of rows that are the same as another in every column of numbers.

    Sorting by the first column is enough: the same rows are neighbours in it.
    """
    order = np.argsort(columns[0], kind="stable")
    same = np.ones(len(order) - 1, bool)
    for column in columns:
        same &= np.abs(np.diff(column[order])) < SAME
    alike = np.zeros(len(order), bool)
    alike[1:] |= same
    alike[:-1] |= same
    return float(alike.mean())


def parameters_of(model: Any) -> list[tuple[str, Any]]:
    """Parameters that have a shape already, with their dotted names, each once."""
    return [(name, one) for name, one in model.named_parameters() if not hasattr(one, "materialize")]
