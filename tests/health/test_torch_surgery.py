"""Changes of PyTorch modules: what they change, that names stay, and that the module given stays as it is."""

import numpy as np
import pytest

from chainrule.health import torch_surgery
from chainrule.health.torch_surgery import (
    initialized,
    with_activations,
    with_batch_norm,
    with_residuals,
    without_last_activation,
)

X = np.random.default_rng(0).normal(size=(6, 1, 8, 8)).astype(np.float32)


def convolutional(torch):
    nn = torch.nn
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 40, 3), nn.Tanh()), nn.Conv2d(40, 40, 3), nn.Flatten(), nn.Linear(640, 30),
        nn.ReLU(), nn.Linear(30, 5), nn.Sigmoid(),
    )  # fmt: skip


def kinds(module):
    return [type(one).__name__ for _, _, one in torch_surgery._chain(module)]


def plain(module):
    return {name: one.detach().numpy().copy() for name, one in module.named_parameters()}


@pytest.mark.parametrize(
    "change",
    [
        lambda net: initialized(net, rows=X), lambda net: with_activations(net, "gelu"), with_batch_norm,
        without_last_activation,
    ],
)  # fmt: skip
def test_the_module_that_is_given_stays_and_names_are_kept(torch, change):
    net = convolutional(torch)
    before, state = plain(net), torch.get_rng_state()
    made = change(net)
    assert len(kinds(net)) == 8
    assert all((one == before[name]).all() for name, one in plain(net).items())
    assert set(before) <= set(plain(made))
    assert not {id(one) for one in made.parameters()} & {id(one) for one in net.parameters()}
    assert (torch.get_rng_state() == state).all()
    assert made(torch.tensor(X)).shape == (6, 5)


def test_weights_are_drawn_for_the_activation_that_follows(torch):
    net = initialized(convolutional(torch), rows=X)
    layers = [net[0][0], net[1], net[3], net[5]]
    stds = [float(one.weight.detach().std(correction=0)) for one in layers]
    # Xavier: sqrt(2/(9 + 360)), sqrt(2/720); He: sqrt(2/640); Xavier, as it is the last: sqrt(2/35).
    assert stds == pytest.approx(np.sqrt(2 / np.array([369, 720, 640, 35])), rel=0.12)
    assert all((one.bias == 0).all() for one in layers)


def test_an_activation_of_a_forward_of_the_users_own_is_seen(torch):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            # In another order than they are used in.
            self.last, self.first = torch.nn.Linear(60, 3), torch.nn.Linear(64, 60)

        def forward(self, x):
            return self.last(torch.relu(self.first(x)))

    made = initialized(Net(), rows=X.reshape(6, 64))
    assert float(made.first.weight.detach().std()) == pytest.approx(np.sqrt(2 / 64), rel=0.1)
    assert with_activations(Net(), "gelu") is None
    assert with_batch_norm(Net()) is None
    assert with_residuals(Net()) is None
    assert without_last_activation(Net()) is None


def test_other_activations_in_the_hidden_layers(torch):
    made = with_activations(convolutional(torch), "leaky_relu")
    assert kinds(made) == [
        "Conv2d", "LeakyReLU", "Conv2d", "LeakyReLU", "Flatten", "Linear", "LeakyReLU", "Linear", "Sigmoid",
    ]  # fmt: skip


def test_batch_normalisation_of_channels_and_of_units(torch):
    made = with_batch_norm(convolutional(torch))
    assert kinds(made) == [
        "Conv2d", "BatchNorm2d", "Tanh", "Conv2d", "BatchNorm2d", "Flatten", "Linear", "BatchNorm1d", "ReLU",
        "Linear", "Sigmoid",
    ]  # fmt: skip
    assert with_batch_norm(made) is None


def test_residual_connections_around_layers_of_one_width(torch):
    nn = torch.nn
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    made = with_residuals(net)
    assert kinds(made) == ["Linear", "ReLU", "Residual", "Linear"]
    x = torch.ones(3, 4)
    h = net[:2](x)
    assert torch.equal(made(x), net[4](h + net[2:4](h)))
    assert with_residuals(convolutional(torch)) is None


def test_what_follows_the_last_layer_goes_but_for_what_shapes_it(torch):
    nn = torch.nn
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Softmax(1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    made = without_last_activation(net)
    assert kinds(made) == ["Conv2d", "Identity", "AdaptiveAvgPool2d", "Flatten"]
    assert without_last_activation(made) is None
