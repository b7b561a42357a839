"""From a plan to the tables that compiled code reads.

Every thread owns columns of every layer, forward and back, and the matching rows of the weights ("owner
computes"). The columns of a value are cut into panels by its width alone, never by the number of
threads; a thread owns whole panels. Each matrix product and each sum is over one panel, so the bits of
the result are the same for any number of threads.

A few operations work by rows instead (the loss, layer normalisation). Where what one thread reads was
written by others, a barrier stands before the operation; ``_forward_barriers`` and
``_backward_barriers`` find out where.
"""

from collections import namedtuple

import numpy as np

from chainrule.engine import kernels
from chainrule.functions import get_activation
from chainrule.plan import KINDS, Operation, Plan

__all__ = ["MAX_PANELS", "Tables", "make_tables"]

MAX_PANELS = 8
PANEL_WIDTH = 64

# Columns of the integer table, one row an operation.
(
    KIND, SOURCE, SECOND, WIDTH_IN, WIDTH_OUT, WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VARIANCE, TRACKED,
    STATISTICS, ACCUMULATE, ACCUMULATE_SECOND, BARRIER_FORWARD, BARRIER_BACKWARD,
    ACTIVATE, GATE, SATURATED, WEIGHT_SLOT, BIAS_SLOT, N_INTEGERS,
) = range(21)  # fmt: skip

# Columns of the table of reals.
ALPHA, PROBABILITY, EPSILON, MOMENTUM, N_REALS = range(5)

LINEAR, ACTIVATION, BATCH_NORM, LAYER_NORM, DROPOUT, ADD = range(len(KINDS))

# The tables of a plan: arrays here in Python, their addresses in compiled code.
Tables = namedtuple("Tables", "integers reals widths value_at edges n_panels n_operations loss_barrier")


def panel_edges(width: int) -> np.ndarray:
    """Where the panels of a value begin and end: a function of the width alone."""
    count = max(1, min(MAX_PANELS, width // PANEL_WIDTH))
    return np.array([width * i // count for i in range(count + 1)], dtype=np.int64)


def _forward_barriers(plan: Plan) -> tuple[list[bool], bool]:
    """Whether a barrier stands before each operation, and before the loss."""
    written = {0: "rows"}  # value -> how it was written since the last barrier; X is gathered by rows
    updated = True  # the last step's update, by columns, is not yet behind a barrier
    barriers = []
    for k, op in enumerate(plan.operations):
        need = {"linear": "all", "layer_norm": "rows"}.get(op.kind, "columns")
        sources = [op.source] if op.second < 0 else [op.source, op.second]
        stands = any(written.get(value, need) != need for value in sources)
        # A row needs all of γ and β, whoever updated them.
        stands = stands or (updated and op.kind == "layer_norm" and op.weight >= 0)
        if stands:
            written.clear()
            updated = False
        barriers.append(stands)
        written[k + 1] = "rows" if op.kind == "layer_norm" else "columns"
    return barriers, written.get(len(plan.operations), "rows") != "rows"


def _backward_barriers(plan: Plan) -> list[bool]:
    """Whether a barrier stands before each operation's backward pass, walked from last to first."""
    written = {len(plan.operations): "rows"}
    summed = 0  # width of the batch normalisation whose column sums are in use since the last barrier
    barriers = [False] * len(plan.operations)
    for k in range(len(plan.operations) - 1, -1, -1):
        op = plan.operations[k]
        need = "all" if op.kind == "layer_norm" or (op.kind == "linear" and op.source > 0) else "columns"
        writes = "rows" if op.kind == "layer_norm" else "columns"
        sources = [value for value in (op.source, op.second) if value > 0]
        barriers[k] = (
            written.get(k + 1, need) != need
            or any(written.get(value, writes) != writes for value in sources)
            or (op.kind == "batch_norm" and summed not in (0, op.width_in))
        )
        if barriers[k]:
            written.clear()
            summed = 0
        if op.kind == "batch_norm":
            summed = op.width_in
        for value in sources:
            written[value] = writes
    return barriers


def _accumulates(plan: Plan) -> list[tuple[bool, bool]]:
    """Whether an operation adds to the δ of its sources (a later reader has written it) or sets it."""
    written: set[int] = set()
    flags = []
    for op in reversed(plan.operations):
        first = op.source in written
        written.add(op.source)
        second = op.second in written
        written.add(op.second)
        flags.append((first, second))
    return flags[::-1]


def _addresses(op: Operation, dtype: np.dtype) -> tuple[int, int, int]:
    if op.kind != "activation":
        return 0, 0, 0
    record = get_activation(op.activation)
    return tuple(  # type: ignore[return-value]
        make(record, dtype).address for make in (kernels.activate, kernels.gate, kernels.saturated)
    )


def make_tables(plan: Plan, dtype: np.dtype) -> Tables:
    """The tables of a plan for one dtype. ``value_at`` is in entries per row of the batch."""
    n_operations = len(plan.operations)
    integers = np.full((n_operations, N_INTEGERS), -1, dtype=np.int64)
    reals = np.zeros((n_operations, N_REALS), dtype=dtype)
    slots = {slot.offset: number for number, slot in enumerate(plan.parameters)}
    forward, loss_barrier = _forward_barriers(plan)
    backward = _backward_barriers(plan)
    statistics = 0
    for k, (op, accumulate) in enumerate(zip(plan.operations, _accumulates(plan), strict=True)):
        integers[k] = (
            KINDS.index(op.kind), op.source, op.second, op.width_in, op.width_out, op.weight, op.bias,
            op.running_mean, op.running_variance, op.batches_tracked, statistics, *accumulate,
            forward[k], backward[k], *_addresses(op, dtype),
            slots.get(op.weight, -1), slots.get(op.bias, -1),
        )  # fmt: skip
        reals[k] = op.alpha, op.probability, op.epsilon, op.momentum
        if op.kind == "batch_norm":
            statistics += 2 * op.width_in
    edges = np.zeros((n_operations + 1, MAX_PANELS + 1), dtype=np.int64)
    n_panels = np.zeros(n_operations + 1, dtype=np.int64)
    for value, width in enumerate(plan.widths):
        cuts = panel_edges(width)
        edges[value, : len(cuts)] = cuts
        n_panels[value] = len(cuts) - 1
    widths = np.array(plan.widths, dtype=np.int64)
    value_at = np.concatenate([[0, 0], np.cumsum(widths[1:])]).astype(np.int64)
    return Tables(
        integers, reals, widths, value_at, edges, n_panels, n_operations, int(loss_barrier)
    )  # fmt: skip
