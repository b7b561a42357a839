"""The tape itself: what a recorded operation keeps, and the walk back over it.

Every operation on a tensor that requires a gradient makes a ``Node``. Nodes are numbered as they are made,
so that a node's inputs always have smaller numbers than the node: taking the pending node with the largest
number, again and again, is a reverse topological order. No recursion, and no counting of who still waits for
whom.

A node maps the gradient with respect to its output (the cotangent) to that of each input: a vector-Jacobian
product. No Jacobian matrix is ever formed (section 3).
"""

import heapq
import itertools
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.tape import mode

__all__ = ["Known", "Node", "Saved", "sum_to_shape", "walk_back"]

_numbers = itertools.count()


class Known:
    """Stands for an input that was not kept: of it only shape and dtype may be asked."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.shape = shape
        self.dtype = dtype

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)


class Saved(NamedTuple):
    """An array that the backward pass reads, and the version that it had when it was recorded."""

    array: np.ndarray
    counter: list[int]
    version: int


class Node:
    """One recorded operation.

    Attributes
    ----------
    primitive : Primitive
        The entry of the table that says how to go back.
    edges : tuple
        For each input where its gradient goes: a Node, a leaf Tensor, or None where none is wanted.
    saved : tuple of Saved, Known or anything
        The inputs as the vector-Jacobian products take them; None once the graph has been freed.
    out : Saved or Known
        The output likewise.
    keeps : bool
        Whether values are among them; a node that keeps none can be walked again and again.
    options : dict
        What the primitive was given by keyword.
    number : int
        Larger than that of any node that this one depends on.
    hooks : dict or None
        Functions of the gradient with respect to the output.
    retained : weakref or None
        The tensor whose ``grad`` is to be filled although it is not a leaf.
    """

    __slots__ = ("edges", "hooks", "keeps", "number", "options", "out", "primitive", "retained", "saved")

    def __init__(
        self, primitive: Any, edges: tuple, saved: tuple, out: Any, keeps: bool, options: dict
    ) -> None:
        self.primitive = primitive
        self.edges = edges
        self.saved: tuple | None = saved
        self.out = out
        self.keeps = keeps
        self.options = options
        self.number = next(_numbers)
        self.hooks: dict[int, Callable] | None = None
        self.retained: weakref.ref | None = None

    @property
    def name(self) -> str:
        """The operation's."""
        name: str = self.primitive.name
        return name

    @property
    def next_functions(self) -> tuple:
        """Where the gradients of the inputs go: Nodes, leaf Tensors, or None."""
        return self.edges

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def free(self) -> None:
        """Let go of the values that were kept for the backward pass."""
        if self.keeps:
            self.saved = None
            self.out = None

    def gradients(self, gradient: Any, create_graph: bool, wanted: "set[int] | None") -> Iterable[tuple]:
        """For each input that wants one: its edge, its gradient, and whether nobody else has that array."""
        if self.saved is None:
            raise RuntimeError(
                f"backward a second time through the graph of {self.name}: what it had kept was freed by the "
                "first pass; give retain_graph=True to the first backward() if you need the second"
            )
        edges = self.edges
        inputs, out = self._unpacked(create_graph)
        for index, (edge, vjp) in enumerate(zip(edges, self.primitive.vjps, strict=False)):
            if edge is None or (wanted is not None and id(edge) not in wanted):
                continue
            if vjp is None:
                raise RuntimeError(f"{self.name} has no derivative with respect to its input {index}")
            result = vjp(gradient, out, *inputs, **self.options)
            if result is None:
                continue
            below = fitted(result, self.saved[index], create_graph)
            yield edge, below, not create_graph and _is_own(below, gradient)

    def _unpacked(self, create_graph: bool) -> tuple[list, Any]:
        """The inputs and the output, checked not to have been changed since; as tensors for a second pass."""
        inputs: list[Any] = []
        for index, item in enumerate(self.saved or ()):
            if type(item) is Saved:
                if item.counter[0] != item.version:
                    raise changed_in_place(self, item, f"input {index}")
                item = on_tape(item, self.edges[index]) if create_graph else item.array
            inputs.append(item)
        out = self.out
        if type(out) is Saved:
            if out.counter[0] != out.version:
                raise changed_in_place(self, out, "the output")
            out = on_tape(out, self) if create_graph else out.array
        return inputs, out


