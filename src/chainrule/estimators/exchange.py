"""To scikit-learn and back, to a module, and to plain data for a file."""

import copy
from typing import Any, Self

import numpy as np
import sklearn.neural_network
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from chainrule import nn
from chainrule.estimators.network import Network
from chainrule.plan import store

__all__ = ["ExchangeMixin"]

_SHARED_ACTIVATIONS = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}

# Fitted attributes that move between the two libraries as they are.
_FITTED = (
    "n_features_in_", "feature_names_in_", "n_layers_", "n_outputs_", "n_iter_", "out_activation_", "t_",
    "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_", "classes_",
    "_label_binarizer", "_no_improvement_count",
)  # fmt: skip


def _counterpart(cls: type) -> Any:
    """scikit-learn's class of the same name; of the same kind, for a subclass of ours."""
    mlp = sklearn.neural_network
    return mlp.MLPClassifier if issubclass(cls, ClassifierMixin) else mlp.MLPRegressor


def _hand_over(source: Any, target: Any) -> None:
    """Copy the fitted attributes: a curve that one goes on with is not the other's."""
    for name in _FITTED:
        if hasattr(source, name):
            setattr(target, name, copy.deepcopy(getattr(source, name)))


class ExchangeMixin:
    """Conversions of a fitted estimator."""

    def to_module(self) -> nn.Sequential:
        """The network as a module of ``chainrule.nn`` in evaluation mode, with its own copy of the weights.

        The module's outputs are raw, before the output activation (and before ``target_scaling`` is undone).
        """
        check_is_fitted(self)
        network: Network = self._current_network(self._coefs_dtype()).copy()  # type: ignore[attr-defined]
        module = network.architecture.module().to(network.parameters.dtype)
        store(network.plan, module, network.parameters, network.buffers)
        return module.eval()

    def to_sklearn(self) -> Any:
        """scikit-learn's own estimator with the same parameters, weights and fitted attributes.

        Raises
        ------
        ValueError
            If the network has something that scikit-learn's cannot express.
        """
        check_is_fitted(self)
        kind = _counterpart(type(self))
        network: Network = self._current_network(self._coefs_dtype())  # type: ignore[attr-defined]
        names = set(network.architecture.activations)
        if len(names) > 1 or not names <= set(_SHARED_ACTIVATIONS):
            raise ValueError(f"activation {sorted(names)} cannot be expressed by scikit-learn's MLP")
        if network.plan.uses("batch_norm") or network.plan.uses("add"):
            raise ValueError("batch_norm and residual cannot be expressed by scikit-learn's MLP")
        if getattr(self, "target_scaling", None) is not None:
            raise ValueError("target_scaling cannot be expressed by scikit-learn's MLP")
        parameters = self._sklearn_parameters(kind, _SHARED_ACTIVATIONS[names.pop()] if names else "identity")
        other = kind(**parameters)
        _hand_over(self, other)
        other.coefs_ = [np.array(coef, order="C") for coef in network.coefs]
        other.intercepts_ = [np.array(intercept) for intercept in network.intercepts]
        # What its early stopping goes back to where a warm start brings nothing better.
        other._best_coefs = [coef.copy() for coef in other.coefs_]
        other._best_intercepts = [intercept.copy() for intercept in other.intercepts_]
        return other

    def _sklearn_parameters(self, kind: Any, activation: str) -> dict[str, Any]:
        """Those of the parameters that scikit-learn's has, where it takes their value."""
        own = self.get_params()  # type: ignore[attr-defined]
        parameters = {name: own[name] for name in kind().get_params()}
        parameters["activation"] = activation
        if parameters["solver"] == "adamw":
            parameters["solver"] = "adam"
        if parameters["learning_rate"] not in ("constant", "invscaling", "adaptive"):
            parameters["learning_rate"] = "constant"
        if "loss" in parameters and parameters["loss"] not in ("squared_error", "poisson"):
            parameters["loss"] = "squared_error"
        return parameters

    @classmethod
    def from_sklearn(cls, estimator: Any) -> Self:
        """The estimator of this library with the parameters, weights and fitted attributes of scikit-learn's.

        Raises
        ------
        TypeError
            If ``estimator`` is not scikit-learn's estimator of the same name.
        """
        kind = _counterpart(cls)
        if not isinstance(estimator, kind):
            raise TypeError(
                f"estimator must be a sklearn.neural_network.{kind.__name__}; got {type(estimator).__name__}"
            )
        mine: Any = cls(**estimator.get_params())
        _hand_over(estimator, mine)
        if hasattr(estimator, "coefs_"):
            mine.coefs_ = [coef.copy() for coef in estimator.coefs_]
            mine.intercepts_ = [intercept.copy() for intercept in estimator.intercepts_]
            mine.validation_loss_curve_ = None
            mine._bind_network()
            mine._remember_best()
        result: Self = mine
        return result
