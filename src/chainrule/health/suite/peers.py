"""The published rules of other tools, with their documented defaults, on recorded trainings.

What the benchmark compares a checkup with. Each rule is a function of a ``Recording``; it is written from the
documentation, or the published program, of the tool, and asks for nothing that it could not have seen:

- Amazon SageMaker Debugger: docs.aws.amazon.com/sagemaker/latest/dg/debugger-built-in-rules.html. Defaults of
  each rule's parameters are in the tables there. Tensors are taken as saved once an epoch.
- AutoTrainer (Zhang, Zhai, Ma & Shen, ICSE 2021): github.com/shiningrain/AUTOTRAINER, AutoTrainer/utils,
  ``monitor.py`` and the parameters of ``reproduce.py``.
- DeepDiagnosis (Wardat, Cruz, Le & Rajan, ICSE 2022): github.com/DeepDiagnosis/ICSE2022,
  callback/callbacks.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from chainrule.health.suite.recorder import Activation, Recording, Snapshot

__all__ = ["NAMED_CAUSES", "PEERS", "fired"]

Rule = Callable[[Recording], bool]


def fired(peer: str, recording: Recording) -> list[str]:
    """Names of a tool's rules that fire on a recording."""
    with np.errstate(all="ignore"):
        return [name for name, rule in PEERS[peer].items() if rule(recording)]


def _finite(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all())


def _tensors(one: Snapshot) -> list[np.ndarray]:
    """All that a tool saves of a step."""
    return [
        np.asarray(one.loss), *one.weights, *one.gradients, *one.bias_gradients, one.outputs,
        *(activation.h for activation in one.activations),
    ]  # fmt: skip


# ------------------------------------------------------------------------------- Amazon SageMaker Debugger


def sagemaker_vanishing_gradient(recording: Recording, threshold: float = 1e-7) -> bool:
    """The mean absolute value of a gradient is below the threshold."""
    return any(
        np.abs(gradient).mean() < threshold for one in recording.snapshots for gradient in one.gradients
    )


def sagemaker_exploding_tensor(recording: Recording) -> bool:
    """NaN or infinity in any tensor (``only_nan`` is False)."""
    return not all(_finite(tensor) for one in recording.snapshots for tensor in _tensors(one))


def sagemaker_dead_relu(
    recording: Recording, threshold_inactivity: float = 1.0, threshold_layer: float = 50.0
) -> bool:
    """More than half of the ReLUs of a layer are active on less than 1 % of the rows."""

    def dead(activation: Activation) -> float:
        active = 100 * (activation.h > 0).mean(axis=0)
        return 100 * float((active < threshold_inactivity).mean())

    return any(
        activation.name == "relu" and dead(activation) > threshold_layer
        for one in recording.snapshots
        for activation in one.activations
    )


# (min, max) of the inputs, where the slope falls below 1e-7.
_SATURATED = {"tanh": (-9.4999, 9.4999), "sigmoid": (-23.0, 16.99999)}


def sagemaker_saturated_activation(
    recording: Recording, threshold_inactivity: float = 1.0, threshold_layer: float = 50.0
) -> bool:
    """More than half of a layer's tanh or sigmoid units are between the extremes on less than 1 % of rows."""

    def saturated(activation: Activation) -> float:
        low, high = _SATURATED[activation.name]
        active = 100 * ((activation.z > low) & (activation.z < high)).mean(axis=0)
        return 100 * float((active < threshold_inactivity).mean())

    return any(
        activation.name in _SATURATED and saturated(activation) > threshold_layer
        for one in recording.snapshots
        for activation in one.activations
    )


def sagemaker_weight_update_ratio(
    recording: Recording, large: float = 10.0, small: float = 1e-8, epsilon: float = 1e-9
) -> bool:
    """The mean change of a weight since the last saved step, over its mean size, is too large or small."""
    for before, after in zip(recording.snapshots, recording.snapshots[1:], strict=False):
        for old, new in zip(before.weights, after.weights, strict=True):
            ratio = np.abs(new - old).mean() / (np.abs(old).mean() + epsilon)
            if ratio > large or ratio < small:
                return True
    return False


def sagemaker_all_zero(recording: Recording, threshold: float = 100.0) -> bool:
    """All of a weight or gradient is zero."""
    return any(
        100 * (tensor == 0).mean() >= threshold
        for one in recording.snapshots
        for tensor in (*one.weights, *one.gradients)
    )


