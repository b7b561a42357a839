"""The options of ``fit``, and the events its callbacks see."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from chainrule.execution import Report
from chainrule.nn import Module
from chainrule.optim import Schedule
from chainrule.train.checkpoints import check_options
from chainrule.train.history import History

__all__ = ["EarlyStopping", "EpochEvent", "FitOptions", "read_options"]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when nothing has improved for a while, and go back to the best weights.

    Attributes
    ----------
    patience : int
        Epochs without improvement to wait for.
    min_delta : float
        What counts as an improvement.
    monitor : str
        Column of the history, less is better; ``"auto"`` is the validation loss where there is one,
        else the training loss.
    """

    patience: int = 10
    min_delta: float = 0.0
    monitor: str = "auto"

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1 epoch; got {self.patience}")


@dataclass
class EpochEvent:
    """What a callback is told after each epoch; returning True from it ends the training.

    Attributes
    ----------
    epoch : int
        From 1.
    record : dict
        This epoch's row of the history.
    history : History
    module : Module
        With this epoch's weights.
    report : Report or None
        This epoch's telemetry, where it was asked for.
    """

    epoch: int
    record: dict[str, float]
    history: History
    module: Module
    report: Report | None = None


@dataclass(frozen=True)
class FitOptions:
    """What ``fit`` takes beyond its own arguments, each by keyword.

    Attributes
    ----------
    sample_weight : array-like of shape (n,), optional
        Weight of each example; a batch's loss is its weighted mean.
    class_weight : "balanced", dict or array-like, optional
        Weight of each class, for class-index targets.
    rows : array-like of int or bool, optional
        Rows of X, y and sample_weight to train on, as ``fit(X[rows], y[rows])`` would, without a copy
        of X; a row may be there several times.
    validation_rows : array-like of int or bool, optional
        Rows to measure on after each epoch, in place of ``validation=(X[rows], y[rows])``.
    l2, l1 : float
        Penalties ½ l2 ‖W‖² and l1 Σ|w| on the weights.
    clip_norm : float
        Scale the gradient to this global norm where it is larger; 0 for none.
    schedule : str or Schedule
        "constant", "invscaling", "adaptive", "step", "cosine" or "one_cycle".
    shuffle : bool
        Visit the rows in a new random order each epoch.
    seed : int
        Of the shuffling, the dropout masks and the validation split. One seed, one result.
    early_stopping : bool, int or EarlyStopping
        True for the defaults, a number for the patience.
    max_time : float, optional
        Seconds after which training stops.
    metrics : sequence of str or callable
        Computed each epoch on the validation data, or on the training data where there is none:
        "accuracy", "r2", "mean_absolute_error", "root_mean_squared_error", or ``f(y, prediction)``.
    callbacks : sequence of callable
        Called with an ``EpochEvent`` after each epoch; returning True ends the training.
    verbose : int
        1 shows a progress bar where the output is a terminal, 0 nothing.
    executor : str
        "auto" is the engine where it can run the module, else the tape; "engine" (compiled), "tape" (the
        module's own ``forward``, recorded), "reference" (the textbook, slow), or "finite_differences" (no
        backpropagation at all, slower still: two forward passes a parameter).
    n_jobs : int, optional
        Threads of the engine. The result does not depend on it.
    dtype : float32 or float64, optional
        Of the computation; the module's own by default.
    precision : {"full", "bf16", "bf16x3"}
        What the factors of the matrix products of large layers are rounded to while training, where the
        processor has instructions for it: nothing; bf16 numbers, about 1.5 times as fast; or sums of two of
        them. Weights, sums and predictions stay in float32.
    telemetry_every : int
        Measure every layer at each so many steps; 0 for never.
    checkpoint : path, optional
        File to write checkpoints to; each takes the place of the one before, whole or not at all. The first
        is written before training, so that a path that cannot be written is known at once; a later failure
        is a warning.
    every : int or str
        A checkpoint after so many epochs, or after the first epoch that ends so much later: "30s", "5min",
        "1h". There is one at the end and at Ctrl-C too. Telemetry is not kept.
    resume : path or "auto", optional
        Checkpoint to go on from, to the bits of a training that was never interrupted; "auto" is the file
        that ``checkpoint`` names, if it is there. Data and settings must be those of the checkpoint.
    """

    sample_weight: Any = None
    class_weight: Any = None
    rows: Any = None
    validation_rows: Any = None
    l2: float = 0.0
    l1: float = 0.0
    clip_norm: float = 0.0
    schedule: str | Schedule = "constant"
    shuffle: bool = True
    seed: int = 0
    early_stopping: bool | int | EarlyStopping = False
    max_time: float | None = None
    metrics: Iterable[str | Callable] = ()
    callbacks: Iterable[Callable[[EpochEvent], Any]] = ()
    verbose: int = 1
    executor: str = "auto"
    n_jobs: int | None = None
    dtype: Any = None
    precision: str = "full"
    telemetry_every: int = 0
    checkpoint: Any = None
    every: int | str = 1
    resume: Any = None

    def __post_init__(self) -> None:
        for name in ("l2", "l1", "clip_norm", "telemetry_every"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be zero or positive; got {getattr(self, name)!r}")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must lie between 0 and 2**63 - 1; got {self.seed!r}")
        if self.max_time is not None and not self.max_time > 0:
            raise ValueError(f"max_time must be a positive number of seconds; got {self.max_time!r}")
        check_options(self.checkpoint, self.every, self.resume)

    @property
    def stopping(self) -> EarlyStopping | None:
        """The early stopping asked for, if any."""
        if isinstance(self.early_stopping, EarlyStopping):
            return self.early_stopping
        if self.early_stopping is True:
            return EarlyStopping()
        return EarlyStopping(patience=self.early_stopping) if self.early_stopping else None


def read_options(options: dict[str, Any]) -> FitOptions:
    """Keyword arguments as FitOptions; TypeError names one that is not among them."""
    known = [one.name for one in fields(FitOptions)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise TypeError(f"fit got an unknown option {unknown[0]!r}; it takes {', '.join(known)}")
    return FitOptions(**options)
