"""``chainrule tune``: a search for the settings with which a network learns a table best."""

from __future__ import annotations

import re
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.application import errors_in_one_line
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
from chainrule.cli.problem import Question, TaskOption
from chainrule.cli.show import metric_table, print_json, show_notes, show_table
from chainrule.cli.train import checked_outputs, read_and_show, save_and_tell, written_lines
from chainrule.cli.training import Settings, make_estimator, tested, trained

if TYPE_CHECKING:
    from chainrule.cli.problem import Problem
    from chainrule.estimators.halving import HalvingResult, Rung

__all__ = ["tune"]

_WIDTHS, _DEPTHS = (32, 64, 128, 192, 256, 384), (1, 2, 3, 4)
_LEAST_EPOCHS, _MOST_EPOCHS = 3, 81


@errors_in_one_line
def tune(  # noqa: PLR0913 - one parameter an option
    data: Annotated[Path, typer.Argument(help=DATA_HELP)],
    target: Target,
    out: Annotated[Path, typer.Option(help="Where to save the model.")] = Path("model.safetensors"),
    task: Task = TaskOption.auto,
    drop: Drop = None,
    text: Text = None,
    budget: Annotated[
        str, typer.Option(help="How much to try: a number of configurations, or a time such as 60s or 5m.")
    ] = "27",
    ensemble: Annotated[
        int | None,
        typer.Option(min=1, help="Networks of the last training, by default 4.", show_default=False),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes of the last training, at most.", show_default=False)
    ] = None,
    stream: Streamed = False,
    test_size: TestSize = 0.2,
    seed: Seed = 0,
    jobs: Annotated[
        int | None, typer.Option(help="Threads; by default all processors.", show_default=False)
    ] = None,
    report: Report = None,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Search width, depth, learning rate, dropout and weight decay; train the best and save it."""
    n_configurations, max_seconds = _read_budget(budget)
    silent = quiet or as_json
    page = checked_outputs(data, out, report, no_report)
    question = Question(target, task, tuple(drop or ()), tuple(text or ()), test_size, seed, stream)
    problem = read_and_show(data, question, quiet=silent)
    default = Settings(max_epochs=epochs, ensemble=ensemble, seed=seed)
    found = _search(problem, default, n_configurations, max_seconds, jobs=jobs, quiet=silent)
    if not silent:
        _show_search(found)
    told = _refit(problem, default, found, out, page, quiet=silent)
    if as_json:
        print_json(told)
    elif not quiet:
        _show_result(told, out, page)


def _read_budget(budget: str) -> tuple[int, float | None]:
    """The configurations of a round, and the seconds after which no other is begun."""
    read = re.fullmatch(r"(\d+)([smh]?)", budget.strip())
    if read is None or int(read[1]) < 1:
        raise ValueError(f"--budget must be a number of configurations or a time such as 60s, got {budget!r}")
    if not read[2]:
        return int(read[1]), None
    return 27, float(read[1]) * {"s": 1, "m": 60, "h": 3600}[read[2]]


def _distributions() -> dict[str, Any]:
    """What the configurations are drawn from."""
    from scipy import stats

    return {
        "width": _WIDTHS,
        "depth": _DEPTHS,
        "learning_rate": stats.loguniform(2e-4, 1e-2),
        "dropout": [0.0, 0.05, 0.1, 0.2, 0.4],
        "weight_decay": stats.loguniform(1e-4, 1.0),
    }


def _search(
    problem: Problem,
    default: Settings,
    n_configurations: int,
    max_seconds: float | None,
    *,
    jobs: int | None,
    quiet: bool,
) -> HalvingResult:
    """Successive halving over the training rows alone."""
    from chainrule.estimators.halving import HalvingOptions, successive_halving
    from chainrule.train.progress import StepProgress

    # One network a configuration: what is best for one is taken to be best for each of an ensemble.
    estimator = make_estimator(problem, replace(default, ensemble=1))
    scoring = "neg_log_loss" if problem.classify else "neg_root_mean_squared_error"
    options = HalvingOptions(
        n_configurations,
        resource="max_epochs",
        least=_LEAST_EPOCHS,
        most=_MOST_EPOCHS,
        scoring=scoring,
        max_seconds=max_seconds,
    )
    total = len(options.resources()) if max_seconds is None else int(max_seconds)
    unit = "rung" if max_seconds is None else "second"
    X, y = problem.features.iloc[problem.training], problem.y[problem.training]
    with StepProgress(unit, total, not quiet) as bar:

        def advance(rung: Rung) -> None:
            bar.advance(1 if max_seconds is None else max(1, round(rung.seconds)))

        return successive_halving(
            estimator,
            _distributions(),
            X,
            y,
            options=replace(options, on_rung=advance),
            random_state=default.seed,
            n_jobs=jobs,
        )


def _refit(
    problem: Problem,
    default: Settings,
    found: HalvingResult,
    out: Path,
    page: Path | None,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """Train the winner on all training rows, and the default settings beside it; save the winner."""
    best = _settings(default, found.best_params)
    beside = trained(problem, default, quiet=quiet)
    winner = beside if best == default else trained(problem, best, quiet=quiet)
    told = save_and_tell(problem, best, winner, out, page, quiet=quiet)
    told["default"] = tested(problem, beside.model, default.seed, quiet=quiet).to_dict()["metrics"]
    told["search"] = {
        "best": _plain(found.best_params),
        "score": found.best_score,
        "configurations": len(found.configurations),
        "rungs": [_rung(found, rung) for rung in found.rungs],
    }
    return told


def _settings(default: Settings, found: dict[str, Any]) -> Settings:
    """The found parameters as settings of a training."""
    whole = {"width", "depth"}
    plain: dict[str, Any] = {
        name: int(value) if name in whole else float(value) for name, value in found.items()
    }
    return replace(default, **plain)


def _rung(found: HalvingResult, rung: Rung) -> dict[str, Any]:
    best = found.configurations[rung.best]
    return {
        "round": rung.round,
        "epochs": rung.resource,
        "configurations": len(rung.configurations),
        "best score": max(rung.scores) if max(rung.scores) > -inf else None,
        "best": _plain(best),
    }


def _plain(configuration: dict[str, Any]) -> dict[str, float]:
    """As JSON can hold it."""
    return {name: value if isinstance(value, int) else float(value) for name, value in configuration.items()}


def _show_search(found: HalvingResult) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(f"{len(found.configurations)} configurations tried", style="bold"), title_justify="left"
    )
    for heading in ("round", "epochs", "networks", "loss"):
        table.add_column(heading, justify="right")
    table.add_column("best: hidden layers, learning rate, dropout, weight decay")
    for rung in found.rungs:
        best = found.configurations[rung.best]
        cells = f"{rung.round + 1}", f"{rung.resource}", f"{len(rung.scores)}", f"{-max(rung.scores):.4g}"
        table.add_row(*cells, _words(best))
    show_table(table)


def _words(configuration: dict[str, Any]) -> str:
    if not configuration:
        return "the default"
    rest = (configuration[name] for name in ("learning_rate", "dropout", "weight_decay"))
    return f"{configuration['depth']} of {configuration['width']}  " + "  ".join(
        f"{value:.2g}" for value in rest
    )


def _show_result(told: dict[str, Any], out: Path, page: Path | None) -> None:
    beside = {**told, "baseline": told["default"]}
    title = f"on {told['rows']['test']:,} rows that neither search nor training saw"
    show_table(metric_table(beside, title, beside="default settings"))
    show_notes(told["notes"], *written_lines(out, page))
