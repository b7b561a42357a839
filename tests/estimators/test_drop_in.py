"""Beside scikit-learn's own estimators: the same ``random_state`` gives the same model."""

import copy
import inspect
import io
import pickle
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse
import sklearn.neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chainrule.estimators import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

KINDS = [MLPClassifier, MLPRegressor]
QUICK = {"hidden_layer_sizes": (9, 7), "max_iter": 12, "random_state": 3}
FITTED = (
    "n_iter_", "t_", "out_activation_", "n_layers_", "n_outputs_", "n_features_in_", "loss_", "best_loss_",
    "loss_curve_", "validation_scores_", "best_validation_score_",
)  # fmt: skip


def theirs_of(kind):
    return getattr(sklearn.neural_network, kind.__name__)


@pytest.fixture(scope="module")
def X():
    """83 rows: the last batch is ragged for most sizes."""
    return np.random.default_rng(0).normal(size=(83, 6))


def targets(X, what):
    rng = np.random.default_rng(1)
    score = X @ np.array([1.0, -1, 0.5, 0, 2, 0]) + 0.3 * rng.normal(size=len(X))
    return {
        "classes": np.digitize(score, [-1.5, 1.0]),
        "strings": np.array(["low", "middle", "high"])[np.digitize(score, [-1.5, 1.0])],
        "binary": np.where(score > 0, 7, -2),
        "multilabel": np.stack([score > 0, X[:, 0] > 0.5, X[:, 1] > X[:, 2]], axis=1).astype(int),
        "one label": np.ones(len(X), int),
        "regression": score,
        "outputs": np.stack([score, X[:, 0] ** 2], axis=1),
        "counts": np.random.default_rng(2).poisson(np.exp(0.3 * score)).astype(float),
    }[what]


def assert_same(ours, theirs, X, rtol=1e-9):
    """Weights, every fitted attribute, and predictions."""
    atol = rtol * 1e-3
    # With L-BFGS scikit-learn's weights are float64 whatever X is; ours have the dtype of X.
    exact_dtype = X.dtype == np.float64 or ours.solver != "lbfgs"
    pairs = zip([*ours.coefs_, *ours.intercepts_], [*theirs.coefs_, *theirs.intercepts_], strict=True)
    for a, b in pairs:
        assert a.dtype == (b.dtype if exact_dtype else X.dtype)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    for name in FITTED:
        assert hasattr(ours, name) == hasattr(theirs, name), name
        if hasattr(theirs, name):
            a, b = getattr(ours, name), getattr(theirs, name)
            if b is None or isinstance(b, str):
                assert a == b, name
            else:
                np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=name)
    if hasattr(theirs, "classes_"):
        np.testing.assert_array_equal(ours.classes_, theirs.classes_)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=100 * rtol, atol=atol)
        np.testing.assert_allclose(
            ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=100 * rtol, atol=100 * rtol
        )
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    else:
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=100 * rtol, atol=100 * rtol)
    if exact_dtype:
        assert ours.predict(X).dtype == theirs.predict(X).dtype
    assert ours.predict(X).shape == theirs.predict(X).shape


def assert_same_fit(kind, settings, X, y, rtol=1e-9, score=True, **fit):
    settings = {**QUICK, **settings}
    ours, theirs = kind(**settings).fit(X, y, **fit), theirs_of(kind)(**settings).fit(X, y, **fit)
    assert_same(ours, theirs, X, rtol)
    if score:
        assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=100 * rtol)
    return ours, theirs


# -- the same model --------------------------------------------------------------------------------


def test_a_full_default_fit_on_the_digits():
    X, y = load_digits(return_X_y=True)
    ours, theirs = MLPClassifier(random_state=0).fit(X, y), theirs_of(MLPClassifier)(random_state=0).fit(X, y)
    assert 30 < ours.n_iter_ < 200  # it stopped by itself
    # In the first epoch, on pixels up to 16, some probabilities are below 2e-16, where scikit-learn clips
    # them before it takes the logarithm; the loss that we report is the exact one.
    assert theirs.loss_curve_[0] < ours.loss_curve_[0] < 1.01 * theirs.loss_curve_[0]
    theirs.loss_curve_[0] = ours.loss_curve_[0]
    assert_same(ours, theirs, X)
    assert ours.score(X, y) == theirs.score(X, y) == 1.0


