"""Checks of settings: each error names the setting, what came and what was expected."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["at_least_zero", "fraction", "positive", "read_options", "whole"]

# What PyTorch's optimizers take besides settings: how to run, of which there is only one way here.
EXECUTION_OPTIONS: dict[str, tuple] = {
    "foreach": (None, False),
    "fused": (None, False),
    "capturable": (False,),
    "differentiable": (False,),
}


def positive(name: str, value: float) -> float:
    """A finite number above zero."""
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a positive number; got {value!r}")
    return float(value)


def at_least_zero(name: str, value: float) -> float:
    """A finite number, zero or above."""
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be zero or a positive number; got {value!r}")
    return float(value)


def fraction(name: str, value: float, closed: bool = False) -> float:
    """A number in [0, 1), with ``closed`` in [0, 1]."""
    if not (0 <= value < 1 or (closed and value == 1)):
        raise ValueError(f"{name} must lie in [0, 1{']' if closed else ')'}; got {value!r}")
    return float(value)


def whole(name: str, value: Any) -> int:
    """A whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
    return int(value)


def read_options(given: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's further keyword arguments: those of ``own``, with their defaults.

    PyTorch's ``EXECUTION_OPTIONS`` may be given too, with values that ask for nothing.
    """
    for name, value in given.items():
        if name in own:
            continue
        if name not in EXECUTION_OPTIONS:
            raise TypeError(f"unexpected keyword argument {name!r}")
        allowed = EXECUTION_OPTIONS[name]
        if not any(value is choice for choice in allowed):
            choices = " or ".join(repr(choice) for choice in allowed)
            raise ValueError(
                f"{name} must be {choices}: it says how PyTorch runs a step, and there is one way here; "
                f"got {value!r}"
            )
    return {name: given.get(name, default) for name, default in own.items()}
