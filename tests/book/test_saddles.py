"""Signs of eigenvalues, critical points, saddles to leave."""

import numpy as np
import pytest

from chainrule.book.experiments.saddles import escape, find_critical_points, rank_correlation
from chainrule.book.experiments.same_signs import (
    DEAN_MAJUMDAR,
    counted_share,
    gaussian_orthogonal,
    same_sign_shares,
    same_signs,
)


def test_the_ensemble_has_its_variances():
    H = gaussian_orthogonal(4, 20_000, np.random.default_rng(0))
    assert np.array_equal(H, H.swapaxes(1, 2))
    variances = H.var(axis=0)
    assert np.abs(np.diag(variances) - 2).max() < 0.1
    assert np.abs(variances[~np.eye(4, dtype=bool)] - 1).max() < 0.05


def test_the_share_of_two_dimensions_is_known():
    exact = 1 - 1 / np.sqrt(2)
    assert counted_share(2, 200_000, seed=0) == pytest.approx(exact, abs=0.005)
    assert same_sign_shares(2, 50_000, seed=0)[1] == pytest.approx(exact, abs=0.005)


def test_grown_matrices_agree_with_counted_ones():
    grown = np.mean([same_sign_shares(4, 20_000, seed) for seed in range(4)], axis=0)
    counted = [counted_share(d, 200_000, seed=d) for d in (3, 4)]
    assert grown[2:] == pytest.approx(counted, rel=0.1)


def test_the_share_falls_like_a_gaussian():
    found = same_signs(largest=10, n=4000, seeds=range(3), counted_to=2, n_counted=100)
    assert found.quadratic == pytest.approx(np.full(3, DEAN_MAJUMDAR), abs=0.03)


@pytest.mark.parametrize(("largest", "n"), [(0, 5), (5, 0)])
def test_sizes_must_be_positive(largest, n):
    with pytest.raises(ValueError, match="largest and n must be at least 1"):
        same_sign_shares(largest, n, seed=0)


def test_critical_points_have_no_gradient_and_are_found_once():
    found = find_critical_points(0, n_starts=30, n_steps=80, descent=200)
    assert len(found.loss) >= 3
    assert found.gradient_norm.max() < 1e-8
    assert found.n_parameters == 13
    assert found.index.min() >= 0
    assert len({(round(loss, 5), index) for loss, index in zip(found.loss, found.index, strict=True)}) > 2


def test_descent_on_all_examples_stays_at_the_saddle():
    found = escape([0, 1], n_steps=400)
    assert np.abs(found.whole - np.log(2)).max() < 1e-9
    assert np.abs(found.twins - np.log(2)).max() < 1e-9
    assert found.batches[:, -1].min() < 0.65


def test_rank_correlation():
    assert rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([3, 2, 1])) == pytest.approx(-1)
    assert np.isnan(rank_correlation(np.array([1.0, 1.0]), np.array([0, 1])))
