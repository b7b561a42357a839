"""Which rows a training learns from and measures on."""

import numpy as np
import pytest

from chainrule import fit, nn
from chainrule.execution import Features, check_features

SOFTMAX = "softmax_cross_entropy"
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 3)), np.arange(60) % 2


def net(n_out=2):
    return nn.Sequential(nn.Linear(3, 5, rng=0), nn.Tanh(), nn.Linear(5, n_out, rng=1))


def bits(module):
    return b"".join(array.tobytes() for array in module.state_dict().values())


def trained(*data, n_out=2, **settings):
    module = net(n_out)
    history = fit(module, *data, **{"loss": SOFTMAX, "epochs": 3, "batch_size": 8, "verbose": 0, **settings})
    return bits(module), [{**row, "seconds": 0} for row in history.epochs]


ROWS = np.array([5, 50, 7, 7, 20, 33, 41, 0, 59, 12, 7])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"shuffle": False},
        {"validation": 0.3},
        {"validation": (X[40:], Y[40:])},
        {"class_weight": "balanced"},
        {"loss": nn.CrossEntropyLoss(weight=[1.0, 3.0], label_smoothing=0.1)},
        {"executor": "reference", "metrics": ["accuracy"], "telemetry_every": 2},
    ],
)
def test_rows_are_as_if_cut_out(settings):
    assert trained(X, Y, rows=ROWS, **settings) == trained(X[ROWS], Y[ROWS], **settings)


def test_rows_of_weights_and_of_other_targets():
    weights = np.linspace(0, 1, 60)
    part = {"sample_weight": weights[ROWS]}
    assert trained(X, Y, rows=ROWS, sample_weight=weights) == trained(X[ROWS], Y[ROWS], **part)
    targets = RNG.normal(size=(60, 2))
    settings = {"loss": "half_squared_error", "metrics": ["r2"]}
    assert trained(X, targets, rows=ROWS, **settings) == trained(X[ROWS], targets[ROWS], **settings)
    probabilities = np.full((60, 2), 0.5)
    assert trained(X, probabilities, rows=ROWS) == trained(X[ROWS], probabilities[ROWS])


def test_targets_of_other_rows_are_not_looked_at():
    Y_elsewhere = np.where(np.isin(np.arange(60), ROWS), Y, 77)
    assert trained(X, Y_elsewhere, rows=ROWS) == trained(X[ROWS], Y[ROWS])


def test_a_mask_and_validation_rows():
    mask = np.arange(60) < 45
    expected = trained(X[:45], Y[:45], validation=(X[45:], Y[45:]), metrics=["accuracy"])
    assert trained(X, Y, rows=mask, validation_rows=~mask, metrics=["accuracy"]) == expected
    weights = np.linspace(0.1, 1, 60)
    expected = trained(X, Y, sample_weight=weights, validation=(X[45:], Y[45:], weights[45:]))
    assert trained(X, Y, sample_weight=weights, validation_rows=np.arange(45, 60)) == expected


def test_metrics_of_more_rows_than_are_copied_at_a_time(monkeypatch):
    expected = trained(X[ROWS], Y[ROWS], metrics=["accuracy"])
    monkeypatch.setattr("chainrule.train.fitting.ROWS_A_COPY", 3)
    assert trained(X, Y, rows=ROWS, metrics=["accuracy"]) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": [0, 60]}, "rows must lie between 0 and 59"),
        ({"rows": [-1]}, "rows must lie between 0 and 59"),
        ({"rows": []}, "rows must be numbers of rows, or one bool a row of X"),
        ({"rows": [True, False]}, "rows must be numbers of rows, or one bool a row of X"),
        ({"rows": np.zeros(60, bool)}, "rows must be numbers of rows"),
        ({"rows": [[1, 2]]}, "rows must be numbers of rows"),
        ({"rows": [0.5]}, "rows must be numbers of rows"),
        ({"validation_rows": [99]}, "validation_rows must lie between"),
        ({"validation_rows": [1], "validation": 0.2}, "validation and validation_rows cannot both be given"),
        ({"rows": [1, 2], "sample_weight": [1.0, 2.0]}, "sample_weight must have one weight a row of X, 60"),
        ({"rows": [1, 2, 3], "validation": 0.01}, "a share of 0.01 of 3 rows does not"),
    ],
)
def test_rows_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        trained(X, Y, **settings)


def test_targets_must_be_those_of_all_rows():
    with pytest.raises(ValueError, match="y must have one target a row of X, 60; got shape"):
        trained(X, Y[:11], rows=np.arange(11))
    with pytest.raises(ValueError, match=r"X must have shape \(n, 3\)"):
        trained(X[:, 0], Y, rows=[1, 2])


def test_features_are_checked_once():
    features = check_features(X.tolist(), np.float32)
    assert features.values.dtype == np.float32
    assert features.shape == (60, 3)
    assert features.ndim == 2
    assert trained(features, Y) == trained(X, Y)
    assert trained(features, Y, sample_weight=np.ones(60)) == trained(X, Y, sample_weight=np.ones(60))
    with pytest.raises(ValueError, match=r"X must have shape \(n, 3\); got \(60, 2\)"):
        trained(Features(X[:, :2]), Y)
    with pytest.raises(ValueError, match="X contains NaN, infinity or a value too large for float32"):
        check_features([[1e300]], np.float32)
    with pytest.raises(ValueError, match="X must be numeric"):
        check_features([["a"]], np.float32)
