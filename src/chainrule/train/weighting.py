"""Class weights, as weights of examples."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.execution import Examples, prepare
from chainrule.functions import get_loss
from chainrule.plan import Plan

__all__ = ["class_weight_vector", "weighted_examples"]


def class_weight_vector(class_weight: Any, y: np.ndarray, n_classes: int) -> np.ndarray:
    """One weight a class from "balanced", a dict from class index to weight, or an array.

    "balanced" is n / (number of classes that occur × count of the class).

    Examples
    --------
    >>> class_weight_vector("balanced", np.array([0, 0, 0, 1]), 2).round(3)
    array([0.667, 2.   ])
    """
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be 'balanced', a dict or an array; got {class_weight!r}")
        counts = np.bincount(y, minlength=n_classes)
        return np.where(counts > 0, len(y) / ((counts > 0).sum() * np.maximum(counts, 1)), 0.0)
    if isinstance(class_weight, Mapping):
        unknown = [key for key in class_weight if key not in range(n_classes)]
        if unknown:
            raise ValueError(f"class_weight has a class {unknown[0]!r} that is not in 0 ... {n_classes - 1}")
        vector = np.array([class_weight.get(index, 1.0) for index in range(n_classes)], dtype=np.float64)
    else:
        vector = np.asarray(class_weight, dtype=np.float64)
    if vector.shape != (n_classes,) or not np.isfinite(vector).all() or (vector < 0).any():
        raise ValueError(
            f"class_weight must be {n_classes} finite, non-negative numbers; got {class_weight!r}"
        )
    return vector


def _class_indices(y: np.ndarray) -> np.ndarray:
    """Class indices of targets that are such, or one column of zeros and ones."""
    if y.ndim == 1:
        return y
    if y.shape[1] == 1 and np.isin(y, (0, 1)).all():
        return y[:, 0].astype(np.int64)
    raise ValueError("class_weight needs y as class indices, or as one column of zeros and ones")


def weighted_examples(
    plan: Plan,
    loss: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    class_weight: Any,
    *,
    dtype: Any,
    name: str = "",
) -> Examples:
    """Checked examples with the weights of their classes worked in.

    The weights of ``nn.CrossEntropyLoss(weight=...)`` follow PyTorch: for class indices the mean is
    divided by the sum of the batch's weights, for probabilities by the number of examples.
    """
    weight = getattr(loss, "weight", None)
    checked = get_loss(plan.loss.name).check_targets(y, plan.n_outputs)
    weights = sample_weight
    if weight is not None:
        rows = loss.targets(y, plan.n_outputs)
        if checked.ndim == 1:
            each = np.asarray(weight, dtype=np.float64)[checked]
            weights = each if weights is None else each * np.asarray(weights, dtype=np.float64)
            if loss.label_smoothing:
                rows = rows / np.where(each > 0, each, 1.0)[:, None]
            else:
                rows = checked
        checked = rows
    if class_weight is not None:
        indices = _class_indices(checked)
        n_classes = max(2, plan.n_outputs)
        each = class_weight_vector(class_weight, indices, n_classes)[indices]
        weights = each if weights is None else each * np.asarray(weights, dtype=np.float64)
    return prepare(plan, X, checked, weights, dtype=dtype, name=name)
