"""``fit``: what a person wants around the loop.

Validation, early stopping that restores the best weights, schedules, a history, a progress bar, a time
limit, and an interrupt that loses nothing.
"""

import copy
import time
from collections.abc import Iterator
from typing import Any, overload

import numpy as np

from chainrule.define_by_run import outline
from chainrule.execution import Penalty, prepare
from chainrule.functions import get_loss
from chainrule.nn import Module
from chainrule.optim import Optimizer, make_optimizer, make_schedule
from chainrule.plan import LossTerm, Plan, flatten, lower, store
from chainrule.train.checkpoints import Checkpoints, Course, epochs_matter, fingerprint
from chainrule.train.data import FitData, read_data
from chainrule.train.history import History
from chainrule.train.loop import Trainer, make_executor
from chainrule.train.metrics import metric_functions
from chainrule.train.options import EarlyStopping, EpochEvent, read_options
from chainrule.train.progress import EpochProgress, EpochsOfOne
from chainrule.train.streams import Stream

__all__ = ["Fitting", "fit", "predict"]

ROWS_A_COPY = 8192
# Options that the result of a training depends on.
_MATTERING = ("l2", "l1", "clip_norm", "shuffle", "seed", "precision", "class_weight")


def fit(
    module: Module,
    X: Any,
    y: Any = None,
    *,
    loss: Any,
    optimizer: str | Optimizer = "adam",
    epochs: int = 10,
    batch_size: int = 32,
    validation: Any = None,
    **options: Any,
) -> History:
    """Train a module on data.

    Parameters
    ----------
    module : Module
        Changed in place: it ends with the trained weights, in evaluation mode.
    X : array-like or sparse matrix of shape (n, d), or Stream
        A stream (``chainrule.stream``) is data larger than memory; it has the targets too.
    y : array-like
        (n,) class indices or values, or (n, n_outputs).
    loss : str or loss module
        ``"softmax_cross_entropy"``, ``nn.CrossEntropyLoss()``, ...
    optimizer : str or Optimizer
        "sgd", "adam", "adamw", "rmsprop", or an object such as ``optim.Adam(lr=3e-4)``.
    epochs, batch_size : int
    validation : (X, y) or (X, y, weights) or float, optional
        Data to measure on after each epoch; a share of the rows to hold out for it.
    **options
        See ``FitOptions``.

    Returns
    -------
    History

    Raises
    ------
    ValueError, TypeError
        If an argument does not fit; the message names it.

    Notes
    -----
    Ctrl-C ends the training cleanly: the module keeps the best weights so far and the history says
    ``"interrupted"``. With ``checkpoint=path, resume="auto"`` the same call goes on where it was, after an
    interrupt, a crash or a power cut, to the very bits of a training that was never interrupted.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from chainrule import nn
    >>> X, y = load_digits(return_X_y=True)
    >>> net = nn.Sequential(nn.Linear(64, 32, rng=0), nn.ReLU(), nn.Linear(32, 10, rng=1))
    >>> history = fit(net, X / 16, y, loss=nn.CrossEntropyLoss(), epochs=20, validation=0.2,
    ...               metrics=["accuracy"], verbose=0)
    >>> history.stopped, history["accuracy"][-1] > 0.9
    ('finished', True)
    """
    kind: type[Fitting] = Fitting
    if isinstance(X, Stream):
        from chainrule.train.streams.fitting import StreamFitting

        kind = StreamFitting
    elif y is None:
        raise TypeError("y must be given, the target of each row of X: only a stream has its own")
    fitting = kind(module, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size, **options)
    return fitting.run(X, y, validation)


@overload
def predict(
    module: Module, X: Stream, *, executor: str = "auto", n_jobs: int | None = None
) -> Iterator[np.ndarray]: ...


@overload
def predict(module: Module, X: Any, *, executor: str = "auto", n_jobs: int | None = None) -> np.ndarray: ...


