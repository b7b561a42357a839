"""A fitted estimator as plain data and arrays, and back: what a model file is made of.

The arrays carry the keys and shapes of ``to_module().state_dict()``, such as ``0.weight`` of shape (out, in),
so that other programs can read them. Everything else is JSON.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.preprocessing import LabelBinarizer

from chainrule.estimators.network import Network
from chainrule.estimators.parameters import architecture_of
from chainrule.optim import SCHEDULES
from chainrule.plan import Slot

__all__ = [
    "encoded_parameters",
    "from_committee_state",
    "from_perceptron_state",
    "from_state",
    "set_small_arrays",
    "small_arrays",
    "to_committee_state",
    "to_perceptron_state",
    "to_state",
    "with_parameters",
]

# Fitted attributes that are numbers, text, or lists of them.
_PLAIN = (
    "n_features_in_", "n_layers_", "n_outputs_", "n_iter_", "out_activation_", "t_", "loss_", "best_loss_",
    "loss_curve_", "validation_loss_curve_", "validation_scores_", "best_validation_score_",
    "_no_improvement_count",
)  # fmt: skip
# Fitted attributes that are small arrays, stored as JSON with their type.
_SMALL_ARRAYS = ("feature_names_in_", "classes_", "target_mean_", "target_scale_")


def to_state(estimator: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Take a fitted estimator apart.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Fitted.

    Returns
    -------
    state : dict
        Parameters and fitted attributes, as JSON can hold them.
    arrays : dict of str to numpy.ndarray
        Parameters and running statistics of the network, by their names in its ``state_dict``.

    Raises
    ------
    TypeError
        If a parameter has a value that JSON cannot hold, such as a random generator or a function.

    Examples
    --------
    >>> from chainrule.estimators import MLPRegressor
    >>> network = MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", random_state=0)
    >>> network = network.fit([[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0])
    >>> state, arrays = to_state(network)
    >>> {name: array.shape for name, array in arrays.items()}
    {'0.weight': (3, 1), '0.bias': (3,), '2.weight': (1, 3), '2.bias': (1,)}
    >>> again = from_state(MLPRegressor, state, arrays)
    >>> bool((again.predict([[5.0]]) == network.predict([[5.0]])).all())
    True
    """
    # Asked for in its own type, so that weights which a user has replaced in coefs_ are in it.
    network: Network = estimator._current_network(estimator.coefs_[0].dtype)
    state = {
        "parameters": encoded_parameters(estimator),
        "units": list(network.architecture.units),
        "fitted": {
            name: encoded(getattr(estimator, name), name) for name in _PLAIN if hasattr(estimator, name)
        },
        "arrays": small_arrays(estimator),
    }
    if hasattr(estimator, "_label_binarizer"):
        state["label_type"] = estimator._label_binarizer.y_type_
    arrays = {slot.name: slot.view(network.parameters).copy() for slot in network.plan.parameters}
    arrays |= {slot.name: slot.view(network.buffers).copy() for slot in network.plan.buffers}
    return state, arrays


