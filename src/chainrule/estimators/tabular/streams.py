"""The tabular estimators on tables larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_feature_names

from chainrule import nn
from chainrule.estimators.frames import as_frame
from chainrule.estimators.tables import TablePreprocessor
from chainrule.train import History, predict
from chainrule.train.progress import SharedEpochProgress
from chainrule.train.side_by_side import run_side_by_side
from chainrule.train.streams import Stream
from chainrule.train.streams.fitting import StreamFitting

__all__ = ["fit_stream", "stream_outputs"]

# Rows held out that a temperature is fitted to, at most.
_MOST_MEASURED = 50_000


class _Reader:
    """A fitted `TablePreprocessor` as a stream uses it: pieces of any kind in, dense arrays out."""

    def __init__(self, encoder: TablePreprocessor) -> None:
        self.encoder_ = encoder
        self.feature_names_out = list(encoder.feature_names_out)

    def fit(self, X: Any) -> _Reader:
        """Nothing is left to learn."""
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The networks' input."""
        inputs = self.encoder_.transform(as_frame(X))
        dense: np.ndarray = inputs.toarray() if hasattr(inputs, "toarray") else inputs
        return dense


def fit_stream(estimator: Any, stream: Stream, y: Any, sample_weight: Any) -> Any:
    """Fit a TabularClassifier or TabularRegressor on a stream.

    Columns, and how a number to predict is transformed, are learned from a sample of 50,000 rows; everything
    else is as with a table in memory, a pass over the files an epoch and network.
    """
    if y is not None or sample_weight is not None:
        name = "y" if y is not None else "sample_weight"
        raise ValueError(
            f"{name} must not be given with a stream, which has its own: stream(..., target=..., weight=...)"
        )
    X, targets = stream.sample()
    if targets is None:
        raise ValueError("the stream has no target to learn from: name it, stream(..., target=...)")
    _check_feature_names(estimator, X if isinstance(X, pd.DataFrame) else np.empty((0, 1)), reset=True)
    frame = as_frame(X)
    estimator.encoder_ = estimator.new_encoder(sparse=False).fit(frame)
    estimator.n_features_in_ = frame.shape[1]
    rows = estimator.read_stream_targets(stream, _Reader(estimator.encoder_), targets)
    _train(estimator, rows)
    return estimator


def _train(estimator: Any, rows: Stream) -> None:
    """As in memory; which rows a network holds out is decided by its seed."""
    random = check_random_state(estimator.random_state)
    seeds = [int(seed) for seed in random.randint(2**31 - 1, size=estimator.ensemble)]
    share = estimator.held_out_share(rows.n_rows)
    n_learned_from = round(rows.n_rows * (1 - (share or 0)))
    width = len(rows.names)
    estimator.networks_ = [estimator.network(width, seed, number) for number, seed in enumerate(seeds)]
    class_weight = getattr(estimator, "class_weight", None)
    epochs = len(seeds) * estimator.n_epochs(n_learned_from)
    with SharedEpochProgress(epochs, bool(estimator.verbose)) as bar:
        tasks = [
            partial(
                _fit, network, rows, share, bar, class_weight=class_weight,
                **estimator.settings(n_learned_from, seed, bool(share)),
            )
            for network, seed in zip(estimator.networks_, seeds, strict=True)
        ]  # fmt: skip
        estimator.histories_ = run_side_by_side(tasks, n_jobs=estimator.n_jobs)
    estimator.check_finite()
    estimator.learn_from_held_out(
        _measured(network, rows.split(share, seed)[1])
        for network, seed in zip(estimator.networks_, seeds, strict=True)
        if share is not None
    )


def _fit(
    network: nn.Module, rows: Stream, share: float | None, bar: SharedEpochProgress, **settings: Any
) -> History:
    fitting = StreamFitting(network, verbose=0, **settings)
    return fitting.run(rows, None, share, bar.part(fitting.epochs))


def _measured(network: nn.Module, held_out: Stream) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and targets of rows held out, every so many of them if there are too many."""
    every = max(1, held_out.n_rows // _MOST_MEASURED)
    outputs, targets = [], []
    first = 0
    for X, y, _ in held_out:
        chosen = slice(-first % every, None, every)
        first += len(X)
        if y is not None and len(X[chosen]):
            outputs.append(predict(network, X[chosen]))
            targets.append(y[chosen])
    return np.concatenate(outputs), np.concatenate(targets)


def stream_outputs(estimator: Any, stream: Stream) -> list[np.ndarray]:
    """Raw outputs (n_rows, n_outputs) of each network; these are in memory, the table is not."""
    rows = stream.prepared(_Reader(estimator.encoder_))
    return [np.concatenate(list(_pieces(network, rows))) for network in estimator.networks_]


def _pieces(network: nn.Module, rows: Stream) -> Iterator[np.ndarray]:
    outputs: Any = predict(network, rows)
    yield from outputs
