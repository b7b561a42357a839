"""Vanishing and exploding gradients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from chainrule import nn
from chainrule.book.blocks import Block, Check, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.vanishing import (
    RECIPES,
    GradientSizes,
    OverflowDepth,
    Recipe,
    RepeatedMatrix,
    SigmoidBound,
    depth_at_overflow,
    first_gradient_as_product,
    gradient_sizes,
    repeated_matrix,
    send_back,
    sigmoid_bound,
)
from chainrule.book.plots import COLOURS, Curve, Mark, Scale, curves
from chainrule.book.verdict import Effort, Judgement, Verdict, judged, spread_of
from chainrule.tape import Tensor

__all__ = ["section"]

# "Near 1" in the figure: within a factor of ten either way, in nine networks of ten.
NEAR, MOST = 10.0, 0.9
# "A few hundred."
FEW_HUNDRED = 500
HE = RECIPES[2]


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    seeds = range(effort.choose(full=40, quick=8))
    depths = [1, 2, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50]
    sizes = [gradient_sizes(one, width=100, depths=depths, seeds=seeds) for one in RECIPES]
    widths = effort.choose(full=(8, 16, 32, 64, 128, 256), quick=(16, 64, 256))
    many = range(effort.choose(full=60, quick=30))
    by_width = [gradient_sizes(HE, width=width, depths=[1, 50], seeds=many, n_examples=1) for width in widths]
    bounds = _bounds(effort)
    overflow = _overflow(effort)
    repeated = repeated_matrix(width=50, steps=1000, seeds=range(effort.choose(full=40, quick=8)))
    blocks: tuple[Block, ...] = (
        Words(
            "The gradient of the first layer's weights is the error at the output, multiplied by one matrix "
            "a layer on its way back. What many factors do to it depends on what each does on the average."
        ),
        Equation(
            r"\delta^{(1)} = \prod_{l=2}^{L} \left( D^{(l-1)} W^{(l)\top} \right) \, \delta^{(L)}, \quad "
            r"D^{(l)} = \mathrm{diag} \, \sigma'(z^{(l)})"
        ),
        Equation(r"\frac{\partial \mathcal{L}}{\partial W^{(1)}} = \delta^{(1)} \, h^{(0)\top}", "(6)"),
        _product_check(),
        Equation(r"\delta^{(l)} = (W^{(l+1)\top} \delta^{(l+1)}) \odot \sigma'(z^{(l)})", "(5)"),
        Code(
            send_back, "What the figure runs: the error is sent back, and no product of matrices is formed."
        ),
        _depth_figure(sizes),
        _width_figure(by_width),
        _recipe_table(sizes),
        Words(_norm_words(sizes)),
        _decay_verdict(sizes[0]),
        _explosion_verdict(sizes[4]),
        _near_one_verdict(by_width),
        Words(
            "A sigmoid's slope is at most a quarter, at $z = 0$. The largest singular value of the whole "
            "product is the most that any gradient can keep; it is measured here for several weights."
        ),
        _bound_table(bounds),
        _bound_check(bounds),
        _bound_verdict(bounds),
        Words(
            "When a gradient overflows is a matter of its growth a layer and of the number type: "
            f"single precision ends at {np.finfo(np.float32).max:.1e}, double at "
            f"{np.finfo(np.float64).max:.1e}."
        ),
        _overflow_table(overflow),
        _overflow_verdict(overflow),
        _repeated_figure(repeated),
        _repeated_verdict(repeated),
    )
    data = {
        "sizes": sizes,
        "by_width": by_width,
        "bounds": bounds,
        "overflow": overflow,
        "repeated": repeated,
    }
    return Section("vanishing", "Vanishing and exploding gradients", "4", blocks, data)


# -- the product, against the tape -------------------------------------------------------------------


def _product_check() -> Check:
    """The product of matrices and the tape's gradient, for a network with biases and unequal widths."""
    rng = np.random.default_rng(0)
    error = 0.0
    for kind in (nn.Sigmoid, nn.Tanh, nn.ReLU):
        widths = (5, 7, 6, 8, 6, 4)
        layers = [
            one
            for wide, narrow in pairwise(widths)
            for one in (nn.Linear(wide, narrow, dtype=np.float64, rng=rng), kind())
        ]
        net = nn.Sequential(*layers[:-1])
        x, slope = rng.standard_normal(5), rng.standard_normal(4)
        (net(Tensor(x[None])) * slope).sum().backward()
        error = max(
            error, float(np.abs(first_gradient_as_product(net, x, slope) - net[0].weight.grad.numpy()).max())
        )
    return Check("the product of the layers' matrices against the tape's gradient", error, 1e-14)


