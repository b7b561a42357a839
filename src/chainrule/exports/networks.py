"""A network as a table of operations and its numbers: what every export starts from.

The table is a plan, so an exporter knows six kinds of operation and no layer: a nested `Sequential` is flat
in it already, and a residual connection is an addition.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chainrule.nn import Module
from chainrule.plan import Operation, Plan, Slot, flatten, lower

__all__ = ["Network", "taken_apart"]


@dataclass(frozen=True)
class Network:
    """A module in evaluation mode, taken apart.

    Attributes
    ----------
    operations : tuple of Operation
        In the order of the forward pass; those that change nothing in evaluation are left out. Operation k
        makes the value ``makes[k]``, and value 0 is the input.
    makes : tuple of int
        The number of the value that each operation makes.
    output : int
        The value that is the network's output z.
    n_inputs, n_outputs : int
        Widths of the input and of z.
    dtype : numpy.dtype
        float32 or float64: of the parameters and of the computation.
    """

    operations: tuple[Operation, ...]
    makes: tuple[int, ...]
    output: int
    n_inputs: int
    n_outputs: int
    dtype: np.dtype
    parameters: np.ndarray
    buffers: np.ndarray
    slots: tuple[dict[int, Slot], dict[int, Slot]]

    def to(self, dtype: np.dtype) -> Network:
        """The same network, computed in float32 or float64."""
        parameters, buffers = self.parameters.astype(dtype), self.buffers.astype(dtype)
        return replace(self, dtype=dtype, parameters=parameters, buffers=buffers)

    def parameter(self, offset: int) -> np.ndarray | None:
        """The parameter at an offset of the flat vector, in its own shape; None for −1."""
        return None if offset < 0 else self.slots[0][offset].view(self.parameters)

    def buffer(self, offset: int) -> np.ndarray:
        """The running statistic at an offset of the flat vector."""
        return self.slots[1][offset].view(self.buffers)

    def affine(self, operation: Operation) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Weight and bias of a layer (γ and β of a normalisation), where it has them."""
        return self.parameter(operation.weight), self.parameter(operation.bias)

    def running(self, operation: Operation) -> tuple[np.ndarray, np.ndarray]:
        """The mean of a batch normalisation, and the deviation √(variance + eps)."""
        variance = self.buffer(operation.running_variance)
        deviation: np.ndarray = np.sqrt(variance + variance.dtype.type(operation.epsilon))
        return self.buffer(operation.running_mean), deviation


def taken_apart(module: Module, n_inputs: int | None = None, prefix: str = "") -> Network:
    """Take a module apart; ``prefix`` comes before the names of its layers.

    Raises
    ------
    TypeError
        If a layer has a ``forward`` of its own.
    ValueError
        If the number of inputs is not known.
    """
    # Frozen parameters and a user's generators matter in training only, so the plan is a trainable copy's.
    module = module.copy().requires_grad_(True).eval()
    try:
        plan = lower(module, "half_squared_error", n_inputs)
    except NotImplementedError as error:
        raise TypeError(f"model cannot be exported: {error}") from None
    state = module.state_dict()
    types = [array.dtype for array in state.values() if array.dtype.kind == "f"]
    dtype = np.result_type(*types) if types else np.dtype(np.float32)
    operations, makes, output = _in_evaluation(plan, prefix)
    return Network(
        operations, makes, output, plan.n_inputs, plan.n_outputs, dtype,
        flatten(state, plan.parameters, dtype), flatten(state, plan.buffers, dtype),
        ({slot.offset: slot for slot in plan.parameters}, {slot.offset: slot for slot in plan.buffers}),
    )  # fmt: skip


def _in_evaluation(plan: Plan, prefix: str) -> tuple[tuple[Operation, ...], tuple[int, ...], int]:
    """The operations without dropout, the value that each makes, and the one that is the output."""
    same_as: dict[int, int] = {0: 0}  # a dropout's value is the one it reads
    operations, makes = [], []
    for made, operation in enumerate(plan.operations, start=1):
        source = same_as[operation.source]
        if operation.kind == "dropout":
            same_as[made] = source
            continue
        same_as[made] = made
        second = same_as[operation.second] if operation.second >= 0 else -1
        operations.append(replace(operation, source=source, second=second, name=prefix + operation.name))
        makes.append(made)
    return tuple(operations), tuple(makes), same_as[len(plan.operations)]
