"""A step as a page: what is given, forward, back, the step, and forward again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.explain.notation import Notation
from chainrule.explain.output import Output
from chainrule.explain.rules import Rules
from chainrule.explain.writing import (
    GETS,
    MINUS,
    TIMES,
    Block,
    Equations,
    Heading,
    Line,
    Page,
    Paragraph,
    Prose,
    Symbol,
    Table,
    Value,
    formula,
    in_numbers,
)
from chainrule.plan import Plan

if TYPE_CHECKING:
    from chainrule.explain.layers import Layer
    from chainrule.explain.step import Step
    from chainrule.explain.sweep import Normalisation

__all__ = ["layer_table", "stars", "step_page"]

Values = dict[tuple[str, int], Any]


def step_page(step: Step) -> Page:
    """Everything that a step holds, in the order in which one computes it by hand."""
    layers = tuple(one.layer for one in step.layers)
    before = Notation(layers, step.is_scalar, _before(step))
    rules = Rules(before, training=step.training)
    output = _output(step, rules)
    blocks: list[Block] = [
        Paragraph(_conventions(step, before, output)),
        layer_table(layers),
        Heading(("Given",)),
        Equations(_given(step, before, output)),
        *([Paragraph(output.targets())] if output.targets() else []),
        Heading(("Forward",)),
        Equations((*_forward(rules), output.prediction(), *output.loss())),
        Heading(("Backward",)),
        Paragraph((before.of("delta", layers[-1]), "by", *output.reason())),
        Equations(_backward(rules, output)),
        Heading(("The step",)),
        Equations(_updates(step, rules)),
        Heading(("Forward again",)),
        *_again(step, layers),
        *(Paragraph(remark) for remark in step.remarks),
    ]
    page = Page("One step of gradient descent", tuple(blocks))
    if page.is_abbreviated:
        note = "Matrices of more than 20 rows or 10 columns are abbreviated to their first and last three."
        blocks.insert(1, Paragraph((note,)))
    return Page(page.title, tuple(blocks))


# -- the numbers -----------------------------------------------------------------------------------


def _before(step: Step) -> Values:
    values: Values = {
        ("x", 0): step.x,
        ("y", 0): step.targets,
        ("t", 0): step.targets,
        ("share", 0): step.shares[:, None],
        ("rate", 0): step.lr,
        ("prediction", 0): step.prediction,
        ("losses", 0): step.losses[:, None],
        ("loss", 0): step.loss,
    }
    for one in step.layers:
        number = one.layer.number
        values |= {(name, number): getattr(one, name) for name in ("z", "h", "slope", "delta")}
        values |= {(name, number): array for name, array in one.parameters.items()}
        values |= {(f"d_{name}", number): array for name, array in one.gradients.items()}
        values[("d_h", number)] = one.signal
        values |= _normalisation(number, one.normalisation)
    return values


def _after(step: Step) -> Values:
    values: Values = {
        ("x", 0): step.x,
        ("y", 0): step.targets,
        ("t", 0): step.targets,
        ("share", 0): step.shares[:, None],
        ("prediction", 0): step.prediction_after,
        ("losses", 0): step.losses_after[:, None],
        ("loss", 0): step.loss_after,
    }
    for one in step.layers:
        number = one.layer.number
        values |= {("z", number): one.z_after, ("h", number): one.h_after}
        values |= {(name, number): array for name, array in one.updated.items()}
        values |= _normalisation(number, one.normalisation_after)
    return values


def _normalisation(number: int, one: Normalisation | None) -> Values:
    if one is None:
        return {}
    return {
        ("mean", number): one.mean,
        ("variance", number): one.variance,
        ("normal", number): one.normal,
        ("d_normal", number): one.delta,
        ("below", number): one.below,
    }


# -- the sections ----------------------------------------------------------------------------------


def _output(step: Step, rules: Rules) -> Output:
    return Output(
        rules,
        step.plan.loss,
        len(step.x),
        weighted=bool(np.ptp(step.shares) > 0),
        sums_to_one=bool(np.allclose(step.targets.sum(axis=1), 1.0)),
    )


def _conventions(step: Step, n: Notation, output: Output) -> Prose:
    weight = Symbol("w", "w")
    update = formula(weight, GETS, weight, MINUS, n.quantity("rate"), TIMES, n.derivative(weight))
    several = len(step.x) > 1
    rows = f"a batch of {len(step.x)} examples, one a row" if several else "one example"
    words: list[Any] = ["Gradient descent,", update, f", on {rows}."]
    if several:
        share = "its share s" if output.weighted else "1/n"
        words.append(f"The loss is the mean over the rows, so a row's error signal holds the factor {share}.")
    if step.plan.uses("batch_norm") or step.plan.uses("dropout"):
        words.append(f"Everything is computed as in {'training' if step.training else 'evaluation'}.")
    return (*words, "The number before a line is that of its equation in the chapter.", *stars(step.plan))


def stars(plan: Plan) -> Prose:
    """What a star at an equation's number means, if there is one."""
    if {one.kind for one in plan.operations} <= {"linear", "activation"}:
        return ()
    return ("A star marks what stands in its place where a layer is not a linear one.",)


def layer_table(layers: tuple[Layer, ...]) -> Table:
    """Number, module and kind of each layer, and what it reads."""
    rows = []
    for layer in layers:
        reads = " and ".join(f"layer {number}" if number else "the input" for number in layer.reads)
        rows.append(((str(layer.number),), (layer.name or "the module itself",), (layer.title,), (reads,)))
    return Table(("layer", "module", "what it is", "reads"), tuple(rows))


def _given(step: Step, n: Notation, output: Output) -> tuple[Line, ...]:
    symbols = [n.quantity("x"), n.quantity(output.variable)]
    if output.weighted:
        symbols.append(n.quantity("share"))
    symbols += [n.of(name, one.layer) for one in step.layers for name in one.layer.slots]
    symbols.append(n.quantity("rate"))
    return tuple(Line("", (formula(one), in_numbers(formula(one)))) for one in symbols)


def _forward(rules: Rules, *, definitions: bool = True) -> list[Line]:
    return [line for layer in rules.notation.layers for line in rules.forward(layer, definitions=definitions)]


def _backward(rules: Rules, output: Output) -> tuple[Line, ...]:
    lines: list[Line] = []
    for layer in reversed(rules.notation.layers):
        lines += output.delta() if layer is output.last else rules.delta(layer)
        lines += rules.gradients(layer)
    return tuple(lines)


def _updates(step: Step, rules: Rules) -> tuple[Line, ...]:
    return tuple(
        rules.update(one.layer, name, updated) for one in step.layers for name, updated in one.updated.items()
    )


def _again(step: Step, layers: tuple[Layer, ...]) -> list[Block]:
    """The forward pass with the updated parameters, and what the step has done to the loss."""
    rules = Rules(Notation(layers, step.is_scalar, _after(step)), training=step.training)
    output = _output(step, rules)
    lines = [*_forward(rules, definitions=False), output.prediction(), *output.loss()]
    return [Equations(tuple(lines)), Paragraph(_verdict(step))]


def _verdict(step: Step) -> Prose:
    before, after = Value(step.loss), Value(step.loss_after)
    if step.loss_after > step.loss:
        return "The loss rose from", before, "to", after, ": the learning rate is too large for this step."
    if not step.loss_after < step.loss:
        return "The loss was", before, "and is", after, "."
    words: Prose = ("The loss fell from", before, "to", after)
    if step.loss_after <= 0:  # a Poisson loss without its constant may be negative
        return (*words, ".")
    return (*words, ", by a factor of", Value(step.drop), ".")
