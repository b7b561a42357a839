"""Batch and layer normalization by hand; parity with PyTorch is in test_parity.py."""

import numpy as np
import pytest

from chainrule import nn


def test_batch_norm_by_hand():
    norm = nn.BatchNorm1d(1, eps=1.0, momentum=0.5, dtype=np.float64)
    norm.weight, norm.bias = [10.0], [1.0]
    # Mean 4, variance 3: centred values are divided by √(3 + 1) = 2. The unbiased variance is 3 · 4/3 = 4.
    x = np.array([[1.0], [5.0], [5.0], [5.0]])
    assert norm(x)[:, 0].tolist() == [-14.0, 6.0, 6.0, 6.0]
    assert norm.running_mean.tolist() == [2.0]
    assert norm.running_var.tolist() == [0.5 * 1 + 0.5 * 4]
    assert norm.num_batches_tracked == 1
    norm.eval()
    np.testing.assert_allclose(norm(np.array([[2.0]])), [[1.0]])
    assert norm.num_batches_tracked == 1


def test_batch_norm_output_is_standardized(batch):
    y = nn.BatchNorm1d(5)(batch)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=1e-4)


def test_running_statistics_approach_the_population(rng):
    norm = nn.BatchNorm1d(2)
    for _ in range(300):
        norm(rng.normal([1.0, -2.0], [0.5, 3.0], (64, 2)))
    np.testing.assert_allclose(norm.running_mean, [1.0, -2.0], atol=0.4)
    np.testing.assert_allclose(norm.running_var, [0.25, 9.0], rtol=0.2)
    assert norm.num_batches_tracked == 300


def test_evaluation_takes_a_single_row_and_training_does_not():
    norm = nn.BatchNorm1d(2)
    with pytest.raises(
        ValueError, match=r"BatchNorm1d\(2.*x must have at least 2 rows while training; got 1"
    ):
        norm(np.zeros((1, 2)))
    assert norm.num_batches_tracked == 0
    assert norm.eval()(np.zeros((1, 2))).tolist() == [[0.0, 0.0]]


def test_layer_norm_by_hand():
    norm = nn.LayerNorm(3, eps=1.0, dtype=np.float64)
    norm.weight, norm.bias = [1, 1, 2], [0, 1, 0]
    # Mean 3, variance 24/3 = 8: the centred row is divided by √(8 + 1) = 3.
    x = np.array([[3 - np.sqrt(12), 3, 3 + np.sqrt(12)]])
    np.testing.assert_allclose(norm(x), [[-np.sqrt(12) / 3, 1, 2 * np.sqrt(12) / 3]])


def test_lowering(lowered):
    assert lowered(nn.BatchNorm1d(3)) == [("batch_norm", 0, "", 1e-5, 0.1, True)]
    assert lowered(nn.BatchNorm1d(3, 0.1, 0.2, affine=False)) == [("batch_norm", 0, "", 0.1, 0.2, False)]
    assert lowered(nn.LayerNorm(3)) == [("layer_norm", 0, "", 1e-5, True, True)]
    assert lowered(nn.LayerNorm((3,), bias=False)) == [("layer_norm", 0, "", 1e-5, True, False)]
    assert lowered(nn.LayerNorm(3, elementwise_affine=False)) == [("layer_norm", 0, "", 1e-5, False, False)]


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(3), nn.LayerNorm(3)], ids=repr)
def test_widths(norm):
    assert (norm.input_width(), norm.output_width(3), norm.multiply_adds()) == (3, 3, 0)
    with pytest.raises(ValueError, match=r"\(.*\) takes 3 columns; got 4"):
        norm.output_width(4)
    with pytest.raises(ValueError, match=r"got (shape )?\(2, 4\)"):
        norm(np.zeros((2, 4)))


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4)])
def test_layer_norm_works_on_the_last_axis(shape, rng):
    norm, x = nn.LayerNorm(4, dtype="float64"), rng.normal(size=shape)
    y = norm(x)
    assert y.shape == shape
    assert np.allclose(y, norm(x.reshape(-1, 4)).reshape(shape), rtol=1e-14)
    assert np.allclose(y.mean(axis=-1), 0, atol=1e-14)


def test_layer_norm_reset():
    norm = nn.LayerNorm(2)
    norm.weight, norm.bias = [3, 3], [3, 3]
    norm.reset_parameters(rng=0)
    assert (norm.weight.tolist(), norm.bias.tolist()) == ([1, 1], [0, 0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.BatchNorm1d(0), ValueError, "num_features must be a positive integer; got 0"),
        (lambda: nn.BatchNorm1d(2, eps=0), ValueError, "eps must be greater than 0; got 0"),
        (
            lambda: nn.BatchNorm1d(2, momentum=2),
            ValueError,
            r"momentum must be a finite number in \[0, 1\]; got 2",
        ),
        (lambda: nn.BatchNorm1d(2, momentum=None), TypeError, "momentum must be a number; got None"),
        (
            lambda: nn.BatchNorm1d(2, track_running_stats=False),
            ValueError,
            "track_running_stats must be True",
        ),
        (lambda: nn.BatchNorm1d(2, affine="no"), TypeError, "affine must be True or False; got 'no'"),
        (lambda: nn.LayerNorm((2, 3)), ValueError, r"normalized_shape must have one dimension; got \(2, 3\)"),
        (lambda: nn.LayerNorm("3"), TypeError, "normalized_shape must be a positive integer; got '3'"),
        (lambda: nn.LayerNorm(2, eps=-1.0), ValueError, "eps must be greater than 0; got -1.0"),
    ],
)
def test_arguments_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()
