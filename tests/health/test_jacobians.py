"""Spectra of Jacobians against closed forms, finite differences and PyTorch; the flow of δ against (5)."""

import itertools

import numpy as np
import pytest
from tests.health.networks import (
    CLASSES,
    RECORDS,
    TARGETS,
    X,
    differences,
    every_kind,
    linear,
    mlp,
    snapshot,
)
from threadpoolctl import threadpool_info

from chainrule import nn
from chainrule.exports import to_torch
from chainrule.functions import get_activation
from chainrule.health import jacobian_spectrum
from chainrule.health.differentiable import Differentiable
from chainrule.health.rows import RowJacobians


def singular(matrix):
    return np.linalg.svd(matrix, compute_uv=False)


def deep_linear(widths, seed=0, scale=1.0):
    """Linear layers whose weights are normal with variance scale² / n_in."""
    rng = np.random.default_rng(seed)
    layers = []
    for width_in, width_out in itertools.pairwise(widths):
        layer = linear(width_in, width_out, 0, bias=False)
        layer.weight = scale * rng.standard_normal((width_out, width_in)) / np.sqrt(width_in)
        layers.append(layer)
    return nn.Sequential(*layers)


# -- known answers -------------------------------------------------------------------------------------


def test_of_a_linear_network_it_is_the_product_of_the_weights():
    network = deep_linear((5, 8, 7, 3))
    found = jacobian_spectrum(network, X)
    weights = [layer.weight.data for layer in network]
    for spectrum, weight in zip(found.layers, weights, strict=True):
        assert spectrum.exact
        assert spectrum.shape == weight.shape
        np.testing.assert_allclose(spectrum.singular_values, [singular(weight)] * 8, atol=1e-13)
        assert not spectrum.residuals.any()
    product = weights[2] @ weights[1] @ weights[0]
    np.testing.assert_allclose(found.end_to_end.singular_values, [singular(product)] * 8, atol=1e-13)
    expected = singular(product)
    np.testing.assert_allclose(found.end_to_end.condition_number, expected[0] / expected[-1], rtol=1e-10)
    np.testing.assert_allclose(found.end_to_end.geometric_mean, np.prod(expected) ** (1 / 3), rtol=1e-10)
    np.testing.assert_allclose(found.end_to_end.spectral_norm, expected[0], rtol=1e-12)
    np.testing.assert_allclose(found.end_to_end.mean_square, (product**2).sum() / 3, rtol=1e-12)
    np.testing.assert_array_equal(found.end_to_end.rank, 3)


def test_gaussian_weights_obey_marchenko_and_pastur():
    """σ of a square matrix of variance 1/d: quarter circle on [0, 2], mean 8/(3π), mean square 1."""
    found = jacobian_spectrum(deep_linear((400, 400)), np.zeros((1, 400)), exact_up_to=400)
    values = found.layers[0].singular_values[0]
    assert values[0] == pytest.approx(2.0, abs=0.05)
    assert values.mean() == pytest.approx(8 / (3 * np.pi), abs=0.005)
    assert (values**2).mean() == pytest.approx(1.0, abs=0.01)
    for share in (0.25, 0.5, 0.75):
        edge = np.quantile(values, share)
        quarter_circle = (edge * np.sqrt(4 - edge**2) / 2 + 2 * np.arcsin(edge / 2)) / np.pi
        assert quarter_circle == pytest.approx(share, abs=0.01)


def test_a_residual_block_has_values_around_one():
    block = nn.Residual(linear(5, 5, 0))
    block.body.weight = 1e-3 * np.eye(5)
    spectrum = jacobian_spectrum(nn.Sequential(block, linear(5, 2, 1)), X).layers[0]
    np.testing.assert_allclose(spectrum.singular_values, 1.001, rtol=1e-12)
    np.testing.assert_allclose(spectrum.condition_number, 1.0, rtol=1e-12)


def test_dead_units_take_rank():
    network = nn.Sequential(linear(5, 5, 0), nn.ReLU())
    network[0].bias = [-1e6, 1e6, 1e6, 1e6, 1e6]
    layer = jacobian_spectrum(network, X).layers[0]
    np.testing.assert_array_equal(layer.rank, 4)
    np.testing.assert_array_equal(layer.geometric_mean, 0.0)
    np.testing.assert_array_equal(layer.condition_number, np.inf)
    network[0].bias = np.full(5, -1e6)
    nothing = jacobian_spectrum(network, X).layers[0]
    assert not nothing.singular_values.any()
    np.testing.assert_array_equal(nothing.rank, 0)
    np.testing.assert_array_equal(nothing.condition_number, np.inf)


