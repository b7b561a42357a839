"""Robust numbers and dates: by hand, and what must hold of any column."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chainrule.estimators.numbers import DateParts, RobustNumbers, check_learned, smoothly_clipped

FINITE = st.floats(-1e12, 1e12, allow_nan=False)


def one(values):
    return pd.DataFrame({"x": np.asarray(values, dtype=np.float64)})


def test_smooth_clipping_by_hand():
    np.testing.assert_allclose(smoothly_clipped(np.array([0.0, 3.0, -3.0])), [0, 3 / 2**0.5, -3 / 2**0.5])
    np.testing.assert_array_equal(smoothly_clipped(np.array([1e300, -np.finfo(float).max])), [3.0, -3.0])


def test_a_normal_column_keeps_its_scale(rng):
    numbers = RobustNumbers().fit(one(rng.normal(5, 2, 10_001)))
    known = numbers.learned["x"]
    assert known["centre"] == pytest.approx(5, abs=0.1)
    assert known["scale"] == pytest.approx(2, rel=0.03)
    assert known["knots"] == []


def test_ranks_of_a_skewed_column_are_uniform(rng):
    values = rng.lognormal(sigma=2, size=5000)
    made = RobustNumbers().fit_transform(one(values))
    assert made.shape == (5000, 2)
    rank = made[:, 1]
    assert rank.std() == pytest.approx(1, rel=0.02)
    assert stats.spearmanr(rank, values).statistic > 0.9999
    assert stats.kstest(rank / (2 * 3**0.5) + 0.5, "uniform").statistic < 0.02


def test_beyond_what_was_seen_ranks_end():
    numbers = RobustNumbers().fit(one([0, 0, 0, 1, 100]))
    low, high = numbers.transform(one([-1e9, 1e9]))[:, 1]
    inside = numbers.transform(one([0, 100]))[:, 1]
    assert (low, high) == tuple(inside)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(FINITE, min_size=1, max_size=50), st.lists(FINITE, min_size=1, max_size=10))
def test_bounded_finite_and_monotone(seen, others):
    numbers = RobustNumbers().fit(one(seen))
    made = numbers.transform(one(sorted(others)))
    assert np.isfinite(made).all()
    assert np.abs(made).max() <= 3
    assert (np.diff(made, axis=0) >= 0).all()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(FINITE | st.none(), min_size=1, max_size=50).filter(lambda v: any(x is not None for x in v)))
def test_what_was_learned_is_json_and_all_there_is(seen):
    frame = one(seen)
    for kind, transformer in (("numeric", RobustNumbers), ("date", DateParts)):
        fitted = transformer().fit(frame)
        learned = json.loads(json.dumps(fitted.learned))
        assert check_learned(kind, learned["x"], lambda value: isinstance(value, float)) is None
        np.testing.assert_array_equal(transformer.of(learned).transform(frame), fitted.transform(frame))
        assert len(fitted.get_feature_names_out()) == fitted.transform(frame).shape[1]


def test_gaps():
    numbers = RobustNumbers().fit(one([1.0, np.nan, 3.0]))
    np.testing.assert_array_equal(numbers.transform(one([np.nan]))[0], [0.0, 1.0])
    without = RobustNumbers().fit(one([1.0, 3.0]))
    np.testing.assert_array_equal(without.transform(one([np.nan]))[0], [0.0])


def test_december_lies_beside_january():
    days = pd.date_range("2020-01-01", "2023-12-31", freq="D")
    dates = DateParts().fit(pd.DataFrame({"x": (days - pd.Timestamp(0)).total_seconds()}))
    names = list(dates.get_feature_names_out())
    year = [names.index(f"x year {wave} 1") for wave in ("sin", "cos")]

    def place(text):
        seconds = pd.DataFrame({"x": [(pd.Timestamp(text) - pd.Timestamp(0)).total_seconds()]})
        return dates.transform(seconds)[0, year]

    assert np.linalg.norm(place("2021-12-31") - place("2022-01-02")) < 0.05
    assert np.linalg.norm(place("2021-07-01") - place("2022-01-01")) > 1.9


@pytest.mark.parametrize(
    ("values", "cycles"),
    [
        ([0.0], []),
        ([0.0, 86_400.0], []),
        ([0.0, 86_400.0 * 5], ["week"]),
        ([0.0, 3600.0], ["day"]),
        ([0.0, 86_400.0 * 100, 3600.0], ["day", "week", "year"]),
    ],
)
def test_only_cycles_that_the_dates_show(values, cycles):
    assert DateParts().fit(one(values)).learned["x"]["cycles"] == cycles


def test_a_date_that_is_missing_is_zero_and_said():
    made = DateParts().fit_transform(one([0.0, 86_400.0 * 5, np.nan]))
    np.testing.assert_array_equal(made[2], [0, 0, 0, 0, 0, 1])


@pytest.mark.parametrize(
    ("kind", "change", "wrong"),
    [
        ("numeric", {"centre": "0"}, "centre"),
        ("numeric", {"scale": 0.0}, "scale"),
        ("numeric", {"missing": 1}, "missing"),
        ("numeric", {"knots": [1.0]}, "knots"),
        ("numeric", {"knots": [2.0, 1.0], "ranks": [0.0, 1.0]}, "knots"),
        ("numeric", {"ranks": "ab"}, "ranks"),
        ("date", {"cycles": ["moon"]}, "cycles"),
        ("date", {"cycles": None}, "cycles"),
    ],
)
def test_a_wrong_description_is_told(kind, change, wrong):
    transformer = RobustNumbers if kind == "numeric" else DateParts
    known = transformer().fit(one([1.0, 2.0])).learned["x"] | change
    assert check_learned(kind, known, lambda value: isinstance(value, float)) == wrong
