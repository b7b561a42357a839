"""``chainrule explain``: one step of gradient descent of a saved model, number by number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.application import errors_in_one_line
from chainrule.cli.options import AsJson
from chainrule.cli.saved import load_single_network
from chainrule.cli.written import Format, write

if TYPE_CHECKING:
    import pandas as pd

    from chainrule.explain import Step
    from chainrule.io import SavedModel

__all__ = ["explain"]

_LEARNING_RATE = 0.1


@errors_in_one_line
def explain(
    model: Annotated[Path | None, typer.Argument(help="A model that `chainrule train` saved.")] = None,
    data: Annotated[
        Path | None,
        typer.Argument(help="Rows with their targets: a CSV file. Without it, the example is made of zeros."),
    ] = None,
    row: Annotated[
        list[int] | None,
        typer.Option(help="Row of the table, by default 0; may be given more than once, for a batch."),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of the step, by default 0.1.")] = None,
    format: Annotated[Format, typer.Option(help="How to write it.")] = Format.text,
    worked_example: Annotated[
        bool, typer.Option("--worked-example", help="The textbook's own example instead of a model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print one step w <- w - lr dw: forward, backward, the update, and forward again."""
    from chainrule.explain import worked_example as example

    if worked_example:
        if model is not None or row or lr is not None:
            raise ValueError("--worked-example takes no model, no --row and no --lr: its numbers are given")
        write(example(), format, as_json)
        return
    if model is None:
        raise ValueError("give a model that `chainrule train` saved, or --worked-example")
    if data is None and row:
        raise ValueError("--row needs a table: give the CSV file after the model")
    write(_step(model, data, row or [0], _LEARNING_RATE if lr is None else lr), format, as_json)


def _step(model: Path, data: Path | None, rows: list[int], lr: float) -> Step:
    """The step of a saved model, with a remark on where the example comes from."""
    from chainrule.explain import explain_step

    saved = load_single_network(model)
    X, y, remark = _zeros(saved) if data is None else _examples(saved, model, data, rows)
    estimator = saved.estimator
    # The estimator's own loss, and its targets as that loss takes them: class numbers, scaled numbers.
    loss = estimator._output()[1]
    step = explain_step(estimator.to_module(), X, estimator._targets(y), loss, lr)
    return replace(step, remarks=((remark,),))


def _zeros(saved: SavedModel) -> tuple[Any, Any, str]:
    """An example without a table: zeros, which are the means of the columns that a table standardises."""
    import numpy as np

    estimator = saved.estimator
    X = np.zeros((1, estimator.n_features_in_))
    y = np.zeros((1, estimator.n_outputs_))
    said = "No table was given: x is all zeros, and y is"
    if hasattr(estimator, "classes_"):
        if estimator.out_activation_ == "softmax":
            y[0, 0] = 1.0
        return X, y.astype(bool), f"{said} the first class, {estimator.classes_[0]}."
    if getattr(estimator, "target_scaling", None) is not None:
        return X, y + estimator.target_mean_, f"{said} the mean of the training targets."
    return X, y, f"{said} 0."


def _examples(saved: SavedModel, model: Path, data: Path, rows: list[int]) -> tuple[Any, Any, str]:
    """Rows of a table as the network takes them, with their targets as the estimator encodes them."""
    from chainrule.estimators.columns import listed, near_match
    from chainrule.io import read_table

    if saved.preprocessor is None:
        raise ValueError(f"{model}: the model takes arrays, not tables (it was saved without a preprocessor)")
    if saved.target is None:
        raise ValueError(f"{model}: the model was saved without the name of its target")
    # Codes such as 007 were text in training, and stay what they were.
    text = [name for name, kind in saved.preprocessor.kinds_.items() if kind == "categorical"]
    frame, _ = read_table(data, as_text=text)
    if saved.target not in frame.columns:
        missing = f"{saved.target!r}{near_match(saved.target, frame.columns)}"
        names = listed(frame.columns)
        raise ValueError(f"the table has no column {missing} It is the model's target. Its columns: {names}")
    if len(frame) == 0:
        raise ValueError(f"{data}: the table has no rows to explain")
    for number in rows:
        if not 0 <= number < len(frame):
            raise ValueError(f"--row must be from 0 to {len(frame) - 1}, the table's rows; got {number}")
    chosen = frame.iloc[rows]
    targets = chosen[saved.target]
    if targets.isna().any():
        empty = rows[int(targets.isna().to_numpy().argmax())]
        raise ValueError(f"row {empty} has no value in the target column {saved.target!r}")
    y, said = _encoded(saved.estimator, targets)
    which = f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))} of {data.name}"
    remark = f"x is {which}, as the model's preprocessor gives it; {said}"
    return saved.preprocessor.transform(chosen.drop(columns=saved.target)), y, remark


def _encoded(estimator: Any, targets: pd.Series) -> tuple[Any, str]:
    """The targets as the estimator's ``fit`` would encode them, and what they are in words."""
    import numpy as np

    from chainrule.estimators.columns import class_labels, number_column

    if not hasattr(estimator, "classes_"):
        numbers = number_column(targets).astype(np.float64)
        said = f"y is {targets.name} = {', '.join(f'{value:g}' for value in numbers)}"
        if getattr(estimator, "target_scaling", None) is not None:
            said += ", standardised with the mean and the deviation of the training targets"
        return numbers[:, None], f"{said}."
    labels, classes = class_labels(targets), estimator.classes_.tolist()
    for label in labels.tolist():
        if label not in classes:
            known = ", ".join(map(repr, classes))
            raise ValueError(f"target {label!r} is no class that the model knows; it knows {known}")
    y = np.array([[label == one for one in classes] for label in labels.tolist()])
    names = ", ".join(f"{number} is {one}" for number, one in enumerate(classes))
    said = f"y is {targets.name} = {', '.join(map(str, labels))}. The classes: {names}."
    return (y[:, 1:] if estimator.n_outputs_ == 1 else y), said