@pytest.mark.parametrize("record", RECORDS)
def test_against_finite_differences(record):
    network = mlp(record)
    found = jacobian_spectrum(network, X, n_samples=3)
    for place, row in enumerate(found.rows):
        J = differences(lambda x: network(x[None]), X[row])
        np.testing.assert_allclose(found.end_to_end.singular_values[place], singular(J), atol=1e-7)
        h = X[row]
        for layer, part in zip(found.layers, (network[0:2], network[2:4], network[4:]), strict=True):
            J = differences(lambda x, _part=part: _part(x[None]), h)
            np.testing.assert_allclose(layer.singular_values[place], singular(J), atol=1e-7)
            h = part(h[None])[0]


def test_both_ways_to_build_a_jacobian():
    for widths in ((3, 40), (40, 3)):
        model = Differentiable(nn.Sequential(linear(*widths, 0), nn.Tanh()))
        x = np.random.default_rng(0).standard_normal((4, widths[0]))
        J = RowJacobians(model.linearized, x, model.outputs(x)).build()
        weight, bias = model.parameters[:120].reshape(widths[::-1]), model.parameters[120:]
        slopes = 1 - np.tanh(x @ weight.T + bias) ** 2
        np.testing.assert_allclose(J, slopes[:, :, None] * weight, atol=1e-13)


# -- large Jacobians -----------------------------------------------------------------------------------


def test_a_large_jacobian_is_known_by_its_leading_values():
    network = mlp("tanh", (30, 40, 25, 35))
    x = np.random.default_rng(1).standard_normal((6, 30))
    exact = jacobian_spectrum(network, x)
    found = jacobian_spectrum(network, x, exact_up_to=10, n_values=3)
    for of_all, leading in zip(
        (*exact.layers, exact.end_to_end), (*found.layers, found.end_to_end), strict=True
    ):
        assert of_all.exact
        assert not leading.exact
        assert leading.singular_values.shape == (6, 3)
        np.testing.assert_allclose(leading.singular_values, of_all.singular_values[:, :3], rtol=1e-8)
        assert (leading.residuals <= 1e-8 * leading.singular_values[:, :1]).all()
        for unknown in (leading.geometric_mean, leading.condition_number, leading.rank, leading.mean_square):
            assert np.isnan(unknown).all()
    assert jacobian_spectrum(network, x, exact_up_to=0).layers[0].singular_values.shape == (6, 8)
    gains, errors = found.flow.gain, found.flow.gain_standard_error
    assert (np.abs(gains - exact.flow.gain) < 4 * errors).all()
    assert (errors < 0.2 * gains).all()
    assert not exact.flow.gain_standard_error.any()


@pytest.mark.parametrize("limit", ["jacobians._AT_ONCE", "rows._ROWS_AT_ONCE"])
def test_samples_in_groups(monkeypatch, limit):
    expected = jacobian_spectrum(mlp(), X)
    monkeypatch.setattr(f"chainrule.health.{limit}", 20)
    found = jacobian_spectrum(mlp(), X)
    np.testing.assert_allclose(
        found.end_to_end.singular_values, expected.end_to_end.singular_values, rtol=1e-12
    )


# -- the flow of δ -------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", RECORDS)
def test_the_flow_is_equation_five(record):
    network = mlp(record)
    sigma = get_activation(record)
    loss = nn.CrossEntropyLoss()
    found = jacobian_spectrum(network, X, CLASSES, loss, n_samples=12)
    W = [None, *(network[k].weight.data for k in (0, 2, 4))]
    b = [None, *(network[k].bias.data for k in (0, 2, 4))]
    h, z = {0: X}, {}
    for l in (1, 2, 3):
        z[l] = h[l - 1] @ W[l].T + b[l]
        h[l] = sigma.value(z[l], sigma.default_alpha)
    exponentials = np.exp(z[3] - z[3].max(axis=1, keepdims=True))
    delta = (exponentials / exponentials.sum(axis=1, keepdims=True) - np.eye(3)[CLASSES]) / 12  # (4)

    def rms(values):
        return np.sqrt((values**2).mean())

    flow = found.flow
    assert flow.source == "loss"
    assert flow.rms[2] == pytest.approx(rms(delta), rel=1e-12)
    for l in (2, 1):
        slopes = sigma.derivative(z[l], sigma.default_alpha)
        pulled = delta @ W[l + 1]
        below = pulled * slopes  # (5)
        assert flow.weight_factor[l - 1] == pytest.approx(rms(pulled) / rms(delta), rel=1e-12)
        assert flow.derivative_factor[l - 1] == pytest.approx(rms(below) / rms(pulled), rel=1e-12)
        assert flow.ratio[l - 1] == pytest.approx(rms(below) / rms(delta), rel=1e-12)
        chi = np.mean([((W[l + 1] * row) ** 2).sum() for row in slopes]) / W[l].shape[0]
        assert flow.gain[l - 1] == pytest.approx(chi, rel=1e-12)
        assert flow.rms[l - 1] == pytest.approx(rms(below), rel=1e-12)
        delta = below
    np.testing.assert_allclose(flow.ratio, flow.weight_factor * flow.derivative_factor, rtol=1e-12)


