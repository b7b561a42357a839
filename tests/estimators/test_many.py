"""Estimators side by side: each as its own ``fit`` would leave it."""

import os
import signal
import threading
import warnings

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chainrule import JobError, MLPClassifier, MLPRegressor, fit_estimators
from chainrule.estimators.many import fit_cost

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)) * [1, 10, 1, 0.1]
Y = (X[:, 0] + RNG.normal(size=90) > 0).astype(int) + (X[:, 2] > 1)
WEIGHTS = np.linspace(0.5, 2, 90)

ESTIMATORS = [
    MLPClassifier((8,), max_iter=6, random_state=0),
    MLPClassifier((30, 5), "tanh", solver="sgd", max_iter=4, batch_size=11, random_state=1, n_jobs=2),
    MLPClassifier((8,), solver="lbfgs", max_iter=5, random_state=2),
    MLPClassifier((8,), early_stopping=True, max_iter=9, dropout=0.2, batch_norm=True, random_state=3),
    make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=5, random_state=4, dtype="float32")),
    MLPRegressor("huber", (8,), max_iter=5, random_state=np.random.RandomState(5)),
]

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def weights_of(estimator):
    network = estimator[-1] if hasattr(estimator, "steps") else estimator
    arrays = [*network.coefs_, *network.intercepts_]
    return b"".join(array.tobytes() for array in arrays), network.n_iter_, network.loss_


@pytest.mark.parametrize("n_jobs", [1, 2, 9])
@pytest.mark.parametrize("sample_weight", [None, WEIGHTS])
def test_every_estimator_is_as_its_own_fit_leaves_it(n_jobs, sample_weight):
    alone = [clone(one) for one in ESTIMATORS]
    for one in alone:
        name = "mlpclassifier__sample_weight" if hasattr(one, "steps") else "sample_weight"
        one.fit(X, Y, **({} if sample_weight is None else {name: sample_weight}))
    together = [clone(one) for one in ESTIMATORS]
    fitted = fit_estimators(together, X, Y, sample_weight=sample_weight, n_jobs=n_jobs)
    assert all(a is b for a, b in zip(fitted, together, strict=True))
    assert [weights_of(one) for one in fitted] == [weights_of(one) for one in alone]


def test_data_of_its_own_for_each():
    parts = [(X[:40], Y[:40]), (X[40:], Y[40:], WEIGHTS[40:])]
    alone = [MLPClassifier((5,), max_iter=4, random_state=0).fit(*part) for part in parts]
    together = fit_estimators([clone(one) for one in alone], parts)
    assert [weights_of(one) for one in together] == [weights_of(one) for one in alone]


def test_two_estimators_are_fitted_at_the_same_time():
    both = threading.Barrier(2, timeout=60)

    def meet(estimator, X, y):
        both.wait()  # breaks, were the other not in an epoch of its own
        return 0.5

    estimators = [
        MLPClassifier((4,), max_iter=3, early_stopping=True, scoring=meet, random_state=seed)
        for seed in range(2)
    ]
    fitted = fit_estimators(estimators, X, Y, n_jobs=2)
    assert [one.n_iter_ for one in fitted] == [3, 3]


def test_each_has_one_thread_and_later_again_what_it_asks_for():
    one, other = fit_estimators([clone(ESTIMATORS[1]), clone(ESTIMATORS[0])], X, Y)
    assert list(one._network._executors) == list(other._network._executors) == [(1, "full")]
    one.predict(X)
    other.predict(X)
    assert list(one._network._executors) == [(1, "full"), (2, "full")]
    assert list(other._network._executors) == [(1, "full"), (None, "full")]


def test_scikit_learns_configuration_is_the_callers():
    pipelines = [make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=2)) for _ in range(2)]
    seen = []

    class Watching(StandardScaler):
        def fit(self, X, y=None, sample_weight=None):
            seen.append(sklearn.get_config()["working_memory"])
            return super().fit(X, y, sample_weight)

    for one in pipelines:
        one.steps[0] = ("watching", Watching())
    with sklearn.config_context(working_memory=77):
        fit_estimators(pipelines, X, Y)
    assert seen == [77, 77]


