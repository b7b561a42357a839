"""SGD, Adam, AdamW and RMSprop: optimizers that change each parameter by itself.

An optimizer is an update rule (``rules.py``) and the eight numbers that it needs at each step. With
parameters it takes steps (``step``); without, it describes to ``chainrule.fit`` what to do, and keeps no
state, so that one object can serve many trainings.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from chainrule.functions._lookup import lookup
from chainrule.optim._checks import at_least_zero, fraction, read_options
from chainrule.optim.compiled import take_step
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.rules import N_COEFFICIENTS, RULES, RULES_OF_THREE, UpdateRule

__all__ = ["OPTIMIZERS", "SGD", "Adam", "AdamW", "RMSprop", "RuleOptimizer", "make_optimizer"]

# A number, or one for each of several steps.
Numbers = Any


class RuleOptimizer(Optimizer):
    """An optimizer whose step changes each parameter by itself, by an ``UpdateRule``.

    Attributes
    ----------
    decay_all : bool
        Whether ``chainrule.fit`` lets decoupled weight decay act on biases too, as ``step`` does and as
        PyTorch's optimizers do.
    """

    decay_all = True

    @abstractmethod
    def rule_of(self, settings: Mapping[str, Any]) -> UpdateRule:
        """The rule for these settings."""

    @abstractmethod
    def state_names(self, settings: Mapping[str, Any]) -> tuple[str | None, ...]:
        """PyTorch's names of the rule's state arrays, in order; None for one that need not be kept."""

    @abstractmethod
    def columns(self, settings: Mapping[str, Any], rate: Numbers, step: Numbers) -> tuple[Numbers, ...]:
        """The rule's eight coefficients at a learning rate, after so many steps; or at each of several."""

    @property
    def rule(self) -> UpdateRule:
        """The rule."""
        return self.rule_of(self.defaults)

    @property
    def lr(self) -> float:
        """Learning rate before any schedule."""
        rate: float = self.defaults["lr"]
        return rate

    def coefficients(self, rates: np.ndarray, first_step: int) -> np.ndarray:
        """The eight numbers of each step, (n_steps, 8), for learning rates ``rates``.

        ``first_step`` counts from 0: the number of steps already taken.
        """
        steps = np.arange(first_step, first_step + len(rates))
        table = np.empty((len(rates), N_COEFFICIENTS))
        for k, column in enumerate(self.columns(self.defaults, rates, steps)):
            table[:, k] = column
        return table

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change each tensor that has a gradient, in place. See ``Optimizer.step``."""
        groups = self._bound_groups()
        loss = None if closure is None else self._evaluated(closure)
        for group in groups:
            rule, names = self.rule_of(group), self.state_names(group)
            for tensor in group["params"]:
                if tensor.grad is not None:
                    self._change(tensor, group, rule, names)
        return loss

    def _change(
        self, tensor: Any, group: dict[str, Any], rule: UpdateRule, names: tuple[str | None, ...]
    ) -> None:
        w, g, kept = tensor.data, tensor.grad.data, self.state[tensor]
        if g.shape != w.shape:
            raise ValueError(f"a gradient must have its parameter's shape, {w.shape}; got {g.shape}")
        row = np.array(self.columns(group, group["lr"], self._steps_taken(kept)), w.dtype)
        state = [_state_array(kept, name, w) for name in names]
        take_step(rule, w, state, g, row)
        kept["step"] = kept.get("step", 0) + 1
        tensor.bump_version()

    def _steps_taken(self, kept: Mapping[str, Any]) -> int:
        """How many steps a parameter has taken, as far as the rule is concerned."""
        taken: int = kept.get("step", 0)
        return taken


def _state_array(kept: dict[str, Any], name: str | None, w: np.ndarray) -> np.ndarray:
    """An array of a parameter's state; zeros at first."""
    if name is None:
        return np.zeros_like(w)
    if name not in kept:
        kept[name] = np.zeros_like(w)
    array: np.ndarray = kept[name]
    return array


