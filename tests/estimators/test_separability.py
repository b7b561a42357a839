"""Separability with its proofs, checked in the tests' own fractions; the bound on a perceptron's mistakes."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import nnls
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.svm import SVC

from chainrule.estimators import separability
from chainrule.estimators.perceptron import Perceptron
from chainrule.estimators.separability import (
    MaximumMargin,
    Separability,
    is_separable,
    maximum_margin,
    mistake_bound,
)

POINTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
AND, OR, NAND, XOR = ([0, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0], [0, 1, 1, 0])


def check_proof(result, X, sign):
    """Verify whichever proof there is, in fractions; the other must not be there."""
    X = [[Fraction(value) for value in row] for row in np.asarray(X, dtype=float).tolist()]
    sign = [int(one) for one in sign]
    assert isinstance(result, Separability)
    assert (result.separator is None) != (result.combination is None)
    assert bool(result) == (result.separator is not None)
    assert result.exact
    if result:
        weight, bias = result.separator
        w, b = [Fraction(one) for one in weight], Fraction(bias)
        for row, y in zip(X, sign, strict=True):
            assert y * (sum(a * c for a, c in zip(w, row, strict=True)) + b) >= 1
    else:
        shares = list(result.combination)
        assert all(isinstance(one, Fraction) and one >= 0 for one in shares)
        for side in (1, -1):
            assert sum(share for share, y in zip(shares, sign, strict=True) if y == side) == 1
        for column in zip(*X, strict=True):
            assert sum(y * share * value for y, share, value in zip(sign, shares, column, strict=True)) == 0


# -- the four functions of two bits ------------------------------------------------------------------


@pytest.mark.parametrize("labels", [AND, OR, NAND], ids=["and", "or", "nand"])
def test_and_or_and_nand_are_separable(labels):
    result = is_separable(POINTS, labels)
    assert result
    check_proof(result, POINTS, np.where(labels, 1, -1))


def test_xor_is_not_separable():
    """The diagonals of the square cross: its centre is halfway on both."""
    result = is_separable(POINTS, XOR)
    assert not result
    assert result.combination.tolist() == [Fraction(1, 2)] * 4
    check_proof(result, POINTS, [-1, 1, 1, -1])
    perceptron = Perceptron(tol=None).fit(POINTS, XOR)
    assert not perceptron.converged_
    assert perceptron.n_iter_ == 1000
    with pytest.raises(ValueError, match="X and y are not linearly separable"):
        mistake_bound(POINTS, XOR)


def test_two_planes_and_a_second_layer_solve_xor():
    """XOR = OR and NAND: each is separable, and so are the four points as the two planes see them."""
    hidden = [Perceptron(tol=None).fit(POINTS, labels) for labels in (OR, NAND)]
    h = np.column_stack([unit.predict(POINTS) for unit in hidden])
    assert is_separable(h, XOR)
    output = Perceptron(tol=None).fit(h, XOR)
    assert all(unit.converged_ for unit in (*hidden, output))
    np.testing.assert_array_equal(output.predict(h), XOR)


def test_of_the_sixteen_functions_of_two_bits_two_are_not_separable():
    tables = [[number >> bit & 1 for bit in range(4)] for number in range(16)]
    results = {tuple(labels): is_separable(POINTS, np.where(labels, 1, -1)) for labels in tables}
    assert [labels for labels, result in results.items() if not result] == [(0, 1, 1, 0), (1, 0, 0, 1)]
    for labels, result in results.items():
        check_proof(result, POINTS, np.where(labels, 1, -1))


# -- the proof, on anything --------------------------------------------------------------------------

ANY_FLOAT = st.floats(-1e300, 1e300, allow_nan=False)
NEAR_ONE = st.sampled_from([1.0, 1.0 - 2**-53, 1.0 + 2**-52, 1.0 + 2**-51])
FEW = st.integers(-2, 2).map(float)


@given(st.data(), st.integers(1, 9), st.integers(1, 4), st.sampled_from([ANY_FLOAT, NEAR_ONE, FEW]))
@settings(deadline=None, derandomize=True, database=None, max_examples=150)
def test_the_answer_always_comes_with_a_proof(data, n, d, numbers):
    """Neither proof can exist beside the other, so a valid one is the right answer."""
    X = data.draw(arrays(float, (n, d), elements=numbers))
    sign = data.draw(arrays(int, n, elements=st.sampled_from([-1, 1])))
    check_proof(is_separable(X, sign), X, sign)


@given(st.data(), st.integers(2, 12), st.integers(1, 4), st.sampled_from([1e-8, 1.0, 1e8]))
@settings(deadline=None, derandomize=True, database=None, max_examples=60)
def test_points_labelled_by_a_plane_are_separable(data, n, d, scale):
    X = data.draw(arrays(float, (n, d), elements=st.integers(-50, 50).map(float)))
    w = data.draw(arrays(float, d, elements=st.integers(-5, 5).map(float)))
    sign = np.where(X @ w + 0.5 > 0, 1, -1)  # never on the plane: all else is whole
    result = is_separable(X * scale, sign)
    assert result
    check_proof(result, X * scale, sign)


@given(st.data(), st.integers(1, 6), st.integers(1, 4), st.sampled_from([2.0**-27, 1.0, 2.0**27]))
@settings(deadline=None, derandomize=True, database=None, max_examples=60)
def test_a_point_among_the_others_is_not_separable(data, n, d, scale):
    """A negative point in the midst of positive ones."""
    positive = data.draw(arrays(float, (2 ** n.bit_length(), d), elements=st.integers(-50, 50).map(float)))
    X = np.vstack([positive, positive.mean(axis=0)]) * scale  # a power of two of them: the mean is exact
    sign = np.r_[np.ones(len(positive)), -1]
    result = is_separable(X, sign)
    assert not result
    check_proof(result, X, sign)


@pytest.mark.parametrize("scale", [1e-300, 1e-8, 1.0, 1e8, 1e300])
@pytest.mark.parametrize("labels", [OR, XOR], ids=["or", "xor"])
def test_the_scale_of_the_data_does_not_matter(scale, labels):
    for X in (POINTS * scale, POINTS * [scale, 1.0], POINTS * [scale, 1 / scale]):
        result = is_separable(X, labels)
        assert bool(result) == (labels is OR)
        check_proof(result, X, np.where(labels, 1, -1))


def test_distances_that_the_solver_cannot_see():
    """Gaps of one unit in the last place, beside points that are far away."""
    step = np.nextafter(1.0, 2) - 1
    X = np.array([[1.0], [1.0 + step], [1e6]])
    for sign in ([-1, 1, 1], [-1, 1, -1], [1, -1, -1]):
        result = is_separable(X, sign)
        assert bool(result) == (sign[1] == sign[2])
        check_proof(result, X, sign)
    # Three rows that would lie on one line, did rounding not put the middle one a little beside it.
    line = np.array([[0.0, 0.0], [0.1, 0.3], [0.2, 0.1 * 3 * 2]])
    sign = [1, -1, 1]
    check_proof(is_separable(line, sign), line, sign)


def test_a_plane_that_floats_cannot_hold_is_given_in_fractions():
    """Neighbouring floats in two features: every rounding of b puts one of the points on the wrong side."""
    X = np.array([[5e-324, 1e300], [0.0, 1e300]])
    result = is_separable(X, [1, -1])
    check_proof(result, X, [1, -1])
    weight, _ = result.separator
    assert weight.dtype == object


# -- edges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("label", "sign"), [(1, 1), (-1, -1), ("spam", 1), (0, 1)])
def test_one_class_is_separable(label, sign):
    result = is_separable(POINTS, [label] * 4)
    check_proof(result, POINTS, [sign] * 4)
    weight, bias = result.separator
    assert weight.tolist() == [0, 0]
    assert bias == sign


def test_a_point_of_both_classes():
    X = np.array([[0.1, 0.7], [3.0, 4.0], [0.1, 0.7]])
    result = is_separable(X, [1, 1, -1])
    assert result.combination.tolist() == [1, 0, 1]
    check_proof(result, X, [1, 1, -1])


def test_one_point_a_class():
    X = np.array([[0.1, 0.7], [0.1, np.nextafter(0.7, 1)]])
    check_proof(is_separable(X, [1, -1]), X, [1, -1])
    assert is_separable(X, [1, -1])
    assert not is_separable(X[[0, 0]], [1, -1])


def test_equal_points_and_constant_features():
    X = np.array([[2.0, 5.0], [2.0, 5.0], [3.0, 5.0], [3.0, 5.0]])
    check_proof(is_separable(X, [1, 1, -1, -1]), X, [1, 1, -1, -1])
    assert is_separable(X, [1, 1, -1, -1])
    assert not is_separable(X, [1, -1, -1, 1])


def test_what_is_wrong_is_said():
    with pytest.raises(ValueError, match=r"y must have at most two classes; it has 3: \[0 1 2\]"):
        is_separable(POINTS, [0, 1, 2, 0])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        is_separable([[np.nan], [1]], [0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        is_separable(POINTS, [0, 1])
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        is_separable(POINTS, [0.5, 1.5, 0.5, 1.5])


def test_a_result_cannot_be_changed():
    result = is_separable(POINTS, OR)
    with pytest.raises(AttributeError, match="cannot assign to field 'exact'"):
        result.exact = False
    with pytest.raises(AttributeError, match="cannot assign to field 'bound'"):
        maximum_margin(POINTS, OR).bound = 0.0


def test_a_solver_that_fails_is_reported(monkeypatch):
    class Failure:
        x, message = None, "out of time"

    monkeypatch.setattr(separability, "linprog", lambda *_, **__: Failure())
    with pytest.raises(ArithmeticError, match="the linear program was not solved: out of time"):
        is_separable(POINTS, OR)


# -- more features than are decided exactly ----------------------------------------------------------


def test_many_features_are_decided_to_a_tolerance_or_by_a_plane():
    X, y = load_digits(return_X_y=True)
    three = is_separable(X, y == 3)
    check_proof(three, X, np.where(y == 3, 1, -1))
    assert three
    eight = is_separable(X, y == 8)
    assert not eight
    assert not eight.exact
    share = eight.combination
    assert (share >= 0).all()
    np.testing.assert_allclose([share[y == 8].sum(), share[y != 8].sum()], 1, rtol=1e-12)
    assert np.abs(share[y == 8] @ X[y == 8] - share[y != 8] @ X[y != 8]).max() <= 8e-8  # half of 0 to 16


def test_a_proof_to_a_tolerance_may_overlook_the_least_of_gaps():
    """One unit in the last place between the classes, and 31 features: false, but said not to be exact."""
    X = np.ones((4, 31))
    X[1:] += [[0.0], [1.0], [1.0]]
    X[0, 0] = np.nextafter(1.0, 2)
    assert is_separable(X[:, :30], [1, -1, -1, -1])
    result = is_separable(X, [1, -1, -1, -1])
    assert not result
    assert not result.exact


def test_where_neither_proof_holds_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(separability, "EXACT_FEATURES", 1)
    monkeypatch.setattr(separability, "TOLERANCE", -1.0)
    with pytest.raises(ArithmeticError, match=r"X has 2 features, too many \(above 1\) to decide exactly"):
        is_separable(POINTS, XOR)


# -- real data ---------------------------------------------------------------------------------------


def test_iris_setosa_alone_is_separable():
    X, y = load_iris(return_X_y=True)
    for label, is_apart in enumerate((True, False, False)):
        sign = np.where(y == label, 1, -1)
        result = is_separable(X, sign)
        assert bool(result) == is_apart
        check_proof(result, X, sign)


def test_breast_cancer_is_separable():
    """By all 30 features; the mean ones alone do not suffice."""
    X, y = load_breast_cancer(return_X_y=True)
    sign = np.where(y == 1, 1, -1)
    everything, means = is_separable(X, sign), is_separable(X[:, :10], sign)
    assert everything
    assert not means
    check_proof(everything, X, sign)
    check_proof(means, X[:, :10], sign)


# -- the maximum margin ------------------------------------------------------------------------------


def separable_set(rng):
    """Some random separable rows: 1 to 8 features, 2 to 60 rows, margins from wide to hardly any."""
    n, d = rng.integers(2, 60), rng.integers(1, 9)
    w, b = rng.normal(size=d), rng.normal() * 0.5
    X = rng.normal(size=(n, d)) * rng.choice([0.1, 1, 10])
    sign = np.where(X @ w + b > 0, 1, -1)
    if abs(sign.sum()) == n:
        return separable_set(rng)
    X += sign[:, None] * w / np.linalg.norm(w) * rng.choice([0, 0.01, 0.3, 2])
    return X, sign


def least_norm(X, sign):
    """min ‖w‖² subject to yᵢ(w·xᵢ) ≥ 1 otherwise: Lawson and Hanson's least distance programming."""
    rows = sign[:, None] * np.column_stack([X, np.ones(len(X))])
    system = np.vstack([rows.T, np.ones(len(rows))])
    goal = np.r_[np.zeros(len(system) - 1), 1.0]
    residual = system @ nnls(system, goal)[0] - goal
    return float(np.sum((residual[:-1] / residual[-1]) ** 2))


