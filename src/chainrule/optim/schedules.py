"""Learning-rate schedules: a factor on the rate, as a function of the step.

``chainrule.fit`` takes them as they are; ``lr_scheduler.ScheduleLR`` goes by one in a loop of one's own.
"""

from abc import ABC, abstractmethod

import numpy as np

from chainrule.functions._lookup import lookup
from chainrule.optim._checks import at_least_zero, fraction, positive

__all__ = [
    "SCHEDULES",
    "Adaptive",
    "Constant",
    "CosineWarmup",
    "InverseScaling",
    "OneCycle",
    "Schedule",
    "StepDecay",
    "make_schedule",
]


class Schedule(ABC):
    """A factor on the learning rate as training goes on."""

    @abstractmethod
    def factors(self, steps: np.ndarray, total_steps: int, steps_per_epoch: int) -> np.ndarray:
        """The factor at each of ``steps``, counted from 0."""

    def epoch_ended(self, improved: bool) -> bool:
        """Told after each epoch whether it improved; returns True when there is no lower rate to try."""
        return False

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({settings})"


class Constant(Schedule):
    """The same rate throughout."""

    def factors(self, steps: np.ndarray, total_steps: int, steps_per_epoch: int) -> np.ndarray:
        """See ``Schedule.factors``."""
        return np.ones(len(steps))


class InverseScaling(Schedule):
    """1 / (t + 1)^power at step t, scikit-learn's ``invscaling``."""

    def __init__(self, power: float = 0.5) -> None:
        self.power = at_least_zero("power", power)

    def factors(self, steps: np.ndarray, total_steps: int, steps_per_epoch: int) -> np.ndarray:
        """See ``Schedule.factors``."""
        return 1.0 / (steps + 1.0) ** self.power


class StepDecay(Schedule):
    """Multiply by ``factor`` every ``every`` epochs."""

    def __init__(self, every: int = 10, factor: float = 0.1) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 epoch; got {every}")
        self.every = int(every)
        self.factor = positive("factor", factor)

    def factors(self, steps: np.ndarray, total_steps: int, steps_per_epoch: int) -> np.ndarray:
        """See ``Schedule.factors``."""
        return self.factor ** (steps // steps_per_epoch // self.every).astype(float)


class CosineWarmup(Schedule):
    """A linear rise over the first ``warmup`` share of the steps, then half a cosine down to ``final``.

    Loshchilov & Hutter 2017 (the cosine), Goyal et al. 2017 (the warm-up).
    """

    def __init__(self, warmup: float = 0.05, final: float = 0.0) -> None:
        self.warmup = fraction("warmup", warmup)
        self.final = fraction("final", final)

    def factors(self, steps: np.ndarray, total_steps: int, steps_per_epoch: int) -> np.ndarray:
        """See ``Schedule.factors``."""
        rise = self.warmup * total_steps
        progress = np.clip((steps - rise) / max(1.0, total_steps - rise), 0, 1)
        fall = self.final + (1 - self.final) * 0.5 * (1 + np.cos(np.pi * progress))
        return np.where(steps < rise, (steps + 1) / max(1.0, rise), fall)


class OneCycle(Schedule):
    """Up from 1/``start`` to 1 over the first ``rise`` share of the steps, then down to 1/``end``.

    Both ways along half a cosine (Smith & Topin 2018); the optimizer's ``lr`` is the peak.
    """

    def __init__(self, rise: float = 0.3, start: float = 25.0, end: float = 1e5) -> None:
        self.rise = fraction("rise", rise)
        self.start = positive("start", start)
        self.end = positive("end", end)

    def factors(self, steps: np.ndarray, total_steps: int, steps_per_epoch: int) -> np.ndarray:
        """See ``Schedule.factors``."""
        peak = max(1e-9, self.rise * total_steps)
        up = 1 / self.start + (1 - 1 / self.start) * 0.5 * (1 - np.cos(np.pi * np.minimum(steps / peak, 1)))
        progress = np.clip((steps - peak) / max(1e-9, total_steps - 1 - peak), 0, 1)
        down = 1 / self.end + (1 - 1 / self.end) * 0.5 * (1 + np.cos(np.pi * progress))
        return np.where(steps < peak, up, down)


class Adaptive(Schedule):
    """Divide the rate by ``divisor`` whenever ``patience`` epochs in a row have not improved.

    Training ends when the factor has fallen below ``minimum``. scikit-learn's ``adaptive``.
    """

    def __init__(self, patience: int = 2, divisor: float = 5.0, minimum: float = 1e-3) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1 epoch; got {patience}")
        self.patience = int(patience)
        self.divisor = positive("divisor", divisor)
        self.minimum = positive("minimum", minimum)
        self._factor = 1.0
        self._stale = 0

    def factors(self, steps: np.ndarray, total_steps: int, steps_per_epoch: int) -> np.ndarray:
        """See ``Schedule.factors``."""
        return np.full(len(steps), self._factor)

    def epoch_ended(self, improved: bool) -> bool:
        """See ``Schedule.epoch_ended``."""
        self._stale = 0 if improved else self._stale + 1
        if self._stale >= self.patience:
            self._stale = 0
            self._factor /= self.divisor
        return self._factor < self.minimum


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "invscaling": InverseScaling,
    "adaptive": Adaptive,
    "step": StepDecay,
    "cosine": CosineWarmup,
    "one_cycle": OneCycle,
}


def make_schedule(schedule: str | Schedule) -> Schedule:
    """A schedule by name with its defaults, or the one given."""
    if isinstance(schedule, Schedule):
        return schedule
    return lookup("schedule", schedule, SCHEDULES, {})()
