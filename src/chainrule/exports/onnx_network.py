"""The nodes of a network: for each kind of operation those that compute it."""

from __future__ import annotations

from typing import Any

from chainrule.exports.networks import Network
from chainrule.exports.onnx_nodes import ACTIVATION_NODES, Graph
from chainrule.plan import Operation

__all__ = ["OPERATION_NODES", "forward"]


def forward(graph: Graph, network: Network, first: str) -> str:
    """Add the nodes of every operation; returns the name of the output z."""
    names = {0: first}
    for operation, made in zip(network.operations, network.makes, strict=True):
        inputs = [names[value] for value in (operation.source, operation.second) if value >= 0]
        names[made] = OPERATION_NODES[operation.kind](graph, network, operation, *inputs)
    return names[network.output]


def _weights(graph: Graph, network: Network, operation: Operation) -> list[str]:
    """Names of weight and bias, or of γ and β, named as in the ``state_dict``: those that the layer has."""
    ends = zip(("weight", "bias"), network.affine(operation), strict=True)
    prefix = f"{operation.name}." if operation.name else ""
    return [graph.array(f"{prefix}{end}", array) for end, array in ends if array is not None]


def _linear(graph: Graph, network: Network, operation: Operation, h: str) -> str:
    return graph.node("Gemm", h, *_weights(graph, network, operation), transB=1)


def _activation(graph: Graph, network: Network, operation: Operation, z: str) -> str:
    return ACTIVATION_NODES[operation.activation](graph, z, operation.alpha)


def _scaled(graph: Graph, network: Network, operation: Operation, normalized: str) -> str:
    """γ x + β, with those of the two that there are."""
    for operator, array in zip(("Mul", "Add"), _weights(graph, network, operation), strict=False):
        normalized = graph.node(operator, normalized, array)
    return normalized


def _batch_norm(graph: Graph, network: Network, operation: Operation, h: str) -> str:
    mean, deviation = network.running(operation)
    prefix = f"{operation.name}." if operation.name else ""
    centred = graph.node("Sub", h, graph.array(f"{prefix}running_mean", mean))
    normalized = graph.node("Div", centred, graph.array(f"{prefix}running_deviation", deviation))
    return _scaled(graph, network, operation, normalized)


def _layer_norm(graph: Graph, network: Network, operation: Operation, h: str) -> str:
    columns = graph.columns()
    centred = graph.node("Sub", h, graph.node("ReduceMean", h, columns))
    variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), columns)
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.number(operation.epsilon)))
    return _scaled(graph, network, operation, graph.node("Div", centred, deviation))


def _add(graph: Graph, network: Network, operation: Operation, first: str, second: str) -> str:
    return graph.node("Add", first, second)


# For each kind of operation but dropout, which evaluation leaves out.
OPERATION_NODES: dict[str, Any] = {
    "linear": _linear,
    "activation": _activation,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    "add": _add,
}
