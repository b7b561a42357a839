"""Prescriptions: each a function from a training to another one, and none changes what it is given.

A prescription is a proposal. Whether it helps is not argued but run: see ``proof.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chainrule import nn
from chainrule.health.evidence import Evidence
from chainrule.health.surgery import (
    initialized,
    with_activations,
    with_batch_norm,
    with_residuals,
    without_last_activation,
)
from chainrule.health.trainings import Training, loss_function, with_settings

__all__ = ["PRESCRIPTIONS", "Prescription"]

# Without a measured norm, that to which recurrent networks have long been clipped (Pascanu et al. 2013).
USUAL_CLIP = 1.0


@dataclass(frozen=True)
class Prescription:
    """One remedy.

    Attributes
    ----------
    code : str
    title : str
        What is to be done, for people.
    equation : str
        Of the chapter; empty where there is none.
    make : callable
        ``make(training, evidence)``: the training with the remedy, or None where it does not apply.
    """

    code: str
    title: str
    equation: str
    make: Callable[[Training, Evidence], Training | None]


def _module(change: Callable[[nn.Module], nn.Module | None]) -> Callable[..., Training | None]:
    """A remedy that changes nothing but the module."""

    def make(training: Training, evidence: Evidence) -> Training | None:
        module = change(training.module)
        return None if module is None else training.altered(module=module)

    return make


def _rectified(module: nn.Module) -> nn.Module:
    return initialized(with_activations(module, "relu"))


def _leaky(module: nn.Module) -> nn.Module:
    return initialized(with_activations(module, "leaky_relu"))


def _gelu(module: nn.Module) -> nn.Module:
    return initialized(with_activations(module, "gelu"))


def _normalised(module: nn.Module) -> nn.Module | None:
    made = with_batch_norm(module)
    return None if made is None else initialized(made)


def _residual(module: nn.Module) -> nn.Module | None:
    made = with_residuals(module)
    return None if made is None else initialized(made)


def _unfrozen(module: nn.Module) -> nn.Module | None:
    if all(one.requires_grad for one in module.parameters()):
        return None
    return module.copy().requires_grad_(True)


def _softmax_removed(module: nn.Module) -> nn.Module | None:
    return without_last_activation(module)


def _clipped(training: Training, evidence: Evidence) -> Training | None:
    """At the median of the gradient norms that were seen."""
    norms = [
        float(np.sqrt(sum(layer.gradient_norm**2 for layer in one.layers)))
        for one in (evidence.start, evidence.early, evidence.end)
        if one is not None
    ]
    norms = [norm for norm in norms if np.isfinite(norm) and norm > 0]
    if training.is_by_hand:
        return None
    clip = float(np.median(norms)) if norms else USUAL_CLIP
    return training.altered(options={**training.options, "clip_norm": clip})


def _best_rate(training: Training, evidence: Evidence) -> Training | None:
    """A rate from the sweep: of those that bring at least half of the best, the middle one."""
    swept = evidence.swept
    if swept is None or not np.isfinite(min(swept.losses)):
        return None
    good = sorted(swept.good_rates)
    rate = good[(len(good) - 1) // 2]
    return None if rate == training.learning_rate else training.with_rate(rate)


def _standardised_inputs(training: Training, evidence: Evidence) -> Training:
    with np.errstate(all="ignore"):
        finite = np.where(np.isfinite(training.X), training.X, np.nan).astype(np.float64)
        mean, spread = np.nanmean(finite, axis=0), np.nanstd(finite, axis=0)
    spread = np.where(spread > 1e-12 * np.maximum(1.0, np.abs(mean)), spread, 1.0)

    def scaled(X: np.ndarray) -> np.ndarray:
        z = (np.where(np.isfinite(X), X, mean) - mean) / spread
        return np.clip(z, -20, 20).astype(training.X.dtype)

    validation = training.validation
    if validation is not None:
        validation = (scaled(validation[0]), validation[1])
    return training.altered(X=scaled(training.X), validation=validation)


def _standardised_targets(training: Training, evidence: Evidence) -> Training | None:
    if training.classify:
        return None
    mean, spread = training.y.mean(axis=0), training.y.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)

    def scaled(y: np.ndarray) -> np.ndarray:
        return ((y - mean) / spread).astype(training.y.dtype)

    validation = training.validation
    if validation is not None:
        validation = (validation[0], scaled(validation[1]))
    return training.altered(y=scaled(training.y), validation=validation)


def _less_regularised(training: Training, evidence: Evidence) -> Training | None:
    """No penalty, no decay, and a dropout of a fifth at most."""
    options = {name: value for name, value in training.options.items() if name not in ("l2", "l1")}
    decays = [
        name for name in ("weight_decay", "decoupled_weight_decay") if name in training.optimizer.defaults
    ]
    changed = {name: 0.0 for name in decays if _is_positive(training.optimizer.defaults[name])}
    module = training.module.copy()
    strong = [one for one in module.modules() if isinstance(one, nn.Dropout) and one.p > 0.2]
    for one in strong:
        one.p = 0.2
    if len(options) == len(training.options) and not changed and not strong:
        return None
    optimizer = with_settings(training.optimizer, **changed) if changed else training.optimizer
    return training.altered(module=module, optimizer=optimizer, options=options)


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _stopped_early(training: Training, evidence: Evidence) -> Training | None:
    if training.is_by_hand or training.options.get("early_stopping"):
        return None
    return training.altered(options={**training.options, "early_stopping": max(2, training.epochs // 10)})


def _more_regularised(training: Training, evidence: Evidence) -> Training | None:
    if training.is_by_hand:
        return None
    stronger = {**training.options, "l2": max(1e-2, 10 * float(training.options.get("l2", 0.0)))}
    return training.altered(options=stronger)


def _class_weights(training: Training, evidence: Evidence) -> Training | None:
    if training.is_by_hand or not training.classify or training.options.get("class_weight") is not None:
        return None
    return training.altered(options={**training.options, "class_weight": "balanced"})


def _gradients_zeroed(training: Training, evidence: Evidence) -> Training | None:
    if training.step is None:
        return None
    theirs = training.step

    def step(module: nn.Module, optimizer: object, x: object, y: np.ndarray) -> object:
        optimizer.zero_grad()  # type: ignore[attr-defined]
        return theirs(module, optimizer, x, y)  # type: ignore[arg-type]

    return training.altered(step=step)


def _loss_turned(training: Training, evidence: Evidence) -> Training | None:
    if training.optimizer.defaults.get("maximize"):
        return training.altered(optimizer=with_settings(training.optimizer, maximize=False))
    if isinstance(training.loss, str | nn.LossModule):
        return None
    theirs = loss_function(training)
    return training.altered(loss=lambda outputs, y: -theirs(outputs, y))


PRESCRIPTIONS: dict[str, Prescription] = {
    one.code: one
    for one in (
        Prescription(
            "initialize",
            "draw the weights by He's or Xavier's rule",
            "(8), (9)",
            _module(initialized),
        ),
        Prescription(
            "relu_he",
            "ReLU in the hidden layers, weights by He's rule",
            "(9)",
            _module(_rectified),
        ),
        Prescription(
            "gelu_he",
            "GELU in the hidden layers, weights by He's rule",
            "(9)",
            _module(_gelu),
        ),
        Prescription(
            "leaky",
            "leaky ReLU in the hidden layers, weights by He's rule",
            "(9)",
            _module(_leaky),
        ),
        Prescription(
            "batch_norm",
            "batch normalisation in the hidden layers",
            "section 4",
            _module(_normalised),
        ),
        Prescription(
            "residual",
            "residual connections around layers of one width",
            "section 4",
            _module(_residual),
        ),
        Prescription(
            "clip",
            "clip the gradient at the median norm measured",
            "section 4",
            _clipped,
        ),
        Prescription(
            "rate",
            "a learning rate from the sweep",
            "",
            _best_rate,
        ),
        Prescription(
            "standardise_inputs",
            "standardise the inputs, gaps filled",
            "",
            _standardised_inputs,
        ),
        Prescription(
            "standardise_targets",
            "standardise the targets",
            "",
            _standardised_targets,
        ),
        Prescription(
            "remove_output_activation",
            "nothing after the last linear layer: the loss has the link",
            "(4)",
            _module(_softmax_removed),
        ),
        Prescription(
            "unfreeze",
            "let all parameters learn",
            "(6)",
            _module(_unfrozen),
        ),
        Prescription(
            "zero_grad",
            "zero the gradients before each backward pass",
            "(6)",
            _gradients_zeroed,
        ),
        Prescription(
            "loss_sign",
            "minimise the loss, not its negative",
            "(3)",
            _loss_turned,
        ),
        Prescription(
            "less_regularisation",
            "no penalty or decay, and dropout of a fifth at most",
            "",
            _less_regularised,
        ),
        Prescription(
            "early_stopping",
            "stop when the loss on rows held out rises",
            "",
            _stopped_early,
        ),
        Prescription(
            "more_regularisation",
            "a penalty of 0.01 on the weights",
            "",
            _more_regularised,
        ),
        Prescription(
            "class_weights",
            "weigh the classes by their rarity",
            "",
            _class_weights,
        ),
    )
}
