"""``cross_validate_many`` holds to the numbers of ``sklearn.model_selection.cross_validate``."""

import threading

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import FitFailedWarning, UnsetMetadataPassedError
from sklearn.metrics import make_scorer
from sklearn.model_selection import GroupKFold, KFold, ParameterGrid, ShuffleSplit, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from chainrule import MLPClassifier, MLPRegressor, cross_validate_many

RNG = np.random.default_rng(1)
X = RNG.normal(size=(100, 3)) * [1, 10, 0.1]
Y = (X[:, 0] + 0.5 * RNG.normal(size=100) > 0).astype(int)
NETWORK = MLPClassifier((6,), max_iter=4, random_state=0)
ESTIMATORS = [
    NETWORK,
    MLPClassifier((12,), solver="lbfgs", max_iter=5, random_state=np.random.RandomState(3)),
    make_pipeline(StandardScaler(), MLPClassifier((6,), max_iter=5, random_state=1, early_stopping=True)),
    DecisionTreeClassifier(random_state=0),
]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def assert_same(found, expected):
    """All but the times: they need only be there, and positive."""
    assert list(found) == list(expected)
    for name, values in expected.items():
        if name.endswith("_time"):
            assert found[name].shape == values.shape
            assert (found[name] >= 0).all()
        elif name == "indices":
            for part in ("train", "test"):
                for a, b in zip(found[name][part], values[part], strict=True):
                    np.testing.assert_array_equal(a, b)
        elif name == "estimator":
            assert [type(one) for one in found[name]] == [type(one) for one in values]
        else:
            np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("n_jobs", [1, 2, None])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"cv": 3, "return_train_score": True, "return_estimator": True, "return_indices": True},
        {"scoring": ["accuracy", "roc_auc"], "return_train_score": True},
        {"scoring": make_scorer(lambda y, prediction: float((y == prediction).sum()))},
        {"cv": ShuffleSplit(4, random_state=0), "scoring": "neg_log_loss"},
        {"cv": GroupKFold(4), "groups": np.arange(100) // 5},
        {"params": {"sample_weight": np.linspace(0.1, 1, 100)}, "cv": 3},
    ],
)
def test_the_numbers_are_scikit_learns(settings, n_jobs):
    estimators = [one for one in ESTIMATORS if "params" not in settings or not hasattr(one, "steps")]
    expected = [cross_validate(one, X, Y, **settings) for one in estimators]
    found = cross_validate_many(estimators, X, Y, n_jobs=n_jobs, **settings)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert_same(a, b)


def test_estimators_are_not_fitted_and_their_networks_have_one_thread():
    (result,) = cross_validate_many([NETWORK], X, Y, return_estimator=True, n_jobs=2)
    assert not hasattr(NETWORK, "coefs_")
    assert [list(one._network._executors) for one in result["estimator"]] == [[(1, "full")]] * 5


def test_one_a_list_or_a_dict():
    one = cross_validate_many(NETWORK, X, Y)
    assert sorted(one) == ["fit_time", "score_time", "test_score"]
    assert_same(cross_validate_many([NETWORK], X, Y)[0], one)
    named = cross_validate_many({"small": NETWORK, "tree": DecisionTreeClassifier()}, X, Y)
    assert list(named) == ["small", "tree"]
    assert_same(named["small"], one)
    assert cross_validate_many([], X, Y) == []


def test_a_grid_of_parameters():
    grid = [{"hidden_layer_sizes": [(3,), (5, 5)], "alpha": [0.1]}, {"solver": ["sgd"]}]
    found = cross_validate_many(NETWORK, X, Y, param_grid=grid)
    settings = list(ParameterGrid(grid))
    assert len(found) == len(settings) == 3
    for result, parameters in zip(found, settings, strict=True):
        assert_same(result, cross_validate(clone(NETWORK).set_params(**parameters), X, Y))
    assert len(cross_validate_many(NETWORK, X, Y, param_grid=ParameterGrid(grid))) == 3
    with pytest.raises(TypeError, match="param_grid goes with one estimator"):
        cross_validate_many([NETWORK], X, Y, param_grid=grid)


def test_data_frames_and_regression():
    frame = pd.DataFrame({"size": X[:, 0], "colour": np.where(X[:, 1] > 0, "red", "blue")})
    columns = make_column_transformer((StandardScaler(), ["size"]), (OneHotEncoder(), ["colour"]))
    network = make_pipeline(columns, MLPRegressor(hidden_layer_sizes=(5,), max_iter=5, random_state=0))
    expected = cross_validate(network, frame, X[:, 2], cv=3)
    assert_same(cross_validate_many([network], frame, X[:, 2], cv=3)[0], expected)


def test_all_estimators_see_the_same_folds():
    shuffled = KFold(3, shuffle=True)  # without a seed: other folds at every call
    results = cross_validate_many([NETWORK, DecisionTreeClassifier()], X, Y, cv=shuffled, return_indices=True)
    a, b = (result["indices"]["test"] for result in results)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)
    splits = KFold(3).split(X)  # can be gone through only once
    mixed = [NETWORK, MLPRegressor(hidden_layer_sizes=(5,), max_iter=3, random_state=0)]
    for result in cross_validate_many(mixed, X, Y, cv=splits):
        assert len(result["test_score"]) == 3


def test_folds_are_at_work_at_the_same_time():
    both = threading.Barrier(2, timeout=60)

    def meet(estimator, X, y):
        both.wait()
        return 0.0

    result = cross_validate_many(NETWORK, X, Y, cv=2, scoring=meet, n_jobs=2)
    np.testing.assert_array_equal(result["test_score"], [0.0, 0.0])


class Fails(MLPClassifier):
    """Does not like the first row."""

    def fit(self, X, y):
        if (X[:, 0] == FIRST).any():
            raise ValueError("not that row")
        return super().fit(X, y)


FIRST = X[0, 0]


def test_fits_that_fail():
    network = Fails((4,), max_iter=2, random_state=0)
    folds = KFold(3)  # two of the three train on the first row
    for settings in ({"error_score": -1.0}, {"scoring": lambda estimator, X, y: {"one": 1.0, "two": 2.0}}):
        with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 3"):
            expected = cross_validate(network, X, Y, cv=folds, **settings)
        with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 3"):
            found = cross_validate_many({"odd": network}, X, Y, cv=folds, **settings)
        assert_same(found["odd"], expected)
    with pytest.raises(ValueError, match="not that row") as raised:
        cross_validate_many({"fine": NETWORK, "odd": network}, X, Y, cv=folds, error_score="raise", n_jobs=1)
    assert raised.value.__notes__ == ["in estimator 'odd', fold 1"]
    with pytest.raises(ValueError, match="All the 5 fits failed"):
        cross_validate_many(MLPClassifier(activation="none"), X, Y)


def test_metadata_routing():
    weights, groups = np.linspace(0.1, 1, 100), np.arange(100) // 10
    with sklearn.config_context(enable_metadata_routing=True):
        network = clone(NETWORK).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        settings = {"cv": GroupKFold(3), "params": {"sample_weight": weights, "groups": groups}}
        assert_same(cross_validate_many(network, X, Y, **settings), cross_validate(network, X, Y, **settings))
        with pytest.raises(UnsetMetadataPassedError, match="cross_validate_many"):
            cross_validate_many(NETWORK, X, Y, params={"sample_weight": weights})
        with pytest.raises(ValueError, match="give groups as one of params"):
            cross_validate_many(NETWORK, X, Y, groups=groups)
