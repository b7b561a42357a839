"""A training as something that can be looked at, changed and run: what a checkup examines.

Rules read it, gates run it for a few hundred steps, prescriptions (and the planted faults of the benchmark)
are functions from one to another. Nothing here changes the module that it was given.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.functions.losses import get_loss
from chainrule.health.telemetry import Snapshot, recorded
from chainrule.nn.module import Module
from chainrule.optim import Adam, Optimizer
from chainrule.plan import loss_term
from chainrule.tape import Tensor, no_grad
from chainrule.train import fit, predict

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
]

# Rows that losses and scores are measured on, at most.
MOST_MEASURED = 2000
# A class with a smaller share of its even share is rare, and scores are then means over the classes.
IMBALANCED_BELOW = 0.2
# A step of the user's own: (module, optimizer, x, y) -> loss, of tensors x and arrays y.
Step = Callable[[Module, Optimizer, Tensor, np.ndarray], Any]


@dataclass(frozen=True)
class Training:
    """What is trained, on what, and how.

    Attributes
    ----------
    module : Module
        At its start; it is copied and never changed.
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,) of class indices, or (n, k) of numbers
    loss : str, loss module, or callable (outputs, y) -> Tensor
    optimizer : Optimizer
        A description, without parameters.
    batch_size, epochs : int
    validation : (X, y), optional
    options : mapping
        More of what ``fit`` takes: ``l2``, ``l1``, ``class_weight``, ``clip_norm``, ``schedule``,
        ``early_stopping``.
    step : callable, optional
        The user's own training step, where it is not the usual one.
    """

    module: Module
    X: np.ndarray
    y: np.ndarray
    loss: Any
    optimizer: Optimizer = field(default_factory=Adam)
    batch_size: int = 32
    epochs: int = 20
    validation: tuple[np.ndarray, np.ndarray] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    step: Step | None = None

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
    def is_by_hand(self) -> bool:
        """Whether it needs a loop of steps, because the loss or the step is a function of the user's."""
        return self.step is not None or not isinstance(self.loss, str | nn.LossModule)

    def with_rate(self, learning_rate: float) -> Training:
        """The same with another learning rate."""
        return self.altered(optimizer=with_settings(self.optimizer, lr=learning_rate))


def with_settings(optimizer: Optimizer, **settings: Any) -> Optimizer:
    """The description of an optimizer with some of its settings changed."""
    known = {**optimizer.defaults, **settings}
    accepted = inspect.signature(type(optimizer)).parameters
    made: Optimizer = type(optimizer)(**{name: value for name, value in known.items() if name in accepted})
    return made


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
    module : Module
        The trained copy.
    before, after : Measured
        On the same rows to learn from, in evaluation mode.
    validation : Measured or None
        Afterwards, on the validation rows.
    losses : list of float
        The mean training loss of each epoch.
    n_steps : int
    """

    module: Module
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
    module = training.module.copy()
    before = measure(training, module)
    losses = _losses(training, module, seed)
    module.eval()
    validation = None if training.validation is None else measure(training, module, training.validation)
    if not np.isfinite(training.X).all():  # nothing was trained
        validation = None if validation is None else Measured(float("nan"), float("nan"))
    return Run(module, before, measure(training, module), validation, losses, training.n_steps)


def _losses(training: Training, module: Module, seed: int) -> list[float]:
    """Train the module; the mean loss of each epoch, none where nothing can be trained."""
    if not np.isfinite(training.X).all():
        return [float("nan")]
    if not any(one.requires_grad for one in module.parameters()):
        return []
    return (_by_hand if training.is_by_hand else _by_fit)(training, module, seed)


def _shortened(training: Training, n_steps: int, seed: int) -> Training:
    n_rows = n_steps * training.batch_size
    if n_rows < len(training.X):
        rows = np.random.default_rng([seed, 1]).choice(len(training.X), n_rows, replace=False)
        return training.altered(X=training.X[rows], y=training.y[rows], epochs=1)
    return training.altered(epochs=max(1, round(n_steps / training.steps_an_epoch)))


def _by_fit(training: Training, module: Module, seed: int) -> list[float]:
    # The validation rows are there to judge by: what a training stops on is held out from its own.
    held_out = 0.15 if training.options.get("early_stopping") else None
    history = fit(
        module, training.X, training.y, loss=training.loss, optimizer=training.optimizer,
        epochs=training.epochs, batch_size=training.batch_size, seed=seed, validation=held_out, verbose=0,
        **training.options,
    )  # fmt: skip
    losses: list[float] = history["loss"]
    return losses


def _by_hand(training: Training, module: Module, seed: int) -> list[float]:
    """Epochs of steps on the tape, as anyone would write them."""
    optimizer = bound(training.optimizer, module)
    step = training.step or _usual_step(loss_function(training))
    random = np.random.default_rng(seed)
    losses = []
    module.train()
    with np.errstate(all="ignore"):
        for _ in range(training.epochs):
            order = random.permutation(len(training.X))
            total = 0.0
            for start in range(0, len(order), training.batch_size):
                rows = order[start : start + training.batch_size]
                x = Tensor(training.X[rows])
                total += len(rows) * float(as_number(step(module, optimizer, x, training.y[rows])))
            losses.append(total / len(order))
            if not np.isfinite(losses[-1]):
                break
    return losses


def bound(optimizer: Optimizer, module: Module) -> Optimizer:
    """An optimizer as described, over the trainable parameters of a module."""
    made = copy.deepcopy(optimizer)
    made._add({"params": [one for one in module.parameters() if one.requires_grad]})
    return made


def _usual_step(loss: Callable[[Any, Any], Any]) -> Step:
    def step(module: Module, optimizer: Optimizer, x: Tensor, y: np.ndarray) -> Any:
        optimizer.zero_grad()
        value = loss(module(x), y)
        value.backward()
        optimizer.step()
        return value

    return step


def as_number(value: Any) -> float:
    """A loss as a number, tensor or not."""
    return float(np.asarray(getattr(value, "data", value)))


# ----------------------------------------------------------------------------------------------- measuring


def loss_function(training: Training) -> Callable[[Any, Any], Any]:
    """The loss as a function of outputs, a tensor, and targets, an array."""
    loss = training.loss
    if isinstance(loss, str):
        from chainrule.health.libraries import library_of

        return library_of(training.module).loss(loss)
    function: Callable[[Any, Any], Any] = loss
    return function


def outputs_of(module: Module, X: np.ndarray) -> np.ndarray:
    """Raw outputs in evaluation mode, of any module."""
    if not all(one.requires_grad for one in module.parameters()):
        module = module.copy().requires_grad_(True)  # what is frozen predicts all the same, by a plan
    with np.errstate(all="ignore"):
        outputs: np.ndarray = predict(module, X)
    return outputs


def loss_of(training: Training, outputs: np.ndarray, y: np.ndarray) -> float:
    """The mean loss of raw outputs."""
    with no_grad(), np.errstate(all="ignore"):
        return as_number(loss_function(training)(Tensor(outputs), y))


def measure(
    training: Training, module: Module, data: tuple[np.ndarray, np.ndarray] | None = None
) -> Measured:
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
    if training.is_by_hand and not isinstance(training.loss, str | nn.LossModule):
        return outputs
    return get_loss(loss_term(training.loss, outputs.shape[1]).name).link(outputs)


def baseline_loss(training: Training) -> float:
    """The loss of the best constant: what a network has when it has learned nothing from X."""
    y = training.y[:MOST_MEASURED]
    n_outputs = outputs_of(training.module, np.zeros_like(training.X[:2])).shape[1]
    return loss_of(training, np.tile(constant_outputs(training, y, n_outputs), (len(y), 1)), y)


def constant_outputs(training: Training, y: np.ndarray, n_outputs: int) -> np.ndarray:
    """Raw outputs that say the classes' shares, or the mean, whatever x is."""
    name = None
    if isinstance(training.loss, str | nn.LossModule):
        name = loss_term(training.loss, n_outputs).name
    if training.classify and n_outputs > 1:
        shares = np.bincount(y, minlength=n_outputs)[:n_outputs] / len(y)
        return np.log(np.maximum(shares, 1e-12)).astype(np.float32)
    mean = np.atleast_1d(np.asarray(y, np.float64).reshape(len(y), -1).mean(axis=0))
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


def redrawn(module: Module, seed: int) -> Module:
    """A copy with the weights of each layer in another order: another draw from the same distribution.

    What is wrong with a way of initializing, zeros, a scale, is wrong with the copy too.
    """
    made = module.copy()
    random = np.random.default_rng([seed, 2])
    for parameter in made.parameters():
        if parameter.ndim > 1:
            parameter.data[...] = random.permutation(parameter.data.ravel()).reshape(parameter.shape)
            parameter.bump_version()
    return made


# ------------------------------------------------------------------------------------- what it looks like


def snapshot(training: Training, module: Module | None = None, step: int = 0, n_rows: int = 512) -> Snapshot:
    """The network from inside, on rows drawn from those to learn from: forward and back once, no step.

    Dropout does nothing and batch normalisation takes the rows' own statistics, as in training.
    """
    module = (training.module if module is None else module).copy()
    rows = np.random.default_rng(0).permutation(len(training.X))[:n_rows]
    module.train()
    for one in module.modules():
        if isinstance(one, nn.Dropout):
            one.eval()
    with np.errstate(all="ignore"), recorded(module) as recording:
        value = loss_function(training)(module(Tensor(training.X[rows])), training.y[rows])
        loss = as_number(value)
        if getattr(value, "requires_grad", False):
            value.backward()
        layers = tuple(recording.layers())
    named = list(module.named_parameters())
    return Snapshot(
        step=step,
        loss=loss,
        layers=layers,
        frozen=tuple(name for name, one in named if not one.requires_grad),
        disconnected=tuple(name for name, one in named if one.requires_grad and one.grad is None),
        non_finite=recording.first_non_finite() or ("" if np.isfinite(loss) else "the loss"),
        n_rows=len(rows),
    )
