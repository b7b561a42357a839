"""Compiled code's way to memory: arrays at addresses."""

from numba import carray

from chainrule.engine._intrinsics import array_at
from chainrule.engine._jit import device

__all__ = ["doubles", "integers", "number_at", "part"]


@device
def number_at(address, index):
    """Entry ``index`` of the int64 array at an address."""
    return carray(array_at(address + index * 8, 0), 1)[0]


@device
def integers(address, n):
    """The int64 array at an address."""
    return carray(array_at(address, 0), n)


@device
def doubles(address, offset, n):
    """``n`` float64 entries from entry ``offset`` of the array at an address."""
    return carray(array_at(address + offset * 8, 0.0), n)


@device
def part(m, address, offset, n):
    """``n`` entries of the run's dtype from entry ``offset`` of what begins at an address."""
    return carray(array_at(address + offset * m.itemsize, m.zero), n)
