"""A step in numbers: the chapter's example by hand, and any network against finite differences."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.explain.networks import NETWORKS, central_differences, data, linear, mean_loss, moved, network
from tests.strategies import architectures, deterministic, setting_choices, targets_for

from chainrule import nn
from chainrule.explain import explain_step, worked_example
from chainrule.explain.output import is_canonical
from chainrule.functions import ACTIVATIONS, LOSSES
from chainrule.plan import LossTerm, lower

# -- the worked example ----------------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def test_worked_example_is_the_arithmetic_done_by_hand():
    z1 = 0.5 * 1 + 0
    h1 = sigmoid(z1)
    z2 = -1 * h1 + 0.1
    delta2 = z2 - 0
    dw2, db2 = delta2 * h1, delta2
    slope = h1 * (1 - h1)
    delta1 = -1 * delta2 * slope
    w2, b2 = -1 - 0.5 * dw2, 0.1 - 0.5 * db2
    w1, b1 = 0.5 - 0.5 * delta1 * 1, 0 - 0.5 * delta1
    h1_after = sigmoid(w1 + b1)
    z2_after = w2 * h1_after + b2

    step = worked_example()
    hidden, output = step.layers
    shown = {
        "z1": (hidden.z, z1),
        "h1": (hidden.h, h1),
        "z2": (output.z, z2),
        "prediction": (step.prediction, z2),
        "loss": (step.loss, z2**2 / 2),
        "delta2": (output.delta, delta2),
        "dw2": (output.gradients["weight"], dw2),
        "db2": (output.gradients["bias"], db2),
        "slope": (hidden.slope, slope),
        "delta1": (hidden.delta, delta1),
        "dw1": (hidden.gradients["weight"], delta1),
        "db1": (hidden.gradients["bias"], delta1),
        "w2": (output.updated["weight"], w2),
        "b2": (output.updated["bias"], b2),
        "w1": (hidden.updated["weight"], w1),
        "b1": (hidden.updated["bias"], b1),
        "h1 after": (hidden.h_after, h1_after),
        "prediction after": (step.prediction_after, z2_after),
        "loss after": (step.loss_after, z2_after**2 / 2),
        "drop": (step.drop, z2**2 / z2_after**2),
    }
    for name, (actual, expected) in shown.items():
        assert float(np.asarray(actual).item()) == pytest.approx(expected, abs=1e-12), name


def test_worked_example_has_the_digits_of_the_chapter():
    step = worked_example()
    hidden, output = step.layers
    assert [round(float(one.item()), 4) for one in (hidden.z, hidden.h, output.z)] == [0.5, 0.6225, -0.5225]
    assert round(step.loss, 4) == 0.1365
    assert [round(float(output.gradients[name].item()), 4) for name in ("weight", "bias")] == [
        -0.3252,
        -0.5225,
    ]
    assert [round(float(one.item()), 4) for one in (hidden.slope, hidden.delta)] == [0.2350, 0.1228]
    after = [round(float(one.item()), 4) for one in step.updated.values()]
    assert dict(zip(step.updated, after, strict=True)) == {
        "0.weight": 0.4386, "0.bias": -0.0614, "2.weight": -0.8374, "2.bias": 0.3612,
    }  # fmt: skip
    assert round(float(step.prediction_after.item()), 4) == -0.1355
    assert round(step.loss_after, 5) == 0.00918
    assert round(step.drop, 1) == 14.9


# -- gradients -------------------------------------------------------------------------------------


def check(module, x, y, term, training=False):
    """Everything that a step says of a network, against what the module itself computes."""
    module.train(training)
    step = explain_step(module, x, y, term, 0.01, training=training)

    def loss():
        return mean_loss(module, x, y, term)

    assert step.loss == pytest.approx(loss(), rel=1e-12)
    if is_canonical(LOSSES[term.name]):  # (4)
        expected = step.shares[:, None] * term.scale * (step.prediction - step.targets)
        np.testing.assert_allclose(step.layers[-1].signal, expected, rtol=1e-10, atol=1e-14)
    differences = central_differences(module, loss)
    assert set(differences) == set(step.gradients) == set(step.updated) == set(step.parameters)
    for name, expected in differences.items():
        np.testing.assert_allclose(step.gradients[name], expected, rtol=1e-5, atol=1e-8, err_msg=name)
        np.testing.assert_allclose(
            step.updated[name], module.state_dict()[name] - 0.01 * step.gradients[name], rtol=1e-15
        )
    fresh = module.copy()
    fresh.load_state_dict(step.updated, strict=False)
    assert step.loss_after == pytest.approx(mean_loss(fresh, x, y, term), rel=1e-12)
    return step


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name):
    alphas = [None] if ACTIVATIONS[name].alpha is None else [None, 0.3]
    for alpha in alphas:
        module = nn.Sequential(linear(3, 4, 0), nn.activation_module(name, alpha), linear(4, 2, 1))
        x, y = data("half_squared_error", 5, 3, 2)
        step = check(moved(module), x, y, LossTerm("half_squared_error"))
        assert step.layers[0].layer.activation.activation == name
        assert len(step.layers) == 2


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("n_rows", [1, 4])
def test_every_loss(name, n_rows):
    record = LOSSES[name]
    x, y = data(name, n_rows, 3, 2)
    for setting in setting_choices(record):
        for scale in (1.0, 0.4):
            module = network("deep")
            check(module, x, y, LossTerm(name, setting, scale))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_layer(name):
    x, y = data("half_squared_error", 5, 3, 2)
    step = check(network(name), x, y, LossTerm("half_squared_error"))
    assert [one.layer.number for one in step.layers] == list(range(1, len(step.layers) + 1))


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "dropout"])
def test_every_kind_of_layer_with_the_statistics_of_the_batch(name):
    x, y = data("softmax_cross_entropy", 5, 3, 2)
    check(network(name), x, y, LossTerm("softmax_cross_entropy"), training=True)


def test_every_layer_class_is_among_the_networks():
    from tests.strategies import module_classes

    used = {type(one) for make in NETWORKS.values() for one in nn.Sequential(*make()).modules()}
    activations = {one for one in module_classes() if issubclass(one, nn.ActivationModule)}
    assert module_classes() - activations <= used


@settings(deterministic, max_examples=30)
@given(architectures(), st.sampled_from(sorted(LOSSES)), st.integers(0, 2**16))
def test_any_network_with_the_shown_parameters_has_the_shown_loss(architecture, name, seed):
    module, n_inputs = architecture
    rng = np.random.default_rng(seed)
    module.eval()
    n_outputs = lower(module, name, n_inputs).n_outputs
    x, y = rng.normal(size=(3, n_inputs)), targets_for(LOSSES[name], 3, n_outputs, rng)
    step = explain_step(module, x, y, name, 0.01)
    module.load_state_dict(step.updated, strict=False)
    expected = mean_loss(module, x, y, LossTerm(name, LOSSES[name].setting))
    assert step.loss_after == pytest.approx(expected, rel=1e-9, abs=1e-12)


# -- values ----------------------------------------------------------------------------------------


def test_values_are_those_of_the_modules():
    module = network("deep").eval()
    x, y = data("half_squared_error", 4, 3, 2)
    step = explain_step(module, x, y, "half_squared_error", 0.1)
    for number, one in enumerate(step.layers):
        np.testing.assert_allclose(one.z, module[: 2 * number + 1](x), rtol=1e-13)
        np.testing.assert_allclose(one.h, module[: 2 * number + 2](x), rtol=1e-13)
    np.testing.assert_allclose(step.prediction, module(x), rtol=1e-13)
    assert step.layers[2].h is step.layers[2].z


def test_error_signals_are_by_equations_4_and_5():
    module = network("deep").eval()
    x, y = data("softmax_cross_entropy", 4, 3, 2)
    step = explain_step(module, x, y, nn.CrossEntropyLoss(), 0.1)
    first, second, third = step.layers
    np.testing.assert_allclose(third.delta, (step.prediction - np.eye(2)[y]) / 4, rtol=1e-12)
    for below, above in ((second, third), (first, second)):
        signal = above.delta @ above.parameters["weight"]
        np.testing.assert_allclose(below.signal, signal, rtol=1e-12)
        np.testing.assert_allclose(below.delta, signal * below.slope, rtol=1e-12)
    np.testing.assert_allclose(second.gradients["weight"], second.delta.T @ first.h, rtol=1e-12)
    np.testing.assert_allclose(first.gradients["bias"], first.delta.sum(axis=0), rtol=1e-12)


def test_an_activation_beside_a_residual_connection_hands_down_its_own_part():
    module = network("residual around an activation").eval()
    x, y = data("half_squared_error", 4, 3, 2)
    step = explain_step(module, x, y, "half_squared_error", 0.1)
    before, activation, joined, _ = step.layers
    assert (activation.kind, activation.layer.reads, joined.layer.reads) == ("activation", (1,), (1, 2))
    np.testing.assert_allclose(activation.delta, joined.delta * activation.slope, rtol=1e-13)
    np.testing.assert_allclose(before.delta, joined.delta + activation.delta, rtol=1e-13)


@pytest.mark.parametrize("training", [False, True])
def test_a_normalisation_shows_what_it_goes_through(training):
    module = network("batch norm").train(training)
    x, y = data("half_squared_error", 6, 3, 2)
    step = explain_step(module, x, y, "half_squared_error", 0.1, training=training)
    below, layer = step.layers[:2]
    one = layer.normalisation
    mean, variance = module[1].state_dict()["running_mean"], module[1].state_dict()["running_var"]
    if training:
        mean, variance = below.h.mean(axis=0), below.h.var(axis=0)
    np.testing.assert_allclose(one.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(one.variance, variance, rtol=1e-13)
    np.testing.assert_allclose(
        one.normal, (below.h - mean) / np.sqrt(variance + 1e-5), rtol=1e-10, atol=1e-14
    )
    gamma, beta = layer.parameters["weight"], layer.parameters["bias"]
    np.testing.assert_allclose(layer.z, gamma * one.normal + beta, rtol=1e-12)
    np.testing.assert_allclose(one.delta, layer.delta * gamma, rtol=1e-13)
    np.testing.assert_allclose(one.below, below.signal, rtol=1e-13)


def test_class_weights_and_smoothing_are_those_of_the_loss_module():
    loss = nn.CrossEntropyLoss(weight=[1.0, 3.0], label_smoothing=0.2)
    module = network("deep").eval()
    x, y = data("softmax_cross_entropy", 5, 3, 2)
    step = explain_step(module, x, y, loss, 0.1)
    weights = np.array([1.0, 3.0])[y]
    np.testing.assert_allclose(step.shares, weights / weights.sum(), rtol=1e-13)
    assert step.loss == pytest.approx(loss(module(x), y), rel=1e-12)
    differences = central_differences(module, lambda: loss(module(x), y))
    for name, expected in differences.items():
        np.testing.assert_allclose(step.gradients[name], expected, rtol=1e-5, atol=1e-9)


def test_the_module_is_left_alone_and_single_precision_is_taken_as_it_is():
    module = nn.Sequential(nn.Linear(2, 1, rng=0))
    before = module.state_dict()
    step = explain_step(module, [[1.0, 2.0]], [0.5], "half_squared_error", 0.1)
    for name, array in module.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
        np.testing.assert_array_equal(step.parameters[name], array.astype(np.float64))
        assert step.updated[name].dtype == np.float64


# -- arguments -------------------------------------------------------------------------------------


def test_one_example_needs_no_dimension_for_rows():
    module = network("deep")
    x, y = data("softmax_cross_entropy", 1, 3, 2)
    expected = explain_step(module, x, y, "softmax_cross_entropy", 0.1).loss
    assert explain_step(module, x[0], y[0], "softmax_cross_entropy", 0.1).loss == expected
    one_hot = np.eye(2)[y[0]]
    assert explain_step(module, x[0], one_hot, "softmax_cross_entropy", 0.1).loss == pytest.approx(expected)


def test_nothing_is_compiled_to_explain():
    code = (
        "import sys; from chainrule.explain import derive, worked_example; str(worked_example()); "
        "print(*(name for name in ('numba', 'sklearn', 'pandas', 'matplotlib') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_the_step_keeps_what_it_was_given():
    x, y = data("half_squared_error", 2, 3, 2)
    step = explain_step(network("activation first"), x, y, "half_squared_error", 0.1)
    kept_x, kept_y, kept_z = step.x.copy(), step.targets.copy(), step.layers[0].z.copy()
    x += 1.0
    y += 1.0
    np.testing.assert_array_equal(step.x, kept_x)
    np.testing.assert_array_equal(step.targets, kept_y)
    np.testing.assert_array_equal(step.layers[0].z, kept_z)


def test_layers_are_found_by_name():
    x, y = data("half_squared_error", 2, 3, 2)
    step = explain_step(network("residual"), x, y, "half_squared_error", 0.1)
    assert step.layer("2.body.0").kind == "linear"
    assert step.layer("2").kind == "add"
    with pytest.raises(KeyError, match="no layer 'x'; the layers are '0', '2.body.0', '2', '3'"):
        step.layer("x")


@pytest.mark.parametrize("lr", [0, -1.0, math.nan, math.inf, True, "0.1"])
def test_a_learning_rate_that_is_none(lr):
    with pytest.raises(ValueError, match="lr must be a positive number; got"):
        explain_step(network("one linear"), [[1.0, 2.0, 3.0]], [[0.0, 0.0]], "half_squared_error", lr)


def test_what_cannot_be_explained():
    x, y = [[1.0, 2.0, 3.0]], [[0.0, 0.0]]
    with pytest.raises(TypeError, match="module must be a Module of chainrule.nn; got int"):
        explain_step(3, x, y, "half_squared_error", 0.1)
    with pytest.raises(ValueError, match="mask of a dropout"):
        explain_step(network("dropout"), x, y, "half_squared_error", 0.1, training=True)
    with pytest.raises(ValueError, match="at least 2 rows"):
        explain_step(network("batch norm"), x, y, "half_squared_error", 0.1, training=True)
    with pytest.raises(ValueError, match=r"X must have shape \(n, 3\); got \(1, 2\)"):
        explain_step(network("deep"), [[1.0, 2.0]], y, "half_squared_error", 0.1)
    with pytest.raises(ValueError, match=r"y must have shape \(n, 2\)"):
        explain_step(network("deep"), x, [[1.0, 2.0, 3.0]], "half_squared_error", 0.1)
    with pytest.raises(ValueError, match="'nonsense'"):
        explain_step(network("deep"), x, y, "nonsense", 0.1)


def test_a_huge_network_is_refused_by_a_limit_that_is_named():
    module = nn.Sequential(nn.Linear(1000, 1000, rng=0))
    with pytest.raises(ValueError, match="at most 1,000,000 numbers; .* 1,003,000 here"):
        explain_step(module, np.zeros((1, 1000)), np.zeros((1, 1000)), "half_squared_error", 0.1)


def test_drop_of_losses_that_are_zero():
    module = nn.Sequential(nn.Linear(1, 1, dtype=np.float64, rng=0))
    module.load_state_dict({"0.weight": [[1.0]], "0.bias": [0.0]})
    there = explain_step(module, 1.0, 1.0, "half_squared_error", 0.5)
    assert (there.loss, there.loss_after, there.drop) == (0.0, 0.0, 1.0)
    exact = explain_step(module, 1.0, 2.0, "half_squared_error", 0.5)  # the step goes to the minimum
    assert (exact.loss, exact.loss_after, exact.drop) == (0.5, 0.0, math.inf)
