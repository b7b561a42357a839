"""Exclusive or: what a perceptron cannot learn, and what a second layer adds."""

from __future__ import annotations

import numpy as np

from chainrule.book.blocks import Check, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.exclusive_or import (
    CORNERS,
    TRUTH,
    Cycle,
    Trained,
    endless_training,
    no_plane,
    relu_network,
    train_networks,
    two_planes,
)
from chainrule.book.plots import Curve, Scale, curves, points
from chainrule.book.verdict import Effort, Judgement, Verdict, spread_of
from chainrule.estimators import Separability, is_separable

__all__ = ["section"]

UNITS = (2, 3, 4, 8)


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    plane, cycle, (hidden, answer) = no_plane(), endless_training(), two_planes()
    seeds = effort.choose(full=200, quick=40)
    trained = [train_networks(name, units, seeds) for name in ("tanh", "relu") for units in UNITS]
    return Section(
        "exclusive-or",
        "Exclusive or",
        "1",
        (
            *_one_plane(plane, cycle),
            *_two_planes(hidden, answer),
            *_descent(trained),
        ),
        {"separability": plane, "cycle": cycle, "hidden": hidden, "answer": answer, "trained": trained},
    )


def _one_plane(plane: Separability, cycle: Cycle) -> tuple[Words | Code | Verdict, ...]:
    if plane.combination is None:
        proof = "a plane was found"
    else:
        middle = [float(one) for one in plane.combination[TRUTH == 1] @ CORNERS[TRUTH == 1]]
        proof = f"both classes' hulls hold the point ({middle[0]:g}, {middle[1]:g})"
    return (
        Words(
            "Whether any plane parts two classes is a linear program. Its answer comes with a proof: the "
            "plane itself, or a point that lies between points of the one class and between points of the "
            "other, so that it would have to be on both sides."
        ),
        Code(is_separable),
        Verdict(
            claim="Exclusive or is not linearly separable",
            section="1",
            expected="the linear program finds no plane, with an exact proof",
            measured=f"{proof}, proved in {'fractions' if plane.exact else 'floating point'}",
            spread="exact",
            verdict=Judgement.holds if not plane and plane.exact else Judgement.fails,
        ),
        Verdict(
            claim="On exclusive or the perceptron never comes to rest",
            section="1",
            expected="its weights come back to what they were, with mistakes on the way",
            measured=f"the weights after epoch {cycle.begins} come back after epoch "
            f"{cycle.begins + cycle.length}, with {cycle.mistakes} mistakes between",
            spread="exact",
            verdict=Judgement.holds if cycle.length and cycle.mistakes else Judgement.fails,
        ),
    )


def _two_planes(
    hidden: np.ndarray, answer: np.ndarray
) -> tuple[Words | Equation | Code | Figure | Table | Check | Verdict, ...]:
    wanted = np.where(TRUTH == 1, 1, -1)
    wrong = int((answer != wanted).sum())
    rows = tuple(
        (f"({x[0]:g}, {x[1]:g})", f"{h[0]:+d}", f"{h[1]:+d}", f"{found:+d}", f"{truth}")
        for x, h, found, truth in zip(CORNERS, hidden, answer, TRUTH, strict=True)
    )
    outputs = relu_network()(CORNERS)[:, 0]
    return (
        Words(
            "Two parallel planes have the two points of class 1 between them. A second layer, itself a "
            "perceptron, says yes to what is above the lower and not above the upper one."
        ),
        Equation(
            r"h_1 = \mathrm{sign}(x_1 + x_2 - \tfrac12), \quad "
            r"h_2 = \mathrm{sign}(x_1 + x_2 - \tfrac32), \quad \hat y = \mathrm{sign}(h_1 - h_2 - 1)"
        ),
        Code(two_planes),
        Figure(
            "exclusive-or-planes",
            "Two planes and four points",
            _planes(),
            "Between the two lines lie the points of class 1, beyond them those of class 0.",
        ),
        Table(("x", "h₁", "h₂", "ŷ", "class"), rows, numeric=4),
        Verdict(
            claim="Two hyperplanes combined in a second layer solve exclusive or",
            section="1",
            expected="all four points on their side",
            measured=f"{len(answer) - wrong} of {len(answer)} points right",
            spread="exact",
            verdict=Judgement.fails if wrong else Judgement.holds,
        ),
        Check(
            "Two ReLUs, $\\max(0, s) - 2 \\max(0, s - 1)$ with $s = x_1 + x_2$, against exclusive or",
            float(np.abs(outputs - TRUTH).max()),
            0.0,
        ),
    )


def _planes() -> str:
    shown = [
        Curve("class 1", [0, 1], [1, 0], line=False),
        Curve("class 0", [0, 1], [0, 1], colour="second", line=False),
        Curve("x₁ + x₂ = ½", [-0.5, 1.0], [1.0, -0.5], colour="ink"),
        Curve("x₁ + x₂ = 3/2", [0.0, 1.5], [1.5, 0.0], colour="ink", dashed=True),
    ]
    ends = (-0.5, 1.5)
    return points("The four points of exclusive or", shown, Scale("x₁", *ends), Scale("x₂", *ends))


def _descent(trained: list[Trained]) -> tuple[Words | Figure | Verdict, ...]:
    fewest = [one for one in trained if one.units == min(UNITS)]
    shares = [one.share for one in fewest]
    most = [one.share for one in trained if one.units == max(UNITS)]
    if min(shares) >= 0.95:
        judgement = Judgement.holds
    else:
        judgement = Judgement.fails if max(most) <= 0.05 else Judgement.depends
    seeds = len(fewest[0].solved)
    shown = [
        Curve(
            {"tanh": "tanh", "relu": "ReLU"}[name],
            [one.units for one in trained if one.activation == name],
            [one.share for one in trained if one.activation == name],
            colour=colour,
            dots=True,
        )
        for name, colour in (("tanh", "accent"), ("relu", "second"))
    ]
    return (
        Words(
            "That two units are enough does not say that descent finds them. Networks of one hidden layer "
            "were trained on the four points by Adam from random weights, and counted as having solved it "
            "where all four are on their side at the end."
        ),
        Figure(
            "exclusive-or-trained",
            "How often descent solves it",
            curves(
                "Share of trainings that solve exclusive or against the number of hidden units",
                shown,
                Scale("hidden units", 1.5, 8.5),
                Scale("share solved", 0.0, 1.02),
            ),
            f"The share of {seeds} starts from which training solves exclusive or. Units that nothing needs "
            "make it likelier that the two which are needed are found.",
        ),
        Verdict(
            claim="Descent finds the two hyperplanes of exclusive or with two hidden units",
            section="1",
            expected="at least 95 % of the starts end with all four points right",
            measured="; ".join(f"{one.activation} {one.share:.0%}" for one in fewest)
            + f" with {min(UNITS)} units, "
            + "; ".join(f"{one.activation} {one.share:.0%}" for one in trained if one.units == max(UNITS))
            + f" with {max(UNITS)}",
            spread=spread_of([one.share for one in trained], f"kinds of networks, {seeds} starts each"),
            verdict=judgement,
        ),
    )
