"""What happens after each epoch of a training on PyTorch: its schedule moves on, and it may be stopped."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.train import FitOptions

if TYPE_CHECKING:
    from chainrule.health.trainings import Training

__all__ = ["Course", "check_schedule"]

# As in trainings of this library's modules: what a training stops on is held out from its own rows.
HELD_OUT = 0.15


def check_schedule(schedule: Any) -> None:
    """Raise unless it is a function that makes a scheduler.

    A scheduler belongs to an optimizer, and each run of a training has its own.
    """
    if schedule is not None and (hasattr(schedule, "step") or not callable(schedule)):
        raise TypeError(
            "schedule must be a function of an optimizer that gives a torch.optim.lr_scheduler, as in "
            "lambda optimizer: StepLR(optimizer, 5), which is stepped after each epoch; got "
            f"{type(schedule).__name__}"
        )


class Course:
    """One run of a training: ``training`` without the rows that are held out, and what is best so far."""

    def __init__(self, training: Training, module: Any, seed: int) -> None:
        self.given, self.training, self.module = training, training, module
        options = training.options
        self.make_scheduler = options.get("schedule")
        self.stopping = FitOptions(early_stopping=options.get("early_stopping", False)).stopping
        self._scheduler: Any = None
        self._best, self._stale = np.inf, 0
        self._kept: dict[str, Any] | None = None
        if self.stopping is not None:
            order = np.random.default_rng([seed, 7]).permutation(len(training.X))
            cut = max(1, round(HELD_OUT * len(order)))
            self.held, kept = order[:cut], np.sort(order[cut:])
            self.training = training.altered(X=training.X[kept], y=training.y[kept])

    def begin(self, optimizer: Any) -> None:
        """Make the schedule of an optimizer that has not taken a step."""
        if self.make_scheduler is not None:
            self._scheduler = self.make_scheduler(optimizer)

    def epoch_ended(self, loss: float) -> bool:
        """Move on after an epoch with this mean loss; whether to stop."""
        if self._scheduler is not None:
            # ReduceLROnPlateau alone asks for the loss.
            asks = "metrics" in inspect.signature(self._scheduler.step).parameters
            self._scheduler.step(*((loss,) if asks else ()))
        return self.stopping is not None and self._is_stale(self.stopping)

    def _is_stale(self, stopping: Any) -> bool:
        training = self.given
        outputs = training.backend.outputs(self.module, training.X[self.held])
        loss = training.backend.loss_of(training, outputs, training.y[self.held])
        self._stale = 0 if loss < self._best - stopping.min_delta else self._stale + 1
        if loss < self._best:
            self._best = loss
            self._kept = {name: one.clone() for name, one in self.module.state_dict().items()}
        return self._stale >= stopping.patience

    def finish(self) -> None:
        """Put the weights of the best epoch back, where it was asked to stop."""
        if self._kept is not None:
            self.module.load_state_dict(self._kept)
