"""The calls of every kind of operation but the linear ones, forward and back."""

from typing import TYPE_CHECKING, Any

from chainrule.engine import elementwise, kernels, normalization, schedule_linear
from chainrule.engine.dependencies import Call
from chainrule.engine.layout import Part
from chainrule.engine.memory import address
from chainrule.functions import get_activation
from chainrule.plan import Operation

if TYPE_CHECKING:
    from chainrule.engine.schedule import Scheduler

# -- activation, residual join, dropout ------------------------------------------------------------


def _on_single_numbers(
    s: "Scheduler", k: int, kernel: Any, names: dict[str, int], out: str, constants: dict[str, Any]
) -> None:
    """A phase that makes value k + 1, ``out`` to the kernel, of numbers at the same place in other values."""

    def calls(t: int) -> list[Call]:
        part = s.part(k + 1, t)
        arguments = {
            **{name: s.value(v, t) for name, v in names.items()}, out: s.value(k + 1, t),
            **s.where(k + 1, part), **constants,
        }  # fmt: skip
        reads = tuple(s.region("value", v, t, part) for v in names.values())
        return [Call(kernel, arguments, reads, (s.region("value", k + 1, t, part),))]

    s.phase(calls)


def activation_forward(s: "Scheduler", k: int, op: Operation) -> None:
    """H = σ(Z), equation (2)."""
    kernel = kernels.activate(get_activation(op.activation), s.dtype)
    _on_single_numbers(s, k, kernel, {"z": op.source}, "h", {"alpha": float(op.alpha)})


def activation_backward(s: "Scheduler", k: int, op: Operation) -> None:
    """δ ⊙ σ'(z), equation (5)."""
    if op.source == 0:
        return
    kernel = kernels.gate(get_activation(op.activation), s.dtype)
    accumulate = s.accumulates(op.source)

    def gate(t: int) -> list[Call]:
        part = s.part(op.source, t)
        arguments = {
            "z": s.value(op.source, t), "h": s.value(k + 1, t),
            "delta_out": s.delta(k + 1, t), "delta_in": s.delta(op.source, t),
            **s.where(k + 1, part), "accumulate": accumulate, "alpha": float(op.alpha),
        }  # fmt: skip
        reads = (
            s.region("value", op.source, t, part),
            s.region("value", k + 1, t, part),
            s.region("delta", k + 1, t, part),
        )
        return [Call(kernel, arguments, reads, (s.region("delta", op.source, t, part),))]

    s.phase(gate)


def add_forward(s: "Scheduler", k: int, op: Operation) -> None:
    """h + F(h)."""
    _on_single_numbers(s, k, elementwise.add(s.dtype), {"one": op.source, "two": op.second}, "out", {})


def add_backward(s: "Scheduler", k: int, op: Operation) -> None:
    """The gradient flows to both addends: the identity path carries δ down whole."""
    for source in (op.source, op.second):
        if source > 0:
            _pass_down(s, k, source, elementwise.pass_delta(s.dtype), {})


def _pass_down(s: "Scheduler", k: int, source: int, kernel: Any, constants: dict[str, Any]) -> None:
    accumulate = s.accumulates(source)

    def pass_down(t: int) -> list[Call]:
        part = s.part(source, t)
        arguments = {
            "above": s.delta(k + 1, t), "below": s.delta(source, t),
            **s.where(source, part), "accumulate": accumulate, **constants,
        }  # fmt: skip
        reads = (s.region("delta", k + 1, t, part),)
        return [Call(kernel, arguments, reads, (s.region("delta", source, t, part),))]

    s.phase(pass_down)


def _mask(s: "Scheduler", k: int, op: Operation) -> dict[str, Any]:
    """What a mask depends on, apart from seed, step, row and unit."""
    return {"training": int(s.purpose.training), "operation": k, "probability": float(op.probability)}


def dropout_forward(s: "Scheduler", k: int, op: Operation) -> None:
    """Inverted dropout."""
    constants = {"accumulate": 0, **_mask(s, k, op)}
    _on_single_numbers(s, k, elementwise.dropout(s.dtype), {"above": op.source}, "below", constants)


def dropout_backward(s: "Scheduler", k: int, op: Operation) -> None:
    """The same mask on δ."""
    if op.source > 0:
        _pass_down(s, k, op.source, elementwise.dropout(s.dtype), _mask(s, k, op))


# -- normalisation ---------------------------------------------------------------------------------


def _statistics(s: "Scheduler", k: int, t: int, names: tuple[str, ...], size: int) -> dict[str, int]:
    """Addresses of the vectors of statistics of a normalisation, ``size`` entries each."""
    arrays = s.memory.statistics[k]
    start = address(arrays[t if len(arrays) > 1 else 0])
    return {name: start + i * size * s.itemsize for i, name in enumerate(names)}


def batch_norm_forward(s: "Scheduler", k: int, op: Operation) -> None:
    """γ (h − mean) / √(variance + ε) + β over the rows of the batch."""
    private = s.layouts[k + 1].private
    buffer = s.numbers.buffers

    def normalise(t: int) -> list[Call]:
        part = s.part(k + 1, t)
        arguments = {
            "h": s.value(op.source, t), "out": s.value(k + 1, t),
            **s.columns(k + 1, part), **_statistics(s, k, t, ("mean", "scale"), op.width_in),
            "gamma": s.parameter(op.weight), "beta": s.parameter(op.bias),
            "running_mean": buffer + op.running_mean * s.itemsize,
            "running_variance": buffer + op.running_variance * s.itemsize,
            "tracked": buffer + op.batches_tracked * s.itemsize,
            "training": int(s.purpose.training),
            # Each thread keeps the averages of its own columns; where all have all columns, one of them does.
            "tracks": int(s.purpose.tracks and (not private or t == s.keeper)),
            "counts": int(s.purpose.tracks and t == s.keeper),
            "epsilon": float(op.epsilon), "momentum": float(op.momentum),
        }  # fmt: skip
        reads = (
            s.region("value", op.source, t, part),
            s.own("parameters", op.weight, part),
            s.own("parameters", op.bias, part),
        )
        writes = (s.region("value", k + 1, t, part), s.region("statistics", k + 1, t, part))
        return [Call(normalization.batch_norm_forward(s.dtype), arguments, reads, writes)]

    s.phase(normalise)


