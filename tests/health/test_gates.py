"""The three gates: a network that learns passes them, and each fails for what it is there to see."""

import numpy as np
import pytest
from tests.health.examples import blobs, chain, classes, numbers

from chainrule import nn, optim
from chainrule.health.gates import InputBlind, Memorised, Sweep, input_blind, memorise, sweep, without_dropout


@pytest.mark.parametrize("training", [classes(), numbers()])
def test_what_learns_passes(training):
    assert memorise(training).passed
    assert sweep(training).passed
    assert sweep(training).ratio == 1.0
    assert input_blind(training).passed


def test_a_network_without_a_way_in_cannot_memorise():
    module = chain(2, 16, 3)
    module[0].weight = np.zeros((16, 2), np.float32)
    module[2].weight = np.zeros((3, 16), np.float32)
    failed = memorise(classes(module))
    assert not failed.passed
    assert failed.share == pytest.approx(1, abs=0.2)


def test_dropout_is_off_when_memorising():
    module = nn.Sequential(nn.Linear(2, 16, rng=0), nn.ReLU(), nn.Dropout(0.9), nn.Linear(16, 3, rng=1))
    assert memorise(classes(module)).passed
    assert without_dropout(module)[2].p == 0.0
    assert module[2].p == 0.9


@pytest.mark.parametrize(("rate", "low", "high"), [(3e-6, 0, 0.05), (1e-2, 1, 1), (30.0, 3, np.inf)])
def test_the_sweep_says_whether_a_rate_is_low_or_high(rate, low, high):
    swept = sweep(classes(optimizer=optim.Adam(lr=rate)))
    assert swept.passed
    assert low <= swept.ratio <= high
    assert 1e-3 < swept.best_rate < 1


def test_no_rate_helps_a_structure_that_cannot_learn():
    module = chain(2, 16, 3)
    module[2].weight = np.zeros((3, 16), np.float32)
    module[0].bias = np.full(16, -1e4, np.float32)
    assert not sweep(classes(module)).passed


def test_the_numbers_of_a_sweep_by_hand():
    swept = Sweep((0.01, 0.1, 1.0), (0.9, 0.3, np.inf), start=2.0, baseline=1.0, rate=1.0)
    assert swept.reference == 1.0
    assert swept.best_gain == pytest.approx(0.7)
    assert (swept.best_rate, swept.good_rates, swept.ratio) == (0.1, (0.1,), 10.0)
    assert Sweep((0.1,), (0.3,), 0.4, 1.0, 0.1).passed  # it has learned already
    assert not Sweep((0.1,), (0.8,), 2.0, 1.0, 0.1).passed


def test_targets_that_have_nothing_to_do_with_the_inputs():
    y = blobs()[1]
    shuffled = classes(y=np.random.default_rng(5).permutation(y))
    assert not input_blind(shuffled).passed
    assert not InputBlind(real=0.4, shuffled=0.2, constant=0.38).passed
    assert InputBlind(real=0.5, shuffled=0.2, constant=0.38).passed


def test_memorised_by_hand():
    assert Memorised(2.0, 0.2).passed
    assert not Memorised(2.0, 0.21).passed
    assert not Memorised(2.0, float("nan")).passed


def test_the_same_seed_gives_the_same_numbers():
    assert sweep(classes()) == sweep(classes())
    assert input_blind(classes(), seed=1) == input_blind(classes(), seed=1)
