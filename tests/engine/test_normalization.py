"""Batch and layer normalisation, against their formulas in double precision."""

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

from chainrule.engine import normalization

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
WIDTH = 75
EPSILON, MOMENTUM = 1e-3, 0.3


class Case:
    """A value, the δ above it, parameters, and room for what the kernels write."""

    def __init__(self, dtype, n_rows=9, affine=True):
        rng = np.random.default_rng(0)
        self.dtype, self.n_rows = dtype, n_rows
        shape = n_rows, WIDTH
        self.h = padded(rng.normal(2.0, 3.0, shape), dtype)
        self.above, self.below = padded(rng.normal(size=shape), dtype), padded(rng.normal(size=shape), dtype)
        self.out = empty(shape, dtype)
        self.gamma, self.beta = (rng.normal(size=WIDTH).astype(dtype) if affine else None for _ in range(2))
        self.running = [np.full(WIDTH, 0.5, dtype), np.full(WIDTH, 2.0, dtype), np.zeros(1, dtype)]
        self.columns = [np.full(WIDTH, np.nan, dtype) for _ in range(6)]
        self.rows = [np.full(n_rows, np.nan, dtype) for _ in range(2)]
        self.step = {"n_rows": n_rows}

    @property
    def gammas(self):
        return 1.0 if self.gamma is None else self.gamma.astype(np.float64)

    @property
    def betas(self):
        return 0.0 if self.beta is None else self.beta.astype(np.float64)

    def close(self, one, two, factor=1):
        limit = factor * tolerance(self.dtype)
        np.testing.assert_allclose(one, two, rtol=limit, atol=limit)

    # The kernels, on one range of columns or one part of the rows.

    def batch_forward(self, first=0, count=WIDTH, training=1, tracks=1):
        mean, scale, *_ = self.columns
        running_mean, running_variance, tracked = self.running
        call(
            normalization.batch_norm_forward(self.dtype), self.step, h=self.h, out=self.out,
            stride=stride_of(self.h), first=first, count=count, mean=mean, scale=scale,
            gamma=zero(self.gamma), beta=zero(self.beta), running_mean=running_mean,
            running_variance=running_variance, tracked=tracked, training=training, tracks=tracks,
            counts=int(first == 0), epsilon=EPSILON, momentum=MOMENTUM,
        )  # fmt: skip

    def batch_backward(self, first=0, count=WIDTH, training=1, accumulate=0, stops=False):
        mean, scale, sums, products, gamma_gradient, beta_gradient = self.columns
        affine = self.gamma is not None
        call(
            normalization.batch_norm_backward(self.dtype), self.step, h=self.h, above=self.above,
            below=0 if stops else self.below, stride=stride_of(self.h), first=first, count=count,
            mean=mean, scale=scale, sums=sums, products=products, gamma=zero(self.gamma),
            gamma_gradient=gamma_gradient if affine else 0, beta_gradient=beta_gradient if affine else 0,
            training=training, accumulate=accumulate,
        )  # fmt: skip

    def layer_forward(self, parts=WHOLE):
        means, scales = self.rows
        call(
            normalization.layer_norm_forward(self.dtype), self.step, h=self.h, out=self.out,
            stride=stride_of(self.h), width=WIDTH, **parts, means=means, scales=scales,
            gamma=zero(self.gamma), beta=zero(self.beta), epsilon=EPSILON,
        )  # fmt: skip

    def layer_parameters(self, first=0, count=WIDTH):
        means, scales = self.rows
        *_, gamma_gradient, beta_gradient = self.columns
        call(
            normalization.layer_norm_parameters(self.dtype), self.step, h=self.h, above=self.above,
            stride=stride_of(self.h), first=first, count=count, means=means, scales=scales,
            gamma_gradient=zero(gamma_gradient), beta_gradient=zero(beta_gradient),
        )  # fmt: skip

    def layer_backward(self, parts=WHOLE, accumulate=0):
        means, scales = self.rows
        call(
            normalization.layer_norm_backward(self.dtype), self.step, h=self.h, above=self.above,
            below=self.below, stride=stride_of(self.h), width=WIDTH, **parts, means=means, scales=scales,
            gamma=zero(self.gamma), accumulate=accumulate,
        )  # fmt: skip


def zero(array):
    return 0 if array is None else array


def normalised(h, axis):
    """x̂ and 1/√(variance + ε)."""
    h = h.astype(np.float64)
    scale = 1 / np.sqrt(h.var(axis, keepdims=True) + EPSILON)
    return (h - h.mean(axis, keepdims=True)) * scale, scale


def slope_below(h, delta, axis):
    """δ below a normalisation over an axis, from δ with respect to x̂."""
    normal, scale = normalised(h, axis)
    centred = delta - delta.mean(axis, keepdims=True)
    return scale * (centred - normal * (delta * normal).mean(axis, keepdims=True))


