"""Sums and other reductions over axes. ``axis`` is None, an integer or a tuple; ``keepdims`` as in NumPy."""

import numpy as np
from scipy import special

from chainrule.tape.primitive import primitive
from chainrule.tape.primitives.shapes import broadcast_to, reverse

__all__ = ["axes_of", "cumsum", "log_softmax", "logsumexp", "maximum_of", "mean", "minimum_of", "norm",
           "prod", "softmax", "sum_of", "variance"]  # fmt: skip


def axes_of(axis, ndim):
    """The axes as a tuple of non-negative integers."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(one % ndim if ndim else one for one in axes)


def _spread(values, shape, axis, keepdims):
    """What was reduced, with its axes back at length 1."""
    if keepdims or values.ndim == len(shape):
        return values
    axes = axes_of(axis, len(shape))
    return values.reshape(tuple(1 if index in axes else size for index, size in enumerate(shape)))


def _count(shape, axis):
    count = 1
    for index in axes_of(axis, len(shape)):
        count *= shape[index]
    return count


def _sum(x, *, axis=None, keepdims=False):
    return np.sum(x, axis=axis, keepdims=keepdims)


sum_of = primitive(
    "sum", _sum,
    lambda g, _out, _x, axis=None, keepdims=False: broadcast_to(
        _spread(g, _x.shape, axis, keepdims), shape=_x.shape
    ),
    formula="sum_i x_i",
)  # fmt: skip


def _mean(x, *, axis=None, keepdims=False):
    return np.mean(x, axis=axis, keepdims=keepdims)


mean = primitive(
    "mean", _mean,
    lambda g, _out, _x, axis=None, keepdims=False: broadcast_to(
        _spread(g, _x.shape, axis, keepdims) / _count(_x.shape, axis), shape=_x.shape
    ),
    formula="(1/n) sum_i x_i",
)  # fmt: skip


def _variance(x, *, axis=None, keepdims=False, correction=0):
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # of too few numbers it is NaN, which is no warning's
        centred = x - np.mean(x, axis=axis, keepdims=True)
        divisor = max(0, _count(x.shape, axis) - correction)
        return np.sum(centred * centred, axis=axis, keepdims=keepdims) / np.float64(divisor).astype(x.dtype)


def _variance_vjp(g, _out, x, axis=None, keepdims=False, correction=0):
    centred = x - mean(x, axis=axis, keepdims=True)
    return 2 / (_count(x.shape, axis) - correction) * _spread(g, x.shape, axis, keepdims) * centred


variance = primitive("variance", _variance, _variance_vjp, formula="sum_i (x_i - mean)^2 / (n - correction)")


def _prod(x, *, axis=None, keepdims=False):
    return np.prod(x, axis=axis, keepdims=keepdims)


def _prod_vjp(g, _out, x, axis=None, keepdims=False):
    """The product of all the others, without dividing by what may be zero."""
    if 0 in x.shape:
        return _spread(g, x.shape, axis, keepdims) * x
    axes = axes_of(axis, x.ndim)
    kept = tuple(index for index in range(x.ndim) if index not in axes)
    flat = np.transpose(x, kept + axes)
    shape = flat.shape
    n = _count(x.shape, axis)
    flat = flat.reshape(*shape[: len(kept)], n)
    ones = np.ones((*flat.shape[:-1], 1), x.dtype)
    left, right = ones, ones
    before, after = [left], [right]
    for index in range(n - 1):
        left = left * flat[..., index : index + 1]
        right = right * flat[..., n - 1 - index : n - index]
        before.append(left)
        after.append(right)
    others = np.concatenate(before, axis=-1) * np.concatenate(after[::-1], axis=-1)
    order = np.argsort(kept + axes)
    return _spread(g, x.shape, axis, keepdims) * np.transpose(others.reshape(shape), order)


prod = primitive("prod", _prod, _prod_vjp, formula="prod_i x_i")


def _chosen_vjp(g, out, x, axis=None, keepdims=False):
    """Where several entries are largest they share the gradient, as in PyTorch's amax."""
    chosen = (x == _spread(out, x.shape, axis, keepdims)).astype(x.dtype)
    return _spread(g, x.shape, axis, keepdims) * chosen / chosen.sum(axis=axis, keepdims=True)


