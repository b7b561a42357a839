"""Cross-validation of many estimators at once: every estimator on every fold, side by side.

A fit with its scores is done by scikit-learn's own inner function of ``cross_validate``, and so are the
dictionaries that come out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sklearn.base import clone, is_classifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import check_scoring
from sklearn.model_selection import ParameterGrid, check_cv
from sklearn.model_selection._validation import (
    _aggregate_score_dicts,
    _fit_and_score,
    _insert_error_scores,
    _normalize_score_results,
    _warn_or_raise_about_fit_failures,
)
from sklearn.utils import Bunch, indexable
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)

from chainrule.estimators.many import fit_cost, run_tasks
from chainrule.train.side_by_side import JobError

__all__ = ["cross_validate_many"]


def cross_validate_many(  # noqa: PLR0913 - scikit-learn's cross_validate
    estimators: Any,
    X: Any,
    y: Any = None,
    *,
    param_grid: Any = None,
    groups: Any = None,
    scoring: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    params: dict[str, Any] | None = None,
    return_train_score: bool = False,
    return_estimator: bool = False,
    return_indices: bool = False,
    error_score: Any = float("nan"),
    progress: bool = True,
) -> Any:
    """``sklearn.model_selection.cross_validate`` of several estimators, all folds of all side by side.

    Each fit, with its scoring, has one thread. The scores are those that scikit-learn's function gives
    for each estimator by itself; all estimators see the same folds.

    Parameters
    ----------
    estimators : estimator, or list or dict of estimators
        Of this library, pipelines that end with one, or any other. They are cloned, not fitted.
    X, y : array-like
    param_grid : dict, list of dict or ParameterGrid, optional
        Settings to compare of one estimator's parameters, as for ``GridSearchCV``.
    groups, scoring, cv, params, return_train_score, return_estimator, return_indices, error_score
        As for ``cross_validate``.
    n_jobs : int, optional
        Threads, -1 or None for as many as there are processors. Largest networks are begun first.
    progress : bool
        Show a bar where the output is a terminal.

    Returns
    -------
    dict, or list or dict of dict
        What ``cross_validate`` returns: for one estimator by itself; else a list, in the order of the
        estimators or of ``ParameterGrid(param_grid)``, or a dict under their names.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from chainrule import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPClassifier(solver="lbfgs", max_iter=1000, random_state=0)
    >>> results = cross_validate_many(network, X, y, param_grid={"hidden_layer_sizes": [(4,), (32,)]})
    >>> [len(result["test_score"]) for result in results]
    [5, 5]
    >>> sorted(results[0])
    ['fit_time', 'score_time', 'test_score']
    """
    if groups is not None and _routing_enabled():
        raise ValueError("with metadata routing, give groups as one of params: params={'groups': ...}")
    validation = _Validation(
        params or {}, groups, scoring, return_train_score, return_estimator, return_indices, error_score
    )
    X, y = indexable(X, y)
    candidates = validation.candidates(_named(estimators, param_grid), X, y, cv)
    tasks = [task for one in candidates for task in validation.tasks(one, X, y)]
    costs = [fit_cost(one.estimator, X) for one in candidates for _ in one.folds]
    try:
        results = iter(run_tasks(tasks, costs, n_jobs=n_jobs, progress=progress))
    except JobError as error:
        raise _with_note(error, candidates) from None
    collected = {one.name: validation.collect(one, [next(results) for _ in one.folds]) for one in candidates}
    if isinstance(estimators, Mapping):
        return collected
    several = param_grid is not None or isinstance(estimators, list | tuple)
    return list(collected.values()) if several else collected[0]


def _named(estimators: Any, param_grid: Any) -> dict[Any, Any]:
    """Estimators by name, or by number."""
    if param_grid is None:
        if isinstance(estimators, Mapping):
            return dict(estimators)
        return dict(enumerate(estimators if isinstance(estimators, list | tuple) else [estimators]))
    if isinstance(estimators, Mapping | list | tuple):
        raise TypeError("param_grid goes with one estimator; give a list or dict of estimators without it")
    grid = param_grid if isinstance(param_grid, ParameterGrid) else ParameterGrid(param_grid)
    return {
        number: clone(estimators).set_params(**clone(settings, safe=False))
        for number, settings in enumerate(grid)
    }


@dataclass(frozen=True)
class _Candidate:
    """An estimator to validate, and all that its fits and scores need."""

    name: Any
    estimator: Any
    scorer: Any
    routed: Any
    folds: list


@dataclass(frozen=True)
class _Validation:
    """The settings of one call."""

    params: dict[str, Any]
    groups: Any
    scoring: Any
    return_train_score: bool
    return_estimator: bool
    return_indices: bool
    error_score: Any

    def candidates(self, estimators: dict[Any, Any], X: Any, y: Any, cv: Any) -> list[_Candidate]:
        """The estimators with their scorers and folds."""
        if hasattr(cv, "__iter__") and not hasattr(cv, "split"):
            cv = list(cv)
        folds: dict[bool, list] = {}
        found = []
        for name, estimator in estimators.items():
            scorer = check_scoring(
                estimator, scoring=self.scoring, raise_exc=isinstance(self.error_score, str)
            )
            kind = is_classifier(estimator)
            splitter = check_cv(cv, y, classifier=kind)
            routed = self._routed(estimator, splitter, scorer)
            if kind not in folds:  # a splitter may shuffle: the same folds for all
                folds[kind] = list(splitter.split(X, y, **routed.splitter.split))
            found.append(_Candidate(name, estimator, scorer, routed, folds[kind]))
        return found

    def _routed(self, estimator: Any, splitter: Any, scorer: Any) -> Any:
        """Which of ``params`` and ``groups`` the splitter, the fit and the scorer take."""
        if not _routing_enabled():
            return Bunch(
                splitter=Bunch(split={"groups": self.groups}),
                estimator=Bunch(fit=self.params),
                scorer=Bunch(score={}),
            )
        router = MetadataRouter(owner="cross_validate")
        for name, consumer, method in (
            ("splitter", splitter, "split"), ("estimator", estimator, "fit"), ("scorer", scorer, "score"),
        ):  # fmt: skip
            mapping = MethodMapping().add(caller="fit", callee=method)
            router.add(method_mapping=mapping, **{name: consumer})
        try:
            return process_routing(router, "fit", **self.params)
        except UnsetMetadataPassedError as error:
            raise UnsetMetadataPassedError(
                message=str(error).replace("cross_validate.fit", "cross_validate_many"),
                unrequested_params=error.unrequested_params,
                routed_params=error.routed_params,
            ) from None

    def tasks(self, one: _Candidate, X: Any, y: Any) -> list[Callable[[], dict]]:
        """A fit with its scores, for each fold."""
        return [
            partial(
                _fit_clone_and_score,
                one.estimator,
                X,
                y,
                scorer=one.scorer,
                train=train,
                test=test,
                verbose=0,
                parameters=None,
                fit_params=one.routed.estimator.fit,
                score_params=one.routed.scorer.score,
                return_train_score=self.return_train_score,
                return_times=True,
                return_estimator=self.return_estimator,
                error_score=self.error_score,
            )
            for train, test in one.folds
        ]

    def collect(self, one: _Candidate, results: list[dict]) -> dict[str, Any]:
        """The results of the folds as ``cross_validate`` returns them."""
        _warn_or_raise_about_fit_failures(results, self.error_score)
        if callable(self.scoring):
            _insert_error_scores(results, self.error_score)
        columns = _aggregate_score_dicts(results)
        found = {name: columns[name] for name in ("fit_time", "score_time")}
        if self.return_estimator:
            found["estimator"] = columns["estimator"]
        if self.return_indices:
            train, test = zip(*one.folds, strict=True)
            found["indices"] = {"train": train, "test": test}
        test_scores = _normalize_score_results(columns["test_scores"])
        train_scores = _normalize_score_results(columns["train_scores"]) if self.return_train_score else {}
        for name, scores in test_scores.items():
            found[f"test_{name}"] = scores
            if name in train_scores:
                found[f"train_{name}"] = train_scores[name]
        return found


def _fit_clone_and_score(estimator: Any, X: Any, y: Any, **settings: Any) -> dict[str, Any]:
    # Cloned here, so that only the networks at work take memory.
    result: dict[str, Any] = _fit_and_score(clone(estimator), X, y, **settings)
    return result


def _with_note(error: JobError, candidates: list[_Candidate]) -> BaseException:
    """A job's own exception, which says where it was raised."""
    places = [(one.name, fold) for one in candidates for fold in range(len(one.folds))]
    name, fold = places[error.index]
    error.error.add_note(f"in estimator {name!r}, fold {fold}")
    return error.error
