"""Batch normalisation, by columns, and layer normalisation, by rows. See ``parts.py``.

γ, β and the running averages are given by the addresses of whole vectors; 0 stands for none.
"""

import math
from functools import cache
from typing import Any

import numpy as np

from chainrule.engine._jit import Kernel, device
from chainrule.engine.parts import entries_of, own_rows, zero_of

__all__ = [
    "batch_norm_backward",
    "batch_norm_forward",
    "layer_norm_backward",
    "layer_norm_forward",
    "layer_norm_parameters",
]


@device
def scale_and_shift(normal, gamma, beta):
    """γ x̂ + β, where there is a scale and a shift (an array of no entries stands for none)."""
    n = normal.size
    if gamma.size:
        for j in range(n):
            normal[j] *= gamma[j]
    if beta.size:
        for j in range(n):
            normal[j] += beta[j]


@cache
def _column_statistics(dtype: Any) -> Any:
    """Compiled: mean of each column over the batch, and sum of its squared deviations."""
    entries, zero = entries_of(dtype), zero_of(dtype)

    @device
    def column_statistics(h, stride, first, n_rows, mean, squares):
        n = mean.size
        for j in range(n):
            mean[j] = zero
            squares[j] = zero
        for row in range(n_rows):
            x = entries(h, row * stride + first, n)
            for j in range(n):
                mean[j] += x[j]
        for j in range(n):
            mean[j] /= n_rows
        for row in range(n_rows):
            x = entries(h, row * stride + first, n)
            for j in range(n):
                squares[j] += (x[j] - mean[j]) * (x[j] - mean[j])

    return column_statistics


@cache
def batch_norm_forward(dtype: Any) -> Kernel:
    """γ (h - mean) / √(variance + ε) + β; ``mean`` and ``scale``, 1/√, are kept for the backward pass.

    With ``training`` the statistics are the batch's, and with ``tracks`` the running averages follow them;
    the one call that ``counts`` adds a batch to their number. Otherwise the statistics are those averages.
    """
    entries = entries_of(dtype)
    column_statistics = _column_statistics(dtype)
    one = np.dtype(dtype).type(1)

    def batch_norm_forward_part(
        n_rows, h, out, stride, first, count, mean, scale, gamma, beta, running_mean, running_variance,
        tracked, training, tracks, counts, epsilon: float, momentum: float,
    ):  # fmt: skip
        means, scales = entries(mean, first, count), entries(scale, first, count)
        track = training and tracks
        running = 0 if training and not tracks else count
        old_means, old_variances = (
            entries(running_mean, first, running),
            entries(running_variance, first, running),
        )
        if training:
            column_statistics(h, stride, first, n_rows, means, scales)
        else:
            for j in range(count):
                means[j] = old_means[j]
                scales[j] = one / math.sqrt(old_variances[j] + epsilon)
        if track:
            for j in range(count):
                old_means[j] += momentum * (means[j] - old_means[j])
            if n_rows > 1:  # the variance of one row is not defined
                for j in range(count):
                    old_variances[j] += momentum * (scales[j] / (n_rows - 1) - old_variances[j])
            if counts:
                entries(tracked, 0, 1)[0] += one
        if training:
            for j in range(count):
                scales[j] = one / math.sqrt(scales[j] / n_rows + epsilon)
        gammas, betas = (
            entries(gamma, first, count if gamma else 0),
            entries(beta, first, count if beta else 0),
        )
        for row in range(n_rows):
            x, normal = entries(h, row * stride + first, count), entries(out, row * stride + first, count)
            for j in range(count):
                normal[j] = (x[j] - means[j]) * scales[j]
            scale_and_shift(normal, gammas, betas)

    return Kernel(batch_norm_forward_part, (), dtype)


@cache
def batch_norm_backward(dtype: Any) -> Kernel:
    """∂γ, ∂β and δ; in training the mean and the variance depend on every row of the batch.

    ``sums`` and ``products`` are room for Σδ and Σδx̂ of each column.
    """
    entries, zero, one = entries_of(dtype), zero_of(dtype), np.dtype(dtype).type(1)
    real = np.dtype(dtype).type

    def batch_norm_backward_part(
        n_rows, h, above, below, stride, first, count, mean, scale, sums, products, gamma,
        gamma_gradient, beta_gradient, training, accumulate,
    ):  # fmt: skip
        means, scales = entries(mean, first, count), entries(scale, first, count)
        totals, dots = entries(sums, first, count), entries(products, first, count)
        for j in range(count):
            totals[j] = zero
            dots[j] = zero
        for row in range(n_rows):
            x, delta = entries(h, row * stride + first, count), entries(above, row * stride + first, count)
            for j in range(count):
                totals[j] += delta[j]
                dots[j] += delta[j] * ((x[j] - means[j]) * scales[j])
        gamma_slopes = entries(gamma_gradient, first, count if gamma_gradient else 0)
        beta_slopes = entries(beta_gradient, first, count if beta_gradient else 0)
        for j in range(gamma_slopes.size):
            gamma_slopes[j] = dots[j]
        for j in range(beta_slopes.size):
            beta_slopes[j] = totals[j]
        if below == 0:
            return
        share = one / real(n_rows) if training else zero  # in evaluation the statistics are constants
        gammas = entries(gamma, first, count if gamma else 0)
        for row in range(n_rows):
            x, delta = entries(h, row * stride + first, count), entries(above, row * stride + first, count)
            down = entries(below, row * stride + first, count)
            for j in range(count):
                normal = (x[j] - means[j]) * scales[j]
                slope = (delta[j] - share * totals[j] - normal * (share * dots[j])) * scales[j]
                if gammas.size:
                    slope *= gammas[j]
                down[j] = slope + (down[j] if accumulate else zero)

    return Kernel(batch_norm_backward_part, (), dtype)