def test_by_hand():
    """AND. The rows (1, 1), (0, 1) and (1, 0) hold the plane: w₁ + w₂ + b = 1 and w₁ + b = w₂ + b = −1.

    So w = (2, 2), b = −3, ‖(w, b)‖² = 17 and, with R² = 3, the bound is 51.
    """
    best = maximum_margin(POINTS, AND)
    np.testing.assert_allclose(best.weight, [2, 2], rtol=1e-14)
    np.testing.assert_allclose([best.bias, best.margin, best.radius], [-3, 17**-0.5, 3**0.5], rtol=1e-14)
    assert best.bound == mistake_bound(POINTS, AND) == pytest.approx(51, rel=1e-14)
    assert 0 <= best.gap < 1e-14


@pytest.mark.parametrize("seed", range(40))
def test_the_optimum_satisfies_its_conditions_and_another_method_finds_it(seed):
    X, sign = separable_set(np.random.default_rng(seed))
    best = maximum_margin(X, sign)
    assert isinstance(best, MaximumMargin)
    rows = np.column_stack([X, np.ones(len(X))])
    w = np.r_[best.weight, best.bias]
    margins = sign * (rows @ w)
    # Primal feasibility, and the scale.
    assert margins.min() == pytest.approx(1, rel=1e-9)
    # Stationarity and complementary slackness with λ ≥ 0: w is a combination of the rows at margin 1.
    tight = margins < 1 + 1e-7
    _, distance = nnls((sign[tight, None] * rows[tight]).T, w)
    assert distance <= 1e-7 * np.linalg.norm(w)
    assert best.gap < 1e-9
    # What the attributes say.
    assert best.margin == pytest.approx(1 / np.linalg.norm(w), rel=1e-12)
    assert best.radius == pytest.approx(np.linalg.norm(rows, axis=1).max(), rel=1e-12)
    assert best.bound == pytest.approx((best.radius / best.margin) ** 2, rel=1e-12)
    assert best.margin**-2 == pytest.approx(least_norm(X, sign), rel=1e-8)


