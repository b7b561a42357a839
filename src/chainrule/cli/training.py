"""Training the network of a problem, and measuring it on the rows that it was not trained on."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chainrule.cli.problem import Problem
    from chainrule.io import SavedModel
    from chainrule.report import Evaluation

__all__ = [
    "Settings",
    "Trained",
    "evaluated",
    "guess_of",
    "guessed",
    "make_estimator",
    "read_settings",
    "trained",
]

# With fewer training rows than this, a tenth of them is too few to say when to stop.
_EARLY_STOPPING_ROWS = 100
# Behind the confidence intervals.
_RESAMPLES = 1000


@dataclass(frozen=True)
class Settings:
    """How to train, from the options or from a search."""

    hidden: tuple[int, ...] = (64, 64)
    activation: str = "relu"
    epochs: int = 200
    batch_size: int | None = None
    learning_rate: float = 0.001
    dropout: float = 0.0
    weight_decay: float = 0.0
    ensemble: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """A network after training."""

    model: SavedModel
    seconds: float
    notes: list[str] = field(default_factory=list)


def read_settings(hidden: str, learning_rate: float, **others: Any) -> Settings:
    """Settings from options; ValueError that names the option."""
    if not 0 < learning_rate < inf:
        raise ValueError(f"--learning-rate must be a positive number, got {learning_rate:g}")
    sizes = [size.strip() for size in hidden.split(",")]
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ValueError(f"--hidden must be numbers of units such as 64,64, got {hidden!r}")
    settings = Settings(hidden=tuple(map(int, sizes)), learning_rate=learning_rate, **others)
    if settings.ensemble is not None and replace(settings, ensemble=None, seed=0) != Settings():
        raise ValueError("--ensemble trains by a recipe of its own: give it without options of one network")
    return settings


def make_estimator(problem: Problem, settings: Settings) -> Any:
    """The estimator that the settings describe, not fitted."""
    import numpy as np

    from chainrule.estimators import MLPClassifier, MLPRegressor

    n_rows = len(problem.training)
    # A price of 300,000 is as easy to learn as one of 0.3 once it is standardised.
    further: dict[str, Any] = {} if problem.classify else {"target_scaling": "standard"}
    return (MLPClassifier if problem.classify else MLPRegressor)(
        hidden_layer_sizes=settings.hidden,
        activation=settings.activation,
        solver="adamw" if settings.weight_decay else "adam",
        learning_rate_init=settings.learning_rate,
        dropout=settings.dropout,
        weight_decay=settings.weight_decay,
        # About 20 steps an epoch, as long as a step is neither too noisy nor too long.
        batch_size=min(settings.batch_size or int(np.clip(n_rows // 20, 16, 256)), n_rows),
        max_iter=settings.epochs,
        early_stopping=n_rows >= _EARLY_STOPPING_ROWS and _validation_can_be_split_off(problem),
        # By the loss, because the accuracy on a few rows goes up and down in steps.
        scoring="loss",
        random_state=settings.seed,
        dtype="float32",
        **further,
    )


def trained(problem: Problem, settings: Settings, *, quiet: bool) -> Trained:
    """Train; what the training warned of becomes notes. ValueError if it diverged."""
    if settings.ensemble is not None:
        return _trained_ensemble(problem, settings, settings.ensemble, quiet)
    from sklearn.exceptions import ConvergenceWarning

    from chainrule.io import SavedModel
    from chainrule.train.progress import EpochProgress

    X, y = problem.X[problem.training], problem.y[problem.training]
    estimator = make_estimator(problem, settings)
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught, EpochProgress(settings.epochs, not quiet) as bar:
        warnings.simplefilter("always")
        try:
            estimator.set_callbacks(_Epochs(bar.advance)).fit(X, y)
            diverged = not isfinite(estimator.loss_)
        except ValueError as error:
            diverged = "non-finite" in str(error)
            if not diverged:
                raise
    if diverged:
        raise ValueError("the training diverged: try a smaller --learning-rate")
    notes = []
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            notes.append(f"the loss was still falling after {settings.epochs} epochs: more --epochs may help")
        else:
            notes.append(" ".join(str(warning.message).split()))
    seconds = time.perf_counter() - started
    return Trained(SavedModel(estimator, problem.table, problem.target), seconds, notes)


def _trained_ensemble(problem: Problem, settings: Settings, n_networks: int, quiet: bool) -> Trained:
    """Train the estimator that reads the table itself."""
    from chainrule.estimators import TabularClassifier, TabularRegressor
    from chainrule.io import SavedModel

    kind = TabularClassifier if problem.classify else TabularRegressor
    estimator = kind(ensemble=n_networks, random_state=settings.seed, verbose=not quiet)
    started = time.perf_counter()
    estimator.fit(problem.features.iloc[problem.training], problem.y[problem.training])
    seconds = time.perf_counter() - started
    return Trained(SavedModel(estimator, None, problem.target), seconds, estimator.encoder_.notes_)


class _Epochs:
    """Shows the course of the training; a callback by scikit-learn's protocol."""

    def __init__(self, show: Callable[[dict[str, float]], None]) -> None:
        self.show = show

    def setup(self, estimator: Any, context: Any) -> None:
        """Nothing to do; the protocol asks for the method."""

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
        """Show the epoch; True, which ends the training, once the loss is no number."""
        self.show({"loss": estimator.loss_})
        return not isfinite(estimator.loss_)


def _validation_can_be_split_off(problem: Problem) -> bool:
    """Early stopping holds back a tenth of the rows, in which every class must have its place."""
    y = problem.y[problem.training]
    counts = Counter(y.tolist())
    return not problem.classify or (min(counts.values()) >= 2 and len(counts) <= len(y) // 10)


def evaluated(
    model: SavedModel, features: pd.DataFrame, y: np.ndarray, *, seed: int, quiet: bool
) -> Evaluation:
    """The metrics of a model on rows, with intervals."""
    from chainrule.cli.saved import classes_of
    from chainrule.report import evaluate_classes, evaluate_numbers
    from chainrule.train.progress import StepProgress

    classes, predicted = classes_of(model), model.predict(features)
    with StepProgress("resample", _RESAMPLES, not quiet) as bar:
        options: dict[str, Any] = {"n_resamples": _RESAMPLES, "seed": seed, "progress": bar.advance}
        if classes is None:
            return evaluate_numbers(y, predicted, **options)
        return evaluate_classes(y, predicted, model.predict_proba(features), classes, **options)


def tested(problem: Problem, model: SavedModel, seed: int, *, quiet: bool) -> Evaluation:
    """The metrics of a model on the rows that it was not trained on."""
    features = problem.features.iloc[problem.testing]
    return evaluated(model, features, problem.y[problem.testing], seed=seed, quiet=quiet)


def guessed(guess: dict[str, Any], y: np.ndarray, classes: Any) -> dict[str, float]:
    """The metrics of the guess that `guess_of` describes."""
    import numpy as np

    from chainrule.report import guess_classes, guess_numbers

    if "mean" in guess:
        return guess_numbers(y, float(guess["mean"]))
    return guess_classes(y, np.asarray(guess["shares"], dtype=np.float64), classes)


def guess_of(problem: Problem) -> dict[str, Any]:
    """What someone would say who knows the training targets alone: the classes' shares, or the mean."""
    import numpy as np

    y = problem.y[problem.training]
    if not problem.classify:
        return {"mean": float(y.mean())}
    _, counts = np.unique(y, return_counts=True)
    return {"shares": (counts / len(y)).tolist()}
