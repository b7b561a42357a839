"""ONNX nodes one after another, and how each activation is built of them: a closed table.

Settings of a function stand in the graph as constants in its own dtype. ONNX's operators for the same
functions (LeakyRelu, Elu, Selu, LayerNormalization) take theirs as attributes, which are single precision in
any graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

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
        self._numbers: dict[float, str] = {}

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

    def number(self, value: float) -> str:
        """The name of a constant number, which is in the graph once."""
        if value not in self._numbers:
            name = f"number_{len(self._numbers)}"
            self._numbers[value] = self.array(name, np.array(value, self.dtype))
        return self._numbers[value]

    def columns(self) -> str:
        """The name of the constant that says: along the columns, axis 1."""
        return self.array("columns", np.array([1], np.int64))

    def cast(self, value: str, dtype: Any) -> str:
        """The same values in another dtype."""
        from onnx import helper

        return self.node("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


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
