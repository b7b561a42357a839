"""Checks of arguments that the measurements share: errors name the argument, what came, what was expected."""

from typing import Any

import numpy as np

__all__ = ["check_number", "check_size", "generator"]


def check_size(name: str, value: Any, low: int = 1) -> int:
    """An integer that is at least ``low``.

    Examples
    --------
    >>> check_size("n_samples", 0)
    Traceback (most recent call last):
        ...
    ValueError: n_samples must be an integer of at least 1; got 0
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer of at least {low}; got {value!r}")
    if value < low:
        raise ValueError(f"{name} must be an integer of at least {low}; got {value}")
    return int(value)


def check_number(name: str, value: Any, low: float = 0.0) -> float:
    """A finite number above ``low``.

    Examples
    --------
    >>> check_number("radius", 2)
    2.0
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a number above {low:g}; got {value!r}")
    if not low < value < np.inf:
        raise ValueError(f"{name} must be a finite number above {low:g}; got {value}")
    return float(value)


def generator(seed: Any) -> np.random.Generator:
    """A generator of its own for each measurement, so that one seed gives one result."""
    return np.random.default_rng(check_size("seed", seed, low=0))
