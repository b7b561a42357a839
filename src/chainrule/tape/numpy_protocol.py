"""NumPy's functions on tensors: recorded where the table has them, an error where it has not.

What NumPy would do to the bare array, dropping the tape without a word, never happens.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.tape.primitive import PRIMITIVES
from chainrule.tape.primitives import elementwise, products, reductions, shapes
from chainrule.tape.primitives.reductions import axes_of

__all__ = ["NumpyProtocol"]

UFUNCS = {entry.forward: entry for entry in PRIMITIVES.values() if isinstance(entry.forward, np.ufunc)}

# numpy.sum(x, axis, keepdims=...): reductions by their NumPy names.
_REDUCTIONS: dict[Any, Any] = {
    np.sum: reductions.sum_of, np.mean: reductions.mean, np.prod: reductions.prod,
    np.max: reductions.maximum_of, np.min: reductions.minimum_of, np.amax: reductions.maximum_of,
    np.amin: reductions.minimum_of,
}  # fmt: skip

FUNCTIONS: dict[Callable, Callable] = {}


def _implements(*functions: Callable) -> Callable:
    def register(ours: Callable) -> Callable:
        for function in functions:
            FUNCTIONS[function] = ours
        return ours

    return register


def _reduction(entry: Any) -> Callable:
    def reduce(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
        return entry(x, axis=axis, keepdims=bool(keepdims))

    return reduce


for _function, _entry in _REDUCTIONS.items():
    FUNCTIONS[_function] = _reduction(_entry)


@_implements(np.var)
def _var(x: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    return reductions.variance(x, axis=axis, keepdims=bool(keepdims), correction=ddof)


@_implements(np.std)
def _std(x: Any, axis: Any = None, *, ddof: int = 0, keepdims: bool = False) -> Any:
    return elementwise.sqrt(_var(x, axis, ddof=ddof, keepdims=keepdims))


@_implements(np.where)
def _where(condition: Any, x: Any, y: Any) -> Any:
    return elementwise.where(condition, x, y)


@_implements(np.clip)
def _clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    return elementwise.clip(x, a_min if min is None else min, a_max if max is None else max)


@_implements(np.copy)
def _copy(x: Any) -> Any:
    return elementwise.copy(x)


@_implements(np.round, np.around)
def _round(x: Any, decimals: int = 0) -> Any:
    return PRIMITIVES["rint"](x * 10**decimals) / 10**decimals if decimals else PRIMITIVES["rint"](x)


@_implements(np.reshape)
def _reshape(x: Any, shape: Any) -> Any:
    return shapes.reshape(x, shape=shape)


@_implements(np.ravel)
def _ravel(x: Any) -> Any:
    return shapes.reshape(x, shape=(-1,))


@_implements(np.transpose, np.permute_dims)
def _transpose(x: Any, axes: Any = None) -> Any:
    return shapes.transpose(x, axes=None if axes is None else tuple(axes))


@_implements(np.swapaxes)
def _swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    axes = list(range(x.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return shapes.transpose(x, axes=tuple(axes))


@_implements(np.moveaxis)
def _moveaxis(x: Any, source: Any, destination: Any) -> Any:
    axes = [axis for axis in range(x.ndim) if axis not in axes_of(source, x.ndim)]
    for to, axis in sorted(zip(axes_of(destination, x.ndim), axes_of(source, x.ndim), strict=True)):
        axes.insert(to, axis)
    return shapes.transpose(x, axes=tuple(axes))


@_implements(np.squeeze)
def _squeeze(x: Any, axis: Any = None) -> Any:
    chosen = axes_of(axis, x.ndim)
    if axis is not None and any(x.shape[one] != 1 for one in chosen):
        raise ValueError(f"axis {axis} cannot be squeezed: it has more than one entry in shape {x.shape}")
    return shapes.reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if not (n == 1 and i in chosen)))


@_implements(np.expand_dims)
def _expand_dims(x: Any, axis: Any) -> Any:
    added = axes_of(axis, x.ndim + (len(axis) if isinstance(axis, tuple) else 1))
    sizes = iter(x.shape)
    return shapes.reshape(
        x, shape=tuple(1 if index in added else next(sizes) for index in range(x.ndim + len(added)))
    )


@_implements(np.broadcast_to)
def _broadcast_to(x: Any, shape: Any) -> Any:
    return shapes.broadcast_to(x, shape=tuple(shape) if np.iterable(shape) else (shape,))


@_implements(np.flip)
def _flip(x: Any, axis: Any = None) -> Any:
    return shapes.reverse(x, axis=axis)


@_implements(np.roll)
def _roll(x: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        return shapes.reshape(_roll(_ravel(x), shift, 0), shape=x.shape)
    if np.ndim(shift) or np.ndim(axis):
        for one_shift, one_axis in np.broadcast(shift, axis):
            x = _roll(x, one_shift, one_axis)
        return x
    order = np.roll(np.arange(x.shape[axis]), shift)
    return shapes.getitem(x, index=(slice(None),) * (axis % x.ndim) + (order,))


@_implements(np.concatenate)
def _concatenate(arrays: Any, axis: int | None = 0) -> Any:
    return shapes.concatenate(arrays, axis)


@_implements(np.stack)
def _stack(arrays: Any, axis: int = 0) -> Any:
    return shapes.stack(arrays, axis)


@_implements(np.vstack)
def _vstack(arrays: Any) -> Any:
    return shapes.concatenate([x if np.ndim(x) > 1 else shapes.reshape(x, shape=(1, -1)) for x in arrays], 0)


@_implements(np.hstack)
def _hstack(arrays: Any) -> Any:
    arrays = [x if np.ndim(x) else shapes.reshape(x, shape=(1,)) for x in arrays]
    return shapes.concatenate(arrays, 0 if arrays[0].ndim == 1 else 1)


@_implements(np.split)
def _split(x: Any, parts: Any, axis: int = 0) -> list:
    size = x.shape[axis]
    if isinstance(parts, int | np.integer):
        if size % parts:
            raise ValueError(f"an axis of {size} entries cannot be split into {parts} equal parts")
        parts = [size // parts * number for number in range(1, parts)]
    ends = [0, *parts, size]
    before = (slice(None),) * (axis % x.ndim)
    return [x[(*before, slice(a, b))] for a, b in itertools.pairwise(ends)]


@_implements(np.take_along_axis)
def _take_along_axis(x: Any, indices: Any, axis: int) -> Any:
    return shapes.take_along(x, index=np.asarray(indices), axis=axis)


@_implements(np.take)
def _take(x: Any, indices: Any, axis: int | None = None) -> Any:
    if axis is None:
        return _ravel(x)[np.asarray(indices)]
    return x[(slice(None),) * (axis % x.ndim) + (np.asarray(indices),)]


@_implements(np.repeat)
def _repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    if axis is None:
        return _repeat(_ravel(x), repeats, 0)
    return _take(x, np.repeat(np.arange(x.shape[axis]), repeats), axis)


@_implements(np.tile)
def _tile(x: Any, reps: Any) -> Any:
    return _ravel(x)[np.tile(np.arange(x.size).reshape(x.shape), reps)]


@_implements(np.diagonal)
def _diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    places = np.diagonal(np.arange(x.size).reshape(x.shape), offset, axis1, axis2)
    return _ravel(x)[places]


@_implements(np.diag)
def _diag(x: Any, k: int = 0) -> Any:
    if x.ndim == 2:
        return _diagonal(x, k)
    places = np.diag(np.arange(1, len(x) + 1), k)
    padded = shapes.concatenate([np.zeros(1, x.dtype), x])
    return padded[places]


@_implements(np.trace)
def _trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return _diagonal(x, offset, axis1, axis2).sum(axis=-1)


@_implements(np.tril)
def _tril(x: Any, k: int = 0) -> Any:
    return elementwise.where(np.tril(np.ones(x.shape, bool), k), x, np.zeros((), x.dtype))


@_implements(np.triu)
def _triu(x: Any, k: int = 0) -> Any:
    return elementwise.where(np.triu(np.ones(x.shape, bool), k), x, np.zeros((), x.dtype))


@_implements(np.cumsum)
def _cumsum(x: Any, axis: int | None = None) -> Any:
    return reductions.cumsum(_ravel(x), axis=0) if axis is None else reductions.cumsum(x, axis=axis)


@_implements(np.sort)
def _sort(x: Any, axis: int = -1) -> Any:
    return shapes.take_along(x, index=np.argsort(x.data, axis=axis), axis=axis)


@_implements(np.dot)
def _dot(x: Any, y: Any) -> Any:
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        return elementwise.multiply(x, y)
    if np.ndim(y) > 2:
        return products.tensordot(x, y, axes=([np.ndim(x) - 1], [np.ndim(y) - 2]))
    return products.matmul(x, y)


@_implements(np.inner)
def _inner(x: Any, y: Any) -> Any:
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        return elementwise.multiply(x, y)
    return products.tensordot(x, y, axes=([np.ndim(x) - 1], [np.ndim(y) - 1]))


FUNCTIONS[np.outer] = products.outer
FUNCTIONS[np.tensordot] = products.tensordot
FUNCTIONS[np.einsum] = products.einsum


@_implements(np.linalg.norm)
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    matrix = x.ndim == 2 and axis is None
    if ord not in (None, "fro") and (matrix or isinstance(axis, tuple)):
        raise TypeError(f"numpy.linalg.norm of a tensor: ord={ord!r} of a matrix is not recorded")
    return reductions.norm(x, order=2.0 if ord in (None, "fro") else float(ord), axis=axis, keepdims=keepdims)


_SHAPE_ONLY = {np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.shape, np.ndim, np.size,
               np.result_type, np.may_share_memory, np.shares_memory}  # fmt: skip


def _unwrapped(value: Any) -> Any:
    if isinstance(value, NumpyProtocol):
        return value.data  # type: ignore[attr-defined]
    if isinstance(value, tuple | list):
        return type(value)(_unwrapped(item) for item in value)
    return value


def _requires_grad(value: Any) -> bool:
    if isinstance(value, NumpyProtocol):
        return value.requires_grad  # type: ignore[attr-defined]
    return isinstance(value, tuple | list) and any(_requires_grad(item) for item in value)


class NumpyProtocol:
    """How NumPy hands its functions over."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """``numpy.exp(tensor)`` and the like."""
        entry = UFUNCS.get(ufunc)
        out = options.pop("out", None)
        if method == "__call__" and not options and entry is not None:
            if out is None:
                return entry(*inputs)
            return _into(out[0], entry, inputs)
        if _requires_grad(inputs) or out is not None:
            how = "" if method == "__call__" else f".{method}"
            extra = f" with {', '.join(options)}" if options else ""
            raise TypeError(
                f"numpy.{ufunc.__name__}{how}{extra} of a tensor is not recorded on the tape; "
                "give it tensor.detach() if no gradient is needed"
            )
        return _wrapped(getattr(ufunc, method)(*_unwrapped(inputs), **options))

    def __array_function__(self, function: Callable, types: Any, arguments: tuple, options: dict) -> Any:
        """``numpy.sum(tensor)`` and the like."""
        ours = FUNCTIONS.get(function)
        if function in _SHAPE_ONLY:
            return function(*_unwrapped(arguments), **options)
        if ours is not None:
            try:
                return ours(*arguments, **options)
            except TypeError as error:
                if "unexpected keyword" not in str(error):
                    raise
                raise TypeError(f"numpy.{function.__name__} of a tensor: {error}") from None
        if _requires_grad(arguments) or _requires_grad(list(options.values())):
            raise TypeError(
                f"numpy.{function.__name__} of a tensor is not recorded on the tape; "
                "give it tensor.detach() if no gradient is needed"
            )
        plain = {name: _unwrapped(value) for name, value in options.items()}
        return _wrapped(function(*_unwrapped(arguments), **plain))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The array, where no gradient is lost by it."""
        array = self.numpy()  # type: ignore[attr-defined]
        return np.array(array, dtype=dtype, copy=copy)


def _into(out: Any, entry: Any, inputs: tuple) -> Any:
    """``numpy.add(x, y, out=x)``: a change in place."""
    if isinstance(out, NumpyProtocol):
        if not inputs or inputs[0] is not out:
            raise TypeError(f"out= must be the first input for numpy.{entry.name} of tensors")
        return out._in_place(entry, inputs[1:])
    if _requires_grad(inputs):
        raise TypeError(f"numpy.{entry.name} of a tensor that requires grad cannot write into an array")
    return entry.forward(*_unwrapped(inputs), out=out)


def _wrapped(value: Any) -> Any:
    from chainrule.tape.tensor import Tensor

    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub":
        return Tensor(value)
    return type(value)(_wrapped(item) for item in value) if type(value) in (tuple, list) else value