def sagemaker_loss_not_decreasing(
    recording: Recording, num_steps: int = 10, diff_percent: float = 0.1, increase_percent: float = 5.0
) -> bool:
    """The loss fell by less than 0.1 %, or grew by more than 5 %, since a saved step 10 or more behind."""
    behind = max(1, math.ceil(num_steps / recording.training.steps_an_epoch))
    losses = [one.loss for one in recording.train]
    for before, after in zip(losses[::behind], losses[behind::behind], strict=False):
        fall = 100 * (before - after) / abs(before)
        if 0 <= fall < diff_percent or fall < -increase_percent:
            return True
    return False


def sagemaker_overfit(recording: Recording, ratio_threshold: float = 0.1, patience: int = 1) -> bool:
    """The validation loss exceeds the training loss by more than a tenth of it, more than once in a row."""
    count = 0
    for train, validation in zip(recording.train, recording.validation, strict=False):
        exceeds = (validation.loss - train.loss) / abs(train.loss) > ratio_threshold
        count = count + 1 if exceeds else 0
        if count > patience:
            return True
    return False


def sagemaker_overtraining(
    recording: Recording, patience_train: int = 5, patience_validation: int = 10, delta: float = 0.01
) -> bool:
    """Training or validation loss has not improved by 0.01 for so many saved steps."""
    return _stalls([one.loss for one in recording.train], patience_train, delta) or _stalls(
        [one.loss for one in recording.validation], patience_validation, delta
    )


def _stalls(losses: list[float], patience: int, delta: float) -> bool:
    best, stale = math.inf, 0
    for loss in losses:
        if loss < best - delta:
            best, stale = loss, 0
        else:
            stale += 1
        if stale > patience:
            return True
    return False


def sagemaker_class_imbalance(
    recording: Recording, threshold_imbalance: float = 10.0, threshold_misprediction: float = 0.7
) -> bool:
    """A class is ten times rarer than another, or 70 % of a class's rows are predicted wrongly."""
    y = recording.training.y
    if not recording.training.classify:
        return False
    counts = np.bincount(y)
    if counts.max() > threshold_imbalance * counts[counts > 0].min():
        return True
    if not len(recording.predicted):
        return False
    wrong = [(recording.predicted[y == label] != label).mean() for label in np.unique(y)]
    return bool(max(wrong) > threshold_misprediction)


def sagemaker_poor_weight_initialization(
    recording: Recording, threshold: float = 10.0, distribution_range: float = 0.001
) -> bool:
    """At the start: variances of the ReLUs' inputs differ tenfold between layers, or a gradient's 5th and
    95th percentile lie within 0.001.

    The third part of the rule, a loss that does not fall in the first 10 steps, is left out: what is recorded
    is one number an epoch.
    """
    start = recording.snapshots[0]
    variances = [activation.z.var() for activation in start.activations if activation.name == "relu"]
    if variances and not max(variances) <= threshold * min(variances):
        return True
    spreads = [np.subtract(*np.percentile(gradient, [95, 5])) for gradient in start.gradients]
    return bool(min(spreads) < distribution_range)


# --------------------------------------------------------------------------------------------- AutoTrainer

# beta_1, beta_2, beta_3, gamma, zeta, eta, delta and Theta of the published runs.
_VANISH_RATIO, _VANISH_NORM, _EXPLODE_RATIO, _DEAD_SHARE = 1e-3, 1e-4, 70.0, 0.7
_SWING, _SWING_SHARE, _LEAST_GAIN, _SATISFIED = 0.03, 0.2, 0.01, 0.6
_JUDGED_FROM = 0.3  # of all epochs


def _ratio_of_gradients(one: Snapshot) -> tuple[float, float]:
    norms = [float(np.linalg.norm(gradient)) for gradient in one.gradients]
    return float(np.divide(norms[0], norms[-1])), norms[0]


def _autotrainer_vanish(one: Snapshot) -> bool:
    ratio, first = _ratio_of_gradients(one)
    return ratio < _VANISH_RATIO and first < _VANISH_NORM


def _autotrainer_explode(one: Snapshot) -> bool:
    return _ratio_of_gradients(one)[0] > _EXPLODE_RATIO


def _autotrainer_dying(one: Snapshot) -> bool:
    gradients = [*one.gradients, *one.bias_gradients]
    zeros = sum(int((gradient == 0).sum()) for gradient in gradients)
    return zeros / sum(gradient.size for gradient in gradients) >= _DEAD_SHARE


