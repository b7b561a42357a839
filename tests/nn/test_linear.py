"""The linear layer by hand."""

import numpy as np
import pytest

from chainrule import nn


def test_equation_1_by_hand():
    layer = nn.Linear(2, 3)
    layer.weight = [[1, 0], [0, 1], [2, -1]]
    layer.bias = [0, 10, 0.5]
    x = np.array([[3.0, 4.0], [-1.0, 0.0]], dtype=np.float32)
    assert layer(x).tolist() == [[3.0, 14.0, 2.5], [-1.0, 10.0, -1.5]]
    assert layer(x).dtype == np.float32


def test_precision():
    assert nn.Linear(2, 1).weight.dtype == np.float32
    layer = nn.Linear(2, 1, dtype="float64")
    assert layer.weight.dtype == layer.bias.dtype == np.float64
    assert layer(np.ones((1, 2))).dtype == np.float64


def test_initial_values_are_within_pytorchs_bound():
    layer = nn.Linear(100, 1000, rng=0)
    for array in (layer.weight.data, layer.bias.data):
        assert np.abs(array).max() <= np.float32(0.1)
        assert array.var() == pytest.approx(0.01 / 3, rel=0.1)


def test_seeds():
    np.testing.assert_array_equal(nn.Linear(3, 2, rng=7).weight.data, nn.Linear(3, 2, rng=7).weight.data)
    assert not np.array_equal(nn.Linear(3, 2, rng=7).weight.data, nn.Linear(3, 2, rng=8).weight.data)
    one_stream = np.random.default_rng(7)
    first, second = nn.Linear(3, 2, rng=one_stream), nn.Linear(3, 2, rng=one_stream)
    np.testing.assert_array_equal(first.weight.data, nn.Linear(3, 2, rng=7).weight.data)
    assert not np.array_equal(first.weight.data, second.weight.data)


def test_without_bias():
    layer = nn.Linear(2, 1, bias=False)
    assert layer.bias is None
    assert list(layer.state_dict()) == ["weight"]
    layer.weight = [[2, 3]]
    assert layer(np.ones((1, 2), np.float32)).tolist() == [[5.0]]


def test_lowering_widths_and_cost(lowered):
    layer = nn.Linear(4, 3)
    assert lowered(layer) == [("linear", 0, "", 3, True)]
    assert lowered(nn.Linear(4, 3, bias=False)) == [("linear", 0, "", 3, False)]
    assert (layer.input_width(), layer.output_width(4), layer.multiply_adds()) == (4, 3, 12)
    with pytest.raises(ValueError, match=r"Linear\(in_features=4.* takes 4 columns; got 5"):
        layer.output_width(5)


@pytest.mark.parametrize("shape", [(), (3,), (2, 5), (4, 3)])
def test_input_of_the_wrong_shape(shape):
    message = r"Linear\(in_features=4.*\): the last axis of x must have 4 entries; got shape \("
    with pytest.raises(ValueError, match=message):
        nn.Linear(4, 3)(np.zeros(shape))


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (2, 0, 4)])
def test_works_on_the_last_axis(shape, rng):
    layer = nn.Linear(4, 3, dtype="float64", rng=0)
    x = rng.normal(size=shape)
    z = layer(x)
    assert z.shape == (*shape[:-1], 3)
    assert np.allclose(z, np.einsum("...i,oi->...o", x, layer.weight.data) + layer.bias.data, rtol=1e-14)


def test_weights_lie_by_inputs_as_in_a_plan():
    layer = nn.Linear(4, 3)
    assert layer.weight.data.flags.f_contiguous
    layer.weight = np.ones((3, 4))
    assert layer.weight.data.flags.f_contiguous


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "message"),
    [
        ((0, 1), {}, ValueError, "in_features must be a positive integer; got 0"),
        ((2.0, 1), {}, TypeError, "in_features must be a positive integer; got 2.0"),
        ((1, True), {}, TypeError, "out_features must be a positive integer; got True"),
        ((1, 1, 1), {}, TypeError, "bias must be True or False; got 1"),
        ((1, 1), {"dtype": "int32"}, ValueError, "dtype must be float32 or float64; got 'int32'"),
        ((1, 1), {"rng": "seed"}, TypeError, "rng must be a numpy.random.Generator, an integer seed or None"),
        ((1, 1), {"rng": -1}, ValueError, "rng must not be negative; got -1"),
    ],
)
def test_arguments_are_checked(args, kwargs, error, message):
    with pytest.raises(error, match=message):
        nn.Linear(*args, **kwargs)
