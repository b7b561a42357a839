"""Equation (4) and the pairs without it, against closed forms."""

import numpy as np
import pytest

from chainrule.book.experiments.output_errors import (
    PAIRS,
    by_chain_rule,
    by_differences,
    by_library,
    confidently_wrong,
    output_errors,
)

Z, Y = np.array([0.3, -1.2]), np.array([0.25, 0.75])


def pair(name):
    return next(one for one in PAIRS if one.name == name)


@pytest.mark.parametrize("way", [by_differences, by_chain_rule, by_library])
@pytest.mark.parametrize("one", [one for one in PAIRS if one.in_chapter], ids=lambda one: one.name)
def test_three_ways_find_the_error_of_the_chapters_pairs(one, way):
    assert way(one, Z, Y) == pytest.approx(np.asarray(one.link(Z)) - Y, abs=1e-8)


def test_a_sigmoid_with_the_squared_error_keeps_its_slope():
    p = 1 / (1 + np.exp(-Z))
    assert by_chain_rule(pair("sigmoid, ½ squared error"), Z, Y) == pytest.approx((p - Y) * p * (1 - p))


def test_the_other_pairs_are_far_off():
    for one in output_errors(seeds=(0, 1)):
        if one.in_chapter:
            assert max(one.differences) < 1e-6
        else:
            assert min(one.differences) > 0.1


def test_targets_that_sum_to_two_double_the_prediction():
    one = pair("softmax, cross-entropy, targets that sum to 2")
    p = np.exp(Z) / np.exp(Z).sum()
    assert by_chain_rule(one, Z, 2 * Y) == pytest.approx(2 * p - 2 * Y)


def test_the_squared_error_corrects_most_where_a_third_is_predicted():
    # (1 - p)² p is largest at p = 1/3, z = -ln 2.
    found = confidently_wrong(n=1601)
    assert found.z[np.argmax(found.squared_error)] == pytest.approx(-np.log(2), abs=0.01)
