"""The compiled loop: every thread runs it over the columns it owns, for a whole stretch of steps.

A step is the chapter's: gather the batch, go forward by (1) and (2), take the loss and its slope (3),
go back by (5)-(7), then let every thread update the parameters it owns. Threads meet at barriers only
where one reads what others wrote (``chainrule.engine.layout``).
"""

import math
from collections import namedtuple

import numpy as np
from numba import carray

from chainrule.engine import layout as at
from chainrule.engine import operations as do
from chainrule.engine._intrinsics import array_at, call_kernel, flush_denormals, restore_denormals
from chainrule.engine._jit import address_of, device, entry
from chainrule.engine.layout import MAX_PANELS
from chainrule.engine.threads import barrier

__all__ = ["Memory", "Task", "predict", "train"]

# The arrays of a run. ``capacity`` is the number of rows that values and deltas have room for.
Memory = namedtuple(
    "Memory",
    "parameters buffers gradient first second previous values deltas batch statistics row_statistics "
    "column_sums column_products row_losses losses norms penalties operation_sums slot_sums barrier "
    "capacity gemm zero one",
)

# What one call is asked to do.
Task = namedtuple(
    "Task",
    "X sparse_values sparse_columns sparse_starts is_sparse targets_address weights order identity_order "
    "batch_size coefficients total_weight loss_kernel loss_setting loss_scale update_kernel l2 l1 per_example "
    "clip_norm decay_all training track first_step seed telemetry_every",
)


@device
def gather(m, task, start, n_rows, thread, n_threads, width):
    """Copy own rows of the batch out of X, in the order asked for; dense rows from sparse ones."""
    for i in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
        row = task.order[start + i]
        if task.is_sparse:
            for j in range(width):
                m.batch[i * width + j] = m.zero
            for q in range(task.sparse_starts[row], task.sparse_starts[row + 1]):
                m.batch[i * width + task.sparse_columns[q]] += task.sparse_values[q]
        else:
            for j in range(width):
                m.batch[i * width + j] = task.X[row, j]


@device
def forward(t, m, thread, n_threads, x_at, n_rows, training, track, step, seed, generation):
    """Every operation in order; returns the barrier's generation."""
    for k in range(t.integers.shape[0]):
        if t.integers[k, at.BARRIER_FORWARD]:
            generation = barrier(address_of(m.barrier), n_threads, generation)
        kind = t.integers[k, at.KIND]
        if kind == at.LINEAR:
            do.linear_forward(t, m, k, thread, n_threads, x_at, n_rows)
        elif kind == at.ACTIVATION:
            do.activation_forward(t, m, k, thread, n_threads, x_at, n_rows)
        elif kind == at.BATCH_NORM:
            do.batch_norm_forward(t, m, k, thread, n_threads, x_at, n_rows, training, track)
        elif kind == at.LAYER_NORM:
            do.layer_norm_forward(t, m, k, thread, n_threads, x_at, n_rows)
        elif kind == at.DROPOUT:
            do.dropout_forward(t, m, k, thread, n_threads, x_at, n_rows, training, step, seed)
        elif kind == at.ADD:
            do.add_forward(t, m, k, thread, n_threads, x_at, n_rows)
    return generation


@device
def backward(t, m, thread, n_threads, x_at, n_rows, training, step, seed, generation):
    """One right-to-left sweep; returns the barrier's generation."""
    for k in range(t.integers.shape[0] - 1, -1, -1):
        if t.integers[k, at.BARRIER_BACKWARD]:
            generation = barrier(address_of(m.barrier), n_threads, generation)
        kind = t.integers[k, at.KIND]
        if kind == at.LINEAR:
            do.linear_backward(t, m, k, thread, n_threads, x_at, n_rows)
        elif kind == at.ACTIVATION:
            do.activation_backward(t, m, k, thread, n_threads, x_at, n_rows)
        elif kind == at.BATCH_NORM:
            do.batch_norm_backward(t, m, k, thread, n_threads, x_at, n_rows, training)
        elif kind == at.LAYER_NORM:
            do.layer_norm_backward(t, m, k, thread, n_threads, x_at, n_rows)
        elif kind == at.DROPOUT:
            do.dropout_backward(t, m, k, thread, n_threads, n_rows, training, step, seed)
        elif kind == at.ADD:
            do.add_backward(t, m, k, thread, n_threads, n_rows)
    return generation


