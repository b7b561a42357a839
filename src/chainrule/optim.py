"""Optimizers: consumers of a gradient (section 8.1: backpropagation is not gradient descent).

An optimizer is an update rule and the numbers it needs at each step. The rule is written twice, side by
side: ``update`` on arrays is the definition, ``scalar_update`` on one parameter is what the engine
compiles, and parity tests hold them together. Both read a row of eight coefficients, of which the first
two mean the same to every rule: the decoupled decay (learning rate × weight decay) and the coupled one.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chainrule.functions._lookup import lookup

__all__ = [
    "OPTIMIZERS",
    "RULES",
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
    "Schedule",
    "StepDecay",
    "UpdateRule",
    "make_optimizer",
    "make_schedule",
]


@dataclass(frozen=True)
class UpdateRule:
    """How one step changes a parameter.

    Attributes
    ----------
    name, formula, source : str
    update : callable
        ``update(w, state, g, c)``: changes the arrays ``w`` and ``state`` (2, n) in place.
    scalar_update : callable
        ``scalar_update(w, first, second, g, c) -> (w, first, second)`` on numbers, compilable.
    """

    name: str
    formula: str
    source: str
    update: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]
    scalar_update: Callable


# -- stochastic gradient descent -------------------------------------------------------------------
# c = decay, coupled decay, momentum, gradient scale, step scale, Nesterov (0 or 1)


def _sgd_update(w: np.ndarray, state: np.ndarray, g: np.ndarray, c: np.ndarray) -> None:
    decay, coupled, momentum, gradient_scale, step_scale, nesterov = c[:6]
    g = g + coupled * w
    velocity = state[0]
    velocity *= momentum
    velocity += gradient_scale * g
    step = momentum * velocity + gradient_scale * g if nesterov else velocity
    w -= decay * w
    w += step_scale * step


def _sgd_scalar_update(
    w: float, first: float, second: float, g: float, c: tuple[float, ...]
) -> tuple[float, float, float]:
    scaled = c[3] * (g + c[1] * w)
    first = c[2] * first + scaled
    step = c[2] * first + scaled if c[5] > 0.0 else first
    return w - c[0] * w + c[4] * step, first, second


# -- Adam ------------------------------------------------------------------------------------------
# c = decay, coupled decay, β₁, 1 − β₁, β₂, 1 − β₂, step size, ε


def _adam_update(w: np.ndarray, state: np.ndarray, g: np.ndarray, c: np.ndarray) -> None:
    decay, coupled, beta_1, one_minus_beta_1, beta_2, one_minus_beta_2, step_size, epsilon = c
    g = g + coupled * w
    first, second = state
    first *= beta_1
    first += one_minus_beta_1 * g
    second *= beta_2
    second += one_minus_beta_2 * g * g
    w -= decay * w
    w -= step_size * first / (np.sqrt(second) + epsilon)


def _adam_scalar_update(
    w: float, first: float, second: float, g: float, c: tuple[float, ...]
) -> tuple[float, float, float]:
    g = g + c[1] * w
    first = c[2] * first + c[3] * g
    second = c[4] * second + c[5] * (g * g)
    return w - c[0] * w - c[6] * first / (math.sqrt(second) + c[7]), first, second


RULES: dict[str, UpdateRule] = {
    rule.name: rule
    for rule in (
        UpdateRule(
            "sgd", "v = mu v + g; w = w - lr v (Nesterov: w - lr (mu v + g))",
            "Robbins & Monro 1951; Polyak 1964; Nesterov 1983", _sgd_update, _sgd_scalar_update,
        ),
        UpdateRule(
            "adam", "m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w = w - lr m^ / (sqrt(v^) + eps)",
            "Kingma & Ba 2015; decoupled decay Loshchilov & Hutter 2019", _adam_update, _adam_scalar_update,
        ),
    )
}  # fmt: skip


class Optimizer(ABC):
    """An update rule with its settings; holds no state, so one object can serve many trainings.

    Attributes
    ----------
    rule : UpdateRule
    lr : float
        Learning rate before any schedule.
    decay_all : bool
        Whether weight decay acts on biases too, as PyTorch's optimizers do by default.
    """

    rule: UpdateRule
    decay_all = True

    def __init__(self, lr: float, weight_decay: float = 0.0) -> None:
        self.lr = _positive("lr", lr)
        self.weight_decay = _at_least_zero("weight_decay", weight_decay)

    @abstractmethod
    def coefficients(self, rates: np.ndarray, first_step: int) -> np.ndarray:
        """The eight numbers of each step, (n_steps, 8), for learning rates ``rates``.

        ``first_step`` counts from 0: the number of steps already taken.
        """

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's variant.

    Parameters
    ----------
    lr : float
    momentum : float
        In [0, 1).
    weight_decay : float
        λ of g ← g + λ w, as in PyTorch.
    nesterov : bool
    decoupled_weight_decay : float
        λ of w ← w − lr λ w, apart from the gradient.
    rate_in_velocity : bool
        Put the learning rate into the velocity (v = μ v − lr g, scikit-learn's and the original form)
        instead of outside (PyTorch's). The two differ only while the rate changes.

    Examples
    --------
    >>> SGD(0.1, momentum=0.9).coefficients(np.array([0.1]), 0)
    array([[ 0. ,  0. ,  0.9,  1. , -0.1,  0. ,  0. ,  0. ]])
    """

    rule = RULES["sgd"]

    def __init__(
        self,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        decoupled_weight_decay: float = 0.0,
        rate_in_velocity: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay)
        self.momentum = _fraction("momentum", momentum, closed=True)
        self.nesterov = bool(nesterov)
        self.decoupled_weight_decay = _at_least_zero("decoupled_weight_decay", decoupled_weight_decay)
        self.rate_in_velocity = bool(rate_in_velocity)

    def coefficients(self, rates: np.ndarray, first_step: int) -> np.ndarray:
        """See ``Optimizer.coefficients``."""
        table = np.zeros((len(rates), 8))
        table[:, 0] = rates * self.decoupled_weight_decay
        table[:, 1] = self.weight_decay
        table[:, 2] = self.momentum
        table[:, 3] = -rates if self.rate_in_velocity else 1.0
        table[:, 4] = 1.0 if self.rate_in_velocity else -rates
        table[:, 5] = self.nesterov
        return table


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), with PyTorch's arguments.

    Parameters
    ----------
    lr : float
    betas : tuple of float
        Decay rates β₁, β₂ of the two moments, in [0, 1).
    eps : float
    weight_decay : float
        λ of g ← g + λ w.
    epsilon_hat : bool
        Add ε to √v before the bias correction instead of after it: the paper's second form, which
        scikit-learn uses.
    """

    rule = RULES["adam"]
    _decoupled = False

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        epsilon_hat: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay)
        self.betas = (_fraction("betas[0]", betas[0]), _fraction("betas[1]", betas[1]))
        self.eps = _positive("eps", eps)
        self.epsilon_hat = bool(epsilon_hat)

    def coefficients(self, rates: np.ndarray, first_step: int) -> np.ndarray:
        """See ``Optimizer.coefficients``."""
        beta_1, beta_2 = self.betas
        steps = np.arange(first_step + 1, first_step + 1 + len(rates))
        correction = np.sqrt(1 - beta_2**steps)
        table = np.zeros((len(rates), 8))
        table[:, 0] = rates * self.weight_decay if self._decoupled else 0.0
        table[:, 1] = 0.0 if self._decoupled else self.weight_decay
        table[:, 2:6] = beta_1, 1 - beta_1, beta_2, 1 - beta_2
        table[:, 6] = rates * correction / (1 - beta_1**steps)
        table[:, 7] = self.eps if self.epsilon_hat else self.eps * correction
        return table


class AdamW(Adam):
    """Adam with decoupled weight decay, w ← w − lr λ w (Loshchilov & Hutter 2019)."""

    _decoupled = True

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        epsilon_hat: bool = False,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay, epsilon_hat=epsilon_hat)


OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def make_optimizer(optimizer: str | Optimizer) -> Optimizer:
    """An optimizer by name with its defaults, or the one given."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    return lookup("optimizer", optimizer, OPTIMIZERS, {})()


