"""What a column is taken for, and the messages about columns that cannot be used."""

import datetime
import decimal
import re

import numpy as np
import pandas as pd
import pytest

from chainrule.estimators.columns import (
    class_labels,
    column_kind,
    date_column,
    infer_task,
    number_column,
    refuse_mixture,
    split_target,
    text_column,
    truth_column,
)


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [
        ([1, 2], "int64", "numeric"),
        ([1.5, None], "float32", "numeric"),
        ([1, None], "Int64", "numeric"),
        ([1, None, 2.5], object, "numeric"),
        ([decimal.Decimal("1.5"), None], object, "numeric"),
        ([True, False], "bool", "boolean"),
        ([True, None], "boolean", "boolean"),
        ([True, None], object, "boolean"),
        (["a", None], object, "categorical"),
        (["a", "b"], "string", "categorical"),
        ([1, "a"], object, "categorical"),
        ([1, 2], "category", "categorical"),
        ([True, False], "category", "categorical"),
    ],
)
def test_kind_of_a_column(values, dtype, kind):
    assert column_kind(pd.Series(values, dtype=dtype)) == kind


@pytest.mark.parametrize("values", [[1 + 2j, 0j], [b"raw", b"bytes"], [datetime.time(1, 2)]])
def test_a_column_that_is_neither_number_nor_text_is_refused_by_name(values):
    column = pd.Series(values, name="when")
    for read in (column_kind, number_column):
        with pytest.raises(
            ValueError, match="column 'when' holds .* neither numbers, dates, truth values nor"
        ):
            read(column)


DATES = {
    "datetime64": pd.to_datetime(["1970-01-02", None]),
    "seconds": pd.to_datetime(["1970-01-02", None]).astype("datetime64[s]"),
    "with a zone": pd.to_datetime(["1970-01-02", None]).tz_localize("Asia/Tokyo"),
    "date": [datetime.date(1970, 1, 2), None],
    "datetime": [datetime.datetime(1970, 1, 2), None],
    "datetime with a zone": [datetime.datetime(1970, 1, 2, tzinfo=datetime.UTC), None],
    "text": ["1970-01-02", None],
    "text with a time": ["1970-01-02 00:00", None],
    "text with a zone": ["1970-01-02T00:00:00+05:00", None],
    "text of greenwich": ["1970-01-02T00:00:00.000Z", None],
}


@pytest.mark.parametrize("values", DATES.values(), ids=DATES)
def test_dates_are_read_from_every_way_of_storing_them_by_the_clock_on_the_wall(values):
    column = pd.Series(values, name="when")
    assert column_kind(column) == "date"
    np.testing.assert_array_equal(date_column(column), [86400.0, np.nan])
    with pytest.raises(ValueError, match="column 'when' must hold numbers, got .* in row 0"):
        number_column(column)


def test_texts_with_two_zones_are_read_by_the_clock_on_the_wall():
    column = pd.Series(["1970-01-01T01:00+05:00", "1970-01-01T01:00Z", "1970-01-01"])
    np.testing.assert_array_equal(date_column(column), [3600.0, 3600.0, 0.0])


@pytest.mark.parametrize("values", [["2024-13-01"], ["2024-01-01", "soon"], ["12-11-10"], ["2024-01-01-7"]])
def test_what_only_looks_like_a_date_is_text(values):
    assert column_kind(pd.Series(values)) == "categorical"


@pytest.mark.parametrize("values", [[7], [1.5, None], ["soon"], [True]])
def test_what_is_no_date_is_refused_by_name(values):
    with pytest.raises(ValueError, match="column 'when' must hold dates, got .* in row 0"):
        date_column(pd.Series(values, name="when"))


def test_durations_are_numbers_of_seconds():
    column = pd.Series(pd.to_timedelta([1, None], unit="D"))
    assert column_kind(column) == "numeric"
    np.testing.assert_array_equal(number_column(column), [86400.0, np.nan])


@pytest.mark.parametrize("dtype", ["Int64", "float64", object, "string", "category"])
def test_numbers_are_read_from_every_way_of_storing_them(dtype):
    column = pd.Series([1, None, 3], dtype="Int64").astype(dtype)
    np.testing.assert_array_equal(number_column(column), [1.0, np.nan, 3.0])


def test_text_among_numbers_is_named_with_its_row():
    column = pd.Series([1, "2", "heavy"], index=[10, 20, 30], name="mass")
    with pytest.raises(ValueError, match=r"^column 'mass' must hold numbers, got 'heavy' in row 30$"):
        number_column(column)


def test_infinite_values_are_named_with_their_row():
    column = pd.Series([1.0, np.nan, -np.inf], name="mass")
    with pytest.raises(ValueError, match=r"^column 'mass' must hold finite numbers, got -inf in row 2$"):
        number_column(column)