# -- the figure of the chapter -----------------------------------------------------------------------


def _depth_figure(sizes: Sequence[GradientSizes]) -> Figure:
    colours = (*COLOURS, "muted")
    shown = [
        Curve(
            one.recipe.name,
            one.depths.tolist(),
            one.median.tolist(),
            colour,
            low=one.sizes.min(axis=1).tolist(),
            high=one.sizes.max(axis=1).tolist(),
        )
        for one, colour in zip(sizes, colours, strict=True)
    ]
    depths = sizes[0].depths
    shown.append(
        Curve("0.25 to the L − 1", depths.tolist(), (0.25 ** (depths - 1.0)).tolist(), "ink", dashed=True)
    )
    return Figure(
        "gradient-against-depth",
        "A unit gradient, sent back through random networks",
        curves(
            "The size of the gradient at the first layer against the number of layers",
            shown,
            Scale("layers, L", 1, 50),
            Scale("‖δ⁽¹⁾‖ for ‖δ⁽ᴸ⁾‖ = 1", log=True),
        ),
        f"Median over {sizes[0].sizes.shape[1]} networks of width {sizes[0].width}; bands from least to "
        "greatest, mostly thinner than the line. Straight lines are exponential. Those that stay level are "
        "the ones whose weights fit their activation.",
    )


def _recipe_table(sizes: Sequence[GradientSizes]) -> Table:
    rows = tuple(
        (
            one.recipe.name,
            f"{one.spectral_norm:.2f}",
            f"{one.rate:.3f}",
            f"{one.median[-1]:.2g}",
            f"{one.sizes[-1].min():.1g} to {one.sizes[-1].max():.1g}",
        )
        for one in sizes
    )
    return Table(
        ("network", "norm of W", "factor a layer", f"left at L = {sizes[0].depths[-1]}", "range"),
        rows,
        numeric=4,
        caption="The factor is that of the median, a layer, from the first depth to the last.",
    )


def _norm_words(sizes: Sequence[GradientSizes]) -> str:
    he, small = sizes[2], sizes[5]
    return (
        "A spectral norm above 1 is not enough to explode, nor one near 1 to preserve: He's weights have "
        f"a norm of {he.spectral_norm:.2f} and a factor of {he.rate:.2f} a layer, those that are too small "
        f"a norm of {small.spectral_norm:.2f} and a factor of {small.rate:.2f}. A random gradient is "
        "multiplied by the root mean square of the singular values, not by the largest."
    )


def _decay_verdict(sigmoid: GradientSizes) -> Verdict:
    last = sigmoid.sizes[-1]
    return Verdict(
        claim="A unit gradient sent back through sigmoid layers with Xavier's weights decays by orders of "
        "magnitude",
        section="4",
        expected="less than a thousandth left at 50 layers in every network",
        measured=f"a factor of {sigmoid.rate:.3f} a layer: {np.median(sigmoid.at(20)):.1g} left at 20 "
        f"layers, {np.median(last):.1g} at {sigmoid.depths[-1]}",
        spread=spread_of(last, "networks"),
        verdict=Judgement.holds if last.max() < 1e-3 else Judgement.fails,
    )


def _explosion_verdict(unscaled: GradientSizes) -> Verdict:
    last, predicted = unscaled.sizes[-1], np.sqrt(unscaled.width / 2)
    return Verdict(
        claim="ReLU layers with unscaled weights explode",
        section="4",
        expected=f"a factor of about √(n / 2) = {predicted:.2f} a layer; above a million at 50 layers",
        measured=f"a factor of {unscaled.rate:.2f} a layer, {np.median(last):.1g} at {unscaled.depths[-1]}",
        spread=spread_of(last, "networks"),
        verdict=Judgement.holds if last.min() > 1e6 else Judgement.fails,
    )


def _near_one(one: GradientSizes) -> float:
    """The share of networks whose gradient is still near 1."""
    return float(np.mean((one.sizes[-1] > 1 / NEAR) & (one.sizes[-1] < NEAR)))


