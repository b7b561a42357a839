"""The residual connection."""

import numpy as np
import pytest

from chainrule import nn


def test_identity_is_added(batch):
    body = nn.Sequential(nn.Linear(5, 5, rng=0), nn.Tanh())
    block = nn.Residual(body)
    assert block.projection is None
    np.testing.assert_array_equal(block(batch), batch + body(batch))
    assert list(block.state_dict()) == ["body.0.weight", "body.0.bias"]


def test_zero_body_is_the_identity(batch):
    block = nn.Residual(nn.Linear(5, 5).initialize("zeros"))
    np.testing.assert_array_equal(block(batch), batch)


def test_differing_widths_make_a_projection(batch):
    block = nn.Residual(nn.Linear(5, 3, rng=0), rng=1)
    assert repr(block.projection) == "Linear(in_features=5, out_features=3, bias=False)"
    np.testing.assert_allclose(
        block(batch), batch @ block.projection.weight.data.T + block.body(batch), rtol=1e-6
    )
    assert list(block.state_dict()) == ["body.weight", "body.bias", "projection.weight"]
    assert (block.input_width(), block.output_width(5), block.multiply_adds()) == (5, 3, 30)


def test_the_projection_has_the_precision_and_the_seed():
    block = nn.Residual(nn.Linear(5, 3, dtype="float64"), rng=1)
    assert block.projection.weight.dtype == np.float64
    again = nn.Residual(nn.Linear(5, 3, dtype="float64"), rng=1)
    np.testing.assert_array_equal(block.projection.weight.data, again.projection.weight.data)


def test_projection_on_request(batch):
    block = nn.Residual(nn.Linear(5, 5), projection=True)
    assert isinstance(block.projection, nn.Linear)
    own = nn.Residual(nn.Linear(5, 3), projection=nn.Linear(5, 3, bias=True))
    assert own.projection.bias is not None
    any_width = nn.Residual(nn.ReLU())
    np.testing.assert_array_equal(any_width(batch), batch + np.maximum(batch, 0))
    assert any_width.input_width() is None


def test_lowering(lowered):
    net = nn.Sequential(
        nn.Linear(4, 4),
        nn.Residual(nn.Sequential(nn.Linear(4, 4), nn.ReLU())),
        nn.Residual(nn.Linear(4, 2)),
    )
    assert lowered(net) == [
        ("linear", 0, "0", 4, True),
        ("linear", 1, "1.body.0", 4, True),
        ("activation", 2, "1.body.1", "relu", 0.0),
        ("add", 1, 3, "1"),
        ("linear", 4, "2.body", 2, True),
        ("linear", 4, "2.projection", 2, False),
        ("add", 6, 5, "2"),
    ]


def test_widths_that_do_not_fit():
    with pytest.raises(ValueError, match="body gives 3 columns, but what it is added to has 2"):
        nn.Residual(nn.Linear(5, 3), projection=nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r"Linear\(in_features=4.* takes 4 columns; got 5"):
        nn.Residual(nn.Linear(5, 3), projection=nn.Linear(4, 3))
    with pytest.raises(ValueError, match="module 1: .* takes 4 columns; got 5"):
        nn.Residual(nn.Sequential(nn.Linear(5, 5), nn.Linear(4, 5)))


def test_a_sum_is_never_broadcast():
    class FirstColumn(nn.Module):
        def forward(self, x):
            return x[:, :1]

    with pytest.raises(ValueError, match=r"body gives shape \(2, 1\), but what it is added to has \(2, 3\)"):
        nn.Residual(FirstColumn())(np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((3,), TypeError, "body must be a Module; got int"),
        ((nn.ReLU(), False), TypeError, "projection must be None, True or a Module; got False"),
        ((nn.ReLU(), 1), TypeError, "projection must be None, True or a Module; got 1"),
        ((nn.ReLU(), True), ValueError, "projection=True needs a body that knows its width"),
    ],
)
def test_arguments_are_checked(args, error, message):
    with pytest.raises(error, match=message):
        nn.Residual(*args)
