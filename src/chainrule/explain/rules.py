"""The equations of each kind of layer: forward (1), (2), back (5), and the gradients (6), (7).

A star, as in (1*), marks what stands in place of the chapter's equation where a layer is not a linear one.
"""

from __future__ import annotations

import re
from typing import Any

from chainrule.explain.layers import Layer, consumers
from chainrule.explain.notation import Notation, activation_name
from chainrule.explain.writing import (
    EQUALS,
    GETS,
    HADAMARD,
    MINUS,
    PLUS,
    TIMES,
    Expression,
    Filled,
    Line,
    Mark,
    Prose,
    Symbol,
    Value,
    formula,
    in_numbers,
    in_shapes,
    prose_in_numbers,
    value_of,
)
from chainrule.functions import Activation, get_activation

__all__ = ["Rules", "fraction", "record_formula", "total"]

# What comes after the formula proper in a record: "..., t = tanh(softplus(z))".
_WHERE_TEXT = re.compile(r", (?=\w+ = )")
_WHERE_LATEX = re.compile(r",(?:\\[;,]| )\s*(?=\w+ = )")


def record_formula(
    text: str, latex: str, replacements: dict[str, Symbol | Value]
) -> tuple[Expression, Prose]:
    """A record's formula with its variables replaced, and what it says of an abbreviation in it."""
    (text, *text_rest), (latex, *latex_rest) = _WHERE_TEXT.split(text, 1), _WHERE_LATEX.split(latex, 1)
    if " if " in text:
        text = f"sum ({text[4:]})" if text.startswith("sum ") else f"({text})"
    main = formula(Filled(text, latex, replacements))
    if not text_rest and not latex_rest:
        return main, ()
    (text,), (latex,) = text_rest or latex_rest, latex_rest or text_rest  # r = z - y is written alike in both
    return main, ("where", Filled(text, latex, replacements))


def fraction(above: Expression, below: Expression) -> Expression:
    """above / below."""
    return formula(Mark("(", r"\frac{"), above, Mark(") / ", "}{"), below, Mark("", "}"))


def root(inside: Expression) -> Expression:
    """√inside."""
    return formula(Mark("sqrt(", r"\sqrt{"), inside, Mark(")", "}"))


def total(what: str, axis: str, inside: Expression) -> Expression:
    """A sum or a mean over the rows or the columns of a matrix: sum_rows(...)."""
    return formula(Mark(f"{what}_{axis}(", rf"\mathrm{{{what}}}_{{\mathrm{{{axis}}}}}\bigl("), inside,
                   Mark(")", r"\bigr)"))  # fmt: skip


