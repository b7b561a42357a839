"""A step as a list of calls: the chapter's equations, written once for a network and a number of threads.

A step finds the rows of the batch, goes forward by (1) and (2), takes the loss and its slope (3), goes back
by (5), and then, by (6) and (7), computes each gradient and updates the parameters with it. ``Scheduler``
walks the plan in this order and notes for every operation the calls of every thread, and what they read and
write; ``assemble`` puts in where threads wait for each other.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from chainrule.engine import bfloat16, kernels, objects, rows, weights, worker
from chainrule.engine.calls import WORDS
from chainrule.engine.dependencies import Access, Call, waits
from chainrule.engine.layout import CACHE_LINE, Part, column_parts, row_parts
from chainrule.engine.memory import Workspace, address
from chainrule.engine.schedule_layers import BACKWARD, FORWARD
from chainrule.engine.schedule_updates import update_everything, watch_values
from chainrule.functions import get_loss
from chainrule.plan import Plan

__all__ = ["Numbers", "Purpose", "Schedule", "Scheduler", "assemble", "write_schedule"]


class Numbers(NamedTuple):
    """Where the flat vectors begin: parameters, buffers, and the optimizer's two moments (0 for none)."""

    parameters: int
    buffers: int
    first: int = 0
    second: int = 0


class Purpose(NamedTuple):
    """What a step is for.

    Attributes
    ----------
    learns : bool
        Whether loss and gradient are computed, or outputs only.
    training : bool
        Batch statistics and dropout, or the network as it predicts.
    tracks : bool
        Whether batch normalisation updates its running averages.
    classes : bool
        Whether targets are class indices.
    per_example : bool
        Whether penalties are divided by the batch's weight.
    rule : UpdateRule or None
        Without one the gradient is stored and that is all.
    variant : str
        Which penalties there are: "none", "l2", or "l1" (with or without l2).
    precision : str
        "full", or what the factors of products are rounded to.
    packs : bool
        Whether each thread's weights are copied together for the run.
    decay_all, clips, watches : bool
        Decoupled decay of every parameter; a limit on the gradient's norm; telemetry.
    """

    learns: bool = False
    training: bool = False
    tracks: bool = False
    classes: bool = False
    per_example: bool = False
    rule: Any = None
    variant: str = "none"
    precision: str = "full"
    packs: bool = False
    decay_all: bool = False
    clips: bool = False
    watches: bool = False

    @property
    def stores_gradient(self) -> bool:
        """Whether the gradient is written to memory, or goes straight into the update."""
        return self.rule is None or self.clips or self.watches


