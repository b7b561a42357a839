"""The engine as an executor: owns the memory of a run, writes its schedules, chooses how many threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from chainrule.engine import bfloat16, worker
from chainrule.engine.calls import STEP, STEP_REALS, call_type, place_in_step, word
from chainrule.engine.inference import Forward
from chainrule.engine.memory import Workspace, address, aligned
from chainrule.engine.schedule import Numbers, Purpose, Schedule, write_schedule
from chainrule.engine.threads import MULTIPLY_ADDS_FOR_THREADS, available_processors, pool, pool_held
from chainrule.execution import Examples, Instructions, Penalty, Report, mean_loss
from chainrule.plan import Plan

__all__ = ["EngineExecutor"]

# Rows a batch when a full gradient may be summed over chunks.
CHUNK = 1024

# Numbers of each parameter that an optimizer's rule may keep: the first and the second moment.
N_STATES = 2


class _Batches(NamedTuple):
    """Which rows a call goes over: ``n`` of them, ``batch_size`` a step."""

    n: int
    batch_size: int
    order: np.ndarray
    first_step: int = 0
    coefficients: np.ndarray | None = None
    every: int = 0


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

    precision : {"full", "bf16", "bf16x3"}
        What the factors of the matrix products of training are rounded to, where a layer is large enough to
        gain from it: nothing, bf16 numbers, or sums of two of them. Everything else, every sum and every
        prediction included, stays in single precision.

    Raises
    ------
    TypeError
        If the vectors are neither float32 nor float64.
    ValueError
        If the precision is unknown, the processor lacks its instructions, or the vectors are float64.
    """

    name = "engine"

    def __init__(
        self,
        plan: Plan,
        parameters: np.ndarray,
        buffers: np.ndarray,
        n_threads: int | None = None,
        precision: str = "full",
    ) -> None:
        if parameters.dtype not in (np.float32, np.float64) or buffers.dtype != parameters.dtype:
            raise TypeError(
                "parameters and buffers must both be float32 or both float64; "
                f"got {parameters.dtype} and {buffers.dtype}"
            )
        if n_threads is not None and n_threads < 1:
            raise ValueError(f"n_threads must be at least 1; got {n_threads}")
        if precision != "full":
            bfloat16.packed_kernels(precision)  # raises where there are none
            if parameters.dtype != np.float32:
                raise ValueError(
                    f"precision={precision!r} needs dtype='float32'; got {parameters.dtype} parameters"
                )
        self.plan = plan
        self.precision = precision
        self.parameters = parameters
        self.buffers = buffers
        self.dtype = parameters.dtype
        self.n_threads = n_threads
        self._forward = Forward(plan, parameters, buffers, n_threads)
        self._workspaces: dict[tuple[str, int], Workspace] = {}
        self._schedules: dict[tuple, tuple[Numbers, Schedule]] = {}

    # -- workspaces and schedules ------------------------------------------------------------------

    def _workspace(self, role: str, capacity: int, n_threads: int, sparse: bool) -> Workspace:
        """The arrays for a role, "run" or "gradient": the last ones, while they serve."""
        workspace = self._workspaces.get((role, n_threads))
        if workspace is None or not workspace.serves(capacity, sparse=sparse):
            workspace = Workspace(
                self.plan, self.dtype, capacity, n_threads,
                training=True, sparse=sparse, precision=self.precision,
            )  # fmt: skip
            self._workspaces[role, n_threads] = workspace
            self._forget(lambda key: key[:2] == (role, n_threads))
        workspace.reset()
        return workspace

    def _forget(self, outdated: Callable[[tuple], bool]) -> None:
        """Drop schedules that hold old addresses."""
        self._schedules = {key: one for key, one in self._schedules.items() if not outdated(key)}

    def _schedule(
        self, role: str, workspace: Workspace, purpose: Purpose, state: np.ndarray | None = None
    ) -> Schedule:
        """What each thread plays; written when first needed."""
        moments = (0, 0) if state is None else (address(state[0]), address(state[1]))
        numbers = Numbers(address(self.parameters), address(self.buffers), *moments)
        key = (role, workspace.n_threads, purpose)
        known = self._schedules.get(key)
        if known is None or known[0] != numbers:
            known = numbers, write_schedule(self.plan, workspace, numbers, purpose)
            self._schedules[key] = known
        return known[1]

    def _threads_for(self, n_rows: int) -> int:
        """Threads for a step of ``n_rows``: what was asked for, else by the size of the work."""
        if self.n_threads is not None:
            return self.n_threads
        work = 3 * n_rows * self.plan.multiply_adds
        return available_processors() if work >= MULTIPLY_ADDS_FOR_THREADS else 1

    @contextmanager
    def _threads(self, n_rows: int) -> Iterator[int]:
        """Threads for a step of ``n_rows``, held as long as the context lasts.

        Where another training holds the pool it is one, the calling thread: the bits are the same.
        """
        wanted = self._threads_for(n_rows)
        if wanted == 1:
            yield 1
            return
        with pool_held(wanted) as workers:
            yield wanted if workers else 1

    def _record(self, examples: Examples, **fields: Any) -> tuple[np.ndarray, list[Any]]:
        """The step's record with all that is the same in every step; the arrays it holds addresses of."""
        X: Any = examples.X
        values: dict[str, Any] = {"loss_scale": float(self.plan.loss.scale), **fields}
        if scipy.sparse.issparse(X):
            columns, starts = X.indices.astype(np.int64), X.indptr.astype(np.int64)
            values |= {"sparse_columns": address(columns), "sparse_starts": address(starts)}
            arrays = [X.data, columns, starts]
            values["X"] = address(X.data)
        else:
            X = np.ascontiguousarray(X, self.dtype)
            arrays = [X]
            values["X"] = address(X)
        values |= {"targets": address(examples.y), "weights": address(examples.weights)}
        record = np.zeros(len(STEP + STEP_REALS), np.int64)
        for name, value in values.items():
            record[place_in_step(name)] = word(float(value) if name in STEP_REALS else value)
        return record, arrays

    @staticmethod
    def _play(
        schedules: tuple[Schedule, ...], workspace: Workspace, record: np.ndarray, batches: _Batches
    ) -> None:
        """Play a schedule (or two: that of steps with telemetry) on its threads, or on this one."""
        n_threads = workspace.n_threads
        plain, watched = schedules[0], schedules[-1]
        kernel = worker.play()
        entry = call_type(kernel.address)
        rows_of_coefficients = batches.coefficients
        calls = []
        for thread in range(n_threads):
            own = aligned(len(record), np.int64)
            own[:] = record
            arguments = kernel.pack(
                opening=address(plain.opening[thread]), n_opening=len(plain.opening[thread]),
                calls=address(plain.step[thread]), n_calls=len(plain.step[thread]),
                watched=address(watched.step[thread]), n_watched=len(watched.step[thread]),
                closing=address(plain.closing[thread]), n_closing=len(plain.closing[thread]),
                n_all=batches.n, batch_size=batches.batch_size, first_step=batches.first_step,
                every=batches.every, first_order=address(batches.order),
                first_coefficients=address(rows_of_coefficients),
                coefficient_bytes=0 if rows_of_coefficients is None else rows_of_coefficients.strides[0],
                progress=address(workspace.progress), thread=thread, n_threads=n_threads,
            )  # fmt: skip
            calls.append((np.array(arguments, np.int64), own))

        def run(thread: int) -> None:
            arguments, own = calls[thread]
            entry(address(arguments), address(own))

        if n_threads == 1:
            run(0)
        else:
            pool(n_threads).run(run)

    # -- the executor's methods --------------------------------------------------------------------

    def predict(self, X: Any) -> np.ndarray:
        """Raw outputs z of the network in evaluation mode."""
        self._forward.n_threads = self.n_threads
        return self._forward(X if scipy.sparse.issparse(X) else np.ascontiguousarray(X, self.dtype))

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
        sparse = scipy.sparse.issparse(examples.X)
        purpose = Purpose(
            learns=True, training=training, classes=examples.y.dtype.kind == "i", precision=self.precision
        )
        gradient = np.zeros(self.plan.n_parameters, self.dtype)
        loss = 0.0
        with self._threads(batch_size) as n_threads:
            workspace = self._workspace("gradient", batch_size, n_threads, sparse)
            schedule = self._schedule("gradient", workspace, purpose)
            for start in range(0, n, batch_size):
                rows = slice(start, min(start + batch_size, n))
                weights = None if examples.weights is None else examples.weights[rows]
                part = Examples(examples.X[rows], examples.y[rows], weights)
                record, _arrays = self._record(part, total_weight=total, seed=seed)
                workspace.reset()
                batches = _Batches(len(part), batch_size, np.arange(len(part)), step)
                self._play((schedule,), workspace, record, batches)
                loss += float(workspace.loss[0]) / len(part)
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
                value += factor * 0.5 * penalty.l2 * float(np.square(w, dtype=np.float64).sum())
                value += factor * penalty.l1 * float(np.abs(w).sum(dtype=np.float64))
        return value

    def run(self, examples: Examples, instructions: Instructions) -> Report:
        """Run training steps.

        Raises
        ------
        ValueError
            If the optimizer's rule keeps more than two numbers of each parameter.
        """
        rule = instructions.rule
        if rule.n_states > N_STATES:
            raise ValueError(
                f"the engine has no kernel for the optimizer rule {rule.name!r}, which keeps {rule.n_states} "
                f"numbers of each parameter: {N_STATES} is the most. executor='reference' runs it"
            )
        batches = self._batches(examples, instructions)
        penalty = instructions.penalty
        purpose = Purpose(
            learns=True, training=True, tracks=True, classes=examples.y.dtype.kind == "i",
            per_example=penalty.per_example, rule=rule,
            variant="l1" if penalty.l1 else "l2" if penalty.l2 else "none",
            precision=self.precision, decay_all=instructions.decay_all, clips=instructions.clip_norm > 0,
        )  # fmt: skip
        with self._threads(batches.batch_size) as n_threads:
            return self._run(examples, instructions, purpose, batches, n_threads)

    def _run(
        self,
        examples: Examples,
        instructions: Instructions,
        purpose: Purpose,
        batches: _Batches,
        n_threads: int,
    ) -> Report:
        workspace = self._workspace("run", batches.batch_size, n_threads, scipy.sparse.issparse(examples.X))
        steps = np.arange(batches.first_step, batches.first_step + -(-batches.n // batches.batch_size))
        sampled = steps[steps % batches.every == 0] if batches.every else steps[:0]
        # Where steps go straight into the update, and threads would write side by side.
        packs = n_threads > 1 and not purpose.clips and self.precision == "full"
        purpose = purpose._replace(packs=packs)
        schedules = [self._schedule("run", workspace, purpose, instructions.state)]
        if len(sampled):
            if workspace.make_room_for_samples(len(sampled)):
                self._forget(lambda key: key[2].watches)
            watching = purpose._replace(watches=True, packs=False)
            schedules.append(self._schedule("run", workspace, watching, instructions.state))
        penalty = instructions.penalty
        record, _arrays = self._record(
            examples, seed=instructions.seed, l2=penalty.l2, l1=penalty.l1, clip_norm=instructions.clip_norm
        )
        self._play(tuple(schedules), workspace, record, batches)
        return Report(
            loss=float(workspace.loss[0]),
            penalty=float(workspace.penalties.sum()),
            n_rows=batches.n,
            n_steps=len(steps),
            telemetry_steps=sampled,
            operations=self._operation_telemetry(workspace, sampled, batches),
            slots=self._slot_telemetry(workspace, len(sampled)),
        )

    def _batches(self, examples: Examples, instructions: Instructions) -> _Batches:
        n = len(examples) if instructions.order is None else len(instructions.order)
        order = np.arange(n) if instructions.order is None else instructions.order
        return _Batches(
            n, max(1, min(instructions.batch_size, n)), np.ascontiguousarray(order, np.int64),
            instructions.first_step, np.ascontiguousarray(instructions.coefficients, self.dtype),
            instructions.telemetry_every,
        )  # fmt: skip

    # -- telemetry ---------------------------------------------------------------------------------

    def _operation_telemetry(
        self, workspace: Workspace, sampled: np.ndarray, batches: _Batches
    ) -> np.ndarray:
        """Root mean squares and fractions from the sums over blocks, added in a fixed order."""
        n_operations = len(self.plan.operations)
        totals = np.zeros((len(sampled), n_operations, 5))
        if not len(sampled):
            return totals
        edges = workspace.operation_blocks
        for k in range(n_operations):
            totals[:, k] = workspace.operation_sums[: len(sampled), edges[k] : edges[k + 1]].sum(axis=1)
        before = batches.batch_size * (sampled - batches.first_step)
        rows = np.minimum(batches.batch_size, batches.n - before)
        counts = rows[:, None] * np.array(self.plan.widths[1:])[None, :]
        totals[..., :2] = np.sqrt(totals[..., :2] / counts[..., None])
        totals[..., 2:4] /= counts[..., None]
        return totals

    def _slot_telemetry(self, workspace: Workspace, n_samples: int) -> np.ndarray:
        """Norms from the sums over blocks."""
        norms = np.zeros((n_samples, len(self.plan.parameters), 3))
        if n_samples == 0:
            return norms
        edges = workspace.parameter_blocks
        for slot in range(norms.shape[1]):
            norms[:, slot] = workspace.parameter_sums[:n_samples, edges[slot] : edges[slot + 1]].sum(axis=1)
        return np.sqrt(norms)
