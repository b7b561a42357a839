"""Lanczos' processes on matrices whose spectra are known."""

import numpy as np
import pytest

from chainrule.health.lanczos import extreme_eigenvalues, golub_kahan, lanczos


def goe(size, seed):
    """A matrix of the Gaussian orthogonal ensemble, its spectrum Wigner's semicircle on [-2, 2]."""
    drawn = np.random.default_rng(seed).standard_normal((size, size))
    return (drawn + drawn.T) / np.sqrt(2 * size)


def test_all_steps_give_all_eigenvalues_and_their_weights():
    H = goe(30, 0)
    start = np.random.default_rng(1).standard_normal(30)
    values, weights, residuals = lanczos(lambda v: H @ v, start, 30).ritz()
    expected, vectors = np.linalg.eigh(H)
    np.testing.assert_allclose(values, expected, atol=1e-12)
    np.testing.assert_allclose(weights, (vectors.T @ start / np.linalg.norm(start)) ** 2, atol=1e-12)
    assert residuals.max() < 1e-10


def test_the_quadrature_is_exact_for_polynomials():
    """m nodes integrate degree 2m - 1 exactly: sum of weights times θ^k is vᵀ H^k v."""
    H, v = goe(50, 2), np.random.default_rng(3).standard_normal(50)
    v /= np.linalg.norm(v)
    values, weights, _ = lanczos(lambda x: H @ x, v, 6).ritz()
    for power in range(12):
        assert weights @ values**power == pytest.approx(v @ np.linalg.matrix_power(H, power) @ v, abs=1e-12)
    assert weights @ values**12 != pytest.approx(v @ np.linalg.matrix_power(H, 12) @ v, abs=1e-9)


def test_an_invariant_space_ends_the_process():
    H = np.diag(np.repeat([2.0, -1.0], [6, 4]))
    values, weights, residuals = lanczos(lambda v: H @ v, np.ones(10), 10).ritz()
    np.testing.assert_allclose(values, [-1.0, 2.0], atol=1e-14)
    np.testing.assert_allclose(weights, [0.4, 0.6], atol=1e-14)
    assert not residuals.any()
    nothing = lanczos(lambda v: 0 * v, np.ones(10), 10)
    assert nothing.ritz()[0].tolist() == [0.0]


def test_orthogonality_survives_converged_eigenvalues():
    """An outlier is found at once, and without reorthogonalisation found again and again."""
    H = np.diag(np.concatenate([np.linspace(0, 1, 199), [1e4]]))
    found = extreme_eigenvalues(lambda v: H @ v, 200, 3, 120, np.random.default_rng(0))
    assert found.top[0] == pytest.approx(1e4, rel=1e-13)
    assert (found.top[1:] <= 1 + 1e-9).all()


@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e120])
def test_both_ends_within_the_residuals(scale):
    H = scale * goe(400, 4)
    expected = np.linalg.eigvalsh(H)
    found = extreme_eigenvalues(lambda v: H @ v, 400, 4, 60, np.random.default_rng(5))
    assert found.n_steps == 60
    nearest = np.abs(expected[:, None] - np.concatenate([found.top, found.lowest])).min(axis=0)
    residuals = np.concatenate([found.top_residuals, found.lowest_residuals])
    assert (nearest <= residuals + 1e-13 * scale).all()
    assert (np.diff(found.top) < 0).all()
    assert (np.diff(found.lowest) > 0).all()
    assert found.top[0] == pytest.approx(expected[-1], rel=1e-3)


def test_it_stops_when_the_values_are_found():
    H = np.diag(np.concatenate([[-50.0, -40.0], np.linspace(-1, 1, 300), [60.0, 80.0]]))
    found = extreme_eigenvalues(lambda v: H @ v, 304, 2, 304, np.random.default_rng(0))
    np.testing.assert_allclose(found.top, [80.0, 60.0], rtol=1e-12)
    np.testing.assert_allclose(found.lowest, [-50.0, -40.0], rtol=1e-12)
    assert found.n_steps < 60


def test_eigenvalues_that_occur_more_than_once():
    H = np.diag(np.repeat([5.0, 1.0, 0.0], [3, 2, 45]))
    found = extreme_eigenvalues(lambda v: H @ v, 50, 4, 50, np.random.default_rng(0))
    np.testing.assert_allclose(found.top, [5.0, 5.0, 5.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(found.lowest, 0.0, atol=1e-12)


def test_more_values_than_there_are():
    found = extreme_eigenvalues(lambda v: 3.0 * v, 2, 5, 1, np.random.default_rng(0))
    np.testing.assert_allclose(found.top, [3.0, 3.0], atol=1e-14)


def products(J):
    return lambda v: np.einsum("nij,nj->ni", J, v), lambda u: np.einsum("nij,ni->nj", J, u)


@pytest.mark.parametrize("shape", [(3, 60, 90), (2, 90, 60), (1, 50, 50)])
@pytest.mark.parametrize("scale", [1.0, 1e-120])
def test_golub_kahan_finds_the_leading_values(shape, scale):
    J = scale * np.random.default_rng(6).standard_normal(shape)
    found = golub_kahan(*products(J), shape, 4, np.random.default_rng(7))
    expected = np.linalg.svd(J, compute_uv=False)
    np.testing.assert_allclose(found.values, expected[:, :4], rtol=1e-9)
    assert (np.abs(found.values - expected[:, :4]) <= found.residuals + 1e-12 * scale * 20).all()


def test_golub_kahan_before_it_has_converged():
    """Values that lie close together are not told apart in fifty steps, and the residual says so."""
    J = np.zeros((1, 400, 500))
    J[0, range(400), range(400)] = np.linspace(0.9, 1.0, 400)
    found = golub_kahan(*products(J), J.shape, 1, np.random.default_rng(7))
    error = 1.0 - found.values[0, 0]
    assert 1e-9 < error <= found.residuals[0, 0] < 0.01  # a subspace never sees more than the norm


def test_golub_kahan_of_few_ranks_none_and_nothing_finite():
    rng = np.random.default_rng(8)
    J = rng.standard_normal((4, 40, 2)) @ rng.standard_normal((4, 2, 50))
    J[1] = 0.0
    J[2, 3, 4] = np.nan
    found = golub_kahan(*products(J), J.shape, 5, np.random.default_rng(9))
    for number in (0, 3):
        np.testing.assert_allclose(
            found.values[number], np.linalg.svd(J[number], compute_uv=False)[:5], atol=1e-12
        )
    assert not found.values[1].any()
    assert np.isnan(found.values[2]).all()
    assert np.isnan(found.residuals[2]).all()


def test_golub_kahan_of_a_value_that_occurs_often():
    J = np.zeros((1, 30, 30))
    J[0] = np.diag([4.0] * 3 + [1.0] * 27)
    found = golub_kahan(*products(J), J.shape, 4, np.random.default_rng(0))
    np.testing.assert_allclose(found.values, [[4.0, 4.0, 4.0, 1.0]], atol=1e-12)
