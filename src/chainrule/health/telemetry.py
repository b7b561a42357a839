"""What a network looks like from inside at one moment: activations, error signals, gradients, layer by layer.

One schema for both libraries, which have the same hooks. A layer is what the chapter calls one: a linear
module, with the normalisations and the activation that follow it; z^(l) is what its activation reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.functions.activations import ACTIVATIONS, Activation
from chainrule.health.watch_numbers import duplicates, fingerprints

__all__ = ["LayerState", "Recording", "Snapshot", "recorded"]

# σ' below this share of its largest value is saturation (Glorot, Bengio 2010).
SATURATED_BELOW = 0.05
# Activations that are flat at both ends; a ReLU that is flat at one is dead, not saturated.
BOUNDED = ("sigmoid", "tanh")
# Rows that are compared to see which function is between two layers.
MOST_COMPARED = 16
# Modules between two layers that leave a linear network linear, and those that are taken for such.
PLAIN = ("BatchNorm", "LayerNorm", "Dropout", "Identity", "Flatten", "AvgPool")
# What an activation module of PyTorch is called here.
TORCH_ACTIVATIONS = {
    "ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu", "SELU": "selu", "GELU": "gelu", "SiLU": "silu",
    "Mish": "mish", "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Identity": "identity",
}  # fmt: skip


@dataclass(frozen=True)
class LayerState:
    """One layer l at one moment. Root mean squares are over rows and units.

    Attributes
    ----------
    name : str
        Dotted name of the linear module.
    activation : str or None
        Name of σ's record; None where the layer has no activation.
    fan_in, width : int
    z_mean, z_std : float
        Of the pre-activations z^(l), over rows and units.
    h_rms : float
        Of what the layer gives.
    delta_rms : float
        Of δ^(l) = ∂ℒ/∂z^(l), (3), one row an example.
    weight_norm, gradient_norm : float
        ‖W^(l)‖ and ‖∂ℒ/∂W^(l)‖, (6), Frobenius.
    dead : float
        Share of units that give 0 for every row; of ReLUs only. Of a convolution a unit is a channel.
    saturated : float
        Share of z where σ' is below 5 % of its maximum; of sigmoid and tanh only.
    duplicates : float
        Share of units with the same weights, bias and gradient as another.
    spread : float
        Mean over the units of the standard deviation of z over the rows, as a share of z's RMS: how much of
        z depends on x.
    weight_std : float
        Standard deviation of the entries of W^(l).
    update_ratio : float
        ‖ΔW^(l)‖/‖W^(l)‖ of the step that follows; NaN where none was taken.
    bare : bool
        Whether what the next layer reads is linear in z: there is no activation, and nothing else.
    """

    name: str
    activation: str | None
    fan_in: int
    width: int
    z_mean: float
    z_std: float
    h_rms: float
    delta_rms: float
    weight_norm: float
    gradient_norm: float
    dead: float
    saturated: float
    duplicates: float
    spread: float
    weight_std: float
    update_ratio: float = float("nan")
    bare: bool = False

    @property
    def weight_rms(self) -> float:
        """Root mean square of the entries of W^(l)."""
        return self.weight_norm / math.sqrt(self.fan_in * self.width)


@dataclass(frozen=True)
class Snapshot:
    """A network at one step.

    Attributes
    ----------
    step : int
    loss : float
    layers : tuple of LayerState
        l = 1 … L in the order of the forward pass.
    frozen, disconnected : tuple of str
        Parameters that do not ask for a gradient, and those that ask and get none.
    non_finite : str
        The first thing that is not finite, going forward and then back; empty where all is.
    n_rows : int
    """

    step: int
    loss: float
    layers: tuple[LayerState, ...]
    frozen: tuple[str, ...] = ()
    disconnected: tuple[str, ...] = ()
    non_finite: str = ""
    n_rows: int = 0


@dataclass
class _Call:
    """One leaf module's output in a forward pass, and the gradient that came back to it; a layer's input."""

    name: str
    module: Any
    output: np.ndarray
    read: np.ndarray | None = None
    gradient: np.ndarray | None = None


@dataclass
class Recording:
    """What the hooks wrote down in one forward and backward pass."""

    calls: list[_Call] = field(default_factory=list)
    outputs: np.ndarray | None = None

    def layers(self) -> list[LayerState]:
        """The calls as layers."""
        return [_layer_state(*one) for one in self._groups()]

    def activations(self) -> list[tuple[Any, str | None]]:
        """Each layer's module with the name of the activation that follows it, in the order of the pass."""
        found = ((group[0].module, _activation_in(group, reader)) for group, reader in self._groups())
        return [(module, None if one is None else one[0].name) for module, one in found]

    def _groups(self) -> list[tuple[list[_Call], np.ndarray | None]]:
        """The calls of each layer, and what the next layer reads, or the network gives."""
        groups = _grouped(self.calls)
        readers = [*(group[0].read for group in groups[1:]), self.outputs]
        return list(zip(groups, readers, strict=True)) if groups else []

    def first_non_finite(self) -> str:
        """The first value, or else the first error signal on its way back, that is not finite."""
        for call in self.calls:
            if not np.isfinite(call.output).all():
                return f"the output of {call.name or 'the module'}"
        for call in reversed(self.calls):
            if call.gradient is not None and not np.isfinite(call.gradient).all():
                return f"the gradient of the output of {call.name or 'the module'}"
        return ""


