"""Saved models as the commands use them: what they predict, from which columns, and rows to try them on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.tables import read_rows

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chainrule.io import SavedModel

__all__ = [
    "Examples",
    "classes_of",
    "hidden_widths",
    "kinds_of",
    "load_for_tables",
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
    if saved.preprocessor is None:
        raise ValueError(f"{model}: the model takes arrays, not tables (it was saved without a preprocessor)")
    return saved


def classes_of(saved: SavedModel) -> Any:
    """The labels that a model predicts; None if it predicts numbers."""
    return getattr(saved.estimator, "classes_", None)


def kinds_of(saved: SavedModel) -> dict[str, Any]:
    """The columns that a model takes, and what each was taken for."""
    return {} if saved.preprocessor is None else dict(saved.preprocessor.kinds_)


def hidden_widths(saved: SavedModel) -> list[int]:
    """Units of each hidden layer."""
    from chainrule.estimators.parameters import hidden_sizes

    return hidden_sizes(saved.estimator.hidden_layer_sizes)


def read_features(
    saved: SavedModel, data: Path, purpose: str, further_text: tuple[str, ...] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of a file for a model, and notes; ValueError if there are none to `purpose`."""
    # Codes such as 007 were text in training, and stay what they were.
    text = [name for name, kind in kinds_of(saved).items() if kind == "categorical"]
    frame, notes = read_rows(data, (*text, *further_text))
    if len(frame) == 0:
        raise ValueError(f"{data}: the table has no rows to {purpose}")
    return frame, notes


def _text_target(saved: SavedModel) -> tuple[str, ...]:
    """The target, if it was text in training; truth values, which were not, have the labels of text too."""
    classes = classes_of(saved)
    if saved.target is None or classes is None or classes.dtype.kind in "iu":
        return ()
    return () if set(classes.tolist()) <= {"True", "False"} else (saved.target,)


def read_examples(saved: SavedModel, model: Path, data: Path) -> Examples:
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
    frame, notes = read_features(saved, data, "evaluate", further_text=_text_target(saved))
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
