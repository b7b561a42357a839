"""The arrays of a run: allocated once for a batch size, kept from call to call."""

from typing import Any

import numpy as np

from chainrule.arrays import zeros
from chainrule.engine import bfloat16
from chainrule.engine.layout import CACHE_LINE, PANEL, ValueLayout, blocks, lay_out, needs_gathering, padded
from chainrule.plan import Operation, Plan

# Progress of a thread that has not begun: less than anyone waits for.
BEFORE_THE_FIRST_STEP = -(1 << 20)

__all__ = ["Matrix", "Workspace", "address", "aligned"]


def address(array: np.ndarray | None) -> int:
    """Where an array's entries begin; 0 for none."""
    return 0 if array is None or array.size == 0 else int(array.__array_interface__["data"][0])


def aligned(size: int, dtype: Any) -> np.ndarray:
    """Zeros for the engine's own use: all of its arrays come from here."""
    return zeros(size, dtype)


class Matrix:
    """A value or its δ: one array for all threads, or one for each.

    Attributes
    ----------
    private : bool
        Whether every thread has its own.
    stride : int
        Entries from row to row.
    """

    def __init__(self, capacity: int, layout: ValueLayout, n_threads: int, dtype: Any) -> None:
        self.private, self.stride = layout.private, layout.stride
        self._arrays = [
            aligned(capacity * layout.stride, dtype) for _ in range(n_threads if layout.private else 1)
        ]
        steps = np.arange(capacity, dtype=np.int64) * (layout.stride * np.dtype(dtype).itemsize)
        self._tables = []
        for array in self._arrays:
            table = aligned(capacity, np.int64)
            table[:] = address(array) + steps
            self._tables.append(table)

    def address(self, thread: int) -> int:
        """Where it begins."""
        return address(self._arrays[thread if self.private else 0])

    def table(self, thread: int) -> int:
        """Where the addresses of its rows begin."""
        return address(self._tables[thread if self.private else 0])


