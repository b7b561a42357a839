"""One gradient for several consumers, and one consumer for two gradients."""

import numpy as np
import pytest

from chainrule.book.experiments.descent import consumers, path_of_weights, paths_apart, two_moons


def test_all_are_handed_the_same_first_gradient_and_go_different_ways():
    found = consumers(seed=1, gradients=30)
    for one in found[1:]:
        np.testing.assert_array_equal(one.first_gradient, found[0].first_gradient)
    assert len({float(one.losses[-1]) for one in found}) == 3
    assert all(one.losses[-1] < one.losses[0] for one in found)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_central_differences_take_the_same_path_and_another_rate_does_not(optimizer):
    ours, other = (
        path_of_weights(name, optimizer, units=3, epochs=3) for name in ("reference", "finite_differences")
    )
    assert paths_apart(ours, other).relative < 1e-7
    faster = path_of_weights("reference", optimizer, units=3, epochs=3, rate=0.11)
    assert paths_apart(ours, faster).relative > 1e-4


def test_distances_by_hand():
    found = paths_apart(np.array([[0.0, 0], [3, 4], [3, 4]]), np.array([[0.0, 0], [3, 3], [3, 4]]))
    assert found.distances.tolist() == [1, 0]
    assert found.length == 5


def test_both_moons_are_drawn():
    X, y = two_moons(20)
    assert X.shape == (20, 2)
    assert np.bincount(y).tolist() == [10, 10]