def _maximum_of(x, *, axis=None, keepdims=False):
    return np.max(x, axis=axis, keepdims=keepdims)


def _minimum_of(x, *, axis=None, keepdims=False):
    return np.min(x, axis=axis, keepdims=keepdims)


maximum_of = primitive("max", _maximum_of, _chosen_vjp, formula="max_i x_i")
minimum_of = primitive("min", _minimum_of, _chosen_vjp, formula="min_i x_i")


def _logsumexp(x, *, axis=None, keepdims=False):
    # SciPy makes of a number with its dimensions kept an array of one entry.
    return special.logsumexp(x, axis=axis, keepdims=keepdims and x.ndim > 0)


logsumexp = primitive(
    "logsumexp", _logsumexp,
    lambda g, out, x, axis=None, keepdims=False: (
        _spread(g, x.shape, axis, keepdims) * np.exp(x - _spread(out, x.shape, axis, keepdims))
    ),
    formula="log sum_i e^(x_i)",
)  # fmt: skip


def _softmax(x, *, axis=-1):
    raised = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return raised / np.sum(raised, axis=axis, keepdims=True)


def _softmax_vjp(g, out, _x, axis=-1):
    weighted = g * out
    return weighted - out * weighted.sum(axis=axis, keepdims=True)


softmax = primitive("softmax", _softmax, _softmax_vjp, formula="e^(x_i) / sum_j e^(x_j)")


def _log_softmax(x, *, axis=-1):
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


log_softmax = primitive(
    "log_softmax", _log_softmax,
    lambda g, out, _x, axis=-1: g - np.exp(out) * g.sum(axis=axis, keepdims=True),
    formula="x_i - log sum_j e^(x_j)",
)  # fmt: skip


def _cumsum(x, *, axis):
    return np.cumsum(x, axis=axis)


cumsum = primitive(
    "cumsum", _cumsum,
    lambda g, _out, _x, axis: reverse(cumsum(reverse(g, axis=axis), axis=axis), axis=axis),
    formula="sum of x_j for j <= i",
)  # fmt: skip


def _norm(x, *, order=2.0, axis=None, keepdims=False):
    size = np.abs(x)
    if order == np.inf:
        return np.max(size, axis=axis, keepdims=keepdims)
    if order == 2:
        largest = np.max(size, axis=axis, keepdims=True, initial=0)
        scale = np.where(np.isfinite(largest) & (largest > 0), largest, 1).astype(x.dtype)
        root = np.sqrt(np.sum((x / scale) ** 2, axis=axis, keepdims=True)) * scale
        return root if keepdims else root.reshape(np.sum(size, axis=axis).shape)
    return np.sum(size**order, axis=axis, keepdims=keepdims) ** (1 / order)


def _norm_vjp(g, out, x, order=2.0, axis=None, keepdims=False):
    """At 0, where the norm has no gradient, 0 is taken."""
    out, g = _spread(out, x.shape, axis, keepdims), _spread(g, x.shape, axis, keepdims)
    if order == np.inf:
        chosen = (np.abs(x) == out).astype(x.dtype)
        return g * np.sign(x) * chosen / chosen.sum(axis=axis, keepdims=True)
    divisor = np.where(out == 0, 1.0, out)
    if order == 2:
        return g * (x / divisor)
    size = np.abs(x)
    ratio = np.where(size == 0, 0.0, np.where(size == 0, 1.0, size / divisor) ** (order - 1))
    return g * np.sign(x) * ratio


norm = primitive("norm", _norm, _norm_vjp, formula="(sum_i |x_i|^p)^(1/p)")

for _function in (np.argmax, np.argmin, np.argsort, np.any, np.all, np.count_nonzero):
    primitive(_function.__name__, _function, formula=f"{_function.__name__}, without a derivative")
