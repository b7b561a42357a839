"""``chainrule evaluate``: how well a saved model does on a table with its target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.application import check_output, errors_in_one_line
from chainrule.cli.options import AsJson, Quiet, Streamed
from chainrule.cli.saved import classes_of, load_for_tables, read_examples
from chainrule.cli.show import metric_table, print_json, show_confusion, show_notes, show_table

if TYPE_CHECKING:
    from chainrule.cli.saved import Examples
    from chainrule.io import SavedModel
    from chainrule.report import Evaluation

__all__ = ["evaluate"]


@errors_in_one_line
def evaluate(  # noqa: PLR0913 - one parameter an option
    model: Annotated[Path, typer.Argument(help="A model that `chainrule train` saved.")],
    data: Annotated[Path, typer.Argument(help="The rows: a table with the columns and the target.")],
    stream: Streamed = False,
    min_accuracy: Annotated[
        float | None, typer.Option(help="Exit with code 1 if the accuracy is below.", show_default=False)
    ] = None,
    min_r2: Annotated[
        float | None, typer.Option("--min-r2", help="Exit with code 1 if R2 is below.", show_default=False)
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Where to write an HTML report.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples behind the intervals.")] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Print metrics with 95 % intervals; exit with code 1 if they are worse than asked for."""
    if report is not None:
        check_output(report, data, model, option="--report")
    saved = load_for_tables(model)
    threshold = _threshold(saved, min_accuracy, min_r2)
    examples = read_examples(saved, model, data, stream=stream)
    evaluation = _evaluated(saved, examples, seed, quiet=quiet or as_json)
    told = _told(saved, examples, evaluation, model, data)
    passed = True
    if threshold is not None:
        name, at_least = threshold
        value = told["metrics"].get(name)
        passed = value is not None and value >= at_least
        told["check"] = {"metric": name, "at least": at_least, "passed": passed}
    if report is not None:
        from chainrule.cli.page import write_evaluation_page

        write_evaluation_page(report, saved, examples, evaluation, told, quiet=quiet or as_json)
        told["report"] = str(report)
    if as_json:
        print_json(told)
    elif not quiet:
        _show(told, data)
    if not passed:
        value_text = "not defined" if value is None else f"{value:.4g}"
        typer.echo(f"chainrule: the {name} is {value_text}, below the {at_least:g} asked for", err=True)
        raise typer.Exit(1)


def _threshold(
    saved: SavedModel, min_accuracy: float | None, min_r2: float | None
) -> tuple[str, float] | None:
    """The metric that is checked, and what it must reach."""
    classify = classes_of(saved) is not None
    if min_r2 is not None and classify:
        raise ValueError("--min-r2: the model predicts classes; give --min-accuracy")
    if min_accuracy is not None and not classify:
        raise ValueError("--min-accuracy: the model predicts numbers; give --min-r2")
    if min_accuracy is not None:
        return "accuracy", min_accuracy
    return None if min_r2 is None else ("R2", min_r2)


def _evaluated(saved: SavedModel, examples: Examples, seed: int, *, quiet: bool) -> Evaluation:
    from chainrule.cli.training import evaluated
    from chainrule.report import UnknownClassError

    try:
        return evaluated(saved, examples.features, examples.y, seed=seed, quiet=quiet)
    except UnknownClassError as error:
        raise ValueError(f"target column {saved.target!r}: {error}") from None


def _told(
    saved: SavedModel, examples: Examples, evaluation: Evaluation, model: Path, data: Path
) -> dict[str, Any]:
    """The object that --json prints."""
    from chainrule.cli.training import guessed

    classes = classes_of(saved)
    guess = saved.information.get("guess")
    told = {
        "model": str(model),
        "data": str(data),
        "task": "regression" if classes is None else "classification",
        "target": saved.target,
        "rows": evaluation.n_rows,
        **evaluation.to_dict(),
        "notes": examples.notes,
    }
    # Files of earlier versions do not say what a guess would be.
    return told if guess is None else {**told, "baseline": guessed(guess, examples.y, classes)}


def _show(told: dict[str, Any], data: Path) -> None:
    show_table(metric_table(told, f"on {told['rows']:,} rows of {data.name}"))
    if "confusion" in told:
        show_confusion(told)
    written = [f"Report {told['report']}"] if "report" in told else []
    show_notes(told["notes"], *written)