@every_dtype
@pytest.mark.parametrize("affine", [True, False])
class TestBatchNorm:
    @pytest.mark.parametrize("n_rows", [1, 2, 9])
    def test_forward_in_training(self, dtype, affine, n_rows):
        case = Case(dtype, n_rows, affine)
        h = case.h.astype(np.float64)
        case.batch_forward()
        normal, _ = normalised(case.h, 0)
        case.close(case.out, case.gammas * normal + case.betas)
        mean, variance, tracked = case.running
        case.close(mean, 0.5 + MOMENTUM * (h.mean(0) - 0.5))
        if n_rows == 1:
            np.testing.assert_array_equal(variance, 2.0)
        else:
            case.close(variance, 2.0 + MOMENTUM * (h.var(0, ddof=1) - 2.0))
        assert tracked[0] == 1
        assert is_untouched(case.h, case.out)

    def test_untracked_training_leaves_the_averages(self, dtype, affine):
        case = Case(dtype, affine=affine)
        case.batch_forward(tracks=0)
        case.close(case.out, case.gammas * normalised(case.h, 0)[0] + case.betas)
        assert [set(buffer.tolist()) for buffer in case.running] == [{0.5}, {2.0}, {0.0}]

    def test_forward_in_evaluation(self, dtype, affine):
        case = Case(dtype, affine=affine)
        case.batch_forward(training=0)
        expected = (case.h.astype(np.float64) - 0.5) / np.sqrt(2.0 + EPSILON)
        case.close(case.out, case.gammas * expected + case.betas)
        assert [set(buffer.tolist()) for buffer in case.running] == [{0.5}, {2.0}, {0.0}]

    @pytest.mark.parametrize("training", [0, 1])
    @pytest.mark.parametrize("accumulate", [0, 1])
    def test_backward(self, dtype, affine, training, accumulate):
        case = Case(dtype, affine=affine)
        case.batch_forward(training=training)
        there = case.below.astype(np.float64) if accumulate else 0.0
        case.batch_backward(training=training, accumulate=accumulate)
        above = case.above.astype(np.float64)
        if training:
            normal, _ = normalised(case.h, 0)
            below = slope_below(case.h, above * case.gammas, 0)
        else:
            normal = (case.h.astype(np.float64) - 0.5) / np.sqrt(2.0 + EPSILON)
            below = above * case.gammas / np.sqrt(2.0 + EPSILON)
        case.close(case.below, below + there, factor=3)
        *_, gamma_gradient, beta_gradient = case.columns
        if affine:
            case.close(gamma_gradient, (above * normal).sum(0))
            case.close(beta_gradient, above.sum(0))
        else:
            assert np.isnan([gamma_gradient, beta_gradient]).all()
        assert is_untouched(case.h, case.above, case.below)

    def test_backward_to_nothing(self, dtype, affine):
        case = Case(dtype, affine=affine)
        below = case.below.copy()
        case.batch_forward()
        case.batch_backward(stops=True)
        np.testing.assert_array_equal(case.below, below)
        if affine:
            case.close(case.columns[-1], case.above.sum(0, dtype=np.float64))

    def test_columns_have_the_bits_of_the_whole(self, dtype, affine):
        whole = Case(dtype, affine=affine)
        whole.batch_forward()
        whole.batch_backward()
        for cut in cuts(WIDTH):
            case = Case(dtype, affine=affine)
            for first, count in cut:
                case.batch_forward(first, count)
            for first, count in cut:
                case.batch_backward(first, count)
            for one, two in zip(
                [case.out, case.below, *case.running, *case.columns],
                [whole.out, whole.below, *whole.running, *whole.columns],
                strict=True,
            ):
                np.testing.assert_array_equal(one, two)
            assert is_untouched(case.out, case.below)


@every_dtype
@pytest.mark.parametrize("affine", [True, False])
class TestLayerNorm:
    def test_forward(self, dtype, affine):
        case = Case(dtype, affine=affine)
        case.layer_forward()
        case.close(case.out, case.gammas * normalised(case.h, 1)[0] + case.betas)
        assert is_untouched(case.h, case.out)

    @pytest.mark.parametrize("accumulate", [0, 1])
    def test_backward(self, dtype, affine, accumulate):
        case = Case(dtype, affine=affine)
        case.layer_forward()
        there = case.below.astype(np.float64) if accumulate else 0.0
        case.layer_backward(accumulate=accumulate)
        above = case.above.astype(np.float64)
        case.close(case.below, slope_below(case.h, above * case.gammas, 1) + there, factor=3)
        assert is_untouched(case.h, case.above, case.below)

    @pytest.mark.parametrize("which", [(0,), (1,), (0, 1)])
    def test_parameters(self, dtype, affine, which):
        case = Case(dtype, affine=affine)
        case.layer_forward()
        above = case.above.astype(np.float64)
        gradients = [(above * normalised(case.h, 1)[0]).sum(0), above.sum(0)]
        for there in (0, 1):
            if there not in which:
                case.columns[4 + there] = None
        case.layer_parameters()
        for there in which:
            case.close(case.columns[4 + there], gradients[there], factor=3)

    def test_parts_have_the_bits_of_the_whole(self, dtype, affine):
        whole = Case(dtype, affine=affine)
        whole.layer_forward()
        whole.layer_backward()
        whole.layer_parameters()
        for cut in cuts(WIDTH):
            case = Case(dtype, affine=affine)
            for parts in row_parts(4):
                case.layer_forward(parts)
            for parts in row_parts(4):
                case.layer_backward(parts)
            for first, count in cut:
                case.layer_parameters(first, count)
            for one, two in zip(
                [case.out, case.below, *case.rows, *case.columns[4:]],
                [whole.out, whole.below, *whole.rows, *whole.columns[4:]],
                strict=True,
            ):
                np.testing.assert_array_equal(one, two)
            assert is_untouched(case.out, case.below)
