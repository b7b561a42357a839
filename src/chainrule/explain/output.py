"""The output: ŷ, the loss, and δ^(L) by (4) where loss and link are a canonical pair, by (3) elsewhere."""

from __future__ import annotations

import re

import numpy as np

from chainrule.explain.layers import Layer
from chainrule.explain.notation import activation_name
from chainrule.explain.rules import Rules, record_formula
from chainrule.explain.writing import (
    HADAMARD,
    MINUS,
    OVER,
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
)
from chainrule.functions import Loss, get_loss
from chainrule.plan import LossTerm

__all__ = ["Output", "is_canonical", "target_rows"]

# Why the derivative of the link and that of the loss leave ŷ − y, by the link's name.
_REASONS: dict[str, Prose] = {
    "identity": (
        "the link is the identity, so",
        Mark("dℒ/dz = dℒ/dŷ = ŷ - y", r"\partial\mathcal{L}/\partial z = \hat{y} - y"),
    ),
    "softmax": (
        Mark(
            "dℒ/dŷ_c = -t_c / ŷ_c and dŷ_c/dz_k = ŷ_c (1[c = k] - ŷ_k), so dℒ/dz_k = ŷ_k sum_c t_c - t_k",
            r"\partial\mathcal{L}/\partial\hat{y}_c = -t_c/\hat{y}_c \text{ and }"
            r" \partial\hat{y}_c/\partial z_k = \hat{y}_c\,(\mathbf{1}[c = k] - \hat{y}_k) \text{, so }"
            r" \partial\mathcal{L}/\partial z_k = \hat{y}_k \textstyle\sum_c t_c - t_k",
        ),
        ", and the targets of an example sum to 1",
    ),
    "sigmoid": (
        Mark(
            "dℒ/dŷ = (ŷ - y) / (ŷ (1 - ŷ)) and dŷ/dz = ŷ (1 - ŷ)",
            r"\partial\mathcal{L}/\partial\hat{y} = (\hat{y} - y) / (\hat{y}\,(1 - \hat{y})) \text{ and }"
            r" \partial\hat{y}/\partial z = \hat{y}\,(1 - \hat{y})",
        ),
        ", of which the second cancels the denominator",
    ),
    "exp": (
        Mark(
            "dℒ/dŷ = 1 - y / ŷ and dŷ/dz = ŷ",
            r"\partial\mathcal{L}/\partial\hat{y} = 1 - y/\hat{y} \text{ and }"
            r" \partial\hat{y}/\partial z = \hat{y}",
        ),
        ", whose product is the difference",
    ),
}


def is_canonical(record: Loss) -> bool:
    """Whether equation (4) holds of a loss and its link: ∂ℒ/∂z = link(z) − y.

    Found by computing both, so that it holds of a record that is added later, too.

    Examples
    --------
    >>> is_canonical(get_loss("softmax_cross_entropy")), is_canonical(get_loss("absolute_error"))
    (True, False)
    """
    # Targets that every loss takes: in [0, 1], summing to 1; outputs on both sides of them, near and far.
    z = np.array([[-3.0, 0.3, 2.0], [0.25, 4.0, -0.5]])
    y = np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    difference = record.gradient(z, y, record.setting) - (record.link(z) - y)
    return bool(np.abs(difference).max() < 1e-12)


def target_rows(record: Loss, term: LossTerm, y: np.ndarray, n_outputs: int) -> np.ndarray:
    """The targets as (4) takes them: one row an example, class indices as one-hot rows, smoothed."""
    if record.class_row is None:
        return y
    rows = (y[:, None] == np.arange(n_outputs)).astype(np.float64) if y.ndim == 1 else y
    return (1 - term.setting) * rows + term.setting / n_outputs