class Scheduler:
    """Writes the calls of one step."""

    def __init__(self, plan: Plan, workspace: Workspace, numbers: Numbers, purpose: Purpose) -> None:
        self.plan, self.memory, self.numbers, self.purpose = plan, workspace, numbers, purpose
        self.n_threads, self.dtype = workspace.n_threads, workspace.dtype
        self.itemsize = self.dtype.itemsize
        self.layouts = workspace.layouts
        self.phases: list[list[list[Call]]] = []
        # Who looks after the parameters of what every thread computes for itself.
        self.keeper = self.n_threads - 1
        self._has_delta: set[int] = set()

    # -- what calls are made of --------------------------------------------------------------------

    @cached_property
    def update_kernels(self) -> dict[str, Any]:
        """The optimizer's kernels. Its rule is traced to know them, once for all arrays."""
        return objects.update_kernels(self.purpose.rule, self.purpose.variant, self.dtype)

    @cached_property
    def product_kernels(self) -> dict[str, Any]:
        """The kernels of products, copies and transposes."""
        return objects.product_kernels(self.dtype)

    @cached_property
    def packed_kernels(self) -> bfloat16.PackedKernels:
        """The kernels of products of bf16 numbers."""
        return bfloat16.packed_kernels(self.purpose.precision)

    @cached_property
    def packed_update(self) -> Any:
        """The optimizer's kernel at the end of such a product."""
        purpose = self.purpose
        return bfloat16.packed_update(purpose.precision, purpose.rule, purpose.variant)

    def phase(self, calls_of: Callable[[int], Sequence[Call]]) -> None:
        """Add a phase: the calls of every thread."""
        self.phases.append([list(calls_of(thread)) for thread in range(self.n_threads)])

    def value(self, v: int, thread: int) -> int:
        """Where value v begins, as this thread sees it."""
        return self.memory.values[v].address(thread)

    def delta(self, v: int, thread: int) -> int:
        """Where δ of value v begins."""
        matrix = self.memory.deltas[v]
        assert matrix is not None
        return matrix.address(thread)

    def rows_of(self, v: int, thread: int) -> int:
        """Where the addresses of value v's rows begin; those of X are found anew for each batch."""
        matrix = self.memory.values[v]
        return self.memory.x_table(thread) if matrix is None else matrix.table(thread)

    def rows_of_delta(self, v: int, thread: int) -> int:
        """Where the addresses of the rows of value v's δ begin."""
        matrix = self.memory.deltas[v]
        assert matrix is not None
        return matrix.table(thread)

    def part(self, v: int, thread: int) -> Part:
        """The part of value v that a thread computes."""
        return self.layouts[v].parts[thread]

    def region(self, kind: str, v: int, thread: int, part: Part | None = None) -> Access:
        """A part of value v or its δ, or all of it."""
        layout = self.layouts[v]
        name = (kind, v, thread) if layout.private else (kind, v)
        if part is None:
            part = Part(0, 1, 0, layout.width)
        in_rows = (0, self.n_threads) if part.parts == 1 else (part.part, part.part + 1)
        return Access(name, in_rows, (part.first, part.first + part.count))

    def where(self, v: int, part: Part) -> dict[str, int]:
        """A part of a value, as arguments of a kernel on single numbers."""
        return {**self.columns(v, part), "part": part.part, "parts": part.parts}

    def columns(self, v: int, part: Part) -> dict[str, int]:
        """A part by columns."""
        return {"stride": self.layouts[v].stride, "first": part.first, "count": part.count}

    def rows(self, v: int, part: Part) -> dict[str, int]:
        """A part by rows."""
        layout = self.layouts[v]
        return {"stride": layout.stride, "width": layout.width, "part": part.part, "parts": part.parts}

    def own(self, kind: str, offset: int, part: Part, rows: tuple[int, int] = (0, 1)) -> Access:
        """Columns of the parameter array at an offset, or of its gradient; of a matrix, in some rows."""
        return Access((kind, offset), rows, (part.first, part.first + part.count))

    def owned(self, v: int, thread: int) -> Part:
        """The columns of value v whose parameters a thread updates."""
        layout = self.layouts[v]
        if not layout.private:
            return column_parts(layout.width, self.n_threads)[thread]
        return Part(0, 1, 0, layout.width if thread == self.keeper else 0)

    def accumulates(self, v: int) -> int:
        """Whether δ of value v is there already, from a later reader; from now on it is."""
        there = v in self._has_delta
        self._has_delta.add(v)
        return int(there)

    def parameter(self, offset: int) -> int:
        """Address of a parameter; 0 for none."""
        return self.numbers.parameters + offset * self.itemsize if offset >= 0 else 0

    def gradient(self, offset: int) -> int:
        """Address of a parameter's gradient; 0 for none."""
        return address(self.memory.gradient) + offset * self.itemsize if offset >= 0 else 0

    def moments(self, offset: int) -> dict[str, int]:
        """Addresses of the parameter at an offset and of its two moments."""
        at = offset * self.itemsize
        n = self.numbers
        return {"weights": n.parameters + at, "first": n.first + at, "second": n.second + at}

    def penalties(self, offset: int, part: Part) -> int:
        """Where the penalty of own columns of a penalised matrix is summed; 0 without penalties."""
        if self.purpose.variant == "none":
            return 0
        return address(self.memory.penalties) + 8 * (self.memory.penalty_at[offset] + part.first)

    # -- the step ----------------------------------------------------------------------------------

    def write(self) -> list[list[list[Call]]]:
        """All phases of the step."""
        self._begin()
        for k, op in enumerate(self.plan.operations):
            FORWARD[op.kind](self, k, op)
        if not self.purpose.learns:
            self._output()
            return self.phases
        self._loss()
        for k, op in reversed(list(enumerate(self.plan.operations))):
            BACKWARD[op.kind](self, k, op)
        if self.purpose.watches:
            watch_values(self)
        update_everything(self)
        self._sum_losses()
        return self.phases

    def _begin(self) -> None:
        plan, memory = self.plan, self.memory
        width, stride = plan.n_inputs, self.layouts[0].stride

        def begin(t: int) -> list[Call]:
            calls = []
            if self.purpose.learns:
                calls.append(Call(rows.begin(self.dtype), {"per_example": int(self.purpose.per_example)}))
            if not memory.gathers:
                arguments = {"row_bytes": width * self.itemsize, "table": memory.x_table(t)}
                return [*calls, Call(rows.point_rows(), arguments)]
            part = self.part(0, t)
            target = {"width": width, "target": self.value(0, t), "stride": stride}
            kernel = rows.gather_sparse if memory.sparse else rows.gather_rows
            arguments = {**target, "part": part.part, "parts": part.parts}
            written = self.region("value", 0, t, part)
            return [*calls, Call(kernel(self.dtype), arguments, writes=(written,))]

        self.phase(begin)

    def _output(self) -> None:
        last = len(self.plan.operations)

        def output(t: int) -> list[Call]:
            part = row_parts(self.plan.n_outputs, self.n_threads)[t]
            arguments = {
                "z": self.value(last, t), "stride": self.layouts[last].stride, "width": self.plan.n_outputs,
                "part": part.part, "parts": part.parts,
            }  # fmt: skip
            return [Call(rows.write_output(self.dtype), arguments, (self.region("value", last, t, part),))]

        self.phase(output)

    def _loss(self) -> None:
        """Loss and slope ∂ℒ/∂z of each row, equation (3)."""
        last, term = len(self.plan.operations), self.plan.loss
        kernel = kernels.loss_rows(get_loss(term.name), self.purpose.classes, self.dtype, self.plan.n_outputs)
        private = self.layouts[last].private
        whole = Part(0, 1, 0, self.plan.n_outputs)

        def loss(t: int) -> list[Call]:
            part = whole if private else row_parts(self.plan.n_outputs, self.n_threads)[t]
            arguments = {
                "z": self.value(last, t), "slope": self.delta(last, t),
                "losses": address(self.memory.losses[t if private else 0]),
                "stride": self.layouts[last].stride, "width": self.plan.n_outputs,
                "part": part.part, "parts": part.parts, "setting": float(term.setting),
            }  # fmt: skip
            reads = (self.region("value", last, t, part),)
            writes = (self.region("delta", last, t, part), self.region("losses", last, t, part))
            return [Call(kernel, arguments, reads, writes)]

        self._has_delta.add(last)
        self.phase(loss)

    def _sum_losses(self) -> None:
        last = len(self.plan.operations)

        def sum_losses(t: int) -> list[Call]:
            if t > 0:
                return []
            arguments = {"losses": address(self.memory.losses[0]), "total": address(self.memory.loss)}
            return [Call(rows.sum_losses(self.dtype), arguments, (self.region("losses", last, t),))]

        self.phase(sum_losses)


