"""The metrics of classes and of numbers, on rows with weights.

Each function fixes what does not depend on the weights and returns the function that `bootstrap` asks for.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from chainrule.report.resampling import Measure

__all__ = ["N_BINS", "bin_numbers", "calibration_target", "class_measure", "number_measure"]

# Bins of equal width between 0 and 1, in which probabilities are held against what came true.
N_BINS = 10


def class_measure(truth: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray) -> Measure:
    """The metrics of predicted classes and their probabilities.

    A class that is in no row (of a resample) counts neither for nor against: balanced accuracy is the mean
    recall of the classes there are, macro F1 the mean over those there are or that were predicted, and the
    ROC AUC of more than two classes the mean of each class against the rest.

    Parameters
    ----------
    truth, predicted : numpy.ndarray of shape (n_rows,)
        Numbers of classes.
    probabilities : numpy.ndarray of shape (n_rows, n_classes)

    Returns
    -------
    callable
        From weights (n_resamples, n_rows) to the metrics, (n_resamples,) each.
    """
    n_classes = probabilities.shape[1]
    supports, choices = _indicator(truth, n_classes), _indicator(predicted, n_classes)
    hits = sparse.csr_array(supports.multiply(choices))
    surprise = -np.log(_probability_of_truth(truth, probabilities))
    confidence, came_true = calibration_target(truth, predicted, probabilities)
    # Row by row how far the probability is above what happened, in the column of its bin.
    excess = _indicator(bin_numbers(confidence), N_BINS, confidence - came_true)
    compared = [1] if n_classes == 2 else range(n_classes)
    areas = [_area_under_curve(truth == label, probabilities[:, label]) for label in compared]

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(axis=1)
        support, chosen, hit = weights @ supports, weights @ choices, weights @ hits
        return {
            "accuracy": hit.sum(axis=1) / total,
            "balanced accuracy": _mean_of_known(_ratio(hit, support)),
            "log loss": weights @ surprise / total,
            "macro F1": _mean_of_known(_ratio(2 * hit, support + chosen)),
            "ROC AUC": _mean_of_known(np.stack([area(weights) for area in areas], axis=1)),
            "calibration error": np.abs(weights @ excess).sum(axis=1) / total,
        }

    return measure


def number_measure(truth: np.ndarray, predicted: np.ndarray) -> Measure:
    """The metrics of predicted numbers.

    Parameters
    ----------
    truth, predicted : numpy.ndarray of shape (n_rows,)

    Returns
    -------
    callable
        From weights (n_resamples, n_rows) to the metrics, (n_resamples,) each.
    """
    error = np.abs(predicted - truth)
    order = np.argsort(error, kind="stable")
    ascending = error[order]
    squared = error**2
    # About the mean, because the difference of two large sums would lose the digits.
    centred = truth - truth.mean()

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(axis=1)
        mean_square = weights @ squared / total
        variance = weights @ centred**2 / total - (weights @ centred / total) ** 2
        return {
            "R2": 1 - _ratio(mean_square, np.where(variance > 0, variance, 0.0)),
            "RMSE": np.sqrt(mean_square),
            "MAE": weights @ error / total,
            "median absolute error": _medians(ascending, weights[:, order]),
        }

    return measure


def calibration_target(
    truth: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which probability is held against which event.

    Of two classes the probability of the second against its being the class; of more, that of the predicted
    class against its being right (Guo et al. 2017, "On calibration of modern neural networks").

    Returns
    -------
    confidence, came_true : numpy.ndarray of shape (n_rows,)
    """
    if probabilities.shape[1] == 2:
        return probabilities[:, 1].astype(np.float64), (truth == 1).astype(np.float64)
    chosen = probabilities[np.arange(len(truth)), predicted]
    return chosen.astype(np.float64), (truth == predicted).astype(np.float64)


def bin_numbers(confidence: np.ndarray) -> np.ndarray:
    """The bin of each probability, from 0 to `N_BINS` - 1; an edge belongs to the bin above it."""
    return np.clip((confidence * N_BINS).astype(np.int64), 0, N_BINS - 1)


# -------------------------------------------------------------------------------------------- pieces


def _indicator(columns: np.ndarray, n_columns: int, values: np.ndarray | None = None) -> sparse.csr_array:
    """A matrix with one entry a row, in the given column: weights @ it are sums by column."""
    rows = np.arange(len(columns))
    entries = np.ones(len(columns)) if values is None else values
    return sparse.csr_array((entries, (rows, columns)), shape=(len(columns), n_columns))


def _probability_of_truth(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """What each row's own class was given; never 0, whose logarithm would outweigh all other rows."""
    smallest = np.finfo(probabilities.dtype).eps
    return np.clip(probabilities[np.arange(len(truth)), truth].astype(np.float64), smallest, 1.0)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Their quotient, NaN where the denominator is 0."""
    nothing = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=nothing, where=denominator != 0)


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """The mean along a row without its NaNs; NaN if there is nothing else."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1))


def _area_under_curve(positive: np.ndarray, score: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The ROC AUC: the chance that a positive row scores above a negative one, ties counted half."""
    positives, negatives = np.flatnonzero(positive), np.flatnonzero(~positive)
    negatives = negatives[np.argsort(score[negatives], kind="stable")]
    # How many negative rows score below each positive one, and how many below or the same.
    below = np.searchsorted(score[negatives], score[positives], "left")
    not_above = np.searchsorted(score[negatives], score[positives], "right")
    is_tied = not_above > below

    def area(weights: np.ndarray) -> np.ndarray:
        beaten = np.zeros((len(weights), len(negatives) + 1))
        np.cumsum(np.take(weights, negatives, axis=1), axis=1, out=beaten[:, 1:])
        mine = np.take(weights, positives, axis=1)
        wins = np.einsum("ij,ij->i", mine, np.take(beaten, below, axis=1))
        if is_tied.any():
            halves = np.take(beaten, not_above[is_tied], axis=1) - np.take(beaten, below[is_tied], axis=1)
            wins += np.einsum("ij,ij->i", mine[:, is_tied], halves) / 2
        return _ratio(wins, mine.sum(axis=1) * beaten[:, -1])

    return area


def _medians(ascending: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The median of the resampled numbers: the mean of the two in the middle."""
    n_before = np.cumsum(weights, axis=1)
    n_rows = len(ascending)
    lower = (n_before <= (n_rows - 1) // 2).sum(axis=1)
    upper = (n_before <= n_rows // 2).sum(axis=1)
    return (ascending[lower] + ascending[upper]) / 2
