"""Clipping of gradients (section 4), between ``backward()`` and the optimizer's step; PyTorch's names."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from chainrule.tape import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]

# Keeps the factor finite where all gradients are zero.
_TINY = 1e-6


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients by one factor, in place, so that their common norm is at most ``max_norm``.

    g ← min(1, c / (‖g‖ + 10⁻⁶)) g, where ‖g‖ is the norm of all gradients as one vector.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
        c.
    norm_type : float
        Order of the norm, above 0; ``math.inf`` for the largest entry.
    error_if_nonfinite : bool
        Raise where the norm is infinite or not a number, instead of scaling by what it is.

    Returns
    -------
    Tensor
        The norm before clipping, of no dimension.

    Raises
    ------
    ValueError
        If ``norm_type`` is not above 0.
    RuntimeError
        If asked to, where the norm is not finite.

    Examples
    --------
    >>> from chainrule.tape import tensor
    >>> w = tensor([3.0, 4.0], requires_grad=True)
    >>> (0.5 * w * w).sum().backward()
    >>> clip_grad_norm_(w, max_norm=1.0).item()
    5.0
    >>> w.grad
    tensor([0.5999999 , 0.79999983])
    """
    if not norm_type > 0:
        raise ValueError(f"norm_type must be above 0; got {norm_type!r}")
    gradients = _gradients(parameters)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is left to the caller
        norm = _common_norm([gradient.data for gradient in gradients], float(norm_type))
    if error_if_nonfinite and not np.isfinite(norm):
        raise RuntimeError(
            f"the norm of order {norm_type} of the gradients is {norm}: there is no factor to clip them by. "
            "error_if_nonfinite=False scales them all the same"
        )
    factor = np.minimum(max_norm / (norm + _TINY), 1.0)
    for gradient in gradients:
        with np.errstate(invalid="ignore"):
            gradient.data[...] *= gradient.data.dtype.type(factor)
        gradient.bump_version()
    return Tensor(norm)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Bring every entry of the gradients into [−clip_value, clip_value], in place.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    clip_value : float

    Examples
    --------
    >>> from chainrule.tape import tensor
    >>> w = tensor([3.0, -0.25], requires_grad=True)
    >>> (0.5 * w * w).sum().backward()
    >>> clip_grad_value_([w], 1.0)
    >>> w.grad
    tensor([ 1.  , -0.25])
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_value must be zero or a positive number; got {clip_value!r}")
    for gradient in _gradients(parameters):
        np.clip(gradient.data, -clip_value, clip_value, out=gradient.data)
        gradient.bump_version()


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    """The gradients that there are."""
    tensors = [parameters] if isinstance(parameters, Tensor) else parameters
    return [tensor.grad for tensor in tensors if tensor.grad is not None]


def _common_norm(arrays: list[np.ndarray], order: float) -> Any:
    """The norm of the arrays' norms: that of all numbers as one vector, in their precision."""
    if not arrays:
        return np.float32(0.0)
    norms = np.array([np.linalg.norm(array.ravel(), order) for array in arrays])
    return np.linalg.norm(norms, order) if math.isfinite(order) else norms.max()
