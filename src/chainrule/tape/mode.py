"""Whether operations are recorded: on, unless a ``no_grad`` block says otherwise. Each thread has its own."""

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["enable_grad", "is_grad_enabled", "no_grad", "set_grad_enabled", "state"]

Function = TypeVar("Function", bound=Callable[..., Any])


class _State(threading.local):
    recording = True


state = _State()


class set_grad_enabled:
    """Record operations or not, within a ``with`` block, or within a function that it decorates.

    Parameters
    ----------
    mode : bool
        Whether to record.

    Examples
    --------
    >>> from chainrule.tape import tensor
    >>> x = tensor([1.0], requires_grad=True)
    >>> with set_grad_enabled(False):
    ...     y = 2 * x
    >>> y.requires_grad
    False
    """

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(state.recording)
        state.recording = self.mode

    def __exit__(self, *error: object) -> None:
        state.recording = self._before.pop()

    def __call__(self, function: Function) -> Function:
        """The function, run in this mode."""

        @functools.wraps(function)
        def in_this_mode(*arguments: Any, **options: Any) -> Any:
            with set_grad_enabled(self.mode):
                return function(*arguments, **options)

        return in_this_mode  # type: ignore[return-value]


class no_grad(set_grad_enabled):
    """Record nothing: results require no gradient, and leaves may be changed in place.

    Examples
    --------
    >>> from chainrule.tape import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> with no_grad():
    ...     w -= 0.5
    >>> w
    tensor([0.5], requires_grad=True)
    >>> @no_grad()
    ... def doubled(x):
    ...     return 2 * x
    >>> doubled(w).requires_grad
    False
    """

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(set_grad_enabled):
    """Record again, inside a ``no_grad`` block."""

    def __init__(self) -> None:
        super().__init__(True)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded."""
    return state.recording
