"""The calls of a linear layer whose products are of bf16 numbers: the factors are packed first.

The calls are those of ``schedule_linear.py``; weights, values, deltas and moments stay as they are. A thread
packs for itself what it reads, into memory of its own, so there is nothing more to wait for.
"""

from typing import TYPE_CHECKING

from chainrule.engine.dependencies import Access, Call
from chainrule.engine.layout import PANEL, Part
from chainrule.engine.memory import address
from chainrule.plan import Operation

if TYPE_CHECKING:
    from chainrule.engine.schedule import Scheduler

# Multiply-adds of a layer from which packing its factors pays.
MULTIPLY_ADDS = 1 << 18


def serves(s: "Scheduler", k: int, op: Operation) -> bool:
    """Whether a layer's products are of bf16 numbers: those of small layers stay in single precision."""
    large = s.memory.capacity * op.width_in * op.width_out >= MULTIPLY_ADDS
    return s.purpose.precision != "full" and large and not s.layouts[k + 1].private


def forward_calls(
    s: "Scheduler", k: int, op: Operation, t: int, reads: tuple[Access, ...], writes: tuple[Access, ...]
) -> list[Call]:
    """Z = H V + b, equation (1), on own columns."""
    kernels = s.packed_kernels
    part, left, right = s.part(k + 1, t), *_packed(s, t)
    row_bytes, panel = kernels.row_bytes(op.width_in), kernels.panel_bytes(op.width_in)
    stride = op.width_out * s.itemsize
    calls = [_pack_rows(s, s.rows_of(op.source, t), op.width_in, left, reads)]
    for first in range(part.first, part.first + part.count, PANEL):
        count = min(PANEL, part.first + part.count - first)
        pack = {
            "source": s.parameter(op.weight) + first * s.itemsize, "source_stride": stride,
            "n_terms": op.width_in, "columns": count, "target": right, "panel": panel,
        }  # fmt: skip
        product = {
            "left": left, "left_stride": row_bytes, "rows": 0, "right": right, "panel": panel,
            "columns": count, "n_terms": op.width_in, "result": s.value(k + 1, t) + first * s.itemsize,
            "result_stride": s.layouts[k + 1].stride * s.itemsize,
            "row": s.parameter(op.bias + first) if op.bias >= 0 else 0, "adds": 0, "share": 0, "shares": 1,
        }  # fmt: skip
        calls.append(Call(kernels["pack_pairs"], pack, reads))
        calls.append(Call(kernels["product"], product, reads, writes))
    return calls


def _packed(s: "Scheduler", t: int) -> tuple[int, int]:
    """Where a thread's packed left and right factors are."""
    left, right = s.memory.packed[t]
    return address(left), address(right)


def _pack_rows(s: "Scheduler", rows: int, n_terms: int, target: int, reads: tuple[Access, ...]) -> Call:
    """A left factor as it lies: H in (1), Δ in (5)."""
    kernels = s.packed_kernels
    arguments = {
        "left": rows, "left_offset": 0, "n_terms": n_terms, "n_written": kernels.terms_written(n_terms),
        "target": target, "target_stride": kernels.row_bytes(n_terms), "share": 0, "shares": 1,
    }  # fmt: skip
    return Call(kernels["pack_rows"], arguments, reads)


def backward_calls(s: "Scheduler", k: int, op: Operation, t: int, part: Part, accumulate: int) -> list[Call]:
    """Δ Vᵀ, the product in equation (5), on own columns of the layer below."""
    kernels = s.packed_kernels
    left, right = _packed(s, t)
    row_bytes, panel = kernels.row_bytes(op.width_out), kernels.panel_bytes(op.width_out)
    stride = op.width_out * s.itemsize
    above = (s.region("delta", k + 1, t),)
    calls = [_pack_rows(s, s.rows_of_delta(k + 1, t), op.width_out, left, above)] if part.count else []
    for first in range(part.first, part.first + part.count, PANEL):
        count = min(PANEL, part.first + part.count - first)
        inputs = s.own("parameters", op.weight, Part(0, 1, 0, op.width_out), (first, first + count))
        pack = {
            "source": s.parameter(op.weight) + first * stride, "source_stride": stride,
            "n_terms": op.width_out, "columns": count, "target": right, "panel": panel,
        }  # fmt: skip
        product = {
            "left": left, "left_stride": row_bytes, "rows": 0, "right": right, "panel": panel,
            "columns": count, "n_terms": op.width_out, "result": s.delta(op.source, t) + first * s.itemsize,
            "result_stride": s.layouts[op.source].stride * s.itemsize,
            "row": 0, "adds": accumulate, "share": 0, "shares": 1,
        }  # fmt: skip
        below = s.region("delta", op.source, t, Part(0, 1, first, count))
        calls.append(Call(kernels["pack_transpose"], pack, (inputs,)))
        calls.append(Call(kernels["product"], product, reads=(below,) if accumulate else (), writes=(below,)))
    return calls


def gradient_calls(
    s: "Scheduler", k: int, op: Operation, t: int, part: Part, reads: tuple[Access, ...], weights: Access
) -> list[Call]:
    """∂V = Hᵀ Δ, equation (6), on own columns of V: into the optimizer's update, or stored."""
    kernels = s.packed_kernels
    left, right = _packed(s, t)
    row_bytes, panel = kernels.row_bytes(s.memory.capacity), kernels.panel_bytes(s.memory.capacity)
    pack_left = {
        "left": s.rows_of(op.source, t), "left_offset": 0, "rows": op.width_in,
        "target": left, "target_stride": row_bytes,
    }  # fmt: skip
    pack_right = {
        "source": s.delta(k + 1, t) + part.first * s.itemsize,
        "source_stride": s.layouts[k + 1].stride * s.itemsize, "n_terms": 0, "columns": part.count,
        "target": right, "panel": panel,
    }  # fmt: skip
    factors = {
        "left": left, "left_stride": row_bytes, "rows": op.width_in, "right": right, "panel": panel,
        "columns": part.count,
    }  # fmt: skip
    stride = op.width_out * s.itemsize
    calls = [Call(kernels["pack_columns"], pack_left, reads), Call(kernels["pack_pairs"], pack_right, reads)]
    if s.purpose.stores_gradient:
        result = {
            "n_terms": 0, "result": s.gradient(op.weight + part.first), "result_stride": stride,
            "row": 0, "adds": 0, "share": 0, "shares": 1,
        }  # fmt: skip
        stored = weights._replace(array=("gradient", op.weight))
        return [*calls, Call(kernels["product"], factors | result, (), (stored,))]
    update = {
        **s.moments(op.weight + part.first), "stride": stride, "decays": 1,
        "penalised": int(s.purpose.variant != "none"), "penalties": s.penalties(op.weight, part),
    }  # fmt: skip
    return [*calls, Call(s.packed_update, factors | update, (), (weights,))]
