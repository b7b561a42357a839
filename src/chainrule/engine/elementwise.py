"""Residual joins and dropout: what happens to every entry of a value by itself. See ``parts.py``."""

import math
from functools import cache
from typing import Any

import numpy as np

from chainrule.engine._jit import Kernel, inlined
from chainrule.engine.parts import entries_of, long_rows, own_rows, zero_of

__all__ = ["add", "dropout", "pass_delta"]

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


@cache
def add(dtype: Any) -> Kernel:
    """h + F(h): the join of a residual connection."""
    entries = entries_of(dtype)

    def add_part(n_rows, one, two, out, stride, first, count, part, parts):
        begin, rows = own_rows(n_rows, part, parts)
        rows, n = long_rows(rows, stride, count)
        for row in range(rows):
            offset = (begin + row) * stride + first
            a, b, total = entries(one, offset, n), entries(two, offset, n), entries(out, offset, n)
            for j in range(n):
                total[j] = a[j] + b[j]

    return Kernel(add_part, (), dtype)


@cache
def pass_delta(dtype: Any) -> Kernel:
    """Hand δ down unchanged: the gradient flows whole to both addends of a residual connection."""
    entries = entries_of(dtype)

    def pass_part(n_rows, above, below, stride, first, count, part, parts, accumulate):
        begin, rows = own_rows(n_rows, part, parts)
        rows, n = long_rows(rows, stride, count)
        for row in range(rows):
            offset = (begin + row) * stride + first
            source, target = entries(above, offset, n), entries(below, offset, n)
            if accumulate:
                for j in range(n):
                    target[j] += source[j]
            else:
                for j in range(n):
                    target[j] = source[j]

    return Kernel(pass_part, (), dtype)


@inlined
def mix(x):
    """SplitMix64's finalizer; see ``chainrule.reference.dropout_keeps``."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@cache
def dropout(dtype: Any) -> Kernel:
    """Inverted dropout, ``below`` = ``above`` ⊙ mask / (1 - p), of a value or of its δ: the same mask.

    Whether an entry is kept depends on the seed, the step, the operation, the row and the column alone: see
    ``chainrule.reference.dropout_keeps``. Without ``training`` everything is.
    """
    entries = entries_of(dtype)
    zero, one = zero_of(dtype), np.dtype(dtype).type(1)

    def dropout_part(
        n_rows, number, seed, above, below, stride, first, count, part, parts,
        accumulate, training, operation, probability: float,
    ):  # fmt: skip
        begin, rows = own_rows(n_rows, part, parts)
        drops = training and probability > zero
        scale = one
        if drops:
            scale = one / (one - probability) if probability < one else zero
        key = mix(np.uint64(seed) + GOLDEN_RATIO * np.uint64(number + 1))
        key = mix(key + GOLDEN_RATIO * np.uint64(operation + 1))
        # A number of 53 bits is below p where it is below ⌈p 2⁵³⌉.
        limit = np.int64(math.ceil(np.float64(probability) * 2.0**53))
        for row in range(rows):
            offset = (begin + row) * stride + first
            source, target = entries(above, offset, count), entries(below, offset, count)
            counter = np.uint64(begin + row) << np.uint64(32)
            for j in range(count):
                value = source[j]
                if drops:
                    bits = mix(key + GOLDEN_RATIO * ((counter | np.uint64(first + j)) + np.uint64(1)))
                    value = value * scale if np.int64(bits >> np.uint64(11)) >= limit else zero
                target[j] = value + (target[j] if accumulate else zero)

    return Kernel(dropout_part, (), dtype)
