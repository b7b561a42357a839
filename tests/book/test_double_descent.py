"""Double descent's experiments, against closed forms and small cases that are known."""

import numpy as np
import pytest

from chainrule.book.experiments.double_descent import (
    digits_task,
    least_norm,
    peak_of,
    random_features,
    readout_by_descent,
    trained_networks,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_without_a_ridge_it_is_the_pseudoinverse(shape):
    H, Y = RNG.normal(size=shape), RNG.normal(size=(shape[0], 3))
    assert least_norm(H, Y)[0] == pytest.approx(np.linalg.pinv(H) @ Y)


def test_a_ridge_solves_the_normal_equations():
    H, Y = RNG.normal(size=(12, 5)), RNG.normal(size=(12, 3))
    [found] = least_norm(H, Y, (0.3,))
    assert found == pytest.approx(np.linalg.solve(H.T @ H + 0.3 * np.eye(5), H.T @ Y))


def test_gradient_descent_from_zero_finds_the_least_norm():
    assert readout_by_descent() < 1e-6


def test_random_features_interpolate_from_as_many_features_as_samples_on():
    found = random_features(30, (15, 40, 120), noises=(0.2,), seeds=range(2))
    assert (found.train_squared[..., 0] > 1e-3).all()
    assert (found.train_squared[..., 1:] < 1e-12).all()


def test_a_ridge_takes_the_peak_away():
    widths = (10, 40, 400)
    found = random_features(40, widths, noises=(0.2,), ridges=(0.0, 0.1), seeds=range(5))
    bare, ridged = (peak_of(widths, np.median(found.squared[0, r], axis=0)) for r in range(2))
    assert (bare.at, bare.height > 5, ridged.height < 1.1) == (40.0, True, True)


def test_noise_changes_training_labels_alone():
    clean, noisy = (digits_task(500, noise, seed=3) for noise in (0.0, 0.5))
    assert (clean.X == noisy.X).all()
    assert (clean.y_test == noisy.y_test).all()
    assert np.mean(clean.y != noisy.y) == pytest.approx(0.45, abs=0.06)  # a tenth is drawn right


def test_a_wide_network_learns_wrong_labels_too():
    found = trained_networks(30, (1, 60), noise=0.5, steps=800, seeds=(0, 1))
    assert found.parameters == (65 + 20, 65 * 60 + 610)
    assert (found.train_wrong[:, 0] > 0.2).all()
    assert (found.train_wrong[:, 1] == 0).all()


def test_a_peak_needs_an_ascent_and_a_descent():
    assert peak_of([1, 2, 3, 4], np.array([1.0, 2.0, 4.0, 8.0])).height == 1.0
    assert peak_of([1, 2, 3], np.array([1.0, 5.0, 2.0])).height == 2.5


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="n must be"):
        digits_task(5000, 0.0, 0)
    with pytest.raises(ValueError, match="noise must be"):
        digits_task(10, 2.0, 0)
    with pytest.raises(ValueError, match="values must be positive"):
        peak_of([1, 2], np.array([1.0, 0.0]))
