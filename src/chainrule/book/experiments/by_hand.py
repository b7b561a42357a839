"""Section 3: the worked example, and what the chapter prints after its step."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.explain.example import worked_example

__all__ = ["WorkedExample", "one_step_by_hand"]

# The last row of the chapter's table.
PRINTED_PREDICTION, PRINTED_LOSS, PRINTED_DROP = -0.236, 0.0279, 4.9


@dataclass(frozen=True)
class WorkedExample:
    """The chapter's numbers before and after a step of gradient descent.

    Attributes
    ----------
    loss_before, loss_after : float
    prediction_after : float
    drop : float
        By what factor the loss fell.
    """

    loss_before: float
    loss_after: float
    prediction_after: float

    @property
    def drop(self) -> float:
        """By what factor the loss fell."""
        return self.loss_before / self.loss_after


def one_step_by_hand() -> WorkedExample:
    """Compute the chapter's worked example.

    Returns
    -------
    WorkedExample

    Examples
    --------
    >>> found = one_step_by_hand()
    >>> round(found.loss_before, 4), round(found.prediction_after, 4), round(found.drop, 1)
    (0.1365, -0.1355, 14.9)
    """
    step = worked_example()
    return WorkedExample(float(step.loss), float(step.loss_after), float(step.prediction_after.item()))
