"""A model as an ONNX file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

import chainrule
from chainrule.exports.model import Exported, exported
from chainrule.exports.onnx_nodes import ACTIVATION_NODES, Graph
from chainrule.plan import Operation

__all__ = ["to_onnx"]

# The first opset whose ReduceMean takes its axes as every later one does, and the file format of its time.
OPSET = 18
IR_VERSION = 8


def to_onnx(
    model: Any,
    path: str | os.PathLike[str] | None = None,
    n_inputs: int | None = None,
    *,
    dtype: Any = None,
) -> Any:
    """Make an ONNX model, and write it to a file if a path is given.

    The graph takes ``X`` (n, n_inputs). A module's gives its output in evaluation mode, ``output`` (n,
    n_outputs). A classifier's gives ``label`` (n,) and ``probabilities`` (n, n_classes), (n, n_labels) both
    where a row has several labels. A regressor's gives ``prediction``, (n,) or (n, n_outputs), in the
    target's own units.

    Parameters
    ----------
    model : Module, MLPClassifier, MLPRegressor or SavedModel
        A module made of the library's layers, a fitted estimator, or what ``chainrule.io.load_model`` gives,
        if its table has numeric columns only: X is then the raw numbers in float64, one column for each of
        the table's in its order, NaN where there is none. Gaps are filled and numbers scaled in the graph.
    path : path, optional
        The file; it appears whole or not at all.
    n_inputs : int, optional
        Number of features, where no layer of a module states it.
    dtype : float32 or float64, optional
        Of the computation; that of the model's parameters by default.

    Returns
    -------
    onnx.ModelProto
        Of opset 18. onnxruntime runs it in either dtype, but for GELU, which it has in float32 only: it has
        no ``Erf`` for float64.

    Raises
    ------
    TypeError
        If the model is of another kind, or has a layer with a ``forward`` of its own, which the message
        names; if ``dtype`` is another one.
    ValueError
        If the number of inputs is not known, or a table has columns that are not numeric.
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> from chainrule import nn
    >>> network = to_onnx(nn.Sequential(nn.Linear(2, 3, rng=0), nn.ReLU(), nn.Linear(3, 1, rng=1)))
    >>> [node.op_type for node in network.graph.node]
    ['Gemm', 'Relu', 'Gemm', 'Identity']
    """
    try:
        import onnx
    except ImportError:
        raise ImportError("onnx is not installed: pip install 'chainrule[onnx]'") from None
    parts = exported(model, n_inputs)
    made = _model(parts if dtype is None else parts.to(dtype))
    onnx.checker.check_model(made, full_check=True)
    if path is not None:
        # Reads tables too, so it is loaded only where it is used.
        from chainrule.io import write_atomically

        write_atomically(path, made.SerializeToString(deterministic=True))
    return made


def _model(model: Exported) -> Any:
    from onnx import helper

    graph = Graph(model.dtype)
    values = _forward(graph, model, _input(graph, model))
    outputs = _outputs(graph, model, values)
    proto = helper.make_graph(
        graph.nodes,
        "chainrule",
        [_tensor("X", model.input_dtype, ("n", model.n_inputs))],
        [_tensor(name, dtype, shape) for name, (dtype, shape) in outputs.items()],
        list(graph.initializers.values()),
    )
    made = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="chainrule",
        producer_version=chainrule.__version__,
    )
    if model.numeric_input is not None:
        helper.set_model_props(
            made, {f"column_{k}": name for k, name in enumerate(model.numeric_input.names)}
        )
    return made


def _tensor(name: str, dtype: Any, shape: tuple[int | str, ...]) -> Any:
    from onnx import TensorProto, helper

    is_text = np.dtype(dtype).kind in "OUS"
    kind = TensorProto.STRING if is_text else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, shape)


# -- in front of the network -----------------------------------------------------------------------


def _input(graph: Graph, model: Exported) -> str:
    """The name of what the first layer takes."""
    table = model.numeric_input
    if table is None:
        return "X"
    median, mean, scale = (
        graph.array(f"column_{name}", getattr(table, name)) for name in ("median", "mean", "scale")
    )
    filled = graph.node("Where", graph.node("IsNaN", "X"), median, "X")
    scaled = graph.node("Div", graph.node("Sub", filled, mean), scale)
    return scaled if model.dtype == model.input_dtype else graph.cast(scaled, model.dtype)


# -- the network -----------------------------------------------------------------------------------


def _forward(graph: Graph, model: Exported, first: str) -> str:
    """Add the nodes of every operation; returns the name of the output z."""
    names = {0: first}
    for operation, made in zip(model.operations, model.makes, strict=True):
        inputs = [names[value] for value in (operation.source, operation.second) if value >= 0]
        names[made] = _NODES[operation.kind](graph, model, operation, *inputs)
    return names[model.output]


def _weights(graph: Graph, model: Exported, operation: Operation) -> list[str]:
    """Names of weight and bias, or of γ and β, named as in the ``state_dict``: those that the layer has."""
    ends = zip(("weight", "bias"), model.affine(operation), strict=True)
    prefix = f"{operation.name}." if operation.name else ""
    return [graph.array(f"{prefix}{end}", array) for end, array in ends if array is not None]


def _linear(graph: Graph, model: Exported, operation: Operation, h: str) -> str:
    return graph.node("Gemm", h, *_weights(graph, model, operation), transB=1)


def _activation(graph: Graph, model: Exported, operation: Operation, z: str) -> str:
    return ACTIVATION_NODES[operation.activation](graph, z, operation.alpha)


def _scaled(graph: Graph, model: Exported, operation: Operation, normalized: str) -> str:
    """γ x + β, with those of the two that there are."""
    for operator, array in zip(("Mul", "Add"), _weights(graph, model, operation), strict=False):
        normalized = graph.node(operator, normalized, array)
    return normalized


def _batch_norm(graph: Graph, model: Exported, operation: Operation, h: str) -> str:
    mean, deviation = model.running(operation)
    prefix = f"{operation.name}." if operation.name else ""
    centred = graph.node("Sub", h, graph.array(f"{prefix}running_mean", mean))
    normalized = graph.node("Div", centred, graph.array(f"{prefix}running_deviation", deviation))
    return _scaled(graph, model, operation, normalized)


def _layer_norm(graph: Graph, model: Exported, operation: Operation, h: str) -> str:
    columns = graph.columns()
    centred = graph.node("Sub", h, graph.node("ReduceMean", h, columns))
    variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), columns)
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.number(operation.epsilon)))
    return _scaled(graph, model, operation, graph.node("Div", centred, deviation))


def _add(graph: Graph, model: Exported, operation: Operation, first: str, second: str) -> str:
    return graph.node("Add", first, second)


# For each kind of operation but dropout, which evaluation leaves out.
_NODES: dict[str, Any] = {
    "linear": _linear,
    "activation": _activation,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "add": _add,
}

# -- behind the network ----------------------------------------------------------------------------

_Outputs = dict[str, tuple[Any, tuple[int | str, ...]]]


def _outputs(graph: Graph, model: Exported, z: str) -> _Outputs:
    """Add the nodes behind z; returns dtype and shape of each of the graph's outputs, by name."""
    if model.kind == "module":
        graph.node("Identity", z, output="output")
        return {"output": (model.dtype, ("n", model.n_outputs))}
    if model.kind == "regressor":
        return _prediction(graph, model, z)
    return _classification(graph, model, z)