class Output:
    """What comes after the last layer.

    Parameters
    ----------
    rules : Rules
    term : LossTerm
    n_rows : int or None
        Rows of the batch; None writes n.
    weighted : bool
        Whether the mean over the rows is a weighted one, with the shares s of the rows.
    sums_to_one : bool
        Whether the targets of each row do, which (4) needs of the softmax, and of nothing else.
    """

    def __init__(
        self,
        rules: Rules,
        term: LossTerm,
        n_rows: int | None,
        *,
        weighted: bool = False,
        sums_to_one: bool = True,
    ) -> None:
        self.rules = rules
        self.notation = rules.notation
        self.term = term
        self.record = get_loss(term.name)
        self.n_rows = n_rows
        self.weighted = weighted
        self.sums_to_one = sums_to_one or self.record.class_row is None
        self.last: Layer = self.notation.layers[-1]

    @property
    def variable(self) -> str:
        """The target's letter in the record: y, or t for rows of class probabilities."""
        return "t" if self.record.class_row is not None else "y"

    @property
    def is_canonical(self) -> bool:
        """Whether δ^(L) is (4): the pair is canonical, and no activation stands between z and the loss."""
        open_output = self.last.activation is None or self.last.activation.activation == "identity"
        return open_output and self.sums_to_one and is_canonical(self.record)

    def targets(self) -> Prose:
        """What the rows t of class probabilities are made of; nothing to say of numbers y."""
        if self.variable == "y":
            return ()
        words = "holds the targets, one row an example; a class by its number is a row with a single 1"
        if self.term.setting:
            words += f", mixed with the uniform distribution: {self.record.setting_name} is"
            return self.notation.quantity("t"), words, Value(self.term.setting), "."
        return self.notation.quantity("t"), f"{words}."

    # -- forward -----------------------------------------------------------------------------------

    def prediction(self) -> Line:
        """ŷ, by the link."""
        n = self.notation
        z = n.h(self.last)
        right = formula(z)
        if self.record.link_name != "identity":
            right = formula(activation_name(self.record.link_name), "(", z, ")")
        return self.rules.line("2", n.quantity("prediction"), right, substituted=n.scalar)

    def loss(self) -> list[Line]:
        """The loss of each row, and their mean."""
        n = self.notation
        right, where = self._record(*self._loss_formula())
        one, loss = n.quantity("losses"), n.quantity("loss")
        if self.filled:
            return [self._filled("", loss, self._scaled(right), where)]
        mean = formula(Mark("mean(", r"\mathrm{mean}("), one, ")")
        if self.weighted:
            mean = formula(Mark("sum(", r"\mathrm{sum}("), n.quantity("share"), HADAMARD, one, ")")
        return [
            Line("", (formula(one), self._scaled(right), *_ending(one)), remark=self._of_rows(where)),
            Line("", (formula(loss), mean, *_ending(loss))),
        ]

    def _loss_formula(self) -> tuple[str, str]:
        """The record's, without the terms in y alone where the Poisson loss leaves them out."""
        text, latex = self.record.formula, self.record.latex
        if self.record.setting_name == "deviance" and not self.term.setting:
            text, latex = (one.split(" + (y")[0] for one in (text, latex))
        if self.notation.scalar:  # a sum of one term
            text, latex = re.sub(r"\bsum ", "", text), latex.replace(r"\sum ", "")
        return text, latex

    @property
    def filled(self) -> bool:
        """Whether formulas are filled in: a network of single numbers, with numbers."""
        return self.notation.scalar and self.notation.values is not None

    def _record(self, text: str, latex: str) -> tuple[Expression, Prose]:
        """A formula of the record with its setting, and for single numbers z and y, in place."""
        n = self.notation
        known: dict[str, Symbol | Value] = {}
        if self.record.setting_name is not None:
            known[self.record.setting_name] = Value(self.term.setting)
        if self.filled:
            known |= {"z": n.h(self.last), self.variable: n.quantity(self.variable)}
        return record_formula(text, latex, known)

    def _filled(self, tag: str, left: Symbol, right: Expression, where: Prose) -> Line:
        steps = formula(left), right, in_numbers(right), *_ending(left)
        return Line(tag, steps, remark=prose_in_numbers(where))

    def _of_rows(self, where: Prose) -> Prose:
        n = self.notation
        rows = "for each row z of", n.h(self.last), f"and {self.variable} of", n.quantity(self.variable)
        return (*rows, ",", *where) if where else rows

    def _scaled(self, right: Expression) -> Expression:
        """The loss module's factor on the record."""
        if self.term.scale == 1.0:
            return right
        return formula(Value(self.term.scale), TIMES, _bracketed(right))

    # -- back --------------------------------------------------------------------------------------

    def delta(self) -> list[Line]:
        """δ^(L): (4), or (3) and, if an activation stands before the loss, its derivative."""
        n = self.notation
        delta = n.of("delta", self.last)
        if self.is_canonical:
            difference = formula(n.quantity("prediction"), MINUS, n.quantity(self.variable))
            return [self.rules.line("4", delta, self._meaned(difference))]
        if self.last.activation is None:
            return [self._slope_line(delta)]
        upper = n.gradient("h", self.last)
        gated = formula(upper, self.rules.by, n.slope(self.last))
        return [self._slope_line(upper), *self.rules.slope(self.last), self.rules.line("5", delta, gated)]

    def _slope_line(self, left: Symbol) -> Line:
        """(3): the record's gradient formula."""
        written = self.record.gradient_formula, self.record.gradient_latex
        if not self.sums_to_one:  # the softmax's is for rows that do
            written = "softmax(z) sum_c t_c - t", r"\mathrm{softmax}(z) \textstyle\sum_c t_c - t"
        right, where = self._record(*written)
        right = self._meaned(right)
        if self.filled:
            return self._filled("3", left, right, where)
        steps = formula(left), right, *_ending(left)
        shape = in_shapes(formula(left)) if self.notation.values is None else ()
        return Line("3", steps, remark=self._of_rows(where), shape=shape)

    def _meaned(self, right: Expression) -> Expression:
        """The factor of the loss module, and that of a row in the mean: 1/n, or its share s."""
        factor, one_row = self.term.scale, self.n_rows == 1 and not self.weighted
        if factor == 1.0 and one_row:
            return right
        right = _bracketed(right)
        if factor != 1.0:
            right = formula(Value(factor), TIMES, right)
        if self.weighted:
            return formula(self.notation.quantity("share"), HADAMARD, right)
        rows = Mark("n", "n") if self.n_rows is None else Value(float(self.n_rows))
        return right if one_row else formula(right, OVER, rows)

    def reason(self) -> Prose:
        """Why (4) holds, or why it does not."""
        record = self.record
        if self.is_canonical:
            why = _REASONS.get(record.link_name, ("the link's derivative cancels in the loss's",))
            pair = f"(4), because {record.link_name} with {record.name} is a canonical pair:"
            return (pair, *why, ".", *self._factor())
        words = "(3), and not (4), because"
        if not is_canonical(record):
            words += f" {record.name} with the link {record.link_name} is no canonical pair"
        elif not self.sums_to_one:
            words += " the targets of an example do not sum to 1"
        else:
            words += " an activation stands between the last z and the loss, which has its own link, "
            words += record.link_name
        return (f"{words}.", *self._factor())

    def _factor(self) -> Prose:
        if self.term.scale == 1.0:
            return ()
        name = f"times {self.record.name}, and so is its gradient."
        return ("The loss is", Value(self.term.scale), name)


def _bracketed(right: Expression) -> Expression:
    """A formula in brackets, where its text has none yet."""
    first = right[0]
    if isinstance(first, Filled) and " if " in first.text:
        return formula(Mark("", "("), right, Mark("", ")"))
    return formula("(", right, ")")


def _ending(symbol: Symbol) -> tuple[Expression, ...]:
    """The value at the end of a line, if it is known."""
    return () if symbol.value is None else (formula(Value(symbol.value)),)
