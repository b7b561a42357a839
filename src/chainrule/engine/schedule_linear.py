"""The calls of a linear layer: three matrix products, of which the last one ends in the optimizer's update.

The weights lie as V = Wᵀ, a row an input, a column an output unit.
"""

from typing import TYPE_CHECKING

from chainrule.engine import schedule_bfloat16
from chainrule.engine.dependencies import Access, Call
from chainrule.engine.layout import PANEL, Part, column_parts
from chainrule.engine.memory import address
from chainrule.engine.weights import piece_of, pieces
from chainrule.plan import Operation

if TYPE_CHECKING:
    from chainrule.engine.schedule import Scheduler

# A panel of V whose rows are multiples of 4 KB apart, or that spreads over more than a second-level cache, is
# first copied together, where enough rows of the batch read it again and again.
BYTES_APART, ROWS_FOR_APART = 4096, 48
BYTES_SPREAD, ROWS_FOR_SPREAD = 1 << 20, 64


def forward(s: "Scheduler", k: int, op: Operation) -> None:
    """Z = H V + b, equation (1), on own columns."""
    packs = schedule_bfloat16.serves(s, k, op)

    def product(t: int) -> list[Call]:
        part = s.part(k + 1, t)
        reads = [s.own("parameters", op.weight, part, (0, op.width_in)), s.own("parameters", op.bias, part)]
        if s.memory.values[op.source] is not None:
            reads.append(s.region("value", op.source, t))
        writes = (s.region("value", k + 1, t, part),)
        if packs:
            return schedule_bfloat16.forward_calls(s, k, op, t, tuple(reads), writes)
        calls: list[Call] = []
        copies = part.count > 0 and _worth_copying(s, op, piece_of(s, k, op, part).stride)
        panel = PANEL if copies else max(1, part.count)
        for first in range(part.first, part.first + part.count, panel):
            count = min(panel, part.first + part.count - first)
            piece = piece_of(s, k, op, Part(0, 1, first, count))
            right, right_stride = piece.weights, piece.stride
            if copies:
                weights = s.own("parameters", op.weight, piece.part, (0, op.width_in))
                right, right_stride = _copied(s, t, calls, (right, right_stride), weights)
            arguments = {
                "left": s.rows_of(op.source, t), "left_offset": 0, "n_terms": op.width_in,
                "right": right, "right_stride": right_stride,
                "result": s.value(k + 1, t) + first * s.itemsize,
                "result_stride": s.layouts[k + 1].stride * s.itemsize, "columns": count,
                "row": s.parameter(op.bias + first) if op.bias >= 0 else 0,
                "adds": 0, "share": 0, "shares": 1,
            }  # fmt: skip
            calls.append(Call(s.product_kernels["product"], arguments, tuple(reads), writes))
        return calls

    s.phase(product)


def _worth_copying(s: "Scheduler", op: Operation, stride: int) -> bool:
    """Whether a panel of V, whose rows are so many bytes apart, is copied together first."""
    rows = s.memory.capacity
    apart = stride % BYTES_APART == 0 and rows >= ROWS_FOR_APART
    return apart or (stride * op.width_in >= BYTES_SPREAD and rows >= ROWS_FOR_SPREAD)


def _copied(
    s: "Scheduler", t: int, calls: list[Call], right: tuple[int, int], panel: Access
) -> tuple[int, int]:
    """A panel copied to scratch memory; where it is now, and its stride."""
    scratch, compact = address(s.memory.scratch[t]), PANEL * s.itemsize
    n_terms, count = panel.rows[1], panel.columns[1] - panel.columns[0]
    arguments = {
        "source": right[0], "source_stride": right[1], "rows": n_terms, "columns": count,
        "target": scratch, "target_stride": compact,
    }  # fmt: skip
    calls.append(Call(s.product_kernels["copy"], arguments, (panel,)))
    return scratch, compact


def backward(s: "Scheduler", k: int, op: Operation) -> None:
    """Δ Vᵀ, the product in equation (5), on own columns of the layer below."""
    if op.source == 0:
        return
    accumulate = s.accumulates(op.source)
    below = s.layouts[op.source]
    compact = PANEL * s.itemsize
    packs = schedule_bfloat16.serves(s, k, op)

    def product(t: int) -> list[Call]:
        part = below.parts[t] if below.private else column_parts(below.width, s.n_threads)[t]
        if packs:
            return schedule_bfloat16.backward_calls(s, k, op, t, part, accumulate)
        scratch = address(s.memory.scratch[t])
        calls = []
        for first in range(part.first, part.first + part.count, PANEL):
            count = min(PANEL, part.first + part.count - first)
            own = Part(0, 1, first, count)
            inputs = s.own("parameters", op.weight, Part(0, 1, 0, op.width_out), (first, first + count))
            product = {
                "left": s.rows_of_delta(k + 1, t), "left_offset": 0, "n_terms": op.width_out,
                "right": scratch, "right_stride": compact,
                "result": s.delta(op.source, t) + first * s.itemsize,
                "result_stride": below.stride * s.itemsize, "columns": count,
                "row": 0, "adds": accumulate, "share": 0, "shares": 1,
            }  # fmt: skip
            for piece in pieces(s, k, op):
                transpose = {
                    "source": piece.weights + first * piece.stride, "source_stride": piece.stride,
                    "rows": count, "columns": piece.part.count,
                    "target": scratch + piece.part.first * compact, "target_stride": compact,
                }  # fmt: skip
                calls.append(Call(s.product_kernels["transpose"], transpose, (inputs,)))
            reads, writes = (s.region("delta", k + 1, t),), (s.region("delta", op.source, t, own),)
            calls.append(Call(s.product_kernels["product"], product, reads, writes))
        return calls

    s.phase(product)


