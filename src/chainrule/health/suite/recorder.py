"""What other tools look at: weights, gradients and activations of a training, after each epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.health.suite.faults import Softmax, linear_layers
from chainrule.health.trainings import (
    Measured,
    Step,
    Training,
    as_number,
    loss_function,
    measure,
    run,
)
from chainrule.nn import Module
from chainrule.optim import Optimizer
from chainrule.tape import Tensor, enable_grad

__all__ = ["Activation", "Recording", "Snapshot", "record", "snapshot"]


@dataclass(frozen=True)
class Activation:
    """An activation layer on a batch: its record's name, what goes in, what comes out."""

    name: str
    z: np.ndarray
    h: np.ndarray


@dataclass(frozen=True)
class Snapshot:
    """A network on one batch of the rows to learn from.

    Attributes
    ----------
    loss : float
    weights : list of ndarray
        Of the linear layers, from the input to the output.
    gradients, bias_gradients : list of ndarray
        Of those of them that are trained: no tool sees a gradient of what is frozen.
    activations : list of Activation
    outputs : ndarray
    """

    loss: float
    weights: list[np.ndarray]
    gradients: list[np.ndarray]
    bias_gradients: list[np.ndarray]
    activations: list[Activation]
    outputs: np.ndarray


@dataclass(frozen=True)
class Recording:
    """A training as it went.

    Attributes
    ----------
    training : Training
    snapshots : list of Snapshot
        At the start, and after each epoch.
    train, validation : list of Measured
        Loss and score after each epoch.
    predicted : ndarray
        Of the rows to learn from, at the end: classes; empty for numbers.
    """

    training: Training
    snapshots: list[Snapshot] = field(default_factory=list)
    train: list[Measured] = field(default_factory=list)
    validation: list[Measured] = field(default_factory=list)
    predicted: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def output_activation(self) -> str:
        """The record's name of what the last module is, "softmax", or "identity" for a linear layer."""
        last = list(self.training.module.modules())[-1]
        if isinstance(last, Softmax):
            return "softmax"
        return last.record_name if isinstance(last, nn.ActivationModule) else "identity"


def record(training: Training, seed: int = 0) -> Recording:
    """Run a training to its end, and note each epoch.

    A training on numbers that are not finite, which ``fit`` refuses, has its start alone: there everything is
    NaN at the first step.
    """
    made = Recording(training)
    watch = _watcher(made)
    watch(training.module, measured=False)
    with_callback = training.takes("callbacks")
    watched = (_with_callback if with_callback else _with_steps_watched)(training, watch)
    try:
        with np.errstate(all="ignore"):
            ran = run(watched, seed=seed)
            outputs = np.nan_to_num(ran.module(training.X))
    except ValueError:
        return made
    if not training.classify:
        return made
    predicted = outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(np.int64)
    return Recording(training, made.snapshots, made.train, made.validation, predicted)


def _watcher(recording: Recording) -> Callable[..., None]:
    training = recording.training

    def watch(module: Module, measured: bool = True) -> None:
        recording.snapshots.append(snapshot(training, module))
        if measured:
            recording.train.append(measure(training, module))
            if training.validation is not None:
                recording.validation.append(measure(training, module, training.validation))

    return watch


def _with_callback(training: Training, watch: Callable[..., None]) -> Training:
    def after_epoch(event: Any) -> None:
        watch(event.module)

    return training.altered(options={**training.options, "callbacks": [after_epoch]})


def _with_steps_watched(training: Training, watch: Callable[..., None]) -> Training:
    """The same steps, counted: what comes after each epoch's last is its snapshot."""
    loss = loss_function(training)
    taken = 0

    def usual(module: Module, optimizer: Optimizer, x: Tensor, y: np.ndarray) -> Any:
        optimizer.zero_grad()
        value = loss(module(x), y)
        value.backward()
        optimizer.step()
        return value

    step: Step = training.step or usual

    def counted(module: Module, optimizer: Optimizer, x: Tensor, y: np.ndarray) -> Any:
        nonlocal taken
        value = step(module, optimizer, x, y)
        taken += 1
        if taken % training.steps_an_epoch == 0:
            watch(module)
        return value

    return training.altered(step=counted)


def snapshot(training: Training, module: Module) -> Snapshot:
    """A copy of the module on one batch, forward and back."""
    module = module.copy().train()
    module.zero_grad()
    rows = _rows(training)
    seen: list[Activation] = []

    def note(one: Any, inputs: tuple, output: Tensor) -> None:
        seen.append(Activation(one.record_name, inputs[0].data.copy(), output.data.copy()))

    for one in module.modules():
        if isinstance(one, nn.ActivationModule) and not isinstance(one, nn.Identity):
            one.register_forward_hook(note)
    with np.errstate(all="ignore"), enable_grad():
        outputs = module(Tensor(training.X[rows]))
        loss = loss_function(training)(outputs, training.y[rows])
        if loss.requires_grad:
            loss.backward()
    layers = linear_layers(module)
    return Snapshot(
        as_number(loss),
        [layer.weight.data for layer in layers],
        [_gradient(layer.weight) for layer in layers if layer.weight.requires_grad],
        [_gradient(layer.bias) for layer in layers if layer.bias is not None and layer.bias.requires_grad],
        seen,
        outputs.data,
    )


def _rows(training: Training) -> np.ndarray:
    """The first batch; rows that are not finite come before all others, as they spoil their first step."""
    broken = ~np.isfinite(training.X).all(axis=1)
    return np.argsort(~broken, kind="stable")[: max(2, min(training.batch_size, len(training.X)))]


def _gradient(parameter: Any) -> np.ndarray:
    if parameter.grad is None:
        return np.zeros_like(parameter.data)
    gradient: np.ndarray = np.asarray(parameter.grad.data)
    return gradient
