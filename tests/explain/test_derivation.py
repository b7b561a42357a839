"""A derivation: its counts against a counted run, its shapes against arrays, its words."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from tests.explain.networks import NETWORKS, data, linear, network
from tests.strategies import architectures, deterministic

from chainrule import nn
from chainrule.explain import derive, explain_step
from chainrule.explain.output import is_canonical
from chainrule.functions import ACTIVATIONS, LOSSES
from chainrule.plan import flatten, lower
from chainrule.reference import ReferenceExecutor


def chapters_network():
    return nn.Sequential(nn.Linear(784, 128, rng=0), nn.ReLU(), nn.Linear(128, 10, rng=1))


# -- multiply-adds ---------------------------------------------------------------------------------


class Counted(np.ndarray):
    """An array that counts the multiply-adds of the matrix products it takes part in."""

    products: list[int] = []  # noqa: RUF012 - one count for all arrays

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        plain = [one.view(np.ndarray) if isinstance(one, Counted) else one for one in inputs]
        if "out" in options:
            options["out"] = tuple(
                one.view(np.ndarray) if isinstance(one, Counted) else one for one in options["out"]
            )
        if ufunc is np.matmul:
            (n, k), (_, m) = plain[0].shape, plain[1].shape
            Counted.products.append(n * k * m)
        result = getattr(ufunc, method)(*plain, **options)
        return result.view(Counted) if isinstance(result, np.ndarray) else result


def counted_run(module, n_rows, n_inputs=None):
    """Multiply-adds of a forward pass, and of the way back, of the reference executor."""
    plan = lower(module, "half_squared_error", n_inputs)
    state = module.state_dict()
    parameters = flatten(state, plan.parameters, np.float64).view(Counted)
    executor = ReferenceExecutor(plan, parameters, flatten(state, plan.buffers, np.float64))
    x, y = data("half_squared_error", n_rows, plan.n_inputs, plan.n_outputs)
    Counted.products = []
    executor.values(x, training=False)
    forward = sum(Counted.products)
    Counted.products = []
    from chainrule.execution import Examples

    executor.gradient(Examples(x, y), training=False)
    return plan, forward, sum(Counted.products) - forward


@pytest.mark.parametrize("name", [*NETWORKS, "the chapter's"])
def test_counts_are_those_of_a_counted_run(name):
    module = chapters_network() if name == "the chapter's" else network(name)
    derivation = derive(module, "half_squared_error")
    plan, forward, backward = counted_run(module, 4)
    assert derivation.forward_multiply_adds == plan.multiply_adds
    assert 4 * derivation.forward_multiply_adds == forward
    # The reference also hands down what nobody reads: below its first parameters.
    unread = sum(one.forward for one in derivation.costs if not one.delta)
    assert 4 * (derivation.backward_multiply_adds + unread) == backward
    assert sum(one.parameters for one in derivation.costs) == plan.n_parameters


def test_only_what_lies_above_a_parameter_hands_down():
    first = [one.delta for one in derive(network("deep"), "half_squared_error").costs]
    assert first == [0, 4 * 3, 3 * 2]
    above_a_normalisation = derive(network("batch norm first"), "half_squared_error").costs
    assert [one.delta for one in above_a_normalisation] == [0, 3 * 2]
    both_read_the_input = derive(network("projection"), "half_squared_error").costs
    assert [one.delta for one in both_read_the_input] == [0, 0, 0]


def test_the_chapters_network_costs_what_the_engines_page_counts():
    derivation = derive(chapters_network(), nn.CrossEntropyLoss())
    total = derivation.forward_multiply_adds + derivation.backward_multiply_adds
    assert 32 * total == 3_252_224 + 40_960 + 3_252_224
    assert derivation.plan.n_parameters == 101_770


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_bytes_are_those_of_the_arrays(name, dtype):
    module = network(name)
    found = derive(module, "half_squared_error").bytes(dtype)
    plan = lower(module, "half_squared_error")
    state = module.state_dict()
    parameters = flatten(state, plan.parameters, dtype)
    executor = ReferenceExecutor(plan, parameters, flatten(state, plan.buffers, dtype))
    values = executor.values(np.ones((5, plan.n_inputs), dtype), training=False)
    assert found.parameters == found.gradients == parameters.nbytes
    assert 5 * found.values == sum(one.nbytes for one in values)
    assert found.total(5) == 2 * parameters.nbytes + 5 * found.values


def test_bytes_of_another_type():
    with pytest.raises(ValueError, match="dtype must be float32 or float64; got int64"):
        derive(network("deep"), "half_squared_error").bytes("int64")


# -- shapes ----------------------------------------------------------------------------------------


def arrays_of(step):
    """The arrays of a step by the names that a derivation gives them."""
    found = {"X": step.x, "Y": step.targets, "Ŷ": step.prediction, "ℓ": step.losses[:, None]}
    for one in step.layers:
        l = one.layer.number
        found |= {f"Z{l}": one.z, f"Δ{l}": one.delta}
        if one.layer.activation is not None:
            found[f"H{l}"] = one.h
        letters = {"weight": "γ", "bias": "β"} if one.normalisation else {"weight": "W", "bias": "b"}
        for name in one.parameters:
            found |= {f"{letters[name]}{l}": one.parameters[name]}
            found |= {f"∂ℒ/∂{letters[name]}{l}": one.gradients[name]}
        if one.normalisation is not None:
            each = one.normalisation
            found |= {f"μ{l}": each.mean, f"v{l}": each.variance, f"Ĥ{l}": each.normal, f"G{l}": each.below}
    return found


def check_shapes(module, x, y, n_inputs):
    step = explain_step(module.eval(), x, y, "half_squared_error", 0.1)
    shapes = derive(module, "half_squared_error", n_inputs).shapes
    assert {name: one.shape for name, one in arrays_of(step).items()} == {
        name: tuple(len(x) if size == "n" else size for size in shape) for name, shape in shapes.items()
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_are_those_of_the_arrays(name):
    check_shapes(network(name), *data("half_squared_error", 5, 3, 2), 3)


@settings(deterministic, max_examples=20)
@given(architectures())
def test_shapes_of_any_network(architecture):
    module, n_inputs = architecture
    n_outputs = lower(module, "half_squared_error", n_inputs).n_outputs
    check_shapes(module, *data("half_squared_error", 7, n_inputs, n_outputs), n_inputs)


def test_products_in_the_text_fit():
    """The inner sizes of every product of shapes agree, and the outer ones are the result's."""
    derivation = derive(chapters_network(), nn.CrossEntropyLoss())
    found = re.findall(r"\((\w+), (\w+)\) = \(*\((\w+), (\w+)\) \((\w+), (\w+)\)", derivation.to_text())
    assert len(found) == 5
    for rows, columns, a, b, c, d in found:
        assert b == c
        assert (rows, columns) == (a, d)


