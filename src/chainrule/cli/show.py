"""What the commands print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from chainrule.cli.problem import Problem

__all__ = [
    "metric_table",
    "print_json",
    "show_confusion",
    "show_data",
    "show_notes",
    "show_result",
    "show_table",
]

# Columns and notes that are listed before the rest is only counted.
_MOST_LISTED = 20
# A wider confusion matrix does not fit a terminal.
_MOST_CLASSES = 12


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object."""
    typer.echo(json.dumps(value, indent=2))


def show_table(*tables: Table) -> None:
    """Print tables."""
    from rich.console import Console

    console = Console()
    for table in tables:
        console.print(table)


def show_notes(notes: list[str], *further: str) -> None:
    """Print the notes, and lines after them."""
    for line in (*(f"Note: {note}" for note in notes), *further):
        typer.echo(line)


def show_data(data: Path, problem: Problem) -> None:
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


def show_result(told: dict[str, Any], title: str) -> None:
    """Print what was trained, and how well it does beside a guess."""
    from rich.console import Console

    network = told["network"]
    layers = " → ".join(map(str, network["layers"]))
    console = Console()
    kind = f"{network['networks']} networks" if network["networks"] > 1 else "Network"
    console.print(f"{kind} {layers}, {network['activation']}, {network['parameters']:,} parameters")
    console.print(
        f"Trained on {told['rows']['training']:,} rows for {told['epochs']} epochs in {told['seconds']:.1f} s"
    )
    console.print(metric_table(told, title))


def metric_table(told: dict[str, Any], title: str, beside: str | None = None) -> Table:
    """The metrics with their intervals, and the baseline's: a guess unless `beside` names another."""
    from rich.table import Table
    from rich.text import Text

    baseline = told.get("baseline")
    table = Table("metric", title=Text(title, style="bold"), title_justify="left")
    table.add_column("this network", justify="right")
    table.add_column("95 % interval", justify="right")
    if baseline:
        guess = "most frequent class" if "classes" in told else "mean"
        table.add_column(beside or guess, justify="right")
    for name, value in told["metrics"].items():
        low, high = told["intervals"][name]
        cells = [name, f"{value:.4g}", f"{low:.3g} to {high:.3g}"]
        if baseline:
            cells.append(f"{baseline[name]:.4g}" if name in baseline else "")
        table.add_row(*cells)
    return table


def show_confusion(told: dict[str, Any]) -> None:
    """Print which classes are taken for which, and how far the probabilities can be believed."""
    from rich.table import Table
    from rich.text import Text

    names = [str(name) for name in told["classes"]]
    if len(names) <= _MOST_CLASSES:
        confusion = Table("true class", title="Rows by true and predicted class", title_justify="left")
        for name in names:
            confusion.add_column(Text(name), justify="right")
        for name, counts in zip(names, told["confusion"], strict=True):
            confusion.add_row(Text(name), *(str(count) if count else "·" for count in counts))
        show_table(confusion)
    event = f"{names[1]}" if len(names) == 2 else "the predicted class"
    calibration = Table(
        title=Text(f"Probability of {event}, and how often it came true"), title_justify="left"
    )
    for heading in ("probability", "rows", "mean", "came true", "95 % interval"):
        calibration.add_column(heading, justify="right")
    for one in told["calibration"]:
        calibration.add_row(
            f"{one['lowest']:.1f} to {one['highest']:.1f}",
            f"{one['count']:,}",
            f"{one['predicted']:.3f}",
            f"{one['observed']:.3f}",
            f"{one['low']:.3f} to {one['high']:.3f}",
        )
    show_table(calibration)
