"""Backpropagation is not gradient descent."""

from __future__ import annotations

import numpy as np

from chainrule.book.blocks import Check, Code, Equation, Figure, Section, Words
from chainrule.book.experiments.descent import (
    Descent,
    Paths,
    consumers,
    path_of_weights,
    paths_apart,
)
from chainrule.book.plots import COLOURS, Curve, Scale, curves
from chainrule.book.verdict import Effort, Judgement, Verdict, spread_of
from chainrule.finite_differences import FiniteDifferenceExecutor
from chainrule.textbook import backprop

__all__ = ["section"]

# Two paths that are this close, as a share of their length, are the same; central differences leave nine
# digits of a gradient, and steps add up.
SAME = 1e-6
OPTIMIZERS = ("sgd", "adam")
_NAMES = {"sgd": "SGD", "adam": "Adam"}


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    seeds, epochs = effort.choose(full=10, quick=3), effort.choose(full=50, quick=10)
    fed = [consumers(seed) for seed in range(seeds)]
    apart, control = {}, {}
    for optimizer in OPTIMIZERS:
        pairs = [_paths(optimizer, seed, epochs) for seed in range(seeds)]
        apart[optimizer], control[optimizer] = [one for one, _ in pairs], [one for _, one in pairs]
    return Section(
        "descent",
        "Backpropagation is not gradient descent",
        "8",
        (
            Words(
                "Backpropagation is one way to come by a gradient. What moves the weights is another piece "
                "of code, which does not ask where the gradient comes from. Two experiments take the two "
                "apart: one gradient for several optimizers, and one optimizer for several gradients."
            ),
            Equation(r"g = \nabla \mathcal{L}(w), \qquad w \leftarrow w - \eta\, u(g)"),
            *_one_gradient(fed),
            *_one_descent(apart, control),
        ),
        {"consumers": fed, "paths": apart, "control": control},
    )


def _paths(optimizer: str, seed: int, epochs: int) -> tuple[Paths, Paths]:
    """Backpropagation's path against that of central differences, and against that of a rate 1 % greater."""
    ours = path_of_weights("reference", optimizer, seed, epochs=epochs)
    quotients = path_of_weights("finite_differences", optimizer, seed, epochs=epochs)
    faster = path_of_weights("reference", optimizer, seed, epochs=epochs, rate=0.101)
    return paths_apart(ours, quotients), paths_apart(ours, faster)


def _one_gradient(fed: list[list[Descent]]) -> tuple[Words | Code | Check | Figure | Verdict, ...]:
    differences = [
        float(np.abs(one.first_gradient - found[0].first_gradient).max()) for found in fed for one in found
    ]
    falls = {one.name: [] for one in fed[0]}  # type: dict[str, list[float]]
    for found in fed:
        for one in found:
            falls[one.name].append(float(one.losses.min() / one.losses[0]))
    works = all(max(shares) < 0.7 for shares in falls.values())
    shown = [
        Curve(
            one.name, list(range(1, one.gradients + 1)), np.maximum(one.losses, 1e-8).tolist(), colour=colour
        )
        for one, colour in zip(fed[0], COLOURS, strict=False)
    ]
    return (
        Code(backprop, "The one routine that all three were fed by."),
        Check("The first gradient that each of the three was handed", max(differences), 0.0),
        Figure(
            "one-gradient",
            "One gradient, three consumers",
            curves(
                "Loss against the number of gradients",
                shown,
                Scale("gradients"),
                Scale("loss", low=1e-6, log=True),
            ),
            "From the same weights, with the same routine for the gradient. SGD, Adam and L-BFGS go "
            "different ways with it.",
        ),
        Verdict(
            claim="The same gradient feeds SGD, Adam and L-BFGS",
            section="8",
            expected="each lowers the loss, to less than 0.7 of the first, by gradients of one routine",
            measured="the least loss is "
            + ", ".join(f"{np.median(shares):.1g} ({name})" for name, shares in falls.items())
            + " of the first in the median",
            spread=spread_of([share for shares in falls.values() for share in shares], "trainings"),
            verdict=Judgement.holds if works and max(differences) == 0 else Judgement.fails,
        ),
    )


def _one_descent(
    apart: dict[str, list[Paths]], control: dict[str, list[Paths]]
) -> tuple[Words | Code | Figure | Verdict, ...]:
    shares = [one.relative for found in apart.values() for one in found]
    others = [one.relative for found in control.values() for one in found]
    same = max(shares) <= SAME
    seen = min(others) > 100 * SAME
    shown = []
    for optimizer, colour in zip(OPTIMIZERS, COLOURS, strict=False):
        for found, dashed, what in (
            (apart[optimizer][0], False, "differences"),
            (control[optimizer][0], True, "1 % faster"),
        ):
            epochs = list(range(1, len(found.distances) + 1))
            distances = (found.distances / found.length).tolist()
            shown.append(Curve(f"{_NAMES[optimizer]}, {what}", epochs, distances, colour, dashed=dashed))
    return (
        Words(
            "The other way about: a gradient from central differences knows no chain rule, costs two forward "
            "passes a parameter, and is handed to the same optimizer. To show what the distance can tell, a "
            "third training uses backpropagation and a learning rate that is 1 % greater."
        ),
        Code(FiniteDifferenceExecutor),
        Figure(
            "one-descent",
            "How far apart two paths are",
            curves(
                "Distance between paths of weights",
                shown,
                Scale("epochs"),
                Scale("distance / length of the path", log=True),
            ),
            "Solid: backpropagation against central differences. Dashed: against a rate 1 % greater.",
        ),
        Verdict(
            claim="Descent on finite-difference gradients takes the same path",
            section="8",
            expected=f"paths at most {SAME:g} of their length apart, where a rate 1 % greater is more than "
            f"{100 * SAME:g} apart",
            measured=f"at most {max(shares):.1e} apart; with a rate 1 % greater at least {min(others):.1e}",
            spread=spread_of(shares, "trainings"),
            verdict=Judgement.holds if same and seen else Judgement.fails,
        ),
    )
