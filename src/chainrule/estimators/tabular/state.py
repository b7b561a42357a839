"""A fitted tabular estimator as plain data and arrays, and back: what a model file is made of."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from chainrule.estimators.state import (
    encoded_parameters,
    set_small_arrays,
    small_arrays,
    with_parameters,
)
from chainrule.estimators.tables import TablePreprocessor
from chainrule.train import History

__all__ = ["from_tabular_state", "to_tabular_state"]

# The columns of a history that say how training went.
_CURVES = ("loss", "validation_loss")


def to_tabular_state(estimator: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Take a fitted TabularClassifier or TabularRegressor apart.

    Returns
    -------
    state : dict
        As JSON can hold it.
    arrays : dict of str to numpy.ndarray
        The networks' parameters and running statistics: ``0.2.weight`` is ``2.weight`` of the first.

    Raises
    ------
    TypeError
        If a parameter has a value that JSON cannot hold.

    Examples
    --------
    >>> from chainrule.estimators import TabularRegressor
    >>> table = [[0.0], [1.0], [2.0], [3.0]]
    >>> network = TabularRegressor(ensemble=1, depth=0, max_epochs=5).fit(table, [1.0, 3.0, 5.0, 7.0])
    >>> state, arrays = to_tabular_state(network)
    >>> sorted(arrays)
    ['0.0.bias', '0.0.weight']
    >>> again = from_tabular_state(TabularRegressor, state, arrays)
    >>> bool((again.predict(table) == network.predict(table)).all())
    True
    """
    state: dict[str, Any] = {
        "parameters": encoded_parameters(estimator),
        "table": estimator.encoder_.to_dict(),
        "n_networks": len(estimator.networks_),
        "histories": [_history(one) for one in estimator.histories_],
        "arrays": small_arrays(estimator),
    }
    if hasattr(estimator, "classes_"):
        state["temperature"] = float(estimator.temperature_)
    else:
        state["target"] = estimator.target_
    arrays = {
        f"{number}.{name}": np.array(array)
        for number, network in enumerate(estimator.networks_)
        for name, array in network.state_dict().items()
    }
    return state, arrays


def from_tabular_state(kind: type, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """Put together again what ``to_tabular_state`` took apart.

    Raises
    ------
    ValueError
        If an array is missing, superfluous, or of another shape than the networks'.
    KeyError, TypeError, AttributeError
        If the state is not one that ``to_tabular_state`` gives.
    """
    estimator = with_parameters(kind, state["parameters"])
    estimator.encoder_ = TablePreprocessor.from_dict(state["table"])
    estimator.n_features_in_ = estimator.encoder_.n_features_in_
    set_small_arrays(estimator, state["arrays"])
    if hasattr(estimator, "classes_"):
        estimator.temperature_ = _positive("temperature", state["temperature"])
        estimator.n_outputs_ = len(estimator.classes_)
    else:
        estimator.target_ = _checked_target(state["target"])
        estimator.n_outputs_ = 1
    n_inputs = len(estimator.encoder_.feature_names_out)
    if state["n_networks"] != estimator.ensemble:
        raise ValueError(f"there must be {estimator.ensemble} networks; got {state['n_networks']}")
    _check_sizes(estimator, n_inputs, arrays)
    estimator.networks_ = []
    left = dict(arrays)
    for number in range(estimator.ensemble):
        network = estimator.network(n_inputs, 0, number)
        own = {name: left.pop(f"{number}.{name}") for name in network.state_dict()}
        network.load_state_dict(own)
        estimator.networks_.append(network.eval())
    if left:
        raise ValueError(f"there are arrays of no network: {', '.join(sorted(left)[:3])}")
    estimator.histories_ = [_restored_history(one) for one in state["histories"]]
    return estimator


def _check_sizes(estimator: Any, n_inputs: int, arrays: dict[str, np.ndarray]) -> None:
    """Before a network of the described size is made: that there are as many numbers."""
    widths = [n_inputs, *[estimator.width] * estimator.depth, estimator.n_outputs_]
    described = estimator.ensemble * sum(a * b for a, b in pairwise(widths))
    there = sum(array.size for name, array in arrays.items() if name.endswith("weight") and array.ndim == 2)
    if described != there:
        raise ValueError(f"the networks have {described} weights; the file has {there}")


def _history(history: History) -> dict[str, Any]:
    curves = {name: history[name] for name in _CURVES if history.epochs and name in history.epochs[0]}
    return {"curves": curves, "stopped": history.stopped, "best_epoch": history.best_epoch}


def _restored_history(known: dict[str, Any]) -> History:
    curves = known["curves"]
    n = max((len(curve) for curve in curves.values()), default=0)
    rows = [{"epoch": k + 1, **{name: float(curve[k]) for name, curve in curves.items()}} for k in range(n)]
    return History(rows, str(known["stopped"]), int(known["best_epoch"]))


def _positive(name: str, value: Any) -> float:
    if not isinstance(value, float) or not 0 < value < np.inf:
        raise ValueError(f"{name} must be a positive number; got {value!r}")
    return value


def _checked_target(known: dict[str, Any]) -> dict[str, Any]:
    numbers = [known[name] for name in ("mean", "scale") if name in known]
    numbers += [*known.get("knots", []), *known.get("places", [])]
    complete = {"knots", "places"} <= set(known) if known["transform"] == "rank" else len(numbers) == 2
    if not complete or not all(isinstance(x, float) and np.isfinite(x) for x in numbers):
        raise ValueError(f"the target's transform {known['transform']!r} is not described")
    return known
