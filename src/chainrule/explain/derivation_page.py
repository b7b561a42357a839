"""A derivation as a page: the layers, forward, the loss, back, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainrule.explain.layers import Layer, consumers
from chainrule.explain.notation import Notation
from chainrule.explain.output import Output
from chainrule.explain.rules import Rules
from chainrule.explain.step_page import layer_table, stars
from chainrule.explain.writing import (
    HADAMARD,
    TIMES,
    Block,
    Equations,
    Heading,
    Mark,
    Page,
    Paragraph,
    Prose,
    Symbol,
    Table,
    formula,
)

if TYPE_CHECKING:
    from chainrule.explain.derivation import Derivation

__all__ = ["derivation_page", "shapes_of"]


def derivation_page(derivation: Derivation) -> Page:
    """The whole derivation, in the notation of a batch."""
    notation = Notation(derivation.layers, scalar=False)
    rules = Rules(notation, training=True)
    output = Output(rules, derivation.plan.loss, None)
    blocks: list[Block] = [
        Paragraph(_conventions(derivation)),
        layer_table(derivation.layers),
        Heading(("Forward",)),
        *_forward(rules),
        Heading(("Loss",)),
        Equations((output.prediction(), *output.loss())),
        *([Paragraph(output.targets())] if output.targets() else []),
        Heading(("Backward",)),
        Paragraph(_chain_rule(derivation)),
        *_backward(rules, output),
        Heading(("Multiply-adds",)),
        *_multiply_adds(derivation),
        Heading(("Bytes",)),
        *_bytes(derivation),
    ]
    return Page("The gradients, derived", tuple(blocks))


def _conventions(derivation: Derivation) -> Prose:
    column = formula("z = W h + b")
    row = formula(Symbol("Z", "Z"), " = ", Symbol("H", "H"), TIMES, Symbol("Wᵀ", r"W^{\top}"), " + b")
    return (
        "A batch is stored one row an example, n rows, and the loss is their mean: every error signal below "
        "holds the factor 1/n. The chapter's",
        column,
        "of one example, a column, is then",
        row,
        ". The number before a line is that of its equation in the chapter; behind it stand the shapes.",
        *stars(derivation.plan),
    )


# -- forward ---------------------------------------------------------------------------------------


def _forward(rules: Rules) -> list[Block]:
    layers = rules.notation.layers
    blocks: list[Block] = [Equations(tuple(line for layer in layers for line in rules.forward(layer)))]
    kinds = {layer.kind for layer in layers}
    notes = {
        "batch_norm": "Batch normalisation takes mean and variance of each column over the rows while "
        "training. In evaluation it takes running averages of them, which are constants.",
        "layer_norm": "Layer normalisation takes mean and variance of each row over its columns, always.",
    }
    blocks += [Paragraph((note,)) for kind, note in notes.items() if kind in kinds]
    for layer in layers:
        if layer.kind == "dropout":
            blocks.append(Paragraph(_dropout(rules.notation, layer)))
    return blocks


def _dropout(n: Notation, layer: Layer) -> Prose:
    probability = layer.operation.probability
    return (
        f"Layer {layer.number} drops with probability {probability:g} while training: the entries of",
        n.of("mask", layer),
        f"are 0 with that probability, else 1, and are drawn anew at each step; what is kept is divided by "
        f"1 - {probability:g}. In evaluation",
        formula(n.of("z", layer), " = ", n.read(layer)),
        ".",
    )


# -- back ------------------------------------------------------------------------------------------


def _chain_rule(derivation: Derivation) -> Prose:
    delta = Symbol("Δ", r"\Delta")
    loss, z = Symbol("∂ℒ", r"\partial\mathcal{L}"), Symbol("∂Z", r"\partial Z")
    words: list[str | Symbol | tuple] = [
        "From the last layer to the first. By (3)",
        formula(delta, " = ", loss, "/", z),
        "of each layer. A layer's output reaches the loss through the layers that read it; what those hand "
        "down is added up. A linear layer has multiplied H by",
        Symbol("Wᵀ", r"W^{\top}"),
        ", so it hands down",
        formula(delta, TIMES, "W"),
        ", and the gradient of its W is",
        formula(Symbol("Δᵀ", r"\Delta^{\top}"), TIMES, "H"),
        ", (6). It has added b to every row, so the gradient of b is the sum of the rows of",
        delta,
        ", (7). An activation works element by element, so its derivative is a factor",
        formula(HADAMARD, Symbol("σ'(Z)", r"\sigma'(Z)")),
        ": that is (5).",
    ]
    if derivation.plan.uses("add"):
        words.append("A sum hands its error signal down to both of its terms.")
    return tuple(words)


def _backward(rules: Rules, output: Output) -> list[Block]:
    n, layers = rules.notation, rules.notation.layers
    readers = consumers(layers)
    blocks: list[Block] = []
    for layer in reversed(layers):
        title = f"Layer {layer.number}: {layer.title}"
        if layer is output.last:
            said: Prose = (title, ".", n.of("delta", layer), "by", *output.reason())
            lines = output.delta()
        else:
            names = " and ".join(f"layer {one.number}" for one in readers[layer.number])
            said = (f"{title}. Its output is read by {names}.",)
            lines = rules.delta(layer)
        blocks.append(Paragraph(said))
        blocks.append(Equations((*lines, *rules.gradients(layer))))
        if layer.is_normalisation:
            blocks.append(Paragraph(_normalisation(n, layer)))
    return blocks


def _normalisation(n: Notation, layer: Layer) -> Prose:
    """Where the two means come from."""
    rows = layer.kind == "batch_norm"
    count, axis = (
        ("n", "the n rows of a column") if rows else ("d", f"the d = {layer.width_in} columns of a row")
    )
    jacobian = Mark(
        f"dĥ_i/dh_j = (1[i = j] - 1/{count} - ĥ_i ĥ_j / {count}) / sqrt(v + ε)",
        rf"\partial\hat{{h}}_i/\partial h_j = (\mathbf{{1}}[i = j] - 1/{count}"
        rf" - \hat{{h}}_i \hat{{h}}_j / {count}) / \sqrt{{v + \varepsilon}}",
    )
    words: Prose = (
        f"Mean and variance depend on each of {axis}:",
        jacobian,
        ". Hence the two means in what the layer hands down,",
        n.of("below", layer),
        ".",
    )
    if not rows:
        return words
    return (*words, "With the running averages of evaluation, which are constants, both are absent.")


# -- costs -----------------------------------------------------------------------------------------


def _multiply_adds(derivation: Derivation) -> list[Block]:
    costs = [one for one in derivation.costs if one.forward]
    rows: list[tuple[Prose, ...]] = [
        (
            (f"{one.layer.number}, module {one.layer.name or 'itself'}",),
            *((f"{count:,}",) for count in (one.forward, one.gradient, one.delta)),
        )
        for one in costs
    ]
    sums = (sum(getattr(one, name) for one in costs) for name in ("forward", "gradient", "delta"))
    rows.append((("sum",), *((f"{total:,}",) for total in sums)))
    words = (
        f"For each example, in the products of linear layers: {derivation.forward_multiply_adds:,} forward "
        f"and {derivation.backward_multiply_adds:,} back; for the batch n times as many. The way back is two "
        "products a layer"
    )
    spared = " and ".join(str(one.layer.number) for one in costs if not one.delta)
    words += f", but one at layer {spared}, below which there is nothing to train." if spared else "."
    header = ("layer", "forward (1)", "gradient (6)", "handed down (5)")
    return [Paragraph((words,)), Table(header, tuple(rows), numeric=True)]


def _bytes(derivation: Derivation) -> list[Block]:
    rows: list[tuple[Prose, ...]] = []
    for dtype in ("float32", "float64"):
        one = derivation.bytes(dtype)
        rows.append(((dtype,), *((f"{count:,}",) for count in (one.parameters, one.gradients, one.values))))
    numbers = sum(derivation.plan.widths)
    words = (
        f"{derivation.plan.n_parameters:,} parameters and as many gradients; for each example {numbers:,} "
        "values, x and every z and h, which the forward pass keeps for the way back."
    )
    header = ("precision", "parameters", "gradients", "values an example")
    return [Paragraph((words,)), Table(header, tuple(rows), numeric=True)]


# -- shapes ----------------------------------------------------------------------------------------


def shapes_of(derivation: Derivation) -> dict[str, tuple[int | str, ...]]:
    """Of every quantity its shape, by its name in the text."""
    n = Notation(derivation.layers, scalar=False)
    output = Output(Rules(n, training=True), derivation.plan.loss, None)
    symbols = [n.quantity(name) for name in ("x", output.variable, "prediction", "losses")]
    for layer in derivation.layers:
        symbols += [n.of("z", layer), n.h(layer), n.of("delta", layer)]
        if layer.is_normalisation:
            symbols += [n.of(name, layer) for name in ("mean", "variance", "normal", "below")]
        for name in layer.slots:
            symbols += [n.of(name, layer), n.gradient(name, layer)]
    return {symbol.text: symbol.shape for symbol in symbols if symbol.shape is not None}
