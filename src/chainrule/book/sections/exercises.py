"""The five exercises, solved and measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule.book.blocks import Block, Check, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.batch_noise import GroupedNetwork, NoiseEffects, noise_effects
from chainrule.book.experiments.exercises import (
    Dropouts,
    ErrorSignal,
    Gains,
    RateScan,
    average_over_masks,
    error_signal,
    gains_of_a_layer,
    normalized_moments,
    scan_rates,
    slope_of_a_unit,
)
from chainrule.book.plots import Curve, Scale, curves
from chainrule.book.verdict import Effort, Judgement, Verdict, judged, spread_of
from chainrule.nn import BatchNorm1d, Dropout

__all__ = ["section"]

# A network has trained where its loss is below this; guessing among ten classes costs log 10 = 2.3.
TRAINED = 0.5
# "Larger" is at least twice as large.
LARGER = 2.0
DROPPED = 0.5


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    seeds = effort.choose(full=20, quick=5)
    signals = [error_signal(name, seeds=seeds) for name in ("sigmoid", "relu")]
    rates = 2.0 ** np.arange(-8, 6)
    scan_seeds, epochs = effort.choose(full=10, quick=3), effort.choose(full=20, quick=8)
    scans = [scan_rates(normalized, rates, scan_seeds, epochs) for normalized in (False, True)]
    linear = [average_over_masks(DROPPED, seed=seed) for seed in range(seeds)]
    bent = [average_over_masks(DROPPED, relu_after=True, seed=seed) for seed in range(seeds)]
    gains = gains_of_a_layer(256, 64, seeds)
    noise = noise_effects(
        effort.choose(full=(4, 8, 16, 32, 64, 128), quick=(8, 16, 128)),
        range(effort.choose(full=10, quick=3)),
    )
    return Section(
        "exercises",
        "The exercises, solved",
        "9",
        (
            *_slope(),
            *_gates(signals),
            *_batch_norm(scans),
            *_batch_noise(noise),
            *_dropout(linear, bent),
            *_variance(gains),
        ),
        {"signals": signals, "scans": scans, "linear": linear, "bent": bent, "gains": gains, "noise": noise},
    )


def _slope() -> tuple[Block, ...]:
    random = np.random.default_rng(0)
    found = np.array([slope_of_a_unit(*random.standard_normal(3).tolist()) for _ in range(50)])
    formula, tape, quotient = found.T
    return (
        Words(
            "**1.** The derivative of $y = \\sigma(wx + b)$ by $w$: outer derivative at $z = wx + b$, "
            "times the inner one, $x$."
        ),
        Equation(
            r"\frac{\partial y}{\partial w} = \sigma'(z)\, \frac{\partial z}{\partial w} "
            r"= \sigma(z)\,(1 - \sigma(z))\, x"
        ),
        Check(
            "$\\sigma(1 - \\sigma) x$ against the tape, 50 units", float(np.abs(formula - tape).max()), 1e-14
        ),
        Check(
            "$\\sigma(1 - \\sigma) x$ against central differences",
            float(np.abs(formula - quotient).max()),
            1e-9,
        ),
    )


def _gates(signals: list[ErrorSignal]) -> tuple[Block, ...]:
    sigmoid, relu = (one.factors for one in signals)
    layers = signals[0].norms.shape[1]
    shown = []
    for one, name, colour in zip(signals, ("sigmoid, Xavier", "ReLU, He"), ("accent", "second"), strict=True):
        back = one.norms[:, ::-1]
        shown.append(
            Curve(
                name,
                list(range(layers)),
                np.exp(np.log(back).mean(axis=0)).tolist(),
                colour,
                low=back.min(axis=0).tolist(),
                high=back.max(axis=0).tolist(),
            )
        )
    quarter = [0.25**steps for steps in range(layers)]
    shown.append(Curve("0.25 a layer", list(range(layers)), quarter, "ink", dashed=True))
    keeps = bool((relu > 0.5).all() and (relu < 2).all())
    return (
        Words(
            "**2.** By equation (5) every layer multiplies the error by $\\sigma'$. For the sigmoid that "
            "is at most a quarter, so that, if $W$ keeps lengths, $L$ layers leave $4^{-L}$. A ReLU "
            "multiplies by 1 where it is active and by 0 where not; equation (9) makes up for the latter, "
            "and nothing shrinks."
        ),
        Equation(
            r"\delta^{(l)} = (W^{(l+1)\top} \delta^{(l+1)}) \odot \sigma'(z^{(l)}), \qquad "
            r"\sigma(1 - \sigma) \le \tfrac14, \qquad \mathbf{1}[z > 0] \in \{0, 1\}"
        ),
        Figure(
            "exercise-error-signal",
            "The error on its way back",
            curves(
                "Length of the error against layers gone back",
                shown,
                Scale("layers back"),
                Scale("length of δ", log=True),
            ),
            f"Geometric mean of {len(sigmoid)} networks, from the least to the greatest.",
        ),
        Verdict(
            claim="A sigmoid layer shrinks the error by its derivative of at most 0.25; a ReLU layer does "
            "not",
            section="9",
            expected="a factor of at most about 0.25 a layer for the sigmoid, of about 1 (0.5 to 2) for ReLU",
            measured=f"{np.median(sigmoid):.3f} a layer for the sigmoid, {np.median(relu):.3f} for ReLU",
            spread=f"sigmoid {sigmoid.min():.3f} to {sigmoid.max():.3f}, ReLU {spread_of(relu, 'networks')}",
            verdict=Judgement.holds if sigmoid.max() <= 0.3 and keeps else Judgement.fails,
        ),
    )


def _batch_norm(scans: list[RateScan]) -> tuple[Block, ...]:
    mean, variance = normalized_moments()
    without, within = (one.largest(TRAINED) for one in scans)
    ratios = within / np.maximum(without, scans[0].rates[0])
    larger = float((ratios >= LARGER).mean())
    if larger >= 0.8:
        judgement = Judgement.holds
    else:
        judgement = Judgement.fails if np.median(ratios) <= 1 else Judgement.depends
    shown = [
        Curve(name, one.rates.tolist(), np.median(one.losses, axis=0).tolist(), colour, dots=True)
        for one, name, colour in zip(scans, ("without", "with batch norm"), ("accent", "second"), strict=True)
    ]
    return (
        Words(
            "**3.** Batch normalization takes each unit's mean over the batch away and divides by its "
            "standard deviation: what comes out has mean 0, and variance $v / (v + \\varepsilon)$ where it "
            "was $v$. However the weights below grow, the next layer's inputs keep their size."
        ),
        Equation(r"\hat z = \frac{z - \mathrm{mean}(z)}{\sqrt{v + \varepsilon}}"),
        Code(BatchNorm1d.forward),
        Check("The mean of a normalized unit against 0", mean, 1e-12),
        Check("The variance of a normalized unit against $v / (v + \\varepsilon)$", variance, 1e-12),
        Figure(
            "exercise-batch-norm",
            "Loss against the learning rate",
            curves(
                "Loss at the end of training against the learning rate",
                shown,
                Scale("learning rate", log=True),
                Scale("loss", low=0.0, high=3.0),
            ),
            f"Four hidden layers on the digits, plain SGD; median of {len(ratios)} seeds.",
        ),
        Verdict(
            claim="Batch normalization allows larger learning rates",
            section="9",
            expected=f"the largest rate that trains (loss below {TRAINED:g}) is at least {LARGER:g} times "
            "as large",
            measured=f"{np.median(without):.3g} without, {np.median(within):.3g} with it: "
            f"{np.median(ratios):.3g} "
            "times as large in the median",
            spread=spread_of(ratios) + " (times)",
            verdict=judgement,
        ),
    )


def _batch_noise(found: NoiseEffects) -> tuple[Block, ...]:
    """Smaller groups against the largest, the whole batch, whose statistics are the least noisy."""
    whole, smaller = found.held_out[-1], found.held_out[:-1]
    better = smaller < whole
    rows = tuple(
        (f"{group}", f"{np.median(a):.2g}", f"{np.median(b):.3g}")
        for group, a, b in zip(found.groups, found.training, found.held_out, strict=True)
    )
    change = (smaller - whole) / whole
    return (
        Words(
            "Does the noise of the statistics regularize? To see it alone, networks learn from the same "
            f"batches of {found.groups[-1]}, but take mean and variance of groups within them: the smaller "
            "a group, the noisier what the units are divided by. Nothing else differs."
        ),
        Code(GroupedNetwork.outputs, "The groups; the gradient is of the whole batch in every case."),
        Table(
            ("examples a group", "training loss", "held-out loss"),
            rows,
            numeric=3,
            caption=f"Median over {len(whole)} seeds, after training; the statistics are then those of all "
            "examples that were learned.",
        ),
        Verdict(
            claim="The mini-batch noise of batch normalization regularizes",
            section="9",
            expected="a lower loss on held-out examples with smaller groups than with the whole batch, for "
            "each group and seed",
            measured=f"in {int(better.sum())} of {better.size} cases; the loss changes by "
            f"{change.min():+.0%} to {change.max():+.0%}",
            spread=spread_of(change.ravel(), "cases"),
            verdict=judged(better.ravel()),
        ),
    )


def _dropout(linear: Sequence[Dropouts], bent: Sequence[Dropouts]) -> tuple[Block, ...]:
    gaps = np.array([abs(one.averaged_plain - one.scaled) for one in linear])
    inverted = np.array([abs(one.averaged_inverted - one.unchanged) for one in linear])
    off = np.array([abs(1 - one.scaled / one.averaged_plain) for one in bent])
    holds_when_linear = max(gaps.max(), inverted.max()) < 1e-12
    judgement = Judgement.fails
    if holds_when_linear:
        judgement = Judgement.holds if off.max() < 1e-9 else Judgement.depends
    x = np.random.default_rng(0).standard_normal((5, 4))
    drop = Dropout(DROPPED, rng=0)
    in_training = drop(x)
    kept = in_training != 0
    return (
        Words(
            "**4.** A unit is kept with probability $1 - p$, so its mean over the masks is $(1 - p) h$, "
            "which is what all units are multiplied by at test time. Inverted dropout divides by $1 - p$ "
            "in training: the mean is $h$, and a test is as if there were no dropout."
        ),
        Equation(
            r"E[m h] = (1 - p)\, h, \qquad E\left[\frac{m h}{1 - p}\right] = h, \qquad P(m = 1) = 1 - p"
        ),
        Code(Dropout.forward),
        Check(
            "The mean over all 1,024 masks against $(1 - p) h$, one linear layer", float(gaps.max()), 1e-12
        ),
        Check("Inverted: the mean over all masks against $h$", float(inverted.max()), 1e-12),
        Check(
            "`Dropout` in training: what is kept, against $h / (1 - p)$",
            float(np.abs(in_training - x / (1 - DROPPED))[kept].max()),
            1e-15,
        ),
        Check("`Dropout` in evaluation against $h$", float(np.abs(drop.eval()(x) - x).max()), 0.0),
        Verdict(
            claim="Multiplying by $1 - p$ at test time gives the mean over dropout's masks",
            section="9",
            expected="no difference but rounding, whatever comes after the units",
            measured=f"at most {gaps.max():.1e} through a linear layer; behind a ReLU "
            f"{np.median(off):.0%} off in the median",
            spread=f"{spread_of(off, 'networks')} (share, behind a ReLU)",
            verdict=judgement,
        ),
    )


def _variance(gains: list[Gains]) -> tuple[Block, ...]:
    n_in, n_out = 256, 64
    theory = {
        "1 / n_in": (1.0, n_out / n_in),
        "1 / n_out": (n_in / n_out, 1.0),
        "2 / (n_in + n_out)": (2 * n_in / (n_in + n_out), 2 * n_out / (n_in + n_out)),
    }
    off = [
        abs(float(measured.mean()) / expected - 1)
        for one in gains
        for measured, expected in zip((one.forward, one.backward), theory[one.rule], strict=True)
    ]
    rows = tuple(
        (
            one.rule,
            *(
                f"{a.mean():.3f} ({b:g})"
                for a, b in zip((one.forward, one.backward), theory[one.rule], strict=True)
            ),
        )
        for one in gains
    )
    between = gains[-1]
    return (
        Words(
            "**5.** A sum of $n_\\mathrm{in}$ products has the variance $n_\\mathrm{in} \\mathrm{Var}(w) "
            "\\mathrm{Var}(h)$, so the signal "
            "keeps its size where $n_\\mathrm{in} \\mathrm{Var}(w) = 1$. Going back, a unit collects from "
            "$n_\\mathrm{out}$ others, "
            "and the gradient keeps its size where $n_\\mathrm{out} \\mathrm{Var}(w) = 1$. Both hold only "
            "where the layer is square; the mean of the two denominators is the compromise, equation (8)."
        ),
        Equation(
            r"n_{\mathrm{in}} \mathrm{Var}(w) = 1, \qquad n_\mathrm{out} \mathrm{Var}(w) = 1, \qquad "
            r"\mathrm{Var}(w) = \frac{2}{n_\mathrm{in} + n_\mathrm{out}}",
            "(8)",
        ),
        Table(
            ("Var(w)", "forward", "backward"),
            rows,
            numeric=2,
            caption=f"What a layer from {n_in} to {n_out} units multiplies the mean square by: measured, "
            "and in brackets n Var(w).",
        ),
        Verdict(
            claim="Forward preservation asks $n_\\mathrm{in} \\mathrm{Var}(w) = 1$, backward "
            "$n_\\mathrm{out} \\mathrm{Var}(w) = 1$",
            section="9",
            expected="gains of $n_\\mathrm{in} \\mathrm{Var}(w)$ and $n_\\mathrm{out} \\mathrm{Var}(w)$, "
            "to 5 %",
            measured=f"at most {max(off):.1%} off; the compromise gives {between.forward.mean():.2f} "
            f"forward and {between.backward.mean():.2f} backward",
            spread=f"forward, with 1 / n_in: {spread_of(gains[0].forward)}",
            verdict=Judgement.holds if max(off) <= 0.05 else Judgement.fails,
        ),
    )
