"""What is wrong is said, by name; where scikit-learn has an error, it is the same."""

import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network
from sklearn.exceptions import NotFittedError

from chainrule.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

KINDS = [MLPClassifier, MLPRegressor]
SETTINGS = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}
X = np.random.default_rng(0).normal(size=(30, 3))
Y = (np.arange(30) % 3).astype(int)


def spoilt(array, value):
    array = array.astype(float)
    array.flat[4] = value
    return array


def theirs_of(kind):
    return getattr(sklearn.neural_network, kind.__name__)


# -- data ------------------------------------------------------------------------------------------

DATA = {
    "NaN in X": {"X": spoilt(X, np.nan)},
    "infinity in X": {"X": spoilt(X, np.inf)},
    "NaN in y": {"y": spoilt(Y, np.nan)},
    "infinity in y": {"y": spoilt(Y, np.inf)},
    "NaN in sample_weight": {"sample_weight": spoilt(np.ones(30), np.nan)},
    "infinity in sample_weight": {"sample_weight": spoilt(np.ones(30), np.inf)},
    "zero sample_weight": {"sample_weight": np.zeros(30)},
    "sample_weight of a wrong length": {"sample_weight": np.ones(4)},
    "sample_weight as a matrix": {"sample_weight": np.ones((30, 2))},
    "no rows": {"X": X[:0], "y": Y[:0]},
    "no columns": {"X": X[:, :0]},
    "one dimension": {"X": X[:, 0]},
    "three dimensions": {"X": X[:, :, None]},
    "unequal lengths": {"y": Y[:5]},
    "words": {"X": np.full((30, 3), "word")},
    "complex": {"X": X * 1j},
    "no y": {"y": None},
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")  # type_of_target's
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("kind", KINDS)
def test_bad_data_gives_scikit_learns_error(kind, data, method):
    heard = []
    for one in (kind, theirs_of(kind)):
        arguments = {"X": X, "y": Y, **data}
        if method == "partial_fit" and kind is MLPClassifier:
            arguments["classes"] = [0, 1, 2]
        with pytest.raises((ValueError, TypeError)) as caught:
            getattr(one(**SETTINGS), method)(**arguments)
        heard.append((caught.type, str(caught.value)))
    assert heard[0] == heard[1]


@pytest.mark.parametrize("kind", KINDS)
def test_negative_weights_are_refused(kind):
    """scikit-learn's perceptrons descend on them, upwards; ours say no, in scikit-learn's words."""
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        kind(**SETTINGS).fit(X, Y, sample_weight=-np.ones(30))


def test_continuous_targets_are_no_classes():
    with pytest.raises(ValueError, match="Unknown label type"):
        MLPClassifier(**SETTINGS).fit(X, Y + 0.5)


def test_counts_below_zero_are_refused():
    with pytest.raises(ValueError, match="y must be non-negative for the Poisson loss; got -1"):
        MLPRegressor("poisson", **SETTINGS).fit(X, Y - 1.0)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_one_class_is_what_scikit_learn_makes_of_it(solver):
    ours, theirs = (
        one(**SETTINGS, solver=solver).fit(X, np.full(30, 5))
        for one in (MLPClassifier, theirs_of(MLPClassifier))
    )
    assert ours.classes_.tolist() == theirs.classes_.tolist() == [5]
    assert ours.predict(X).tolist() == theirs.predict(X).tolist() == [5] * 30
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score"])
def test_rows_to_predict_must_fit(method):
    model = MLPClassifier(**SETTINGS).fit(X, Y)

    def call(rows):
        return (
            getattr(model, method)(rows, Y[: len(rows)])
            if method == "score"
            else getattr(model, method)(rows)
        )

    with pytest.raises(
        ValueError, match="X has 2 features, but MLPClassifier is expecting 3 features as input"
    ):
        call(X[:, :2])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        call(spoilt(X, np.nan))
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        call(X[:0])


def test_names_of_columns_are_held_to():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = MLPRegressor(**SETTINGS).fit(frame, X[:, 0])
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="The feature names should match"):
        model.predict(frame[["b", "a", "c"]])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        model.predict(X)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_must_be_fitted_first(kind):
    with pytest.raises(NotFittedError, match=f"This {kind.__name__} instance is not fitted yet"):
        kind().predict(X)


# -- later calls -----------------------------------------------------------------------------------


def same_error(act):
    heard = []
    for kind in (MLPClassifier, sklearn.neural_network.MLPClassifier):
        with pytest.raises((ValueError, AttributeError)) as caught:
            act(kind)
        heard.append((caught.type, str(caught.value)))
    assert heard[0] == heard[1]
    return heard[0][1]


