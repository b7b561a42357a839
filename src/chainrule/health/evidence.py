"""Everything that the rules judge by, measured once: data, three moments of a training, and the gates."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chainrule.health.curvature import Curvature
from chainrule.health.gates import InputBlind, Memorised, Sweep, input_blind, memorise, sweep
from chainrule.health.jacobians import JacobianSpectrum
from chainrule.health.telemetry import Snapshot, as_array
from chainrule.health.trainings import (
    Run,
    Training,
    as_number,
    baseline_loss,
    constant_outputs,
    held_out,
    loss_function,
    loss_of,
    outputs_of,
    run,
    snapshot,
    timed,
)

__all__ = ["Evidence", "InputFacts", "TargetFacts", "gather", "tried"]

# Steps after which the network is looked at a second time.
EARLY_STEPS = 30


@dataclass(frozen=True)
class InputFacts:
    """The columns of X; of images, its channels. Whole numbers that are looked up have no scale: it is 1.

    Attributes
    ----------
    non_finite : int
        Entries that are NaN or infinite.
    largest_mean : float
        max |mean|/std over the columns that vary.
    widest, narrowest : float
        Largest and smallest standard deviation of the columns that vary.
    rms : float
    """

    non_finite: int
    largest_mean: float
    widest: float
    narrowest: float
    rms: float

    @classmethod
    def of(cls, X: np.ndarray) -> InputFacts:
        """Look at the columns."""
        if X.dtype.kind in "iu":
            return cls(0, 0.0, 0.0, 0.0, 1.0)
        finite = np.isfinite(X)
        X = by_column((X if finite.all() else np.where(finite, X, 0.0)).astype(np.float64))
        spread, mean = X.std(axis=0), X.mean(axis=0)
        rms = float(np.sqrt((spread**2 + mean**2).mean()))
        varies = spread > 1e-12 * np.maximum(1.0, np.abs(mean))
        if not varies.any():
            return cls(int((~finite).sum()), 0.0, 0.0, 0.0, rms)
        return cls(
            non_finite=int((~finite).sum()),
            largest_mean=float((np.abs(mean[varies]) / spread[varies]).max()),
            widest=float(spread[varies].max()),
            narrowest=float(spread[varies].min()),
            rms=rms,
        )


def by_column(X: np.ndarray) -> np.ndarray:
    """X as (rows, columns): of images (n, c, h, w) a channel is a column, of others each entry is one."""
    return np.moveaxis(X, 1, -1).reshape(-1, X.shape[1]) if X.ndim > 3 else X.reshape(len(X), -1)


@dataclass(frozen=True)
class TargetFacts:
    """The targets.

    Attributes
    ----------
    mean, std : float
        Of numbers; the column farthest from unit size.
    rarest : float
        The share of the rarest class.
    n_classes : int
    """

    mean: float = 0.0
    std: float = 1.0
    rarest: float = 1.0
    n_classes: int = 0

    @classmethod
    def of(cls, training: Training) -> TargetFacts:
        """Look at the targets."""
        y = training.y
        if training.classify:
            counts = np.bincount(y)
            return cls(rarest=float(counts[counts > 0].min() / len(y)), n_classes=int((counts > 0).sum()))
        y = y.reshape(len(y), -1).astype(np.float64)
        size = np.abs(y.mean(axis=0)) + y.std(axis=0)
        column = int(np.argmax(np.abs(np.log(np.maximum(size, 1e-300)))))
        return cls(float(y[:, column].mean()), float(y[:, column].std()))


@dataclass(frozen=True)
class Evidence:
    """What was measured of a training.

    Attributes
    ----------
    training : Training
    inputs : InputFacts
    targets : TargetFacts
    baseline : float
        The loss of the best constant.
    start, early, end : Snapshot or None
        Before the first step, after 30 steps, and when the training had run.
    outputs : ndarray
        Raw outputs at the start, for a few rows.
    ran : Run or None
        The training itself, as far as there was time.
    whole : bool
        Whether it ran to its end.
    memorised, swept, blind : the gates; None where there was no time.
    perfect_loss, constant_loss : float
        The loss of outputs that are right, and of the best constant ones.
    accumulates : bool
        Whether the training's own step adds gradients to those of the step before.
    notes : list of str
        What could not be measured, and why.
    spectrum : JacobianSpectrum or None
        Of a small network at the start, where there was time.
    curvature : Curvature or None
        The Hessian at the end, where it was asked for.
    """

    training: Training
    inputs: InputFacts
    targets: TargetFacts
    baseline: float
    start: Snapshot | None
    early: Snapshot | None
    end: Snapshot | None
    outputs: np.ndarray
    ran: Run | None
    whole: bool
    memorised: Memorised | None
    swept: Sweep | None
    blind: InputBlind | None
    perfect_loss: float
    constant_loss: float
    accumulates: bool = False
    notes: list[str] = field(default_factory=list)
    spectrum: JacobianSpectrum | None = None
    curvature: Curvature | None = None

    @property
    def progress(self) -> float:
        """D of the training itself: 1 − loss/baseline, 1 if all was learned, 0 or less if nothing was."""
        if self.ran is None or not self.ran.is_finite:
            return -np.inf
        return 1.0 - self.ran.after.loss / max(abs(self.baseline), 1e-12)

    @property
    def gates_passed(self) -> bool:
        """Whether every gate that was tried was passed."""
        return all(gate is None or gate.passed for gate in (self.memorised, self.swept, self.blind))


class Clock:
    """What is left of a budget."""

    def __init__(self, seconds: float) -> None:
        self.began, self.seconds = time.perf_counter(), seconds

    @property
    def left(self) -> float:
        """Seconds; negative after the end."""
        return self.seconds - (time.perf_counter() - self.began)


def gather(training: Training, budget: float = 5.0, seed: int = 0) -> Evidence:
    """Measure all there is to measure in about ``budget`` seconds; what there is no time for is noted."""
    clock = Clock(budget)
    notes = list(training.notes)
    inputs = InputFacts.of(training.X)
    outputs = outputs_of(training.module, np.nan_to_num(training.X[:64], posinf=0.0, neginf=0.0))
    start = tried(notes, "the network before its first step", lambda: snapshot(training))
    finite = inputs.non_finite == 0
    if not finite:
        notes.append("not trained: the inputs are not finite")
    seconds_a_step = _time_a_step(training, seed) if finite else 0.0
    budgeted = _Budget(training, clock, seconds_a_step, seed, notes)
    early = budgeted.early() if finite else None
    memorised = budgeted.gate("G1, memorising 32 examples", 300, memorise) if finite else None
    swept = budgeted.gate("G2, the sweep of learning rates", 600, sweep) if finite else None
    rate = None if swept is None or swept.ratio == 1.0 else swept.best_rate
    blind = (
        budgeted.gate("G3, shuffled inputs", 600, lambda t, seed: input_blind(t, rate, seed))
        if finite
        else None
    )
    ran, whole = budgeted.training_run() if finite else (None, False)
    end = None if ran is None else tried(
        notes, "the network after training", lambda: snapshot(training, ran.module, ran.n_steps)
    )  # fmt: skip
    perfect, constant = _right_and_constant(training, outputs.shape[1])
    return Evidence(
        training, inputs, TargetFacts.of(training), baseline_loss(training), start, early, end, outputs,
        ran, whole, memorised, swept, blind, perfect, constant, _accumulates(training), notes,
    )  # fmt: skip


def tried(notes: list[str], what: str, measure: Callable[[], Any]) -> Any:
    """A measurement, or None and a note of why there is none."""
    try:
        return measure()
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        notes.append(f"{what} could not be measured: {error}")
        return None


def _time_a_step(training: Training, seed: int) -> float:
    """Seconds a step; what has to be compiled first is compiled here."""
    plain = training.altered(validation=None)
    run(plain, 2, seed=seed)
    times = []
    for n_steps in (10, 60):
        times.append(timed(plain, n_steps, seed))
    (few, n_few), (more, n_more) = times
    # What a run costs whatever its length does not count.
    return max(more - few, 0.1 * more) / max(1, n_more - n_few)


@dataclass
class _Budget:
    """Runs pieces of a training as long as there is time."""

    training: Training
    clock: Clock
    seconds_a_step: float
    seed: int
    notes: list[str]

    def gate(self, what: str, n_steps: int, test: Callable[..., Any]) -> Any:
        """A gate, if there is time for so many steps."""
        if n_steps * self.seconds_a_step > self.clock.left:
            self.notes.append(f"{what}: no time left for {n_steps} steps")
            return None
        return tried(self.notes, what, lambda: test(self.training, seed=self.seed))

    def early(self) -> Snapshot | None:
        """A look after the first steps."""
        result = run(self.training.altered(validation=None), EARLY_STEPS, seed=self.seed)
        found: Snapshot | None = tried(
            self.notes, "the network after its first steps",
            lambda: self._with_updates(snapshot(self.training, result.module, result.n_steps), result.module),
        )  # fmt: skip
        return found

    def _with_updates(self, found: Snapshot, module: Any) -> Snapshot:
        """The snapshot with what the next step changes of each layer, by the optimizer as it begins."""
        before = self.training.altered(module=module, validation=None)
        after = dict(run(before, 1, seed=self.seed).module.named_parameters())
        now = dict(module.named_parameters())
        layers = []
        for layer in found.layers:
            name = f"{layer.name}.weight" if layer.name else "weight"
            if name in now:  # what a layer computes its weights from has other names
                change = float(np.linalg.norm(as_array(after[name]) - as_array(now[name])))
                layer = replace(layer, update_ratio=change / max(layer.weight_norm, 1e-300))
            layers.append(layer)
        return replace(found, layers=tuple(layers))

    def training_steps(self) -> int:
        """How many steps of the training there is time for, half of what is left kept back."""
        affordable = int(0.5 * max(self.clock.left, 0.0) / max(self.seconds_a_step, 1e-9))
        return min(self.training.n_steps, max(affordable, 50))

    def training_run(self) -> tuple[Run, bool]:
        """The training, as far as there is time."""
        n_steps = self.training_steps()
        whole = n_steps >= self.training.n_steps
        if not whole:
            self.notes.append(f"trained for {n_steps} of {self.training.n_steps} steps: no time for more")
        return run(held_out(self.training), None if whole else n_steps, seed=self.seed), whole


def _right_and_constant(training: Training, n_outputs: int) -> tuple[float, float]:
    """The loss of outputs that are right for every row, and of the best constant ones."""
    y = training.y[:256]
    constant = np.tile(constant_outputs(training, y, n_outputs), (len(y), 1))
    if training.classify and n_outputs > 1:
        right = np.where(np.eye(n_outputs)[y] > 0, 10.0, -10.0)
    elif training.classify and not training.takes_probabilities:
        right = np.where(y[:, None] > 0, 10.0, -10.0)
    else:
        right = np.asarray(y, np.float64).reshape(len(y), -1)
        record = training.loss_record(n_outputs)
        if record == "binary_cross_entropy":
            right = np.where(right > 0.5, 10.0, -10.0)
        elif record == "poisson" and np.ptp(constant) == 0 and n_outputs == 1 and right.min() >= 0:
            right = np.log(np.maximum(right, 1e-6))
    return loss_of(training, right.astype(np.float32), y), loss_of(training, constant, y)


def _accumulates(training: Training) -> bool:
    """Whether the user's step leaves old gradients in the sum: two steps, compared with a fresh gradient."""
    if training.step is None:
        return False
    backend = training.backend
    with backend.session(0), np.errstate(all="ignore"):
        module = backend.copied(training.module)
        optimizer = backend.bound(training.optimizer, module)
        module.train()
        first = second = fresh = None
        for number in range(2):
            part = slice(number * training.batch_size, (number + 1) * training.batch_size)
            x, y = backend.tensor(training.X[part]), backend.targets(training.y[part])
            before = backend.copied(module)
            before.zero_grad()
            loss_function(training)(before(x), y).backward()
            fresh = _gradient(before)
            training.step(module, optimizer, x, y)
            first, second = (_gradient(module), second) if number == 0 else (first, _gradient(module))
    if first is None or second is None or fresh is None or not as_number(np.abs(first).max()) > 0:
        return False
    size = float(np.linalg.norm(first))
    return bool(
        np.linalg.norm(second - fresh) > 0.5 * size and np.linalg.norm(second - first - fresh) < 0.1 * size
    )


def _gradient(module: Any) -> np.ndarray | None:
    parts = [one.grad.data.ravel() for one in module.parameters() if one.grad is not None]
    return np.concatenate(parts).astype(np.float64) if parts else None
