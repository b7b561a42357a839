"""``chainrule predict``: a saved model on the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli.application import check_output, errors_in_one_line
from chainrule.cli.options import AsJson, Streamed
from chainrule.cli.saved import classes_of, kinds_of, load_for_tables, read_features
from chainrule.cli.show import print_json
from chainrule.cli.streamed import is_streamed, stored_frames

if TYPE_CHECKING:
    import pandas as pd

    from chainrule.io import SavedModel

__all__ = ["predict"]


@errors_in_one_line
def predict(
    model: Annotated[Path, typer.Argument(help="A model that `chainrule train` saved.")],
    data: Annotated[Path, typer.Argument(help="The rows: a table with the columns seen in training.")],
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write the predictions to, instead of printing them.")
    ] = None,
    stream: Streamed = False,
    proba: Annotated[bool, typer.Option("--proba", help="Add the probability of each class.")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict for every row of a table, in its order; the result is CSV too."""
    import pandas as pd

    from chainrule.io import write_atomically

    if out is not None:
        check_output(out, data, model)
    saved = load_for_tables(model)
    if proba and classes_of(saved) is None:
        raise ValueError(f"--proba: the model {model} predicts numbers, which have no probabilities")
    tables = _tables(saved, data, stream)
    if as_json and out is None:
        predictions = pd.concat([_predicted(saved, frame, proba) for frame in tables])
        print_json({name: predictions[name].tolist() for name in predictions})
        return
    parts = _Written(saved, tables, proba)
    if out is None:
        for part in parts:
            typer.echo(part, nl=False)
        return
    write_atomically(out, parts)
    if as_json:
        print_json({"rows": parts.n_rows, "predictions": str(out)})
    else:
        typer.echo(f"Wrote {parts.n_rows:,} predictions to {out}")


def _tables(saved: SavedModel, data: Path, stream: bool) -> Iterator[pd.DataFrame]:
    """The rows to predict: all of a table in memory, a stream's some thousand at a time."""
    if is_streamed(data, stream):
        yield from stored_frames(data, saved.target, list(kinds_of(saved)))
    else:
        yield read_features(saved, data, "predict")[0]


def _predicted(saved: SavedModel, frame: pd.DataFrame, proba: bool) -> pd.DataFrame:
    import pandas as pd

    predictions = pd.DataFrame({saved.target or "prediction": saved.predict(frame)})
    if not proba:
        return predictions
    names = [f"P({label})" for label in classes_of(saved)]
    return predictions.join(pd.DataFrame(saved.predict_proba(frame), columns=names))


class _Written:
    """The predictions as CSV, part by part; counts the rows that were predicted."""

    def __init__(self, saved: SavedModel, tables: Iterator[pd.DataFrame], proba: bool) -> None:
        self.saved, self.tables, self.proba = saved, tables, proba
        self.n_rows = 0

    def __iter__(self) -> Iterator[bytes]:
        for frame in self.tables:
            predictions = _predicted(self.saved, frame, self.proba)
            text = predictions.to_csv(index=False, lineterminator="\n", header=self.n_rows == 0)
            self.n_rows += len(predictions)
            yield text.encode()
