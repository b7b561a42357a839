"""Normalization layers: over the batch (each column), or over the features (each row)."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from chainrule.nn._checks import (
    check_columns,
    check_dtype,
    check_flag,
    check_last_axis,
    check_number,
    check_only,
    check_positive,
    check_size,
    check_width,
)
from chainrule.nn.builder import Builder
from chainrule.nn.module import Module
from chainrule.nn.random import executing
from chainrule.tape import Tensor

__all__ = ["BatchNorm1d", "LayerNorm"]


class BatchNorm1d(Module):
    """Re-centre and re-scale each column over the batch (Ioffe & Szegedy 2015; exercise 3).

    y = γ (x − mean) / √(variance + eps) + β. While training, mean and variance are the batch's, and
    running averages of them are kept; in evaluation the running averages are used.

    Parameters
    ----------
    num_features : int
        Columns.
    eps : float, default=1e-5
        Added to the variance.
    momentum : float, default=0.1
        Weight of the newest batch in the running averages.
    affine : bool, default=True
        Whether γ (``weight``) and β (``bias``) are there.
    track_running_stats : bool, default=True
        Only True is supported.
    dtype : float32 or float64, keyword only
        The precision of parameters and running averages.

    Attributes
    ----------
    weight, bias : Parameter or None
        γ and β, (num_features,).
    running_mean, running_var : numpy.ndarray
        The running averages, (num_features,). The variance is the unbiased one.
    num_batches_tracked : numpy.ndarray
        How many batches they have seen: int64, no dimensions.

    Examples
    --------
    >>> norm = BatchNorm1d(1, dtype=np.float64)
    >>> norm(np.array([[1.0], [3.0]])).round(3)
    array([[-1.],
           [ 1.]])
    >>> norm.running_mean, norm.running_var                     # 0.9 · 0 + 0.1 · 2, 0.9 · 1 + 0.1 · 2
    (array([0.2]), array([1.1]))
    """

    weight: Any
    bias: Any
    running_mean: np.ndarray
    running_var: np.ndarray
    num_batches_tracked: np.ndarray

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.num_features = check_size("num_features", num_features)
        self.eps = check_positive("eps", eps)
        self.momentum = check_number("momentum", momentum, 0.0, 1.0)
        self.affine = check_flag("affine", affine)
        check_only("track_running_stats", track_running_stats, True)
        ones = np.ones(self.num_features, check_dtype(dtype))
        self.register_parameter("weight", ones if self.affine else None)
        self.register_parameter("bias", 0 * ones if self.affine else None)
        self.register_buffer("running_mean", 0 * ones)
        self.register_buffer("running_var", ones)
        self.register_buffer("num_batches_tracked", np.array(0, np.int64))

    def forward(self, x: Tensor) -> Tensor:
        """(n, num_features) to the same shape; while training n must be at least 2."""
        check_columns(self, x, self.num_features)
        if self.training:
            if len(x) < 2 and not executing():
                raise ValueError(f"{self!r}: x must have at least 2 rows while training; got {len(x)}")
            mean, variance = x.mean(axis=0), np.var(x, axis=0)
            self._track(mean.data, variance.data, len(x))
        else:
            mean, variance = self.running_mean, self.running_var
        y: Tensor = (x - mean) / np.sqrt(variance + self.eps)
        return y if self.weight is None else y * self.weight + self.bias

    def _track(self, mean: np.ndarray, variance: np.ndarray, n: int) -> None:
        # The batch is normalized with its own (biased) variance; what is kept for later estimates
        # the population's, hence n/(n − 1). The variance of one row is not defined.
        self.running_mean += self.momentum * (mean - self.running_mean)
        if n > 1:
            self.running_var += self.momentum * (variance * (n / (n - 1)) - self.running_var)
        self.num_batches_tracked += 1

    def lower(self, build: Builder, source: int, path: str) -> int:
        """One batch normalization of the plan."""
        return build.batch_norm(source, path, self.eps, self.momentum, self.affine)

    def input_width(self) -> int:
        """``num_features``."""
        return self.num_features

    def output_width(self, input_width: int) -> int:
        """As wide as the input."""
        check_width(self, input_width, self.num_features)
        return input_width

    def reset_parameters(self, rng: Any = None) -> None:
        """γ = 1, β = 0, and no batch seen. Nothing is random; ``rng`` is there for uniformity."""
        if self.affine:
            self.weight = np.ones(self.num_features)
            self.bias = np.zeros(self.num_features)
        self.running_mean = np.zeros(self.num_features)
        self.running_var = np.ones(self.num_features)
        self.num_batches_tracked = np.array(0)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.affine}, track_running_stats=True"
        )


class LayerNorm(Module):
    """Re-centre and re-scale each row over its columns (Ba, Kiros & Hinton 2016).

    y = γ (x − mean) / √(variance + eps) + β, alike in training and evaluation.

    Parameters
    ----------
    normalized_shape : int or tuple of one int
        Columns.
    eps : float, default=1e-5
        Added to the variance.
    elementwise_affine : bool, default=True
        Whether γ (``weight``) is there.
    bias : bool, default=True
        Whether β (``bias``) is there as well.
    dtype : float32 or float64, keyword only
        The precision of the parameters.

    Attributes
    ----------
    weight, bias : Parameter or None
        γ and β, ``normalized_shape``.

    Examples
    --------
    >>> LayerNorm(2, dtype=np.float64)(np.array([[1.0, 3.0]])).round(3)
    array([[-1.,  1.]])
    """

    weight: Any
    bias: Any

    def __init__(
        self,
        normalized_shape: int | tuple[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        if isinstance(normalized_shape, tuple | list):
            if len(normalized_shape) != 1:
                raise ValueError(f"normalized_shape must have one dimension; got {normalized_shape}")
            (normalized_shape,) = normalized_shape
        self.normalized_shape = (check_size("normalized_shape", normalized_shape),)
        self.eps = check_positive("eps", eps)
        self.elementwise_affine = check_flag("elementwise_affine", elementwise_affine)
        has_bias = check_flag("bias", bias) and self.elementwise_affine
        ones = np.ones(self.normalized_shape, check_dtype(dtype))
        self.register_parameter("weight", ones if self.elementwise_affine else None)
        self.register_parameter("bias", 0 * ones if has_bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """(..., columns) to the same shape."""
        check_last_axis(self, x, self.input_width())
        mean = x.mean(axis=-1, keepdims=True)
        variance = np.var(x, axis=-1, keepdims=True)
        y: Tensor = (x - mean) / np.sqrt(variance + self.eps)
        if self.weight is not None:
            y = y * self.weight
        return y if self.bias is None else y + self.bias

    def lower(self, build: Builder, source: int, path: str) -> int:
        """One layer normalization of the plan."""
        return build.layer_norm(source, path, self.eps, self.elementwise_affine, self.bias is not None)

    def input_width(self) -> int:
        """The one dimension of ``normalized_shape``."""
        return self.normalized_shape[0]

    def output_width(self, input_width: int) -> int:
        """As wide as the input."""
        check_width(self, input_width, self.input_width())
        return input_width

    def reset_parameters(self, rng: Any = None) -> None:
        """γ = 1 and β = 0. Nothing is random; ``rng`` is there for uniformity."""
        if self.weight is not None:
            self.weight = np.ones(self.normalized_shape)
        if self.bias is not None:
            self.bias = np.zeros(self.normalized_shape)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )
