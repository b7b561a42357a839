"""One sweep of the reference executor, forward and back, with everything that it computes on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.execution import Examples, Penalty
from chainrule.explain.layers import Layer
from chainrule.functions import get_activation
from chainrule.plan import Operation, Plan
from chainrule.reference import ReferenceExecutor

__all__ = ["Normalisation", "Sweep"]


@dataclass(frozen=True, eq=False)
class Normalisation:
    """What a normalisation goes through.

    Attributes
    ----------
    mean, variance : ndarray
        Of each column, (d,), or of each row, (n, 1).
    normal : ndarray of shape (n, d)
        ĥ, what is left of h when the mean is taken off and the deviation divided out.
    delta : ndarray of shape (n, d)
        ∂ℒ/∂ĥ.
    below : ndarray of shape (n, d)
        What the layer hands down: its part of ∂ℒ/∂h of the layer that it reads.
    """

    mean: np.ndarray
    variance: np.ndarray
    normal: np.ndarray
    delta: np.ndarray
    below: np.ndarray


class _Recorder(ReferenceExecutor):
    """The reference executor, keeping what each operation hands down."""

    def __init__(self, plan: Plan, parameters: np.ndarray, buffers: np.ndarray) -> None:
        super().__init__(plan, parameters, buffers)
        self.below: dict[Operation, np.ndarray] = {}
        self.normal: dict[Operation, tuple[np.ndarray, np.ndarray]] = {}

    def sweep(self, examples: Examples, training: bool) -> tuple[Any, ...]:
        """Loss, gradient, values and deltas."""
        loss, _, *rest = self._backpropagate(examples, Penalty(), training, 0, 0)
        return loss, *rest

    def statistics(self, op: Operation, h: np.ndarray, training: bool) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance that a normalisation takes."""
        if op.kind == "batch_norm":
            return self._batch_statistics(op, h, training)
        return h.mean(axis=1, keepdims=True), h.var(axis=1, keepdims=True)

    def _activation_backward(self, op: Operation, z: np.ndarray, delta: np.ndarray) -> np.ndarray:
        self.below[op] = super()._activation_backward(op, z, delta)
        return self.below[op]

    def _batch_norm_backward(
        self, op: Operation, h: np.ndarray, delta: np.ndarray, gradient: np.ndarray, training: bool
    ) -> np.ndarray:
        self.below[op] = super()._batch_norm_backward(op, h, delta, gradient, training)
        return self.below[op]

    def _layer_norm_backward(
        self, op: Operation, h: np.ndarray, delta: np.ndarray, gradient: np.ndarray
    ) -> np.ndarray:
        self.below[op] = super()._layer_norm_backward(op, h, delta, gradient)
        return self.below[op]

    def _scale_and_shift_backward(
        self, op: Operation, normal: np.ndarray, delta: np.ndarray, gradient: np.ndarray
    ) -> np.ndarray:
        delta_normal = super()._scale_and_shift_backward(op, normal, delta, gradient)
        self.normal[op] = normal, delta_normal
        return delta_normal


class Sweep:
    """Forward and back through a plan on one batch.

    Attributes
    ----------
    loss : float
        The mean over the rows.
    gradient : ndarray
        Flat, as the parameters.
    output : ndarray of shape (n, d_L)
        What the loss is given.
    """

    def __init__(
        self, plan: Plan, parameters: np.ndarray, buffers: np.ndarray, examples: Examples, *, training: bool
    ) -> None:
        self._recorder = _Recorder(plan, parameters, buffers)
        self._training = training
        self.loss, self.gradient, self._values, self._deltas = self._recorder.sweep(examples, training)
        self.output: np.ndarray = self._values[-1]

    def z(self, layer: Layer) -> np.ndarray:
        """(1)."""
        return self._values[layer.z_index]

    def h(self, layer: Layer) -> np.ndarray:
        """(2)."""
        return self._values[layer.h_index]

    def signal(self, layer: Layer) -> np.ndarray:
        """∂ℒ/∂h."""
        return self._deltas[layer.h_index]

    def delta(self, layer: Layer) -> np.ndarray:
        """δ = ∂ℒ/∂z, (3); for an activation by itself the part that goes through it."""
        if layer.activation is None:
            return self._deltas[layer.z_index]
        return self._recorder.below[layer.activation]

    def slope(self, layer: Layer) -> np.ndarray:
        """σ'(z)."""
        z = self.z(layer)
        if layer.activation is None:
            return np.ones_like(z)
        return get_activation(layer.activation.activation).derivative(z, layer.activation.alpha)

    def normalisation(self, layer: Layer) -> Normalisation | None:
        """Mean, variance and so on, of a normalisation."""
        if not layer.is_normalisation:
            return None
        op = layer.operation
        mean, variance = self._recorder.statistics(op, self._values[op.source], self._training)
        return Normalisation(mean, variance, *self._recorder.normal[op], self._recorder.below[op])
