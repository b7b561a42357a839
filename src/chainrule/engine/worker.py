"""The compiled loop: every thread runs it over the columns it owns, for a whole stretch of steps.

A step is the chapter's: gather the batch, go forward by (1) and (2), take the loss and its slope (3),
go back by (5)-(7), then let every thread update the parameters it owns. Threads meet at barriers only
where one reads what others wrote (``chainrule.engine.layout``).
"""

import math
from collections import namedtuple

import numpy as np

from chainrule.engine import layout as at
from chainrule.engine import operations as do
from chainrule.engine._intrinsics import call_kernel, flush_denormals, restore_denormals
from chainrule.engine._jit import device, entry
from chainrule.engine.layout import MAX_PANELS
from chainrule.engine.threads import barrier
from chainrule.engine.views import doubles, integers, number_at, part

__all__ = ["Memory", "Task", "run"]

# Addresses of the arrays of a run, and a few numbers. (As arrays they would each be seven arguments to
# every function below, and compiling those takes many times as long.) ``capacity`` is the number of rows
# that values and deltas have room for.
Memory = namedtuple(
    "Memory",
    "parameters buffers gradient first second previous values deltas batch statistics row_statistics "
    "column_sums column_products row_losses losses norms penalties operation_sums slot_sums barrier "
    "scratch scratch_bytes tiles lanes tallest widest gemm capacity itemsize n_slots zero one",
)

# What one call is asked to do: addresses (0 for none) and settings.
Task = namedtuple(
    "Task",
    "X sparse_values sparse_columns sparse_starts targets weights order n_rows identity_order "
    "batch_size coefficients total_weight loss_kernel loss_setting loss_scale update_kernel l2 l1 "
    "per_example clip_norm decay_all training track first_step seed telemetry_every output",
)

N_COEFFICIENTS = 8


@device
def gather(m, task, start, n_rows, thread, n_threads, width):
    """Copy own rows of the batch out of X, in the order asked for; dense rows from sparse ones."""
    order = integers(task.order + start * 8, n_rows)
    for i in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
        h = part(m, m.batch, i * width, width)
        if task.sparse_starts:
            first, last = integers(task.sparse_starts + order[i] * 8, 2)
            columns = integers(task.sparse_columns + first * 8, last - first)
            values = part(m, task.sparse_values, first, last - first)
            for j in range(width):
                h[j] = m.zero
            for q in range(last - first):
                h[columns[q]] += values[q]
        else:
            x = part(m, task.X, order[i] * width, width)
            for j in range(width):
                h[j] = x[j]


@device
def forward(t, m, thread, n_threads, x_at, n_rows, training, track, step, seed, generation):
    """Every operation in order; returns the barrier's generation."""
    for k in range(t.n_operations):
        if do.integer(t, k, at.BARRIER_FORWARD):
            generation = barrier(m.barrier, n_threads, generation)
        kind = do.integer(t, k, at.KIND)
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
    for k in range(t.n_operations - 1, -1, -1):
        if do.integer(t, k, at.BARRIER_BACKWARD):
            generation = barrier(m.barrier, n_threads, generation)
        kind = do.integer(t, k, at.KIND)
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
def batch_weight(m, task, start, n_rows):
    """Total weight of the batch: what its summed loss is divided by."""
    if task.total_weight > 0.0:
        return task.total_weight
    if task.weights == 0:
        return float(n_rows)
    order = integers(task.order + start * 8, n_rows)
    total = 0.0
    for i in range(n_rows):
        total += part(m, task.weights, order[i], 1)[0]
    return total


@device
def loss_and_slope(t, m, task, start, n_rows, total, thread, n_threads):
    """Loss and slope of own rows, each scaled by its example's share of the batch's weight."""
    last = t.n_operations
    width = number_at(t.widths, last)
    z_at, slope_at = do.value_address(t, m, last, 0), do.delta_address(t, m, last)
    first_row, last_row = n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads
    order_at = task.order + start * 8
    arguments = (z_at, slope_at, m.row_losses, task.targets, order_at, first_row, last_row, width)
    call_kernel(task.loss_kernel, arguments, (task.loss_setting,))
    order = integers(order_at, n_rows)
    losses = part(m, m.row_losses, 0, n_rows)
    for i in range(first_row, last_row):
        share = task.loss_scale / total if total > 0.0 else 0.0
        if task.weights:
            share *= part(m, task.weights, order[i], 1)[0]
        scale = do.as_real(m, share)
        losses[i] *= scale
        slope = part(m, slope_at, i * width, width)
        for j in range(width):
            slope[j] *= scale


@device
def penalised_gradient(m, task, w, g, penalised, factor):
    """One entry of the gradient of loss and penalty together."""
    if penalised:
        sign = m.one if w > m.zero else (-m.one if w < m.zero else m.zero)
        g += do.as_real(m, factor * task.l2) * w + do.as_real(m, factor * task.l1) * sign
    return g


