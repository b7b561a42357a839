"""The worked example, by hand."""

from __future__ import annotations

from chainrule.book.blocks import Check, Code, Equation, Example, Figure, Section, Table, Words
from chainrule.book.experiments.by_hand import (
    MISPRINTED_BIAS,
    PRINTED,
    PRINTED_DROP,
    PRINTED_LOSS,
    PRINTED_PREDICTION,
    AlongStep,
    WorkedExample,
    along_the_step,
    one_step_by_hand,
)
from chainrule.book.plots import Curve, Mark, Scale, curves
from chainrule.book.verdict import Effort, Judgement, Verdict
from chainrule.explain import explain_step, worked_example

__all__ = ["section"]

_ETA = 0.5


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    found = one_step_by_hand()
    along = along_the_step()
    printed = max(abs(found.values[name] - value) for name, value in PRINTED.items())
    return Section(
        "by-hand",
        "The worked example, by hand",
        "3",
        (
            Words(
                "One sigmoid unit, one linear output, half the squared error: every number fits on a page. "
                "The example is x = 1 with the target y = 0, from w₁ = 0.5, b₁ = 0, w₂ = −1, b₂ = 0.1, and "
                f"the learning rate is η = {_ETA}."
            ),
            Equation(r"\hat y = w_2\, \sigma(w_1 x + b_1) + b_2"),
            Equation(r"\mathcal{L} = \tfrac12 (\hat y - y)^2"),
            Code(explain_step, "The step with all its numbers, for this network as for any other small one."),
            _table(found),
            Check(
                "Every number that the chapter prints before its last row, against ours: off by half of the "
                "last printed digit at most",
                printed,
                5.0001e-5,
            ),
            Verdict(
                claim="The printed numbers after the step are those of the printed weights",
                section="3",
                expected=f"ŷ = {PRINTED_PREDICTION}, ℒ = {PRINTED_LOSS}, a drop by {PRINTED_DROP}",
                measured=f"ŷ = {found.prediction_after:.4f}, ℒ = {found.loss_after:.5f}, "
                f"a drop by {found.drop:.1f}",
                spread="exact",
                verdict=_judged(found),
            ),
            Words(
                "Where the printed row comes from: with "
                f"b₂ = {MISPRINTED_BIAS} after the step, ŷ = {found.misprinted_prediction:.4f}, "
                f"ℒ = {found.misprinted_loss:.4f} and the loss falls by a factor of "
                f"{found.misprinted_drop:.1f}, nearly what is printed. That is the step −η ∂ℒ/∂b₂ by itself: "
                "the 0.1 that b₂ had before is forgotten. The table's own b₂ is "
                f"{PRINTED['b₂ after the step']}."
            ),
            _figure(found, along),
            Example(
                "chainrule explain --worked-example",
                worked_example().to_text().rstrip("\n"),
                "With a model that `chainrule train` saved and a table, `chainrule explain model table.csv "
                "--row 3` writes the same page for your own network and your own example; from Python it is "
                "`chainrule.explain_step`.",
            ),
        ),
        {"example": found, "along": along},
    )


def _judged(found: WorkedExample) -> Judgement:
    """Whether each of the three is what is printed, to the digits that are printed."""
    right = (
        abs(found.prediction_after - PRINTED_PREDICTION) < 0.0006
        and abs(found.loss_after - PRINTED_LOSS) < 0.00006
        and abs(found.drop - PRINTED_DROP) < 0.06
    )
    return Judgement.holds if right else Judgement.fails


def _table(found: WorkedExample) -> Table:
    rows = [(name, f"{value:.6f}", f"{PRINTED[name]:.4f}") for name, value in found.values.items()]
    rows += [
        ("ŷ, forward again", f"{found.prediction_after:.6f}", f"{PRINTED_PREDICTION}"),
        ("ℒ, forward again", f"{found.loss_after:.6f}", f"{PRINTED_LOSS}"),
        ("by how much ℒ fell", f"{found.drop:.4f}", f"{PRINTED_DROP}"),
    ]
    return Table(
        ("quantity", "computed", "printed"),
        tuple(rows),
        numeric=2,
        caption="The chapter's table. All rows agree but the last three, which are made of the others.",
    )


def _figure(found: WorkedExample, along: AlongStep) -> Figure:
    return Figure(
        "loss-along-step",
        "The loss along the step",
        curves(
            "The loss of the worked example against the learning rate of its one step",
            [
                Curve("ℒ after a step of η", along.rates.tolist(), along.losses.tolist()),
                Curve(
                    "what the gradient foretells",
                    along.rates.tolist(),
                    along.tangent.tolist(),
                    "muted",
                    dashed=True,
                ),
                Curve("computed", [_ETA], [found.loss_after], dots=True, line=False, colour="third"),
                Curve("printed", [_ETA], [PRINTED_LOSS], dots=True, line=False, colour="second"),
            ],
            Scale("learning rate η"),
            Scale("loss ℒ", low=-0.02),
            marks=[Mark(f"η = {_ETA}", x=_ETA)],
        ),
        f"From {found.loss_before:.4f} at η = 0 the loss leaves along its tangent, whose slope is −‖∇ℒ‖², "
        "and bends away from it. Every step from these weights ends on the curve; the printed loss lies "
        "above it.",
    )
