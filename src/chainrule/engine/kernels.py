"""Kernels made from records: each activation, loss and update rule, compiled to an address.

A record of ``chainrule.functions`` (or an update rule of ``chainrule.optim``) says what happens to one
number, or to one row; a kernel here is the loop around it. Kernels are compiled when a network first
needs them and called by address, so the worker is the same machine code for every network.

Matrices are row-major with ``stride`` entries a row. A kernel works on rows [first_row, last_row) or on
columns [first, last) of all rows: the part that the calling thread owns.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import carray, types

from chainrule.engine._intrinsics import array_at
from chainrule.engine._jit import Kernel, compilable, device, fingerprint
from chainrule.engine.vector_math import math_for
from chainrule.execution import SATURATION_SHARE
from chainrule.functions import Activation, Loss

__all__ = ["activate", "gate", "loss_rows", "saturated", "update"]

N_COEFFICIENTS = 8


@device
def whole_rows(n_rows, stride, n):
    """(rows, entries a row) to loop over: one long row where the columns are all of them.

    Loops run from 0 over a view, not from ``first``: Numba lets an index that might be negative count
    from the end, and such a loop is not vectorised.
    """
    return (1, n_rows * n) if n == stride else (n_rows, n)


def _signature(real: Any, n_integers: int, n_reals: int) -> Any:
    return real(*[types.intp] * n_integers, *[real] * n_reals)


@cache
def activate(record: Activation, dtype: Any) -> Kernel:
    """h = σ(z), equation (2): integers (z, h, n_rows, stride, first, last), reals (alpha,)."""
    real = numba.from_dtype(np.dtype(dtype))
    value = compilable(record.scalar_value, dtype, math_for(dtype))
    example = real(0)
    size = np.dtype(dtype).itemsize

    def activate_columns(z_at, h_at, n_rows, stride, first, last, alpha):
        n_rows, n = whole_rows(n_rows, stride, last - first)
        for row in range(n_rows):
            offset = (row * stride + first) * size
            z = carray(array_at(z_at + offset, example), n)
            h = carray(array_at(h_at + offset, example), n)
            for j in range(n):
                h[j] = value(z[j], alpha)
        return example

    identity = ("activate", record.name, fingerprint(record.scalar_value), str(real))
    return Kernel(activate_columns, _signature(real, 6, 1), identity)


@cache
def gate(record: Activation, dtype: Any) -> Kernel:
    """The ⊙ σ'(z) of equation (5): integers (z, h, delta_out, delta_in, n_rows, stride, first, last,
    accumulate), reals (alpha,)."""
    real = numba.from_dtype(np.dtype(dtype))
    derivative = compilable(record.scalar_derivative, dtype, math_for(dtype))
    example = real(0)
    size = np.dtype(dtype).itemsize

    def gate_columns(z_at, h_at, out_at, in_at, n_rows, stride, first, last, accumulate, alpha):
        n_rows, n = whole_rows(n_rows, stride, last - first)
        for row in range(n_rows):
            offset = (row * stride + first) * size
            z = carray(array_at(z_at + offset, example), n)
            h = carray(array_at(h_at + offset, example), n)
            delta_out = carray(array_at(out_at + offset, example), n)
            delta_in = carray(array_at(in_at + offset, example), n)
            if accumulate:
                for j in range(n):
                    delta_in[j] += delta_out[j] * derivative(z[j], h[j], alpha)
            else:
                for j in range(n):
                    delta_in[j] = delta_out[j] * derivative(z[j], h[j], alpha)
        return example

    identity = ("gate", record.name, fingerprint(record.scalar_derivative), str(real))
    return Kernel(gate_columns, _signature(real, 9, 1), identity)


@cache
def saturated(record: Activation, dtype: Any) -> Kernel:
    """Number of entries with |σ'(z)| under 5 % of its maximum: integers (z, h, n_rows, stride, first,
    last), reals (alpha,)."""
    real = numba.from_dtype(np.dtype(dtype))
    derivative = compilable(record.scalar_derivative, dtype, math_for(dtype))
    limit = SATURATION_SHARE * record.derivative_max
    example = real(0)
    size = np.dtype(dtype).itemsize

    def count_saturated(z_at, h_at, n_rows, stride, first, last, alpha):
        n = last - first
        count = 0
        for row in range(n_rows):
            offset = (row * stride + first) * size
            z = carray(array_at(z_at + offset, example), n)
            h = carray(array_at(h_at + offset, example), n)
            for j in range(n):
                if abs(derivative(z[j], h[j], alpha)) < limit:
                    count += 1
        return real(count)

    identity = ("saturated", record.name, fingerprint(record.scalar_derivative), limit, str(real))
    return Kernel(count_saturated, _signature(real, 6, 1), identity)


def _row_function(record: Loss, classes: bool, dtype: Any) -> Callable:
    """The record's loss of one example, as ``f(z, y, label, slope, setting) -> value``."""
    if classes:
        assert record.class_row is not None
        class_row = compilable(record.class_row, dtype, math_for(dtype))
        return lambda z, y, label, slope, setting: class_row(z, label, slope, setting)
    if record.row is not None:
        row = compilable(record.row, dtype, math_for(dtype))
        return lambda z, y, label, slope, setting: row(z, y, slope, setting)
    assert record.element is not None
    element = compilable(record.element, dtype, math_for(dtype))

    def sum_of_elements(z, y, label, slope, setting):
        total = 0.0
        for j in range(z.size):
            value, slope[j] = element(z[j], y[j], setting)
            total += value
        return total

    return sum_of_elements


