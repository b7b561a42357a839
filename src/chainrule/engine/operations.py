"""The operations of a plan, forward and backward, over the columns or rows that one thread owns.

Each function does for its kind of operation what ``chainrule.reference`` defines. ``t`` are the tables
of the plan, ``m`` the memory of the run, ``k`` the operation; matrices are row-major, one row an example.
"""

import math

import numpy as np

from chainrule.engine._intrinsics import call_kernel
from chainrule.engine._jit import device
from chainrule.engine.layout import (
    ACCUMULATE,
    ACCUMULATE_SECOND,
    ACTIVATE,
    ALPHA,
    BIAS,
    EPSILON,
    GATE,
    MAX_PANELS,
    MOMENTUM,
    N_INTEGERS,
    N_REALS,
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
from chainrule.engine.products import NORMAL, TRANSPOSED, product, product_with_transpose
from chainrule.engine.tiles import ACCUMULATE as ADD_TO
from chainrule.engine.tiles import SET
from chainrule.engine.views import number_at, part

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


@device
def integer(t, k, field):
    """One field of operation k's row in the table of integers."""
    return number_at(t.integers, k * N_INTEGERS + field)


@device
def real(t, m, k, field):
    """One field of operation k's row in the table of reals."""
    return part(m, t.reals, k * N_REALS + field, 1)[0]


@device
def edge(t, v, p):
    """The first column of panel p of value v."""
    return number_at(t.edges, v * (MAX_PANELS + 1) + p)


@device
def as_real(m, x):
    """A number in the run's dtype; arithmetic with a wider one would widen whole loops."""
    return type(m.zero)(x)


@device
def value_address(t, m, v, x_at):
    """Where value v of the batch begins; value 0 is the batch of X."""
    if v == 0:
        return x_at
    return m.values + number_at(t.value_at, v) * m.capacity * m.itemsize


@device
def delta_address(t, m, v):
    """Where δ of value v begins."""
    return m.deltas + number_at(t.value_at, v) * m.capacity * m.itemsize


@device
def panels(t, v, thread, n_threads):
    """The panels [first, last) of value v that a thread owns."""
    return number_at(t.n_panels, v) * thread // n_threads, number_at(t.n_panels, v) * (
        thread + 1
    ) // n_threads


@device
def columns(t, v, thread, n_threads):
    """The columns of value v that a thread owns: the first, and how many."""
    first, last = panels(t, v, thread, n_threads)
    return edge(t, v, first), edge(t, v, last) - edge(t, v, first)


# -- linear ----------------------------------------------------------------------------------------


@device
def linear_forward(t, m, k, thread, n_threads, x_at, n_rows):
    """Z = H Wᵀ + b on own columns, equation (1), a panel at a time."""
    d_in, d_out = integer(t, k, WIDTH_IN), integer(t, k, WIDTH_OUT)
    h_at = value_address(t, m, integer(t, k, SOURCE), x_at)
    z_at = value_address(t, m, k + 1, x_at)
    size = m.itemsize
    bias = integer(t, k, BIAS)
    scratch = m.scratch + thread * m.scratch_bytes
    first, last = panels(t, k + 1, thread, n_threads)
    for p in range(first, last):
        a, b = edge(t, k + 1, p), edge(t, k + 1, p + 1)
        w_at = m.parameters + (integer(t, k, WEIGHT) + a * d_in) * size
        row = m.parameters + (bias + a) * size if bias >= 0 else 0
        shape = (n_rows, b - a, d_in)
        left, right, result = (h_at, d_in * size), (w_at, d_in * size), (z_at + a * size, d_out * size)
        product_with_transpose(m, shape, left, right, result, row, scratch)