class Rules:
    """The equations of a network's layers.

    Parameters
    ----------
    notation : Notation
        With values for a step in numbers; without, the lines carry shapes.
    training : bool
        Whether batch normalisation takes the batch's mean and variance, and dropout drops.
    """

    def __init__(self, notation: Notation, *, training: bool) -> None:
        self.notation = notation
        self.training = training
        self.by = TIMES if notation.scalar else HADAMARD
        self.readers = consumers(notation.layers)

    # -- lines -------------------------------------------------------------------------------------

    def line(self, tag: str, left: Symbol, right: Expression, *, substituted: bool = True) -> Line:
        """left = right, and then either the numbers or the shapes."""
        steps = [formula(left), right]
        if self.notation.values is None:
            return Line(tag, tuple(steps), shape=_shape(left, right))
        if substituted and len(right) > 1:
            steps.append(in_numbers(right))
        if left.value is not None:
            steps.append(formula(Value(left.value)))
        return Line(tag, tuple(steps))

    # -- forward -----------------------------------------------------------------------------------

    def forward(self, layer: Layer, *, definitions: bool = True) -> list[Line]:
        """(1), or what stands in its place, and (2)."""
        make = {
            "linear": self._linear,
            "batch_norm": self._normalisation,
            "layer_norm": self._normalisation,
            "dropout": self._dropout,
            "add": self._sum,
            "activation": self._copy,
        }[layer.kind]
        lines = make(layer)
        if layer.activation is not None:
            lines += self._activation(layer, definitions)
        return lines

    def _linear(self, layer: Layer) -> list[Line]:
        n = self.notation
        h, weight = n.read(layer), n.of("weight", layer)
        right = formula(weight, TIMES, h) if n.scalar else formula(h, TIMES, n.transposed(weight))
        if "bias" in layer.slots:
            right = formula(right, PLUS, n.of("bias", layer))
        return [self.line("1", n.of("z", layer), right)]

    def _activation(self, layer: Layer, definitions: bool) -> list[Line]:
        n, record = self.notation, _record(layer)
        z, h = n.of("z", layer), n.of("h", layer)
        applied = formula(activation_name(record.name), "(", z, ")")
        if n.scalar and n.values is not None:
            return [self._filled("2", h, applied, (record.formula, record.latex), _variables(layer, z))]
        lines = [self.line("2", h, applied, substituted=False)]
        if definitions and record.formula != f"{record.name}(z)":
            lines.append(_definition("2", layer, "", record.formula, record.latex))
        return lines

    def _filled(
        self,
        tag: str,
        left: Symbol,
        middle: Expression | None,
        record: tuple[str, str],
        variables: dict[str, Symbol | Value],
    ) -> Line:
        """left = middle = a record's formula with the numbers filled in = the value."""
        right, where = record_formula(*record, variables)
        steps = (formula(left), middle or right, in_numbers(right), formula(value_of(left)))
        return Line(tag, steps, remark=prose_in_numbers(where))

    def _normalisation(self, layer: Layer) -> list[Line]:
        n = self.notation
        h, mean, variance, normal = (
            n.read(layer),
            *(n.of(one, layer) for one in ("mean", "variance", "normal")),
        )
        lines = []
        for left, what, words in ((mean, "mean", "mean"), (variance, "var", "variance")):
            if self._running(layer):
                said = Mark(f"the running {words}", rf"\text{{the running {words}}}")
                lines.append(self.line("1*", left, formula(said), substituted=False))
            else:
                lines.append(self.line("1*", left, total(what, _axis(layer), formula(h)), substituted=False))
        lines.append(self.line("1*", normal, fraction(formula(h, MINUS, mean), self._deviation(layer))))
        scaled = formula(normal)
        if "weight" in layer.slots:
            scaled = formula(n.of("weight", layer), self.by, normal)
        if "bias" in layer.slots:
            scaled = formula(scaled, PLUS, n.of("bias", layer))
        return [*lines, self.line("1*", n.of("z", layer), scaled)]

    def _deviation(self, layer: Layer) -> Expression:
        """√(v + ε)."""
        epsilon = Value(layer.operation.epsilon)
        return root(formula(self.notation.of("variance", layer), PLUS, epsilon))

    def _running(self, layer: Layer) -> bool:
        """Whether mean and variance are constants, those that training has kept."""
        return layer.kind == "batch_norm" and not self.training

    def _dropout(self, layer: Layer) -> list[Line]:
        n = self.notation
        return [self.line("1*", n.of("z", layer), self._dropped(layer, n.read(layer)))]

    def _dropped(self, layer: Layer, symbol: Symbol) -> Expression:
        """What dropout makes of a value, and of the error signal on its way back."""
        probability = layer.operation.probability
        if not self.training or probability == 0.0:
            return formula(symbol)
        scale = Value(0.0 if probability == 1.0 else 1.0 / (1.0 - probability))
        return formula(scale, TIMES, self.notation.of("mask", layer), self.by, symbol)

    def _sum(self, layer: Layer) -> list[Line]:
        n = self.notation
        return [self.line("1*", n.of("z", layer), formula(n.read(layer, 0), PLUS, n.read(layer, 1)))]

    def _copy(self, layer: Layer) -> list[Line]:
        n = self.notation
        return [self.line("1*", n.of("z", layer), formula(n.read(layer)))]

    # -- back --------------------------------------------------------------------------------------

    def delta(self, layer: Layer) -> list[Line]:
        """(5): σ'(z), and the error signal of a layer that others read."""
        n = self.notation
        down = [self._handed_down(reader) for reader in self.readers[layer.number]]
        right = down[0]
        for one in down[1:]:
            right = formula(right, PLUS, one)
        lines = []
        if layer.activation is not None:
            lines = self.slope(layer)
            right = self._gated(right, layer)
        return [*lines, self.line("5", n.of("delta", layer), right)]

    def _gated(self, right: Expression, layer: Layer) -> Expression:
        """The ⊙ σ'(z) of (5)."""
        n = self.notation
        bracketed = len(right) > 1 and not (n.scalar and PLUS not in right)
        right = formula("(", right, ")") if bracketed else right
        return formula(right, self.by, n.slope(layer))

    def slope(self, layer: Layer) -> list[Line]:
        """σ'(z), written out."""
        n, record = self.notation, _record(layer)
        written = record.derivative_formula, record.derivative_latex
        slope, z = n.slope(layer), n.of("z", layer)
        if n.scalar and n.values is not None:
            return [self._filled("5", slope, None, written, _variables(layer, z))]
        definition = _definition("5", layer, "'", *written)
        if n.values is None:
            return [definition]
        return [definition, Line("5", (formula(slope), formula(value_of(slope))))]

    def _handed_down(self, reader: Layer) -> Expression:
        """∂ℒ/∂h of what a layer reads, as far as it goes through that layer."""
        n = self.notation
        delta = n.of("delta", reader)
        if reader.kind == "linear":
            weight = n.of("weight", reader)
            return formula(weight, TIMES, delta) if n.scalar else formula(delta, TIMES, weight)
        if reader.is_normalisation:
            return formula(n.of("below", reader))
        return self._dropped(reader, delta) if reader.kind == "dropout" else formula(delta)

    def gradients(self, layer: Layer) -> list[Line]:
        """(6) and (7), and for a normalisation what it hands down."""
        n = self.notation
        delta = n.of("delta", layer)
        lines = []
        if layer.kind == "linear":
            h = n.read(layer)
            right = formula(delta, TIMES, h) if n.scalar else formula(n.transposed(delta), TIMES, h)
            lines.append(self.line("6", n.gradient("weight", layer), right))
        elif "weight" in layer.slots:
            product = formula(delta, self.by, n.of("normal", layer))
            lines.append(self.line("6*", n.gradient("weight", layer), self._over_rows(product)))
        if "bias" in layer.slots:
            bias = n.gradient("bias", layer)
            lines.append(self.line("7", bias, self._over_rows(formula(delta)), substituted=n.scalar))
        return [*lines, *(self._below(layer) if layer.is_normalisation else [])]

    def _over_rows(self, product: Expression) -> Expression:
        return product if self.notation.scalar else total("sum", "rows", product)

    def _below(self, layer: Layer) -> list[Line]:
        """The error signal through a normalisation: its mean and variance depend on the other values, too."""
        n = self.notation
        delta, normal, inner = n.of("delta", layer), n.of("normal", layer), n.gradient("normal", layer)
        scaled = formula(delta)
        if "weight" in layer.slots:
            scaled = formula(delta, self.by, n.of("weight", layer))
        above = formula(inner)
        if not self._running(layer):
            axis = _axis(layer)
            aligned = total("mean", axis, formula(inner, self.by, normal))
            above = formula(
                inner, MINUS, total("mean", axis, formula(inner)), MINUS, normal, self.by, aligned
            )
        return [
            self.line("5*", inner, scaled),
            self.line(
                "5*", n.of("below", layer), fraction(above, self._deviation(layer)), substituted=n.scalar
            ),
        ]

    # -- the step ----------------------------------------------------------------------------------

    def update(self, layer: Layer, name: str, updated: Any) -> Line:
        """w ← w − η ∂ℒ/∂w."""
        n = self.notation
        old = n.of(name, layer)
        right = formula(old, MINUS, n.quantity("rate"), TIMES, n.gradient(name, layer))
        steps = formula(old), right, in_numbers(right), formula(Value(n.plain(updated)))
        return Line("", steps, relation=GETS)


