"""The Hessian's eigenvalues, trace and density against closed forms, dense Hessians and random matrices."""

import importlib

import numpy as np
import pytest
from tests.health.networks import CLASSES, RECORDS, TARGETS, X, differences, every_kind, linear, mlp, snapshot
from tests.health.test_lanczos import goe

from chainrule import nn
from chainrule.exports import to_torch
from chainrule.health import Differentiable, curvature
from chainrule.health.curvature import hutch_plus_plus, spectral_density

# The function of the same name stands before the module in the package.
MODULE = importlib.import_module("chainrule.health.curvature")

WIDE = np.random.default_rng(11).standard_normal((60, 40)) * np.linspace(0.2, 2, 40)


def quadratic(width_out):
    """A linear model of 40 inputs: its Hessian is XᵀX / n for each output."""
    return linear(40, width_out, 0, bias=False), WIDE, np.zeros((60, width_out))


def semicircle(t):
    return np.sqrt(np.maximum(4 - t**2, 0)) / (2 * np.pi)


# -- closed forms --------------------------------------------------------------------------------------


def test_a_quadratic_loss_exactly():
    module, x, y = quadratic(1)
    found = curvature(module, x, y, nn.HalfSquaredErrorLoss())
    expected = np.linalg.eigvalsh(x.T @ x / 60)
    assert found.is_exact
    assert found.n_parameters == found.n_products == 40
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-13)
    np.testing.assert_allclose(found.top, expected[:-6:-1], atol=1e-13)
    np.testing.assert_allclose(found.lowest, expected[:5], atol=1e-13)
    assert not found.top_residuals.any()
    assert found.trace == pytest.approx((x**2).sum() / 60)
    assert found.trace_standard_error == found.spectrum.negative_share_standard_error == 0
    assert found.index == 0
    assert found.largest_stable_learning_rate == pytest.approx(2 / expected[-1])
    gradient = x.T @ (x @ module.weight.data.T) / 60
    assert found.gradient_norm_squared == pytest.approx((gradient**2).sum())
    assert found.loss == pytest.approx(0.5 * ((x @ module.weight.data.T) ** 2).mean())
    assert np.trapezoid(found.spectrum.density, found.spectrum.grid) == pytest.approx(1.0)


def test_a_quadratic_loss_by_products_alone():
    """1200 parameters: each eigenvalue of XᵀX / n occurs 30 times."""
    module, x, y = quadratic(30)
    found = curvature(module, x, y, nn.HalfSquaredErrorLoss(), n_values=2)
    expected = np.linalg.eigvalsh(x.T @ x / 60)
    assert not found.is_exact
    assert found.eigenvalues is None
    assert found.n_parameters == 1200
    np.testing.assert_allclose(found.top[0], expected[-1], rtol=1e-10)
    np.testing.assert_allclose(found.lowest[0], expected[0], atol=1e-10)
    assert abs(found.trace - 30 * expected.sum()) < 4 * found.trace_standard_error
    assert 0 < found.trace_standard_error < 0.02 * found.trace
    assert found.index == 0
    spectrum = found.spectrum
    assert spectrum.weights.sum() == pytest.approx(1.0)
    assert spectrum.weights @ spectrum.nodes == pytest.approx(expected.mean(), rel=0.05)
    assert (spectrum.density >= 0).all()


def test_a_saddle_and_its_index():
    """ℒ = ½ Σ sᵢ wᵢ² by a loss that reads a linear model's outputs: the eigenvalues are s."""
    signs = np.array([[-3.0, -1.0, 0.0, 2.0, 5.0]])
    module = linear(1, 5, 0, bias=False)
    found = curvature(module, np.ones((1, 1)), signs, lambda z, y: 0.5 * (y * z * z).sum())
    np.testing.assert_allclose(found.eigenvalues, signs[0], atol=1e-14)
    assert found.index == pytest.approx(0.4)
    assert found.spectrum.nodes.tolist() == found.eigenvalues.tolist()
    np.testing.assert_allclose(found.top, [5, 2, 0, -1, -3], atol=1e-14)
    module.weight = np.zeros((5, 1))
    assert (
        curvature(module, np.ones((1, 1)), signs, lambda z, y: (y * z * z).sum()).gradient_norm_squared == 0
    )


def test_a_loss_without_curvature():
    found = curvature(linear(5, 3, 0), X, TARGETS, lambda z, y: z.sum())
    assert not found.eigenvalues.any()
    assert found.index == found.trace == 0
    assert found.largest_stable_learning_rate == np.inf
    assert np.trapezoid(found.spectrum.density, found.spectrum.grid) == pytest.approx(1.0)


# -- dense Hessians ------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", RECORDS)
def test_against_finite_differences_of_the_gradient(record):
    network = mlp(record, (5, 3, 3))
    found = curvature(network, X, CLASSES, nn.CrossEntropyLoss())
    model = Differentiable(network, nn.CrossEntropyLoss())
    hessian = differences(lambda w: model.gradient(w, X, CLASSES), model.parameters)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh((hessian + hessian.T) / 2), atol=1e-7)
    assert found.index == pytest.approx((found.eigenvalues < -1e-8 * found.top[0]).mean())


