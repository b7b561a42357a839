"""Activations and losses as the engine computes them, against the records' formulas on arrays."""

import numpy as np
import pytest
from tests.engine.calling import (
    DTYPES,
    WHOLE,
    call,
    cuts,
    empty,
    is_untouched,
    padded,
    row_parts,
    stride_of,
    tolerance,
)  # fmt: skip
from tests.strategies import setting_choices, targets_for

from chainrule.engine import kernels
from chainrule.engine.layout import BLOCK
from chainrule.engine.telemetry import SATURATED
from chainrule.execution import SATURATION_SHARE
from chainrule.functions import ACTIVATIONS, LOSSES

every_activation = pytest.mark.parametrize("record", ACTIVATIONS.values(), ids=ACTIVATIONS)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
ROWS, WIDTH = 7, 75


def outputs(dtype, padding=7):
    """Pre-activations over the whole range of an activation, with the extremes among them."""
    z = np.random.default_rng(0).normal(0.0, 3.0, (ROWS, WIDTH))
    z[0, :8] = [0.0, -0.0, 1e4, -1e4, np.nan, 1e-8, 30.0, -30.0]
    return padded(z, dtype, padding)


def same(one, two):
    """Equal bits, NaN like NaN."""
    np.testing.assert_array_equal(one, two)


def activate(record, z, h, parts=WHOLE, first=0, count=WIDTH):
    call(
        kernels.activate(record, z.dtype), {"n_rows": len(z)}, z=z, h=h,
        stride=stride_of(z), first=first, count=count, **parts, alpha=record.default_alpha,
    )  # fmt: skip


def gate(record, arrays, accumulate=0, parts=WHOLE, first=0, count=WIDTH):
    z, h, above, below = arrays
    call(
        kernels.gate(record, z.dtype), {"n_rows": len(z)}, z=z, h=h, delta_out=above, delta_in=below,
        stride=stride_of(z), first=first, count=count, **parts, accumulate=accumulate,
        alpha=record.default_alpha,
    )  # fmt: skip


