"""The loss landscape: the chapter's surface with an SGD path, and that of a real network."""

from __future__ import annotations

import numpy as np

from chainrule.book.blocks import Check, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.landscape import (
    EXAMPLES,
    CriticalPoint,
    Descent,
    critical_points,
    ends_by_batch,
    gradient,
    gradient_error,
    height,
)
from chainrule.book.experiments.network_landscape import (
    Between,
    NetworkLandscape,
    between_minima,
    network_landscape,
)
from chainrule.book.plots import Curve, Scale, curves, surface
from chainrule.book.verdict import Effort, Judgement, Verdict, judged, spread_of
from chainrule.health import filter_normalized_direction, path_plane

__all__ = ["section"]


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    points = critical_points()
    batches = effort.choose(full=(1, 2, 4, 8, 16, 32, EXAMPLES), quick=(1, 2, 4, 8, EXAMPLES))
    descents = ends_by_batch(batches, seeds=range(effort.choose(full=400, quick=40)))
    network = network_landscape(n_points=effort.choose(full=41, quick=25))
    between = between_minima([(2 * i, 2 * i + 1) for i in range(effort.choose(full=20, quick=6))])
    return Section(
        "landscape",
        "The loss landscape",
        "6",
        (
            Words(
                "A loss is a surface over the space of the parameters, and with two of them it can be drawn. "
                "This one is made to have what a landscape can have: two wells of which one is deeper, and "
                "between them a ridge with a hill on it and a pass to either side."
            ),
            Equation(
                r"f(x, y) = (x^2 - 1)^2 + 0.3 x + 0.4 y^2 + 1.4 \exp\left( -2 x^2 - 2 (y - 0.9)^2 \right)"
            ),
            Code(height),
            Code(gradient, "The gradient is left to the tape."),
            Check("the tape's gradient of the surface against central differences", gradient_error(), 1e-6),
            Words(
                "Newton's method goes to any zero of the gradient, whichever way the surface bends there. "
                "From a grid of starts it finds what there is to be found; the signs of the Hessian's "
                "eigenvalues say what it is."
            ),
            _points_table(points),
            Check(
                "the gradient at the critical points against zero",
                max(one.gradient_norm for one in points),
                1e-9,
            ),
            Check(
                "minima − saddles + maxima against 1, as on any surface that rises on all sides",
                abs(sum({"minimum": 1, "saddle": -1, "maximum": 1}[one.kind] for one in points) - 1),
                0.0,
            ),
            _surface_figure(points, descents),
            Words(
                "So that the paths are those of mini-batches and not of added noise, f is the mean loss of "
                f"{EXAMPLES} examples whose slopes differ, and a step takes the mean slope of a few of them."
            ),
            _ends_table(descents),
            _noise_verdict(descents),
            Words(
                "A network has more than two parameters, and its landscape is seen in slices. The first is "
                "the plane that a training's own path lies closest to; the other is spanned by two random "
                "directions from the path's end, each unit's share of them as long as its weights."
            ),
            Code(path_plane),
            Code(filter_normalized_direction),
            *_network_figures(network),
            _between_figure(between),
            _ridge_verdict(between),
        ),
        {"points": points, "descents": descents, "network": network, "between": between},
    )


def _points_table(points: tuple[CriticalPoint, ...]) -> Table:
    return Table(
        ("kind", "x, y", "height", "eigenvalues"),
        tuple(
            (
                one.kind,
                f"{one.place[0]:.3f}, {one.place[1]:.3f}",
                f"{one.height:.3f}",
                f"{one.eigenvalues[0]:.2f}, {one.eigenvalues[1]:.2f}",
            )
            for one in points
        ),
        numeric=3,
        caption="The critical points, the lowest first. At a saddle the two eigenvalues differ in sign.",
    )


def _surface_figure(points: tuple[CriticalPoint, ...], descents: tuple[Descent, ...]) -> Figure:
    x_values, y_values = np.linspace(-1.9, 2.0, 79), np.linspace(-1.5, 2.4, 79)
    places = np.stack(np.meshgrid(x_values, y_values), axis=-1)
    noisy, full, number = _shown_paths(descents)
    over = [
        Curve("gradient descent", full[:, 0].tolist(), full[:, 1].tolist(), "second"),
        Curve("SGD", noisy[:, 0].tolist(), noisy[:, 1].tolist()),
    ]
    kinds = (("minimum", "third"), ("saddle", "fourth"), ("maximum", "fifth"))
    for kind, colour in kinds:
        found = np.array([one.place for one in points if one.kind == kind]).reshape(-1, 2)
        over.append(Curve(kind, found[:, 0].tolist(), found[:, 1].tolist(), colour, line=False))
    where = "crosses the ridge" if noisy[-1, 0] < 0 else "stays on its side of the ridge"
    return Figure(
        "landscape",
        "Two basins, a saddle and a ridge",
        surface(
            "A surface with two basins and the paths of gradient descent and SGD from the same poor start",
            x_values.tolist(),
            y_values.tolist(),
            np.asarray(height(places)),
            Scale("x"),
            Scale("y"),
            over=over,
            levels=14,
        ),
        "The darker the higher. Both paths begin at the upper right, behind the shallow basin. The whole "
        f"gradient leads into that one and stops; the path of batches of {number} {where}.",
    )


