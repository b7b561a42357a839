"""What values the estimators' parameters may take, and how they are read."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from chainrule.estimators.network import Architecture
from chainrule.functions import ACTIVATIONS, INITIALIZERS, get_activation
from chainrule.functions.activations import ALIASES
from chainrule.optim import SCHEDULES, Schedule

__all__ = [
    "CONSTRAINTS",
    "architecture_of",
    "check_combinations",
    "hidden_sizes",
    "naming",
    "without_feature_names",
]

_ACTIVATION_NAMES = {*ACTIVATIONS, *ALIASES}

# scikit-learn 1.9's own constraints, widened where this library takes more.
CONSTRAINTS: dict[str, list] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions(_ACTIVATION_NAMES), list, tuple],
    "solver": [StrOptions({"lbfgs", "sgd", "adam", "adamw"})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions(set(SCHEDULES)), Schedule],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    # This library's own.
    "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
    "batch_norm": ["boolean"],
    "residual": ["boolean"],
    "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "init": [StrOptions({"auto", *INITIALIZERS})],
    "scoring": [None, str, callable],
    "precision": [StrOptions({"full", "bf16", "bf16x3"})],
    "dtype": [None, StrOptions({"float32", "float64"}), type, np.dtype],
    "n_jobs": [None, Integral],
    "max_time": [None, Interval(Real, 0, None, closed="neither")],
}


def hidden_sizes(hidden_layer_sizes: Any) -> list[int]:
    """The widths of the hidden layers as a list; scikit-learn's error where one is not positive."""
    sizes = list(hidden_layer_sizes) if isinstance(hidden_layer_sizes, Iterable) else [hidden_layer_sizes]
    if not all(isinstance(size, Integral) for size in sizes):
        raise TypeError(f"hidden_layer_sizes must be whole numbers, got {sizes}.")
    if np.any(np.array(sizes) <= 0):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return sizes


def _one_a_layer(name: str, value: Any, n_hidden: int) -> tuple:
    if not isinstance(value, list | tuple):
        return (value,) * n_hidden
    if len(value) != n_hidden:
        raise ValueError(
            f"{name} must be one value, or one for each of the {n_hidden} hidden layers; got {value!r}"
        )
    return tuple(value)


def architecture_of(estimator: Any, units: list[int]) -> Architecture:
    """Read the architecture from an estimator's parameters, for these widths."""
    n_hidden = len(units) - 2
    activations = _one_a_layer("activation", estimator.activation, n_hidden)
    dropout = _one_a_layer("dropout", estimator.dropout, n_hidden)
    for rate in dropout:
        if not isinstance(rate, Real) or not 0 <= float(rate) < 1:
            raise ValueError(f"dropout must lie in [0, 1); got {rate!r}")
    return Architecture(
        units=tuple(int(width) for width in units),
        activations=tuple(get_activation(name).name for name in activations),
        dropout=tuple(float(rate) for rate in dropout),
        batch_norm=bool(estimator.batch_norm),
        residual=bool(estimator.residual),
    )


def check_combinations(estimator: Any) -> None:
    """Refuse parameters that do not go together, or that only a later step would stumble over."""
    if estimator.dtype is not None and np.dtype(estimator.dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32, float64 or None; got {estimator.dtype!r}")
    if estimator.solver == "lbfgs":
        for name, neutral in (
            ("dropout", 0.0), ("batch_norm", False), ("weight_decay", 0.0), ("clip_norm", None),
        ):  # fmt: skip
            value = getattr(estimator, name)
            values = value if isinstance(value, list | tuple) else [value]
            if any(one != neutral and one != 0 for one in values):
                raise ValueError(
                    f"{name}={value!r} needs a stochastic solver ('adam', 'adamw' or 'sgd'): L-BFGS "
                    "minimises one fixed function of the whole data"
                )


@contextmanager
def naming(argument: str) -> Iterator[None]:
    """Put the name of an argument before what scikit-learn says of it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None


def without_feature_names(estimator: Any) -> Any:
    """The estimator as a scorer takes it that is given checked rows, which have no names to compare."""
    if not hasattr(estimator, "feature_names_in_"):
        return estimator
    judged = copy.copy(estimator)
    del judged.feature_names_in_
    return judged
