"""Saved models as the commands use them: what they predict, from which columns, and rows to try them on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.streamed import is_streamed, sampled_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chainrule.io import SavedModel

__all__ = [
    "Examples",
    "classes_of",
    "curves_of",
    "epochs_of",
    "kinds_of",
    "load_for_tables",
    "network_of",
    "read_examples",
    "read_features",
]


@dataclass(frozen=True)
class Examples:
    """Rows with their targets, as the model's estimator names them."""

    features: pd.DataFrame
    y: np.ndarray
    notes: list[str]


def load_for_tables(model: Path) -> SavedModel:
    """A model that predicts from tables."""
    from chainrule.io import load_model

    saved = load_model(model)
    if not kinds_of(saved):
        raise ValueError(f"{model}: the model takes arrays, not tables (it was saved without a preprocessor)")
    return saved


def classes_of(saved: SavedModel) -> Any:
    """The labels that a model predicts; None if it predicts numbers."""
    return getattr(saved.estimator, "classes_", None)


def kinds_of(saved: SavedModel) -> dict[str, Any]:
    """The columns that a model takes, and what each was taken for."""
    # A tabular estimator reads tables itself.
    reader = saved.preprocessor or getattr(saved.estimator, "encoder_", None)
    return {} if reader is None else dict(reader.kinds_)


def network_of(saved: SavedModel) -> dict[str, Any]:
    """A model's network: widths, activation, number and type of parameters, and how many such there are."""
    from chainrule.estimators.parameters import hidden_sizes

    estimator = saved.estimator
    if hasattr(estimator, "networks_"):
        learned = [array for network in estimator.networks_ for array in network.parameters()]
        widths = [learned[0].shape[1], *[estimator.width] * estimator.depth, estimator.n_outputs_]
    else:
        learned = [*estimator.coefs_, *estimator.intercepts_]
        hidden = hidden_sizes(estimator.hidden_layer_sizes)
        widths = [estimator.n_features_in_, *hidden, estimator.n_outputs_]
    return {
        "layers": widths,
        "activation": estimator.activation,
        "parameters": sum(array.size for array in learned),
        "dtype": learned[0].dtype.name,
        "networks": len(getattr(estimator, "networks_", [None])),
    }


def epochs_of(saved: SavedModel) -> int:
    """How many epochs the training took; of several networks, the longest."""
    estimator = saved.estimator
    return int(estimator.n_iter_ if hasattr(estimator, "n_iter_") else len(estimator.loss_curve_))


def curves_of(saved: SavedModel) -> tuple[list[float], list[float]]:
    """The loss of each epoch in training and in validation; empty where it was not recorded."""
    estimator = saved.estimator
    curves = (getattr(estimator, name, None) for name in ("loss_curve_", "validation_loss_curve_"))
    training, validation = (list(curve or []) for curve in curves)
    return training, validation


def read_features(
    saved: SavedModel, data: Path, purpose: str, further_text: tuple[str, ...] = (), *, stream: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a file for a model, and notes; ValueError if there are none to `purpose`."""
    from chainrule.io import read_table

    if is_streamed(data, stream):
        return sampled_table(data, saved.target)

    # Codes such as 007 were text in training, and stay what they were.
    text = [name for name, kind in kinds_of(saved).items() if kind == "categorical"]
    frame, notes = read_table(data, (*text, *further_text))
    if len(frame) == 0:
        raise ValueError(f"{data}: the table has no rows to {purpose}")
    return frame, notes


def _text_target(saved: SavedModel) -> tuple[str, ...]:
    """The target, if it was text in training; truth values, which were not, have the labels of text too."""
    classes = classes_of(saved)
    if saved.target is None or classes is None or classes.dtype.kind in "iu":
        return ()
    return () if set(classes.tolist()) <= {"True", "False"} else (saved.target,)


def read_examples(saved: SavedModel, model: Path, data: Path, *, stream: bool = False) -> Examples:
    """The rows of a file that have a target, with it."""
    import numpy as np

    from chainrule.estimators.columns import (
        checked_frame,
        class_labels,
        listed,
        near_match,
        number_column,
        text_column,
    )

    target = saved.target
    if target is None:
        raise ValueError(f"{model}: the model was saved without the name of its target")
    frame, notes = read_features(saved, data, "evaluate", further_text=_text_target(saved), stream=stream)
    frame = checked_frame(frame)
    if target not in frame.columns:
        missing = f"{target!r}{near_match(target, frame.columns)}"
        names = listed(frame.columns)
        raise ValueError(f"the table has no column {missing} It is the model's target. Its columns: {names}")
    known = frame[target].notna()
    if not known.any():
        raise ValueError(f"target column {target!r} has no value in any row")
    if not known.all():
        n_without = int((~known).sum())
        notes.append(f"rows left out because they have no value in the target column: {n_without}")
    values = frame.loc[known, target]
    classes = classes_of(saved)
    if classes is None:
        y = number_column(values)
    else:
        # Where the model knows text, numbers are codes.
        is_text = classes.dtype.kind not in "iu"
        y = np.array(text_column(values), dtype=np.str_) if is_text else class_labels(values)
    return Examples(frame.loc[known].drop(columns=target), y, notes)
