"""Random networks and trainings: what the executors are held against each other on.

``architectures`` draws a network of the modules in ``LAYERS``; ``trainings`` adds data and
instructions. Everything is drawn in float64; ``Training.start`` makes a run of it in either dtype.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from chainrule import nn
from chainrule.execution import Examples, Instructions, Penalty, Report, prepare
from chainrule.functions import ACTIVATIONS, LOSSES, Loss
from chainrule.optim import SGD, Adam, AdamW, RMSprop, RuleOptimizer
from chainrule.plan import LossTerm, Plan, flatten, lower
from chainrule.reference import ReferenceExecutor

# Examples are the same in every run, and compiling a kernel may take longer than a deadline.
deterministic = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

# From 128 on a value has several panels; 200 and 190 do not divide evenly.
WIDTHS = st.one_of(st.integers(1, 12), st.sampled_from([63, 64, 127, 128, 130, 190, 192, 200]))
SEEDS = st.integers(0, 2**32 - 1)


# -- architectures ---------------------------------------------------------------------------------
# A layer strategy takes (draw, width, depth) and returns a module of that many inputs.


def _linear(draw, width, depth):
    return nn.Linear(width, draw(WIDTHS), draw(st.booleans()), dtype=np.float64, rng=draw(SEEDS))


def _batch_norm(draw, width, depth):
    epsilon, momentum = draw(st.sampled_from([1e-5, 1e-2])), draw(st.sampled_from([0.1, 0.5, 1.0]))
    return nn.BatchNorm1d(width, epsilon, momentum, draw(st.booleans()), dtype=np.float64)


def _layer_norm(draw, width, depth):
    epsilon = draw(st.sampled_from([1e-5, 1e-2]))
    return nn.LayerNorm(width, epsilon, draw(st.booleans()), draw(st.booleans()), dtype=np.float64)


def _dropout(draw, width, depth):
    return nn.Dropout(draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])))


def _sequential(draw, width, depth):
    return nn.Sequential(*draw(chains(width, depth + 1)))


def _residual(draw, width, depth):
    body = nn.Sequential(*draw(chains(width, depth + 1)))
    width_out = body.output_width(width)
    kind = draw(st.sampled_from(["plain", "matrix", "normalised"]))
    if kind == "plain" and width_out == width:
        return nn.Residual(body)
    matrix = nn.Linear(width, width_out, bias=kind == "normalised", dtype=np.float64, rng=draw(SEEDS))
    if kind == "normalised":
        return nn.Residual(body, nn.Sequential(nn.BatchNorm1d(width, dtype=np.float64), matrix))
    return nn.Residual(body, matrix)


def _activation(layer):
    def strategy(draw, width, depth):
        with_alpha = ACTIVATIONS[layer.record_name].alpha is not None
        return layer(draw(st.sampled_from([0.2, 1.0]))) if with_alpha and draw(st.booleans()) else layer()

    return strategy


def module_classes() -> set[type]:
    """Every layer class that ``chainrule.nn`` exports, without the abstract ones and the losses."""
    exported = {getattr(nn, name) for name in nn.__all__}
    classes = {one for one in exported if inspect.isclass(one) and issubclass(one, nn.Module)}
    losses = {one for one in classes if issubclass(one, nn.LossModule)}
    return classes - losses - {nn.Module, nn.ActivationModule}


LAYERS: dict[type, Callable[..., nn.Module]] = {
    nn.Linear: _linear,
    nn.BatchNorm1d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.Dropout: _dropout,
    nn.Residual: _residual,
    nn.Sequential: _sequential,
    **{one: _activation(one) for one in module_classes() if issubclass(one, nn.ActivationModule)},
}
_BY_NAME = {one.__name__: one for one in sorted(LAYERS, key=lambda one: one.__name__)}
_ACTIVATIONS = [name for name, one in _BY_NAME.items() if issubclass(one, nn.ActivationModule)]
_OTHERS = [name for name in _BY_NAME if name not in _ACTIVATIONS]


@st.composite
def chains(draw, width, depth=0):
    """A list of modules, the first of ``width`` inputs; containers up to two deep."""
    modules = []
    for _ in range(draw(st.integers(1, 4 - depth))):
        name = draw(st.sampled_from(draw(st.sampled_from([_OTHERS, ["Linear"], _ACTIVATIONS]))))
        if depth >= 2 and name in ("Residual", "Sequential"):
            name = "Linear"
        modules.append(LAYERS[_BY_NAME[name]](draw, width, depth))
        width = modules[-1].output_width(width)
    return modules


@st.composite
def architectures(draw):
    """(module, n_inputs): any chain with a parameter, most often ended by a small linear layer."""
    n_inputs = draw(WIDTHS)
    modules = draw(chains(n_inputs))
    chain = nn.Sequential(*modules)
    if draw(st.integers(0, 3)) or not any(True for _ in chain.parameters()):
        width = chain.output_width(n_inputs)
        modules.append(nn.Linear(width, draw(st.integers(1, 5)), dtype=np.float64, rng=draw(SEEDS)))
    return nn.Sequential(*modules), n_inputs


def flat_vectors(module: nn.Module, plan: Plan, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Parameters moved off their symmetric initial values (γ = 1, β = 0), and buffers."""
    state = module.state_dict()
    parameters = flatten(state, plan.parameters, np.float64)
    parameters += rng.normal(0.0, 0.1, parameters.shape) * (1 if len(parameters) < 1000 else 0.1)
    return parameters, flatten(state, plan.buffers, np.float64)


