"""The rows of a batch: what its loss is divided by, where its examples lie, and where results go."""

from functools import cache
from typing import Any

from chainrule.engine._jit import Kernel
from chainrule.engine.calls import place_in_step
from chainrule.engine.parts import doubles, entries_of, integers, own_rows, zero_of

__all__ = ["begin", "gather_rows", "gather_sparse", "point_rows", "sum_losses", "write_output"]

SHARE, FACTOR, CLIP = place_in_step("share"), place_in_step("factor"), place_in_step("clip")


@cache
def begin(dtype: Any) -> Kernel:
    """What one example's loss, and the penalties, are multiplied by in this batch, into the step's record."""
    entries = entries_of(dtype)

    def begin_batch(step, n_rows, order, weights, total_weight, loss_scale, per_example):
        total = total_weight
        if total <= 0.0:
            total = float(n_rows)
            if weights:
                total = 0.0
                examples = integers(order, 0, n_rows)
                for i in range(n_rows):
                    total += entries(weights, examples[i], 1)[0]
        doubles(step, SHARE, 1)[0] = loss_scale / total if total > 0.0 else 0.0
        per_weight = 1.0 / total if total > 0.0 else 0.0
        doubles(step, FACTOR, 1)[0] = per_weight if per_example else 1.0
        doubles(step, CLIP, 1)[0] = 1.0

    return Kernel(begin_batch, (), dtype)


@cache
def point_rows() -> Kernel:
    """The address of each of the batch's rows, where it lies in X."""

    def point_to_rows(n_rows, order, X, row_bytes, table):
        examples, addresses = integers(order, 0, n_rows), integers(table, 0, n_rows)
        for i in range(n_rows):
            addresses[i] = X + examples[i] * row_bytes

    return Kernel(point_to_rows, ())


@cache
def gather_rows(dtype: Any) -> Kernel:
    """Copy own rows of the batch out of X."""
    entries = entries_of(dtype)

    def gather_own_rows(n_rows, order, X, width, target, stride, part, parts):
        first, rows = own_rows(n_rows, part, parts)
        examples = integers(order, first, rows)
        for i in range(rows):
            x, h = entries(X, examples[i] * width, width), entries(target, (first + i) * stride, width)
            for j in range(width):
                h[j] = x[j]

    return Kernel(gather_own_rows, (), dtype)


@cache
def gather_sparse(dtype: Any) -> Kernel:
    """Own rows of the batch, dense, out of the sparse rows of X."""
    entries, zero = entries_of(dtype), zero_of(dtype)

    def gather_sparse_rows(
        n_rows, order, X, sparse_columns, sparse_starts, width, target, stride, part, parts
    ):
        first, rows = own_rows(n_rows, part, parts)
        examples = integers(order, first, rows)
        for i in range(rows):
            start, end = integers(sparse_starts, examples[i], 2)
            columns, values = integers(sparse_columns, start, end - start), entries(X, start, end - start)
            h = entries(target, (first + i) * stride, width)
            for j in range(width):
                h[j] = zero
            for q in range(end - start):
                h[columns[q]] += values[q]

    return Kernel(gather_sparse_rows, (), dtype)


@cache
def write_output(dtype: Any) -> Kernel:
    """Copy the raw outputs of own rows of the batch to where ``predict`` wants them."""
    entries = entries_of(dtype)

    def write_own_rows(n_rows, output, start, z, stride, width, part, parts):
        first, rows = own_rows(n_rows, part, parts)
        for i in range(rows):
            raw = entries(z, (first + i) * stride, width)
            result = entries(output, (start + first + i) * width, width)
            for j in range(width):
                result[j] = raw[j]

    return Kernel(write_own_rows, (), dtype)


@cache
def sum_losses(dtype: Any) -> Kernel:
    """Add the batch's loss, times its rows, to the double at ``total``."""
    entries = entries_of(dtype)

    def sum_of_losses(n_rows, losses, total):
        values = entries(losses, 0, n_rows)
        loss = 0.0
        for i in range(n_rows):
            loss += values[i]
        doubles(total, 0, 1)[0] += n_rows * loss

    return Kernel(sum_of_losses, (), dtype)
