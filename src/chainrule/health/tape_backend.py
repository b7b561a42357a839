"""Trainings of this library's modules: by ``fit``, or on the tape where the user's code has a part."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import nn
from chainrule.health import surgery
from chainrule.health.backends import as_number, by_hand
from chainrule.health.libraries import library_of
from chainrule.nn.module import Module
from chainrule.optim import Optimizer
from chainrule.plan import loss_term
from chainrule.tape import Tensor, no_grad
from chainrule.train import fit, predict

if TYPE_CHECKING:
    from chainrule.health.trainings import Training

__all__ = ["BACKEND"]


# Batches in a pass over the rows, at least, for which threads are worth their start.
FEW_STEPS = 8


class TapeBackend:
    """See ``Backend``."""

    surgery: Any = surgery
    least_rows = 1
    logarithm: Callable[[Any], Any] | None = None

    def copied(self, module: Module) -> Module:
        return module.copy()

    def session(self, seed: int) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def tensor(self, X: np.ndarray) -> Tensor:
        return Tensor(X)

    def targets(self, y: np.ndarray) -> np.ndarray:
        return y

    def outputs(self, module: Module, X: np.ndarray) -> np.ndarray:
        if not all(one.requires_grad for one in module.parameters()):
            module = module.copy().requires_grad_(True)  # what is frozen predicts all the same, by a plan
        with np.errstate(all="ignore"):
            outputs: np.ndarray = predict(module, X)
        return outputs

    def loss(self, training: Training) -> Callable[[Any, Any], Any]:
        if isinstance(training.loss, str):
            return library_of(training.module).loss(training.loss)
        function: Callable[[Any, Any], Any] = training.loss
        return function

    def loss_of(self, training: Training, outputs: np.ndarray, y: np.ndarray) -> float:
        with no_grad(), np.errstate(all="ignore"):
            return as_number(self.loss(training)(Tensor(outputs), y))

    def knows_loss(self, loss: Any) -> bool:
        return isinstance(loss, str | nn.LossModule)

    def loss_of_logits(self, n_outputs: int) -> Any:
        return nn.BCEWithLogitsLoss() if n_outputs == 1 else nn.CrossEntropyLoss()

    def loss_record(self, loss: Any, n_outputs: int) -> str | None:
        return loss_term(loss, n_outputs).name if self.knows_loss(loss) else None

    def takes(self, training: Training, option: str) -> bool:
        return not self._is_by_hand(training)

    def _is_by_hand(self, training: Training) -> bool:
        return training.step is not None or not self.knows_loss(training.loss)

    def bound(self, optimizer: Optimizer, module: Module) -> Optimizer:
        made = copy.deepcopy(optimizer)
        made._add({"params": [one for one in module.parameters() if one.requires_grad]})
        return made

    def usual_step(self, training: Training) -> Callable[[Any, Any, Any, Any], Any]:
        loss = self.loss(training)

        def step(module: Module, optimizer: Optimizer, x: Tensor, y: np.ndarray) -> Any:
            optimizer.zero_grad()
            value = loss(module(x), y)
            value.backward()
            optimizer.step()
            return value

        return step

    def epochs(self, training: Training, module: Module, seed: int) -> list[float]:
        if self._is_by_hand(training):
            return by_hand(training, module, seed)
        # The validation rows are there to judge by: what a training stops on is held out from its own.
        held_out = 0.15 if training.options.get("early_stopping") else None
        options = dict(training.options)
        if training.steps_an_epoch < FEW_STEPS:
            options.setdefault("n_jobs", 1)  # threads gain nothing that starting them does not take
        history = fit(
            module, training.X, training.y, loss=training.loss, optimizer=training.optimizer,
            epochs=training.epochs, batch_size=training.batch_size, seed=seed, validation=held_out, verbose=0,
            **options,
        )  # fmt: skip
        losses: list[float] = history["loss"]
        return losses


BACKEND = TapeBackend()
