"""Metrics of predictions that ``fit`` can record each epoch."""

from collections.abc import Callable, Iterable

import numpy as np

__all__ = ["METRICS", "metric_functions"]


def _accuracy(y: np.ndarray, prediction: np.ndarray) -> float:
    """Share of examples whose most probable class is the target; of entries, for several binary targets."""
    if y.ndim == 1:
        return float((prediction.argmax(axis=1) == y).mean())
    if prediction.shape[1] > 1 and np.allclose(prediction.sum(axis=1), 1, atol=1e-3):
        return float((prediction.argmax(axis=1) == y.argmax(axis=1)).mean())
    return float(((prediction > 0.5) == (y > 0.5)).mean())


def _r2(y: np.ndarray, prediction: np.ndarray) -> float:
    """1 - residual sum of squares / total sum of squares, averaged over outputs."""
    total = ((y - y.mean(axis=0)) ** 2).sum(axis=0)
    residual = ((y - prediction) ** 2).sum(axis=0)
    return float(np.mean(1 - residual / np.where(total > 0, total, np.nan)))


def _mean_absolute_error(y: np.ndarray, prediction: np.ndarray) -> float:
    return float(np.abs(y - prediction).mean())


def _root_mean_squared_error(y: np.ndarray, prediction: np.ndarray) -> float:
    return float(np.sqrt(((y - prediction) ** 2).mean()))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": _accuracy,
    "r2": _r2,
    "mean_absolute_error": _mean_absolute_error,
    "root_mean_squared_error": _root_mean_squared_error,
}


def metric_functions(metrics: Iterable[str | Callable]) -> dict[str, Callable]:
    """Metrics by name; a callable goes by its own name."""
    functions: dict[str, Callable] = {}
    for metric in [metrics] if isinstance(metrics, str) else metrics:
        if callable(metric):
            functions[getattr(metric, "__name__", "metric")] = metric
        elif metric in METRICS:
            functions[metric] = METRICS[metric]
        else:
            raise ValueError(f"metrics must be callables or among {', '.join(METRICS)}; got {metric!r}")
    return functions