# -- data ------------------------------------------------------------------------------------------


def targets_for(record: Loss, n_rows: int, n_outputs: int, rng: np.random.Generator) -> np.ndarray:
    """Random targets that the record accepts; a new record needs no entry of its own."""
    candidates = [
        rng.normal(size=(n_rows, n_outputs)),
        rng.uniform(0.0, 3.0, size=(n_rows, n_outputs)),
        rng.uniform(size=(n_rows, n_outputs)),
        rng.dirichlet(np.ones(n_outputs), size=n_rows),
    ]
    if record.class_row is not None:
        candidates.insert(0, rng.integers(0, n_outputs, n_rows))
    for candidate in candidates:
        try:
            return record.check_targets(candidate, n_outputs)
        except ValueError:
            continue
    raise AssertionError(f"{record.name} accepts none of the candidate targets: add one")


def setting_choices(record: Loss) -> list[float]:
    """Settings to test a loss at: its default and 0.3, which is valid for every one so far."""
    return [record.setting] if record.setting_name is None else [record.setting, 0.3]


@dataclass(frozen=True)
class Training:
    """A plan with data and instructions, all in float64; ``start`` begins a run in a dtype."""

    plan: Plan
    parameters: np.ndarray
    buffers: np.ndarray
    X: Any
    y: np.ndarray
    weights: np.ndarray | None
    order: np.ndarray | None
    batch_size: int
    optimizer: RuleOptimizer
    changes: dict[str, Any]
    n_runs: int = 1
    module: Any = None

    def examples(self, dtype: Any = np.float64) -> Examples:
        return prepare(self.plan, self.X, self.y, self.weights, dtype=dtype)

    def instructions(self, dtype: Any = np.float64, **changes: Any) -> Instructions:
        n_rows = self.X.shape[0] if self.order is None else len(self.order)
        n_steps = -(-n_rows // self.batch_size)
        coefficients = self.optimizer.coefficients(np.linspace(0.02, 0.01, n_steps), 0)
        state = np.zeros((2, self.plan.n_parameters), dtype)
        return replace(
            Instructions(
                self.order,
                self.batch_size,
                self.optimizer.rule,
                coefficients.astype(dtype),
                state,
                **self.changes,
            ),
            **changes,
        )

    def start(self, make: Callable[..., Any], dtype: Any = np.float64, **settings: Any) -> Any:
        return make(self.plan, self.parameters.astype(dtype), self.buffers.astype(dtype), **settings)

    def run(
        self, make: Callable[..., Any], dtype: Any = np.float64, changes: dict | None = None, **settings: Any
    ) -> "Outcome":
        """Run all of it, continuing the state from run to run."""
        executor = self.start(make, dtype, **settings)
        instructions = self.instructions(dtype, **(changes or {}))
        reports = []
        for _ in range(self.n_runs):
            reports.append(executor.run(self.examples(dtype), instructions))
            instructions = replace(instructions, first_step=instructions.first_step + reports[-1].n_steps)
        return Outcome(executor.parameters, executor.buffers, instructions.state, reports, executor)


@dataclass(frozen=True)
class Outcome:
    """What is left after a training."""

    parameters: np.ndarray
    buffers: np.ndarray
    state: np.ndarray
    reports: list[Report]
    executor: Any

    def bits(self) -> bytes:
        """Everything that must not depend on the number of threads."""
        arrays = [self.parameters, self.buffers, self.state]
        for one in self.reports:
            arrays += [np.array([one.loss, one.penalty]), one.operations, one.slots]
        return b"".join(array.tobytes() for array in arrays)


OPTIMIZERS = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9, weight_decay=0.01),
    "nesterov": SGD(momentum=0.9, nesterov=True, decoupled_weight_decay=0.1),
    "rate in velocity": SGD(momentum=0.8, nesterov=True, rate_in_velocity=True),
    # A large ε: Adam turns the rounding noise of a gradient that is zero on paper into whole steps.
    "adam": Adam(eps=1e-2, weight_decay=0.01),
    "adam, epsilon hat": Adam(eps=1e-2, betas=(0.5, 0.9), epsilon_hat=True),
    "adamw": AdamW(eps=1e-2, weight_decay=0.1),
    "rmsprop": RMSprop(lr=1e-3, eps=1e-2, momentum=0.5, weight_decay=0.01),
    "rmsprop, centered": RMSprop(lr=1e-3, eps=1e-2, centered=True),
}


