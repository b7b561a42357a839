"""The default generator."""

import numpy as np
import pytest

from chainrule import nn


def test_manual_seed_repeats_a_whole_network():
    states = []
    for _ in range(2):
        nn.manual_seed(11)
        states.append(nn.Sequential(nn.Linear(3, 4), nn.Residual(nn.Linear(4, 2))).state_dict())
    for name in states[0]:
        np.testing.assert_array_equal(states[0][name], states[1][name])


def test_numpys_global_state_is_never_touched(batch):
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the very state that must not change
    nn.manual_seed(0)
    nn.Dropout()(batch)
    nn.Linear(3, 3).initialize("orthogonal", rng=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_as_generator():
    generator = np.random.default_rng(0)
    assert nn.as_generator(generator) is generator
    assert nn.as_generator() is nn.as_generator(None)
    assert nn.as_generator(np.int64(5)).random() == np.random.default_rng(5).random()


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (-1, ValueError, "seed must not be negative; got -1"),
        (1.5, TypeError, "seed must be an integer; got 1.5"),
        (True, TypeError, "seed must be an integer; got True"),
        (None, TypeError, "seed must be an integer; got None"),
    ],
)
def test_seeds_are_checked(seed, error, message):
    with pytest.raises(error, match=message):
        nn.manual_seed(seed)
