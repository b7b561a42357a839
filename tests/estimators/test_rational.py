"""Exact answers about points and planes."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chainrule.estimators.rational import common_point_or_plane, margins, rows_below_one

SIGN = np.array([1.0, -1.0])


def test_margins_are_exact():
    """0.1 + 0.2 − 0.3 is 0 in no float; the floats 0.1, 0.2 and 0.3 are fractions, and this is their sum."""
    X = np.array([[0.1, 0.2], [0.0, 1.0]])
    found = margins(X, SIGN, (np.ones(2), -0.3))
    assert found == [Fraction(0.1) + Fraction(0.2) - Fraction(0.3), Fraction(0.3) - 1]
    assert found[0] == Fraction(1, 2**55) * 1
    assert margins(X, SIGN, (np.array([Fraction(1, 3), Fraction(0)]), Fraction(1, 7)))[1] == Fraction(-1, 7)


def test_rows_that_are_below_one_by_what_floats_cannot_hold():
    """1e16 + 1 − 1e16 is 0 in floats and 1 in truth; and 1 + 1e-20 is 1 in floats and more in truth."""
    X = np.array([[1e16, 1.0, 1.0], [1e16, 1.0, 0.5]])
    plane = (np.array([1.0, 1.0, 0.0]), -1e16)
    np.testing.assert_array_equal(rows_below_one(X, np.ones(2), plane), [])
    np.testing.assert_array_equal(rows_below_one(X, SIGN, plane), [1])
    assert X[0] @ plane[0] + plane[1] == 0
    less = np.array([[1.0, -1e-20], [1.0, 1e-20]])
    np.testing.assert_array_equal(rows_below_one(less, np.ones(2), (np.ones(2), 0.0)), [0])


def test_a_plane_that_is_not_finite_has_all_rows_below_one():
    for plane in ((np.array([np.nan]), 0.0), (np.array([1.0]), np.inf)):
        np.testing.assert_array_equal(rows_below_one(np.ones((2, 1)), np.ones(2), plane), [0, 1])
    # One that overflows is computed in fractions.
    huge = np.array([[1e300], [-1e300]])
    np.testing.assert_array_equal(rows_below_one(huge, SIGN, (np.array([1e300]), 0.0)), [])


@given(st.data(), st.integers(1, 6), st.integers(1, 3), st.sampled_from([1.0, 1e5, 1e300]))
@settings(deadline=None, derandomize=True, database=None, max_examples=60)
def test_rows_below_one_are_those_of_the_exact_margins(data, n, d, greatest):
    numbers = st.one_of(st.floats(-greatest, greatest), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
    X, weight = (data.draw(arrays(float, shape, elements=numbers)) for shape in ((n, d), d))
    plane = (weight, data.draw(numbers))
    sign = data.draw(arrays(float, n, elements=st.sampled_from([-1.0, 1.0])))
    exact = [margin < 1 for margin in margins(X, sign, plane)]
    np.testing.assert_array_equal(rows_below_one(X, sign, plane), np.flatnonzero(exact))


@pytest.mark.parametrize("d", [1, 2, 5, 12])
def test_a_common_point_or_a_plane(rng, d):
    """More points than a plane can part, and fewer; on a lattice, where ratios are tied; far from the origin,
    where some determinants, but not all, are too great for 64 bits.
    """
    kinds = set()
    for n in (2, d + 1, d + 2, 3 * d + 3):
        lattice = rng.integers(-1, 2, size=(n, d)).astype(float)
        for X in (rng.normal(size=(n, d)), lattice, lattice + 1e8, lattice + 2.0**31):
            sign = np.where(np.arange(n) % 2, 1.0, -1.0)
            shares, plane = common_point_or_plane(X, sign)
            assert (shares is None) != (plane is None)
            kinds.add(plane is None)
            if plane is None:
                assert min(shares) >= 0
                assert [sum(np.array(shares)[sign == side]) for side in SIGN] == [1, 1]
                exact = np.array([[Fraction(one) for one in row] for row in X.tolist()], dtype=object)
                assert all(one == 0 for one in (sign.astype(int) * shares) @ exact)
            else:
                assert min(margins(X, sign, plane)) >= 2
    assert kinds == {True, False}