class SGD(RuleOptimizer):
    """Stochastic gradient descent, with momentum and Nesterov's variant; PyTorch's arguments.

    Parameters
    ----------
    params : iterable, optional
        Tensors, (name, Tensor) pairs or parameter groups; None for a description for ``chainrule.fit``.
    lr : float
    momentum : float
        μ of v ← μ v + (1 − dampening) g, in [0, 1].
    dampening : float
        Acts from the second step on.
    weight_decay : float
        λ of g ← g + λ w.
    nesterov : bool
        Step by μ v + g; needs momentum and no dampening.
    maximize : bool
        Climb instead of descending.
    decoupled_weight_decay : float, optional
        λ of w ← w − lr λ w, apart from the gradient.
    rate_in_velocity : bool, optional
        Put the learning rate into the velocity (v = μ v − lr g, scikit-learn's and the original form)
        instead of outside (PyTorch's). The two differ only while the rate changes.
    **options
        The last two, and PyTorch's ``foreach``, ``fused`` and ``differentiable``, None or False.

    Examples
    --------
    >>> import numpy as np
    >>> SGD(lr=0.1, momentum=0.9).coefficients(np.array([0.1]), 0)
    array([[ 0. ,  0. ,  0.9,  1. , -0.1,  0. ,  0. ,  0. ]])

    >>> from chainrule.tape import tensor
    >>> w = tensor([1.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.5)
    >>> (w * w).sum().backward()  # dw²/dw = 2w
    >>> optimizer.step()
    >>> w
    tensor([0.], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any] | None = None,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **options: Any,
    ) -> None:
        own = read_options(options, {"decoupled_weight_decay": 0.0, "rate_in_velocity": False})
        settings = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, settings | own)

    def _checked(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        checked = {
            **settings,
            "lr": at_least_zero("lr", settings["lr"]),
            "momentum": fraction("momentum", settings["momentum"], closed=True),
            "dampening": fraction("dampening", settings["dampening"], closed=True),
            "weight_decay": at_least_zero("weight_decay", settings["weight_decay"]),
            "decoupled_weight_decay": at_least_zero(
                "decoupled_weight_decay", settings["decoupled_weight_decay"]
            ),
        }
        if checked["nesterov"] and (checked["momentum"] == 0 or checked["dampening"] > 0):
            raise ValueError(
                "nesterov=True needs momentum above 0 and dampening=0; "
                f"got momentum={checked['momentum']}, dampening={checked['dampening']}"
            )
        return checked

    def rule_of(self, settings: Mapping[str, Any]) -> UpdateRule:
        """See ``RuleOptimizer.rule_of``."""
        return RULES["sgd"]

    def state_names(self, settings: Mapping[str, Any]) -> tuple[str | None, ...]:
        """See ``RuleOptimizer.state_names``."""
        return ("momentum_buffer" if settings["momentum"] else None,)

    def _steps_taken(self, kept: Mapping[str, Any]) -> int:
        # PyTorch counts no steps here: the first one is that which makes the velocity.
        return int("momentum_buffer" in kept)

    def columns(self, settings: Mapping[str, Any], rate: Numbers, step: Numbers) -> tuple[Numbers, ...]:
        """See ``RuleOptimizer.columns``."""
        sign, momentum = _sign(settings), settings["momentum"]
        undamped = 1 - settings["dampening"] * (momentum > 0) * (step > 0)
        inside, outside = (-rate, 1.0) if settings["rate_in_velocity"] else (1.0, -rate)
        return (
            rate * settings["decoupled_weight_decay"], sign * settings["weight_decay"], momentum,
            sign * undamped * inside, outside, settings["nesterov"], 0.0, 0.0,
        )  # fmt: skip


class Adam(RuleOptimizer):
    """Adam (Kingma & Ba 2015), with PyTorch's arguments.

    Parameters
    ----------
    params : iterable, optional
        Tensors, (name, Tensor) pairs or parameter groups; None for a description for ``chainrule.fit``.
    lr : float
    betas : tuple of float
        Decay rates β₁, β₂ of the two moments, in [0, 1).
    eps : float
    weight_decay : float
        λ of g ← g + λ w.
    amsgrad : bool
        Divide by the root of the largest second moment so far (Reddi, Kale & Kumar 2018). The engine has
        no kernel for that: ``fit`` needs ``executor="reference"``.
    maximize : bool
        Climb instead of descending.
    decoupled_weight_decay : bool, optional
        Let ``weight_decay`` be λ of w ← w − lr λ w, as ``AdamW`` does.
    epsilon_hat : bool, optional
        Add ε to √v before the bias correction instead of after it: the paper's second form, which
        scikit-learn uses.
    **options
        The last two, and PyTorch's ``foreach``, ``fused``, ``capturable`` and ``differentiable``, None or
        False.

    Examples
    --------
    >>> from chainrule.tape import tensor
    >>> w = tensor([1.0, -1.0], requires_grad=True)
    >>> optimizer = Adam([w], lr=0.25)
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # the first step has the length lr, whatever the gradient
    >>> w
    tensor([ 0.75, -0.75], requires_grad=True)
    """

    _further_options: ClassVar = {"decoupled_weight_decay": False, "epsilon_hat": False}

    def __init__(
        self,
        params: Iterable[Any] | None = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **options: Any,
    ) -> None:
        settings = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, settings | read_options(options, self._further_options))

    def _checked(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        beta_1, beta_2 = settings["betas"]
        return {
            **settings,
            "lr": at_least_zero("lr", settings["lr"]),
            "betas": (fraction("betas[0]", beta_1), fraction("betas[1]", beta_2)),
            "eps": at_least_zero("eps", settings["eps"]),
            "weight_decay": at_least_zero("weight_decay", settings["weight_decay"]),
        }

    def rule_of(self, settings: Mapping[str, Any]) -> UpdateRule:
        """See ``RuleOptimizer.rule_of``."""
        return RULES_OF_THREE["amsgrad"] if settings["amsgrad"] else RULES["adam"]

    def state_names(self, settings: Mapping[str, Any]) -> tuple[str | None, ...]:
        """See ``RuleOptimizer.state_names``."""
        moments = ("exp_avg", "exp_avg_sq")
        return (*moments, "max_exp_avg_sq") if settings["amsgrad"] else moments

    def columns(self, settings: Mapping[str, Any], rate: Numbers, step: Numbers) -> tuple[Numbers, ...]:
        """See ``RuleOptimizer.columns``."""
        beta_1, beta_2 = settings["betas"]
        sign, decay = _sign(settings), settings["weight_decay"]
        decoupled = settings["decoupled_weight_decay"]
        # The moments are averages over t steps that began at zero: too small by 1 − β^t.
        correction = (1 - beta_2 ** (step + 1)) ** 0.5
        return (
            rate * decay if decoupled else 0.0, 0.0 if decoupled else sign * decay,
            beta_1, sign * (1 - beta_1), beta_2, 1 - beta_2,
            rate * correction / (1 - beta_1 ** (step + 1)),
            settings["eps"] if settings["epsilon_hat"] else settings["eps"] * correction,
        )  # fmt: skip


class AdamW(Adam):
    """Adam with decoupled weight decay, w ← w − lr λ w (Loshchilov & Hutter 2019); otherwise as ``Adam``.

    Examples
    --------
    >>> AdamW(lr=0.25).defaults["weight_decay"]
    0.01
    """

    _further_options: ClassVar = {"epsilon_hat": False}

    def __init__(
        self,
        params: Iterable[Any] | None = None,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, **options)

    def _checked(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return super()._checked(settings) | {"decoupled_weight_decay": True}


class RMSprop(RuleOptimizer):
    """RMSprop (Tieleman & Hinton 2012): a step over the root of the mean of squares; PyTorch's arguments.

    Parameters
    ----------
    params : iterable, optional
        Tensors, (name, Tensor) pairs or parameter groups; None for a description for ``chainrule.fit``.
    lr : float
    alpha : float
        Decay rate α of the mean of squares, in [0, 1).
    eps : float
    weight_decay : float
        λ of g ← g + λ w.
    momentum : float
        μ of v ← μ v + g / (√s + ε), in [0, 1].
    centered : bool
        Divide by the root of the variance instead (Graves 2013). The engine has no kernel for that with
        momentum: ``fit`` then needs ``executor="reference"``.
    maximize : bool
        Climb instead of descending.
    **options
        PyTorch's ``foreach``, ``capturable`` and ``differentiable``, None or False.

    Examples
    --------
    >>> from chainrule.tape import tensor
    >>> w = tensor([1.0, -1.0], requires_grad=True)
    >>> optimizer = RMSprop([w], lr=0.25, alpha=0.75)
    >>> (w * w).sum().backward()
    >>> optimizer.step()  # the mean of squares is g²/4, so that w changes by lr · 2
    >>> w
    tensor([ 0.5, -0.5], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any] | None = None,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        **options: Any,
    ) -> None:
        settings = {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
            "centered": centered, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, settings | read_options(options, {}))

    def _checked(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **settings,
            "lr": at_least_zero("lr", settings["lr"]),
            "alpha": fraction("alpha", settings["alpha"]),
            "eps": at_least_zero("eps", settings["eps"]),
            "weight_decay": at_least_zero("weight_decay", settings["weight_decay"]),
            "momentum": fraction("momentum", settings["momentum"], closed=True),
        }

    def rule_of(self, settings: Mapping[str, Any]) -> UpdateRule:
        """See ``RuleOptimizer.rule_of``."""
        if not settings["centered"]:
            return RULES["rmsprop"]
        if not settings["momentum"]:
            return RULES["rmsprop_centered"]
        return RULES_OF_THREE["rmsprop_centered_momentum"]

    def state_names(self, settings: Mapping[str, Any]) -> tuple[str | None, ...]:
        """See ``RuleOptimizer.state_names``."""
        velocity = "momentum_buffer" if settings["momentum"] else None
        if not settings["centered"]:
            return velocity, "square_avg"
        return ("grad_avg", "square_avg") if velocity is None else (velocity, "grad_avg", "square_avg")

    def columns(self, settings: Mapping[str, Any], rate: Numbers, step: Numbers) -> tuple[Numbers, ...]:
        """See ``RuleOptimizer.columns``."""
        sign, alpha = _sign(settings), settings["alpha"]
        return (
            0.0, sign * settings["weight_decay"], settings["momentum"], sign, alpha, 1 - alpha, rate,
            settings["eps"],
        )  # fmt: skip


def _sign(settings: Mapping[str, Any]) -> float:
    """What a gradient is multiplied by, −1 to climb; so −(g − λ w) = −g + λ w, and λ changes its sign too."""
    return -1.0 if settings["maximize"] else 1.0


OPTIMIZERS: dict[str, Callable[[], RuleOptimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
}


def make_optimizer(optimizer: str | Optimizer) -> RuleOptimizer:
    """A description of an optimizer: by name with its defaults, or the one given.

    Raises
    ------
    ValueError
        If there is none of this name, or the one given has parameters of its own.
    """
    if isinstance(optimizer, Optimizer) and optimizer.is_bound:
        name = type(optimizer).__name__
        raise ValueError(
            f"optimizer has parameters of its own, which it changes by step(); got {name}(params, ...), "
            f"expected a description without them, such as {name}(lr=...)"
        )
    if isinstance(optimizer, RuleOptimizer):
        return optimizer
    return lookup("optimizer", optimizer, OPTIMIZERS, {})()