def test_delta_of_an_output_with_an_activation():
    """δ^(L) = (ŷ − y) ⊙ σ'(z^(L)) where the output is squashed (3)."""
    network = nn.Sequential(linear(5, 4, 0), nn.Tanh(), linear(4, 3, 1), nn.Sigmoid())
    flow = jacobian_spectrum(network, X, TARGETS, nn.HalfSquaredErrorLoss(), n_samples=12).flow
    outputs = network(X)
    delta = (outputs - TARGETS) * outputs * (1 - outputs) / 12
    below = delta @ network[2].weight.data * (1 - network[:2](X) ** 2)
    np.testing.assert_allclose(flow.rms, [np.sqrt((d**2).mean()) for d in (below, delta)], rtol=1e-12)


def test_the_gain_predicts_the_ratio_of_a_random_delta():
    """He's variance 2/n_in with ReLU keeps δ: χ = 1 (section 5); a sigmoid after Xavier loses it."""
    widths, x = (300,) * 6, np.random.default_rng(2).standard_normal((8, 300))
    he = mlp("relu", widths).initialize("he_normal", rng=3)
    flow = jacobian_spectrum(he, x, exact_up_to=300).flow
    assert flow.source == "random"
    np.testing.assert_allclose(flow.gain, 1.0, atol=0.15)
    np.testing.assert_allclose(flow.ratio**2, flow.gain, rtol=0.2)
    xavier = mlp("sigmoid", widths).initialize("glorot_uniform", rng=3)
    flow = jacobian_spectrum(xavier, x, exact_up_to=300).flow
    assert (flow.derivative_factor <= 0.25).all()
    np.testing.assert_allclose(flow.weight_factor, 1.0, atol=0.1)
    assert (flow.gain < 1 / 16 * 1.1).all()


def test_a_delta_too_small_to_square():
    network = deep_linear((5,) * 12, scale=1e-20)
    flow = jacobian_spectrum(network, X).flow
    assert 0 < flow.rms[0] < 1e-200
    np.testing.assert_allclose(flow.rms[:-1] / flow.rms[1:], flow.ratio)
    assert (flow.ratio > 0).all()


def test_normalisation_and_residual_blocks_in_the_flow():
    """Whatever the layers are: χ is the Jacobian from z^(l) to z^(l+1), the ratio that of its transpose."""
    network = every_kind()
    found = jacobian_spectrum(network, X, n_samples=2)
    measured = network.copy().eval()
    for place, row in enumerate(found.rows):
        J = differences(lambda x: measured(x[None]), X[row])
        np.testing.assert_allclose(found.end_to_end.singular_values[place], singular(J), atol=1e-7)
    steps = (measured[1:5], measured[5:7][0:1], None)
    squares = []
    for row in found.rows:
        z = measured[0](X[row][None])[0]
        squares.append((differences(lambda h: steps[0](h[None]), z) ** 2).sum() / 6)
    assert found.flow.gain[0] == pytest.approx(np.mean(squares), rel=1e-6)
    np.testing.assert_allclose(found.flow.ratio, found.flow.weight_factor * found.flow.derivative_factor)


# -- both libraries, and the rest ----------------------------------------------------------------------


def test_torch_gives_the_same(torch):
    network = every_kind()
    mine = jacobian_spectrum(network, X, CLASSES, nn.CrossEntropyLoss())
    theirs = jacobian_spectrum(to_torch(network), X, CLASSES, torch.nn.CrossEntropyLoss())
    np.testing.assert_array_equal(mine.rows, theirs.rows)
    pairs = zip((*mine.layers, mine.end_to_end), (*theirs.layers, theirs.end_to_end), strict=True)
    for one, other in pairs:
        assert (one.name, one.kinds, one.shape) == (other.name, other.kinds, other.shape)
        np.testing.assert_allclose(one.singular_values, other.singular_values, atol=1e-12)
    for name in ("rms", "ratio", "weight_factor", "derivative_factor", "gain"):
        np.testing.assert_allclose(getattr(mine.flow, name), getattr(theirs.flow, name), rtol=1e-10)


