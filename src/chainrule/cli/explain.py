"""``chainrule explain``: one step of gradient descent of a saved model, number by number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.application import errors_in_one_line
from chainrule.cli.options import AsJson, Network
from chainrule.cli.single import load_single_network
from chainrule.cli.written import Format, write

if TYPE_CHECKING:
    import pandas as pd

    from chainrule.cli.single import SingleNetwork
    from chainrule.explain import Step

__all__ = ["explain"]

_LEARNING_RATE = 0.1
# What was done to a number to predict, in words.
_SCALED = {
    "": "",
    "standard": ", standardised with the mean and the deviation of the training targets",
    "log": ", its logarithm log(1 + y) standardised as in training",
    "rank": ", as the normal quantile of its rank among the training targets",
}


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
    network: Network = None,
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
    single = load_single_network(model, network)
    step = _step(single, model, data, row or [0], _LEARNING_RATE if lr is None else lr)
    write(step, format, as_json)


def _step(single: SingleNetwork, model: Path, data: Path | None, rows: list[int], lr: float) -> Step:
    """The step of a saved network, with a remark on where the example comes from."""
    from chainrule.explain import explain_step

    X, y, remark = _zeros(single) if data is None else _examples(single, model, data, rows)
    step = explain_step(single.module, X, y, single.loss, lr)
    return replace(step, remarks=((single.name + remark,),))


def _zeros(single: SingleNetwork) -> tuple[Any, Any, str]:
    """An example without a table: zeros, which are the middles of the columns that a table scales."""
    import numpy as np

    X = np.zeros((1, single.n_inputs))
    said = "No table was given: x is all zeros, and y is"
    classes = getattr(single.estimator, "classes_", None)
    if classes is not None:
        return X, single.targets_of_classes(classes[:1].tolist()), f"{said} the first class, {classes[0]}."
    y = single.targets_of_numbers(single.middle_target())
    middle = {"": "0", "standard": "the mean of the training targets"}
    return X, y, f"{said} {middle.get(single.target_scaling, 'the middle of the training targets')}."


def _examples(single: SingleNetwork, model: Path, data: Path, rows: list[int]) -> tuple[Any, Any, str]:
    """Rows of a table as the network takes them, with their targets as the estimator encodes them."""
    from chainrule.estimators.columns import listed, near_match
    from chainrule.io import read_table

    saved, reader = single.saved, single.reader
    if reader is None:
        raise ValueError(f"{model}: the model takes arrays, not tables (it was saved without a preprocessor)")
    if saved.target is None:
        raise ValueError(f"{model}: the model was saved without the name of its target")
    # Codes such as 007 were text in training, and stay what they were.
    text = [name for name, kind in reader.kinds_.items() if kind == "categorical"]
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
    y, said = _encoded(single, targets)
    which = f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))} of {data.name}"
    remark = f"x is {which}, as the model's preprocessor gives it; {said}"
    return single.inputs(chosen.drop(columns=saved.target)), y, remark


def _encoded(single: SingleNetwork, targets: pd.Series) -> tuple[Any, str]:
    """The targets as the network's loss takes them, and what they are in words."""
    import numpy as np

    from chainrule.estimators.columns import class_labels, number_column

    if not hasattr(single.estimator, "classes_"):
        numbers = number_column(targets).astype(np.float64)
        said = f"y is {targets.name} = {', '.join(f'{value:g}' for value in numbers)}"
        return single.targets_of_numbers(numbers[:, None]), f"{said}{_SCALED[single.target_scaling]}."
    labels, classes = class_labels(targets).tolist(), single.estimator.classes_.tolist()
    for label in labels:
        if label not in classes:
            known = ", ".join(map(repr, classes))
            raise ValueError(f"target {label!r} is no class that the model knows; it knows {known}")
    names = ", ".join(f"{number} is {one}" for number, one in enumerate(classes))
    said = f"y is {targets.name} = {', '.join(map(str, labels))}. The classes: {names}."
    return single.targets_of_classes(labels), said
