"""PyTorch's optimizers as descriptions: a class and groups of settings, by the parameters' names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from chainrule import optim
from chainrule.health.libraries import pytorch
from chainrule.optim import Adam, Optimizer

__all__ = ["TorchOptimizer", "torch_optimizer"]


@dataclass(frozen=True)
class TorchOptimizer:
    """An optimizer without parameters.

    Attributes
    ----------
    kind : type
        Its class.
    groups : tuple of (names, settings)
        The parameters of each group, and all its settings. Parameters that are in no group and are not left
        out, such as those of a layer that a remedy puts in, belong to the first.
    left_out : tuple of str
        Parameters of the module that it was not given.
    """

    kind: type
    groups: tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...]
    left_out: tuple[str, ...] = ()

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings of the first group; of numbers and switches the largest of any group."""
        first = self.groups[0][1]
        return {name: self._largest(name) if _is_number(value) else value for name, value in first.items()}

    def _largest(self, name: str) -> Any:
        return max(settings[name] for _, settings in self.groups)

    def with_settings(self, **settings: Any) -> TorchOptimizer:
        """Other settings, for all groups; rates keep their proportions, and ``lr`` is the largest."""
        rate = settings.get("lr")
        scale = None if rate is None or not self.defaults["lr"] > 0 else rate / self.defaults["lr"]
        groups = []
        for names, given in self.groups:
            changed = {**given, **settings}
            if scale is not None:
                changed["lr"] = given["lr"] * scale
            groups.append((names, changed))
        return replace(self, groups=tuple(groups))

    def over_all(self) -> TorchOptimizer:
        """The same for all parameters of a module."""
        return replace(self, left_out=())

    def bound(self, module: Any) -> Any:
        """An optimizer over the parameters of a module."""
        named = dict(module.named_parameters())
        known = {name for names, _ in self.groups for name in names} | set(self.left_out)
        groups = [
            {**settings, "params": [named[name] for name in names if name in named]}
            for names, settings in self.groups
        ]
        groups[0]["params"] += [one for name, one in named.items() if name not in known]
        accepted = inspect.signature(self.kind).parameters
        return self.kind(
            groups, **{name: value for name, value in self.groups[0][1].items() if name in accepted}
        )


def torch_optimizer(given: Any, module: Any) -> TorchOptimizer:
    """The description of what a user gave for a module of PyTorch.

    Parameters
    ----------
    given : torch.optim.Optimizer, chainrule Optimizer, str, float or None
        A name, a number (Adam's learning rate) and None are those of `checkup`.
    module : torch.nn.Module
        The user's own, whose parameters a PyTorch optimizer holds.
    """
    torch = pytorch()
    if isinstance(given, torch.optim.Optimizer):
        return _described(given, module)
    if given is None or (isinstance(given, int | float) and not isinstance(given, bool)):
        given = Adam() if given is None else Adam(lr=float(given))
    elif isinstance(given, str):
        given = optim.make_optimizer(given)
    kind = getattr(torch.optim, type(given).__name__, None)
    if not isinstance(given, Optimizer) or kind is None:
        raise TypeError(
            f"optimizer must be one of chainrule.optim or torch.optim; got {type(given).__name__}"
        )
    accepted = inspect.signature(kind).parameters
    parameter = [torch.nn.Parameter(torch.zeros(1))]
    settings = {name: value for name, value in given.defaults.items() if name in accepted}
    made = kind(parameter, **settings)
    return TorchOptimizer(kind, (((), _settings(made.param_groups[0])),))


def _described(optimizer: Any, module: Any) -> TorchOptimizer:
    if "lr" not in optimizer.defaults:
        raise TypeError(f"optimizer must have a learning rate, lr; got {type(optimizer).__name__}")
    names = {id(one): name for name, one in module.named_parameters()}
    groups = tuple(
        (tuple(names[id(one)] for one in group["params"] if id(one) in names), _settings(group))
        for group in optimizer.param_groups
    )
    held = {name for group, _ in groups for name in group}
    left_out = tuple(name for name in names.values() if name not in held)
    return TorchOptimizer(type(optimizer), groups, left_out)


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in group.items() if name not in ("params", "param_names")}
    # A rate may be a tensor; and what is captured or fused for a device runs on the CPU here.
    settings["lr"] = float(settings["lr"])
    for name in ("capturable", "fused"):
        if settings.get(name):
            settings[name] = False
    return settings


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
