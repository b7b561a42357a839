"""Which numbers a call works on: a part of a matrix's rows, a range of its columns.

Matrices are row-major with ``stride`` entries a row, of which the first ``width`` are the matrix's and the
rest padding that no kernel touches. A call works on columns [first, first + count) of the rows
[n_rows · part / parts, n_rows · (part + 1) / parts): what one thread owns of them.
"""

from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from chainrule.engine._jit import inlined

__all__ = ["doubles", "entries_of", "integers", "long_rows", "own_rows", "room_of", "zero_of"]


def zero_of(dtype: Any) -> Any:
    """Zero as a typed constant; arithmetic with a wider one would widen, and slow down, whole loops."""
    return np.dtype(dtype).type(0)


def _array(context, builder, result, data, shape, strides):
    """The LLVM value of a Numba array of these entries, which somebody else owns."""
    view = context.make_array(result)(context, builder)
    data = builder.bitcast(data, view.data.type)
    itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(result.dtype)))
    strides = [builder.mul(itemsize, context.get_constant(types.intp, n)) for n in strides]
    populate_array(view, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
    return view._getvalue()


@cache
def entries_of(dtype: Any) -> Any:
    """``entries(address, offset, n)``: n entries of this dtype, from entry ``offset`` of those at an address.

    Loops run from 0 over such a view, never from ``first``: Numba lets an index that might be negative count
    from the end, and a loop over one is not vectorised.
    """
    result = types.Array(numba.from_dtype(np.dtype(dtype)), 1, "C")

    @intrinsic
    def entries(typing_context, address, offset, n):
        def codegen(context, builder, signature, args):
            entry = context.get_data_type(result.dtype)
            beginning = builder.inttoptr(args[0], entry.as_pointer())
            data = builder.gep(beginning, [args[1]], source_etype=entry)
            return _array(context, builder, result, data, [args[2]], [1])

        return result(types.intp, types.intp, types.intp), codegen

    return entries


integers = entries_of(np.int64)
doubles = entries_of(np.float64)


@cache
def room_of(dtype: Any, rows: int, columns: int) -> Any:
    """``room(n)`` and ``room(m, n)``: arrays on the stack, of at most so many rows and columns."""
    kind = numba.from_dtype(np.dtype(dtype))

    @intrinsic
    def room(typing_context, *shape):
        result = types.Array(kind, len(shape), "C" if len(shape) == 1 else "A")

        def codegen(context, builder, signature, args):
            data = cgutils.alloca_once(builder, context.get_data_type(kind), size=rows * columns)
            data.align = 64
            lengths = cgutils.unpack_tuple(builder, args[0])
            return _array(context, builder, result, data, lengths, [columns, 1][-len(shape) :])

        return result(types.StarArgTuple(shape)), codegen

    return room


@inlined
def own_rows(n_rows, part, parts):
    """The first of a part's rows, and how many they are."""
    begin = n_rows * part // parts
    return begin, n_rows * (part + 1) // parts - begin


@inlined
def long_rows(rows, stride, count):
    """(rows, entries a row) to loop over: one long row where the columns are all there is between strides."""
    return (1, rows * count) if count == stride else (rows, count)
