"""A training as something that can be looked at, changed and run: what a checkup examines.

Rules read it, gates run it for a few hundred steps, prescriptions (and the planted faults of the benchmark)
are functions from one to another. Nothing here changes the module that it was given.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chainrule.functions.losses import get_loss
from chainrule.health.backends import Backend, as_number, backend_of
from chainrule.health.libraries import library_of
from chainrule.health.telemetry import Snapshot, dropouts, recorded
from chainrule.optim import Adam

__all__ = [
    "Measured",
    "Run",
    "Training",
    "baseline_loss",
    "measure",
    "redrawn",
    "run",
    "score_of",
    "snapshot",
    "timed",
]

# Rows that losses and scores are measured on, at most.
MOST_MEASURED = 2000
# Numbers of the inputs that a network of images or sequences is looked at with, at most.
MOST_KEPT = 1 << 20
# A class with a smaller share of its even share is rare, and scores are then means over the classes.
IMBALANCED_BELOW = 0.2
# A step of the user's own: (module, optimizer, x, y) -> loss. x is a tensor of the module's library; y is an
# array, and a tensor where that is PyTorch.
Step = Callable[[Any, Any, Any, Any], Any]


@dataclass(frozen=True)
class Training:
    """What is trained, on what, and how.

    Attributes
    ----------
    module : Module or torch.nn.Module
        At its start; it is copied and never changed.
    X : ndarray of shape (n, d); of a PyTorch module (n, ...)
    y : ndarray of shape (n,) of class indices, or (n, k) of numbers
    loss : str, loss module, or callable (outputs, y) -> Tensor
    optimizer : Optimizer or TorchOptimizer
        A description, without parameters.
    batch_size, epochs : int
    validation : (X, y), optional
    options : mapping
        More of what ``fit`` takes: ``l2``, ``l1``, ``class_weight``, ``clip_norm``, ``schedule``,
        ``early_stopping``.
    step : callable, optional
        The user's own training step, where it is not the usual one.
    output_shape : tuple of int, optional
        Of one row's raw outputs, where that is not (k,): () or, of an image, (c, h, w).
    notes : tuple of str
        What was not taken as it was given.
    """

    module: Any
    X: np.ndarray
    y: np.ndarray
    loss: Any
    optimizer: Any = field(default_factory=Adam)
    batch_size: int = 32
    epochs: int = 20
    validation: tuple[np.ndarray, np.ndarray] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    step: Step | None = None
    output_shape: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    def altered(self, **changes: Any) -> Training:
        """The same training but for some attributes."""
        return replace(self, **changes)

    @property
    def classify(self) -> bool:
        """Whether the targets are class indices."""
        return self.y.ndim == 1 and self.y.dtype.kind in "iu"

    @property
    def is_imbalanced(self) -> bool:
        """Whether a class has less than a fifth of its even share, so that accuracy would not notice it."""
        if not self.classify:
            return False
        counts = np.bincount(self.y)
        counts = counts[counts > 0]
        return bool(counts.min() * len(counts) < IMBALANCED_BELOW * counts.sum())

    @property
    def constant_score(self) -> float:
        """The score of the best constant: the share of the largest class, or R² = 0."""
        if not self.classify:
            return 0.0
        counts = np.bincount(self.y)
        return 1 / int((counts > 0).sum()) if self.is_imbalanced else float(counts.max() / counts.sum())

    @property
    def learning_rate(self) -> float:
        """That of the optimizer."""
        return float(self.optimizer.defaults["lr"])

    @property
    def steps_an_epoch(self) -> int:
        """Batches in one pass over the rows."""
        return -(-len(self.X) // self.batch_size)

    @property
    def n_steps(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self.steps_an_epoch

    @property
    def backend(self) -> Backend:
        """The library that it runs on."""
        return backend_of(self.module)

    @property
    def optimizer_name(self) -> str:
        """The optimizer's class."""
        return str(getattr(self.optimizer, "kind", type(self.optimizer)).__name__)

    @property
    def takes_probabilities(self) -> bool:
        """Whether the loss is PyTorch's of a probability, and not of a raw output."""
        return type(self.loss).__name__ == "BCELoss"

    @property
    def left_out(self) -> tuple[str, ...]:
        """Parameters that the optimizer was not given, which only one of PyTorch may leave out."""
        return tuple(getattr(self.optimizer, "left_out", ()))

    def loss_record(self, n_outputs: int) -> str | None:
        """The name of the loss in ``chainrule.functions.LOSSES``; None of others."""
        return self.backend.loss_record(self.loss, n_outputs)

    def takes(self, option: str) -> bool:
        """Whether the loop that runs it heeds an option of that name: with a step of the user's own, none."""
        return self.backend.takes(self, option)

    def with_rate(self, learning_rate: float) -> Training:
        """The same with another learning rate."""
        return self.altered(optimizer=with_settings(self.optimizer, lr=learning_rate))


