"""Modules of PyTorch and back: the same layers, the same ``state_dict``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.exports.model import module_of
from chainrule.nn.arguments import ARGUMENTS
from chainrule.nn.module import dotted

__all__ = ["from_torch", "to_torch"]

# PyTorch's Softplus returns z itself from its threshold on, which at 20, the default, is 2e-9 off. From 40
# on e^-z is lost beside z in double precision too.
_EXACT_THRESHOLD = 40.0
# Layers that have the same name, meaning and arguments in both libraries.
_SAME = {
    kind.__name__: names
    for kind, names in ARGUMENTS.items()
    if kind not in (nn.Softplus, nn.Linear, nn.BatchNorm1d, nn.LayerNorm)
}


def to_torch(model: Any) -> Any:
    """Make the PyTorch module that computes the same.

    Parameters
    ----------
    model : Module, MLPClassifier or MLPRegressor
        A module made of the library's layers. Of a fitted estimator it is the network, whose outputs are raw:
        before the softmax, and before ``target_scaling`` is undone.

    Returns
    -------
    torch.nn.Module
        With its own copy of the numbers, the same ``state_dict`` keys, dtype and mode, and the same
        parameters frozen. `Residual`, which PyTorch has not, becomes a small module of that name.

    Raises
    ------
    TypeError
        If a layer has no counterpart; the message names it.
    ImportError
        If PyTorch is not installed.

    Examples
    --------
    >>> network = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Tanh())
    >>> to_torch(network)
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): Tanh()
    )
    """
    torch = _torch()
    module = module_of(model)
    made = _to(module, "", {})
    with torch.no_grad():
        # A copy of each array: PyTorch's module must not share memory that a training here writes to.
        made.load_state_dict(
            {name: torch.from_numpy(np.array(array)) for name, array in module.state_dict().items()}
        )
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return made


def from_torch(module: Any) -> nn.Module:
    """Make the module of this library that computes what a PyTorch module does.

    Parameters
    ----------
    module : torch.nn.Module
        Made of Sequential, Linear, BatchNorm1d, LayerNorm, Dropout and the activations of ``chainrule.nn``;
        or what `to_torch` gave.

    Returns
    -------
    Module
        With its own copy of the numbers, the same ``state_dict`` keys, dtype and mode, and the same
        parameters frozen. A Softplus becomes the exact one: PyTorch's own is 2e-9 off above its threshold.

    Raises
    ------
    TypeError
        If a layer, or its dtype, has no counterpart; the message names it.
    ValueError
        If a layer has a setting that is not supported, or hooks.
    ImportError
        If PyTorch is not installed.

    Examples
    --------
    >>> import torch
    >>> from_torch(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.GELU()).eval())
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): GELU(approximate='none')
    )
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}")
    made = _from(module, "", {})
    made.load_state_dict({name: tensor.cpu().numpy() for name, tensor in module.state_dict().items()})
    parameters = dict(made.named_parameters())
    for name, parameter in module.named_parameters():
        parameters[name].requires_grad = parameter.requires_grad
    return made


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ImportError("PyTorch is not installed: pip install 'chainrule[torch]'") from None
    return torch


@cache
def residual_class() -> Any:
    """The class of h + F(h), made when PyTorch is there."""
    torch = _torch()

    module: Any = torch.nn.Module

    class Residual(module):
        """h + F(h), or P h + F(h) with a projection P."""

        def __init__(self, body: Any, projection: Any = None) -> None:
            super().__init__()
            self.body = body
            self.projection = projection

        def forward(self, x: Any) -> Any:
            shortcut = x if self.projection is None else self.projection(x)
            return shortcut + self.body(x)

    return Residual


def _named(layer: Any, path: str) -> str:
    return f"{type(layer).__name__} ({path})" if path else type(layer).__name__


def _refuse_hooks(layer: Any, path: str) -> None:
    if layer._forward_hooks or layer._forward_pre_hooks:
        raise ValueError(f"{_named(layer, path)} has forward hooks, which cannot be carried over")


# -- out -------------------------------------------------------------------------------------------


def _to(layer: nn.Module, path: str, made: dict[int, Any]) -> Any:
    """The counterpart of one layer, its numbers not filled in; a layer that is used twice stays one layer."""
    if id(layer) in made:
        return made[id(layer)]
    _refuse_hooks(layer, path)
    # By the very class: a subclass may compute anything.
    make = _TO.get(type(layer))
    if make is None:
        raise TypeError(f"{_named(layer, path)} has no counterpart in PyTorch")

    def child(name: str, inner: nn.Module) -> Any:
        return _to(inner, dotted(path, name), made)

    made[id(layer)] = make(layer, child)
    made[id(layer)].training = layer.training
    return made[id(layer)]


def _bare(kind: str, *sizes: Any, **settings: Any) -> Any:
    """A layer of PyTorch without drawing initial weights, so that its generator is left alone."""
    torch = _torch()
    return torch.nn.utils.skip_init(getattr(torch.nn, kind), *sizes, **settings)


def _dtype(array: np.ndarray) -> Any:
    return getattr(_torch(), array.dtype.name)


def _linear_out(layer: nn.Linear, child: Callable) -> Any:
    width_in, width_out = layer.in_features, layer.out_features
    dtype = _dtype(layer.state_dict()["weight"])
    return _bare("Linear", width_in, width_out, bias=layer.bias is not None, dtype=dtype)


