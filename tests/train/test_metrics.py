"""Metrics of ``fit``, held to scikit-learn's."""

import numpy as np
import pytest
import sklearn.metrics

from chainrule import fit, nn, predict
from chainrule.train.metrics import METRICS, metric_functions

QUIET = {"verbose": 0}


def net(n_out):
    return nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, n_out, rng=1))


@pytest.fixture
def X(rng):
    return rng.normal(size=(40, 3))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("r2", sklearn.metrics.r2_score),
        ("mean_absolute_error", sklearn.metrics.mean_absolute_error),
        ("root_mean_squared_error", sklearn.metrics.root_mean_squared_error),
    ],
)
def test_regression_metrics_are_scikit_learns(rng, name, theirs):
    for shape in ((30, 1), (30, 3)):
        y, prediction = rng.normal(size=shape), rng.normal(size=shape)
        if name == "root_mean_squared_error":  # over all entries; scikit-learn's averages the outputs' roots
            y, prediction = y.reshape(-1, 1), prediction.reshape(-1, 1)
        assert METRICS[name](y, prediction) == pytest.approx(theirs(y, prediction), rel=1e-12)


def test_r2_of_a_constant_target_is_not_a_number():
    assert np.isnan(METRICS["r2"](np.ones((3, 1)), np.zeros((3, 1))))


def test_accuracy_of_every_kind_of_target():
    accuracy = METRICS["accuracy"]
    rows = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]])
    assert accuracy(np.array([0, 1, 1, 2]), rows) == 0.5
    assert accuracy(np.eye(3)[[0, 1, 1, 2]], rows) == 0.5  # rows of probabilities
    assert accuracy(np.array([[0.0], [1.0], [1.0]]), np.array([[0.2], [0.9], [0.4]])) == pytest.approx(2 / 3)
    several = np.array([[1.0, 1.0], [0.0, 1.0]])
    assert accuracy(several, np.array([[0.9, 0.8], [0.2, 0.1]])) == 0.75  # of entries


def test_names_callables_and_mistakes():
    def largest(y, prediction):
        return prediction.max()

    assert list(metric_functions("accuracy")) == ["accuracy"]
    assert list(metric_functions(["r2", largest])) == ["r2", "largest"]
    assert metric_functions([]) == {}
    with pytest.raises(ValueError, match="metrics must be callables or among accuracy, r2, .*; got 'mse'"):
        metric_functions(["mse"])


@pytest.mark.parametrize(
    ("loss", "n_out", "link"),
    [
        ("softmax_cross_entropy", 3, lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)),
        ("binary_cross_entropy", 1, lambda z: 1 / (1 + np.exp(-z))),
        ("poisson", 1, np.exp),
        ("half_squared_error", 2, lambda z: z),
    ],
)
def test_a_metric_is_given_predictions_and_not_raw_outputs(X, loss, n_out, link):
    y = np.arange(40) % 3 if n_out == 3 else np.arange(40.0 * n_out).reshape(40, n_out) % 2
    given = []

    def note(y, prediction):
        given.append((y, prediction))
        return len(given)

    module = net(n_out)
    history = fit(module, X, y, loss=loss, epochs=2, metrics=[note], **QUIET)
    assert history["note"] == [1.0, 2.0]
    np.testing.assert_allclose(given[-1][1], link(predict(module, X)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(given[-1][0], y)


def test_metrics_are_of_the_validation_data_where_there_is_any(X):
    y = np.arange(40) % 3
    module = net(3)
    history = fit(
        module, X[:30], y[:30], loss="softmax_cross_entropy", epochs=3, metrics="accuracy",
        validation=(X[30:], y[30:]), **QUIET,
    )  # fmt: skip
    expected = (predict(module, X[30:]).argmax(axis=1) == y[30:]).mean()
    assert history.best["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("soft", [False, True])
def test_a_weighted_and_smoothed_loss_does_not_change_what_is_right(X, soft):
    """The rows that such a loss trains on are weighted: the largest entry need not be the class."""
    y = np.arange(40) % 3
    module = net(3)
    history = fit(
        module, X, np.eye(3)[y] if soft else y, epochs=2, metrics="accuracy",
        loss=nn.CrossEntropyLoss([0.01, 1.0, 10.0], label_smoothing=0.5), **QUIET,
    )  # fmt: skip
    assert history["accuracy"][-1] == pytest.approx((predict(module, X).argmax(axis=1) == y).mean())


def test_targets_of_metrics_are_held_out_with_their_rows(X):
    y = np.arange(40) % 3
    given = []
    fit(
        net(3), X, y, epochs=1, metrics=[lambda y, prediction: given.append(y) or 0.0], validation=0.3,
        loss=nn.CrossEntropyLoss([0.01, 1.0, 10.0], label_smoothing=0.5), **QUIET,
    )  # fmt: skip
    np.testing.assert_array_equal(given[0], y[np.random.default_rng(0).permutation(40)[:12]])