# -- words -----------------------------------------------------------------------------------------


def said(*arguments):
    return " ".join(derive(*arguments).to_text().split())


def test_the_derivation_of_the_chapters_network():
    text = said(chapters_network(), nn.CrossEntropyLoss())
    for words in (
        "one row an example, n rows, and the loss is their mean",
        "(1) Z1 = X W1ᵀ + b1 (n, 128) = (n, 784) (784, 128) + (128,)",
        "(2) H1 = relu(Z1) (n, 128)",
        "(2) relu(z) = max(0, z)",
        "(2) Ŷ = softmax(Z2)",
        "(4) Δ2 = (Ŷ - T) / n (n, 10)",
        "(6) ∂ℒ/∂W2 = Δ2ᵀ H1 (10, 128) = (10, n) (n, 128)",
        "(7) ∂ℒ/∂b2 = sum_rows(Δ2) (10,)",
        "(5) relu'(z) = 1[z > 0]",
        "(5) Δ1 = (Δ2 W2) ⊙ relu'(Z1) (n, 128)",
        "101,632 forward and 102,912 back",
        "float32 407,080 407,080 4,200",
        "float64 814,160 814,160 8,400",
    ):
        assert words in text


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_slope_of_every_activation_is_written_out(name):
    text = said(
        nn.Sequential(linear(3, 4, 0), nn.activation_module(name), linear(4, 2, 1)), "half_squared_error"
    )
    start = ACTIVATIONS[name].derivative_formula.replace("alpha", f"{ACTIVATIONS[name].default_alpha:g}")
    start = start.split(", ")[0]
    assert re.search(rf"\(5\) {name}'\(z\) = \(?{re.escape(start)}", text)
    assert f"(5) Δ1 = (Δ2 W2) ⊙ {name}'(Z1)" in text


CANONICAL = {"half_squared_error", "softmax_cross_entropy", "binary_cross_entropy", "poisson"}
OTHERS = {"absolute_error", "huber", "quantile"}


