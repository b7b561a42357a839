"""What the noise of batch normalization's statistics does by itself."""

import numpy as np
import pytest

from chainrule import nn
from chainrule.book.experiments.batch_noise import GroupedNetwork, noise_effects
from chainrule.tape import Tensor


def test_one_group_is_batch_normalization():
    net = GroupedNetwork(5, 6, 3, seed=0)
    same = nn.Sequential(
        net.first, nn.BatchNorm1d(6), nn.ReLU(), net.second, nn.BatchNorm1d(6), nn.ReLU(), net.last
    )
    X = Tensor(np.random.default_rng(0).standard_normal((16, 5)).astype(np.float32))
    assert np.allclose(net.outputs(X, group=16).detach().numpy(), same(X).detach().numpy(), atol=1e-5)


def test_groups_do_not_know_of_each_other():
    net = GroupedNetwork(5, 6, 3, seed=0)
    X = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    whole = net.outputs(Tensor(X), group=4).detach().numpy()
    assert np.allclose(whole[4:], net.outputs(Tensor(X[4:]), group=4).detach().numpy(), atol=1e-6)
    assert not np.allclose(whole, net.outputs(Tensor(X), group=8).detach().numpy(), atol=1e-2)


def test_training_learns():
    found = noise_effects((16,), [0], n=64, batch=32, steps=60)
    assert found.training.shape == found.held_out.shape == (1, 1)
    assert found.training[0, 0] < 0.2 < found.held_out[0, 0] < 2.0


def test_groups_divide_the_batch():
    with pytest.raises(ValueError, match="groups must divide the batch of 128, got 24"):
        noise_effects((24,), [0])
