"""Class weights, as weights of examples."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.execution import Examples, prepare
from chainrule.functions import get_loss
from chainrule.plan import Plan

__all__ = ["class_weight_vector", "weighted_examples", "weighted_targets"]


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


def _checked_sample_weight(sample_weight: Any, n_rows: int, label: str) -> np.ndarray:
    """Weights of the examples as float64 (n,); ValueError that names them otherwise."""
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{label} must be {n_rows} numbers; got {type(sample_weight).__name__}") from None
    if weights.shape != (n_rows,):
        raise ValueError(f"{label} must have shape ({n_rows},); got {weights.shape}")
    if n_rows and (not np.isfinite(weights).all() or weights.min() < 0 or weights.max() == 0):
        raise ValueError(f"{label} must be finite, non-negative and not all zero")
    return weights


def _product(weights: np.ndarray | None, each: np.ndarray) -> np.ndarray:
    """The weights of the examples times another factor of them."""
    return each if weights is None else each * weights


def _by_class(loss: Any, classes: np.ndarray, n_outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets and example weights that stand for ``nn.CrossEntropyLoss(weight=...)`` on class indices.

    PyTorch divides the sum over a batch by the sum of its classes' weights: a weighted mean. Smoothing
    comes before the weights, so that the rows of targets are divided by what the mean multiplies by.
    """
    each = np.asarray(loss.weight, dtype=np.float64)[classes]
    if not loss.label_smoothing:
        return classes, each
    if (each == 0).any():
        raise ValueError(
            "label_smoothing cannot be used where y has a class of weight 0: "
            "give such rows as probabilities, or leave them out"
        )
    return loss.targets(classes, n_outputs) / each[:, None], each


def weighted_targets(
    plan: Plan,
    loss: Any,
    y: Any,
    sample_weight: Any,
    class_weight: Any,
    *,
    n_rows: int | None,
    name: str = "",
) -> tuple[np.ndarray, np.ndarray | None]:
    """Checked targets, and weights of the examples with those of their classes worked in.

    ``n_rows`` is the number of rows of X, where it is known.
    """
    targets = given = get_loss(plan.loss.name).check_targets(y, plan.n_outputs)
    weights = None
    if sample_weight is not None:
        n_rows = len(given) if n_rows is None else n_rows
        weights = _checked_sample_weight(sample_weight, n_rows, "weights" if name else "sample_weight")
        if len(given) != n_rows:
            weights = None  # ``prepare`` says what is wrong
    if getattr(loss, "weight", None) is not None:
        if given.ndim == 1:
            targets, each = _by_class(loss, given, plan.n_outputs)
            weights = _product(weights, each)
        else:
            targets = loss.targets(given, plan.n_outputs)
    if class_weight is not None:
        classes = _class_indices(given)
        each = class_weight_vector(class_weight, classes, max(2, plan.n_outputs))[classes]
        weights = _product(weights, each)
    return targets, weights


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
    n_rows = np.shape(X)[0] if sample_weight is not None and np.ndim(X) else None
    try:
        targets, weights = weighted_targets(
            plan, loss, y, sample_weight, class_weight, n_rows=n_rows, name=name
        )
    except ValueError as error:
        if name:
            raise ValueError(f"{name}{error}") from None
        raise
    return prepare(plan, X, targets, weights, dtype=dtype, name=name)