@device
def linear_backward(t, m, k, thread, n_threads, x_at, n_rows):
    """∂W = Δᵀ H and ∂b = Σ δ on own rows of W, equations (6) and (7); Δ W on own columns, (5)."""
    d_in, d_out, source = integer(t, k, WIDTH_IN), integer(t, k, WIDTH_OUT), integer(t, k, SOURCE)
    h_at = value_address(t, m, source, x_at)
    delta_at = delta_address(t, m, k + 1)
    size = m.itemsize
    w_at, g_at = m.parameters + integer(t, k, WEIGHT) * size, m.gradient + integer(t, k, WEIGHT) * size
    scratch = m.scratch + thread * m.scratch_bytes
    first, last = panels(t, k + 1, thread, n_threads)
    for p in range(first, last):
        a, b = edge(t, k + 1, p), edge(t, k + 1, p + 1)
        left, right = (delta_at + a * size, d_out * size), (h_at, d_in * size)
        result = (g_at + a * d_in * size, d_in * size)
        product(m, TRANSPOSED, (b - a, d_in, n_rows), left, right, result, SET, scratch)
    bias = integer(t, k, BIAS)
    if bias >= 0:
        a, n = columns(t, k + 1, thread, n_threads)
        column_sums(m, delta_at + a * size, d_out, n_rows, part(m, m.gradient, bias + a, n))
    if source > 0:
        below_at = delta_address(t, m, source)
        what = ADD_TO if integer(t, k, ACCUMULATE) else SET
        first, last = panels(t, source, thread, n_threads)
        for p in range(first, last):
            a, b = edge(t, source, p), edge(t, source, p + 1)
            left, right = (delta_at, d_out * size), (w_at + a * size, d_in * size)
            result = (below_at + a * size, d_in * size)
            product(m, NORMAL, (n_rows, b - a, d_out), left, right, result, what, scratch)


@device
def column_sums(m, address, stride, n_rows, sums):
    """Sums down the columns of a matrix; ``stride`` in entries."""
    n = sums.size
    for j in range(n):
        sums[j] = m.zero
    for row in range(n_rows):
        delta = part(m, address, row * stride, n)
        for j in range(n):
            sums[j] += delta[j]


# -- activation, residual join ---------------------------------------------------------------------


@device
def activation_forward(t, m, k, thread, n_threads, x_at, n_rows):
    """H = σ(Z) on own columns, equation (2)."""
    width = integer(t, k, WIDTH_OUT)
    z_at = value_address(t, m, integer(t, k, SOURCE), x_at)
    h_at = value_address(t, m, k + 1, x_at)
    a, n = columns(t, k + 1, thread, n_threads)
    call_kernel(integer(t, k, ACTIVATE), (z_at, h_at, n_rows, width, a, a + n), (real(t, m, k, ALPHA),))


@device
def activation_backward(t, m, k, thread, n_threads, x_at, n_rows):
    """δ ⊙ σ'(z) on own columns, equation (5)."""
    source, width = integer(t, k, SOURCE), integer(t, k, WIDTH_OUT)
    if source == 0:
        return
    z_at = value_address(t, m, source, x_at)
    h_at = value_address(t, m, k + 1, x_at)
    out_at, in_at = delta_address(t, m, k + 1), delta_address(t, m, source)
    a, n = columns(t, k + 1, thread, n_threads)
    integers = (z_at, h_at, out_at, in_at, n_rows, width, a, a + n, integer(t, k, ACCUMULATE))
    call_kernel(integer(t, k, GATE), integers, (real(t, m, k, ALPHA),))


@device
def add_forward(t, m, k, thread, n_threads, x_at, n_rows):
    """h + F(h) on own columns."""
    width = integer(t, k, WIDTH_OUT)
    one_at = value_address(t, m, integer(t, k, SOURCE), x_at)
    two_at = value_address(t, m, integer(t, k, SECOND), x_at)
    out_at = value_address(t, m, k + 1, x_at)
    a, n = columns(t, k + 1, thread, n_threads)
    for row in range(n_rows):
        offset = row * width + a
        one, two, out = part(m, one_at, offset, n), part(m, two_at, offset, n), part(m, out_at, offset, n)
        for j in range(n):
            out[j] = one[j] + two[j]


@device
def pass_delta(t, m, k, source, accumulate, thread, n_threads, n_rows):
    """Hand δ down unchanged on own columns."""
    if source <= 0:
        return
    width = integer(t, k, WIDTH_OUT)
    above_at, below_at = delta_address(t, m, k + 1), delta_address(t, m, source)
    a, n = columns(t, k + 1, thread, n_threads)
    for row in range(n_rows):
        above, below = part(m, above_at, row * width + a, n), part(m, below_at, row * width + a, n)
        for j in range(n):
            below[j] = above[j] + (below[j] if accumulate else m.zero)