def predict(module: Module, X: Any, *, executor: str = "auto", n_jobs: int | None = None) -> Any:
    """Raw outputs (n, n_outputs) of a module in evaluation mode, computed by an executor.

    Of a stream they come piece by piece, in the order of its rows: an iterator of such arrays.

    Examples
    --------
    >>> from chainrule import nn
    >>> net = nn.Sequential(nn.Linear(2, 1, bias=False))
    >>> net.load_state_dict({"0.weight": [[1.0, -1.0]]})
    IncompatibleKeys(missing_keys=[], unexpected_keys=[])
    >>> predict(net, [[3.0, 1.0]])
    array([[2.]], dtype=float32)
    """
    term = LossTerm("half_squared_error")
    lowered = _lowered(module, term, executor)
    name = _chosen(executor, lowered)
    plan = lowered or outline(module, term, X)
    parameters, buffers = _vectors(module, plan, _module_dtype(module))
    runs = make_executor(
        name, plan, parameters, buffers, n_jobs, module=module.copy() if name == "tape" else None
    )
    if isinstance(X, Stream):
        X.check_width(plan.n_inputs)
        return map(runs.predict, X.features(parameters.dtype))
    examples = prepare(plan, X, np.zeros((_n_rows(X), plan.n_outputs)), dtype=parameters.dtype)
    return runs.predict(examples.X)


def _lowered(module: Module, loss: Any, executor: str) -> Plan | None:
    """The module's plan; None if it has none, and the executor can do without."""
    try:
        return lower(module, loss)
    except NotImplementedError:
        if executor not in ("auto", "tape"):
            raise
        return None


def _chosen(executor: str, plan: Plan | None) -> str:
    """The executor's name: "auto" is the engine where there is a plan, else the tape."""
    if executor != "auto":
        return executor
    return "tape" if plan is None else "engine"


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number, at least 1; got {value!r}")
    return int(value)


def _n_rows(X: Any) -> int:
    shape = getattr(X, "shape", None)
    return int(shape[0]) if shape else len(X)


def _module_dtype(module: Module) -> Any:
    return next((array.dtype for array in module.parameters()), np.dtype(np.float32))


