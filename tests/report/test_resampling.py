"""Resamples, percentile intervals, Wilson's interval."""

import numpy as np
import pytest
from scipy import stats

from chainrule.report.resampling import bootstrap, resample_weights, wilson_interval


def test_a_resample_draws_as_many_rows_as_there_are():
    weights = np.concatenate(list(resample_weights(7, 50, seed=0)))
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert len({tuple(row) for row in weights}) > 40


def test_resamples_do_not_depend_on_the_size_of_a_block(monkeypatch):
    whole = np.concatenate(list(resample_weights(11, 30, seed=5)))
    monkeypatch.setattr("chainrule.report.resampling._MOST_WEIGHTS", 40)
    blocks = list(resample_weights(11, 30, seed=5))
    assert len(blocks) == 10
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_the_interval_of_a_mean_is_that_of_theory(rng):
    numbers = rng.normal(size=400)
    found = bootstrap(lambda weights: {"mean": weights @ numbers / 400}, 400, n_resamples=4000)["mean"]
    half = 1.96 * numbers.std() / 20
    assert found.value == pytest.approx(numbers.mean())
    assert found.low == pytest.approx(numbers.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(numbers.mean() + half, abs=0.1 * half)


def test_the_seed_decides(rng):
    numbers = rng.normal(size=50)

    def interval(seed):
        return bootstrap(lambda weights: {"m": weights @ numbers}, 50, n_resamples=100, seed=seed)["m"]

    assert interval(1) == interval(1)
    assert interval(1) != interval(2)


def test_what_is_not_defined_is_left_out_and_its_resamples_ignored():
    def measure(weights):
        nothing = np.full(len(weights), np.nan)
        return {"never": nothing, "sometimes": np.where(weights[:, 0] > 0, 1.0, np.nan)}

    found = bootstrap(measure, 3, n_resamples=50)
    assert set(found) == {"sometimes"}
    assert (found["sometimes"].low, found["sometimes"].high) == (1, 1)


def test_progress_counts_every_resample():
    done = []
    bootstrap(lambda weights: {"n": weights.sum(axis=1)}, 4, n_resamples=10, progress=done.append)
    assert sum(done) == 10


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (5, 5), (1, 3), (40, 90)])
def test_wilson_is_scipys(successes, trials):
    oracle = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    np.testing.assert_allclose(wilson_interval(successes, trials), oracle, atol=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_share(successes, trials):
    with pytest.raises(ValueError, match="successes must be from 0 to trials"):
        wilson_interval(successes, trials)


def test_bootstrap_refuses_no_rows_and_no_confidence():
    with pytest.raises(ValueError, match="n_rows must be 1 or more, got 0"):
        bootstrap(lambda weights: {}, 0)
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, got 1"):
        bootstrap(lambda weights: {}, 3, confidence=1)
