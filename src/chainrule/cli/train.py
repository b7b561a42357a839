"""``chainrule train``: from a CSV file to a network, its report and its file."""

from __future__ import annotations

import json
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from chainrule.cli.application import check_output, errors_in_one_line

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chainrule.estimators.columns import Task
    from chainrule.estimators.tables import TablePreprocessor

__all__ = ["TaskOption", "train"]

# With fewer training rows than this, a tenth of them is too few to say when to stop.
_EARLY_STOPPING_ROWS = 100
# Columns and notes that are listed before the rest is only counted.
_MOST_LISTED = 20


class TaskOption(StrEnum):
    """What ``--task`` takes."""

    auto = "auto"
    classification = "classification"
    regression = "regression"


@dataclass(frozen=True)
class _Settings:
    """How to train, from the options."""

    hidden: tuple[int, ...]
    epochs: int
    batch_size: int | None
    learning_rate: float
    activation: str
    test_size: float
    seed: int


@dataclass(frozen=True)
class _Problem:
    """The table made ready: what to learn from, what to test on."""

    task: Task
    target: str
    table: TablePreprocessor
    columns: list[dict[str, Any]]
    X: np.ndarray
    y: np.ndarray
    training: np.ndarray
    testing: np.ndarray
    n_without_target: int
    notes: list[str]

    @property
    def classify(self) -> bool:
        return self.task == "classification"