def _autotrainer_not_finite(recording: Recording) -> bool:
    losses = [one.loss for one in (*recording.train, *recording.validation)]
    large = bool(recording.validation) and recording.validation[-1].loss >= 1e5
    arrays = (array for one in recording.snapshots for array in (*one.gradients, *one.weights))
    return large or not np.isfinite(losses).all() or not all(map(_finite, arrays))


def _gain(scores: Sequence[float]) -> float:
    return max(np.diff(scores).max(initial=0.0), 0.0)


def _swings(scores: list[float]) -> bool:
    """Whether neighbouring peaks and valleys of the accuracy differ by 3 points in a fifth of the epochs."""
    inner = range(1, len(scores) - 1)
    peaks = [scores[i] for i in inner if scores[i] >= max(scores[i - 1], scores[i + 1])]
    valleys = [scores[i] for i in inner if scores[i] <= min(scores[i - 1], scores[i + 1])]
    large = sum(high - low >= _SWING for high, low in zip(peaks, valleys, strict=False))
    return bool(large) and large >= _SWING_SHARE * len(scores)


def autotrainer(recording: Recording) -> str:
    """The first problem that it names while it watches, or an empty text.

    It judges accuracies; for numbers R² stands in for them.
    """
    if _autotrainer_not_finite(recording):
        return "exploding"
    scores = [one.score for one in recording.train]
    validated = [one.score for one in recording.validation] or scores
    for epoch in range(max(1, math.ceil(_JUDGED_FROM * len(scores))), len(scores) + 1):
        seen, measured = scores[:epoch], validated[:epoch]
        slow = _gain(seen) < _LEAST_GAIN and _gain(measured) < _LEAST_GAIN
        if slow or max(seen) < _SATISFIED or max(measured) < _SATISFIED:
            problem = _gradient_problem(recording.snapshots[1 : epoch + 1])
            if problem or slow:
                return problem or "slow_convergence"
        elif _swings(seen):
            return "oscillating_loss"
    return ""


def _gradient_problem(snapshots: list[Snapshot]) -> str:
    for name, found in (
        ("dying_relu", _autotrainer_dying),
        ("exploding", _autotrainer_explode),
        ("vanishing", _autotrainer_vanish),
    ):
        if any(map(found, snapshots)):
            return name
    return ""


def _autotrainer_rule(name: str) -> Rule:
    return lambda recording: autotrainer(recording) == name


# ------------------------------------------------------------------------------------------- DeepDiagnosis

_WINDOW, _LONG_WINDOW = 5, 20  # epochs


def _unchanged(values: Sequence[float], window: int) -> bool:
    """Whether, in a window, the mean is the largest: all are the same."""
    windows = (values[start : start + window] for start in range(0, len(values) - window + 1, window))
    return any(np.mean(one) == np.max(one) for one in windows)


def deepdiagnosis_numerical_error(recording: Recording) -> bool:
    """The mean of a layer's output, weight or gradient is NaN, infinite or exactly 0."""
    for one in recording.snapshots[1:] or recording.snapshots:
        arrays = [*one.weights, *one.gradients, one.outputs, *(each.h for each in one.activations)]
        means = np.array([array.mean() for array in arrays])
        if not np.isfinite(means).all() or (means == 0).any():
            return True
    return False


def deepdiagnosis_unchanged_weight(recording: Recording) -> bool:
    """The mean of a layer's output, weight or gradient is the same for 5 epochs."""
    after = recording.snapshots[1:]
    if not after:
        return False
    rows = [
        [array.mean() for array in (*one.weights, *one.gradients, *(each.h for each in one.activations))]
        for one in after
    ]
    return any(_unchanged(column, _WINDOW) for column in zip(*rows, strict=True))


def deepdiagnosis_saturated_activation(recording: Recording) -> bool:
    """At every fifth epoch: more than half of a sigmoid's or tanh's inputs are beyond ±5."""
    return any(
        activation.name in _SATURATED and (np.abs(activation.z) >= 5).mean() > 0.5
        for one in recording.snapshots[_WINDOW::_WINDOW]
        for activation in one.activations
    )


def deepdiagnosis_dead_node(recording: Recording) -> bool:
    """At the last epoch: 70 % of a ReLU layer's outputs are not above 0."""
    return any(
        activation.name == "relu" and (activation.h <= 0).mean() >= 0.7
        for activation in recording.snapshots[-1].activations
    )