def _shape(left: Symbol, right: Expression) -> Expression:
    """The shape of the left side, and of the factors where the right one is a product of matrices."""
    whole = in_shapes(formula(left))
    return formula(whole, EQUALS, in_shapes(right)) if TIMES in right else whole


def _record(layer: Layer) -> Activation:
    name = "identity" if layer.activation is None else layer.activation.activation
    return get_activation(name)


def _variables(layer: Layer, z: Symbol) -> dict[str, Symbol | Value]:
    """What stands in an activation's formula: z, and α where there is one."""
    variables: dict[str, Symbol | Value] = {"z": z}
    return variables | _constants(layer)


def _constants(layer: Layer) -> dict[str, Symbol | Value]:
    if layer.activation is None or _record(layer).alpha is None:
        return {}
    return {"alpha": Value(layer.activation.alpha)}


def _definition(tag: str, layer: Layer, prime: str, text: str, latex: str) -> Line:
    """σ(z) = ..., or σ'(z) = ..."""
    right, where = record_formula(text, latex, _constants(layer))
    return Line(tag, (formula(activation_name(_record(layer).name), f"{prime}(z)"), right), remark=where)


def _axis(layer: Layer) -> str:
    """What a normalisation's mean runs over: the rows of a batch, or the columns of each row."""
    return "rows" if layer.kind == "batch_norm" else "columns"