@every_activation
@every_dtype
class TestActivations:
    def test_value(self, record, dtype):
        z, h = outputs(dtype), empty((ROWS, WIDTH), dtype)
        activate(record, z, h)
        expected = record.value(z, dtype.type(record.default_alpha))
        np.testing.assert_allclose(h, expected, rtol=tolerance(dtype), atol=np.finfo(dtype).eps)
        assert is_untouched(z, h)

    def test_derivative(self, record, dtype):
        z, h, above = outputs(dtype), empty((ROWS, WIDTH), dtype), outputs(dtype)[::-1].copy()
        above, below = padded(above, dtype), empty((ROWS, WIDTH), dtype)
        activate(record, z, h)
        gate(record, (z, h, above, below))
        with np.errstate(invalid="ignore"):
            slope = record.derivative(z, dtype.type(record.default_alpha))
        seen = ~np.isnan(z)  # the scalar derivative of ReLU at NaN is 0, the array's False is too
        np.testing.assert_allclose(
            below[seen], (above * slope)[seen], rtol=tolerance(dtype), atol=30 * np.finfo(dtype).eps
        )
        assert is_untouched(below)
        twice = padded(below, dtype)
        gate(record, (z, h, above, twice), accumulate=1)
        np.testing.assert_allclose(twice, 2 * below, rtol=tolerance(dtype))
        assert is_untouched(z, h, above, twice)

    def test_parts_have_the_bits_of_the_whole(self, record, dtype):
        z, h, above = outputs(dtype), empty((ROWS, WIDTH), dtype), outputs(dtype)
        below = empty((ROWS, WIDTH), dtype)
        activate(record, z, h)
        gate(record, (z, h, above, below))
        wholes = [{"parts": parts} for parts in row_parts(3)]
        ranges = [[{"first": first, "count": count} for first, count in cut] for cut in cuts(WIDTH)]
        for pieces in [wholes, *ranges]:
            h_cut, below_cut = empty((ROWS, WIDTH), dtype), empty((ROWS, WIDTH), dtype)
            for piece in pieces:
                activate(record, z, h_cut, **piece)
                gate(record, (z, h_cut, above, below_cut), **piece)
            same(h_cut, h)
            same(below_cut, below)
            assert is_untouched(h_cut, below_cut)

    def test_a_value_without_padding_has_the_same_bits(self, record, dtype):
        z, h = outputs(dtype), empty((ROWS, WIDTH), dtype)
        activate(record, z, h)
        for parts in ([WHOLE], row_parts(3)):
            tight = empty((ROWS, WIDTH), dtype, padding=0)
            for part in parts:
                activate(record, padded(z, dtype, padding=0), tight, part)
            same(tight, h)
            assert is_untouched(tight)

    def test_saturated(self, record, dtype):
        z, h = outputs(dtype), empty((ROWS, WIDTH), dtype)
        z[0, :8] = 0.3  # how the extremes compare with the limit is not the question here
        activate(record, z, h)
        n_blocks = -(-WIDTH // BLOCK) + 2
        for cut in cuts(WIDTH):
            sums = np.full((3, n_blocks, 5), -1.0)
            for first, count in cut:
                call(
                    kernels.saturated(record, dtype), {"n_rows": ROWS, "sample": 1}, z=z, h=h,
                    stride=stride_of(z), first=first, count=count, sums=sums, first_block=1,
                    n_blocks=n_blocks, alpha=record.default_alpha,
                )  # fmt: skip
            slope = np.abs(record.derivative(z, dtype.type(record.default_alpha)))
            expected = slope < SATURATION_SHARE * record.derivative_max
            for block in range(n_blocks - 2):
                place = slice(block * BLOCK, (block + 1) * BLOCK)
                assert sums[1, 1 + block, SATURATED] == expected[:, place].sum()
            sums[1, 1:-1, SATURATED] = -1.0
            assert (sums == -1.0).all()


# -- losses ----------------------------------------------------------------------------------------


def loss_case(record, dtype, width, classes, setting):
    """Outputs, targets of more examples than the batch has, the batch's order, weights, the setting."""
    rng = np.random.default_rng(width)
    n_examples, n_rows = 60, 37
    z = rng.normal(0.0, 2.0, (n_rows, width))
    if classes:
        y = rng.integers(0, width, n_examples)
    elif record.class_row is not None:
        y = rng.uniform(size=(n_examples, width)).astype(dtype)
    else:
        y = targets_for(record, n_examples, width, rng).astype(dtype)
    order = rng.permutation(n_examples)[:n_rows].astype(np.int64)
    weights = rng.uniform(0.0, 2.0, n_examples).astype(dtype)
    return padded(z, dtype), y, order, weights, dtype.type(setting)


def loss(kernel, case, results, share, weighted=True, parts=WHOLE):
    z, y, order, weights, setting = case
    slope, losses = results
    step = {
        "n_rows": len(z), "order": order, "targets": y, "weights": weights if weighted else 0, "share": share
    }  # fmt: skip
    call(
        kernel, step, z=z, slope=slope, losses=losses,
        stride=stride_of(z), width=z.shape[1], **parts, setting=setting,
    )  # fmt: skip


LOSS_CASES = [
    pytest.param(record, classes, setting, id=f"{name}{'-classes' if classes else ''}-{setting}")
    for name, record in LOSSES.items()
    for classes in ([False, True] if record.class_row else [False])
    for setting in setting_choices(record)
]


@pytest.mark.parametrize(("record", "classes", "setting"), LOSS_CASES)
@every_dtype
@pytest.mark.parametrize("width", [1, 2, 8, 9, 31, 32, 33, 100])
def test_losses(record, classes, setting, dtype, width):
    """Value and slope of each row, times its share of the batch's weight; the same bits in any parts."""
    case = loss_case(record, dtype, width, classes, setting)
    z, y, order, weights, setting = case
    n_rows = len(z)
    for kernel in {
        kernels.loss_rows(record, classes, dtype, width),
        kernels.loss_rows(record, classes, dtype),
    }:
        for weighted in (False, True):
            slope, losses = empty(z.shape, dtype), empty((1, n_rows), dtype)
            loss(kernel, case, (slope, losses), 0.25, weighted)
            scale = 0.25 * (weights[order] if weighted else np.ones(n_rows, dtype))
            targets, raw = y[order], z.astype(np.float64)
            expected = scale * record.value(raw, targets, float(setting))
            expected_slope = scale[:, None] * record.gradient(raw, targets, float(setting))
            np.testing.assert_allclose(losses[0], expected, rtol=tolerance(dtype), atol=tolerance(dtype))
            np.testing.assert_allclose(slope, expected_slope, rtol=tolerance(dtype), atol=tolerance(dtype))
            assert is_untouched(z, slope, losses)
        for parts in (2, 3, 40):
            slope_cut, losses_cut = empty(z.shape, dtype), empty((1, n_rows), dtype)
            for part in row_parts(parts):
                loss(kernel, case, (slope_cut, losses_cut), 0.25, parts=part)
            same(slope_cut, slope)
            same(losses_cut, losses)
            assert is_untouched(slope_cut, losses_cut)


@every_dtype
@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("width", [3, 32, 100])
def test_softmax_of_large_outputs_and_nan(dtype, classes, width):
    record = LOSSES["softmax_cross_entropy"]
    z = np.zeros((5, width))
    z[0, :2] = [1e4, -1e4]
    z[1, :2] = [-1e4, 1e4]
    z[2] = 1e4  # the loss is the logarithm of the number of classes to the last digits, whatever is added
    z[3, width - 1] = np.nan
    z[4, 0] = np.nan
    z, labels = padded(z, dtype), np.array([0, 0, 1, 0, 1])
    y = labels if classes else np.eye(width, dtype=dtype)[labels]
    for kernel in {
        kernels.loss_rows(record, classes, dtype, width),
        kernels.loss_rows(record, classes, dtype),
    }:
        slope, losses = empty(z.shape, dtype), empty((1, 5), dtype)
        case = (z, y, np.arange(5), np.ones(5, dtype), dtype.type(0))
        loss(kernel, case, (slope, losses), 1.0)
        expected = [0, 2e4, np.log(width), np.nan, np.nan]
        np.testing.assert_allclose(losses[0], expected, rtol=4 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(slope[:2, :2], [[0, 0], [-1, 1]])
        assert np.isnan(slope[3:]).all()


@every_dtype
@pytest.mark.parametrize("width", [3, 33])
def test_a_share_of_nothing_is_nothing(dtype, width):
    record = LOSSES["huber"]
    case = loss_case(record, dtype, width, False, 1.0)
    slope, losses = empty(case[0].shape, dtype), empty((1, len(case[0])), dtype)
    loss(kernels.loss_rows(record, False, dtype, width), case, (slope, losses), 0.0)
    assert (slope == 0).all()
    assert (losses == 0).all()
