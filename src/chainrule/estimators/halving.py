"""Successive halving: many configurations are given a little, the best of them more.

Jamieson, Talwalkar (2016), "Non-stochastic best arm identification and hyperparameter optimization". Of n
configurations, each trained for r epochs, the best 1/η go on, each for ηr epochs, until the longest training
is reached. Every rung costs about as much as the one before, so n configurations are sifted at the price of a
few whole trainings. Li et al. (2018), "Hyperband", take η = 3 and start over with new configurations for as
long as there is time; so does `successive_halving` with ``max_seconds``.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import ParameterSampler, train_test_split
from sklearn.utils import _safe_indexing, check_random_state

from chainrule.estimators.many import fit_estimators

__all__ = ["HalvingOptions", "HalvingResult", "Rung", "successive_halving"]


@dataclass(frozen=True)
class HalvingOptions:
    """How much is tried, and how it is judged.

    Parameters
    ----------
    n_configurations : int, default=27
        Configurations in a round, the estimator's own among those of the first.
    factor : int, default=3
        η: one of so many goes on, and is given so many times as much.
    resource : str, default="max_iter"
        The parameter that says how long a training is.
    least, most : int
        Its values in the first rung, and in the last.
    scoring : str or callable, optional
        As scikit-learn takes it, greater is better; by default the estimator's ``score``.
    validation_fraction : float, default=0.2
        Share of the rows that is held back to judge.
    max_seconds : float, optional
        Rounds are begun until so much time has passed, and none is gone on with after it; without it there is
        one round. The first fits are always done.
    on_rung : callable, optional
        Told each `Rung` when it is done.
    """

    n_configurations: int = 27
    factor: int = 3
    resource: str = "max_iter"
    least: int = 3
    most: int = 81
    scoring: Any = None
    validation_fraction: float = 0.2
    max_seconds: float | None = None
    on_rung: Callable[[Rung], None] | None = None

    def __post_init__(self) -> None:
        for name, least in (("n_configurations", 1), ("factor", 2), ("least", 1), ("most", self.least)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of {least} or more, got {value!r}")
        if not 0 < self.validation_fraction < 1:
            got = f"{self.validation_fraction:g}"
            raise ValueError(f"validation_fraction must be between 0 and 1, got {got}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"max_seconds must be positive, got {self.max_seconds:g}")

    def resources(self) -> list[int]:
        """How long each rung's trainings are: `least`, times the factor, ..., `most`.

        Examples
        --------
        >>> HalvingOptions(least=2, most=20).resources()
        [2, 6, 18, 20]
        >>> HalvingOptions(n_configurations=3, least=2, most=20).resources()
        [2, 20]
        """
        lengths, left = [self.least], self.n_configurations
        while lengths[-1] < self.most and left > 1:
            left = max(1, left // self.factor)
            lengths.append(min(lengths[-1] * self.factor, self.most))
        lengths[-1] = self.most if len(lengths) > 1 else lengths[-1]
        return lengths


@dataclass(frozen=True)
class Rung:
    """Configurations that were given the same.

    Attributes
    ----------
    round, number : int
        Which round, and which of its rungs, from 0.
    resource : int
        How long each was trained.
    configurations : list of int
        Positions in `HalvingResult.configurations`.
    scores : list of float
        -inf where a training failed.
    seconds : float
    """

    round: int
    number: int
    resource: int
    configurations: list[int]
    scores: list[float]
    seconds: float

    @property
    def best(self) -> int:
        """The configuration with the greatest score; of equals the first."""
        return self.configurations[int(np.argmax(self.scores))]


@dataclass(frozen=True)
class HalvingResult:
    """What was found.

    Attributes
    ----------
    best_params : dict
        The parameters of the winner; empty if the estimator as it was given won.
    best_score : float
        Its score on the rows held back.
    configurations : list of dict
        All that were tried; the first is empty, the estimator as it was given.
    rungs : list of Rung
    """

    best_params: dict[str, Any]
    best_score: float
    configurations: list[dict[str, Any]] = field(repr=False)
    rungs: list[Rung] = field(repr=False)


def successive_halving(
    estimator: Any,
    distributions: Mapping[str, Any],
    X: Any,
    y: Any,
    *,
    options: HalvingOptions | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
) -> HalvingResult:
    """Search for parameters with which an estimator does best on rows it was not fitted on.

    The configurations of a rung are fitted side by side, each anew and on one thread, and judged on the same
    rows. The estimator as it is given goes through every rung of the first round, whatever its score, so that
    the winner is as good or better on the rows held back.

    Parameters
    ----------
    estimator : estimator
        Not fitted and not changed; has the parameter ``options.resource``.
    distributions : mapping of str to list or scipy.stats distribution
        What each parameter is drawn from, as in scikit-learn's ``RandomizedSearchCV``.
    X : array-like of shape (n_rows, n_columns)
    y : array-like of shape (n_rows,)
    options : HalvingOptions, optional
    random_state : int, RandomState or None
        Decides the rows held back and the configurations. An int gives the same result each time, unless time
        runs out at another place.
    n_jobs : int, optional
        Threads, -1 or None for as many as there are processors.

    Returns
    -------
    HalvingResult

    Raises
    ------
    ValueError
        If a parameter is none of the estimator's, or every training failed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from chainrule import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> found = successive_halving(
    ...     MLPClassifier((8,), learning_rate_init=1e-5, random_state=0),
    ...     {"learning_rate_init": [1e-4, 1e-3, 1e-2, 1e-1]},
    ...     X,
    ...     y,
    ...     options=HalvingOptions(n_configurations=5, factor=2, least=3, most=27, scoring="neg_log_loss"),
    ...     random_state=0,
    ... )
    >>> found.best_params["learning_rate_init"] >= 0.01, [len(rung.scores) for rung in found.rungs]
    (True, [5, 3, 2])
    """
    search = _Search(estimator, options or HalvingOptions(), X, y, random_state, n_jobs)
    n_round = 0
    while True:
        wanted = search.options.n_configurations - (n_round == 0)
        drawn = search.draw(distributions, wanted)
        first = len(search.configurations)
        search.configurations += drawn if n_round else [{}, *drawn]
        search.run_round(n_round, list(range(first, len(search.configurations))))
        n_round += 1
        if search.options.max_seconds is None or search.time_is_up() or not drawn:
            return search.result()


class _Search:
    """The rows, the clock and what has been tried so far."""

    def __init__(
        self, estimator: Any, options: HalvingOptions, X: Any, y: Any, random_state: Any, n_jobs: int | None
    ) -> None:
        self.estimator, self.options, self.n_jobs = estimator, options, n_jobs
        self.random = check_random_state(random_state)
        if options.resource not in estimator.get_params():
            raise ValueError(f"{type(estimator).__name__} has no parameter {options.resource!r} (resource)")
        training, held_back = train_test_split(
            np.arange(len(y)),
            test_size=options.validation_fraction,
            random_state=self.random,
            stratify=y if is_classifier(estimator) else None,
        )
        self.training = _safe_indexing(X, training), _safe_indexing(y, training)
        self.held_back = _safe_indexing(X, held_back), _safe_indexing(y, held_back)
        self.scorer = check_scoring(estimator, scoring=options.scoring)
        self.started = time.monotonic()
        self.configurations: list[dict[str, Any]] = []
        self.rungs: list[Rung] = []
        self.failure: Exception | None = None

    def time_is_up(self) -> bool:
        limit = self.options.max_seconds
        return limit is not None and time.monotonic() - self.started >= limit

    def draw(self, distributions: Mapping[str, Any], n_wanted: int) -> list[dict[str, Any]]:
        unknown = sorted(set(distributions) - set(self.estimator.get_params()))
        if unknown:
            raise ValueError(
                f"distributions: {type(self.estimator).__name__} has no parameter {unknown[0]!r}"
            )
        if not distributions or not n_wanted:
            return []
        with warnings.catch_warnings():
            # Of lists that have fewer combinations than asked for, each is taken once.
            warnings.filterwarnings("ignore", message="The total space of parameters")
            return list(ParameterSampler(dict(distributions), n_wanted, random_state=self.random))

    def run_round(self, number: int, left: list[int]) -> None:
        for rung_number, resource in enumerate(self.options.resources()):
            started = time.monotonic()
            tried, scores = self._fit(left, resource)
            rung = Rung(number, rung_number, resource, tried, scores, time.monotonic() - started)
            self.rungs.append(rung)
            if self.options.on_rung is not None:
                self.options.on_rung(rung)
            if self.time_is_up():
                return
            n_kept = max(1, len(left) // self.options.factor)
            ranked = sorted(zip(tried, scores, strict=True), key=lambda pair: -pair[1])
            left = [one for one, score in ranked[:n_kept] if np.isfinite(score)]
            if number == 0 and 0 not in left and rung.scores[tried.index(0)] > -np.inf:
                left.append(0)
            if not left:
                return

    def _fit(self, chosen: list[int], resource: int) -> tuple[list[int], list[float]]:
        """Fit and judge configurations, as many as time allows; those done, and their scores."""
        # With a limit in groups, so that the clock is looked at between them.
        size = len(chosen) if self.options.max_seconds is None else 6
        tried: list[int] = []
        scores: list[float] = []
        for begin in range(0, len(chosen), size):
            if self.time_is_up() and (tried or self.rungs):
                break
            group = chosen[begin : begin + size]
            tried += group
            scores += self._scores([self._made(one, resource) for one in group])
        return tried, scores

    def _made(self, number: int, resource: int) -> Any:
        made = clone(self.estimator)
        return made.set_params(**self.configurations[number], **{self.options.resource: resource})

    def _scores(self, estimators: list[Any]) -> list[float]:
        with warnings.catch_warnings():
            # To be cut short is what most of these trainings are for.
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted = fit_estimators(
                estimators, *self.training, n_jobs=self.n_jobs, on_error="return", progress=False
            )
        return [self._score(one) for one in fitted]

    def _score(self, fitted: Any) -> float:
        if isinstance(fitted, Exception):
            self.failure = fitted
            return -np.inf
        try:
            score = float(self.scorer(fitted, *self.held_back))
        except ValueError as error:  # predictions that are no numbers
            self.failure = error
            return -np.inf
        return score if np.isfinite(score) else -np.inf

    def result(self) -> HalvingResult:
        """The best of those that were trained longest."""
        some_worked = [rung for rung in self.rungs if max(rung.scores, default=-np.inf) > -np.inf]
        if not some_worked:
            raise ValueError(f"every training failed: {self.failure}") from self.failure
        longest = max(rung.resource for rung in some_worked)
        best_score, best = -np.inf, 0
        for rung in self.rungs:
            for one, score in zip(rung.configurations, rung.scores, strict=True):
                if rung.resource == longest and score > best_score:
                    best_score, best = score, one
        return HalvingResult(dict(self.configurations[best]), best_score, self.configurations, self.rungs)