class Schedule(NamedTuple):
    """What each thread plays: before the first step, in every step, and after the last."""

    opening: list[np.ndarray]
    step: list[np.ndarray]
    closing: list[np.ndarray]


def write_schedule(plan: Plan, workspace: Workspace, numbers: Numbers, purpose: Purpose) -> Schedule:
    """The schedule of a plan for a purpose."""
    scheduler = Scheduler(plan, workspace, numbers, purpose)
    step = assemble(scheduler.write(), address(workspace.progress))
    threads = range(workspace.n_threads)
    return Schedule(
        [words_of(weights.opening(scheduler, thread)) for thread in threads],
        step,
        [words_of(weights.closing(scheduler, thread)) for thread in threads],
    )


def words_of(calls: Sequence[Call]) -> np.ndarray:
    """Calls as rows of words."""
    words = [_words(call.kernel, call.arguments) for call in calls]
    return np.array(words, dtype=np.int64).reshape(-1, WORDS)


def assemble(phases: Sequence[Sequence[Sequence[Call]]], progress: int) -> list[np.ndarray]:
    """For each thread its calls as rows of words, with the waiting put in.

    Parameters
    ----------
    phases : as ``Scheduler.write`` gives them
    progress : int
        Address of the threads' progress.

    Returns
    -------
    list of ndarray of int64, (n_calls, WORDS)
    """
    waiting = waits(phases)
    # Where a thread has to say that it is past a call: only where another one waits for it.
    posts: list[dict[int, int]] = [{} for _ in waiting]
    for thread in range(len(waiting)):
        awaited = {wait.call for other in waiting for row in other for wait in row if wait.thread == thread}
        posts[thread] = {call: place + 1 for place, call in enumerate(sorted(awaited))}
    result = []
    for thread, rows_of_waits in enumerate(waiting):
        calls = [call for phase in phases for call in phase[thread]]
        words: list[list[int]] = []
        for number, (call, waits_before) in enumerate(zip(calls, rows_of_waits, strict=True)):
            for wait in waits_before:
                place = posts[wait.thread][wait.call] - (worker.PLACES if wait.before else 0)
                there = progress + wait.thread * CACHE_LINE
                words.append(_words(worker.wait_for(), {"progress": there, "place": place}))
            words.append(_words(call.kernel, call.arguments))
            if number in posts[thread]:
                here = {"progress": progress + thread * CACHE_LINE, "place": posts[thread][number]}
                words.append(_words(worker.post(), here))
        result.append(np.array(words, dtype=np.int64).reshape(-1, WORDS))
    return result


def _words(kernel: Any, arguments: dict[str, Any]) -> list[int]:
    words = [kernel.address, *kernel.pack(**arguments)]
    return words + [0] * (WORDS - len(words))
