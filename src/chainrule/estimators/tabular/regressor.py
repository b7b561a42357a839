"""TabularRegressor: numbers for rows of a table."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions

from chainrule import nn
from chainrule.estimators.tabular.base import BaseTabular
from chainrule.estimators.tabular.targets import learned_target, restored, transformed
from chainrule.train.streams import Stream

__all__ = ["TabularRegressor"]


class TabularRegressor(RegressorMixin, BaseTabular):
    """A regressor for tables as they are: no preparation, no tuning.

    Numbers, truth values, text, categories and dates are read as they come, gaps and all
    (``TablePreprocessor``); columns are found by name. The squared error of the transformed target is
    minimized.

    Parameters
    ----------
    ensemble : int, default=4
        How many networks are trained, side by side, and averaged.
    width, depth : int
        Units of a hidden layer, and how many of them.
    activation : str
    dropout : float
    batch_norm : bool or "alternate"
        "alternate": every other network has it, which makes networks that err differently.
    learning_rate : float
        Of AdamW; falls to zero along a cosine.
    weight_decay : float
    batch_size : int or "auto"
        256 rows, of a small table fewer.
    max_epochs : int or "auto"
        60 of a table of 3,000 rows or more, of a smaller one more.
    patience : int
        Epochs without a lower validation loss after which a network stops; it goes back to its best.
    validation_fraction : float
        Share of the rows that each network holds out, other ones each; none where that is below 10 rows.
    rare : float
        Text columns: categories with at least this share of the rows have an input of their own, whose
        weights are learned; the others, and those first seen in prediction, share one.
    max_categories : int
        At most so many of a column have one.
    max_time : float, optional
        Seconds for each network.
    random_state : int, RandomState or None
    n_jobs : int, optional
        Threads.
    verbose : bool
    target_transform : {"standard", "log", "rank"}
        What the network predicts: the target with mean 0 and deviation 1; the same of its logarithm (of a
        target that is nowhere negative, log(1 + y)), for errors in per cent; or its rank as a normal
        variable, for a target with wild outliers.

    Attributes
    ----------
    target_ : dict
        What the target transform has learned.
    encoder_ : TablePreprocessor
    networks_ : list of nn.Sequential
    histories_ : list of History
    n_features_in_, feature_names_in_
        Of the table.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> network = TabularRegressor(random_state=0).fit(X[::2], y[::2])
    >>> bool(network.score(X[1::2], y[1::2]) > 0.35)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseTabular._parameter_constraints,
        "target_transform": [StrOptions({"standard", "log", "rank"})],
    }

    target_: dict[str, Any]

    def __init__(  # noqa: PLR0913 - an estimator's settings
        self,
        *,
        ensemble: int = 4,
        width: int = 192,
        depth: int = 3,
        activation: str = "silu",
        dropout: float = 0.1,
        batch_norm: Any = "alternate",
        learning_rate: float = 2e-3,
        weight_decay: float = 0.1,
        batch_size: Any = "auto",
        max_epochs: Any = "auto",
        patience: int = 15,
        validation_fraction: float = 0.15,
        target_transform: str = "standard",
        rare: float = 0.01,
        max_categories: int = 1000,
        max_time: float | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.ensemble = ensemble
        self.width = width
        self.depth = depth
        self.activation = activation
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.target_transform = target_transform
        self.rare = rare
        self.max_categories = max_categories
        self.max_time = max_time
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def read_stream_targets(self, stream: Stream, reader: Any, sample: np.ndarray) -> Stream:
        """The transform is that of the sample."""
        stream = stream.prepared(reader, labels=False)
        stream.survey.check(stream.target)  # finite numbers, and more than one
        self._read_targets(sample)
        known = self.target_
        return stream.prepared(
            reader, targets=lambda y: transformed(y.astype(np.float64), known).astype(np.float32)[:, None]
        )

    def _read_targets(self, y: Any) -> np.ndarray:
        y = column_or_1d(y, warn=True)
        if y.dtype == object:
            y = pd.to_numeric(pd.Series(y)).to_numpy()
        if y.dtype.kind not in "fiub":
            raise ValueError(f"y must hold numbers; got dtype {y.dtype}")
        y = y.astype(np.float64)
        if not np.isfinite(y).all():
            what = "NaN" if np.isnan(y).any() else "infinity"
            raise ValueError(f"Input y contains {what}: leave out the rows without a finite target")
        self.n_outputs_ = 1
        self.target_ = learned_target(y, self.target_transform)
        return transformed(y, self.target_).astype(np.float32)[:, None]

    def _loss(self) -> nn.LossModule:
        return nn.MSELoss()

    def predict(self, X: Any) -> np.ndarray:
        """The expected number of each row, (n_rows,)."""
        z = np.asarray(np.mean([z[:, 0] for z in self._outputs(X)], axis=0, dtype=np.float64))
        return restored(z, self.target_)
