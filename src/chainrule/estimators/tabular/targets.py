"""Targets and outputs: how a number to predict is scaled, and how sure a classifier may be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import optimize
from scipy.special import ndtri

from chainrule.estimators.numbers import middle_ranks
from chainrule.functions import get_loss

__all__ = ["fitted_temperature", "learned_target", "restored", "transformed"]

# How many points the ranks of a target are interpolated between.
_KNOTS = 200


def learned_target(y: np.ndarray, transform: str) -> dict[str, Any]:
    """What there is to know of a target to transform it, and back."""
    known: dict[str, Any] = {"transform": transform}
    if transform == "rank":
        knots = np.unique(np.quantile(y, np.linspace(0, 1, _KNOTS)))
        middle = np.clip(middle_ranks(knots, np.sort(y)), 0.5, len(y) - 0.5)
        return {**known, "knots": knots.tolist(), "places": ndtri(middle / len(y)).tolist()}
    if transform == "log":
        if y.min() < 0:
            raise ValueError(f"target_transform='log' needs targets of 0 or more; the least is {y.min():g}")
        y = np.log1p(y)
    scale = float(y.std())
    return {**known, "mean": float(y.mean()), "scale": scale if scale > 0 else 1.0}


def transformed(y: np.ndarray, known: dict[str, Any]) -> np.ndarray:
    """The target as a network predicts it."""
    if known["transform"] == "rank":
        return np.interp(y, known["knots"], known["places"])
    y = np.log1p(y) if known["transform"] == "log" else y
    return (y - known["mean"]) / known["scale"]


def restored(z: np.ndarray, known: dict[str, Any]) -> np.ndarray:
    """The target of what a network predicts."""
    if known["transform"] == "rank":
        return np.interp(z, known["places"], known["knots"])
    y = z * known["scale"] + known["mean"]
    return np.expm1(np.maximum(y, 0.0)) if known["transform"] == "log" else y


def fitted_temperature(held_out: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """The T with the least mean of −log softmax(z/T)_y; 1 where there is nothing to fit it to.

    As if beside the n rows there were one more whose class is any with equal chance: where all n are
    predicted right, the likelihood alone would have T fall without end, and the next mistake cost as much.

    Examples
    --------
    Outputs that are four times too large, for classes that are drawn with their true probabilities:

    >>> from chainrule.functions.losses import softmax
    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=(20000, 3))
    >>> y = (softmax(z).cumsum(axis=1) < rng.random((20000, 1))).sum(axis=1)
    >>> round(fitted_temperature([(4 * z, y)]), 1)
    4.0
    """
    if not held_out:
        return 1.0
    z = np.concatenate([z for z, _ in held_out]).astype(np.float64)
    y = np.concatenate([y for _, y in held_out])
    cross_entropy = get_loss("softmax_cross_entropy")

    def loss(log_temperature: float) -> float:
        return float(cross_entropy.value(z / math.exp(log_temperature), y, 1 / (len(y) + 1)).mean())

    found = optimize.minimize_scalar(loss, bounds=(math.log(0.1), math.log(10.0)), method="bounded")
    return math.exp(float(found.x))
