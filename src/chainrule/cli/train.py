"""``chainrule train``: from a CSV file to a network, its report and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.application import check_output, errors_in_one_line
from chainrule.cli.checkup import checkup_of_training
from chainrule.cli.options import (
    DATA_HELP,
    AsJson,
    Drop,
    Quiet,
    Report,
    Seed,
    Streamed,
    Target,
    Task,
    TestSize,
    Text,
)
from chainrule.cli.page import versions, write_training_page
from chainrule.cli.problem import Question, TaskOption, read_problem
from chainrule.cli.saved import classes_of, epochs_of, network_of
from chainrule.cli.show import print_json, show_data, show_notes, show_result
from chainrule.cli.training import guess_of, guessed, read_settings, tested, trained

if TYPE_CHECKING:
    from chainrule.cli.problem import Problem
    from chainrule.cli.training import Settings, Trained
    from chainrule.report import Evaluation

__all__ = ["checked_outputs", "read_and_show", "save_and_tell", "train", "written_lines"]

# How long a checkup after the training may take.
_CHECKUP_BUDGET = "20s"


@errors_in_one_line
def train(  # noqa: PLR0913 - one parameter an option
    data: Annotated[Path, typer.Argument(help=DATA_HELP)],
    target: Target,
    out: Annotated[Path, typer.Option(help="Where to save the model.")] = Path("model.safetensors"),
    task: Task = TaskOption.auto,
    drop: Drop = None,
    text: Text = None,
    ensemble: Annotated[
        int | None,
        typer.Option(min=1, help="Networks whose average predicts, by default 4.", show_default=False),
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Units of a hidden layer.", show_default=False)
    ] = None,
    depth: Annotated[
        int | None, typer.Option(min=0, help="Number of hidden layers.", show_default=False)
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="Activation of the hidden layers.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training rows, at most.", show_default=False)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows a step.", show_default=False)] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Step size of AdamW.", show_default=False)
    ] = None,
    dropout: Annotated[
        float | None,
        typer.Option(
            min=0, max=0.99, help="Share of the hidden units left out of a step.", show_default=False
        ),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(min=0, help="Decoupled decay of the weights.", show_default=False)
    ] = None,
    checkup: Annotated[
        bool, typer.Option("--checkup", help="Say afterwards whether the network learns, and if not why.")
    ] = False,
    stream: Streamed = False,
    test_size: TestSize = 0.2,
    seed: Seed = 0,
    report: Report = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train on a table, report how well it does on rows not trained on, and save.

    Without further options by the recipe of TabularClassifier and TabularRegressor.
    """
    settings = read_settings(
        width=width,
        depth=depth,
        learning_rate=learning_rate,
        activation=activation,
        max_epochs=epochs,
        batch_size=batch_size,
        dropout=dropout,
        weight_decay=weight_decay,
        ensemble=ensemble,
        seed=seed,
    )
    silent = quiet or as_json
    page = checked_outputs(data, out, report, no_report)
    question = Question(target, task, tuple(drop or ()), tuple(text or ()), test_size, seed, stream)
    problem = read_and_show(data, question, quiet=silent)
    result = trained(problem, settings, quiet=silent)
    told = save_and_tell(problem, settings, result, out, page, quiet=silent)
    examined = checkup_of_training(problem, result, _CHECKUP_BUDGET) if checkup else None
    if examined is not None:
        told["checkup"] = json.loads(examined.to_json())
    if as_json:
        print_json(told)
    elif not quiet:
        show_result(told, f"on {told['rows']['test']:,} rows not trained on")
        if examined is not None:
            typer.echo(str(examined))
        show_notes(told["notes"], *written_lines(out, page))


def checked_outputs(data: Path, out: Path, report: Path | None, no_report: bool) -> Path | None:
    """Where the report goes, after a look whether it and the model can be written."""
    page = _report_path(report, no_report, out)
    check_output(out, data)
    if page is not None:
        check_output(page, data, option="--report")
    return page


def read_and_show(data: Path, question: Question, *, quiet: bool) -> Problem:
    """Read the table, and show what was read before anything is learned from it."""
    problem = read_problem(data, question)
    if not quiet:
        show_data(data, problem)
    return problem


def _report_path(report: Path | None, no_report: bool, out: Path) -> Path | None:
    """Beside the model, unless something else is asked for."""
    if no_report:
        if report is not None:
            raise ValueError("give either --report or --no-report")
        return None
    page = report or out.with_name(f"{out.name}.html")
    if page.resolve() == out.resolve():
        raise ValueError(f"--report: {page} is the file of the model")
    return page


def save_and_tell(
    problem: Problem,
    settings: Settings,
    result: Trained,
    out: Path,
    page: Path | None,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """Save the model and its page; tell what was learned from what, and how well, as --json prints it."""
    from chainrule.io import save_model

    evaluation = tested(problem, result.model, settings.seed, quiet=quiet)
    told = _told(problem, result, evaluation)
    kept = {key: told[key] for key in ("task", "rows", "epochs", "metrics", "intervals", "baseline")}
    information = {**kept, "guess": guess_of(problem), "seed": settings.seed, "versions": versions()}
    model = result.model
    save_model(
        out,
        model.estimator,
        preprocessor=model.preprocessor,
        target=model.target,
        information=information,
    )
    told["model"] = str(out)
    if page is not None:
        write_training_page(page, problem, settings, result, evaluation, told, quiet=quiet)
        told["report"] = str(page)
    return told


def _told(problem: Problem, result: Trained, evaluation: Evaluation) -> dict[str, Any]:
    classes = classes_of(result.model)
    measured = evaluation.to_dict()
    return {
        "task": problem.task,
        "target": problem.target,
        **({} if classes is None else {"classes": classes.tolist()}),
        "rows": problem.rows,
        "columns": problem.columns,
        "network": network_of(result.model),
        "epochs": epochs_of(result.model),
        "seconds": round(result.seconds, 3),
        "metrics": measured["metrics"],
        "intervals": measured["intervals"],
        "baseline": guessed(guess_of(problem), problem.y[problem.testing], classes),
        "notes": problem.notes,
    }


def written_lines(out: Path, page: Path | None) -> list[str]:
    """Which files were written."""
    return [f"Saved {out}"] + ([] if page is None else [f"Report {page}"])