def gradient_and_update(s: "Scheduler", k: int, op: Operation) -> None:
    """∂V = Hᵀ Δ and ∂b = Σ δ, equations (6) and (7): straight into the optimizer's update, or stored."""

    def gradients(t: int) -> list[Call]:
        inputs, part = _own_weights(s, k, op, t)
        calls = []
        if part.count and inputs[0] < inputs[1]:
            calls += _weight_gradient(s, k, op, t, inputs, part)
        part = s.owned(k + 1, t)
        if op.bias >= 0 and part.count:
            calls.append(_bias_gradient(s, k, op, t, part))
        return calls

    s.phase(gradients)


def _own_weights(s: "Scheduler", k: int, op: Operation, t: int) -> tuple[tuple[int, int], Part]:
    """The rectangle of V that a thread updates.

    Of a layer that every thread computes for itself, it is rows of V, unless sums over whole columns are
    wanted, of squared weights or gradients: these belong to one thread.
    """
    layout = s.layouts[k + 1]
    alone = s.purpose.stores_gradient or s.purpose.variant != "none"
    if not layout.private or alone:
        return (0, op.width_in), s.owned(k + 1, t)
    below = column_parts(op.width_in, s.n_threads)[t]
    return (below.first, below.first + below.count), Part(0, 1, 0, op.width_out)


def _weight_gradient(
    s: "Scheduler", k: int, op: Operation, t: int, inputs: tuple[int, int], part: Part
) -> list[Call]:
    weights = s.own("parameters", op.weight, part, inputs)
    reads = [s.region("delta", k + 1, t, part)]
    if s.memory.values[op.source] is not None:
        reads.append(s.region("value", op.source, t, Part(0, 1, inputs[0], inputs[1] - inputs[0])))
    if schedule_bfloat16.serves(s, k, op):
        return schedule_bfloat16.gradient_calls(s, k, op, t, part, tuple(reads), weights)
    piece = piece_of(s, k, op, part)
    arguments = {
        "left": s.rows_of(op.source, t), "left_offset": inputs[0] * s.itemsize, "rows": inputs[1] - inputs[0],
        "right": s.delta(k + 1, t) + part.first * s.itemsize,
        "right_stride": s.layouts[k + 1].stride * s.itemsize, "columns": part.count,
    }  # fmt: skip
    if s.purpose.stores_gradient:
        offset = op.weight + inputs[0] * op.width_out + part.first
        arguments |= {"result": s.gradient(offset), "result_stride": op.width_out * s.itemsize}
        stored = weights._replace(array=("gradient", op.weight))
        return [Call(s.product_kernels["gradient"], arguments, tuple(reads), (stored,))]
    arguments |= {
        **piece.moved(inputs[0] * piece.stride).addresses(),
        "decays": 1, "penalised": int(s.purpose.variant != "none"), "penalties": s.penalties(op.weight, part),
    }  # fmt: skip
    kernel = s.update_kernels["gradient_update"]
    return [Call(kernel, arguments, tuple(reads), (weights,))]


def _bias_gradient(s: "Scheduler", k: int, op: Operation, t: int, part: Part) -> Call:
    """(7) is (6) with a single input that is always 1."""
    reads = (s.region("delta", k + 1, t, part),)
    arguments = {
        "left": address(s.memory.ones_table), "left_offset": 0, "rows": 1,
        "right": s.delta(k + 1, t) + part.first * s.itemsize,
        "right_stride": s.layouts[k + 1].stride * s.itemsize, "columns": part.count,
    }  # fmt: skip
    stride = op.width_out * s.itemsize
    if s.purpose.stores_gradient:
        arguments |= {"result": s.gradient(op.bias + part.first), "result_stride": stride}
        return Call(
            s.product_kernels["gradient"],
            arguments,
            reads,
            (s.own("gradient", op.bias, part),),
        )
    arguments |= {
        **s.moments(op.bias + part.first), "stride": stride, "decays": int(s.purpose.decay_all),
        "penalised": 0, "penalties": 0,
    }  # fmt: skip
    kernel = s.update_kernels["gradient_update"]
    return Call(kernel, arguments, reads, (s.own("parameters", op.bias, part),))
