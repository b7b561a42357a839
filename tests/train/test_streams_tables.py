"""Streams of tables: classes, text, preprocessing, standardisation."""

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.train.streaming import all_of, bits, cut, net, written

import chainrule
from chainrule import fit, nn, predict
from chainrule.estimators.tables import TablePreprocessor
from chainrule.train.streams import pieces
from chainrule.train.streams.survey import Moments, sample_of

QUIET = {"verbose": 0}

pytestmark = pytest.mark.usefixtures("small_pieces")


@pytest.fixture
def frame(rng):
    """Numbers with gaps, text with gaps, truth values; a target of text that depends on all of them."""
    n = 400
    text = rng.choice(["red", "green", "blue"], n)
    mass = rng.normal(50, 10, n)
    flag = rng.random(n) < 0.5
    kind = np.where((text == "red") & flag, "a", np.where(mass > 50, "b", "c"))
    table = pd.DataFrame({"mass": mass, "colour": text, "flag": flag, "kind": kind})
    table.loc[::17, "mass"] = np.nan
    table.loc[::13, "colour"] = None
    return table


# -- from tables to numbers --------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz", "tsv"])
def test_text_gaps_and_classes(tmp_path, frame, ending):
    folder = written(frame, tmp_path / "table", ending)
    stream = chainrule.stream(folder, target="kind", preprocessor=TablePreprocessor())
    table = TablePreprocessor().fit(frame.drop(columns="kind"))
    assert stream.shape == (400, 6)
    assert stream.names == table.feature_names_out
    assert stream.classes == ["a", "b", "c"]
    labels, y = np.unique(frame["kind"], return_inverse=True)
    assert list(labels) == stream.classes
    X = table.transform(frame)
    np.testing.assert_allclose(all_of(stream)[0], X, rtol=1e-12)

    module, other = net(6, 3), net(6, 3)
    options = {"loss": nn.CrossEntropyLoss(), "epochs": 20, "metrics": ["accuracy"], **QUIET}
    history = fit(module, stream, **options)
    expected = fit(other, X, y, **options)
    assert bits(module) == bits(other)
    assert history["accuracy"] == expected["accuracy"]
    assert history["accuracy"][-1] > 0.85
    np.testing.assert_array_equal(np.concatenate(list(predict(module, stream))), predict(other, X))


def test_a_frame_in_memory_validates_a_stream_of_tables(tmp_path, frame):
    training, held_out = frame[:300], frame[300:]
    folder = written(training, tmp_path / "table", "parquet")
    stream = chainrule.stream(folder, target="kind", preprocessor=TablePreprocessor())
    options = {"loss": nn.CrossEntropyLoss(), "epochs": 3, "metrics": ["accuracy"], **QUIET}
    by_frame = fit(net(6, 3), stream, validation=(held_out.drop(columns="kind"), held_out["kind"]), **options)
    other = written(held_out[["colour", "kind", "mass", "flag"]], tmp_path / "held_out", "csv")
    raw = chainrule.stream(other, target="kind")  # preprocessed as the rows to train on are
    by_stream = fit(net(6, 3), stream, validation=raw, **options)
    assert by_frame["accuracy"] == by_stream["accuracy"]
    np.testing.assert_allclose(by_frame["validation_loss"], by_stream["validation_loss"], rtol=1e-12)
    X, y = stream.transform(held_out.drop(columns="kind"), held_out["kind"])
    np.testing.assert_allclose(X, all_of(raw.like(stream))[0], rtol=1e-12)
    assert set(y) == {0, 1, 2}


