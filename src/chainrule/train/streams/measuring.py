"""Metrics of predictions that come piece by piece: the same numbers as of all of them at once."""

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.train.metrics import METRICS
from chainrule.train.streams.survey import Moments

__all__ = ["StreamMetrics"]


class _Mean:
    """The mean over rows of what a metric is for a piece."""

    def __init__(self, metric: Callable) -> None:
        self._metric = metric
        self._total, self._n_rows = 0.0, 0

    def add(self, y: np.ndarray, prediction: np.ndarray) -> None:
        self._total += self._of(y, prediction) * len(y)
        self._n_rows += len(y)

    def _of(self, y: np.ndarray, prediction: np.ndarray) -> float:
        return float(self._metric(y, prediction))

    def value(self) -> float:
        return self._total / self._n_rows


class _RootMeanSquare(_Mean):
    """The root of the mean of squares."""

    def _of(self, y: np.ndarray, prediction: np.ndarray) -> float:
        return super()._of(y, prediction) ** 2

    def value(self) -> float:
        return super().value() ** 0.5


class _R2:
    """1 - residual / total variance, averaged over outputs."""

    def __init__(self, metric: Callable) -> None:
        self._targets, self._residuals, self._n_rows = Moments(), 0.0, 0

    def add(self, y: np.ndarray, prediction: np.ndarray) -> None:
        self._targets.add(y)
        self._residuals = self._residuals + ((y - prediction) ** 2).sum(axis=0, dtype=np.float64)
        self._n_rows += len(y)

    def value(self) -> float:
        total = self._targets.variance * self._n_rows
        return float(np.mean(1 - self._residuals / np.where(total > 0, total, np.nan)))


class _AllAtOnce:
    """A metric of the user's own: it is given all targets and predictions, which are kept for it."""

    def __init__(self, metric: Callable) -> None:
        self._metric = metric
        self._targets: list[np.ndarray] = []
        self._predictions: list[np.ndarray] = []

    def add(self, y: np.ndarray, prediction: np.ndarray) -> None:
        self._targets.append(y)
        self._predictions.append(prediction)

    def value(self) -> float:
        return float(self._metric(np.concatenate(self._targets), np.concatenate(self._predictions)))


_ACCUMULATORS: dict[Callable, type] = {
    METRICS["accuracy"]: _Mean,
    METRICS["mean_absolute_error"]: _Mean,
    METRICS["root_mean_squared_error"]: _RootMeanSquare,
    METRICS["r2"]: _R2,
}


class StreamMetrics:
    """Several metrics of one pass over the rows.

    Parameters
    ----------
    metrics : dict of str to callable
        From ``metric_functions``.

    Examples
    --------
    >>> metrics = StreamMetrics({"r2": METRICS["r2"]})
    >>> metrics.add(np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]]))
    >>> metrics.add(np.array([[5.0]]), np.array([[5.0]]))
    >>> metrics.values()                             # 1 - 1 / (2² + 1² + 3²)
    {'r2': 0.9285714285714286}
    """

    def __init__(self, metrics: dict[str, Callable]) -> None:
        self._metrics: dict[str, Any] = {
            name: _ACCUMULATORS.get(metric, _AllAtOnce)(metric) for name, metric in metrics.items()
        }

    def add(self, y: np.ndarray, prediction: np.ndarray) -> None:
        """Take in the targets and predictions of more rows."""
        for metric in self._metrics.values():
            metric.add(y, prediction)

    def values(self) -> dict[str, float]:
        """The metrics of all rows so far."""
        return {name: metric.value() for name, metric in self._metrics.items()}
