"""An estimator taken apart and put together again, by way of JSON: every setting, every bit."""

import json

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from chainrule.estimators import MLPClassifier, MLPRegressor
from chainrule.estimators.state import from_state, to_state
from chainrule.optim import SCHEDULES, OneCycle, StepDecay

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

QUICK = {"max_iter": 3, "random_state": 0}


def through_json(estimator):
    state, arrays = to_state(estimator)
    return from_state(type(estimator), json.loads(json.dumps(state)), arrays)


@pytest.fixture
def X(rng):
    return rng.normal(size=(30, 4))


def classes(X, n_classes=3):
    return np.array(["low", "middle", "high"])[np.arange(len(X)) % n_classes]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hidden_layer_sizes": 7},
        {"hidden_layer_sizes": [5, 5], "activation": ["tanh", "gelu"], "dropout": (0.1, 0.2)},
        {"hidden_layer_sizes": np.array([5, 4])},
        {"hidden_layer_sizes": (6, 6), "batch_norm": True, "residual": True},
        {"dtype": "float32", "activation": "leaky_relu", "init": "he_normal"},
        {"dtype": np.float32},
        {"dtype": np.dtype("float64")},
        {"learning_rate": OneCycle()},
        {"learning_rate": StepDecay(every=2, factor=0.5), "solver": "sgd"},
        {"class_weight": {"low": 1.0, "middle": 2, "high": np.float64(0.5)}},
        {"early_stopping": True, "n_iter_no_change": np.inf, "scoring": "loss"},
        {"solver": "lbfgs", "tol": np.float64(1e-3), "max_iter": np.int64(4)},
        {"solver": "adamw", "weight_decay": 0.01, "clip_norm": 1.0, "max_time": 100.0},
    ],
)
def test_every_kind_of_classifier_comes_back(X, settings):
    estimator = MLPClassifier(**{**QUICK, **settings}).fit(X, classes(X))
    again = through_json(estimator)
    assert again.predict_proba(X).tobytes() == estimator.predict_proba(X).tobytes()
    assert repr(again) == repr(through_json(again))
    for name, value in estimator.get_params().items():
        kept = again.get_params()[name]
        if name == "dtype":
            assert kept == (None if value is None else np.dtype(value))
        elif name == "learning_rate":
            assert repr(kept) == repr(value)
        else:
            np.testing.assert_equal(kept, tuple(value) if isinstance(value, np.ndarray) else value)
    for name in ("loss_curve_", "validation_scores_", "n_iter_", "t_", "n_layers_", "out_activation_"):
        if hasattr(estimator, name):
            assert getattr(again, name) == getattr(estimator, name), name


@pytest.mark.parametrize("n_classes", [2, 3])
def test_labels_of_every_kind(X, n_classes):
    numbers = np.arange(len(X)) % n_classes
    for labels in (
        numbers,
        numbers * 1.0,
        numbers == 1,
        numbers.astype(str),
        numbers.astype(str).astype(object),
    ):
        estimator = MLPClassifier(**QUICK).fit(X, labels)
        again = through_json(estimator)
        assert again.classes_.dtype == estimator.classes_.dtype
        assert again.predict(X).dtype == estimator.predict(X).dtype
        np.testing.assert_array_equal(again.predict(X), estimator.predict(X))


def test_several_labels_a_row(X):
    labels = (X[:, :3] > 0).astype(int)
    estimator = MLPClassifier(**QUICK).fit(X, labels)
    again = through_json(estimator)
    assert again.predict(X).shape == labels.shape
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("scaling", [None, "standard"])
@pytest.mark.parametrize("loss", ["squared_error", ("quantile", 0.9), ("huber", 2.0)])
def test_every_kind_of_regressor_comes_back(X, n_outputs, scaling, loss):
    y = 100 * X[:, 0] if n_outputs == 1 else 100 * X[:, :2]
    estimator = MLPRegressor(loss=loss, target_scaling=scaling, **QUICK).fit(X, y)
    again = through_json(estimator)
    assert again.loss == loss
    assert again.predict(X).shape == y.shape
    assert again.predict(X).tobytes() == estimator.predict(X).tobytes()


def test_arrays_are_the_state_dict_of_the_module(X):
    estimator = MLPClassifier(hidden_layer_sizes=(5, 5), batch_norm=True, residual=True, **QUICK)
    _, arrays = to_state(estimator.fit(X, classes(X)))
    expected = estimator.to_module().state_dict()
    assert set(arrays) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


def test_weights_that_were_replaced_are_the_ones_taken(X):
    estimator = MLPRegressor(**QUICK).fit(X, X[:, 0])
    estimator.coefs_ = [np.zeros_like(coef) for coef in estimator.coefs_]
    again = through_json(estimator)
    np.testing.assert_array_equal(again.predict(X), np.full(len(X), estimator.intercepts_[-1][0]))


def test_training_can_go_on(X):
    estimator = MLPClassifier(**QUICK).fit(X, classes(X))
    again = through_json(estimator)
    before = again.loss_
    for _ in range(20):
        again.partial_fit(X, classes(X))
    assert again.loss_ < before
    assert again.set_params(warm_start=True).fit(X, classes(X)).n_iter_ == 3


def test_column_names_come_back(X):
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"))
    again = through_json(MLPRegressor(**QUICK).fit(frame, X[:, 0]))
    assert again.feature_names_in_.tolist() == list("abcd")
    assert again.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame.rename(columns={"a": "z"}))


def test_the_best_of_a_grid_search_comes_back(X):
    search = GridSearchCV(MLPClassifier(**QUICK), {"alpha": np.logspace(-4, -2, 2)}, cv=2)
    best = search.fit(X, classes(X)).best_estimator_
    assert through_json(best).alpha == best.alpha


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"random_state": np.random.RandomState(0)}, "parameter random_state=RandomState.* set_params"),
        (
            {"scoring": max, "early_stopping": True},
            "parameter scoring=<built-in function max> cannot be written",
        ),
    ],
)
def test_a_parameter_that_is_no_data_is_named(X, settings, message):
    estimator = MLPRegressor(**QUICK).fit(X, X[:, 0]).set_params(**settings)
    with pytest.raises(TypeError, match=message):
        to_state(estimator)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state, arrays: arrays.pop("0.bias"), "the network's arrays must be"),
        (lambda state, arrays: arrays.update(extra=np.zeros(1)), "the network's arrays must be"),
        (
            lambda state, arrays: arrays.update({"0.bias": np.zeros(2)}),
            r"array 0.bias must have shape \(100,\)",
        ),
        (
            lambda state, arrays: arrays.update({"0.bias": np.zeros(100, int)}),
            "all be float32 or all float64",
        ),
        (lambda state, arrays: arrays.clear(), "all be float32 or all float64"),
        (lambda state, arrays: state.update(units=[4, 9, 1]), "array 0.bias must have shape|array 0.weight"),
        (lambda state, arrays: state["parameters"].update(alpha={"eval": 1}), "unknown form 'eval'"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(X, damage, message):
    state, arrays = to_state(MLPRegressor(**QUICK).fit(X, X[:, 0]))
    damage(state, arrays)
    with pytest.raises(ValueError, match=message):
        from_state(MLPRegressor, state, arrays)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_schedule_can_be_written(X, name):
    estimator = MLPRegressor(learning_rate=SCHEDULES[name](), **QUICK).fit(X, X[:, 0])
    assert repr(through_json(estimator).learning_rate) == repr(SCHEDULES[name]())
