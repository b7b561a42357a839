"""Dropout."""

import numpy as np

from chainrule.nn._checks import check_number
from chainrule.nn.builder import Builder
from chainrule.nn.module import Module
from chainrule.nn.random import as_generator, executing
from chainrule.tape import Tensor
from chainrule.tape.primitives.elementwise import where

__all__ = ["Dropout"]


class Dropout(Module):
    """Set each element to zero with probability p while training (Srivastava et al. 2014; exercise 4).

    This is inverted dropout: what is kept is divided by 1 − p, so that the mean stays the same and
    evaluation changes nothing.

    Parameters
    ----------
    p : float, default=0.5
        In [0, 1].
    rng : numpy.random.Generator, int or None, keyword only
        Where ``forward`` draws from; None is the default generator.

    Examples
    --------
    >>> drop = Dropout(0.5, rng=0)
    >>> drop(np.ones((1, 6)))
    array([[2., 0., 0., 0., 2., 2.]])
    >>> drop.eval()(np.ones((1, 6)))
    array([[1., 1., 1., 1., 1., 1.]])
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None) -> None:
        super().__init__()
        self.p = check_number("p", p, 0.0, 1.0)
        self.rng = None if rng is None else as_generator(rng)

    def forward(self, x: Tensor) -> Tensor:
        """Drop some elements of x while training; in evaluation return x itself."""
        if not self.training or self.p == 0:
            return x
        masks = executing()
        if masks is not None and self.rng is None:
            kept = masks.keeps(self, x.shape)
        else:
            kept = as_generator(self.rng).random(x.shape) >= self.p
        dropped: Tensor = where(kept, x / (1 - self.p) if self.p < 1 else x * 0, np.zeros((), x.dtype))
        return dropped

    def lower(self, build: Builder, source: int, path: str) -> int:
        """One dropout of the plan."""
        return build.dropout(source, path, self.p)

    def output_width(self, input_width: int) -> int:
        """As wide as the input."""
        return input_width

    def extra_repr(self) -> str:
        """PyTorch's; it has a switch for working in place, which changes no result."""
        return f"p={self.p}, inplace=False"
