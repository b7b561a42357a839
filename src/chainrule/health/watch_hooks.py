"""Hooks of one step: on leaf modules for activations and error signals, on parameters for what comes back.

They are objects, not closures: a model that is copied or pickled in the user's loop takes along hooks that do
nothing. Nothing that goes wrong in one reaches the user's loop; it becomes a note.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.health.telemetry import activation_of
from chainrule.health.watch_layers import Call, is_normalisation, weight_of
from chainrule.health.watch_numbers import array, is_any, is_torch, parameters_of, squares

__all__ = ["Notes", "Window", "is_leaf", "patched"]


class Notes:
    """Sentences for people, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        """Note it, unless it was noted before."""
        if text not in self.texts:
            self.texts.append(text)

    def failed(self, what: str, error: Exception) -> None:
        """Note that something could not be measured."""
        first = str(error).strip().partition("\n")[0][:120]
        self.add(f"{what} could not be looked at: {type(error).__name__}: {first}")


class Window:
    """Everything that the hooks see between the end of one step and that of the next.

    Attributes
    ----------
    calls : list of Call
    arrived : set of str
        Parameters that a gradient came back to.
    stale : set of str
        Parameters whose ``grad`` still holds what was there when the first gradient of this step arrived.
    hooked : set of str
        Parameters that were listened to.
    named : list of (str, Parameter)
        All parameters of the model when the hooks were installed.
    """

    def __init__(self, model: Any, notes: Notes) -> None:
        self.model, self.notes = model, notes
        self.calls: list[Call] = []
        self.arrived: set[str] = set()
        self.stale: set[str] = set()
        self.hooked: set[str] = set()
        self.named = parameters_of(model)
        self.is_open = False
        self._handles: list[Any] = []
        self._bare: list[tuple[Any, str]] = []  # tensors whose attribute for hooks was None

    def open(self) -> None:
        """Install the hooks."""
        self.is_open = True
        for name, module in self.model.named_modules():
            if is_leaf(module):
                self._listen_to_module(name, module)
        for name, one in self.named:
            if one.requires_grad:
                self.listen_to_tensor(one, _ParameterHook(self, name, one))
                self.hooked.add(name)

    def close(self) -> None:
        """Take away every hook."""
        self.is_open = False
        for handle in self._handles:
            handle.remove()
        for tensor, attribute in self._bare:
            if not getattr(tensor, attribute):
                setattr(tensor, attribute, None)
        self._handles, self._bare = [], []

    def listen_to_tensor(self, tensor: Any, hook: Callable[[Any], None]) -> None:
        """Call ``hook`` with a tensor's gradient. Of a tensor that stays, it is taken away at the end."""
        if tensor.is_leaf:
            attribute = "_backward_hooks" if is_torch(tensor) else "_hooks"
            hooks = getattr(tensor, attribute)
            if hooks is None or (hooks and all(isinstance(one, _Hook) for one in hooks.values())):
                self._bare.append((tensor, attribute))
            self._handles.append(tensor.register_hook(hook))
        else:
            tensor.register_hook(hook)

    def _listen_to_module(self, name: str, module: Any) -> None:
        try:
            self._handles.append(module.register_forward_hook(_ForwardHook(self, name, module)))
        except (RuntimeError, NotImplementedError, AttributeError) as error:  # scripted modules
            self.notes.failed("the output of some modules", error)


def is_leaf(module: Any) -> bool:
    """Whether a module computes something itself: it has no children, or only those that make its weights."""
    return all(name == "parametrizations" for name, _ in module.named_children())


class _Hook:
    def __reduce__(self) -> Any:
        return _no_hook, ()


def _no_hook() -> Any:
    return _nothing


def _nothing(*_arguments: Any) -> None:
    """What a hook becomes in a copy."""


class _ForwardHook(_Hook):
    """After a leaf module: keep what it gives, and ask for the gradient of that."""

    def __init__(self, window: Window, name: str, module: Any) -> None:
        self.window, self.name, self.module = window, name, module
        self.weight = weight_of(module)
        self.keeps_gradient = self.weight is not None or is_normalisation(module)
        self.keeps = self.keeps_gradient or activation_of(module) is not None

    def __call__(self, module: Any, inputs: Any, output: Any) -> None:
        window = self.window
        if not window.is_open or module is not self.module:
            return
        try:
            self._record(inputs, output)
        except Exception as error:  # noqa: BLE001 - nothing of ours may stop the user's loop
            window.notes.failed(f"the output of {self.name or 'the model'}", error)

    def _record(self, inputs: Any, output: Any) -> None:
        window = self.window
        if not hasattr(output, "requires_grad") or not hasattr(output, "register_hook"):
            kind = type(output).__name__
            window.notes.add(f"{self.name or 'the model'} gives a {kind}: what it gives is not looked at")
            return
        if not output.requires_grad:
            return
        call = Call(
            self.name, self.module, self.weight, training=self.module.training, whole=window.model.training
        )
        with np.errstate(all="ignore"):
            numbers = array(output)
            if not np.isfinite(squares(numbers)):
                call.non_finite = "output" if _all_finite(inputs) else "input"
            call.n_rows = len(numbers) if numbers.ndim else 1
            call.output = numbers.copy() if self.keeps and numbers.ndim else None
        window.calls.append(call)
        window.listen_to_tensor(output, _OutputHook(window, call, self.keeps_gradient))


