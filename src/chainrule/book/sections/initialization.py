"""Initialization."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.datasets import load_digits

from chainrule.book.blocks import Block, Check, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.initialization import (
    DrawnWeights,
    SameStart,
    VarianceRule,
    Variances,
    drawn_weights,
    layer_variances,
    train_from_equal_weights,
    variance_rule,
)
from chainrule.book.experiments.vanishing import Recipe
from chainrule.book.plots import COLOURS, Curve, Scale, curves
from chainrule.book.verdict import Effort, Judgement, Verdict, judged, spread_of
from chainrule.functions import get_initializer

__all__ = ["section"]

# A variance is kept if thirty layers change its median over the networks by less than this factor either
# way: by 8 % a layer.
KEPT = 10.0
DEPTH, WIDTH = 30, 100

TANH = Recipe("tanh, Xavier", "tanh", "xavier_normal")
SIGMOID = Recipe("sigmoid, Xavier", "sigmoid", "xavier_normal")
RELU = Recipe("ReLU, He", "relu", "he_normal")
LARGE = Recipe("tanh, too large", "tanh", "normal")
SMALL = Recipe("tanh, too small", "tanh", "normal", 0.05)
MISFIT = Recipe("ReLU, Xavier", "relu", "xavier_normal")


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    seeds = range(effort.choose(full=30, quick=5))

    def measured(recipe: Recipe, inputs: float = 1.0) -> Variances:
        return layer_variances(recipe, width=WIDTH, depth=DEPTH, seeds=seeds, inputs=inputs)

    found = {one.name: measured(one) for one in (TANH, SIGMOID, RELU, LARGE, SMALL, MISFIT)}
    found["tanh, Xavier, inputs × 0.1"] = measured(TANH, 0.1)
    sums = [
        variance_rule(one, n_in=500, n_out=4000, seeds=range(effort.choose(full=20, quick=6)))
        for one in ("tanh", "sigmoid", "relu")
    ]
    X, y = load_digits(return_X_y=True)
    equal = {
        f"{activation}, {start}": train_from_equal_weights(
            start, activation, X[:500].T / 16, y[:500], steps=100
        )
        for activation in ("sigmoid", "tanh", "relu")
        for start in ("zeros", "equal", "xavier")
    }
    longer = train_from_equal_weights("equal", "relu", X[:500].T / 16, y[:500], steps=400)
    size = effort.choose(full=1000, quick=400)
    drawn = [
        drawn_weights(name, (size, size // 2), seed=number, alpha=alpha)
        for number, (name, alpha) in enumerate(
            (
                ("xavier_uniform", 0.0),
                ("xavier_normal", 0.0),
                ("he_uniform", 0.0),
                ("he_normal", 0.0),
                ("he_normal", 0.2),
            )
        )
    ]
    blocks: tuple[Block, ...] = (
        Words("**Units that begin alike stay alike**: whatever they compute, their gradients are the same."),
        _equal_table(equal),
        _equal_check(equal),
        _equal_verdict(equal),
        Words(
            "On paper they stay alike for ever. On a computer equal weights are summed in different orders, "
            "and where descent is unstable what is rounded grows: 100 steps from equal weights with the ReLU "
            f"left two units {equal['relu, equal'].apart:.1g} apart, 400 steps {longer.apart:.1g}."
        ),
        Words(
            "**How large?** A pre-activation is a sum of as many products as there are inputs. Over draws of "
            "independent weights of mean zero its variance is the number of products times two factors."
        ),
        Equation(r"\mathrm{Var}(z_j) = n_\mathrm{in} \, \mathrm{Var}(w) \, \mathrm{Var}(h)"),
        _rule_verdict(sums),
        Words(
            "The variance of $h$ has to be read as its mean square. For the ReLU that is half the mean "
            "square of $z$, which is where the 2 in He's rule comes from."
        ),
        Equation(r"\mathrm{Var}(w) = \frac{2}{n_\mathrm{in} + n_\mathrm{out}}", "(8)"),
        Code(get_initializer("xavier_uniform").variance),
        Equation(r"\mathrm{Var}(w) = \frac{2}{(1 + \alpha^2) \, n_\mathrm{in}}", "(9)"),
        Code(get_initializer("he_normal").variance, "With the slope of a leaky ReLU; 0 for the ReLU."),
        *_drawn_checks(drawn),
        Words(
            f"**Through {DEPTH} layers.** Random networks of width {WIDTH}, inputs of variance 1 at the "
            "bottom, gradients of variance 1 at the top."
        ),
        _figure(found, "signal-variance", "Signals, going forward", back=False),
        _figure(found, "gradient-variance", "Gradients, going back", back=True),
        _table(found),
        _kept_verdict(
            "Xavier's weights keep the variances of signals and gradients through tanh layers",
            {"inputs of variance 1": found[TANH.name], "variance 0.01": found["tanh, Xavier, inputs × 0.1"]},
        ),
        _kept_verdict(
            "Xavier's weights keep the variances of signals and gradients through sigmoid layers",
            {"inputs of variance 1": found[SIGMOID.name]},
        ),
        _kept_verdict(
            "He's weights keep the variances of signals and gradients through ReLU layers",
            {"inputs of variance 1": found[RELU.name]},
            f". With Xavier's weights a ReLU keeps {np.median(found[MISFIT.name].kept_forward):.1g}",
        ),
        _large_verdict(found[LARGE.name]),
        _small_verdict(found[SMALL.name]),
    )
    data = {"variances": found, "sums": sums, "equal": equal, "longer": longer, "drawn": drawn}
    return Section("initialization", "Initialization", "5", blocks, data)


# -- equal units -------------------------------------------------------------------------------------


def _equal_table(equal: dict[str, SameStart]) -> Table:
    rows = tuple(
        (name, f"{one.moved:.2g}", f"{one.apart:.2g}", f"{one.accuracy:.0%}") for name, one in equal.items()
    )
    return Table(
        ("activation, start", "moved", "apart", "accuracy"),
        rows,
        numeric=3,
        caption="Sixteen hidden units on the digits, 100 steps of gradient descent: how far the hidden "
        "weights moved, how far apart two units ended, and the accuracy on the training examples.",
    )


def _equal_check(equal: dict[str, SameStart]) -> Check:
    apart = max(one.apart for one in equal.values() if one.start != "xavier")
    return Check("the incoming weights of two units that began alike, after training", apart, 1e-9)


def _equal_verdict(equal: dict[str, SameStart]) -> Verdict:
    same = [one for one in equal.values() if one.start != "xavier"]
    other = [one for one in equal.values() if one.start == "xavier"]
    broken, best = max(one.apart for one in same), max(one.accuracy for one in same)
    zeros = [one.moved for one in same if one.start == "zeros"]
    kept = broken < 1e-9 and best < min(one.accuracy for one in other)
    return Verdict(
        claim="From all zeros symmetry never breaks: the units of a layer stay the same",
        section="5",
        expected="no difference between units after training, and a worse fit than from random weights",
        measured=f"a difference of at most {broken:.1g}. From zeros the hidden weights of "
        f"{sum(moved == 0 for moved in zeros)} of {len(zeros)} activations did not even move. Accuracy at "
        f"most {best:.0%}, from Xavier's {min(one.accuracy for one in other):.0%}",
        spread="over three activations, from zeros and from equal weights",
        verdict=Judgement.holds if kept else Judgement.fails,
    )


# -- the rule and the formulas -----------------------------------------------------------------------


def _rule_verdict(sums: Sequence[VarianceRule]) -> Verdict:
    right = [abs(float(np.mean(one.by_variance)) - 1) < 0.1 for one in sums]
    squares = np.concatenate([one.by_mean_square for one in sums])
    return Verdict(
        claim="The variance of a pre-activation is n_in Var(w) Var(h)",
        section="5",
        expected="a ratio of 1 between what is measured and what is predicted, to a tenth",
        measured="; ".join(f"{np.mean(one.by_variance):.2f} for {one.activation}" for one in sums)
        + f". With the mean square of h in place of its variance, {squares.mean():.3f}: the two are the same "
        "only where h has mean zero",
        spread="; ".join(f"{one.activation} {spread_of(one.by_variance)}" for one in sums),
        verdict=judged(right),
    )


def _drawn_checks(drawn: Sequence[DrawnWeights]) -> list[Check]:
    checks = []
    for number, one in enumerate(drawn):
        equation = "(8)" if one.name.startswith("xavier") else "(9)"
        leaky = ", for a leaky ReLU" if number == len(drawn) - 1 else ""
        checks.append(
            Check(
                f"the variance of `{one.name}` against equation {equation}{leaky}; five standard errors",
                abs(one.variance - one.formula),
                one.tolerance,
            )
        )
        if np.isfinite(one.bound):
            # All within the bound, and the largest of so many near it; beyond it is no rounding.
            beyond = one.largest > one.bound * (1 + 1e-12)
            error = np.inf if beyond else (one.bound - one.largest) / one.bound
            checks.append(
                Check(f"the largest weight of `{one.name}` against the bound, relatively", float(error), 1e-3)
            )
    return checks


# -- layer after layer -------------------------------------------------------------------------------


def _figure(found: dict[str, Variances], name: str, title: str, *, back: bool) -> Figure:
    layers = list(range(1, DEPTH + 1))
    shown = []
    for recipe, colour in zip((TANH, SIGMOID, RELU, LARGE, SMALL), COLOURS, strict=True):
        one = found[recipe.name]
        values = one.gradient if back else one.signal
        shown.append(
            Curve(
                recipe.name,
                layers,
                np.median(values, axis=0).tolist(),
                colour,
                low=values.min(axis=0).tolist(),
                high=values.max(axis=0).tolist(),
            )
        )
    what = "gradients" if back else "signals"
    caption = (
        "Read from right to left. Through saturated units, those that are not are enough to let the gradient "
        "explode; through sigmoids it vanishes although the signal does not."
        if back
        else "Median, least and greatest over the networks. The sigmoid's variance is that of its mean, 1/2, "
        "times the weights; little of it is the inputs'."
    )
    return Figure(
        name,
        title,
        curves(
            f"The variance of {what} in each layer",
            shown,
            Scale("layer, l", 1, DEPTH),
            Scale("Var(δ⁽ˡ⁾)" if back else "Var(z⁽ˡ⁾)", log=True),
        ),
        caption,
    )


def _table(found: dict[str, Variances]) -> Table:
    rows = tuple(
        (
            name,
            f"{np.median(one.kept_forward):.2g}",
            f"{np.median(one.kept_back):.2g}",
            f"{one.saturated.mean():.0%}",
        )
        for name, one in found.items()
    )
    return Table(
        ("network", "signal kept", "gradient kept", "flat"),
        rows,
        numeric=3,
        caption=f"Variance after {DEPTH} layers over that after one, median; and the share of units whose "
        "slope is below a hundredth of the largest.",
    )


def _is_kept(one: Variances) -> bool:
    medians = (np.median(one.kept_forward), np.median(one.kept_back))
    return all(1 / KEPT < median < KEPT for median in medians)


def _kept_verdict(claim: str, cases: dict[str, Variances], more: str = "") -> Verdict:
    kept = [_is_kept(one) for one in cases.values()]
    return Verdict(
        claim=claim,
        section="5",
        expected=f"within a factor of {KEPT:.0f} after {DEPTH} layers, both ways",
        measured="; ".join(
            f"{name}: signals {np.median(one.kept_forward):.2g}, gradients {np.median(one.kept_back):.2g}"
            for name, one in cases.items()
        )
        + more,
        spread="; ".join(
            f"signals {spread_of(one.kept_forward, 'networks')}, "
            f"gradients {spread_of(one.kept_back, 'networks')}"
            for one in cases.values()
        ),
        verdict=judged(kept),
    )


def _large_verdict(one: Variances) -> Verdict:
    return Verdict(
        claim="Weights that are too large saturate the units",
        section="5",
        expected="more than half of the slopes below a hundredth of the largest",
        measured=f"{one.saturated.mean():.0%}, with weights of variance 1. The gradient explodes all the "
        f"same, by {np.median(one.kept_back):.1g}",
        spread=spread_of(one.saturated, "networks"),
        verdict=Judgement.holds if one.saturated.min() > 0.5 else Judgement.fails,
    )


def _small_verdict(one: Variances) -> Verdict:
    return Verdict(
        claim="With weights that are too small the signal collapses to zero",
        section="5",
        expected=f"less than a millionth of the variance left after {DEPTH} layers",
        measured=f"{np.median(one.kept_forward):.1g} with a standard deviation of {one.recipe.gain:g}, where "
        f"the width asks for {WIDTH**-0.5:g}",
        spread=spread_of(one.kept_forward, "networks"),
        verdict=Judgement.holds if one.kept_forward.max() < 1e-6 else Judgement.fails,
    )
