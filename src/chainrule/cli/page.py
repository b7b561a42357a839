"""The HTML report of a training or of an evaluation: gathering what `chainrule.report` makes a page of."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.problem import described
from chainrule.cli.saved import classes_of, curves_of, kinds_of, network_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chainrule.cli.problem import Problem
    from chainrule.cli.saved import Examples
    from chainrule.cli.training import Settings, Trained
    from chainrule.io import SavedModel
    from chainrule.report import Evaluation
    from chainrule.report.importance import Importance
    from chainrule.report.page import Report

__all__ = ["versions", "write_evaluation_page", "write_training_page"]


def versions() -> dict[str, str]:
    """What the result may depend on besides data and settings."""
    from chainrule.version import __version__

    packages = ("numpy", "pandas", "scikit-learn", "numba")
    return {
        "chainrule": __version__,
        "Python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def write_training_page(
    path: Path,
    problem: Problem,
    settings: Settings,
    result: Trained,
    evaluation: Evaluation,
    told: dict[str, Any],
    *,
    quiet: bool,
) -> None:
    """Write the report of a training."""
    from chainrule.report.page import Report

    model = result.model
    features = problem.features.iloc[problem.testing][list(kinds_of(model))]
    training, validation = curves_of(model)
    _write(
        path,
        Report(
            target=problem.target,
            measured_on=f"{evaluation.n_rows:,} rows that were not trained on",
            evaluation=evaluation,
            baseline=told["baseline"],
            y=problem.y,
            columns=problem.columns,
            training=training,
            validation=validation,
            importances=_importances(model, features, problem.y[problem.testing], settings.seed, quiet),
            importance_metric=_importance_metric(model),
            network=told["network"],
            settings={**model.estimator.get_params(), "seconds": told["seconds"]},
            versions=versions(),
            notes=told["notes"],
        ),
    )


def write_evaluation_page(
    path: Path,
    saved: SavedModel,
    examples: Examples,
    evaluation: Evaluation,
    told: dict[str, Any],
    *,
    quiet: bool,
) -> None:
    """Write the report of a saved model on other rows."""
    from chainrule.report.page import Report

    kinds = kinds_of(saved)
    features = examples.features
    training, validation = curves_of(saved)
    _write(
        path,
        Report(
            target=str(saved.target),
            measured_on=f"{evaluation.n_rows:,} rows of {Path(told['data']).name}",
            evaluation=evaluation,
            baseline=told.get("baseline", {}),
            y=examples.y,
            columns=described(features, kinds),
            training=training,
            validation=validation,
            importances=_importances(saved, features[list(kinds)], examples.y, 0, quiet),
            importance_metric=_importance_metric(saved),
            network=network_of(saved),
            versions=versions(),
            notes=told["notes"],
        ),
    )


def _importance_metric(model: SavedModel) -> str:
    return "RMSE" if classes_of(model) is None else "log loss"


def _importances(
    model: SavedModel, features: pd.DataFrame, y: np.ndarray, seed: int, quiet: bool
) -> list[Importance]:
    """How much shuffling each column raises the loss."""
    from sklearn import metrics

    from chainrule.report.importance import permutation_importances
    from chainrule.train.progress import StepProgress

    classes = classes_of(model)

    def loss(frame: pd.DataFrame, where: np.ndarray) -> float:
        if classes is None:
            return float(metrics.root_mean_squared_error(y[where], model.predict(frame)))
        return float(metrics.log_loss(y[where], model.predict_proba(frame), labels=classes))

    with StepProgress("column", features.shape[1], not quiet) as bar:
        return permutation_importances(loss, features, seed=seed, progress=bar.advance)


def _write(path: Path, report: Report) -> None:
    from chainrule.io import write_atomically
    from chainrule.report.page import report_html

    write_atomically(path, report_html(report).encode())
