"""MLPClassifier: scikit-learn 1.9's, on the engine."""

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.callback import with_callbacks
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import validate_data

from chainrule.estimators.base import BaseMLP
from chainrule.estimators.exchange import ExchangeMixin
from chainrule.estimators.parameters import CONSTRAINTS, naming
from chainrule.plan import LossTerm

__all__ = ["MLPClassifier"]


class MLPClassifier(ClassifierMixin, ExchangeMixin, BaseMLP):
    """Multi-layer perceptron classifier: a drop-in for ``sklearn.neural_network.MLPClassifier``.

    The parameters up to ``max_fun`` are scikit-learn 1.9's, with its defaults and meaning, and the same
    ``random_state`` gives the same model. The others are this library's; their defaults change nothing.

    Parameters
    ----------
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
    class_weight : "balanced", dict, list of dicts or None, default=None
        Weight of each class, from label to weight.
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
        What early stopping maximises: the accuracy, "loss" for the validation loss, or any scorer.
    dtype : "float32", "float64" or None, default=None
        Of the computation; that of X by default.
    precision : {"full", "bf16", "bf16x3"}, default="full"
        What the factors of large matrix products are rounded to while training in float32; see
        ``chainrule.train.FitOptions``.
    n_jobs : int or None, default=None
        Threads; chosen by the size of the network by default. The model does not depend on it.
    max_time : float or None, default=None
        Seconds after which training stops.

    Attributes
    ----------
    classes_ : ndarray or list of ndarray
        Class labels.
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
        "softmax" or "logistic".

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = MLPClassifier((16,), max_iter=400, learning_rate_init=0.01, random_state=1).fit(X, y)
    >>> bool(classifier.score(X, y) > 0.95)
    True
    """

    loss = "log_loss"

    def __init__(  # noqa: PLR0913 - scikit-learn's constructor
        self,
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
        class_weight: Any = None,
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
        self.class_weight = class_weight
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

    _parameter_constraints = {  # noqa: RUF012 - scikit-learn's protocol
        **CONSTRAINTS,
        "class_weight": [None, dict, list, StrOptions({"balanced"})],
    }

    # -- what BaseMLP asks for ---------------------------------------------------------------------

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], multi_output=True,
            dtype=self.dtype or (np.float64, np.float32), reset=reset,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_classes(unique_labels(y))
        return X, self._label_binarizer.transform(y).astype(bool)

    def _check_classes(self, classes: np.ndarray) -> None:
        """scikit-learn's errors for labels that an earlier fit does not know."""
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same "
                    "classes as in the previous call to fit. Previously "
                    f"got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {classes}."
            )

    def _encode_validation(self, y: np.ndarray) -> np.ndarray:
        unknown = np.setdiff1d(unique_labels(y), self.classes_)
        if len(unknown):
            raise ValueError(f"y_val has classes not in y: {unknown}; y has {self.classes_}")
        with naming("y_val"):
            encoded: np.ndarray = self._label_binarizer.transform(y).astype(bool)
        return encoded

    def _targets(self, y: np.ndarray) -> np.ndarray:
        if self.out_activation_ == "softmax" and y.dtype == bool:
            return y.argmax(axis=1)
        return np.asarray(y, dtype=self._network.parameters.dtype)

    def _decode_targets(self, y: np.ndarray) -> np.ndarray:
        labels: np.ndarray = self._label_binarizer.inverse_transform(y)
        return labels

    def _weighted(self, y: np.ndarray, sample_weight: Any) -> Any:
        if self.class_weight is None:
            return sample_weight
        weights = compute_sample_weight(self.class_weight, self._decode_targets(y))
        return weights if sample_weight is None else weights * sample_weight

    def _output(self) -> tuple[str, LossTerm]:
        if self._label_binarizer.y_type_ == "multiclass":
            return "softmax", LossTerm("softmax_cross_entropy")
        return "logistic", LossTerm("binary_cross_entropy")

    def _decode(self, output: np.ndarray) -> np.ndarray:
        output = output.ravel() if self.n_outputs_ == 1 else output
        labels: np.ndarray = self._label_binarizer.inverse_transform(output)
        return labels

    def _score_predictions(self, y: np.ndarray, prediction: np.ndarray, sample_weight: Any) -> float:
        return float(accuracy_score(y, prediction, sample_weight=sample_weight))

    # -- the public methods ------------------------------------------------------------------------

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> "MLPClassifier":  # fmt: skip
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Class labels, or a label indicator matrix.
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
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> "MLPClassifier":
        """Go on training with a single pass over the given data.

        Parameters
        ----------
        X, y, sample_weight
            As for ``fit``.
        classes : array-like, optional
            Every class that will ever be seen; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For ``class_weight="balanced"``: a part of the data does not tell how frequent its classes are.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} cannot be used with partial_fit: give a dict, "
                "as sklearn.utils.compute_class_weight computes them from all labels"
            )
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            if type_of_target(y).startswith("multilabel"):
                self._label_binarizer.fit(y)
            else:
                self._label_binarizer.fit(classes)
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """Class labels of the rows of X: (n_samples,), or an indicator matrix (n_samples, n_labels)."""
        return self._decode(self._activated_output(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class, in the order of ``classes_``: (n_samples, n_classes)."""
        output = self._activated_output(X)
        if self.n_outputs_ == 1:
            return np.vstack([1 - output.ravel(), output.ravel()]).T
        return output

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithm of ``predict_proba(X)``."""
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):
            return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _validation(X: Any, y: Any, sample_weight: Any) -> tuple | None:
    """The three arguments as one, None where there is no validation data."""
    if X is None and y is None:
        if sample_weight is not None:
            raise ValueError("sample_weight_val needs X_val and y_val")
        return None
    return X, y, sample_weight
