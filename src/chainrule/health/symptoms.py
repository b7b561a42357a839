"""What the rules look for: functions of the evidence to a number, its limit and where, or to nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from chainrule.functions.activations import ACTIVATIONS
from chainrule.health.evidence import Evidence
from chainrule.health.surgery import kept_scale
from chainrule.health.telemetry import LayerState, Snapshot, dropouts, is_a
from chainrule.health.trainings import are_probabilities

__all__ = ["Candidate"]


@dataclass(frozen=True)
class Candidate:
    """A rule that holds.

    Attributes
    ----------
    measured, limit : float
        The number and what it is compared with.
    where : str
        The layer, column or parameter; empty for the whole network.
    detail : str
        The measurement in words.
    late : bool
        Whether it shows in the course of the training only, so that other causes come first.
    """

    measured: float
    limit: float
    where: str = ""
    detail: str = ""
    late: bool = False


# --------------------------------------------------------------------------------------------- helpers


def hidden_layers(snapshot: Snapshot | None) -> tuple[LayerState, ...]:
    """All layers but the last."""
    return () if snapshot is None else snapshot.layers[:-1]


def _scales(evidence: Evidence) -> list[tuple[str, float]]:
    """Each layer's root mean square of W as a multiple of what keeps the signal, (8) and (9)."""
    return [
        (one.name, one.weight_rms / kept_scale(one.fan_in, one.activation))
        for one in (() if evidence.start is None else evidence.start.layers)
    ]


def _normalises(evidence: Evidence) -> bool:
    return any(is_a(one, "Norm") for one in evidence.training.module.modules())


# ------------------------------------------------------------------------------------------------ data


def non_finite(evidence: Evidence) -> Candidate | None:
    count = evidence.inputs.non_finite
    if count:
        return Candidate(count, 0, "X", f"{count} entries of the inputs are NaN or infinite")
    for one in (evidence.start, evidence.early, evidence.end):
        if one is not None and one.non_finite:
            detail = f"{one.non_finite} is not finite at step {one.step}"
            return Candidate(1, 0, one.non_finite, detail, late=True)
    if evidence.ran is not None and not evidence.ran.is_finite:
        return Candidate(1, 0, "the loss", "the loss became infinite or NaN in training", late=True)
    return None


def unscaled_inputs(evidence: Evidence) -> Candidate | None:
    facts = evidence.inputs
    if facts.rms > 10 or (facts.largest_mean > 50 and facts.rms > 3):
        return Candidate(facts.rms, 10, "X", f"the inputs' root mean square is {facts.rms:.3g}")
    if facts.narrowest > 0 and facts.widest / facts.narrowest > 100 and facts.widest > 5:
        ratio = facts.widest / facts.narrowest
        return Candidate(
            ratio, 100, "X", f"the widest column's deviation is {ratio:.3g} times the narrowest's"
        )
    if 0 < facts.rms < 0.02:
        return Candidate(facts.rms, 0.02, "X", f"the inputs' root mean square is {facts.rms:.3g}")
    return None


def unscaled_targets(evidence: Evidence) -> Candidate | None:
    facts = evidence.targets
    if facts.n_classes:
        return None
    size = math.hypot(facts.mean, facts.std)
    if size > 10 or 0 < size < 0.02:
        limit = 10 if size > 10 else 0.02
        return Candidate(
            size, limit, "y", f"the targets' mean is {facts.mean:.3g}, their deviation {facts.std:.3g}"
        )
    return None


def class_imbalance(evidence: Evidence) -> Candidate | None:
    facts = evidence.targets
    if not facts.n_classes or facts.rarest * facts.n_classes > 0.2:
        return None
    return Candidate(
        facts.rarest, 0.2 / facts.n_classes, "y", f"the rarest class has {facts.rarest:.2%} of the rows"
    )


def no_signal(evidence: Evidence) -> Candidate | None:
    blind = evidence.blind
    if blind is None or blind.passed:
        return None
    fits = evidence.memorised is not None and evidence.memorised.passed
    learned = evidence.ran is not None and evidence.ran.validation is not None and (
        evidence.ran.validation.score >= blind.constant + 0.05
    )  # fmt: skip
    if not fits or learned:
        return None
    gap = max(blind.real, -1.0) - max(blind.shuffled, -1.0)
    return Candidate(
        gap, 0.05, "y", f"on rows held out: {blind.real:.3f}, with shuffled inputs {blind.shuffled:.3f}"
    )


# ------------------------------------------------------------------------------------- loss and output


def loss_sign(evidence: Evidence) -> Candidate | None:
    if evidence.training.optimizer.defaults.get("maximize"):
        return Candidate(1, 0, "the optimizer", "the optimizer maximises the loss")
    right, constant = evidence.perfect_loss, evidence.constant_loss
    if not right > constant + 1e-6 * abs(constant):
        return None
    detail = f"the loss of right outputs, {right:.3g}, is above that of constant ones, {constant:.3g}"
    return Candidate(right, constant, "the loss", detail)


