"""``chainrule info``: what a saved model is and where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.application import errors_in_one_line
from chainrule.cli.options import AsJson
from chainrule.cli.saved import classes_of, hidden_widths, kinds_of
from chainrule.cli.show import metric_table, print_json, show_table

if TYPE_CHECKING:
    from chainrule.io import SavedModel

__all__ = ["info"]

# What of the estimator's parameters tells how it was trained.
_SETTINGS = (
    "solver", "learning_rate_init", "batch_size", "max_iter", "alpha", "dropout", "weight_decay",
    "early_stopping", "random_state",
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
    learned = (*estimator.coefs_, *estimator.intercepts_)
    return {
        "model": str(model),
        "bytes": model.stat().st_size,
        "estimator": type(estimator).__name__,
        "task": "regression" if classes is None else "classification",
        "target": saved.target,
        **({} if classes is None else {"classes": classes.tolist()}),
        "columns": [{"name": name, "kind": kind} for name, kind in kinds_of(saved).items()],
        "network": {
            "layers": [estimator.n_features_in_, *hidden_widths(saved), estimator.n_outputs_],
            "activation": parameters["activation"],
            "parameters": sum(array.size for array in learned),
            "dtype": learned[0].dtype.name,
        },
        "settings": {name: _plain(parameters[name]) for name in _SETTINGS},
        "training": {
            "epochs": int(estimator.n_iter_),
            "loss": float(estimator.loss_),
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
    facts = Table("what", "value", title=Text(told["model"], style="bold"), title_justify="left")
    lines = {
        "file": f"{told['bytes']:,} bytes",
        "predicts": f"{told['target']} ({told['task']})",
        "classes": ", ".join(map(str, told.get("classes", []))),
        "network": f"{' → '.join(map(str, network['layers']))}, {network['activation']}",
        "parameters": f"{network['parameters']:,} ({network['dtype']})",
        "trained": f"{training['epochs']} epochs, training loss {training['loss']:.4g}",
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