def _shown_paths(descents: tuple[Descent, ...]) -> tuple[np.ndarray, np.ndarray, int]:
    """The first path that crosses the ridge, of the largest batch that has one; and that of descent."""
    full = descents[-1].paths[:, 0]
    for descent in reversed(descents[:-1]):
        crossing = np.flatnonzero(descent.paths[-1, :, 0] < 0)
        if len(crossing):
            return descent.paths[:, crossing[0]], full, descent.batch
    return descents[0].paths[:, 0], full, descents[0].batch


def _ends_table(descents: tuple[Descent, ...]) -> Table:
    return Table(
        ("batch", "in the deep basin"),
        tuple((str(one.batch), f"{one.in_the_deep_basin:.0%}") for one in descents),
        numeric=1,
        caption=f"Where {descents[0].paths.shape[1]} paths end that begin at the same place, by how many of "
        f"the {EXAMPLES} examples a step takes.",
    )


def _noise_verdict(descents: tuple[Descent, ...]) -> Verdict:
    """By how often paths end in the deep basin, with the most noise and in between."""
    shares = [one.in_the_deep_basin for one in descents[:-1]]
    verdict = Judgement.depends
    if min(shares) > 0.9:
        verdict = Judgement.holds
    elif max(shares) <= 0.1:
        verdict = Judgement.fails
    return Verdict(
        claim="From a poor start SGD finds its way to the deep basin",
        section="6",
        expected="paths end in the deep basin whatever the batch; those of the whole gradient in the nearest",
        measured=f"{shares[0]:.0%} of the paths with a batch of {descents[0].batch}, {shares[-1]:.0%} with "
        f"{descents[-2].batch}, {descents[-1].in_the_deep_basin:.0%} with all {EXAMPLES}",
        spread=spread_of(shares, "batch sizes"),
        verdict=verdict,
    )


def _network_figures(found: NetworkLandscape) -> tuple[Figure, Figure]:
    path, random = found.path, found.random
    return (
        Figure(
            "path-plane",
            "A network's loss around the path of its training",
            surface(
                "The loss of a small network in the plane of its training's path",
                path.alpha.tolist(),
                path.beta.tolist(),
                path.loss,
                Scale("along the first component"),
                Scale("along the second"),
                over=[
                    Curve("SGD", path.coordinates[:, 0].tolist(), path.coordinates[:, 1].tolist()),
                    Curve("its end", [0.0], [0.0], colour="third", line=False),
                ],
            ),
            f"A network of 8 tanh units learns a disc within a ring: from a loss of {path.path_loss[0]:.2f} "
            f"to {path.path_loss[-1]:.2f}. The plane holds {path.explained_variance.sum():.0%} of the path's "
            "variance. The Hessian's least and greatest eigenvalues are "
            f"{found.start_lowest:.3f} and {found.start_highest:.2f} at the start and "
            f"{found.end_lowest:.3f} and {found.end_highest:.2f} at the end: "
            + _bends(found.start_lowest, found.end_lowest),
        ),
        Figure(
            "random-plane",
            "The same network, two random directions",
            surface(
                "The loss of a small network in a plane of two random filter-normalised directions",
                random.alpha.tolist(),
                random.beta.tolist(),
                random.loss,
                Scale("along the first direction"),
                Scale("along the second"),
                over=[Curve("the end of the path", [0.0], [0.0], colour="third", line=False)],
            ),
            "At ±1 every unit's weights have moved by their own length. The loss is from "
            f"{random.loss.min():.2f} to {random.loss.max():.2f}.",
        ),
    )


def _bends(start: float, end: float) -> str:
    if start < -1e-6 and end < -1e-6:
        return "at both it bends downwards somewhere, and a random plane need not show it."
    if start < -1e-6:
        return "the training began where the surface bends downwards, and ended where it does not."
    return "neither is a place where it clearly bends downwards."


def _between_figure(found: Between) -> Figure:
    middle = np.median(found.losses, axis=0)
    start = float(np.median(found.start_losses))
    shown = [
        Curve(
            "from one end to another",
            found.share.tolist(),
            middle.tolist(),
            low=found.losses.min(axis=0).tolist(),
            high=found.losses.max(axis=0).tolist(),
        ),
        Curve("before training", [0.0, 1.0], [start, start], colour="muted", dashed=True),
    ]
    return Figure(
        "between-minima",
        "Straight from one training's end to another's",
        curves(
            "The loss on straight lines between the ends of trainings from different starts",
            shown,
            Scale("share of the way"),
            Scale("loss", low=0.0),
        ),
        f"Median and range of {len(found.losses)} pairs of starts. The way from one good place straight to "
        f"another leads over losses up to {middle.max():.2f}, before training it was {start:.2f}. Some of "
        "that ridge is only a matter of names: the same network with its units in another order lies "
        "elsewhere in the space of the parameters.",
    )


def _ridge_verdict(found: Between) -> Verdict:
    """A ridge is one that is as high again as the higher of its two ends."""
    ratio = found.ridges / found.higher_end
    return Verdict(
        claim="A network's loss has basins with a ridge between them",
        section="6",
        expected="straight from one training's end to another's the loss more than doubles on the way",
        measured=f"it rises by {np.median(found.ridges):.2f} over the higher end's "
        f"{np.median(found.higher_end):.2f}, or {np.median(ratio):.1f} times that",
        spread=spread_of(ratio, "pairs"),
        verdict=judged(ratio > 1),
    )