@contextmanager
def recorded(module: Any) -> Iterator[Recording]:
    """Write down what the leaf modules give, and the gradients that come back; the hooks go at the end."""
    recording = Recording()
    handles = []
    for name, one in module.named_modules():
        if is_layer(one) or not any(True for _ in one.children()):
            handles.append(one.register_forward_hook(_hook(recording, name)))
    handles.append(module.register_forward_hook(_last_hook(recording)))
    try:
        yield recording
    finally:
        for handle in handles:
            handle.remove()


def _hook(recording: Recording, name: str) -> Callable[..., None]:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        if not hasattr(output, "requires_grad"):
            return
        read = as_array(inputs[0]) if is_layer(module) and inputs else None
        call = _Call(name, module, as_array(output), read)
        recording.calls.append(call)

        def keep(gradient: Any) -> None:
            call.gradient = as_array(gradient)

        if output.requires_grad:
            output.register_hook(keep)

    return hook


def _last_hook(recording: Recording) -> Callable[..., None]:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        recording.outputs = as_array(output) if hasattr(output, "requires_grad") else None

    return hook


def as_array(tensor: Any) -> np.ndarray:
    if hasattr(tensor, "detach") and hasattr(tensor, "cpu"):  # PyTorch's
        array: np.ndarray = tensor.detach().cpu().double().numpy().copy()
        return array
    return np.asarray(tensor.data, np.float64)


# --------------------------------------------------------------------------------------------- layer by layer


def _grouped(calls: list[_Call]) -> list[list[_Call]]:
    """Each linear call with those after it, up to the next."""
    groups: list[list[_Call]] = []
    for call in calls:
        if is_layer(call.module):
            groups.append([call])
        elif groups:
            groups[-1].append(call)
    return groups