def _width_figure(by_width: Sequence[GradientSizes]) -> Figure:
    widths = [one.width for one in by_width]
    low, middle, high = (
        [max(float(np.quantile(one.sizes[-1], level)), 1e-8) for one in by_width]
        for level in (0.05, 0.5, 0.95)
    )
    return Figure(
        "gradient-against-width",
        "ReLU with He's weights, 50 layers",
        curves(
            "The size of the gradient at the first of 50 layers against the width",
            [Curve("median, and nine of ten networks", widths, middle, dots=True, low=low, high=high)],
            Scale("units a layer", log=True),
            Scale("‖δ⁽¹⁾‖ for ‖δ⁽ᴸ⁾‖ = 1", log=True),
            marks=[Mark("", y=1.0)],
        ),
        f"{by_width[0].sizes.shape[1]} networks each, one example each. He's rule keeps the mean square over "
        "all networks; in a narrow one chance adds up over the layers, and most gradients are far below.",
    )


def _near_one_verdict(by_width: Sequence[GradientSizes]) -> Verdict:
    shares = {one.width: _near_one(one) for one in by_width}
    kept = [share >= MOST for share in shares.values()]
    medians = [float(np.median(one.sizes[-1])) for one in by_width]
    return Verdict(
        claim="A unit gradient sent back through ReLU layers with He's weights stays near 1",
        section="4",
        expected=f"within a factor of {NEAR:.0f} of 1 at 50 layers in {MOST:.0%} of the networks",
        measured="; ".join(f"{share:.0%} at width {width}" for width, share in shares.items())
        + f". Medians from {medians[0]:.2g} to {medians[-1]:.2g}",
        spread="5 % to 95 % of networks: "
        + "; ".join(
            f"{np.quantile(one.sizes[-1], 0.05):.2g} to {np.quantile(one.sizes[-1], 0.95):.2g} "
            f"at width {one.width}"
            for one in (by_width[0], by_width[-1])
        ),
        verdict=judged(kept),
    )


# -- the bound for the sigmoid -----------------------------------------------------------------------


def _bounds(effort: Effort) -> dict[str, SigmoidBound]:
    seeds = range(effort.choose(full=20, quick=4))

    def found(kind: str, norm: float | None, centred: bool = False) -> SigmoidBound:
        return sigmoid_bound(kind, norm=norm, width=64, depth=20, seeds=seeds, centred=centred)

    return {
        "orthogonal, every z = 0": found("orthogonal", 1.0, centred=True),
        "orthogonal": found("orthogonal", 1.0),
        "normal, scaled to norm 1": found("normal", 1.0),
        "Xavier": found("xavier_normal", None),
        "normal, scaled to norm 4": found("normal", 4.0),
        "orthogonal, scaled to norm 4": found("orthogonal", 4.0),
    }


def _bound_table(bounds: dict[str, SigmoidBound]) -> Table:
    rows = tuple(
        (
            name,
            f"{one.spectral_norm:.2f}",
            f"{one.largest.min():.1e} to {one.largest.max():.1e}",
            f"{one.bound:.1e}",
        )
        for name, one in bounds.items()
    )
    first = next(iter(bounds.values()))
    return Table(
        ("sigmoid, weights", "norm", "largest value", "(norm / 4) to the L − 1"),
        rows,
        numeric=3,
        caption=f"The largest singular value of the product. L = {first.depth}, where 0.25 to the L − 1 is "
        f"{first.chapter_bound:.2g}; {len(first.largest)} networks of width 64 each.",
    )


def _bound_check(bounds: dict[str, SigmoidBound]) -> Check:
    tight = bounds["orthogonal, every z = 0"]
    error = np.abs(tight.largest / tight.chapter_bound - 1).max()
    return Check(
        "orthogonal weights with every $z = 0$ against $0.25^{L-1}$, relatively", float(error), 1e-12
    )


def _bound_verdict(bounds: dict[str, SigmoidBound]) -> Verdict:
    near_one = [one for one in bounds.values() if abs(one.spectral_norm - 1) < 0.01]
    within = min(one.share_within for one in near_one)
    largest = np.concatenate([one.largest for one in near_one])
    xavier = bounds["Xavier"]
    return Verdict(
        claim="Sigmoid layers whose spectral norms are near 1 leave at most about a quarter to the power "
        "L − 1 of a gradient",
        section="4",
        expected=f"at most {xavier.chapter_bound:.2g} at {xavier.depth} layers, whatever the direction",
        measured=f"{within:.0%} of the networks of norm 1 within it, the most {largest.max():.3g}. Xavier's "
        f"weights, of norm {xavier.spectral_norm:.2f}, are no such case: {xavier.largest.max():.2g}",
        spread=spread_of(largest, "networks"),
        verdict=Judgement.holds if within == 1 else Judgement.fails,
    )


# -- overflow ----------------------------------------------------------------------------------------


