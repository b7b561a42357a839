"""Dropout."""

import numpy as np
import pytest

from chainrule import nn


def test_kept_elements_are_scaled_and_the_mean_stays():
    x = np.full((400, 500), 3.0, dtype=np.float32)
    y = nn.Dropout(0.2, rng=0)(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(np.unique(y), [0.0, 3.0 / 0.8], rtol=1e-6)
    # 200,000 Bernoulli draws: the standard error of the share is 0.0009.
    assert (y == 0).mean() == pytest.approx(0.2, abs=0.005)
    assert y.mean() == pytest.approx(3.0, abs=0.02)


def test_evaluation_changes_nothing(batch):
    assert nn.Dropout(0.9).eval()(batch) is batch


def test_extremes(batch):
    np.testing.assert_array_equal(nn.Dropout(0.0)(batch), batch)
    np.testing.assert_array_equal(nn.Dropout(1.0)(batch), np.zeros_like(batch))


def test_a_seed_repeats_and_a_pass_does_not(batch):
    one, other = nn.Dropout(rng=3), nn.Dropout(rng=3)
    first = one(batch)
    np.testing.assert_array_equal(first, other(batch))
    assert not np.array_equal(first, one(batch))


def test_default_generator(batch):
    drop = nn.Dropout()
    nn.manual_seed(1)
    first = drop(batch)
    nn.manual_seed(1)
    np.testing.assert_array_equal(first, drop(batch))


def test_lowering_and_widths(lowered):
    assert lowered(nn.Dropout(0.3)) == [("dropout", 0, "", 0.3)]
    assert (nn.Dropout().input_width(), nn.Dropout().output_width(4)) == (None, 4)


@pytest.mark.parametrize(
    ("p", "error", "message"),
    [
        (1.5, ValueError, r"p must be a finite number in \[0, 1\]; got 1.5"),
        (-0.1, ValueError, r"p must be a finite number in \[0, 1\]; got -0.1"),
        ("half", TypeError, "p must be a number; got 'half'"),
    ],
)
def test_arguments_are_checked(p, error, message):
    with pytest.raises(error, match=message):
        nn.Dropout(p)
