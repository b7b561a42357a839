"""Perceptron: the rule as the chapter states it, the search for mistakes, and scikit-learn's beside it."""

import os

# scikit-learn and SciPy read it when they are imported; the array API check is skipped without it.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

import pickle
import warnings

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import Perceptron as ScikitPerceptron
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError, StrOptions
from sklearn.utils.estimator_checks import parametrize_with_checks

from chainrule.estimators.perceptron import Perceptron

POINTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
OR, AND = np.array([0, 1, 1, 1]), np.array([0, 0, 0, 1])


@pytest.fixture(scope="module")
def iris():
    """Versicolor (the negative class, and the first row) and virginica, which overlap."""
    X, y = load_iris(return_X_y=True)
    return X[50:], y[50:]


@pytest.fixture(scope="module")
def cancer():
    """569 tumours, standardised; the first row is malignant, the negative class."""
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


# -- scikit-learn's protocol -------------------------------------------------------------------------


def expected_failed_checks(estimator):
    """A weight of 2 is one step of twice the length; of two equal rows the second may be no mistake.

    scikit-learn expects the same two checks to fail for its own Perceptron.
    """
    reason = "the rule depends on the order of the rows, so a weight cannot be a number of repetitions"
    kinds = ("dense", "sparse")
    return {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in kinds}


@pytest.mark.filterwarnings("default")
@parametrize_with_checks(
    [Perceptron(), Perceptron(penalty="elasticnet", tol=None, max_iter=20)],
    expected_failed_checks=expected_failed_checks,
)
def test_scikit_learn_check(estimator, check):
    check(estimator)


def test_the_constructor_is_scikit_learns():
    assert Perceptron().get_params() == ScikitPerceptron().get_params()


def test_parameters_mean_the_same_as_in_scikit_learn():
    ours, theirs = Perceptron._parameter_constraints, ScikitPerceptron._parameter_constraints
    for name in Perceptron().get_params():
        assert set(map(readable, ours[name])) == set(map(readable, theirs[name])), name


def readable(constraint):
    """A constraint as text, its options in order."""
    return str(sorted(constraint.options)) if isinstance(constraint, StrOptions) else str(constraint)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("penalty", "l3"), ("alpha", -1), ("l1_ratio", 1.5), ("l1_ratio", None), ("fit_intercept", "yes"),
        ("max_iter", 0), ("max_iter", 1.5), ("tol", -1e-3), ("shuffle", 2), ("verbose", -1), ("eta0", 0),
        ("n_jobs", 1.5), ("random_state", "seed"), ("early_stopping", 3), ("validation_fraction", 1.0),
        ("n_iter_no_change", 0), ("class_weight", "even"), ("warm_start", None),
    ],
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of Perceptron must be"):
        Perceptron(**{name: value}).fit(POINTS, OR)


def test_what_is_wrong_with_the_data_is_said():
    with pytest.raises(ValueError, match="y must have at least two classes; it has one class, 1"):
        Perceptron().fit(POINTS, np.ones(4, dtype=int))
    with pytest.raises(ValueError, match=r"coef_init must have shape \(1, 2\); got \(3,\)"):
        Perceptron().fit(POINTS, OR, coef_init=[1, 2, 3])
    with pytest.raises(ValueError, match=r"intercept_init must have shape \(3,\); got \(1,\)"):
        Perceptron().fit(POINTS, [0, 1, 2, 2], intercept_init=[1.0])
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        Perceptron().fit(POINTS, OR, sample_weight=[1, 1, 1, -1])
    with pytest.raises(ValueError, match="the weights have overflowed in epoch 1"):
        Perceptron().fit([[1e200], [-1e200]], [0, 1], sample_weight=[1e150, 1e150])
    with pytest.raises(ValueError, match="sample_weight is 0 for all rows held out for early_stopping"):
        Perceptron(early_stopping=True, validation_fraction=0.5).fit(
            np.eye(4), OR[[0, 0, 1, 2]], sample_weight=held_out_weights()
        )
    with pytest.raises(NotFittedError):
        Perceptron().predict(POINTS)


def held_out_weights():
    """1 for the two rows that are learnt from, 0 for the two that the default seed holds out."""
    from sklearn.model_selection import StratifiedShuffleSplit

    split = StratifiedShuffleSplit(test_size=0.5, random_state=0)
    learnt, _ = next(split.split(np.zeros((4, 1)), OR[[0, 0, 1, 2]]))
    return np.isin(np.arange(4), learnt).astype(float)