_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf), "elu": (-1.0, math.inf)}


def deepdiagnosis_out_of_range(recording: Recording) -> bool:
    """The targets are beyond what the last activation can give; or the outputs' range is 10 times theirs.

    Logits of a cross-entropy, which has the softmax in it, are not judged by their range.
    """
    y, name = recording.training.y, recording.output_activation
    if recording.training.classify:
        return name == "relu"
    if name in _RANGES:
        low, high = _RANGES[name]
        return bool(y.min() < low or y.max() > high)
    first = recording.snapshots[min(1, len(recording.snapshots) - 1)].outputs
    return bool(np.ptp(first) > 10 * np.ptp(y))


def deepdiagnosis_loss_not_decreasing(recording: Recording) -> bool:
    """The loss is the same for 5 epochs, or not finite."""
    losses = [one.loss for one in recording.train]
    return not np.isfinite(losses).all() or _unchanged(losses, _WINDOW)


def deepdiagnosis_accuracy_not_increasing(recording: Recording) -> bool:
    """The accuracy is the same for 20 epochs, or 0, or not finite."""
    if not recording.training.classify:
        return False
    scores = [one.score for one in recording.train]
    return not np.isfinite(scores).all() or 0 in scores or _unchanged(scores, _LONG_WINDOW)


def deepdiagnosis_vanishing_gradient(recording: Recording) -> bool:
    """The mean absolute value of a gradient is below 1e-7, after an epoch."""
    return any(
        np.abs(gradient).mean() < 1e-7 for one in recording.snapshots[1:] for gradient in one.gradients
    )


# --------------------------------------------------------------------------------------------------- tables

PEERS: dict[str, dict[str, Rule]] = {
    "sagemaker": {
        "vanishing_gradient": sagemaker_vanishing_gradient,
        "exploding_tensor": sagemaker_exploding_tensor,
        "dead_relu": sagemaker_dead_relu,
        "saturated_activation": sagemaker_saturated_activation,
        "weight_update_ratio": sagemaker_weight_update_ratio,
        "all_zero": sagemaker_all_zero,
        "loss_not_decreasing": sagemaker_loss_not_decreasing,
        "overfit": sagemaker_overfit,
        "overtraining": sagemaker_overtraining,
        "class_imbalance": sagemaker_class_imbalance,
        "poor_weight_initialization": sagemaker_poor_weight_initialization,
    },
    "autotrainer": {
        name: _autotrainer_rule(name)
        for name in ("vanishing", "exploding", "dying_relu", "oscillating_loss", "slow_convergence")
    },
    "deepdiagnosis": {
        "numerical_error": deepdiagnosis_numerical_error,
        "unchanged_weight": deepdiagnosis_unchanged_weight,
        "saturated_activation": deepdiagnosis_saturated_activation,
        "dead_node": deepdiagnosis_dead_node,
        "out_of_range": deepdiagnosis_out_of_range,
        "loss_not_decreasing": deepdiagnosis_loss_not_decreasing,
        "accuracy_not_increasing": deepdiagnosis_accuracy_not_increasing,
        "vanishing_gradient": deepdiagnosis_vanishing_gradient,
    },
}

# The causes that a rule names, in our words and with good will; a rule that is not here names none.
NAMED_CAUSES: dict[str, tuple[str, ...]] = {
    "vanishing_gradient": ("vanishing", "init_small"),
    "vanishing": ("vanishing", "init_small"),
    "exploding_tensor": ("exploding", "non_finite", "rate_high"),
    "exploding": ("exploding", "non_finite", "rate_high"),
    "numerical_error": ("exploding", "non_finite", "rate_high"),
    "dead_relu": ("dead_relu",),
    "dying_relu": ("dead_relu",),
    "dead_node": ("dead_relu",),
    "saturated_activation": ("saturation",),
    "weight_update_ratio": ("rate_high", "rate_low", "frozen"),
    "all_zero": ("symmetry", "dead_relu"),
    "overfit": ("overfitting",),
    "overtraining": ("overfitting",),
    "class_imbalance": ("class_imbalance",),
    "poor_weight_initialization": ("init_small", "init_large", "symmetry"),
    "oscillating_loss": ("rate_high",),
    "slow_convergence": ("rate_low",),
    "unchanged_weight": ("rate_low", "frozen"),
    "out_of_range": ("output_range",),
}
