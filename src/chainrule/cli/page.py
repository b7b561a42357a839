"""The HTML report of a training or of an evaluation: gathering what `chainrule.report` makes a page of."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.saved import hidden_widths, kinds_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chainrule.cli.problem import Problem
    from chainrule.cli.saved import Examples
    from chainrule.cli.training import Settings, Trained
    from chainrule.io import SavedModel
    from chainrule.report import Evaluation
    from chainrule.report.page import Report

__all__ = ["versions", "write_evaluation_page", "write_training_page"]


def versions() -> dict[str, str]:
    """What the result may depend on besides data and settings."""
    from chainrule import __version__

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
) -> None:
    """Write the report of a training."""
    from chainrule.report.page import Report

    estimator = result.estimator
    features = problem.features.iloc[problem.testing][list(problem.table.kinds_)]
    loss, metric = _loss(problem.table.transform, estimator, problem.y[problem.testing])
    _write(
        path,
        Report(
            target=problem.target,
            measured_on=f"{evaluation.n_rows:,} rows that were not trained on",
            evaluation=evaluation,
            baseline=told["baseline"],
            y=problem.y,
            columns=problem.columns,
            training=getattr(estimator, "loss_curve_", ()),
            validation=getattr(estimator, "validation_loss_curve_", None),
            importances=_importances(loss, features, settings.seed),
            importance_metric=metric,
            network=told["network"],
            settings={**asdict(settings), "batch_size": estimator.batch_size, "seconds": told["seconds"]},
            versions=versions(),
            notes=told["notes"],
        ),
    )


def write_evaluation_page(
    path: Path, saved: SavedModel, examples: Examples, evaluation: Evaluation, told: dict[str, Any]
) -> None:
    """Write the report of a saved model on other rows."""
    from chainrule.report.page import Report

    estimator, kinds = saved.estimator, kinds_of(saved)
    features = examples.features[list(kinds)]
    assert saved.preprocessor is not None
    loss, metric = _loss(saved.preprocessor.transform, estimator, examples.y)
    _write(
        path,
        Report(
            target=str(saved.target),
            measured_on=f"{evaluation.n_rows:,} rows of {Path(told['data']).name}",
            evaluation=evaluation,
            baseline=told.get("baseline", {}),
            y=examples.y,
            columns=[
                {"name": name, "kind": kind, "missing": int(features[name].isna().sum()), "holds": ""}
                for name, kind in kinds.items()
            ],
            training=getattr(estimator, "loss_curve_", ()),
            validation=getattr(estimator, "validation_loss_curve_", None),
            importances=_importances(loss, features, 0),
            importance_metric=metric,
            network={"layers": [estimator.n_features_in_, *hidden_widths(saved), estimator.n_outputs_]},
            versions=versions(),
            notes=told["notes"],
        ),
    )


Loss = Callable[["pd.DataFrame", "np.ndarray"], float]


def _loss(transform: Callable[[Any], Any], estimator: Any, y: np.ndarray) -> tuple[Loss, str]:
    """The loss of rows of a frame, which permutation raises, and its name."""
    from sklearn import metrics

    classes = getattr(estimator, "classes_", None)
    name = "RMSE" if classes is None else "log loss"

    def loss(frame: pd.DataFrame, where: np.ndarray) -> float:
        X = transform(frame)
        if classes is None:
            return float(metrics.root_mean_squared_error(y[where], estimator.predict(X)))
        return float(metrics.log_loss(y[where], estimator.predict_proba(X), labels=classes))

    return loss, name


def _importances(loss: Loss, features: pd.DataFrame, seed: int) -> list[Any]:
    from chainrule.report.importance import permutation_importances

    return permutation_importances(loss, features, seed=seed)


def _write(path: Path, report: Report) -> None:
    from chainrule.io import write_atomically
    from chainrule.report.page import report_html

    write_atomically(path, report_html(report).encode())
