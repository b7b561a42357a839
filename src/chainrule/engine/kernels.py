"""Kernels made from records: each activation and each loss, compiled to an address.

A record of ``chainrule.functions`` says what happens to one number, or to one row; a kernel here is the loop
around it. Kernels are compiled when a network first needs them and called by address, so the worker is the
same machine code for every network. What their arguments mean is said in ``parts.py``.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from chainrule.engine._jit import Kernel, compilable, device, fingerprint
from chainrule.engine.parts import entries_of, integers, long_rows, own_rows
from chainrule.engine.telemetry import BLOCK, SATURATED, operation_sums
from chainrule.engine.vector_math import math_for
from chainrule.execution import SATURATION_SHARE
from chainrule.functions import Activation, Loss

__all__ = ["activate", "gate", "loss_rows", "saturated"]


@cache
def activate(record: Activation, dtype: Any) -> Kernel:
    """h = σ(z), equation (2)."""
    value = compilable(record.scalar_value, dtype, math_for(dtype))
    entries = entries_of(dtype)

    def activate_part(n_rows, z, h, stride, first, count, part, parts, alpha: float):
        begin, rows = own_rows(n_rows, part, parts)
        rows, n = long_rows(rows, stride, count)
        for row in range(rows):
            offset = (begin + row) * stride + first
            before, after = entries(z, offset, n), entries(h, offset, n)
            for j in range(n):
                after[j] = value(before[j], alpha)

    return Kernel(activate_part, (record.name, fingerprint(record.scalar_value)), dtype)


@cache
def gate(record: Activation, dtype: Any) -> Kernel:
    """The ⊙ σ'(z) of equation (5), stored or, with ``accumulate``, added to what is there."""
    derivative = compilable(record.scalar_derivative, dtype, math_for(dtype))
    entries = entries_of(dtype)

    def gate_part(
        n_rows, z, h, delta_out, delta_in, stride, first, count, part, parts, accumulate, alpha: float
    ):
        begin, rows = own_rows(n_rows, part, parts)
        rows, n = long_rows(rows, stride, count)
        for row in range(rows):
            offset = (begin + row) * stride + first
            before, after = entries(z, offset, n), entries(h, offset, n)
            above, below = entries(delta_out, offset, n), entries(delta_in, offset, n)
            if accumulate:
                for j in range(n):
                    below[j] += above[j] * derivative(before[j], after[j], alpha)
            else:
                for j in range(n):
                    below[j] = above[j] * derivative(before[j], after[j], alpha)

    return Kernel(gate_part, (record.name, fingerprint(record.scalar_derivative)), dtype)


@cache
def saturated(record: Activation, dtype: Any) -> Kernel:
    """How many entries have |σ'(z)| under 5 % of its maximum, for each block of columns."""
    derivative = compilable(record.scalar_derivative, dtype, math_for(dtype))
    limit = np.dtype(dtype).type(SATURATION_SHARE * record.derivative_max)
    entries = entries_of(dtype)

    def count_saturated(
        n_rows, sample, z, h, stride, first, count, sums, first_block, n_blocks, alpha: float
    ):
        for start in range(first, first + count, BLOCK):
            n = min(BLOCK, first + count - start)
            total = 0
            for row in range(n_rows):
                before, after = entries(z, row * stride + start, n), entries(h, row * stride + start, n)
                for j in range(n):
                    total += abs(derivative(before[j], after[j], alpha)) < limit
            operation_sums(sums, sample, n_blocks, first_block + start // BLOCK)[SATURATED] = total

    return Kernel(count_saturated, (record.name, fingerprint(record.scalar_derivative), float(limit)), dtype)


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
    """Loss and ∂ℒ/∂z, equation (3), of own rows, each times its example's share of the batch's weight.

    Row i of the batch is example ``order[i]``; ``targets`` are int64 class indices where ``classes``.
    """
    row_loss = device(_row_function(record, classes, dtype))
    entries = entries_of(dtype)
    real = np.dtype(dtype).type

    def loss_of_rows(
        n_rows, order, targets, weights, share, z, slope, losses, stride, width, part, parts, setting: float
    ):
        begin, rows = own_rows(n_rows, part, parts)
        examples, values = integers(order, begin, rows), entries(losses, begin, rows)
        for row in range(rows):
            example, offset = examples[row], (begin + row) * stride
            output, delta = entries(z, offset, width), entries(slope, offset, width)
            if classes:
                label = integers(targets, example, 1)[0]
                value = row_loss(output, output, label, delta, setting)
            else:
                value = row_loss(output, entries(targets, example * width, width), 0, delta, setting)
            scale = real(share * entries(weights, example, 1)[0]) if weights else real(share)
            values[row] = value * scale
            for j in range(width):
                delta[j] *= scale

    functions = [record.class_row] if classes else [record.row or record.element]
    identity = (record.name, classes, *[fingerprint(function) for function in functions if function])
    return Kernel(loss_of_rows, identity, dtype)
