"""Weighted metrics against scikit-learn's on rows that are really drawn."""

import numpy as np
import pytest
from sklearn import metrics

from chainrule.report.metrics import class_measure, number_measure
from chainrule.report.resampling import resample_weights


def predictions(rng, n_rows, n_classes):
    probabilities = rng.dirichlet(np.ones(n_classes), n_rows).round(2) + 1e-3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    truth = rng.integers(0, n_classes, n_rows)
    return truth, probabilities.argmax(axis=1), probabilities


def calibration_error(confidence, came_true):
    """By the definition: over the bins, share of the rows × |mean probability − share that came true|."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    parts = [
        (bins == b).mean() * abs(confidence[bins == b].mean() - came_true[bins == b].mean())
        for b in np.unique(bins)
    ]
    return sum(parts)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_class_metrics_are_scikit_learns_on_every_resample(rng, n_classes):
    truth, predicted, probabilities = predictions(rng, 60, n_classes)
    weights = next(resample_weights(60, 20, seed=1))
    measured = class_measure(truth, predicted, probabilities)(weights)
    for number, counts in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(60), counts)
        y, chosen, p = truth[rows], predicted[rows], probabilities[rows]
        if n_classes == 2:
            area = metrics.roc_auc_score(y, p[:, 1])
            error = calibration_error(p[:, 1], y == 1)
        else:
            area = metrics.roc_auc_score(y, p, multi_class="ovr", average="macro")
            error = calibration_error(p.max(axis=1), y == chosen)
        expected = {
            "accuracy": metrics.accuracy_score(y, chosen),
            "balanced accuracy": metrics.balanced_accuracy_score(y, chosen),
            "log loss": metrics.log_loss(y, p, labels=range(n_classes)),
            "macro F1": metrics.f1_score(y, chosen, average="macro"),
            "ROC AUC": area,
            "calibration error": error,
        }
        assert set(measured) == set(expected)
        for name, value in expected.items():
            assert measured[name][number] == pytest.approx(value, abs=1e-12), name


def test_number_metrics_are_scikit_learns_on_every_resample(rng):
    truth = 1e6 + rng.normal(size=41)
    predicted = truth + rng.normal(size=41).round(1)
    weights = next(resample_weights(41, 20, seed=1))
    measured = number_measure(truth, predicted)(weights)
    for number, counts in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(41), counts)
        expected = {
            "R2": metrics.r2_score(truth[rows], predicted[rows]),
            "RMSE": metrics.root_mean_squared_error(truth[rows], predicted[rows]),
            "MAE": metrics.mean_absolute_error(truth[rows], predicted[rows]),
            "median absolute error": metrics.median_absolute_error(truth[rows], predicted[rows]),
        }
        assert set(measured) == set(expected)
        for name, value in expected.items():
            assert measured[name][number] == pytest.approx(value, abs=1e-9), name


def test_an_even_number_of_rows_has_the_mean_of_two_as_median():
    measured = number_measure(np.zeros(4), np.array([1.0, 2.0, 4.0, 8.0]))(np.ones((1, 4)))
    assert measured["median absolute error"][0] == 3


def test_an_absent_class_counts_for_nothing():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
    truth = np.array([0, 1, 1])
    measured = class_measure(truth, probabilities.argmax(axis=1), probabilities)(np.ones((1, 3)))
    assert measured["balanced accuracy"][0] == 0.75
    assert measured["ROC AUC"][0] == 1


def test_one_class_alone_has_no_curve_and_one_number_no_r2():
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4]])
    measured = class_measure(np.array([0, 0]), np.array([0, 0]), probabilities)(np.ones((1, 2)))
    assert np.isnan(measured["ROC AUC"][0])
    assert measured["accuracy"][0] == 1
    assert np.isnan(number_measure(np.full(3, 5.0), np.arange(3.0))(np.ones((1, 3)))["R2"][0])


def test_certainty_in_what_is_wrong_costs_much_but_not_everything():
    probabilities = np.array([[1.0, 0.0], [1.0, 0.0]], dtype=np.float32)
    measured = class_measure(np.array([0, 1]), np.array([0, 0]), probabilities)(np.ones((1, 2)))
    assert measured["log loss"][0] == pytest.approx(-np.log(np.finfo(np.float32).eps) / 2)