def test_what_is_wrong_with_a_partial_fit_is_said():
    with pytest.raises(ValueError, match="early_stopping must be False for partial_fit"):
        Perceptron(early_stopping=True).partial_fit(POINTS, OR, [0, 1])
    with pytest.raises(ValueError, match="class_weight='balanced' is not supported by partial_fit"):
        Perceptron(class_weight="balanced").partial_fit(POINTS, OR, [0, 1])
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        Perceptron().partial_fit(POINTS, OR)
    with pytest.raises(ValueError, match=r"y has labels that are not among the classes \[0 1\]: \[7\]"):
        Perceptron().partial_fit(POINTS, OR, [0, 1]).partial_fit(POINTS, [0, 1, 7, 1])
    one_class = Perceptron()
    for _ in range(2):
        with pytest.raises(ValueError, match="y must have at least two classes; it has one class, 1"):
            one_class.partial_fit(POINTS, np.ones(4, dtype=int), [1])


# -- the rule ------------------------------------------------------------------------------------


def test_or_by_hand():
    """z = 0 is +1, so (0, 0), which is negative, is a mistake in each epoch until b is −1 for good.

    Epoch 1: (0,0) b=−1; (0,1) z=−1, w=(0,1), b=0; (1,0) z=0 right; (1,1) right.
    Epoch 2: (0,0) b=−1; (0,1) z=0 right; (1,0) z=−1, w=(1,1), b=0. Epoch 3: (0,0) b=−1. Epoch 4: no mistake.
    """
    model = Perceptron(tol=None, shuffle=False).fit(POINTS, OR)
    np.testing.assert_array_equal(model.coef_, [[1, 1]])
    np.testing.assert_array_equal(model.intercept_, [-1])
    assert (model.n_updates_, model.n_iter_, model.converged_) == (5, 4, True)
    assert model.t_ == 4 * 4 + 1
    np.testing.assert_array_equal(model.predict(POINTS), OR)
    # Two positive points lie on the plane itself, where scikit-learn would call them negative.
    np.testing.assert_array_equal(model.decision_function(POINTS), [-1, 0, 0, 1])


def test_sign_of_zero_is_plus_one():
    """Zero weights call every row positive, so positive rows teach nothing; one negative row teaches."""
    start = Perceptron(shuffle=False, max_iter=1, tol=None).fit([[1.0], [2.0], [3.0]], [1, 1, 0])
    np.testing.assert_array_equal(start.coef_, [[-3]])
    assert start.n_updates_ == 1
    flat = Perceptron().partial_fit([[1.0]], ["b"], classes=["a", "b"])
    assert flat.n_updates_ == 0
    assert flat.converged_
    np.testing.assert_array_equal(flat.predict([[5.0], [-5.0]]), ["b", "b"])


def test_the_learning_rate_only_scales_from_zero(cancer):
    X, y = cancer
    one = Perceptron(max_iter=30, tol=None).fit(X, y)
    for eta in (0.25, 8.0):
        other = Perceptron(max_iter=30, tol=None, eta0=eta).fit(X, y)
        np.testing.assert_array_equal(other.coef_, eta * one.coef_)
        np.testing.assert_array_equal(other.intercept_, eta * one.intercept_)
        assert other.n_updates_ == one.n_updates_


def test_without_an_intercept():
    model = Perceptron(fit_intercept=False, tol=None).fit(POINTS, OR)
    np.testing.assert_array_equal(model.intercept_, [0])
    # Every w puts the origin on its plane, and so among the positive rows: it stays a mistake.
    assert not model.converged_
    assert model.n_iter_ == 1000
    moved = Perceptron(fit_intercept=False).fit(POINTS, 1 - OR)
    assert moved.converged_


def test_tol_may_stop_before_the_data_is_separated_and_none_does_not():
    X = np.random.default_rng(0).normal(size=(1000, 2))
    score = X @ [1.0, 2.0]
    X, y = X[np.abs(score) > 0.001], score[np.abs(score) > 0.001] > 0
    early = Perceptron().fit(X, y)
    assert not early.converged_
    late = Perceptron(tol=None, max_iter=100_000).fit(X, y)
    assert late.converged_
    assert late.score(X, y) == 1
    assert late.n_iter_ > early.n_iter_


