"""Section 7: the chapter's snippet on the tape, and what the tape's walk back does, watched."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.book.experiments.multilayer import classes_of
from chainrule.tape import Tensor, tensor
from chainrule.tape.graph import Node
from chainrule.textbook import backprop

__all__ = [
    "GraphNode",
    "Memory",
    "Snippet",
    "Walk",
    "chapter_snippet",
    "doubled",
    "memory_of_a_walk",
    "random_walk",
    "small_graph",
    "snippet_error",
]


# -- the snippet -----------------------------------------------------------------------------------


def chapter_snippet(n: int = 32, seed: int = 0, dtype: Any = np.float32) -> Snippet:
    """The chapter's network and batch: one backward pass, and what it leaves in each parameter.

    Parameters
    ----------
    n : int
        Rows of the batch.
    seed : int
        Draws the weights, the inputs and the classes.
    dtype : float32 or float64

    Returns
    -------
    Snippet

    Examples
    --------
    >>> [shape for shape in chapter_snippet(n=2).shapes.values()]
    [(128, 784), (128,), (10, 128), (10,)]
    """
    rng = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.Linear(784, 128, dtype=dtype, rng=rng), nn.ReLU(), nn.Linear(128, 10, dtype=dtype, rng=rng)
    )
    X, y = tensor(rng.normal(size=(n, 784)), dtype=dtype), classes_of(n, 10, seed)

    loss = nn.CrossEntropyLoss()(net(X), y)
    loss.backward()

    parameters = dict(net.named_parameters())
    gradients = {name: one.grad.data for name, one in parameters.items() if one.grad is not None}
    return Snippet(
        float(loss.item()),
        {name: one.shape for name, one in gradients.items()},
        {name: float(np.linalg.norm(one)) for name, one in gradients.items()},
        gradients,
        {name: one.data for name, one in parameters.items()},
        (X.data, y),
    )


@dataclass(frozen=True, eq=False)
class Snippet:
    """What the chapter's snippet prints, and what it is computed from.

    Attributes
    ----------
    loss : float
    shapes, norms : dict
        Of each parameter's gradient, by the parameter's name.
    gradients, parameters : dict of str to ndarray
    batch : tuple of ndarray
        X and y.
    """

    loss: float
    shapes: dict[str, tuple[int, ...]]
    norms: dict[str, float]
    gradients: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray]
    batch: tuple[np.ndarray, np.ndarray]


def snippet_error(found: Snippet) -> float:
    """The largest difference of the tape's gradients from ``backprop``'s, as a share of the largest entry."""
    X, y = found.batch
    names = list(found.parameters)
    weights, biases = ([found.parameters[name] for name in names[first::2]] for first in (0, 1))
    grad_W, grad_b = backprop(X.T, y, weights, biases, ["relu"])
    expected = dict(zip(names, (grad_W[0], grad_b[0], grad_W[1], grad_b[1]), strict=True))
    return max(
        float(np.abs(found.gradients[name] - one).max() / np.abs(one).max()) for name, one in expected.items()
    )


# -- the walk --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Walk:
    """A backward pass through a random expression, watched by hooks.

    Attributes
    ----------
    nodes : int
        Operations that lead to the loss.
    paths : int
        Ways from the loss to the leaves: what a walk without a plan would go along, one by one.
    visits : int
        How often an operation was visited, all together.
    visited : int
        How many operations were.
    early : int
        Visits before all operations that read the result had been visited.
    error : float
        The largest difference of the leaves' gradients from derivatives by complex steps, as a share of the
        largest where that is above 1.
    """

    nodes: int
    paths: int
    visits: int
    visited: int
    early: int
    error: float


_ONE_INPUT: tuple[Callable[[Any], Any], ...] = (np.sin, np.cos)
_TWO_INPUTS: tuple[Callable[[Any, Any], Any], ...] = (np.add, np.subtract, np.multiply)


def random_walk(seed: int, operations: int = 40, leaves: int = 3) -> Walk:
    """Build an expression at random in which results are used again and again, and walk it back.

    Parameters
    ----------
    seed : int
    operations, leaves : int

    Returns
    -------
    Walk

    Examples
    --------
    >>> found = random_walk(seed=0)
    >>> found.visits == found.visited == found.nodes, found.early, found.paths > 10 * found.nodes
    (True, 0, True)
    """
    rng = np.random.default_rng(seed)
    values = list(rng.normal(size=leaves))
    recipe = [_step(number, rng) for number in range(leaves, leaves + operations)]

    made = [tensor(value, requires_grad=True, dtype=np.float64) for value in values]
    inputs: dict[int, tuple[int, ...]] = dict.fromkeys(range(leaves), ())
    order: list[int] = []
    for operation, read in recipe:
        inputs[len(made)] = read
        made.append(operation(*(made[index] for index in read)))
        made[-1].register_hook(_noting(order, len(made) - 1))
    made[-1].backward()

    right = _by_complex_steps(values, recipe)
    found = np.array([0.0 if one.grad is None else one.grad.item() for one in made[:leaves]])
    needed = _leading_to(len(made) - 1, inputs)
    return Walk(
        nodes=sum(number >= leaves for number in needed),
        paths=_paths(len(made) - 1, inputs),
        visits=len(order),
        visited=len(set(order)),
        early=_early(order, inputs, needed),
        error=float(np.abs(found - right).max() / max(1.0, np.abs(right).max())),
    )


def _noting(order: list[int], number: int) -> Callable[[Tensor], None]:
    def hook(gradient: Tensor) -> None:
        order.append(number)

    return hook


def _by_complex_steps(
    values: list[float], recipe: list[tuple[Callable[..., Any], tuple[int, ...]]]
) -> np.ndarray:
    """Im f(x + ih) / h: the derivative without a subtraction, so exact to rounding; no tape is needed."""
    slopes = []
    for changed in range(len(values)):
        made: list[Any] = [np.complex128(value) for value in values]
        made[changed] += 1e-30j
        for operation, read in recipe:
            made.append(operation(*(made[index] for index in read)))
        slopes.append(made[-1].imag / 1e-30)
    return np.array(slopes)


def _step(number: int, rng: np.random.Generator) -> tuple[Callable[..., Any], tuple[int, ...]]:
    """An operation and which of the results so far it reads: the last one, and another not long before it.

    Every second one is bounded, so that no value grows beyond all measure.
    """
    if number % 2:
        return _ONE_INPUT[rng.integers(len(_ONE_INPUT))], (number - 1,)
    other = max(0, number - 1 - int(rng.geometric(0.4)))
    return _TWO_INPUTS[rng.integers(len(_TWO_INPUTS))], (number - 1, other)


def _leading_to(last: int, inputs: dict[int, tuple[int, ...]]) -> set[int]:
    needed = {last}
    for number in range(last, -1, -1):
        if number in needed:
            needed.update(inputs[number])
    return needed


def _paths(last: int, inputs: dict[int, tuple[int, ...]]) -> int:
    ways: dict[int, int] = {}
    for number in range(last + 1):
        ways[number] = sum(ways[index] for index in inputs[number]) if inputs[number] else 1
    return ways[last]


def _early(order: list[int], inputs: dict[int, tuple[int, ...]], needed: set[int]) -> int:
    """How many visits came before one to an operation that reads the result."""
    when = {number: place for place, number in enumerate(order)}
    return sum(
        when[index] < when[number]
        for number in needed & when.keys()
        for index in inputs[number]
        if index in when
    )


# -- memory ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Memory:
    """What the walk back through one operation takes at most, beside its Jacobian matrix.

    Attributes
    ----------
    name : str
    outputs, inputs : int
        Rows and columns of the Jacobian matrix.
    jacobian : int
        Its bytes.
    peak : int
        The most bytes that the walk had at once, its results included.
    """

    name: str
    outputs: int
    inputs: int
    jacobian: int
    peak: int


def memory_of_a_walk(d: int = 400, n: int = 16) -> tuple[Memory, ...]:
    """Measure the memory of three vector-Jacobian products.

    Parameters
    ----------
    d : int
        Entries of a row.
    n : int
        Rows.

    Returns
    -------
    tuple of Memory

    Examples
    --------
    >>> all(one.peak < one.jacobian / 10 for one in memory_of_a_walk(d=100, n=8))
    True
    """
    rng = np.random.default_rng(0)
    H, W = rng.normal(size=(n, d)), rng.normal(size=(d, d)) / np.sqrt(d)
    operations: dict[str, tuple[Callable[[Tensor], Any], np.ndarray]] = {
        "tanh of a batch": (np.tanh, H),
        "softmax of a batch": (lambda z: z.softmax(axis=1), H),
        "a linear layer, by its input": (lambda h: h @ W, H),
        "a linear layer, by its weights": (lambda weight: H @ weight, W),
    }
    return tuple(_measured(name, *one) for name, one in operations.items())


def _measured(name: str, operation: Callable[[Tensor], Any], start: np.ndarray) -> Memory:
    x = tensor(start, requires_grad=True)
    out = operation(x)
    cotangent = np.ones(out.shape)
    tracemalloc.start()
    try:
        out.backward(cotangent)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return Memory(name, out.size, x.size, out.size * x.size * start.itemsize, peak)


# -- a small graph ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class GraphNode:
    """A node of the record of a small expression.

    Attributes
    ----------
    name : str
    value, gradient : float
        Going forward, and coming back.
    inputs : tuple of int
        Places of the nodes that it reads; constants are not recorded.
    is_leaf : bool
    """

    name: str
    value: float
    gradient: float
    inputs: tuple[int, ...]
    is_leaf: bool


def small_graph() -> tuple[GraphNode, ...]:
    """Record ½ (σ(w x + b) − y)² + ½ w² at x = 1.5, y = 1, and walk it back.

    Returns
    -------
    tuple of GraphNode
        In the order in which they were made, every node after what it reads.

    Examples
    --------
    >>> [node.name for node in small_graph()][:3]
    ['w', 'b', 'multiply']
    """
    w, b = (tensor(value, requires_grad=True, dtype=np.float64) for value in (0.8, -0.3))
    kept = [w * 1.5]
    kept.append(kept[-1] + b)
    kept.append(kept[-1].sigmoid())
    kept.append(kept[-1] - 1.0)
    kept.append(kept[-1] ** 2)
    kept.append(kept[-1] * 0.5)
    kept += [w**2]
    kept.append(kept[-1] * 0.5)
    kept.append(kept[-3] + kept[-1])
    for one in kept:
        one.retain_grad()
    record = [(one, one.grad_fn) for one in kept]
    edges = [node.next_functions for _, node in record if isinstance(node, Node)]
    kept[-1].backward()
    places = {id(w): 0, id(b): 1} | {id(node): 2 + number for number, (_, node) in enumerate(record)}
    leaves = [GraphNode(name, one.item(), _gradient(one), (), True) for name, one in (("w", w), ("b", b))]
    return tuple(leaves) + tuple(
        GraphNode(
            _NAMES.get(node.name, node.name),
            one.item(),
            _gradient(one),
            tuple(places[id(edge)] for edge in read if edge is not None),
            False,
        )
        for (one, node), read in zip(record, edges, strict=True)
        if isinstance(node, Node)
    )


_NAMES = {"expit": "sigmoid"}


def _gradient(one: Tensor) -> float:
    assert one.grad is not None
    return float(one.grad.item())


def doubled(times: int) -> tuple[Tensor, Sequence[Tensor]]:
    """y = x, then y = y + y so many times: 2^times paths over as many operations.

    Returns
    -------
    y : Tensor
    made : sequence of Tensor
        x first.

    Examples
    --------
    >>> y, (x, *_) = doubled(50)
    >>> y.backward()
    >>> x.grad.item() == 2.0**50
    True
    """
    made = [tensor(1.0, requires_grad=True, dtype=np.float64)]
    for _ in range(times):
        made.append(made[-1] + made[-1])
    return made[-1], made
