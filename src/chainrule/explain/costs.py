"""What a network's gradients cost: multiply-adds and bytes, as exact counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.explain.layers import Layer
from chainrule.plan import Plan

__all__ = ["Bytes", "LayerCost", "bytes_of", "layer_costs"]


@dataclass(frozen=True)
class LayerCost:
    """Multiply-adds of the matrix products of one layer, for one example.

    Attributes
    ----------
    layer : Layer
    forward : int
        Of (1): d_in d_out.
    gradient : int
        Of (6): as many.
    delta : int
        Of the product in (5) that the layer hands down: as many, or 0 where there is no parameter below
        it whose gradient would need it, as at the first layer.
    parameters : int
    """

    layer: Layer
    forward: int
    gradient: int
    delta: int
    parameters: int

    @property
    def backward(self) -> int:
        """Of both products of the way back."""
        return self.gradient + self.delta


@dataclass(frozen=True)
class Bytes:
    """Memory of a batch of n rows in one precision.

    Attributes
    ----------
    parameters, gradients : int
        The gradients are as many as the parameters.
    values : int
        What the forward pass keeps for the way back, h and z of every layer and x, for one example.
    """

    parameters: int
    gradients: int
    values: int

    def total(self, n_rows: int) -> int:
        """Of a batch of ``n_rows`` examples."""
        return self.parameters + self.gradients + n_rows * self.values


def layer_costs(plan: Plan, layers: tuple[Layer, ...]) -> tuple[LayerCost, ...]:
    """The cost of each layer.

    Examples
    --------
    >>> from chainrule import nn
    >>> from chainrule.explain.layers import layers_of
    >>> from chainrule.plan import lower
    >>> net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    >>> plan = lower(net, "softmax_cross_entropy")
    >>> [(one.forward, one.gradient, one.delta) for one in layer_costs(plan, layers_of(plan))]
    [(100352, 100352, 0), (1280, 1280, 1280)]
    """
    trainable = {0: False}  # whether anything up to a layer has parameters
    costs = []
    for layer in layers:
        below = any(trainable[number] for number in layer.reads)
        trainable[layer.number] = below or bool(layer.slots)
        product = layer.width_in * layer.width_out if layer.kind == "linear" else 0
        parameters = sum(slot.size for slot in layer.slots.values())
        costs.append(LayerCost(layer, product, product, product if below else 0, parameters))
    return tuple(costs)


def bytes_of(plan: Plan, dtype: Any) -> Bytes:
    """Bytes of parameters, gradients and cached values in float32 or float64."""
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64; got {dtype}")
    size = dtype.itemsize
    return Bytes(size * plan.n_parameters, size * plan.n_parameters, size * sum(plan.widths))
