"""Schedulers whose rate is a plain function of the number of steps."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

from chainrule.optim._checks import at_least_zero, fraction, whole
from chainrule.optim.lr_scheduler.base import ClosedFormLR, bound, one_each
from chainrule.optim.optimizer import Optimizer

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "StepLR",
    "along_cosine",
]


class _FactorLR(ClosedFormLR):
    """The rate at the beginning times a factor."""

    @abstractmethod
    def factor(self, step: int) -> float:
        """The factor after so many steps."""

    def rates(self, step: int) -> list[float]:
        """See ``ClosedFormLR.rates``."""
        factor = self.factor(step)
        return [base * factor for base in self.base_lrs]


class LambdaLR(ClosedFormLR):
    """The rate at the beginning times a function of the step.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable or list of callable
        One for all groups or one for each: step number to factor.
    last_epoch : int
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self.lr_lambdas = one_each("lr_lambda", lr_lambda, bound(optimizer))
        super().__init__(optimizer, last_epoch)

    def rates(self, step: int) -> list[float]:
        """See ``ClosedFormLR.rates``."""
        return [base * factor(step) for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]


class StepLR(_FactorLR):
    """Multiply by ``gamma`` every ``step_size`` steps."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = whole("step_size", step_size)
        self.gamma = at_least_zero("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """See ``_FactorLR.factor``."""
        return self.gamma ** (step // self.step_size)


class MultiStepLR(_FactorLR):
    """Multiply by ``gamma`` at each of ``milestones``, numbers of steps."""

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = at_least_zero("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """See ``_FactorLR.factor``."""
        return self.gamma ** sum(milestone <= step for milestone in self.milestones)


class ExponentialLR(_FactorLR):
    """Multiply by ``gamma`` at each step."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = at_least_zero("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """See ``_FactorLR.factor``."""
        return self.gamma**step


class LinearLR(_FactorLR):
    """From ``start_factor`` to ``end_factor`` of the rate, in equal parts over ``total_iters`` steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = fraction("start_factor", start_factor, closed=True)
        if self.start_factor == 0:
            raise ValueError("start_factor must be above 0, or the first step would be lost; got 0")
        self.end_factor = fraction("end_factor", end_factor, closed=True)
        self.total_iters = whole("total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def factor(self, step: int) -> float:
        """See ``_FactorLR.factor``."""
        share = min(step, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * share


def along_cosine(start: float, end: float, share: float) -> float:
    """From ``start`` to ``end`` along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


class CosineAnnealingLR(ClosedFormLR):
    """Down to ``eta_min`` along half a cosine in ``T_max`` steps, then up again, and so on.

    Loshchilov & Hutter 2017, without restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = whole("T_max", T_max)
        self.eta_min = at_least_zero("eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def rates(self, step: int) -> list[float]:
        """See ``ClosedFormLR.rates``."""
        return [along_cosine(base, self.eta_min, step / self.T_max) for base in self.base_lrs]
