"""Section 2's forward pass and drawings at small sizes."""

import numpy as np
import pytest

from chainrule.book import diagrams
from chainrule.book.experiments.multilayer import classes_of, multilayer
from chainrule.book.experiments.network import by_the_equations, forward_pass, slope_from_value


def test_all_ways_of_computing_agree():
    found = forward_pass((3, 4, 2), ["gelu"], n=5, seed=3)
    assert set(found.outputs) == {"the engine", "the reference executor", "the tape"}
    assert max(found.errors.values()) < 1e-13
    assert [z.shape for z in found.z] == [(5, 4), (5, 2)]
    assert [h.shape for h in found.h] == [(5, 4)]


def test_the_equations_by_hand():
    # z = 2 * 3 + 1 = 7, h = relu(7) = 7, z = -1 * 7 + 0.5.
    weights, biases = [np.array([[2.0]]), np.array([[-1.0]])], [np.array([1.0]), np.array([0.5])]
    assert by_the_equations(np.array([[3.0]]), weights, biases, ["relu"]).tolist() == [[-6.5]]


def test_a_value_tells_the_slope_of_a_monotone_activation_only():
    gaps = {one.name: one.gap for one in slope_from_value()}
    assert {name for name, gap in gaps.items() if gap > 0.01} == {"gelu", "swish"}


def test_a_network_needs_an_activation_a_hidden_layer():
    with pytest.raises(ValueError, match="activations must name the 1 hidden layers"):
        multilayer((2, 3, 1), [], seed=0)


def test_classes_are_drawn_of_every_class():
    assert np.bincount(classes_of(7, 3, seed=1)).tolist() == [3, 2, 2]


class TestDiagrams:
    def test_a_wide_layer_is_shortened(self):
        drawn = diagrams.architecture("wide", (784, 128, 10), ("x", "relu", "z"))
        assert drawn.count("<circle") == 24
        assert drawn.count("⋮") == 3

    def test_each_weight_is_a_line(self):
        assert diagrams.architecture("small", (2, 3, 1), ("x", "tanh", "z")).count("<line") == 9

    def test_a_flow_has_its_shapes(self):
        stations = [diagrams.Station("X", (8, 2)), diagrams.Station("Z", (8, 3), "1, 2", "X W + b")]
        drawn = diagrams.forward_flow("forward", stations)
        assert "(8, 2)" in drawn
        assert "X W + b" in drawn

    def test_what_flows_back_has_its_norms(self):
        one = diagrams.Signal("δ", (8, 3), 0.125, "", (("∂W", (3, 2), 0.75), ("∂b", (3,), 0.5)))
        drawn = diagrams.backward_flow("backward", [one, one])
        assert drawn.count("norm 0.75") == 2

    def test_an_operation_stands_below_its_inputs(self):
        nodes = [
            diagrams.Recorded("x", "", (), True),
            diagrams.Recorded("exp", "", (0,), False),
            diagrams.Recorded("w", "", (), True),
            diagrams.Recorded("mul", "", (1, 2), False),
        ]
        assert diagrams._rows(nodes) == [0, 1, 1, 2]
        assert diagrams._lanes(nodes) == [0, 0, 1, 0]