# -- learning-rate schedules -----------------------------------------------------------------------


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
        self.power = _at_least_zero("power", power)

    def factors(self, steps: np.ndarray, total_steps: int, steps_per_epoch: int) -> np.ndarray:
        """See ``Schedule.factors``."""
        return 1.0 / (steps + 1.0) ** self.power


class StepDecay(Schedule):
    """Multiply by ``factor`` every ``every`` epochs."""

    def __init__(self, every: int = 10, factor: float = 0.1) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 epoch; got {every}")
        self.every = int(every)
        self.factor = _positive("factor", factor)

    def factors(self, steps: np.ndarray, total_steps: int, steps_per_epoch: int) -> np.ndarray:
        """See ``Schedule.factors``."""
        return self.factor ** (steps // steps_per_epoch // self.every).astype(float)


class CosineWarmup(Schedule):
    """A linear rise over the first ``warmup`` share of the steps, then half a cosine down to ``final``.

    Loshchilov & Hutter 2017 (the cosine), Goyal et al. 2017 (the warm-up).
    """

    def __init__(self, warmup: float = 0.05, final: float = 0.0) -> None:
        self.warmup = _fraction("warmup", warmup)
        self.final = _fraction("final", final)

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
        self.rise = _fraction("rise", rise)
        self.start = _positive("start", start)
        self.end = _positive("end", end)

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
        self.divisor = _positive("divisor", divisor)
        self.minimum = _positive("minimum", minimum)
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


# -- checks ----------------------------------------------------------------------------------------


def _positive(name: str, value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a positive number; got {value!r}")
    return float(value)


def _at_least_zero(name: str, value: float) -> float:
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be zero or a positive number; got {value!r}")
    return float(value)


def _fraction(name: str, value: float, closed: bool = False) -> float:
    if not (0 <= value < 1 or (closed and value == 1)):
        raise ValueError(f"{name} must lie in [0, 1{']' if closed else ')'}; got {value!r}")
    return float(value)
