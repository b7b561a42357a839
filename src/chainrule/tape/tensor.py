"""``Tensor``: a NumPy array that remembers how it was computed."""

import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike

from chainrule.tape import mode
from chainrule.tape.graph import Node, Saved, walk_back
from chainrule.tape.methods import Methods
from chainrule.tape.numpy_protocol import NumpyProtocol
from chainrule.tape.operators import Operators
from chainrule.tape.primitive import Primitive, history, make_node
from chainrule.tape.primitives.shapes import part_of, with_part

__all__ = ["Parameter", "RemovableHook", "Tensor"]


class RemovableHook:
    """What ``register_hook`` gives back: ``remove()`` takes the hook away."""

    _next = 0

    def __init__(self, hooks: dict[int, Callable], hook: Callable) -> None:
        self._hooks = hooks
        self._key = RemovableHook._next
        RemovableHook._next += 1
        hooks[self._key] = hook

    def remove(self) -> None:
        """Call the hook no more."""
        self._hooks.pop(self._key, None)


class Tensor(Operators, Methods, NumpyProtocol):
    """An array on the tape: operations on it are recorded, and ``backward`` walks them back (section 7).

    Parameters
    ----------
    data : array_like
        The numbers. An array is used as it is, without a copy.
    requires_grad : bool, default=False
        Whether to record what is computed from it. Only float32 and float64 have gradients.

    Attributes
    ----------
    data : numpy.ndarray
        The numbers themselves. What is done to them directly is not recorded, and a change is not noticed:
        change the tensor instead, or call ``bump_version``.
    grad : Tensor or None
        ∂(output)/∂(this) after ``backward``, summed over all calls until ``zero_grad``.

    Raises
    ------
    TypeError
        If the numbers are not real numbers or booleans.
    RuntimeError
        If integers are to require a gradient.

    Examples
    --------
    The worked example of section 3: x = 1, y = 0, one sigmoid unit, one linear output.

    >>> from chainrule.tape import tensor
    >>> w1, b1, w2, b2 = (tensor(v, requires_grad=True) for v in (0.5, 0.0, -1.0, 0.1))
    >>> h = (w1 * 1.0 + b1).sigmoid()
    >>> loss = 0.5 * (w2 * h + b2) ** 2
    >>> loss.backward()
    >>> [round(p.grad.item(), 4) for p in (w2, b2, w1, b1)]
    [-0.3252, -0.5225, 0.1228, 0.1228]
    """

    __slots__ = ("__weakref__", "_base", "_changes", "_counter", "_hooks", "_node", "_recorded", "_requires",
                 "_seen", "_view", "data", "grad")  # fmt: skip

    __array_priority__: ClassVar[float] = 1000.0

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if isinstance(data, Tensor):
            data = data.data
        array = np.asarray(data)
        as_dtype(array.dtype, "data must be {}; got dtype {}")
        self._set(array)
        if requires_grad:
            self.requires_grad_()

    def _set(self, array: np.ndarray) -> None:
        self.data = array
        self.grad: Tensor | None = None
        self._node: Node | None = None
        self._requires = False
        self._hooks: dict[int, Callable] | None = None
        self._counter = [0]  # how often the memory was changed in place; shared with its views
        self._base: Tensor | None = None  # whose memory a view shows
        self._view: Callable | None = None  # and which part
        self._changes = 0  # how often the history of this base was replaced
        self._seen = 0  # what that was when this view's history was made

    @classmethod
    def _bare(cls, array: np.ndarray) -> "Tensor":
        """A tensor without history, of an array that needs no checks."""
        made = Tensor.__new__(Tensor)
        made._set(array)
        return made

    @classmethod
    def _with_history(cls, array: np.ndarray, node: Node, counter: list[int]) -> "Tensor":
        made = cls._bare(array)
        made._node = node
        made._counter = counter
        return made

    def _share_memory(self, source: "Tensor", view: Callable) -> None:
        """Note that this is a view of ``source``: it shares the counter of changes and the base."""
        self._counter = source._counter
        if source._base is None:
            self._base, self._view = source, view
        else:
            outer = source._view
            assert outer is not None
            self._base, self._view = source._base, lambda array: view(outer(array))
        self._seen = self._base._changes
        self._recorded = mode.state.recording  # or it was made within no_grad()

    def _renew_history(self) -> None:
        """A base that was changed in place has another history, and so have its views."""
        base = self._base
        assert base is not None
        edge = history(base)
        if edge is not None:
            self._set_history(make_node(part_of, (edge,), (base,), [base.data], self, {"view": self._view}))
        self._seen = base._changes

    # -- what it is --------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype:
        """The array's."""
        return self.data.dtype

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.data.size

    @property
    def requires_grad(self) -> bool:
        """Whether what is computed from it is recorded."""
        return history(self) is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    @property
    def is_leaf(self) -> bool:
        """Whether it is where gradients end: made by the user, not by a recorded operation."""
        return not isinstance(history(self), Node)

    @property
    def grad_fn(self) -> Node | None:
        """The node of the operation that made it; None for a leaf."""
        edge = history(self)
        return edge if isinstance(edge, Node) else None

    @property
    def _version(self) -> int:
        return self._counter[0]

    def bump_version(self) -> None:
        """Note that ``data`` was changed in place from outside, as an optimizer does."""
        self._counter[0] += 1

    def numpy(self) -> np.ndarray:
        """The array itself, not a copy.

        Raises
        ------
        RuntimeError
            If it requires a gradient, which the array could not carry on: say ``detach()`` first.
        """
        if self.requires_grad:
            raise RuntimeError(
                "a Tensor that requires grad cannot become an array without leaving the tape; "
                "use tensor.detach().numpy()"
            )
        return self.data

    def item(self) -> Any:
        """The one number that it holds."""
        return self.data.item()

    def tolist(self) -> Any:
        """The numbers as nested lists."""
        return self.data.tolist()

    # -- gradients ---------------------------------------------------------------------------------

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Add ∂(this)/∂(leaf) to the ``grad`` of every leaf that it depends on.

        Parameters
        ----------
        gradient : array_like, optional
            The gradient with respect to this tensor, of its shape; 1 for a tensor of one entry.
        retain_graph : bool, optional
            Keep what the backward pass needs, so that there can be a second; by default as ``create_graph``.
        create_graph : bool
            Record the backward pass too, for higher derivatives.

        Raises
        ------
        RuntimeError
            If it requires no gradient; has several entries and no ``gradient`` is given; the graph was freed
            by an earlier pass; or a value that is needed was changed in place.
        """
        edge = _edge_of_output(self)
        start = _start(self, gradient, create_graph)
        keep = create_graph if retain_graph is None else retain_graph
        walk_back([(edge, start)], keep=keep, create_graph=create_graph)

    def _accumulate(self, gradient: Any, is_own: bool) -> None:
        """Add to ``grad``: in place where nothing is recorded, as a new tensor where it is.

        Unless ``is_own``, the array is a view or that of another tensor's gradient too, and is copied.
        """
        if isinstance(gradient, Tensor):  # which may be another's gradient too, so a copy
            self.grad = gradient.clone() if self.grad is None else self.grad + gradient
        elif self.grad is None:
            self.grad = Tensor._bare(gradient if is_own else gradient.copy())
        elif self.grad.requires_grad:
            self.grad = self.grad + gradient
        else:
            self.grad.data += gradient
            self.grad._counter[0] += 1

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradient: None, or zeros in place."""
        if set_to_none or self.grad is None:
            self.grad = None
        else:
            self.grad = self.grad.detach()
            self.grad.data[...] = 0
            self.grad._counter[0] += 1

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Record what is computed from this leaf, or not. Returns self."""
        if requires_grad and self.data.dtype.kind != "f":
            raise RuntimeError(f"only float32 and float64 can require gradients; got dtype {self.dtype}")
        if not self.is_leaf:
            if requires_grad:
                return self
            raise RuntimeError(
                "requires_grad can only be changed on a leaf; use detach() for a tensor without history"
            )
        self._requires = bool(requires_grad)
        return self

    def retain_grad(self) -> None:
        """Fill ``grad`` although this is not a leaf."""
        edge = _edge_of_output(self)
        if isinstance(edge, Node):
            edge.retained = weakref.ref(self)

    def register_hook(self, hook: Callable[["Tensor"], "Tensor | None"]) -> RemovableHook:
        """Call ``hook`` with the gradient of this tensor whenever it is known; what it returns replaces it.

        Examples
        --------
        >>> from chainrule.tape import tensor
        >>> x = tensor([1.0, 2.0], requires_grad=True)
        >>> handle = x.register_hook(lambda g: 10 * g)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([20., 40.])
        """
        edge = _edge_of_output(self)
        if isinstance(edge, Node):
            edge.hooks = {} if edge.hooks is None else edge.hooks
            return RemovableHook(edge.hooks, hook)
        self._hooks = {} if self._hooks is None else self._hooks
        return RemovableHook(self._hooks, hook)

    def detach(self) -> "Tensor":
        """The same memory without history; a change in place of one is noticed by the other's graph."""
        made = Tensor._bare(self.data)
        made._counter = self._counter
        return made

    def detach_(self) -> Self:
        """Forget the history. Returns self."""
        if self._base is not None:
            raise RuntimeError("a view cannot be detached in place; use detach()")
        self._node, self._requires = None, False
        self._changes += 1
        return self

    # -- changes in place ----------------------------------------------------------------------------

    def _in_place(
        self, entry: Primitive, others: tuple, options: dict | None = None, write: Callable | None = None
    ) -> Self:
        """Become what ``entry`` makes of this tensor and the others, in the same memory.

        The history of the tensor is replaced; of a view, the history of the tensor that it shows.
        """
        options = options or {}
        recording = mode.state.recording
        edge = history(self)
        inputs = (self, *others)
        arrays = [x.data if isinstance(x, Tensor) else x for x in inputs]
        edges = (edge, *[history(x) if isinstance(x, Tensor) else None for x in others])
        if recording:
            self._check_history(entry, edges)
        if not recording or edges.count(None) == len(edges):
            self._write(entry, arrays, options, write)
            return self
        if any(one is not None and n[1][:1] == (True,) for one, n in zip(edges, entry.needs, strict=False)):
            arrays[0] = self.data.copy()  # what the backward pass reads is the value before
            inputs = (Tensor._bare(arrays[0]), *others)
        # Made before the change, so that a part of this tensor among the others is noticed to have changed.
        node = make_node(entry, edges, inputs, arrays, self, options)
        self._write(entry, arrays, options, write)
        if type(node.out) is Saved:
            node.out = Saved(self.data, self._counter, self._counter[0])
        self._replace_history(node)
        return self

    def _check_history(self, entry: Primitive, edges: tuple) -> None:
        """Refuse a change in place whose gradient could not be told from that of the value before."""
        base = self._base
        if edges[0] is self:
            raise RuntimeError(
                f"a leaf that requires grad is changed in place by {entry.name}: its gradient could not "
                "be told from that of the value before; do it within no_grad(), or on a copy"
            )
        if base is not None and history(base) is base:
            raise RuntimeError(
                f"a view of a leaf that requires grad is changed in place by {entry.name}; "
                "do it within no_grad(), or on a copy"
            )
        if base is not None and not self._recorded and edges.count(None) != len(edges):
            raise RuntimeError(
                f"a view that was made within no_grad() is changed in place outside by {entry.name}: whether "
                "to record that is not clear; do both within no_grad(), or both outside"
            )

    def _write(self, entry: Primitive, arrays: list, options: dict, write: Callable | None) -> None:
        if not self.data.flags.writeable:
            raise RuntimeError(
                f"{entry.name} in place: entries of this tensor share memory (it was expanded), "
                "or it is read-only"
            )
        if write is not None:
            write(self.data)
        else:
            result = np.asarray(entry.forward(*arrays, **options))
            if result.shape != self.shape:
                raise RuntimeError(
                    f"{entry.name} in place: the result has shape {result.shape}, the tensor {self.shape}"
                )
            if not np.can_cast(result.dtype, self.dtype, "same_kind"):
                raise RuntimeError(
                    f"{entry.name} in place: the result is {result.dtype}, "
                    f"which a tensor of {self.dtype} cannot hold"
                )
            self.data[...] = result
        self._counter[0] += 1

    def _replace_history(self, node: Node) -> None:
        base, view = self._base, self._view
        if base is None:
            self._set_history(node)
            self._changes += 1
            return
        # The base becomes itself with this part put in, and every view of it, this one too, a part of that.
        part = Tensor._with_history(self.data, node, self._counter)
        edges = (history(base), node)
        options = {"view": view}
        base._set_history(make_node(with_part, edges, (base, part), [base.data, self.data], base, options))
        base._changes += 1

    def _set_history(self, node: Node) -> None:
        """Come from another node; a gradient that is to be retained is that of the value now."""
        if isinstance(self._node, Node):
            node.retained, self._node.retained = self._node.retained, None
        self._node, self._requires = node, False

    # -- copies, files and print ---------------------------------------------------------------------

    def __deepcopy__(self, memo: dict) -> "Tensor":
        if not self.is_leaf:
            raise RuntimeError("only leaves can be deep-copied; use detach() first")
        made = type(self).__new__(type(self))
        made._set(self.data.copy())
        made._requires = self._requires
        made.grad = None if self.grad is None else Tensor._bare(self.grad.data.copy())
        memo[id(self)] = made
        return made

    def __reduce__(self) -> tuple:
        if not self.is_leaf:
            raise RuntimeError("only leaves can be pickled; use detach() first")
        return type(self), (self.data, self._requires)

    def __repr__(self) -> str:
        numbers = np.array2string(self.data, separator=", ", prefix="tensor(")
        extra = "" if self.dtype in (np.float32, np.int64, np.bool_) else f", dtype={self.dtype}"
        edge = history(self)
        if isinstance(edge, Node):
            extra += f", grad_fn={edge!r}"
        elif edge is not None:
            extra += ", requires_grad=True"
        return f"tensor({numbers}{extra})"

    def __format__(self, specification: str) -> str:
        """A tensor of one entry is formatted as its number."""
        if self.data.ndim == 0:
            return format(self.data.item(), specification)
        return format(repr(self), specification)


