"""From a description to a table: ``lower(module, loss) -> Plan``.

A plan is what the executors run. It lists the operations of a network in order; operation k reads
earlier values and makes value k + 1, value 0 being the batch X itself. Parameters live in one flat
vector and running statistics in another; the plan says at which offset each begins. A layer's weight
matrix is then a view into the flat vector, an optimizer is one vector update, and saving is one array.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.arrays import zeros
from chainrule.functions import get_activation, get_loss
from chainrule.nn import Module
from chainrule.nn.module import dotted

__all__ = [
    "KINDS",
    "LossTerm",
    "Operation",
    "Plan",
    "Slot",
    "append_slot",
    "counts_batches",
    "flatten",
    "loss_term",
    "lower",
    "store",
]

# The kinds of operation; an executor that lacks one fails the parity tests.
KINDS = ("linear", "activation", "batch_norm", "layer_norm", "dropout", "add")


@dataclass(frozen=True)
class Slot:
    """Where one named array lives in a flat vector.

    ``penalised`` tells weights, which L1 and L2 penalties and weight decay act on, from biases and
    normalisation parameters, which they leave alone.
    """

    name: str
    offset: int
    shape: tuple[int, ...]
    penalised: bool = False

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    def view(self, vector: np.ndarray) -> np.ndarray:
        """The slot of ``vector``, in its own shape, without a copy.

        A weight matrix lies transposed, an input after the other: Wᵀ is the right factor of H Wᵀ, and
        lies as the products of the engine want it.
        """
        return vector[self.offset : self.offset + self.size].reshape(self.shape[::-1]).T


@dataclass(frozen=True)
class Operation:
    """One row of a plan: a kind, what it reads, and its constants. -1 stands for "none".

    Offsets: ``weight`` and ``bias`` into the parameters (the scale γ and shift β of a
    normalisation), ``running_mean``, ``running_variance`` and ``batches_tracked`` into the buffers.
    """

    kind: str
    name: str
    source: int
    width_in: int
    width_out: int
    second: int = -1
    weight: int = -1
    bias: int = -1
    running_mean: int = -1
    running_variance: int = -1
    batches_tracked: int = -1
    activation: str = "identity"
    alpha: float = 0.0
    probability: float = 0.0
    epsilon: float = 0.0
    momentum: float = 0.0


@dataclass(frozen=True)
class LossTerm:
    """A loss record by name, its setting, and a factor on its value and gradient."""

    name: str
    setting: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Plan:
    """A network and its loss, lowered: everything an executor needs but the numbers.

    Attributes
    ----------
    operations : tuple of Operation
        In the order of the forward pass.
    parameters, buffers : tuple of Slot
        The layout of the two flat vectors.
    widths : tuple of int
        Width of each value: ``widths[0]`` inputs, ``widths[k + 1]`` what operation k makes.
    loss : LossTerm
    """

    operations: tuple[Operation, ...]
    parameters: tuple[Slot, ...]
    buffers: tuple[Slot, ...]
    widths: tuple[int, ...]
    loss: LossTerm

    @property
    def n_inputs(self) -> int:
        """Number of features of X."""
        return self.widths[0]

    @property
    def n_outputs(self) -> int:
        """Width of the raw output z."""
        return self.widths[-1]

    @property
    def n_parameters(self) -> int:
        """Length of the flat parameter vector."""
        return sum(slot.size for slot in self.parameters)

    @property
    def n_buffers(self) -> int:
        """Length of the flat vector of running statistics."""
        return sum(slot.size for slot in self.buffers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of the forward pass for one example: Σ d_{l-1} d_l over the linear layers."""
        return sum(op.width_in * op.width_out for op in self.operations if op.kind == "linear")

    def uses(self, kind: str) -> bool:
        """Whether any operation is of this kind."""
        return any(operation.kind == kind for operation in self.operations)


def append_slot(slots: list[Slot], name: str, shape: tuple[int, ...], penalised: bool = False) -> int:
    """Add a slot behind those there are; returns its offset."""
    offset = slots[-1].offset + slots[-1].size if slots else 0
    slots.append(Slot(name, offset, shape, penalised))
    return offset


