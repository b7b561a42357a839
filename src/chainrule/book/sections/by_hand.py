"""The worked example, by hand."""

from __future__ import annotations

from chainrule.book.blocks import Code, Equation, Section, Words
from chainrule.book.experiments.by_hand import (
    PRINTED_DROP,
    PRINTED_LOSS,
    PRINTED_PREDICTION,
    one_step_by_hand,
)
from chainrule.book.verdict import Effort, Judgement, Verdict

__all__ = ["section"]


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    found = one_step_by_hand()
    right = abs(found.drop - PRINTED_DROP) < 0.05
    return Section(
        "by-hand",
        "The worked example, by hand",
        "3",
        (
            Words(
                "One sigmoid unit, one linear output, half the squared error: every number fits on a page."
            ),
            Equation(r"\mathcal{L} = \tfrac12 (\hat y - y)^2"),
            Code(one_step_by_hand),
            Verdict(
                claim="The printed numbers after the step are those of the printed weights",
                section="3",
                expected=f"ŷ = {PRINTED_PREDICTION}, ℒ = {PRINTED_LOSS}, a drop by {PRINTED_DROP}",
                measured=f"ŷ = {found.prediction_after:.4f}, ℒ = {found.loss_after:.5f}, "
                f"a drop by {found.drop:.1f}",
                spread="exact",
                verdict=Judgement.holds if right else Judgement.fails,
            ),
        ),
        {"example": found},
    )
