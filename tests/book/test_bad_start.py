"""Claim 5's experiment: where there is no gradient nothing is learned, and a healthy start learns."""

import numpy as np
import pytest

from chainrule.book.experiments.bad_start import (
    STARTS,
    Budget,
    Recovery,
    Start,
    first_gradient,
    network,
    try_to_recover,
)
from chainrule.book.sections import bad_start as section

SMALL = Budget(depth=4, width=16, epochs=8, seeds=(0,))


def test_no_weight_has_a_gradient_where_all_are_zero_or_all_units_off():
    assert [first_gradient(one, SMALL) for one in STARTS[1:3]] == [0.0, 0.0]
    assert first_gradient(STARTS[0], SMALL) > 0.01


def test_the_gradient_shrinks_with_the_scale_to_the_power_of_the_depth():
    full, half = (first_gradient(Start("", gain=gain), SMALL) for gain in (1e-3, 0.5e-3))
    np.testing.assert_allclose(half / full, 0.5**3, rtol=0.02)


def test_a_healthy_start_learns_and_a_dead_one_does_not():
    healthy, dead = try_to_recover([STARTS[0], STARTS[2]], SMALL)
    assert healthy.best > 0.7
    assert dead.all.max() < 0.15


def test_units_are_off_for_all_examples():
    weight = network(STARTS[2], [5, 4, 3], seed=0)[0].bias.detach().numpy()
    np.testing.assert_array_equal(weight, -20.0)


@pytest.mark.parametrize(
    ("healthy", "dead", "verdict"), [(0.9, 0.1, "holds"), (0.9, 0.5, "fails"), (0.3, 0.1, "depends")]
)
def test_the_verdict_is_decided_by_the_accuracies(healthy, dead, verdict):
    found = [
        Recovery(one, {"SGD": np.array([healthy if number == 0 else dead])})
        for number, one in enumerate(STARTS[:3])
    ]
    assert section._claim_verdict(found).verdict == verdict