def with_settings(optimizer: Any, **settings: Any) -> Any:
    """The description of an optimizer with some of its settings changed."""
    if hasattr(optimizer, "with_settings"):
        return optimizer.with_settings(**settings)
    return described_optimizer(type(optimizer), {**optimizer.defaults, **settings})


def described_optimizer(kind: Any, settings: Mapping[str, Any]) -> Any:
    """The description of an optimizer of a class, with those of the settings that it takes."""
    accepted = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in settings.items() if name in accepted and name != "params"})


@dataclass(frozen=True)
class Measured:
    """How a module does on rows: the mean loss, and the accuracy or R² of what it predicts."""

    loss: float
    score: float


@dataclass(frozen=True)
class Run:
    """A training, or a piece of one, after it was run.

    Attributes
    ----------
    module : Module or torch.nn.Module
        The trained copy.
    before, after : Measured
        On the same rows to learn from, in evaluation mode.
    validation : Measured or None
        Afterwards, on the validation rows.
    losses : list of float
        The mean training loss of each epoch.
    n_steps : int
    """

    module: Any
    before: Measured
    after: Measured
    validation: Measured | None
    losses: list[float]
    n_steps: int

    @property
    def is_finite(self) -> bool:
        """Whether all numbers stayed finite."""
        return bool(np.isfinite([self.after.loss, *self.losses]).all())


# ------------------------------------------------------------------------------------------------- running


def run(
    training: Training, n_steps: int | None = None, *, seed: int = 0, learning_rate: float | None = None
) -> Run:
    """Run a training, or about its first ``n_steps`` steps, on a copy of its module.

    Of a training whose epoch is longer than that, an equal share of the rows is drawn.
    """
    if learning_rate is not None:
        training = training.with_rate(learning_rate)
    if n_steps is not None:
        training = _shortened(training, n_steps, seed)
    backend = training.backend
    with backend.session(seed):
        module = backend.copied(training.module)
        before = measure(training, module)
        losses = _losses(training, module, seed)
        module.eval()
        validation = None if training.validation is None else measure(training, module, training.validation)
        if not np.isfinite(training.X).all():  # nothing was trained
            validation = None if validation is None else Measured(float("nan"), float("nan"))
        return Run(module, before, measure(training, module), validation, losses, training.n_steps)


def timed(training: Training, n_steps: int, seed: int = 0) -> tuple[float, int]:
    """Seconds that about so many steps take, without measuring anything else, and how many they were."""
    part, backend = _shortened(training, n_steps, seed), training.backend
    with backend.session(seed):
        module = backend.copied(training.module)
        began = time.perf_counter()
        _losses(part, module, seed)
        return time.perf_counter() - began, part.n_steps


def _losses(training: Training, module: Any, seed: int) -> list[float]:
    """Train the module; the mean loss of each epoch, none where nothing can be trained."""
    if not np.isfinite(training.X).all():
        return [float("nan")]
    if not any(one.requires_grad for one in module.parameters()):
        return []
    return training.backend.epochs(training, module, seed)


def _shortened(training: Training, n_steps: int, seed: int) -> Training:
    n_rows = n_steps * training.batch_size
    if n_rows < len(training.X):
        rows = np.random.default_rng([seed, 1]).choice(len(training.X), n_rows, replace=False)
        return training.altered(X=training.X[rows], y=training.y[rows], epochs=1)
    return training.altered(epochs=max(1, round(n_steps / training.steps_an_epoch)))


# ----------------------------------------------------------------------------------------------- measuring


def loss_function(training: Training) -> Callable[[Any, Any], Any]:
    """The loss as a function of outputs, a tensor, and targets, an array."""
    return training.backend.loss(training)


def outputs_of(module: Any, X: np.ndarray) -> np.ndarray:
    """Raw outputs in evaluation mode, of any module: (n, k)."""
    return backend_of(module).outputs(module, X)


def loss_of(training: Training, outputs: np.ndarray, y: np.ndarray) -> float:
    """The mean loss of raw outputs."""
    return training.backend.loss_of(training, outputs, y)


def are_probabilities(outputs: np.ndarray) -> bool:
    """Whether each row is of numbers from 0 that sum to 1."""
    if outputs.shape[1] < 2 or not np.isfinite(outputs).all() or (outputs < 0).any():
        return False
    return bool(np.abs(outputs.sum(axis=1) - 1).max() <= 1e-3)


def measure(training: Training, module: Any, data: tuple[np.ndarray, np.ndarray] | None = None) -> Measured:
    """Loss and score of a module, on the first rows of those to learn from or on others; NaN if X has any."""
    X, y = (training.X, training.y) if data is None else data
    X, y = X[:MOST_MEASURED], y[:MOST_MEASURED]
    if not np.isfinite(X).all():
        return Measured(float("nan"), float("nan"))
    outputs = outputs_of(module, X)
    with np.errstate(all="ignore"):
        return Measured(loss_of(training, outputs, y), score_of(training, outputs, y))