def test_running_out_of_epochs_warns_unless_no_mistake_was_left():
    with pytest.warns(ConvergenceWarning, match=r"training stopped after 2 epochs \(max_iter\)"):
        Perceptron(max_iter=2).fit(POINTS, [0, 1, 1, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Perceptron(max_iter=4, shuffle=False).fit(POINTS, OR).converged_
        assert not Perceptron(max_iter=2, tol=None).fit(POINTS, [0, 1, 1, 0]).converged_


# -- weights of rows and classes ---------------------------------------------------------------------


def test_a_row_of_weight_zero_is_not_there(iris):
    X, y = iris
    kept = np.arange(len(X)) % 3 > 0
    settings_ = {"shuffle": False, "tol": None, "max_iter": 20}
    weighted = Perceptron(**settings_).fit(X, y, sample_weight=kept.astype(float))
    removed = Perceptron(**settings_).fit(X[kept], y[kept])
    np.testing.assert_array_equal(weighted.coef_, removed.coef_)
    assert weighted.n_updates_ == removed.n_updates_


def test_a_class_weight_is_the_weight_of_its_rows(iris):
    X, y = iris
    settings_ = {"tol": None, "max_iter": 20}
    by_class = Perceptron(class_weight={1: 0.5, 2: 3}, **settings_).fit(X, y)
    by_row = Perceptron(**settings_).fit(X, y, sample_weight=np.where(y == 1, 0.5, 3))
    np.testing.assert_array_equal(by_class.coef_, by_row.coef_)
    rows = np.r_[:50, 50:70]
    balanced = Perceptron(class_weight="balanced", **settings_).fit(X[rows], y[rows])
    same = Perceptron(class_weight={1: 70 / 100, 2: 70 / 40}, **settings_).fit(X[rows], y[rows])
    np.testing.assert_array_equal(balanced.coef_, same.coef_)


def test_a_weight_is_not_a_number_of_repetitions():
    """Why two of scikit-learn's checks cannot pass: after the first copy the second may be no mistake."""
    X, y = np.array([[1.0], [-1.0]]), np.array([0, 1])
    weighted = Perceptron(shuffle=False).fit(X, y, sample_weight=[2, 1])
    repeated = Perceptron(shuffle=False).fit(X[[0, 0, 1]], y[[0, 0, 1]])
    np.testing.assert_array_equal(weighted.coef_, [[-2]])
    np.testing.assert_array_equal(repeated.coef_, [[-1]])


# -- going on ----------------------------------------------------------------------------------------


def test_partial_fit_is_an_epoch(cancer):
    X, y = cancer
    whole = Perceptron(tol=None, max_iter=3, shuffle=False).fit(X, y)
    parts = Perceptron(shuffle=False)
    for _ in range(3):
        assert parts.partial_fit(X, y, classes=[0, 1]) is parts
    np.testing.assert_array_equal(parts.coef_, whole.coef_)
    np.testing.assert_array_equal(parts.intercept_, whole.intercept_)
    assert (parts.n_updates_, parts.t_, parts.n_iter_) == (whole.n_updates_, whole.t_, 1)
    halves = Perceptron(shuffle=False)
    for rows in (slice(0, 300), slice(300, None)):
        halves.partial_fit(X[rows], y[rows], classes=[0, 1])
    once = Perceptron(shuffle=False, tol=None, max_iter=1).fit(X, y)
    np.testing.assert_array_equal(halves.coef_, once.coef_)


def test_warm_start_goes_on(cancer):
    X, y = cancer
    whole = Perceptron(tol=None, max_iter=5, shuffle=False).fit(X, y)
    warm = Perceptron(tol=None, max_iter=2, shuffle=False, warm_start=True).fit(X, y)
    first = warm.coef_
    before = first.copy()
    warm.set_params(max_iter=3).fit(X, y)
    np.testing.assert_array_equal(warm.coef_, whole.coef_)
    np.testing.assert_array_equal(first, before)  # a copy was trained
    assert warm.t_ == 3 * len(X) + 1  # of this fit alone, as n_updates_ is
    two = Perceptron(tol=None, max_iter=2, shuffle=False).fit(X, y)
    again = Perceptron(tol=None, max_iter=3, shuffle=False).fit(X, y, two.coef_, two.intercept_)
    np.testing.assert_array_equal(again.coef_, whole.coef_)
    assert again.n_updates_ == warm.n_updates_ < whole.n_updates_
    cold = warm.set_params(max_iter=5, warm_start=False).fit(X, y)
    np.testing.assert_array_equal(cold.coef_, whole.coef_)


def test_sparse_coefficients_predict_and_go_on(cancer):
    X, y = cancer
    model = Perceptron(shuffle=False).partial_fit(X, y, classes=[0, 1])
    z = model.decision_function(X)
    np.testing.assert_allclose(clone_fitted(model).sparsify().decision_function(X), z)
    model.sparsify().partial_fit(X, y)
    np.testing.assert_array_equal(
        model.coef_, Perceptron(tol=None, max_iter=2, shuffle=False).fit(X, y).coef_
    )


def clone_fitted(model):
    return pickle.loads(pickle.dumps(model))


def test_a_kept_model_is_the_model(cancer):
    X, y = cancer
    model = Perceptron().fit(X, y)
    again = clone_fitted(model)
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert clone(model).get_params() == model.get_params()


# -- sparse rows, other types, many classes ----------------------------------------------------------


@pytest.mark.parametrize("penalty", [None, "l2", "l1", "elasticnet"])
def test_sparse_rows_give_the_model_of_dense_ones(rng, penalty):
    X = rng.integers(-2, 3, size=(200, 12)) * (rng.random((200, 12)) < 0.2).astype(float)
    X[17] = 0  # an empty row
    y = rng.integers(0, 3, size=200)
    settings_ = {"penalty": penalty, "tol": None, "max_iter": 6, "alpha": 2.0**-6, "l1_ratio": 0.5}
    dense, sparse = (Perceptron(**settings_).fit(rows, y) for rows in (X, csr_array(X)))
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-12, atol=1e-12)
    assert sparse.n_updates_ == dense.n_updates_
    np.testing.assert_array_equal(sparse.predict(csr_array(X)), dense.predict(X))


def test_an_entry_stored_in_parts_is_their_sum():
    parts = csr_array((np.array([1.0, 2.0, 5.0]), np.array([0, 0, 1]), np.array([0, 2, 3])), shape=(2, 2))
    before = parts.copy()
    model = Perceptron(shuffle=False, tol=None, max_iter=9).fit(parts, [0, 1])
    whole = Perceptron(shuffle=False, tol=None, max_iter=9).fit(np.array([[3.0, 0], [0, 5]]), [0, 1])
    np.testing.assert_array_equal(model.coef_, whole.coef_)
    np.testing.assert_array_equal(parts.data, before.data)
    assert Perceptron().fit(coo_array(POINTS), OR).score(coo_array(POINTS), OR) == 1


def test_float32_stays(cancer):
    X, y = cancer
    model = Perceptron(penalty="l1").fit(X.astype(np.float32), y)
    assert model.coef_.dtype == model.intercept_.dtype == np.float32
    assert model.score(X, y) > 0.9


def test_each_class_against_all_others(digits):
    X, y = digits
    model = Perceptron(tol=None, max_iter=5, shuffle=False).fit(X, y)
    units = [Perceptron(tol=None, max_iter=5, shuffle=False).fit(X, y == label) for label in range(10)]
    np.testing.assert_array_equal(model.coef_, np.vstack([unit.coef_ for unit in units]))
    np.testing.assert_array_equal(model.intercept_, np.concatenate([unit.intercept_ for unit in units]))
    assert model.n_updates_ == sum(unit.n_updates_ for unit in units)
    assert model.n_iter_ == max(unit.n_iter_ for unit in units)
    assert model.converged_ == all(unit.converged_ for unit in units)
    np.testing.assert_array_equal(model.predict(X), model.decision_function(X).argmax(axis=1))
    assert model.score(X, y) > 0.9


def test_labels_may_be_words(iris):
    X, y = iris
    words = np.array(["versicolor", "virginica"])[y - 1]
    model = Perceptron().fit(X, words)
    np.testing.assert_array_equal(model.coef_, Perceptron().fit(X, y).coef_)
    assert set(model.predict(X)) == set(model.classes_) == {"versicolor", "virginica"}


def test_verbose_prints_an_epoch_a_line(capsys):
    Perceptron(verbose=1, shuffle=False, tol=None).fit(POINTS, OR)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(", mean")[0] for line in lines] == [
        "Epoch 1, mistakes = 2", "Epoch 2, mistakes = 2", "Epoch 3, mistakes = 1", "Epoch 4, mistakes = 0",
    ]  # fmt: skip
    # z of the mistakes: 0 and −1; their sum over four rows.
    assert lines[0].endswith("mean loss = 0.250000")


def test_rows_held_out_are_judged_by_the_same_sign_of_zero(capsys):
    """Without b, and with features of 0, z is 0: every row is called positive, 3 of 4 rightly."""
    model = Perceptron(verbose=1, early_stopping=True, validation_fraction=0.5, fit_intercept=False)
    model.fit(np.zeros((8, 1)), [1, 1, 1, 0] * 2)
    lines = capsys.readouterr().out.splitlines()
    assert {line.split(", ")[-1] for line in lines} == {"validation score = 0.750000"}
    assert len(lines) == model.n_iter_ == 1 + 5  # n_iter_no_change


def test_with_a_penalty_an_epoch_without_a_mistake_is_not_the_end():
    """The weights go on shrinking, b does not, and so the rows come to lie on one side of the plane."""
    settings_ = {"shuffle": False, "tol": None, "max_iter": 300}
    X, y = np.array([[3.0], [1.0]]), [1, 0]
    assert Perceptron(**settings_).fit(X, y).n_iter_ < 300
    model = Perceptron(penalty="l2", alpha=0.01, **settings_).fit(X, y)
    assert model.n_iter_ == 300
    assert model.n_updates_ > Perceptron(**settings_).fit(X, y).n_updates_
