"""What gradients cost: products counted, seconds measured, and how both grow."""

from __future__ import annotations

import numpy as np

from chainrule.book.blocks import Check, Code, Equation, Example, Figure, Section, Table, Words
from chainrule.book.experiments.cost import (
    Counted,
    Growth,
    PassesInFull,
    Timed,
    counted_products,
    exponent,
    growth_of_cost,
    layered,
    passes_in_full,
    products_of_a_sweep,
    times_of_a_sweep,
    times_of_the_engine,
)
from chainrule.book.plots import Curve, Mark, Scale, curves
from chainrule.book.verdict import Effort, Judgement, Verdict
from chainrule.explain import derive
from chainrule.explain.costs import layer_costs

__all__ = ["section"]

# A cost that is "one forward pass" may differ from it by a tenth; an exponent that is k by as much.
_TENTH = 0.1


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    counted = products_of_a_sweep()
    widths = effort.choose(full=(64, 128, 256, 512, 1024), quick=(64, 128, 256, 512))
    repetitions = effort.choose(full=31, quick=9)
    timed = times_of_a_sweep(widths, repetitions=repetitions)
    engine = times_of_the_engine(widths, repetitions=repetitions)
    wider = growth_of_cost(tuple((width,) * 4 for width in (32, *widths)), repetitions=repetitions)
    deeper = growth_of_cost(tuple((64,) * (layers + 1) for layers in (2, 4, 8, 16, 32)), n=16, repetitions=1)
    whole = passes_in_full()
    return Section(
        "cost",
        "What the gradients cost",
        "3",
        (
            Words(
                "What takes the time of a network is its matrix products, and a product of a layer with "
                "$d_{l-1}$ inputs and $d_l$ outputs is $d_{l-1} d_l$ multiply-adds for each example. Forward "
                "there is one, in (1). Backward there are two, in (6) and in (5); but the first layer "
                "needs no (5), for nothing below it is trained."
            ),
            Equation(
                r"\frac{\text{backward}}{\text{forward}} = "
                r"2 - \frac{d_0 d_1}{\sum_{l=1}^{L} d_{l-1} d_l}"
            ),
            Code(layer_costs, "The counts by formula, as `chainrule derive` prints them."),
            Code(counted_products, "The counts as they happen: the tape's products, watched."),
            _check(counted),
            _counted_table(counted),
            _counted_figure(counted),
            _single_pass_verdict(counted),
            Words(
                "Time need not follow the counts: what is not a product takes time too, most of all where "
                "layers are small and products cheap."
            ),
            _timed_figure(timed, engine),
            Words(
                "The alternative to a sweep is to change one parameter at a time and to run the network "
                "again. Each such pass costs as much as the forward pass, which grows with the number of "
                "parameters P, and there are P of them: two each here, for a central difference."
            ),
            *_whole_checks(whole),
            _growth_figure(wider),
            _seconds_figure(wider),
            *_growth_verdicts(wider, deeper),
            _example(),
        ),
        {
            "counted": counted,
            "timed": timed,
            "engine": engine,
            "wider": wider,
            "deeper": deeper,
            "whole": whole,
        },
    )


def _check(counted: tuple[Counted, ...]) -> Check:
    off = max(
        max(abs(one.forward - one.derived_forward), abs(one.backward - one.derived_backward))
        for one in counted
    )
    return Check(
        "Multiply-adds by formula (two products a layer, one less at the first) against those that ran "
        f"on the tape, in {len(counted)} networks",
        float(off),
        0.0,
    )


def _counted_table(counted: tuple[Counted, ...]) -> Table:
    return Table(
        ("network", "forward", "backward", "ratio"),
        tuple((one.name, f"{one.forward:,}", f"{one.backward:,}", f"{one.ratio:.3f}") for one in counted),
        numeric=3,
        caption="Multiply-adds for one example, as they ran.",
    )


def _counted_figure(counted: tuple[Counted, ...]) -> Figure:
    equal = [one for one in counted if len(set(one.widths)) == 1]
    layers = [len(one.widths) - 1 for one in equal]
    many = np.linspace(1, max(layers), 100)
    return Figure(
        "backward-to-forward",
        "Backward against forward, counted",
        curves(
            "Multiply-adds of the backward pass over those of the forward pass, against the number of layers",
            [
                Curve("2 − 1/L", many.tolist(), (2 - 1 / many).tolist(), "muted", dashed=True),
                Curve("counted, equal layers", layers, [one.ratio for one in equal], dots=True, line=False),
            ],
            Scale("layers L", low=0),
            Scale("backward / forward", low=0.9, high=2.1),
            marks=[Mark("one extra forward pass", y=1), Mark("two", y=2)],
        ),
        "One layer costs one more forward pass; every further layer costs two of its own, so a deep network "
        "comes near two.",
    )


def _single_pass_verdict(counted: tuple[Counted, ...]) -> Verdict:
    single = [one for one in counted if abs(one.ratio - 1) <= _TENTH]
    more = [one for one in counted if one.ratio > 1 + _TENTH]
    deepest = max(counted, key=lambda one: one.ratio)
    share = min((one.widths[0] * one.widths[1] / one.forward for one in single), default=1.0)
    verdict = Judgement.depends
    if not single or not more:
        verdict = Judgement.fails if more else Judgement.holds
    return Verdict(
        claim="All gradients together cost a single extra forward pass",
        section="3",
        expected=f"multiply-adds backward within {_TENTH:.0%} of those forward",
        measured=f"{' and '.join(f'{one.ratio:.2f} in {one.name}' for one in single) or 'nowhere near 1'}, "
        f"whose first layer has {share:.0%} of the products or more; up to {deepest.ratio:.2f}, in "
        f"{deepest.name}",
        spread="exact counts",
        verdict=verdict,
    )


