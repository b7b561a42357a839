"""The methods of a tensor: PyTorch's and NumPy's names for entries of the table.

Axes may be said as ``axis=`` or ``dim=``, and ``keepdims=`` or ``keepdim=``. Where the two libraries
disagree a method is PyTorch's and the NumPy function NumPy's: ``t.var()`` divides by n - 1, ``numpy.var(t)``
by n.
"""

from typing import Any, NamedTuple

import numpy as np

from chainrule.functions import ACTIVATIONS
from chainrule.tape.primitive import PRIMITIVES
from chainrule.tape.primitives import elementwise, products, records, reductions, shapes
from chainrule.tape.sizes import as_sizes

__all__ = ["Chosen", "Methods"]


class Chosen(NamedTuple):
    """What ``max(dim=...)`` and ``sort`` give: the values, and where they were."""

    values: Any
    indices: Any


def _axis(axis: Any, dim: Any) -> Any:
    if axis is not None and dim is not None:
        raise TypeError("axis and dim are the same argument: give one of them")
    found = dim if axis is None else axis
    return tuple(found) if isinstance(found, list) else found


def _reduction(entry: Any) -> Any:
    def method(
        self: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Any:
        return entry(self, axis=_axis(axis, dim), keepdims=bool(keepdims or keepdim))

    method.__doc__ = f"{entry.formula}, over all axes or some."
    return method


def _elementwise(entry: Any) -> Any:
    def method(self: Any) -> Any:
        return entry(self)

    method.__doc__ = f"{entry.formula}, entry by entry."
    return method


def _in_place(entry: Any) -> Any:
    def method(self: Any, *others: Any) -> Any:
        return self._in_place(entry, others)

    method.__doc__ = f"{entry.formula}, in place. Returns self."
    return method


class Methods:
    """What a tensor can be asked."""

    __slots__ = ()

    data: np.ndarray

    sum, mean, prod = (_reduction(e) for e in (reductions.sum_of, reductions.mean, reductions.prod))
    amax, amin, logsumexp = (
        _reduction(e) for e in (reductions.maximum_of, reductions.minimum_of, reductions.logsumexp)
    )

    exp, log, sqrt, abs, square = (
        _elementwise(PRIMITIVES[name]) for name in ("exp", "log", "sqrt", "absolute", "square")
    )
    expm1, log1p, log2, log10, exp2 = (
        _elementwise(PRIMITIVES[name]) for name in ("expm1", "log1p", "log2", "log10", "exp2")
    )
    sin, cos, tan, sinh, cosh, tanh = (
        _elementwise(PRIMITIVES[name]) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")
    )
    asin, acos, atan, asinh, acosh, atanh = (
        _elementwise(PRIMITIVES[name])
        for name in ("arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh")
    )
    neg, reciprocal, sign, floor, ceil, trunc, erf, erfc, logsigmoid = (
        _elementwise(PRIMITIVES[name])
        for name in ("negative", "reciprocal", "sign", "floor", "ceil", "trunc", "erf", "erfc", "log_expit")
    )
    sigmoid = _elementwise(PRIMITIVES["expit"])
    isnan, isfinite, isinf = (_elementwise(PRIMITIVES[name]) for name in ("isnan", "isfinite", "isinf"))

    add_, sub_, mul_, div_, pow_ = (
        _in_place(PRIMITIVES[name]) for name in ("add", "subtract", "multiply", "divide", "power")
    )
    exp_, log_, sqrt_, neg_, tanh_, sigmoid_, abs_ = (
        _in_place(PRIMITIVES[name])
        for name in ("exp", "log", "sqrt", "negative", "tanh", "expit", "absolute")
    )

    # -- reductions --------------------------------------------------------------------------------

    def max(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> Any:
        """The largest entry; with ``dim=`` also where it is, as in PyTorch."""
        return self._chosen(reductions.maximum_of, np.argmax, axis, dim, keepdims or keepdim)

    def min(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> Any:
        """The smallest entry; with ``dim=`` also where it is, as in PyTorch."""
        return self._chosen(reductions.minimum_of, np.argmin, axis, dim, keepdims or keepdim)

    def _chosen(self, entry: Any, find: Any, axis: Any, dim: Any, keepdims: bool) -> Any:
        if dim is None:
            return entry(self, axis=axis, keepdims=bool(keepdims))
        index = find(self.data, axis=dim, keepdims=True)
        values = shapes.take_along(self, index=index, axis=dim)
        if not keepdims:
            values, index = np.squeeze(values, axis=dim), np.squeeze(index, axis=dim)
        return Chosen(values, type(self)._bare(index))  # type: ignore[attr-defined]

    def var(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False,
        correction: int = 1, unbiased: bool | None = None,
    ) -> Any:  # fmt: skip
        """The variance, divided by n - correction: PyTorch's, so by n - 1 unless something else is said."""
        correction = correction if unbiased is None else int(unbiased)
        return reductions.variance(
            self, axis=_axis(axis, dim), keepdims=bool(keepdims or keepdim), correction=correction
        )

    def std(self, *arguments: Any, **options: Any) -> Any:
        """The square root of ``var``."""
        return elementwise.sqrt(self.var(*arguments, **options))

    def norm(
        self, p: Any = 2, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Any:
        """The p-norm of all entries, or along axes."""
        order = 2.0 if p == "fro" else float(p)
        return reductions.norm(self, order=order, axis=_axis(axis, dim), keepdims=bool(keepdims or keepdim))

    def softmax(self, axis: int | None = None, *, dim: int | None = None) -> Any:
        """e^(x_i) / sum_j e^(x_j) along an axis, the last by default."""
        chosen = _axis(axis, dim)
        return reductions.softmax(self, axis=-1 if chosen is None else chosen)

    def log_softmax(self, axis: int | None = None, *, dim: int | None = None) -> Any:
        """The logarithm of the softmax, without overflow."""
        chosen = _axis(axis, dim)
        return reductions.log_softmax(self, axis=-1 if chosen is None else chosen)

    def cumsum(self, axis: int | None = None, *, dim: int | None = None) -> Any:
        """Sums of the entries so far along an axis."""
        return np.cumsum(self, axis=_axis(axis, dim))  # type: ignore[call-overload]

    def argmax(self, axis: Any = None, *, dim: Any = None, keepdim: bool = False) -> Any:
        """Where the largest entry is."""
        return PRIMITIVES["argmax"](self, axis=_axis(axis, dim), keepdims=keepdim)

    def argmin(self, axis: Any = None, *, dim: Any = None, keepdim: bool = False) -> Any:
        """Where the smallest entry is."""
        return PRIMITIVES["argmin"](self, axis=_axis(axis, dim), keepdims=keepdim)

    def sort(self, axis: int | None = None, *, dim: int | None = None, descending: bool = False) -> Chosen:
        """The entries in order along an axis, the last by default, and where they were."""
        chosen = _axis(axis, dim)
        chosen = -1 if chosen is None else chosen
        index = np.argsort(-self.data if descending else self.data, axis=chosen, kind="stable")
        values = shapes.take_along(self, index=index, axis=chosen)
        return Chosen(values, type(self)._bare(index))  # type: ignore[attr-defined]

    def any(self, axis: Any = None, *, dim: Any = None) -> Any:
        """Whether any entry is true."""
        return PRIMITIVES["any"](self, axis=_axis(axis, dim))

    def all(self, axis: Any = None, *, dim: Any = None) -> Any:
        """Whether every entry is true."""
        return PRIMITIVES["all"](self, axis=_axis(axis, dim))

    # -- shapes ------------------------------------------------------------------------------------

    @property
    def T(self) -> Any:
        """The axes in reverse order: the transposed matrix."""
        return shapes.transpose(self)

    @property
    def mT(self) -> Any:
        """The matrices of a stack, transposed."""
        return np.swapaxes(self, -1, -2)  # type: ignore[call-overload]

    def reshape(self, *shape: Any) -> Any:
        """The entries in another shape."""
        return shapes.reshape(self, shape=as_sizes(shape))

    def view(self, *shape: Any) -> Any:
        """``reshape`` that insists on sharing memory; RuntimeError where it cannot."""
        made = shapes.reshape(self, shape=as_sizes(shape))
        if made.size and not np.may_share_memory(made.data, self.data):
            raise RuntimeError(f"view cannot give shape {made.shape} without a copy; use reshape")
        return made

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Any:
        """Some neighbouring axes made one."""
        shape = self.data.shape or (1,)
        start, end = start_dim % len(shape), end_dim % len(shape)
        return shapes.reshape(self, shape=(*shape[:start], -1, *shape[end + 1 :]))

    def ravel(self) -> Any:
        """All entries in one row."""
        return shapes.reshape(self, shape=(-1,))

    def transpose(self, *axes: Any) -> Any:
        """Two axes exchanged, as in PyTorch; without arguments, or with all axes, as in NumPy."""
        axes = as_sizes(axes)
        if len(axes) == 2 and self.data.ndim != 2:
            return np.swapaxes(self, *axes)  # type: ignore[call-overload]
        if len(axes) == 2 and axes[0] % 2 == axes[1] % 2:
            return shapes.transpose(self, axes=(0, 1))
        return shapes.transpose(self, axes=(1, 0) if len(axes) == 2 else axes or None)

    def t(self) -> Any:
        """The transposed matrix."""
        return shapes.transpose(self)

    def permute(self, *axes: Any) -> Any:
        """The axes in another order."""
        return shapes.transpose(self, axes=as_sizes(axes))

    def swapaxes(self, first: int, second: int) -> Any:
        """Two axes exchanged."""
        return np.swapaxes(self, first, second)  # type: ignore[call-overload]

    def squeeze(self, axis: Any = None, *, dim: Any = None) -> Any:
        """Without axes of length 1; as in PyTorch, an axis of another length stays."""
        chosen = _axis(axis, dim)
        if isinstance(chosen, int) and self.data.ndim and self.data.shape[chosen] != 1:
            return shapes.reshape(self, shape=self.data.shape)
        return np.squeeze(self, axis=chosen)  # type: ignore[call-overload]

    def unsqueeze(self, dim: int) -> Any:
        """With one more axis, of length 1."""
        return np.expand_dims(self, dim)  # type: ignore[call-overload]

    def expand(self, *shape: Any) -> Any:
        """Copied along axes of length 1, without taking memory; -1 leaves an axis as it is."""
        sizes = as_sizes(shape)
        old = (None,) * (len(sizes) - self.data.ndim) + self.data.shape
        return shapes.broadcast_to(
            self, shape=tuple(o if n == -1 else n for n, o in zip(sizes, old, strict=True))
        )

    def repeat(self, *sizes: Any) -> Any:
        """Copied so many times along each axis: PyTorch's ``repeat``, NumPy's ``tile``."""
        return np.tile(self, as_sizes(sizes))  # type: ignore[call-overload]

    def flip(self, *dims: Any) -> Any:
        """Backwards along axes."""
        return shapes.reverse(self, axis=tuple(as_sizes(dims)))

    def gather(self, dim: int, index: Any) -> Any:
        """Entries at an index along one axis."""
        return shapes.take_along(self, index=np.asarray(index), axis=dim)

    def split(self, size: int, dim: int = 0) -> tuple:
        """Parts of so many entries, the last of what is left."""
        n = self.data.shape[dim]
        before = (slice(None),) * (dim % self.data.ndim)
        return tuple(
            shapes.getitem(self, index=(*before, slice(start, start + size))) for start in range(0, n, size)
        )

    def chunk(self, chunks: int, dim: int = 0) -> tuple:
        """At most so many parts of equal size."""
        return self.split(-(-self.data.shape[dim] // chunks), dim)

    def unbind(self, dim: int = 0) -> tuple:
        """The slices along an axis."""
        before = (slice(None),) * (dim % self.data.ndim)
        return tuple(shapes.getitem(self, index=(*before, index)) for index in range(self.data.shape[dim]))

    # -- products and choices ------------------------------------------------------------------------

    def matmul(self, other: Any) -> Any:
        """The matrix product."""
        return products.matmul(self, other)

    mm = bmm = matmul

    def dot(self, other: Any) -> Any:
        """sum_i x_i y_i."""
        return np.dot(self, other)  # type: ignore[call-overload]

    def pow(self, exponent: Any) -> Any:
        """x^exponent, entry by entry."""
        return elementwise.power(self, exponent)

    def clamp(self, min: Any = None, max: Any = None) -> Any:
        """min(max(x, low), high), entry by entry."""
        return elementwise.clip(self, min, max)

    clip = clamp

    def masked_fill(self, mask: Any, value: Any) -> Any:
        """``value`` where the mask is true."""
        return elementwise.where(mask, np.asarray(value, self.data.dtype), self)

    def activation(self, name: str, alpha: float | None = None) -> Any:
        """h = σ(z), equation (2), with an activation record by name."""
        record = ACTIVATIONS[name]
        value = record.default_alpha if alpha is None else alpha
        return records.ACTIVATION_PRIMITIVES[name](self, alpha=self.data.dtype.type(value))

    def relu(self) -> Any:
        """max(0, z)."""
        return self.activation("relu")

    def relu_(self) -> Any:
        """max(0, z), in place. Returns self."""
        entry = records.ACTIVATION_PRIMITIVES["relu"]
        return self._in_place(entry, (), {"alpha": self.data.dtype.type(0)})  # type: ignore[attr-defined]

    # -- copies and precision ------------------------------------------------------------------------

    def astype(self, dtype: Any) -> Any:
        """A copy in another dtype; gradients come back in this one."""
        return elementwise.astype(self, dtype=np.dtype(dtype))

    def to(self, dtype: Any) -> Any:
        """The tensor itself where it has this dtype, a copy where it has not."""
        return self if self.data.dtype == np.dtype(dtype) else self.astype(dtype)

    def float(self) -> Any:
        """In float32."""
        return self.to(np.float32)

    def double(self) -> Any:
        """In float64."""
        return self.to(np.float64)

    def long(self) -> Any:
        """In int64."""
        return self.to(np.int64)

    def bool(self) -> Any:
        """Whether entries are other than 0."""
        return self.to(np.bool_)

    def clone(self) -> Any:
        """A copy, on the tape."""
        return elementwise.copy(self)

    copy = clone

    def contiguous(self) -> Any:
        """Itself where the entries lie in order, a copy where not."""
        return self if self.data.flags.c_contiguous else PRIMITIVES["contiguous"](self)

    def numel(self) -> int:
        """Number of entries."""
        return self.data.size

    def dim(self) -> int:
        """Number of dimensions."""
        return self.data.ndim

    def copy_(self, other: Any) -> Any:
        """Take the entries of another tensor, in place. Returns self."""
        self[...] = other  # type: ignore[index]
        return self

    def fill_(self, value: Any) -> Any:
        """Set every entry, in place. Returns self."""
        return self.copy_(value)

    def zero_(self) -> Any:
        """Set every entry to 0, in place. Returns self."""
        return self.copy_(0)


for _name in ACTIVATIONS:
    if not hasattr(Methods, _name) and _name != "identity":

        def _activation(self: Any, alpha: Any = None, *, _name: str = _name) -> Any:
            return self.activation(_name, alpha)

        _activation.__doc__ = f"{ACTIVATIONS[_name].formula}, entry by entry."
        setattr(Methods, _name, _activation)
