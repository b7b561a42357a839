"""A plan read as the chapter's layers: z^(l) made from h of earlier layers, then h^(l) = σ(z^(l)).

An activation belongs to the layer whose z it alone reads. One that has no such z, since it comes first, or
since a residual connection reads the same value, is a layer by itself with z^(l) = h of the one before.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from chainrule.plan import Operation, Plan, Slot

__all__ = ["Layer", "consumers", "layers_of"]

_TITLES = {
    "linear": "linear",
    "activation": "activation",
    "batch_norm": "batch normalisation",
    "layer_norm": "layer normalisation",
    "dropout": "dropout",
    "add": "sum of a residual connection",
}


@dataclass(frozen=True)
class Layer:
    """One layer l of a plan.

    Attributes
    ----------
    number : int
        l = 1 ... L.
    name : str
        Dotted name of the module that makes z, such as ``"2"`` or ``"1.body.0"``.
    kind : str
        Of the plan's operation that makes z; ``"activation"`` for an activation by itself.
    reads : tuple of int
        Numbers of the layers whose h it reads, 0 for the input x.
    width_in, width_out : int
    operation : Operation
        What makes z; for an activation by itself, the activation.
    activation : Operation or None
        What makes h of z; None where h = z.
    z_index, h_index : int
        Which of the plan's values they are.
    slots : dict of str to Slot
        ``"weight"`` and ``"bias"``, as far as the layer has them: W and b, or γ and β.
    """

    number: int
    name: str
    kind: str
    reads: tuple[int, ...]
    width_in: int
    width_out: int
    operation: Operation
    activation: Operation | None
    z_index: int
    h_index: int
    slots: dict[str, Slot]

    @property
    def is_normalisation(self) -> bool:
        """Whether it re-centres and re-scales."""
        return self.kind in ("batch_norm", "layer_norm")

    @property
    def title(self) -> str:
        """What it is, in words: ``linear 2 -> 3, sigmoid``."""
        title = _TITLES[self.kind]
        if self.kind == "linear":
            title += f" {self.width_in} -> {self.width_out}"
        if self.activation is not None:
            title = self.activation.activation if self.kind == "activation" else title
            title += "" if self.kind == "activation" else f", {self.activation.activation}"
        return title


def layers_of(plan: Plan) -> tuple[Layer, ...]:
    """The layers of a plan, in the order of the forward pass.

    Examples
    --------
    >>> from chainrule import nn
    >>> from chainrule.plan import lower
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Residual(nn.Linear(3, 3)), nn.Linear(3, 1))
    >>> [(one.number, one.title, one.reads) for one in layers_of(lower(net, "half_squared_error"))]
    [(1, 'linear 2 -> 3, tanh', (0,)), (2, 'linear 3 -> 3', (1,)),
     (3, 'sum of a residual connection', (1, 2)), (4, 'linear 3 -> 1', (3,))]
    """
    operations = plan.operations
    readers = Counter(value for one in operations for value in (one.source, one.second))
    by_offset = {slot.offset: slot for slot in plan.parameters}
    layers: list[Layer] = []
    owner = {0: 0}  # the layer whose h a value is
    k = 0
    while k < len(operations):
        operation = operations[k]
        z_index = h_index = k + 1
        activation = None
        if operation.kind == "activation":
            activation, z_index = operation, operation.source
        elif _gates(operations, k + 1, z_index, readers):
            activation, h_index = operations[k + 1], k + 2
        sources = (operation.source,) if operation.second < 0 else (operation.source, operation.second)
        layers.append(
            Layer(
                len(layers) + 1,
                operation.name,
                operation.kind,
                tuple(owner[value] for value in sources),
                operation.width_in,
                operation.width_out,
                operation,
                activation,
                z_index,
                h_index,
                _slots(operation, by_offset),
            )
        )
        owner[h_index] = len(layers)
        k = h_index
    return tuple(layers)


def _gates(operations: tuple[Operation, ...], k: int, z_index: int, readers: Counter[int]) -> bool:
    """Whether operation k is an activation that alone reads the value z."""
    if k == len(operations):
        return False
    return operations[k].kind == "activation" and operations[k].source == z_index and readers[z_index] == 1


def _slots(operation: Operation, by_offset: dict[int, Slot]) -> dict[str, Slot]:
    offsets = {"weight": operation.weight, "bias": operation.bias}
    return {name: by_offset[offset] for name, offset in offsets.items() if offset >= 0}


def consumers(layers: tuple[Layer, ...]) -> dict[int, list[Layer]]:
    """For each layer those that read its h; one that adds h to itself is there twice."""
    found: dict[int, list[Layer]] = {number: [] for number in range(len(layers) + 1)}
    for layer in layers:
        for number in layer.reads:
            found[number].append(layer)
    return found
