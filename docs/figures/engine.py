"""Draw the figures of ``docs/engine.md``, as SVG files beside this one.

    python docs/figures/engine.py [directory]

The same files come out every time: what is drawn is the schedule as the engine writes it, and the times that
``measure.py`` has left in ``times.json``.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from drawing import (
    BLUE,
    GREEN,
    GREY,
    PALE,
    PALE_BLUE,
    PALE_ORANGE,
    RED,
    STYLE,
    THREADS,
    arrow,
    box,
    canvas,
    heading,
    remark,
    text,
)
from engine_kernels import draw_tile, draw_update, draw_walk
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chainrule import nn
from chainrule.engine.dependencies import Wait, waits
from chainrule.engine.memory import Workspace
from chainrule.engine.schedule import Numbers, Purpose, Scheduler
from chainrule.optim import Adam
from chainrule.plan import lower

HERE = Path(__file__).parent

# -- where the time of a step goes -----------------------------------------------------------------

# What each call of the step of 784-128-10 is, in order.
CALLS_BY_ONE = (
    "what the loss is divided by",
    "addresses of the rows of $X$",
    "(1)  $Z^1 = X V^1 + b^1$",
    "(2)  $H^1 = σ(Z^1)$",
    "(1)  $Z^2 = H^1 V^2 + b^2$",
    "(3)  loss and $Δ^2$",
    "copy of half of $V^2$, transposed",
    "(5)  half of $Δ^2 V^{2⊤}$",
    "copy of the other half",
    "(5)  the other half",
    "(5)  $⊙\\ σ′(Z^1)$",
    "(6)  $X^⊤ Δ^1$, Adam on $V^1$",
    "(7)  Adam on $b^1$",
    "(6)  $H^{1⊤} Δ^2$, Adam on $V^2$",
    "(7)  Adam on $b^2$",
    "sum of the losses",
)
COLOURS = {"product": BLUE, "gradient_update": GREEN}


def draw_step(times: dict[str, Any]) -> Figure:
    """The calls of a step by one thread and their times."""
    calls = [(name, ns / 1000) for name, ns in times["one"]]
    line, top, left = 21, 20, 265
    figure, axes = canvas(800, top + line * len(calls) + 14)
    scale = (800 - left - 90) / max(duration for _, duration in calls)
    y = top
    for (name, duration), label in zip(calls, CALLS_BY_ONE, strict=True):
        text(axes, left - 10, y + 5, label, 9.5, ha="right")
        box(axes, left, y - 2, max(duration * scale, 0.8), 14, COLOURS.get(name, GREY), linewidth=0)
        number = f"{duration:.1f}" if duration >= 10 else f"{duration:.2f}" if duration >= 0.01 else "< 0.01"
        remark(axes, left + duration * scale + 6, y + 5, f"{number} µs")
        y += line
    return figure


# -- who computes what -----------------------------------------------------------------------------

BATCH, INPUTS, HIDDEN, OUTPUTS = 44, 120, 84, 22  # in units of the drawing


def _by_columns(axes: Axes, x: float, y: float, width: float, height: float) -> None:
    for thread, (_, pale) in enumerate(THREADS):
        box(axes, x + thread * width / 2, y, width / 2, height, pale)


def _by_rows(axes: Axes, x: float, y: float, width: float, height: float) -> None:
    for thread, (_, pale) in enumerate(THREADS):
        box(axes, x, y + thread * height / 2, width, height / 2, pale)


def _shared(axes: Axes, x: float, y: float, width: float, height: float) -> None:
    box(axes, x, y, width, height, PALE)


def _private(axes: Axes, x: float, y: float, width: float, height: float) -> None:
    for shift, (_, pale) in zip((7, 0), reversed(THREADS), strict=True):
        box(axes, x + shift, y + shift, width, height, pale)


Matrix = tuple[Callable[..., None], float, float, str]


def _equation(
    axes: Axes, x: float, y: float, title: str, matrices: Sequence[Matrix], signs: Sequence[str]
) -> None:
    """Matrices in a row, their middles at height ``y``, with signs between them."""
    heading(axes, x, y - 82, title)
    for (draw, width, height, name), sign in zip(matrices, [*signs, ""], strict=True):
        draw(axes, x, y - height / 2, width, height)
        text(axes, x + width / 2, y + height / 2 + (20 if draw is _private else 13), name, 10)
        x += width + (7 if draw is _private else 0)
        text(axes, x + 12, y, sign, 12)
        x += 24


def draw_owners() -> Figure:
    """Every product of a step of 784-128-10, coloured by the thread that computes or reads it."""
    figure, axes = canvas(800, 560)
    by_columns, by_rows, shared, private = _by_columns, _by_rows, _shared, _private
    left, right = 20, 450
    _equation(
        axes,
        left,
        95,
        "(1)  forward, first layer",
        (
            (by_columns, HIDDEN, BATCH, "$Z^1$"),
            (shared, INPUTS, BATCH, "$X$"),
            (by_columns, HIDDEN, INPUTS, "$V^1$"),
        ),
        "=·",
    )
    _equation(
        axes,
        right,
        95,
        "(1)  forward, output layer",
        (
            (private, OUTPUTS, BATCH, "$Z^2$"),
            (by_columns, HIDDEN, BATCH, "$H^1$"),
            (by_rows, OUTPUTS, HIDDEN, "$V^2$"),
        ),
        "=·",
    )
    _equation(
        axes,
        left,
        285,
        "(5)  back",
        (
            (by_columns, HIDDEN, BATCH, "$Δ^1$"),
            (private, OUTPUTS, BATCH, "$Δ^2$"),
            (by_columns, HIDDEN, OUTPUTS, "$V^{2⊤}$"),
            (by_columns, HIDDEN, BATCH, "$σ'(Z^1)$"),
        ),
        "=·⊙",
    )
    _equation(
        axes,
        right,
        285,
        "(6)  weights, output layer",
        (
            (by_rows, OUTPUTS, HIDDEN, "$∂V^2$"),
            (by_rows, BATCH, HIDDEN, "$H^{1⊤}$"),
            (private, OUTPUTS, BATCH, "$Δ^2$"),
        ),
        "=·",
    )
    _equation(
        axes,
        left,
        465,
        "(6)  weights, first layer",
        (
            (by_columns, HIDDEN, INPUTS, "$∂V^1$"),
            (shared, BATCH, INPUTS, "$X^⊤$"),
            (by_columns, HIDDEN, BATCH, "$Δ^1$"),
        ),
        "=·",
    )
    x, y = right, 430
    for draw, words in (
        (lambda *place: box(axes, *place, PALE_BLUE), "computed or changed by thread 0 alone"),
        (lambda *place: box(axes, *place, PALE_ORANGE), "computed or changed by thread 1 alone"),
        (lambda *place: box(axes, *place, PALE), "the examples: read by both, changed by none"),
        (lambda *place: _private(axes, *place), "each thread computes all of it for itself"),
    ):
        draw(x, y - 8, 22, 16)
        remark(axes, x + 42, y, words)
        y += 30
    return figure


# -- waiting ---------------------------------------------------------------------------------------


def schedule_of_two() -> tuple[list[int], list[list[list[Wait]]]]:
    """How many calls each of two threads has in a step of 784-128-10, and what each call waits for."""
    network = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    plan = lower(network, "softmax_cross_entropy")
    memory = Workspace(plan, "float32", 32, 2, training=True)
    purpose = Purpose(learns=True, training=True, classes=True, rule=Adam().rule, packs=True)
    phases = Scheduler(plan, memory, Numbers(0, 0), purpose).write()
    return [sum(len(phase[thread]) for phase in phases) for thread in range(2)], waits(phases)


Span = tuple[float, float]


def play(durations: Sequence[Sequence[float]], waiting: Any, steps: int) -> list[list[list[Span]]]:
    """Begin and end of every call in every step: [step][thread][call], one thread after the other.

    The shape of ``waits`` is found by going round until nothing moves any more.
    """
    spans = [[[(0.0, 0.0)] * len(own) for own in durations] for _ in range(steps)]
    moved = True
    while moved:
        moved = False
        for step in range(steps):
            for thread, own in enumerate(durations):
                time = spans[step - 1][thread][-1][1] if step else 0.0
                for number, duration in enumerate(own):
                    for wait in waiting[thread][number]:
                        its_step = step - wait.before
                        time = max(time, spans[its_step][wait.thread][wait.call][1] if its_step >= 0 else 0.0)
                    span = (time, time + duration)
                    moved |= spans[step][thread][number] != span
                    spans[step][thread][number], time = span, span[1]
    return spans


def draw_waiting(times: dict[str, Any]) -> Figure:
    """A step of two threads, of which one is held up: who waits for whom, and how long."""
    durations = [[ns / 1000 for _, ns in own] for own in times["two"]]
    names = [[name for name, _ in own] for own in times["two"]]
    held_up = 1.2
    durations[1][names[1].index("product")] += held_up
    counts, waiting = schedule_of_two()
    if counts != [len(own) for own in durations]:
        raise ValueError("the schedule has other calls than times.json: run measure.py first")
    (spans,) = play(durations, waiting, 1)
    end = max(own[-1][1] for own in spans)
    figure, axes = canvas(800, 392)
    text(
        axes,
        20,
        20,
        "a step by two threads, of which thread 1 is held up for a moment",
        9.5,
        ha="left",
        weight="bold",
    )
    _lanes(axes, spans, names, waiting, (0.0, end * 1.01), 40)
    first = spans[0][names[0].index("activate_part")][1]
    span = (first - 0.9, first + 4.1)
    heading(axes, 20, 225, "its middle, enlarged")
    _lanes(axes, spans, names, waiting, span, 245)
    return figure


LABELS = {
    "product": "product", "gradient_update": "gradient and update", "loss_of_rows": "loss",
    "loss_of_columns": "loss", "transpose": "copy", "activate_part": "σ", "gate_part": "σ′",
}  # fmt: skip
LANE, GAP = 40, 26


def _lanes(axes: Axes, spans: Any, names: Any, waiting: Any, shown: Span, y: float) -> None:
    """Both threads between two times."""
    left, width = 90, 690
    scale = width / (shown[1] - shown[0])

    def place(time: float) -> float:
        return left + (min(max(time, shown[0]), shown[1]) - shown[0]) * scale

    tops = [y, y + LANE + GAP]
    for thread, top in enumerate(tops):
        text(
            axes,
            20,
            top + LANE / 2,
            f"thread {thread}",
            9,
            ha="left",
            color=("#005A8C", "#9A6A00")[thread],
            weight="bold",
        )
        before = shown[0]
        for number, (start, end) in enumerate(spans[thread]):
            if start > before + 1e-9 and waiting[thread][number]:
                a, b = place(before), place(start)
                box(axes, a, top, b - a, LANE, "white", hatch="////", edgecolor=RED, linewidth=0.8)
                if b - a > 60:
                    text(
                        axes,
                        (a + b) / 2,
                        top + LANE / 2,
                        "waits",
                        8.5,
                        color=RED,
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
                    )
            before = end
            a, b = place(start), place(end)
            if b - a <= 0:
                continue
            box(axes, a, top, b - a, LANE, THREADS[thread][1], linewidth=0.5)
            label = LABELS.get(names[thread][number], "")
            if b - a > 7 * len(label):
                text(axes, (a + b) / 2, top + LANE / 2, label, 8.5)
    for thread, top in enumerate(tops):
        for number, row in enumerate(waiting[thread]):
            for wait in row:
                posted, begun = spans[wait.thread][wait.call][1], spans[thread][number][0]
                if not shown[0] <= posted <= begun <= shown[1]:
                    continue
                down = thread > wait.thread
                start = (place(posted), tops[wait.thread] + (LANE if down else 0))
                goal = (place(begun), top + (0 if down else LANE))
                arrow(axes, start, goal, color=RED, linewidth=1.1)
    _time_axis(axes, shown, place, tops[1] + LANE + 8)


def _time_axis(axes: Axes, shown: Span, place: Callable[[float], float], y: float) -> None:
    unit = 10 if shown[1] - shown[0] > 20 else 1
    axes.plot([place(shown[0]), place(shown[1])], [y, y], color=GREY, linewidth=0.8)
    ticks = [t * unit for t in range(200) if shown[0] <= t * unit <= shown[1]]
    for tick in ticks:
        axes.plot([place(tick)] * 2, [y, y + 4], color=GREY, linewidth=0.8)
        text(axes, place(tick), y + 13, f"{tick} µs" if tick == ticks[-1] else f"{tick}", 8, color=GREY)


# -- all of them -----------------------------------------------------------------------------------


def main() -> None:
    """Write every figure to the directory that is named, or beside this file."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    times = json.loads((HERE / "times.json").read_text(encoding="utf-8"))
    with matplotlib.rc_context(STYLE):
        for name, figure in (
            ("step", draw_step(times)),
            ("owners", draw_owners()),
            ("waiting", draw_waiting(times)),
            ("tile", draw_tile()),
            ("walk", draw_walk()),
            ("update", draw_update()),
        ):
            figure.savefig(target / f"engine-{name}.svg", metadata={"Date": None, "Creator": None})
            if "--png" in sys.argv:
                figure.savefig(target / f"engine-{name}.png", dpi=130)


if __name__ == "__main__":
    main()
