"""``chainrule info``: what a saved model is and where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.application import errors_in_one_line
from chainrule.cli.options import AsJson
from chainrule.cli.saved import classes_of, curves_of, epochs_of, kinds_of, network_of
from chainrule.cli.show import metric_table, print_json, show_table

if TYPE_CHECKING:
    from chainrule.io import SavedModel

__all__ = ["info"]

# What of the estimator's parameters tells how it was trained.
_SETTINGS = (
    "solver", "learning_rate_init", "learning_rate", "batch_size", "max_iter", "max_epochs", "alpha",
    "dropout", "weight_decay", "early_stopping", "ensemble", "batch_norm", "target_transform", "random_state",
)  # fmt: skip


@errors_in_one_line
def info(
    model: Annotated[Path, typer.Argument(help="A model that `chainrule train` saved.")],
    as_json: AsJson = False,
) -> None:
    """Show a model's network, target, columns, training, versions and size."""
    from chainrule.io import load_model

    told = _told(model, load_model(model))
    if as_json:
        print_json(told)
    else:
        _show(told)


def _told(model: Path, saved: SavedModel) -> dict[str, Any]:
    """The object that --json prints."""
    estimator, classes = saved.estimator, classes_of(saved)
    parameters = estimator.get_params()
    losses, _ = curves_of(saved)
    return {
        "model": str(model),
        "bytes": model.stat().st_size,
        "estimator": type(estimator).__name__,
        "task": "regression" if classes is None else "classification",
        "target": saved.target,
        **({} if classes is None else {"classes": classes.tolist()}),
        "columns": [{"name": name, "kind": kind} for name, kind in kinds_of(saved).items()],
        "network": network_of(saved),
        "settings": {name: _plain(parameters[name]) for name in _SETTINGS if name in parameters},
        "training": {
            "epochs": epochs_of(saved),
            "loss": losses[-1] if losses else None,
            **{key: value for key, value in saved.information.items() if key != "guess"},
        },
    }


def _plain(value: Any) -> Any:
    """A setting as JSON can hold it."""
    return value if isinstance(value, str | int | float | bool | list | tuple | None) else str(value)


def _show(told: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    network, training = told["network"], told["training"]
    loss = training["loss"]
    facts = Table("what", "value", title=Text(told["model"], style="bold"), title_justify="left")
    lines = {
        "file": f"{told['bytes']:,} bytes",
        "predicts": f"{told['target']} ({told['task']})",
        "classes": ", ".join(map(str, told.get("classes", []))),
        "network": f"{' → '.join(map(str, network['layers']))}, {network['activation']}",
        "parameters": f"{network['parameters']:,} ({network['dtype']}) in {network['networks']} network(s)",
        "trained": f"{training['epochs']} epochs"
        + (f", training loss {loss:.4g}" if loss is not None else ""),
        "rows": ", ".join(f"{count:,} {name}" for name, count in training.get("rows", {}).items()),
        "settings": ", ".join(f"{name} {value}" for name, value in told["settings"].items()),
        "written by": ", ".join(f"{name} {number}" for name, number in training.get("versions", {}).items()),
    }
    for name, value in lines.items():
        if value:
            facts.add_row(name, Text(value))
    tables = [facts]
    if told["columns"]:
        columns = Table("column", "kind")
        for column in told["columns"]:
            columns.add_row(Text(column["name"]), column["kind"])
        tables.append(columns)
    if "metrics" in training and "intervals" in training:
        tables.append(metric_table({**told, **training}, "on rows not trained on"))
    show_table(*tables)
