"""Who computes what: the part of each value that a thread owns.

"Owner computes": a thread owns columns of a layer's value, forward and back, and with them the matching
weights, so it computes the gradient of what it updates, and no gradient is summed across threads. Operations
on single numbers inherit the part of what they read; layer normalisation and the loss go by rows. A value so
narrow that sharing it out would cost more than it saves is computed by every thread for itself, in
memory of its own.

No number is summed by two threads, so the bits of a result do not depend on how many there are.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from chainrule.plan import Operation, Plan

__all__ = [
    "BLOCK",
    "CACHE_LINE",
    "PANEL",
    "Part",
    "ValueLayout",
    "blocks",
    "column_parts",
    "lay_out",
    "needs_gathering",
]

CACHE_LINE = 64
# Edges between threads are multiples of this many columns: whole vectors. Sums that are reported are kept for
# each block of as many columns, so that they do not depend on the number of threads.
BLOCK = 16
# Columns that the widest register tile spans; no thread gets less of a value that is wide enough.
PANEL = 64
# Multiply-adds of a layer below which every thread computes all of it, instead of waiting for the others.
MULTIPLY_ADDS_ALONE = 150_000


@dataclass(frozen=True)
class Part:
    """Rows [n · part / parts, n · (part + 1) / parts) of a batch of n, columns [first, first + count)."""

    part: int
    parts: int
    first: int
    count: int


class ValueLayout(NamedTuple):
    """How a value lies in memory, and which part each thread computes.

    Attributes
    ----------
    width, stride : int
        Columns, and entries from one row to the next.
    private : bool
        Whether every thread computes all of it for itself.
    parts : tuple of Part
        One for each thread.
    """

    width: int
    stride: int
    private: bool
    parts: tuple[Part, ...]


def padded(width: int, itemsize: int) -> int:
    """Entries from row to row: whole cache lines, and never a multiple of 1 KB, or rows evict each other."""
    line = CACHE_LINE // itemsize
    stride = -(-width // line) * line
    return stride + line if stride * itemsize % 1024 == 0 else stride


def blocks(width: int) -> int:
    """Blocks of columns in a value, the last one perhaps not full."""
    return -(-width // BLOCK)


def column_parts(width: int, n_threads: int) -> tuple[Part, ...]:
    """Columns for each thread: whole panels of a wide value, whole vectors of a narrower one."""
    unit = PANEL if width >= PANEL * n_threads else BLOCK
    count = -(-width // unit)
    edges = [min(width, count * t // n_threads * unit) for t in range(n_threads + 1)]
    return tuple(Part(0, 1, a, b - a) for a, b in pairwise(edges))


def row_parts(width: int, n_threads: int) -> tuple[Part, ...]:
    """Rows for each thread."""
    return tuple(Part(t, n_threads, 0, width) for t in range(n_threads))


def needs_gathering(plan: Plan, sparse: bool) -> bool:
    """Whether the batch of X must lie together: products take rows where they are, the rest does not."""
    return sparse or any((op.source == 0 and op.kind != "linear") or op.second == 0 for op in plan.operations)


def lay_out(plan: Plan, n_threads: int, capacity: int, dtype: Any) -> tuple[ValueLayout, ...]:
    """The layout of every value of a plan, for batches of up to ``capacity`` rows."""
    itemsize = np.dtype(dtype).itemsize
    layouts: list[ValueLayout] = []

    def add(width: int, private: bool, parts: tuple[Part, ...]) -> None:
        layouts.append(ValueLayout(width, padded(width, itemsize), private, parts))

    add(plan.n_inputs, False, row_parts(plan.n_inputs, n_threads))
    for op in plan.operations:
        width = op.width_out
        whole = (Part(0, 1, 0, width),) * n_threads
        if op.kind == "linear":
            alone = _computed_alone(op, n_threads, capacity)
            add(width, alone, whole if alone else column_parts(width, n_threads))
            continue
        sources = [layouts[value] for value in (op.source, op.second) if value >= 0]
        shared = [source for source in sources if not source.private]
        if not shared:
            add(width, True, whole)
        elif op.kind == "batch_norm":  # its sums run down whole columns
            add(width, False, column_parts(width, n_threads))
        elif op.kind == "layer_norm":  # and these along whole rows
            add(width, False, row_parts(width, n_threads))
        else:
            add(width, False, shared[0].parts)
    return tuple(layouts)


def _computed_alone(op: Operation, n_threads: int, capacity: int) -> bool:
    """Whether every thread computes this layer for itself."""
    small = capacity * op.width_in * op.width_out < MULTIPLY_ADDS_ALONE
    return n_threads > 1 and (small or op.width_out < 2 * BLOCK)
