"""ScheduleLR: a schedule of this library in a loop of one's own."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.optim._checks import whole
from chainrule.optim.lr_scheduler.base import ClosedFormLR
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.schedules import Schedule, make_schedule

__all__ = ["ScheduleLR"]


class ScheduleLR(ClosedFormLR):
    """A ``Schedule`` of this library, as ``chainrule.fit`` takes it, in a loop of one's own.

    Parameters
    ----------
    optimizer : Optimizer
    schedule : str or Schedule
        Such as ``"cosine"`` or ``CosineWarmup(0.1)``; a copy of it is used, since some keep count.
    total_steps : int
        Steps of the whole training.
    steps_per_epoch : int
        What a schedule that counts epochs needs besides.
    last_epoch : int

    Examples
    --------
    >>> from chainrule import optim
    >>> from chainrule.tape import tensor
    >>> optimizer = optim.SGD([tensor([0.0], requires_grad=True)], lr=2.0)
    >>> schedule = optim.StepDecay(every=1, factor=0.5)
    >>> scheduler = ScheduleLR(optimizer, schedule, total_steps=4, steps_per_epoch=2)
    >>> for _ in range(4):
    ...     print(scheduler.get_last_lr()[0], end=" ")
    ...     scheduler.step()
    2.0 2.0 1.0 1.0
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: str | Schedule,
        total_steps: int,
        steps_per_epoch: int = 1,
        last_epoch: int = -1,
    ) -> None:
        self.schedule = copy.deepcopy(make_schedule(schedule))
        self.total_steps = whole("total_steps", total_steps)
        self.steps_per_epoch = whole("steps_per_epoch", steps_per_epoch)
        super().__init__(optimizer, last_epoch)

    def rates(self, step: int) -> list[float]:
        """See ``ClosedFormLR.rates``."""
        factors = self.schedule.factors(np.array([step]), self.total_steps, self.steps_per_epoch)
        return [base * float(factors[0]) for base in self.base_lrs]

    def epoch_ended(self, improved: bool) -> bool:
        """Tell the schedule how an epoch went; True when it has no lower rate to try."""
        return self.schedule.epoch_ended(improved)

    def state_dict(self) -> dict[str, Any]:
        """See ``LRScheduler.state_dict``; of the schedule its settings and what it has counted."""
        return {**super().state_dict(), "schedule": dict(vars(self.schedule))}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """See ``LRScheduler.load_state_dict``."""
        own = dict(state_dict)
        vars(self.schedule).update(own.pop("schedule"))
        super().load_state_dict(own)
