"""Evaluations: labels, confusion, calibration bins, guesses."""

import json

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.dummy import DummyClassifier

from chainrule.report import evaluate_classes, evaluate_numbers, guess_classes, guess_numbers


@pytest.fixture
def binary(rng):
    probability = rng.random(500)
    y = np.where(rng.random(500) < probability, "yes", "no")
    predicted = np.where(probability > 0.5, "yes", "no")
    return y, predicted, np.stack([1 - probability, probability], axis=1)


def test_confusion_and_calibration_are_scikit_learns(binary):
    y, predicted, probabilities = binary
    found = evaluate_classes(y, predicted, probabilities, ["no", "yes"], n_resamples=50)
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(y, predicted))
    observed, mean = calibration_curve(y == "yes", probabilities[:, 1], n_bins=10)
    np.testing.assert_allclose([one.observed for one in found.calibration], observed)
    np.testing.assert_allclose([one.predicted for one in found.calibration], mean)
    assert sum(one.count for one in found.calibration) == found.n_rows == 500
    for one in found.calibration:
        assert one.lowest <= one.predicted <= one.highest
        assert one.low < one.observed < one.high


def test_honest_probabilities_lie_in_their_intervals_and_are_counted_in_json(binary):
    y, predicted, probabilities = binary
    found = evaluate_classes(y, predicted, probabilities, np.array(["no", "yes"]), n_resamples=50)
    assert sum(one.low <= one.predicted <= one.high for one in found.calibration) >= 8
    told = json.loads(json.dumps(found.to_dict()))
    assert set(told) == {"metrics", "intervals", "classes", "confusion", "calibration"}
    for name, (low, high) in told["intervals"].items():
        assert low <= high
        if name != "calibration error":  # which is biased upwards under resampling
            assert low <= told["metrics"][name] <= high


def test_an_unknown_label_is_named():
    with pytest.raises(ValueError, match="'c' is no class that the model knows; it knows 'a', 'b'"):
        evaluate_classes(np.array(["c"]), np.array(["a"]), np.array([[0.5, 0.5]]), ["a", "b"])


def test_numbers(rng):
    y = rng.normal(size=200)
    found = evaluate_numbers(y, y + 1, n_resamples=50)
    assert found.metrics["MAE"].low == pytest.approx(1)
    assert found.metrics["MAE"].high == pytest.approx(1)
    assert found.n_rows == 200
    assert set(found.to_dict()) == {"metrics", "intervals"}


def test_the_guess_is_scikit_learns_dummy(rng):
    y = rng.choice(["a", "b", "c"], 90, p=[0.5, 0.3, 0.2])
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((90, 1)), y)
    guess = guess_classes(y, dummy.class_prior_, dummy.classes_)
    assert guess["accuracy"] == pytest.approx(dummy.score(np.zeros((90, 1)), y))
    assert guess["log loss"] == pytest.approx(metrics.log_loss(y, dummy.predict_proba(np.zeros((90, 1)))))
    assert guess["ROC AUC"] == 0.5
    assert guess_numbers(np.array([1.0, 3.0]), 2.0) == {
        "R2": 0.0,
        "RMSE": 1.0,
        "MAE": 1.0,
        "median absolute error": 1.0,
    }
