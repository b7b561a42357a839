"""Section 7: accumulation, freeing, and changes in place: each tried, and what became of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.tape import Tensor, tensor

__all__ = [
    "Accumulated",
    "ChangedInPlace",
    "SecondPass",
    "accumulate",
    "behind_the_tape",
    "change_in_place",
    "second_passes",
]

_START = np.array([0.5, 1.25, 2.0])


def _leaf() -> Tensor:
    return tensor(_START, requires_grad=True, dtype=np.float64)


def _gradient(x: Tensor) -> np.ndarray:
    return np.zeros_like(_START) if x.grad is None else x.grad.data.copy()


# -- accumulation ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Accumulated:
    """The gradient after one backward pass after the other, as multiples of the first.

    Attributes
    ----------
    passes : tuple of float
        After each pass.
    after_zero_grad : float
        After ``zero_grad`` and one more.
    """

    passes: tuple[float, ...]
    after_zero_grad: float


def accumulate(times: int = 4) -> Accumulated:
    """Backward passes through the same expression, recorded anew each time.

    Examples
    --------
    >>> accumulate(3)
    Accumulated(passes=(1.0, 2.0, 3.0), after_zero_grad=1.0)
    """
    x, found = _leaf(), []
    for _ in range(times):
        (np.sin(x) * x).sum().backward()
        found.append(_gradient(x))
    x.zero_grad()
    (np.sin(x) * x).sum().backward()
    *multiples, last = (float((one / found[0]).mean()) for one in (*found, _gradient(x)))
    return Accumulated(tuple(multiples), last)


# -- a second pass ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class SecondPass:
    """What a second ``backward`` through one graph does.

    Attributes
    ----------
    name : str
    message : str
        Of the RuntimeError; "" where there was none.
    times : float
        After two passes the gradient is so many times that of one: 2 where the second was right.
    retained_times : float
        Likewise, where the first pass was told to retain the graph.
    """

    name: str
    message: str
    times: float
    retained_times: float


SECOND_PASSES: dict[str, Callable[[Tensor], Any]] = {
    "sum of x · x": lambda x: (x * x).sum(),
    "sum of sin x": lambda x: np.sin(x).sum(),
    "sum of exp x": lambda x: np.exp(x).sum(),
    "sum of softmax x · x": lambda x: (x.softmax(axis=0) * x).sum(),
    "sum of x + x": lambda x: (x + x).sum(),
}


def second_passes() -> tuple[SecondPass, ...]:
    """Walk each expression twice, without and with ``retain_graph``.

    Examples
    --------
    >>> first, *_ = second_passes()
    >>> "retain_graph=True" in first.message, first.times, first.retained_times
    (True, 1.0, 2.0)
    """
    return tuple(
        SecondPass(name, *_walked_twice(function, None), _walked_twice(function, True)[1])
        for name, function in SECOND_PASSES.items()
    )


def _walked_twice(function: Callable[[Tensor], Any], retain: bool | None) -> tuple[str, float]:
    x, message = _leaf(), ""
    out = function(x)
    out.backward(retain_graph=retain)
    once = _gradient(x)
    try:
        out.backward()
    except RuntimeError as error:
        message = str(error)
    return message, float((_gradient(x) / once).mean())


# -- changes in place ------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChangedInPlace:
    """What became of a gradient when a value was changed in place after it had been used.

    Attributes
    ----------
    name : str
        What was computed.
    changed : str
        "input" or "output".
    message : str
        Of the RuntimeError; "" where there was none.
    is_named : bool
        Whether the message has the name of the operation.
    error : float
        The largest difference from the gradient without the change; NaN where an error was raised.
    """

    name: str
    changed: str
    message: str
    is_named: bool
    error: float

    @property
    def is_safe(self) -> bool:
        """Whether the change was found and named, or did no harm."""
        return self.is_named if self.message else self.error < 1e-12


_MATRIX = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0], [2.0, 0.25, 1.0]])

# By the name that the tape has for the operation: one that reads its input or its output on the way back, or
# neither.
OPERATIONS: dict[str, Callable[[Tensor], Any]] = {
    "sin": np.sin,
    "log": np.log,
    "multiply": lambda a: a * a,
    "divide": lambda a: 1.0 / a,
    "power": lambda a: a**3,
    "matmul": lambda a: a.reshape(1, 3) @ (_MATRIX * a),
    "exp": np.exp,
    "tanh": np.tanh,
    "sqrt": np.sqrt,
    "activation relu": lambda a: a.relu(),
    "add": lambda a: a + 1.0,
    "sum": lambda a: a.sum(),
    "reshape": lambda a: (2.0 * a).reshape(3, 1),
}


def change_in_place() -> tuple[ChangedInPlace, ...]:
    """Use a value, change it (or what was made of it) in place, and go back.

    Adding a number to what was computed does not change the gradient, and neither does a change to a value
    after its last use: so the gradient is known, and an error is never more than a precaution.

    Examples
    --------
    >>> found = {(one.name, one.changed): one for one in change_in_place()}
    >>> found["sin", "input"].is_named, found["sin", "output"].error, found["exp", "output"].is_named
    (True, 0.0, True)
    """
    return tuple(
        _changed(name, function, changed)
        for name, function in OPERATIONS.items()
        for changed in ("input", "output")
    )


def _changed(name: str, function: Callable[[Tensor], Any], changed: str) -> ChangedInPlace:
    right = _leaf()
    function(right * 1.0).sum().backward()
    x = _leaf()
    used = x * 1.0
    out = function(used)
    message, error = "", float("nan")
    try:
        (used if changed == "input" else out).add_(1.0)
        out.sum().backward()
        error = float(np.abs(_gradient(x) - _gradient(right)).max())
    except RuntimeError as raised:
        message = str(raised)
    return ChangedInPlace(name, changed, message, f" of {name}," in message, error)


def behind_the_tape() -> ChangedInPlace:
    """The same change to the NumPy array that a tensor holds, of which the tape hears nothing.

    Examples
    --------
    >>> found = behind_the_tape()
    >>> found.message, found.error > 0.1
    ('', True)
    """
    right, x = _leaf(), _leaf()
    np.sin(right).sum().backward()
    used = x * 1.0
    out = np.sin(used).sum()
    used.data += 1.0
    message, error = "", float("nan")
    try:
        out.backward()
        error = float(np.abs(_gradient(x) - _gradient(right)).max())
    except RuntimeError as raised:
        message = str(raised)
    return ChangedInPlace("sin", "array of the input", message, " of sin," in message, error)
