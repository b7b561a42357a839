"""The floor: how fast this machine could make a step if it did nothing but multiply and add at full speed.

A training step of a network of linear layers computes three products a layer, each of two floating point
operations a weight and example: the layer's output, the gradient of its weights, and the gradient of its
input, which the first layer does not need. At the most, a processor does as many of them a second as its
vector units can start fused multiply-adds; that peak is measured, with a loop that does nothing else.
"""

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import native
import numpy as np
from machine import Stopwatch, processors
from turns import Plan, Series, in_turns

__all__ = ["Peak", "measure_peak", "prediction_operations", "step_operations"]

# Enough sums at once that no multiply-add waits for the one before it, and few enough for the registers.
ACCUMULATORS = {64: 24, 32: 12, 16: 12}
SECONDS = 0.1


def step_operations(sizes: Sequence[int], batch: int) -> float:
    """Floating point operations of a training step: 2 · batch · (3 Σ dᵢ dᵢ₊₁ − d₀ d₁)."""
    weights = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    return 2.0 * batch * (3 * weights - sizes[0] * sizes[1])


def prediction_operations(sizes: Sequence[int], rows: int) -> float:
    """Floating point operations of a prediction: 2 · rows · Σ dᵢ dᵢ₊₁."""
    return 2.0 * rows * sum(n_in * n_out for n_in, n_out in pairwise(sizes))


@dataclass(frozen=True)
class Peak:
    """Floating point operations a second of multiply-adds alone, in float32; half as many in float64.

    Attributes
    ----------
    one, all : float
        Of one thread, and of as many threads as there are processors.
    processors : int
    """

    one: float
    all: float
    processors: int

    def of(self, cores: float | None, double: bool = False) -> float:
        """The peak of so many processors: one, or a share of all; all if it is not known how many."""
        count = self.processors if cores is None else min(self.processors, max(1, round(cores)))
        peak = self.one if count == 1 else self.all * count / self.processors
        return peak / 2 if double else peak


def _kernel_source(lanes: int, accumulators: int) -> str:
    """Independent multiply-adds of whole registers, again and again."""
    vector, places = f"<{lanes} x float>", range(accumulators)
    zeros = f"{vector} zeroinitializer"
    starts = "\n".join(
        f"  %one{i} = insertelement {zeros}, float {i}.0, i32 0\n"
        f"  %start{i} = shufflevector {vector} %one{i}, {zeros}, <{lanes} x i32> zeroinitializer"
        for i in places
    )
    sums = "\n".join(f"  %s{i} = phi {vector} [ %start{i}, %entry ], [ %n{i}, %turn ]" for i in places)
    name = f"@llvm.fmuladd.v{lanes}f32"
    steps = "\n".join(
        f"  %n{i} = call {vector} {name}({vector} %a, {vector} %b, {vector} %s{i})" for i in places
    )
    stores = "\n".join(
        f"  %p{i} = getelementptr {vector}, ptr %numbers, i64 {i + 2}\n"
        f"  store {vector} %n{i}, ptr %p{i}, align 4"
        for i in places
    )
    return f"""
declare {vector} {name}({vector}, {vector}, {vector})
define void @peak(i64 %turns, ptr %numbers) {{
entry:
  %second = getelementptr {vector}, ptr %numbers, i64 1
  %a = load {vector}, ptr %numbers, align 4
  %b = load {vector}, ptr %second, align 4
{starts}
  br label %turn
turn:
  %k = phi i64 [ 0, %entry ], [ %next, %turn ]
{sums}
{steps}
  %next = add i64 %k, 1
  %more = icmp slt i64 %next, %turns
  br i1 %more, label %turn, label %done
done:
{stores}
  ret void
}}
"""


class _MultiplyAdds:
    """The loop, and how many of its turns take some time."""

    def __init__(self) -> None:
        size = native.vector_bytes()
        self.lanes, self.accumulators = size // 4, ACCUMULATORS[size]
        source = _kernel_source(self.lanes, self.accumulators)
        self._loop: Any = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(
            native.compiled(source, "peak")
        )
        self.turns = 100_000
        while (seconds := self._timed()) < 0.2 * SECONDS:
            self.turns *= 2
        self.turns = round(self.turns * SECONDS / seconds)

    def _timed(self) -> float:
        start = time.perf_counter()
        self.run()
        return time.perf_counter() - start

    def run(self) -> None:
        """All the turns, on this thread."""
        numbers = np.full((self.accumulators + 2) * self.lanes, 1e-3, np.float32)
        self._loop(self.turns, native.address(numbers))

    def operations(self) -> float:
        """Floating point operations of a run."""
        return 2.0 * self.turns * self.accumulators * self.lanes


def _sample(loop: _MultiplyAdds, n_threads: int) -> dict[str, Any]:
    """Operations a second of several threads that begin at once, until the last has ended."""
    barrier = threading.Barrier(n_threads + 1)

    def work() -> None:
        barrier.wait()
        loop.run()

    threads = [threading.Thread(target=work) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    with Stopwatch.running() as watch:
        barrier.wait()
        for thread in threads:
            thread.join()
    return {"value": n_threads * loop.operations() / watch.seconds, "contaminated": watch.contaminated}


def measure_peak(plan: Plan, say: Callable[[str], None] = print) -> Peak:
    """The best of some samples on one thread and on all."""
    count = processors()
    loop = _MultiplyAdds()
    series = in_turns(
        {"one": lambda: _sample(loop, 1), "all": lambda: _sample(loop, count)},
        Plan(5, plan.seconds, plan.checked, plan.patience),
    )
    peak = Peak(_best(series["one"]), _best(series["all"]), count)
    say(f"peak of multiply-adds: {peak.one / 1e9:.0f} GFLOP/s on one processor, {peak.all / 1e9:.0f} on all")
    return peak


def _best(series: Series) -> float:
    return max(series.clean, default=float("nan"))
