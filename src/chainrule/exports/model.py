"""What every export starts from: a model as a table of operations, its numbers, and what is done around it.

The table is a plan, so an exporter knows six kinds of operation and no layer: a nested `Sequential` is flat
in it already, and a residual connection is an addition.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.nn import Module
from chainrule.plan import Operation, Slot, flatten, lower

__all__ = ["Exported", "NumericInput", "exported", "module_of"]

_ESTIMATORS = "a chainrule.nn module, or a fitted MLPClassifier or MLPRegressor"


@dataclass(frozen=True)
class NumericInput:
    """From a table of numbers to the network's input: (x − mean) / scale, where a gap is the median."""

    names: tuple[str, ...]
    median: np.ndarray
    mean: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Exported:
    """A model in evaluation mode, taken apart.

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
    link : str
        What the output goes through: "identity", "softmax", "logistic" or "exp".
    classes : numpy.ndarray or None
        The labels of a classifier of one label a row: as many as z has columns, or two for one column.
    kind : {"module", "classifier", "labels", "regressor"}
        "labels" is a classifier of several labels a row.
    target_mean, target_scale : numpy.ndarray or None
        (n_outputs,) in float64: a regressor's y = z · scale + mean.
    numeric_input : NumericInput or None
        What is done to the raw numbers first.
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
    link: str = "identity"
    kind: str = "module"
    classes: np.ndarray | None = None
    target_mean: np.ndarray | None = None
    target_scale: np.ndarray | None = None
    numeric_input: NumericInput | None = None

    @property
    def input_dtype(self) -> np.dtype:
        """Raw numbers may need more digits than the network, which sees them scaled."""
        return self.dtype if self.numeric_input is None else np.dtype(np.float64)

    def to(self, dtype: Any) -> Exported:
        """The same model, computed in float32 or float64; TypeError for another dtype."""
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64; got {dtype}")
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


def module_of(model: Any) -> Module:
    """The module of a model: itself, or the network of a fitted estimator (raw outputs).

    Raises
    ------
    TypeError
        If the model is neither.
    """
    if isinstance(model, Module):
        return model
    if hasattr(model, "to_module"):
        module: Module = model.to_module()
        return module
    raise TypeError(f"model must be {_ESTIMATORS}; got {type(model).__name__}")


def exported(model: Any, n_inputs: int | None = None) -> Exported:
    """Take a model apart.

    Parameters
    ----------
    model : Module, MLPClassifier, MLPRegressor or SavedModel
        An estimator must be fitted.
    n_inputs : int, optional
        Number of features, where no layer of a module states it.

    Raises
    ------
    TypeError
        If the model is of another kind, or a layer of it has a ``forward`` of its own.
    ValueError
        If the number of inputs is not known, or a table has columns that are not numeric.
    sklearn.exceptions.NotFittedError
        If an estimator has not been fitted.
    """
    if hasattr(model, "estimator") and hasattr(model, "preprocessor"):
        parts = exported(model.estimator)
        if model.preprocessor is None:
            return parts
        return replace(parts, numeric_input=_numeric_input(model.preprocessor))
    parts = _of_module(module_of(model), n_inputs)
    return parts if isinstance(model, Module) else replace(parts, **_decoding(model))


def _of_module(module: Module, n_inputs: int | None) -> Exported:
    # Frozen parameters and a user's generators matter in training only, so the plan is a trainable copy's.
    module = module.copy().requires_grad_(True).eval()
    try:
        plan = lower(module, "half_squared_error", n_inputs)
    except NotImplementedError as error:
        raise TypeError(f"model cannot be exported: {error}") from None
    state = module.state_dict()
    types = [array.dtype for array in state.values() if array.dtype.kind == "f"]
    dtype = np.result_type(*types) if types else np.dtype(np.float32)
    same_as: dict[int, int] = {0: 0}  # a dropout's value is the one it reads
    operations, makes = [], []
    for made, operation in enumerate(plan.operations, start=1):
        source = same_as[operation.source]
        if operation.kind == "dropout":
            same_as[made] = source
            continue
        same_as[made] = made
        second = same_as[operation.second] if operation.second >= 0 else -1
        operations.append(replace(operation, source=source, second=second))
        makes.append(made)
    return Exported(
        tuple(operations), tuple(makes), same_as[len(plan.operations)], plan.n_inputs, plan.n_outputs, dtype,
        flatten(state, plan.parameters, dtype), flatten(state, plan.buffers, dtype),
        ({slot.offset: slot for slot in plan.parameters}, {slot.offset: slot for slot in plan.buffers}),
    )  # fmt: skip


def _decoding(estimator: Any) -> dict[str, Any]:
    """What an estimator does with the raw output."""
    known: dict[str, Any] = {"link": estimator.out_activation_}
    if not hasattr(estimator, "classes_"):
        known["kind"] = "regressor"
        if estimator.target_scaling is not None:
            known["target_mean"] = np.atleast_1d(np.asarray(estimator.target_mean_, np.float64))
            known["target_scale"] = np.atleast_1d(np.asarray(estimator.target_scale_, np.float64))
        return known
    if estimator.out_activation_ == "logistic" and estimator.n_outputs_ > 1:
        return {**known, "kind": "labels"}
    classes = np.asarray(estimator.classes_)
    # A classifier that has seen one class answers with it, whatever its one output says.
    return {**known, "kind": "classifier", "classes": classes if len(classes) > 1 else classes.repeat(2)}


def _numeric_input(preprocessor: Any) -> NumericInput:
    """What a `TablePreprocessor` of numeric columns has learned."""
    described = preprocessor.to_dict()
    others = [
        f"{column['name']!r} ({column['kind']})"
        for column in described["columns"]
        if column["kind"] != "numeric"
    ]
    if others:
        raise ValueError(f"only tables of numeric columns can be exported; got {', '.join(others)}")
    if described["numbers"] != "standard":
        raise ValueError(f"only numbers='standard' can be exported; got numbers={described['numbers']!r}")
    columns = described["columns"]
    median, mean, scale = (
        np.array([column[field] for column in columns], np.float64) for field in ("median", "mean", "scale")
    )
    return NumericInput(tuple(column["name"] for column in columns), median, mean, scale)
