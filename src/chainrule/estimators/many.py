"""Estimators side by side: each is fitted on a thread of its own."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from sklearn import config_context, get_config
from sklearn.utils.validation import _num_samples

from chainrule.estimators.parameters import hidden_sizes
from chainrule.train.progress import NetworkProgress
from chainrule.train.side_by_side import run_side_by_side

__all__ = ["fit_cost", "fit_estimator", "fit_estimators", "run_tasks"]


def fit_estimators(
    estimators: Sequence[Any],
    X: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    n_jobs: int | None = None,
    on_error: str = "raise",
    progress: bool = True,
) -> list[Any]:
    """Fit several estimators side by side, each on one thread.

    Every one ends as its own ``fit`` would leave it, to the last bit.

    Parameters
    ----------
    estimators : sequence of MLPClassifier, MLPRegressor, tabular estimators, or pipelines that end with one
        Fitted in place; of any shapes and parameters.
    X : array-like or sparse matrix, or list of tuples
        Data for all of them, with ``y``. Without ``y``: ``(X, y)`` or ``(X, y, sample_weight)`` for each.
    y : array-like, optional
    sample_weight : array-like, optional
        For all of them, with ``X`` and ``y``.
    n_jobs : int, optional
        Threads, -1 or None for as many as there are processors. It stands above the ``n_jobs`` of the
        estimators, each of which has one thread. Largest networks are begun first.
    on_error : {"raise", "return"}
        What follows an exception: begin no further fit, let those that run come to their end and raise
        ``JobError``; or go on, and put the exception in the place of the estimator.
    progress : bool
        Show a bar where the output is a terminal.

    Returns
    -------
    list of estimator
        Those given, fitted.

    Raises
    ------
    JobError
        Names the estimator; its exception is the ``__cause__``.
    ValueError
        If an estimator is there twice, or two draw from the same random generator: which of them comes
        first would be a matter of luck. For the same reason ``random_state=None``, NumPy's global
        generator, does not repeat even after ``numpy.random.seed``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from chainrule import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> committee = [MLPClassifier(solver="lbfgs", max_iter=1000, random_state=seed) for seed in range(5)]
    >>> committee = fit_estimators(committee, X, y)
    >>> [bool(one.score(X, y) > 0.95) for one in committee]
    [True, True, True, True, True]
    """
    estimators = list(estimators)
    data = _data_of_each(len(estimators), X, y, sample_weight)
    _check_apart(estimators)
    tasks = [partial(fit_estimator, one, *given) for one, given in zip(estimators, data, strict=True)]
    costs = [fit_cost(one, X) for one, (X, *_) in zip(estimators, data, strict=True)]
    return run_tasks(tasks, costs, n_jobs=n_jobs, on_error=on_error, progress=progress)


def _data_of_each(n_estimators: int, X: Any, y: Any, sample_weight: Any) -> list[tuple]:
    """(X, y, sample_weight) for each estimator."""
    if y is not None:
        return [(X, y, sample_weight)] * n_estimators
    if not isinstance(X, list | tuple) or not all(
        isinstance(each, tuple | list) and len(each) in (2, 3) for each in X
    ):
        raise ValueError("without y, X must be a list of (X, y) or (X, y, sample_weight), one an estimator")
    if len(X) != n_estimators:
        raise ValueError(f"X must have one (X, y) for each of {n_estimators} estimators; got {len(X)}")
    if sample_weight is not None:
        raise ValueError("sample_weight goes with X and y; with a list, give (X, y, sample_weight)")
    return [tuple(each) for each in X]


def _check_apart(estimators: list[Any]) -> None:
    """Refuse what two threads would both write to."""
    owners: dict[int, int] = {}
    for number, estimator in enumerate(estimators):
        generators = [
            value for value in estimator.get_params().values() if isinstance(value, np.random.RandomState)
        ]
        for one in {id(estimator), *map(id, generators)}:
            owner = owners.setdefault(one, number)
            if owner != number:
                what = "are the same object" if one == id(estimator) else "share one random generator"
                raise ValueError(f"estimators {owner} and {number} {what}: give each one of its own")


def fit_estimator(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> Any:
    """Fit an estimator or a pipeline, with the weights for its last step."""
    if sample_weight is None:
        return estimator.fit(X, y)
    if hasattr(estimator, "steps"):
        return estimator.fit(X, y, **{f"{estimator.steps[-1][0]}__sample_weight": sample_weight})
    return estimator.fit(X, y, sample_weight=sample_weight)


def fit_cost(estimator: Any, X: Any) -> float:
    """About how long a fit takes, in no particular unit: multiply-adds × rows × epochs."""
    network = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    n_rows = _num_samples(X)
    n_inputs = X.shape[1] if getattr(X, "ndim", 0) == 2 else 1
    try:
        if hasattr(network, "hidden_layer_sizes"):
            hidden, epochs = hidden_sizes(network.hidden_layer_sizes), network.max_iter
        elif hasattr(network, "width"):
            hidden, epochs = (network.width,) * network.depth, network.max_epochs
        else:
            return float(n_rows)
        widths = [n_inputs, *hidden, 1]
        return float(np.dot(widths[:-1], widths[1:])) * n_rows * float(epochs)
    except (TypeError, ValueError):
        return 0.0  # its ``fit`` will say what is wrong


def run_tasks(
    tasks: Sequence[Callable[[], Any]],
    costs: Sequence[float] | None = None,
    *,
    n_jobs: int | None,
    on_error: str = "raise",
    progress: bool = False,
) -> list[Any]:
    """``run_side_by_side`` under scikit-learn's configuration, which is each thread's own."""
    config = get_config()
    with NetworkProgress(len(tasks), shown=progress) as bar:
        return run_side_by_side(
            [partial(_configured, config, task) for task in tasks],
            n_jobs=n_jobs, costs=costs, on_error=on_error, ended=bar.advance,
        )  # fmt: skip


def _configured(config: dict[str, Any], task: Callable[[], Any]) -> Any:
    with config_context(**config):
        return task()
