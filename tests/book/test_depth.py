"""Linear pieces, counted where their number is known."""

from fractions import Fraction

import numpy as np
import pytest

from chainrule import nn
from chainrule.book.experiments.depth import (
    count_pieces,
    linear_pieces,
    pieces_by_depth,
    pieces_by_width,
    random_network,
    shallow_tent,
    tent_network,
)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_the_tent_map_has_a_power_of_two(depth):
    assert count_pieces(tent_network(depth), 0, 1) == 2**depth
    assert count_pieces(shallow_tent(depth), 0, 1) == 2**depth


def test_pieces_are_the_networks_values():
    network, x = random_network(3, 5, seed=4), np.linspace(-3, 3, 50)
    pieces = linear_pieces(network)
    starts = [float(piece.start) for piece in pieces]
    found = [pieces[np.searchsorted(starts, one, side="right") - 1] for one in x]
    values = [
        float(piece.slopes[0]) * one + float(piece.offsets[0]) for piece, one in zip(found, x, strict=True)
    ]
    np.testing.assert_allclose(network(x[:, None])[:, 0], values, atol=1e-9)


def test_two_kinks_at_one_place_are_one():
    network = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    network[0].weight, network[0].bias = [[1.0], [1.0]], [0.0, 0.0]
    network[2].weight = [[1.0, 1.0]]
    assert [piece.start for piece in linear_pieces(network)] == [-np.inf, Fraction(0)]
    network[2].weight = [[1.0, -1.0]]
    assert count_pieces(network) == 1


def test_one_layer_has_at_most_a_piece_more_than_units():
    for one in pieces_by_width((1, 5, 9), seeds=5):
        assert one.counts.max() <= one.width + 1


def test_layers_of_one_width():
    assert [one.depth for one in pieces_by_depth(3, (1, 4), seeds=2)] == [1, 4]


def test_another_layer_is_refused():
    with pytest.raises(ValueError, match="network"):
        count_pieces(nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1)))
