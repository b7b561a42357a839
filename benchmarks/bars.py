"""The bars: what a prototype of the engine made seem possible, and how far this run is from it.

Absolute times move with the machine. So a bar of a training step is held against this run in two ways that
do not: how many times faster than its peers it was to be, and what share of the floor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import part_telemetry
import part_two
from floor import Peak
from part_steps import floor_share
from table import Table, percent, times
from turns import Measured

__all__ = ["STEP_BARS", "Bar", "StepBar", "bars_table", "step_bars"]


@dataclass(frozen=True)
class StepBar:
    """Microseconds a step on the machine where the bars were set: the bar, the peers, the floor.

    ``jax`` and ``torch`` are pairs of a peer's name in this benchmark and its time.
    """

    bar: float
    jax: tuple[str, float]
    torch: tuple[str, float]
    floor: float


STEP_BARS = {
    "20-64-64-2, batch 32": StepBar(8.0, ("jax", 22), ("torch", 279), 4.1),
    "64-128-10, batch 32": StepBar(10.5, ("jax", 42), ("torch", 241), 5.4),
    "784-128-10, batch 32": StepBar(52, ("jax", 186), ("torch", 470), 29),
    "784-128-10, batch 128": StepBar(170, ("jax", 431), ("torch", 690), 116),
    "784-512-512-10, batch 128": StepBar(1150, ("jax", 2064), ("torch", 2350), 913),
    "784-2048-2048-10, batch 512": StepBar(41_500, ("jax", 53_700), ("torch", 47_500), 36_100),
    "100 × 20-64-64-2, batch 32": StepBar(4.2, ("jax-vmap", 20.9), ("torch-bmm", 19.8), 2.1),
}
WARM_SECONDS, COLD_SECONDS = 0.3, 4.0
TWO_AT_ONCE = 2.3
# Of a step with telemetry at every tenth step.
TELEMETRY_SHARE = 0.05


@dataclass(frozen=True)
class Bar:
    """One bar and what was measured.

    Attributes
    ----------
    what : str
    bar, measured : float
    high : bool
        Whether more is better.
    unit : str
        "×", "%" or "s".
    """

    what: str
    bar: float
    measured: float
    high: bool
    unit: str

    @property
    def met(self) -> bool:
        """Whether the bar was reached."""
        return self.measured >= self.bar if self.high else self.measured <= self.bar

    @property
    def verdict(self) -> str:
        """Met or missed, and by what share of the bar."""
        distance = abs(self.measured / self.bar - 1)
        return f"{'met' if self.met else 'MISSED'} by {100 * distance:.0f} %"

    def written(self, value: float) -> str:
        """A value in the bar's unit."""
        if self.unit == "%":
            return percent(value)
        return times(value) if self.unit == "×" else f"{value:.2f} {self.unit}"


def step_bars(result: Measured, peak: Peak | None) -> list[Bar]:
    """How many times faster than the peers, and what share of the floor."""
    bar = STEP_BARS.get(result.title)
    if bar is None:
        return []
    found = []
    for name, microseconds in (bar.jax, bar.torch):
        ratio = result.times_faster_than("chainrule", name)
        if ratio is not None:
            what = f"{result.title}: times faster than {result.libraries[name].label}"
            found.append(Bar(what, microseconds / bar.bar, ratio, True, "×"))
    share = floor_share(result, "chainrule", peak)
    if share is not None:
        found.append(Bar(f"{result.title}: % of the floor", bar.floor / bar.bar, share, True, "%"))
    return found


def _other_bars(parts: Mapping[str, Sequence[Measured]]) -> list[Bar]:
    found = []
    for result in parts.get("startup", ()):
        for name, what, bar in (
            ("warm-step", "first training step, kernels kept", WARM_SECONDS),
            ("cold-step", "first training step, nothing kept", COLD_SECONDS),
        ):
            if (median := result.median(name)) is not None:
                found.append(Bar(what, bar, median, False, "s"))
    for result in parts.get("two", ()):
        if (ratio := part_two.slowdown(result)) is not None:
            found.append(Bar("two trainings at once, against one alone", TWO_AT_ONCE, ratio, False, "×"))
    for result in parts.get("telemetry", ()):
        if (share := part_telemetry.overhead(result, "10")) is not None:
            what = "telemetry at every 10th step, more than without"
            found.append(Bar(what, TELEMETRY_SHARE, max(0.0, share), False, "%"))
    return found


def bars_table(parts: Mapping[str, Sequence[Measured]], peak: Peak | None) -> Table | None:
    """All bars that this run can be held against; None if there are none."""
    steps = chain(parts.get("steps", ()), parts.get("many", ()))
    found = [bar for result in steps for bar in step_bars(result, peak)] + _other_bars(parts)
    if not found:
        return None
    table = Table("Against the bars", ("what", "bar", "this run", "verdict"))
    table.rows = [(one.what, one.written(one.bar), one.written(one.measured), one.verdict) for one in found]
    table.remarks = [f"{sum(one.met for one in found)} of {len(found)} met"]
    return table
