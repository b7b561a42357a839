"""Backpropagation: equations (3) and (5)-(7), the sweep, and the routine as the chapter prints it."""

from __future__ import annotations

import numpy as np

from chainrule.book import diagrams
from chainrule.book.blocks import Check, Code, Equation, Example, Figure, Section, Table, Words
from chainrule.book.experiments.backpropagation import (
    LOSS,
    BackwardPass,
    Equations,
    backward_pass,
    equations_hold,
)
from chainrule.book.experiments.multilayer import multilayer
from chainrule.book.experiments.printed_routine import (
    Descents,
    RoutineErrors,
    compare_routines,
    descend,
    printed_backprop,
)
from chainrule.book.plots import COLOURS, Curve, Scale, curves
from chainrule.book.verdict import Effort, Judgement, Verdict, spread_of
from chainrule.explain import derive
from chainrule.reference import ReferenceExecutor
from chainrule.textbook import backprop

__all__ = ["section"]

# What differences leave to rounding, and what no rounding explains, as shares of a gradient.
_DIFFERENCES, _WRONG = 1e-6, 0.05


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    found = backward_pass()
    equations = equations_hold(seeds=range(effort.choose(full=20, quick=3)))
    routines = compare_routines(seeds=range(effort.choose(full=30, quick=5)))
    descents = descend(seeds=range(effort.choose(full=20, quick=3)))
    return Section(
        "backpropagation",
        "Backpropagation",
        "3",
        (
            Words(
                "The error signal of a layer says how the loss changes with its z. One sweep from the last "
                "layer to the first carries it through the network, and leaves every gradient behind."
            ),
            Equation(r"\delta^{(l)} = \frac{\partial \mathcal{L}}{\partial z^{(l)}}", "(3)"),
            Equation(
                r"\delta^{(l)} = \left( W^{(l+1) T} \delta^{(l+1)} \right) \odot \sigma'(z^{(l)})", "(5)"
            ),
            Equation(r"\frac{\partial \mathcal{L}}{\partial W^{(l)}} = \delta^{(l)} h^{(l-1) T}", "(6)"),
            Equation(r"\frac{\partial \mathcal{L}}{\partial b^{(l)}} = \delta^{(l)}", "(7)"),
            Words(
                "Again the batch lies one row an example: the product in (5) is $\\Delta W$, and in (6) and "
                "(7) the rows are summed. The loss is their mean, so each row of Δ holds the factor 1/n."
            ),
            Code(ReferenceExecutor._linear_backward, "(6), (7), and the product in (5)."),
            Code(
                ReferenceExecutor._activation_backward, "The gate of (5): σ′ at the z that this layer made."
            ),
            Code(ReferenceExecutor._backpropagate, "The sweep."),
            _flow(found),
            *_checks(equations),
            _example(found),
            Words(
                "The chapter has a routine of its own for a network with a softmax output. As it is "
                "printed it takes the gate from the wrong place of its list: going from layer l to the one "
                "below it multiplies by the derivative of the activation of layer l, where the z that it "
                "is taken at went through that of layer l − 1. Here are both, "
                "on four lists of activations, against central differences."
            ),
            Code(printed_backprop, "The routine as printed; the fault is below the comment on (5)."),
            Code(backprop, "The library's: `chainrule.backprop`."),
            _error_figure(routines),
            _error_table(routines),
            _gate_verdict(routines),
            Words(
                "Such a fault is easily missed, for a wrong gradient may still point downhill: see the "
                "angles above. So both routines were given the same data, the same start and the same "
                "learning rate."
            ),
            _descent_figure(descents),
            Words(
                "The second fault is one of silence. The rows are summed and not averaged, so what the "
                "routine returns is the gradient of the summed loss; a learning rate that suits the mean is "
                "then n times too large."
            ),
            _scale_table(routines),
            _scale_verdict(routines),
        ),
        {"backward": found, "equations": equations, "routines": routines, "descents": descents},
    )


def _flow(found: BackwardPass) -> Figure:
    last = len(found.deltas)
    signals = []
    for l in range(1, last + 1):
        delta, W, b = (part[l - 1] for part in (found.deltas, found.weight_gradients, found.bias_gradients))
        above, here = diagrams.raised(l + 1), diagrams.raised(l)
        made_by = (
            "(4)  (Ŷ − Y) / n"
            if l == last
            else f"(5)  Δ{above} W{above} ⊙ {found.activations[l - 1]}′(Z{here})"
        )
        gradients = (
            (f"(6)  ∂ℒ/∂W{here}", W.shape, float(np.linalg.norm(W))),
            (f"(7)  ∂ℒ/∂b{here}", b.shape, float(np.linalg.norm(b))),
        )
        signals.append(
            diagrams.Signal(f"Δ{here}", delta.shape, float(np.linalg.norm(delta)), made_by, gradients)
        )
    return Figure(
        "backward-flow",
        "The backward flow of δ",
        diagrams.backward_flow(
            "The error signals of a backward pass and the gradients made of them", signals
        ),
        f"Read from the foot upwards: the error enters at layer {last} and is handed up to layer 1. A Δ has "
        "the shape of its Z, and a gradient that of its parameter. The norms are those of one "
        f"batch of {len(found.deltas[0])} examples.",
    )


def _checks(equations: Equations) -> list[Check]:
    return [
        Check(f"{name[0].upper()}{name[1:]}", max(errors), _DIFFERENCES if "differences" in name else 1e-12)
        for name, errors in equations.errors.items()
    ]