def test_what_was_learned_in_training_is_what_predicts(tmp_path, frame):
    """A fit that holds rows out learns means and categories from the others, and the stream keeps them."""
    folder = written(frame, tmp_path / "table", "parquet")
    stream = chainrule.stream(folder, target="kind", preprocessor=TablePreprocessor()).standardized()
    module = net(6, 3)
    fit(module, stream, loss=nn.CrossEntropyLoss(), epochs=2, validation=0.3, seed=5, **QUIET)
    training, held_out = stream.split(0.3, seed=5)
    np.testing.assert_allclose(all_of(training)[0].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(all_of(training)[0].std(axis=0), 1, rtol=1e-12)
    assert np.abs(all_of(held_out)[0].mean(axis=0)).max() > 0.01
    X = stream.transform(frame.drop(columns="kind"))[0]
    np.testing.assert_allclose(np.concatenate(list(predict(module, stream))), predict(module, X), rtol=1e-9)


def test_a_fitted_preprocessor_is_used_as_it_is_and_another_is_not_touched(tmp_path, frame):
    folder = written(frame, tmp_path / "table", "parquet")
    fitted, fresh = TablePreprocessor().fit(frame[["mass"]][:50]), TablePreprocessor()
    stream = chainrule.stream(folder, target="kind", preprocessor=fitted)
    np.testing.assert_array_equal(all_of(stream)[0], fitted.transform(frame))
    all_of(chainrule.stream(folder, target="kind", preprocessor=fresh))
    assert not hasattr(fresh, "kinds_")


def test_chunks_of_frames(frame):
    X, y = frame.drop(columns="kind"), frame["kind"]
    parts = [(X[rows], y[rows]) for rows in cut(len(X), 70)]
    stream = chainrule.stream(parts, preprocessor=TablePreprocessor())
    np.testing.assert_allclose(all_of(stream)[0], TablePreprocessor().fit(X).transform(X), rtol=1e-12)
    numbers = chainrule.stream([(X[["mass"]].fillna(0), y)])
    np.testing.assert_array_equal(all_of(numbers)[0][:, 0], X["mass"].fillna(0))
    with pytest.raises(ValueError, match="column 'colour' must hold numbers; got .*: give a preprocessor"):
        all_of(chainrule.stream(parts))
    missing = y.copy()
    missing[333] = None
    with pytest.raises(ValueError, match="y has no value in row 333"):
        chainrule.stream([(X, missing)]).classes  # noqa: B018


def test_columns_are_chosen_and_directories_are_columns(tmp_path, rng):
    for year in (2023, 2024):
        folder = tmp_path / f"year={year}" / "site=a"
        folder.mkdir(parents=True)
        table = pyarrow.table({"x": rng.normal(size=60), "z": rng.normal(size=60), "y": rng.normal(size=60)})
        pyarrow.parquet.write_table(table, folder / "rows.parquet")
    X, _ = all_of(chainrule.stream(tmp_path, target="y", columns=["year", "x"]))
    np.testing.assert_array_equal(X[:, 0], np.repeat([2023, 2024], 60))
    with pytest.raises(ValueError, match=r"column 'site' of .*year=2023.* must hold numbers; got 'a'"):
        all_of(chainrule.stream(tmp_path, target="y"))
    array = np.arange(12.0).reshape(3, 4)
    X, y = all_of(chainrule.stream(array, target=0, columns=[3, 1]))
    np.testing.assert_array_equal(X, [[3, 1], [7, 5], [11, 9]])
    np.testing.assert_array_equal(y, [0, 4, 8])


def test_labels_of_numbers_and_weights_by_label(tmp_path, rng):
    X = rng.normal(size=(120, 2))
    y = np.where(X[:, 0] > 0.5, 30, np.where(X[:, 1] > 0, 10, 20))
    stream = chainrule.stream(X, y, labels=True)
    assert stream.classes == [10, 20, 30]
    options = {"loss": nn.CrossEntropyLoss(), "epochs": 2, **QUIET}
    module, other = net(2, 3), net(2, 3)
    fit(module, stream, class_weight={10: 2.0, 30: 0.5}, **options)
    fit(other, X, y // 10 - 1, class_weight={0: 2.0, 2: 0.5}, **options)
    assert bits(module) == bits(other)
    truth = chainrule.stream(X, X[:, 0] > 0)
    assert truth.classes == [False, True]
    fit(net(2, 1), truth, loss=nn.BCEWithLogitsLoss(), class_weight="balanced", epochs=1, **QUIET)


@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=6), offset=st.sampled_from([0.0, 1e6]))
def test_merged_moments_are_those_of_all_rows(sizes, offset):
    X = np.random.default_rng(0).normal(size=(sum(sizes) + 1, 3)) + offset
    moments = Moments()
    for part in np.split(X, np.cumsum(sizes)):
        moments.add(part)
    np.testing.assert_allclose(moments.mean, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, X.var(axis=0), rtol=1e-6, atol=1e-12)


def test_standardised_is_as_scikit_learn_has_it(rng):
    from sklearn.preprocessing import StandardScaler

    X = rng.normal(1e4, [1.0, 5.0, 0.0], (300, 3))
    stream = chainrule.stream(X, X[:, 0]).standardized()
    np.testing.assert_allclose(all_of(stream)[0], StandardScaler().fit_transform(X), atol=1e-9)


@pytest.mark.parametrize("n_rows", [1, 7, 40, 500])
def test_a_sample_is_without_bias_and_independent_of_the_pieces(n_rows):
    def cut_into(size):
        for start in range(0, 200, size):
            rows = np.arange(start, min(200, start + size))
            yield pieces.Piece(rows[:, None], None, None, rows)

    drawn = sample_of(cut_into(7), 3, n_rows)[0][:, 0]
    np.testing.assert_array_equal(drawn, sample_of(cut_into(200), 3, n_rows)[0][:, 0])
    assert len(np.unique(drawn)) == len(drawn) == min(n_rows, 200)
    means = [sample_of(cut_into(50), seed, n_rows)[0].mean() for seed in range(200)]
    assert abs(np.mean(means) - 99.5) < 5 * 57.7 / np.sqrt(200 * n_rows) + 1e-9


def test_row_hashes_are_uniform():
    hashes = pieces.row_hash(np.arange(10_000), seed=1)
    counts = np.histogram(hashes, bins=20, range=(0, 1))[0]
    assert counts.sum() == 10_000
    assert ((counts - 500) ** 2 / 475).sum() < 45  # chi-squared with 19 degrees of freedom: p = 0.0007
