"""Exclusive or, by the linear program, by hand and by descent."""

import numpy as np
import pytest

from chainrule.book.experiments.exclusive_or import (
    CORNERS,
    TRUTH,
    endless_training,
    no_plane,
    relu_network,
    train_networks,
    two_planes,
)


def test_no_plane_has_a_proof():
    found = no_plane()
    assert not found
    assert found.exact
    weights = np.array([float(one) for one in found.combination])
    np.testing.assert_array_equal(weights[TRUTH == 1] @ CORNERS[TRUTH == 1], [0.5, 0.5])
    np.testing.assert_array_equal(weights[TRUTH == 0] @ CORNERS[TRUTH == 0], [0.5, 0.5])


def test_training_is_endless_only_where_no_plane_is():
    assert endless_training().length > 0
    assert endless_training().mistakes > 0
    assert endless_training(CORNERS, np.array([0, 0, 0, 1])).mistakes == 0


def test_a_training_that_was_cut_short_is_not_called_endless():
    assert endless_training(epochs=1).length == 0


def test_three_perceptrons():
    hidden, answer = two_planes()
    assert hidden.tolist() == [[-1, -1], [1, -1], [1, -1], [1, 1]]
    assert answer.tolist() == [-1, 1, 1, -1]


def test_two_relus():
    assert relu_network()(CORNERS)[:, 0].tolist() == TRUTH.tolist()


def test_many_units_are_trained_to_it():
    found = train_networks("tanh", 16, seeds=3, steps=600)
    assert found.share == 1
    assert train_networks("tanh", 2, seeds=3, steps=1).share < 1


def test_an_unknown_activation_is_named():
    with pytest.raises(ValueError, match="activation"):
        train_networks("step", 2, seeds=1)
