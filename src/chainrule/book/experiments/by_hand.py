"""Section 3: the worked example, and what the chapter prints after its step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chainrule.explain.example import worked_example
from chainrule.functions import get_activation

__all__ = ["AlongStep", "WorkedExample", "along_the_step", "one_step_by_hand"]

# The last row of the chapter's table.
PRINTED_PREDICTION, PRINTED_LOSS, PRINTED_DROP = -0.236, 0.0279, 4.9

# The rows before it, to the four digits that are printed; what the chapter writes once for two is here twice.
PRINTED = {
    "z₁": 0.5,
    "h₁": 0.6225,
    "z₂ = ŷ": -0.5225,
    "ℒ": 0.1365,
    "δ₂": -0.5225,
    "∂ℒ/∂w₂": -0.3252,
    "∂ℒ/∂b₂": -0.5225,
    "σ′(z₁)": 0.2350,
    "δ₁": 0.1228,
    "∂ℒ/∂w₁": 0.1228,
    "∂ℒ/∂b₁": 0.1228,
    "w₂ after the step": -0.8374,
    "b₂ after the step": 0.3612,
    "w₁ after the step": 0.4386,
    "b₁ after the step": -0.0614,
}

# The bias after the step with which the printed last row nearly comes out: it leaves out the 0.1 before it.
MISPRINTED_BIAS = 0.2613


@dataclass(frozen=True)
class WorkedExample:
    """The chapter's numbers before and after a step of gradient descent.

    Attributes
    ----------
    values : dict of str to float
        What the chapter's table has before its last row, computed.
    loss_before, loss_after : float
    prediction_after : float
    misprinted_prediction : float
        The prediction after the step with the bias that the printed row seems to come from.
    drop : float
        By what factor the loss fell.
    """

    values: Mapping[str, float]
    loss_before: float
    loss_after: float
    prediction_after: float
    misprinted_prediction: float

    @property
    def drop(self) -> float:
        """By what factor the loss fell."""
        return self.loss_before / self.loss_after

    @property
    def misprinted_loss(self) -> float:
        """The loss of the misprinted prediction; the target is 0."""
        return 0.5 * self.misprinted_prediction**2

    @property
    def misprinted_drop(self) -> float:
        """By what factor the loss would fall to it."""
        return self.loss_before / self.misprinted_loss


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
    hidden, output = step.layers
    quantities = (
        *(hidden.z, hidden.h, output.z, step.loss),
        *(output.delta, output.gradients["weight"], output.gradients["bias"]),
        *(hidden.slope, hidden.delta, hidden.gradients["weight"], hidden.gradients["bias"]),
        *(output.updated["weight"], output.updated["bias"]),
        *(hidden.updated["weight"], hidden.updated["bias"]),
    )
    values = {name: float(np.asarray(one).item()) for name, one in zip(PRINTED, quantities, strict=True)}
    return WorkedExample(
        values,
        float(step.loss),
        float(step.loss_after),
        float(step.prediction_after.item()),
        float((output.updated["weight"] * hidden.h_after).item()) + MISPRINTED_BIAS,
    )


@dataclass(frozen=True, eq=False)
class AlongStep:
    """The loss of the worked example, the further one goes against its gradient.

    Attributes
    ----------
    rates : ndarray
        Learning rates η of the one step.
    losses : ndarray
        ℒ(w − η ∇ℒ).
    tangent : ndarray
        ℒ(w) − η ‖∇ℒ‖², what the gradient alone foretells.
    """

    rates: np.ndarray
    losses: np.ndarray
    tangent: np.ndarray


def along_the_step(furthest: float = 1.2, n: int = 121) -> AlongStep:
    """Take the example's step with many learning rates.

    Parameters
    ----------
    furthest : float
        The largest learning rate.
    n : int
        How many, from 0.

    Returns
    -------
    AlongStep

    Examples
    --------
    >>> found = along_the_step(furthest=0.5, n=2)
    >>> found.losses.round(4)                      # before the step and after it
    array([0.1365, 0.0092])
    """
    step = worked_example()
    names = ("0.weight", "0.bias", "2.weight", "2.bias")
    w = np.array([step.parameters[name].item() for name in names])
    gradient = np.array([step.gradients[name].item() for name in names])
    sigma = get_activation("sigmoid")
    rates = np.linspace(0, furthest, n)
    w1, b1, w2, b2 = (w - rates[:, None] * gradient).T
    x, y = 1.0, 0.0
    prediction = w2 * sigma.value(w1 * x + b1, 0.0) + b2  # (1) and (2)
    losses = 0.5 * (prediction - y) ** 2
    return AlongStep(rates, losses, losses[0] - rates * float(gradient @ gradient))
