"""A module of PyTorch's that gives a tuple or a dictionary, made to give the tensor of its raw outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.health.libraries import pytorch

__all__ = ["OneOutput", "is_of_rows", "places"]


def places(outputs: Any) -> list[tuple[Any, Any]]:
    """What a dictionary, a tuple or a list holds, by key or number; of anything else nothing."""
    if isinstance(outputs, Mapping):
        return list(outputs.items())
    return list(enumerate(outputs)) if isinstance(outputs, tuple | list) else []


def is_of_rows(value: Any, n_rows: int) -> bool:
    """Whether it is a tensor with so many rows."""
    return isinstance(value, pytorch().Tensor) and value.ndim > 0 and len(value) == n_rows


class OneOutput:
    """A forward hook that gives the first floating tensor with a row for each row of the inputs.

    It is part of what is examined, and copied with the module.

    Parameters
    ----------
    n_rows : int
    outputs : tuple, list or mapping
        What the module gives for so many rows.
    """

    is_part_of_the_model = True

    def __init__(self, n_rows: int, outputs: Any) -> None:
        found = [
            place for place, one in places(outputs) if is_of_rows(one, n_rows) and one.is_floating_point()
        ]
        if not found:
            raise ValueError("model must give a tensor of numbers with a row for each row of X; it gave none")
        self.place = found[0]

    def __call__(self, module: Any, inputs: Any, outputs: Any) -> Any:
        """What the module is to give in place of all."""
        return outputs[self.place]