def _vectors(module: Module, plan: Plan, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    state = module.state_dict()
    return flatten(state, plan.parameters, dtype), flatten(state, plan.buffers, dtype)


def _outputs(executor: Any, X: Any, rows: np.ndarray | None) -> np.ndarray:
    """Raw outputs of some rows of X, of which no more than a few thousand are copied at a time."""
    if rows is None:
        outputs: np.ndarray = executor.predict(X)
        return outputs
    parts = range(0, len(rows), ROWS_A_COPY)
    return np.concatenate([executor.predict(X[rows[start : start + ROWS_A_COPY]]) for start in parts])


class Fitting:
    """One call of ``fit``; its arguments."""

    def __init__(
        self,
        module: Module,
        *,
        loss: Any,
        optimizer: str | Optimizer = "adam",
        epochs: int = 10,
        batch_size: int = 32,
        **options: Any,
    ) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"module must be a Module of chainrule.nn; got {type(module).__name__}")
        self.module = module
        self.loss = loss
        self.optimizer = make_optimizer(optimizer)
        self.options = read_options(options)
        self.epochs = _count("epochs", epochs)
        self.batch_size = _count("batch_size", batch_size)
        self.plan = _lowered(module, loss, self.options.executor)
        self.dtype = np.dtype(self.options.dtype or _module_dtype(module))
        self.metrics = metric_functions(self.options.metrics)
        self.random = np.random.default_rng(self.options.seed)

    def run(self, X: Any, y: Any, validation: Any = None, progress: EpochsOfOne | None = None) -> History:
        """Train, and give the module the weights of the epoch to keep."""
        options = self.options
        name = _chosen(options.executor, self.plan)
        if self.plan is None:
            self.plan = outline(self.module, self.loss, X)
        self.record = get_loss(self.plan.loss.name)
        data = self._read(X, y, validation)
        parameters, buffers = _vectors(self.module, self.plan, self.dtype)
        executor = make_executor(
            name, self.plan, parameters, buffers, options.n_jobs, options.precision, self.module
        )
        trainer = self._trainer(executor, data)
        history = History(executor=executor.name)
        keeper = _BestKeeper(options.stopping, data.held_out is not None, executor)
        schedule = copy.deepcopy(make_schedule(options.schedule))  # some keep count
        course = Course(trainer, schedule, keeper, history, self.random)
        checkpoints = self._checkpoints(course, data)
        behind = checkpoints.begin(course)
        store(self.plan, self.module, parameters, buffers)  # a tape runs the module itself
        self.module.train()
        try:
            with progress or EpochProgress(self.epochs, options.verbose) as shown:
                history.stopped = self._epochs(course, data, shown, checkpoints, behind)
        except KeyboardInterrupt:
            history.stopped = "interrupted"
            checkpoints.close()
        finally:
            keeper.restore(history)
            store(self.plan, self.module, parameters, buffers)
            self.module.eval()
        return history

    def _read(self, X: Any, y: Any, validation: Any) -> Any:
        """The data to learn from and to measure on, checked."""
        assert self.plan is not None
        return read_data(self.plan, self.loss, X, y, validation, self.options, self.dtype, self.random)

    def _trainer(self, executor: Any, data: FitData) -> Trainer:
        n_rows = len(data.examples) if data.rows is None else len(data.rows)
        return Trainer(
            executor,
            data.examples,
            self.optimizer,
            min(self.batch_size, n_rows),
            rows=data.rows,
            **self._settings(),
        )

    def _settings(self) -> dict[str, Any]:
        """The options that a trainer takes as they are."""
        options = self.options
        return {
            "penalty": Penalty(options.l2, options.l1),
            "clip_norm": options.clip_norm,
            "seed": options.seed,
            "telemetry_every": options.telemetry_every,
        }

    def _checkpoints(self, course: Course, data: Any) -> Checkpoints:
        """The checkpoints asked for, and what they belong to."""
        options = self.options
        identity: dict[str, str] = {}
        if options.checkpoint is not None or options.resume:
            settings = {
                "network": self.plan, "executor": course.history.executor, "dtype": self.dtype,
                "optimizer": self.optimizer, "batch_size": course.trainer.batch_size,
                "schedule": (type(course.schedule).__name__, vars(course.schedule)),
                "early_stopping": options.stopping, "metrics": list(self.metrics),
                **{name: getattr(options, name) for name in _MATTERING},
            }  # fmt: skip
            if epochs_matter(course.schedule):
                settings["epochs"] = self.epochs
            identity = fingerprint(settings, data.arrays())
        return Checkpoints(options.checkpoint, options.every, options.resume, identity)

    def _epochs(
        self,
        course: Course,
        data: Any,
        progress: EpochProgress | EpochsOfOne,
        checkpoints: Checkpoints,
        behind: tuple[int, str, float],
    ) -> str:
        """Run epochs until there is a reason to stop; returns it."""
        trainer, schedule = course.trainer, course.schedule
        epochs_behind, stopped, seconds = behind
        steps = trainer.steps_per_epoch
        began = time.monotonic() - seconds
        deadline = np.inf if self.options.max_time is None else time.monotonic() + self.options.max_time
        for record in course.history.epochs:
            progress.advance(record)
        for epoch in range(epochs_behind + 1, self.epochs + 1):
            if stopped:
                break
            order = trainer.order(self.random) if self.options.shuffle else None
            numbers = np.arange(trainer.step, trainer.step + steps)
            rates = self.optimizer.lr * schedule.factors(numbers, self.epochs * steps, steps)
            report = trainer.epoch(order, rates, deadline)
            record = {
                "epoch": epoch,
                "loss": report.loss / report.n_rows,
                "penalty": report.penalty / report.n_rows,
                "learning_rate": float(rates[-1]),
                "seconds": time.monotonic() - began,
                **self._measure(trainer.executor, data),
            }
            course.history.epochs.append(record)
            progress.advance(record)
            stopped = self._reason_to_stop(course, report, deadline)
            checkpoints.epoch_ended(course, epoch, stopped, is_whole=report.n_steps == steps)
        checkpoints.close()
        return stopped or "finished"

    def _reason_to_stop(self, course: Course, report: Any, deadline: float) -> str:
        """Let all who watch see the epoch's row; why to stop after it, or an empty text."""
        record = course.history.epochs[-1]
        if self.options.telemetry_every:
            course.history.telemetry.append(report)
        improved = course.keeper.see(record)
        is_exhausted = course.schedule.epoch_ended(improved)
        if self._callbacks_stop(course.trainer, record, course.history, report):
            return "callback"
        if not np.isfinite(record["loss"]):
            return "not finite"
        if course.keeper.should_stop:
            return "early stopping"
        if is_exhausted:
            return "learning rate"
        return "time limit" if time.monotonic() >= deadline else ""

    def _measure(self, executor: Any, data: FitData) -> dict[str, float]:
        """Validation loss and metrics, of the validation data where there is any."""
        row = {}
        if data.held_out is not None:
            row["validation_loss"] = executor.loss(data.held_out)
        if self.metrics:
            if data.held_out is None:
                z = _outputs(executor, data.examples.X, data.rows)
            else:
                z = executor.predict(data.held_out.X)
            prediction = self.record.link(z)
            for name, metric in self.metrics.items():
                row[name] = float(metric(data.targets, prediction))
        return row

    def _callbacks_stop(self, trainer: Trainer, record: dict, history: History, report: Any) -> bool:
        callbacks = list(self.options.callbacks)
        if not callbacks:
            return False
        store(trainer.executor.plan, self.module, trainer.executor.parameters, trainer.executor.buffers)
        event = EpochEvent(
            int(record["epoch"]),
            record,
            history,
            self.module,
            report if self.options.telemetry_every else None,
        )
        answers = [callback(event) for callback in callbacks]  # every callback hears of every epoch
        return any(answers)


