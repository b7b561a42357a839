"""What a module's ``lower`` talks to: the protocol between the description and the plan."""

from typing import Protocol

__all__ = ["Builder"]


class Builder(Protocol):
    """Collects the layers of a network in the order in which they compute.

    Every method takes the index of the value that it reads (``source``) and the dotted name of the
    module (``path``, under which the parameters are found: ``path + ".weight"``), and returns the
    index of the value that it makes.
    """

    def linear(self, source: int, path: str, out_features: int, bias: bool) -> int:
        """Equation (1), z = W h + b."""

    def activation(self, source: int, path: str, name: str, alpha: float) -> int:
        """Equation (2), h = σ(z), with the record of that name."""

    def batch_norm(self, source: int, path: str, eps: float, momentum: float, affine: bool) -> int:
        """Normalize each column over the batch."""

    def layer_norm(self, source: int, path: str, eps: float, affine: bool, bias: bool) -> int:
        """Normalize each row over its columns."""

    def dropout(self, source: int, path: str, p: float) -> int:
        """Set each element to zero with probability p while training."""

    def add(self, first: int, second: int, path: str) -> int:
        """The sum of two values of the same shape, the residual connection."""
