"""Calling one kernel by itself: arguments by name, matrices with padding that must stay as it is."""

import ctypes

import numpy as np

from chainrule.engine.calls import STEP, STEP_REALS, place_in_step, word

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
CANARY = -12345.0
PADDING = 7


def padded(values, dtype, padding=PADDING):
    """A copy of a matrix whose rows are further apart than they are long, with canaries between them."""
    rows, width = values.shape
    outer = np.full((rows + 1, width + padding), CANARY, dtype)
    outer[:rows, :width] = values
    return outer[:rows, :width]


def empty(shape, dtype, padding=PADDING):
    return padded(np.full(shape, np.nan), dtype, padding)


def is_untouched(*matrices):
    """Whether the padding of matrices made by ``padded`` is as it was."""
    return all(
        (one.base[:, one.shape[1] :] == CANARY).all() and (one.base[len(one) :] == CANARY).all()
        for one in matrices
    )


def stride_of(matrix):
    return matrix.strides[0] // matrix.itemsize


def call(kernel, step=None, **arguments):
    """Call a kernel; arrays stand for their addresses, ``step`` holds fields of the step's record.

    Returns the step's record as real numbers by name.
    """

    def number(value):
        return value.ctypes.data if isinstance(value, np.ndarray) else value

    record = np.zeros(len(STEP) + len(STEP_REALS), np.int64)
    for name, value in (step or {}).items():
        record[place_in_step(name)] = word(float(value) if name in STEP_REALS else number(value))
    words = np.array(kernel.pack(**{name: number(value) for name, value in arguments.items()}), np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)(kernel.address)(
        words.ctypes.data, record.ctypes.data
    )
    return {name: float(record.view(np.float64)[place_in_step(name)]) for name in STEP_REALS}


def cuts(width):
    """Ways to cut columns into ranges (first, count), each beginning at a multiple of 16."""
    edges = list(range(0, width, 16))
    for step in (1, 2, 3):
        yield [(first, min(16 * step, width - first)) for first in edges[::step]]


def row_parts(parts):
    return [{"part": part, "parts": parts} for part in range(parts)]


WHOLE = {"part": 0, "parts": 1}


def tolerance(dtype):
    return 200 * np.finfo(dtype).eps
