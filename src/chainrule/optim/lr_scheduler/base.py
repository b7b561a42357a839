"""What learning-rate schedulers share: the optimizer whose rates they set, and their state."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from chainrule.optim.optimizer import Optimizer

__all__ = ["ClosedFormLR", "LRScheduler", "bound", "one_each"]


class LRScheduler:
    """Sets the learning rates of an optimizer, each time that ``step`` is called, after the optimizer's.

    Parameters
    ----------
    optimizer : Optimizer
        With parameters of its own.

    Attributes
    ----------
    last_epoch : int
        Steps taken.

    Raises
    ------
    TypeError
        If the optimizer is none.
    ValueError
        If it has no parameters.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = bound(optimizer)
        self.last_epoch = 0
        self._note_rates()

    def _note_rates(self) -> None:
        self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """The rate of each group, as it was last set."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` needs; neither the optimizer nor functions are part of it."""
        return {name: copy.deepcopy(value) for name, value in vars(self).items() if _is_state(value)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state that ``state_dict`` gave. The rates themselves are the optimizer's state."""
        vars(self).update(copy.deepcopy(dict(state_dict)))


class ClosedFormLR(LRScheduler, ABC):
    """Rates that are a function of the first ones and of the number of steps.

    Parameters
    ----------
    optimizer : Optimizer
        With parameters of its own.
    last_epoch : int
        Number of the last step taken; −1 to begin. Otherwise the groups must have an ``initial_lr``, as
        after ``optimizer.load_state_dict``.

    Attributes
    ----------
    last_epoch : int
        Steps taken.
    base_lrs : list of float
        The groups' rates at the beginning.

    Raises
    ------
    TypeError
        If the optimizer is none.
    ValueError
        If it has no parameters, or no ``initial_lr`` to go on from.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        super().__init__(optimizer)
        for number, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"last_epoch={last_epoch} needs 'initial_lr' in parameter group {number}, where an "
                    "earlier scheduler began; load the optimizer's state first, or let last_epoch be -1"
                )
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    @abstractmethod
    def rates(self, step: int) -> list[float]:
        """The rate of each group after so many steps."""

    def step(self) -> None:
        """Set the rates of the next step; to be called after the optimizer's."""
        self.last_epoch += 1
        for group, rate in zip(self.optimizer.param_groups, self.rates(self.last_epoch), strict=True):
            group["lr"] = float(rate)
        self._note_rates()


def bound(optimizer: Any) -> Optimizer:
    """The optimizer, which must have parameters."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an Optimizer of chainrule.optim; got {type(optimizer).__name__}")
    if not optimizer.is_bound:
        raise ValueError(
            "optimizer must have parameters of its own; got a description for chainrule.fit, which takes a "
            "schedule itself"
        )
    return optimizer


def _is_state(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_state, value))
    return not isinstance(value, Optimizer) and not callable(value)


def one_each(name: str, value: Any, optimizer: Optimizer) -> list[Any]:
    """A setting for each parameter group: a list of them, or one for all."""
    n_groups = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * n_groups
    if len(value) != n_groups:
        raise ValueError(f"{name} must have one entry a parameter group, {n_groups}; got {len(value)}")
    return list(value)
