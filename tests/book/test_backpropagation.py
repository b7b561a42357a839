"""Section 3's equations and the printed routine, on small networks."""

import numpy as np
import pytest

from chainrule import backprop
from chainrule.book.experiments.backpropagation import backward_pass, equations_hold
from chainrule.book.experiments.printed_routine import (
    Case,
    compare_routines,
    descend,
    printed_backprop,
)


def test_every_equation_agrees_with_what_does_not_know_it():
    found = equations_hold((3, 4, 3, 2), ("gelu", "tanh"), n=4, seeds=[5])
    assert len(found.errors) == 6
    for name, errors in found.errors.items():
        assert max(errors) < (1e-6 if "differences" in name else 1e-12), name


def test_the_error_signals_have_their_shapes():
    found = backward_pass((2, 3, 4), ["tanh"], n=5)
    assert [one.shape for one in found.deltas] == [(5, 3), (5, 4)]
    assert [one.shape for one in found.weight_gradients] == [(3, 2), (4, 3)]
    # The rows of ŷ − y sum to 0, and so do those of δ at a softmax.
    assert found.deltas[-1].sum(axis=1) == pytest.approx(np.zeros(5), abs=1e-15)


def problem():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(4, 3)), rng.normal(size=(4, 4)), rng.normal(size=(2, 4))]
    biases = [rng.normal(size=4), rng.normal(size=4), rng.normal(size=2)]
    return rng.normal(size=(3, 6)), np.array([0, 1, 1, 0, 1, 0]), weights, biases


def test_the_printed_routine_is_right_where_all_names_are_one():
    X, y, weights, biases = problem()
    printed = printed_backprop(X, y, weights, biases, ["tanh"] * 3)
    ours = backprop(X, y, weights, biases, ["tanh"] * 2, reduction="sum")
    for one, other in zip((*printed[0], *printed[1]), (*ours[0], *ours[1]), strict=True):
        assert one == pytest.approx(other)


@pytest.mark.parametrize("slope", ["diagonal", "one"])
def test_it_is_wrong_below_a_softmax(slope):
    X, y, weights, biases = problem()
    printed, _ = printed_backprop(X, y, weights, biases, ["tanh", "tanh", "softmax"], softmax_slope=slope)
    ours, _ = backprop(X, y, weights, biases, ["tanh", "tanh"], reduction="sum")
    assert printed[2] == pytest.approx(ours[2])
    assert np.linalg.norm(printed[1] - ours[1]) > 0.1 * np.linalg.norm(ours[1])


def test_the_comparison_can_find_it_right():
    right, wrong = compare_routines(
        (Case("right", ("gelu",), "gelu"), Case("wrong", ("gelu",), "tanh")), (3, 4, 2), n=5, seeds=[1]
    )
    assert right.printed.max() < 1e-6
    assert right.angles[0] < 1e-3
    assert wrong.printed[0, 0] > 0.05
    assert right.scales["the printed routine"] == pytest.approx([5])


def test_the_right_gradient_descends_further_from_the_same_start():
    found = descend(steps=60, n=30, seeds=[0, 1])
    assert found.ours[:, 0] == pytest.approx(found.printed[:, 0])
    assert (found.ours[:, -1] < found.printed[:, -1]).all()
    assert (found.printed[:, -1] < found.printed[:, 0]).all()
