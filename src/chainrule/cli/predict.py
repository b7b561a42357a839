"""``chainrule predict``: a saved model on the rows of a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.application import check_output, errors_in_one_line
from chainrule.cli.options import AsJson
from chainrule.cli.saved import classes_of, load_for_tables, read_features
from chainrule.cli.show import print_json

__all__ = ["predict"]


@errors_in_one_line
def predict(
    model: Annotated[Path, typer.Argument(help="A model that `chainrule train` saved.")],
    data: Annotated[Path, typer.Argument(help="The rows: a CSV file with the columns seen in training.")],
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write the predictions to, instead of printing them.")
    ] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Add the probability of each class.")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict for every row of a table, in its order; the result is CSV too."""
    import pandas as pd

    from chainrule.io import write_atomically

    if out is not None:
        check_output(out, data, model)
    saved = load_for_tables(model)
    classes = classes_of(saved)
    if proba and classes is None:
        raise ValueError(f"--proba: the model {model} predicts numbers, which have no probabilities")
    frame, _ = read_features(saved, data, "predict")
    predictions = pd.DataFrame({saved.target or "prediction": saved.predict(frame)})
    if proba:
        names = [f"P({label})" for label in classes]
        predictions = predictions.join(pd.DataFrame(saved.predict_proba(frame), columns=names))
    if as_json and out is None:
        print_json({name: predictions[name].tolist() for name in predictions})
        return
    text_out = predictions.to_csv(index=False, lineterminator="\n")
    if out is None:
        typer.echo(text_out, nl=False)
    else:
        write_atomically(out, text_out.encode())
        written = {"rows": len(predictions), "predictions": str(out)}
        if as_json:
            print_json(written)
        else:
            typer.echo(f"Wrote {len(predictions):,} predictions to {out}")
