"""The linear layer, equation (1)."""

import math
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from chainrule.functions.initializers import get_initializer
from chainrule.nn._checks import check_dtype, check_flag, check_last_axis, check_size, check_width
from chainrule.nn.builder import Builder
from chainrule.nn.module import Module
from chainrule.nn.random import as_generator
from chainrule.tape import Tensor
from chainrule.tape.primitives.products import linear

__all__ = ["Linear"]


class Linear(Module):
    """z = W h + b, equation (1); on a batch of one row an example, Z = H Wᵀ + b.

    Parameters
    ----------
    in_features, out_features : int
        Columns that go in and come out.
    bias : bool, default=True
        Whether b is there.
    dtype : float32 or float64, keyword only
        The precision of the parameters.
    rng : numpy.random.Generator, int or None, keyword only
        Where the initial values are drawn from; see ``reset_parameters``.

    Attributes
    ----------
    weight : Parameter
        W, (out_features, in_features).
    bias : Parameter or None
        b, (out_features,).

    Examples
    --------
    >>> layer = Linear(2, 1)
    >>> layer.weight, layer.bias = [[1.0, -1.0]], [0.5]
    >>> layer(np.array([[3.0, 1.0]], dtype=np.float32))
    array([[2.5]], dtype=float32)
    """

    weight: Any
    bias: Any

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        self.in_features = check_size("in_features", in_features)
        self.out_features = check_size("out_features", out_features)
        transposed = np.zeros((self.in_features, self.out_features), check_dtype(dtype))
        self.register_parameter("weight", transposed.T)  # lies as in a plan: see Slot.view
        self.register_parameter("bias", transposed[0] if check_flag("bias", bias) else None)
        self.reset_parameters(rng)

    def forward(self, x: Tensor) -> Tensor:
        """Z = H Wᵀ + b: (..., in_features) to (..., out_features)."""
        check_last_axis(self, x, self.in_features)
        bias = self.bias
        z: Tensor = linear(x, self.weight) if bias is None else linear(x, self.weight, bias)
        return z

    def lower(self, build: Builder, source: int, path: str) -> int:
        """One linear layer of the plan."""
        return build.linear(source, path, self.out_features, self.bias is not None)

    def input_width(self) -> int:
        """``in_features``."""
        return self.in_features

    def output_width(self, input_width: int) -> int:
        """``out_features``."""
        check_width(self, input_width, self.in_features)
        return self.out_features

    def multiply_adds(self) -> int:
        """One for each weight."""
        return self.in_features * self.out_features

    def reset_parameters(self, rng: np.random.Generator | int | None = None) -> None:
        """Draw W and b from U(−1/√in_features, 1/√in_features), PyTorch's default."""
        rng = as_generator(rng)
        bound = 1.0 / math.sqrt(self.in_features)
        self.weight = rng.uniform(-bound, bound, self.weight.shape)
        if self.bias is not None:
            self.bias = rng.uniform(-bound, bound, self.bias.shape)

    def initialize(self, name: str, rng: np.random.Generator | int | None = None, **settings: Any) -> Self:
        """Draw W with an initializer of section 5 and set b to zero; see ``Module.initialize``."""
        self.weight = get_initializer(name).draw(self.weight.shape, as_generator(rng), **settings)
        if self.bias is not None:
            self.bias = np.zeros(self.out_features)
        return self

    def extra_repr(self) -> str:
        """PyTorch's."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )
