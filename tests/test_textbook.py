"""The chapter's routine: held to finite differences and to the executors, and the printed one's fault."""

from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from chainrule import backprop, nn
from chainrule.engine import EngineExecutor
from chainrule.execution import prepare
from chainrule.functions import get_activation
from chainrule.functions.losses import softmax
from chainrule.plan import flatten, lower
from chainrule.reference import ReferenceExecutor

# Layers whose activations differ, so that the gate of the wrong layer shows.
WIDTHS = (4, 5, 3, 6, 3)
NAMES = ["tanh", "sigmoid", "gelu"]


@pytest.fixture
def network():
    """X (d_0, n) with one column an example, class indices, weights, biases."""
    rng = np.random.default_rng(3)
    weights = [rng.normal(size=(m, n)) for n, m in pairwise(WIDTHS)]
    biases = [rng.normal(size=m) for m in WIDTHS[1:]]
    return rng.normal(size=(4, 7)), rng.integers(0, 3, 7), weights, biases


def summed_loss(X, y, weights, biases, names):
    """Section 3's loss, −Σ log ŷ_y summed over the columns, written without the routine under test."""
    h = X
    for W, b, name in zip(weights[:-1], biases[:-1], names, strict=True):
        record = get_activation(name)
        h = record.value(W @ h + b[:, None], record.default_alpha)
    probabilities = softmax((weights[-1] @ h + biases[-1][:, None]).T)
    return -np.log(probabilities[np.arange(len(y)), y]).sum()


def central_differences(loss, arrays, step=1e-5):
    """∂loss/∂a for every entry of every array, one at a time."""
    gradients = []
    for array in arrays:
        gradient = np.empty_like(array)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = loss()
            array[index] = kept - step
            gradient[index] = (above - loss()) / (2 * step)
            array[index] = kept
        gradients.append(gradient)
    return gradients


def printed_routine(X, y, weights, biases, names):
    """The chapter's listing as printed: δ gated with the activation of layer l itself; summed loss.

    At the output, where its list says "softmax", the gate of the last hidden layer serves.
    """
    names = [*names, names[-1]]
    h, z = [X], []
    for l, (W, b) in enumerate(zip(weights, biases, strict=True)):
        z.append(W @ h[-1] + b[:, None])
        h.append(get_activation(names[l]).value(z[-1], 0.0))
    delta = softmax(z[-1].T).T - np.eye(len(biases[-1]))[y].T
    grad_W = [np.empty(0)] * len(weights)
    for l in range(len(weights) - 1, -1, -1):
        grad_W[l] = delta @ h[l].T
        if l > 0:
            delta = (weights[l].T @ delta) * get_activation(names[l]).derivative(z[l - 1], 0.0)
    return grad_W


@pytest.mark.parametrize("names", [NAMES, ["silu", "tanh", "softplus"], ["elu", "mish", "leaky_relu"]])
def test_mixed_activations_agree_with_finite_differences(network, names):
    X, y, weights, biases = network
    grad_W, grad_b = backprop(X, y, weights, biases, names, reduction="sum")
    loss = partial(summed_loss, X, y, weights, biases, names)
    for actual, expected in zip(grad_W, central_differences(loss, weights), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)
    for actual, expected in zip(grad_b, central_differences(loss, biases), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)


def test_the_gate_of_the_printed_routine_is_wrong_where_activations_differ(network):
    X, y, weights, biases = network
    loss = partial(summed_loss, X, y, weights, biases, NAMES)
    exact = central_differences(loss, weights)
    printed = printed_routine(X, y, weights, biases, NAMES)
    np.testing.assert_allclose(printed[-1], exact[-1], rtol=1e-6)  # no gate has been applied yet
    # The gates of tanh and sigmoid changed places: not a matter of rounding.
    for l in (0, 1):
        assert np.abs(printed[l] - exact[l]).max() > 0.1 * np.abs(exact[l]).max()


