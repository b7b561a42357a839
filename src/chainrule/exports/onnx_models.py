"""A model as an ONNX file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from chainrule.exports.model import Exported, Target, exported
from chainrule.exports.onnx_network import forward
from chainrule.exports.onnx_nodes import Graph
from chainrule.exports.tables import Curve, Table
from chainrule.version import __version__

__all__ = ["to_onnx"]

# The first opset whose ReduceMean takes its axes as every later one does, and the file format of its time.
OPSET = 18
IR_VERSION = 8
# Robust numbers are clipped here before their square is taken.
_FAR = 1e100


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
    where a row has several labels; where networks vote, ``decision`` instead of probabilities. A regressor's
    gives ``prediction``, (n,) or (n, n_outputs), in the target's own units.

    Parameters
    ----------
    model : Module, MLP..., Tabular..., OneVsOneMLPClassifier or SavedModel
        A module made of the library's layers, a fitted estimator, or what ``chainrule.io.load_model`` gives.
        A table must have numeric and boolean columns only: X is then the raw numbers in float64, one column
        for each of the table's in its order, NaN where there is none. Gaps are filled and numbers scaled in
        the graph. A graph cannot refuse what the estimator does: infinite numbers, and other ones than 0
        and 1 in a boolean column, go through to answers that mean nothing.
    path : path, optional
        The file; it appears whole or not at all.
    n_inputs : int, optional
        Number of features, where no layer of a module states it.
    dtype : float32 or float64, optional
        Of the networks' computation; that of the model's parameters by default. What a tabular estimator
        makes of their outputs is float64 in any case, as its own predictions are.

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
        If the number of inputs is not known, or a table has columns that are neither numeric nor boolean;
        the message names them.
    sklearn.exceptions.NotFittedError
        If an estimator has not been fitted.
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
    inputs = _input(graph, model)
    outputs = _outputs(graph, model, [forward(graph, network, inputs) for network in model.networks])
    proto = helper.make_graph(
        graph.nodes,
        "chainrule",
        [_tensor("X", model.input_dtype, ("n", model.n_columns))],
        [_tensor(name, dtype, shape) for name, (dtype, shape) in outputs.items()],
        list(graph.initializers.values()),
    )
    made = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="chainrule",
        producer_version=__version__,
    )
    if model.table is not None:
        helper.set_model_props(made, {f"column_{k}": name for k, name in enumerate(model.table.names)})
    return made


def _tensor(name: str, dtype: Any, shape: tuple[int | str, ...]) -> Any:
    from onnx import TensorProto, helper

    is_text = np.dtype(dtype).kind in "OUS"
    kind = TensorProto.STRING if is_text else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, shape)


# -- in front of the networks ----------------------------------------------------------------------


def _input(graph: Graph, model: Exported) -> str:
    """The name of what the first layers take."""
    table = model.table
    if table is None:
        return "X"
    fill, centre, scale = (
        graph.array(f"column_{name}", getattr(table, name)) for name in ("fill", "centre", "scale")
    )
    gaps = graph.node("IsNaN", "X")
    filled = graph.node("Where", gaps, fill, "X")
    numbers = graph.node("Div", graph.node("Sub", filled, centre), scale)
    if table.limit is not None:
        numbers = _smoothly_clipped(graph, numbers, graph.array("column_limit", table.limit))
    ranks = [
        graph.on_curve(graph.picked(filled, [column]), curve, f"column_{column}")
        for column, curve in table.curves.items()
    ]
    with_gaps = table.columns("gap")
    indicators = [graph.cast(graph.picked(gaps, with_gaps), np.float64)] if with_gaps else []
    stacked = [numbers, *ranks, *indicators]
    inputs = graph.node("Concat", *stacked, axis=1) if len(stacked) > 1 else numbers
    inputs = _ordered(graph, table, inputs)
    return inputs if model.dtype == model.input_dtype else graph.cast(inputs, model.dtype)


def _ordered(graph: Graph, table: Table, stacked: str) -> str:
    """From all numbers, then all ranks, then all gaps, to the order of the network's inputs."""
    there = [("number", column) for column in range(len(table.names))]
    there += [(part, column) for part in ("rank", "gap") for column in table.columns(part)]
    if there == table.inputs:
        return stacked
    places = {one: place for place, one in enumerate(there)}
    return graph.picked(stacked, [places[one] for one in table.inputs])


def _smoothly_clipped(graph: Graph, z: str, limit: str) -> str:
    """z / √(1 + (z/limit)²)."""
    # The square of a larger number would be infinite; this one is at the limit already, to the last digit.
    far = [graph.number(end, np.float64) for end in (-_FAR, _FAR)]
    z = graph.node("Min", graph.node("Max", z, far[0]), far[1])
    ratio = graph.node("Div", z, limit)
    squared = graph.node("Add", graph.node("Mul", ratio, ratio), graph.number(1.0, np.float64))
    return graph.node("Div", z, graph.node("Sqrt", squared))


# -- behind the network ----------------------------------------------------------------------------

_Outputs = dict[str, tuple[Any, tuple[int | str, ...]]]


