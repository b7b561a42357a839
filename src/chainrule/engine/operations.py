"""The operations of a plan, forward and backward, over the columns or rows that one thread owns.

Each function does for its kind of operation what ``chainrule.reference`` defines. ``t`` are the tables
of the plan, ``m`` the memory of the run, ``k`` the operation; matrices are row-major, one row an example.
"""

import math

import numpy as np
from numba import carray

from chainrule.engine._intrinsics import array_at, call_kernel
from chainrule.engine._jit import address_of, device
from chainrule.engine.blas import gemm
from chainrule.engine.layout import (
    ACCUMULATE,
    ACCUMULATE_SECOND,
    ACTIVATE,
    ALPHA,
    BIAS,
    EPSILON,
    GATE,
    MOMENTUM,
    PROBABILITY,
    RUNNING_MEAN,
    RUNNING_VARIANCE,
    SECOND,
    SOURCE,
    STATISTICS,
    TRACKED,
    WEIGHT,
    WIDTH_IN,
    WIDTH_OUT,
)

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


@device
def as_real(m, x):
    """A number in the run's dtype; arithmetic with a wider one would widen whole loops."""
    return type(m.zero)(x)


@device
def value_address(t, m, v, x_at):
    """Where value v of the batch begins; value 0 is the batch of X."""
    if v == 0:
        return x_at
    return address_of(m.values) + t.value_at[v] * m.capacity * m.values.itemsize


@device
def delta_address(t, m, v):
    """Where δ of value v begins."""
    return address_of(m.deltas) + t.value_at[v] * m.capacity * m.deltas.itemsize


@device
def matrix(m, address, n_rows, width):
    """The row-major matrix at an address, as a flat array."""
    return carray(array_at(address, m.zero), n_rows * width)


@device
def panels(t, v, thread, n_threads):
    """The panels [first, last) of value v that a thread owns."""
    return t.n_panels[v] * thread // n_threads, t.n_panels[v] * (thread + 1) // n_threads


@device
def columns(t, v, thread, n_threads):
    """The columns [first, last) of value v that a thread owns."""
    first, last = panels(t, v, thread, n_threads)
    return t.edges[v, first], t.edges[v, last]


# -- linear ----------------------------------------------------------------------------------------


@device
def linear_forward(t, m, k, thread, n_threads, x_at, n_rows):
    """Z = H Wᵀ + b on own columns, equation (1)."""
    d_in, d_out = t.integers[k, WIDTH_IN], t.integers[k, WIDTH_OUT]
    h_at = value_address(t, m, t.integers[k, SOURCE], x_at)
    z_at = value_address(t, m, k + 1, x_at)
    size = m.values.itemsize
    w_at = address_of(m.parameters) + t.integers[k, WEIGHT] * size
    first, last = panels(t, k + 1, thread, n_threads)
    for p in range(first, last):
        a, b = t.edges[k + 1, p], t.edges[k + 1, p + 1]
        gemm(
            m.gemm, False, True, n_rows, b - a, d_in,
            h_at, d_in, w_at + a * d_in * size, d_in, m.zero, z_at + a * size, d_out,
        )  # fmt: skip
    bias = t.integers[k, BIAS]
    if bias >= 0:
        z = matrix(m, z_at, n_rows, d_out)
        a, b = t.edges[k + 1, first], t.edges[k + 1, last]
        for row in range(n_rows):
            for j in range(a, b):
                z[row * d_out + j] += m.parameters[bias + j]


@device
def linear_backward(t, m, k, thread, n_threads, x_at, n_rows):
    """∂W = Δᵀ H and ∂b = Σ δ on own rows of W, equations (6) and (7); Δ W on own columns, (5)."""
    d_in, d_out, source = t.integers[k, WIDTH_IN], t.integers[k, WIDTH_OUT], t.integers[k, SOURCE]
    h_at = value_address(t, m, source, x_at)
    delta_at = delta_address(t, m, k + 1)
    size = m.values.itemsize
    g_at = address_of(m.gradient) + t.integers[k, WEIGHT] * size
    first, last = panels(t, k + 1, thread, n_threads)
    for p in range(first, last):
        a, b = t.edges[k + 1, p], t.edges[k + 1, p + 1]
        gemm(
            m.gemm, True, False, b - a, d_in, n_rows,
            delta_at + a * size, d_out, h_at, d_in, m.zero, g_at + a * d_in * size, d_in,
        )  # fmt: skip
    bias = t.integers[k, BIAS]
    if bias >= 0:
        delta = matrix(m, delta_at, n_rows, d_out)
        a, b = t.edges[k + 1, first], t.edges[k + 1, last]
        for j in range(a, b):
            m.gradient[bias + j] = m.zero
        for row in range(n_rows):
            for j in range(a, b):
                m.gradient[bias + j] += delta[row * d_out + j]
    if source > 0:
        below_at = delta_address(t, m, source)
        w_at = address_of(m.parameters) + t.integers[k, WEIGHT] * size
        beta = m.one if t.integers[k, ACCUMULATE] else m.zero
        first, last = panels(t, source, thread, n_threads)
        for p in range(first, last):
            a, b = t.edges[source, p], t.edges[source, p + 1]
            gemm(
                m.gemm, False, False, n_rows, b - a, d_out,
                delta_at, d_out, w_at + a * size, d_in, beta, below_at + a * size, d_in,
            )  # fmt: skip