@device
def owned_range(t, k, p, which):
    """The parameters of one panel, the first and how many: of W or γ for ``which`` 0, of b or β for 1."""
    offset = do.integer(t, k, at.WEIGHT) if which == 0 else do.integer(t, k, at.BIAS)
    if offset < 0:
        return 0, 0
    stride = do.integer(t, k, at.WIDTH_IN) if which == 0 and do.integer(t, k, at.KIND) == at.LINEAR else 1
    return offset + do.edge(t, k + 1, p) * stride, (do.edge(t, k + 1, p + 1) - do.edge(t, k + 1, p)) * stride


@device
def is_penalised(t, k, which):
    """Whether penalties and weight decay act on these parameters: on weight matrices only."""
    return which == 0 and do.integer(t, k, at.KIND) == at.LINEAR


@device
def squared_norm(t, m, task, k, p, which, factor):
    """‖g‖² over one panel's parameters, in double."""
    begin, n = owned_range(t, k, p, which)
    w, g = part(m, m.parameters, begin, n), part(m, m.gradient, begin, n)
    penalised = is_penalised(t, k, which)
    total = 0.0
    for i in range(n):
        slope = np.float64(penalised_gradient(m, task, w[i], g[i], penalised, factor))
        total += slope * slope
    return total


@device
def clip_factor(t, m, task, factor, thread, n_threads, generation):
    """c / ‖g‖ where the global norm ‖g‖ is above c, else 1 (section 4)."""
    n_operations = t.n_operations
    norms = doubles(m.norms, 0, n_operations * MAX_PANELS)
    for k in range(n_operations):
        first, last = do.panels(t, k + 1, thread, n_threads)
        for p in range(first, last):
            total = squared_norm(t, m, task, k, p, 0, factor) + squared_norm(t, m, task, k, p, 1, factor)
            norms[k * MAX_PANELS + p] = total
    generation = barrier(m.barrier, n_threads, generation)
    total = 0.0
    for q in range(n_operations * MAX_PANELS):  # in the same order on every thread
        total += norms[q]
    norm = math.sqrt(total)
    return (task.clip_norm / norm if norm > task.clip_norm else 1.0), generation


@device
def update_owned(t, m, task, number, n_rows, factor, clip, thread, n_threads):
    """One optimizer step on the parameters this thread owns."""
    c = part(m, task.coefficients, number * N_COEFFICIENTS, N_COEFFICIENTS)
    for k in range(t.n_operations):
        first, last = do.panels(t, k + 1, thread, n_threads)
        for p in range(first, last):
            for which in range(2):
                begin, n = owned_range(t, k, p, which)
                if n == 0:
                    continue
                penalised = is_penalised(t, k, which)
                strength = factor if penalised else 0.0
                o = begin * m.itemsize
                value = call_kernel(
                    task.update_kernel,
                    (m.parameters + o, m.first + o, m.second + o, m.gradient + o, n),
                    (
                        do.as_real(m, clip), do.as_real(m, strength * task.l2),
                        do.as_real(m, strength * task.l1), c[0] if penalised or task.decay_all else m.zero,
                        c[1], c[2], c[3], c[4], c[5], c[6], c[7],
                    ),
                )  # fmt: skip
                doubles(m.penalties, k * MAX_PANELS + p, 1)[0] += value * n_rows


@device
def operation_sums(t, m, sample, k, p):
    """The five sums of one panel of one operation's value, in telemetry sample ``sample``."""
    return doubles(m.operation_sums, ((sample * t.n_operations + k) * MAX_PANELS + p) * 5, 5)


@device
def watch_operations(t, m, sample, n_rows, thread, n_threads):
    """Sums over own columns of every value and its δ: Σh², Σδ², zeros, saturated units, non-finite."""
    for k in range(t.n_operations):
        width = do.integer(t, k, at.WIDTH_OUT)
        h_at, delta_at = do.value_address(t, m, k + 1, 0), do.delta_address(t, m, k + 1)
        first, last = do.panels(t, k + 1, thread, n_threads)
        for p in range(first, last):
            a, b = do.edge(t, k + 1, p), do.edge(t, k + 1, p + 1)
            squares = 0.0
            delta_squares = 0.0
            zeros = 0
            finite = 0
            for row in range(n_rows):
                h, delta = (
                    part(m, h_at, row * width + a, b - a),
                    part(m, delta_at, row * width + a, b - a),
                )
                for j in range(b - a):
                    squares += np.float64(h[j]) * h[j]
                    delta_squares += np.float64(delta[j]) * delta[j]
                    zeros += h[j] == m.zero
                    finite += math.isfinite(h[j])
                    finite += math.isfinite(delta[j])
            sums = operation_sums(t, m, sample, k, p)
            sums[0] = squares
            sums[1] = delta_squares
            sums[2] = zeros
            sums[4] = 2 * n_rows * (b - a) - finite


@device
def watch_saturation(t, m, x_at, sample, n_rows, thread, n_threads):
    """Number of saturated units among own columns of every activation."""
    for k in range(t.n_operations):
        if do.integer(t, k, at.KIND) != at.ACTIVATION:
            continue
        width = do.integer(t, k, at.WIDTH_OUT)
        z_at = do.value_address(t, m, do.integer(t, k, at.SOURCE), x_at)
        h_at = do.value_address(t, m, k + 1, x_at)
        first, last = do.panels(t, k + 1, thread, n_threads)
        for p in range(first, last):
            a, b = do.edge(t, k + 1, p), do.edge(t, k + 1, p + 1)
            count = call_kernel(
                do.integer(t, k, at.SATURATED),
                (z_at, h_at, n_rows, width, a, b),
                (do.real(t, m, k, at.ALPHA),),
            )
            operation_sums(t, m, sample, k, p)[3] = count


