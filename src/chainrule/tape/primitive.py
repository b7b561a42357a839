"""A primitive: one operation that the tape can record, with the way back.

A vector-Jacobian product is written in NumPy and called as ``vjp(g, out, *inputs, **options)``: g is the
gradient with respect to the output. An argument whose name begins with ``_`` is not kept for the backward
pass; only its shape and dtype are known then. That is the whole declaration of what an operation saves, and
so of what must not be changed in place. Called with arrays a vector-Jacobian product computes; called with
tensors it is recorded in its turn, which is where higher derivatives come from.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.tape import mode
from chainrule.tape.graph import Known, Node, Saved

__all__ = ["PRIMITIVES", "Primitive", "primitive"]

PRIMITIVES: dict[str, "Primitive"] = {}


class Primitive:
    """One entry of the table.

    Attributes
    ----------
    name, formula : str
    forward : callable
        ``forward(*arrays, **options)``: the output, an array.
    vjps : tuple of (callable or None)
        For each input the vector-Jacobian product; None where there is no derivative. An operation without
        any (a comparison) gives results that require no gradient.
    is_view : bool
        Whether the output shares the input's memory; ``forward`` then also says which part it is.
    """

    def __init__(
        self,
        name: str,
        forward: Callable,
        vjps: tuple[Callable | None, ...],
        formula: str,
        is_view: bool = False,
    ) -> None:
        self.name = name
        self.forward = forward
        self.vjps = vjps
        self.formula = formula
        self.is_view = is_view
        self.needs = tuple(_needs(vjp, len(vjps)) for vjp in vjps)
        self._kept: dict[tuple[bool, ...], tuple[bool, list[bool]]] = {}

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Compute on arrays; compute and record on tensors."""
        for value in inputs:
            if isinstance(value, tensors.Tensor):
                return record(self, inputs, options)
        return self.forward(*inputs, **options)

    def kept(self, wanted: tuple[bool, ...]) -> tuple[bool, list[bool]]:
        """Whether to keep the output, and which inputs, for the gradients of the ``wanted`` inputs."""
        found = self._kept.get(wanted)
        if found is None:
            needs = [need for need, want in zip(self.needs, wanted, strict=False) if want]
            inputs = [
                any(index < len(read) and read[index] for _, read in needs) for index in range(len(wanted))
            ]
            found = self._kept[wanted] = any(out for out, _ in needs), inputs
        return found

    def __repr__(self) -> str:
        return f"Primitive({self.name}: {self.formula})"


def primitive(
    name: str, forward: Callable, *vjps: Callable | None, formula: str, is_view: bool = False
) -> Primitive:
    """Make an entry of the table."""
    if name in PRIMITIVES:
        raise ValueError(f"there is a primitive {name!r} already")
    PRIMITIVES[name] = entry = Primitive(name, forward, vjps, formula, is_view)
    return entry


def _needs(vjp: Callable | None, n_inputs: int) -> tuple[bool, tuple[bool, ...]]:
    """Whether a vector-Jacobian product reads the output, and which of the inputs."""
    if vjp is None:
        return False, ()
    reads: list[bool] = []
    for name, parameter in inspect.signature(vjp).parameters.items():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty:
            reads.append(not name.startswith("_"))
        elif parameter.kind is parameter.VAR_POSITIONAL:  # *inputs: all that are left
            reads += [not name.startswith("_")] * n_inputs
    return reads[1], tuple(reads[2 : 2 + n_inputs])


def history(x: Any) -> Any:
    """Where the gradient of an input goes: its node, the tensor itself if it is a leaf, or None."""
    if x._base is not None and x._base._changes != x._seen:
        x._renew_history()
    node = x._node
    if node is not None:
        return node
    return x if x._requires else None


def record(entry: Primitive, inputs: tuple, options: dict) -> Any:
    """The result of a primitive as a tensor, with a node that remembers how it came about."""
    Tensor: Any = tensors.Tensor
    arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
    out = entry.forward(*arrays, **options)
    if type(out) is not np.ndarray:
        out = np.asarray(out)
    result: Any = Tensor._bare(out)
    is_view = entry.is_view and np.may_share_memory(out, arrays[0])
    if is_view:
        result._share_memory(inputs[0], lambda array: entry(array, **options))
    if mode.state.recording and entry.vjps and out.dtype.kind == "f":
        edges = tuple([history(x) if isinstance(x, Tensor) else None for x in inputs])
        if edges.count(None) != len(edges):
            result._node = make_node(entry, edges, inputs, arrays, result, options)
            if is_view:
                result._seen = result._base._changes
    return result


def make_node(entry: Primitive, edges: tuple, inputs: tuple, arrays: list, out: Any, options: dict) -> Node:
    """A node that keeps what the vector-Jacobian products of the wanted inputs read, and no more."""
    Tensor = tensors.Tensor
    keeps_out, keeps = entry.kept(tuple([edge is not None for edge in edges]))
    saved: list[Any] = []
    for x, array, keep in zip(inputs, arrays, keeps, strict=True):
        if isinstance(x, Tensor):
            if keep:
                saved.append(Saved(array, x._counter, x._counter[0]))
            else:
                saved.append(Known(array.shape, array.dtype))
        elif keep or not isinstance(array, np.ndarray):
            saved.append(array)
        else:
            saved.append(Known(array.shape, array.dtype))
    counter = out._counter
    kept_out = Saved(out.data, counter, counter[0]) if keeps_out else Known(out.data.shape, out.data.dtype)
    return Node(entry, edges, tuple(saved), kept_out, keeps_out or True in keeps, options)


# At the end: tensors are made by primitives, and primitives take tensors.
from chainrule.tape import tensor as tensors  # type: ignore[no-redef]  # noqa: E402