def test_the_loss_is_exact_where_scikit_learn_clips():
    X, y = np.array([[100.0], [-100.0]]), np.array([0, 1])
    curves = []
    for kind in (MLPClassifier, theirs_of(MLPClassifier)):
        model = kind(
            (), solver="sgd", learning_rate_init=1e-12, momentum=0, alpha=0, max_iter=2, random_state=0
        )
        model.fit(X, y)
        model.coefs_[0][:], model.intercepts_[0][:] = 5.0, 0.0
        curves.append(model.partial_fit(X, y).loss_curve_[-1])
    assert curves[0] == pytest.approx(500.0, rel=1e-9)  # −log σ(−500)
    assert curves[1] == pytest.approx(-np.log(np.finfo(float).eps), rel=1e-2)


OPTIONS = [
    {},
    {"hidden_layer_sizes": ()},
    {"hidden_layer_sizes": 5},
    {"hidden_layer_sizes": [4, 3, 5]},
    {"hidden_layer_sizes": np.array([4, 3])},
    {"alpha": 0.5},
    {"batch_size": 20},
    {"batch_size": 1, "max_iter": 3},
    {"batch_size": 83},
    {"shuffle": False, "batch_size": 10},
    {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3, "learning_rate_init": 0.02},
    {"tol": 0.05, "n_iter_no_change": 2, "max_iter": 60},
    {"n_iter_no_change": np.inf},
    {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 60, "learning_rate_init": 0.02},
    {"early_stopping": True, "validation_fraction": 0.3, "batch_size": 7},
    {"early_stopping": True, "tol": 0.0, "n_iter_no_change": 2, "max_iter": 40},  # ties are no standstill
    {"random_state": 11},
    {"activation": "identity"},
    {"activation": "logistic", "learning_rate_init": 0.05},
    {"activation": "tanh", "learning_rate_init": 0.05},
    {"solver": "sgd"},
    {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.1},
    {"solver": "sgd", "nesterovs_momentum": False, "batch_size": 16},
    {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3, "learning_rate_init": 0.5},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1, "max_iter": 60},
    {"solver": "sgd", "learning_rate": "adaptive", "early_stopping": True, "tol": 0.1, "n_iter_no_change": 2},
    {"learning_rate": "invscaling"},  # ignored by Adam
    {"solver": "lbfgs", "max_iter": 6},
    {"solver": "lbfgs", "max_iter": 6, "activation": "tanh", "alpha": 1.0},
    {"solver": "lbfgs", "max_iter": 50, "max_fun": 5},
]


@pytest.mark.parametrize("settings", OPTIONS, ids=str)
def test_every_option_of_a_classifier(X, settings):
    assert_same_fit(MLPClassifier, settings, X, targets(X, "classes"))


@pytest.mark.parametrize("settings", OPTIONS, ids=str)
def test_every_option_of_a_regressor(X, settings):
    assert_same_fit(MLPRegressor, settings, X, targets(X, "regression"))


SOLVERS = [{}, {"solver": "sgd"}, {"solver": "lbfgs", "max_iter": 5}, {"early_stopping": True}]
TARGETS = [
    (MLPClassifier, "strings", {}),
    (MLPClassifier, "binary", {}),
    (MLPClassifier, "multilabel", {}),
    (MLPClassifier, "one label", {}),
    (MLPRegressor, "outputs", {}),
    (MLPRegressor, "counts", {"loss": "poisson"}),
]


@pytest.mark.parametrize("settings", SOLVERS, ids=str)
@pytest.mark.parametrize(("kind", "what", "more"), TARGETS)
def test_every_kind_of_target(X, kind, what, more, settings):
    assert_same_fit(kind, {**settings, **more}, X, targets(X, what))


@pytest.mark.parametrize("settings", SOLVERS, ids=str)
@pytest.mark.parametrize(("kind", "what"), [(MLPClassifier, "classes"), (MLPRegressor, "outputs")])
def test_sample_weights(X, kind, what, settings):
    weights = np.random.default_rng(5).integers(0, 4, len(X))
    settings = {**settings, "batch_size": 25}
    y = targets(X, what)
    ours, theirs = assert_same_fit(kind, settings, X, y, sample_weight=weights)
    assert ours.score(X, y, weights) == pytest.approx(theirs.score(X, y, weights), rel=1e-9)
    assert ours.loss_ != kind(**{**QUICK, **settings}).fit(X, y).loss_


