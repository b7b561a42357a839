"""Perceptron: Rosenblatt's rule of 1958, as an estimator of scikit-learn."""

import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._base import LinearClassifierMixin, SparseCoefMixin
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from chainrule.estimators.perceptron_rule import Patience, Penalty, Targets, Unit, epoch, shuffled

__all__ = ["Perceptron"]

# scikit-learn draws its seeds below this.
GREATEST_SEED = np.iinfo(np.int32).max


class Perceptron(LinearClassifierMixin, SparseCoefMixin, BaseEstimator):
    """Rosenblatt's perceptron: z = wᵀx + b, ŷ = sign(z) with sign(0) = +1.

    On a misclassified row, sign(z) ≠ y, and on no other:

        w ← w + η y x,  b ← b + η y,  y ∈ {−1, +1}

    The greater of two labels is +1. Of more classes, each is told from all the others by a unit of its own,
    and the greatest z wins. On linearly separable data the rule makes no more than ``mistake_bound(X, y)``
    updates; training ends with the first epoch that passes without one.

    The parameters are scikit-learn's ``Perceptron``'s, with its defaults, its order of rows for the same
    ``random_state``, and, but for the rows on the plane, its models; see the notes.

    Parameters
    ----------
    penalty : {"l2", "l1", "elasticnet"} or None, default=None
        Acts on w after each row, mistake or not. With one, the theorem does not hold, and training takes
        longer.
    alpha : float, default=0.0001
        Factor of the penalty.
    l1_ratio : float, default=0.15
        Share of ‖w‖₁ in "elasticnet".
    fit_intercept : bool, default=True
        Whether there is a b.
    max_iter : int, default=1000
        The most epochs of ``fit``.
    tol : float or None, default=1e-3
        Training stops after ``n_iter_no_change`` epochs whose mean loss max(0, −yz), plus the penalty, is
        not less than the least so far by ``tol``; so it may stop before it has separated separable data.
        None goes on until an epoch passes without a mistake, or to ``max_iter``.
    shuffle : bool, default=True
        Whether the rows are reordered before each epoch.
    verbose : int, default=0
        Print a line after each epoch.
    eta0 : float, default=1.0
        η. From zero weights and without a penalty it multiplies w and b and changes nothing else.
    n_jobs : int or None, default=None
        Without effect: units are trained one after the other.
    random_state : int, RandomState or None, default=0
    early_stopping : bool, default=False
        Stop on the accuracy on rows held out, in place of the loss.
    validation_fraction : float, default=0.1
        Share of the rows held out for it.
    n_iter_no_change : int, default=5
        Epochs without improvement that are waited for.
    class_weight : dict, "balanced" or None, default=None
        Factor of η for the rows of each class; with more than two, for the positive rows of its unit.
    warm_start : bool, default=False
        Begin with the weights of the last fit.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1, n_features), or (n_classes, n_features) for more than two classes
        w of each unit.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        b of each unit.
    n_iter_ : int
        Epochs; with more than two classes, of the unit that took most.
    n_updates_ : int
        Updates, which is to say mistakes, of all units; by ``partial_fit``, of all its calls.
    converged_ : bool
        Whether the last epoch passed without a mistake, for every unit. Without a penalty the weights then
        stay as they are, however long training goes on.
    t_ : int
        Rows visited, ``n_iter_ * n_samples``, plus 1.
    n_features_in_ : int
    feature_names_in_ : ndarray of str

    Notes
    -----
    **Where scikit-learn's Perceptron differs.** It updates wherever y z ≤ 0: also on a positive row with
    z = 0, which sign(0) = +1 classifies rightly. (It predicts the lesser label there.) On every other row
    both do the same. Hence, without a penalty:

    - As long as z is never 0 on a positive row (nor so near to it that rounding decides its sign), both make
      the same updates in the same order, and ``coef_`` and ``intercept_`` are equal to the last bit.
    - From zero weights z is 0 on the first row, and stays 0 until the first update. So they are the same if
      the first row visited is a negative one, and z is never 0 afterwards, as on real measurements. If it is
      a positive one, scikit-learn learns from it and this class does not;
      ``fit(X, y, intercept_init=-1e-300)`` makes that row a mistake here too, and they are the same again.
    - With more than two classes that concerns the unit of the first row's class, and no other.

    Besides, scikit-learn goes on for ``n_iter_no_change`` epochs after the first without a mistake, which
    changes no weight (unless z is 0) but ``n_iter_`` and ``t_``; it multiplies updates of b by 0.01 if X is
    sparse, where here a sparse X gives the dense one's model; and with an "l2" penalty it scores held-out
    rows with weights that lack a factor. Rows of weight 0 are left out here, and there count in the loss.

    References
    ----------
    Rosenblatt, "The perceptron: a probabilistic model for information storage and organization in the brain",
    Psychological Review 65, 1958.

    Examples
    --------
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 1]  # OR
    >>> perceptron = Perceptron(tol=None, shuffle=False).fit(X, y)
    >>> perceptron.coef_, perceptron.intercept_, perceptron.n_updates_
    (array([[1., 1.]]), array([-1.]), 5)
    >>> perceptron.converged_, perceptron.predict(X)
    (True, array([0, 1, 1, 1]))
    """

    _parameter_constraints: ClassVar[dict] = {
        "penalty": [StrOptions({"l2", "l1", "elasticnet"}), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "l1_ratio": [Interval(Real, 0, 1, closed="both")],
        "fit_intercept": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "shuffle": ["boolean"],
        "verbose": ["verbose"],
        "eta0": [Interval(Real, 0, None, closed="neither")],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "warm_start": ["boolean"],
    }

    def __init__(  # noqa: PLR0913 - scikit-learn's constructor
        self,
        *,
        penalty: str | None = None,
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: Any = 0,
        eta0: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = 0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
    ) -> None:
        self.penalty = penalty
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol
        self.shuffle = shuffle
        self.verbose = verbose
        self.eta0 = eta0
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start

    # -- fitting -----------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, coef_init: Any = None, intercept_init: Any = None, sample_weight: Any = None
    ) -> "Perceptron":
        """Train until an epoch passes without a mistake, or nothing improves, or ``max_iter`` is reached.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels of at least two classes.
        coef_init, intercept_init : array-like, optional
            To begin with, of the shapes of ``coef_`` and ``intercept_`` (or, for two classes, of one row and
            one number); zeros, or with ``warm_start`` those of the last fit, by default.
        sample_weight : array-like of shape (n_samples,), optional
            Factors of η, not negative. A row with weight 2 is not two rows: it is visited once, and moves w
            twice as far.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If y has one class, initial weights do not fit the data, or weights have overflowed.
        """
        X, y = self._validated(X, y, reset=True)
        self.classes_ = np.unique(y)
        if self.warm_start and hasattr(self, "coef_"):
            coef_init = self.densify().coef_ if coef_init is None else coef_init
            intercept_init = self.intercept_ if intercept_init is None else intercept_init
        self._initialise(X, coef_init, intercept_init)
        self._train(X, y, sample_weight, self.max_iter)
        if self.tol is not None and self.n_iter_ == self.max_iter and not self.converged_:
            warnings.warn(
                f"training stopped after {self.max_iter} epochs (max_iter) with mistakes in the last one",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> "Perceptron":
        """Go on for one epoch over these rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), optional
            All labels that there will be; needed at the first call.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If ``classes`` is missing or has changed, or with ``early_stopping`` or
            ``class_weight="balanced"``.
        """
        if self.early_stopping:
            raise ValueError("early_stopping must be False for partial_fit")
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported by partial_fit, which does not see all rows: give "
                "a dict, as from sklearn.utils.class_weight.compute_class_weight on a sample"
            )
        X, y = self._validated(X, y, reset=not hasattr(self, "classes_"))
        _check_partial_fit_first_call(self, classes)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has labels that are not among the classes {self.classes_}: {unknown}")
        if not hasattr(self, "coef_"):
            self._initialise(X, None, None)
        self.densify()
        self._train(X, y, sample_weight, max_iter=1)
        return self

    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[Any, np.ndarray]:
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C", reset=reset
        )
        check_classification_targets(y)
        if issparse(X) and not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        return X, y

    def _initialise(self, X: Any, coef: Any, intercept: Any) -> None:
        """Weights to begin with, in copies."""
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                f"y must have at least two classes; it has one class, {self.classes_.tolist()[0]!r}"
            )
        n_units = 1 if n_classes == 2 else n_classes
        self.coef_ = _initial("coef_init", coef, (n_units, X.shape[1]), X.dtype)
        self.intercept_ = _initial("intercept_init", intercept, (n_units,), X.dtype)
        self.t_, self.n_updates_ = 1, 0

    def _train(self, X: Any, y: np.ndarray, sample_weight: Any, max_iter: int) -> None:
        """Train each unit."""
        weights = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        n_units = len(self.coef_)
        if n_units == 1:
            targets = [self._targets(y == self.classes_[1], weights[1], weights[0], sample_weight)]
        else:
            targets = [
                self._targets(y == label, weight, 1.0, sample_weight)
                for label, weight in zip(self.classes_, weights, strict=True)
            ]
        is_held_out, seeds = self._draw(y, sample_weight, n_units)
        rows = _Rows(X, sample_weight, is_held_out)
        ends = [
            self._train_unit(number, rows, *each, max_iter)
            for number, each in enumerate(zip(targets, seeds, strict=True))
        ]
        self.n_iter_ = max(n_iter for n_iter, _ in ends)
        self.converged_ = all(converged for _, converged in ends)
        self.t_ += self.n_iter_ * X.shape[0]

    def _train_unit(
        self, number: int, rows: "_Rows", targets: Targets, seed: int, max_iter: int
    ) -> tuple[int, bool]:
        """Train one unit; its number of epochs, and whether the last one passed without a mistake."""
        unit = Unit(self.coef_[number], float(self.intercept_[number]), self.fit_intercept)
        penalty = self._make_penalty()
        patience = Patience(self.tol, self.n_iter_no_change)
        order = np.arange(rows.X.shape[0])
        permutation = shuffled(len(order), seed) if self.shuffle else order
        for n_iter in range(1, max_iter + 1):
            order = order[permutation]
            mistakes = -unit.n_updates
            total = epoch(unit, rows.X, targets, order[rows.is_learnt[order]], penalty)
            mistakes += unit.n_updates
            if not unit.is_finite():
                raise ValueError(f"the weights have overflowed in epoch {n_iter}: scale X")
            loss = total / np.count_nonzero(~rows.is_held_out)
            value, text = float(loss), f"Epoch {n_iter}, mistakes = {mistakes}, mean loss = {loss:.6f}"
            if self.early_stopping:
                value = -rows.accuracy(unit, targets)
                text += f", validation score = {-value:.6f}"
            if self.verbose:
                print(text)  # noqa: T201 - verbose is a request
            if patience.is_exhausted(value) or (mistakes == 0 and penalty is None):
                break
        self.intercept_[number] = unit.bias
        self.n_updates_ += unit.n_updates
        return n_iter, mistakes == 0

    def _make_penalty(self) -> Penalty | None:
        if self.penalty is None:
            return None
        l1_ratio = {"l2": 0.0, "l1": 1.0, "elasticnet": self.l1_ratio}[self.penalty]
        return Penalty(self.alpha, l1_ratio, self.eta0, self.coef_.shape[1])

    def _targets(
        self, is_positive: np.ndarray, positive: float, negative: float, sample_weight: np.ndarray
    ) -> Targets:
        weight = np.where(is_positive, positive, negative) * sample_weight
        return Targets(is_positive, np.where(is_positive, self.eta0, -self.eta0) * weight)

    def _draw(self, y: np.ndarray, sample_weight: np.ndarray, n_units: int) -> tuple[np.ndarray, list[int]]:
        """Which rows are held out, and a seed for each unit, in scikit-learn's order of draws."""
        if n_units > 1:
            held_out = self._held_out(y, sample_weight)
            seeds = check_random_state(self.random_state).randint(GREATEST_SEED, size=n_units)
            generators = [np.random.RandomState(seed) for seed in seeds]
        else:
            generators = [check_random_state(self.random_state)]
        for generator in generators:
            generator.randint(1, GREATEST_SEED)  # scikit-learn's data set draws a seed that it does not use
        if n_units == 1:
            held_out = self._held_out(y, sample_weight)
        return held_out, [int(generator.randint(GREATEST_SEED)) for generator in generators]

    def _held_out(self, y: np.ndarray, sample_weight: np.ndarray) -> np.ndarray:
        """Which rows early stopping judges by."""
        is_held_out = np.zeros(len(y), dtype=bool)
        if self.early_stopping:
            split = StratifiedShuffleSplit(test_size=self.validation_fraction, random_state=self.random_state)
            _, rows = next(split.split(np.zeros((len(y), 1)), y))
            is_held_out[rows] = True
            if not sample_weight[rows].any():
                raise ValueError(
                    "sample_weight is 0 for all rows held out for early_stopping: use another random_state"
                )
        return is_held_out

    # -- prediction --------------------------------------------------------------------------------

    def predict(self, X: Any) -> np.ndarray:
        """The class of each row of X: of two, the greater where z ≥ 0; of more, that of the greatest z."""
        z = self.decision_function(X)
        labels: np.ndarray = self.classes_[(z >= 0).astype(int) if z.ndim == 1 else z.argmax(axis=1)]
        return labels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


@dataclass(frozen=True)
class _Rows:
    """The rows of a fit."""

    X: Any
    weight: np.ndarray
    is_held_out: np.ndarray

    @property
    def is_learnt(self) -> np.ndarray:
        """Which rows the rule visits: a row of weight 0 moves nothing."""
        return ~self.is_held_out & (self.weight > 0)

    def accuracy(self, unit: Unit, targets: Targets) -> float:
        """Weighted share of the held-out rows on their side of the unit's plane."""
        z = self.X[self.is_held_out] @ unit.weight + unit.bias
        is_right = (z >= 0) == targets.is_positive[self.is_held_out]
        return float(np.average(is_right, weights=self.weight[self.is_held_out]))


def _initial(name: str, given: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Weights to begin with: a copy of those given, or zeros."""
    if given is None:
        return np.zeros(shape, dtype)
    values = np.array(given, dtype=dtype)
    # One unit's may come without the axis of units.
    if values.shape != shape and (1, *values.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}; got {values.shape}")
    return values.reshape(shape)