@device
def add_backward(t, m, k, thread, n_threads, n_rows):
    """The gradient flows to both addends: the identity path carries δ down whole."""
    pass_delta(t, m, k, integer(t, k, SOURCE), integer(t, k, ACCUMULATE), thread, n_threads, n_rows)
    pass_delta(t, m, k, integer(t, k, SECOND), integer(t, k, ACCUMULATE_SECOND), thread, n_threads, n_rows)


# -- dropout ---------------------------------------------------------------------------------------


@device
def mix(x):
    """SplitMix64's finalizer; see ``chainrule.reference.dropout_keeps``."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@device
def apply_mask(t, m, k, above_at, below_at, accumulate, thread, n_threads, n_rows, training, step, seed):
    """below = above ⊙ mask / (1 - p) on own columns; without ``training``, a copy."""
    width = integer(t, k, WIDTH_OUT)
    probability = real(t, m, k, PROBABILITY)
    a, n = columns(t, k + 1, thread, n_threads)
    key = mix(np.uint64(seed) + GOLDEN_RATIO * np.uint64(step + 1))
    key = mix(key + GOLDEN_RATIO * np.uint64(k + 1))
    drops = training and probability > m.zero
    scale = m.one
    if drops:
        scale = m.one / (m.one - probability) if probability < m.one else m.zero
    limit = np.float64(probability)
    for row in range(n_rows):
        above, below = part(m, above_at, row * width + a, n), part(m, below_at, row * width + a, n)
        counter = np.uint64(row) << np.uint64(32)
        for j in range(n):
            value = above[j]
            if drops:
                bits = mix(key + GOLDEN_RATIO * ((counter | np.uint64(a + j)) + np.uint64(1)))
                keeps = np.float64(bits >> np.uint64(11)) * 2.0**-53 >= limit
                value = value * scale if keeps else m.zero
            below[j] = value + (below[j] if accumulate else m.zero)


@device
def dropout_forward(t, m, k, thread, n_threads, x_at, n_rows, training, step, seed):
    """Inverted dropout on own columns."""
    h_at = value_address(t, m, integer(t, k, SOURCE), x_at)
    out_at = value_address(t, m, k + 1, x_at)
    apply_mask(t, m, k, h_at, out_at, 0, thread, n_threads, n_rows, training, step, seed)


@device
def dropout_backward(t, m, k, thread, n_threads, n_rows, training, step, seed):
    """The same mask on δ."""
    source = integer(t, k, SOURCE)
    if source > 0:
        above_at, below_at = delta_address(t, m, k + 1), delta_address(t, m, source)
        accumulate = integer(t, k, ACCUMULATE)
        apply_mask(t, m, k, above_at, below_at, accumulate, thread, n_threads, n_rows, training, step, seed)


# -- batch normalisation ---------------------------------------------------------------------------


@device
def scale_and_shift(m, normal, gamma, beta):
    """γ x̂ + β, where the operation has a scale and a shift (an array of no entries stands for none)."""
    n = normal.size
    if gamma.size:
        for j in range(n):
            normal[j] *= gamma[j]
    if beta.size:
        for j in range(n):
            normal[j] += beta[j]


@device
def own_parameters(t, m, vector, k, which, a, n):
    """Own entries of γ (``which`` WEIGHT) or β (BIAS) in a flat vector; no entries where there is none."""
    offset = integer(t, k, which)
    return part(m, vector, offset + a, n) if offset >= 0 else part(m, vector, 0, 0)


@device
def batch_statistics(t, m, k, h_at, a, n, n_rows, track):
    """Mean and 1/√(variance + ε) of own columns over the batch; with ``track``, the running averages too."""
    width = integer(t, k, WIDTH_OUT)
    s_at = m.statistics
    mean = part(m, s_at, integer(t, k, STATISTICS) + a, n)
    scale = part(m, s_at, integer(t, k, STATISTICS) + width + a, n)
    running_mean = part(m, m.buffers, integer(t, k, RUNNING_MEAN) + a, n)
    running_variance = part(m, m.buffers, integer(t, k, RUNNING_VARIANCE) + a, n)
    epsilon, momentum = real(t, m, k, EPSILON), real(t, m, k, MOMENTUM)
    for j in range(n):
        mean[j] = m.zero
        scale[j] = m.zero
    for row in range(n_rows):
        h = part(m, h_at, row * width + a, n)
        for j in range(n):
            mean[j] += h[j]
    for j in range(n):
        mean[j] /= n_rows
    for row in range(n_rows):
        h = part(m, h_at, row * width + a, n)
        for j in range(n):
            scale[j] += (h[j] - mean[j]) * (h[j] - mean[j])
    for j in range(n):
        if track:
            running_mean[j] += momentum * (mean[j] - running_mean[j])
            if n_rows > 1:  # the variance of one row is not defined
                running_variance[j] += momentum * (scale[j] / (n_rows - 1) - running_variance[j])
        scale[j] = m.one / math.sqrt(scale[j] / n_rows + epsilon)


@device
def batch_norm_forward(t, m, k, thread, n_threads, x_at, n_rows, training, track):
    """γ (h - mean) / √(variance + ε) + β on own columns; ``statistics`` keeps mean and 1/√."""
    width = integer(t, k, WIDTH_OUT)
    h_at = value_address(t, m, integer(t, k, SOURCE), x_at)
    out_at = value_address(t, m, k + 1, x_at)
    a, n = columns(t, k + 1, thread, n_threads)
    mean = part(m, m.statistics, integer(t, k, STATISTICS) + a, n)
    scale = part(m, m.statistics, integer(t, k, STATISTICS) + width + a, n)
    if training:
        batch_statistics(t, m, k, h_at, a, n, n_rows, track)
        if track and thread == 0:
            part(m, m.buffers, integer(t, k, TRACKED), 1)[0] += m.one
    else:
        running_mean = part(m, m.buffers, integer(t, k, RUNNING_MEAN) + a, n)
        running_variance = part(m, m.buffers, integer(t, k, RUNNING_VARIANCE) + a, n)
        for j in range(n):
            mean[j] = running_mean[j]
            scale[j] = m.one / math.sqrt(running_variance[j] + real(t, m, k, EPSILON))
    gamma = own_parameters(t, m, m.parameters, k, WEIGHT, a, n)
    beta = own_parameters(t, m, m.parameters, k, BIAS, a, n)
    for row in range(n_rows):
        h, out = part(m, h_at, row * width + a, n), part(m, out_at, row * width + a, n)
        for j in range(n):
            out[j] = (h[j] - mean[j]) * scale[j]
        scale_and_shift(m, out, gamma, beta)


@device
def batch_norm_backward(t, m, k, thread, n_threads, x_at, n_rows, training):
    """∂γ, ∂β and δ on own columns; the mean and the variance depend on every row of the batch."""
    source, width = integer(t, k, SOURCE), integer(t, k, WIDTH_OUT)
    h_at, above_at = value_address(t, m, source, x_at), delta_address(t, m, k + 1)
    a, n = columns(t, k + 1, thread, n_threads)
    mean = part(m, m.statistics, integer(t, k, STATISTICS) + a, n)
    scale = part(m, m.statistics, integer(t, k, STATISTICS) + width + a, n)
    sums, products = part(m, m.column_sums, a, n), part(m, m.column_products, a, n)
    for j in range(n):
        sums[j] = m.zero
        products[j] = m.zero
    for row in range(n_rows):
        h, above = part(m, h_at, row * width + a, n), part(m, above_at, row * width + a, n)
        for j in range(n):
            sums[j] += above[j]
            products[j] += above[j] * ((h[j] - mean[j]) * scale[j])
    gamma = own_parameters(t, m, m.parameters, k, WEIGHT, a, n)
    gamma_gradient = own_parameters(t, m, m.gradient, k, WEIGHT, a, n)
    beta_gradient = own_parameters(t, m, m.gradient, k, BIAS, a, n)
    for j in range(gamma_gradient.size):
        gamma_gradient[j] = products[j]
    for j in range(beta_gradient.size):
        beta_gradient[j] = sums[j]
    if source == 0:
        return
    share = m.one / as_real(m, n_rows) if training else m.zero  # in evaluation the statistics are constants
    accumulate = integer(t, k, ACCUMULATE)
    below_at = delta_address(t, m, source)
    for row in range(n_rows):
        h, above = part(m, h_at, row * width + a, n), part(m, above_at, row * width + a, n)
        below = part(m, below_at, row * width + a, n)
        for j in range(n):
            normal = (h[j] - mean[j]) * scale[j]
            delta = (above[j] - share * sums[j] - normal * (share * products[j])) * scale[j]
            if gamma.size:
                delta *= gamma[j]
            below[j] = delta + (below[j] if accumulate else m.zero)


# -- layer normalisation ---------------------------------------------------------------------------


@device
def row_statistics(m, k, n_rows):
    """Mean and 1/√(variance + ε) of each row, kept from the forward pass for the backward one."""
    means = part(m, m.row_statistics, 2 * k * m.capacity, n_rows)
    return means, part(m, m.row_statistics, (2 * k + 1) * m.capacity, n_rows)


@device
def layer_norm_forward(t, m, k, thread, n_threads, x_at, n_rows):
    """γ (h - mean) / √(variance + ε) + β over each of own rows; ``row_statistics`` keeps mean and 1/√."""
    n = integer(t, k, WIDTH_OUT)
    h_at = value_address(t, m, integer(t, k, SOURCE), x_at)
    out_at = value_address(t, m, k + 1, x_at)
    gamma = own_parameters(t, m, m.parameters, k, WEIGHT, 0, n)
    beta = own_parameters(t, m, m.parameters, k, BIAS, 0, n)
    means, scales = row_statistics(m, k, n_rows)
    share = m.one / as_real(m, n)
    for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
        h, out = part(m, h_at, row * n, n), part(m, out_at, row * n, n)
        mean = m.zero
        for j in range(n):
            mean += h[j]
        mean *= share
        variance = m.zero
        for j in range(n):
            variance += (h[j] - mean) * (h[j] - mean)
        scale = m.one / math.sqrt(variance * share + real(t, m, k, EPSILON))
        means[row] = mean
        scales[row] = scale
        for j in range(n):
            out[j] = (h[j] - mean) * scale
        scale_and_shift(m, out, gamma, beta)


@device
def layer_norm_parameters(t, m, k, thread, n_threads, h_at, above_at, n_rows):
    """∂γ and ∂β on own columns."""
    width = integer(t, k, WIDTH_OUT)
    means, scales = row_statistics(m, k, n_rows)
    a, n = columns(t, k + 1, thread, n_threads)
    gamma_gradient = own_parameters(t, m, m.gradient, k, WEIGHT, a, n)
    beta_gradient = own_parameters(t, m, m.gradient, k, BIAS, a, n)
    for j in range(gamma_gradient.size):
        gamma_gradient[j] = m.zero
    for j in range(beta_gradient.size):
        beta_gradient[j] = m.zero
    for row in range(n_rows):
        h, above = part(m, h_at, row * width + a, n), part(m, above_at, row * width + a, n)
        mean, scale = means[row], scales[row]
        for j in range(gamma_gradient.size):
            gamma_gradient[j] += above[j] * ((h[j] - mean) * scale)
        for j in range(beta_gradient.size):
            beta_gradient[j] += above[j]


@device
def layer_norm_backward(t, m, k, thread, n_threads, x_at, n_rows):
    """∂γ and ∂β on own columns, δ on own rows."""
    source, n = integer(t, k, SOURCE), integer(t, k, WIDTH_OUT)
    h_at, above_at = value_address(t, m, source, x_at), delta_address(t, m, k + 1)
    layer_norm_parameters(t, m, k, thread, n_threads, h_at, above_at, n_rows)
    if source == 0:
        return
    gamma = own_parameters(t, m, m.parameters, k, WEIGHT, 0, n)
    means, scales = row_statistics(m, k, n_rows)
    share = m.one / as_real(m, n)
    accumulate = integer(t, k, ACCUMULATE)
    below_at = delta_address(t, m, source)
    for row in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
        h, above, below = (
            part(m, h_at, row * n, n),
            part(m, above_at, row * n, n),
            part(m, below_at, row * n, n),
        )
        mean, scale = means[row], scales[row]
        total = m.zero
        product = m.zero
        for j in range(n):
            delta = above[j] * gamma[j] if gamma.size else above[j]
            total += delta
            product += delta * ((h[j] - mean) * scale)
        for j in range(n):
            delta = above[j] * gamma[j] if gamma.size else above[j]
            normal = (h[j] - mean) * scale
            delta = scale * (delta - share * total - normal * (share * product))
            below[j] = delta + (below[j] if accumulate else m.zero)
