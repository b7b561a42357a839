"""TablePreprocessor: hand-worked values, the JSON round trip, and messages that name the column."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from chainrule.estimators.tables import TablePreprocessor


def through_json(table: TablePreprocessor) -> TablePreprocessor:
    return TablePreprocessor.from_dict(json.loads(json.dumps(table.to_dict(), allow_nan=False)))


def mixed_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "island": ["Dream", "Biscoe", None, "Dream"],
            "mass": [1.0, None, 3.0, 8.0],
            "banded": [True, None, True, False],
            "year": [2007, 2008, 2009, 2008],
        }
    )


# ----------------------------------------------------------------------------------------- values


def test_hand_worked_values_of_every_kind():
    table = TablePreprocessor().fit(mixed_frame())
    assert table.kinds_ == {
        "island": "categorical",
        "mass": "numeric",
        "banded": "boolean",
        "year": "numeric",
    }
    assert table.feature_names_out == [
        "mass",
        "year",
        "banded",
        "island=Biscoe",
        "island=Dream",
        "island missing",
    ]
    # mass: the gap becomes the median 3; then mean 15/4 and mean square (1 + 9 + 9 + 64)/4.
    mean, deviation = 3.75, np.sqrt(83 / 4 - 3.75**2)
    mass = (np.array([1.0, 3.0, 3.0, 8.0]) - mean) / deviation
    year = np.array([-1.0, 0.0, 1.0, 0.0]) / np.sqrt(0.5)
    expected = np.column_stack([mass, year, [1, 1, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]])
    np.testing.assert_allclose(table.transform(mixed_frame()), expected, rtol=1e-14)


def test_statistics_are_those_of_the_rows_fitted():
    table = TablePreprocessor().fit(pd.DataFrame({"x": [0.0, 2.0]}))
    later = table.transform(pd.DataFrame({"x": [5.0, None]}))
    np.testing.assert_array_equal(later, [[4.0], [0.0]])  # mean 1, deviation 1; the median is 1 too


def test_column_order_and_further_columns_do_not_matter(penguins):
    table = TablePreprocessor().fit(penguins.drop(columns="species"))
    shuffled = penguins[list(reversed(penguins.columns))].assign(extra=1)
    np.testing.assert_array_equal(table.transform(penguins), table.transform(shuffled))


def test_output_has_no_gaps_and_is_standardised(penguins):
    table = TablePreprocessor().fit(penguins.drop(columns="species"))
    array = table.transform(penguins)
    assert array.dtype == np.float64
    assert array.shape == (344, len(table.feature_names_out))
    assert np.isfinite(array).all()
    np.testing.assert_allclose(array[:, :5].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(array[:, :5].std(axis=0), 1, rtol=1e-12)
    assert set(np.unique(array[:, 5:])) == {0.0, 1.0}


def test_unseen_category_and_unseen_gap_give_zeros():
    table = TablePreprocessor().fit(pd.DataFrame({"island": ["Dream", "Biscoe"]}))
    assert table.feature_names_out == ["island=Biscoe", "island=Dream"]
    later = pd.DataFrame({"island": ["Torgersen", None, "Dream"]}, dtype=object)
    np.testing.assert_array_equal(table.transform(later), [[0, 0], [0, 0], [0, 1]])


def test_the_word_missing_is_not_a_missing_value():
    table = TablePreprocessor().fit(pd.DataFrame({"island": ["missing", None, "None"]}, dtype=object))
    assert table.feature_names_out == ["island=None", "island=missing", "island missing"]
    array = table.transform(pd.DataFrame({"island": [None, "None", "missing"]}, dtype=object))
    np.testing.assert_array_equal(array, [[0, 0, 1], [1, 0, 0], [0, 1, 0]])


def test_numeric_codes_in_a_categorical_column_survive_a_change_of_storage():
    table = TablePreprocessor().fit(pd.DataFrame({"code": pd.Series([1, 2, 3], dtype="category")}))
    as_floats = table.transform(pd.DataFrame({"code": [2.0, np.nan]}))
    as_text = table.transform(pd.DataFrame({"code": ["2", None]}))
    np.testing.assert_array_equal(as_floats, [[0, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(as_text, as_floats)


def test_a_column_of_many_categories_keeps_the_most_frequent_and_says_so():
    frame = pd.DataFrame({"name": ["c", "c", "b", "b", "a", "d", None]})
    table = TablePreprocessor(max_categories=2).fit(frame)
    assert table.feature_names_out == ["name=b", "name=c", "name rare"]
    assert table.notes_ == [
        "column 'name' has 5 different values; the 2 most frequent are used, the others count as one"
    ]
    np.testing.assert_array_equal(table.transform(frame)[:, 2], [0, 0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(table.transform(frame).sum(axis=1), np.ones(7))
    never_seen = pd.DataFrame({"name": ["z"]})
    np.testing.assert_array_equal(table.transform(never_seen), [[0, 0, 1]])
    again = TablePreprocessor.from_dict(json.loads(json.dumps(table.to_dict())))
    np.testing.assert_array_equal(again.transform(frame), table.transform(frame))
    assert TablePreprocessor().fit(frame).notes_ == []


def test_categories_with_a_small_share_of_the_rows_count_as_one():
    frame = pd.DataFrame({"name": ["a"] * 50 + ["b"] * 46 + ["c", "c", "d", None]})
    table = TablePreprocessor(rare=0.03).fit(frame)
    assert table.feature_names_out == ["name=a", "name=b", "name rare"]
    np.testing.assert_array_equal(table.transform(frame).sum(axis=0), [50, 46, 4])
    assert TablePreprocessor(rare=0.015).fit(frame).feature_names_out[-2:] == ["name=c", "name rare"]
    alone = pd.DataFrame({"name": ["a"] * 50 + ["b"]})
    assert TablePreprocessor(rare=0.1).fit(alone).feature_names_out == ["name=a", "name=b"]
    every_one_its_own = pd.DataFrame({"name": [f"person {i}" for i in range(99)]})
    assert TablePreprocessor(rare=0.02).fit(every_one_its_own).feature_names_out[1:] == ["name rare"]
    with pytest.raises(ValueError, match=r"rare must be a share of the rows in \[0, 1\), got 1.5"):
        TablePreprocessor(rare=1.5).fit(alone)


def test_constant_column_becomes_zero():
    table = TablePreprocessor().fit(pd.DataFrame({"x": [7.0, 7.0, None]}))
    np.testing.assert_array_equal(table.transform(pd.DataFrame({"x": [7.0, None]})), [[0.0], [0.0]])


def test_no_rows_to_transform_gives_no_rows():
    table = TablePreprocessor().fit(mixed_frame())
    assert table.transform(mixed_frame().iloc[:0]).shape == (0, 6)


def test_the_frames_are_left_as_they_were():
    frame = mixed_frame()
    TablePreprocessor().fit(frame).transform(frame)
    pd.testing.assert_frame_equal(frame, mixed_frame())


def test_works_inside_a_scikit_learn_pipeline(penguins):
    features = penguins.drop(columns="species")
    pipeline = make_pipeline(clone(TablePreprocessor(max_categories=5)), LogisticRegression())
    pipeline.fit(features, penguins["species"])
    assert pipeline.score(features, penguins["species"]) > 0.95
    assert list(pipeline[:-1].get_feature_names_out())[:2] == ["bill_length_mm", "bill_depth_mm"]


# -------------------------------------------------------------------------------- description, JSON


def test_description_is_readable_and_complete():
    description = TablePreprocessor().fit(mixed_frame()[["island", "banded", "year"]]).to_dict()
    assert description == {
        "max_categories": 100,
        "rare": 0.0,
        "numbers": "standard",
        "sparse": False,
        "columns": [
            {
                "name": "island",
                "kind": "categorical",
                "categories": ["Biscoe", "Dream", None],
                "rare": False,
            },
            {"name": "banded", "kind": "boolean", "fill": 1.0},
            {
                "name": "year",
                "kind": "numeric",
                "median": 2008.0,
                "mean": 2008.0,
                "variance": 0.5,
                "scale": np.sqrt(0.5),
            },
        ],
    }


@pytest.mark.parametrize(
    "columns", [["island"], ["mass"], ["banded"], ["banded", "island"], ["year", "mass"]]
)
def test_round_trip_with_some_kinds_absent(columns):
    frame = mixed_frame()[columns]
    table = TablePreprocessor().fit(frame)
    again = through_json(table)
    assert again.feature_names_out == table.feature_names_out
    assert again.n_features_in_ == len(columns)
    assert again.transform(frame).tobytes() == table.transform(frame).tobytes()


finite = st.floats(min_value=-1e100, max_value=1e100)
row = st.tuples(
    st.none() | finite,
    st.none() | st.booleans(),
    st.none() | st.text(max_size=3),
    finite,
)


@given(st.lists(row, min_size=1, max_size=12), st.lists(row, max_size=5))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_round_trip_gives_the_same_bits_for_any_table(first, later):
    names = ["number", "truth", "text", "full"]
    # One complete row, so that no column is without a value.
    frame = pd.DataFrame([(0.5, True, "a", 1.0), *first], columns=names).astype({"text": object})
    further = pd.DataFrame(later, columns=names).astype({"text": object})
    table = TablePreprocessor().fit(frame)
    again = through_json(table)
    assert again.to_dict() == table.to_dict()
    for data in (frame, further):
        assert again.transform(data).tobytes() == table.transform(data).tobytes()


def good_description() -> dict:
    return TablePreprocessor().fit(mixed_frame()).to_dict()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d.pop("columns"), "must be a dict with a list of columns"),
        (lambda d: d.update(columns=[]), "one column or more"),
        (lambda d: d.update(max_categories="many"), "max_categories"),
        (lambda d: d["columns"].append("x"), "must have a name, got 'x'"),
        (lambda d: d["columns"].append(d["columns"][0]), "column 'island' is described twice"),
        (lambda d: d["columns"][0].update(kind="place"), "column 'island': its kind must be one of"),
        (lambda d: d["columns"][0].update(kind=[]), "column 'island': its kind must be one of"),
        (lambda d: d["columns"][0].update(categories=[]), "column 'island': its categories cannot be"),
        (
            lambda d: d["columns"][0].update(categories=[None, "a"]),
            "column 'island': its categories cannot be",
        ),
        (
            lambda d: d["columns"][0].update(categories=["a", "a"]),
            "column 'island': its categories cannot be",
        ),
        (lambda d: d["columns"][1].pop("mean"), "column 'mass': its mean cannot be None"),
        (lambda d: d["columns"][1].update(scale=float("nan")), "column 'mass': its scale cannot be nan"),
        (lambda d: d["columns"][2].update(fill="1"), "column 'banded': its fill cannot be '1'"),
        (lambda d: d.update(numbers="roman"), "settings cannot be 'roman'"),
        (lambda d: d.update(numbers="robust"), "column 'mass': its centre cannot be None"),
        (lambda d: d.update(sparse=1), "sparse=1"),
        (lambda d: d.update(rare="often"), "rare='often'"),
        (lambda d: d["columns"][0].update(kind="date"), "column 'island': its centre cannot be None"),
    ],
)
def test_a_wrong_description_is_refused(damage, message):
    description = good_description()
    damage(description)
    with pytest.raises(ValueError, match=message):
        TablePreprocessor.from_dict(description)


# ----------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": []}), "no rows to learn from"),
        (pd.DataFrame(index=[0, 1]), "no columns to learn from"),
        (pd.DataFrame({"a": [1, 2], "b": [None, None]}), "no value in any row of column 'b'"),
        (pd.DataFrame({"a": [None], "b": [None], "c": [1]}), "no value in any row of columns 'a', 'b'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column named 'a'"),
        (pd.DataFrame({"a": [1.0, np.inf]}), "column 'a' must hold finite numbers, got inf in row 1"),
        (pd.DataFrame({"a": [1e200, -1e200]}), "column 'a': its values are too large to standardise"),
        (pd.DataFrame({"a": [1j]}), "column 'a' holds complex values"),
    ],
)
def test_fit_names_the_column(frame, message):
    with pytest.raises(ValueError, match=message):
        TablePreprocessor().fit(frame)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda f: f.drop(columns=["mass", "banded"]), "lacks columns 'mass', 'banded', seen in training"),
        (lambda f: f.rename(columns={"island": "Island"}), "lacks column 'island', .* did you mean 'Island'"),
        (
            lambda f: f.assign(mass=["1", "2", "3", "big"]),
            "column 'mass' must hold numbers, got 'big' in row 3",
        ),
        (
            lambda f: f.assign(mass=[1, 2, 3, np.inf]),
            "column 'mass' must hold finite numbers, got inf in row 3",
        ),
        (lambda f: f.assign(mass=1.7e308), "column 'mass': its values are too large beside those seen"),
        (lambda f: f.assign(banded=[0, 1, 2, 0]), "column 'banded' must hold truth values, got 2 in row 2"),
        (
            lambda f: f.assign(mass=pd.to_datetime("2024-01-01")),
            "column 'mass' must hold numbers, got Timest",
        ),
    ],
)
def test_transform_names_the_column(changed, message):
    frame = mixed_frame().assign(mass=[1e-10, 2e-10, 3e-10, None])
    table = TablePreprocessor().fit(frame)
    with pytest.raises(ValueError, match=message):
        table.transform(changed(frame))


def test_a_column_of_gaps_alone_is_fine_after_training():
    table = TablePreprocessor().fit(mixed_frame())
    gaps = pd.DataFrame({name: [None] for name in mixed_frame()})
    np.testing.assert_allclose(table.transform(gaps)[0, 2:], [1, 0, 0, 1])


def test_only_frames_are_taken():
    with pytest.raises(TypeError, match="expected a pandas DataFrame, got ndarray"):
        TablePreprocessor().fit(np.zeros((2, 2)))
    table = TablePreprocessor().fit(mixed_frame())
    with pytest.raises(TypeError, match="expected a pandas DataFrame, got list"):
        table.transform([[1]])


@pytest.mark.parametrize("value", [0, 1.5, "all"])
def test_max_categories_is_checked(value):
    with pytest.raises(ValueError, match="max_categories must be a whole number of 1 or more, got"):
        TablePreprocessor(max_categories=value).fit(mixed_frame())


def test_not_fitted_is_said():
    for use in (lambda t: t.transform(mixed_frame()), lambda t: t.to_dict(), lambda t: t.feature_names_out):
        with pytest.raises(NotFittedError):
            use(TablePreprocessor())


# -------------------------------------------------------------------------------- robust, dates, sparse


def wide_frame(n=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "skewed": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(sigma=2, size=n)),
            "even": rng.normal(size=n),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 4000, n), unit="h"),
            "who": [f"person {i % 40}" for i in range(n)],
        }
    )


def test_robust_numbers_and_dates_by_name():
    table = TablePreprocessor(numbers="robust").fit(wide_frame())
    names = table.feature_names_out
    assert names[:4] == ["skewed", "skewed rank", "skewed missing", "even"]
    assert [name for name in names if name.startswith("when")][:2] == ["when", "when day sin 1"]
    assert table.transform(wide_frame()).shape == (60, len(names))
    assert np.abs(table.transform(wide_frame())[:, :4]).max() <= 3


@pytest.mark.parametrize("is_sparse", [False, True])
def test_a_robust_table_survives_json(is_sparse):
    table = TablePreprocessor(numbers="robust", sparse=is_sparse, max_categories=30).fit(wide_frame())
    again = TablePreprocessor.from_dict(json.loads(json.dumps(table.to_dict())))
    frame = wide_frame(80).assign(who="nobody")
    a, b = table.transform(frame), again.transform(frame)
    assert type(a) is type(b)
    dense = (a.toarray(), b.toarray()) if is_sparse and hasattr(a, "toarray") else (a, b)
    np.testing.assert_array_equal(*dense)
    assert again.to_dict() == table.to_dict()
    assert again.feature_names_out == table.feature_names_out


def test_a_wide_table_of_zeros_is_sparse_and_the_same():
    frame = pd.DataFrame({"who": [f"person {i}" for i in range(50)]})
    dense = TablePreprocessor().fit_transform(frame)
    wide = TablePreprocessor(sparse=True).fit_transform(frame)
    assert wide.format == "csr"
    np.testing.assert_array_equal(wide.toarray(), dense)


def test_numbers_must_be_known():
    with pytest.raises(ValueError, match="numbers must be one of 'standard', 'robust', got 'roman'"):
        TablePreprocessor(numbers="roman").fit(wide_frame())
