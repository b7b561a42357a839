"""The gradients of a network derived layer by layer, in symbols, with their shapes and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chainrule.explain.costs import Bytes, LayerCost, bytes_of, layer_costs
from chainrule.explain.derivation_page import derivation_page, shapes_of
from chainrule.explain.layers import Layer, layers_of
from chainrule.explain.show import Shown
from chainrule.explain.writing import Page
from chainrule.nn import Module
from chainrule.plan import Plan, lower

__all__ = ["Derivation", "derive"]


@dataclass(frozen=True, eq=False, repr=False)
class Derivation(Shown):
    """The derivation of a network's gradients; ``str`` is the text, a notebook shows it typeset.

    Attributes
    ----------
    plan : Plan
    layers : tuple of Layer
    costs : tuple of LayerCost
        Multiply-adds of each layer, for one example.
    """

    plan: Plan
    layers: tuple[Layer, ...]
    costs: tuple[LayerCost, ...]

    def __repr__(self) -> str:
        return f"Derivation(layers={len(self.layers)}, parameters={self.plan.n_parameters:,})"

    @property
    def forward_multiply_adds(self) -> int:
        """Of the forward pass, for one example."""
        return sum(one.forward for one in self.costs)

    @property
    def backward_multiply_adds(self) -> int:
        """Of the way back: two products a layer, one less where nothing below is trained."""
        return sum(one.backward for one in self.costs)

    @property
    def shapes(self) -> dict[str, tuple[int | str, ...]]:
        """The shape of everything by the name that it has in the text; ``"n"`` stands for the rows."""
        return shapes_of(self)

    def bytes(self, dtype: Any = "float32") -> Bytes:
        """Memory of parameters, gradients, and values for each example."""
        return bytes_of(self.plan, dtype)

    def page(self) -> Page:
        """What is shown."""
        return derivation_page(self)


def derive(module: Module, loss: Any, n_inputs: int | None = None) -> Derivation:
    """Derive the gradients of a network under a loss: equations (1)-(7) for its own layers.

    Forward equations, the loss, δ^(L) by (4) where the pair of loss and link is canonical and by (3) else,
    every δ^(l) by (5) with σ' written out, every gradient by (6) and (7), the rules of normalisations,
    dropout and residual connections; shapes for a batch of n rows, multiply-adds and bytes.

    Parameters
    ----------
    module : Module
    loss : str or loss module
        ``"softmax_cross_entropy"``, ``nn.MSELoss()``, ...
    n_inputs : int, optional
        Number of features; needed only where no layer states it.

    Returns
    -------
    Derivation

    Raises
    ------
    ValueError
        If the number of inputs is unknown or contradicts the module, or widths do not fit.
    NotImplementedError
        If a layer cannot be lowered to a plan.

    Examples
    --------
    >>> from chainrule import nn
    >>> net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    >>> derivation = derive(net, nn.CrossEntropyLoss())
    >>> derivation.shapes["Δ1"], derivation.shapes["∂ℒ/∂W1"]
    (('n', 128), (128, 784))
    >>> derivation.forward_multiply_adds, derivation.backward_multiply_adds
    (101632, 102912)
    """
    if not isinstance(module, Module):
        raise TypeError(f"module must be a Module of chainrule.nn; got {type(module).__name__}")
    plan = lower(module, loss, n_inputs)
    layers = layers_of(plan)
    return Derivation(plan, layers, layer_costs(plan, layers))
