"""Optimizers: consumers of a gradient (section 8.1: backpropagation is not gradient descent).

Examples
--------
As a description, for ``chainrule.fit``, which brings the parameters:

>>> from chainrule import optim
>>> optim.Adam(lr=3e-4)
Adam(lr=0.0003, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, amsgrad=False, maximize=False,
decoupled_weight_decay=False, epsilon_hat=False)

With parameters, in a training loop of one's own, as in PyTorch:

>>> from chainrule.tape import tensor
>>> w = tensor([4.0], requires_grad=True)
>>> optimizer = optim.SGD([w], lr=0.25)
>>> for _ in range(3):
...     optimizer.zero_grad()
...     (w * w).sum().backward()
...     optimizer.step()
>>> w
tensor([0.5], requires_grad=True)
"""

from chainrule.nn.utils import clip_grad_norm_, clip_grad_value_
from chainrule.optim import lr_scheduler
from chainrule.optim.lbfgs import LBFGS
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.optimizers import (
    OPTIMIZERS,
    SGD,
    Adam,
    AdamW,
    RMSprop,
    RuleOptimizer,
    make_optimizer,
)
from chainrule.optim.rules import RULES, RULES_OF_THREE, UpdateRule
from chainrule.optim.schedules import (
    SCHEDULES,
    Adaptive,
    Constant,
    CosineWarmup,
    InverseScaling,
    OneCycle,
    Schedule,
    StepDecay,
    make_schedule,
)

__all__ = [
    "LBFGS",
    "OPTIMIZERS",
    "RULES",
    "RULES_OF_THREE",
    "SCHEDULES",
    "SGD",
    "Adam",
    "AdamW",
    "Adaptive",
    "Constant",
    "CosineWarmup",
    "InverseScaling",
    "OneCycle",
    "Optimizer",
    "RMSprop",
    "RuleOptimizer",
    "Schedule",
    "StepDecay",
    "UpdateRule",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
    "make_optimizer",
    "make_schedule",
]