def _batch_norm_out(layer: nn.BatchNorm1d, child: Callable) -> Any:
    dtype = _dtype(layer.running_mean)
    return _bare("BatchNorm1d", layer.num_features, layer.eps, layer.momentum, layer.affine, dtype=dtype)


def _layer_norm_out(layer: nn.LayerNorm, child: Callable) -> Any:
    # Without parameters it has no dtype either.
    dtype = _dtype(layer.state_dict()["weight"]) if layer.elementwise_affine else None
    return _torch().nn.LayerNorm(
        layer.normalized_shape, layer.eps, layer.elementwise_affine, layer.bias is not None, dtype=dtype
    )


def _sequential_out(layer: nn.Sequential, child: Callable) -> Any:
    sequence = _torch().nn.Sequential()
    for name, inner in layer._modules.items():
        sequence.add_module(name, child(name, inner))
    return sequence


def _residual_out(layer: nn.Residual, child: Callable) -> Any:
    projection = None if layer.projection is None else child("projection", layer.projection)
    return residual_class()(child("body", layer.body), projection)


def _same_name_out(layer: Any, child: Callable) -> Any:
    name = type(layer).__name__
    return getattr(_torch().nn, name)(**{key: getattr(layer, key) for key in _SAME[name]})


def _softplus_out(layer: nn.Softplus, child: Callable) -> Any:
    return _torch().nn.Softplus(threshold=_EXACT_THRESHOLD)


_TO: dict[type, Callable[[Any, Callable], Any]] = {
    nn.Linear: _linear_out,
    nn.BatchNorm1d: _batch_norm_out,
    nn.LayerNorm: _layer_norm_out,
    nn.Sequential: _sequential_out,
    nn.Residual: _residual_out,
    nn.Softplus: _softplus_out,
    **{getattr(nn, name): _same_name_out for name in _SAME},
}

# -- in --------------------------------------------------------------------------------------------


def _from(layer: Any, path: str, made: dict[int, nn.Module]) -> nn.Module:
    """The counterpart of one of PyTorch's layers; its numbers are filled in later."""
    if id(layer) in made:
        return made[id(layer)]
    _refuse_hooks(layer, path)
    make = _FROM.get(type(layer).__name__)
    known = type(layer) is getattr(_torch().nn, type(layer).__name__, residual_class())
    if make is None or not known:
        raise TypeError(f"{_named(layer, path)} has no counterpart in chainrule.nn")

    def child(name: str, inner: Any) -> nn.Module:
        return _from(inner, dotted(path, name), made)

    arrays = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    for name, tensor in arrays:
        if tensor.is_floating_point() and tensor.dtype not in (_torch().float32, _torch().float64):
            raise TypeError(f"{_named(layer, path)}: {name} must be float32 or float64; got {tensor.dtype}")
    try:
        mine = make(layer, child)
    except ValueError as error:
        raise ValueError(f"{_named(layer, path)}: {error}") from None
    mine.training = layer.training
    made[id(layer)] = mine
    return mine


def _numpy_dtype(tensor: Any) -> np.dtype:
    return np.dtype(str(tensor.dtype).removeprefix("torch."))


def _linear_in(layer: Any, child: Callable) -> nn.Module:
    dtype = _numpy_dtype(layer.weight)
    # A generator of its own: the default one is the user's, and what is drawn is overwritten.
    return nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, dtype=dtype, rng=0)


def _batch_norm_in(layer: Any, child: Callable) -> nn.Module:
    if layer.momentum is None or not layer.track_running_stats:
        raise ValueError("momentum must be a number, and track_running_stats True")
    if layer.affine and layer.bias is None:
        raise ValueError("a scale without a bias is not supported")
    dtype = _numpy_dtype(layer.running_mean)
    return nn.BatchNorm1d(layer.num_features, layer.eps, layer.momentum, layer.affine, dtype=dtype)


def _layer_norm_in(layer: Any, child: Callable) -> nn.Module:
    dtype = np.float32 if layer.weight is None else _numpy_dtype(layer.weight)
    has_bias = layer.bias is not None
    return nn.LayerNorm(
        tuple(layer.normalized_shape), layer.eps, layer.elementwise_affine, has_bias, dtype=dtype
    )


def _sequential_in(layer: Any, child: Callable) -> nn.Module:
    return nn.Sequential({name: child(name, inner) for name, inner in layer._modules.items()})


def _residual_in(layer: Any, child: Callable) -> nn.Module:
    projection = None if layer.projection is None else child("projection", layer.projection)
    return nn.Residual(child("body", layer.body), projection)


def _same_name_in(layer: Any, child: Callable) -> nn.Module:
    name = type(layer).__name__
    mine: nn.Module = getattr(nn, name)(**{key: getattr(layer, key) for key in _SAME[name]})
    return mine


def _softplus_in(layer: Any, child: Callable) -> nn.Module:
    if layer.beta != 1 or layer.threshold < 20:
        raise ValueError(f"beta must be 1 and threshold 20 or more; got {layer.beta}, {layer.threshold}")
    return nn.Softplus()


_FROM: dict[str, Callable[[Any, Callable], nn.Module]] = {
    "Linear": _linear_in,
    "BatchNorm1d": _batch_norm_in,
    "LayerNorm": _layer_norm_in,
    "Sequential": _sequential_in,
    "Residual": _residual_in,
    "Softplus": _softplus_in,
    **dict.fromkeys(_SAME, _same_name_in),
}