@device
def watch_parameters(t, m, task, sample, factor, before, thread, n_threads):
    """‖g‖² and ‖w‖² of own parameters before the update, ‖Δw‖² after it."""
    for k in range(t.n_operations):
        first, last = do.panels(t, k + 1, thread, n_threads)
        for p in range(first, last):
            for which in range(2):
                begin, n = owned_range(t, k, p, which)
                if n == 0:
                    continue
                slot = do.integer(t, k, at.WEIGHT_SLOT + which)
                sums = doubles(m.slot_sums, ((sample * m.n_slots + slot) * MAX_PANELS + p) * 3, 3)
                w, previous = part(m, m.parameters, begin, n), part(m, m.previous, begin, n)
                squares = 0.0
                if before:
                    for i in range(n):
                        squares += np.float64(w[i]) * w[i]
                        previous[i] = w[i]
                    sums[0] = squared_norm(t, m, task, k, p, which, factor)
                    sums[1] = squares
                else:
                    for i in range(n):
                        change = np.float64(w[i]) - previous[i]
                        squares += change * change
                    sums[2] = squares


@device
def batch_address(t, m, task, start, n_rows, thread, n_threads):
    """Where the batch of X is: in X itself where rows are visited in order, else gathered."""
    width = number_at(t.widths, 0)
    if task.identity_order and not task.sparse_starts:
        return task.X + start * width * m.itemsize
    gather(m, task, start, n_rows, thread, n_threads, width)
    return m.batch


@device
def write_output(t, m, task, start, n_rows, thread, n_threads):
    """Copy the raw outputs of own rows of the batch to where ``predict`` wants them."""
    last = t.n_operations
    width = number_at(t.widths, last)
    for i in range(n_rows * thread // n_threads, n_rows * (thread + 1) // n_threads):
        z = part(m, do.value_address(t, m, last, 0), i * width, width)
        y = part(m, task.output, (start + i) * width, width)
        for j in range(width):
            y[j] = z[j]


@device
def learn(t, m, task, number, sample, start, n_rows, x_at, thread, n_threads, generation):
    """What follows the forward pass in training: loss, backward pass, update."""
    step = task.first_step + number
    if t.loss_barrier:
        generation = barrier(m.barrier, n_threads, generation)
    total = batch_weight(m, task, start, n_rows)
    loss_and_slope(t, m, task, start, n_rows, total, thread, n_threads)
    generation = backward(t, m, thread, n_threads, x_at, n_rows, task.training, step, task.seed, generation)
    if thread == 0:  # every row's loss is there: the backward pass begins with a barrier
        losses = part(m, m.row_losses, 0, n_rows)
        loss = 0.0
        for i in range(n_rows):
            loss += losses[i]
        doubles(m.losses, 0, 1)[0] += loss * n_rows
    factor = 1.0
    if task.per_example:
        factor = 1.0 / total if total > 0.0 else 0.0
    if sample >= 0:
        watch_operations(t, m, sample, n_rows, thread, n_threads)
        watch_saturation(t, m, x_at, sample, n_rows, thread, n_threads)
        watch_parameters(t, m, task, sample, factor, True, thread, n_threads)
    # Nobody may change a weight, or go on to the next batch, while another thread still reads.
    generation = barrier(m.barrier, n_threads, generation)
    if task.update_kernel:
        clip = 1.0
        if task.clip_norm > 0.0:
            clip, generation = clip_factor(t, m, task, factor, thread, n_threads, generation)
        update_owned(t, m, task, number, n_rows, factor, clip, thread, n_threads)
    if sample >= 0:
        watch_parameters(t, m, task, sample, factor, False, thread, n_threads)
    return generation


@entry
def run(thread, n_threads, t, m, task):
    """Go through the batches of a task, training or predicting; all threads of it call this together."""
    control = flush_denormals()
    generation = 0
    n_samples = 0
    n = task.n_rows
    for number in range((n + task.batch_size - 1) // task.batch_size):
        start = number * task.batch_size
        n_rows = min(task.batch_size, n - start)
        step = task.first_step + number
        x_at = batch_address(t, m, task, start, n_rows, thread, n_threads)
        generation = forward(
            t, m, thread, n_threads, x_at, n_rows, task.training, task.track, step, task.seed, generation
        )
        if task.output:
            generation = barrier(m.barrier, n_threads, generation)
            write_output(t, m, task, start, n_rows, thread, n_threads)
            generation = barrier(m.barrier, n_threads, generation)
            continue
        watching = task.telemetry_every > 0 and step % task.telemetry_every == 0
        sample = n_samples if watching else -1
        generation = learn(t, m, task, number, sample, start, n_rows, x_at, thread, n_threads, generation)
        n_samples += watching
    restore_denormals(control)
