"""Operations that move entries and change none. Those that share the input's memory are views."""

import functools

import numpy as np

from chainrule.tape.primitive import Primitive, primitive

__all__ = ["broadcast_to", "concatenate", "getitem", "part_of", "put", "reshape", "reverse", "scatter",
           "stack", "take_along", "transpose", "with_part"]  # fmt: skip


def _reshape(x, *, shape):
    return np.reshape(x, shape)


reshape = primitive(
    "reshape", _reshape, lambda g, _out, _x, shape: reshape(g, shape=_x.shape), formula="x in another shape",
    is_view=True,
)  # fmt: skip


def _transpose(x, *, axes=None):
    return np.transpose(x, axes)


transpose = primitive(
    "transpose", _transpose,
    lambda g, _out, _x, axes=None: transpose(
        g, axes=None if axes is None else tuple(int(axis) for axis in np.argsort([a % _x.ndim for a in axes]))
    ),
    formula="x with its axes in another order", is_view=True,
)  # fmt: skip


def _broadcast_to(x, *, shape):
    return np.broadcast_to(x, shape)


# The way back is the walk's: what was copied is summed.
broadcast_to = primitive(
    "broadcast_to", _broadcast_to, lambda g, _out, _x, shape: g, formula="x copied along axes", is_view=True
)


def _reverse(x, *, axis=None):
    return np.flip(x, axis)


reverse = primitive(
    "flip",
    _reverse,
    lambda g, _out, _x, axis=None: reverse(g, axis=axis),
    formula="x backwards",
    is_view=True,
)

# -- parts -----------------------------------------------------------------------------------------


def _getitem(x, *, index):
    out = x[index]
    # A single entry comes as a number; with an ellipsis it is a view of no dimensions.
    return (
        out if isinstance(out, np.ndarray) else x[(*index, ...) if isinstance(index, tuple) else (index, ...)]
    )


def _scatter(g, *, index, shape):
    """Zeros but for what ``index`` takes; what is taken twice is summed."""
    out = np.zeros(shape, g.dtype)
    if _takes_each_once(index):
        out[index] = g
    else:
        np.add.at(out, index, g)
    return out


def _takes_each_once(index):
    items = index if isinstance(index, tuple) else (index,)
    return all(
        item is None or item is Ellipsis or isinstance(item, slice | int | np.integer) for item in items
    ) or (all(isinstance(item, np.ndarray) and item.dtype == bool for item in items))


scatter = primitive(
    "scatter", _scatter, lambda g, _out, _x, index, shape: getitem(g, index=index),
    formula="zeros, with x added at an index",
)  # fmt: skip
getitem = primitive(
    "getitem", _getitem, lambda g, _out, _x, index: scatter(g, index=index, shape=_x.shape),
    formula="x[index]", is_view=True,
)  # fmt: skip


def _put(x, values, *, index):
    out = x.copy()
    out[index] = values
    return out


put = primitive(
    "put", _put,
    lambda g, _out, _x, _values, index: put(g, np.zeros((), g.dtype), index=index),
    lambda g, _out, _x, _values, index: getitem(g, index=index),
    formula="x with x[index] = values",
)  # fmt: skip


def _take_along(x, *, index, axis):
    return np.take_along_axis(x, index, axis)


def _add_along(x, *, index, axis, shape):
    out = np.zeros(shape, x.dtype)
    places = list(np.ogrid[tuple(slice(size) for size in index.shape)])
    places[axis] = index
    np.add.at(out, tuple(places), x)
    return out


take_along = primitive(
    "take_along_axis", _take_along,
    lambda g, _out, _x, index, axis: add_along(g, index=index, axis=axis, shape=_x.shape),
    formula="gather: x at an index along one axis",
)  # fmt: skip
add_along = primitive(
    "add_along_axis", _add_along,
    lambda g, _out, _x, index, axis, shape: take_along(g, index=index, axis=axis),
    formula="zeros, with x added at an index along one axis",
)  # fmt: skip

# -- a part given by a function that makes a view: how a change in place of a view is recorded -------


def _part_of(x, *, view):
    return view(x).copy()


def _with_part(x, part, *, view):
    out = x.copy()
    view(out)[...] = part
    return out


def _zeros_with_part(part, *, view, shape):
    out = np.zeros(shape, part.dtype)
    view(out)[...] = part
    return out


part_of = primitive(
    "part_of", _part_of, lambda g, _out, _x, view: zeros_with_part(g, view=view, shape=_x.shape),
    formula="a view of x",
)  # fmt: skip
zeros_with_part = primitive(
    "zeros_with_part", _zeros_with_part, lambda g, _out, _part, view, shape: part_of(g, view=view),
    formula="zeros, with a view of them set to x",
)  # fmt: skip
with_part = primitive(
    "with_part", _with_part,
    lambda g, _out, _x, _part, view: with_part(g, np.zeros((), g.dtype), view=view),
    lambda g, _out, _x, _part, view: part_of(g, view=view),
    formula="x, with a view of it set to y",
)  # fmt: skip

# -- of several arrays: an entry for each number of them ----------------------------------------------


@functools.cache
def _concatenate_of(n: int) -> Primitive:
    def forward(*arrays, axis):
        return np.concatenate(arrays, axis)

    def of_input(number):
        def vjp(g, _out, *_inputs, axis):
            start = sum(x.shape[axis] for x in _inputs[:number])
            index = [slice(None)] * g.ndim
            index[axis] = slice(start, start + _inputs[number].shape[axis])
            return getitem(g, index=tuple(index))

        return vjp

    return Primitive("concatenate", forward, tuple(of_input(i) for i in range(n)), "x one after the other")


def concatenate(arrays, axis=0):
    """Arrays or tensors one after the other along an axis."""
    arrays = tuple(x if hasattr(x, "shape") else np.asarray(x) for x in arrays)
    if not arrays:
        raise ValueError("concatenate needs at least one array")
    if axis is None:
        return concatenate([reshape(x, shape=(-1,)) for x in arrays], 0)
    return _concatenate_of(len(arrays))(*arrays, axis=axis)


def stack(arrays, axis=0):
    """Arrays or tensors of one shape, along a new axis."""
    arrays = tuple(arrays)
    shapes = {np.shape(x) for x in arrays}
    if len(shapes) != 1:
        raise ValueError(f"stack needs arrays of one shape; got {sorted(shapes)}")
    ndim = len(shapes.pop()) + 1
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis must lie between {-ndim} and {ndim - 1}; got {axis}")
    index = (slice(None),) * (axis % ndim) + (None,)
    return concatenate([getitem(x, index=index) for x in arrays], axis % ndim)
