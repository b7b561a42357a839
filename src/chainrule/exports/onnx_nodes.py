"""ONNX nodes one after another, and how each activation is built of them: a closed table.

Settings of a function stand in the graph as constants in its own dtype. ONNX's operators for the same
functions (LeakyRelu, Elu, Selu, LayerNormalization) take theirs as attributes, which are single precision in
any graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.exports.tables import Curve
from chainrule.functions.activations import SELU_ALPHA, SELU_SCALE

__all__ = ["ACTIVATION_NODES", "Graph"]


class Graph:
    """The nodes and constants of an ONNX graph in the making.

    Parameters
    ----------
    dtype : numpy.dtype
        float32 or float64: what numbers given as plain Python floats become.
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self._numbers: dict[tuple[float, str], str] = {}

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node; returns the name of its output, which is made up where none is given."""
        from onnx import helper

        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def array(self, name: str, values: np.ndarray) -> str:
        """Add a constant array; returns its name."""
        from onnx import numpy_helper

        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def number(self, value: float, dtype: Any = None) -> str:
        """The name of a constant number, which is in the graph once; in the graph's dtype by default."""
        dtype = self.dtype if dtype is None else np.dtype(dtype)
        key = (value, dtype.name)
        if key not in self._numbers:
            self._numbers[key] = self.array(f"number_{len(self._numbers)}", np.array(value, dtype))
        return self._numbers[key]

    def columns(self) -> str:
        """The name of the constant that says: along the columns, axis 1."""
        return self.array("columns", np.array([1], np.int64))

    def cast(self, value: str, dtype: Any) -> str:
        """The same values in another dtype."""
        from onnx import helper

        return self.node("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def picked(self, value: str, columns: Sequence[int]) -> str:
        """These columns of a matrix."""
        indices = self.array(f"picked_{len(self.nodes)}", np.array(columns, np.int64))
        return self.node("Gather", value, indices, axis=1)

    def mean(self, values: Sequence[str], output: str = "") -> str:
        """The mean of several float64 values of one shape."""
        total = self.node("Sum", *values)
        return self.node("Div", total, self.number(float(len(values)), np.float64), output=output)

    def on_curve(self, x: str, curve: Curve, name: str) -> str:
        """``numpy.interp`` of a float64 column (n, 1), by the same arithmetic."""
        # How many of the points are no larger than x says which line x is on; the first is level.
        reached = self.node("GreaterOrEqual", x, self.array(f"{name}_x", curve.x[None]))
        line = self.node("ReduceSum", self.cast(reached, np.int64), self.columns())
        run, rise = np.diff(curve.x), np.diff(curve.y)
        # Of points that lie above each other the last is meant: no x is on the line between them.
        slopes = np.divide(rise, run, out=np.zeros_like(rise), where=run > 0)
        start, slope, height = (
            self.node("Gather", self.array(f"{name}_{part}", values), line)
            for part, values in (
                ("start", np.concatenate([curve.x[:1], curve.x])),
                ("slope", np.concatenate([[0.0], slopes, [0.0]])),
                ("height", np.concatenate([curve.y[:1], curve.y])),
            )
        )
        return self.node("Add", self.node("Mul", slope, self.node("Sub", x, start)), height)


def _identity(graph: Graph, z: str, alpha: float) -> str:
    return graph.node("Identity", z)


def _sigmoid(graph: Graph, z: str, alpha: float) -> str:
    return graph.node("Sigmoid", z)


def _tanh(graph: Graph, z: str, alpha: float) -> str:
    return graph.node("Tanh", z)


def _relu(graph: Graph, z: str, alpha: float) -> str:
    return graph.node("Relu", z)


def _positive_or(graph: Graph, z: str, otherwise: str) -> str:
    """z for z > 0, else ``otherwise``."""
    return graph.node("Where", graph.node("Greater", z, graph.number(0.0)), z, otherwise)


def _leaky_relu(graph: Graph, z: str, alpha: float) -> str:
    return _positive_or(graph, z, graph.node("Mul", graph.number(alpha), z))


def _elu(graph: Graph, z: str, alpha: float) -> str:
    power = graph.node("Exp", graph.node("Min", z, graph.number(0.0)))  # where z > 0 it is not used
    below = graph.node("Sub", power, graph.number(1.0))
    return _positive_or(graph, z, graph.node("Mul", graph.number(alpha), below))


def _selu(graph: Graph, z: str, alpha: float) -> str:
    return graph.node("Mul", graph.number(SELU_SCALE), _elu(graph, z, SELU_ALPHA))


def _softplus(graph: Graph, z: str, alpha: float) -> str:
    return graph.node("Softplus", z)


def _gelu(graph: Graph, z: str, alpha: float) -> str:
    error = graph.node("Erf", graph.node("Mul", z, graph.number(math.sqrt(0.5))))
    twice = graph.node("Mul", z, graph.node("Add", error, graph.number(1.0)))
    return graph.node("Mul", graph.number(0.5), twice)


def _silu(graph: Graph, z: str, alpha: float) -> str:
    return graph.node("Mul", z, graph.node("Sigmoid", z))


def _mish(graph: Graph, z: str, alpha: float) -> str:
    return graph.node("Mul", z, graph.node("Tanh", graph.node("Softplus", z)))


# For each record of ``chainrule.functions.ACTIVATIONS``: (graph, name of z, alpha) to the name of h.
ACTIVATION_NODES: dict[str, Callable[[Graph, str, float], str]] = {
    "identity": _identity,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "softplus": _softplus,
    "gelu": _gelu,
    "silu": _silu,
    "mish": _mish,
}