def test_a_support_vector_machine_finds_the_same_plane(rng):
    """With the constant feature in the kernel and C so great that no row may violate its margin."""
    X = rng.normal(size=(80, 3))
    sign = np.where(X @ [1.0, -2.0, 0.5] + 0.2 > 0, 1, -1)
    X += 0.3 * sign[:, None] * [1.0, -2.0, 0.5]
    rows = np.column_stack([X, np.ones(80)])
    # The bias of SVC itself is free; a row and its mirror image leave it at 0.
    mirrored = SVC(kernel="linear", C=1e8, tol=1e-9).fit(np.vstack([rows, -rows]), np.r_[sign, -sign])
    best = maximum_margin(X, sign)
    np.testing.assert_allclose([*best.weight, best.bias], mirrored.coef_[0], rtol=1e-6)


def test_one_class_has_a_margin():
    """w = 0 and b = 1 separate the origin from nothing; here (2, 1)/5 is shorter: 2·2/5 + 1/5 = 1."""
    best = maximum_margin([[2.0], [7.0]], [1, 1])
    np.testing.assert_allclose([*best.weight, best.bias], [0.4, 0.2], rtol=1e-14)
    other = maximum_margin([[2.0], [7.0]], [-1, -1])
    np.testing.assert_allclose([*other.weight, other.bias], [-0.4, -0.2], rtol=1e-14)


