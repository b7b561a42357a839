"""The data of a training: which rows to learn from, which to measure on.

X is neither cut nor reordered: rows to train on are given to the executor by their numbers, so that
many trainings on parts of one X, the folds of a cross-validation, share it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.execution import Examples, Features, check_features, prepare
from chainrule.functions import get_loss
from chainrule.plan import Plan
from chainrule.train.options import FitOptions
from chainrule.train.weighting import weighted_examples, weighted_targets

__all__ = ["FitData", "read_data"]


@dataclass(frozen=True)
class FitData:
    """Checked data of one training.

    Attributes
    ----------
    examples : Examples
    rows : ndarray of int64 or None
        Those of the examples to train on; None for all.
    held_out : Examples or None
        What is measured after each epoch.
    targets : ndarray
        What metrics compare with: y itself, not what a weighted loss makes of it.
    """

    examples: Examples
    rows: np.ndarray | None
    held_out: Examples | None
    targets: np.ndarray

    def arrays(self) -> list[Any]:
        """All that a training's result depends on."""
        measured = self.held_out
        held_out = [] if measured is None else [measured.X, measured.y, measured.weights]
        return [self.examples.X, self.examples.y, self.examples.weights, self.rows, *held_out]


def read_data(
    plan: Plan, loss: Any, X: Any, y: Any, validation: Any, options: FitOptions, dtype: np.dtype, random: Any
) -> FitData:
    """Check the data, and hold out what ``validation`` asks for; ``random`` draws a share of the rows."""
    return _Reader(plan, loss, options, dtype).read(X, y, validation, random)


class _Reader:
    """Reads data for one plan and loss."""

    def __init__(self, plan: Plan, loss: Any, options: FitOptions, dtype: np.dtype) -> None:
        self.plan = plan
        self.loss = loss
        self.options = options
        self.dtype = dtype
        self.record = get_loss(plan.loss.name)

    def read(self, X: Any, y: Any, validation: Any, random: Any) -> FitData:
        options = self.options
        if options.rows is not None or options.validation_rows is not None:
            X = check_features(X, self.dtype)
            y = _of_length(X.shape[0], y, "y must have one target a row of X")
        if options.validation_rows is not None:
            validation = self._validation_rows(X, y, validation)
        if isinstance(validation, int | float) and not isinstance(validation, bool):
            return self._split(X, y, float(validation), random)
        if validation is None:
            examples, rows = self._training(X, y)
            return FitData(examples, rows, None, self._targets(y if rows is None else y[rows]))
        held_out = self._held_out(validation)
        examples, rows = self._training(X, y)
        return FitData(examples, rows, held_out, self._targets(validation[1]))

    def _training(self, X: Any, y: Any) -> tuple[Examples, np.ndarray | None]:
        """The examples, and those of them to train on."""
        options = self.options
        if options.rows is None:
            return self._examples(X, y, options.sample_weight, options.class_weight), None
        rows = _row_numbers("rows", options.rows, X.shape[0])
        targets, weights = weighted_targets(
            self.plan, self.loss, y[rows], self._weights_of(X, rows), options.class_weight, n_rows=len(rows)
        )
        # In their places among all rows. The others are not looked at: any valid target will do.
        everywhere = np.repeat(targets[:1], X.shape[0], axis=0)
        everywhere[rows] = targets
        if weights is not None:
            part, weights = weights, np.zeros(X.shape[0])
            weights[rows] = part
        return prepare(self.plan, X, everywhere, weights, dtype=self.dtype), rows

    def _weights_of(self, X: Any, rows: np.ndarray) -> np.ndarray | None:
        weights = self.options.sample_weight
        if weights is None:
            return None
        return _of_length(X.shape[0], weights, "sample_weight must have one weight a row of X")[rows]

    def _split(self, X: Any, y: Any, share: float, random: Any) -> FitData:
        """Hold out a random share of the rows."""
        examples, chosen = self._training(X, y)
        n = len(examples) if chosen is None else len(chosen)
        n_held_out = round(share * n)
        if not 0 < share < 1 or not 0 < n_held_out < n:
            raise ValueError(
                f"validation must leave rows on both sides: a share of {share} of {n} rows does not"
            )
        rows = random.permutation(n).astype(np.int64)
        targets = self._targets(y if chosen is None else y[chosen])[rows[:n_held_out]]
        rows = rows if chosen is None else chosen[rows]
        return FitData(examples, rows[n_held_out:], _taken(examples, rows[:n_held_out]), targets)

    def _validation_rows(self, X: Features, y: np.ndarray, validation: Any) -> tuple:
        """The rows to measure on, as ``validation`` would have them."""
        if validation is not None:
            raise ValueError("validation and validation_rows cannot both be given")
        rows = _row_numbers("validation_rows", self.options.validation_rows, X.shape[0])
        weights = self._weights_of(X, rows)
        return (Features(X.values[rows]), y[rows]) + (() if weights is None else (weights,))

    def _held_out(self, validation: Any) -> Examples:
        if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
            raise ValueError(
                "validation must be (X, y), (X, y, weights) or a share of the rows between 0 and 1"
            )
        X, y, *rest = validation
        return self._examples(X, y, rest[0] if rest else None, None, "validation ")

    def _examples(self, X: Any, y: Any, weights: Any, class_weight: Any, name: str = "") -> Examples:
        return weighted_examples(
            self.plan, self.loss, X, y, weights, class_weight, dtype=self.dtype, name=name
        )

    def _targets(self, y: Any) -> np.ndarray:
        targets = self.record.check_targets(y, self.plan.n_outputs)
        return targets.astype(self.dtype) if targets.dtype.kind == "f" else targets


def _taken(examples: Examples, rows: np.ndarray) -> Examples:
    weights = None if examples.weights is None else examples.weights[rows]
    return Examples(examples.X[rows], examples.y[rows], weights)


def _of_length(n_rows: int, values: Any, requirement: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim == 0 or len(values) != n_rows:
        raise ValueError(f"{requirement}, {n_rows}; got shape {values.shape}")
    return values


def _row_numbers(name: str, rows: Any, n_rows: int) -> np.ndarray:
    """Numbers of rows from numbers, or from a mask."""
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (n_rows,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) == 0:
        raise ValueError(f"{name} must be numbers of rows, or one bool a row of X; got {rows!r}")
    if rows.min() < 0 or rows.max() >= n_rows:
        raise ValueError(f"{name} must lie between 0 and {n_rows - 1}, the last row of X")
    return rows.astype(np.int64)
