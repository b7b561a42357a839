"""One network for each pair of classes, and a vote."""

from functools import partial
from itertools import combinations
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, _fit_context, clone
from sklearn.ensemble._base import _set_random_states
from sklearn.utils import check_random_state, get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.multiclass import _ovr_decision_function, check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from chainrule.estimators.classifier import MLPClassifier
from chainrule.estimators.many import fit_cost, fit_estimator, run_tasks
from chainrule.train.side_by_side import JobError

__all__ = ["OneVsOneMLPClassifier"]


class OneVsOneMLPClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """k(k - 1)/2 networks, one for each pair of k classes, trained side by side; the most votes win.

    As ``sklearn.multiclass.OneVsOneClassifier`` with the same network and seed: the same networks, the same
    ``decision_function``.

    Parameters
    ----------
    estimator : MLPClassifier or a pipeline that ends with one, optional
        What is cloned for each pair; ``MLPClassifier()`` by default.
    random_state : int, RandomState or None, default=None
        Gives each pair's network a seed of its own. None leaves them what ``estimator`` says: an integer
        there is the seed of every pair.
    n_jobs : int, optional
        Threads, -1 or None for as many as there are processors, each with one network at a time. The
        model does not depend on it.

    Attributes
    ----------
    estimators_ : list of estimator
        One for each pair of classes (i, j), i < j, in order; its class 1 is j.
    classes_ : ndarray of shape (k,)
    n_classes_, n_features_in_ : int
    feature_names_in_ : ndarray of str

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPClassifier((8,), solver="lbfgs", max_iter=1000, random_state=0)
    >>> classifier = OneVsOneMLPClassifier(network).fit(X, y)
    >>> len(classifier.estimators_), bool(classifier.score(X, y) > 0.95)
    (3, True)
    """

    _parameter_constraints: ClassVar[dict] = {
        "estimator": [None, HasMethods(["fit", "predict_proba"])],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
    }

    def __init__(self, estimator: Any = None, *, random_state: Any = None, n_jobs: int | None = None) -> None:
        self.estimator = estimator
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _pair_estimator(self) -> Any:
        return MLPClassifier() if self.estimator is None else self.estimator

    def _unfitted(self, n_pairs: int) -> list[Any]:
        """A clone for each pair, with its seed; drawn before any thread begins, so always in this order."""
        clones = [clone(self._pair_estimator()) for _ in range(n_pairs)]
        if self.random_state is not None:
            generator = check_random_state(self.random_state)
            for one in clones:
                _set_random_states(one, generator)
        return clones

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "OneVsOneMLPClassifier":
        """Fit a network for each pair of classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        self
        """
        X, y = validate_data(self, X, y, accept_sparse=["csr", "csc"], ensure_all_finite=False)
        check_classification_targets(y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        self.n_classes_ = len(self.classes_)
        if self.n_classes_ == 1:
            raise ValueError(f"y must have at least two classes; it has one class, {self.classes_[0]!r}")
        pairs = list(combinations(range(self.n_classes_), 2))
        counts = np.bincount(numbers)
        cost = fit_cost(self._pair_estimator(), X)
        try:
            self.estimators_ = run_tasks(
                [
                    partial(_fit_pair, one, X, numbers, sample_weight, pair)
                    for one, pair in zip(self._unfitted(len(pairs)), pairs, strict=True)
                ],
                [cost * (counts[i] + counts[j]) for i, j in pairs],
                n_jobs=self.n_jobs,
            )
        except JobError as error:
            first, second = (self.classes_[number] for number in pairs[error.index])
            error.error.add_note(f"in the network for the classes {first} and {second}")
            raise error.error from None
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Votes for each class, with the networks' probabilities to break ties.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes
            For two classes it is positive where the second is predicted: scikit-learn's value less ½.
        """
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], ensure_all_finite=False, reset=False)
        tasks = [partial(_second_class_probability, one, X) for one in self.estimators_]
        try:
            confidences = np.column_stack(run_tasks(tasks, n_jobs=self.n_jobs))
        except JobError as error:
            raise error.error from None
        votes = _ovr_decision_function((confidences > 0.5).astype(int), confidences, self.n_classes_)
        decision: np.ndarray = votes[:, 1] - 0.5 if self.n_classes_ == 2 else votes
        return decision

    def predict(self, X: Any) -> np.ndarray:
        """The class with the most votes for each row of X: (n_samples,)."""
        decision = self.decision_function(X)
        winners = (decision > 0).astype(int) if self.n_classes_ == 2 else decision.argmax(axis=1)
        labels: np.ndarray = self.classes_[winners]
        return labels

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = get_tags(self._pair_estimator()).input_tags.sparse
        return tags


def _fit_pair(estimator: Any, X: Any, numbers: np.ndarray, sample_weight: Any, pair: tuple[int, int]) -> Any:
    """The network that tells class j from class i."""
    i, j = pair
    rows = np.flatnonzero((numbers == i) | (numbers == j))
    weights = None if sample_weight is None else sample_weight[rows]
    is_second = (numbers[rows] == j).astype(int)
    return fit_estimator(estimator, X[rows], is_second, weights)


def _second_class_probability(estimator: Any, X: Any) -> np.ndarray:
    probabilities: np.ndarray = estimator.predict_proba(X)[:, 1]
    return probabilities
