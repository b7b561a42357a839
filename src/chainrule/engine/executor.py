"""The engine as an executor: owns the memory of a run and chooses the number of threads."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from chainrule.engine import kernels
from chainrule.engine.blas import one_blas_thread
from chainrule.engine.layout import Tables, make_tables
from chainrule.engine.memory import Workspace, address
from chainrule.engine.threads import available_processors, pool
from chainrule.engine.worker import Memory, Task, run
from chainrule.execution import Examples, Instructions, Penalty, Report, mean_loss
from chainrule.functions import get_loss
from chainrule.plan import Plan

__all__ = ["EngineExecutor"]

# A step of fewer multiply-adds than this takes less than about 60 microseconds on one thread, and
# the barriers of a second one cost more than it saves.
MULTIPLY_ADDS_FOR_THREADS = 4_000_000
# Rows a batch when predicting, and when a full gradient may be summed over chunks.
CHUNK = 1024


class _Work(NamedTuple):
    """A task, and the arrays whose addresses it holds: they must live as long as it does."""

    task: Task
    arrays: dict[str, Any]


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
        self._table_addresses = Tables(
            *(address(entry) if isinstance(entry, np.ndarray) else entry for entry in self._tables)
        )
        self._workspace: Workspace | None = None

    def _workspace_for(self, n_rows: int, training: bool) -> Workspace:
        """A workspace with room for ``n_rows``: the last one, while it is large enough."""
        workspace = self._workspace
        n_threads = self.n_threads or available_processors()
        if workspace is None or not workspace.serves(n_rows, training, n_threads):
            workspace = Workspace(
                self.plan, self._tables, self.parameters, self.buffers, n_rows, training, n_threads
            )
            self._workspace = workspace
        return workspace

    # -- tasks -------------------------------------------------------------------------------------

    def _loss_kernel(self, examples: Examples) -> int:
        classes = examples.y.dtype.kind == "i"
        return kernels.loss_rows(get_loss(self.plan.loss.name), classes, self.dtype).address

    def _task(self, examples: Examples, order: np.ndarray | None, batch_size: int, **changes: Any) -> _Work:
        """A task on these examples with everything at rest; ``changes`` says what this one does."""
        sparse = scipy.sparse.issparse(examples.X)
        X: Any = examples.X if sparse else np.ascontiguousarray(examples.X, self.dtype)
        rows = (
            np.arange(X.shape[0], dtype=np.int64) if order is None else np.ascontiguousarray(order, np.int64)
        )
        arrays: dict[str, Any] = {
            "X": None if sparse else X,
            "sparse_values": X.data if sparse else None,
            "sparse_columns": X.indices.astype(np.int64) if sparse else None,
            "sparse_starts": X.indptr.astype(np.int64) if sparse else None,
            "targets": examples.y,
            "weights": examples.weights,
            "order": rows,
            "coefficients": None,
            "output": None,
        }
        arrays.update((name, value) for name, value in changes.items() if name in arrays)
        settings = {
            "n_rows": len(rows), "identity_order": order is None, "batch_size": batch_size,
            "total_weight": 0.0, "loss_kernel": 0, "update_kernel": 0,
            "loss_setting": self.dtype.type(self.plan.loss.setting),
            "loss_scale": float(self.plan.loss.scale),
            "l2": 0.0, "l1": 0.0, "per_example": False, "clip_norm": 0.0, "decay_all": False,
            "training": False, "track": False, "first_step": 0, "seed": 0, "telemetry_every": 0,
        }  # fmt: skip
        settings.update((name, value) for name, value in changes.items() if name not in arrays)
        addresses = {name: address(array) for name, array in arrays.items()}
        return _Work(Task(**addresses, **settings), arrays)

    def _threads_for(self, n_rows: int) -> int:
        """Threads for a step of ``n_rows``: what was asked for, else by the size of the work."""
        if self.n_threads is not None:
            return self.n_threads
        work = 3 * n_rows * self.plan.multiply_adds
        return available_processors() if work >= MULTIPLY_ADDS_FOR_THREADS else 1

    def _call(self, memory: Memory, work: _Work) -> None:
        """Run a task on its threads, or on this one."""
        task = work.task
        n_threads = self._threads_for(min(task.batch_size, task.n_rows))
        with one_blas_thread():
            if n_threads > 1:
                workers = pool(n_threads)
                if workers.busy.acquire(blocking=False):
                    try:
                        workers.run(
                            lambda thread: run(thread, n_threads, self._table_addresses, memory, task)
                        )
                        return
                    finally:
                        workers.busy.release()
            # One thread; also where another training holds the pool, since the bits are the same.
            run(0, 1, self._table_addresses, memory, task)

    # -- the executor's methods --------------------------------------------------------------------

    def predict(self, X: Any) -> np.ndarray:
        """Raw outputs z of the network in evaluation mode."""
        output = np.empty((X.shape[0], self.plan.n_outputs), self.dtype)
        batch_size = max(1, min(CHUNK, X.shape[0]))
        memory = self._workspace_for(batch_size, training=False).reset()
        if len(output):
            self._call(memory, self._task(Examples(X, np.empty(0)), None, batch_size, output=output))
        return output

    def loss(self, examples: Examples) -> float:
        """Weighted mean loss in evaluation mode, without penalty."""
        return mean_loss(self.plan, self.predict(examples.X), examples)

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
        workspace = self._workspace_for(batch_size, training=True)
        gradient = np.zeros(self.plan.n_parameters, self.dtype)
        loss = 0.0
        for start in range(0, n, batch_size):
            rows = slice(start, min(start + batch_size, n))
            weights = None if examples.weights is None else examples.weights[rows]
            part = Examples(examples.X[rows], examples.y[rows], weights)
            work = self._task(
                part, None, batch_size,
                loss_kernel=self._loss_kernel(examples), total_weight=total, training=training,
                first_step=step, seed=seed,
            )  # fmt: skip
            self._call(workspace.reset(), work)
            loss += float(workspace.losses[0]) / len(part)
            gradient += workspace.gradient
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
        batch_size = max(1, min(instructions.batch_size, n_rows))
        n_steps = -(-n_rows // batch_size)
        every = instructions.telemetry_every
        steps = np.arange(instructions.first_step, instructions.first_step + n_steps)
        sampled = steps[steps % every == 0] if every else steps[:0]
        workspace = self._workspace_for(batch_size, training=True)
        memory = workspace.reset(instructions.state, len(sampled))
        penalty = instructions.penalty
        work = self._task(
            examples, order, batch_size,
            coefficients=np.ascontiguousarray(instructions.coefficients, dtype=self.dtype),
            loss_kernel=self._loss_kernel(examples),
            update_kernel=kernels.update(instructions.rule, self.dtype).address,
            l2=float(penalty.l2), l1=float(penalty.l1), per_example=penalty.per_example,
            clip_norm=float(instructions.clip_norm), decay_all=instructions.decay_all,
            training=True, track=True, first_step=instructions.first_step, seed=instructions.seed,
            telemetry_every=every,
        )  # fmt: skip
        self._call(memory, work)
        return Report(
            loss=float(workspace.losses[0]),
            penalty=float(workspace.penalties.sum()),
            n_rows=n_rows,
            n_steps=n_steps,
            telemetry_steps=sampled,
            operations=self._operation_telemetry(
                workspace.operation_sums, sampled - instructions.first_step, batch_size, n_rows
            ),
            slots=np.sqrt(workspace.slot_sums.sum(axis=2)),
        )

    # -- telemetry ---------------------------------------------------------------------------------

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
