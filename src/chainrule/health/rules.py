"""The rules: each says by one formula and one limit what a network has, and what might help.

A rule that holds makes a candidate. Whether it is an illness, a note or the consequence of another is decided
by the gates and by proof; see ``diagnosis.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chainrule.health import symptoms
from chainrule.health.evidence import Evidence
from chainrule.health.symptoms import Candidate

__all__ = ["RULES", "Rule"]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes
    ----------
    code : str
    symptom : str
        What it is, for people.
    formula : str
        What is measured, and the limit.
    source : str
        Where the limit comes from.
    equation : str
        Of the chapter; a section where there is no equation.
    prescriptions : tuple of str
        Codes of remedies, the most direct first.
    consequences : tuple of str
        Codes of rules that hold because of this one.
    certain : bool
        Whether what it sees is a mistake in itself, so that a network that fails needs no further cause.
    alone : bool
        Whether it is a failure in itself, for which there may be no remedy.
    test : callable
        ``test(evidence)``: a Candidate, or None.
    """

    code: str
    symptom: str
    formula: str
    source: str
    equation: str
    prescriptions: tuple[str, ...]
    test: Callable[[Evidence], Candidate | None]
    consequences: tuple[str, ...] = ()
    certain: bool = False
    alone: bool = False


_SIGNAL = ("initialize", "batch_norm", "relu_he", "residual", "gelu_he", "clip")

