"""Kernels made from records: each activation and each loss, compiled to an address.

A record of ``chainrule.functions`` says what happens to one number, or to one row; a kernel here is the loop
around it. Kernels are compiled when a network first needs them and called by address, so the worker is the
same machine code for every network. What their arguments mean is said in ``parts.py``.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from chainrule.engine._jit import Kernel, compilable, fingerprint, inlined
from chainrule.engine.layout import BLOCK
from chainrule.engine.parts import entries_of, integers, long_rows, own_rows, room_of, zero_of
from chainrule.engine.telemetry import SATURATED, operation_sums
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


# -- losses ----------------------------------------------------------------------------------------

# Up to so many outputs a coupled loss takes as many examples side by side, so that its loops are over them. A
# sum over outputs gains less by it: turning the examples is worth while for fewer.
NARROW = 32
NARROW_SUM = 8
SIDE_BY_SIDE = 32


def loss_rows(record: Loss, classes: bool, dtype: Any, width: int = NARROW + 1) -> Kernel:
    """Loss and ∂ℒ/∂z, equation (3), of own rows, each times its example's share of the batch's weight.

    Row i of the batch is example ``order[i]``; ``targets`` are int64 class indices where ``classes``. There
    are two kernels with the same arguments; ``width``, the number of outputs, says which is the faster.
    """
    narrow = width <= (NARROW_SUM if record.element else NARROW)
    return _narrow_loss(record, classes, dtype) if narrow else _wide_loss(record, classes, dtype)


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
def _wide_loss(record: Loss, classes: bool, dtype: Any) -> Kernel:
    """One example after the other: loops are over its outputs."""
    row_loss = inlined(_row_function(record, classes, dtype))
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
            label = integers(targets, example, 1)[0] if classes else 0
            target = output if classes else entries(targets, example * width, width)
            scale = real(share * entries(weights, example, 1)[0]) if weights else real(share)
            values[row] = row_loss(output, target, label, delta, setting) * scale
            for j in range(width):
                delta[j] *= scale

    functions = [record.class_row] if classes else [record.row or record.element]
    return Kernel(loss_of_rows, _loss_identity(record, classes, functions), dtype)


def _side_by_side_function(record: Loss, dtype: Any) -> Callable:
    """The record's loss of several examples, one to a column."""
    if record.side_by_side is not None:
        return compilable(record.side_by_side, dtype, math_for(dtype))
    assert record.element is not None
    element = compilable(record.element, dtype, math_for(dtype))
    zero = zero_of(dtype)

    def sums_of_elements(z, y, slope, losses, room, setting):
        width, n = z.shape
        for i in range(n):
            losses[i] = zero
        for j in range(width):
            for i in range(n):
                value, slope[j, i] = element(z[j, i], y[j, i], setting)
                losses[i] += value

    return inlined(sums_of_elements)


@cache
def _narrow_loss(record: Loss, classes: bool, dtype: Any) -> Kernel:
    """Several examples at once, turned so that each is a column: loops are over the examples.

    They are always as many, the last one repeated where there are less: the rest that a loop leaves when it
    is made vector code is other code, and might round differently.
    """
    loss_side_by_side = _side_by_side_function(record, dtype)
    entries = entries_of(dtype)
    matrix, vector = room_of(dtype, NARROW, SIDE_BY_SIDE), room_of(dtype, 1, SIDE_BY_SIDE)
    integer_vector = room_of(np.int64, 1, SIDE_BY_SIDE)
    real = np.dtype(dtype).type
    zero, one = real(0), real(1)
    n = SIDE_BY_SIDE

    def loss_of_columns(
        n_rows, order, targets, weights, share, z, slope, losses, stride, width, part, parts, setting: float
    ):
        begin, rows = own_rows(n_rows, part, parts)
        for start in range(begin, begin + rows, n):
            last = min(n, begin + rows - start) - 1
            examples, values = integers(order, start, last + 1), entries(losses, start, last + 1)
            outputs, target, delta = matrix(width, n), matrix(width, n), matrix(width, n)
            loss, labels = vector(n), integer_vector(n)
            raw = entries(z, start * stride, n * stride)
            if classes:
                for i in range(n):
                    labels[i] = integers(targets, examples[min(i, last)], 1)[0]
            for j in range(width):
                for i in range(n):
                    outputs[j, i] = raw[min(i, last) * stride + j]
                    if classes:
                        target[j, i] = one if labels[i] == j else zero
                    else:
                        target[j, i] = entries(targets, examples[min(i, last)] * width + j, 1)[0]
            room = (vector(n), vector(n), vector(n))
            loss_side_by_side(outputs, target, delta, loss, room, setting)
            for i in range(last + 1):
                scale = real(share * entries(weights, examples[i], 1)[0]) if weights else real(share)
                values[i] = loss[i] * scale
                row = entries(slope, (start + i) * stride, width)
                for j in range(width):
                    row[j] = delta[j, i] * scale

    functions = [record.side_by_side or record.element]
    return Kernel(loss_of_columns, _loss_identity(record, classes, functions), dtype)


def _loss_identity(record: Loss, classes: bool, functions: list[Callable | None]) -> tuple:
    return (record.name, classes, *[fingerprint(function) for function in functions if function])
