"""TabularClassifier: classes of rows of a table."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets

from chainrule import nn
from chainrule.estimators.tabular.base import LEAST_HELD_OUT, BaseTabular
from chainrule.estimators.tabular.targets import fitted_temperature
from chainrule.functions.losses import softmax
from chainrule.train.streams import Stream

__all__ = ["TabularClassifier"]


class TabularClassifier(ClassifierMixin, BaseTabular):
    """A classifier for tables as they are: no preparation, no tuning.

    Numbers, truth values, text, categories and dates are read as they come, gaps and all
    (``TablePreprocessor``); columns are found by name. The probabilities are calibrated by a temperature, one
    number that all raw outputs are divided by, fitted to the rows held out (Guo et al. 2017).

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
    label_smoothing : float
        ε: targets are (1 − ε) y + ε/n_classes.
    class_weight : "balanced", dict or None
        Weights by class, "balanced" for equal sums.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    temperature_ : float
        What raw outputs are divided by before the softmax; above 1 where the networks were too sure.
    encoder_ : TablePreprocessor
    networks_ : list of nn.Sequential
    histories_ : list of History
    n_features_in_, feature_names_in_
        Of the table.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> network = TabularClassifier(random_state=0).fit(X[::2], y[::2])
    >>> bool(network.score(X[1::2], y[1::2]) > 0.9)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseTabular._parameter_constraints,
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    classes_: np.ndarray
    temperature_: float

    def __init__(  # noqa: PLR0913 - an estimator's settings
        self,
        *,
        ensemble: int = 4,
        width: int = 192,
        depth: int = 3,
        activation: str = "silu",
        dropout: float = 0.05,
        batch_norm: Any = "alternate",
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        batch_size: Any = "auto",
        max_epochs: Any = "auto",
        patience: int = 15,
        validation_fraction: float = 0.15,
        label_smoothing: float = 0.0,
        class_weight: Any = None,
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
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.rare = rare
        self.max_categories = max_categories
        self.max_time = max_time
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _read_targets(self, y: Any) -> np.ndarray:
        if pd.isna(np.asarray(y, dtype=object)).any():
            raise ValueError("Input y contains NaN: leave out the rows without a target")
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "f":
            check_classification_targets(y)  # refuses numbers that are no classes
        self.classes_, targets = np.unique(y, return_inverse=True)
        self._check_classes(len(targets))
        return targets.astype(np.int64)

    def read_stream_targets(self, stream: Stream, reader: Any, sample: np.ndarray) -> Stream:
        """The classes are those of all rows."""
        rows = stream.prepared(reader, labels=True)
        self.classes_ = np.array(rows.classes)
        self._check_classes(rows.n_rows)
        return rows

    def _check_classes(self, n_rows: int) -> None:
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class only, {self.classes_.tolist()[0]!r}: a classifier needs two classes or more"
            )
        if n_rows >= LEAST_HELD_OUT and len(self.classes_) > 0.5 * n_rows:
            raise ValueError(
                f"y has {len(self.classes_)} different values in {n_rows} rows: it names the rows "
                "rather than classes"
            )
        self.n_outputs_ = len(self.classes_)

    def _weights(self, y: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return sample_weight
        from sklearn.utils.class_weight import compute_sample_weight

        weights = compute_sample_weight(self.class_weight, self.classes_[y])
        return weights if sample_weight is None else weights * sample_weight

    def _loss(self) -> nn.LossModule:
        return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)

    def learn_from_held_out(self, outputs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """The temperature."""
        self.temperature_ = fitted_temperature(list(outputs))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, (n_rows, n_classes), in the order of ``classes_``."""
        outputs = self._outputs(X)
        probabilities = [softmax(z.astype(np.float64) / self.temperature_) for z in outputs]
        return np.mean(probabilities, axis=0)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]