def from_state(kind: type, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """Put an estimator together again from what `to_state` gave.

    Parameters
    ----------
    kind : type
        MLPClassifier or MLPRegressor.
    state : dict
        As `to_state` returned it, directly or by way of JSON.
    arrays : dict of str to numpy.ndarray
        As `to_state` returned them.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Fitted; predicts the same bits.

    Raises
    ------
    ValueError
        If an array is missing, superfluous, or of another shape or type than the network's.
    KeyError, TypeError
        If the state is not one that `to_state` gives.
    """
    estimator = with_parameters(kind, state["parameters"])
    for name in _PLAIN:
        if name in state["fitted"]:
            setattr(estimator, name, decoded(state["fitted"][name]))
    set_small_arrays(estimator, state["arrays"])
    if "label_type" in state:
        estimator._label_binarizer = _label_binarizer(estimator.classes_, state["label_type"])
    dtype = _dtype(arrays)
    _check_size(state["units"], arrays)
    _check_fitted(estimator, state["units"])
    network = Network.build(architecture_of(estimator, state["units"]), estimator._output()[1], dtype)
    _fill(network, arrays)
    estimator._network = network
    estimator.coefs_ = list(network.coefs)
    estimator.intercepts_ = list(network.intercepts)
    estimator._remember_best()
    return estimator


def _check_size(units: list[int], arrays: dict[str, np.ndarray]) -> None:
    """Before a network of the described size is made: that there are as many weights."""
    described = sum(a * b for a, b in pairwise(units))
    there = sum(array.size for array in arrays.values())
    if not 0 <= described <= there:
        raise ValueError(f"the layers have {described} weights or more; there are {there} numbers")


def _check_fitted(estimator: Any, units: list[int]) -> None:
    """That what was learned belongs to a network of these widths."""
    described = (estimator.n_features_in_, estimator.n_outputs_, estimator.n_layers_)
    if described != (units[0], units[-1], len(units)):
        raise ValueError(f"inputs, outputs and layers are {described}; the layers' widths {units}")
    if estimator.out_activation_ != estimator._output()[0]:
        raise ValueError(f"out_activation_ cannot be {estimator.out_activation_!r}")
    if hasattr(estimator, "_label_binarizer"):
        n, kind = len(estimator.classes_), estimator._label_binarizer.y_type_
        if kind not in ("binary", "multiclass", "multilabel-indicator"):
            raise ValueError(f"labels cannot be {kind!r}")
        if estimator.classes_.ndim != 1 or units[-1] != (1 if kind == "binary" else n) or n < 2:
            raise ValueError(f"{n} classes do not fit {units[-1]} outputs")


def _label_binarizer(classes: np.ndarray, label_type: str) -> LabelBinarizer:
    """A binarizer that has learned these classes."""
    binarizer = LabelBinarizer()
    binarizer.classes_ = classes
    binarizer.y_type_ = label_type
    binarizer.sparse_input_ = False
    return binarizer


def _dtype(arrays: dict[str, np.ndarray]) -> np.dtype:
    """The one floating-point type of the network's arrays."""
    types = {array.dtype for array in arrays.values()}
    if len(types) != 1 or not types <= {np.dtype(np.float32), np.dtype(np.float64)}:
        raise ValueError(f"the arrays must all be float32 or all float64, got {sorted(map(str, types))}")
    return types.pop()


def _fill(network: Network, arrays: dict[str, np.ndarray]) -> None:
    """Copy the arrays into the network's flat vectors, checking names and shapes."""
    pairs: list[tuple[Slot, np.ndarray]] = [(slot, network.parameters) for slot in network.plan.parameters]
    pairs += [(slot, network.buffers) for slot in network.plan.buffers]
    names = {slot.name for slot, _ in pairs}
    if names != set(arrays):
        raise ValueError(f"the network's arrays must be {sorted(names)}, got {sorted(arrays)}")
    for slot, vector in pairs:
        if arrays[slot.name].shape != slot.shape:
            raise ValueError(f"array {slot.name} must have shape {slot.shape}, got {arrays[slot.name].shape}")
        slot.view(vector)[...] = arrays[slot.name]


# What small arrays may hold: truth values, numbers, text, objects that are text.
_SMALL_KINDS = "biufUO"
# Bytes of text that a small array may be padded to.
_MOST_TEXT = 1 << 20


# -- a perceptron, and a committee ---------------------------------------------------------------------

_PERCEPTRON = ("n_iter_", "t_", "n_updates_", "converged_", "n_features_in_")


def to_perceptron_state(estimator: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Take a fitted Perceptron apart; see ``to_state``."""
    state = {
        "parameters": encoded_parameters(estimator),
        "fitted": {
            name: encoded(getattr(estimator, name), name) for name in _PERCEPTRON if hasattr(estimator, name)
        },
        "arrays": small_arrays(estimator),
    }
    return state, {"coef": np.array(estimator.coef_), "intercept": np.array(estimator.intercept_)}


def from_perceptron_state(kind: type, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """Put a Perceptron together again."""
    estimator = with_parameters(kind, state["parameters"])
    for name in _PERCEPTRON:
        if name in state["fitted"]:
            setattr(estimator, name, decoded(state["fitted"][name]))
    set_small_arrays(estimator, state["arrays"])
    coef, intercept = arrays["coef"], arrays["intercept"]
    n_units = 1 if len(estimator.classes_) == 2 else len(estimator.classes_)
    if coef.shape != (n_units, estimator.n_features_in_) or intercept.shape != (n_units,) or len(arrays) != 2:
        raise ValueError(f"coef and intercept have shapes {coef.shape} and {intercept.shape}")
    estimator.coef_, estimator.intercept_ = coef, intercept
    return estimator


def to_committee_state(estimator: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Take a fitted OneVsOneMLPClassifier apart; see ``to_state``. Its members must be networks."""
    members = [to_state(member) for member in estimator.estimators_]
    base = estimator.estimator
    state = {
        "random_state": encoded(estimator.random_state, "parameter random_state"),
        "n_jobs": estimator.n_jobs,
        "estimator": None if base is None else encoded_parameters(base),
        "members": [state for state, _ in members],
        "fitted": {"n_classes_": int(estimator.n_classes_), "n_features_in_": int(estimator.n_features_in_)},
        "arrays": small_arrays(estimator),
    }
    arrays = {f"{i}.{name}": array for i, (_, own) in enumerate(members) for name, array in own.items()}
    return state, arrays


def from_committee_state(kind: type, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """Put a OneVsOneMLPClassifier together again."""
    from chainrule.estimators.classifier import MLPClassifier

    base = state["estimator"]
    member = None if base is None else with_parameters(MLPClassifier, base)
    estimator = kind(member, random_state=decoded(state["random_state"]), n_jobs=state["n_jobs"])
    estimator._validate_params()
    for name, value in state["fitted"].items():
        if name not in ("n_classes_", "n_features_in_"):
            raise ValueError(f"{name!r} is no attribute of a committee")
        setattr(estimator, name, value)
    set_small_arrays(estimator, state["arrays"])
    k = len(estimator.classes_)
    if estimator.n_classes_ != k or len(state["members"]) != k * (k - 1) // 2:
        raise ValueError(f"{k} classes need {k * (k - 1) // 2} networks; there are {len(state['members'])}")
    own: list[dict[str, np.ndarray]] = [{} for _ in state["members"]]
    for name, array in arrays.items():
        number, _, rest = name.partition(".")
        own[int(number)][rest] = array
    estimator.estimators_ = [
        from_state(MLPClassifier, *each) for each in zip(state["members"], own, strict=True)
    ]
    return estimator


def small_arrays(estimator: Any) -> dict[str, Any]:
    """The fitted attributes that are small arrays, with their types, as JSON can hold them.

    Raises
    ------
    TypeError
        If one is of a type that a file cannot name.
    """
    for name in _SMALL_ARRAYS:
        if np.asarray(getattr(estimator, name, 0)).dtype.kind not in _SMALL_KINDS:
            raise TypeError(f"{name} of dtype {getattr(estimator, name).dtype} cannot be written to a file")
    return {
        name: {"dtype": array.dtype.str, "values": array.tolist()}
        for name in _SMALL_ARRAYS
        if (array := getattr(estimator, name, None)) is not None
    }


def set_small_arrays(estimator: Any, known: dict[str, Any]) -> None:
    """Give an estimator what `small_arrays` took from it."""
    for name in _SMALL_ARRAYS:
        if name in known:
            values = known[name]["values"]
            array = np.array(values, dtype=_small_dtype(known[name]["dtype"], np.size(values)))
            setattr(estimator, name, array if array.ndim else array[()])


def _small_dtype(name: Any, n: int) -> np.dtype:
    """The dtype of a small array of n values."""
    dtype = np.dtype(name)
    if dtype.kind == "U":  # text as long as a file says may take memory that the file has not
        return dtype if n * dtype.itemsize <= _MOST_TEXT else np.dtype(np.str_)
    if dtype.kind not in _SMALL_KINDS or dtype.itemsize > 8:
        raise ValueError(f"an array cannot be of dtype {name!r}")
    return dtype


def encoded_parameters(estimator: Any) -> dict[str, Any]:
    """An estimator's parameters as JSON can hold them."""
    return {name: encoded(value, f"parameter {name}") for name, value in estimator.get_params().items()}


def with_parameters(kind: type, parameters: dict[str, Any]) -> Any:
    """An estimator with the parameters that `encoded_parameters` gave, checked."""
    estimator: Any = kind(**{name: decoded(value) for name, value in parameters.items()})
    estimator._validate_params()
    return estimator


# What JSON has no form for is written as a dict with one key that names its type.


def encoded(value: Any, name: str) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [encoded(item, name) for item in value]
    if isinstance(value, tuple):
        return {"tuple": [encoded(item, name) for item in value]}
    if isinstance(value, np.ndarray):
        return {"tuple": value.tolist()}
    if isinstance(value, dict):
        return {"dict": [[encoded(key, name), encoded(item, name)] for key, item in value.items()]}
    if type(value) in SCHEDULES.values():
        name = next(name for name, kind in SCHEDULES.items() if kind is type(value))
        return {
            "schedule": [name, {key: item for key, item in vars(value).items() if not key.startswith("_")}]
        }
    if isinstance(value, type | np.dtype):
        return np.dtype(value).name
    raise TypeError(
        f"{name}={value!r} cannot be written to a file, which holds numbers and text: change it with "
        "set_params first"
    )


def decoded(value: Any) -> Any:
    """The value that `encoded` wrote."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    ((form, content),) = value.items()
    if form == "tuple":
        return tuple(decoded(item) for item in content)
    if form == "dict":
        return {decoded(key): decoded(item) for key, item in content}
    if form == "schedule":
        return SCHEDULES[content[0]](**content[1])
    raise ValueError(f"unknown form {form!r}")