def batch_norm_backward(s: "Scheduler", k: int, op: Operation) -> None:
    """∂γ, ∂β and δ: mean and variance depend on every row of the batch."""
    private = s.layouts[k + 1].private
    source = op.source if op.source > 0 else 0
    accumulate = s.accumulates(source) if source else 0

    def backward(t: int) -> list[Call]:
        part = s.part(k + 1, t)
        stores = not private or t == s.keeper
        names = ("mean", "scale", "sums", "products")
        arguments = {
            "h": s.value(op.source, t), "above": s.delta(k + 1, t),
            "below": s.delta(source, t) if source else 0,
            **s.columns(k + 1, part), **_statistics(s, k, t, names, op.width_in),
            "gamma": s.parameter(op.weight),
            "gamma_gradient": s.gradient(op.weight) if stores else 0,
            "beta_gradient": s.gradient(op.bias) if stores else 0,
            "training": int(s.purpose.training), "accumulate": accumulate,
        }  # fmt: skip
        reads = (
            s.region("value", op.source, t, part), s.region("delta", k + 1, t, part),
            s.own("parameters", op.weight, part),
        )  # fmt: skip
        writes = [s.region("statistics", k + 1, t, part)]  # the sums; mean and scale are read
        writes += [s.region("delta", source, t, part)] if source else []
        if stores:
            writes += [s.own("gradient", op.weight, part), s.own("gradient", op.bias, part)]
        return [Call(normalization.batch_norm_backward(s.dtype), arguments, reads, tuple(writes))]

    s.phase(backward)


def layer_norm_forward(s: "Scheduler", k: int, op: Operation) -> None:
    """γ (h − mean) / √(variance + ε) + β over the units of each row."""
    everything = Part(0, 1, 0, op.width_in)

    def normalise(t: int) -> list[Call]:
        part = s.part(k + 1, t)
        arguments = {
            "h": s.value(op.source, t), "out": s.value(k + 1, t), **s.rows(k + 1, part),
            **_statistics(s, k, t, ("means", "scales"), s.memory.capacity),
            "gamma": s.parameter(op.weight), "beta": s.parameter(op.bias), "epsilon": float(op.epsilon),
        }  # fmt: skip
        reads = (
            s.region("value", op.source, t, part),
            s.own("parameters", op.weight, everything),
            s.own("parameters", op.bias, everything),
        )
        writes = (s.region("value", k + 1, t, part), s.region("statistics", k + 1, t, part))
        return [Call(normalization.layer_norm_forward(s.dtype), arguments, reads, writes)]

    s.phase(normalise)


def layer_norm_backward(s: "Scheduler", k: int, op: Operation) -> None:
    """∂γ and ∂β by columns, δ by rows."""
    names = ("means", "scales")
    everything = Part(0, 1, 0, op.width_in)

    def parameters(t: int) -> list[Call]:
        part = s.owned(k + 1, t)
        if part.count == 0:
            return []
        arguments = {
            "h": s.value(op.source, t), "above": s.delta(k + 1, t), **s.columns(k + 1, part),
            **_statistics(s, k, t, names, s.memory.capacity),
            "gamma_gradient": s.gradient(op.weight), "beta_gradient": s.gradient(op.bias),
        }  # fmt: skip
        reads = (
            s.region("value", op.source, t, part), s.region("delta", k + 1, t, part),
            s.region("statistics", k + 1, t),
        )  # fmt: skip
        writes = (s.own("gradient", op.weight, part), s.own("gradient", op.bias, part))
        return [Call(normalization.layer_norm_parameters(s.dtype), arguments, reads, writes)]

    if op.weight >= 0:
        s.phase(parameters)
    if op.source == 0:
        return
    accumulate = s.accumulates(op.source)

    def backward(t: int) -> list[Call]:
        part = s.part(k + 1, t)
        arguments = {
            "h": s.value(op.source, t), "above": s.delta(k + 1, t), "below": s.delta(op.source, t),
            **s.rows(k + 1, part), **_statistics(s, k, t, names, s.memory.capacity),
            "gamma": s.parameter(op.weight), "accumulate": accumulate,
        }  # fmt: skip
        reads = (
            s.region("value", op.source, t, part), s.region("delta", k + 1, t, part),
            s.region("statistics", k + 1, t, part), s.own("parameters", op.weight, everything),
        )  # fmt: skip
        return [
            Call(
                normalization.layer_norm_backward(s.dtype),
                arguments,
                reads,
                (s.region("delta", op.source, t, part),),
            )
        ]

    s.phase(backward)


FORWARD = {
    "linear": schedule_linear.forward,
    "activation": activation_forward,
    "batch_norm": batch_norm_forward,
    "layer_norm": layer_norm_forward,
    "dropout": dropout_forward,
    "add": add_forward,
}
BACKWARD = {
    "linear": schedule_linear.backward,
    "activation": activation_backward,
    "batch_norm": batch_norm_backward,
    "layer_norm": layer_norm_backward,
    "dropout": dropout_backward,
    "add": add_backward,
}
