"""The chapter's worked example, section 3, and where the chapter misprints it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chainrule import nn
from chainrule.explain.notation import Notation
from chainrule.explain.step import Step, explain_step
from chainrule.explain.writing import EQUALS, Prose, Value, formula

__all__ = ["worked_example"]

# The bias of the output after the step that would give what the chapter prints after it.
_MISPRINTED_BIAS = 0.2613


def worked_example() -> Step:
    """x = 1, y = 0, one sigmoid unit, one linear output, ½ squared error, η = 0.5.

    Returns
    -------
    Step
        Its remark names the misprint in the last row of the chapter's table.

    Examples
    --------
    >>> step = worked_example()
    >>> [round(float(step.updated[name].item()), 4) for name in ("2.weight", "2.bias", "0.weight", "0.bias")]
    [-0.8374, 0.3612, 0.4386, -0.0614]
    """
    net = nn.Sequential(
        nn.Linear(1, 1, dtype=np.float64, rng=0), nn.Sigmoid(), nn.Linear(1, 1, dtype=np.float64, rng=0)
    )
    net.load_state_dict({"0.weight": [[0.5]], "0.bias": [0.0], "2.weight": [[-1.0]], "2.bias": [0.1]})
    step = explain_step(net, 1.0, 0.0, nn.HalfSquaredErrorLoss(), lr=0.5)
    return replace(step, remarks=(_misprint(step),))


def _misprint(step: Step) -> Prose:
    """What the chapter prints after the step, and how it may have come to it."""
    hidden, output = step.layers
    prediction = (output.updated["weight"] * hidden.h_after).item() + _MISPRINTED_BIAS
    loss = 0.5 * prediction**2
    n = Notation(tuple(one.layer for one in step.layers), scalar=True)
    bias, printed, total = n.of("bias", output.layer), n.quantity("prediction"), n.quantity("loss")
    return (
        "A misprint: the last row of the chapter's table has",
        formula(printed, EQUALS, Value(-0.236)),
        ",",
        formula(total, EQUALS, Value(0.0279)),
        f"and a factor of 4.9. Its own updated weights give {step.prediction_after.item():.4f}, "
        f"{step.loss_after:.5f} and {step.drop:.1f}, as above. The printed numbers are nearly what",
        formula(bias, EQUALS, Value(_MISPRINTED_BIAS)),
        f"would give ({prediction:.3f}, {loss:.3f} and {step.loss / loss:.1f}): the step alone, without the",
        formula(Value(0.1)),
        "that it starts from.",
    )
