"""The engine as an executor: owns the memory of a run and chooses the number of threads."""

from typing import Any

import numpy as np
import scipy.sparse

from chainrule.engine import kernels
from chainrule.engine._jit import Kernel
from chainrule.engine.blas import gemm_address, one_blas_thread
from chainrule.engine.layout import MAX_PANELS, make_tables
from chainrule.engine.threads import available_processors, new_barrier, pool
from chainrule.engine.worker import Memory, Task, predict, train
from chainrule.execution import Examples, Instructions, Penalty, Report
from chainrule.functions import get_loss
from chainrule.plan import Plan

__all__ = ["EngineExecutor"]

# A step of fewer multiply-adds than this takes less than about 60 microseconds on one thread, and
# the barriers of a second one cost more than it saves.
MULTIPLY_ADDS_FOR_THREADS = 4_000_000
# Rows a batch when predicting, and when a full gradient may be summed over chunks.
CHUNK = 1024


def _aligned(size: int, dtype: Any) -> np.ndarray:
    """Zeros beginning on a cache line, so that results do not depend on where memory happens to lie."""
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(size * itemsize + 64, dtype=np.uint8)
    offset = -raw.ctypes.data % 64
    return raw[offset : offset + size * itemsize].view(dtype)


class EngineExecutor:
    """Runs a plan in compiled code. See ``chainrule.execution.Executor`` for the methods' contract.

    Parameters
    ----------
    plan : Plan
    parameters, buffers : ndarray
        The flat vectors, contiguous, both float32 or both float64; changed in place by ``run``.
    n_threads : int, optional
        Threads to use; by default one for small networks, else as many as there are processors. The
        bits of the result do not depend on it.

    Raises
    ------
    TypeError
        If the vectors are neither float32 nor float64.
    """

    name = "engine"

    def __init__(
        self, plan: Plan, parameters: np.ndarray, buffers: np.ndarray, n_threads: int | None = None
    ) -> None:
        if parameters.dtype not in (np.float32, np.float64) or buffers.dtype != parameters.dtype:
            raise TypeError(
                "parameters and buffers must both be float32 or both float64; "
                f"got {parameters.dtype} and {buffers.dtype}"
            )
        if n_threads is not None and n_threads < 1:
            raise ValueError(f"n_threads must be at least 1; got {n_threads}")
        self.plan = plan
        self.parameters = parameters
        self.buffers = buffers
        self.dtype = parameters.dtype
        self.n_threads = n_threads
        self._tables = make_tables(plan, self.dtype)
        self._memory: Memory | None = None
        self._gradient = np.empty(0, self.dtype)
        self._previous = np.empty(0, self.dtype)

    # -- memory ------------------------------------------------------------------------------------

    def _memory_for(self, n_rows: int, training: bool, state: np.ndarray | None = None) -> Memory:
        """The arrays of a run with room for ``n_rows``; kept from call to call while they fit."""
        memory = self._memory
        if memory is None or memory.capacity < n_rows or (training and memory.deltas.size == 0):
            memory = self._allocate(n_rows, training)
        empty = np.empty(0, self.dtype)
        memory = memory._replace(
            parameters=self.parameters,
            buffers=self.buffers,
            first=empty if state is None else state[0],
            second=empty if state is None else state[1],
        )
        self._memory = memory._replace(first=empty, second=empty)
        memory.barrier[:] = 0
        memory.losses[:] = 0
        memory.penalties[:] = 0
        memory.norms[:] = 0
        return memory

    def _allocate(self, n_rows: int, training: bool) -> Memory:
        tables = self._tables
        width = int(tables.widths[1:].sum())
        widest = int(tables.widths.max())
        n_operations = len(self.plan.operations)
        if training and self._gradient.size == 0:
            self._gradient = _aligned(self.plan.n_parameters, self.dtype)

        def new(size: int) -> np.ndarray:
            return _aligned(size, self.dtype)

        return Memory(
            parameters=self.parameters, buffers=self.buffers, gradient=self._gradient,
            first=new(0), second=new(0), previous=self._previous,
            values=new(n_rows * width), deltas=new(n_rows * width if training else 0),
            batch=new(n_rows * self.plan.n_inputs), statistics=new(tables.n_statistics),
            row_statistics=new(n_rows * tables.row_statistics if self.plan.uses("layer_norm") else 0),
            column_sums=new(widest), column_products=new(widest), row_losses=new(n_rows),
            losses=np.zeros(1), norms=np.zeros(n_operations * MAX_PANELS),
            penalties=np.zeros(n_operations * MAX_PANELS),
            operation_sums=np.zeros((0, n_operations, MAX_PANELS, 5)),
            slot_sums=np.zeros((0, len(self.plan.parameters), MAX_PANELS, 3)),
            barrier=new_barrier(), capacity=n_rows, gemm=gemm_address(self.dtype),
            zero=self.dtype.type(0), one=self.dtype.type(1),
        )  # fmt: skip

    # -- tasks -------------------------------------------------------------------------------------

    def _loss_kernel(self, classes: bool) -> Kernel:
        return kernels.loss_rows(get_loss(self.plan.loss.name), classes, self.dtype)

    def _task(self, X: Any, order: np.ndarray | None, batch_size: int, **changes: Any) -> Task:
        """A task with everything at rest; ``changes`` says what this one does."""
        sparse = scipy.sparse.issparse(X)
        empty = np.empty(0, self.dtype)
        n_rows = X.shape[0]
        task = Task(
            X=np.empty((0, self.plan.n_inputs), self.dtype) if sparse else X,
            sparse_values=X.data if sparse else empty,
            sparse_columns=X.indices.astype(np.int64) if sparse else np.empty(0, np.int64),
            sparse_starts=X.indptr.astype(np.int64) if sparse else np.empty(0, np.int64),
            is_sparse=sparse, targets_address=0, weights=empty,
            order=np.arange(n_rows, dtype=np.int64) if order is None else order,
            identity_order=order is None, batch_size=batch_size, coefficients=np.zeros((0, 8), self.dtype),
            total_weight=0.0, loss_kernel=0, loss_setting=self.dtype.type(self.plan.loss.setting),
            loss_scale=float(self.plan.loss.scale), update_kernel=0, l2=0.0, l1=0.0, per_example=False,
            clip_norm=0.0, decay_all=False, training=False, track=False, first_step=0, seed=0,
            telemetry_every=0,
        )  # fmt: skip
        return task._replace(**changes)

    def _with_examples(self, task: Task, examples: Examples) -> Task:
        classes = examples.y.dtype.kind == "i"
        return task._replace(
            targets_address=examples.y.ctypes.data,
            weights=np.empty(0, self.dtype) if examples.weights is None else examples.weights,
            loss_kernel=self._loss_kernel(classes).address,
        )

    def _threads_for(self, n_rows: int) -> int:
        """Threads for a step of ``n_rows``: what was asked for, else by the size of the work."""
        if self.n_threads is not None:
            return self.n_threads
        work = 3 * n_rows * self.plan.multiply_adds
        return available_processors() if work >= MULTIPLY_ADDS_FOR_THREADS else 1

    def _call(self, function: Any, memory: Memory, task: Task, *rest: Any) -> None:
        """Run a compiled function on the threads of this task, or on this one."""
        n_threads = self._threads_for(min(task.batch_size, task.order.size))
        with one_blas_thread():
            if n_threads > 1:
                workers = pool(n_threads)
                if workers.busy.acquire(blocking=False):
                    try:
                        workers.run(lambda thread: function(thread, n_threads, self._tables, memory, task, *rest))
                        return
                    finally:
                        workers.busy.release()
            # One thread; also where another training holds the pool, since the bits are the same.
            function(0, 1, self._tables, memory, task, *rest)

    # -- the executor's methods --------------------------------------------------------------------

    def predict(self, X: Any) -> np.ndarray:
        """Raw outputs z of the network in evaluation mode."""
        output = np.empty((X.shape[0], self.plan.n_outputs), self.dtype)
        batch_size = max(1, min(CHUNK, X.shape[0]))
        memory = self._memory_for(batch_size, training=False)
        self._call(predict, memory, self._task(X, None, batch_size), output)
        return output

    def loss(self, examples: Examples) -> float:
        """Weighted mean loss in evaluation mode, without penalty."""
        term = self.plan.loss
        each = get_loss(term.name).value(self.predict(examples.X), examples.y, self.dtype.type(term.setting))
        return float(term.scale * np.average(each.astype(np.float64), weights=examples.weights))

    def gradient(
        self,
        examples: Examples,
        penalty: Penalty = Penalty(),  # noqa: B008 - frozen, so sharing one default is safe
        *,
        training: bool = True,
        step: int = 0,
        seed: int = 0,
    ) -> tuple[float, float, np.ndarray]:
        """Mean loss over all examples, its penalty, and the gradient of their sum."""
        whole = training and (self.plan.uses("batch_norm") or self.plan.uses("dropout"))
        n = len(examples)
        batch_size = n if whole else min(CHUNK, n)
        total = float(n if examples.weights is None else examples.weights.sum(dtype=np.float64))
        memory = self._memory_for(batch_size, training=True)
        gradient = np.zeros(self.plan.n_parameters, self.dtype)
        loss = 0.0
        for start in range(0, n, batch_size):
            rows = slice(start, min(start + batch_size, n))
            part = Examples(
                examples.X[rows], examples.y[rows], None if examples.weights is None else examples.weights[rows]
            )
            task = self._task(part.X, None, batch_size, total_weight=total, training=training)
            task = self._with_examples(task, part)._replace(first_step=step, seed=seed)
            memory.losses[:] = 0
            memory.barrier[:] = 0
            self._call(train, memory, task)
            loss += float(memory.losses[0]) / len(part)
            gradient += memory.gradient
        value = self._add_penalty(gradient, penalty, total)
        return loss, value, gradient

    def _add_penalty(self, gradient: np.ndarray, penalty: Penalty, total: float) -> float:
        """Add the penalties' gradient to a full gradient; their value."""
        factor = 1.0 / total if penalty.per_example else 1.0
        value = 0.0
        if penalty.l2 == 0 and penalty.l1 == 0:
            return value
        for slot in self.plan.parameters:
            if slot.penalised:
                w = slot.view(self.parameters)
                slope = self.dtype.type(factor * penalty.l2) * w
                slope += self.dtype.type(factor * penalty.l1) * np.sign(w)
                slot.view(gradient)[...] += slope
                value += factor * 0.5 * penalty.l2 * float(np.vdot(w, w))
                value += factor * penalty.l1 * float(np.abs(w).sum(dtype=np.float64))
        return value

    def run(self, examples: Examples, instructions: Instructions) -> Report:
        """Run training steps."""
        order = instructions.order
        n_rows = len(examples) if order is None else len(order)
        batch_size = min(instructions.batch_size, n_rows)
        n_steps = -(-n_rows // batch_size)
        memory = self._memory_for(batch_size, True, instructions.state)
        every = instructions.telemetry_every
        steps = np.arange(instructions.first_step, instructions.first_step + n_steps)
        sampled = steps[steps % every == 0] if every else steps[:0]
        if every:
            memory = self._with_telemetry(memory, len(sampled))
        penalty = instructions.penalty
        task = self._task(
            examples.X, order, batch_size,
            coefficients=np.ascontiguousarray(instructions.coefficients, dtype=self.dtype),
            update_kernel=kernels.update(instructions.rule, self.dtype).address,
            l2=float(penalty.l2), l1=float(penalty.l1), per_example=penalty.per_example,
            clip_norm=float(instructions.clip_norm), decay_all=instructions.decay_all,
            training=True, track=True, first_step=instructions.first_step, seed=instructions.seed,
            telemetry_every=every,
        )  # fmt: skip
        self._call(train, memory, self._with_examples(task, examples))
        return Report(
            loss=float(memory.losses[0]),
            penalty=float(memory.penalties.sum()),
            n_rows=n_rows,
            n_steps=n_steps,
            telemetry_steps=sampled,
            operations=self._operation_telemetry(
                memory.operation_sums, sampled - instructions.first_step, batch_size, n_rows
            ),
            slots=np.sqrt(memory.slot_sums.sum(axis=2)),
        )

    # -- telemetry ---------------------------------------------------------------------------------

    def _with_telemetry(self, memory: Memory, n_samples: int) -> Memory:
        if self._previous.size == 0:
            self._previous = _aligned(self.plan.n_parameters, self.dtype)
        return memory._replace(
            previous=self._previous,
            operation_sums=np.zeros((n_samples, len(self.plan.operations), MAX_PANELS, 5)),
            slot_sums=np.zeros((n_samples, len(self.plan.parameters), MAX_PANELS, 3)),
        )

    def _operation_telemetry(
        self, sums: np.ndarray, sampled: np.ndarray, batch_size: int, n_rows: int
    ) -> np.ndarray:
        """Root mean squares and fractions from the sums over panels, added in a fixed order."""
        totals = sums.sum(axis=2)
        rows = np.minimum(batch_size, n_rows - batch_size * sampled)
        counts = rows[:, None] * self._tables.widths[None, 1:]
        result = totals.copy()
        result[..., :2] = np.sqrt(totals[..., :2] / counts[..., None])
        result[..., 2:4] = totals[..., 2:4] / counts[..., None]
        return result
