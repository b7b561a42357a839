"""Making tensors, with PyTorch's names. Floats are float32 unless something else is said."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from chainrule.tape.sizes import as_sizes
from chainrule.tape.tensor import Tensor, as_dtype

__all__ = ["arange", "as_tensor", "eye", "from_numpy", "full", "linspace", "ones", "ones_like", "tensor",
           "zeros", "zeros_like"]  # fmt: skip


def tensor(values: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A new tensor; numbers are copied.

    Parameters
    ----------
    values : array_like
        An array keeps its dtype; Python's floats become float32, as in PyTorch.
    dtype : dtype, optional
    requires_grad : bool

    Examples
    --------
    >>> tensor([1.0, 2.0], requires_grad=True)
    tensor([1., 2.], requires_grad=True)
    """
    if isinstance(values, Tensor):
        values = values.data
    is_array = isinstance(values, np.ndarray | np.generic)
    array = np.array(_plain(values), dtype=None if dtype is None else as_dtype(dtype))
    if dtype is None and not is_array and array.dtype == np.float64:
        array = array.astype(np.float32)
    return Tensor(array, requires_grad)


def _plain(values: Any) -> Any:
    if isinstance(values, list | tuple):
        return [_plain(value) for value in values]
    return values.data if isinstance(values, Tensor) else values


def as_tensor(values: Any, dtype: DTypeLike | None = None) -> Tensor:
    """A tensor of the same memory where that is possible."""
    if isinstance(values, Tensor):
        return values if dtype is None else values.to(dtype)
    if isinstance(values, np.ndarray):
        return Tensor(values if dtype is None else values.astype(as_dtype(dtype), copy=False))
    return tensor(values, dtype)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor over an array, without a copy."""
    return Tensor(array)


def zeros(*shape: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Zeros."""
    return Tensor(np.zeros(as_sizes(shape), as_dtype(dtype)), requires_grad)


def ones(*shape: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Ones."""
    return Tensor(np.ones(as_sizes(shape), as_dtype(dtype)), requires_grad)


def full(shape: tuple, fill_value: Any, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """One value everywhere."""
    return Tensor(np.full(shape, fill_value, as_dtype(dtype)), requires_grad)


def zeros_like(like: Tensor, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and dtype of another tensor."""
    return Tensor(np.zeros_like(like.data), requires_grad)


def ones_like(like: Tensor, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and dtype of another tensor."""
    return Tensor(np.ones_like(like.data), requires_grad)


def eye(n: int, m: int | None = None, dtype: DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal."""
    return Tensor(np.eye(n, m, dtype=as_dtype(dtype)), requires_grad)


def arange(*limits: Any, dtype: DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Numbers in even steps: of integers int64, of floats float32."""
    values = np.arange(*limits)
    if dtype is None:
        dtype = np.float32 if values.dtype.kind == "f" else np.int64
    return Tensor(values.astype(as_dtype(dtype)), requires_grad)


def linspace(
    start: float, end: float, steps: int, dtype: DTypeLike = np.float32, requires_grad: bool = False
) -> Tensor:
    """So many numbers from start to end, both included."""
    return Tensor(np.linspace(start, end, steps, dtype=as_dtype(dtype)), requires_grad)