@device
def batch_weight(task, start, n_rows):
    """Total weight of the batch: what its summed loss is divided by."""
    if task.total_weight > 0.0:
        return task.total_weight
    if task.weights.size == 0:
        return float(n_rows)
    total = 0.0
    for i in range(n_rows):
        total += task.weights[task.order[start + i]]
    return total


@device
def loss_and_slope(t, m, task, start, n_rows, total, thread, n_threads):
    """Loss and slope of own rows, each scaled by its example's share of the batch's weight."""
    last = t.integers.shape[0]
    width = t.widths[last]
    z_at, slope_at = do.value_address(t, m, last, 0), do.delta_address(t, m, last)
    first_row, last_row = n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads
    order_at = address_of(task.order) + start * 8
    integers = (
        z_at, slope_at, address_of(m.row_losses), task.targets_address, order_at, first_row, last_row, width,
    )  # fmt: skip
    call_kernel(task.loss_kernel, integers, (task.loss_setting,))
    slope = do.matrix(m, slope_at, n_rows, width)
    for i in range(first_row, last_row):
        share = task.loss_scale / total if total > 0.0 else 0.0
        if task.weights.size:
            share *= task.weights[task.order[start + i]]
        scale = do.as_real(m, share)
        m.row_losses[i] *= scale
        for j in range(i * width, (i + 1) * width):
            slope[j] *= scale


@device
def penalised_gradient(m, task, i, penalised, factor):
    """Entry i of the gradient of loss and penalty together."""
    g = m.gradient[i]
    if penalised:
        w = m.parameters[i]
        sign = m.one if w > m.zero else (-m.one if w < m.zero else m.zero)
        g += do.as_real(m, factor * task.l2) * w + do.as_real(m, factor * task.l1) * sign
    return g


@device
def owned_range(t, k, p, which):
    """The parameters [first, last) of one panel: rows of W (or γ) for ``which`` 0, of b (or β) for 1."""
    offset = t.integers[k, at.WEIGHT] if which == 0 else t.integers[k, at.BIAS]
    if offset < 0:
        return 0, 0
    stride = t.integers[k, at.WIDTH_IN] if which == 0 and t.integers[k, at.KIND] == at.LINEAR else 1
    return offset + t.edges[k + 1, p] * stride, offset + t.edges[k + 1, p + 1] * stride


@device
def clip_factor(t, m, task, factor, thread, n_threads, generation):
    """c / ‖g‖ where the global norm ‖g‖ is above c, else 1 (section 4)."""
    for k in range(t.integers.shape[0]):
        first, last = do.panels(t, k + 1, thread, n_threads)
        for p in range(first, last):
            total = 0.0
            for which in range(2):
                begin, end = owned_range(t, k, p, which)
                penalised = which == 0 and t.integers[k, at.KIND] == at.LINEAR
                for i in range(begin, end):
                    g = np.float64(penalised_gradient(m, task, i, penalised, factor))
                    total += g * g
            m.norms[k * MAX_PANELS + p] = total
    generation = barrier(address_of(m.barrier), n_threads, generation)
    total = 0.0
    for q in range(m.norms.size):  # in the same order on every thread
        total += m.norms[q]
    norm = math.sqrt(total)
    return (task.clip_norm / norm if norm > task.clip_norm else 1.0), generation


