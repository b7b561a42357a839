"""Streams of tables: classes, text, preprocessing, standardisation; and what is refused, by name and row."""

import gzip
import sys

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.train.streaming import cut

import chainrule
from chainrule import fit, nn, predict
from chainrule.estimators.tables import TablePreprocessor
from chainrule.train.streams import pieces, survey, tables
from chainrule.train.streams.survey import Moments, sample_of

QUIET = {"verbose": 0}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Pieces of a few rows, so that some hundred rows are many of them."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1000)
    monkeypatch.setattr(tables, "CSV_BLOCK", 2000)


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


def net(n_inputs, n_outputs, dtype=np.float64):
    return nn.Sequential(
        nn.Linear(n_inputs, 16, rng=0, dtype=dtype), nn.ReLU(), nn.Linear(16, n_outputs, rng=1, dtype=dtype)
    )


def bits(module):
    return b"".join(array.tobytes() for array in module.state_dict().values())


def written(frame, folder, ending):
    """The frame as a directory of files."""
    folder.mkdir()
    for number, rows in enumerate(cut(len(frame), 150)):
        part = frame.iloc[rows]
        if ending == "parquet":
            part.to_parquet(folder / f"{number}.parquet", index=False)
        else:
            part.to_csv(folder / f"{number}.{ending}", index=False, sep="\t" if "tsv" in ending else ",")
    return folder


def all_of(stream):
    chunks = list(stream.chunks(None, np.float64))
    return np.concatenate([X for X, _, _ in chunks]), np.concatenate([y for _, y, _ in chunks])


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

    drawn = sample_of(cut_into(7), 3, n_rows)[:, 0]
    np.testing.assert_array_equal(drawn, sample_of(cut_into(200), 3, n_rows)[:, 0])
    assert len(np.unique(drawn)) == len(drawn) == min(n_rows, 200)
    means = [sample_of(cut_into(50), seed, n_rows).mean() for seed in range(200)]
    assert abs(np.mean(means) - 99.5) < 5 * 57.7 / np.sqrt(200 * n_rows) + 1e-9


def test_row_hashes_are_uniform():
    hashes = pieces.row_hash(np.arange(10_000), seed=1)
    counts = np.histogram(hashes, bins=20, range=(0, 1))[0]
    assert counts.sum() == 10_000
    assert ((counts - 500) ** 2 / 475).sum() < 45  # chi-squared with 19 degrees of freedom: p = 0.0007


# -- what is refused ---------------------------------------------------------------------------------


def train_on(stream, **options):
    return fit(net(stream.shape[1], 1), stream, loss=nn.MSELoss(), epochs=2, **QUIET, **options)


def parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"needs pyarrow.*pip install 'chainrule\[arrow\]'"):
        chainrule.stream(tmp_path, target="y")
    assert chainrule.stream(np.zeros((2, 1)), [0, 1]).n_rows == 2  # arrays need none


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"must hold finite numbers; got nan|has no value"),
        (np.inf, "must hold finite numbers; got inf"),
    ],
)
def test_numbers_that_are_none(tmp_path, ending, value, message):
    table = pd.DataFrame({"x": np.arange(250.0), "z": 1.0, "y": np.arange(250.0)})
    table.loc[211, "z"] = value
    folder = written(table, tmp_path / "table", ending)
    with pytest.raises(ValueError, match=rf"column 'z' ({message}) in row 61 of .*1\.{ending}"):
        train_on(chainrule.stream(folder, target="y"))
    table.loc[211, ["z", "y"]] = 1.0, value
    folder = written(table, tmp_path / "other", ending)
    with pytest.raises(ValueError, match=rf"column 'y' ({message}) in row 61 of .*1\.{ending}"):
        train_on(chainrule.stream(folder, target="y"))


def test_arrays_with_numbers_that_are_none(tmp_path):
    X = np.ones((50, 3))
    X[33, 2] = np.inf
    np.save(tmp_path / "X.npy", X)
    with pytest.raises(
        ValueError, match=r"column '2' must hold finite numbers; got inf in row 33 of .*X.npy"
    ):
        train_on(chainrule.stream(tmp_path / "X.npy", np.arange(50.0)))
    X = np.ones((50, 3))
    X[4, 1] = 1e300  # finite in double precision only
    with pytest.raises(ValueError, match="column '1' must hold finite numbers; got inf in row 4"):
        fit(net(3, 1, np.float32), chainrule.stream(X, np.arange(50.0)), loss=nn.MSELoss(), **QUIET)
    with pytest.raises(ValueError, match="y must hold finite numbers; got nan in row 1"):
        chainrule.stream(np.ones((3, 1)), [1, np.nan, 2]).survey  # noqa: B018
    with pytest.raises(ValueError, match="weights must be finite and non-negative; got -1.0 in row 2"):
        chainrule.stream(np.ones((3, 1)), [1, 2, 3], weight=[1, 1, -1]).survey  # noqa: B018


