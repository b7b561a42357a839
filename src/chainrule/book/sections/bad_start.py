"""Starts from which no training recovers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chainrule.book.blocks import Block, Check, Code, Figure, Section, Table, Words
from chainrule.book.experiments.bad_start import (
    STARTS,
    TRAININGS,
    Budget,
    Recovery,
    Start,
    first_gradient,
    network,
    try_to_recover,
)
from chainrule.book.plots import Curve, Mark, Scale, bars, curves
from chainrule.book.verdict import Effort, Judgement, Verdict, judged, spread_of

__all__ = ["section"]

# Ten classes: chance is a tenth, with a standard error of 1 % on the examples held out.
LEARNS, TRAINS = 0.15, 0.8
HEALTHY, ZERO, OFF = (one.name for one in STARTS[:3])
GAINS = (0.03, 0.1, 0.5, 5.0, 10.0)


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    budget = effort.choose(
        full=Budget(epochs=25, seeds=tuple(range(4))), quick=Budget(epochs=6, seeds=(0, 1))
    )
    plain = [*STARTS, *(Start(f"{gain:g} × He", gain) for gain in effort.choose(full=GAINS, quick=()))]
    normed = [
        replace(one, name=f"{one.name}, batch norm", batch_norm=True)
        for one in STARTS
        if one.name in (ZERO, OFF, "0.01 × He")
    ]
    found = {one.start.name: one for one in try_to_recover([*plain, *normed], budget)}
    slopes = {one.name: first_gradient(one, budget) for one in plain}
    without = [found[one.name] for one in STARTS]
    rescued = [found[one.name] for one in normed]
    blocks: tuple[Block, ...] = (
        Words(
            f"A ReLU network of {budget.depth} layers that learns well from He's weights, from worse and "
            f"worse starts; each is trained in {len(TRAININGS)} ways, for {budget.epochs} epochs."
        ),
        Code(network, "All starts are made here."),
        _table(without, slopes),
        Check(
            "the gradients of all weights where all are zero, or all units off, against 0",
            max(slopes[ZERO], slopes[OFF]),
            0.0,
        ),
        Words(
            "In these two starts nothing but the output's biases has a gradient, and nothing but they can "
            "ever change: no optimizer and no patience help. For a wrong scale the budget is part of "
            "the answer."
        ),
        _bars(without, rescued),
        _scale_figure([found[one.name] for one in plain if not one.bias and one.gain]),
        _claim_verdict(without),
        _scale_verdict([found[one.name] for one in plain if one.name not in (HEALTHY, ZERO, OFF)]),
        _rescue_verdict(rescued),
    )
    return Section("bad-start", "A bad start", "8", blocks, {"recoveries": found, "slopes": slopes})


def _trainings(one: Recovery, sgd: bool) -> np.ndarray:
    """The accuracies of the trainings by SGD, or of those with a step size for each weight."""
    return np.array([found for name, found in one.accuracy.items() if name.startswith("SGD") == sgd])


def _family(one: Recovery, sgd: bool) -> float:
    """The best median over the seeds of one of the two."""
    return float(np.median(_trainings(one, sgd), axis=1).max())


def _table(recoveries: Sequence[Recovery], slopes: dict[str, float]) -> Table:
    rows = tuple(
        (
            one.start.name,
            f"{slopes[one.start.name]:.1g}",
            *(f"{np.median(found):.0%}" for found in one.accuracy.values()),
        )
        for one in recoveries
    )
    return Table(
        ("start", "largest slope", *TRAININGS),
        rows,
        numeric=1 + len(TRAININGS),
        caption="The largest slope of a weight at the start, and the accuracy on held-out examples, median "
        f"over {len(next(iter(recoveries[0].accuracy.values())))} seeds. Chance is 10 %.",
    )


def _bars(without: Sequence[Recovery], rescued: Sequence[Recovery]) -> Figure:
    shown = [*without, *rescued]
    return Figure(
        "recovery",
        "The best that any training made of it",
        bars(
            "accuracy on held-out digits",
            [one.start.name.replace("batch norm", "normed") for one in shown],
            [one.best for one in shown],
        ),
        f"The best of {len(TRAININGS)} trainings, median over the seeds. Chance is 0.1. "
        "“Normed” is the same start with batch normalization.",
    )


def _scale_figure(recoveries: Sequence[Recovery]) -> Figure:
    ordered = sorted(recoveries, key=lambda one: one.start.gain)
    gains = [one.start.gain for one in ordered]
    return Figure(
        "recovery-against-scale",
        "How wrong may the scale be?",
        curves(
            "Accuracy against the factor on He's weights",
            [
                Curve("SGD", gains, [_family(one, True) for one in ordered], "second", dots=True),
                Curve("Adam, RMSprop", gains, [_family(one, False) for one in ordered], dots=True),
            ],
            Scale("factor on He's weights", log=True),
            Scale("accuracy of the best", 0, 1),
            marks=[Mark("", y=0.1)],
        ),
        "Optimizers that give each weight a step size of its own recover from scales that are lost for "
        "gradient descent, up to a point.",
    )


def _claim_verdict(without: Sequence[Recovery]) -> Verdict:
    by_name = {one.start.name: one for one in without}
    healthy = by_name[HEALTHY]
    stuck = [one for one in without if one.all.max() < LEARNS]
    certain = all(by_name[name] in stuck for name in (ZERO, OFF))
    right = certain and healthy.best >= TRAINS
    tries = len(TRAININGS) * len(next(iter(healthy.accuracy.values())))
    return Verdict(
        claim="With a bad enough initialization, no training recovers a deep ReLU network",
        section="8",
        expected=f"starts from which each of {tries} trainings stays below {LEARNS:.0%}, where He's weights "
        f"lead to {TRAINS:.0%}",
        measured=f"{', '.join(one.start.name for one in stuck)}: at most "
        f"{max((float(one.all.max()) for one in stuck), default=0.0):.0%}. He's weights: {healthy.best:.0%}",
        spread="; ".join(f"{one.start.name} {spread_of(one.all, 'trainings')}" for one in stuck) or "none",
        verdict=Judgement.holds if right else Judgement.depends if stuck else Judgement.fails,
    )


def _scale_verdict(scaled: Sequence[Recovery]) -> Verdict:
    scaled = sorted(scaled, key=lambda one: one.start.gain)
    lost = [one for one in scaled if one.best < LEARNS]
    learned = [one for one in scaled if one.best >= LEARNS]
    return Verdict(
        claim="A wrong scale of the weights is beyond recovery, and not only slow",
        section="8",
        expected=f"at each wrong scale the best training below {LEARNS:.0%}",
        measured=f"lost: {', '.join(one.start.name for one in lost) or 'none'}; learned from: "
        + (
            ", ".join(
                f"{one.start.name} ({_family(one, False):.0%} by Adam or RMSprop, "
                f"{_family(one, True):.0%} by SGD)"
                for one in learned
            )
            or "none"
        ),
        spread="; ".join(f"{one.start.name} {spread_of(one.all, 'trainings')}" for one in scaled),
        verdict=Judgement.holds if not learned else Judgement.depends if lost else Judgement.fails,
    )


def _rescue_verdict(rescued: Sequence[Recovery]) -> Verdict:
    learns = [one.best >= LEARNS for one in rescued]
    return Verdict(
        claim="Batch normalization makes a bad initialization harmless",
        section="8",
        expected=f"the best training beyond {LEARNS:.0%} from each of the starts that were lost without it",
        measured="; ".join(f"{one.start.name}: {one.best:.0%}" for one in rescued)
        + ". It undoes a scale and a bias; weights of zero stay zero",
        spread="; ".join(spread_of(one.all, "trainings") for one in rescued),
        verdict=judged(learns),
    )
