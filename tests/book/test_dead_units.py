"""Units that are 0 for every example."""

import numpy as np
import pytest

from chainrule.book.experiments.dead_units import (
    DATA,
    TRAININGS,
    Way,
    count_deaths,
    digits,
    frozen_unit,
    network,
    silent_units,
)
from chainrule.optim import SGD


def test_a_unit_is_silent_if_no_example_switches_it_on():
    X = np.random.default_rng(0).standard_normal((600, 4)).astype(np.float32)
    net = network([4, 5, 3, 2], seed=1)
    net[0].bias = np.array([-100.0, 0, 0, 0, 0])
    net[2].bias = np.array([0.0, 0, -100.0])
    first, second = silent_units(net, X)
    assert first.tolist() == [True, False, False, False, False]
    assert second[2]
    # One example that switches it on is enough.
    X[17] = 1e4 * np.sign(net[0].weight.detach().numpy()[0])
    assert not silent_units(net, X)[0][0]


def test_few_examples_are_refused():
    with pytest.raises(ValueError, match="X must have at least 500 examples, got 499"):
        silent_units(network([2, 3, 2], seed=0), np.zeros((499, 2)))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_unit_that_is_off_does_not_move(seed):
    found = frozen_unit(epochs=1, seed=seed)
    assert found.gradient == 0.0
    assert found.change == 0.0
    assert found.others > 1e-3


def test_digits_are_enlarged_to_the_size_of_mnists():
    small, y = digits(DATA[0])
    large, _ = digits(DATA[1])
    assert small.shape == (1797, 64)
    assert large.shape == (1797, 784)
    assert len(y) == 1797
    assert 0 <= large.min() < large.max() <= 1
    # The corners of an image stay where they are.
    assert np.array_equal(large.reshape(-1, 28, 28)[:, ::27, ::27], small.reshape(-1, 8, 8)[:, ::7, ::7])
    with pytest.raises(ValueError, match="name must be one of digits, 8 × 8, digits, 28 × 28; got 'mnist'"):
        digits("mnist")


def test_steps_that_are_too_large_kill_and_small_ones_do_not():
    gentle, wild = count_deaths(
        [Way("gentle", SGD, 1e-4), Way("wild", SGD, 3.0)], DATA[0], [0, 1], hidden=(32, 32), epochs=1
    )
    assert gentle.share.max() < 0.1
    assert wild.share.min() > 0.3
    assert wild.dead.shape == wild.revived.shape == (2, 2)
    assert (wild.revived <= wild.dead).all()
    # The first layer's inputs are always the same: who is off has no gradient, and stays off.
    assert gentle.revived[:, 0].tolist() == wild.revived[:, 0].tolist() == [0, 0]


def test_the_ways_differ():
    assert len({way.name for way in TRAININGS}) == len(TRAININGS)
    assert {way.optimizer().__class__.__name__ for way in TRAININGS} == {"SGD", "Adam"}
    assert TRAININGS[-1].optimizer() is not TRAININGS[-1].optimizer()