@pytest.mark.parametrize("validation", [None, (np.zeros((2, 1)), np.zeros(2))])
def test_what_was_learned_before_a_bad_number_is_kept(validation):
    X = np.arange(600.0)[:, None] / 600
    X[599] = np.nan
    module, first = net(1, 1), net(1, 1)
    options = {"loss": nn.MSELoss(), "shuffle": False, "batch_size": 8, "validation": validation, **QUIET}
    with pytest.raises(ValueError, match="column '0' must hold finite numbers; got nan in row 599"):
        fit(module, chainrule.stream(X, np.arange(600.0), buffer_rows=10), **options)
    assert bits(module) != bits(first)
    assert np.isfinite(module[0].weight.data).all()
    assert not module.training


def test_text_among_numbers(tmp_path):
    lines = [f"{k},{k}" for k in range(400)]
    (tmp_path / "a.csv").write_text("\n".join(["x,y", *lines[:300], "many,3", *lines[300:]]))
    with pytest.raises(ValueError, match=r"column 'x' of .*a.csv must hold numbers; got 'many' in row 300"):
        train_on(chainrule.stream(tmp_path / "a.csv", target="y"))
    path = parquet(tmp_path / "b.parquet", x=["a", "b"], y=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"column 'x' of .*b.parquet must hold numbers; got 'a' of type"):
        train_on(chainrule.stream(path, target="y"))
    fitted = TablePreprocessor().fit(pd.DataFrame({"x": [1.0, 2.0]}))
    other = parquet(tmp_path / "c.parquet", x=["1", "zz"], y=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"column 'x' must hold numbers, got 'zz' in row 1 of .*c.parquet"):
        all_of(chainrule.stream(other, target="y", preprocessor=fitted))


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "header.csv").write_text("x,y\n")
    (tmp_path / "ragged.csv").write_text("x,y\n1,2\n3\n")
    (tmp_path / "latin.csv").write_bytes("x,y\ncafé,2\n".encode("latin-1"))
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"x,y\n" + b"1,2\n" * 5000)[:40])
    for name, message in {
        "empty.csv": "cannot read .*empty.csv: Empty CSV file",
        "header.csv": "the stream is empty: it has no row",
        "ragged.csv": r"cannot read .*ragged.csv: .*Expected 2 columns, got 1",
        "latin.csv": "cannot read .*latin.csv: column 'x' is not text in UTF-8",
        "cut.parquet": "cannot read .*cut.parquet: ",
        "cut.csv.gz": "cannot read .*cut.csv.gz: ",
    }.items():
        with pytest.raises(ValueError, match=message):
            train_on(chainrule.stream(tmp_path / name, target="y"))
    path = parquet(tmp_path / "none.parquet", x=pyarrow.array([], "float64"), y=pyarrow.array([], "float64"))
    with pytest.raises(ValueError, match="the stream is empty: it has no row"):
        train_on(chainrule.stream(path, target="y"))
    with pytest.raises(FileNotFoundError, match="there is no file or directory '.*nowhere'"):
        chainrule.stream(tmp_path / "nowhere", target="y")
    for options in ({"preprocessor": TablePreprocessor()}, {}):
        with pytest.raises(ValueError, match="the stream is empty: it has no row"):
            list(predict(net(1, 1), chainrule.stream(path, target="y", **options).standardized()))
    (tmp_path / "void").mkdir()
    with pytest.raises(ValueError, match="void has nothing of the kind"):
        chainrule.stream(tmp_path / "void", target="y")
    with pytest.raises(ValueError, match="not both; .* has both"):
        chainrule.stream(tmp_path, target="y")
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match=r"Parquet \(.parquet, .pq\) or CSV files .* has .*a.txt"):
        chainrule.stream(tmp_path / "a.txt", target="y")