def test_an_error_names_the_estimator():
    wrong = MLPClassifier((4,), activation="sigmoidal")
    with pytest.raises(JobError, match="job 1 failed: InvalidParameterError: The 'activation' parameter"):
        fit_estimators([clone(ESTIMATORS[0]), wrong], X, Y)
    fitted, error = fit_estimators([clone(ESTIMATORS[0]), wrong], X, Y, on_error="return")
    assert fitted.n_iter_ == 6
    assert isinstance(error, ValueError)
    odd = MLPClassifier(hidden_layer_sizes="many")
    assert isinstance(fit_estimators([odd], X, Y, on_error="return")[0], ValueError)


def test_what_two_threads_would_both_write_to_is_refused():
    one, generator = clone(ESTIMATORS[0]), np.random.RandomState(0)
    with pytest.raises(ValueError, match="estimators 0 and 1 are the same object: give each one of its own"):
        fit_estimators([one, one], X, Y)
    pair = [MLPClassifier(random_state=generator), make_pipeline(MLPClassifier(random_state=generator))]
    with pytest.raises(ValueError, match="estimators 0 and 1 share one random generator"):
        fit_estimators(pair, X, Y)


def test_data_that_cannot_be_read():
    two = [clone(ESTIMATORS[0]), clone(ESTIMATORS[0])]
    with pytest.raises(ValueError, match=r"without y, X must be a list of \(X, y\)"):
        fit_estimators(two, X)
    with pytest.raises(ValueError, match=r"X must have one \(X, y\) for each of 2 estimators; got 1"):
        fit_estimators(two, [(X, Y)])
    with pytest.raises(ValueError, match="sample_weight goes with X and y"):
        fit_estimators(two, [(X, Y), (X, Y)], sample_weight=WEIGHTS)


def test_warnings_reach_the_caller():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        fit_estimators([MLPClassifier((4,), max_iter=2, random_state=seed) for seed in range(3)], X, Y)
    assert [issubclass(one.category, ConvergenceWarning) for one in seen] == [True] * 3


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_an_interrupt_stops_all(solver):
    sent = []

    class Interrupting(StandardScaler):
        def transform(self, X, copy=None):
            if not sent:
                sent.append(True)
                os.kill(os.getpid(), signal.SIGINT)
            return super().transform(X, copy)

    endless = {"max_iter": 10**6, "max_fun": 10**9, "tol": 0, "n_iter_no_change": np.inf}
    estimators = [
        make_pipeline(Interrupting(), MLPClassifier((300,), solver=solver, random_state=seed, **endless))
        for seed in range(3)
    ]
    with pytest.raises(KeyboardInterrupt):
        fit_estimators(estimators, np.repeat(X, 10, axis=0), RNG.integers(0, 2, 900))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chainrule-job")]


def test_what_a_fit_costs():
    small, large = MLPClassifier((10,), max_iter=5), MLPClassifier((10, 100), max_iter=5)
    assert fit_cost(small, X) == (4 * 10 + 10) * 90 * 5
    assert fit_cost(make_pipeline(StandardScaler(), large), X) > fit_cost(small, X)
    assert fit_cost(StandardScaler(), X.tolist()) == 90


# -- inside joblib ---------------------------------------------------------------------------------


def test_inside_joblibs_threads():
    def committee():
        members = [MLPClassifier((8,), max_iter=4, random_state=seed) for seed in range(3)]
        return [weights_of(one) for one in fit_estimators(members, X, Y)]

    expected = committee()
    results = joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(committee)() for _ in range(3))
    assert results == [expected] * 3


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_grid_search_gives_the_same_scores_on_two_jobs(backend):
    def search(n_jobs):
        grid = {"hidden_layer_sizes": [(4,), (16,)], "dtype": [None, "float32"]}
        network = MLPClassifier(max_iter=5, random_state=0)
        with joblib.parallel_config(backend, n_jobs=n_jobs), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return GridSearchCV(network, grid, cv=3).fit(X, Y).cv_results_

    one, two = search(1), search(2)
    for name in ("split0_test_score", "split1_test_score", "split2_test_score", "mean_test_score"):
        np.testing.assert_array_equal(two[name], one[name])