RULES: dict[str, Rule] = {
    one.code: one
    for one in (
        Rule(
            "non_finite",
            "numbers that are not finite",
            "NaN or infinity anywhere",
            "by definition",
            "(1)-(7)",
            ("standardise_inputs", "loss_of_logits", "rate", "initialize", "clip"),
            symptoms.non_finite,
            ("exploding",),
            certain=True,
        ),
        Rule(
            "loss_sign",
            "the loss is turned round",
            "ℒ(right outputs) > ℒ(constant outputs)",
            "by definition",
            "(3)",
            ("loss_sign",),
            symptoms.loss_sign,
            ("non_finite", "rate_high", "rate_low", "no_signal"),
            certain=True,
        ),
        Rule(
            "not_zeroed",
            "gradients are added to those of earlier steps",
            "‖g₂ − (g₁ + fresh)‖ < 0.1 ‖g₁‖",
            "by definition",
            "(6)",
            ("zero_grad",),
            symptoms.not_zeroed,
            ("rate_high", "non_finite"),
            certain=True,
        ),
        Rule(
            "double_softmax",
            "softmax before a loss that takes it itself",
            "rows of the output sum to 1 ± 10⁻³",
            "by definition",
            "(4)",
            ("remove_output_activation",),
            symptoms.double_softmax,
            ("rate_low",),
            certain=True,
        ),
        Rule(
            "output_range",
            "an output activation that cannot reach the targets",
            "> 2 % of the targets beyond σ's range; any σ before a loss of raw outputs",
            "by definition",
            "(4)",
            ("remove_output_activation",),
            symptoms.output_range,
            ("dead_relu", "saturation", "vanishing"),
        ),
        Rule(
            "frozen",
            "parameters that do not learn",
            "requires_grad is False, or no gradient comes",
            "by definition",
            "(6)",
            ("unfreeze",),
            symptoms.frozen,
        ),
        Rule(
            "symmetry",
            "units that nothing tells apart",
            "equal (w, b, ∂w) for > 50 % of a layer",
            "section 5",
            "section 5",
            ("initialize", "relu_he"),
            symptoms.symmetry,
            ("vanishing", "dead_relu", "init_small", "rate_low"),
        ),
        Rule(
            "no_activation",
            "a linear network",
            "no σ between the linear layers",
            "section 2",
            "(2)",
            ("relu_he", "gelu_he"),
            symptoms.no_activation,
        ),
        Rule(
            "unscaled_inputs",
            "inputs far from unit size",
            "RMS > 10 or < 0.02; deviations apart by > 100",
            "LeCun et al. 1998",
            "(1)",
            ("standardise_inputs", "batch_norm"),
            symptoms.unscaled_inputs,
            (
                "saturation",
                "exploding",
                "dead_relu",
                "rate_high",
                "rate_low",
                "non_finite",
                "output_scale",
                "vanishing",
            ),
        ),
        Rule(
            "unscaled_targets",
            "targets far from unit size",
            "√(mean² + std²) > 10 or < 0.02",
            "LeCun et al. 1998",
            "(4)",
            ("standardise_targets",),
            symptoms.unscaled_targets,
            ("rate_high", "rate_low", "non_finite", "exploding", "output_range", "output_scale", "dead_relu"),
        ),
        Rule(
            "init_large",
            "weights drawn too large",
            "std(W) > 3 gain/√n_in",
            "section 5",
            "(8), (9)",
            ("initialize", "batch_norm", "relu_he"),
            symptoms.init_large,
            (
                "saturation",
                "exploding",
                "rate_high",
                "rate_low",
                "output_scale",
                "dead_relu",
                "non_finite",
                "vanishing",
                "overfitting",
            ),
        ),
        Rule(
            "init_small",
            "weights drawn too small",
            "RMS(W) < 0.2 gain/√n_in",
            "section 5",
            "(8), (9)",
            ("initialize", "batch_norm", "relu_he"),
            symptoms.init_small,
            ("vanishing", "rate_low", "dead_relu"),
        ),
        Rule(
            "dead_relu",
            "dead ReLUs",
            "0 for every one of 512 rows: > 50 % of a layer",
            "section 8.3",
            "(5)",
            ("initialize", "leaky", "gelu_he", "rate"),
            symptoms.dead_relu,
            ("vanishing", "rate_low"),
        ),
        Rule(
            "saturation",
            "saturated units",
            "σ'(z) < 5 % of its maximum for > 50 % of z",
            "Glorot, Bengio 2010",
            "(5)",
            ("initialize", "relu_he", "batch_norm"),
            symptoms.saturation,
            ("vanishing", "rate_low"),
        ),
        Rule(
            "exploding",
            "a signal that grows from layer to layer",
            "RMS(h) grows > 30 times",
            "section 4",
            "(5)",
            _SIGNAL,
            symptoms.exploding,
            ("rate_high", "non_finite", "output_scale", "dead_relu", "rate_low"),
        ),
        Rule(
            "vanishing",
            "an error signal that vanishes",
            "RMS(δ^(1)) < RMS(δ^(L))/100",
            "section 4",
            "(5)",
            ("relu_he", "batch_norm", "residual", "initialize", "gelu_he"),
            symptoms.vanishing,
            ("rate_low",),
        ),
        Rule(
            "output_scale",
            "an output layer drawn too large",
            "ℒ₀ > 3 times the baseline",
            "section 5",
            "(8)",
            ("initialize",),
            symptoms.output_scale,
            ("rate_high",),
        ),
        Rule(
            "rate_high",
            "a learning rate that is too high",
            "lr > 2 times the largest that works",
            "the sweep G2",
            "",
            ("rate", "clip", "batch_norm"),
            symptoms.rate_high,
            ("dead_relu", "non_finite", "exploding"),
        ),
        Rule(
            "rate_low",
            "a learning rate that is too low",
            "lr < 1/20 of the smallest that works",
            "the sweep G2",
            "",
            ("rate",),
            symptoms.rate_low,
        ),
        Rule(
            "over_regularised",
            "too much regularisation",
            "dropout > 0.6, penalty > 0.003, decay > 0.01 (decoupled: 0.5)",
            "usual settings",
            "",
            ("less_regularisation",),
            symptoms.over_regularised,
            ("rate_low", "dead_relu", "vanishing"),
        ),
        Rule(
            "no_signal",
            "targets that do not depend on the inputs",
            "score(real) < score(shuffled) + 5 points",
            "the gate G3",
            "",
            (),
            symptoms.no_signal,
            ("overfitting",),
            alone=True,
        ),
        Rule(
            "class_imbalance",
            "a rare class",
            "rarest < 0.2/n_classes",
            "usual settings",
            "",
            ("class_weights",),
            symptoms.class_imbalance,
        ),
        Rule(
            "overfitting",
            "overfitting",
            "score falls by > 10 points on other rows, and the loss doubles",
            "section 8.4",
            "",
            ("early_stopping", "more_regularisation"),
            symptoms.overfitting,
        ),
    )
}
