"""Activation layers: one for each record, known values, arguments."""

import inspect
import math

import numpy as np
import pytest

from chainrule import nn
from chainrule.functions.activations import ACTIVATIONS


def records_without_a_module(records):
    """Names in ``records`` that no exported activation layer carries."""
    layers = [getattr(nn, name) for name in nn.__all__]
    carried = {
        layer.record_name
        for layer in layers
        if inspect.isclass(layer)
        and issubclass(layer, nn.ActivationModule)
        and layer is not nn.ActivationModule
    }
    return set(records) - carried


def test_every_record_has_a_module():
    assert records_without_a_module(ACTIVATIONS) == set()


def test_a_record_without_a_module_is_noticed():
    assert records_without_a_module({**ACTIVATIONS, "new": None}) == {"new"}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_module_is_the_record(name, batch, lowered):
    layer = nn.activation_module(name)
    record = ACTIVATIONS[name]
    alpha = 0.0 if record.alpha is None else record.alpha
    assert layer.record_name == name
    assert layer.record_alpha == alpha
    np.testing.assert_array_equal(layer(batch), record.value(batch, alpha))
    assert lowered(layer) == [("activation", 0, "", name, alpha)]
    assert layer.input_width() is None
    assert layer.output_width(7) == 7


@pytest.mark.parametrize(
    ("layer", "value"),
    [
        (nn.Identity(), -1.0),
        (nn.Sigmoid(), 1 / (1 + math.e)),
        (nn.Tanh(), math.tanh(-1)),
        (nn.ReLU(), 0.0),
        (nn.LeakyReLU(0.2), -0.2),
        (nn.ELU(2.0), 2 * (math.exp(-1) - 1)),
        (nn.SELU(), 1.0507009873554805 * 1.6732632423543772 * (math.exp(-1) - 1)),
        (nn.Softplus(), math.log(1 + math.exp(-1))),
        (nn.GELU(), -(1 + math.erf(-1 / math.sqrt(2))) / 2),
        (nn.SiLU(), -1 / (1 + math.e)),
        (nn.Mish(), -math.tanh(math.log(1 + math.exp(-1)))),
    ],
    ids=repr,
)
def test_value_at_minus_one(layer, value):
    assert layer(np.array([[-1.0]]))[0, 0] == pytest.approx(value, rel=1e-12)


def test_settings_reach_the_plan(lowered):
    assert lowered(nn.LeakyReLU(0.3)) == [("activation", 0, "", "leaky_relu", 0.3)]
    assert lowered(nn.ELU(2)) == [("activation", 0, "", "elu", 2.0)]
    assert repr(nn.activation_module("elu", 0.5)) == "ELU(alpha=0.5)"
    assert type(nn.activation_module("swish")) is nn.SiLU


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.LeakyReLU("a"), TypeError, "negative_slope must be a number; got 'a'"),
        (lambda: nn.LeakyReLU(math.nan), ValueError, "negative_slope must be a finite number; got nan"),
        (lambda: nn.ELU(math.inf), ValueError, "alpha must be a finite number; got inf"),
        (lambda: nn.Softplus(beta=2), ValueError, "beta must be 1.0, the only value supported; got 2"),
        (
            lambda: nn.Softplus(threshold=1),
            ValueError,
            "threshold must be 20.0, the only value supported; got 1",
        ),
        (
            lambda: nn.GELU("tanh"),
            ValueError,
            "approximate must be 'none', the only value supported; got 'tanh'",
        ),
        (lambda: nn.activation_module("step"), ValueError, "activation must be one of"),
        (lambda: nn.activation_module("relu", 0.1), ValueError, "alpha must be None for relu"),
    ],
)
def test_arguments_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()
