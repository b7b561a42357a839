"""The residual connection, section 4's first remedy."""

from typing import Literal

import numpy as np

from chainrule.nn.builder import Builder
from chainrule.nn.linear import Linear
from chainrule.nn.module import Module, dotted
from chainrule.tape import Tensor

__all__ = ["Residual"]


class Residual(Module):
    """h + F(h): the body F learns what to add (He, Zhang, Ren & Sun 2016).

    Its Jacobian is I + F', so its eigenvalues start around 1 and gradients do not vanish with depth.

    Parameters
    ----------
    body : Module
        F.
    projection : None, True or Module
        What brings h to the width of F(h). None adds h itself where the widths agree and learns a
        matrix (a linear layer without a bias) where they differ; True learns one in any case; a
        Module is used as it is.
    rng : numpy.random.Generator, int or None, keyword only
        Where the matrix is drawn from.

    Raises
    ------
    ValueError
        If the widths do not fit.

    Examples
    --------
    >>> from chainrule import nn
    >>> nn.Residual(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))
    Residual(
      (body): Sequential(
        (0): Linear(in_features=8, out_features=8, bias=True)
        (1): ReLU()
      )
    )
    >>> nn.Residual(nn.Linear(8, 4)).projection
    Linear(in_features=8, out_features=4, bias=False)
    """

    body: Module
    projection: Module | None

    def __init__(
        self,
        body: Module,
        projection: Module | Literal[True] | None = None,
        *,
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(body, Module):
            raise TypeError(f"body must be a Module; got {type(body).__name__}")
        if not (projection is None or projection is True or isinstance(projection, Module)):
            raise TypeError(f"projection must be None, True or a Module; got {projection!r}")
        self.body = body
        self.projection = projection if isinstance(projection, Module) else _matrix(body, projection, rng)
        width = body.input_width()
        if width is not None:
            self.output_width(width)  # a projection that was given must fit the body

    def forward(self, x: Tensor) -> Tensor:
        """Add F(x) to x, or to its projection."""
        shortcut = x if self.projection is None else self.projection(x)
        change = self.body(x)
        if shortcut.shape != change.shape:  # which NumPy might broadcast
            raise ValueError(f"body gives shape {change.shape}, but what it is added to has {shortcut.shape}")
        total: Tensor = shortcut + change
        return total

    def lower(self, build: Builder, source: int, path: str) -> int:
        """The body, the projection if there is one, and their sum."""
        change = self.body.lower(build, source, dotted(path, "body"))
        shortcut = source
        if self.projection is not None:
            shortcut = self.projection.lower(build, source, dotted(path, "projection"))
        return build.add(shortcut, change, path)

    def input_width(self) -> int | None:
        """The body's."""
        return self.body.input_width()

    def output_width(self, input_width: int) -> int:
        """The body's, which must be the shortcut's as well."""
        width = self.body.output_width(input_width)
        shortcut = input_width if self.projection is None else self.projection.output_width(input_width)
        if width != shortcut:
            raise ValueError(f"body gives {width} columns, but what it is added to has {shortcut}")
        return width


def _matrix(body: Module, wanted: bool | None, rng: np.random.Generator | int | None) -> Linear | None:
    """The matrix that is learned where it is wanted or where the widths differ."""
    width = body.input_width()
    if width is None:
        if wanted:
            raise ValueError("projection=True needs a body that knows its width; give the Module itself")
        return None
    output_width = body.output_width(width)
    if not wanted and output_width == width:
        return None
    dtype = next((array.dtype for array in body.parameters()), np.dtype(np.float32))
    return Linear(width, output_width, bias=False, dtype=dtype, rng=rng)