class _OutputHook(_Hook):
    """δ of what a module gave, on its way back."""

    def __init__(self, window: Window, call: Call, keeps: bool) -> None:
        self.window, self.call, self.keeps = window, call, keeps

    def __call__(self, gradient: Any) -> None:
        if not self.window.is_open:
            return
        try:
            with np.errstate(all="ignore"):
                numbers = array(gradient)
                self.call.came_back = True
                if not self.call.non_finite and not np.isfinite(squares(numbers)):
                    self.call.non_finite = "gradient"
                self.call.gradient = numbers.copy() if self.keeps else None
        except Exception as error:  # noqa: BLE001 - nothing of ours may stop the user's loop
            self.window.notes.failed(f"the gradient of {self.call.name or 'the model'}", error)


class _ParameterHook(_Hook):
    """∂ℒ/∂θ of one backward pass, before it is added to what is in ``grad``.

    If that is not zero when the first gradient of a step arrives, it is of an earlier step; a later gradient
    of the same step finds the first there, as it should. If a later one finds zero, it was zeroed in between.
    """

    def __init__(self, window: Window, name: str, parameter: Any) -> None:
        self.window, self.name, self.parameter = window, name, parameter

    def __call__(self, gradient: Any) -> None:
        window = self.window
        if not window.is_open:
            return
        try:
            held = self.parameter.grad
            if held is None or not is_any(held):
                window.stale.discard(self.name)
            elif self.name not in window.arrived:
                window.stale.add(self.name)
            window.arrived.add(self.name)
        except Exception as error:  # noqa: BLE001 - nothing of ours may stop the user's loop
            window.notes.failed(f"the gradient of {self.name}", error)


def _all_finite(values: Any) -> bool:
    tensors = [value for value in values if hasattr(value, "detach")] if isinstance(values, tuple) else []
    return all(np.isfinite(array(one)).all() for one in tensors)


# ------------------------------------------------------------------------------------------------- steps


class _WatchedStep:
    """Stands for an optimizer's ``step`` while it is watched. A copy of the optimizer has its own step."""

    def __init__(self, optimizer: Any, watch: Any) -> None:
        self.optimizer, self.original = optimizer, optimizer.step
        self.before, self.after, self.failed = watch.before_step, watch.after_step, watch.step_failed

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.before(_has_closure(arguments, named))
        try:
            result = self.original(*arguments, **named)
        except BaseException:
            self.failed()
            raise
        self.after()
        return result

    def __reduce__(self) -> Any:
        # Of a copy there is nothing yet but the object, so this is the method of its class.
        return getattr, (self.optimizer, "step")


def _has_closure(arguments: Any, named: Any) -> bool:
    return any(callable(one) for one in (*arguments, *named.values()))


def patched(optimizer: Any, watch: Any) -> Callable[[], None]:
    """Tell a watch of each step, by its ``before_step`` and ``after_step``. Returns what undoes that."""
    if is_torch(optimizer):
        handles = [
            optimizer.register_step_pre_hook(_StepHook(watch.before_step, None)),
            optimizer.register_step_post_hook(_StepHook(None, watch.after_step)),
        ]

        def remove() -> None:
            for handle in handles:
                handle.remove()

        return remove
    own = vars(optimizer).get("step")
    watched = _WatchedStep(optimizer, watch)
    optimizer.step = watched

    def undo() -> None:
        if (
            vars(optimizer).get("step") is not watched
        ):  # someone wrapped it since; ours goes on as a plain call
            watched.before = watched.after = watched.failed = _nothing
        elif own is None:
            del optimizer.step
        else:
            optimizer.step = own

    return undo


class _StepHook(_Hook):
    """A hook of PyTorch's optimizers, before or after a step."""

    def __init__(self, before: Callable[[bool], None] | None, after: Callable[[], None] | None) -> None:
        self.before, self.after = before, after

    def __call__(self, optimizer: Any, arguments: Any, named: Any) -> None:
        if self.before is not None:
            self.before(_has_closure(arguments, named))
        if self.after is not None:
            self.after()
