"""What streams refuse: the message names the file, the column and the row."""

import gzip
import sys

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from tests.train.streaming import all_of, bits, net, written

import chainrule
from chainrule import fit, nn, predict
from chainrule.estimators.tables import TablePreprocessor
from chainrule.train.streams import survey

QUIET = {"verbose": 0}

pytestmark = pytest.mark.usefixtures("small_pieces")


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
    path = parquet(tmp_path / "d.parquet", x=pyarrow.array([0, 1], "timestamp[s]"), y=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"column 'x' of .*d.parquet must hold numbers; got datetime"):
        train_on(chainrule.stream(path, target="y"))
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
    chosen = chainrule.stream([first, second], target="y", columns=["x"])  # then another column is no matter
    np.testing.assert_array_equal(all_of(chosen)[0], [[1.0], [1.0]])
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
    with pytest.raises(TypeError, match="other must be a stream; got int"):
        stream.like(3)
    assert repr(stream) == "Stream(8 rows, 1 columns, target y)"