class Workspace:
    """Values, deltas, gradient and sums for batches of up to ``capacity`` rows.

    Attributes
    ----------
    layouts : tuple of ValueLayout
    gathers : bool
        Whether the rows of X are copied together for each batch.
    gradient : ndarray
        Of the last batch, where it is stored at all.
    loss, penalties : ndarray
        Sums over the steps, set to zero by ``reset``. ``penalties`` has an entry for each column of each
        penalised matrix.
    progress : ndarray
        For each thread, on a cache line of its own, how far it is.
    """

    def __init__(
        self,
        plan: Plan,
        dtype: Any,
        capacity: int,
        n_threads: int,
        *,
        training: bool,
        sparse: bool = False,
        precision: str = "full",
    ) -> None:
        self.plan, self.dtype, self.capacity, self.n_threads = plan, np.dtype(dtype), capacity, n_threads
        self.sparse = sparse
        self.layouts = lay_out(plan, n_threads, capacity, dtype)
        self.gathers = needs_gathering(plan, sparse)
        self.values = [self._matrix(layout) for layout in self.layouts[0 if self.gathers else 1 :]]
        if not self.gathers:
            self.values.insert(0, None)
        deltas = [self._matrix(layout) for layout in self.layouts[1:]] if training else []
        self.deltas: list[Matrix | None] = [None, *deltas]
        self._x_tables = [aligned(capacity, np.int64) for _ in range(n_threads)]
        self.scratch = [aligned(self._scratch_size(), dtype) for _ in range(n_threads)]
        self.packed = [self._room_for_packing(precision) for _ in range(n_threads)]
        # For batch normalisation mean, 1/√(variance + ε) and two rows of sums, for layer normalisation means
        # and scales of rows; for each thread that has a value of its own.
        self.statistics = {
            k: [
                aligned(4 * op.width_in if op.kind == "batch_norm" else 2 * capacity, dtype)
                for _ in range(n_threads if self.layouts[k + 1].private else 1)
            ]
            for k, op in enumerate(plan.operations)
            if op.kind in ("batch_norm", "layer_norm")
        }
        self.ones = aligned(1, dtype)
        self.ones[:] = 1
        self.ones_table = aligned(capacity, np.int64)
        self.ones_table[:] = address(self.ones)
        self.losses = [aligned(capacity, dtype) for _ in range(n_threads if self.layouts[-1].private else 1)]
        self.loss = aligned(1, np.float64)
        linear = [op for op in plan.operations if op.kind == "linear"]
        self.penalties = aligned(sum(op.width_out for op in linear), np.float64)
        starts = np.cumsum([0, *(op.width_out for op in linear)])
        self.penalty_at = {op.weight: int(start) for op, start in zip(linear, starts, strict=False)}
        self.progress = aligned(n_threads * CACHE_LINE // 8, np.int64)
        self.operation_sums = np.empty((0, int(self.operation_blocks[-1]), 5))
        self.parameter_sums = np.empty((0, self.n_parameter_blocks, 3))
        self.previous = np.empty(0, dtype)
        self._own_weights: dict[tuple[int, int], list[np.ndarray]] = {}
        self._gradient: np.ndarray | None = None
        self._norms: np.ndarray | None = None

    def _matrix(self, layout: ValueLayout) -> Any:
        return Matrix(self.capacity, layout, self.n_threads, self.dtype)

    def _scratch_size(self) -> int:
        """Room for a panel of a right factor: as many terms as a layer has inputs or outputs."""
        terms = max(max(op.width_in, op.width_out) for op in self.plan.operations)
        return PANEL * max(terms, self.capacity)

    def _room_for_packing(self, precision: str) -> tuple[np.ndarray, np.ndarray]:
        """Room for a left and a right factor of bf16 numbers, as large as any layer's."""
        if precision == "full":
            return np.empty(0, np.uint8), np.empty(0, np.uint8)
        kernels, n = bfloat16.packed_kernels(precision), self.capacity
        widest = max(self.plan.widths)
        left = max(kernels.left_bytes(n, widest), kernels.left_bytes(widest, n))
        right = max(kernels.right_bytes(widest, PANEL), kernels.right_bytes(n, widest))
        return aligned(left, np.uint8), aligned(right, np.uint8)

    def own_weights(self, op: Operation, thread: int, count: int) -> tuple[int, int, int, int]:
        """Addresses of a thread's own columns of a layer's weights and moments, and their stride in bytes."""
        stride = padded(count, self.dtype.itemsize)
        key = (op.weight, thread)
        if key not in self._own_weights:
            self._own_weights[key] = [aligned(op.width_in * stride, self.dtype) for _ in range(3)]
        first, second, third = (address(array) for array in self._own_weights[key])
        return first, second, third, stride * self.dtype.itemsize

    def x_table(self, thread: int) -> int:
        """Where the addresses of the batch's rows begin."""
        return address(self._x_tables[thread])

    @property
    def gradient(self) -> np.ndarray:
        """The flat gradient; allocated when it is first stored."""
        if self._gradient is None:
            self._gradient = aligned(self.plan.n_parameters, self.dtype)
        return self._gradient

    @property
    def operation_blocks(self) -> np.ndarray:
        """Number of the first block of columns of each operation's value; at the end, how many there are."""
        return np.cumsum([0, *(blocks(width) for width in self.plan.widths[1:])])

    @property
    def parameter_blocks(self) -> np.ndarray:
        """The same for each parameter array."""
        return np.cumsum([0, *(blocks(slot.shape[0]) for slot in self.plan.parameters)])

    @property
    def n_parameter_blocks(self) -> int:
        """Blocks of columns of all parameter arrays."""
        return int(self.parameter_blocks[-1])

    @property
    def norms(self) -> np.ndarray:
        """‖g‖² of each block of each parameter array."""
        if self._norms is None:
            self._norms = aligned(self.n_parameter_blocks, np.float64)
        return self._norms

    def make_room_for_samples(self, n_samples: int) -> bool:
        """Zero the sums of telemetry; whether they had to move, so that schedules hold old addresses."""
        moves = len(self.operation_sums) < n_samples
        if moves:
            n = max(n_samples, 2 * len(self.operation_sums))
            self.operation_sums = np.zeros((n, int(self.operation_blocks[-1]), 5))
            self.parameter_sums = np.zeros((n, self.n_parameter_blocks, 3))
            self.previous = aligned(self.plan.n_parameters, self.dtype)
        self.operation_sums[:n_samples] = 0
        self.parameter_sums[:n_samples] = 0
        return moves

    def serves(self, capacity: int, *, sparse: bool) -> bool:
        """Whether it has room for such batches."""
        return self.capacity >= capacity and self.sparse == sparse

    def reset(self) -> None:
        """Make ready for a call."""
        self.loss[:] = 0
        self.penalties[:] = 0
        self.progress[:] = 0
        self.progress[:: CACHE_LINE // 8] = BEFORE_THE_FIRST_STEP
