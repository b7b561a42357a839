"""Prescriptions: each a function from a training to another one, and none changes what it is given.

A prescription is a proposal. Whether it helps is not argued but run: see ``proof.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.functions.losses import get_loss
from chainrule.health.evidence import Evidence, by_column
from chainrule.health.telemetry import dropouts
from chainrule.health.trainings import Training, are_probabilities, loss_function, loss_of, with_settings

__all__ = ["PRESCRIPTIONS", "Prescription"]

# Without a measured norm, that to which recurrent networks have long been clipped (Pascanu et al. 2013).
USUAL_CLIP = 1.0
# Rows that are sent through a network of PyTorch to see which activation follows which layer.
MOST_LOOKED_AT = 16
CROSS_ENTROPIES = ("softmax_cross_entropy", "binary_cross_entropy")


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


def _module(change: Callable[[Training], Any]) -> Callable[..., Training | None]:
    """A remedy that changes nothing but the module."""

    def make(training: Training, evidence: Evidence) -> Training | None:
        try:
            module = change(training)
        except (RuntimeError, ValueError):
            return None  # a layer does not fit where it was put, which PyTorch says in running it
        return None if module is None else training.altered(module=module)

    return make


def _initialized(training: Training, module: Any = None) -> Any:
    """The module, or one that was made of it, with weights drawn anew."""
    module = training.module if module is None else module
    return training.backend.surgery.initialized(module, rows=training.X[:MOST_LOOKED_AT])


def _with(activation: str) -> Callable[..., Training | None]:
    """Another activation in the hidden layers, and weights drawn for it."""

    def change(training: Training) -> Any:
        made = training.backend.surgery.with_activations(training.module, activation)
        return None if made is None else _initialized(training, made)

    return _module(change)


def _normalised(training: Training) -> Any:
    made = training.backend.surgery.with_batch_norm(training.module)
    return None if made is None else _initialized(training, made)


def _residual(training: Training) -> Any:
    made = training.backend.surgery.with_residuals(training.module)
    return None if made is None else _initialized(training, made)


def _unfrozen(training: Training, evidence: Evidence) -> Training | None:
    frozen = [one for one in training.module.parameters() if not one.requires_grad]
    if not frozen and not training.left_out:
        return None
    module = training.backend.copied(training.module).requires_grad_(True)
    optimizer = training.optimizer.over_all() if training.left_out else training.optimizer
    return training.altered(module=module, optimizer=optimizer)


def _output_activation_removed(training: Training, evidence: Evidence) -> Training | None:
    """Without it; where it is in a forward of the user's own, softmax is undone by a logarithm.

    That is the same: cross-entropy of ln softmax(z) is that of z.
    """
    made = training.backend.surgery.without_last_activation(training.module)
    if made is not None:
        return training.altered(module=made)
    theirs, logarithm = loss_function(training), training.backend.logarithm
    if logarithm is None or not are_probabilities(evidence.outputs):
        return None
    return training.altered(loss=lambda outputs, y: theirs(logarithm(outputs), y))


def _loss_of_logits(training: Training, evidence: Evidence) -> Training | None:
    """The same loss, computed from logits: ln Σ exp(z) − z_y, which never takes the logarithm of 0.

    That it is the same is seen by its values, of logits or of their softmax (sigmoid).
    """
    n_outputs = evidence.outputs.shape[1]
    if training.step is not None or training.loss_record(n_outputs) in CROSS_ENTROPIES:
        return None
    stable = training.altered(loss=training.backend.loss_of_logits(n_outputs))
    y = training.y[:MOST_LOOKED_AT]
    logits = np.random.default_rng(0).normal(size=(len(y), n_outputs)).astype(np.float32)
    expected = _value_of(stable, logits, y)
    if np.isclose(_value_of(training, logits, y), expected, rtol=1e-3):
        return stable
    module = training.backend.surgery.without_last_activation(training.module)
    record = "binary_cross_entropy" if n_outputs == 1 else "softmax_cross_entropy"
    probabilities = get_loss(record).link(logits)
    is_same = np.isclose(_value_of(training, probabilities, y), expected, rtol=1e-3)
    return stable.altered(module=module) if module is not None and is_same else None


def _value_of(training: Training, outputs: np.ndarray, y: np.ndarray) -> float:
    """A loss of raw outputs; NaN where it takes none such."""
    try:
        return loss_of(training, outputs, y)
    except (RuntimeError, ValueError, TypeError, IndexError):
        return float("nan")


def _clipped(training: Training, evidence: Evidence) -> Training | None:
    """At the median of the gradient norms that were seen."""
    norms = [
        float(np.sqrt(sum(layer.gradient_norm**2 for layer in one.layers)))
        for one in (evidence.start, evidence.early, evidence.end)
        if one is not None
    ]
    norms = [norm for norm in norms if np.isfinite(norm) and norm > 0]
    if not training.takes("clip_norm"):
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


def _standardised_inputs(training: Training, evidence: Evidence) -> Training | None:
    if training.X.dtype.kind in "iu":
        return None
    with np.errstate(all="ignore"):
        finite = by_column(np.where(np.isfinite(training.X), training.X, np.nan).astype(np.float64))
        mean, spread = np.nanmean(finite, axis=0), np.nanstd(finite, axis=0)
    spread = np.where(spread > 1e-12 * np.maximum(1.0, np.abs(mean)), spread, 1.0)
    # Of one row of columns, or of the channels of an image.
    shape = training.X.shape[1:] if training.X.ndim < 4 else (-1,) + (1,) * (training.X.ndim - 2)
    mean, spread = mean.reshape(shape), spread.reshape(shape)

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
    module = training.backend.copied(training.module)
    strong = [one for one in dropouts(module) if one.p > 0.2]
    for one in strong:
        one.p = 0.2
    if len(options) == len(training.options) and not changed and not strong:
        return None
    optimizer = with_settings(training.optimizer, **changed) if changed else training.optimizer
    return training.altered(module=module, optimizer=optimizer, options=options)


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _stopped_early(training: Training, evidence: Evidence) -> Training | None:
    if not training.takes("early_stopping") or training.options.get("early_stopping"):
        return None
    return training.altered(options={**training.options, "early_stopping": max(2, training.epochs // 10)})


def _more_regularised(training: Training, evidence: Evidence) -> Training | None:
    """A penalty, or where the loop takes none the optimizer's weight decay."""
    if not training.takes("l2"):
        decay = training.optimizer.defaults.get("weight_decay")
        if decay is None:
            return None
        stronger = with_settings(training.optimizer, weight_decay=max(1e-2, 10 * float(decay)))
        return training.altered(optimizer=stronger)
    penalty = max(1e-2, 10 * float(training.options.get("l2", 0.0)))
    return training.altered(options={**training.options, "l2": penalty})


