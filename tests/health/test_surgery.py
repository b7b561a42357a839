"""Changes of a module's description: what they change, and that they change nothing else."""

import numpy as np
import pytest
from tests.health.examples import chain

from chainrule import nn
from chainrule.health.surgery import (
    activations_after,
    flat_chain,
    initialized,
    standard_scale,
    with_activations,
    with_batch_norm,
    with_residuals,
    without_last_activation,
)


def kinds(module: nn.Module) -> list[str]:
    return [type(one).__name__ for one in flat_chain(module)]


def deep() -> nn.Sequential:
    return chain(3, 8, 8, 8, 2, activation="sigmoid")


@pytest.mark.parametrize(
    "change",
    [
        initialized, with_batch_norm, with_residuals, lambda module: with_activations(module, "relu"),
        lambda module: without_last_activation(nn.Sequential(*module, nn.Tanh())),
    ],
)  # fmt: skip
def test_the_module_that_is_given_stays_as_it_is(change):
    module = deep()
    before = {name: np.array(array) for name, array in module.state_dict().items()}
    made = change(module)
    assert kinds(module) == ["Linear", "Sigmoid"] * 3 + ["Linear"]
    assert all((module.state_dict()[name] == array).all() for name, array in before.items())
    shared = {id(one) for one in made.parameters()} & {id(one) for one in module.parameters()}
    assert not shared


def test_weights_are_drawn_for_the_activation_that_follows():
    module = nn.Sequential(
        nn.Linear(400, 300, rng=0), nn.ReLU(), nn.Linear(300, 200, rng=0), nn.Tanh(), nn.Linear(200, 9, rng=0)
    )
    made = initialized(module)
    stds = [float(one.weight.data.std()) for one in made if isinstance(one, nn.Linear)]
    # He, equation (9): √(2/400). Xavier, (8): √(2/(300 + 200)), √(2/209).
    assert stds == pytest.approx([np.sqrt(2 / 400), np.sqrt(2 / 500), np.sqrt(2 / 209)], rel=0.05)
    assert all((one.bias.data == 0).all() for one in made if isinstance(one, nn.Linear))
    assert standard_scale(module[0], "relu") == pytest.approx(np.sqrt(2 / 400))


def test_other_activations_in_the_hidden_layers():
    assert kinds(with_activations(deep(), "relu")) == ["Linear", "ReLU"] * 3 + ["Linear"]
    bare = nn.Sequential(nn.Linear(2, 4), nn.Identity(), nn.Linear(4, 4), nn.Linear(4, 1), nn.Tanh())
    assert kinds(with_activations(bare, "gelu")) == ["Linear", "GELU", "Linear", "GELU", "Linear", "Tanh"]
    residual = nn.Sequential(
        nn.Linear(2, 4), nn.Residual(nn.Sequential(nn.Linear(4, 4), nn.Tanh())), nn.Linear(4, 1)
    )
    assert [name for _, name in activations_after(with_activations(residual, "relu"))][1] == "relu"


def test_batch_normalisation_after_each_hidden_layer():
    made = with_batch_norm(deep())
    assert kinds(made) == ["Linear", "BatchNorm1d", "Sigmoid"] * 3 + ["Linear"]
    assert with_batch_norm(made) is None


def test_residual_connections_around_layers_of_one_width():
    made = with_residuals(deep())
    assert kinds(made) == ["Linear", "Sigmoid", "Residual", "Residual", "Linear"]
    X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    h = np.asarray(deep()[:2](X))
    for place in (2, 4):
        h = h + np.asarray(deep()[place : place + 2](h))
    assert np.asarray(made(X)) == pytest.approx(np.asarray(deep()[6](h)), rel=1e-5)
    assert with_residuals(chain(3, 8, 4, 2)) is None


def test_what_follows_the_last_linear_layer_goes():
    assert kinds(without_last_activation(nn.Sequential(*deep(), nn.ReLU(), nn.Tanh()))) == kinds(deep())
    assert without_last_activation(deep()) is None