@device
def update_owned(t, m, task, number, n_rows, factor, clip, thread, n_threads):
    """One optimizer step on the parameters this thread owns."""
    size = m.parameters.itemsize
    for k in range(t.integers.shape[0]):
        first, last = do.panels(t, k + 1, thread, n_threads)
        for p in range(first, last):
            for which in range(2):
                begin, end = owned_range(t, k, p, which)
                if end == begin:
                    continue
                penalised = which == 0 and t.integers[k, at.KIND] == at.LINEAR
                strength = factor if penalised else 0.0
                c = task.coefficients
                value = call_kernel(
                    task.update_kernel,
                    (
                        address_of(m.parameters) + begin * size, address_of(m.first) + begin * size,
                        address_of(m.second) + begin * size, address_of(m.gradient) + begin * size,
                        end - begin,
                    ),
                    (
                        do.as_real(m, clip), do.as_real(m, strength * task.l2),
                        do.as_real(m, strength * task.l1),
                        c[number, 0] if penalised or task.decay_all else m.zero, c[number, 1],
                        c[number, 2], c[number, 3], c[number, 4], c[number, 5], c[number, 6], c[number, 7],
                    ),
                )  # fmt: skip
                m.penalties[k * MAX_PANELS + p] += value * n_rows


@device
def watch_operations(t, m, sample, n_rows, thread, n_threads):
    """Sums over own columns of every value and its δ: Σh², Σδ², zeros, saturated units, non-finite."""
    for k in range(t.integers.shape[0]):
        width = t.integers[k, at.WIDTH_OUT]
        h_at = do.value_address(t, m, k + 1, 0)
        h = do.matrix(m, h_at, n_rows, width)
        delta = do.matrix(m, do.delta_address(t, m, k + 1), n_rows, width)
        first, last = do.panels(t, k + 1, thread, n_threads)
        for p in range(first, last):
            a, b = t.edges[k + 1, p], t.edges[k + 1, p + 1]
            squares = 0.0
            delta_squares = 0.0
            zeros = 0
            finite = 0
            for row in range(n_rows):
                for i in range(row * width + a, row * width + b):
                    squares += np.float64(h[i]) * h[i]
                    delta_squares += np.float64(delta[i]) * delta[i]
                    zeros += h[i] == m.zero
                    finite += math.isfinite(h[i])
                    finite += math.isfinite(delta[i])
            m.operation_sums[sample, k, p, 0] = squares
            m.operation_sums[sample, k, p, 1] = delta_squares
            m.operation_sums[sample, k, p, 2] = zeros
            m.operation_sums[sample, k, p, 4] = 2 * n_rows * (b - a) - finite


@device
def watch_saturation(t, m, x_at, sample, n_rows, thread, n_threads):
    """Number of saturated units among own columns of every activation."""
    for k in range(t.integers.shape[0]):
        if t.integers[k, at.KIND] != at.ACTIVATION:
            continue
        width = t.integers[k, at.WIDTH_OUT]
        z_at = do.value_address(t, m, t.integers[k, at.SOURCE], x_at)
        h_at = do.value_address(t, m, k + 1, x_at)
        first, last = do.panels(t, k + 1, thread, n_threads)
        for p in range(first, last):
            a, b = t.edges[k + 1, p], t.edges[k + 1, p + 1]
            count = call_kernel(
                t.integers[k, at.SATURATED], (z_at, h_at, n_rows, width, a, b), (t.reals[k, at.ALPHA],)
            )
            m.operation_sums[sample, k, p, 3] = count


@device
def watch_parameters(t, m, task, sample, factor, before, thread, n_threads):
    """‖g‖² and ‖w‖² of own parameters before the update, ‖Δw‖² after it."""
    for k in range(t.integers.shape[0]):
        first, last = do.panels(t, k + 1, thread, n_threads)
        for p in range(first, last):
            for which in range(2):
                begin, end = owned_range(t, k, p, which)
                slot = t.integers[k, at.WEIGHT_SLOT + which]
                if end == begin:
                    continue
                penalised = which == 0 and t.integers[k, at.KIND] == at.LINEAR
                gradient_squares = 0.0
                squares = 0.0
                for i in range(begin, end):
                    w = np.float64(m.parameters[i])
                    if before:
                        g = np.float64(penalised_gradient(m, task, i, penalised, factor))
                        gradient_squares += g * g
                        squares += w * w
                        m.previous[i] = m.parameters[i]
                    else:
                        change = w - m.previous[i]
                        squares += change * change
                if before:
                    m.slot_sums[sample, slot, p, 0] = gradient_squares
                    m.slot_sums[sample, slot, p, 1] = squares
                else:
                    m.slot_sums[sample, slot, p, 2] = squares


