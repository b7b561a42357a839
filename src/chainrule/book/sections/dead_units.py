"""Units that are off for every example: that they get no gradient, whether they stay so, how many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule.book.blocks import Check, Code, Figure, Section, Table, Words
from chainrule.book.experiments.dead_units import (
    DATA,
    TRAININGS,
    Deaths,
    count_deaths,
    frozen_unit,
    silent_units,
)
from chainrule.book.plots import Curve, Mark, Scale, curves
from chainrule.book.verdict import Effort, Judgement, Verdict, spread_of
from chainrule.functions import get_activation

__all__ = ["section"]

# What the chapter calls typical, and from what accuracy on a training is one that someone would keep.
LOW, HIGH, LEARNS = 0.05, 0.15, 0.8
# Beyond this share of the ways to train a claim is called true of them.
MOST = 0.8
FAMILIES = ("SGD", "SGD, momentum", "Adam")


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    seeds = range(effort.choose(full=12, quick=3))
    epochs = effort.choose(full=5, quick=3)
    frozen = frozen_unit(epochs)
    found = [one for data in DATA for one in count_deaths(TRAININGS, data, seeds, epochs=epochs)]
    n_seeds = len(seeds)
    return Section(
        "dead-units",
        "Units that die",
        "8",
        (
            Words(
                "A sigmoid saturates on both sides, a ReLU on one: where z is negative its slope is 0. "
                "A unit whose z is negative for every example passes no error signal back through (5), so "
                "by (6) and (7) its own weights have no gradient either."
            ),
            Code(get_activation("relu").derivative, "The slope."),
            Check("the gradient of a unit that is off for every digit, against 0", frozen.gradient, 0.0),
            Check(
                f"its weights after {epochs} epochs of gradient descent, against those before",
                frozen.change,
                0.0,
            ),
            Words(
                f"The other units' weights moved by up to {frozen.others:.2g} meanwhile. That settles the "
                "first layer, whose inputs never change. The inputs of a later layer do: what is off today "
                "may be switched on by what happens below it. So we train, count the units that are 0 for "
                f"every one of the 1,797 digits after {epochs} epochs, train on for as long again, and look "
                "which of them are back."
            ),
            Code(silent_units, "Who counts as dead."),
            _by_layer(found, n_seeds),
            _stays_verdict(found),
            Words(
                "How many die is a matter of the training. Three hidden layers of 64 units from He's "
                "weights, in the ways of the figures, on the digits as they are and enlarged to the size of "
                "MNIST's; counted are units that were not silent at the start."
            ),
            *(_figure(found, data, number) for number, data in enumerate(DATA, 1)),
            _share_verdict(found),
        ),
        {"frozen": frozen, "deaths": found},
    )


def _by_layer(found: Sequence[Deaths], n_seeds: int) -> Table:
    dead = sum(one.dead.sum(axis=0) for one in found)
    revived = sum(one.revived.sum(axis=0) for one in found)
    rows = tuple(
        (f"hidden layer {layer}", f"{n_dead:,}", f"{n_back:,}", f"{n_back / max(n_dead, 1):.0%}")
        for layer, (n_dead, n_back) in enumerate(zip(dead, revived, strict=True), 1)
    )
    return Table(
        ("", "dead", "of these back later", "share"),
        rows,
        numeric=3,
        caption=f"Of all trainings: {len(TRAININGS)} ways, {len(DATA)} sets of data, {n_seeds} starts.",
    )


def _stays_verdict(found: Sequence[Deaths]) -> Verdict:
    dead = sum(one.dead.sum(axis=0) for one in found)
    revived = sum(one.revived.sum(axis=0) for one in found)
    first, later = revived[0], revived[1:].sum()
    share = later / max(dead[1:].sum(), 1)
    judgement = Judgement.holds if later == 0 else Judgement.depends
    by_way = [float(one.revived[:, 1:].sum() / max(one.dead[:, 1:].sum(), 1)) for one in found]
    return Verdict(
        claim="A ReLU unit that is off for every example is off for ever",
        section="8",
        expected="no unit that was dead is back later",
        measured=f"first layer: {first:,} of {dead[0]:,} back; later layers: {later:,} of {dead[1:].sum():,} "
        f"({share:.0%}), whose inputs went on changing",
        spread=f"later layers {spread_of(by_way, 'ways and sets of data')}",
        verdict=Judgement.fails if first > 0 else judgement,
    )


def _family(one: Deaths) -> str | None:
    """Which curve of the figure it belongs to; None for another initializer."""
    if one.way.initializer != "he_normal":
        return None
    return "SGD, momentum" if one.way.momentum else one.way.kind.__name__


def _figure(found: Sequence[Deaths], data: str, number: int) -> Figure:
    shown = []
    for family, colour in zip(FAMILIES, ("accent", "second", "third"), strict=True):
        ones = [one for one in found if one.data == data and _family(one) == family]
        shares = [100 * one.share for one in ones]
        shown.append(
            Curve(
                family,
                [one.way.rate for one in ones],
                [float(np.median(share)) for share in shares],
                colour,
                dots=True,
                low=[float(share.min()) for share in shares],
                high=[float(share.max()) for share in shares],
            )
        )
    learned = [one for one in found if one.data == data and np.median(one.accuracy) >= LEARNS]
    worst = max((float(np.median(one.share)) for one in learned), default=0.0)
    return Figure(
        f"dead-against-rate-{number}",
        f"Dead units: {data}",
        curves(
            f"Share of the units that died against the learning rate, {data}",
            shown,
            Scale("learning rate", log=True),
            Scale("units that died, %", 0, 100),
            marks=[Mark("5 %", y=100 * LOW), Mark("15 %", y=100 * HIGH)],
        ),
        f"Median, least and greatest. The larger the steps, the more units die. Of the {len(learned)} ways "
        f"that reach {LEARNS:.0%} on held-out digits the worst loses {worst:.0%}.",
    )


def _share_verdict(found: Sequence[Deaths]) -> Verdict:
    """Of the trainings that one would keep: how many lie where the chapter says."""
    kept = [one for one in found if np.median(one.accuracy) >= LEARNS]
    shares = [float(np.median(one.share)) for one in kept]
    within = [share for share in shares if LOW <= share <= HIGH]
    portion = len(within) / len(kept) if kept else 0.0
    by_data = "; ".join(
        f"{data} {min(ones):.0%} to {max(ones):.0%}"
        for data in DATA
        if (ones := [share for one, share in zip(kept, shares, strict=True) if one.data == data])
    )
    everyone = np.concatenate([one.share for one in kept]) if kept else np.zeros(1)
    return Verdict(
        claim="Typically 5 to 15 % of the ReLU units die in the first few epochs",
        section="8",
        expected=f"5 to 15 % in {MOST:.0%} of the ways to train that reach an accuracy of {LEARNS:.0%}",
        measured=f"in {len(within)} of {len(kept)}; medians: {by_data}. Larger steps and larger "
        "inputs kill more",
        spread=spread_of(everyone, "trainings"),
        verdict=Judgement.holds if portion >= MOST else Judgement.depends if within else Judgement.fails,
    )
