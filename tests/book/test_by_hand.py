"""The worked example against a pocket calculator's steps."""

import math

import numpy as np
import pytest

from chainrule.book.experiments.by_hand import PRINTED, along_the_step, one_step_by_hand


def test_its_numbers_are_those_of_the_formulas():
    found = one_step_by_hand().values
    h = 1 / (1 + math.exp(-0.5))
    assert found["h₁"] == pytest.approx(h)
    assert found["δ₂"] == pytest.approx(0.1 - h)
    assert found["∂ℒ/∂w₂"] == pytest.approx((0.1 - h) * h)
    assert found["δ₁"] == pytest.approx(-(0.1 - h) * h * (1 - h))
    assert found["w₁ after the step"] == pytest.approx(0.5 + 0.5 * (0.1 - h) * h * (1 - h))


def test_what_is_printed_before_the_last_row_is_right():
    found = one_step_by_hand().values
    assert found == pytest.approx(PRINTED, abs=5.0001e-5)


def test_the_printed_last_row_leaves_out_the_old_bias():
    found = one_step_by_hand()
    assert found.drop == pytest.approx(14.86, abs=0.01)
    assert found.misprinted_prediction == pytest.approx(-0.236, abs=0.001)
    assert found.misprinted_drop == pytest.approx(4.9, abs=0.05)


def test_the_step_leaves_along_the_tangent():
    found = along_the_step(furthest=1e-4, n=2)
    assert found.losses[1] == pytest.approx(found.tangent[1], abs=1e-8)
    assert found.losses[0] == pytest.approx(one_step_by_hand().loss_before)
    assert np.all(np.diff(found.losses) < 0)