def counts_batches(name: str) -> bool:
    """Whether a buffer of this name is batch norm's count of batches, which PyTorch keeps in int64."""
    return name.endswith("num_batches_tracked")


class _Builder:
    """What a module's ``lower`` method talks to: each call adds an operation and returns its value."""

    def __init__(self, n_inputs: int) -> None:
        self.operations: list[Operation] = []
        self.parameters: list[Slot] = []
        self.buffers: list[Slot] = []
        self.widths = [n_inputs]

    def _parameter(self, path: str, name: str, shape: tuple[int, ...], penalised: bool = False) -> int:
        return append_slot(self.parameters, dotted(path, name), shape, penalised)

    def _buffer(self, path: str, name: str, shape: tuple[int, ...]) -> int:
        return append_slot(self.buffers, dotted(path, name), shape)

    def _operation(self, kind: str, path: str, source: int, width_out: int, **constants: Any) -> int:
        width_in = self.widths[source]
        self.operations.append(Operation(kind, path, source, width_in, width_out, **constants))
        self.widths.append(width_out)
        return len(self.operations)

    def linear(self, source: int, path: str, out_features: int, bias: bool) -> int:
        """z = W h + b, equation (1)."""
        weight = self._parameter(path, "weight", (out_features, self.widths[source]), penalised=True)
        offset = self._parameter(path, "bias", (out_features,)) if bias else -1
        return self._operation("linear", path, source, out_features, weight=weight, bias=offset)

    def activation(self, source: int, path: str, name: str, alpha: float) -> int:
        """h = σ(z), equation (2)."""
        record = get_activation(name)
        width = self.widths[source]
        return self._operation("activation", path, source, width, activation=record.name, alpha=float(alpha))

    def batch_norm(self, source: int, path: str, eps: float, momentum: float, affine: bool) -> int:
        """Normalise each unit over the batch; running statistics for prediction."""
        width = self.widths[source]
        weight = self._parameter(path, "weight", (width,)) if affine else -1
        bias = self._parameter(path, "bias", (width,)) if affine else -1
        mean = self._buffer(path, "running_mean", (width,))
        variance = self._buffer(path, "running_var", (width,))
        tracked = self._buffer(path, "num_batches_tracked", ())
        return self._operation(
            "batch_norm", path, source, width, weight=weight, bias=bias, running_mean=mean,
            running_variance=variance, batches_tracked=tracked, epsilon=eps, momentum=momentum,
        )  # fmt: skip

    def layer_norm(self, source: int, path: str, eps: float, affine: bool, bias: bool) -> int:
        """Normalise each example over its units."""
        width = self.widths[source]
        weight = self._parameter(path, "weight", (width,)) if affine else -1
        shift = self._parameter(path, "bias", (width,)) if affine and bias else -1
        return self._operation("layer_norm", path, source, width, weight=weight, bias=shift, epsilon=eps)

    def dropout(self, source: int, path: str, p: float) -> int:
        """Inverted dropout: zero with probability p in training, divide what is kept by 1 - p."""
        return self._operation("dropout", path, source, self.widths[source], probability=float(p))

    def add(self, first: int, second: int, path: str) -> int:
        """The join of a residual connection: h + F(h)."""
        if self.widths[first] != self.widths[second]:
            raise ValueError(
                f"{path or 'residual'}: cannot add values of widths {self.widths[first]} and "
                f"{self.widths[second]}; a residual connection needs a projection where widths differ"
            )
        return self._operation("add", path, first, self.widths[first], second=second)


def loss_term(loss: Any, n_outputs: int) -> LossTerm:
    """Read a loss given by name, as a module of ``chainrule.nn``, or as a LossTerm.

    Raises
    ------
    ValueError
        If the module's reduction is not the mean, which is what a training minimizes.
    """
    if isinstance(loss, LossTerm):
        return loss
    if isinstance(loss, str):
        record = get_loss(loss)
        return LossTerm(record.name, record.setting)
    if hasattr(loss, "record") and hasattr(loss, "settings"):
        if loss.reduction != "mean":
            raise ValueError(
                f"loss must have reduction='mean', which training minimizes; got {loss.reduction!r}"
            )
        record = get_loss(loss.record)
        setting = loss.settings[0] if loss.settings else record.setting
        return LossTerm(record.name, float(setting), float(loss.scale(n_outputs)))
    raise TypeError(f"loss must be a name or a loss module of chainrule.nn; got {type(loss).__name__}")