def _prediction(graph: Graph, model: Exported, z: str) -> _Outputs:
    y = graph.node("Exp", z) if model.link == "exp" else z
    if model.target_scale is not None and model.target_mean is not None:
        # In double precision, as the estimator does it.
        scaled = graph.node("Mul", graph.cast(y, np.float64), graph.array("target_scale", model.target_scale))
        shifted = graph.node("Add", scaled, graph.array("target_mean", model.target_mean))
        y = graph.cast(shifted, model.dtype)
    if model.n_outputs > 1:
        graph.node("Identity", y, output="prediction")
        return {"prediction": (model.dtype, ("n", model.n_outputs))}
    graph.node("Squeeze", y, graph.columns(), output="prediction")
    return {"prediction": (model.dtype, ("n",))}


def _classification(graph: Graph, model: Exported, z: str) -> _Outputs:
    width = model.n_outputs
    if model.link == "softmax":
        graph.node("Softmax", z, axis=1, output="probabilities")
        index = graph.node("ArgMax", "probabilities", axis=1, keepdims=0)
    else:
        p = graph.node("Sigmoid", z, output="probabilities" if model.kind == "labels" else "")
        index = graph.cast(graph.node("Greater", p, graph.number(0.5)), np.int64)
    outputs: _Outputs = {}
    if model.classes is None:
        graph.node("Identity", index, output="label")
        outputs["label"] = (np.int64, ("n", width))
    else:
        if model.link != "softmax":
            width = 2
            graph.node("Concat", graph.node("Sub", graph.number(1.0), p), p, axis=1, output="probabilities")
            index = graph.node("Squeeze", index, graph.columns())
        classes = _storable(model.classes)
        graph.node("Gather", graph.array("classes", classes), index, output="label")
        outputs["label"] = (classes.dtype, ("n",))
    return {**outputs, "probabilities": (model.dtype, ("n", width))}


def _storable(classes: np.ndarray) -> np.ndarray:
    """Labels as ONNX stores them, text as objects; ValueError for what it cannot store."""
    if classes.dtype.kind in "US":
        return classes.astype(object)
    if classes.dtype.kind == "O" and not all(isinstance(label, str) for label in classes):
        raise ValueError(f"labels must be text, numbers or truth values; got {classes.tolist()!r}")
    return classes
