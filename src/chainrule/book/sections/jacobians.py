"""Vanishing and the spectra of the Jacobians."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule.book.blocks import Block, Check, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.jacobians import (
    ARCHITECTURES,
    LayerEigenvalues,
    Spectra,
    jacobian_by_hand,
    layer_eigenvalues,
    random_network,
    spectra,
)
from chainrule.book.plots import COLOURS, Curve, Mark, Scale, curves, points
from chainrule.book.verdict import Effort, Judgement, Verdict, spread_of
from chainrule.health import jacobian_spectrum

__all__ = ["section"]

# Gone, and still there.
VANISHED, PRESENT = 1e-10, 0.1
# How far the layers' prediction may be off, a layer: 15 %.
OFF = 0.15
SIGMOID, RESIDUAL, ORTHOGONAL = ARCHITECTURES[0].name, ARCHITECTURES[3].name, ARCHITECTURES[4].name


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    width = effort.choose(full=64, quick=32)
    depths = effort.choose(full=(2, 5, 10, 20, 30, 40), quick=(2, 10, 20, 30))
    seeds = range(effort.choose(full=8, quick=3))
    found = {
        design.name: [spectra(design, width=width, depth=depth, seeds=seeds) for depth in depths]
        for design in ARCHITECTURES
    }
    deepest = [ofdepth[-1] for ofdepth in found.values()]
    many = range(effort.choose(full=40, quick=8))
    plain = layer_eigenvalues("plain", "tanh", 1.0, residual=False, width=width, seeds=many)
    residual = layer_eigenvalues("residual", "tanh", 1.0, residual=True, width=width, seeds=many)
    cases = [
        layer_eigenvalues(f"{name}, {gain:.2g} × Xavier", kind, gain, residual=True, width=width, seeds=many)
        for name, kind in (("sigmoid", "sigmoid"), ("tanh", "tanh"), ("ReLU", "relu"))
        for gain in (1 / 3, 1.0, 3.0)
    ]
    blocks: tuple[Block, ...] = (
        Words(
            f"All networks here have layers of {width} units. Of each layer's Jacobian, and of their "
            "product, all singular values are computed at several inputs."
        ),
        Code(jacobian_spectrum, "What measures them, in any network of this library or of PyTorch."),
        _check(),
        _depth_figure(found),
        _spectrum_figure(deepest),
        _table(deepest),
        _profile_verdict({one.design.name: one for one in deepest}),
        Words("A residual layer adds the identity to the Jacobian of its body, and 1 to each eigenvalue."),
        Equation(
            r"\frac{\partial h^{(l)}}{\partial h^{(l-1)}} = I + \mathrm{diag}(\sigma'(z^{(l)})) \, W^{(l)}"
        ),
        Code(jacobian_by_hand),
        _eigenvalue_figure(plain, residual),
        _eigenvalue_table(cases),
        _eigenvalue_verdict(cases),
    )
    data = {"spectra": found, "plain": plain, "residual": residual, "eigenvalues": cases}
    return Section("jacobians", "Vanishing is a matter of spectra", "8", blocks, data)


def _check() -> Check:
    """The measured singular values of a residual layer against those of I + diag(σ') W."""
    net, X = random_network(ARCHITECTURES[3], 16, 1, 0)
    weight = net[0].body[0].weight.detach().numpy()
    by_hand = jacobian_by_hand(weight, X[0], "sigmoid", residual=True)
    measured = jacobian_spectrum(net, X[:1]).end_to_end.singular_values[0]
    error = np.abs(measured - np.linalg.svd(by_hand, compute_uv=False)).max()
    return Check("a residual layer's singular values against those of $I + D W$", float(error), 1e-12)


# -- singular values ---------------------------------------------------------------------------------


def _depth_figure(found: dict[str, list[Spectra]]) -> Figure:
    vanished = sum(float(np.median(ofdepth[-1].measured)) < VANISHED for ofdepth in found.values())
    shown = [
        Curve(
            name,
            [one.depth for one in ofdepth],
            [float(np.median(one.measured)) for one in ofdepth],
            colour,
            dots=True,
            low=[float(one.measured.min()) for one in ofdepth],
            high=[float(one.measured.max()) for one in ofdepth],
        )
        for (name, ofdepth), colour in zip(found.items(), COLOURS, strict=True)
    ]
    return Figure(
        "jacobian-against-depth",
        "What a random gradient is multiplied by",
        curves(
            "The root mean square of the singular values of the product against depth",
            shown,
            Scale("layers"),
            Scale("RMS singular value, end to end", log=True),
        ),
        f"Median of the networks. Of {len(found)} architectures of the same depths and widths, "
        f"{vanished} lost the gradient.",
    )


def _spectrum_figure(deepest: Sequence[Spectra]) -> Figure:
    shown = [
        Curve(
            one.design.name,
            list(range(1, one.width + 1)),
            np.median(one.end_to_end, axis=0).tolist(),
            colour,
        )
        for one, colour in zip(deepest, COLOURS, strict=True)
    ]
    return Figure(
        "singular-values",
        f"Singular values of {deepest[0].depth} layers together",
        curves(
            "The singular values of the whole network, in order",
            shown,
            Scale("number, the largest first"),
            Scale("singular value", low=1e-30, log=True),
        ),
        f"Directions that are left, with a value above a thousandth of the largest, of {deepest[0].width}: "
        + "; ".join(f"{one.design.name} {_directions(one):.0f}" for one in deepest)
        + ". A mean may be kept by a few large values while most directions are lost.",
    )


def _directions(one: Spectra) -> float:
    """How many of the end-to-end values are above a thousandth of the largest, median of the networks."""
    return float(np.median((one.end_to_end > 1e-3 * one.end_to_end[:, :1]).sum(axis=1)))


def _table(deepest: Sequence[Spectra]) -> Table:
    rows = tuple(
        (
            one.design.name,
            f"{np.median(one.layers[:, :, 0]):.2f}",
            f"{np.median(one.predicted) ** (1 / one.depth):.3f}",
            f"{np.median(one.measured) ** (1 / one.depth):.3f}",
            f"{np.median(one.measured):.2g}",
        )
        for one in deepest
    )
    return Table(
        ("network", "largest value", "RMS of a layer", "factor a layer", "end to end"),
        rows,
        numeric=4,
        caption=f"{deepest[0].depth} layers: a layer's largest singular value, the geometric mean of the "
        "layers' root mean squares, and what the whole network's amounts to, a layer and in all.",
    )


def _profile_verdict(deepest: dict[str, Spectra]) -> Verdict:
    ends = {name: float(np.median(one.measured)) for name, one in deepest.items()}
    off = np.array([np.log(one.predicted / one.measured) / one.depth for one in deepest.values()])
    vanishes = deepest[SIGMOID].measured.max() < VANISHED
    present = min(deepest[name].measured.min() for name in (RESIDUAL, ORTHOGONAL)) > PRESENT
    predicted = bool(np.abs(off).max() < OFF)
    depth = deepest[SIGMOID].depth
    return Verdict(
        claim="Vanishing comes from the spectral profile of the Jacobians, not from depth as such",
        section="8",
        expected=f"at {depth} layers the sigmoid's gradient below {VANISHED:g}, those of orthogonal and of "
        f"residual layers above {PRESENT:g}; the growth a layer is that of the layers' spectra to {OFF:.0%}",
        measured="; ".join(f"{name} {end:.2g}" for name, end in ends.items())
        + f". The prediction is off by at most {np.expm1(np.abs(off).max()):.0%} a layer",
        spread=f"orthogonal {spread_of(deepest[ORTHOGONAL].measured, 'networks')}, "
        f"sigmoid {spread_of(deepest[SIGMOID].measured, 'networks')}",
        verdict=Judgement.fails
        if not (vanishes and present)
        else Judgement.holds
        if predicted
        else Judgement.depends,
    )


# -- eigenvalues -------------------------------------------------------------------------------------


def _eigenvalue_figure(plain: LayerEigenvalues, residual: LayerEigenvalues) -> Figure:
    groups = [
        Curve(
            name,
            one.values[:4].real.ravel().tolist(),
            one.values[:4].imag.ravel().tolist(),
            colour,
            line=False,
        )
        for name, one, colour in (("plain", plain, "second"), ("residual", residual, "accent"))
    ]
    return Figure(
        "eigenvalues",
        "Eigenvalues of a layer's Jacobian",
        points(
            "Eigenvalues in the plane, of plain and of residual layers",
            groups,
            Scale("real part"),
            Scale("imaginary part"),
            marks=[Mark("1", x=1.0)],
        ),
        "Four tanh layers with Xavier's weights, plain and residual: the same disc, moved by 1.",
    )


def _eigenvalue_table(cases: Sequence[LayerEigenvalues]) -> Table:
    rows = tuple(
        (one.name, f"{one.centre.min():.2f} to {one.centre.max():.2f}", f"{np.median(one.radius):.2f}")
        for one in cases
    )
    return Table(
        ("residual layer", "mean eigenvalue", "farthest from 1"),
        rows,
        numeric=2,
        caption=f"{len(cases[0].centre)} layers each; of the farthest eigenvalue the median.",
    )


def _eigenvalue_verdict(cases: Sequence[LayerEigenvalues]) -> Verdict:
    centred = all(abs(float(np.median(one.centre)) - 1) < 0.1 for one in cases)
    near = [float(np.median(one.radius)) < 1 for one in cases]
    farthest = max(cases, key=lambda one: float(np.median(one.radius)))
    closest = min(cases, key=lambda one: float(np.median(one.radius)))
    return Verdict(
        claim="The Jacobian of a residual layer has eigenvalues around 1 by construction",
        section="8",
        expected="a mean eigenvalue within 0.1 of 1, and none farther than 1 from it",
        measured=f"the mean is there {'in all cases' if centred else 'not always'}, the others in "
        f"{sum(near)} of {len(near)}: as far as {np.median(closest.radius):.2f} ({closest.name}) to "
        f"{np.median(farthest.radius):.2f} ({farthest.name}). What is added has to be small, too",
        spread=f"means {spread_of(np.concatenate([one.centre for one in cases]), 'layers')}",
        verdict=Judgement.fails
        if not centred or not any(near)
        else Judgement.holds
        if all(near)
        else Judgement.depends,
    )
