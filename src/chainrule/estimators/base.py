"""What MLPClassifier and MLPRegressor share: scikit-learn 1.9's protocol around one network.

The order of every random draw, the normalisation of loss and penalty, the stopping rules, the attributes
and the texts of errors and warnings are scikit-learn's, so that the same ``random_state`` gives the same
model. What computes is the engine.
"""

from abc import ABC, abstractmethod
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from chainrule.estimators.lbfgs import LBFGSMixin
from chainrule.estimators.network import Network
from chainrule.estimators.parameters import (
    CONSTRAINTS,
    architecture_of,
    check_combinations,
    hidden_sizes,
    naming,
)
from chainrule.estimators.stochastic import STOCHASTIC_SOLVERS, SolverState, StochasticMixin
from chainrule.execution import Examples, prepare
from chainrule.functions import get_activation, get_initializer, get_loss
from chainrule.plan import LossTerm

__all__ = ["BaseMLP"]


class BaseMLP(StochasticMixin, LBFGSMixin, CallbackSupportMixin, BaseEstimator, ABC):
    """Base of the two estimators; not for use by itself."""

    _parameter_constraints: ClassVar[dict] = CONSTRAINTS

    # Parameters, set by the subclasses' constructors.
    hidden_layer_sizes: Any
    activation: Any
    solver: str
    alpha: float
    batch_size: Any
    learning_rate: Any
    learning_rate_init: float
    power_t: float
    max_iter: int
    loss: Any
    shuffle: bool
    random_state: Any
    tol: float
    verbose: Any
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    dropout: Any
    batch_norm: bool
    residual: bool
    clip_norm: float | None
    weight_decay: float
    init: str
    scoring: Any
    dtype: Any
    precision: str
    n_jobs: int | None
    max_time: float | None

    # Fitted attributes.
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    n_layers_: int
    n_outputs_: int
    n_iter_: int
    out_activation_: str
    t_: int
    loss_: float
    loss_curve_: list[float]
    validation_loss_curve_: list[float] | None
    validation_scores_: list[float] | None
    best_loss_: float | None
    best_validation_score_: float | None
    classes_: Any
    _network: Network
    _optimizer: SolverState
    _random_state: np.random.RandomState
    _no_improvement_count: int
    _best: tuple[np.ndarray, np.ndarray]

    # -- what the two estimators differ in ---------------------------------------------------------

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        """Checked X and y; y as scikit-learn passes it on."""

    @abstractmethod
    def _targets(self, y: np.ndarray) -> np.ndarray:
        """y as the loss takes it: class indices, or one row an example."""

    @abstractmethod
    def _output(self) -> tuple[str, LossTerm]:
        """Name of the output activation, and the loss."""

    @abstractmethod
    def _decode(self, output: np.ndarray) -> np.ndarray:
        """Predictions from the network's activated output (n, n_outputs)."""

    @abstractmethod
    def _score_predictions(self, y: np.ndarray, prediction: np.ndarray, sample_weight: Any) -> float:
        """The default score of predictions."""

    def _weighted(self, y: np.ndarray, sample_weight: Any) -> Any:
        """Sample weights with those of the classes worked in."""
        return sample_weight

    def _learn_scaling(self, y: np.ndarray, sample_weight: Any) -> None:
        """Learn from y (n, n_outputs) how to scale targets; nothing to learn by default."""

    def _loss_divisor(self) -> float:
        """What the mean loss is divided by before it is reported."""
        return 1.0

    # -- fitting -----------------------------------------------------------------------------------

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation: tuple | None = None
    ) -> Any:
        check_combinations(self)
        sizes = hidden_sizes(self.hidden_layer_sizes)
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, y = self._validate_input(X, y, incremental, reset=first_pass)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        sample_weight = self._weighted(y, sample_weight)
        if y.ndim == 1:
            y = y.reshape((-1, 1))
        self.n_outputs_ = y.shape[1]
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            self._learn_scaling(y, sample_weight)
            self._initialize([X.shape[1], *sizes, self.n_outputs_], X.dtype)
        self._bind_network()
        if validation is not None:
            validation = self._check_validation(*validation)

        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        context = self._init_callback_context(max_subtasks=self.max_iter + 1)
        labels = partial(self._decode_targets, y)
        context.call_on_fit_task_begin(estimator=self, X=X, y=labels, metadata=metadata)
        if self.solver in STOCHASTIC_SOLVERS:
            self._fit_stochastic(X, y, sample_weight, incremental, validation, context)
        else:
            self._fit_lbfgs(X, y, sample_weight, validation, context)
        if not np.isfinite(self._network.parameters).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may"
                " contain large values and need to be preprocessed."
            )
        context.call_on_fit_task_end(
            estimator=self,
            X=X,
            y=labels,
            metadata=metadata,
            reconstruction_attributes=self._reconstruction_attributes,
        )
        return self

    def _initialize(self, units: list[int], dtype: Any) -> None:
        """Attributes of a first fit, and the weights in scikit-learn's order of draws."""
        self.n_iter_ = 0
        self.t_ = 0
        self.n_layers_ = len(units)
        self.out_activation_, loss = self._output()
        architecture = architecture_of(self, units)
        self._network = Network.build(architecture, loss, dtype)
        for number, (fan_in, fan_out) in enumerate(pairwise(units)):
            weight, bias = self._draw(fan_in, fan_out, number, architecture.activations)
            self._network.coefs[number][...] = weight
            self._network.intercepts[number][...] = bias
        self.coefs_ = list(self._network.coefs)
        self.intercepts_ = list(self._network.intercepts)
        self._remember_best()
        if self.solver in STOCHASTIC_SOLVERS:
            self.loss_curve_ = []
            self.validation_loss_curve_ = None
            self._no_improvement_count = 0
            self.validation_scores_ = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None
            self.best_loss_ = None if self.early_stopping else np.inf

    def _draw(
        self, fan_in: int, fan_out: int, number: int, activations: tuple[str, ...]
    ) -> tuple[np.ndarray, np.ndarray | float]:
        """Weights (in, out) and biases of one layer, from ``random_state``."""
        if self.init != "auto":
            name = activations[min(number, len(activations) - 1)] if activations else "identity"
            settings = {"alpha": get_activation(name).default_alpha} if name == "leaky_relu" else {}
            generator = np.random.default_rng(self._random_state.randint(2**31, size=2))
            return get_initializer(self.init).draw((fan_out, fan_in), generator, **settings).T, 0.0
        # Glorot & Bengio 2010, equation (8); scikit-learn takes 2 in place of 6 for the logistic.
        factor = 2.0 if self.activation in ("logistic", "sigmoid") else 6.0
        bound = np.sqrt(factor / (fan_in + fan_out))
        weight = self._random_state.uniform(-bound, bound, (fan_in, fan_out))
        return weight, self._random_state.uniform(-bound, bound, fan_out)

    def _bind_network(self) -> None:
        """Make ``_network`` hold what ``coefs_`` and ``intercepts_`` say, and them its views."""
        loss = self._output()[1]
        network = getattr(self, "_network", None)
        architecture = architecture_of(self, self._units())
        if network is None or network.architecture != architecture:
            network = Network.build(architecture, loss, self._coefs_dtype()).take_over(network)
        rebuilt = network is not getattr(self, "_network", None)
        network = network.with_loss(loss)
        network.load(self.coefs_, self.intercepts_)
        self._network = network
        if rebuilt:
            self._remember_best()
        self.coefs_ = list(network.coefs)
        self.intercepts_ = list(network.intercepts)

    def _units(self) -> list[int]:
        """The widths that ``coefs_`` describe; where its entries do not fit together, the fitted ones."""
        shapes = [np.shape(coef) for coef in self.coefs_]
        network = getattr(self, "_network", None)
        fits = bool(shapes) and all(len(shape) == 2 for shape in shapes)
        if network is not None and not (fits and all(a[1] == b[0] for a, b in pairwise(shapes))):
            return list(network.architecture.units)  # ``load`` then names the entry that is wrong
        return [shapes[0][0], *(shape[1] for shape in shapes)]

    def _coefs_dtype(self) -> np.dtype:
        return np.result_type(np.float32, *(np.asarray(coef).dtype for coef in self.coefs_))

    def _remember_best(self) -> None:
        self._best = self._network.parameters.copy(), self._network.buffers.copy()

    def _examples(self, X: Any, y: np.ndarray, sample_weight: Any) -> Examples:
        plan = self._network.plan
        dtype = self._network.parameters.dtype
        return prepare(plan, X, self._targets(y), sample_weight, dtype=dtype)

    # -- validation data ---------------------------------------------------------------------------

    def _check_validation(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray, Any]:
        """Validation data given to ``fit``, checked and encoded as the training data is."""
        if X is None or y is None:
            raise ValueError("X_val and y_val must be given together")
        dtype = self._network.parameters.dtype
        with naming("X_val"):
            X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=dtype, reset=False)
        kind = None if is_classifier(self) else "numeric"
        y = check_array(y, dtype=kind, ensure_2d=False, input_name="y_val")
        y = self._encode_validation(y.ravel() if y.shape[1:] == (1,) else y)
        if X.shape[0] != y.shape[0]:
            raise ValueError(f"X_val and y_val must have as many rows; got {X.shape[0]} and {y.shape[0]}")
        if sample_weight is not None:
            with naming("sample_weight_val"):
                sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        y = y.reshape((-1, 1)) if y.ndim == 1 else y
        if y.shape[1] != self.n_outputs_:
            raise ValueError(f"y_val must have {self.n_outputs_} columns as y has; got {y.shape[1]}")
        return X, y, sample_weight

    def _encode_validation(self, y: np.ndarray) -> np.ndarray:
        """Validation targets in the form that ``_validate_input`` gives y."""
        return y

    def _decode_targets(self, y: np.ndarray) -> np.ndarray:
        """Encoded targets (n, n_outputs) back in the user's terms."""
        return y[:, 0] if y.shape[1] == 1 else y

    def _reconstruction_attributes(self) -> dict[str, Any]:
        """What a callback's copy of this estimator needs to predict as of now."""
        network = self._network.copy()
        return {"_network": network, "coefs_": network.coefs, "intercepts_": network.intercepts}

    # -- prediction --------------------------------------------------------------------------------

    def _activated_output(self, X: Any, check_input: bool = True) -> np.ndarray:
        """The network's output (n, n_outputs), through its output activation."""
        check_is_fitted(self)
        if check_input:
            kind = self.dtype if self.dtype is not None else "numeric"
            X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=kind, reset=False)
        network = self._current_network(X.dtype)
        dtype = network.parameters.dtype
        X = (
            X.tocsr().astype(dtype, copy=False)
            if hasattr(X, "tocsr")
            else np.ascontiguousarray(X, dtype=dtype)
        )
        return self._activate_output(network.executor(self.n_jobs).predict(X))

    def _activate_output(self, z: np.ndarray) -> np.ndarray:
        links = {"softmax": "softmax_cross_entropy", "logistic": "binary_cross_entropy", "exp": "poisson"}
        name = links.get(self.out_activation_, "half_squared_error")
        return get_loss(name).link(z)

    def _current_network(self, dtype: Any) -> Network:
        """A network with the numbers of ``coefs_`` and ``intercepts_``, in the dtype to compute in."""
        network = getattr(self, "_network", None)
        if network is None or not network.holds(self.coefs_, self.intercepts_):
            units = self._units()
            if network is not None and list(network.architecture.units) == units:
                network = network.copy()
            else:
                loss = LossTerm("half_squared_error")
                network = Network.build(architecture_of(self, units), loss, self._coefs_dtype())
            network.load(self.coefs_, self.intercepts_)
        # As NumPy would: float32 weights on float64 (or integer) data compute in float64.
        wanted = np.result_type(
            network.parameters.dtype, dtype if np.dtype(dtype).kind == "f" else np.float64
        )
        return network.copy(wanted) if wanted != network.parameters.dtype else network

    # -- odds and ends -----------------------------------------------------------------------------

    def _check_solver(self) -> bool:
        if self.solver not in STOCHASTIC_SOLVERS:
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic."
            )
        return True

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make ``coefs_`` views again: pickling has made copies of them."""
        super().__setstate__(state)
        network = self.__dict__.get("_network")
        if network is not None and "coefs_" in self.__dict__:
            try:
                network.load(self.coefs_, self.intercepts_)
            except (ValueError, TypeError, AttributeError):
                return  # the user's lists no longer fit the network; the next prediction says so
            self.coefs_, self.intercepts_ = list(network.coefs), list(network.intercepts)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
