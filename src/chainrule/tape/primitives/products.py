"""Sums of products: the matrix product, the linear layer (1) with its gradients (5)-(7), and einsum."""

import functools
import string

import numpy as np

from chainrule.tape.graph import sum_to_shape
from chainrule.tape.primitive import Primitive, primitive
from chainrule.tape.primitives.shapes import reshape, transpose, zeros_with_part

__all__ = ["einsum", "linear", "matmul", "outer", "tensordot"]


def _swapped(x):
    """The matrices of a stack, transposed."""
    return transpose(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _matmul_left(g, _out, _x, y):
    if y.ndim == 1:  # sum_j x_ij y_j
        return np.expand_dims(g, -1) * y
    if _x.ndim == 1:  # sum_i x_i y_ij
        return (np.expand_dims(g, -2) * y).sum(axis=-1)
    return g @ _swapped(y)


def _matmul_right(g, _out, x, _y):
    if x.ndim == 1:
        return g * x if _y.ndim == 1 else np.expand_dims(x, -1) * np.expand_dims(g, -2)
    if _y.ndim == 1:
        return (np.expand_dims(g, -1) * x).reshape(-1, x.shape[-1]).sum(axis=0)
    return _swapped(x) @ g


matmul = primitive("matmul", np.matmul, _matmul_left, _matmul_right, formula="sum_k x_ik y_kj")

# -- the linear layer ------------------------------------------------------------------------------


def _linear(h, weight, bias=None):
    z = h @ weight.T  # (1)
    if bias is not None:
        z += bias
    return z


def _rows(x):
    """A stack of rows as one matrix."""
    return x if x.ndim == 2 else x.reshape(-1, x.shape[-1])


def _linear_below(g, _out, _h, weight, _bias=None):
    return g @ weight  # the product in (5)


def _linear_weight(g, _out, h, _weight, _bias=None):
    return transpose(transpose(_rows(h)) @ _rows(g))  # (6), lying as the weight does: by its inputs


def _linear_bias(g, _out, _h, _weight, _bias=None):
    return _rows(g).sum(axis=0)  # (7)


linear = primitive("linear", _linear, _linear_below, _linear_weight, _linear_bias, formula="W h + b")


def outer(x, y):
    """x_i y_j of two vectors."""
    return reshape(x, shape=(-1, 1)) * reshape(y, shape=(1, -1))


def tensordot(x, y, axes=2):
    """The sum of products over pairs of axes, as in NumPy."""
    if isinstance(axes, int | np.integer):
        first, second = list(range(x.ndim - axes, x.ndim)), list(range(axes))
    else:
        first, second = (list(one) if isinstance(one, tuple | list) else [one] for one in axes)
    letters = iter(string.ascii_letters)
    left = [next(letters) for _ in range(x.ndim)]
    right = [next(letters) for _ in range(y.ndim)]
    for i, j in zip(first, second, strict=True):
        right[j] = left[i]
    summed = {left[i] for i in first}
    kept = [letter for letter in left + right if letter not in summed]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", x, y)


# -- einsum ----------------------------------------------------------------------------------------


def einsum(subscripts, *operands):
    """Einstein's sum convention, as ``numpy.einsum`` writes it with a string of subscripts.

    Raises
    ------
    TypeError
        If the subscripts are not a string.
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"subscripts must be a string; got {type(subscripts).__name__}")
    operands = tuple(x if hasattr(x, "shape") else np.asarray(x) for x in operands)
    inputs, output = _explicit(subscripts.replace(" ", ""), tuple(x.ndim for x in operands))
    return _einsum_of(inputs, output)(*operands)


@functools.lru_cache(maxsize=1024)
def _explicit(subscripts, dimensions):
    """The subscripts of each input and of the output, with letters for every axis."""
    left, arrow, right = subscripts.partition("->")
    terms = left.split(",")
    if len(terms) != len(dimensions):
        raise ValueError(f"subscripts {subscripts!r} are for {len(terms)} arrays; got {len(dimensions)}")
    free = [letter for letter in string.ascii_letters[::-1] if letter not in subscripts]
    longest = 0
    inputs = []
    for term, ndim in zip(terms, dimensions, strict=True):
        if "..." in term:
            extra = ndim - len(term.replace("...", ""))
            longest = max(longest, extra)
            term = term.replace("...", "".join(free[:extra][::-1]))
        if len(term) != ndim:
            raise ValueError(f"subscripts {term!r} are for {len(term)} axes; the array has {ndim}")
        inputs.append(term)
    dots = "".join(free[:longest][::-1])
    if arrow:
        return tuple(inputs), right.replace("...", dots)
    together = "".join(inputs)
    once = sorted({letter for letter in together if together.count(letter) == 1 and letter not in dots})
    return tuple(inputs), dots + "".join(once)


@functools.lru_cache(maxsize=1024)
def _einsum_of(inputs, output):
    def forward(*arrays):
        return np.einsum(f"{','.join(inputs)}->{output}", *arrays, optimize=len(arrays) > 2)

    return Primitive(
        "einsum", forward, tuple(_einsum_vjp(inputs, output, number) for number in range(len(inputs))),
        f"einsum {','.join(inputs)}->{output}",
    )  # fmt: skip


def _einsum_vjp(inputs, output, number):
    """The same sum, with the output's gradient in place of one input and its letters as the result."""
    term = inputs[number]
    letters = "".join(dict.fromkeys(term))
    rest = [one for index, one in enumerate(inputs) if index != number]
    known = set(output).union(*rest) if rest else set(output)
    found = "".join(letter for letter in letters if letter in known)

    def vjp(g, _out, *arrays):
        others = [x for index, x in enumerate(arrays) if index != number]
        own = dict(zip(term, arrays[number].shape, strict=True))
        result = einsum(f"{','.join([output, *rest])}->{found}", g, *others)
        # Letters that only this input has were summed over: each of their entries has the same gradient.
        sizes = dict(zip(found, result.shape, strict=True))
        spread = tuple(sizes.get(letter, 1) for letter in letters)
        shape = tuple(own[letter] for letter in letters)
        result = np.broadcast_to(reshape(result, shape=spread), np.broadcast_shapes(spread, shape))
        if letters == term:
            return result
        view = functools.partial(np.einsum, f"{term}->{letters}")  # the diagonal, writeable
        return zeros_with_part(sum_to_shape(result, shape), view=view, shape=arrays[number].shape)

    return vjp
