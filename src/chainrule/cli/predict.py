"""``chainrule predict``: a saved model on the rows of a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.application import check_output, errors_in_one_line

__all__ = ["predict"]


@errors_in_one_line
def predict(
    model: Annotated[Path, typer.Argument(help="A model that `chainrule train` saved.")],
    data: Annotated[Path, typer.Argument(help="The rows: a CSV file with the columns seen in training.")],
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write the predictions to, instead of printing them.")
    ] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Add the probability of each class.")] = False,
) -> None:
    """Predict for every row of a table, in its order; the result is CSV too."""
    import pandas as pd

    from chainrule.io import load_model, read_table, write_atomically

    if out is not None:
        check_output(out, data, model)
    saved = load_model(model)
    if saved.preprocessor is None:
        raise ValueError(f"{model}: the model takes arrays, not tables (it was saved without a preprocessor)")
    classify = hasattr(saved.estimator, "classes_")
    if proba and not classify:
        raise ValueError(f"--proba: the model {model} predicts numbers, which have no probabilities")
    # Codes such as 007 were text in training, and stay what they were.
    text = [name for name, kind in saved.preprocessor.kinds_.items() if kind == "categorical"]
    frame, _ = read_table(data, as_text=text)
    if len(frame) == 0:
        raise ValueError(f"{data}: the table has no rows to predict")
    predictions = pd.DataFrame({saved.target or "prediction": saved.predict(frame)})
    if proba:
        names = [f"P({label})" for label in saved.estimator.classes_]
        predictions = predictions.join(pd.DataFrame(saved.predict_proba(frame), columns=names))
    text_out = predictions.to_csv(index=False, lineterminator="\n")
    if out is None:
        typer.echo(text_out, nl=False)
    else:
        write_atomically(out, text_out.encode())
        typer.echo(f"Wrote {len(predictions):,} predictions to {out}")
