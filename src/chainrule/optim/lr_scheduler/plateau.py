"""ReduceLROnPlateau: a lower rate when a measure no longer improves."""

import math
from collections.abc import Sequence
from typing import Any

from chainrule.optim._checks import fraction
from chainrule.optim.lr_scheduler.base import LRScheduler, one_each
from chainrule.optim.optimizer import Optimizer

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(LRScheduler):
    """Multiply the rates by ``factor`` when a measure has not improved for more than ``patience`` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether less of the measure is better, or more.
    factor : float
        Below 1.
    patience : int
    threshold : float
        Only what differs from the best by more is an improvement: by this share of the best with
        ``threshold_mode="rel"``, by this much with ``"abs"``.
    threshold_mode : {"rel", "abs"}
    cooldown : int
        Epochs after a reduction in which none counts as bad.
    min_lr : float or list of float
        No rate falls below it.
    eps : float
        A smaller change of a rate is not made.
    """

    def __init__(  # noqa: PLR0913 - PyTorch's constructor
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max'; got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"threshold_mode must be 'rel' or 'abs'; got {threshold_mode!r}")
        super().__init__(optimizer)
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor, self.patience, self.threshold = fraction("factor", factor), patience, threshold
        self.cooldown, self.eps = cooldown, eps
        self.min_lrs = [float(one) for one in one_each("min_lr", min_lr, optimizer)]
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def step(self, metrics: Any) -> None:
        """Take note of an epoch's measure, and lower the rates if it is time.

        Parameters
        ----------
        metrics : float or Tensor of one number
        """
        value = float(metrics)
        self.last_epoch += 1
        if self._improves(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._note_rates()

    def _improves(self, value: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "rel":
            return sign * value > sign * self.best * (1 + sign * self.threshold)
        return sign * value > sign * self.best + self.threshold

    def _reduce(self) -> None:
        for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            rate = max(group["lr"] * self.factor, least)
            if group["lr"] - rate > self.eps:
                group["lr"] = rate