def test_a_convolution_against_torch_itself(torch):
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3),
        torch.nn.BatchNorm2d(2),
        torch.nn.ReLU(inplace=True),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 3),
    )
    x = np.random.default_rng(0).standard_normal((4, 1, 6, 6))
    found = jacobian_spectrum(network, x)
    assert [(layer.name, layer.shape) for layer in found.layers] == [("0", (8, 36)), ("5", (3, 8))]
    double = network.double().eval()
    for place, row in enumerate(found.rows):
        J = torch.autograd.functional.jacobian(double, torch.tensor(x[row][None]))
        np.testing.assert_allclose(
            found.end_to_end.singular_values[place], singular(J.numpy().reshape(3, 36)), atol=1e-13
        )


def test_models_that_are_no_chains():
    class Custom(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp()

        def forward(self, x):
            return self.inner(x) * 2.0

    found = jacobian_spectrum(Custom(), X)
    assert found.layers == ()
    assert found.flow is None
    np.testing.assert_allclose(
        found.end_to_end.singular_values,
        2 * jacobian_spectrum(mlp(), X).end_to_end.singular_values,
        rtol=1e-12,
    )


def test_networks_that_are_not_finite():
    network = mlp("relu")
    network[2].weight.data[0, 0] = np.nan
    found = jacobian_spectrum(network, X)
    assert np.isfinite(found.layers[0].singular_values).all()
    assert np.isnan(found.layers[1].singular_values).all()
    assert np.isnan(found.end_to_end.singular_values).all()
    assert np.isnan(found.end_to_end.condition_number).all()
    assert np.isnan(found.flow.ratio[0])
    assert np.isnan(jacobian_spectrum(network, X, exact_up_to=0).layers[1].singular_values).all()


def test_one_seed_gives_one_result():
    network, x = mlp(), np.random.default_rng(0).standard_normal((100, 5))
    first, again, other = (jacobian_spectrum(network, x, exact_up_to=0, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.rows, again.rows)
    np.testing.assert_array_equal(first.end_to_end.singular_values, again.end_to_end.singular_values)
    np.testing.assert_array_equal(first.flow.gain, again.flow.gain)
    assert (first.rows != other.rows).any()
    assert len(set(first.rows)) == 8


def test_the_threads_of_blas_are_put_back():
    def limits():
        return [(one["filepath"], one["num_threads"]) for one in threadpool_info()]

    class Asking(nn.Module):
        def forward(self, x):
            assert {n_threads for _, n_threads in limits()} <= {1}
            return 2 * x

    np.linalg.svd(X)
    before = limits()
    jacobian_spectrum(Asking(), X)
    assert limits() == before


@pytest.mark.parametrize("of", ["chainrule", "torch"])
def test_the_model_is_left_as_it_is(of, request):
    network = every_kind()
    network = network if of == "chainrule" else request.getfixturevalue("torch") and to_torch(network)
    before = snapshot(network)
    jacobian_spectrum(network, X)
    with pytest.raises(Exception, match="."):
        jacobian_spectrum(network, X[:, :2])
    assert snapshot(network) == before


def test_rows_that_depend_on_one_another(torch):
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(5, track_running_stats=False), torch.nn.Linear(5, 2))
    with pytest.raises(ValueError, match="module must compute each row by itself in evaluation mode"):
        jacobian_spectrum(network, X)

    # Outputs that cancel to rounding are no such thing.
    cancelling = linear(5, 1, 0, bias=False)
    cancelling.weight = np.ones((1, 5))
    jacobian_spectrum(cancelling, np.array([[0.1, 0.2, 0.3, -0.5, -0.1]] * 3) * np.array([[1], [7], [3]]))

    class Total(nn.Module):
        def forward(self, x):
            return x.sum()

    with pytest.raises(ValueError, match=r"module must give one row an example; got \(\) of 8 rows"):
        jacobian_spectrum(Total(), X)


def test_errors_name_the_argument():
    network = mlp()
    with pytest.raises(ValueError, match="y and loss must be given together"):
        jacobian_spectrum(network, X, CLASSES)
    with pytest.raises(
        ValueError, match=r"y must have one row for each of the 12 rows of X; got shape \(2,\)"
    ):
        jacobian_spectrum(network, X, CLASSES[:2], nn.CrossEntropyLoss())
    with pytest.raises(ValueError, match="n_samples must be an integer of at least 1; got 0"):
        jacobian_spectrum(network, X, n_samples=0)
    with pytest.raises(TypeError, match="n_values must be an integer of at least 1; got 2.5"):
        jacobian_spectrum(network, X, n_values=2.5)
    with pytest.raises(ValueError, match="exact_up_to must be an integer of at least 0; got -1"):
        jacobian_spectrum(network, X, exact_up_to=-1)
    with pytest.raises(TypeError, match="seed must be an integer of at least 0; got None"):
        jacobian_spectrum(network, X, seed=None)
