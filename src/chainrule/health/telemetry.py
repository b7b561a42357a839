"""What a network looks like from inside at one moment: activations, error signals, gradients, layer by layer.

One schema for both libraries, which have the same hooks. A layer is what the chapter calls one: a linear
module, with the normalisations and the activation that follow it; z^(l) is what its activation reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.functions.activations import ACTIVATIONS, Activation

__all__ = ["LayerState", "Recording", "Snapshot", "recorded"]

# σ' below this share of its largest value is saturation (Glorot, Bengio 2010).
SATURATED_BELOW = 0.05
# Activations that are flat at both ends; a ReLU that is flat at one is dead, not saturated.
BOUNDED = ("sigmoid", "tanh")
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
        Share of units that give 0 for every row; of ReLUs only.
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
    """One leaf module's output in a forward pass, and the gradient that came back to it."""

    name: str
    module: Any
    output: np.ndarray
    gradient: np.ndarray | None = None


@dataclass
class Recording:
    """What the hooks wrote down in one forward and backward pass."""

    calls: list[_Call] = field(default_factory=list)

    def layers(self) -> list[LayerState]:
        """The calls as layers."""
        return [_layer_state(group) for group in _grouped(self.calls)]

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
        if not any(True for _ in one.children()):
            handles.append(one.register_forward_hook(_hook(recording, name)))
    try:
        yield recording
    finally:
        for handle in handles:
            handle.remove()


def _hook(recording: Recording, name: str) -> Callable[..., None]:
    def hook(module: Any, inputs: Any, output: Any) -> None:
        if not hasattr(output, "requires_grad"):
            return
        call = _Call(name, module, _array(output))
        recording.calls.append(call)

        def keep(gradient: Any) -> None:
            call.gradient = _array(gradient)

        if output.requires_grad:
            output.register_hook(keep)

    return hook


def _array(tensor: Any) -> np.ndarray:
    if hasattr(tensor, "detach") and hasattr(tensor, "cpu"):  # PyTorch's
        array: np.ndarray = tensor.detach().cpu().float().numpy().astype(np.float64)
        return array
    return np.asarray(tensor.data, np.float64)


# --------------------------------------------------------------------------------------------- layer by layer


def _grouped(calls: list[_Call]) -> list[list[_Call]]:
    """Each linear call with those after it, up to the next."""
    groups: list[list[_Call]] = []
    for call in calls:
        if _is_linear(call.module):
            groups.append([call])
        elif groups:
            groups[-1].append(call)
    return groups


def _is_linear(module: Any) -> bool:
    weight = getattr(module, "weight", None)
    return weight is not None and len(weight.shape) >= 2


def activation_of(module: Any) -> str | None:
    """The name of the record that a module computes; None if it is no activation."""
    name = getattr(module, "record_name", None) or TORCH_ACTIVATIONS.get(type(module).__name__)
    return name if name in ACTIVATIONS else None


def _layer_state(calls: list[_Call]) -> LayerState:
    linear = calls[0]
    place = next((k for k, call in enumerate(calls) if activation_of(call.module)), None)
    z_call = calls[-1] if place is None else calls[max(0, place - 1)]
    name = None if place is None else activation_of(calls[place].module)
    record = None if name is None or name == "identity" else ACTIVATIONS[name]
    with np.errstate(all="ignore"):
        z = z_call.output.reshape(len(z_call.output), -1)
        h = calls[-1 if place is None else place].output
        weight, gradient = _weights(linear.module)
        return LayerState(
            name=linear.name,
            activation=None if record is None else record.name,
            fan_in=int(np.prod(weight.shape[1:])),
            width=int(weight.shape[0]),
            z_mean=float(z.mean()),
            z_std=float(z.std()),
            h_rms=_rms(h),
            delta_rms=float("nan") if z_call.gradient is None else _rms(z_call.gradient * len(z)),
            weight_norm=float(np.linalg.norm(weight)),
            gradient_norm=float("nan") if gradient is None else float(np.linalg.norm(gradient)),
            dead=_dead(record, h),
            saturated=_saturated(record, calls[place].module if place is not None else None, z),
            duplicates=_duplicates(linear.module, weight, gradient),
            spread=float(z.std(axis=0).mean() / max(_rms(z), 1e-300)),
            weight_std=float(weight.std()),
        )


def _weights(module: Any) -> tuple[np.ndarray, np.ndarray | None]:
    gradient = module.weight.grad
    return _array(module.weight), None if gradient is None else _array(gradient)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else 0.0


def _dead(record: Activation | None, h: np.ndarray) -> float:
    if record is None or record.name != "relu":
        return 0.0
    return float((h.reshape(len(h), -1) == 0).all(axis=0).mean())


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
    if getattr(module, "bias", None) is not None:
        columns.append(_array(module.bias)[:, None])
    if gradient is not None:
        columns.append(gradient.reshape(len(gradient), -1))
    rows = np.concatenate(columns, axis=1)
    _, counts = np.unique(np.round(rows, 12), axis=0, return_counts=True)
    return float(counts[counts > 1].sum() / len(rows))