class Parameter(Tensor):
    """A tensor that a module trains: it requires a gradient.

    Examples
    --------
    >>> Parameter(np.zeros(2))
    Parameter containing:
    tensor([0., 0.], dtype=float64, requires_grad=True)
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


def _edge_of_output(tensor: Tensor) -> Any:
    edge = history(tensor)
    if edge is None:
        raise RuntimeError(
            "this tensor requires no gradient and has no history: nothing it was computed from "
            "has requires_grad=True, or it was computed within no_grad()"
        )
    return edge


def _start(tensor: Tensor, gradient: Any, create_graph: bool) -> Any:
    """The gradient with respect to the output itself."""
    if gradient is None:
        if tensor.size != 1:
            raise RuntimeError(
                "backward without a gradient needs a tensor of one entry (a loss); "
                f"this one has shape {tensor.shape}: give gradient=, or take its sum or mean"
            )
        gradient = np.ones(tensor.shape, tensor.dtype)
    if not isinstance(gradient, Tensor):
        gradient = Tensor(np.asarray(gradient, tensor.dtype))
    if gradient.shape != tensor.shape:
        raise RuntimeError(
            f"gradient must have the shape of the tensor, {tensor.shape}; got {gradient.shape}"
        )
    gradient = gradient.to(tensor.dtype)
    return gradient if create_graph else gradient.data


def as_dtype(dtype: DTypeLike, message: str = "dtype must be {}; got {}") -> np.dtype:
    """A dtype that a tensor can have."""
    found = np.dtype(dtype)
    if found.kind not in "fiub" or found == np.float16 or found.itemsize > 8:
        raise TypeError(message.format("float32, float64, integers or booleans", found))
    return found
