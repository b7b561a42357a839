"""The calls that end a step: gradients, clipping, updates, and the sums of telemetry."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from chainrule.engine import kernels, schedule_linear, telemetry
from chainrule.engine.dependencies import Access, Call
from chainrule.engine.layout import Part
from chainrule.engine.memory import address
from chainrule.functions import get_activation

if TYPE_CHECKING:
    from chainrule.engine.schedule import Scheduler


class Array(NamedTuple):
    """A parameter array as a matrix: its offset, the value its columns belong to, its first block of sums."""

    offset: int
    rows: int
    width: int
    value: int
    penalised: bool
    first_block: int


def arrays(s: "Scheduler") -> Iterator[Array]:
    """Every parameter array of the plan."""
    starts = s.memory.parameter_blocks
    first_blocks = {slot.offset: int(starts[i]) for i, slot in enumerate(s.plan.parameters)}
    for k, op in enumerate(s.plan.operations):
        linear = op.kind == "linear"
        if op.weight >= 0:
            n_rows = op.width_in if linear else 1
            yield Array(op.weight, n_rows, op.width_out, k + 1, linear, first_blocks[op.weight])
        if op.bias >= 0:
            yield Array(op.bias, 1, op.width_out, k + 1, False, first_blocks[op.bias])


def _for_own_columns(
    s: "Scheduler", wanted: Callable[[Array], bool], call: Callable[[Array, Part], Call]
) -> None:
    """A phase with a call for the own columns of each wanted array."""

    def calls(t: int) -> list[Call]:
        own = [(array, s.owned(array.value, t)) for array in arrays(s) if wanted(array)]
        return [call(array, part) for array, part in own if part.count]

    s.phase(calls)


def _access(s: "Scheduler", kind: str, array: Array, part: Part) -> Access:
    return s.own(kind, array.offset, part, (0, array.rows))


def update_everything(s: "Scheduler") -> None:
    """All gradients (6), (7), and with them one step of the optimizer."""
    for k, op in enumerate(s.plan.operations):
        if op.kind == "linear":
            schedule_linear.gradient_and_update(s, k, op)
    if s.purpose.rule is None:
        return
    if s.purpose.watches:
        _watch_parameters(s, before=True)
    if s.purpose.clips:
        _clip(s)
    linear = {op.weight for op in s.plan.operations if op.kind == "linear"}
    linear |= {op.bias for op in s.plan.operations if op.kind == "linear"}
    stored = s.purpose.stores_gradient
    _for_own_columns(
        s, lambda array: stored or array.offset not in linear, lambda array, part: _update(s, array, part)
    )
    if s.purpose.watches:
        _watch_parameters(s, before=False)


def _update(s: "Scheduler", array: Array, part: Part) -> Call:
    """One step of the optimizer from a stored gradient."""
    penalised = array.penalised and s.purpose.variant != "none"
    at = array.offset + part.first
    arguments = {
        "rows": array.rows, "columns": part.count, **s.moments(at), "gradient": s.gradient(at),
        "stride": array.width * s.itemsize, "decays": int(array.penalised or s.purpose.decay_all),
        "penalised": int(penalised), "penalties": s.penalties(array.offset, part) if penalised else 0,
    }  # fmt: skip
    kernel = s.update_kernels["update"]
    return Call(
        kernel, arguments, (_access(s, "gradient", array, part),), (_access(s, "parameters", array, part),)
    )


def _matrix(s: "Scheduler", array: Array, part: Part) -> dict[str, int]:
    """An array of parameters and its gradient, as arguments."""
    return {
        "parameters": s.parameter(array.offset), "gradient": s.gradient(array.offset),
        "stride": array.width, "rows": array.rows, "first": part.first, "count": part.count,
        "penalised": int(array.penalised),
    }  # fmt: skip


def _clip(s: "Scheduler") -> None:
    """The global norm of the gradient (section 4): its parts by their owners, its sum by everyone."""
    norms = s.memory.norms
    n_blocks = len(norms)

    def square(array: Array, part: Part) -> Call:
        arguments = _matrix(s, array, part) | {"norms": address(norms) + 8 * array.first_block}
        reads = (_access(s, "gradient", array, part), _access(s, "parameters", array, part))
        return Call(telemetry.squared_norms(s.dtype), arguments, reads, (_access(s, "norms", array, part),))

    def clip(t: int) -> list[Call]:
        arguments = {"norms": address(norms), "n_blocks": n_blocks}
        reads = tuple(_access(s, "norms", array, Part(0, 1, 0, array.width)) for array in arrays(s))
        return [Call(telemetry.clip_factor(), arguments, reads)]

    _for_own_columns(s, lambda array: True, square)
    s.phase(clip)


# -- telemetry -------------------------------------------------------------------------------------


def watch_values(s: "Scheduler") -> None:
    """Sums over every value and its δ, and the saturated units of every activation."""
    first_blocks = s.memory.operation_blocks
    n_blocks = first_blocks[-1]
    sums = address(s.memory.operation_sums)
    for k, op in enumerate(s.plan.operations):

        def watch(t: int, k: int = k, op: Any = op) -> list[Call]:
            part = s.owned(k + 1, t)
            if part.count == 0:
                return []
            where = {
                **s.columns(k + 1, part), "sums": sums,
                "first_block": int(first_blocks[k]), "n_blocks": int(n_blocks),
            }  # fmt: skip
            h, delta = s.value(k + 1, t), s.delta(k + 1, t)
            reads = (s.region("value", k + 1, t, part), s.region("delta", k + 1, t, part))
            calls = [Call(telemetry.value_sums(s.dtype), {"h": h, "delta": delta, **where}, reads)]
            if op.kind == "activation":
                kernel = kernels.saturated(get_activation(op.activation), s.dtype)
                z = s.value(op.source, t)
                arguments = {"z": z, "h": h, **where, "alpha": float(op.alpha)}
                calls.append(Call(kernel, arguments, (s.region("value", op.source, t, part), reads[0])))
            return calls

        s.phase(watch)


def _watch_parameters(s: "Scheduler", before: bool) -> None:
    """‖g‖² and ‖w‖² before the update, ‖Δw‖² after it."""

    def watch(array: Array, part: Part) -> Call:
        arguments = _matrix(s, array, part) | {
            "before": int(before),
            "previous": address(s.memory.previous) + array.offset * s.itemsize,
            "sums": address(s.memory.parameter_sums),
            "first_block": array.first_block, "n_blocks": s.memory.n_parameter_blocks,
        }  # fmt: skip
        reads = (_access(s, "gradient", array, part), _access(s, "parameters", array, part))
        return Call(telemetry.parameter_sums(s.dtype), arguments, reads)

    _for_own_columns(s, lambda array: True, watch)