# -- activation, residual join ---------------------------------------------------------------------


@device
def activation_forward(t, m, k, thread, n_threads, x_at, n_rows):
    """H = σ(Z) on own columns, equation (2)."""
    width = t.integers[k, WIDTH_OUT]
    z_at = value_address(t, m, t.integers[k, SOURCE], x_at)
    h_at = value_address(t, m, k + 1, x_at)
    a, b = columns(t, k + 1, thread, n_threads)
    call_kernel(t.integers[k, ACTIVATE], (z_at, h_at, n_rows, width, a, b), (t.reals[k, ALPHA],))


@device
def activation_backward(t, m, k, thread, n_threads, x_at, n_rows):
    """δ ⊙ σ'(z) on own columns, equation (5)."""
    source, width = t.integers[k, SOURCE], t.integers[k, WIDTH_OUT]
    if source == 0:
        return
    z_at = value_address(t, m, source, x_at)
    h_at = value_address(t, m, k + 1, x_at)
    out_at, in_at = delta_address(t, m, k + 1), delta_address(t, m, source)
    a, b = columns(t, k + 1, thread, n_threads)
    integers = (z_at, h_at, out_at, in_at, n_rows, width, a, b, t.integers[k, ACCUMULATE])
    call_kernel(t.integers[k, GATE], integers, (t.reals[k, ALPHA],))


@device
def add_forward(t, m, k, thread, n_threads, x_at, n_rows):
    """h + F(h) on own columns."""
    width = t.integers[k, WIDTH_OUT]
    one = matrix(m, value_address(t, m, t.integers[k, SOURCE], x_at), n_rows, width)
    two = matrix(m, value_address(t, m, t.integers[k, SECOND], x_at), n_rows, width)
    out = matrix(m, value_address(t, m, k + 1, x_at), n_rows, width)
    a, b = columns(t, k + 1, thread, n_threads)
    for row in range(n_rows):
        for i in range(row * width + a, row * width + b):
            out[i] = one[i] + two[i]


@device
def pass_delta(t, m, k, source, accumulate, thread, n_threads, n_rows):
    """Hand δ down unchanged on own columns."""
    if source <= 0:
        return
    width = t.integers[k, WIDTH_OUT]
    above = matrix(m, delta_address(t, m, k + 1), n_rows, width)
    below = matrix(m, delta_address(t, m, source), n_rows, width)
    a, b = columns(t, k + 1, thread, n_threads)
    for row in range(n_rows):
        for i in range(row * width + a, row * width + b):
            below[i] = above[i] + (below[i] if accumulate else m.zero)


@device
def add_backward(t, m, k, thread, n_threads, n_rows):
    """The gradient flows to both addends: the identity path carries δ down whole."""
    pass_delta(t, m, k, t.integers[k, SOURCE], t.integers[k, ACCUMULATE], thread, n_threads, n_rows)
    pass_delta(t, m, k, t.integers[k, SECOND], t.integers[k, ACCUMULATE_SECOND], thread, n_threads, n_rows)


# -- dropout ---------------------------------------------------------------------------------------


