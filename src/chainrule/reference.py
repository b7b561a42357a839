"""The textbook, executed: equations (1)-(7) on a plan, in plain NumPy.

This is the definition. It is written to be read beside the chapter, knows nothing of speed, and the
compiled engine is tested against it. A batch is stored one row an example, so that equation (1) reads
Z = H Wᵀ + b and equation (6), averaged over the batch, ∂ℒ/∂W = Δᵀ H.
"""

from typing import Any

import numpy as np
import scipy.sparse

from chainrule.execution import SATURATION_SHARE, Examples, Instructions, Penalty, Report
from chainrule.functions import get_activation, get_loss
from chainrule.plan import Operation, Plan, Slot

__all__ = ["ReferenceExecutor", "dropout_keeps"]

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea & Flood 2014): a bijection that scrambles 64 bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def dropout_keeps(
    seed: int, step: int, operation: int, n_rows: int, width: int, probability: float
) -> np.ndarray:
    """Which entries dropout keeps: a boolean array (n_rows, width).

    Counter-based: an entry depends on (seed, step, operation, row, unit) alone, so every executor
    and any number of threads draw the same mask without sharing a generator.
    """
    key = np.array([seed], dtype=np.uint64)
    for number in (step, operation):
        key = _mix(key + GOLDEN_RATIO * np.array([number + 1], dtype=np.uint64))
    rows = np.arange(n_rows, dtype=np.uint64)[:, None] << np.uint64(32)
    counters = rows | np.arange(width, dtype=np.uint64)
    bits = _mix(key + GOLDEN_RATIO * (counters + np.uint64(1)))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53 >= probability