def test_partial_fit_needs_its_classes():
    assert "classes must be passed" in same_error(lambda kind: kind(**SETTINGS).partial_fit(X, Y))
    message = same_error(lambda kind: kind(**SETTINGS).partial_fit(X, Y, classes=[0, 1]))
    assert "`y` has classes not in `self.classes_`" in message
    same_error(lambda kind: kind(**SETTINGS).partial_fit(X, Y, [0, 1, 2]).partial_fit(X, Y, classes=[0, 1]))


def test_partial_fit_needs_a_stochastic_solver():
    def act(kind):
        kind(solver="lbfgs").partial_fit(X, Y, classes=[0, 1, 2])

    same_error(act)


def test_partial_fit_has_no_early_stopping():
    def act(kind):
        kind(**SETTINGS, early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2])

    assert "partial_fit does not support early_stopping=True" in same_error(act)


def test_partial_fit_cannot_balance_classes():
    model = MLPClassifier(**SETTINGS, class_weight="balanced")
    with pytest.raises(
        ValueError, match="class_weight='balanced' cannot be used with partial_fit: give a dict"
    ):
        model.partial_fit(X, Y, classes=[0, 1, 2])


def test_a_warm_start_keeps_its_classes():
    def act(kind):
        kind(**SETTINGS, warm_start=True).fit(X, Y).fit(X, Y % 2)

    assert "warm_start can only be used where `y` has the same classes" in same_error(act)


def test_too_few_rows_to_stop_early_on():
    def act(kind):
        kind(**SETTINGS, early_stopping=True, validation_fraction=0.01).fit(X[:, :2], np.zeros((30, 2), int))

    assert "The validation set is too small" in same_error(act)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_training_that_diverges_is_an_error(kind):
    heard = []
    for one in (kind, theirs_of(kind)):
        model = one(
            **{**SETTINGS, "max_iter": 20}, solver="sgd", learning_rate_init=1e150, activation="identity"
        )
        with pytest.raises(ValueError, match="Solver produced non-finite parameter weights") as caught:
            model.fit(X * 1e3, 100.0 * (Y - 1) if kind is MLPRegressor else Y)
        heard.append(str(caught.value))
    assert heard[0] == heard[1]


# -- parameters ------------------------------------------------------------------------------------

PARAMETERS = [
    ({"activation": "rely"}, "'activation' parameter of .* Got 'rely' instead"),
    ({"activation": ["rely"]}, "activation must be one of .* got 'rely'. Did you mean 'relu'"),
    (
        {"activation": ["relu", "tanh"]},
        "activation must be one value, or one for each of the 1 hidden layers",
    ),
    ({"activation": [3]}, "activation must be .*3"),
    ({"solver": "adm"}, "'solver' parameter .* Got 'adm' instead"),
    ({"init": "he"}, "'init' parameter .* Got 'he' instead"),
    ({"hidden_layer_sizes": -1}, "'hidden_layer_sizes' parameter .* Got -1 instead"),
    ({"hidden_layer_sizes": (5, 0)}, r"hidden_layer_sizes must be > 0, got \[5, 0\]"),
    ({"hidden_layer_sizes": "4"}, "'hidden_layer_sizes' parameter .* Got '4' instead"),
    ({"hidden_layer_sizes": (2.5,)}, r"hidden_layer_sizes must be whole numbers, got \[2.5\]"),
    ({"learning_rate": "cosin"}, "'learning_rate' parameter .* Got 'cosin' instead"),
    ({"dropout": 1.0}, "'dropout' parameter .* Got 1.0 instead"),
    ({"dropout": [1.5]}, r"dropout must lie in \[0, 1\); got 1.5"),
    ({"dropout": ["some"]}, r"dropout must lie in \[0, 1\); got 'some'"),
    ({"dropout": [0.1, 0.2]}, "dropout must be one value, or one for each of the 1 hidden layers"),
    ({"dtype": "float16"}, "'dtype' parameter .* Got 'float16' instead"),
    ({"dtype": np.float16}, "dtype must be float32, float64 or None; got <class 'numpy.float16'>"),
    ({"dtype": int}, "dtype must be float32, float64 or None; got <class 'int'>"),
    ({"n_jobs": 0}, "n_jobs must not be 0"),
    ({"n_jobs": "all"}, "'n_jobs' parameter .* Got 'all' instead"),
    ({"scoring": 3}, "'scoring' parameter .* Got 3 instead"),
    ({"scoring": "acuracy", "early_stopping": True}, "'acuracy' is not a valid scoring value"),
    ({"clip_norm": 0.0}, "'clip_norm' parameter .* Got 0.0 instead"),
    ({"weight_decay": -1.0}, "'weight_decay' parameter .* Got -1.0 instead"),
    ({"batch_norm": "yes"}, "'batch_norm' parameter .* Got 'yes' instead"),
    ({"max_time": 0}, "'max_time' parameter .* Got 0 instead"),
    ({"alpha": -1}, "'alpha' parameter .* Got -1 instead"),
    ({"solver": "lbfgs", "dropout": 0.5}, "dropout=0.5 needs a stochastic solver"),
    ({"solver": "lbfgs", "dropout": [0.5]}, r"dropout=\[0.5\] needs a stochastic solver"),
    ({"solver": "lbfgs", "batch_norm": True}, "batch_norm=True needs a stochastic solver"),
    ({"solver": "lbfgs", "clip_norm": 1.0}, "clip_norm=1.0 needs a stochastic solver"),
    ({"solver": "lbfgs", "weight_decay": 0.1}, "weight_decay=0.1 needs a stochastic solver"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("settings", "message"), PARAMETERS)
def test_a_wrong_parameter_is_named(kind, settings, message):
    model = kind(**{**SETTINGS, **settings})  # the constructor takes anything, as scikit-learn's do
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(X, Y)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("balance", "'class_weight' parameter .* Got 'balance' instead"),
        (2.0, "'class_weight' parameter .* Got 2.0 instead"),
        ({0: 1.0, 9: 2.0, 1: 1.0}, "9.* not in class_weight|classes.*class_weight"),
    ],
)
def test_a_wrong_class_weight_is_named(class_weight, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**SETTINGS, class_weight=class_weight).fit(X, Y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "l1"}, "'loss' parameter of MLPRegressor .* Got 'l1' instead"),
        ({"loss": ("quantile",)}, r"loss as a pair must be \('quantile', q\) or \('huber', delta\)"),
        ({"loss": ("poisson", 1)}, "loss as a pair must be"),
        ({"loss": ("quantile", 1.5)}, r"loss \('quantile', q\) needs q between 0 and 1; got 1.5"),
        ({"loss": ("huber", 0)}, r"loss \('huber', delta\) needs a positive delta; got 0.0"),
        ({"loss": ("huber", "big")}, r"loss \('huber', setting\) needs a number; got 'big'"),
        ({"target_scaling": "robust"}, "'target_scaling' parameter .* Got 'robust' instead"),
        ({"loss": "poisson", "target_scaling": "standard"}, "target_scaling does not go with loss='poisson'"),
    ],
)
def test_a_wrong_parameter_of_a_regressor_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        MLPRegressor(**SETTINGS, **settings).fit(X, Y)


