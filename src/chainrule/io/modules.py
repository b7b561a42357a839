"""Modules as JSON and arrays: which layers, with which arguments, in which order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.nn.arguments import ARGUMENTS

__all__ = ["from_module_state", "to_module_state"]

# Every class that a file may name, beside those that hold others.
LAYERS = {kind.__name__: (kind, names) for kind, names in ARGUMENTS.items()}
# How deep modules may lie in each other.
_DEEPEST = 50
# Those with numbers of their own: a bias or none, and a precision.
_WITH_BIAS = (nn.Linear, nn.LayerNorm)
_WITH_DTYPE = (nn.Linear, nn.BatchNorm1d, nn.LayerNorm)


def to_module_state(module: nn.Module) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Take a module apart.

    Returns
    -------
    state : dict
        ``layers``, the description, and whether it is in training mode.
    arrays : dict of str to numpy.ndarray
        Its ``state_dict``.

    Raises
    ------
    TypeError
        If a module in it is of a class that a file cannot describe.

    Examples
    --------
    >>> state, arrays = to_module_state(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    >>> state["layers"]["children"][1]
    ['1', {'kind': 'ReLU', 'arguments': {}}]
    >>> sorted(arrays)
    ['0.bias', '0.weight']
    >>> again = from_module_state(nn.Module, state, arrays)
    >>> bool((again[0].weight.data == arrays["0.weight"]).all())
    True
    """
    arrays = {name: np.array(array) for name, array in module.state_dict().items()}
    return {"layers": _described(module), "training": module.training}, arrays


def _described(module: nn.Module) -> dict[str, Any]:
    kind = type(module)
    if kind is nn.Sequential:
        children = [[name, _described(child)] for name, child in module._modules.items()]
        return {"kind": "Sequential", "children": children}
    if kind is nn.Residual:
        projection = None if module.projection is None else _described(module.projection)
        return {"kind": "Residual", "body": _described(module.body), "projection": projection}
    known, names = LAYERS.get(kind.__name__, (None, ()))
    if known is not kind:
        raise TypeError(
            f"a file can describe the layers of chainrule.nn, and {kind.__name__} is none of them: save "
            "module.state_dict() and make the module yourself before load_state_dict"
        )
    arguments = {name: getattr(module, name) for name in names}
    if isinstance(module, _WITH_BIAS):
        arguments["bias"] = module.bias is not None
    if isinstance(module, _WITH_DTYPE):
        dtype = next((parameter.dtype for parameter in module.parameters()), np.dtype(np.float32))
        arguments["dtype"] = dtype.name
    return {"kind": kind.__name__, "arguments": arguments}


def from_module_state(_: type, state: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> nn.Module:
    """Put together again what ``to_module_state`` took apart.

    Raises
    ------
    ValueError
        If the description does not fit the arrays.
    KeyError, TypeError
        If it is no description.
    """
    _check_size(state["layers"], arrays)
    module = _made(state["layers"], 0)
    own = module.state_dict()
    if set(own) != set(arrays):
        raise ValueError(f"the module's arrays must be {sorted(own)}, got {sorted(arrays)}")
    for name, array in arrays.items():
        if array.dtype != own[name].dtype:
            raise ValueError(f"array {name} must be {own[name].dtype}, got {array.dtype}")
    module.load_state_dict(arrays)
    return module.train(state["training"])


def _check_size(layers: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Before a module of the described size is made: that there are as many numbers."""
    described, widest, stack = 0, 0, [(layers, 0)]
    while stack:
        one, depth = stack.pop()
        if depth > _DEEPEST:
            raise ValueError(f"modules lie more than {_DEEPEST} deep in each other")
        if one is None:
            continue
        stack += [(child, depth + 1) for _, child in one.get("children", ())]
        stack += [(one[part], depth + 1) for part in ("body", "projection") if part in one]
        arguments = one.get("arguments", {})
        if one["kind"] == "Linear":
            described += arguments["in_features"] * arguments["out_features"]
        elif one["kind"] == "BatchNorm1d":
            described += 2 * arguments["num_features"]
        elif one["kind"] == "LayerNorm":
            width = math.prod(arguments["normalized_shape"])
            described += width if arguments["elementwise_affine"] else 0
            widest = max(widest, width)
    there = sum(array.size for array in arrays.values())
    if widest > max(there, 1_000_000):
        raise ValueError(f"a LayerNorm of {widest} columns has no place in a network of {there} numbers")
    if not 0 <= described <= there:
        raise ValueError(f"the layers have {described} numbers or more; there are {there}")


def _made(layers: Any, depth: int) -> nn.Module:
    kind = layers["kind"]
    if kind == "Sequential":
        children = {str(name): _made(child, depth + 1) for name, child in layers["children"]}
        if len(children) < len(layers["children"]):
            raise ValueError("two modules have one name")
        return nn.Sequential(children)
    if kind == "Residual":
        projection = layers["projection"]
        made = None if projection is None else _made(projection, depth + 1)
        body = _made(layers["body"], depth + 1)
        width = body.input_width()
        if made is None and width is not None and body.output_width(width) != width:
            raise ValueError("a Residual whose body changes the width needs its projection")
        return nn.Residual(body, made)
    known, names = LAYERS[kind]
    arguments = dict(layers["arguments"])
    expected = {*names, *(["bias"] if issubclass(known, _WITH_BIAS) else [])}
    expected |= {"dtype"} if issubclass(known, _WITH_DTYPE) else set()
    if set(arguments) != expected:
        raise ValueError(f"{kind} has the arguments {sorted(expected)}, got {sorted(map(str, arguments))}")
    return known(**arguments)
