"""Which numbers a call works on: a part of a matrix's rows, a range of its columns.

Matrices are row-major with ``stride`` entries a row, of which the first ``width`` are the matrix's and the
rest padding that no kernel touches. A call works on columns [first, first + count) of the rows
[n_rows · part / parts, n_rows · (part + 1) / parts): what one thread owns of them.
"""

from functools import cache
from typing import Any

import numba
import numpy as np
from numba import carray

from chainrule.engine._intrinsics import array_at
from chainrule.engine._jit import inlined

__all__ = ["doubles", "entries_of", "integers", "own_rows", "zero_of"]


def zero_of(dtype: Any) -> Any:
    """Zero as a typed constant; arithmetic with a wider one would widen, and slow down, whole loops."""
    return np.dtype(dtype).type(0)


@cache
def entries_of(dtype: Any) -> Any:
    """``entries(address, offset, n)``: n entries of this dtype from entry ``offset`` of what is at an address.

    Loops run from 0 over such a view, never from ``first``: Numba lets an index that might be negative count
    from the end, and a loop over one is not vectorised.
    """
    example = numba.from_dtype(np.dtype(dtype))(0)
    size = np.dtype(dtype).itemsize

    @inlined
    def entries(address, offset, n):
        return carray(array_at(address + offset * size, example), n)

    return entries


integers = entries_of(np.int64)
doubles = entries_of(np.float64)


@inlined
def own_rows(n_rows, part, parts):
    """The first of a part's rows, and how many they are."""
    begin = n_rows * part // parts
    return begin, n_rows * (part + 1) // parts - begin


@inlined
def long_rows(rows, stride, count):
    """(rows, entries a row) to loop over: one long row where the columns are all there is between strides."""
    return (1, rows * count) if count == stride else (rows, count)