# -- validation data -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ({"X_val": X}, "X_val and y_val must be given together"),
        ({"y_val": Y}, "X_val and y_val must be given together"),
        ({"sample_weight_val": np.ones(30)}, "sample_weight_val needs X_val and y_val"),
        ({"X_val": X[:9], "y_val": Y}, "X_val and y_val must have as many rows; got 9 and 30"),
        ({"X_val": X[:, :2], "y_val": Y}, "X_val: X has 2 features, but .* is expecting 3"),
        ({"X_val": spoilt(X, np.nan), "y_val": Y}, "X_val: Input X contains NaN"),
        ({"X_val": X, "y_val": spoilt(Y, np.nan)}, "Input y_val contains NaN"),
        ({"X_val": X[:0], "y_val": Y[:0]}, r"X_val: Found array with 0 sample\(s\)"),
        ({"X_val": X, "y_val": Y, "sample_weight_val": np.ones(3)}, "sample_weight_val: "),
        (
            {"X_val": X, "y_val": Y, "sample_weight_val": spoilt(np.ones(30), np.nan)},
            "sample_weight_val: .*NaN",
        ),
        ({"X_val": X, "y_val": Y, "sample_weight_val": -np.ones(30)}, "sample_weight_val: Negative values"),
    ],
)
def test_validation_data_is_checked(kind, validation, message):
    with pytest.raises(ValueError, match=message):
        kind(**SETTINGS).fit(X, Y, **validation)


@pytest.mark.parametrize(
    ("y_val", "message"),
    [
        (Y + 1, r"y_val has classes not in y: \[3\]; y has \[0 1 2\]"),
        (Y.astype(str), "y_val has classes not in y"),
        (np.eye(3, dtype=int)[Y], "y_val: The object was not fitted with multilabel input"),
    ],
)
def test_unknown_classes_in_validation_data(y_val, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**SETTINGS).fit(X, Y, X_val=X, y_val=y_val)


def test_outputs_of_validation_data():
    with pytest.raises(ValueError, match="y_val must have 1 columns as y has; got 2"):
        MLPRegressor(**SETTINGS).fit(X, X[:, 0], X_val=X, y_val=X[:, :2])


def test_l_bfgs_has_no_epochs_to_validate_after():
    with pytest.raises(ValueError, match="X_val needs a stochastic solver"):
        MLPClassifier(**SETTINGS, solver="lbfgs").fit(X, Y, X_val=X, y_val=Y)