@pytest.mark.parametrize("make", [scipy.sparse.csr_matrix, scipy.sparse.csc_matrix, scipy.sparse.csr_array])
@pytest.mark.parametrize("settings", SOLVERS, ids=str)
def test_sparse_rows(X, make, settings):
    rows = make(np.where(np.abs(X) > 0.8, X, 0))
    assert_same_fit(MLPClassifier, settings, rows, targets(X, "classes"))


@pytest.mark.parametrize("settings", SOLVERS, ids=str)
@pytest.mark.parametrize(("kind", "what"), [(MLPClassifier, "classes"), (MLPRegressor, "outputs")])
def test_single_precision(X, kind, what, settings):
    X = X.astype(np.float32)
    ours, _ = assert_same_fit(kind, settings, X, targets(X, what), rtol=1e-3)
    assert ours.coefs_[0].dtype == np.float32


@pytest.mark.parametrize("settings", SOLVERS, ids=str)
def test_a_warm_start_goes_on_twice(X, settings):
    y = targets(X, "classes")
    settings = {**QUICK, **settings, "warm_start": True}
    models = [kind(**settings) for kind in (MLPClassifier, theirs_of(MLPClassifier))]
    parts = [slice(0, 60), slice(20, 83), slice(0, 83)]
    for model in models:
        for rows in parts[:2] if model.early_stopping else parts:
            model.fit(X[rows], y[rows])
    assert_same(*models, X)


def test_a_warm_start_that_brings_nothing_better_keeps_the_best_weights(X):
    """scikit-learn's then trains its stored best weights in place, and gives back what they became."""
    y = targets(X, "classes")
    models = []
    for kind in (MLPClassifier, theirs_of(MLPClassifier)):
        model = kind(**QUICK, warm_start=True, early_stopping=True).fit(X, y)
        model.best_validation_score_ = 2.0  # which no epoch can beat
        before = [coef.copy() for coef in model.coefs_]
        model.fit(X, y)
        moved = [np.abs(a - b).max() for a, b in zip(before, model.coefs_, strict=True)]
        models.append((model, moved))
    assert models[0][1] == [0, 0, 0]
    assert min(models[1][1]) > 0
    np.testing.assert_allclose(models[0][0].validation_scores_, models[1][0].validation_scores_, rtol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [{"activation": "tanh"}, {"alpha": 1.0}, {"solver": "sgd"}, {"learning_rate_init": 0.1}],
    ids=str,
)
def test_a_warm_start_with_other_settings(X, changes):
    y = targets(X, "classes")
    models = [kind(**QUICK, warm_start=True).fit(X, y) for kind in (MLPClassifier, theirs_of(MLPClassifier))]
    for model in models:
        model.set_params(**changes).fit(X, y)
    assert_same(*models, X)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("kind", "what"),
    [(MLPClassifier, "classes"), (MLPClassifier, "multilabel"), (MLPRegressor, "regression")],
)
def test_partial_fit_in_parts(X, kind, what, solver):
    y = targets(X, what)
    models = [one(**QUICK, solver=solver, learning_rate="invscaling") for one in (kind, theirs_of(kind))]
    first = {"classes": [0, 1, 2]} if kind is MLPClassifier else {}
    for model in models:
        for turn in range(6):
            rows = slice(15 * turn, 15 * turn + 20)
            model.partial_fit(X[rows], y[rows], **(first if turn == 0 else {}))
    assert_same(*models, X)


def test_fit_after_partial_fit_starts_anew(X):
    y = targets(X, "regression")
    both = [kind(**QUICK).partial_fit(X, y).fit(X, y) for kind in (MLPRegressor, theirs_of(MLPRegressor))]
    assert_same(*both, X)
    np.testing.assert_array_equal(both[0].coefs_[0], MLPRegressor(**QUICK).fit(X, y).coefs_[0])


def test_a_random_state_object_is_drawn_from_alike(X):
    y = targets(X, "classes")
    states = [np.random.RandomState(8), np.random.RandomState(8)]
    models = []
    for kind, state in zip((MLPClassifier, theirs_of(MLPClassifier)), states, strict=True):
        model = kind(**{**QUICK, "random_state": state}, early_stopping=True)
        models.append(model.fit(X, y).fit(X, y))
    assert_same(*models, X)
    assert states[0].randint(2**31) == states[1].randint(2**31)


