"""MLPRegressor: scikit-learn 1.9's, on the engine."""

from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.callback import with_callbacks
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from chainrule.estimators.base import BaseMLP
from chainrule.estimators.classifier import _validation
from chainrule.estimators.exchange import ExchangeMixin
from chainrule.estimators.parameters import CONSTRAINTS
from chainrule.functions import get_loss
from chainrule.plan import LossTerm

__all__ = ["MLPRegressor"]

# The estimator's names of losses -> records of chainrule.functions.
LOSS_RECORDS = {
    "squared_error": "half_squared_error",
    "poisson": "poisson",
    "absolute_error": "absolute_error",
    "huber": "huber",
    "quantile": "quantile",
}


class MLPRegressor(RegressorMixin, ExchangeMixin, BaseMLP):
    """Multi-layer perceptron regressor: a drop-in for ``sklearn.neural_network.MLPRegressor``.

    The parameters up to ``max_fun`` are scikit-learn 1.9's, with its defaults and meaning, and the same
    ``random_state`` gives the same model. The others are this library's; their defaults change nothing.

    Parameters
    ----------
    loss : str or (str, float), default="squared_error"
        "squared_error" and "poisson" (with an exponential output) as in scikit-learn; "absolute_error",
        "huber" and "quantile" besides. A pair gives the loss's setting, as ``("quantile", 0.9)`` or
        ``("huber", 1.35)``.
    hidden_layer_sizes : array-like of int, default=(100,)
        Widths of the hidden layers.
    activation : str or list of str, default="relu"
        "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu",
        "mish"; a list gives one for each hidden layer.
    solver : {"lbfgs", "sgd", "adam", "adamw"}, default="adam"
        "adamw" is Adam with the decoupled ``weight_decay``.
    alpha : float, default=0.0001
        L2 penalty, divided by the batch's total sample weight.
    batch_size : int or "auto", default="auto"
        "auto" is min(200, n_samples).
    learning_rate : str, default="constant"
        "constant", "invscaling" and "adaptive" as in scikit-learn (for "sgd"); "step", "cosine" and
        "one_cycle" for every stochastic solver.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
        Exponent of "invscaling".
    max_iter : int, default=200
        Epochs, or iterations of L-BFGS.
    shuffle : bool, default=True
    random_state : int, RandomState or None, default=None
    tol : float, default=1e-4
        Improvement that counts, for ``n_iter_no_change``.
    verbose : bool or int, default=False
        Print the loss of each epoch.
    warm_start : bool, default=False
        Go on from the last fit's weights.
    momentum : float, default=0.9
    nesterovs_momentum : bool, default=True
    early_stopping : bool, default=False
        Stop on the validation score, and go back to the best weights.
    validation_fraction : float, default=0.1
        Rows held out for early stopping.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Adam's.
    n_iter_no_change : int, default=10
        Epochs without improvement that are waited for.
    max_fun : int, default=15000
        Calls of the loss by L-BFGS.
    dropout : float or list of float, default=0.0
        Probability of dropping a hidden unit; a list gives one for each hidden layer.
    batch_norm : bool, default=False
        Batch normalisation between each hidden layer's product and its activation.
    residual : bool, default=False
        h + F(h) around each hidden layer that is as wide as the one below.
    clip_norm : float or None, default=None
        Bound on the gradient's global norm.
    weight_decay : float, default=0.0
        Decoupled decay of the weights: w ← w − lr · weight_decay · w.
    init : str, default="auto"
        "auto" is scikit-learn's Glorot draw; else the name of an initializer, as "he_normal".
    scoring : str, callable or None, default=None
        What early stopping maximises: R², "loss" for the validation loss, or any scorer.
    dtype : "float32", "float64" or None, default=None
        Of the computation; that of X by default.
    precision : {"full", "bf16", "bf16x3"}, default="full"
        What the factors of large matrix products are rounded to while training in float32; see
        ``chainrule.train.FitOptions``.
    n_jobs : int or None, default=None
        Threads; chosen by the size of the network by default. The model does not depend on it.
    max_time : float or None, default=None
        Seconds after which training stops.
    target_scaling : "standard" or None, default=None
        Train on targets of zero mean and unit variance; predictions are in the targets' own units.

    Attributes
    ----------
    loss_ : float
        The last epoch's loss.
    best_loss_ : float or None
        The least loss; None with early stopping.
    loss_curve_ : list of float
        Loss of each epoch.
    validation_loss_curve_ : list of float or None
        Loss on the validation data after each epoch.
    validation_scores_ : list of float or None
        Score on the validation data after each epoch, with early stopping.
    best_validation_score_ : float or None
        The best of them.
    t_ : int
        Training samples seen.
    coefs_, intercepts_ : list of ndarray
        (in, out) weights and (out,) biases of each layer; writing to them changes the model.
    n_iter_, n_layers_, n_outputs_, n_features_in_ : int
    feature_names_in_ : ndarray of str
    out_activation_ : str
        "identity" or "exp".
    target_mean_, target_scale_ : ndarray
        With ``target_scaling``.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> regressor = MLPRegressor(hidden_layer_sizes=(16,), solver="lbfgs", alpha=1.0, max_iter=500,
    ...                          target_scaling="standard", random_state=0).fit(X, y)
    >>> bool(regressor.score(X, y) > 0.45)
    True
    """

    def __init__(  # noqa: PLR0913 - scikit-learn's constructor
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: Any = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        batch_norm: bool = False,
        residual: bool = False,
        clip_norm: float | None = None,
        weight_decay: float = 0.0,
        init: str = "auto",
        scoring: Any = None,
        dtype: Any = None,
        precision: str = "full",
        n_jobs: int | None = None,
        max_time: float | None = None,
        target_scaling: str | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.loss = loss
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.residual = residual
        self.clip_norm = clip_norm
        self.weight_decay = weight_decay
        self.init = init
        self.scoring = scoring
        self.dtype = dtype
        self.precision = precision
        self.n_jobs = n_jobs
        self.max_time = max_time
        self.target_scaling = target_scaling

    _parameter_constraints = {  # noqa: RUF012 - scikit-learn's protocol
        **CONSTRAINTS,
        "loss": [StrOptions(set(LOSS_RECORDS)), tuple],
        "target_scaling": [None, StrOptions({"standard"})],
    }

    # -- what BaseMLP asks for ---------------------------------------------------------------------

    def _loss_setting(self) -> tuple[str, float]:
        """Name and setting of the loss."""
        if isinstance(self.loss, str):
            return self.loss, get_loss(LOSS_RECORDS[self.loss]).setting
        if len(self.loss) != 2 or self.loss[0] not in ("huber", "quantile"):
            raise ValueError(f"loss as a pair must be ('quantile', q) or ('huber', delta); got {self.loss!r}")
        name, setting = self.loss
        if not isinstance(setting, Real):
            raise ValueError(f"loss ({name!r}, setting) needs a number; got {setting!r}")
        setting = float(setting)
        if name == "quantile" and not 0 < setting < 1:
            raise ValueError(f"loss ('quantile', q) needs q between 0 and 1; got {setting}")
        if not setting > 0:
            raise ValueError(f"loss ('huber', delta) needs a positive delta; got {setting}")
        return name, setting

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=True,
            dtype=self.dtype or (np.float64, np.float32), reset=reset,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _learn_scaling(self, y: np.ndarray, sample_weight: Any) -> None:
        if self.target_scaling is None:
            return
        if self._loss_setting()[0] == "poisson":
            raise ValueError("target_scaling does not go with loss='poisson': counts have no negative values")
        columns = y.astype(np.float64)
        self.target_mean_ = np.average(columns, axis=0, weights=sample_weight)
        variance = np.average((columns - self.target_mean_) ** 2, axis=0, weights=sample_weight)
        self.target_scale_ = np.where(variance > 0, np.sqrt(variance), 1.0)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        if self.target_scaling is not None:
            y = (y - self.target_mean_) / self.target_scale_
        return y

    def _output(self) -> tuple[str, LossTerm]:
        name, setting = self._loss_setting()
        return "exp" if name == "poisson" else "identity", LossTerm(LOSS_RECORDS[name], setting)

    def _loss_divisor(self) -> float:
        # scikit-learn reports the squared error averaged over outputs, though it descends on their sum.
        return float(self.n_outputs_) if self.loss == "squared_error" else 1.0

    def _decode(self, output: np.ndarray) -> np.ndarray:
        if self.target_scaling is not None:
            scaled = output * self.target_scale_ + self.target_mean_
            output = scaled.astype(output.dtype)
        return output.ravel() if output.shape[1] == 1 else output

    def _score_predictions(self, y: np.ndarray, prediction: np.ndarray, sample_weight: Any) -> float:
        return float(r2_score(y, prediction, sample_weight=sample_weight))

    # -- the public methods ------------------------------------------------------------------------

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> "MLPRegressor":  # fmt: skip
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
        X_val, y_val, sample_weight_val : optional
            Validation data, in place of a share of X: its loss is recorded, and early stopping uses it.

        Returns
        -------
        self
        """
        return self._fit(
            X, y, sample_weight, incremental=False, validation=_validation(X_val, y_val, sample_weight_val)
        )

    @available_if(lambda est: est._check_solver())
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "MLPRegressor":
        """Go on training with a single pass over the given data; parameters as for ``fit``."""
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """Predicted values of the rows of X: (n_samples,) or (n_samples, n_outputs)."""
        return self._decode(self._activated_output(X))
