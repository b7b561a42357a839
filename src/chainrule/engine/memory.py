"""The arrays of a run: allocated once for a batch size, kept from call to call."""

from typing import Any

import numpy as np

from chainrule.engine.blas import gemm_address
from chainrule.engine.layout import MAX_PANELS, Tables
from chainrule.engine.objects import tile_table, vector_unit
from chainrule.engine.threads import new_barrier
from chainrule.engine.worker import Memory
from chainrule.plan import Plan

__all__ = ["Workspace", "address"]

CACHE_LINE = 64


def address(array: np.ndarray | None) -> int:
    """Where an array's entries begin; 0 for none."""
    return 0 if array is None or array.size == 0 else int(array.__array_interface__["data"][0])


def aligned(size: int, dtype: Any) -> np.ndarray:
    """Zeros that begin on a cache line, so that results do not depend on where memory happens to lie."""
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(size * itemsize + CACHE_LINE, dtype=np.uint8)
    offset = -raw.ctypes.data % CACHE_LINE
    return raw[offset : offset + size * itemsize].view(dtype)


class Workspace:
    """Values, deltas, gradient and sums for batches of up to ``n_rows`` rows.

    Attributes
    ----------
    memory : Memory
        Addresses of the arrays, for the compiled code.
    gradient : ndarray
        Of the last batch.
    losses, penalties : ndarray
        Sums over the steps, set to zero by ``reset``.
    operation_sums, slot_sums : ndarray
        Telemetry of the last call.
    """

    def __init__(
        self,
        plan: Plan,
        tables: Tables,
        parameters: np.ndarray,
        buffers: np.ndarray,
        n_rows: int,
        training: bool,
        n_threads: int,
    ) -> None:
        dtype = parameters.dtype
        width, widest = int(tables.widths[1:].sum()), int(tables.widths.max())
        self.plan = plan
        self.n_rows = n_rows
        self.training = training
        self.n_threads = n_threads
        self._dtype = dtype
        self.gradient = aligned(plan.n_parameters if training else 0, dtype)
        self.losses = np.zeros(1)
        self.norms = np.zeros(len(plan.operations) * MAX_PANELS)
        self.penalties = np.zeros(len(plan.operations) * MAX_PANELS)
        self.operation_sums = np.zeros((0, len(plan.operations), MAX_PANELS, 5))
        self.slot_sums = np.zeros((0, len(plan.parameters), MAX_PANELS, 3))
        self.barrier = new_barrier()
        self._previous = np.empty(0, dtype)
        tiles = tile_table(dtype)
        # Room for one group of columns of a right factor, for each thread; a multiple of a cache line.
        terms = -(-max(widest, n_rows) // CACHE_LINE) * CACHE_LINE
        scratch_entries = terms * tiles.widest * vector_unit().lanes(dtype)
        own = {
            "scratch": aligned(scratch_entries * n_threads, dtype),
            "values": aligned(n_rows * width, dtype),
            "deltas": aligned(n_rows * width if training else 0, dtype),
            "batch": aligned(n_rows * plan.n_inputs, dtype),
            "statistics": aligned(2 * width if plan.uses("batch_norm") else 0, dtype),
            "row_statistics": aligned(
                2 * n_rows * len(plan.operations) if plan.uses("layer_norm") else 0, dtype
            ),
            "column_sums": aligned(widest, dtype),
            "column_products": aligned(widest, dtype),
            "row_losses": aligned(n_rows, dtype),
            "gradient": self.gradient,
            "losses": self.losses,
            "norms": self.norms,
            "penalties": self.penalties,
            "barrier": self.barrier,
            "parameters": parameters,
            "buffers": buffers,
        }
        self._kept_alive = own
        self.memory = Memory(
            **{name: address(array) for name, array in own.items()},
            first=0, second=0, previous=0, operation_sums=0, slot_sums=0,
            capacity=n_rows, itemsize=dtype.itemsize,
            scratch_bytes=scratch_entries * dtype.itemsize, tiles=address(tiles.addresses),
            gemm=gemm_address(dtype),
            lanes=vector_unit().lanes(dtype), tallest=tiles.tallest, widest=tiles.widest,
            n_slots=len(plan.parameters),
            zero=dtype.type(0), one=dtype.type(1),
        )  # fmt: skip

    def serves(self, n_rows: int, training: bool, n_threads: int) -> bool:
        """Whether it is large enough for such a run."""
        return self.n_rows >= n_rows and (self.training or not training) and self.n_threads >= n_threads

    def reset(self, state: np.ndarray | None = None, n_samples: int = 0) -> Memory:
        """Make ready for a call: the optimizer's ``state``, and room for ``n_samples`` of telemetry."""
        self.losses[:] = 0
        self.penalties[:] = 0
        self.norms[:] = 0
        self.barrier[:] = 0
        self.operation_sums = np.zeros((n_samples, *self.operation_sums.shape[1:]))
        self.slot_sums = np.zeros((n_samples, *self.slot_sums.shape[1:]))
        if n_samples and self._previous.size == 0:
            self._previous = aligned(self.plan.n_parameters, self._dtype)
        return self.memory._replace(
            first=0 if state is None else address(state[0]),
            second=0 if state is None else address(state[1]),
            previous=address(self._previous),
            operation_sums=address(self.operation_sums),
            slot_sums=address(self.slot_sums),
        )
