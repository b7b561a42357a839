"""How well predictions fit rows whose target is known: metrics with intervals, confusion, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chainrule.report.metrics import (
    N_BINS,
    bin_numbers,
    calibration_target,
    class_measure,
    number_measure,
)
from chainrule.report.resampling import Estimate, Measure, bootstrap, wilson_interval

__all__ = [
    "CalibrationBin",
    "ClassEvaluation",
    "Evaluation",
    "NumberEvaluation",
    "UnknownClassError",
    "evaluate_classes",
    "evaluate_numbers",
    "guess_classes",
    "guess_numbers",
]

Progress = Callable[[int], None]


class UnknownClassError(ValueError):
    """A label is none of the classes that the model knows."""


@dataclass(frozen=True)
class CalibrationBin:
    """The rows whose probability lies between two bounds.

    Attributes
    ----------
    lowest, highest : float
        The bounds.
    count : int
        Number of rows.
    predicted, observed : float
        Their mean probability, and the share of them in which it came true.
    low, high : float
        Wilson's 95 % interval of that share.
    """

    lowest: float
    highest: float
    count: int
    predicted: float
    observed: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassEvaluation:
    """Predicted classes beside the true ones.

    Attributes
    ----------
    classes : list
        The labels, in the order of the confusion matrix.
    metrics : dict of str to Estimate
    confusion : numpy.ndarray of shape (n_classes, n_classes)
        Rows are true classes, columns predicted ones.
    calibration : list of CalibrationBin
        Bins without rows are left out.
    """

    classes: list[Any]
    metrics: dict[str, Estimate]
    confusion: np.ndarray
    calibration: list[CalibrationBin]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.confusion.sum())

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            **_numbers(self.metrics),
            "classes": self.classes,
            "confusion": self.confusion.tolist(),
            "calibration": [asdict(one) for one in self.calibration],
        }


@dataclass(frozen=True)
class NumberEvaluation:
    """Predicted numbers beside the true ones.

    Attributes
    ----------
    metrics : dict of str to Estimate
    truth, predicted : numpy.ndarray of shape (n_rows,)
    """

    metrics: dict[str, Estimate]
    truth: np.ndarray
    predicted: np.ndarray

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.truth)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return _numbers(self.metrics)


Evaluation = ClassEvaluation | NumberEvaluation


def evaluate_classes(
    y: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[Any],
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> ClassEvaluation:
    """Evaluate a classifier's predictions.

    Parameters
    ----------
    y, predicted : numpy.ndarray of shape (n_rows,)
        Labels.
    probabilities : numpy.ndarray of shape (n_rows, n_classes)
        In the order of `classes`.
    classes : sequence
        The labels that the classifier knows, two or more.
    n_resamples, seed : int
        Of the bootstrap.
    progress : callable, optional
        Told how many more resamples are done.

    Returns
    -------
    ClassEvaluation

    Raises
    ------
    UnknownClassError
        If a label is none of the classes.
    ValueError
        If there is no row.

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    >>> found = evaluate_classes(
    ...     np.array(["no", "no", "yes", "no"]),
    ...     np.array(["no", "yes", "yes", "no"]),
    ...     probabilities,
    ...     ["no", "yes"],
    ... )
    >>> found.metrics["accuracy"].value, found.confusion.tolist()
    (0.75, [[2, 1], [0, 1]])
    """
    names = list(classes)
    truth, chosen = _class_numbers(y, names), _class_numbers(predicted, names)
    measure = class_measure(truth, chosen, probabilities)
    cells = np.bincount(truth * len(names) + chosen, minlength=len(names) ** 2)
    return ClassEvaluation(
        classes=[name.item() if isinstance(name, np.generic) else name for name in names],
        metrics=bootstrap(measure, len(truth), n_resamples=n_resamples, seed=seed, progress=progress),
        confusion=cells.reshape(len(names), len(names)),
        calibration=_calibration(*calibration_target(truth, chosen, probabilities)),
    )


def evaluate_numbers(
    y: np.ndarray,
    predicted: np.ndarray,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> NumberEvaluation:
    """Evaluate a regressor's predictions.

    Parameters
    ----------
    y, predicted : numpy.ndarray of shape (n_rows,)
    n_resamples, seed : int
        Of the bootstrap.
    progress : callable, optional
        Told how many more resamples are done.

    Returns
    -------
    NumberEvaluation

    Raises
    ------
    ValueError
        If there is no row.

    Examples
    --------
    >>> found = evaluate_numbers(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0]))
    >>> found.metrics["R2"].value, found.metrics["median absolute error"].value
    (0.5, 0.0)
    """
    truth, predicted = np.asarray(y, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    measure = number_measure(truth, predicted)
    metrics = bootstrap(measure, len(truth), n_resamples=n_resamples, seed=seed, progress=progress)
    return NumberEvaluation(metrics, truth, predicted)


def guess_classes(y: np.ndarray, shares: np.ndarray, classes: Sequence[Any]) -> dict[str, float]:
    """The metrics of a guess that looks at nothing: every row is given the classes' shares.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
        Labels.
    shares : numpy.ndarray of shape (n_classes,)
        How frequent each class was in training.
    classes : sequence

    Returns
    -------
    dict of str to float

    Examples
    --------
    >>> guess = guess_classes(np.array(["no", "no", "yes"]), np.array([0.6, 0.4]), ["no", "yes"])
    >>> round(guess["accuracy"], 3), guess["balanced accuracy"]
    (0.667, 0.5)
    """
    truth = _class_numbers(y, list(classes))
    predicted = np.full(len(truth), int(np.argmax(shares)))
    return _points(class_measure(truth, predicted, np.tile(shares, (len(truth), 1))), len(truth))


def guess_numbers(y: np.ndarray, number: float) -> dict[str, float]:
    """The metrics of giving every row one number, the mean in training.

    Parameters
    ----------
    y : numpy.ndarray of shape (n_rows,)
    number : float

    Returns
    -------
    dict of str to float

    Examples
    --------
    >>> guess_numbers(np.array([1.0, 2.0, 3.0]), 2.0)["R2"]
    0.0
    """
    return _points(number_measure(y, np.full(len(y), number)), len(y))


def _points(measure: Measure, n_rows: int) -> dict[str, float]:
    values = {name: float(value[0]) for name, value in measure(np.ones((1, n_rows))).items()}
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _class_numbers(labels: np.ndarray, classes: list[Any]) -> np.ndarray:
    numbers = {label: number for number, label in enumerate(classes)}
    try:
        return np.array([numbers[label] for label in np.asarray(labels).tolist()], dtype=np.int64)
    except KeyError as error:
        known = ", ".join(repr(str(label)) for label in classes[:20])
        label = str(error.args[0])
        raise UnknownClassError(f"{label!r} is no class that the model knows; it knows {known}") from None


def _calibration(confidence: np.ndarray, came_true: np.ndarray) -> list[CalibrationBin]:
    bins = bin_numbers(confidence)
    found = []
    for number in np.unique(bins):
        rows = bins == number
        count, hits = int(rows.sum()), int(came_true[rows].sum())
        found.append(
            CalibrationBin(
                number / N_BINS,
                (number + 1) / N_BINS,
                count,
                float(confidence[rows].mean()),
                hits / count,
                *wilson_interval(hits, count),
            )
        )
    return found


def _numbers(metrics: dict[str, Estimate]) -> dict[str, Any]:
    return {
        "metrics": {name: estimate.value for name, estimate in metrics.items()},
        "intervals": {name: [estimate.low, estimate.high] for name, estimate in metrics.items()},
    }