def double_softmax(evidence: Evidence) -> Candidate | None:
    z = evidence.outputs
    # A loss that has no value for raw outputs is one of probabilities, which takes no softmax itself.
    takes_raw = np.isfinite(evidence.perfect_loss)
    if not evidence.training.classify or not are_probabilities(z) or not takes_raw:
        return None
    off = float(np.abs(z.sum(axis=1) - 1).max())
    return Candidate(off, 1e-3, "the output", "the outputs are probabilities already")


def output_range(evidence: Evidence) -> Candidate | None:
    """The last activation cannot give what the targets, or a loss of raw outputs, ask for."""
    name = _last_activation(evidence)
    if name is None or evidence.training.takes_probabilities:
        return None
    low, high = ACTIVATIONS[name].output_range
    if evidence.training.classify:
        return Candidate(high, math.inf, name, f"the loss takes any number, {name} gives {low:g} to {high:g}")
    y = evidence.training.y
    outside = float(((y < low) | (y > high)).mean())
    if outside <= 0.02:
        return None
    return Candidate(outside, 0.02, name, f"{outside:.0%} of the targets are beyond {low:g} to {high:g}")


def _last_activation(evidence: Evidence) -> str | None:
    layers = () if evidence.start is None else evidence.start.layers
    return layers[-1].activation if layers else None


def output_scale(evidence: Evidence) -> Candidate | None:
    scales = _scales(evidence)
    if len(scales) < 2 or evidence.start is None or not evidence.baseline > 0:
        return None
    own, others = scales[-1][1], [scale for _, scale in scales[:-1]]
    excess = evidence.start.loss / evidence.baseline
    if own < 4 or excess < 3 or max(others) > 0.7 * own:
        return None
    return Candidate(
        excess, 3, scales[-1][0], f"before the first step the loss is {excess:.3g} times the baseline's"
    )


# ------------------------------------------------------------------------------------------- structure


def frozen(evidence: Evidence) -> Candidate | None:
    found = evidence.start
    names = () if found is None else (*found.frozen, *found.disconnected)
    if not names:
        return None
    parameters = dict(evidence.training.module.named_parameters())
    sizes = {name: math.prod(one.shape) for name, one in parameters.items()}
    share = sum(sizes[name] for name in names) / sum(sizes.values())
    what = "get no gradient"
    if found is not None and found.frozen:
        asked = all(parameters[name].requires_grad for name in found.frozen)
        what = "are not among the optimizer's" if asked else "do not ask for a gradient"
    return Candidate(share, 0, names[0], f"{', '.join(names[:4])} {what}: {share:.0%} of the numbers")


def symmetry(evidence: Evidence) -> Candidate | None:
    layers = [layer for layer in hidden_layers(evidence.start) if layer.width > 1]
    equal = next(
        (layer for layer in layers if layer.weight_std == 0 and layer.fan_in * layer.width > 1), None
    )
    if equal is not None:
        return Candidate(1.0, 0.5, equal.name, f"all weights of layer {equal.name} are equal")
    worst = max(layers, key=lambda layer: layer.duplicates, default=None)
    if worst is None or worst.duplicates <= 0.5:
        return None
    detail = (
        f"{worst.duplicates:.0%} of layer {worst.name}'s units have the weights and the gradient of another"
    )
    return Candidate(worst.duplicates, 0.5, worst.name, detail)


def no_activation(evidence: Evidence) -> Candidate | None:
    hidden = hidden_layers(evidence.start)
    bare = [layer for layer in hidden if layer.bare]
    if not hidden or len(bare) < len(hidden):
        return None
    return Candidate(
        len(bare), 0, "", f"none of the {len(bare)} hidden layers has an activation: the network is linear"
    )


def not_zeroed(evidence: Evidence) -> Candidate | None:
    if not evidence.accumulates:
        return None
    return Candidate(1, 0, "the step", "a step's gradient holds that of the step before")


# -------------------------------------------------------------------------------------- initialization


def init_small(evidence: Evidence) -> Candidate | None:
    scales = _scales(evidence)
    name, least = min(scales, key=lambda pair: pair[1], default=("", 1.0))
    if least >= 0.2 or least == 0 or _normalises(evidence) or _is_symmetric(evidence):
        return None
    return Candidate(least, 0.2, name, f"layer {name}'s weights are {least:.3g} of what keeps the signal")


def init_large(evidence: Evidence) -> Candidate | None:
    scales = _scales(evidence)
    name, most = max(scales[:-1], key=lambda pair: pair[1], default=("", 1.0))
    if most <= 3 or _is_symmetric(evidence):
        return None
    return Candidate(most, 3, name, f"layer {name}'s weights are {most:.3g} times what keeps the signal")


def _is_symmetric(evidence: Evidence) -> bool:
    return symmetry(evidence) is not None


def exploding(evidence: Evidence) -> Candidate | None:
    layers = () if evidence.start is None else evidence.start.layers
    sizes = [layer.h_rms for layer in layers[:-1]]
    if len(sizes) < 2 or not sizes[0] > 0:
        return None
    growth = max(sizes) / sizes[0] if np.isfinite(sizes).all() else math.inf
    if growth < 30 and _delta_ratio(evidence.start) > 0.01:  # nor does δ grow on its way back
        return None
    detail = f"the signal grows {growth:.3g} times on its way through {len(sizes)} layers"
    return Candidate(growth, 30, layers[int(np.argmax(sizes))].name, detail)