def _overflow(effort: Effort) -> list[OverflowDepth]:
    seeds = range(effort.choose(full=3, quick=2))
    at_most = effort.choose(full=2500, quick=1300)
    scaled = [
        Recipe(f"{gain:g} × He", "relu", "he_normal", gain)
        for gain in effort.choose(full=(1.05, 1.1, 1.2, 1.5, 2.0), quick=(1.2, 1.5, 2.0))
    ]
    found = [depth_at_overflow(one, width=32, seeds=seeds, at_most=at_most) for one in scaled]
    for width in effort.choose(full=(16, 64, 256), quick=(16, 64)):
        found.append(depth_at_overflow(RECIPES[4], width=width, seeds=seeds, at_most=800))
    return found


def _steps(found: np.ndarray, at_most: int) -> str:
    median = np.median(found)
    return f"{median:.0f}" if np.isfinite(median) else f"over {at_most}"


def _overflow_table(overflow: Sequence[OverflowDepth]) -> Table:
    rows = tuple(
        (one.recipe.name, str(one.width), _steps(one.single, one.at_most), _steps(one.double, one.at_most))
        for one in overflow
    )
    return Table(
        ("weights", "width", "float32", "float64"),
        rows,
        numeric=3,
        caption=f"Layers until the gradient overflows, median of {len(overflow[0].single)} networks.",
    )


def _overflow_verdict(overflow: Sequence[OverflowDepth]) -> Verdict:
    depths = np.array([float(np.median(steps)) for one in overflow for steps in (one.single, one.double)])
    soon = depths <= FEW_HUNDRED
    finite = depths[np.isfinite(depths)]
    ordered = sorted(overflow, key=lambda one: float(np.median(one.single)))
    fast, slow = ordered[0], ordered[-1]
    return Verdict(
        claim="Gradients that grow overflow within a few hundred layers",
        section="4",
        expected=f"within {FEW_HUNDRED}",
        measured=f"{soon.sum()} of {len(soon)} cases within {FEW_HUNDRED}: single precision after "
        f"{_steps(fast.single, fast.at_most)} layers and double after {_steps(fast.double, fast.at_most)} "
        f"with {fast.recipe.name} at width {fast.width}, but after {_steps(slow.single, slow.at_most)} and "
        f"{_steps(slow.double, slow.at_most)} with {slow.recipe.name}",
        spread=f"{finite.min():.0f} to {finite.max():.0f} layers, {np.sum(~np.isfinite(depths))} cases "
        "beyond the search",
        verdict=judged(soon.ravel()),
    )


# -- the same matrix, T times ------------------------------------------------------------------------


def _repeated_figure(repeated: RepeatedMatrix) -> Figure:
    ends = [float(repeated.radius.min()), float(repeated.radius.max())]
    return Figure(
        "recurrent-rate",
        "One matrix many times, and many matrices once",
        curves(
            "Growth a step against the spectral radius",
            [
                Curve("the same matrix", repeated.radius.tolist(), repeated.recurrent.tolist(), line=False),
                Curve(
                    "independent ones",
                    repeated.radius.tolist(),
                    repeated.independent.tolist(),
                    "second",
                    line=False,
                ),
                Curve("ln of the radius", ends, ends, "ink", dashed=True),
            ],
            Scale("ln of the spectral radius of the matrix"),
            Scale("ln of the growth a step"),
        ),
        "Each point is a matrix of independent normal numbers of variance 1/n. Repeated, each goes its own "
        "way, on the dashed line; a product of independent ones grows at one rate for all.",
    )


def _repeated_verdict(repeated: RepeatedMatrix) -> Verdict:
    away = np.abs(repeated.recurrent - repeated.radius)
    others = np.abs(repeated.independent - repeated.radius)
    norm = float(np.exp(repeated.norm).mean())
    return Verdict(
        claim="A recurrent network multiplies by the same matrix at every step, and its spectral radius sets "
        "the rate",
        section="4",
        expected="the growth a step is the spectral radius of the matrix, within half a percent, in every "
        "network; that of independent matrices is not",
        measured=f"at most {away.max():.2%} from it; independent matrices up to {others.max():.0%} from it. "
        f"The spectral norm, {norm:.2f}, is not the rate",
        spread=f"growth a step {spread_of(np.exp(repeated.recurrent), 'matrices')}, "
        f"{spread_of(np.exp(repeated.independent), 'products of independent ones')}",
        verdict=Judgement.holds if away.max() < 0.005 < others.max() else Judgement.fails,
    )