def test_truth_values_in_all_their_spellings():
    column = pd.Series([True, False, "TRUE", " false", 1, 0, 1.0, np.True_, None, np.nan], dtype=object)
    np.testing.assert_array_equal(truth_column(column), [1, 0, 1, 0, 1, 0, 1, 1, np.nan, np.nan])
    np.testing.assert_array_equal(truth_column(pd.Series([True, None], dtype="boolean")), [1, np.nan])


@pytest.mark.parametrize(("value", "shown"), [(2, "2"), ("yes", "'yes'")])
def test_other_values_in_a_truth_column_are_refused(value, shown):
    column = pd.Series([True, value], name="open", dtype=object)
    with pytest.raises(ValueError, match=f"column 'open' must hold truth values, got {shown} in row 1"):
        truth_column(column)


def test_a_code_is_the_same_text_whether_read_as_integer_or_float():
    assert text_column(pd.Series([3, 5])) == ["3", "5"]
    assert text_column(pd.Series([3, None, 2.5])) == ["3", None, "2.5"]


# --------------------------------------------------------------------------------- the target column


def test_split_target_separates_and_counts_rows_without_target(penguins):
    features, values, n_dropped = split_target(penguins, "sex")
    assert list(features.columns) == [name for name in penguins.columns if name != "sex"]
    assert n_dropped == 11
    assert len(features) == len(values) == 344 - 11
    assert set(values) == {"female", "male"}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            {"a": [1, 2], "Species": ["x", "y"]},
            "no column 'species', did you mean 'Species'\\? Its columns: a, ",
        ),
        ({"a": [1, 2], "b": [1, 2]}, "no column 'species'\\. Its columns: a, b"),
        ({"a": [], "species": []}, "the table has no rows"),
        ({"a": [1, 2], "species": [None, None]}, "target column 'species' has no value in any row"),
        ({"a": [1, 2, 3], "species": ["x", "x", None]}, "'species' has one value only, 'x'"),
        ({"species": ["x", "y"]}, "no column beside the target 'species'"),
    ],
)
def test_split_target_says_what_is_wrong(frame, message):
    with pytest.raises(ValueError, match=message):
        split_target(pd.DataFrame(frame), "species")


def test_two_columns_of_one_name_are_refused():
    frame = pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])
    with pytest.raises(ValueError, match="more than one column named 'a'"):
        split_target(frame, "b")


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b", "a"], "classification"),
        ([True, False, True], "classification"),
        ([0, 1] * 5, "classification"),
        ([0.0, 1.0] * 5, "classification"),
        (list(range(20)) * 2, "classification"),
        (list(range(21)) * 2, "regression"),
        ([1, 2, 3], "regression"),
        ([0.5, 1.0] * 5, "regression"),
    ],
)
def test_task_follows_from_the_values(values, task):
    assert infer_task(pd.Series(values)) == task


def test_class_labels_keep_whole_numbers_and_turn_the_rest_into_text():
    assert class_labels(pd.Series([2.0, 1.0])).tolist() == [2, 1]
    assert class_labels(pd.Series(["b", "a"])).tolist() == ["b", "a"]
    assert class_labels(pd.Series(["b", 1], dtype=object)).tolist() == ["b", "1"]
    assert class_labels(pd.Series([True, False])).dtype.kind == "U"
    with pytest.raises(ValueError, match=r"'mass' holds fractions \(1.5 in row 1\)"):
        class_labels(pd.Series([1.0, 1.5], name="mass"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.5, "n/a", None, 2.0], "column 'c' mixes types: 2 values of type float, but 'n/a' in row 1;"),
        (["a", "b", 3], "column 'c' mixes types: 2 values of type str, but 3 in row 2;"),
        ([True, "a", True], "column 'c' mixes types: 2 values of type bool, but 'a' in row 1;"),
        ([[1], [2]], "column 'c' mixes types: 2 values of type list; correct it"),
    ],
)
def test_a_mixture_of_types_is_refused(values, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        refuse_mixture(pd.Series(values, name="c", dtype=object))
    refuse_mixture(pd.Series([1, 2.5, None], dtype=object))


def test_text_of_values_that_are_equal_and_not_the_same():
    # 1, 1.0 and True are one key of a dictionary.
    assert text_column(pd.Series([1, True, 1.5, None], dtype=object)) == ["1", "True", "1.5", None]
    assert text_column(pd.Series(["b", "a", None, "b"])) == ["b", "a", None, "b"]
    assert text_column(pd.Series(["b", None], dtype="category")) == ["b", None]
    assert text_column(pd.Series([True, False])) == ["True", "False"]
