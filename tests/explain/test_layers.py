"""A plan read as layers: which activation belongs to which, who reads whom."""

import pytest
from hypothesis import given, settings
from tests.explain.networks import NETWORKS, linear, network
from tests.strategies import architectures, deterministic

from chainrule import nn
from chainrule.explain.layers import consumers, layers_of
from chainrule.plan import lower


def described(*modules, n_inputs=3):
    layers = layers_of(lower(nn.Sequential(*modules), "half_squared_error", n_inputs))
    return [(one.kind, one.activation and one.activation.activation, one.reads) for one in layers]


def test_an_activation_belongs_to_the_layer_before():
    assert described(linear(3, 4, 0), nn.Tanh(), nn.BatchNorm1d(4), nn.ReLU(), linear(4, 1, 0)) == [
        ("linear", "tanh", (0,)),
        ("batch_norm", "relu", (1,)),
        ("linear", None, (2,)),
    ]


def test_an_activation_without_a_layer_before_is_one_itself():
    assert described(nn.Tanh(), linear(3, 1, 0)) == [("activation", "tanh", (0,)), ("linear", None, (1,))]
    assert described(linear(3, 2, 0), nn.Tanh(), nn.ReLU()) == [
        ("linear", "tanh", (0,)),
        ("activation", "relu", (1,)),
    ]


def test_an_activation_of_a_value_that_others_read_is_a_layer_itself():
    assert described(linear(3, 3, 0), nn.Residual(nn.Tanh()), nn.Sigmoid()) == [
        ("linear", None, (0,)),
        ("activation", "tanh", (1,)),
        ("add", "sigmoid", (1, 2)),
    ]


def test_what_is_added_to_itself_is_read_twice():
    layers = layers_of(lower(network("residual around nothing"), "half_squared_error"))
    assert layers[1].reads == (1, 1)
    assert [one.number for one in consumers(layers)[1]] == [2, 2]


def test_titles_and_slots():
    layers = layers_of(lower(network("layer norm, no bias"), "half_squared_error"))
    assert [one.title for one in layers] == ["linear 3 -> 4", "layer normalisation", "linear 4 -> 2"]
    assert [list(one.slots) for one in layers] == [["weight", "bias"], ["weight"], ["weight", "bias"]]
    assert layers[0].slots["weight"].name == "0.weight"
    alone = layers_of(lower(nn.Sequential(nn.GELU()), "half_squared_error", 3))
    assert (alone[0].title, alone[0].slots) == ("gelu", {})


def check_layers(plan):
    layers = layers_of(plan)
    made = sorted(
        {one.z_index for one in layers if one.kind != "activation"} | {one.h_index for one in layers}
    )
    assert made == list(range(1, len(plan.operations) + 1))  # every value has its layer
    assert [one.number for one in layers] == list(range(1, len(layers) + 1))
    assert sorted(slot.name for one in layers for slot in one.slots.values()) == sorted(
        slot.name for slot in plan.parameters
    )
    readers = consumers(layers)
    assert readers[layers[-1].number] == []
    assert all(readers[one.number] for one in layers[:-1])
    assert all(max(one.reads) < one.number for one in layers)
    for one in layers:
        assert plan.widths[one.z_index] == plan.widths[one.h_index] == one.width_out


@pytest.mark.parametrize("name", NETWORKS)
def test_every_operation_has_its_layer(name):
    check_layers(lower(network(name), "half_squared_error"))


@settings(deterministic, max_examples=60)
@given(architectures())
def test_every_operation_of_any_network_has_its_layer(architecture):
    module, n_inputs = architecture
    check_layers(lower(module, "half_squared_error", n_inputs))