@pytest.mark.parametrize("exponent", [-6, -4, -2, 0, 3])
def test_the_best_plane_of_tiny_and_of_great_numbers(exponent):
    """Two points at ±s: w = 1/s, b = 0, R² = 1 + s², so that the bound is 1 + 1/s²."""
    s = 10.0**exponent
    best = maximum_margin([[s], [-s]], [1, -1])
    assert best.bound == pytest.approx(1 + s**-2, rel=1e-9)
    assert best.gap < 1e-9


def test_what_is_too_near_or_too_far_for_floats_is_said():
    """What is separable to the last bit need not have a margin that floating point can square."""
    near = np.array([[1e9], [np.nextafter(1e9, 2e9)]])
    assert is_separable(near, [1, -1])
    with pytest.raises(ArithmeticError, match="the margin is too small, relative to the data|duality gap"):
        maximum_margin(near, [1, -1])
    with pytest.raises(ArithmeticError, match="too long to square their norms"):
        maximum_margin([[1e200], [-1e200]], [1, -1])


# -- the theorem -------------------------------------------------------------------------------------


@pytest.mark.parametrize("first_seed", range(0, 200, 20))
def test_no_perceptron_makes_more_mistakes_than_its_bound(first_seed):
    """200 separable sets, both orders of rows; the number does not depend on η."""
    for seed in range(first_seed, first_seed + 20):
        X, sign = separable_set(np.random.default_rng(seed))
        bound = mistake_bound(X, sign)
        for shuffle in (False, True):
            settings_ = {"tol": None, "max_iter": 10**6, "shuffle": shuffle, "random_state": seed}
            models = [Perceptron(eta0=eta, **settings_).fit(X, sign) for eta in (1.0, 0.3, 17.0)]
            assert all(model.converged_ and model.score(X, sign) == 1 for model in models)
            assert models[0].n_updates_ <= bound
            assert len({model.n_updates_ for model in models}) == 1


