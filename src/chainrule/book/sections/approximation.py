"""Universal approximation: three functions fitted, and what the theorem does not promise."""

from __future__ import annotations

import numpy as np

from chainrule.book.blocks import Check, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.approximation import (
    TARGETS,
    Fit,
    fit_by_descent,
    interpolant,
    interpolation_error,
    ramp_errors,
    units_for,
)
from chainrule.book.plots import Curve, Scale, curves
from chainrule.book.verdict import Effort, Judgement, Verdict, spread_of

__all__ = ["section"]

# The chapter's width.
UNITS = 64
# What counts as a fit: nowhere farther off than this share of the target's extent; or, in the mean only, this
# share of its variance explained. At least so many of the seeds must.
UNIFORM, EXPLAINED, SEEDS = 0.1, 0.95, 0.8
# Descent has not found what is there if its error is so many times the construction's.
FACTOR = 10.0
_WORDS = {"wave": "a smooth wave", "|x|": "$|x|$", "step": "a step"}


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    widths = effort.choose(full=(2, 4, 8, 16, 32, 64, 128, 256), quick=(2, 16, 64, 256))
    seeds, steps = effort.choose(full=20, quick=5), effort.choose(full=20_000, quick=6_000)
    fits = {name: [fit_by_descent(name, units, seeds, steps) for units in widths] for name in TARGETS}
    chosen = {name: next(one for one in found if one.units == UNITS) for name, found in fits.items()}
    return Section(
        "approximation",
        "Universal approximation",
        "2",
        (
            Words(
                "A hidden layer that is wide enough comes as near to a continuous function as one likes. "
                f"{UNITS} ReLUs were trained on three functions by Adam, from {seeds} random starts each, "
                f"for {steps:,} steps: how near descent comes is a matter of patience, too."
            ),
            Equation(r"g(x) = \sum_{j=1}^{M} v_j\, \sigma(w_j^\top x + b_j)"),
            *(_fit(one) for one in chosen.values()),
            *(_fit_verdict(chosen[name]) for name in TARGETS),
            *_construction(),
            *_step(),
            *_existence(fits),
        ),
        {"fits": fits},
    )


def _fit(fit: Fit) -> Figure:
    """What the first seed came to, over its target."""
    x, name = fit.x.tolist(), fit.target
    shown = [
        Curve(f"{UNITS} ReLUs", x, fit.outputs[0].tolist()),
        Curve("target", x, TARGETS[name].value(fit.x).tolist(), colour="ink", dashed=True),
    ]
    return Figure(
        f"fit-{name.strip('|')}",
        f"{UNITS} ReLUs and {_WORDS[name]}",
        curves(f"A fit of {name}", shown, Scale("x"), Scale("g(x)")),
        f"The first of the seeds; its largest error is {fit.largest_errors[0]:.2g}."
        + (" The step becomes a steep ramp." if TARGETS[name].jump else ""),
    )


def _fit_verdict(fit: Fit) -> Verdict:
    """Whether the 64 units fit a target everywhere, in the mean only, or not."""
    one = TARGETS[fit.target]
    everywhere = float((fit.largest_errors <= UNIFORM * one.extent).mean())
    in_the_mean = float((fit.explained >= EXPLAINED).mean())
    judgement = Judgement.fails
    if in_the_mean >= SEEDS:
        judgement = Judgement.holds if everywhere >= SEEDS else Judgement.depends
    condition = "; in the mean square, not everywhere" if judgement is Judgement.depends else ""
    return Verdict(
        claim=f"A ReLU network of 64 units fits {_WORDS[fit.target]}",
        section="2",
        expected=f"in {SEEDS:.0%} of the starts an error of at most {UNIFORM * one.extent:g} everywhere "
        f"(without that, but with {EXPLAINED:.0%} of the variance explained: depends)",
        measured=f"the largest error is {np.median(fit.largest_errors):.3g} in the median, and "
        f"{np.median(fit.explained):.2%} of the variance is explained{condition}",
        spread="largest error " + spread_of(fit.largest_errors),
        verdict=judgement,
    )


