"""The exercises against closed forms."""

import numpy as np
import pytest

from chainrule.book.experiments.exercises import (
    RateScan,
    average_over_masks,
    error_signal,
    gains_of_a_layer,
    normalized_moments,
    scan_rates,
    slope_of_a_unit,
)


def test_a_slope_at_zero_is_a_quarter_of_x():
    formula, tape, quotient = slope_of_a_unit(3.0, 0.0, 0.0)
    assert formula == tape == 0.75
    assert quotient == pytest.approx(0.75, abs=1e-9)


def test_a_sigmoid_shrinks_the_error_and_a_relu_does_not():
    assert error_signal("sigmoid", layers=8, seeds=3).factors.max() < 0.3
    assert error_signal("relu", layers=8, seeds=3).factors == pytest.approx(1, abs=0.3)
    with pytest.raises(ValueError, match="activation"):
        error_signal("step")


def test_normalized_columns():
    assert max(normalized_moments(rows=10, width=3, seed=1)) < 1e-12


def test_a_rate_far_too_large_does_not_train():
    found = scan_rates(False, np.array([0.1, 1e4]), seeds=1, epochs=3)
    assert found.largest(1.0).tolist() == [0.1]
    nothing = RateScan(False, np.array([1.0, 2.0]), np.array([[np.inf, 3.0]]))
    assert nothing.largest(0.5).tolist() == [0.0]


def test_dropout_is_its_mean_only_through_what_is_linear():
    linear, bent = average_over_masks(0.3, units=6), average_over_masks(0.3, units=6, relu_after=True)
    assert linear.averaged_plain == pytest.approx(linear.scaled, abs=1e-12)
    assert linear.averaged_inverted == pytest.approx(linear.unchanged, abs=1e-12)
    # A ReLU is convex: by Jensen's inequality the mean of its values is above its value at the mean.
    assert bent.averaged_plain > bent.scaled + 1e-3
    with pytest.raises(ValueError, match="p must"):
        average_over_masks(1.0)


def test_gains_are_widths_times_the_variance():
    first, second, between = gains_of_a_layer(200, 50, seeds=5)
    assert first.forward.mean() == pytest.approx(1, rel=0.05)
    assert second.backward.mean() == pytest.approx(1, rel=0.05)
    assert between.forward.mean() == pytest.approx(1.6, rel=0.05)
    assert between.backward.mean() == pytest.approx(0.4, rel=0.05)
