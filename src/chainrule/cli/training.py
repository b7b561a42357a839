"""Training the network of a problem, and measuring it on the rows that it was not trained on."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from math import inf
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

# Behind the confidence intervals.
_RESAMPLES = 1000


@dataclass(frozen=True)
class Settings:
    """How to train, from the options or from a search; None where the recipe decides."""

    width: int | None = None
    depth: int | None = None
    activation: str | None = None
    max_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    dropout: float | None = None
    weight_decay: float | None = None
    ensemble: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """A model after training."""

    model: SavedModel
    seconds: float


def read_settings(**options: Any) -> Settings:
    """Settings from options; ValueError that names the option."""
    rate = options.get("learning_rate")
    if rate is not None and not 0 < rate < inf:
        raise ValueError(f"--learning-rate must be a positive number, got {rate:g}")
    return Settings(**options)


def make_estimator(problem: Problem, settings: Settings, **further: Any) -> Any:
    """The estimator that the settings describe, not fitted."""
    from chainrule.estimators import TabularClassifier, TabularRegressor

    kind = TabularClassifier if problem.classify else TabularRegressor
    given = {name: value for name, value in asdict(settings).items() if value is not None}
    seed = given.pop("seed")
    return kind(**given, random_state=seed, **further)


def trained(problem: Problem, settings: Settings, *, quiet: bool) -> Trained:
    """Train. ValueError if it diverged."""
    import numpy as np

    from chainrule.io import SavedModel

    estimator = make_estimator(problem, settings, verbose=not quiet)
    started = time.perf_counter()
    try:
        if problem.stream is None:
            estimator.fit(problem.features.iloc[problem.training], problem.y[problem.training])
        else:
            estimator.fit(problem.stream)
    except ValueError as error:
        if "not finite" in str(error):
            raise ValueError("the training diverged: try a smaller --learning-rate") from None
        raise
    if problem.classify and estimator.classes_.dtype.kind == "b":
        estimator.classes_ = estimator.classes_.astype(np.str_)  # as a CSV file has them
    return Trained(SavedModel(estimator, None, problem.target), time.perf_counter() - started)


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
