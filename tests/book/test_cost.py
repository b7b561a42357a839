"""The counts of section 3 against closed forms."""

import numpy as np
import pytest

from chainrule import nn
from chainrule.book.experiments.cost import (
    counted_products,
    exponent,
    growth_of_cost,
    layered,
    passes_in_full,
    products_of_a_sweep,
    times_of_a_sweep,
    times_of_the_engine,
)
from chainrule.tape import Tensor
from chainrule.tape.primitives.products import linear


def test_a_first_layer_has_no_product_to_hand_down():
    one, two = products_of_a_sweep({"one": (5, 2), "two": (5, 3, 2)})
    assert (one.forward, one.backward) == (10, 10)
    assert (two.forward, two.backward) == (21, 15 + 12)
    assert (two.derived_forward, two.derived_backward) == (21, 27)


def test_an_input_that_wants_a_gradient_costs_its_product():
    X = Tensor(np.ones((4, 5), np.float32), requires_grad=True)
    with counted_products() as found:
        layered((5, 3, 2))(X).sum().backward()
    assert (found.forward, found.backward) == (4 * 21, 4 * 42)


def test_equal_layers_come_near_two():
    (one,) = products_of_a_sweep({"deep": (8,) * 11})
    assert one.ratio == pytest.approx(2 - 1 / 10)


def test_the_tape_is_left_as_it_was():
    before = linear.forward, linear.vjps
    with pytest.raises(RuntimeError, match="on purpose"), counted_products():
        raise RuntimeError("on purpose")
    assert (linear.forward, linear.vjps) == before
    with counted_products() as found:
        pass
    nn.Linear(2, 2)(np.ones((1, 2), np.float32))
    assert found.forward == 0


def test_the_growth_is_that_of_the_formulas():
    found = growth_of_cost(((4,) * 3, (8,) * 3), n=2, repetitions=1)
    d = np.array([4, 8])
    assert found.parameters.tolist() == (2 * (d**2 + d)).tolist()
    assert found.sweep.tolist() == (2 * d**2 + 3 * d**2).tolist()
    assert found.passes.tolist() == (2 * found.parameters * 2 * d**2).tolist()
    assert (found.sweep_seconds > 0).all()


def test_an_exponent_is_that_of_a_power():
    x = np.array([1.0, 3.0, 10.0])
    assert exponent(x, 7 * x**1.5) == pytest.approx(1.5)


def test_every_pass_of_a_small_network_is_counted():
    found = passes_in_full((3, 4, 2), n=5)
    assert found.parameters == 4 * 4 + 5 * 2
    assert found.counted == found.foretold == 2 * 26 * 5 * (12 + 8)
    assert found.error < 1e-6


@pytest.mark.parametrize("way", [times_of_a_sweep, times_of_the_engine])
def test_times_are_taken_for_each_width(way):
    found = way((4, 8), layers=2, n=2, repetitions=3)
    assert found.forward.shape == found.backward.shape == (2, 3)
    assert found.counted == 1.5
