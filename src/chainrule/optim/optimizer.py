"""What optimizers share: the parameters that they change, in groups, and what they remember of each.

Names and structure are PyTorch's, ``state_dict`` included, so that a training loop, or a checkpoint, written
for the one serves the other.
"""

import copy
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from chainrule.optim._checks import EXECUTION_OPTIONS
from chainrule.tape import Tensor, enable_grad

__all__ = ["Optimizer"]

# What a group of PyTorch's says of how its step is run is of no use here.
_NOT_LOADED = {"params", *EXECUTION_OPTIONS}


class Optimizer(ABC):
    """Changes tensors in the direction that their gradients point to.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor), or of dict; or None
        Dicts are parameter groups: ``{"params": tensors, **settings of their own}``. None makes a
        description.
    defaults : dict
        Settings of groups that have none of their own.

    Attributes
    ----------
    param_groups : list of dict
        Settings with the tensors that they apply to, under ``"params"``. They may be changed at any time.
    state : dict of Tensor to dict
        What is remembered of each tensor.
    defaults : dict

    Raises
    ------
    TypeError
        If ``params`` is something else.
    ValueError
        If there are no parameters, one of them comes twice or is no leaf, or a setting is out of range.
    """

    def __init__(self, params: Iterable[Any] | None, defaults: Mapping[str, Any]) -> None:
        self.defaults = self._checked(defaults)
        self.param_groups: list[dict[str, Any]] = []
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        if params is None:
            return
        groups = list(_iterable(params, type(self).__name__))
        if not groups:
            raise ValueError("params is empty: an optimizer needs at least one parameter")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self._add(group)

    def _checked(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings as numbers of the right type; ValueError where one is out of range."""
        return dict(settings)

    @property
    def is_bound(self) -> bool:
        """Whether there are tensors to change; otherwise this is a description, for ``chainrule.fit``."""
        return bool(self.param_groups)

    def _bound_groups(self) -> list[dict[str, Any]]:
        if not self.is_bound:
            name = type(self).__name__
            raise RuntimeError(
                f"this {name} has no parameters: it describes an optimizer to chainrule.fit. To take steps, "
                f"make it with {name}(module.parameters(), ...)"
            )
        return self.param_groups

    # -- parameter groups --------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add tensors with settings of their own.

        Parameters
        ----------
        param_group : dict
            ``"params"``: a Tensor or an iterable as the constructor's, and settings.
        """
        self._bound_groups()
        self._add(param_group)

    def _add(self, group: dict[str, Any]) -> None:
        if not isinstance(group, dict):
            raise TypeError(f"a parameter group must be a dict; got {type(group).__name__}")
        if "params" not in group:
            raise ValueError(f"a parameter group must have 'params'; got {', '.join(map(repr, group))}")
        names, tensors = _names_and_tensors(group["params"], type(self).__name__)
        self._check_new(tensors, named=names is not None)
        added = {"params": tensors}
        if names is not None:
            added["param_names"] = names
        self.param_groups.append(added | self._checked(self.defaults | _settings(group)))

    def _check_new(self, tensors: list[Any], named: bool) -> None:
        for tensor in tensors:
            if not tensor.is_leaf:
                raise ValueError(
                    "can't optimize a non-leaf Tensor: it is the result of an operation, and no gradient is "
                    "kept for it"
                )
        known = [id(tensor) for group in self.param_groups for tensor in group["params"]]
        known += [id(tensor) for tensor in tensors]
        if len(known) != len(set(known)):
            raise ValueError("a parameter appears more than once in the parameter groups")
        if any(("param_names" in group) != named for group in self.param_groups):
            raise ValueError("params must have names in all parameter groups, or in none")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, which would otherwise be added to by the next ``backward()``.

        Parameters
        ----------
        set_to_none : bool
            Set them to None; otherwise to zero, in place.
        """
        for group in self._bound_groups():
            for tensor in group["params"]:
                tensor.zero_grad(set_to_none)

    # -- steps -------------------------------------------------------------------------------------

    @abstractmethod
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the tensors.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and its gradients, and returns the loss.

        Returns
        -------
        Tensor or None
            What the closure returned.
        """

    def _evaluated(self, closure: Callable[[], Any]) -> Any:
        """The closure's loss, with its gradients computed whatever mode the caller is in."""
        with enable_grad():
            return closure()

    # -- state -------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """The state, by the number of the parameter, and the groups, with numbers in place of parameters.

        Arrays are copies.
        """
        numbers: dict[int, int] = {}
        for group in self.param_groups:
            for tensor in group["params"]:
                numbers[id(tensor)] = len(numbers)
        return {
            "state": {
                numbers[id(tensor)]: copy.deepcopy(kept)
                for tensor, kept in self.state.items()
                if id(tensor) in numbers  # not taken out of its group since
            },
            "param_groups": [
                {
                    **copy.deepcopy(_settings(group)),
                    "params": [numbers[id(tensor)] for tensor in group["params"]],
                }
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a state that ``state_dict`` gave, here or in PyTorch.

        Parameters are matched by their order. Arrays are copied and take the dtype of their parameter.

        Raises
        ------
        ValueError
            If there are other groups, other numbers of parameters in them, or arrays of another shape.
        """
        saved = state_dict["param_groups"]
        sizes, theirs = ([len(group["params"]) for group in groups] for groups in (self.param_groups, saved))
        if sizes != theirs:
            raise ValueError(f"state_dict must have parameter groups of {sizes} parameters; got {theirs}")
        tensors = {
            number: tensor
            for group, old in zip(self.param_groups, saved, strict=True)
            for number, tensor in zip(old["params"], group["params"], strict=True)
        }
        if unknown := set(state_dict["state"]) - set(tensors):
            raise ValueError(f"state_dict has state of parameters that are in no group: {sorted(unknown)}")
        groups = [self._loaded_group(*pair) for pair in zip(self.param_groups, saved, strict=True)]
        state = {
            tensors[number]: self._loaded_state(kept, tensors[number])
            for number, kept in state_dict["state"].items()
        }
        self.param_groups, self.state = groups, defaultdict(dict, state)

    def _loaded_group(self, group: dict[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a group with the settings of another; what that does not have stays."""
        settings = {name: copy.deepcopy(value) for name, value in saved.items() if name not in _NOT_LOADED}
        return group | self._checked(_settings(group) | settings)

    def _loaded_state(self, kept: Mapping[str, Any], tensor: Any) -> dict[str, Any]:
        """What was remembered of a parameter: arrays laid out as it is, and the count of steps."""
        state: dict[str, Any] = {}
        for name, value in kept.items():
            if name == "step":
                state[name] = int(value)
            elif value is not None:
                state[name] = _like(tensor.data, value, name)
        return state

    def __repr__(self) -> str:
        """A call that makes it; of one with parameters, the settings of each group, as PyTorch shows them."""
        if not self.is_bound:
            settings = ", ".join(f"{name}={value!r}" for name, value in self.defaults.items())
            return f"{type(self).__name__}({settings})"
        lines = []
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([f"{type(self).__name__} (", *lines, ")"])


def _iterable(params: Any, name: str) -> Iterable[Any]:
    """What can be gone through in an order."""
    if isinstance(params, int | float | np.number):
        raise TypeError(
            f"params must be an iterable of Tensors, or None; got {params!r}: write {name}(lr={params!r})"
        )
    if isinstance(params, Tensor | str | set | frozenset) or not isinstance(params, Iterable):
        raise TypeError(
            "params must be an iterable of Tensors in an order, of (name, Tensor) pairs or of dicts; "
            f"got {type(params).__name__}"
        )
    return params


def _names_and_tensors(params: Any, optimizer: str) -> tuple[list[str] | None, list[Any]]:
    """The tensors of a group, and their names where they have any."""
    members = [params] if isinstance(params, Tensor) else list(_iterable(params, optimizer))
    named = [isinstance(member, tuple) for member in members]
    tensors = [member[1] if isinstance(member, tuple) else member for member in members]
    if any(named) and not all(named):
        raise ValueError("params must have names for all of its parameters, or for none")
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"an optimizer changes Tensors; one of params is of type {type(tensor).__name__}")
    return ([member[0] for member in members] if named and all(named) else None), tensors


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name != "params"}


def _like(array: np.ndarray, value: Any, name: str) -> np.ndarray:
    """A copy of ``value`` with another array's dtype and layout in memory."""
    value = np.asarray(value)
    if value.shape != array.shape:
        raise ValueError(
            f"{name} in state_dict must have its parameter's shape, {array.shape}; got {value.shape}"
        )
    copied: np.ndarray = np.empty_like(array)
    copied[...] = value
    return copied