def test_the_printed_gate_is_right_where_all_hidden_layers_are_alike(network):
    X, y, weights, biases = network
    names = ["tanh"] * 3
    ours, _ = backprop(X, y, weights, biases, names, reduction="sum")
    for actual, expected in zip(printed_routine(X, y, weights, biases, names), ours, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_mean_is_the_sum_divided_by_the_batch(network):
    X, y, weights, biases = network
    means = backprop(X, y, weights, biases, NAMES)
    sums = backprop(X, y, weights, biases, NAMES, reduction="sum")
    for mean, total in zip([*means[0], *means[1]], [*sums[0], *sums[1]], strict=True):
        np.testing.assert_allclose(mean * X.shape[1], total, rtol=1e-12)
    # And the sum over a batch is the sum over its columns, which tells the two reductions apart.
    columns = [backprop(X[:, [i]], y[[i]], weights, biases, NAMES)[0][0] for i in range(X.shape[1])]
    np.testing.assert_allclose(sum(columns), sums[0][0], rtol=1e-11)


def test_class_indices_are_one_hot_columns(network):
    X, y, weights, biases = network
    by_index = backprop(X, y, weights, biases, NAMES)
    by_column = backprop(X, np.eye(3)[y].T, weights, biases, NAMES)
    for a, b in zip([*by_index[0], *by_index[1]], [*by_column[0], *by_column[1]], strict=True):
        np.testing.assert_array_equal(a, b)


def test_soft_columns_mix_the_gradients_of_the_classes(network):
    X, _, weights, biases = network
    mixed = backprop(X, np.full((3, 7), [[0.2], [0.5], [0.3]]), weights, biases, NAMES)[0]
    pure = [backprop(X, np.full(7, c), weights, biases, NAMES)[0] for c in range(3)]
    for l in range(len(weights)):
        expected = 0.2 * pure[0][l] + 0.5 * pure[1][l] + 0.3 * pure[2][l]
        np.testing.assert_allclose(mixed[l], expected, rtol=1e-11, atol=1e-14)


def test_as_many_examples_as_classes_is_not_ambiguous(network):
    X, _, weights, biases = network
    y = np.array([2, 0, 1])
    ours = backprop(X[:, :3], y, weights, biases, NAMES)[0][0]
    np.testing.assert_array_equal(ours, backprop(X[:, :3], np.eye(3)[y].T, weights, biases, NAMES)[0][0])


@pytest.mark.parametrize("make", [ReferenceExecutor, EngineExecutor])
def test_the_executors_agree(network, make):
    X, y, weights, biases = network
    layers = [nn.Linear(n, m, dtype=np.float64, rng=0) for n, m in pairwise(WIDTHS)]
    modules = []
    for layer, W, b, name in zip(layers, weights, biases, [*NAMES, None], strict=True):
        layer.bind({"weight": W, "bias": b})
        modules += [layer] if name is None else [layer, nn.activation_module(name)]
    module = nn.Sequential(*modules)
    plan = lower(module, "softmax_cross_entropy")
    state = module.state_dict()
    executor = make(plan, flatten(state, plan.parameters, np.float64), np.zeros(0))
    loss, _, gradient = executor.gradient(prepare(plan, X.T, y, dtype=np.float64))
    assert loss == pytest.approx(summed_loss(X, y, weights, biases, NAMES) / 7, rel=1e-12)
    grad_W, grad_b = backprop(X, y, weights, biases, NAMES)
    expected = [array for pair in zip(grad_W, grad_b, strict=True) for array in pair]
    for slot, array in zip(plan.parameters, expected, strict=True):
        np.testing.assert_allclose(slot.view(gradient), array, rtol=1e-9, atol=1e-12)


def test_a_step_against_the_gradient_lowers_the_loss(network):
    X, y, weights, biases = network
    before = summed_loss(X, y, weights, biases, NAMES)
    grad_W, grad_b = backprop(X, y, weights, biases, NAMES)
    weights = [W - 0.01 * g for W, g in zip(weights, grad_W, strict=True)]
    biases = [b - 0.01 * g for b, g in zip(biases, grad_b, strict=True)]
    assert summed_loss(X, y, weights, biases, NAMES) < before


def test_no_hidden_layer_is_logistic_regression():
    rng = np.random.default_rng(0)
    X, y, W, b = rng.normal(size=(4, 6)), rng.integers(0, 3, 6), rng.normal(size=(3, 4)), np.zeros(3)
    grad_W, grad_b = backprop(X, y, [W], [b], [])
    delta = (softmax((W @ X).T).T - np.eye(3)[y].T) / 6
    np.testing.assert_allclose(grad_W[0], delta @ X.T, rtol=1e-12)
    np.testing.assert_allclose(grad_b[0], delta.sum(axis=1), rtol=1e-12)


def test_a_last_softmax_may_be_named_and_arguments_are_left_alone(network):
    X, y, weights, biases = network
    kept = [array.copy() for array in (X, *weights, *biases)]
    named = backprop(X, y, weights, biases, [*NAMES, "softmax"])
    np.testing.assert_array_equal(named[0][0], backprop(X, y, weights, biases, NAMES)[0][0])
    for array, copy in zip((X, *weights, *biases), kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_columns_of_biases_and_lists_are_taken(network):
    X, y, weights, biases = network
    as_lists = backprop(
        X.tolist(), y.tolist(), [W.tolist() for W in weights], [b[:, None] for b in biases], NAMES
    )
    assert [g.shape for g in as_lists[1]] == [b.shape for b in biases]
    np.testing.assert_array_equal(as_lists[0][0], backprop(X, y, weights, biases, NAMES)[0][0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.ones(4)}, r"^X must have shape \(d_0, n\)"),
        ({"X": np.ones((4, 0))}, r"^X must have .* at least one column; got \(4, 0\)"),
        ({"X": np.ones((5, 7))}, r"^weights\[0\] must have shape \(d, 5\); got \(5, 4\)"),
        ({"y": np.array([0, 1])}, r"^y must be 7 class indices or have shape \(3, 7\); got shape \(2,\)"),
        ({"y": np.eye(3)[[0] * 7]}, r"^y must be 7 class indices .* got shape \(7, 3\)"),
        ({"y": np.full(7, 3)}, "^y must hold class indices from 0 to 2; got 3 to 3"),
        ({"y": np.full(7, -1)}, "^y must hold class indices from 0 to 2; got -1 to -1"),
        ({"y": np.zeros(7)}, "^y must be 7 class indices"),
        ({"weights": []}, "^weights and biases must be as many, at least one; got 0 and 4"),
        ({"biases": [np.zeros(5)]}, "^weights and biases must be as many"),
        ({"activations": ["tanh"]}, r"^activations must name the 3 hidden layers; got \['tanh'\]"),
        ({"activations": ["tanh", "sigmoid", "rely"]}, "rely"),
        ({"reduction": "average"}, "^reduction must be 'mean' or 'sum'; got 'average'"),
    ],
)
def test_errors_name_the_argument(network, changes, message):
    X, y, weights, biases = network
    given = {"X": X, "y": y, "weights": weights, "biases": biases, "activations": NAMES, **changes}
    with pytest.raises(ValueError, match=message):
        backprop(**given)


def test_a_bias_that_does_not_fit_is_named(network):
    X, y, weights, biases = network
    with pytest.raises(ValueError, match=r"^biases\[2\] must have 6 entries, .* weights\[2\]; got 1"):
        backprop(X, y, weights, [*biases[:2], np.zeros(1), biases[3]], NAMES)