@cache
def layer_norm_forward(dtype: Any) -> Kernel:
    """γ (h - mean) / √(variance + ε) + β over each row; ``means`` and ``scales``, 1/√, are kept."""
    entries, zero, one = entries_of(dtype), zero_of(dtype), np.dtype(dtype).type(1)
    real = np.dtype(dtype).type

    def layer_norm_forward_part(
        n_rows, h, out, stride, width, part, parts, means, scales, gamma, beta, epsilon: float
    ):
        begin, rows = own_rows(n_rows, part, parts)
        own_means, own_scales = entries(means, begin, rows), entries(scales, begin, rows)
        gammas, betas = entries(gamma, 0, width if gamma else 0), entries(beta, 0, width if beta else 0)
        share = one / real(width)
        for row in range(rows):
            x = entries(h, (begin + row) * stride, width)
            normal = entries(out, (begin + row) * stride, width)
            mean = zero
            for j in range(width):
                mean += x[j]
            mean *= share
            variance = zero
            for j in range(width):
                variance += (x[j] - mean) * (x[j] - mean)
            scale = one / math.sqrt(variance * share + epsilon)
            own_means[row] = mean
            own_scales[row] = scale
            for j in range(width):
                normal[j] = (x[j] - mean) * scale
            scale_and_shift(normal, gammas, betas)

    return Kernel(layer_norm_forward_part, (), dtype)


@cache
def layer_norm_parameters(dtype: Any) -> Kernel:
    """∂γ and ∂β of layer normalisation, summed over the batch."""
    entries, zero = entries_of(dtype), zero_of(dtype)

    def layer_norm_parameters_part(
        n_rows, h, above, stride, first, count, means, scales, gamma_gradient, beta_gradient
    ):
        row_means, row_scales = entries(means, 0, n_rows), entries(scales, 0, n_rows)
        gamma_slopes = entries(gamma_gradient, first, count if gamma_gradient else 0)
        beta_slopes = entries(beta_gradient, first, count if beta_gradient else 0)
        for j in range(gamma_slopes.size):
            gamma_slopes[j] = zero
        for j in range(beta_slopes.size):
            beta_slopes[j] = zero
        for row in range(n_rows):
            x, delta = entries(h, row * stride + first, count), entries(above, row * stride + first, count)
            mean, scale = row_means[row], row_scales[row]
            for j in range(gamma_slopes.size):
                gamma_slopes[j] += delta[j] * ((x[j] - mean) * scale)
            for j in range(beta_slopes.size):
                beta_slopes[j] += delta[j]

    return Kernel(layer_norm_parameters_part, (), dtype)


@cache
def layer_norm_backward(dtype: Any) -> Kernel:
    """δ of layer normalisation: the mean and the variance depend on every entry of the row."""
    entries, zero, one = entries_of(dtype), zero_of(dtype), np.dtype(dtype).type(1)
    real = np.dtype(dtype).type

    def layer_norm_backward_part(
        n_rows, h, above, below, stride, width, part, parts, means, scales, gamma, accumulate
    ):
        begin, rows = own_rows(n_rows, part, parts)
        own_means, own_scales = entries(means, begin, rows), entries(scales, begin, rows)
        gammas = entries(gamma, 0, width if gamma else 0)
        share = one / real(width)
        for row in range(rows):
            offset = (begin + row) * stride
            x, delta, down = (
                entries(h, offset, width),
                entries(above, offset, width),
                entries(below, offset, width),
            )
            mean, scale = own_means[row], own_scales[row]
            total = zero
            product = zero
            for j in range(width):
                slope = delta[j] * gammas[j] if gammas.size else delta[j]
                total += slope
                product += slope * ((x[j] - mean) * scale)
            for j in range(width):
                slope = delta[j] * gammas[j] if gammas.size else delta[j]
                normal = (x[j] - mean) * scale
                slope = scale * (slope - share * total - normal * (share * product))
                down[j] = slope + (down[j] if accumulate else zero)

    return Kernel(layer_norm_backward_part, (), dtype)
