"""``watch``: look at anyone's training while it runs.

A step is one ``optimizer.step()``. Every 50th, and the first two, are looked at: hooks are installed when the
step before has ended, and taken away when this one has. In between a step costs the call of a counter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np

from chainrule.health.watch_hooks import Notes, Window, is_leaf, patched
from chainrule.health.watch_layers import LayerView, is_normalisation, layers_of, weight_of, weights_only
from chainrule.health.watch_numbers import array, is_any, is_torch, norm
from chainrule.health.watch_report import WatchReport
from chainrule.health.watch_rules import Look, findings_of, update_ratios
from chainrule.nn.module import Module
from chainrule.optim import Optimizer

__all__ = ["Watch", "watch"]

# Parameters up to so many bytes keep the memory that they are copied to from one look to the next.
SMALL = 1 << 22


def watch(model: Any, optimizer: Any, every: int = 50, scaler: Any = None) -> Watch:
    """Look at a training from inside, in a ``with`` block around its loop.

    The loop stays as it is, of this library or of PyTorch. Nothing of the model, the optimizer or the numbers
    is changed, and at the end of the block all hooks are gone.

    Parameters
    ----------
    model : chainrule.nn.Module or torch.nn.Module
    optimizer : chainrule.optim.Optimizer or torch.optim.Optimizer
        Of the same library.
    every : int
        Steps from one look to the next; the first two steps are looked at too.
    scaler : torch.amp.GradScaler, optional
        What scales the loss, where one does; norms of gradients are given without its factor.

    Returns
    -------
    Watch

    Raises
    ------
    TypeError
        If the model or the optimizer is something else, or the optimizer of the other library.
    ValueError
        If ``every`` is no positive integer, or the optimizer has no parameters.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from chainrule import nn, optim, tensor
    >>> from chainrule import watch
    >>> X, y = load_digits(return_X_y=True)
    >>> X = (X / 16).astype("float32")
    >>> net = nn.Sequential(nn.Linear(64, 32, rng=0), nn.ReLU(), nn.Linear(32, 10, rng=1))
    >>> optimizer = optim.SGD(net.parameters(), lr=0.1)
    >>> with watch(net, optimizer, every=10) as w:
    ...     for start in range(0, 1600, 32):
    ...         rows = slice(start, start + 32)
    ...         loss = nn.CrossEntropyLoss()(net(tensor(X[rows])), y[rows])
    ...         loss.backward()
    ...         optimizer.step()
    >>> report = w.report()
    >>> report.ok, report.findings[0].code
    (False, 'not_zeroed')
    >>> [one.step for one in report.snapshots]
    [1, 2, 10, 20, 30, 40, 50]
    """
    _check(model, optimizer, every, scaler)
    return Watch(model, optimizer, every, scaler)


def _check(model: Any, optimizer: Any, every: Any, scaler: Any) -> None:
    of_torch = is_torch(model) and hasattr(model, "register_forward_hook")
    if not of_torch and not isinstance(model, Module):
        raise TypeError(f"model must be a module of chainrule.nn or of torch.nn; got {type(model).__name__}")
    library = "torch.optim" if of_torch else "chainrule.optim"
    fits = hasattr(optimizer, "register_step_pre_hook") if of_torch else isinstance(optimizer, Optimizer)
    if not fits:
        kind = f"{type(optimizer).__module__}.{type(optimizer).__qualname__}"
        raise TypeError(f"optimizer must be one of {library}, as the model is; got {kind}")
    if not optimizer.param_groups:
        raise ValueError(
            "optimizer must have parameters, such as model.parameters(); got a description without"
        )
    if isinstance(every, bool) or not isinstance(every, int | np.integer) or every < 1:
        raise ValueError(f"every must be a positive integer; got {every!r}")
    if scaler is not None and not hasattr(scaler, "get_scale"):
        raise TypeError(f"scaler must be a torch.amp.GradScaler or None; got {type(scaler).__name__}")


@dataclass
class _Step:
    """What is known of a looked-at step before it is over."""

    weights: dict[str, np.ndarray] = field(default_factory=dict)
    norms: dict[int, float] = field(default_factory=dict)
    lengths: dict[str, float] = field(default_factory=dict)
    look: Look | None = None


class Watch:
    """A training that is looked at; made by `watch`.

    Attributes
    ----------
    n_steps : int
        Steps taken so far.
    notes : list of str
        What could not be looked at, and why.
    """

    def __init__(self, model: Any, optimizer: Any, every: int, scaler: Any) -> None:
        self.model, self.optimizer, self.every, self.scaler = model, optimizer, int(every), scaler
        self.n_steps = 0
        self._notes = Notes()
        self._looks: list[Look] = []
        self._window: Window | None = None
        self._step: _Step | None = None
        self._depth = 0  # a step that calls that of its base class is one step
        self._loss: float | None = None
        self._undo: Callable[[], None] | None = None
        self._places: dict[str, np.ndarray] = {}
        self._outside: dict[str, np.ndarray] = {}
        self._moved: set[str] = set()

    @property
    def notes(self) -> list[str]:
        """What could not be looked at, and why."""
        return self._notes.texts

    # -- the block -----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._undo is not None:
            raise RuntimeError("this watch is running already")
        self._depth = 0
        self._undo = patched(self.optimizer, self)
        self._open_if_due()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._undo is not None:
            self._undo()
        self._undo = None
        self._close()
        self._places = {}

    def loss(self, value: Any) -> None:
        """Record the loss of a step, before or after ``optimizer.step()``; read of looked-at steps only."""
        window, last = self._window, self._looks[-1] if self._looks else None
        if last is not None and last.step == self.n_steps and not (window and window.calls):
            last.loss = self._number(value)
        elif window is not None:
            self._loss = self._number(value)

    def report(self) -> WatchReport:
        """What was seen so far."""
        unmoved = tuple(name for name in self._outside if name not in self._moved)
        notes = list(self.notes)
        if not self._looks:
            notes.append("no step could be looked at" if self.n_steps else "no optimizer.step() was seen")
        return WatchReport(
            [look.snapshot() for look in self._looks],
            update_ratios(self._looks),
            findings_of(self._looks, unmoved),
            notes,
            self.n_steps,
        )

    def _number(self, value: Any) -> float | None:
        try:
            return float(value.item() if hasattr(value, "item") else value)
        except (TypeError, ValueError, RuntimeError) as error:
            self._notes.failed("the loss", error)
            return None

    # -- steps ---------------------------------------------------------------------------------------

    def _open_if_due(self) -> None:
        step = self.n_steps + 1
        if step > 2 and step % self.every:
            return
        self._loss = None
        self._window = Window(self.model, self._notes)
        self._safely(self._window.open)

    def _close(self) -> None:
        if self._window is not None:
            self._window.close()
        self._window, self._step = None, None

    def _safely(self, function: Callable[..., None], *arguments: Any) -> None:
        """Nothing of ours may stop the user's loop: what goes wrong is noted, and the look given up."""
        try:
            with np.errstate(all="ignore"):
                function(*arguments)
        except Exception as error:  # noqa: BLE001 - see above
            self._notes.failed(f"step {self.n_steps + 1}", error)
            self._close()

    def before_step(self, has_closure: bool) -> None:
        """Called before ``optimizer.step()``."""
        self._depth += 1
        if self._depth == 1 and self._window is not None:
            self._safely(self._begin, has_closure)

    def step_failed(self) -> None:
        """Called where a step raised an exception: it is none."""
        self._depth, self._step = 0, None

    def after_step(self) -> None:
        """Called after ``optimizer.step()``."""
        self._depth -= 1
        if self._depth > 0:
            return
        if self._step is not None:
            self._safely(self._finish)
        self._close()
        self.n_steps += 1
        self._open_if_due()

    def _begin(self, has_closure: bool) -> None:
        """Before the step: the weights; and the gradients, unless a closure is to compute them."""
        window = self._window
        assert window is not None
        self._step = step = _Step()
        for name, one in window.named:
            numbers = array(one)
            if one.requires_grad:
                step.weights[name] = self._kept(name, numbers)
            step.lengths[name] = step.norms[id(one)] = norm(numbers)
        if not has_closure:
            step.look = self._looked(step)

    def _kept(self, name: str, numbers: np.ndarray) -> np.ndarray:
        """A copy; of what is small in memory that is used again, since asking for new memory takes longer."""
        place = self._places.get(name)
        if place is None or place.shape != numbers.shape or place.dtype != numbers.dtype:
            place = np.empty_like(numbers)
            if numbers.nbytes <= SMALL:
                self._places[name] = place
        np.copyto(place, numbers)
        return place

    def _finish(self) -> None:
        """After the step: the update, ‖ΔW‖/‖W‖."""
        step, window = self._step, self._window
        assert step is not None
        assert window is not None
        found_inf = getattr(self.optimizer, "found_inf", None)
        if found_inf is not None and float(found_inf) > 0:
            self._notes.add("steps that the scaler left out are not looked at")
            return
        look = step.look or self._looked(step)
        look.changed, bad, chosen = False, "", self._in_optimizer()
        for name, one in window.named:
            if name not in step.weights or id(one) not in chosen:
                continue
            numbers, before = array(one), step.weights[name]
            change = norm(np.subtract(numbers, before, out=before))
            look.changed |= change > 0 or math.isnan(change)
            if step.lengths[name] > 0:
                look.ratios[name] = change / step.lengths[name]
            if not bad and not math.isfinite(change) and not np.isfinite(numbers).all():
                bad = f"{name} after the step"
        look.non_finite = look.non_finite or bad
        self._looks.append(look)

    def _in_optimizer(self) -> set[int]:
        return {id(one) for group in self.optimizer.param_groups for one in group["params"]}

    def _looked(self, step: _Step) -> Look:
        """Everything that the hooks saw, with the gradients as they are now."""
        window = self._window
        assert window is not None
        for _, one in window.named:
            if one.grad is not None:
                step.norms[~id(one)] = norm(array(one.grad))
        scales = _scale(self.scaler), _scale_left(self.optimizer)
        views = layers_of(window.calls, step.norms, *scales) or self._weights_only(window, step)
        named, chosen = window.named, self._in_optimizer()
        trained = {name for name, one in named if id(one) in chosen}
        idle = [name for name, one in named if name in window.hooked - window.arrived and _is_empty(one.grad)]
        outside = [name for name, one in named if name in window.arrived and name not in trained]
        self._follow(outside, step)
        called = {call.name for call in window.calls}
        look = Look(
            step=self.n_steps + 1,
            loss=self._loss,
            views=tuple(views),
            n_rows=next((call.n_rows for call in reversed(window.calls) if call.came_back), 0),
            trained=frozenset(trained),
            frozen=tuple(name for name, one in named if not one.requires_grad),
            disconnected=tuple(idle),
            detached=tuple(name for name in idle if name in trained and name.rpartition(".")[0] in called),
            arrived=len(window.arrived),
            stale=tuple(name for name, one in named if name in window.stale & trained and is_any(one.grad)),
            outside=tuple(outside),
            foreign=len(chosen - {id(one) for _, one in named}),
            rates=tuple(float(group["lr"]) for group in self.optimizer.param_groups if "lr" in group),
            evaluated=_evaluated(window),
        )
        look.non_finite = _first_non_finite(window, step, look.loss, named)
        return look

    def _weights_only(self, window: Window, step: _Step) -> list[LayerView]:
        """The layers where no forward pass could be seen, as in compiled and scripted modules."""
        modules = [(name, one) for name, one in self.model.named_modules() if is_leaf(one)]
        views = [weights_only(name, one, step.norms) for name, one in modules if weight_of(one) is not None]
        if views and window.arrived:
            self._notes.add("no forward pass of a module was seen: only weights and gradients are looked at")
        return views

    def _follow(self, outside: list[str], step: _Step) -> None:
        """Parameters that get gradients and are not in the optimizer: whether something else changes them."""
        for name in outside:
            first = self._outside.get(name)
            if first is None:
                self._outside[name] = step.weights[name].copy()
            elif not np.array_equal(first, step.weights[name], equal_nan=True):
                self._moved.add(name)