def test_the_same_warnings(X):
    y = targets(X, "classes")
    for settings in (
        {"max_iter": 2},
        {"max_iter": 2, "batch_size": 1000},
        {"solver": "lbfgs", "max_iter": 2},
    ):
        heard = []
        for kind in (MLPClassifier, theirs_of(MLPClassifier)):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                kind(**{**QUICK, **settings}).fit(X, y)
            heard.append([(one.category, str(one.message)) for one in caught])
        assert heard[0] == heard[1]
        assert heard[0][-1][0] is ConvergenceWarning


@pytest.mark.parametrize(
    "settings", [{}, {"early_stopping": True}, {"solver": "sgd", "learning_rate": "adaptive"}]
)
def test_the_same_words_on_the_screen(X, capsys, settings):
    y = targets(X, "classes")
    heard = []
    for kind in (MLPClassifier, theirs_of(MLPClassifier)):
        kind(**{**QUICK, **settings}, verbose=True, tol=0.5, n_iter_no_change=2).fit(X, y)
        heard.append(capsys.readouterr().out)
    assert heard[0] == heard[1]
    assert "Iteration 1, loss = " in heard[0]


# -- the same object -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_constructor_is_scikit_learns_and_then_ours(kind):
    ours = list(inspect.signature(kind).parameters.values())
    theirs = list(inspect.signature(theirs_of(kind)).parameters.values())
    assert [(p.name, p.kind, p.default) for p in ours[: len(theirs)]] == [
        (p.name, p.kind, p.default) for p in theirs
    ]
    extras = ours[len(theirs) :]
    assert len(extras) > 9
    assert {p.kind for p in extras} == {inspect.Parameter.KEYWORD_ONLY}
    assert list(kind().get_params()) == sorted(p.name for p in ours)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["fit", "partial_fit", "predict", "score"])
def test_methods_take_scikit_learns_arguments(kind, name):
    ours = list(inspect.signature(getattr(kind(), name)).parameters.values())
    theirs = list(inspect.signature(getattr(theirs_of(kind)(), name)).parameters.values())
    assert [(p.name, p.kind, p.default) for p in ours[: len(theirs)]] == [
        (p.name, p.kind, p.default) for p in theirs
    ]
    assert {p.kind for p in ours[len(theirs) :]} <= {inspect.Parameter.KEYWORD_ONLY}


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_clone_and_repr(kind):
    model = kind(hidden_layer_sizes=(4, 4), activation=["tanh", "gelu"], dropout=[0.1, 0.0], dtype="float32")
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model.set_params(alpha=0.3)), "coefs_")
    assert clone(model).alpha == 0.3
    assert repr(kind()) == f"{kind.__name__}()"
    assert repr(kind(alpha=0.5, batch_norm=True)) == f"{kind.__name__}(alpha=0.5, batch_norm=True)"
    with pytest.raises(ValueError, match="Invalid parameter 'alfa' for estimator"):
        model.set_params(alfa=1)


def through_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize(
    "duplicate", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m)), through_joblib],
    ids=["deepcopy", "copy", "pickle", "joblib"],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_copies_predict_and_train_alike(X, kind, duplicate):
    y = targets(X, "binary")
    settings = {"dropout": 0.2, "batch_norm": True, "learning_rate": "cosine"}
    model = kind(**QUICK, **settings).partial_fit(X, y, *([] if kind is MLPRegressor else [None, [-2, 7]]))
    twin = duplicate(model)
    assert repr(twin) == repr(model)
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))
    if duplicate is not copy.copy:  # whose arrays are shared, as everywhere in Python
        before = model.predict(X).copy()
        ours = twin.partial_fit(X, y).coefs_[0].copy()
        np.testing.assert_array_equal(model.predict(X), before)
        np.testing.assert_array_equal(ours, model.partial_fit(X, y).coefs_[0])


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search_over_a_pipeline(X, backend):
    y = targets(X, "classes")
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(**{**QUICK, "max_iter": 4}))
    grid = {"mlpclassifier__alpha": [1e-4, 10.0], "mlpclassifier__activation": ["relu", "gelu"]}
    with joblib.parallel_backend(backend, n_jobs=2), warnings.catch_warnings():
        search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    serial = GridSearchCV(pipeline, grid, cv=2, n_jobs=1, error_score="raise").fit(X, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"]
    )
    np.testing.assert_array_equal(search.predict_proba(X), serial.predict_proba(X))
    assert search.best_params_ == serial.best_params_


def test_cross_validation_is_scikit_learns(X):
    y = targets(X, "regression")
    ours, theirs = (
        cross_val_score(kind(**QUICK), X, y, cv=3) for kind in (MLPRegressor, theirs_of(MLPRegressor))
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
