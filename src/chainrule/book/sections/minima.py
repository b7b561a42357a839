"""Minima: where descent ends from many starts, in narrow and in wide networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule.book.blocks import Code, Figure, Section, Table, Words
from chainrule.book.experiments.minima import (
    TEACHER_WIDTH,
    Ends,
    Problem,
    Steepness,
    ends_of_descent,
    spiral,
    steepness,
    teacher,
)
from chainrule.book.plots import Curve, Mark, Scale, curves, points
from chainrule.book.verdict import Effort, Verdict, judged, spread_of

__all__ = ["section"]

# Losses are shares of the targets' variance. An end is good with this much left, and poor with this much
# more than the best of its width.
_GOOD, _POOR = 0.05, 0.05
# The share of the ends that is called most.
_MOST = 0.9
# What is smaller is shown as this.
_FLOOR = 1e-8


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    widths = effort.choose(full=(2, 4, 8, 16, 32, 64, 128), quick=(2, 4, 8, 16, 64))
    seeds = range(effort.choose(full=24, quick=8))
    steps = effort.choose(full=10_000, quick=3_000)
    problems = (spiral(), teacher())
    found = {
        problem.name: ends_of_descent(problem, widths=widths, seeds=seeds, steps=steps)
        for problem in problems
    }
    steep = [steepness(problems[0], one, effort.choose(full=4, quick=2)) for one in found[problems[0].name]]
    return Section(
        "minima",
        "How good the minima are",
        "6",
        (
            Words(
                "A loss that is not convex has many minima, and where descent ends depends on where it "
                f"began. From {len(seeds)} random starts a width, networks of one hidden tanh layer learn "
                "two tasks: a noisy spiral of two classes, and, without noise, what a network of "
                f"{TEACHER_WIDTH} units computes, of which the least loss is known to be 0 from that "
                "width on. Losses are in units of the targets' variance: 1 is what a constant has."
            ),
            Code(ends_of_descent),
            *(_ends_figure(problem, found[problem.name], len(seeds)) for problem in problems),
            _spread_figure(found),
            *(_table(problem, found[problem.name]) for problem in problems),
            _wide_verdict(found),
            _narrow_verdict(found["teacher"]),
            _spread_verdict(found),
            Words(
                "How sharply the loss rises about the best ends, by the largest eigenvalue of the Hessian "
                "there:"
            ),
            _steepness_table(steep),
        ),
        {"ends": found, "steepness": steep},
    )


def _ends_figure(problem: Problem, found: Sequence[Ends], n_runs: int) -> Figure:
    widths = [one.width for one in found for _ in one.training]
    losses = np.maximum(np.concatenate([one.training for one in found]), _FLOOR)
    held_out = [max(float(np.median(one.held_out)), _FLOOR) for one in found]
    return Figure(
        f"ends-{problem.name}",
        f"Where descent ends: {problem.name}",
        points(
            f"Final losses against the width, {problem.name}",
            [
                Curve("a run", widths, losses.tolist(), line=False),
                Curve("held out, median", [one.width for one in found], held_out, "second"),
            ],
            Scale("hidden units", log=True),
            Scale("loss / variance", log=True),
            marks=[Mark("good", y=_GOOD)],
        ),
        f"{n_runs} runs a width; less than {_FLOOR:g} is drawn as that. The worst of the widest ends at "
        f"{found[-1].training.max():.2g}, the best of the narrowest at {found[0].training.min():.2g}.",
    )


def _spread_figure(found: dict[str, list[Ends]]) -> Figure:
    return Figure(
        "spread-of-ends",
        "The spread of the ends",
        curves(
            "Standard deviation of the final losses against the width",
            [
                Curve(
                    name,
                    [one.width for one in ends],
                    [max(one.spread, _FLOOR) for one in ends],
                    colour,
                    dots=True,
                )
                for (name, ends), colour in zip(found.items(), ("accent", "second"), strict=True)
            ],
            Scale("hidden units", log=True),
            Scale("standard deviation", log=True),
        ),
        "From start to start. In wide networks it hardly matters where one begins.",
    )


def _table(problem: Problem, found: Sequence[Ends]) -> Table:
    rows = tuple(
        (
            f"{one.width}",
            f"{one.training.min():.2g}",
            f"{np.median(one.training):.2g}",
            f"{one.training.max():.2g}",
            f"{(one.training <= _GOOD).mean():.0%}",
            f"{one.stuck(_POOR).mean():.0%}",
            f"{np.median(one.held_out):.2g}",
        )
        for one in found
    )
    return Table(
        ("units", "best", "median", "worst", "good", "stuck", "held out"),
        rows,
        numeric=7,
        caption=f"{problem.name.capitalize()}: final training losses; the share of runs with at most "
        f"{_GOOD:g} left; that of runs more than {_POOR:g} above the best of their width for which twice the "
        "steps made no difference; the median loss on held-out examples.",
    )


def _steepness_table(steep: Sequence[Steepness]) -> Table:
    return Table(
        ("units", "largest eigenvalue", "smallest", "‖∇ℒ‖"),
        tuple(
            (
                f"{one.width}",
                f"{np.median(one.top):.3g}",
                f"{np.median(one.lowest):.1g}",
                f"{np.median(one.gradient):.1g}",
            )
            for one in steep
        ),
        numeric=4,
        caption=f"Spiral: medians of the {len(steep[0].top)} runs with the least loss. More units do not "
        "make the sharpest direction flat; they add directions in which nothing changes.",
    )


def _wide_verdict(found: dict[str, list[Ends]]) -> Verdict:
    widest = {name: ends[-1] for name, ends in found.items()}
    shares = {name: float((one.training <= _GOOD).mean()) for name, one in widest.items()}
    width = next(iter(widest.values())).width
    return Verdict(
        claim="Most local minima of wide networks are good enough",
        section="6",
        expected=f"{_MOST:.0%} of the runs or more with at most {_GOOD:g} of the variance left, in each task",
        measured="; ".join(f"{name} {share:.0%}" for name, share in shares.items()) + f", with {width} units",
        spread="; ".join(f"{name} {spread_of(one.training, 'runs')}" for name, one in widest.items()),
        verdict=judged([share >= _MOST for share in shares.values()]),
    )


def _narrow_verdict(found: Sequence[Ends]) -> Verdict:
    """Of the teacher's task, where the runs have come to rest."""
    narrow, wide = found[0], found[-1]
    stuck, free = float(narrow.stuck(_POOR).mean()), float(wide.stuck(_POOR).mean())
    own = next(float(one.stuck(_POOR).mean()) for one in found if one.width == TEACHER_WIDTH)
    good = [stuck >= 1 - _MOST, free == 0.0]
    return Verdict(
        claim="Narrow networks have poor local minima in which descent gets stuck, wide ones do not",
        section="6",
        expected=f"runs at rest more than {_POOR:g} above the best of their width in the narrowest networks, "
        "none in the widest",
        measured=f"{stuck:.0%} with {narrow.width} units, {own:.0%} with the teacher's own {TEACHER_WIDTH}, "
        f"{free:.0%} with {wide.width}",
        spread=f"{narrow.width} units {spread_of(narrow.training, 'runs')}",
        verdict=judged(good),
    )


def _spread_verdict(found: dict[str, list[Ends]]) -> Verdict:
    ratios = {name: ends[-1].spread / ends[0].spread for name, ends in found.items()}
    return Verdict(
        claim="The spread of the minima shrinks with the width",
        section="6",
        expected="a standard deviation of the widest networks' losses less than a fifth of the narrowest's",
        measured="; ".join(f"{name} {ratio:.2g} of it" for name, ratio in ratios.items()),
        spread=spread_of(ratios.values(), "tasks"),
        verdict=judged([ratio < 0.2 for ratio in ratios.values()]),
    )
