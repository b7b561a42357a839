"""Which columns the predictions hang on: the loss of a metric when a column is shuffled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Importance", "permutation_importances"]

# About so many rows are predicted in all; more columns and rows mean fewer repetitions and rows.
_MOST_PREDICTIONS = 1_000_000


@dataclass(frozen=True)
class Importance:
    """How much a column matters.

    Attributes
    ----------
    name : str
    mean, deviation : float
        By how much shuffling the column raised the loss, over the repetitions.
    """

    name: str
    mean: float
    deviation: float


def permutation_importances(
    loss: Callable[[pd.DataFrame, np.ndarray], float],
    frame: pd.DataFrame,
    *,
    repetitions: int = 5,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> list[Importance]:
    """Shuffle each column in turn and see how much the loss rises (Breiman 2001).

    Parameters
    ----------
    loss : callable
        Takes a frame and the positions of its rows in the one given here; gives the loss of its predictions.
    frame : pandas.DataFrame of shape (n_rows, n_columns)
        Rows not trained on.
    repetitions : int, default=5
        Shuffles a column. Fewer are done, and fewer rows used, if that would mean predicting a million rows.
    seed : int, default=0
    progress : callable, optional
        Called after each column.

    Returns
    -------
    list of Importance
        The most important column first.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"noise": np.arange(100.0), "x": np.arange(100.0)})
    >>> y = frame["x"].to_numpy()
    >>> found = permutation_importances(lambda rows, where: np.abs(rows["x"] - y[where]).mean(), frame)
    >>> [one.name for one in found], found[1].mean
    (['x', 'noise'], 0.0)
    """
    generator = np.random.default_rng(seed)
    n_rows, n_columns = frame.shape
    repetitions = max(1, min(repetitions, _MOST_PREDICTIONS // max(1, n_columns * min(n_rows, 1000))))
    most = max(100, _MOST_PREDICTIONS // max(1, n_columns * repetitions))
    where = np.arange(n_rows) if n_rows <= most else np.sort(generator.choice(n_rows, most, replace=False))
    rows = frame.iloc[where].reset_index(drop=True)
    before = loss(rows, where)
    found = []
    for name in frame.columns:
        rises = []
        for _ in range(repetitions):
            order = generator.permutation(len(rows))
            shuffled = rows.assign(**{name: rows[name].iloc[order].reset_index(drop=True)})
            rises.append(loss(shuffled, where) - before)
        found.append(Importance(str(name), float(np.mean(rises)), float(np.std(rises))))
        if progress is not None:
            progress()
    return sorted(found, key=lambda one: -one.mean)
