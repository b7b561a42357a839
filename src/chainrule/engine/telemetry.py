"""Sums that are reported, and the norm that clipping needs. See ``parts.py``.

Each is kept for every block of 16 columns by itself, whichever thread owns it, and the blocks are added up in
their order: so no sum depends on the number of threads. A call begins at the edge of a block.

- Of values: doubles (samples, blocks of all operations, 5), the last axis as ``execution.OPERATION_FIELDS``:
  Σh², Σδ², zeros, saturated units, entries that are not finite.
- Of parameter arrays: doubles (samples, blocks of all arrays, 3), the last axis as ``SLOT_FIELDS``:
  ‖g‖², ‖w‖², ‖Δw‖².
- Of the gradient, for clipping: doubles (blocks of all arrays,).
"""

import math
from functools import cache
from typing import Any

import numpy as np

from chainrule.engine._jit import Kernel, inlined
from chainrule.engine.calls import place_in_step
from chainrule.engine.layout import BLOCK
from chainrule.engine.parts import doubles, entries_of, room_of, zero_of

__all__ = ["clip_factor", "operation_sums", "parameter_sums", "squared_norms", "value_sums"]

SQUARES, DELTA_SQUARES, ZEROS, SATURATED, NON_FINITE = range(5)
GRADIENT_SQUARES, PARAMETER_SQUARES, CHANGE_SQUARES = range(3)
CLIP = place_in_step("clip")


@inlined
def operation_sums(sums, sample, n_blocks, block):
    """The five sums of one block of a value in one sample."""
    return doubles(sums, (sample * n_blocks + block) * 5, 5)


@cache
def value_sums(dtype: Any) -> Kernel:
    """Σh², Σδ², zeros and entries that are not finite; the place of saturated units is left alone."""
    entries, zero = entries_of(dtype), zero_of(dtype)

    def value_sums_part(n_rows, sample, h, delta, stride, first, count, sums, first_block, n_blocks):
        for start in range(first, first + count, BLOCK):
            n = min(BLOCK, first + count - start)
            squares = 0.0
            delta_squares = 0.0
            zeros = 0
            finite = 0
            for row in range(n_rows):
                x, slope = entries(h, row * stride + start, n), entries(delta, row * stride + start, n)
                for j in range(n):
                    squares += np.float64(x[j]) * np.float64(x[j])
                    delta_squares += np.float64(slope[j]) * np.float64(slope[j])
                    zeros += x[j] == zero
                    finite += math.isfinite(x[j])
                    finite += math.isfinite(slope[j])
            own = operation_sums(sums, sample, n_blocks, first_block + start // BLOCK)
            own[SQUARES] = squares
            own[DELTA_SQUARES] = delta_squares
            own[ZEROS] = zeros
            own[NON_FINITE] = 2 * n_rows * n - finite

    return Kernel(value_sums_part, (), dtype)


@cache
def _penalised_squares(dtype: Any) -> Any:
    """Compiled: ‖g‖² of one block of columns, g the gradient of loss and penalty together."""
    entries, zero, one = entries_of(dtype), zero_of(dtype), np.dtype(dtype).type(1)
    room = room_of(np.float64, 1, BLOCK)

    @inlined
    def penalised_squares(parameters, gradient, stride, rows, start, n, l2, l1):
        squares = room(n)  # of each column
        for j in range(n):
            squares[j] = 0.0
        for row in range(rows):
            w, g = entries(parameters, row * stride + start, n), entries(gradient, row * stride + start, n)
            for j in range(n):
                sign = one if w[j] > zero else (-one if w[j] < zero else zero)
                slope = np.float64(g[j] + l2 * w[j] + l1 * sign)
                squares[j] += slope * slope
        total = 0.0
        for j in range(n):
            total += squares[j]
        return total

    return penalised_squares


@cache
def squared_norms(dtype: Any) -> Kernel:
    """‖g‖² of each block of columns of a parameter array; ``norms`` is the place of its first block."""
    penalised_squares = _penalised_squares(dtype)
    real, zero = np.dtype(dtype).type, zero_of(dtype)

    def squared_norms_part(
        factor, l2, l1, parameters, gradient, stride, rows, first, count, penalised, norms
    ):
        own_l2, own_l1 = (real(factor * l2), real(factor * l1)) if penalised else (zero, zero)
        for start in range(first, first + count, BLOCK):
            n = min(BLOCK, first + count - start)
            doubles(norms, start // BLOCK, 1)[0] = penalised_squares(
                parameters, gradient, stride, rows, start, n, own_l2, own_l1
            )

    return Kernel(squared_norms_part, (), dtype)


@cache
def clip_factor() -> Kernel:
    """c / ‖g‖ where the global norm ‖g‖ is above c, else 1 (section 4), into the step's record."""

    def set_clip(step, clip_norm, norms, n_blocks):
        squares = doubles(norms, 0, n_blocks)
        total = 0.0
        for block in range(n_blocks):
            total += squares[block]
        norm = math.sqrt(total)
        doubles(step, CLIP, 1)[0] = clip_norm / norm if norm > clip_norm else 1.0

    return Kernel(set_clip, ())


@cache
def parameter_sums(dtype: Any) -> Kernel:
    """‖g‖² and ‖w‖² of a parameter array ``before`` the update, ‖Δw‖² after it.

    The parameters before are kept in ``previous``, laid out in the same way.
    """
    entries, penalised_squares = entries_of(dtype), _penalised_squares(dtype)
    real, zero = np.dtype(dtype).type, zero_of(dtype)
    room = room_of(np.float64, 1, BLOCK)

    def parameter_sums_part(
        sample, factor, l2, l1, before, parameters, gradient, previous, stride, rows, first, count, penalised,
        sums, first_block, n_blocks,
    ):  # fmt: skip
        own_l2, own_l1 = (real(factor * l2), real(factor * l1)) if penalised else (zero, zero)
        squares = room(BLOCK)  # of each column: one sum over all would be added up number by number
        for start in range(first, first + count, BLOCK):
            n = min(BLOCK, first + count - start)
            own = doubles(sums, (sample * n_blocks + first_block + start // BLOCK) * 3, 3)
            for j in range(n):
                squares[j] = 0.0
            for row in range(rows):
                w, old = (
                    entries(parameters, row * stride + start, n),
                    entries(previous, row * stride + start, n),
                )
                if before:
                    for j in range(n):
                        squares[j] += np.float64(w[j]) * np.float64(w[j])
                        old[j] = w[j]
                else:
                    for j in range(n):
                        change = np.float64(w[j]) - np.float64(old[j])
                        squares[j] += change * change
            total = 0.0
            for j in range(n):
                total += squares[j]
            if before:
                own[GRADIENT_SQUARES] = penalised_squares(
                    parameters, gradient, stride, rows, start, n, own_l2, own_l1
                )
                own[PARAMETER_SQUARES] = total
            else:
                own[CHANGE_SQUARES] = total

    return Kernel(parameter_sums_part, (), dtype)
