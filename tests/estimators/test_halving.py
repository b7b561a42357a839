"""Successive halving on a toy whose best configuration is known in closed form."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from chainrule import MLPRegressor
from chainrule.estimators.halving import HalvingOptions, successive_halving

X, Y = np.zeros((40, 1)), np.linspace(0, 1, 40)


class Toy(RegressorMixin, BaseEstimator):
    """Its score is known: -(value - 3)² - rate / epochs, so that short trainings may mislead."""

    def __init__(self, value=0.0, rate=0.0, epochs=1):
        self.value, self.rate, self.epochs = value, rate, epochs

    def fit(self, X, y):
        if self.value == "broken":
            raise ValueError("non-finite loss")
        self.n_rows_ = len(X)
        return self

    def score(self, X, y):
        assert len(X) + self.n_rows_ == 40
        return -((self.value - 3) ** 2) - self.rate / self.epochs


def options(**others):
    return HalvingOptions(**{"resource": "epochs", "least": 1, "most": 27, **others})


def test_the_known_best_of_a_list_is_found():
    found = successive_halving(
        Toy(), {"value": [1.0, 2.0, 3.0, 4.0, 9.0]}, X, Y, options=options(), random_state=0
    )
    assert found.best_params == {"value": 3.0}
    assert found.best_score == 0
    assert len(found.configurations) == 6
    assert found.configurations[0] == {}


def test_the_known_best_of_a_distribution_is_neared():
    found = successive_halving(
        Toy(), {"value": stats.uniform(0, 10)}, X, Y, options=options(n_configurations=200), random_state=0
    )
    drawn = [one["value"] for one in found.configurations[1:]]
    assert found.best_params["value"] == min(drawn, key=lambda value: abs(value - 3))
    assert found.best_params["value"] == pytest.approx(3, abs=0.2)


def test_a_third_goes_on_and_is_given_thrice_as_much_and_the_default_goes_along():
    rungs = successive_halving(
        Toy(), {"value": stats.uniform(2, 2)}, X, Y, options=options(), random_state=0
    ).rungs
    assert [rung.resource for rung in rungs] == [1, 3, 9, 27]
    # The estimator as it is, the worst of all, is one more in each later rung.
    assert [len(rung.configurations) for rung in rungs] == [27, 10, 4, 2]
    assert all(0 in rung.configurations for rung in rungs)
    for before, after in pairwise(rungs):
        kept = [one for one in after.configurations if one]
        order = np.argsort([-score for score in before.scores])
        assert kept == [before.configurations[i] for i in order[: len(kept)]]


def test_the_judgement_is_that_of_the_longest_training():
    # At 1 epoch 3.3 leads; given 27, 3.0 catches up and wins.
    grid = {"value": [3.0, 6.0, 7.0], "rate": [0.1]}
    settings = options(n_configurations=4, factor=2)
    found = successive_halving(Toy(value=3.3), grid, X, Y, options=settings, random_state=0)
    assert found.rungs[0].best == 0
    assert found.rungs[-1].best > 0
    assert found.best_params == {"value": 3.0, "rate": 0.1}


def test_an_estimator_that_is_best_as_it_is_wins():
    found = successive_halving(
        Toy(value=3.0), {"value": stats.uniform(4, 1)}, X, Y, options=options(), random_state=0
    )
    assert found.best_params == {}


def test_trainings_that_fail_are_last_and_all_failing_is_an_error():
    found = successive_halving(
        Toy(), {"value": ["broken", 2.0]}, X, Y, options=options(n_configurations=3), random_state=0
    )
    assert found.best_params == {"value": 2.0}
    with pytest.raises(ValueError, match="every training failed: non-finite loss"):
        successive_halving(
            Toy(value="broken"), {"value": ["broken"]}, X, Y, options=options(), random_state=0
        )


def test_the_seed_decides():
    def search(seed):
        distributions = {
            "hidden_layer_sizes": [(2,), (4,), (8,)],
            "learning_rate_init": stats.loguniform(1e-4, 1),
        }
        rng = np.random.default_rng(0)
        inputs = rng.normal(size=(60, 2))
        found = successive_halving(
            MLPRegressor(random_state=0), distributions, inputs, inputs[:, 0],
            options=HalvingOptions(n_configurations=6, least=2, most=12), random_state=seed,
        )  # fmt: skip
        return found.best_params, [(rung.configurations, rung.scores) for rung in found.rungs]

    assert search(1) == search(1)
    assert search(1) != search(2)


def test_a_limit_of_time_starts_over_until_it_has_passed(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr("chainrule.estimators.halving.time.monotonic", lambda: float(next(clock)))
    told = []
    settings = options(n_configurations=4, most=9, max_seconds=60, on_rung=told.append)
    found = successive_halving(Toy(), {"value": stats.uniform(0, 6)}, X, Y, options=settings, random_state=0)
    assert found.rungs == told
    assert {rung.round for rung in found.rungs} > {0, 1}
    assert found.best_params["value"] == pytest.approx(3, abs=1.5)


def test_a_limit_that_is_too_short_still_tries_something(monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr("chainrule.estimators.halving.time.monotonic", lambda: float(next(clock)))
    settings = options(max_seconds=0.1)
    found = successive_halving(Toy(), {"value": stats.uniform(0, 6)}, X, Y, options=settings, random_state=0)
    assert [len(rung.configurations) for rung in found.rungs] == [6]


def test_classes_are_held_back_in_proportion():
    class Counting(ClassifierMixin, BaseEstimator):
        def __init__(self, epochs=1):
            self.epochs = epochs

        def fit(self, X, y):
            return self

        def score(self, X, y):
            assert y.tolist().count("rare") == 2
            return 1.0

    y = np.array(["rare"] * 10 + ["common"] * 30)
    found = successive_halving(Counting(), {}, X, y, options=options(), random_state=0)
    assert (found.best_params, found.best_score) == ({}, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_configurations": 0}, "n_configurations must be a whole number of 1 or more, got 0"),
        ({"factor": 1}, "factor must be a whole number of 2 or more, got 1"),
        ({"least": 5, "most": 4}, "most must be a whole number of 5 or more, got 4"),
        ({"validation_fraction": 1}, "validation_fraction must be between 0 and 1, got 1"),
        ({"max_seconds": 0}, "max_seconds must be positive, got 0"),
    ],
)
def test_options_that_make_no_sense(wrong, message):
    with pytest.raises(ValueError, match=message):
        HalvingOptions(**wrong)


def test_parameters_that_are_not_there():
    with pytest.raises(ValueError, match="distributions: Toy has no parameter 'width'"):
        successive_halving(Toy(), {"width": [1]}, X, Y, options=options())
    with pytest.raises(ValueError, match="Toy has no parameter 'max_iter'"):
        successive_halving(Toy(), {}, X, Y)
