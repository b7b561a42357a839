"""What the two tabular estimators share: the recipe.

It is the same for all tables and has no knobs that must be turned: robust numbers, with their ranks where
they are skewed, a column for each category, three hidden layers with SiLU, AdamW with a cosine schedule, the
epoch with the least validation loss, and the average of a few such networks, every other one with batch
normalisation, each of which holds out other rows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.model_selection import train_test_split
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_is_fitted,
)

from chainrule import nn
from chainrule.estimators.frames import as_column, as_frame, has_names
from chainrule.estimators.tables import TablePreprocessor
from chainrule.estimators.tabular.streams import fit_stream, stream_outputs
from chainrule.optim import AdamW
from chainrule.train import Job, fit_many, predict
from chainrule.train.streams import Stream

__all__ = ["LEAST_HELD_OUT", "BaseTabular", "recipe_encoder"]

# Fewer held-out rows than this say too little of when to stop.
LEAST_HELD_OUT = 10


class BaseTabular(BaseEstimator, ABC):
    """Base of the two estimators; not for use by itself."""

    _parameter_constraints: ClassVar[dict] = {
        "ensemble": [Interval(Integral, 1, None, closed="left")],
        "width": [Interval(Integral, 1, None, closed="left")],
        "depth": [Interval(Integral, 0, None, closed="left")],
        "activation": [str],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean", StrOptions({"alternate"})],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_epochs": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "rare": [Interval(Real, 0, 1, closed="left")],
        "max_categories": [Interval(Integral, 1, None, closed="left")],
        "max_time": [None, Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    }

    ensemble: int
    width: int
    depth: int
    activation: str
    dropout: float
    batch_norm: Any
    learning_rate: float
    weight_decay: float
    batch_size: Any
    max_epochs: Any
    patience: int
    validation_fraction: float
    rare: float
    max_categories: int
    max_time: float | None
    random_state: Any
    n_jobs: int | None
    verbose: Any

    encoder_: TablePreprocessor
    networks_: list[nn.Sequential]
    histories_: list[Any]
    n_outputs_: int
    n_features_in_: int

    # -- what the two differ in ----------------------------------------------------------------------

    @abstractmethod
    def _read_targets(self, y: Any) -> np.ndarray:
        """Learn from the targets, and give them as the loss takes them."""

    @abstractmethod
    def _loss(self) -> nn.LossModule:
        """What is minimized."""

    def learn_from_held_out(self, outputs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Learn from the outputs of networks, and the targets, for rows that each was not trained on."""

    def _weights(self, y: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        return sample_weight

    @abstractmethod
    def read_stream_targets(self, stream: Stream, reader: Any, sample: np.ndarray) -> Stream:
        """Learn from the targets of a stream, of which a sample is given.

        Returns the stream with the reader's inputs, and targets as the loss takes them.
        """

    # -- fitting -------------------------------------------------------------------------------------

    def new_encoder(self, *, sparse: bool = True) -> TablePreprocessor:
        """`recipe_encoder` with the estimator's parameters."""
        return recipe_encoder(self.max_categories, self.rare, sparse=sparse)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn to predict ``y`` from the rows of a table.

        Parameters
        ----------
        X : pandas or polars DataFrame, pyarrow Table, array-like of shape (n_rows, n_columns), or Stream
            Numbers, truth values, text, categories and dates, with gaps. A stream (``chainrule.stream``) is a
            table larger than memory, of Parquet or CSV files for one; it has the targets too, and weights.
        y : array-like of shape (n_rows,)
        sample_weight : array-like of shape (n_rows,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a column or the target cannot be learned from; the message names it.
        """
        if isinstance(X, Stream):
            return fit_stream(self, X, y, sample_weight)
        frame = as_frame(X)
        _check_size(frame)
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        _check_feature_names(self, frame if isinstance(X, pd.DataFrame) else np.empty((0, 1)), reset=True)
        targets = self._read_targets(as_column(y))
        check_consistent_length(frame, targets)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, frame, ensure_non_negative=True)
        self.encoder_ = self.new_encoder().fit(frame)
        self.n_features_in_ = frame.shape[1]
        inputs = _single(self.encoder_.transform(frame))
        self._train(inputs, targets, self._weights(targets, sample_weight))
        return self

    def _train(self, inputs: Any, targets: np.ndarray, weights: np.ndarray | None) -> None:
        """Train the networks side by side, each with rows of its own to measure on."""
        random = check_random_state(self.random_state)
        seeds = [int(seed) for seed in random.randint(2**31 - 1, size=self.ensemble)]
        splits = [self._split(targets, seed) for seed in seeds]
        self.networks_ = [self.network(inputs.shape[1], seed, k) for k, seed in enumerate(seeds)]
        jobs = [
            self._job(network, inputs, targets, weights, rows, seed)
            for network, rows, seed in zip(self.networks_, splits, seeds, strict=True)
        ]
        self.histories_ = fit_many(jobs, n_jobs=self.n_jobs, progress=bool(self.verbose))
        self.check_finite()
        self.learn_from_held_out(
            (predict(network, inputs[rows], n_jobs=self.n_jobs), targets[rows])
            for network, (_, rows) in zip(self.networks_, splits, strict=True)
            if rows is not None
        )

    def check_finite(self) -> None:
        """ValueError if a training went astray."""
        if any(history.stopped == "not finite" for history in self.histories_):
            raise ValueError(
                "training came to numbers that are not finite: try a learning_rate below "
                f"{self.learning_rate}"
            )

    def held_out_share(self, n_rows: int) -> float | None:
        """The share of the rows that a network measures on; None of a table too small for that."""
        too_few = round(self.validation_fraction * n_rows) < LEAST_HELD_OUT
        return None if too_few else float(self.validation_fraction)

    def _split(self, targets: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows to learn from and rows to measure on; of a small table all rows are learned from."""
        everything = np.arange(len(targets))
        n_held_out = round(self.validation_fraction * len(targets))
        if self.held_out_share(len(targets)) is None:
            return everything, None
        stratify = None
        if targets.dtype.kind == "i":  # classes
            counts = np.bincount(targets)
            stratify = targets if counts.min() >= 2 and len(counts) <= n_held_out else None
        train, held_out = train_test_split(
            everything, test_size=n_held_out, random_state=seed, stratify=stratify
        )
        return np.sort(train), np.sort(held_out)

    def network(self, n_inputs: int, seed: int, number: int) -> nn.Sequential:
        """Hidden layers of one width, and a linear output."""
        is_normalised = number % 2 == 0 if self.batch_norm == "alternate" else self.batch_norm
        rng = np.random.default_rng(seed)
        layers: list[nn.Module] = []
        n = n_inputs
        for _ in range(self.depth):
            linear = nn.Linear(n, self.width, rng=rng).initialize("he_normal", rng)  # equation (9)
            layers.append(linear)
            if is_normalised:
                layers.append(nn.BatchNorm1d(self.width))
            layers.append(nn.activation_module(self.activation))
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            n = self.width
        return nn.Sequential(*layers, nn.Linear(n, self.n_outputs_, rng=rng))

    def settings(self, n: int, seed: int, measured: bool) -> dict[str, Any]:
        """How a network is trained on n rows, with others to measure on or without."""
        return {
            "loss": self._loss(),
            "optimizer": AdamW(lr=self.learning_rate, weight_decay=self.weight_decay),
            "epochs": self.n_epochs(n), "batch_size": self._n_in_batch(n), "schedule": "cosine",
            "early_stopping": self.patience if measured else False, "seed": seed, "max_time": self.max_time,
        }  # fmt: skip

    def _job(
        self, network: nn.Sequential, inputs: Any, targets: np.ndarray, weights: Any, rows: tuple, seed: int
    ) -> Job:
        learned_from, measured_on = rows
        return Job(
            network, inputs, targets, sample_weight=weights, rows=learned_from, validation_rows=measured_on,
            **self.settings(len(learned_from), seed, measured_on is not None),
        )  # fmt: skip

    def n_epochs(self, n: int) -> int:
        """60 epochs of a table of 3,000 rows or more; of a smaller one more, for it has fewer steps.

        Of a million rows or more fewer, so that 60 million are visited, but at least five epochs.
        """
        if self.max_epochs != "auto":
            return int(self.max_epochs)
        if n > 1_000_000:
            return max(5, round(60 * 1_000_000 / n))
        return min(300, round(60 * max(1.0, math.sqrt(3000 / n))))

    def _n_in_batch(self, n: int) -> int:
        """256 rows, of a small table a twentieth of it."""
        if self.batch_size != "auto":
            return min(int(self.batch_size), n)
        return min(n, max(16, min(256, n // 20)))

    # -- prediction ----------------------------------------------------------------------------------

    def inputs(self, X: Any) -> Any:
        """A table as the networks take it."""
        check_is_fitted(self, "networks_")
        frame = as_frame(X)
        if not has_names(X):
            _check_n_features(self, frame, reset=False)
            frame = frame.set_axis(list(self.encoder_.kinds_), axis="columns")
        return _single(self.encoder_.transform(frame))

    def _outputs(self, X: Any) -> list[np.ndarray]:
        """Raw outputs (n_rows, n_outputs) of each network."""
        if isinstance(X, Stream):
            check_is_fitted(self, "networks_")
            return stream_outputs(self, X)
        inputs = self.inputs(X)
        return [predict(network, inputs, n_jobs=self.n_jobs) for network in self.networks_]

    def feature_importances(
        self, X: Any, y: Any, *, n_repeats: int = 5, scoring: Any = None, random_state: Any = 0
    ) -> pd.Series:
        """How much the score falls when a column is shuffled, averaged over repeats, the largest first.

        Permutation importance (Breiman 2001), by ``sklearn.inspection.permutation_importance``. Of two
        columns that say the same, each seems to matter less than it does.

        Parameters
        ----------
        X, y : table and targets
            Rows that the estimator was not fitted on.
        n_repeats : int
        scoring : str or callable, optional
            By default that of ``score``.
        random_state : int or RandomState

        Returns
        -------
        pandas.Series
            By column.
        """
        from sklearn.inspection import permutation_importance

        frame = as_frame(X)
        result = permutation_importance(
            self, frame, as_column(y), n_repeats=n_repeats, scoring=scoring, random_state=random_state
        )
        importances = pd.Series(result.importances_mean, index=[str(name) for name in frame.columns])
        return importances.sort_values(ascending=False, kind="stable")

    # -- what was learned ------------------------------------------------------------------------------

    @property
    def loss_curve_(self) -> list[float]:
        """The training loss of each epoch, the mean over the networks still training."""
        return _mean_curve(self.histories_, "loss")

    @property
    def validation_loss_curve_(self) -> list[float]:
        """Likewise the loss on the rows held out; empty where none were."""
        return _mean_curve(self.histories_, "validation_loss")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags


def recipe_encoder(
    max_categories: int = 1000, rare: float = 0.01, *, sparse: bool = True
) -> TablePreprocessor:
    """The way from a table to the networks' input, not fitted; where sparse, wide arrays may be so."""
    return TablePreprocessor(max_categories, rare, "robust", sparse=sparse)


def _single(inputs: Any) -> Any:
    """In single precision: what was learned from a table has no more digits."""
    if sparse.issparse(inputs):
        return inputs.astype(np.float32)
    return np.ascontiguousarray(inputs, np.float32)


def _check_size(frame: pd.DataFrame) -> None:
    """At least two rows and one column, in scikit-learn's words."""
    n_rows, n_columns = frame.shape
    if n_rows < 2:
        raise ValueError(f"Found array with n_samples={n_rows}, while a minimum of 2 samples is required.")
    if n_columns == 0:
        raise ValueError(f"0 feature(s) (shape=({n_rows}, 0)) while a minimum of 1 is required.")


def _mean_curve(histories: list[Any], column: str) -> list[float]:
    curves = [history[column] for history in histories if history.epochs and column in history.epochs[0]]
    longest = max(map(len, curves), default=0)
    return [float(np.mean([curve[k] for curve in curves if k < len(curve)])) for k in range(longest)]