def _delta_ratio(snapshot: Snapshot | None) -> float:
    """δ of the last layer over δ of the first: above 1 where the error signal vanishes."""
    if snapshot is None or len(snapshot.layers) < 2:
        return 1.0
    first, last = snapshot.layers[0].delta_rms, snapshot.layers[-1].delta_rms
    if first == 0:
        return math.inf if last > 0 else 1.0
    return last / first


def vanishing(evidence: Evidence) -> Candidate | None:
    ratios = [(one, _delta_ratio(one)) for one in (evidence.start, evidence.early) if one is not None]
    if not ratios or _is_symmetric(evidence):
        return None
    # At both moments: what passes after a few steps is no hindrance.
    found, ratio = min(ratios, key=lambda pair: pair[1])
    depth = len(found.layers) - 1
    if not ratio >= 100 or (depth < 3 and np.isfinite(ratio)):
        return None
    detail = f"δ is {ratio:.3g} times smaller at the first of {depth + 1} layers than at the last"
    if not np.isfinite(ratio):
        detail = f"δ is 0 at the first of {depth + 1} layers"
    return Candidate(ratio, 100, found.layers[0].name, detail)


# --------------------------------------------------------------------------------------- dead and flat


def dead_relu(evidence: Evidence) -> Candidate | None:
    """Seen twice: before the first step and 30 steps later, or after training."""
    names = [_dead_layers(one) for one in (evidence.start, evidence.early, evidence.end)]
    start, early, end = names
    twice = start if evidence.early is None else {name: start[name] for name in start if name in early}
    found, when = (twice, "before the first step") if twice else (end, "after training")
    if not found:
        return None
    name = max(found, key=lambda one: found[one])
    detail = f"{found[name]:.0%} of layer {name}'s ReLUs give 0 for every row {when}"
    return Candidate(found[name], 0.5, name, detail, late=not twice)


def _dead_layers(snapshot: Snapshot | None) -> dict[str, float]:
    """The share of dead units of the hidden layers where it is above a half."""
    return {layer.name: layer.dead for layer in hidden_layers(snapshot) if layer.dead > 0.5}


def saturation(evidence: Evidence) -> Candidate | None:
    worst = max(hidden_layers(evidence.start), key=lambda layer: layer.saturated, default=None)
    if worst is None or worst.saturated <= 0.5:
        return None
    detail = f"σ' is below 5 % of its maximum for {worst.saturated:.0%} of layer {worst.name}'s values"
    return Candidate(worst.saturated, 0.5, worst.name, detail)


# -------------------------------------------------------------------------------------------- training


def rate_high(evidence: Evidence) -> Candidate | None:
    swept = evidence.swept
    if swept is None or swept.best_gain < 0.25 or swept.ratio <= 2:
        return None
    detail = (
        f"{swept.rate:g} is {swept.ratio:.3g} times the largest rate that works, {max(swept.good_rates):.3g}"
    )
    return Candidate(swept.ratio, 2, "the learning rate", detail)


def rate_low(evidence: Evidence) -> Candidate | None:
    swept = evidence.swept
    if swept is None or swept.best_gain < 0.25 or swept.ratio >= 0.05 or evidence.progress > 0.6:
        return None
    least = min(swept.good_rates)
    detail = f"{swept.rate:g} is {swept.ratio:.3g} of the smallest rate that gets anywhere, {least:.3g}"
    return Candidate(swept.ratio, 0.05, "the learning rate", detail)


def over_regularised(evidence: Evidence) -> Candidate | None:
    training = evidence.training
    dropout = max((one.p for one in dropouts(training.module)), default=0.0)
    penalty = max(float(training.options.get(name, 0.0)) for name in ("l2", "l1"))
    settings = training.optimizer.defaults
    decay = float(settings.get("weight_decay", 0.0))
    # A decoupled decay is multiplied by the learning rate, a coupled one is part of the gradient.
    decay_limit = (
        0.5 if settings.get("decoupled_weight_decay") or "AdamW" in training.optimizer_name else 0.01
    )
    for value, limit, what in (
        (dropout, 0.6, "dropout"), (penalty, 0.003, "the penalty"), (decay, decay_limit, "the weight decay"),
    ):  # fmt: skip
        if value > limit:
            return Candidate(value, limit, what, f"{what} is {value:g}")
    return None


def overfitting(evidence: Evidence) -> Candidate | None:
    ran = evidence.ran
    if ran is None or ran.validation is None or not evidence.whole:
        return None
    gap = ran.after.score - ran.validation.score
    if not gap > 0.1 or not ran.validation.loss > 2 * max(ran.after.loss, 1e-9):
        return None
    detail = f"{ran.after.score:.3f} on the rows to learn from, {ran.validation.score:.3f} on others"
    return Candidate(gap, 0.1, "", detail)