class _BestKeeper:
    """Watches one column of the history and keeps the weights of its best epoch."""

    def __init__(self, stopping: EarlyStopping | None, validated: bool, executor: Any) -> None:
        self._executor = executor
        self._patience = stopping.patience if stopping else None
        self._min_delta = stopping.min_delta if stopping else 0.0
        self._restores = stopping is not None or validated
        automatic = "validation_loss" if validated else "loss"
        self.monitor = stopping.monitor if stopping and stopping.monitor != "auto" else automatic
        self._best = np.inf
        self._best_epoch = 0
        self._stale = 0
        self.kept: tuple[np.ndarray, np.ndarray] | None = None

    def see(self, record: dict[str, float]) -> bool:
        """Note an epoch; whether it improved."""
        if self.monitor not in record:
            raise ValueError(
                f"early_stopping monitors {self.monitor!r}, which is not among {', '.join(record)}"
            )
        value = record[self.monitor]
        improved = value < self._best - self._min_delta
        if value < self._best:
            self._best = value
            self._best_epoch = int(record["epoch"])
            if self._restores:
                self.kept = self._executor.parameters.copy(), self._executor.buffers.copy()
        self._stale = 0 if improved else self._stale + 1
        return improved

    def numbers(self) -> dict[str, float]:
        """All that it has noted beside the weights it keeps, for a checkpoint."""
        return {"best": self._best, "best epoch": self._best_epoch, "stale": self._stale}

    def put_back(self, numbers: dict[str, float], kept: tuple[np.ndarray, np.ndarray] | None) -> None:
        """Be as it was when it gave ``numbers`` and had kept these weights."""
        self._best = float(numbers["best"])
        self._best_epoch, self._stale = int(numbers["best epoch"]), int(numbers["stale"])
        self.kept = kept

    @property
    def should_stop(self) -> bool:
        """Whether patience has run out."""
        return self._patience is not None and self._stale >= self._patience

    def restore(self, history: History) -> None:
        """Put the best weights back, and say in the history which epoch's they are."""
        if self._restores and self.kept is not None:
            self._executor.parameters[:], self._executor.buffers[:] = self.kept
            history.best_epoch = self._best_epoch
            history.monitor = self.monitor
        else:
            history.best_epoch = len(history)