def _construction() -> tuple[Words | Equation | Code | Check | Table | Verdict, ...]:
    epsilons = (1e-1, 1e-2, 1e-3, 1e-4)
    units = [units_for("wave", epsilon) for epsilon in epsilons]
    errors = [interpolation_error("wave", one) if one else float("inf") for one in units]
    # A straight line through both ends of a stretch of length h is at most h²/8 max|f''| off.
    beyond = [
        interpolation_error("wave", one) - (2 / one) ** 2 / 8 * (2 * np.pi) ** 2 for one in (8, 32, 128, 512)
    ]
    return (
        Words(
            "How wide is enough can be seen without training: with a kink at each of $M$ equally spaced "
            "places the network is the straight lines between points of $f$, and their error is known."
        ),
        Equation(r"\sup |g - f| \le \tfrac18 h^2 \max |f''|, \qquad h = 2 / M"),
        Code(interpolant),
        Check(
            "By how much the interpolant's error exceeds $\\frac18 h^2 \\max|f''|$", max(0.0, *beyond), 1e-12
        ),
        Table(
            ("ε", "units M", "largest error"),
            tuple(
                (f"{epsilon:g}", f"{one:,}", f"{error:.2g}")
                for epsilon, one, error in zip(epsilons, units, errors, strict=True)
            ),
            numeric=3,
            caption="The first power of two of units with which the construction is within ε of the wave.",
        ),
        Verdict(
            claim="One hidden layer gets within any $\\varepsilon$ of a continuous function",
            section="2",
            expected="for each $\\varepsilon$ a width whose largest error is below it",
            measured=f"within {epsilons[-1]:g} with {units[-1]:,} units"
            if all(units)
            else "not for every ε with the widths tried",
            spread="exact",
            verdict=Judgement.holds if all(units) else Judgement.fails,
        ),
    )


def _step() -> tuple[Words | Check | Table | Verdict, ...]:
    found = ramp_errors([1e-1, 1e-2, 1e-3, 1e-4])
    apart = [abs(one.typical - np.sqrt(one.half_width / 12)) for one in found]
    stays = min(one.largest for one in found) >= 0.5 - 1e-9
    falls = found[-1].typical < 0.1 * found[0].typical
    return (
        Words(
            "A step is not continuous, and the theorem says nothing of it. Two ReLUs make a ramp of width "
            "$2\\varepsilon$: its mean square error falls with $\\varepsilon$, but at the jump a continuous "
            "function is at least half the jump away from one of the two sides."
        ),
        Table(
            ("ε", "root mean square", "largest"),
            tuple((f"{one.half_width:g}", f"{one.typical:.4f}", f"{one.largest:.3f}") for one in found),
            numeric=3,
        ),
        Check(
            "The ramp's root mean square error against $\\sqrt{\\varepsilon / 12}$", float(max(apart)), 1e-9
        ),
        Verdict(
            claim="A step is approximated in the mean square, but never everywhere",
            section="2",
            expected="a root mean square error towards 0, a largest error of at least half the jump",
            measured=f"from {found[0].typical:.3f} down to {found[-1].typical:.4f}; the largest stays at "
            f"{min(one.largest for one in found):.3f}",
            spread="exact",
            verdict=Judgement.holds if stays and falls else Judgement.fails,
        ),
    )


def _existence(fits: dict[str, list[Fit]]) -> tuple[Words | Figure | Verdict, ...]:
    wave, corner = fits["wave"], fits["|x|"]
    medians = [float(np.median(one.largest_errors)) for one in wave]
    built = [interpolation_error("wave", one.units) for one in wave]
    factors = [
        found / there for found, there, one in zip(medians, built, wave, strict=True) if one.units >= 16
    ]
    two = next(one for one in corner if one.units == 2)
    missed = float((two.largest_errors > 0.01).mean())
    return (
        Words(
            "The theorem says that such weights exist. It bounds neither $M$ nor whether descent finds them: "
            f"$|x|$ is exactly two ReLUs, and with two, {missed:.0%} of the starts end more than 0.01 away."
        ),
        *(_widths(name, found) for name, found in fits.items()),
        Verdict(
            claim="That a good network exists does not say that descent finds it",
            section="2",
            expected=f"at one width at least a typical error of descent {FACTOR:g} times the construction's",
            measured=f"{min(factors):.3g} to {max(factors):.3g} times for the wave with 16 units and more; "
            f"{missed:.0%} of the starts miss $|x|$ with two",
            spread=spread_of(factors, "widths"),
            verdict=Judgement.holds if max(factors) >= FACTOR or missed >= 0.25 else Judgement.fails,
        ),
    )


def _widths(name: str, found: list[Fit]) -> Figure:
    """The error against the width, of descent and of the construction."""
    units = [one.units for one in found]
    errors = [one.typical_errors if TARGETS[name].jump else one.largest_errors for one in found]
    middle = [float(np.median(one)) for one in errors]
    low, high = [float(one.min()) for one in errors], [float(one.max()) for one in errors]
    shown = [Curve("descent", units, middle, dots=True, low=low, high=high)]
    what, said = "largest error", ""
    if name == "wave":
        built = [interpolation_error(name, one) for one in units]
        shown.append(Curve("construction", units, built, colour="second", dashed=True))
        said = " The construction's error falls fourfold with each doubling; descent's does not keep up."
    elif name == "|x|":
        said = " Two units would do without any error."
    else:
        what = "root mean square error"
        said = " Two units would do, with an error as small as one likes."
    words = name if name != "step" else "the step"
    return Figure(
        f"width-{name.strip('|')}",
        f"The error against the width: {words}",
        curves(
            f"Error against the number of units, {name}",
            shown,
            Scale("units M", log=True),
            Scale(what, log=True),
        ),
        f"Median of {len(errors[0])} starts, from the best to the worst.{said}",
    )
