"""``chainrule checkup``: why a saved model's network does not learn a table, or that it does."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.application import check_output, errors_in_one_line
from chainrule.cli.options import AsJson, Quiet
from chainrule.cli.saved import load_for_tables, read_examples

if TYPE_CHECKING:
    from chainrule.cli.problem import Problem
    from chainrule.cli.training import Trained
    from chainrule.health import Checkup

__all__ = ["checkup", "checkup_of_training"]


@errors_in_one_line
def checkup(  # noqa: PLR0913 - one parameter an option
    model: Annotated[Path | None, typer.Argument(help="A model that `chainrule train` saved.")] = None,
    data: Annotated[
        Path | None, typer.Argument(help="Rows to learn from: a table with the columns and the target.")
    ] = None,
    budget: Annotated[str, typer.Option(help="How long it may take, such as 20s or 1m.")] = "20s",
    prescribe: Annotated[
        bool, typer.Option("--prescribe", help="Prove the remedies over three starts.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Where to write a page with figures.")] = None,
    curvature: Annotated[
        bool, typer.Option("--curvature", help="Measure the Hessian where the training ended, too.")
    ] = False,
    bench: Annotated[
        bool, typer.Option("--bench", help="Judge the checkup on its own benchmark instead of a model.")
    ] = False,
    peers: Annotated[
        bool, typer.Option("--peers/--no-peers", help="With --bench: other tools' rules beside it.")
    ] = True,
    through_torch: Annotated[
        bool, typer.Option("--torch", help="With --bench: hand every network over as a torch.nn.Module.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say why the network does not learn, with proof; exit with code 1 if it does not."""
    if bench:
        if model is not None or prescribe or curvature or html is not None:
            raise ValueError("--bench takes no model, no --prescribe, no --curvature and no --html")
        _bench(peers, through_torch, quiet or as_json, as_json)
        return
    if through_torch:
        raise ValueError("--torch is for --bench")
    if model is None or data is None:
        raise ValueError("give a model that `chainrule train` saved and a table to learn from, or --bench")
    if html is not None:
        check_output(html, model, data, option="--html")
    report = _examined(model, data, budget, curvature)
    proofs = report.prescribe(budget="120s") if prescribe else []
    if html is not None:
        report.to_html(html, proofs)
    if as_json:
        typer.echo(report.to_json(proofs=proofs))
    elif not quiet:
        from chainrule.health.text import to_text

        typer.echo(to_text(report, proofs))
        if html is not None:
            typer.echo(f"Report {html}")
    if not report.ok:
        raise typer.Exit(1)


def _bench(peers: bool, through_torch: bool, quiet: bool, as_json: bool) -> None:
    from chainrule.health.suite import bench, torch_cases

    if through_torch and importlib.util.find_spec("torch") is None:
        raise ValueError("--torch needs PyTorch: pip install 'chainrule[torch]'")
    change = torch_cases.through_torch if through_torch else None
    told = bench.run(change=change, peers=peers, say=(lambda text: None) if quiet else typer.echo)
    if as_json:
        typer.echo(json.dumps(told, indent=2))


def _examined(model: Path, data: Path, budget: str, curvature: bool) -> Checkup:
    from chainrule.health import checkup as examine

    saved = load_for_tables(model)
    examples = read_examples(saved, model, data)
    features: Any = examples.features
    if saved.preprocessor is not None:
        features = saved.preprocessor.transform(features)
    return examine(saved.estimator, (features, examples.y), budget=budget, curvature=curvature)


def checkup_of_training(problem: Problem, result: Trained, budget: str) -> Checkup:
    """The checkup of a training that was just done, on its rows to learn from and to test on."""
    from chainrule.health import checkup as examine

    features = problem.features
    parts = [(features.iloc[rows], problem.y[rows]) for rows in (problem.training, problem.testing)]
    return examine(result.model.estimator, parts[0], validation=parts[1], budget=budget)
