"""Learning rates that change from step to step, in a training loop of one's own; PyTorch's names.

A scheduler sets the rates of an optimizer's parameter groups: once when it is made, then at each ``step()``.
The rate is a function of the group's rate at the beginning and of the number of steps alone, wherever there
is such a function, so that rounding does not add up and a scheduler can go on from any step. Of two
schedulers on one optimizer, therefore, the last one's rate holds.

Examples
--------
>>> from chainrule import optim
>>> from chainrule.tape import tensor
>>> optimizer = optim.SGD([tensor([0.0], requires_grad=True)], lr=1.0)
>>> scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
>>> for _ in range(5):
...     optimizer.step()
...     print(scheduler.get_last_lr()[0], end=" ")
...     scheduler.step()
1.0 1.0 0.5 0.5 0.25
"""

from chainrule.optim.lr_scheduler.base import LRScheduler
from chainrule.optim.lr_scheduler.closed_forms import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    StepLR,
)
from chainrule.optim.lr_scheduler.one_cycle import OneCycleLR
from chainrule.optim.lr_scheduler.plateau import ReduceLROnPlateau
from chainrule.optim.lr_scheduler.schedule import ScheduleLR

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "ScheduleLR",
    "StepLR",
]
