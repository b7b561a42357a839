"""Perceptron beside scikit-learn's: equal to the last bit where the conventions agree, and where not."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Perceptron as ScikitPerceptron
from sklearn.preprocessing import StandardScaler

from chainrule.estimators.perceptron import Perceptron
from chainrule.estimators.perceptron_rule import shuffled

POINTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


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


def both(X, y, start=None, **settings_):
    """This class's fit and scikit-learn's, without their warnings of too few epochs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours = Perceptron(**settings_).fit(X, y, intercept_init=start)
        return ours, ScikitPerceptron(**settings_).fit(X, y)


def check_same(ours, theirs):
    np.testing.assert_array_equal(ours.coef_, theirs.coef_)
    np.testing.assert_array_equal(ours.intercept_, theirs.intercept_)


@pytest.mark.parametrize("data", ["iris", "cancer"])
@pytest.mark.parametrize("settings_", [{}, {"tol": None, "max_iter": 40}], ids=["tol", "40 epochs"])
def test_the_same_as_scikit_learn_where_no_positive_row_lies_on_the_plane(data, settings_, request):
    """The first row is negative, so both learn from it at z = 0; no later z is 0 on real measurements."""
    X, y = request.getfixturevalue(data)
    assert y[0] == y.min()
    ours, theirs = both(X, y, shuffle=False, **settings_)
    check_same(ours, theirs)
    assert ours.n_iter_ == theirs.n_iter_ > 1
    assert ours.t_ == theirs.t_
    assert not ours.converged_
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_the_same_once_separated_though_scikit_learn_goes_on():
    X, y = load_iris(return_X_y=True)
    X, y = X[:100], y[:100]
    ours, theirs = both(X, y, shuffle=False, tol=None, max_iter=50)
    check_same(ours, theirs)
    assert ours.converged_
    assert ours.n_iter_ < theirs.n_iter_ == 50


@pytest.mark.parametrize("seed", range(6))
def test_the_same_order_of_rows_for_the_same_seed(cancer, seed):
    """A positive row that is visited first is no mistake at z = 0; with b just below 0 it is one here too."""
    X, y = cancer
    draws = np.random.RandomState(seed)
    draws.randint(1, 2**31 - 1)
    is_positive_first = y[shuffled(len(X), draws.randint(2**31 - 1))[0]] == 1
    ours, theirs = both(X, y, -1e-300 if is_positive_first else None, random_state=seed)
    check_same(ours, theirs)
    if is_positive_first:
        assert np.abs(both(X, y, random_state=seed)[0].coef_ - theirs.coef_).max() > 0.1


def test_seeds_of_the_last_test_begin_with_either_class(cancer):
    firsts = set()
    for seed in range(6):
        draws = np.random.RandomState(seed)
        draws.randint(1, 2**31 - 1)
        firsts.add(int(cancer[1][shuffled(569, draws.randint(2**31 - 1))[0]]))
    assert firsts == {0, 1}


@pytest.mark.parametrize(
    "settings_",
    [
        {"early_stopping": True},
        {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 2, "random_state": 3},
        {"class_weight": "balanced", "eta0": 0.3},
        {"fit_intercept": False, "max_iter": 20},
        {"penalty": "l1", "alpha": 0.01, "eta0": 0.5},
        {"penalty": "l1", "alpha": 1e-4},
        {"penalty": "l2", "alpha": 0.01},
        {"penalty": "l2", "alpha": 0.5},
        {"penalty": "elasticnet", "alpha": 0.01, "l1_ratio": 0.7},
        {"penalty": "elasticnet", "alpha": 0.001, "l1_ratio": 0.0},
    ],
    ids=str,
)
def test_options_are_scikit_learns(cancer, settings_):
    X, y = cancer
    settings_ = {"shuffle": False, **settings_}
    ours, theirs = both(X, y, **settings_)
    # Shrinking multiplies w here and a scale of w there: the last bits differ.
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-9)
    assert ours.n_iter_ == theirs.n_iter_
    if settings_.get("penalty") == "l1" and settings_["alpha"] == 0.01:
        np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)
        assert (ours.coef_ == 0).any()


def test_a_random_generator_is_drawn_from_in_scikit_learns_order(digits):
    X, y = digits
    X = StandardScaler().fit_transform(X)
    for labels in (y, np.where(y < 5, "few", "many")):
        ours, theirs = (
            kind(early_stopping=True, random_state=np.random.RandomState(4), max_iter=3, tol=None)
            for kind in (Perceptron, ScikitPerceptron)
        )
        ours.fit(X, labels, intercept_init=np.full(10 if labels is y else 1, -1e-300))
        theirs.fit(X, labels)
        is_same = np.abs(ours.coef_ - theirs.coef_).max(axis=1) == 0
        # A unit is the same where its first row is positive: that of one digit of ten, and of "many".
        assert is_same.any()
        other = kind_with_default_start(X, labels)
        is_same |= np.abs(other.coef_ - theirs.coef_).max(axis=1) == 0
        assert is_same.all()


def kind_with_default_start(X, labels):
    generator = np.random.RandomState(4)
    return Perceptron(early_stopping=True, random_state=generator, max_iter=3, tol=None).fit(X, labels)


def test_many_classes_differ_in_the_unit_of_the_first_rows_class(digits):
    X, y = digits
    X = StandardScaler().fit_transform(X)
    ours, theirs = both(X, y, shuffle=False, tol=None, max_iter=5)
    is_same = np.abs(ours.coef_ - theirs.coef_).max(axis=1) == 0
    np.testing.assert_array_equal(np.flatnonzero(~is_same), [y[0]])


def test_where_the_conventions_must_differ():
    """A positive row on the plane: right by sign(0) = +1, a mistake by y z ≤ 0.

    Here: x=1 is positive, z=0, right; x=−1 is negative, z=0: w=1, b=−1. Then z=0 and −2: done, x=1 on the
    plane. scikit-learn: x=1 teaches, w=1, b=1; x=−1 has z=0: w=2, b=0. Then z=2 and −2: done.
    """
    X, y = np.array([[1.0], [-1.0]]), np.array([1, 0])
    ours, theirs = both(X, y, shuffle=False)
    assert (ours.coef_.item(), ours.intercept_.item(), ours.n_updates_) == (1, -1, 1)
    assert (theirs.coef_.item(), theirs.intercept_.item()) == (2, 0)
    assert ours.converged_
    np.testing.assert_array_equal(ours.decision_function(X), [0, -2])
    np.testing.assert_array_equal(ours.predict(X), y)
    # scikit-learn calls the point on the plane negative.
    theirs.coef_, theirs.intercept_ = ours.coef_, ours.intercept_
    np.testing.assert_array_equal(theirs.predict(X), [0, 0])


@pytest.mark.parametrize("y", [[0, 1, 1, 1], [0, 0, 0, 1]], ids=["or", "and"])
def test_on_a_lattice_both_separate_and_need_not_agree(y):
    ours, theirs = both(POINTS, y, shuffle=False, tol=None)
    assert ours.converged_
    assert ours.score(POINTS, y) == theirs.score(POINTS, y) == 1
    assert (ours.coef_ != theirs.coef_).any()