@pytest.mark.parametrize("name", LOSSES)
def test_the_last_error_signal_of_every_loss(name):
    record = LOSSES[name]
    rng = np.random.default_rng(0)
    z = rng.normal(scale=3.0, size=(20, 3))
    rows = rng.dirichlet(np.ones(3), size=20)
    holds = np.allclose(record.gradient(z, rows, record.setting), record.link(z) - rows)
    assert is_canonical(record) == holds
    if name in CANONICAL | OTHERS:
        assert holds == (name in CANONICAL)
    text = said(network("deep"), name)
    letter = "T" if record.class_row else "Y"
    if holds:
        assert f"(4) Δ3 = (Ŷ - {letter}) / n" in text
        assert f"because {record.link_name} with {name} is a canonical pair" in text
    else:
        assert "(3) Δ3 = (" in text
        assert f"because {name} with the link {record.link_name} is no canonical pair" in text
    assert (f"Ŷ = {record.link_name}(Z3)" in text) == (record.link_name != "identity")


def test_rules_of_normalisations_dropout_and_residual_connections():
    text = said(network("batch norm"), "half_squared_error")
    assert "(1*) Ĥ2 = (Z1 - μ2) / sqrt(v2 + 1e-05) (n, 4)" in text
    assert "(5*) G2 = (∂ℒ/∂Ĥ2 - mean_rows(∂ℒ/∂Ĥ2) - Ĥ2 ⊙ mean_rows(∂ℒ/∂Ĥ2 ⊙ Ĥ2)) / sqrt(v2 + 1e-05)" in text
    assert "(6*) ∂ℒ/∂γ2 = sum_rows(Δ2 ⊙ Ĥ2)" in text
    assert "With the running averages of evaluation, which are constants, both are absent." in text
    text = said(network("layer norm"), "half_squared_error")
    assert "- Ĥ2 ⊙ mean_columns(∂ℒ/∂Ĥ2 ⊙ Ĥ2)) / sqrt(v2 + 1e-05)" in text
    text = said(network("dropout"), "half_squared_error")
    assert "(1*) Z2 = 1.429 M2 ⊙ H1" in text
    assert "(5) Δ1 = (1.429 M2 ⊙ Δ2) ⊙ tanh'(Z1)" in text
    assert "In evaluation Z2 = H1." in text
    text = said(network("residual"), "half_squared_error")
    assert "(1*) Z3 = H1 + H2" in text
    assert "(5) Δ1 = (Δ2 W2 + Δ3) ⊙ tanh'(Z1)" in text


def test_the_rule_of_batch_normalisation_is_its_derivative():
    """G as it is written, against finite differences of the forward formulas."""
    rng = np.random.default_rng(1)
    h, weights, gamma, epsilon = rng.normal(size=(6, 3)), rng.normal(size=(6, 3)), rng.normal(size=3), 1e-2

    def normal(h):
        return (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + epsilon)

    d_normal = weights * gamma
    above = d_normal - d_normal.mean(axis=0) - normal(h) * (d_normal * normal(h)).mean(axis=0)
    written = above / np.sqrt(h.var(axis=0) + epsilon)
    for index in np.ndindex(h.shape):
        up, down = h.copy(), h.copy()
        up[index] += 1e-6
        down[index] -= 1e-6
        difference = ((normal(up) - normal(down)) * gamma * weights).sum() / 2e-6
        assert written[index] == pytest.approx(difference, rel=1e-5, abs=1e-7)


def test_dropping_everything():
    text = said(nn.Sequential(linear(3, 2, 0), nn.Dropout(1.0), linear(2, 1, 0)), "half_squared_error")
    assert "(1*) Z2 = 0 M2 ⊙ Z1" in text


def test_arguments():
    with pytest.raises(ValueError, match="n_inputs is needed"):
        derive(nn.Sequential(nn.ReLU()), "half_squared_error")
    assert derive(nn.Sequential(nn.ReLU()), "half_squared_error", 3).forward_multiply_adds == 0
    with pytest.raises(TypeError, match="module must be a Module of chainrule.nn; got str"):
        derive("784,128,10", "half_squared_error")
    with pytest.raises(ValueError, match="'nonsense'"):
        derive(network("deep"), "nonsense")
    assert (
        repr(derive(chapters_network(), "half_squared_error")) == "Derivation(layers=2, parameters=101,770)"
    )
