"""Prediction: the forward pass through the same kernels, from one row in microseconds to millions.

Rows do not depend on each other, so threads share nothing: each has memory and a schedule of its own and
takes a range of rows. A call from Python costs little more than the products, and any number of threads may
call at once.
"""

from typing import Any

import numpy as np
import scipy.sparse

from chainrule.engine import worker
from chainrule.engine.calls import STEP, STEP_REALS, call_type, place_in_step
from chainrule.engine.memory import Workspace, address, aligned
from chainrule.engine.schedule import Numbers, Purpose, Scheduler, assemble
from chainrule.engine.threads import MULTIPLY_ADDS_FOR_THREADS, available_processors, pool_held
from chainrule.plan import Plan

__all__ = ["Forward"]

# Values of a chunk of rows that stay in a second-level cache.
BYTES_OF_A_VALUE = 1 << 19
MOST_ROWS, FEWEST_ROWS = 1024, 64


class Player:
    """Memory and a schedule for one thread at a time."""

    def __init__(self, plan: Plan, dtype: Any, numbers: Numbers, capacity: int, sparse: bool) -> None:
        self.capacity = capacity
        self._workspace = Workspace(plan, dtype, capacity, 1, training=False, sparse=sparse)
        phases = Scheduler(plan, self._workspace, numbers, Purpose()).write()
        (self._schedule,) = assemble(phases, 0)
        self._record = aligned(len(STEP + STEP_REALS), np.int64)
        kernel = worker.play()
        self._entry = call_type(kernel.address)
        calls = {"calls": address(self._schedule), "n_calls": len(self._schedule)}
        arguments = dict.fromkeys(kernel.fields, 0) | calls | {"batch_size": capacity, "n_threads": 1}
        self._arguments = np.array(kernel.pack(**arguments), np.int64)
        self._n_all, self._first_order = (kernel.fields.index(name) for name in ("n_all", "first_order"))
        self._places = [place_in_step(n) for n in ("X", "sparse_columns", "sparse_starts", "output")]
        self._addresses = address(self._arguments), address(self._record)
        self._order = np.arange(0)

    def play(self, n_rows: int, inputs: tuple[int, int, int], output: int) -> None:
        """Predict ``n_rows`` rows; addresses of X, of sparse rows' columns and starts, of the result."""
        if len(self._order) < n_rows:
            self._order = np.arange(n_rows, dtype=np.int64)
            self._arguments[self._first_order] = address(self._order)
        self._arguments[self._n_all] = n_rows
        record = self._record
        for place, value in zip(self._places, (*inputs, output), strict=True):
            record[place] = value
        self._entry(*self._addresses)


class Forward:
    """The forward pass of a plan in evaluation mode; safe to call from several threads at once.

    Parameters
    ----------
    plan : Plan
    parameters, buffers : ndarray
        The flat vectors, read at each call.
    n_threads : int, optional
        By default as many as there are processors, where the work is worth it.
    """

    def __init__(
        self, plan: Plan, parameters: np.ndarray, buffers: np.ndarray, n_threads: int | None = None
    ) -> None:
        self.plan, self.dtype, self.n_threads = plan, parameters.dtype, n_threads
        self._arrays = parameters, buffers
        self._numbers = Numbers(address(parameters), address(buffers))
        self._idle: dict[bool, list[Player]] = {False: [], True: []}
        widest = max(plan.widths)
        rows = BYTES_OF_A_VALUE // (widest * self.dtype.itemsize)
        self._chunk = max(FEWEST_ROWS, min(MOST_ROWS, rows))

    def __call__(self, X: Any, output: np.ndarray | None = None) -> np.ndarray:
        """Raw outputs z, (n, n_outputs), of rows of X: a contiguous array of the right dtype, or CSR."""
        n = X.shape[0]
        if output is None:
            output = np.empty((n, self.plan.n_outputs), self.dtype)
        if n == 0:
            return output
        n_threads = self._threads_for(n)
        if n_threads == 1:
            self._rows(X, output, 0, n)
        else:
            self._side_by_side(X, output, n_threads)
        return output

    def _side_by_side(self, X: Any, output: np.ndarray, n_threads: int) -> None:
        """A range of rows for each thread; all for this one where a training holds the pool."""
        n = len(output)
        edges = [n * thread // n_threads for thread in range(n_threads + 1)]
        with pool_held(n_threads) as workers:
            if workers is None:
                self._rows(X, output, 0, n)
            else:
                workers.run(lambda thread: self._rows(X, output, edges[thread], edges[thread + 1]))

    def _threads_for(self, n: int) -> int:
        if n < 2 or self.n_threads == 1 or n * self.plan.multiply_adds < MULTIPLY_ADDS_FOR_THREADS:
            return 1
        return min(n, self.n_threads or available_processors())

    def _rows(self, X: Any, output: np.ndarray, first: int, last: int) -> None:
        """Rows [first, last)."""
        sparse = scipy.sparse.issparse(X)
        idle = self._idle[sparse]
        needed = min(last - first, self._chunk)
        try:
            player = idle.pop()  # whole or not at all, also with several threads
        except IndexError:
            player = None
        if player is None or player.capacity < needed:
            player = Player(self.plan, self.dtype, self._numbers, needed, sparse)
        itemsize = self.dtype.itemsize
        try:
            if sparse:
                columns, starts = X.indices.astype(np.int64), X.indptr.astype(np.int64)[first:]
                inputs = address(X.data), address(columns), address(starts)
            else:
                inputs = address(X) + first * self.plan.n_inputs * itemsize, 0, 0
            start = address(output) + first * self.plan.n_outputs * itemsize
            player.play(last - first, inputs, start)
        finally:
            idle.append(player)
