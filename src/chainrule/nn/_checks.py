"""Argument checks that the modules share: each error names the argument, what came, what was expected."""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike


def check_size(name: str, value: Any) -> int:
    """A positive integer, such as a number of features."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a positive integer; got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be a positive integer; got {value}")
    return int(value)


def check_number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> Any:
    """A finite number in [low, high], returned as it came: PyTorch prints ``p=1`` as it was given."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number; got {value!r}")
    if not math.isfinite(value) or not low <= value <= high:
        bounds = "" if (low, high) == (-math.inf, math.inf) else f" in [{low:g}, {high:g}]"
        raise ValueError(f"{name} must be a finite number{bounds}; got {value}")
    return value


def check_positive(name: str, value: Any) -> Any:
    """A finite number above zero."""
    if check_number(name, value) <= 0:
        raise ValueError(f"{name} must be greater than 0; got {value}")
    return value


def check_flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False; got {value!r}")
    return bool(value)


def check_only(name: str, value: Any, supported: Any) -> None:
    """An argument of PyTorch's of which one value is supported."""
    if value != supported:
        raise ValueError(f"{name} must be {supported!r}, the only value supported; got {value!r}")


def check_dtype(dtype: DTypeLike) -> np.dtype:
    """Single or double precision, the two that the library computes in."""
    try:
        checked = np.dtype(dtype)
    except TypeError:
        checked = None
    if dtype is None or checked not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64; got {dtype!r}")
    return checked


def check_one_of(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """One of a few words."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}")
    return str(value)


def check_columns(layer: Any, x: Any, n_columns: int) -> None:
    """The input of a forward pass, one row an example."""
    if x.ndim != 2 or x.shape[1] != n_columns:
        raise ValueError(f"{layer!r}: x must have shape (n, {n_columns}); got {x.shape}")


def check_last_axis(layer: Any, x: Any, n_columns: int) -> None:
    """The input of a forward pass that works on the last axis, whatever comes before it."""
    if not x.ndim or x.shape[-1] != n_columns:
        raise ValueError(f"{layer!r}: the last axis of x must have {n_columns} entries; got shape {x.shape}")


def check_width(layer: Any, width: int, expected: int) -> None:
    """The number of columns that the layer before gives, while nothing is computed yet."""
    if width != expected:
        raise ValueError(f"{layer!r} takes {expected} columns; got {width}")