@device
def mix(x):
    """SplitMix64's finalizer; see ``chainrule.reference.dropout_keeps``."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@device
def apply_mask(t, m, k, above, below, accumulate, thread, n_threads, n_rows, training, step, seed):
    """below = above ⊙ mask / (1 - p) on own columns; without ``training``, a copy."""
    width = t.integers[k, WIDTH_OUT]
    probability = t.reals[k, PROBABILITY]
    a, b = columns(t, k + 1, thread, n_threads)
    key = mix(np.uint64(seed) + GOLDEN_RATIO * np.uint64(step + 1))
    key = mix(key + GOLDEN_RATIO * np.uint64(k + 1))
    drops = training and probability > m.zero
    scale = m.one
    if drops:
        scale = m.one / (m.one - probability) if probability < m.one else m.zero
    limit = np.float64(probability)
    for row in range(n_rows):
        counter = np.uint64(row) << np.uint64(32)
        for j in range(a, b):
            value = above[row * width + j]
            if drops:
                bits = mix(key + GOLDEN_RATIO * ((counter | np.uint64(j)) + np.uint64(1)))
                keeps = np.float64(bits >> np.uint64(11)) * 2.0**-53 >= limit
                value = value * scale if keeps else m.zero
            i = row * width + j
            below[i] = value + (below[i] if accumulate else m.zero)


@device
def dropout_forward(t, m, k, thread, n_threads, x_at, n_rows, training, step, seed):
    """Inverted dropout on own columns."""
    width = t.integers[k, WIDTH_OUT]
    h = matrix(m, value_address(t, m, t.integers[k, SOURCE], x_at), n_rows, width)
    out = matrix(m, value_address(t, m, k + 1, x_at), n_rows, width)
    apply_mask(t, m, k, h, out, 0, thread, n_threads, n_rows, training, step, seed)


@device
def dropout_backward(t, m, k, thread, n_threads, n_rows, training, step, seed):
    """The same mask on δ."""
    source, width = t.integers[k, SOURCE], t.integers[k, WIDTH_OUT]
    if source > 0:
        above = matrix(m, delta_address(t, m, k + 1), n_rows, width)
        below = matrix(m, delta_address(t, m, source), n_rows, width)
        accumulate = t.integers[k, ACCUMULATE]
        apply_mask(t, m, k, above, below, accumulate, thread, n_threads, n_rows, training, step, seed)


# -- batch normalisation ---------------------------------------------------------------------------


@device
def batch_norm_forward(t, m, k, thread, n_threads, x_at, n_rows, training, track):
    """γ (h - mean) / √(variance + ε) + β on own columns; ``statistics`` keeps mean and 1/√."""
    width = t.integers[k, WIDTH_OUT]
    h = matrix(m, value_address(t, m, t.integers[k, SOURCE], x_at), n_rows, width)
    out = matrix(m, value_address(t, m, k + 1, x_at), n_rows, width)
    a, b = columns(t, k + 1, thread, n_threads)
    mean, scale = t.integers[k, STATISTICS], t.integers[k, STATISTICS] + width
    s = m.statistics
    running_mean, running_variance = t.integers[k, RUNNING_MEAN], t.integers[k, RUNNING_VARIANCE]
    epsilon, momentum = t.reals[k, EPSILON], t.reals[k, MOMENTUM]
    if training:
        for j in range(a, b):
            s[mean + j] = m.zero
            s[scale + j] = m.zero
        for row in range(n_rows):
            for j in range(a, b):
                s[mean + j] += h[row * width + j]
        for j in range(a, b):
            s[mean + j] /= n_rows
        for row in range(n_rows):
            for j in range(a, b):
                centred = h[row * width + j] - s[mean + j]
                s[scale + j] += centred * centred
        for j in range(a, b):
            variance = s[scale + j] / n_rows
            if track:
                m.buffers[running_mean + j] += momentum * (s[mean + j] - m.buffers[running_mean + j])
                if n_rows > 1:
                    unbiased = s[scale + j] / (n_rows - 1)
                    m.buffers[running_variance + j] += momentum * (unbiased - m.buffers[running_variance + j])
            s[scale + j] = m.one / math.sqrt(variance + epsilon)
        if track and thread == 0:
            m.buffers[t.integers[k, TRACKED]] += m.one
    else:
        for j in range(a, b):
            s[mean + j] = m.buffers[running_mean + j]
            s[scale + j] = m.one / math.sqrt(m.buffers[running_variance + j] + epsilon)
    weight, bias = t.integers[k, WEIGHT], t.integers[k, BIAS]
    for row in range(n_rows):
        for j in range(a, b):
            normal = (h[row * width + j] - s[mean + j]) * s[scale + j]
            if weight >= 0:
                normal *= m.parameters[weight + j]
            out[row * width + j] = normal + (m.parameters[bias + j] if bias >= 0 else m.zero)


@device
def batch_norm_backward(t, m, k, thread, n_threads, x_at, n_rows, training):
    """∂γ, ∂β and δ on own columns; the mean and the variance depend on every row of the batch."""
    source, width = t.integers[k, SOURCE], t.integers[k, WIDTH_OUT]
    h = matrix(m, value_address(t, m, source, x_at), n_rows, width)
    above = matrix(m, delta_address(t, m, k + 1), n_rows, width)
    a, b = columns(t, k + 1, thread, n_threads)
    mean, scale = t.integers[k, STATISTICS], t.integers[k, STATISTICS] + width
    s = m.statistics
    weight, bias = t.integers[k, WEIGHT], t.integers[k, BIAS]
    sums, products = m.column_sums, m.column_products
    for j in range(a, b):
        sums[j] = m.zero
        products[j] = m.zero
    for row in range(n_rows):
        for j in range(a, b):
            delta = above[row * width + j]
            sums[j] += delta
            products[j] += delta * ((h[row * width + j] - s[mean + j]) * s[scale + j])
    for j in range(a, b):
        if weight >= 0:
            m.gradient[weight + j] = products[j]
        if bias >= 0:
            m.gradient[bias + j] = sums[j]
    if source == 0:
        return
    below = matrix(m, delta_address(t, m, source), n_rows, width)
    accumulate = t.integers[k, ACCUMULATE]
    for row in range(n_rows):
        for j in range(a, b):
            i = row * width + j
            delta = above[i]
            if training:
                normal = (h[i] - s[mean + j]) * s[scale + j]
                delta -= sums[j] / n_rows + normal * (products[j] / n_rows)
            if weight >= 0:
                delta *= m.parameters[weight + j]
            below[i] = delta * s[scale + j] + (below[i] if accumulate else m.zero)


# -- layer normalisation ---------------------------------------------------------------------------


@device
def layer_norm_forward(t, m, k, thread, n_threads, x_at, n_rows):
    """γ (h - mean) / √(variance + ε) + β over each of own rows; ``row_statistics`` keeps mean and 1/√."""
    width = t.integers[k, WIDTH_OUT]
    h = matrix(m, value_address(t, m, t.integers[k, SOURCE], x_at), n_rows, width)
    out = matrix(m, value_address(t, m, k + 1, x_at), n_rows, width)
    weight, bias = t.integers[k, WEIGHT], t.integers[k, BIAS]
    means, scales = 2 * k * m.capacity, (2 * k + 1) * m.capacity
    for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
        o = row * width
        mean = m.zero
        for j in range(width):
            mean += h[o + j]
        mean /= width
        variance = m.zero
        for j in range(width):
            variance += (h[o + j] - mean) * (h[o + j] - mean)
        scale = m.one / math.sqrt(variance / width + t.reals[k, EPSILON])
        m.row_statistics[means + row] = mean
        m.row_statistics[scales + row] = scale
        for j in range(width):
            normal = (h[o + j] - mean) * scale
            if weight >= 0:
                normal *= m.parameters[weight + j]
            out[o + j] = normal + (m.parameters[bias + j] if bias >= 0 else m.zero)


@device
def layer_norm_backward(t, m, k, thread, n_threads, x_at, n_rows):
    """∂γ and ∂β on own columns, δ on own rows."""
    source, width = t.integers[k, SOURCE], t.integers[k, WIDTH_OUT]
    h = matrix(m, value_address(t, m, source, x_at), n_rows, width)
    above = matrix(m, delta_address(t, m, k + 1), n_rows, width)
    weight, bias = t.integers[k, WEIGHT], t.integers[k, BIAS]
    means, scales = 2 * k * m.capacity, (2 * k + 1) * m.capacity
    if weight >= 0:
        a, b = columns(t, k + 1, thread, n_threads)
        for j in range(a, b):
            m.gradient[weight + j] = m.zero
            if bias >= 0:
                m.gradient[bias + j] = m.zero
        for row in range(n_rows):
            mean, scale = m.row_statistics[means + row], m.row_statistics[scales + row]
            for j in range(a, b):
                delta = above[row * width + j]
                m.gradient[weight + j] += delta * ((h[row * width + j] - mean) * scale)
                if bias >= 0:
                    m.gradient[bias + j] += delta
    if source == 0:
        return
    below = matrix(m, delta_address(t, m, source), n_rows, width)
    accumulate = t.integers[k, ACCUMULATE]
    for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
        o = row * width
        mean, scale = m.row_statistics[means + row], m.row_statistics[scales + row]
        total = m.zero
        product = m.zero
        for j in range(width):
            delta = above[o + j] * (m.parameters[weight + j] if weight >= 0 else m.one)
            total += delta
            product += delta * ((h[o + j] - mean) * scale)
        for j in range(width):
            delta = above[o + j] * (m.parameters[weight + j] if weight >= 0 else m.one)
            normal = (h[o + j] - mean) * scale
            delta = scale * (delta - total / width - normal * (product / width))
            below[o + j] = delta + (below[o + j] if accumulate else m.zero)
