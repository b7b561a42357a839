"""An executor for any module: its own ``forward``, recorded on the tape at every step.

What the engine cannot be told beforehand, a ``forward`` with branches and loops, shared layers, hooks, frozen
parameters, trains here, through the same ``fit``. The update, the penalty and the report are the
reference's; loss and gradient are the tape's.
"""

from typing import Any

import numpy as np

from chainrule.execution import Examples, Penalty
from chainrule.nn import Dropout, Module
from chainrule.nn.random import executing_with
from chainrule.plan import Plan, Slot, append_slot, counts_batches, loss_term, store
from chainrule.reference import ReferenceExecutor, dropout_keeps
from chainrule.tape import Tensor, enable_grad, grad, no_grad
from chainrule.tape.primitives import TOTAL_LOSS_PRIMITIVES

__all__ = ["TapeExecutor", "outline"]

ROWS_AT_ONCE = 4096


def outline(module: Module, loss: Any, X: Any) -> Plan:
    """A plan without operations: where the parameters lie, how wide inputs and outputs are, and the loss.

    Parameters
    ----------
    module : Module
        Anything with a ``forward``; it is run on a row of zeros to see how wide its output is.
    loss : str, loss module or LossTerm
    X : array-like of shape (n, d)

    Raises
    ------
    ValueError
        If the module makes anything but (n, outputs) of (n, d), or has nothing to train.
    """
    shape = np.shape(X)
    if len(shape) != 2:
        raise ValueError(f"X must have two dimensions, one row an example; got shape {shape}")
    parameters: list[Slot] = []
    dtype = np.dtype(np.float32)
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            append_slot(parameters, name, parameter.shape, penalised=parameter.ndim > 1)
            dtype = parameter.dtype
    if not parameters:
        raise ValueError("module has no parameter that requires a gradient: there is nothing to train")
    buffers: list[Slot] = []
    for name, buffer in module.named_buffers():
        if buffer.dtype.kind == "f" or counts_batches(name):
            append_slot(buffers, name, buffer.shape)
    output = _outputs(module, np.zeros((2, shape[1]), dtype))
    if output.ndim != 2 or output.shape[0] != 2:
        raise ValueError(f"module must give shape (2, outputs) for two rows of X; got {output.shape}")
    n_outputs = output.shape[1]
    return Plan((), tuple(parameters), tuple(buffers), (shape[1], n_outputs), loss_term(loss, n_outputs))


def _outputs(module: Module, X: np.ndarray) -> np.ndarray:
    """The output in evaluation mode; the modes are put back."""
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        with no_grad():
            output = module(Tensor(X))
    finally:
        for one, training in modes:
            one.training = training
    if not isinstance(output, Tensor):
        raise TypeError(f"forward must return a Tensor; got {type(output).__name__}")
    return output.data


class _Masks:
    """Dropout masks that depend on (seed, step, layer, row, unit) and on nothing else."""

    def __init__(self, numbers: dict[int, int], seed: int, step: int, dtype: np.dtype) -> None:
        self.numbers = numbers
        self.dtype = dtype
        self.seed = seed
        self.step = step
        self._calls: dict[int, int] = {}

    def keeps(self, layer: Dropout, shape: tuple[int, ...]) -> np.ndarray:
        """Which entries are kept; a layer that is called twice in a step draws twice."""
        calls = self._calls.get(id(layer), 0)
        self._calls[id(layer)] = calls + 1
        number = self.numbers.get(id(layer), 0) + calls * (1 + max(self.numbers.values(), default=0))
        n_rows = shape[0] if shape else 1
        width = int(np.prod(shape[1:], dtype=np.int64))
        keeps = dropout_keeps(self.seed, self.step, number, n_rows, width, float(self.dtype.type(layer.p)))
        return keeps.reshape(shape)


class TapeExecutor(ReferenceExecutor):
    """Runs a module as it is written. See ``chainrule.execution.Executor`` for the methods' contract.

    Parameters
    ----------
    plan : Plan
        What ``outline`` gives, or the module's own plan.
    parameters, buffers : ndarray
        The flat vectors, changed in place by ``run``; the module is bound to them.
    module : Module

    Examples
    --------
    >>> from chainrule import nn
    >>> class Squared(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.w = nn.Parameter(np.array([[3.0]]))
    ...
    ...     def forward(self, x):
    ...         return (x @ self.w) ** 2
    >>> module = Squared()
    >>> plan = outline(module, "half_squared_error", np.zeros((1, 1)))
    >>> executor = TapeExecutor(plan, np.array([3.0]), np.empty(0), module)
    >>> executor.gradient(Examples(np.array([[1.0]]), np.array([[8.0]])))     # ½ (w² − 8)², (w² − 8) 2w
    (0.5, 0.0, array([6.]))
    """

    name = "tape"

    def __init__(self, plan: Plan, parameters: np.ndarray, buffers: np.ndarray, module: Module) -> None:
        super().__init__(plan, parameters, buffers)
        self.module = module
        store(plan, module, parameters, buffers)
        named = dict(module.named_parameters())
        self._tensors = [named[slot.name] for slot in plan.parameters]
        self._counters = [slot for slot in plan.buffers if counts_batches(slot.name)]
        places = {op.name: k for k, op in enumerate(plan.operations)}
        self._dropouts = {
            id(one): places.get(path, number)
            for number, (path, one) in enumerate(module.named_modules())
            if isinstance(one, Dropout)
        }

    @np.errstate(all="ignore")
    def predict(self, X: Any) -> np.ndarray:
        """Raw outputs z of the network in evaluation mode."""
        X = self._rows(X)
        parts = range(0, len(X), ROWS_AT_ONCE)
        rows = [_outputs(self.module, X[start : start + ROWS_AT_ONCE]) for start in parts]
        return np.concatenate(rows) if rows else np.empty((0, self.plan.n_outputs), self.dtype)

    def _backpropagate(
        self,
        examples: Examples,
        penalty: Penalty,
        training: bool,
        step: int,
        seed: int,
        update_running: bool = False,
    ) -> tuple[float, float, np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """Forward on the tape, and back."""
        kept = self.buffers.copy()
        self.module.train(training)
        with executing_with(_Masks(self._dropouts, seed, step, self.dtype)), enable_grad():
            loss = self._tape_loss(self.module(Tensor(self._rows(examples.X))), examples)
            gradients = grad(loss, self._tensors, allow_unused=True)
        if update_running:
            self._note_counters()
        else:
            self.buffers[:] = kept
            store(self.plan, self.module, self.parameters, self.buffers)
        penalty_value, gradient = self._penalty(penalty, examples)
        for slot, one in zip(self.plan.parameters, gradients, strict=True):
            if one is not None:
                slot.view(gradient)[...] += one.data
        return loss.item(), penalty_value, gradient, [], []

    def _tape_loss(self, z: Tensor, examples: Examples) -> Tensor:
        """The weighted mean loss of the batch."""
        term = self.plan.loss
        total_loss, setting = TOTAL_LOSS_PRIMITIVES[term.name], self.dtype.type(term.setting)
        mean: Tensor = total_loss(z, examples.y, setting=setting, share=self._shares(examples))
        return mean

    def _note_counters(self) -> None:
        """The counts of batches are numbers of their own in the module."""
        found = dict(self.module.named_buffers())
        for slot in self._counters:
            slot.view(self.buffers)[...] = found[slot.name]

    def _watch(self, values: list[np.ndarray], deltas: list[np.ndarray]) -> np.ndarray:
        return np.zeros((len(self.plan.operations), 5))
