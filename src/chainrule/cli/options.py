"""Options that several commands have, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainrule.cli.problem import TaskOption

__all__ = [
    "DATA_HELP",
    "AsJson",
    "Drop",
    "Network",
    "Quiet",
    "Report",
    "Seed",
    "Streamed",
    "Target",
    "Task",
    "TestSize",
    "Text",
]

DATA_HELP = (
    "The table: a CSV file with a header line; or, larger than memory, Parquet or .npy files, a directory of "
    "Parquet or CSV files."
)
Target = Annotated[str, typer.Option(help="Name of the column to predict.")]
Task = Annotated[TaskOption, typer.Option(help="Predict a class or a number; auto looks at the column.")]
Drop = Annotated[list[str] | None, typer.Option(help="A column to leave out; may be given more than once.")]
Text = Annotated[
    list[str] | None,
    typer.Option(help="A column to read as text, not as numbers; may be given more than once."),
]
TestSize = Annotated[float, typer.Option(help="Share of the rows to test on.")]
Streamed = Annotated[
    bool,
    typer.Option("--stream", help="Read a CSV file piece by piece, as Parquet and directories always are."),
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same file.")]
Report = Annotated[
    Path | None,
    typer.Option(help="Where to write the HTML report; by default beside the model.", show_default=False),
]
Network = Annotated[
    int | None,
    typer.Option(help="Which network of an ensemble, by default the first, 1.", show_default=False),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
