"""The table made ready to be learned from: which column is predicted, which rows train and which test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from chainrule.cli.streamed import Sampled, is_streamed, open_stream
from chainrule.cli.tables import check_one_type

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chainrule.estimators.columns import Task
    from chainrule.train.streams import Stream

__all__ = ["Problem", "Question", "TaskOption", "described", "read_problem"]


class TaskOption(StrEnum):
    """What ``--task`` takes."""

    auto = "auto"
    classification = "classification"
    regression = "regression"


@dataclass(frozen=True)
class Question:
    """What is asked of a table, from the options."""

    target: str
    task: TaskOption
    drop: tuple[str, ...]
    text: tuple[str, ...]
    test_size: float
    seed: int
    stream: bool = False


@dataclass(frozen=True)
class Problem:
    """The table made ready: what to learn from, what to test on.

    Of a stream the features and targets are those of a sample; what is learned from is ``stream``.
    """

    task: Task
    target: str
    columns: list[dict[str, Any]]
    features: pd.DataFrame
    y: np.ndarray
    training: np.ndarray
    testing: np.ndarray
    n_without_target: int
    notes: list[str]
    stream: Stream | None = None

    @property
    def classify(self) -> bool:
        """Whether a class is predicted, not a number."""
        return self.task == "classification"

    @property
    def rows(self) -> dict[str, int]:
        """How many rows there are for what."""
        return {
            "training": len(self.training) if self.stream is None else self.stream.n_rows,
            "test": len(self.testing),
            "without target": self.n_without_target,
        }


def read_problem(data: Path, question: Question) -> Problem:
    """Read a table and make it ready; ValueError for what cannot be learned from."""
    if not 0 < question.test_size < 1:
        raise ValueError(f"--test-size must be between 0 and 1, got {question.test_size:g}")
    if is_streamed(data, question.stream):
        return _streamed_problem(data, question)
    return _problem_in_memory(data, question)


def _problem_in_memory(data: Path, question: Question) -> Problem:
    from chainrule.estimators.columns import split_target
    from chainrule.io import read_table

    frame, notes = read_table(data, question.text)
    _check_names("--text", question.text, frame)
    frame = _without(frame, question.drop)
    features, values, n_without_target = split_target(frame, question.target)
    check_one_type(features, question.text)
    task, y = _targets(values, question)
    training, testing = _split(y, question, task == "classification")
    if n_without_target:
        notes.append(f"rows left out because they have no value in the target column: {n_without_target}")
    return _made(task, question, features, y, (training, testing), notes, n_without_target)


def _streamed_problem(data: Path, question: Question) -> Problem:
    import numpy as np

    if question.text:
        raise ValueError("--text cannot be used with a stream: what a column holds is what its file says")
    sample = Sampled(open_stream(data, question.target, question.drop), question)
    task, y = _targets(sample.values, question)
    places = np.arange(len(y))
    parts = places[: sample.n_training], places[sample.n_training :]
    problem = _made(task, question, sample.features, y, parts, sample.notes)
    return replace(problem, stream=sample.training)


def _targets(values: pd.Series, question: Question) -> tuple[Task, np.ndarray]:
    """Whether classes or numbers are predicted, and which."""
    from chainrule.estimators.columns import class_labels, infer_task, number_column

    automatic = question.task is TaskOption.auto
    task = infer_task(values) if automatic else cast("Task", question.task.value)
    if task == "classification":
        labels = class_labels(values)
        _check_classes(labels, question.target)
        return task, labels
    numbers = number_column(values)
    if automatic:
        _check_not_row_numbers(numbers, question.target)
    return task, numbers


def _made(
    task: Task,
    question: Question,
    features: pd.DataFrame,
    y: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    notes: list[str],
    n_without_target: int = 0,
) -> Problem:
    from chainrule.estimators.tabular.base import recipe_encoder

    training, testing = rows
    # As the estimator will read the training rows, so that what cannot be learned from is said before.
    table = recipe_encoder().fit(features.iloc[training])
    return Problem(
        task=task,
        target=question.target,
        columns=described(features, table.kinds_),
        features=features,
        y=y,
        training=training,
        testing=testing,
        n_without_target=n_without_target,
        notes=[*notes, *table.notes_],
    )


def _check_classes(y: np.ndarray, target: str) -> None:
    """Refuse a target that names the rows, or a class that cannot be both learned and tested."""
    counts = Counter(y.tolist())
    rare = [label for label, count in counts.items() if count < 2]
    if len(counts) > max(len(y) / 2, 4):
        raise ValueError(
            f"target column {target!r} looks like an identifier: {len(counts)} different values in {len(y)} "
            "rows, so that there is nothing to learn about most of them (if the column holds amounts, give "
            "--task regression)"
        )
    if rare:
        raise ValueError(
            f"target column {target!r}: class {rare[0]!r} is in one row only; every class needs two or "
            "more, to learn from and to test on (if the column holds amounts, give --task regression)"
        )


def _check_not_row_numbers(y: np.ndarray, target: str) -> None:
    """Refuse a target that counts the rows, as the identifiers of a database do."""
    import numpy as np

    if len(y) > 4 and (np.diff(y) == 1).all():
        raise ValueError(
            f"target column {target!r} looks like an identifier: it counts the rows, {y[0]:g}, {y[1]:g}, "
            f"{y[2]:g} and so on (if it is what you want to predict, give --task regression)"
        )


def _split(y: np.ndarray, question: Question, classify: bool) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the test rows, each class in both in proportion."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    n_test = int(np.ceil(question.test_size * len(y)))
    needed = len(set(y.tolist())) if classify else 2
    if min(n_test, len(y) - n_test) < needed:
        raise ValueError(
            f"{len(y)} rows with a target are too few: with --test-size {question.test_size:g} there are "
            f"{len(y) - n_test} to train and {n_test} to test on, and either needs {needed} or more"
        )
    training, testing = train_test_split(
        np.arange(len(y)), test_size=n_test, random_state=question.seed, stratify=y if classify else None
    )
    return training, testing


def described(features: pd.DataFrame, kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each column its kind, the number of gaps, and its range or categories."""
    return [
        {
            "name": name,
            "kind": kind,
            "missing": int(features[name].isna().sum()),
            "holds": _holds(features[name], kind),
        }
        for name, kind in kinds.items()
    ]


def _holds(column: pd.Series, kind: str) -> str:
    """What is in a column: its range, or its most frequent categories."""
    if column.isna().all():
        return ""
    if kind == "numeric":
        return f"{column.min():g} to {column.max():g}"
    if kind == "date":
        return f"{column.min()} to {column.max()}"
    most_frequent = [str(value) for value in column.value_counts().index]
    more = len(most_frequent) - 4
    return ", ".join(most_frequent[:4]) + (f" and {more} more" if more > 0 else "")


def _check_names(option: str, names: tuple[str, ...], frame: pd.DataFrame) -> None:
    from chainrule.estimators.columns import listed, near_match

    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        missing = f"{unknown[0]!r}{near_match(unknown[0], frame.columns)}"
        raise ValueError(f"{option}: the table has no column {missing} Its columns: {listed(frame.columns)}")


def _without(frame: pd.DataFrame, drop: tuple[str, ...]) -> pd.DataFrame:
    """The table without the columns of --drop."""
    _check_names("--drop", drop, frame)
    return frame.drop(columns=list(drop))