class ReferenceExecutor:
    """Runs a plan by the book. See ``chainrule.execution.Executor`` for the methods' contract.

    Parameters
    ----------
    plan : Plan
    parameters, buffers : ndarray
        The flat vectors, float32 or float64, changed in place by ``run``.

    Examples
    --------
    The worked example of section 3: x = 1, y = 0, one sigmoid unit, one linear output.

    >>> from chainrule import nn
    >>> from chainrule.plan import lower
    >>> plan = lower(nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 1)), "half_squared_error")
    >>> executor = ReferenceExecutor(plan, np.array([0.5, 0.0, -1.0, 0.1]), np.empty(0))
    >>> loss, _, gradient = executor.gradient(Examples(np.array([[1.0]]), np.array([[0.0]])))
    >>> round(loss, 4), gradient.round(4)            # ℒ; ∂w₁, ∂b₁, ∂w₂, ∂b₂
    (0.1365, array([ 0.1228,  0.1228, -0.3252, -0.5225]))
    """

    name = "reference"

    def __init__(self, plan: Plan, parameters: np.ndarray, buffers: np.ndarray) -> None:
        self.plan = plan
        self.parameters = parameters
        self.buffers = buffers
        self.dtype = parameters.dtype

    # -- what the library calls --------------------------------------------------------------------

    # A training that diverges is for the caller to report, once; and BLAS may raise the processor's flag for
    # an invalid operation where there was none, in lanes beyond the end of a row.

    @np.errstate(all="ignore")
    def predict(self, X: Any) -> np.ndarray:
        """Raw outputs z of the network in evaluation mode."""
        return self.values(X, training=False)[-1]

    @np.errstate(all="ignore")
    def loss(self, examples: Examples) -> float:
        """Weighted mean loss in evaluation mode, without penalty."""
        return self._mean_loss(self.predict(examples.X), examples)[0]

    @np.errstate(all="ignore")
    def gradient(
        self,
        examples: Examples,
        penalty: Penalty = Penalty(),  # noqa: B008 - frozen, so sharing one default is safe
        *,
        training: bool = True,
        step: int = 0,
        seed: int = 0,
    ) -> tuple[float, float, np.ndarray]:
        """Mean loss over all examples, its penalty, and the gradient of their sum."""
        loss, penalty_value, gradient, *_ = self._backpropagate(examples, penalty, training, step, seed)
        return loss, penalty_value, gradient

    @np.errstate(all="ignore")
    def run(self, examples: Examples, instructions: Instructions) -> Report:
        """Run training steps: forward, backward, clip, update."""
        order = np.arange(len(examples)) if instructions.order is None else instructions.order
        report = Report(0.0, 0.0, len(order), 0, np.empty(0, np.int64), np.empty(0), np.empty(0))
        samples: list[tuple[int, np.ndarray, np.ndarray]] = []
        for start in range(0, len(order), instructions.batch_size):
            rows = order[start : start + instructions.batch_size]
            batch = Examples(
                examples.X[rows],
                examples.y[rows],
                None if examples.weights is None else examples.weights[rows],
            )
            step = instructions.first_step + report.n_steps
            loss, penalty, gradient, values, deltas = self._backpropagate(
                batch, instructions.penalty, True, step, instructions.seed, update_running=True
            )
            before = self.parameters.copy()
            raw_gradient = gradient.copy()
            self._update(gradient, instructions, report.n_steps)
            if instructions.telemetry_every and step % instructions.telemetry_every == 0:
                samples.append((step, self._watch(values, deltas), self._watch_slots(raw_gradient, before)))
            report.loss += loss * len(rows)
            report.penalty += penalty * len(rows)
            report.n_steps += 1
        report.telemetry_steps = np.array([step for step, _, _ in samples], dtype=np.int64)
        report.operations = np.array([one for _, one, _ in samples]).reshape(
            len(samples), len(self.plan.operations), 5
        )
        report.slots = np.array([one for _, _, one in samples]).reshape(
            len(samples), len(self.plan.parameters), 3
        )
        return report

    # -- forward -----------------------------------------------------------------------------------

    def _rows(self, X: Any) -> np.ndarray:
        """X as a dense array."""
        rows: np.ndarray = X.toarray() if scipy.sparse.issparse(X) else np.asarray(X, dtype=self.dtype)
        return rows

    def values(
        self, X: Any, *, training: bool, step: int = 0, seed: int = 0, update_running: bool = False
    ) -> list[np.ndarray]:
        """Every value of the forward pass, X first: the cache that backpropagation reads."""
        values = [self._rows(X)]
        for k, op in enumerate(self.plan.operations):
            h = values[op.source]
            if op.kind == "linear":
                value = self._linear(op, h)
            elif op.kind == "activation":
                value = self._activation(op, h)
            elif op.kind == "batch_norm":
                value = self._batch_norm(op, h, training, update_running)
            elif op.kind == "layer_norm":
                value = self._layer_norm(op, h)
            elif op.kind == "dropout":
                value = self._dropout(op, h, self._mask(k, op, X, training, step, seed))
            else:
                value = h + values[op.second]  # the join of a residual connection
            values.append(value)
        return values

    def _parameter(self, offset: int, width: int, default: float) -> np.ndarray:
        if offset < 0:
            return np.full(width, default, dtype=self.dtype)
        return self.parameters[offset : offset + width]

    def _weight(self, op: Operation) -> np.ndarray:
        flat = self.parameters[op.weight : op.weight + op.width_out * op.width_in]
        return flat.reshape(op.width_in, op.width_out).T

    def _linear(self, op: Operation, h: np.ndarray) -> np.ndarray:
        return h @ self._weight(op).T + self._parameter(op.bias, op.width_out, 0.0)  # (1)

    def _activation(self, op: Operation, z: np.ndarray) -> np.ndarray:
        return get_activation(op.activation).value(z, self.dtype.type(op.alpha))  # (2)

    def _mask(self, k: int, op: Operation, X: Any, training: bool, step: int, seed: int) -> np.ndarray | None:
        if not training or op.probability == 0.0:
            return None
        return dropout_keeps(seed, step, k, X.shape[0], op.width_out, float(self.dtype.type(op.probability)))

    def _dropout(self, op: Operation, h: np.ndarray, keeps: np.ndarray | None) -> np.ndarray:
        if keeps is None:
            return h
        scale = self.dtype.type(0.0 if op.probability == 1.0 else 1.0 / (1.0 - op.probability))
        return np.where(keeps, h * scale, self.dtype.type(0))

    def _batch_statistics(
        self, op: Operation, h: np.ndarray, training: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        if training:
            return h.mean(axis=0), h.var(axis=0)
        return (
            self.buffers[op.running_mean : op.running_mean + op.width_in],
            self.buffers[op.running_variance : op.running_variance + op.width_in],
        )

    def _batch_norm(self, op: Operation, h: np.ndarray, training: bool, update_running: bool) -> np.ndarray:
        mean, variance = self._batch_statistics(op, h, training)
        if training and update_running:
            self._track(op, len(h), mean, variance)
        normal = (h - mean) / np.sqrt(variance + self.dtype.type(op.epsilon))
        return normal * self._parameter(op.weight, op.width_in, 1.0) + self._parameter(
            op.bias, op.width_in, 0.0
        )

    def _track(self, op: Operation, n_rows: int, mean: np.ndarray, variance: np.ndarray) -> None:
        """Exponential averages of the batch's mean and unbiased variance (Ioffe & Szegedy 2015)."""
        momentum = self.dtype.type(op.momentum)
        running_mean, running_variance = self._batch_statistics(op, mean, training=False)
        running_mean += momentum * (mean - running_mean)
        if n_rows > 1:  # the variance of one row is not defined
            running_variance += momentum * (
                variance * self.dtype.type(n_rows / (n_rows - 1)) - running_variance
            )
        self.buffers[op.batches_tracked] += 1

    def _layer_norm(self, op: Operation, h: np.ndarray) -> np.ndarray:
        normal, _ = self._normalise_rows(op, h)
        return normal * self._parameter(op.weight, op.width_in, 1.0) + self._parameter(
            op.bias, op.width_in, 0.0
        )

    def _normalise_rows(self, op: Operation, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scale = 1 / np.sqrt(h.var(axis=1, keepdims=True) + self.dtype.type(op.epsilon))
        return (h - h.mean(axis=1, keepdims=True)) * scale, scale

    # -- loss --------------------------------------------------------------------------------------

    def _shares(self, examples: Examples) -> np.ndarray:
        """What each example's loss counts for: its share of the weights, times the loss term's scale."""
        weights = np.ones(len(examples), self.dtype) if examples.weights is None else examples.weights
        total = weights.sum()
        scale = self.dtype.type(self.plan.loss.scale)
        return weights * scale / total if total > 0 else np.zeros_like(weights)

    def _mean_loss(self, z: np.ndarray, examples: Examples) -> tuple[float, np.ndarray]:
        """The batch's weighted mean loss and its gradient with respect to z, equation (3)."""
        term = self.plan.loss
        record = get_loss(term.name)
        share = self._shares(examples)
        loss = float(
            (share * record.value(z, examples.y, self.dtype.type(term.setting))).sum(dtype=np.float64)
        )
        slope = record.gradient(z, examples.y, self.dtype.type(term.setting))
        return loss, (slope * share[:, None]).astype(self.dtype)

    def _penalty(self, penalty: Penalty, examples: Examples) -> tuple[float, np.ndarray]:
        """Value of ½ l2 ‖W‖² + l1 Σ|w| and its gradient."""
        gradient = np.zeros_like(self.parameters)
        value = 0.0
        factor = 1.0
        if penalty.per_example:
            total = len(examples) if examples.weights is None else float(examples.weights.sum())
            factor = 1.0 / total if total > 0 else 0.0
        for slot in self.plan.parameters:
            if slot.penalised:
                weight = slot.view(self.parameters)
                value += factor * float(
                    0.5 * penalty.l2 * (weight**2).sum(dtype=np.float64)
                    + penalty.l1 * np.abs(weight).sum(dtype=np.float64)
                )
                slot.view(gradient)[...] = factor * (penalty.l2 * weight + penalty.l1 * np.sign(weight))
        return value, gradient

    # -- backward ----------------------------------------------------------------------------------

    def _backpropagate(
        self,
        examples: Examples,
        penalty: Penalty,
        training: bool,
        step: int,
        seed: int,
        update_running: bool = False,
    ) -> tuple[float, float, np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """One right-to-left sweep: loss, penalty, gradient, and the values and δ it went through."""
        values = self.values(
            examples.X, training=training, step=step, seed=seed, update_running=update_running
        )
        loss, slope = self._mean_loss(values[-1], examples)
        penalty_value, gradient = self._penalty(penalty, examples)
        deltas = [np.zeros_like(value) for value in values]
        deltas[-1] = slope  # (4) where the loss has its canonical link, (3) in general
        for k in range(len(self.plan.operations) - 1, -1, -1):
            op = self.plan.operations[k]
            delta = deltas[k + 1]
            h = values[op.source]
            if op.kind == "linear":
                below = self._linear_backward(op, h, delta, gradient)
            elif op.kind == "activation":
                below = self._activation_backward(op, h, delta)
            elif op.kind == "batch_norm":
                below = self._batch_norm_backward(op, h, delta, gradient, training)
            elif op.kind == "layer_norm":
                below = self._layer_norm_backward(op, h, delta, gradient)
            elif op.kind == "dropout":
                below = self._dropout(op, delta, self._mask(k, op, values[0], training, step, seed))
            else:
                below = delta
                deltas[op.second] += delta
            deltas[op.source] += below
        return loss, penalty_value, gradient, values, deltas

    def _linear_backward(
        self, op: Operation, h: np.ndarray, delta: np.ndarray, gradient: np.ndarray
    ) -> np.ndarray:
        weight_gradient = gradient[op.weight : op.weight + op.width_out * op.width_in]
        weight_gradient += (h.T @ delta).ravel()  # (6), transposed as the weights lie
        if op.bias >= 0:
            gradient[op.bias : op.bias + op.width_out] += delta.sum(axis=0)  # (7)
        return delta @ self._weight(op)  # the product in (5)

    def _activation_backward(self, op: Operation, z: np.ndarray, delta: np.ndarray) -> np.ndarray:
        return delta * get_activation(op.activation).derivative(z, self.dtype.type(op.alpha))  # the ⊙ in (5)

    def _batch_norm_backward(
        self, op: Operation, h: np.ndarray, delta: np.ndarray, gradient: np.ndarray, training: bool
    ) -> np.ndarray:
        mean, variance = self._batch_statistics(op, h, training)
        scale = 1 / np.sqrt(variance + self.dtype.type(op.epsilon))
        normal = (h - mean) * scale
        delta_normal = self._scale_and_shift_backward(op, normal, delta, gradient)
        if not training:
            return delta_normal * scale
        # The mean and the variance depend on every row of the batch.
        centred = delta_normal - delta_normal.mean(axis=0)
        return scale * (centred - normal * (delta_normal * normal).mean(axis=0))

    def _layer_norm_backward(
        self, op: Operation, h: np.ndarray, delta: np.ndarray, gradient: np.ndarray
    ) -> np.ndarray:
        normal, scale = self._normalise_rows(op, h)
        delta_normal = self._scale_and_shift_backward(op, normal, delta, gradient)
        centred = delta_normal - delta_normal.mean(axis=1, keepdims=True)
        return scale * (centred - normal * (delta_normal * normal).mean(axis=1, keepdims=True))

    def _scale_and_shift_backward(
        self, op: Operation, normal: np.ndarray, delta: np.ndarray, gradient: np.ndarray
    ) -> np.ndarray:
        """Gradients of γ and β in γ x̂ + β, and δ with respect to x̂."""
        if op.weight >= 0:
            gradient[op.weight : op.weight + op.width_in] += (delta * normal).sum(axis=0)
        if op.bias >= 0:
            gradient[op.bias : op.bias + op.width_in] += delta.sum(axis=0)
        return delta * self._parameter(op.weight, op.width_in, 1.0)

    # -- update and telemetry ----------------------------------------------------------------------

    def _update(self, gradient: np.ndarray, instructions: Instructions, step: int) -> None:
        """Clip by the global norm (section 4: g ← (c/‖g‖) g when ‖g‖ > c), then one optimizer step."""
        if instructions.clip_norm > 0:
            norm = float(np.linalg.norm(gradient.astype(np.float64)))
            if norm > instructions.clip_norm:
                gradient *= self.dtype.type(instructions.clip_norm / norm)
        for slot in self.plan.parameters:
            coefficients = instructions.coefficients[step].copy()
            if not (slot.penalised or instructions.decay_all):
                coefficients[0] = 0.0  # the decoupled decay
            part = slice(slot.offset, slot.offset + slot.size)
            instructions.rule.update(
                self.parameters[part], instructions.state[:, part], gradient[part], coefficients
            )

    def _watch(self, values: list[np.ndarray], deltas: list[np.ndarray]) -> np.ndarray:
        rows = []
        for k, op in enumerate(self.plan.operations):
            value, delta = values[k + 1].astype(np.float64), deltas[k + 1].astype(np.float64)
            saturated = 0.0
            if op.kind == "activation":
                record = get_activation(op.activation)
                slope = np.abs(record.derivative(values[op.source], self.dtype.type(op.alpha)))
                saturated = float((slope < SATURATION_SHARE * record.derivative_max).mean())
            non_finite = float((~np.isfinite(value)).sum() + (~np.isfinite(delta)).sum())
            rows.append(
                (
                    np.sqrt((value**2).mean()),
                    np.sqrt((delta**2).mean()),
                    (value == 0).mean(),
                    saturated,
                    non_finite,
                )
            )
        return np.array(rows)

    def _watch_slots(self, gradient: np.ndarray, before: np.ndarray) -> np.ndarray:
        def norm(slot: Slot, vector: np.ndarray) -> float:
            return float(np.linalg.norm(slot.view(vector).astype(np.float64)))

        change = self.parameters - before
        return np.array([(norm(s, gradient), norm(s, before), norm(s, change)) for s in self.plan.parameters])