def _example(found: BackwardPass) -> Example:
    net = multilayer(found.widths, found.activations, seed=0)
    return Example(
        f"chainrule derive --layers {','.join(map(str, found.widths))} "
        f"--activation {found.activations[0]} --loss {LOSS}",
        derive(net, LOSS).to_text().rstrip("\n"),
        "Equations (1) to (7) written out for a network of your own, with shapes and costs: give its "
        "widths, or a model that `chainrule train` saved. From Python it is `chainrule.derive`.",
    )


def _error_figure(routines: tuple[RoutineErrors, ...]) -> Figure:
    layers = list(range(1, routines[0].printed.shape[1] + 1))
    shown = [
        Curve(
            one.case.name,
            layers,
            np.median(one.printed, axis=0).tolist(),
            colour,
            dots=True,
            low=one.printed.min(axis=0).tolist(),
            high=one.printed.max(axis=0).tolist(),
        )
        for one, colour in zip(routines, COLOURS, strict=False)
    ]
    ours = np.concatenate([one.ours for one in routines])
    shown.append(
        Curve("`backprop`, all four".replace("`", ""), layers, ours.max(axis=0).tolist(), "ink", dashed=True)
    )
    return Figure(
        "printed-error",
        "The printed routine's error, layer by layer",
        curves(
            "Relative error of the printed routine's gradient in each layer, for four lists of activations",
            shown,
            Scale("layer"),
            Scale("‖g − ∇ℒ‖ / ‖∇ℒ‖", log=True),
        ),
        "An error of 1 is as large as the gradient itself. The last layer is always right: no gate has been "
        "passed yet. Below it all depends on whether the name beside a layer's is the same. Bands: "
        f"{len(routines[0].printed)} random networks. What is left at the foot is the rounding of the "
        "central differences.",
    )


def _error_table(routines: tuple[RoutineErrors, ...]) -> Table:
    return Table(
        ("activations", "printed", "angle", "ours"),
        tuple(
            (
                f"{', '.join((*one.case.hidden, one.case.last))}",
                f"{np.median(one.printed.max(axis=1)):.2g}",
                f"{np.median(one.angles):.1f}°",
                f"{one.ours.max():.0e}",
            )
            for one in routines
        ),
        numeric=3,
        caption="The printed routine's relative error in its worst layer and the angle between its whole "
        "gradient and the right one, medians; and the largest error of the library's. For a softmax's "
        "derivative the better of two readings is taken: ŷ(1 − ŷ), and 1.",
    )


def _gate_verdict(routines: tuple[RoutineErrors, ...]) -> Verdict:
    """By the lists that end in softmax, which is what the routine's output is."""
    worst = {one.case: one.printed.max(axis=1) for one in routines}
    proper = [errors for case, errors in worst.items() if case.last == "softmax"]
    verdict = Judgement.depends
    if all(errors.max() < _DIFFERENCES for errors in proper):
        verdict = Judgement.holds
    elif all(errors.min() > _WRONG for errors in proper):
        verdict = Judgement.fails
    right = [case.name for case, errors in worst.items() if errors.max() < _DIFFERENCES]
    return Verdict(
        claim="The printed routine computes equation (5)",
        section="3",
        expected="for a list that ends in softmax the gradient of every layer, to rounding",
        measured=f"off by {np.median(np.concatenate(proper)):.0%} of the gradient in the worst layer; right "
        f"only where the list is {' or '.join(right) or 'none of these'}",
        spread=spread_of(np.concatenate(proper), "networks with a softmax output"),
        verdict=verdict,
    )


def _descent_figure(found: Descents) -> Figure:
    steps = list(range(found.ours.shape[1]))
    shown = [
        Curve(
            name,
            steps,
            np.median(losses, axis=0).tolist(),
            colour,
            low=losses.min(axis=0).tolist(),
            high=losses.max(axis=0).tolist(),
        )
        for name, losses, colour in (
            ("chainrule.backprop", found.ours, "accent"),
            ("the printed routine", found.printed, "second"),
        )
    ]
    right, wrong = (float(np.median(losses[:, -1])) for losses in (found.ours, found.printed))
    return Figure(
        "printed-descent",
        "Gradient descent by either routine",
        curves(
            "The mean loss of gradient descent with the right and with the printed gradient, against the "
            "step",
            shown,
            Scale("step"),
            Scale("mean loss", log=True),
        ),
        "Three arms of a spiral, a tanh network of widths 2, 16, 16 and 3; medians and ranges of "
        f"{len(found.ours)} starts. After {steps[-1]} steps the loss is {right:.2g} with the right gradient "
        f"and {wrong:.2g}, {wrong / right:.0f} times as much, with the printed one. Nothing but the "
        "comparison tells.",
    )


def _scale_table(routines: tuple[RoutineErrors, ...]) -> Table:
    names = routines[0].scales
    return Table(
        ("routine", "times"),
        tuple(
            (name.replace("`", ""), f"{np.median([one.scales[name] for one in routines]):.6g}")
            for name in names
        ),
        numeric=1,
        caption="How many times the gradient of the mean loss each returns, in the last layer, on a batch of "
        f"{routines[0].n} examples.",
    )


def _scale_verdict(routines: tuple[RoutineErrors, ...]) -> Verdict:
    found = np.concatenate([one.scales["the printed routine"] for one in routines])
    return Verdict(
        claim="The printed routine returns the gradient of the mean loss over the batch",
        section="3",
        expected="1 times the gradient of the mean loss",
        measured=f"{np.median(found):.6g} times, on {routines[0].n} examples; of the summed loss it would be "
        "as many",
        spread=spread_of(found, "networks"),
        verdict=Judgement.holds if np.abs(found - 1).max() < _DIFFERENCES else Judgement.fails,
    )