def score_of(training: Training, outputs: np.ndarray, y: np.ndarray) -> float:
    """The accuracy of raw outputs, or R² of numbers; NaN where they are not finite."""
    if not np.isfinite(outputs).all():
        return float("nan")
    if training.classify:
        middle = 0.5 if ((outputs >= 0) & (outputs <= 1)).all() else 0.0
        predicted = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > middle
        right = predicted == y
        if training.is_imbalanced:
            return float(np.mean([right[y == label].mean() for label in np.unique(y)]))
        return float(right.mean())
    predicted = _linked(training, outputs)
    y = y.reshape(predicted.shape)
    spread = float(((y - y.mean(axis=0)) ** 2).sum())
    return 1.0 - float(((y - predicted) ** 2).sum()) / spread if spread > 0 else 0.0


def _linked(training: Training, outputs: np.ndarray) -> np.ndarray:
    name = training.loss_record(outputs.shape[1])
    return outputs if name is None else get_loss(name).link(outputs)


def baseline_loss(training: Training) -> float:
    """The loss of the best constant: what a network has when it has learned nothing from X."""
    y = training.y[:MOST_MEASURED]
    n_outputs = outputs_of(training.module, np.zeros_like(training.X[:2])).shape[1]
    return loss_of(training, np.tile(constant_outputs(training, y, n_outputs), (len(y), 1)), y)


def constant_outputs(training: Training, y: np.ndarray, n_outputs: int) -> np.ndarray:
    """Raw outputs that say the classes' shares, or the mean, whatever x is."""
    name = training.loss_record(n_outputs)
    if training.classify and n_outputs > 1:
        shares = np.bincount(y, minlength=n_outputs)[:n_outputs] / len(y)
        return np.log(np.maximum(shares, 1e-12)).astype(np.float32)
    mean = np.atleast_1d(np.asarray(y, np.float64).reshape(len(y), -1).mean(axis=0))
    if training.takes_probabilities:
        return np.clip(mean, 1e-6, 1 - 1e-6).astype(np.float32)
    if name == "binary_cross_entropy" or (name is None and training.classify):
        mean = np.log(np.clip(mean, 1e-12, None) / np.clip(1 - mean, 1e-12, None))
    elif name == "poisson":
        mean = np.log(np.clip(mean, 1e-12, None))
    return mean.astype(np.float32)


# ------------------------------------------------------------------------------------------------ restarts


def held_out(training: Training, seed: int = 0) -> Training:
    """The training with validation rows: its own, or a fifth of the rows to learn from."""
    if training.validation is not None:
        return training
    order = np.random.default_rng([seed, 6]).permutation(len(training.X))
    cut = max(1, len(order) // 5)
    validation, kept = order[:cut], np.sort(order[cut:])
    return training.altered(
        X=training.X[kept], y=training.y[kept], validation=(training.X[validation], training.y[validation])
    )


def redrawn(module: Any, seed: int) -> Any:
    """A copy with the weights of each layer in another order: another draw from the same distribution.

    What is wrong with a way of initializing, zeros, a scale, is wrong with the copy too.
    """
    made, library = backend_of(module).copied(module), library_of(module)
    random = np.random.default_rng([seed, 2])
    for parameter in made.parameters():
        if parameter.ndim > 1:
            numbers = library.array(parameter)
            library.assign(parameter, random.permutation(numbers.ravel()).reshape(numbers.shape))
    return made


# ------------------------------------------------------------------------------------- what it looks like


def snapshot(training: Training, module: Any = None, step: int = 0, n_rows: int = 512) -> Snapshot:
    """The network from inside, on rows drawn from those to learn from: forward and back once, no step.

    Dropout does nothing and batch normalisation takes the rows' own statistics, as in training.
    """
    backend = training.backend
    module = backend.copied(training.module if module is None else module)
    rows = np.random.default_rng(0).permutation(len(training.X))[: _affordable(training.X, n_rows)]
    module.train()
    for one in dropouts(module):
        one.eval()
    with backend.session(0), np.errstate(all="ignore"), recorded(module) as recording:
        value = loss_function(training)(module(backend.tensor(training.X[rows])), training.y[rows])
        loss = as_number(value)
        if getattr(value, "requires_grad", False):
            value.backward()
        layers = tuple(recording.layers())
    named = list(module.named_parameters())
    return Snapshot(
        step=step,
        loss=loss,
        layers=layers,
        frozen=tuple(name for name, one in named if not one.requires_grad or name in training.left_out),
        disconnected=tuple(name for name, one in named if one.requires_grad and one.grad is None),
        non_finite=recording.first_non_finite() or ("" if np.isfinite(loss) else "the loss"),
        n_rows=len(rows),
    )


def _affordable(X: np.ndarray, n_rows: int) -> int:
    """So many rows, or fewer where a row is an image: its maps are kept in double precision."""
    if X.ndim < 3:
        return n_rows
    return min(n_rows, max(16, MOST_KEPT // int(np.prod(X.shape[1:]))))