def test_columns_that_are_not_there(tmp_path):
    path = parquet(tmp_path / "a.parquet", x=[1.0, 2.0], y=[1.0, 2.0])
    for options, message in [
        ({"target": "z"}, r"target: .*a.parquet has no column 'z'; its columns are 'x', 'y'"),
        ({"target": "y", "weight": "w"}, "weight: .* has no column 'w'"),
        ({"target": "y", "columns": ["x", "u"]}, "columns: .* has no column 'u'"),
        ({"target": ["x", "y"]}, "has no column left to learn from"),
    ]:
        with pytest.raises(ValueError, match=message):
            chainrule.stream(path, **options)
    (tmp_path / "twice.csv").write_text("x,x,y\n1,2,3\n")
    with pytest.raises(ValueError, match="twice.csv has more than one column named 'x'"):
        chainrule.stream(tmp_path / "twice.csv", target="y")
    with pytest.raises(ValueError, match="the stream has no target to learn from"):
        fit(net(2, 1), chainrule.stream(path), loss=nn.MSELoss(), **QUIET)
    with pytest.raises(ValueError, match="the module takes 3 inputs; the stream has 1 columns"):
        fit(net(3, 1), chainrule.stream(path, target="y"), loss=nn.MSELoss(), **QUIET)
    with pytest.raises(ValueError, match="the module takes 3 inputs; the stream has 2 columns"):
        predict(net(3, 1), chainrule.stream(path))


def test_files_that_differ_are_named(tmp_path):
    first = parquet(tmp_path / "a.parquet", x=[1.0], y=[1.0])
    for columns, message in [
        ({"y": [1.0]}, "b.parquet has no column 'x', which .*a.parquet has"),
        ({"x": ["t"], "y": [1.0]}, "column 'x' is of sort text in .*b.parquet, of number in .*a.parquet"),
        ({"x": [1.0], "y": [1.0], "more": [1.0]}, "b.parquet has a column 'more', which .*a.parquet has not"),
    ]:
        second = parquet(tmp_path / "b.parquet", **columns)
        with pytest.raises(ValueError, match=message):
            chainrule.stream([first, second], target="y")
    whole = parquet(tmp_path / "b.parquet", y=[2], x=[2])  # another order, whole numbers: the same table
    np.testing.assert_array_equal(all_of(chainrule.stream([first, whole], target="y"))[0], [[1.0], [2.0]])


def test_targets_that_teach_nothing(tmp_path):
    for y in (np.ones(5), ["a"] * 5, np.ones((5, 2))):
        stream = chainrule.stream([(np.arange(5.0)[:, None], y)])
        with pytest.raises(ValueError, match="y has one value only, .*there is nothing to learn"):
            fit(net(1, 2), stream, loss="softmax_cross_entropy", **QUIET)
    with pytest.raises(ValueError, match="weights must not all be zero"):
        train_on(chainrule.stream(np.ones((3, 1)), [0.0, 1.0, 2.0], weight=np.zeros(3)))


def test_a_target_that_identifies(monkeypatch):
    monkeypatch.setattr(survey, "MOST_CLASSES", 20)
    stream = chainrule.stream(np.ones((30, 1)), np.array([f"name {k}" for k in range(30)]))
    with pytest.raises(ValueError, match="y has more than 20 different values: it looks like an identifier"):
        stream.classes  # noqa: B018


def test_a_class_that_was_not_learned():
    X = np.arange(6.0)[:, None]
    stream = chainrule.stream(X, np.array(list("ababab")))
    rare = chainrule.stream(X, np.array(list("ababac")))
    with pytest.raises(ValueError, match="validation has a class 'c', which no row to train on has"):
        fit(net(1, 2), stream, loss=nn.CrossEntropyLoss(), validation=rare, **QUIET)
    with pytest.raises(ValueError, match="validation y is 'c' in row 1, which is not among the classes"):
        fit(net(1, 2), stream, loss=nn.CrossEntropyLoss(), validation=(X[:2], ["a", "c"]), **QUIET)


def test_what_can_be_gone_through_once_only():
    def chunks():
        for _ in range(3):
            yield np.ones((4, 2)), np.arange(4.0)

    with pytest.raises(TypeError, match="a generator can be gone through once only"):
        chainrule.stream(chunks())

    class Once:
        """Looks as if it could be iterated again, and gives nothing then."""

        def __init__(self, times):
            self.times = times

        def __iter__(self):
            self.times -= 1
            return chunks() if self.times >= 0 else iter(())

    for times in (3, 4):  # the check, the columns and the count take a pass each
        module = net(2, 1)
        with pytest.raises(ValueError, match="the stream gave 0 rows in this pass, and 12 in the first"):
            fit(module, chainrule.stream(Once(times), buffer_rows=5), loss=nn.MSELoss(), epochs=3, **QUIET)
        assert not module.training