def _timed_figure(timed: Timed, engine: Timed) -> Figure:
    shown = [_ratios("the tape", timed, "accent"), _ratios("the engine", engine, "second")]
    highest = max(max(one.high) for one in shown)
    return Figure(
        "time-ratio",
        "Backward against forward, timed",
        curves(
            "Processor time of the backward pass over that of the forward pass, against the width",
            shown,
            Scale("units a layer", log=True),
            Scale("backward / forward", low=0.5, high=max(2.6, highest)),
            marks=[Mark(f"counted: {timed.counted:.2f}", y=timed.counted), Mark("one forward pass", y=1)],
        ),
        f"{timed.layers} equal layers, processor time on one core, medians of {timed.forward.shape[1]} "
        f"repetitions and the middle half of them. At {timed.widths[-1]} units it is {timed.ratios[-1]:.2f} "
        f"on the tape and {engine.ratios[-1]:.2f} in the compiled engine, which trains. It is time, and "
        "differs from machine to machine; the verdicts rest on the counts.",
    )


def _ratios(name: str, timed: Timed, colour: str) -> Curve:
    each = timed.backward / np.median(timed.forward, axis=1, keepdims=True)
    low, high = np.quantile(each, (0.25, 0.75), axis=1)
    return Curve(
        name, timed.widths, timed.ratios.tolist(), colour, dots=True, low=low.tolist(), high=high.tolist()
    )


def _whole_checks(found: PassesInFull) -> list[Check]:
    return [
        Check(
            f"The gradients of a network of {found.parameters} parameters by two passes each against those "
            "of one sweep",
            found.error,
            1e-6,
        ),
        Check(
            f"Multiply-adds of those {2 * found.parameters} passes, as they ran, against 2 P times one pass",
            float(abs(found.counted - found.foretold)),
            0.0,
        ),
    ]


def _growth_figure(growth: Growth) -> Figure:
    P = growth.parameters.tolist()
    return Figure(
        "growth",
        "All gradients, in multiply-adds",
        curves(
            "Multiply-adds for all gradients of one example against the number of parameters",
            [
                Curve("one sweep", P, growth.sweep.tolist(), dots=True),
                Curve("two passes a parameter", P, growth.passes.tolist(), "second", dots=True),
            ],
            Scale("parameters P", log=True),
            Scale("multiply-adds", log=True),
        ),
        "On two logarithmic scales a power is a straight line, and its exponent the slope: "
        f"{exponent(growth.parameters, growth.sweep):.2f} for the sweep, "
        f"{exponent(growth.parameters, growth.passes):.2f} for the passes. At P = {P[-1]:,} the "
        f"sweep is {growth.passes[-1] / growth.sweep[-1]:,.0f} times as cheap.",
    )


def _seconds_figure(growth: Growth) -> Figure:
    P = growth.parameters.tolist()
    slopes = [
        exponent(growth.parameters[-2:], one[-2:]) for one in (growth.sweep_seconds, growth.passes_seconds)
    ]
    return Figure(
        "growth-seconds",
        "All gradients, in seconds",
        curves(
            "Processor seconds for all gradients of a batch against the number of parameters",
            [
                Curve("one sweep", P, growth.sweep_seconds.tolist(), dots=True),
                Curve("two passes a parameter", P, growth.passes_seconds.tolist(), "second", dots=True),
            ],
            Scale("parameters P", log=True),
            Scale("seconds", log=True),
        ),
        f"At P = {P[-1]:,}: {growth.sweep_seconds[-1]:.3g} s for the sweep, and for the passes "
        f"{growth.passes_seconds[-1]:,.0f} s, by the time of one of them. Small networks lie above the "
        "lines, for a pass costs something whatever its size; between the two largest the slopes are "
        f"{slopes[0]:.2f} and {slopes[1]:.2f}.",
    )


def _growth_verdicts(wider: Growth, deeper: Growth) -> list[Verdict]:
    found = []
    for claim, cost, power in (
        ("One sweep gives every gradient in O(P)", "sweep", 1),
        ("A pass for each parameter costs O(P²)", "passes", 2),
    ):
        width, depth = (exponent(one.parameters, getattr(one, cost)) for one in (wider, deeper))
        timed = exponent(wider.parameters, getattr(wider, f"{cost}_seconds"))
        least, most = (f"{end(one.parameters.tolist()):,}" for end, one in ((min, wider), (max, wider)))
        right = max(abs(width - power), abs(depth - power)) <= _TENTH
        found.append(
            Verdict(
                claim=claim,
                section="3",
                expected=f"multiply-adds that grow like P to the power {power}, to within {_TENTH}",
                measured=f"the power {width:.3f} where layers get wider, {depth:.3f} where there are more of "
                f"them (seconds, over all widths: {timed:.2f})",
                spread=f"exact counts, P from {least} to {most}",
                verdict=Judgement.holds if right else Judgement.fails,
            )
        )
    return found


def _example() -> Example:
    return Example(
        "chainrule derive --layers 784,128,10 --loss softmax_cross_entropy",
        derive(layered((784, 128, 10)), "softmax_cross_entropy").to_text().rstrip("\n"),
        "At its end stand the multiply-adds and the bytes of your own network, layer by layer.",
    )