@device
def batch_address(t, m, task, start, n_rows, thread, n_threads):
    """Where the batch of X is: in X itself where rows are visited in order, else gathered."""
    width = t.widths[0]
    if task.identity_order and not task.is_sparse:
        return address_of(task.X) + start * width * task.X.itemsize
    gather(m, task, start, n_rows, thread, n_threads, width)
    return address_of(m.batch)


@entry
def train(thread, n_threads, t, m, task):
    """Run the steps of a task; all threads of it call this together."""
    control = flush_denormals()
    generation = 0
    sample = 0
    n = task.order.size
    n_steps = (n + task.batch_size - 1) // task.batch_size
    for number in range(n_steps):
        start = number * task.batch_size
        n_rows = min(task.batch_size, n - start)
        step = task.first_step + number
        x_at = batch_address(t, m, task, start, n_rows, thread, n_threads)
        generation = forward(
            t, m, thread, n_threads, x_at, n_rows, task.training, task.track, step, task.seed, generation
        )
        if t.loss_barrier:
            generation = barrier(address_of(m.barrier), n_threads, generation)
        total = batch_weight(task, start, n_rows)
        loss_and_slope(t, m, task, start, n_rows, total, thread, n_threads)
        generation = backward(
            t, m, thread, n_threads, x_at, n_rows, task.training, step, task.seed, generation
        )
        if thread == 0:  # every row's loss is there: the backward pass begins with a barrier
            loss = 0.0
            for i in range(n_rows):
                loss += m.row_losses[i]
            m.losses[0] += loss * n_rows
        factor = 1.0
        if task.per_example:
            factor = 1.0 / total if total > 0.0 else 0.0
        watching = task.telemetry_every > 0 and step % task.telemetry_every == 0
        if watching:
            watch_operations(t, m, sample, n_rows, thread, n_threads)
            watch_saturation(t, m, x_at, sample, n_rows, thread, n_threads)
            watch_parameters(t, m, task, sample, factor, True, thread, n_threads)
        # Nobody may change a weight, or go on to the next batch, while another thread still reads.
        generation = barrier(address_of(m.barrier), n_threads, generation)
        if task.update_kernel:
            clip = 1.0
            if task.clip_norm > 0.0:
                clip, generation = clip_factor(t, m, task, factor, thread, n_threads, generation)
            update_owned(t, m, task, number, n_rows, factor, clip, thread, n_threads)
        if watching:
            watch_parameters(t, m, task, sample, factor, False, thread, n_threads)
            sample += 1
    restore_denormals(control)


@entry
def predict(thread, n_threads, t, m, task, output):
    """Raw outputs of every row of X in evaluation mode, a batch after another."""
    control = flush_denormals()
    generation = 0
    n = task.order.size
    last = t.integers.shape[0]
    width = t.widths[last]
    for start in range(0, n, task.batch_size):
        n_rows = min(task.batch_size, n - start)
        x_at = batch_address(t, m, task, start, n_rows, thread, n_threads)
        generation = forward(t, m, thread, n_threads, x_at, n_rows, False, False, 0, 0, generation)
        generation = barrier(address_of(m.barrier), n_threads, generation)
        z = carray(array_at(do.value_address(t, m, last, 0), m.zero), n_rows * width)
        for i in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
            for j in range(width):
                output[start + i, j] = z[i * width + j]
        generation = barrier(address_of(m.barrier), n_threads, generation)
    restore_denormals(control)
