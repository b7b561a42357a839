"""What is exported: networks, what is done to their input, and what is made of their outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from chainrule.exports.networks import Network, taken_apart
from chainrule.exports.tables import Curve, Table, table_of
from chainrule.nn import Module

__all__ = ["Exported", "Target", "exported", "module_of"]

_ESTIMATORS = "a chainrule.nn module, or a fitted MLPClassifier or MLPRegressor"
_EXPORTED = f"{_ESTIMATORS}, TabularClassifier, TabularRegressor or OneVsOneMLPClassifier"


@dataclass(frozen=True)
class Target:
    """From a regressor's output z to its target, in float64: z · scale + mean is y, or else log(1 + y).

    Attributes
    ----------
    mean, scale : numpy.ndarray
        (n_outputs,)
    is_logarithm : bool
        Of 1 + y; it is no less than 0.
    """

    mean: np.ndarray
    scale: np.ndarray
    is_logarithm: bool = False


@dataclass(frozen=True)
class Exported:
    """A model in evaluation mode, taken apart.

    Attributes
    ----------
    networks : tuple of Network
        One or more, of the same input: what they say is averaged, or they vote.
    kind : {"module", "classifier", "labels", "votes", "regressor"}
        "labels" is a classifier of several labels a row; of "votes" each network tells two classes apart.
    link : str
        What the output goes through: "identity", "softmax", "logistic" or "exp".
    classes : numpy.ndarray or None
        The labels of a classifier of one label a row: as many as z has columns, or two for one column.
    temperature : float or None
        The softmax is that of z / temperature.
    target : Target, Curve or None
        What a regressor's output becomes.
    table : Table or None
        What is done to the raw numbers first.
    answers_in_double : bool
        Whether all that comes after the networks is done in float64, and stays that.
    """

    networks: tuple[Network, ...]
    kind: str = "module"
    link: str = "identity"
    classes: np.ndarray | None = None
    temperature: float | None = None
    target: Target | Curve | None = None
    table: Table | None = None
    answers_in_double: bool = False

    @property
    def dtype(self) -> np.dtype:
        """Of the networks."""
        return self.networks[0].dtype

    @property
    def input_dtype(self) -> np.dtype:
        """Raw numbers may need more digits than the network, which sees them scaled."""
        return self.dtype if self.table is None else np.dtype(np.float64)

    @property
    def answer_dtype(self) -> np.dtype:
        """Of probabilities and predicted numbers."""
        return np.dtype(np.float64) if self.answers_in_double else self.dtype

    @property
    def n_columns(self) -> int:
        """Width of X."""
        return self.networks[0].n_inputs if self.table is None else len(self.table.names)

    @property
    def pairs(self) -> np.ndarray:
        """The numbers of the two classes that each network of "votes" tells apart: (n_networks, 2)."""
        assert self.classes is not None
        return np.array(list(combinations(range(len(self.classes)), 2)))

    @property
    def n_outputs(self) -> int:
        """Width of z."""
        return self.networks[0].n_outputs

    def to(self, dtype: Any) -> Exported:
        """The same model, its networks computed in float32 or float64; TypeError for another dtype."""
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64; got {dtype}")
        return replace(self, networks=tuple(network.to(dtype) for network in self.networks))


def module_of(model: Any) -> Module:
    """The module of a model: itself, or the network of a fitted estimator (raw outputs).

    Raises
    ------
    TypeError
        If the model is neither.
    """
    if isinstance(model, Module):
        return model
    if hasattr(model, "to_module"):
        module: Module = model.to_module()
        return module
    raise TypeError(f"model must be {_ESTIMATORS}; got {type(model).__name__}")


def exported(
    model: Any, n_inputs: int | None = None, kinds: Sequence[str] = ("numeric", "boolean")
) -> Exported:
    """Take a model apart.

    Parameters
    ----------
    model : Module, MLPClassifier, MLPRegressor, TabularClassifier, ... or SavedModel
        An estimator must be fitted.
    n_inputs : int, optional
        Number of features, where no layer of a module states it.
    kinds : sequence of str
        What columns of a table may hold.

    Raises
    ------
    TypeError
        If the model is of another kind, or a layer of it has a ``forward`` of its own.
    ValueError
        If the number of inputs is not known, or a table has columns of another kind.
    sklearn.exceptions.NotFittedError
        If an estimator has not been fitted.
    """
    if hasattr(model, "estimator") and hasattr(model, "preprocessor"):
        return _of_saved(model.estimator, model.preprocessor, kinds)
    if isinstance(model, Module):
        return Exported((taken_apart(model, n_inputs),))
    if hasattr(model, "to_module"):
        return _of_estimator(model)
    # Loaded only for what is no module: estimators bring scikit-learn and pandas along.
    from chainrule.estimators.one_vs_one import OneVsOneMLPClassifier
    from chainrule.estimators.tabular.base import BaseTabular

    if isinstance(model, BaseTabular):
        return _of_tabular(model, kinds)
    if isinstance(model, OneVsOneMLPClassifier):
        return _of_pairs(model)
    raise TypeError(f"model must be {_EXPORTED}; got {type(model).__name__}")


def _of_saved(estimator: Any, preprocessor: Any, kinds: Sequence[str]) -> Exported:
    """An estimator with the way from a table to it, if it has not one of its own."""
    parts = exported(estimator, kinds=kinds)
    if preprocessor is None:
        return parts
    if parts.table is not None:
        raise ValueError(
            f"{type(estimator).__name__} reads tables itself; got a preprocessor before it as well"
        )
    return replace(parts, table=table_of(preprocessor, kinds))


def _of_estimator(estimator: Any) -> Exported:
    """An MLPClassifier or MLPRegressor."""
    networks, link = (taken_apart(estimator.to_module()),), estimator.out_activation_
    if not hasattr(estimator, "classes_"):
        target = None
        if estimator.target_scaling is not None:
            target = Target(_row(estimator.target_mean_), _row(estimator.target_scale_))
        return Exported(networks, "regressor", link, target=target)
    if link == "logistic" and estimator.n_outputs_ > 1:
        return Exported(networks, "labels", link)
    classes = np.asarray(estimator.classes_)
    # A classifier that has seen one class answers with it, whatever its one output says.
    return Exported(networks, "classifier", link, classes if len(classes) > 1 else classes.repeat(2))


def _of_pairs(estimator: Any) -> Exported:
    """A OneVsOneMLPClassifier; that of two classes is its one network."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator, "estimators_")
    others = [type(one).__name__ for one in estimator.estimators_ if not hasattr(one, "to_module")]
    if others:
        raise TypeError(f"model cannot be exported: it must be made of MLPClassifiers; got {others[0]}")
    classes = np.asarray(estimator.classes_)
    if len(classes) == 2:
        return replace(exported(estimator.estimators_[0]), classes=classes)
    networks = tuple(
        taken_apart(one.to_module(), prefix=f"{number}.") for number, one in enumerate(estimator.estimators_)
    )
    return Exported(networks, "votes", "logistic", classes)


def _of_tabular(estimator: Any, kinds: Sequence[str]) -> Exported:
    """A TabularClassifier or TabularRegressor."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(estimator, "networks_")
    table = table_of(estimator.encoder_, kinds)
    networks = tuple(
        taken_apart(network, prefix=f"{number}.") for number, network in enumerate(estimator.networks_)
    )
    if not hasattr(estimator, "classes_"):
        target = _tabular_target(estimator.target_)
        return Exported(networks, "regressor", target=target, table=table, answers_in_double=True)
    return Exported(
        networks, "classifier", "softmax", np.asarray(estimator.classes_),
        temperature=float(estimator.temperature_), table=table, answers_in_double=True,
    )  # fmt: skip


def _tabular_target(known: dict[str, Any]) -> Target | Curve:
    """What a TabularRegressor has learned of its target, the other way round."""
    if known["transform"] == "rank":
        return Curve.of(known["places"], known["knots"])
    return Target(_row(known["mean"]), _row(known["scale"]), known["transform"] == "log")


def _row(values: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(values, np.float64))