def test_two_points_by_hand():
    """x = ±1: w* = 1, b* = 0 and R² = 2, so two mistakes at most.

    x = −1 first: w = 1, b = −1. Then x = 1 has z = 0, which is right: one mistake, where y z ≤ 0 counts two.
    """
    assert mistake_bound([[-1.0], [1.0]], [-1, 1]) == pytest.approx(2)
    assert Perceptron(shuffle=False).fit([[-1.0], [1.0]], [-1, 1]).n_updates_ == 1


@pytest.mark.parametrize("digit", [0, 3, 6])
def test_real_data_stays_within_its_bound(digit):
    X, y = load_digits(return_X_y=True)
    X, is_digit = X / 16, y == digit
    model = Perceptron(tol=None, max_iter=10_000).fit(X, is_digit)
    assert model.converged_
    assert 50 < model.n_updates_ <= mistake_bound(X, is_digit)


def test_without_a_bias_right_by_sign_of_zero_is_not_separable():
    """A positive row at the origin is right for every w and separated by none; with a bias it is."""
    X, y = np.array([[0.0], [-1.0]]), np.array([1, -1])
    model = Perceptron(fit_intercept=False, shuffle=False).fit(X, y)
    assert model.converged_
    assert model.score(X, y) == 1
    np.testing.assert_array_equal(model.decision_function(X), [0, -1])
    assert is_separable(X, y)
    assert Perceptron(tol=None).fit(X, y).converged_
