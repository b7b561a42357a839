"""The loop beneath every training: epochs on an executor, in stretches of about a tenth of a second.

A stretch is one crossing into compiled code. It is long enough that the crossing costs nothing and
short enough that an interrupt or a time limit is answered soon; where it ends does not change a bit of
the result.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.arrays import zeros
from chainrule.define_by_run import TapeExecutor
from chainrule.engine import EngineExecutor
from chainrule.execution import Examples, Executor, Instructions, Penalty, Report
from chainrule.finite_differences import FiniteDifferenceExecutor
from chainrule.optim import RuleOptimizer
from chainrule.plan import Plan
from chainrule.reference import ReferenceExecutor
from chainrule.train.side_by_side import n_threads_allowed, stop_if_told

__all__ = ["EXECUTORS", "Trainer", "make_executor", "merged"]

EXECUTORS: dict[str, type] = {
    "engine": EngineExecutor,
    "tape": TapeExecutor,
    "reference": ReferenceExecutor,
    "finite_differences": FiniteDifferenceExecutor,
}

# How long one stretch of steps should take, in seconds.
STRETCH_SECONDS = 0.1
# How long a step takes at most, before any is measured: so long by itself, and so long a multiply-add.
SECONDS_A_STEP, SECONDS_A_MULTIPLY_ADD = 1e-4, 5e-10


@dataclass
class Trainer:
    """Epochs of training on one executor: the optimizer's state and the count of steps.

    Attributes
    ----------
    executor, examples, optimizer, batch_size, penalty, clip_norm, seed, telemetry_every
        See ``chainrule.execution.Instructions``.
    rows : ndarray of int64 or None
        Rows of the examples to train on; None for all.
    state : ndarray of shape (n_states, n_parameters)
        What the optimizer's rule keeps.
    step : int
        Steps taken so far.
    """

    executor: Executor
    examples: Examples
    optimizer: RuleOptimizer
    batch_size: int
    penalty: Penalty = field(default_factory=Penalty)
    clip_norm: float = 0.0
    seed: int = 0
    telemetry_every: int = 0
    step: int = 0
    rows: np.ndarray | None = None
    state: np.ndarray = field(init=False)
    _stretch: int = field(init=False)

    def __post_init__(self) -> None:
        work = 3 * self.batch_size * self.executor.plan.multiply_adds
        step = SECONDS_A_STEP + SECONDS_A_MULTIPLY_ADD * work
        self._stretch = max(1, int(STRETCH_SECONDS / step))
        n_states = self.optimizer.rule.n_states
        self.state = zeros((n_states, self.executor.parameters.size), self.executor.parameters.dtype)

    @property
    def n_rows(self) -> int:
        """Rows that one pass visits."""
        return len(self.examples) if self.rows is None else len(self.rows)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in one pass over the examples."""
        return -(-self.n_rows // self.batch_size)

    def order(self, random: np.random.Generator) -> np.ndarray:
        """A random order in which ``epoch`` may visit the rows."""
        return random.permutation(self.n_rows).astype(np.int64)

    def epoch(self, order: np.ndarray | None, rates: np.ndarray, deadline: float = np.inf) -> Report:
        """One pass over the examples.

        Parameters
        ----------
        order : ndarray of int64 or None
            Rows (places in ``rows``, where that is given) in the order in which to visit them; None
            for the natural one.
        rates : ndarray of shape (steps_per_epoch,)
            Learning rate of each step.
        deadline : float
            Time (``time.monotonic``) after which no further stretch is begun; the report then covers
            fewer rows than there are.
        """
        if self.rows is not None:
            order = self.rows if order is None else self.rows[order]
        n = len(self.examples) if order is None else len(order)
        reports: list[Report] = []
        done = 0
        while done < len(rates) and (not reports or time.monotonic() < deadline):
            stop_if_told()
            count = min(self._stretch, len(rates) - done)
            rows = slice(done * self.batch_size, min(n, (done + count) * self.batch_size))
            whole = count == len(rates)
            if order is None and not whole:
                order = np.arange(n, dtype=np.int64)
            started = time.perf_counter()
            reports.append(
                self.executor.run(
                    self.examples,
                    Instructions(
                        order=None if order is None else order[rows],
                        batch_size=self.batch_size,
                        rule=self.optimizer.rule,
                        coefficients=self.optimizer.coefficients(rates[done : done + count], self.step),
                        state=self.state,
                        penalty=self.penalty,
                        clip_norm=self.clip_norm,
                        decay_all=self.optimizer.decay_all,
                        first_step=self.step,
                        seed=self.seed,
                        telemetry_every=self.telemetry_every,
                    ),
                )
            )
            elapsed = time.perf_counter() - started
            self._stretch = max(1, int(count * min(4.0, max(0.25, STRETCH_SECONDS / max(elapsed, 1e-9)))))
            self.step += count
            done += count
        return merged(reports)


def merged(reports: list[Report]) -> Report:
    """What several stretches give back, as one."""
    if len(reports) == 1:
        return reports[0]
    return Report(
        loss=sum(report.loss for report in reports),
        penalty=sum(report.penalty for report in reports),
        n_rows=sum(report.n_rows for report in reports),
        n_steps=sum(report.n_steps for report in reports),
        telemetry_steps=np.concatenate([report.telemetry_steps for report in reports]),
        operations=np.concatenate([report.operations for report in reports]),
        slots=np.concatenate([report.slots for report in reports]),
    )


def make_executor(
    name: str,
    plan: Plan,
    parameters: np.ndarray,
    buffers: np.ndarray,
    n_jobs: Any = None,
    precision: str = "full",
    module: Any = None,
) -> Any:
    """The executor of this name for a plan; ``n_jobs`` as in scikit-learn, None for the engine's choice."""
    if name not in EXECUTORS:
        raise ValueError(f"executor must be one of auto, {', '.join(EXECUTORS)}; got {name!r}")
    if name == "engine":
        return EngineExecutor(plan, parameters, buffers, n_threads_allowed(n_jobs), precision)
    if precision != "full":
        raise ValueError(f"precision={precision!r} needs the engine; got executor={name!r}")
    if name == "tape":
        return TapeExecutor(plan, parameters, buffers, module)
    return EXECUTORS[name](plan, parameters, buffers)
