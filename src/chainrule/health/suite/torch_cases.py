"""The benchmark's trainings as a user of PyTorch has them: module, loss, optimizer and step are PyTorch's.

What a checkup makes of them is to be the same as of this library's own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from chainrule import nn
from chainrule.exports import to_torch
from chainrule.health.describe import described
from chainrule.health.libraries import pytorch
from chainrule.health.suite.faults import Log, NegatedLoss, Softmax, step_without_zero_grad
from chainrule.health.trainings import Training
from chainrule.optim import Optimizer

__all__ = ["TorchParts", "in_torch", "of_any_targets", "through_torch"]

Function = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class TorchParts:
    """What a training is made of, in PyTorch.

    Attributes
    ----------
    module : torch.nn.Module
    loss : torch.nn.Module or callable (outputs, y)
        A class of PyTorch's where it has one; a function of its tensors for the others.
    optimizer : torch.optim.Optimizer
        Over all parameters of the module.
    step : callable or None
        (module, optimizer, x, y) -> loss, where it is not the usual one.
    """

    module: Any
    loss: Any
    optimizer: Any
    step: Any


def in_torch(training: Training) -> TorchParts:
    """The parts of one of the benchmark's trainings in PyTorch, with the same numbers."""
    module, loss = _module(training.module), _loss(training.loss)
    # The benchmark has one step of its own kind.
    step = None if training.step is None else step_without_zero_grad(of_any_targets(loss))
    return TorchParts(module, loss, _optimizer(training.optimizer, module), step)


def through_torch(training: Training) -> Training:
    """The training that a checkup makes of those parts: on this library's engine if it can, else PyTorch."""
    parts = in_torch(training)
    return described(
        parts.module, (training.X, training.y), loss=parts.loss, optimizer=parts.optimizer,
        validation=training.validation, batch_size=training.batch_size, epochs=training.epochs,
        step=parts.step, **training.options,
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------- modules


@cache
def _shifted_log() -> Any:
    """The class of log(x + shift), made when PyTorch is there."""
    module: Any = pytorch().nn.Module

    class ShiftedLog(module):
        def __init__(self, shift: float) -> None:
            super().__init__()
            self.shift = shift

        def forward(self, x: Any) -> Any:
            return (x + self.shift).log()

    return ShiftedLog


def _module(module: nn.Module) -> Any:
    """As ``to_torch`` makes it, and the two layers that the benchmark adds."""
    torch = pytorch()
    if isinstance(module, Softmax):
        return torch.nn.Softmax(dim=1)
    if isinstance(module, Log):
        return _shifted_log()(module.shift)
    if any(isinstance(one, Softmax | Log) for one in module.modules()):
        return torch.nn.Sequential(*(_module(child) for _, child in module.named_children()))
    return to_torch(module)


# --------------------------------------------------------------------------------------------------- losses


def _loss(loss: Any) -> Any:
    """The class of PyTorch's with the same name and setting; a function where there is none."""
    if isinstance(loss, NegatedLoss):
        positive = of_any_targets(_loss(loss.negated))
        return lambda outputs, y: -positive(outputs, y)
    if isinstance(loss, nn.QuantileLoss):
        return of_any_targets(_pinball(loss.q))
    settings = {name: getattr(loss, name) for name in ("label_smoothing", "delta") if hasattr(loss, name)}
    return getattr(pytorch().nn, type(loss).__name__)(**settings)


def _pinball(q: float) -> Function:
    def pinball(outputs: Any, y: Any) -> Any:
        missing = y - outputs
        return pytorch().maximum(q * missing, (q - 1) * missing).mean()

    return pinball


def of_any_targets(loss: Any) -> Function:
    """The loss as a loop calls it: classes as they are, other targets in the shape of the outputs."""
    if isinstance(loss, pytorch().nn.CrossEntropyLoss):
        return loss
    return lambda outputs, y: loss(outputs, y.to(outputs.dtype).reshape(outputs.shape))


def _optimizer(optimizer: Optimizer, module: Any) -> Any:
    kind = getattr(pytorch().optim, type(optimizer).__name__)
    accepted = inspect.signature(kind).parameters
    settings = {name: value for name, value in optimizer.defaults.items() if name in accepted}
    return kind(module.parameters(), **settings)
