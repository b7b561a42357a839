"""From what hooks wrote down in a step to layers: ``LayerState`` as in ``telemetry.py``, in few passes.

A layer is a linear module with the normalisation and the activation after it; z^(l) is what its activation
reads. Where ``forward`` computes a ReLU itself, its gate shows in the gradients: δ^(l) is exactly 0 wherever
z^(l) < 0, by (5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.functions.activations import ACTIVATIONS, Activation
from chainrule.health.telemetry import BOUNDED, SATURATED_BELOW, LayerState, activation_of
from chainrule.health.watch_numbers import array, duplicates, fingerprints, squares

__all__ = ["Call", "LayerView", "is_normalisation", "layers_of", "weight_of", "weights_only"]

NAN = float("nan")


@dataclass
class Call:
    """One leaf module's output in a step, copied, and the gradient that came back to it.

    Attributes
    ----------
    name : str
    module : Module
    weight : Parameter or None
        The matrix, of a linear module.
    output, gradient : ndarray or None
        Kept of linear modules and normalisations; of activations the output only.
    came_back : bool
        Whether the call was part of a backward pass.
    training, whole : bool
        The mode of the module and of the whole model at the time.
    non_finite : str
        What was first seen not to be finite: "output", "input", "gradient", or empty.
    n_rows : int
    """

    name: str
    module: Any
    weight: Any = None
    output: np.ndarray | None = None
    gradient: np.ndarray | None = None
    came_back: bool = False
    training: bool = True
    whole: bool = True
    non_finite: str = ""
    n_rows: int = 0


@dataclass(frozen=True)
class LayerView:
    """A layer at a step, with what the rules need beside its state.

    Attributes
    ----------
    state : LayerState
    delta_norm : float
        ‖δ^(l)‖ of one example (root mean square over the rows): unlike the mean over the units it can be
        compared between layers of different sizes.
    zero_units : ndarray of bool, or None
        Units (of a convolution, channels) that gave 0 for every row; of ReLUs only.
    n_rows : int
    is_embedding : bool
        Whether it looks rows up, z = W[i], in place of (1).
    """

    state: LayerState
    delta_norm: float = NAN
    zero_units: np.ndarray | None = None
    n_rows: int = 0
    is_embedding: bool = False


def weight_of(module: Any) -> Any:
    """The matrix of a linear module, None of others.

    Of a reparametrised one the largest of what it is made of: to ask for ``module.weight`` would compute it.
    """
    found = None
    own = module._parameters if not any(True for _ in module.children()) else dict(module.named_parameters())
    for name, one in own.items():
        if one is None:
            continue
        is_matrix = "weight" in name and not hasattr(one, "materialize") and len(one.shape) > 1
        if is_matrix and (found is None or math.prod(one.shape) > math.prod(found.shape)):
            found = one
    return found


def is_normalisation(module: Any) -> bool:
    """Whether it is a batch, layer, group ... normalisation."""
    return "Norm" in type(module).__name__


def layers_of(
    calls: list[Call], norms: dict[int, float], scale: float = 1.0, left: float = 1.0
) -> list[LayerView]:
    """The layers of the last forward pass that got gradients.

    Parameters
    ----------
    calls : list of Call
        All of a step. A module that was called several times is shown by its last call that got a gradient.
    norms : dict
        ‖W‖ of parameters of their gradients, by ``id`` and ``~id`` of each.
    scale : float
        What the loss was multiplied by, for gradients in half precision.
    left : float
        What of that is still in the gradients of the parameters.
    """
    groups: dict[str, list[Call]] = {}
    current: list[Call] | None = None
    for call in calls:
        if not call.came_back:
            continue
        if call.weight is not None:
            groups.pop(call.name, None)
            current = groups[call.name] = [call]
        elif current is not None:
            current.append(call)
    kept = [group for group in groups.values() if group[0].output is not None]
    return [_layer(group, norms, (scale, left), is_last=group is kept[-1]) for group in kept]


def weights_only(name: str, module: Any, norms: dict[int, float]) -> LayerView:
    """A layer whose forward pass could not be seen: what its weights say."""
    return LayerView(LayerState(
        name=name, activation=None, z_mean=NAN, z_std=NAN, h_rms=NAN, delta_rms=NAN, dead=0.0, saturated=0.0,
        spread=NAN, **_of_weights(module, weight_of(module), norms),
    ))  # fmt: skip


def _layer(
    calls: list[Call], norms: dict[int, float], scales: tuple[float, float], is_last: bool
) -> LayerView:
    linear = calls[0]
    place = next((k for k, call in enumerate(calls) if activation_of(call.module)), None)
    before = calls[: len(calls) if place is None else place]
    z_call = [call for call in before if call.output is not None][-1]
    z, delta = z_call.output, z_call.gradient
    assert z is not None
    record, h = _activation(None if place is None else calls[place], z, delta, is_last)
    axis = 1 if len(linear.weight.shape) > 2 and h.ndim > 1 else -1
    zero_units = _zero_units(h, axis) if record is not None and record.name == "relu" else None
    delta_squares = NAN if delta is None else squares(delta) / scales[0] ** 2
    n_rows, (mean, std, spread) = len(z), _spread(z)
    rms = math.hypot(mean, std)
    state = LayerState(
        name=linear.name,
        activation=None if record is None else record.name,
        z_mean=mean,
        z_std=std,
        h_rms=rms if h is z else math.sqrt(squares(h) / max(h.size, 1)),
        delta_rms=NAN if delta is None else n_rows * math.sqrt(delta_squares / max(delta.size, 1)),
        dead=0.0 if zero_units is None else float(zero_units.mean()),
        saturated=_saturated(record, None if place is None else calls[place].module, z),
        spread=spread / max(rms, 1e-300),
        bare=record is None,
        **_of_weights(linear.module, linear.weight, norms, scales[1]),
    )
    is_embedding = "Embedding" in type(linear.module).__name__
    return LayerView(state, math.sqrt(n_rows * delta_squares), zero_units, n_rows, is_embedding)


def _spread(z: np.ndarray) -> tuple[float, float, float]:
    """Mean and standard deviation of all of z, and the mean over the units of that over the rows.

    The variance is that within the units and that between their means.
    """
    rows = z.reshape(len(z), -1)
    means = rows.mean(axis=0)
    centred = rows - means
    variances = np.einsum("ij,ij->j", centred, centred).astype(np.float64) / len(z)
    means = means.astype(np.float64)
    variance = float(variances.mean()) + float(means.var())
    return float(means.mean()), math.sqrt(variance), float(np.sqrt(variances).mean())


def _activation(
    call: Call | None, z: np.ndarray, delta: np.ndarray | None, is_last: bool
) -> tuple[Activation | None, np.ndarray]:
    """σ and h = σ(z), (2): those of a module, or a ReLU that shows in the gradients."""
    if call is not None:
        name = activation_of(call.module)
        record = None if name is None or name == "identity" else ACTIVATIONS[name]
        return record, z if call.output is None else call.output
    if is_last or delta is None or delta.shape != z.shape:
        return None, z
    below = z < 0
    if not below.any() or delta[below].any():
        return None, z
    return ACTIVATIONS["relu"], np.maximum(z, 0)


def _zero_units(h: np.ndarray, axis: int) -> np.ndarray:
    others = tuple(k for k in range(h.ndim) if k != axis % h.ndim)
    return np.asarray(~h.any(axis=others))


def _saturated(record: Activation | None, module: Any, z: np.ndarray) -> float:
    if record is None or record.name not in BOUNDED:
        return 0.0
    alpha = float(getattr(module, "record_alpha", record.alpha or 0.0))
    return float((np.abs(record.derivative(z, alpha)) < SATURATED_BELOW * record.derivative_max).mean())


def _of_weights(module: Any, parameter: Any, norms: dict[int, float], scale: float = 1.0) -> dict[str, Any]:
    """What a layer's W^(l), and its gradient, (6), say."""
    weight, gradient, length = array(parameter), parameter.grad, norms.get(id(parameter), NAN)
    slope = None if gradient is None else array(gradient)
    return {
        "fan_in": int(np.prod(weight.shape[1:])),
        "width": int(weight.shape[0]),
        "weight_norm": length,
        "gradient_norm": NAN if slope is None else norms.get(~id(parameter), NAN) / scale,
        "weight_std": _std(weight, length),
        "duplicates": _duplicates(module, weight, slope),
    }


def _std(weight: np.ndarray, length: float) -> float:
    """√(mean(w²) − mean(w)²), or in two passes where that would cancel."""
    mean_square, mean = length**2 / max(weight.size, 1), float(weight.mean())
    variance = mean_square - mean**2
    return math.sqrt(variance) if variance > 1e-4 * mean_square else float(weight.std(dtype=np.float64))


def _duplicates(module: Any, weight: np.ndarray, gradient: np.ndarray | None) -> float:
    """Units that nothing tells apart, neither now nor after a step: by one number for w, b and ∂w each."""
    if len(weight) < 2 or not np.isfinite(weight[0].ravel()[0]):
        return 0.0
    columns = [fingerprints(weight)]
    if duplicates(columns) == 0:
        return 0.0
    bias = dict(module._parameters.items()).get("bias")  # a scripted module has no get()
    if bias is not None and len(bias.shape) == 1 and len(bias) == len(weight):
        columns.append(fingerprints(array(bias)))
    if gradient is not None:
        columns.append(fingerprints(gradient))
    return duplicates(columns)
