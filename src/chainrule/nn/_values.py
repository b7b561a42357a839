"""Names of a module's members, and what is done with the numbers of its parameters and buffers."""

from typing import Any, NamedTuple

import numpy as np

from chainrule.tape import Tensor

__all__ = [
    "IncompatibleKeys",
    "array_of",
    "as_array",
    "check_writeable",
    "plain_output",
    "put_array",
    "replacement",
]


def dotted(path: str, name: str) -> str:
    """The name of a member of the module at ``path``, "" being the root.

    Examples
    --------
    >>> dotted("", "0"), dotted("2.body", "weight")
    ('0', '2.body.weight')
    """
    return f"{path}.{name}" if path else name


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(strict=False)`` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def plain_output(output: Any) -> Any:
    """What a module makes of arrays: an array in place of a tensor, a number in place of one without axes."""
    if isinstance(output, Tensor):
        return output.data if output.ndim else output.item()
    if type(output) in (tuple, list):
        return type(output)(plain_output(one) for one in output)
    return output


def array_of(value: Any) -> np.ndarray:
    """The numbers of a parameter, or a buffer itself."""
    array: np.ndarray = value.data if isinstance(value, Tensor) else value
    return array


def put_array(values: dict[str, Any], name: str, array: np.ndarray) -> None:
    """Another array in the place of a parameter's numbers, or of a buffer."""
    if isinstance(values[name], Tensor):
        values[name].data = array
        values[name].bump_version()
    else:
        values[name] = array


def as_array(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a torch Parameter, which NumPy refuses to read as it is
        value = value.detach().numpy() if isinstance(value, Tensor) else value.detach()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be numeric; got dtype {array.dtype}")
    return array


def replacement(name: str, current: np.ndarray | None, value: Any) -> np.ndarray | None:
    """A copy of ``value`` in the shape, precision and layout of the array that it replaces."""
    if value is current:
        return current  # `layer.weight -= step` has already changed it in place
    if current is None or value is None:
        given = "an array" if current is None else "None"
        raise ValueError(f"whether {name} exists is settled when the layer is made; got {given}")
    array = as_array(name, value)
    if array.shape != current.shape:
        raise ValueError(f"{name} must have shape {current.shape}; got {array.shape}")
    replaced: np.ndarray = np.empty_like(current)
    replaced[...] = array
    return replaced


def check_writeable(name: str, array: np.ndarray) -> None:
    if not array.flags.writeable:
        raise ValueError(f"{name} is bound to a read-only array")