def _outputs(graph: Graph, model: Exported, networks: list[str]) -> _Outputs:
    """Add the nodes behind each network's z; returns dtype and shape of the graph's outputs, by name."""
    if model.kind == "module":
        graph.node("Identity", *networks, output="output")
        return {"output": (model.dtype, ("n", model.n_outputs))}
    if model.kind == "votes":
        return _votes(graph, model, networks)
    if model.answers_in_double and model.dtype != np.float64:
        networks = [graph.cast(z, np.float64) for z in networks]
    if model.kind == "regressor":
        return _prediction(graph, model, networks[0] if len(networks) == 1 else graph.mean(networks))
    return _classification(graph, model, networks)


def _prediction(graph: Graph, model: Exported, z: str) -> _Outputs:
    y = graph.node("Exp", z) if model.link == "exp" else z
    if model.target is not None:
        y = _target(graph, model, y, model.target)
    if model.n_outputs > 1:
        graph.node("Identity", y, output="prediction")
        return {"prediction": (model.answer_dtype, ("n", model.n_outputs))}
    graph.node("Squeeze", y, graph.columns(), output="prediction")
    return {"prediction": (model.answer_dtype, ("n",))}


def _target(graph: Graph, model: Exported, z: str, target: Target | Curve) -> str:
    """In double precision, as the estimator does it."""
    if not model.answers_in_double:
        z = graph.cast(z, np.float64)
    if isinstance(target, Curve):
        return graph.on_curve(z, target, "target")
    scaled = graph.node("Mul", z, graph.array("target_scale", target.scale))
    y = graph.node("Add", scaled, graph.array("target_mean", target.mean))
    if target.is_logarithm:
        power = graph.node("Exp", graph.node("Max", y, graph.number(0.0, np.float64)))
        y = graph.node("Sub", power, graph.number(1.0, np.float64))
    return y if model.answers_in_double else graph.cast(y, model.dtype)


def _classification(graph: Graph, model: Exported, networks: list[str]) -> _Outputs:
    if model.link == "softmax":
        _softmax(graph, model, networks)
        index = graph.node("ArgMax", "probabilities", axis=1, keepdims=0)
        return {**_label(graph, model, index), "probabilities": (model.answer_dtype, ("n", model.n_outputs))}
    p = graph.node("Sigmoid", networks[0], output="probabilities" if model.kind == "labels" else "")
    index = graph.cast(graph.node("Greater", p, graph.number(0.5)), np.int64)
    if model.kind == "labels":
        graph.node("Identity", index, output="label")
        shape = ("n", model.n_outputs)
        return {"label": (np.int64, shape), "probabilities": (model.answer_dtype, shape)}
    graph.node("Concat", graph.node("Sub", graph.number(1.0), p), p, axis=1, output="probabilities")
    label = _label(graph, model, graph.node("Squeeze", index, graph.columns()))
    return {**label, "probabilities": (model.answer_dtype, ("n", 2))}


def _votes(graph: Graph, model: Exported, networks: list[str]) -> _Outputs:
    """Votes for each class, and between equal ones the networks' probabilities, as scikit-learn counts."""
    first, second = np.eye(model.pairs.max() + 1)[model.pairs.T]
    p = graph.node("Sigmoid", graph.node("Concat", *networks, axis=1))  # of the second of two classes
    wins = graph.cast(graph.node("Greater", p, graph.number(0.5)), np.float64)
    gains = graph.array("second_less_first", second - first)
    votes = graph.node("Add", graph.node("MatMul", wins, gains), graph.array("all_first", first.sum(axis=0)))
    confidence = graph.node("MatMul", graph.cast(p, np.float64), gains)
    size = graph.node("Add", graph.node("Abs", confidence), graph.number(1.0, np.float64))
    third = graph.node("Div", confidence, graph.node("Mul", size, graph.number(3.0, np.float64)))
    graph.node("Add", votes, third, output="decision")
    label = _label(graph, model, graph.node("ArgMax", "decision", axis=1, keepdims=0))
    return {**label, "decision": (np.float64, ("n", first.shape[1]))}


def _softmax(graph: Graph, model: Exported, networks: list[str]) -> None:
    """The probabilities that one network gives, or several on average."""
    if model.temperature is not None:
        temperature = graph.array("temperature", np.array(model.temperature))
        networks = [graph.node("Div", z, temperature) for z in networks]
    if len(networks) == 1:
        graph.node("Softmax", *networks, axis=1, output="probabilities")
    else:
        graph.mean([graph.node("Softmax", z, axis=1) for z in networks], output="probabilities")


def _label(graph: Graph, model: Exported, index: str) -> _Outputs:
    classes = _storable(model.classes)
    graph.node("Gather", graph.array("classes", classes), index, output="label")
    return {"label": (classes.dtype, ("n",))}


def _storable(classes: Any) -> np.ndarray:
    """Labels as ONNX stores them, text as objects; ValueError for what it cannot store."""
    classes = np.asarray(classes)
    if classes.dtype.kind in "US":
        return classes.astype(object)
    if classes.dtype.kind == "O" and not all(isinstance(label, str) for label in classes):
        raise ValueError(f"labels must be text, numbers or truth values; got {classes.tolist()!r}")
    return classes