def _class_weights(training: Training, evidence: Evidence) -> Training | None:
    if not training.takes("class_weight") or not training.classify or training.options.get("class_weight"):
        return None
    return training.altered(options={**training.options, "class_weight": "balanced"})


def _gradients_zeroed(training: Training, evidence: Evidence) -> Training | None:
    if training.step is None:
        return None
    theirs = training.step

    def step(module: Any, optimizer: Any, x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        return theirs(module, optimizer, x, y)

    return training.altered(step=step)


def _loss_turned(training: Training, evidence: Evidence) -> Training | None:
    if training.optimizer.defaults.get("maximize"):
        return training.altered(optimizer=with_settings(training.optimizer, maximize=False))
    if training.backend.knows_loss(training.loss):
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
            _module(_initialized),
        ),
        Prescription(
            "relu_he",
            "ReLU in the hidden layers, weights by He's rule",
            "(9)",
            _with("relu"),
        ),
        Prescription(
            "gelu_he",
            "GELU in the hidden layers, weights by He's rule",
            "(9)",
            _with("gelu"),
        ),
        Prescription(
            "leaky",
            "leaky ReLU in the hidden layers, weights by He's rule",
            "(9)",
            _with("leaky_relu"),
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
            _output_activation_removed,
        ),
        Prescription(
            "loss_of_logits",
            "no softmax or sigmoid at the end, and cross-entropy computed from the logits",
            "(4)",
            _loss_of_logits,
        ),
        Prescription(
            "unfreeze",
            "let all parameters learn",
            "(6)",
            _unfrozen,
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
            "a penalty, or weight decay, of 0.01 on the weights",
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
