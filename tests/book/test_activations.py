"""The activations' experiments against closed forms."""

import math

import pytest

from chainrule.book.experiments.activations import (
    SIX,
    difference_from_quotients,
    difference_of_compiled_derivative,
    gelu_forms,
    largest_derivative,
    mean_output,
    saturates_beyond,
)


@pytest.mark.parametrize("name", SIX)
def test_derivatives_are_those_of_the_values(name):
    assert difference_from_quotients(name, count=200) < 1e-9
    assert difference_of_compiled_derivative(name, count=200) < 1e-14


def test_an_odd_count_would_meet_the_kink():
    with pytest.raises(ValueError, match="count"):
        difference_from_quotients("relu", count=201)


def test_the_sigmoids_largest_slope_is_a_quarter_at_zero():
    where, largest = largest_derivative("sigmoid")
    assert where == pytest.approx(0, abs=1e-4)
    assert largest == pytest.approx(0.25, abs=1e-12)


def test_gelu_is_steepest_at_the_root_of_two():
    # d/dz (Φ + zφ) = (2 − z²) φ.
    assert largest_derivative("gelu")[0] == pytest.approx(math.sqrt(2), abs=1e-4)


def test_means_over_a_normal_input():
    assert mean_output("sigmoid") == pytest.approx(0.5, abs=1e-9)
    assert mean_output("tanh") == pytest.approx(0.0, abs=1e-9)
    assert mean_output("relu") == pytest.approx(1 / math.sqrt(2 * math.pi), abs=1e-9)


def test_relu_is_flat_on_one_side_only_and_leaky_relu_on_none():
    left, right = saturates_beyond("relu")
    assert left == pytest.approx(0, abs=1e-2)
    assert right == math.inf
    assert saturates_beyond("leaky_relu", share=0.005) == (-math.inf, math.inf)


def test_gelu_is_the_exact_one():
    found = gelu_forms()
    assert found.from_definition < 1e-13
    assert found.from_tanh == pytest.approx(4.7e-4, rel=0.05)