@cache
def loss_rows(record: Loss, classes: bool, dtype: Any) -> Kernel:
    """Loss and ∂ℒ/∂z, equation (3), of rows [first_row, last_row) of a batch.

    Integers (z, slope, losses, targets, order, first_row, last_row, width), reals (setting,). Row i of
    the batch is example ``order[i]``; ``targets`` is int64 class indices where ``classes``.
    """
    real = numba.from_dtype(np.dtype(dtype))
    function = _row_function(record, classes, dtype)
    row_loss = device(function)
    example = real(0)
    number = types.int64(0)
    size = np.dtype(dtype).itemsize

    def loss_of_rows(z_at, slope_at, losses_at, targets_at, order_at, first_row, last_row, width, setting):
        order = carray(array_at(order_at, number), last_row)
        losses = carray(array_at(losses_at, example), last_row)
        for i in range(first_row, last_row):
            offset = i * width * size
            z = carray(array_at(z_at + offset, example), width)
            slope = carray(array_at(slope_at + offset, example), width)
            if classes:
                label = carray(array_at(targets_at + order[i] * 8, number), 1)[0]
                losses[i] = row_loss(z, z, label, slope, setting)
            else:
                y = carray(array_at(targets_at + order[i] * width * size, example), width)
                losses[i] = row_loss(z, y, 0, slope, setting)
        return example

    parts = [record.class_row] if classes else [record.row or record.element]
    identity = ("loss", record.name, classes, *[fingerprint(part) for part in parts if part], str(real))
    return Kernel(loss_of_rows, _signature(real, 8, 1), identity)


@cache
def update(rule: Any, dtype: Any) -> Kernel:
    """One optimizer step on ``n`` parameters, with the penalties' gradient added and clipping applied.

    Integers (parameters, first, second, gradient, n), reals (factor, l2, l1, decay, and the rule's
    coefficients 1 to 7). Returns the penalty ½ l2 Σw² + l1 Σ|w| before the step.
    """
    real = numba.from_dtype(np.dtype(dtype))
    scalar_update = compilable(rule.scalar_update, dtype, math_for(dtype))
    example = real(0)
    half = real(0.5)

    def update_range(w_at, m_at, v_at, g_at, n, factor, l2, l1, c0, c1, c2, c3, c4, c5, c6, c7):
        w = carray(array_at(w_at, example), n)
        m = carray(array_at(m_at, example), n)
        v = carray(array_at(v_at, example), n)
        g = carray(array_at(g_at, example), n)
        coefficients = (c0, c1, c2, c3, c4, c5, c6, c7)
        squares = example
        sizes = example
        if l1 != example:
            for i in range(n):
                before = w[i]
                squares += before * before
                sizes += abs(before)
                sign = l1 if before > example else (-l1 if before < example else example)
                slope = factor * (g[i] + l2 * before + sign)
                w[i], m[i], v[i] = scalar_update(before, m[i], v[i], slope, coefficients)
        elif l2 != example:
            for i in range(n):
                before = w[i]
                squares += before * before
                slope = factor * (g[i] + l2 * before)
                w[i], m[i], v[i] = scalar_update(before, m[i], v[i], slope, coefficients)
        else:
            for i in range(n):
                w[i], m[i], v[i] = scalar_update(w[i], m[i], v[i], factor * g[i], coefficients)
        return half * l2 * squares + l1 * sizes

    identity = ("update", rule.name, fingerprint(rule.scalar_update), str(real))
    return Kernel(update_range, _signature(real, 5, 3 + N_COEFFICIENTS), identity)
