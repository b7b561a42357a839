"""Approximation by construction has closed forms; descent is held to what it must do."""

import numpy as np
import pytest

from chainrule.book.experiments.approximation import (
    TARGETS,
    Fit,
    fit_by_descent,
    interpolant,
    interpolation_error,
    ramp,
    ramp_errors,
    units_for,
)


@pytest.mark.parametrize("name", ["wave", "|x|"])
def test_the_interpolant_meets_the_target_at_its_kinks(name):
    x = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(interpolant(name, 8)(x[:, None])[:, 0], TARGETS[name].value(x), atol=1e-12)


def test_the_error_falls_fourfold_with_each_doubling():
    errors = [interpolation_error("wave", units) for units in (64, 128, 256)]
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 4, rtol=0.01)


def test_two_units_are_the_corner_and_a_lower_epsilon_takes_more():
    assert interpolation_error("|x|", 2) == 0
    assert units_for("wave", 1e-3) > units_for("wave", 1e-1) > 0
    assert units_for("wave", 1e-9, most=8) == 0


def test_ramps_have_the_closed_form():
    for one in ramp_errors([0.3, 0.01]):
        assert one.typical == pytest.approx(np.sqrt(one.half_width / 12), rel=1e-9)
        assert one.largest == pytest.approx(0.5)
    assert ramp(0.1)(np.array([[-0.2], [0.2]]))[:, 0] == pytest.approx([0, 1])


def test_no_continuous_fit_is_called_near_a_step_everywhere():
    x = np.linspace(-1, 1, 257)
    perfect_on_the_places = Fit("step", 2, x, TARGETS["step"].value(x)[None])
    assert perfect_on_the_places.largest_errors[0] >= 0.5
    assert perfect_on_the_places.explained[0] == 1


def test_descent_gets_better():
    short, long = (fit_by_descent("|x|", 16, seeds=2, steps=steps) for steps in (20, 2000))
    assert np.median(long.typical_errors) < 0.3 * np.median(short.typical_errors)


def test_an_unknown_target_is_named():
    with pytest.raises(ValueError, match="target"):
        fit_by_descent("saw", 2, seeds=1)