def test_products_alone_agree_with_the_dense_hessian(monkeypatch):
    network = mlp("tanh", (5, 8, 6, 3))
    exact = curvature(network, X, CLASSES, nn.CrossEntropyLoss())
    monkeypatch.setattr(MODULE, "DENSE_UP_TO", 10)
    found = curvature(network, X, CLASSES, nn.CrossEntropyLoss(), n_steps=100, n_vectors=6)
    np.testing.assert_allclose(found.top, exact.top, rtol=1e-8)
    np.testing.assert_allclose(found.lowest, exact.lowest, rtol=1e-8)
    assert abs(found.trace - exact.trace) < 4 * found.trace_standard_error + 1e-9
    error = found.spectrum.negative_share_standard_error
    assert abs(found.index - exact.index) < 4 * error
    assert found.loss == exact.loss
    assert found.gradient_norm_squared == exact.gradient_norm_squared


def test_torch_gives_the_same(torch, monkeypatch):
    network = every_kind()
    for dense_up_to in (1024, 10):
        monkeypatch.setattr(MODULE, "DENSE_UP_TO", dense_up_to)
        mine = curvature(network, X, CLASSES, nn.CrossEntropyLoss(), n_steps=20, n_values=3)
        theirs = curvature(to_torch(network), X, CLASSES, torch.nn.CrossEntropyLoss(), n_steps=20, n_values=3)
        assert mine.loss == pytest.approx(theirs.loss, rel=1e-12)
        assert mine.gradient_norm_squared == pytest.approx(theirs.gradient_norm_squared, rel=1e-10)
        np.testing.assert_allclose(mine.top, theirs.top, rtol=1e-6)
        np.testing.assert_allclose(mine.lowest, theirs.lowest, rtol=1e-6, atol=1e-12)
        assert mine.trace == pytest.approx(theirs.trace, rel=1e-8)
        np.testing.assert_allclose(mine.spectrum.density, theirs.spectrum.density, rtol=1e-3, atol=1e-3)


# -- random matrices -----------------------------------------------------------------------------------


def test_the_density_of_the_gaussian_orthogonal_ensemble_is_a_semicircle():
    H = goe(800, 0)
    found = spectral_density(lambda v: H @ v, 800, 10, 60, np.random.default_rng(1))
    assert np.trapezoid(found.density, found.grid) == pytest.approx(1.0)
    distance = np.trapezoid(np.abs(found.density - semicircle(found.grid)), found.grid)
    assert distance < 0.12
    assert found.negative_share == pytest.approx(0.5, abs=4 * found.negative_share_standard_error)
    assert found.negative_share_standard_error < 0.02


def test_the_trace_is_unbiased_and_its_error_honest():
    H = goe(200, 2)
    H = H @ H + np.diag(np.concatenate([[50.0, 20.0], np.zeros(198)]))
    deviations = []
    for seed in range(100):
        trace, error = hutch_plus_plus(lambda v: H @ v, 200, 8, np.random.default_rng(seed))
        deviations.append((trace - np.trace(H)) / error)
    # Student's t with 7 degrees of freedom has a standard deviation of 1.18.
    assert abs(np.mean(deviations)) < 0.5
    assert 0.8 < np.std(deviations) < 1.8


def test_the_trace_of_a_few_directions_is_exact():
    factors = np.random.default_rng(3).standard_normal((100, 4))
    H = factors @ factors.T
    trace, error = hutch_plus_plus(lambda v: H @ v, 100, 5, np.random.default_rng(4))
    assert trace == pytest.approx(np.trace(H), rel=1e-12)
    assert error < 1e-9
    assert hutch_plus_plus(lambda v: 2 * v, 3, 5, np.random.default_rng(4)) == (pytest.approx(6.0), 0.0)


# -- the rest ------------------------------------------------------------------------------------------


def test_one_seed_gives_one_result():
    module, x, y = quadratic(30)
    first, again, other = (
        curvature(module, x, y, nn.MSELoss(), n_vectors=2, n_steps=5, seed=seed) for seed in (1, 1, 2)
    )
    for name in ("top", "lowest", "trace", "trace_standard_error", "n_products"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    np.testing.assert_array_equal(first.spectrum.density, again.spectrum.density)
    assert first.trace != other.trace
    assert first.n_products == 5 + 2 * (3 + 5)


@pytest.mark.parametrize("of", ["chainrule", "torch"])
def test_the_model_is_left_as_it_is(of, request):
    network, loss = every_kind(), nn.CrossEntropyLoss()
    if of == "torch":
        loss = request.getfixturevalue("torch").nn.CrossEntropyLoss()
        network = to_torch(network)
    before = snapshot(network)
    curvature(network, X, CLASSES, loss)
    with pytest.raises((ValueError, IndexError), match="."):
        curvature(network, X, CLASSES + 7, loss)
    assert snapshot(network) == before


def test_a_loss_that_is_not_finite():
    network = mlp("relu")
    network[2].weight.data[0, 0] = np.nan
    with pytest.raises(
        ValueError, match="module must have a finite loss and gradient on X and y; the loss is nan"
    ):
        curvature(network, X, CLASSES, nn.CrossEntropyLoss())


def test_errors_name_the_argument():
    arguments = mlp(), X, CLASSES, nn.CrossEntropyLoss()
    for name, low in (("n_values", 1), ("n_vectors", 2), ("n_steps", 2)):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least {low}; got 0"):
            curvature(*arguments, **{name: 0})
    with pytest.raises(ValueError, match="loss must be given"):
        curvature(mlp(), X, CLASSES, None)