def lower(module: Module, loss: Any, n_inputs: int | None = None) -> Plan:
    """Lower a module and a loss to a plan.

    Parameters
    ----------
    module : Module
        What the user described.
    loss : str, loss module or LossTerm
        ``"softmax_cross_entropy"``, ``nn.CrossEntropyLoss()``, ...
    n_inputs : int, optional
        Number of features; needed only where no layer of the module states it.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If the number of inputs is unknown or contradicts the module, or widths do not fit.
    NotImplementedError
        If the module holds a layer that has no lowering, or uses a layer with weights twice.

    Examples
    --------
    >>> from chainrule import nn
    >>> plan = lower(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), "softmax_cross_entropy")
    >>> [operation.kind for operation in plan.operations], plan.n_parameters
    (['linear', 'activation', 'linear'], 67)
    """
    _check_lowerable(module)
    declared = module.input_width()
    width = n_inputs if n_inputs is not None else declared
    if width is None:
        raise ValueError("n_inputs is needed: no layer of the module states its number of inputs")
    if declared is not None and declared != width:
        raise ValueError(f"n_inputs is {width}, but the module's first layer takes {declared} inputs")
    module.output_width(width)  # raises where widths do not fit, naming the layer
    build = _Builder(width)
    last = module.lower(build, 0, "")
    if last != len(build.operations) or last == 0:
        raise ValueError("the module has no operation, or its output is not its last operation")
    names = {name for name, _ in module.named_parameters()}
    shared = [slot.name for slot in build.parameters if slot.name not in names]
    if shared:
        raise NotImplementedError(
            f"{shared[0]} belongs to a layer that the module uses more than once; "
            "shared weights cannot be lowered to a plan"
        )
    return Plan(
        tuple(build.operations),
        tuple(build.parameters),
        tuple(build.buffers),
        tuple(build.widths),
        loss_term(loss, build.widths[-1]),
    )


def _check_lowerable(module: Module) -> None:
    """NotImplementedError where a plan would not compute what ``forward`` does, or train what it must not."""
    for path, one in module.named_modules():
        name = f"{type(one).__name__} ({path})" if path else type(one).__name__
        order = type(one).__mro__
        forward, lowering = (
            next(i for i, base in enumerate(order) if method in vars(base)) for method in ("forward", "lower")
        )
        if order[lowering] is Module:
            raise NotImplementedError(f"{name} does not define lower: the engine cannot run it")
        if forward < lowering:
            raise NotImplementedError(f"{name} has a forward of its own, but not a lower that says the same")
        if one._forward_hooks or one._forward_pre_hooks:
            raise NotImplementedError(f"{name} has forward hooks, which the engine cannot call")
        for key, parameter in one._parameters.items():
            if parameter is not None and not parameter.requires_grad:
                raise NotImplementedError(
                    f"{name}: {key} requires no gradient; the engine trains all parameters"
                )


def flatten(arrays: Mapping[str, np.ndarray], slots: tuple[Slot, ...], dtype: Any) -> np.ndarray:
    """Pack named arrays into one new flat vector of ``dtype``, in the order of ``slots``."""
    vector = zeros(sum(slot.size for slot in slots), dtype)
    for slot in slots:
        slot.view(vector)[...] = arrays[slot.name]
    return vector


def store(plan: Plan, module: Module, parameters: np.ndarray, buffers: np.ndarray) -> None:
    """Give a module the numbers of the two flat vectors; its parameters become views into them."""
    views = {slot.name: slot.view(parameters) for slot in plan.parameters}
    for slot in plan.buffers:
        view = slot.view(buffers)
        # PyTorch counts batches in an int64; every other statistic has the parameters' dtype.
        counter = counts_batches(slot.name)
        views[slot.name] = np.array(round(float(view)), dtype=np.int64) if counter else view
    module.bind(views)