def changed_in_place(node: Node, item: Saved, which: str) -> RuntimeError:
    """The error for a value that was changed between the forward and the backward pass."""
    return RuntimeError(
        "one of the values needed for the gradient has been modified by an in-place operation: "
        f"{which} of {node.name}, of shape {item.array.shape}, is at version {item.counter[0]}; expected "
        f"version {item.version} instead. Change a copy, or change it after backward()"
    )


def on_tape(item: Saved, edge: Any) -> Any:
    """A saved array as a tensor with its history, so that the backward pass is recorded too."""
    if edge is None:
        return item.array
    if not isinstance(edge, Node):
        return edge  # a leaf: the tensor itself
    return tensors.Tensor._with_history(item.array, edge, item.counter)


def sum_to_shape(gradient: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting: what an entry was copied to is summed, the transpose of copying."""
    extra = gradient.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + axis for axis, size in enumerate(shape) if size == 1 and gradient.shape[extra + axis] != 1
    )
    # Methods of both arrays and tensors.
    return gradient.sum(axis=axes, keepdims=True).reshape(shape) if axes else gradient


def fitted(gradient: Any, item: Any, create_graph: bool) -> Any:
    """The gradient in the shape and precision of the input that it belongs to."""
    like = item.array if type(item) is Saved else item
    if not create_graph and type(gradient) is not np.ndarray:
        gradient = np.asarray(gradient)
    if gradient.shape != like.shape:
        gradient = sum_to_shape(gradient, like.shape)
    if gradient.dtype != like.dtype:
        gradient = gradient.astype(like.dtype)
    return gradient


def _is_own(below: np.ndarray, gradient: np.ndarray) -> bool:
    """Whether what came of a gradient is a new array, every entry in a place of its own."""
    return below.flags.writeable and not np.may_share_memory(below, gradient)


class _Pending:
    """Gradients on their way: summed where several paths meet.

    A vector-Jacobian product makes a new array, or hands on the one that it was given, or a view of that (the
    sum x + y hands one array to both). Only a new one is added to in place, or becomes a leaf's ``grad``.
    """

    def __init__(self, create_graph: bool) -> None:
        self.create_graph = create_graph
        self.heap: list[tuple[int, Node]] = []
        self.nodes: dict[Node, Any] = {}
        self.leaves: dict[int, list] = {}
        self.hooked = False
        self._awaited: Counter[int] | None = None
        self._own: set[int] = set()

    def add(self, edge: Any, gradient: Any, is_own: bool) -> None:
        if isinstance(edge, Node):
            if edge in self.nodes:
                self.nodes[edge] = self._sum(id(edge), self.nodes[edge], gradient)
                return
            self.nodes[edge] = gradient
            heapq.heappush(self.heap, (-edge.number, edge))
        elif id(edge) in self.leaves:
            entry = self.leaves[id(edge)]
            entry[1] = self._sum(id(edge), entry[1], gradient)
            return
        else:
            self.leaves[id(edge)] = [edge, gradient]
            if edge._hooks:
                self.hooked = True
        if is_own:
            self._own.add(id(edge))

    def _sum(self, key: int, first: Any, second: Any) -> Any:
        if self.create_graph:
            return first + second
        if key in self._own:
            first += second
            return first
        self._own.add(key)
        return np.asarray(first + second)

    def pop(self) -> tuple[Node, Any]:
        node = heapq.heappop(self.heap)[1]
        self._own.discard(id(node))
        return node, self.nodes.pop(node)

    def arrive(self, leaf: Any, gradient: Any, accumulate: bool) -> Any:
        """The complete gradient of a leaf, after its hooks; added to its ``grad`` if it is to accumulate."""
        hooked = _through_hooks(leaf._hooks, gradient)
        if accumulate:
            leaf._accumulate(hooked, is_own=id(leaf) in self._own and not leaf._hooks)
        return hooked

    def completed_by(self, node: Node, wanted: set[int] | None) -> Iterator[list]:
        """Leaves with hooks, and their gradients, to which ``node``, just walked, was the last to lead.

        Hooks are called as soon as the gradient is complete. Only for their sake are the edges that lead to
        leaves counted, when the first leaf with hooks is met.
        """
        if self._awaited is None:
            below = _reachable((pending for _, pending in self.heap), wanted)
            self._awaited = Counter(id(edge) for one in below for edge in one.edges)
        else:
            self._awaited.subtract(id(edge) for edge in node.edges)
        for edge in node.edges:
            if id(edge) in self.leaves and edge._hooks and not self._awaited[id(edge)]:
                yield self.leaves.pop(id(edge))


def walk_back(
    roots: Sequence[tuple[Any, Any]],
    *,
    keep: bool,
    create_graph: bool,
    inputs: Sequence[Any] | None = None,
) -> list[Any]:
    """Send gradients back from ``roots``, pairs of an edge and the gradient that arrives there.

    Parameters
    ----------
    roots : sequence of (Node or leaf Tensor, gradient)
    keep : bool
        Whether the graph can be walked again.
    create_graph : bool
        Whether the walk is recorded: gradients are then tensors.
    inputs : sequence of (Node or leaf Tensor), optional
        Return the gradients there, and go nowhere else; without it they are added to the leaves' ``grad``.

    Returns
    -------
    list
        A gradient, or None, for each of ``inputs``.
    """
    pending = _Pending(create_graph)
    wanted = None if inputs is None else _leading_to(inputs, [edge for edge, _ in roots])
    targets = {} if inputs is None else {id(edge): edge for edge in inputs}
    found: dict[int, Any] = {}
    for edge, gradient in roots:
        if wanted is None or id(edge) in wanted:
            pending.add(edge, gradient, is_own=False)
    # BLAS may raise the processor's flag for an invalid operation in lanes beyond the end of a row.
    with mode.set_grad_enabled(create_graph), np.errstate(invalid="ignore"):
        while pending.heap:
            node, gradient = pending.pop()
            gradient = _through_hooks(node.hooks, gradient)
            if node.retained is not None:
                _fill_retained(node, gradient)
            if id(node) in targets:
                found[id(node)] = gradient
                # Beyond a node that was asked for there may be others.
                if not any(id(edge) in wanted for edge in node.edges if edge is not None):  # type: ignore[operator]
                    continue
            for edge, below, is_own in node.gradients(gradient, create_graph, wanted):
                pending.add(edge, below, is_own)
            if not keep:
                node.free()
            if pending.hooked:
                for leaf, gradient in pending.completed_by(node, wanted):
                    found[id(leaf)] = pending.arrive(leaf, gradient, accumulate=inputs is None)
        for leaf, gradient in pending.leaves.values():
            found[id(leaf)] = pending.arrive(leaf, gradient, accumulate=inputs is None)
    return [found.get(id(edge)) for edge in inputs or ()]


def _through_hooks(hooks: dict | None, gradient: Any) -> Any:
    for hook in tuple(hooks.values()) if hooks else ():
        given = gradient if isinstance(gradient, tensors.Tensor) else tensors.Tensor(gradient)
        changed = hook(given)
        if changed is not None:
            changed = changed if isinstance(changed, tensors.Tensor) else tensors.Tensor(changed)
            if changed.shape != given.shape or changed.dtype != given.dtype:
                raise RuntimeError(
                    f"a hook must return a gradient of shape {given.shape} and dtype {given.dtype}; "
                    f"got shape {changed.shape} and dtype {changed.dtype}"
                )
            gradient = changed if isinstance(gradient, tensors.Tensor) else changed.data
    return gradient


def _fill_retained(node: Node, gradient: Any) -> None:
    tensor = node.retained() if node.retained is not None else None
    if tensor is not None:
        tensor._accumulate(gradient, is_own=False)


def _leading_to(targets: Sequence[Any], roots: Iterable[Any]) -> set[int]:
    """Which nodes and leaves lie on a way from the roots to a target, by their ids."""
    leading = {id(target) for target in targets}
    for node in sorted(_reachable(roots), key=lambda node: node.number):
        if any(edge is not None and id(edge) in leading for edge in node.edges):
            leading.add(id(node))
    return leading


def _reachable(roots: Iterable[Any], wanted: set[int] | None = None) -> set[Node]:
    """All nodes on the way back from the roots, or those of them that are wanted."""
    nodes: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node not in nodes and (wanted is None or id(node) in wanted):
            nodes.add(node)
            stack.extend(node.edges)
    return nodes


# At the end: tensors are made of nodes, and nodes of tensors.
from chainrule.tape import tensor as tensors  # noqa: E402