@errors_in_one_line
def train(  # noqa: PLR0913 - one parameter an option
    data: Annotated[Path, typer.Argument(help="The table: a CSV file with a header line.")],
    target: Annotated[str, typer.Option(help="Name of the column to predict.")],
    out: Annotated[Path, typer.Option(help="Where to save the model.")] = Path("model.safetensors"),
    task: Annotated[
        TaskOption, typer.Option(help="Predict a class or a number; auto looks at the column.")
    ] = TaskOption.auto,
    drop: Annotated[
        list[str] | None, typer.Option(help="A column to leave out; may be given more than once.")
    ] = None,
    hidden: Annotated[
        str, typer.Option("--hidden", "--hidden-layer-sizes", help="Units of each hidden layer.")
    ] = "64,64",
    activation: Annotated[str, typer.Option(help="Activation of the hidden layers.")] = "relu",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training rows, at most.")] = 200,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Rows a step; by default between 16 and 256.", show_default=False),
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="Step size of Adam.")] = 0.001,
    test_size: Annotated[float, typer.Option(help="Share of the rows to test on.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same file.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Train on a table, report how well it does on rows not trained on, and save."""
    from chainrule.io import read_table, save_model

    if not 0 < test_size < 1:
        raise ValueError(f"--test-size must be between 0 and 1, got {test_size:g}")
    if not 0 < learning_rate < inf:
        raise ValueError(f"--learning-rate must be a positive number, got {learning_rate:g}")
    layers = _hidden_layers(hidden)
    settings = _Settings(layers, epochs, batch_size, learning_rate, activation, test_size, seed)
    check_output(out, data)
    frame, notes = read_table(data)
    problem = _prepare(_without(frame, drop or []), target, task, settings)
    if not as_json:
        _show_data(data, problem)
    estimator, seconds = _fit(problem, settings)
    report = _report(problem, settings, estimator, seconds)
    kept = {key: report[key] for key in ("task", "rows", "metrics", "baseline")}
    save_model(out, estimator, preprocessor=problem.table, target=target, information={**kept, "seed": seed})
    notes += problem.notes
    if as_json:
        typer.echo(json.dumps({**report, "notes": notes, "model": str(out)}, indent=2))
    else:
        _show_result(report, notes, out)


def _prepare(frame: pd.DataFrame, target: str, task: TaskOption, settings: _Settings) -> _Problem:
    from chainrule.estimators.columns import class_labels, infer_task, number_column, split_target
    from chainrule.estimators.tables import TablePreprocessor

    features, values, n_without_target = split_target(frame, target)
    chosen = infer_task(values) if task is TaskOption.auto else cast("Task", task.value)
    classify = chosen == "classification"
    y = class_labels(values) if classify else number_column(values)
    training, testing = _split(y, target, classify, settings)
    # Medians, means and categories come from the training rows alone, or the test would be told of itself.
    table = TablePreprocessor().fit(features.iloc[training])
    notes = list(table.notes_)
    if n_without_target:
        notes.append(f"rows left out because they have no value in the target column: {n_without_target}")
    return _Problem(
        task=chosen,
        target=target,
        table=table,
        columns=_describe(features, table),
        X=table.transform(features),
        y=y,
        training=training,
        testing=testing,
        n_without_target=n_without_target,
        notes=notes,
    )


def _split(y: np.ndarray, target: str, classify: bool, settings: _Settings) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the test rows, each class in both in proportion."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    n_test = int(np.ceil(settings.test_size * len(y)))
    needed = 2
    if classify:
        counts = Counter(y.tolist())
        rare = [label for label, count in counts.items() if count < 2]
        if rare:
            raise ValueError(
                f"target column {target!r}: class {rare[0]!r} is in one row only; every class needs two or "
                "more, to learn from and to test on (if the column holds amounts, give --task regression)"
            )
        needed = len(counts)
    if min(n_test, len(y) - n_test) < needed:
        raise ValueError(
            f"{len(y)} rows with a target are too few: with --test-size {settings.test_size:g} there are "
            f"{len(y) - n_test} to train and {n_test} to test on, and either needs {needed} or more"
        )
    training, testing = train_test_split(
        np.arange(len(y)), test_size=n_test, random_state=settings.seed, stratify=y if classify else None
    )
    return training, testing


def _fit(problem: _Problem, settings: _Settings) -> tuple[Any, float]:
    """The trained network and the seconds it took; what the training warned of goes to the notes."""
    import numpy as np
    from rich.console import Console
    from sklearn.exceptions import ConvergenceWarning

    from chainrule.estimators import MLPClassifier, MLPRegressor

    X, y, classify = problem.X[problem.training], problem.y[problem.training], problem.classify
    # A price of 300,000 is as easy to learn as one of 0.3 once it is standardised.
    further: dict[str, Any] = {} if classify else {"target_scaling": "standard"}
    estimator = (MLPClassifier if classify else MLPRegressor)(
        hidden_layer_sizes=settings.hidden,
        activation=settings.activation,
        learning_rate_init=settings.learning_rate,
        # About 20 steps an epoch, as long as a step is neither too noisy nor too long.
        batch_size=min(settings.batch_size or int(np.clip(len(X) // 20, 16, 256)), len(X)),
        max_iter=settings.epochs,
        early_stopping=len(X) >= _EARLY_STOPPING_ROWS and _validation_can_be_split_off(y, classify),
        # By the loss, because the accuracy on a few rows goes up and down in steps.
        scoring="loss",
        random_state=settings.seed,
        dtype="float32",
        **further,
    )
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Console(stderr=True).status(f"Training on {len(X):,} rows") as status:
            try:
                estimator.set_callbacks(_EpochStatus(status.update)).fit(X, y)
                diverged = not isfinite(estimator.loss_)
            except ValueError as error:
                diverged = "non-finite" in str(error)
                if not diverged:
                    raise
    if diverged:
        raise ValueError("the training diverged: try a smaller --learning-rate")
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            note = f"the loss was still falling after {settings.epochs} epochs: more --epochs may help"
        else:
            note = " ".join(str(warning.message).split())
        problem.notes.append(note)
    return estimator, time.perf_counter() - started


class _EpochStatus:
    """Shows the course of the training; a callback by scikit-learn's protocol."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self.show = show

    def setup(self, estimator: Any, context: Any) -> None:
        """Nothing to do; the protocol asks for the method."""

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
        """Show the epoch; True, which ends the training, once the loss is no number."""
        self.show(f"Epoch {estimator.n_iter_} of at most {estimator.max_iter}: loss {estimator.loss_:.4g}")
        return not isfinite(estimator.loss_)


def _validation_can_be_split_off(y: np.ndarray, classify: bool) -> bool:
    """Early stopping holds back a tenth of the rows, in which every class must have its place."""
    counts = Counter(y.tolist())
    return not classify or (min(counts.values()) >= 2 and len(counts) <= len(y) // 10)


def _report(problem: _Problem, settings: _Settings, estimator: Any, seconds: float) -> dict[str, Any]:
    """What was learned from what, and how well: the object that --json prints."""
    metrics, baseline = _evaluate(problem, estimator)
    n_training, n_test, n_without = len(problem.training), len(problem.testing), problem.n_without_target
    return {
        "task": problem.task,
        "target": problem.target,
        **({"classes": estimator.classes_.tolist()} if problem.classify else {}),
        "rows": {"training": n_training, "test": n_test, "without target": n_without},
        "columns": problem.columns,
        "network": {
            "layers": [problem.X.shape[1], *settings.hidden, estimator.n_outputs_],
            "activation": settings.activation,
            "parameters": sum(array.size for array in (*estimator.coefs_, *estimator.intercepts_)),
        },
        "epochs": int(estimator.n_iter_),
        "seconds": round(seconds, 3),
        "metrics": metrics,
        "baseline": baseline,
    }


def _evaluate(problem: _Problem, estimator: Any) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of the network on the test rows, and of a guess that knows only the training targets."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    guess = DummyClassifier(strategy="prior") if problem.classify else DummyRegressor(strategy="mean")
    guess.fit(problem.X[problem.training], problem.y[problem.training])
    X, y = problem.X[problem.testing], problem.y[problem.testing]
    measure = _class_metrics if problem.classify else _number_metrics
    return measure(estimator, X, y), measure(guess, X, y)


def _class_metrics(estimator: Any, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    from sklearn import metrics

    predicted = estimator.predict(X)
    with warnings.catch_warnings():
        # A class of a handful of rows may be absent from the test part, and still be predicted.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        balanced = metrics.balanced_accuracy_score(y, predicted)
    return {
        "accuracy": float(metrics.accuracy_score(y, predicted)),
        "balanced accuracy": float(balanced),
        "log loss": float(metrics.log_loss(y, estimator.predict_proba(X), labels=estimator.classes_)),
    }


def _number_metrics(estimator: Any, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    from sklearn import metrics

    predicted = estimator.predict(X)
    return {
        "R2": float(metrics.r2_score(y, predicted)),
        "RMSE": float(metrics.root_mean_squared_error(y, predicted)),
        "MAE": float(metrics.mean_absolute_error(y, predicted)),
    }


def _describe(features: pd.DataFrame, table: TablePreprocessor) -> list[dict[str, Any]]:
    """For each column its kind, the number of gaps, and its range or categories."""
    columns = []
    for name, kind in table.kinds_.items():
        column = features[name]
        if kind == "numeric":
            holds = f"{column.min():g} to {column.max():g}"
        else:
            most_frequent = [str(value) for value in column.value_counts().index]
            more = len(most_frequent) - 4
            holds = ", ".join(most_frequent[:4]) + (f" and {more} more" if more > 0 else "")
        columns.append({"name": name, "kind": kind, "missing": int(column.isna().sum()), "holds": holds})
    return columns


# -------------------------------------------------------------------------------------------- options


def _without(frame: pd.DataFrame, drop: list[str]) -> pd.DataFrame:
    """The table without the columns of --drop."""
    from chainrule.estimators.columns import listed, near_match

    unknown = [name for name in drop if name not in frame.columns]
    if unknown:
        missing = f"{unknown[0]!r}{near_match(unknown[0], frame.columns)}"
        raise ValueError(f"--drop: the table has no column {missing} Its columns: {listed(frame.columns)}")
    return frame.drop(columns=drop)


def _hidden_layers(text: str) -> tuple[int, ...]:
    sizes = [size.strip() for size in text.split(",")]
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ValueError(f"--hidden must be numbers of units such as 64,64, got {text!r}")
    return tuple(map(int, sizes))


# ---------------------------------------------------------------------------------------------- show


def _show_data(data: Path, problem: _Problem) -> None:
    """Print what was read, before the training, so that a mistake is seen early."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    n_classes = len(set(problem.y.tolist()))
    kind = f"{n_classes} classes" if problem.classify else "a number"
    title = f"{data.name}: {problem.target} ({kind}) is learned from {len(problem.columns)} columns"
    table = Table("column", "kind", "holds")
    table.add_column("missing", justify="right")
    for column in problem.columns[:_MOST_LISTED]:
        cells = (column["name"], column["kind"], column["holds"], str(column["missing"] or ""))
        # As Text, because a name in brackets would be taken for a style.
        table.add_row(*map(Text, cells))
    if (more := len(problem.columns) - _MOST_LISTED) > 0:
        table.add_row(f"and {more} more")
    console = Console()
    console.print(Text(title, style="bold"))
    console.print(table)


def _show_result(report: dict[str, Any], notes: list[str], out: Path) -> None:
    """Print what was trained, and how well it does beside a guess."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows, network = report["rows"], report["network"]
    layers = " → ".join(map(str, network["layers"]))
    table = Table(f"on {rows['test']:,} rows not trained on")
    table.add_column("this network", justify="right")
    table.add_column("most frequent class" if "classes" in report else "mean", justify="right")
    for name, value in report["metrics"].items():
        table.add_row(name, f"{value:.4g}", f"{report['baseline'][name]:.4g}")
    console = Console()
    console.print(f"Network {layers}, {network['activation']}, {network['parameters']:,} parameters")
    console.print(
        f"Trained on {rows['training']:,} rows for {report['epochs']} epochs in {report['seconds']:.1f} s"
    )
    console.print(table)
    for line in (*(f"Note: {note}" for note in notes), f"Saved {out}"):
        console.print(Text(line))
