"""``fit_many``: many networks, trained side by side, one a thread."""

import inspect
import os
import threading
from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from chainrule.execution import Features, check_features
from chainrule.nn import Module
from chainrule.train.fitting import Fitting, fit
from chainrule.train.history import History
from chainrule.train.options import read_options
from chainrule.train.progress import EpochsOfOne, SharedEpochProgress
from chainrule.train.side_by_side import run_side_by_side

__all__ = ["Job", "fit_many"]


class Job:
    """One training for ``fit_many``: the arguments of ``fit``.

    Parameters
    ----------
    module : Module
        Of this job alone.
    X, y : array-like
        Jobs that are given the same X share it: it is checked and converted once.
    **settings
        ``loss`` and everything else that ``fit`` takes; see there and ``FitOptions``. ``rows`` and
        ``validation_rows`` make folds of an X that is shared. ``n_jobs`` and ``verbose`` have no
        effect: a job runs on one thread, and one bar shows the progress of all.

    Raises
    ------
    TypeError
        If ``module`` is none, a setting is not one of ``fit``'s, or there is no ``loss``.

    Examples
    --------
    >>> from chainrule import nn
    >>> Job(nn.Sequential(nn.Linear(2, 1)), [[0.0, 1.0]], [1.0], loss="half_squared_error", seed=3)
    Job(Sequential, loss='half_squared_error', seed=3)
    """

    def __init__(self, module: Module, X: Any, y: Any, **settings: Any) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"module must be a Module of chainrule.nn; got {type(module).__name__}")
        arguments = inspect.signature(fit).bind(module, X, y, **settings).arguments
        read_options(arguments.get("options", {}))
        self.module = module
        self.X = X
        self.y = y
        self.settings = settings

    def __repr__(self) -> str:
        settings = [f"{name}={value!r}" for name, value in self.settings.items()]
        return f"Job({', '.join([type(self.module).__name__, *settings])})"


def fit_many(
    jobs: Iterable[Job], *, n_jobs: int | None = None, on_error: str = "raise", progress: bool = True
) -> list[Any]:
    """Train many modules side by side, each on one thread.

    Every module ends with the very bits, and every history with the numbers, that ``fit`` alone gives.
    Small networks gain the most: ``fit`` trains one of them on one thread, whatever the machine has.

    Parameters
    ----------
    jobs : iterable of Job
        Of any shapes and settings. Each draws its random numbers from its own ``seed``.
    n_jobs : int, optional
        Threads, -1 or None for as many as there are processors. Largest networks are begun first.
    on_error : {"raise", "return"}
        What follows an exception in a job: begin no further job, let those that run come to their end
        and raise ``JobError``; or go on, and put the exception in the place of the job's history.
    progress : bool
        Show a bar over all epochs where the output is a terminal.

    Returns
    -------
    list of History
        In the order of the jobs.

    Raises
    ------
    JobError
        Names the job; its exception is the ``__cause__``.
    ValueError
        If two jobs train the same module.

    Notes
    -----
    Ctrl-C ends all trainings within about a tenth of a second and raises ``KeyboardInterrupt``. The
    modules keep what they have learned by then.

    Callbacks, metrics and schedules of a job's settings are called in its thread. One object of a
    user's own class that several jobs share must bear being called by several threads at once.

    Examples
    --------
    Five folds, on one X:

    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import KFold
    >>> from chainrule import nn
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X / 16
    >>> jobs = [
    ...     Job(nn.Sequential(nn.Linear(64, 32, rng=0), nn.ReLU(), nn.Linear(32, 10, rng=1)), X, y,
    ...         rows=train, validation_rows=test, loss="softmax_cross_entropy", metrics=["accuracy"])
    ...     for train, test in KFold(5, shuffle=True, random_state=0).split(X)
    ... ]
    >>> histories = fit_many(jobs)
    >>> [len(history) for history in histories]
    [10, 10, 10, 10, 10]
    """
    jobs = list(jobs)
    _check_modules(jobs)
    features = _SharedFeatures(jobs)
    epochs = [_epochs(job) for job in jobs]
    with SharedEpochProgress(sum(epochs), shown=progress) as bar:
        tasks = [partial(_train, job, features, bar.part(n)) for job, n in zip(jobs, epochs, strict=True)]
        return run_side_by_side(tasks, n_jobs=n_jobs, costs=[_cost(job) for job in jobs], on_error=on_error)


def _check_modules(jobs: list[Job]) -> None:
    owners: dict[int, int] = {}
    for number, job in enumerate(jobs):
        for module in {id(module) for module in job.module.modules()}:
            owner = owners.setdefault(module, number)
            if owner != number:
                raise ValueError(f"jobs {owner} and {number} train the same module: give each one of its own")
    writers: dict[str, int] = {}
    for number, job in enumerate(jobs):
        path = job.settings.get("checkpoint")
        if path is not None and writers.setdefault(os.path.realpath(path), number) != number:
            raise ValueError(
                f"two jobs write their checkpoints to {os.fspath(path)!r}: give each a file of its own"
            )


def _epochs(job: Job) -> int:
    """How many there will be at most; of what is no number, which ``fit`` will say, none."""
    epochs = job.settings.get("epochs", 10)
    return epochs if isinstance(epochs, int) else 0


def _cost(job: Job) -> float:
    """Parameters × rows × epochs: about how long it takes, in no particular unit."""
    try:
        rows: Any = job.settings.get("rows")
        mask = rows is not None and np.asarray(rows).dtype == bool
        n_rows = np.count_nonzero(rows) if mask else len(job.y if rows is None else rows)
        n_parameters = sum(array.size for array in job.module.parameters())
        return float(n_parameters) * n_rows * float(job.settings.get("epochs", 10))
    except (TypeError, ValueError):
        return 0.0  # the job itself will say what is wrong


class _SharedFeatures:
    """What several jobs use is converted by the first of them, and given up after the last."""

    def __init__(self, jobs: list[Job]) -> None:
        self._uses = Counter(id(job.X) for job in jobs)
        self._locks = {key: threading.Lock() for key in self._uses}
        self._converted: dict[int, dict[np.dtype, Features]] = {key: {} for key in self._uses}

    def take(self, X: Any, dtype: np.dtype) -> Features:
        """X as the executor takes it."""
        with self._locks[id(X)]:
            known = self._converted[id(X)]
            if dtype not in known:
                known[dtype] = check_features(X, dtype)
            return known[dtype]

    def give_back(self, X: Any) -> None:
        """One job less that needs X."""
        with self._locks[id(X)]:
            self._uses[id(X)] -= 1
            if self._uses[id(X)] == 0:
                self._converted[id(X)].clear()


def _train(job: Job, features: _SharedFeatures, progress: EpochsOfOne) -> History:
    settings = {**job.settings, "verbose": 0}
    validation = settings.pop("validation", None)
    try:
        fitting = Fitting(job.module, **settings)
        return fitting.run(features.take(job.X, fitting.dtype), job.y, validation, progress)
    finally:
        features.give_back(job.X)