def test_chunks_that_change_or_are_none():
    sizes = iter([5, 5, 9])
    growing = chainrule.stream(lambda: [(np.ones((n, 1)), np.arange(n)) for n in [next(sizes)]])
    with pytest.raises(ValueError, match="the stream gave more rows in this pass, and 5 in the first"):
        fit(net(1, 1), growing, loss=nn.MSELoss(), **QUIET)
    good = (np.ones((2, 1)), [0, 1])
    for chunk, message in [
        (np.ones(3), r"chunk 1 must be \(X, y\) or \(X, y, weights\); got ndarray"),
        ((np.ones(3), [1, 2, 3]), "X of chunk 1 must be an array of numbers with two dimensions"),
        ((np.ones((3, 1)), [1, 2]), r"y of chunk 1 must have one entry a row of X, 3; got shape \(2,\)"),
        ((np.ones((3, 2)), [1, 2, 3]), "chunk 1 has 2 columns, the first has 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            train_on(chainrule.stream([good, chunk]))
    with pytest.raises(ValueError, match="the stream is empty: it has no chunk"):
        chainrule.stream([])
    with pytest.raises(TypeError, match="data must be a path, an array or an iterable of chunks; got int"):
        chainrule.stream(3)


def test_arrays_that_do_not_fit(tmp_path):
    X = np.ones((4, 3))
    np.save(tmp_path / "objects.npy", np.array([[None]], dtype=object), allow_pickle=True)
    np.save(tmp_path / "X.npy", X)
    whole = (tmp_path / "X.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-8])
    (tmp_path / "text.npy").write_text("x,y\n1,2\n")
    for arguments, options, message in [
        ((tmp_path / "objects.npy",), {}, "objects.npy must hold an array of numbers; got dtype object"),
        ((tmp_path / "cut.npy",), {}, r"cut.npy is cut off: shape \(4, 3\) takes 96 bytes, it has 88"),
        ((tmp_path / "text.npy",), {}, "text.npy is not a .npy file of numbers: "),
        ((np.ones(4), X), {}, r"X must have two dimensions, one row an example; got shape \(4,\)"),
        ((np.ones((0, 4)),), {}, "X is empty"),
        ((np.array([["a"]]),), {}, "X must be numeric; got dtype <U1"),
        ((X, [1, 2]), {}, r"y must have one entry a row of X, 4; got shape \(2,\)"),
        ((X, [1, 2, 3, 4]), {"target": 1}, "target names a column of X that is the target: leave it out"),
        ((X,), {"target": 3}, "target must be the number of a column of X, 0 to 2; got 3"),
        ((X,), {"target": "y"}, "target must be the number of a column of X, 0 to 2; got 'y'"),
        ((X,), {"columns": [1], "target": 1}, "no column is left to learn from"),
        ((X,), {"buffer_rows": 0}, "buffer_rows must be a whole number, at least 1; got 0"),
        (("x.csv", [1]), {}, "y must not be given for a table"),
        (([(X, [1] * 4)], [1]), {}, "y must not be given for chunks"),
    ]:
        with pytest.raises(ValueError, match=message):
            chainrule.stream(*arguments, **options)
    with pytest.raises(TypeError, match="preprocessor must have methods fit and transform; got int"):
        chainrule.stream(X, preprocessor=3)


def test_options_of_fit_that_a_stream_has_no_use_for():
    X, y = np.arange(8.0)[:, None], np.arange(8.0)
    stream = chainrule.stream(X, y)
    for options, message in [
        ({"y": y}, "y must not be given with a stream"),
        ({"rows": [0, 1]}, "rows cannot be used with a stream"),
        ({"validation_rows": [0, 1]}, "validation_rows cannot be used with a stream"),
        ({"sample_weight": y}, r"sample_weight cannot be used with a stream: name its column"),
        ({"class_weight": "balanced"}, "class_weight needs a target of class indices or labels"),
        ({"validation": 1.5}, "validation must be a share of the rows between 0 and 1; got 1.5"),
        ({"validation": X}, "validation must be .*, a stream, or a share of the rows"),
        ({"validation": 1e-9}, "validation must have rows to measure on"),
        ({"validation": chainrule.stream(np.ones((3, 2)), y[:3])}, "must have the same columns"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(net(1, 1), stream, loss=nn.MSELoss(), **QUIET, **options)
    with pytest.raises(TypeError, match="y must be given, the target of each row of X"):
        fit(net(1, 1), X, loss=nn.MSELoss(), **QUIET)
    with pytest.raises(ValueError, match="one side of a split already"):
        stream.split(0.5)[0].split(0.5)
    with pytest.raises(TypeError, match="other must be a stream; got int"):
        stream.like(3)
    assert repr(stream) == "Stream(8 rows, 1 columns, target y)"