def _scale(scaler: Any) -> float:
    return 1.0 if scaler is None else float(scaler.get_scale()) or 1.0


def _scale_left(optimizer: Any) -> float:
    """The factor in ``grad`` at the time of the step: fused optimizers of PyTorch take it out themselves."""
    left = getattr(optimizer, "grad_scale", None)
    return 1.0 if left is None else float(left) or 1.0


def _is_empty(gradient: Any) -> bool:
    return gradient is None or not is_any(gradient)


def _evaluated(window: Window) -> str:
    """Whether dropout, batch normalisation were in evaluation mode in a backward pass: "all", "some", ""."""
    modes = [
        call.training for call in window.calls
        if call.came_back and _has_modes(call.module)
    ]  # fmt: skip
    if not modes or all(modes):
        return ""
    whole = any(call.whole for call in window.calls if call.came_back)
    return "some" if whole or any(modes) else "all"


def _has_modes(module: Any) -> bool:
    if "Dropout" in type(module).__name__:
        return float(getattr(module, "p", 0.0)) > 0
    # Those that keep running statistics: a layer normalisation does the same in both modes.
    return is_normalisation(module) and getattr(module, "running_mean", None) is not None


def _first_non_finite(window: Window, step: _Step, loss: float | None, named: list[tuple[str, Any]]) -> str:
    """The first tensor that is not finite, going forward and then back."""
    for name, length in step.lengths.items():
        if not math.isfinite(length):
            return name
    calls = [call for call in window.calls if call.came_back]
    for call in calls:
        if call.non_finite in ("input", "output"):
            return f"the {call.non_finite} of {call.name or 'the model'}"
    if loss is not None and not math.isfinite(loss):
        return "the loss"
    for call in reversed(calls):
        if call.non_finite:
            return f"the gradient of the output of {call.name or 'the model'}"
    for name, one in named:
        if not math.isfinite(step.norms.get(~id(one), 0.0)):
            return f"the gradient of {name}"
    return ""