def is_layer(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    # What an embedding looks up is no product with its weights.
    return weight is not None and len(getattr(weight, "shape", ())) >= 2 and not is_a(module, "Embedding")


def is_a(module: Any, kind: str) -> bool:
    """Whether a module's class, or one that it is made of, has a name with this in it, in either library."""
    return any(kind in base.__name__ for base in type(module).__mro__)


def dropouts(module: Any) -> list[Any]:
    """The modules that drop a share p."""
    return [one for one in module.modules() if is_a(one, "Dropout") and hasattr(one, "p")]


def activation_of(module: Any) -> str | None:
    """The name of the record that a module computes; None if it is no activation."""
    name = getattr(module, "record_name", None) or TORCH_ACTIVATIONS.get(type(module).__name__)
    return name if name in ACTIVATIONS else None


def _activation_in(calls: list[_Call], reader: np.ndarray | None) -> tuple[Activation, int | None] | None:
    """The activation after a layer: its record, and which of the calls it is; None for a function's call."""
    for place, call in enumerate(calls):
        name = activation_of(call.module)
        if name is not None and name != "identity":
            return ACTIVATIONS[name], place
    record = None if reader is None else _function_between(calls[-1].output, reader)
    return None if record is None else (record, None)


def _function_between(z: np.ndarray, h: np.ndarray) -> Activation | None:
    """The record that a forward of the user's own computes by a function of tensors, found by its values."""
    if len(z) == len(h):
        z, h = z[:MOST_COMPARED], h[:MOST_COMPARED]
    if _are_equal(h, z) or not h.size:
        return None
    # ReLU first, of those that fit as well: where all is far below 0, most are 0.
    records = sorted(ACTIVATIONS.values(), key=lambda record: record.name != "relu")
    with np.errstate(all="ignore"):
        values = [(record.value(z, record.alpha or 0.0), record) for record in records if z.size == h.size]
        fits = [
            (np.abs(value.ravel() - h.ravel()).max(), record)
            for value, record in values
            if _are_equal(h, value)
        ]
        if fits:
            best = min(fits, key=lambda pair: pair[0])[1]
            return best if best.name != "identity" else None
        # Of a ReLU that a largest of a few follows, or a change of axes, the values are some of z's, or 0.
        if h.min() == 0 > z.min() and np.isin(h[h > 0], z).all():
            return ACTIVATIONS["relu"]
    return None


def _are_equal(first: np.ndarray, second: np.ndarray) -> bool:
    return first.size == second.size and np.allclose(first.ravel(), second.ravel(), rtol=1e-4, atol=1e-6)


def _is_bare(calls: list[_Call], reader: np.ndarray | None) -> bool:
    """Whether nothing between two layers is an activation, or anything else that is not linear."""
    if _activation_in(calls, reader) is not None or not all(_is_plain(call.module) for call in calls):
        return False
    given = calls[-1].output
    # Where all is zero, a function in a forward of the user's own cannot be seen.
    return reader is None or (bool(given.any()) and _are_equal(reader, given))


def _is_plain(module: Any) -> bool:
    return is_layer(module) or any(is_a(module, kind) for kind in PLAIN)


def _layer_state(calls: list[_Call], reader: np.ndarray | None = None) -> LayerState:
    linear = calls[0]
    found = _activation_in(calls, reader)
    record, place = (None, None) if found is None else found
    z_call = calls[-1] if place is None else calls[max(0, place - 1)]
    with np.errstate(all="ignore"):
        z = _by_unit(linear.module, z_call.output)
        h = calls[-1 if place is None else place].output
        if record is not None and place is None:
            h = record.value(h, record.alpha or 0.0)
        weight, gradient = _weights(linear.module)
        # Behind an identity nothing is said of single units.
        judged = None if any(activation_of(call.module) == "identity" for call in calls[:place]) else record
        return LayerState(
            name=linear.name,
            activation=None if record is None else record.name,
            fan_in=int(np.prod(weight.shape[1:])),
            width=int(weight.shape[0]),
            z_mean=float(z.mean()),
            z_std=float(z.std()),
            h_rms=_rms(h),
            delta_rms=float("nan") if z_call.gradient is None else _rms(z_call.gradient * len(z_call.output)),
            weight_norm=float(np.linalg.norm(weight)),
            gradient_norm=float("nan") if gradient is None else float(np.linalg.norm(gradient)),
            dead=_dead(judged, _by_unit(linear.module, h)),
            saturated=_saturated(judged, calls[place].module if place is not None else None, z),
            duplicates=_duplicates(linear.module, weight, gradient),
            spread=float(z.std(axis=0).mean() / max(_rms(z), 1e-300)),
            weight_std=float(weight.std()),
            bare=_is_bare(calls, reader),
        )


def _by_unit(module: Any, values: np.ndarray) -> np.ndarray:
    """Values as (rows, units); of a convolution the channels are the units, and each place is a row."""
    if values.ndim > 2 and len(module.weight.shape) > 2:
        values = np.moveaxis(values, 1, -1)
    return values.reshape(-1, values.shape[-1]) if values.ndim > 2 else values.reshape(len(values), -1)


def _weights(module: Any) -> tuple[np.ndarray, np.ndarray | None]:
    # A weight that is computed of others, as by weight normalisation, is no leaf and has none.
    gradient = module.weight.grad if module.weight.is_leaf else None
    return as_array(module.weight), None if gradient is None else as_array(gradient)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0


def _dead(record: Activation | None, h: np.ndarray) -> float:
    if record is None or record.name != "relu":
        return 0.0
    return float((h == 0).all(axis=0).mean())


def _saturated(record: Activation | None, module: Any, z: np.ndarray) -> float:
    if record is None or record.name not in BOUNDED:
        return 0.0
    alpha = float(getattr(module, "record_alpha", record.alpha or 0.0))
    return float((np.abs(record.derivative(z, alpha)) < SATURATED_BELOW * record.derivative_max).mean())


def _duplicates(module: Any, weight: np.ndarray, gradient: np.ndarray | None) -> float:
    """Units that nothing tells apart, neither now nor after a step."""
    if weight.shape[0] < 2:
        return 0.0
    columns = [weight.reshape(len(weight), -1)]
    bias = getattr(module, "bias", None)
    if bias is not None and len(bias) == len(weight):  # a transposed convolution's are along the other axis
        columns.append(as_array(bias)[:, None])
    if gradient is not None:
        columns.append(gradient.reshape(len(gradient), -1))
    rows = np.concatenate(columns, axis=1)
    if duplicates([fingerprints(rows)]) == 0:  # one number a row: sorting whole rows takes long
        return 0.0
    _, counts = np.unique(np.round(rows, 12), axis=0, return_counts=True)
    return float(counts[counts > 1].sum() / len(rows))