@st.composite
def trainings(draw, max_rows=40, losses=tuple(LOSSES)):
    """A random network with random data and instructions."""
    module, n_inputs = draw(architectures())
    record = LOSSES[draw(st.sampled_from(losses))]
    term = LossTerm(
        record.name, draw(st.sampled_from(setting_choices(record))), draw(st.sampled_from([1.0, 0.4]))
    )
    plan = lower(module, term, n_inputs)
    rng = np.random.default_rng(draw(SEEDS))
    parameters, buffers = flat_vectors(module, plan, rng)
    n_rows = draw(st.integers(1, max_rows))
    X = rng.normal(size=(n_rows, n_inputs))
    if draw(st.integers(0, 3)) == 0:
        X = scipy.sparse.csr_matrix(X * (rng.random(X.shape) < 0.3))
    weights = None
    if draw(st.booleans()):
        weights = rng.uniform(0.5, 2.0, n_rows) * (rng.random(n_rows) < 0.8)
        weights[0] = 1.0
    order = draw(st.sampled_from([None, rng.permutation(n_rows), rng.integers(0, n_rows, n_rows)]))
    per_example, strength = draw(st.booleans()), st.sampled_from([0.0, 0.1])
    changes = {
        "penalty": Penalty(draw(strength), draw(strength), per_example),
        "clip_norm": draw(st.sampled_from([0.0, 0.05, 1e3])),
        "decay_all": draw(st.booleans()),
        "first_step": draw(st.sampled_from([0, 7])),
        "seed": draw(st.integers(0, 2**31)),
        "telemetry_every": draw(st.sampled_from([0, 1, 2])),
    }
    return Training(
        plan, parameters, buffers, X, targets_for(record, n_rows, plan.n_outputs, rng), weights, order,
        draw(st.integers(max(1, n_rows // 3), n_rows)),
        OPTIMIZERS[draw(st.sampled_from(sorted(OPTIMIZERS)))], changes, draw(st.integers(1, 2)),
    )  # fmt: skip


# -- comparison ------------------------------------------------------------------------------------


def jumps(name: str, alpha: float) -> bool:
    """Whether an activation's derivative jumps at 0, as ReLU's does."""
    left, right = ACTIVATIONS[name].derivative(np.array([-1e-12, 1e-12]), alpha)
    return bool(abs(right - left) > 1e-6)


class KinkWatcher(ReferenceExecutor):
    """The reference, noting how near to a kink any unit came without being on it, or with L1 any weight.

    Two executors that round differently may stand on different sides of a kink 1e-15 away.

    Also whether a normalisation leaves of δ only the difference of equal terms. It does so where what it
    normalises takes one or two values, since the result is then the same whatever they are: two rows do, and
    so does what dropout makes of a constant. In single precision all of that difference is rounding.
    """

    nearest = np.inf
    least = 1.0  # the smallest share that a sweep's normalisations or sums have left of δ

    @property
    def cancels(self):
        return self.least < 1e-2

    def _activation(self, op, z):
        if jumps(op.activation, op.alpha):
            self._note(z)
        return super()._activation(op, z)

    def _penalty(self, penalty, examples):
        if penalty.l1 > 0:
            for slot in self.plan.parameters:
                if slot.penalised:
                    self._note(slot.view(self.parameters))
        return super()._penalty(penalty, examples)

    def _note(self, distances):
        self.nearest = min(self.nearest, np.abs(distances[distances != 0]).min(initial=np.inf))

    def _backpropagate(self, *arguments, **options):
        self._left = 1.0  # the share of δ that one normalisation after the other leaves
        result = super()._backpropagate(*arguments, **options)
        # The gradient of a shift that a normalisation undoes is a sum of large terms, and zero.
        largest = max(np.abs(delta).max(initial=1e-3) for delta in result[4])
        self.least = min(self.least, np.abs(result[2]).max(initial=1e-3) / largest)
        return result

    def _batch_norm_backward(self, op, h, delta, gradient, training):
        below = super()._batch_norm_backward(op, h, delta, gradient, training)
        self._note_cancellation(op, h, delta, below, axis=0)
        return below

    def _layer_norm_backward(self, op, h, delta, gradient):
        below = super()._layer_norm_backward(op, h, delta, gradient)
        self._note_cancellation(op, h, delta, below, axis=1)
        return below

    def _note_cancellation(self, op, h, delta, below, axis):
        scale = 1 / np.sqrt(h.var(axis=axis, keepdims=True) + op.epsilon)
        terms = delta * self._parameter(op.weight, op.width_in, 1.0) * scale
        before, after = (np.abs(array).max(axis=axis, initial=0) for array in (terms, below))
        self._left *= (after[before > 0] / before[before > 0]).min(initial=1.0)
        sizes = np.abs(h).max(
            axis=axis, keepdims=True, initial=0
        )  # of which h - mean leaves as much as 1/scale
        self._left *= (1 / (scale * sizes)[sizes > 0]).min(initial=1.0)
        self.least = min(self.least, self._left)


def distance(actual: Any, expected: Any) -> float:
    """Largest difference as a share of the largest entry (or of 1e-3, if that is larger); inf for NaN."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    if expected.size == 0:
        return 0.0
    found = float(np.abs(actual - expected).max() / max(1e-3, np.abs(expected).max()))
    return found if found == found else np.inf  # a comparison with NaN would let anything pass
