"""Model files: the round trip, damage of every kind, writing that is whole or not at all; CSV tables."""

import gzip
import json
import os
import stat

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

from chainrule import atomic_files
from chainrule.estimators import MLPClassifier, MLPRegressor
from chainrule.estimators.tables import TablePreprocessor
from chainrule.io import SavedModel, load_model, read_table, save_model, write_atomically
from chainrule.sealed_files import pack, unpack

# A few epochs: what is tested is the file.
QUICK = {"hidden_layer_sizes": (5,), "solver": "sgd", "max_iter": 3, "tol": 0.0, "n_iter_no_change": 10}


def trained(kind, X, y, **settings):
    estimator = kind(random_state=0, **{**QUICK, **settings})
    with pytest.warns(UserWarning, match="iterations|epochs"):
        return estimator.fit(X, y)


@pytest.fixture
def numbers(rng):
    return rng.normal(size=(40, 3))


@pytest.fixture
def table_model(penguins):
    features = penguins.drop(columns="species")
    table = TablePreprocessor().fit(features)
    return trained(MLPClassifier, table.transform(features), penguins["species"].to_numpy(dtype=str)), table


@pytest.fixture
def model_file(tmp_path, table_model):
    path = tmp_path / "model.safetensors"
    save_model(path, table_model[0], preprocessor=table_model[1], target="species", information={"seed": 0})
    return path


# -------------------------------------------------------------------------------------- round trip


def test_a_classifier_on_a_table_comes_back_bit_for_bit(penguins, table_model, model_file):
    estimator, table = table_model
    model = load_model(model_file)
    assert isinstance(model, SavedModel)
    assert isinstance(model.estimator, MLPClassifier)
    assert (model.target, model.information) == ("species", {"seed": 0})
    assert list(model.estimator.classes_) == ["Adelie", "Chinstrap", "Gentoo"]
    assert model.estimator.get_params() == estimator.get_params()
    X = table.transform(penguins)
    assert model.predict_proba(penguins).tobytes() == estimator.predict_proba(X).tobytes()
    assert list(model.predict(penguins)) == list(estimator.predict(X))


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1]),
        np.array([-1, 3, 7]),
        np.array(["no", "yes"]),
        np.array(["ä", "ß", "日本"], dtype=object),
        np.array([False, True]),
    ],
)
def test_classes_keep_their_type(tmp_path, numbers, labels):
    estimator = trained(MLPClassifier, numbers, labels[np.arange(40) % len(labels)])
    save_model(tmp_path / "m", estimator)
    again = load_model(tmp_path / "m")
    assert again.estimator.classes_.dtype == estimator.classes_.dtype
    assert again.predict(numbers).tolist() == estimator.predict(numbers).tolist()


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_regressor_comes_back_bit_for_bit(tmp_path, numbers, n_outputs):
    y = 1000 + 50 * (numbers[:, 0] if n_outputs == 1 else numbers[:, :2])
    estimator = trained(MLPRegressor, numbers, y, target_scaling="standard")
    save_model(tmp_path / "m", estimator)
    model = load_model(tmp_path / "m")
    assert model.preprocessor is None
    assert model.target is None
    assert model.predict(numbers).tobytes() == estimator.predict(numbers).tobytes()
    with pytest.raises(TypeError, match="no class probabilities"):
        model.predict_proba(numbers)


def test_the_attributes_of_scikit_learn_come_back(tmp_path, numbers):
    estimator = trained(MLPClassifier, numbers, np.arange(40) % 3)
    save_model(tmp_path / "m", estimator)
    again = load_model(tmp_path / "m").estimator
    for name in ("n_iter_", "n_features_in_", "n_layers_", "n_outputs_", "out_activation_", "loss_"):
        assert getattr(again, name) == getattr(estimator, name), name
    for name in ("coefs_", "intercepts_"):
        for ours, theirs in zip(getattr(again, name), getattr(estimator, name), strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


def test_a_model_trained_until_the_last_epoch_with_infinite_tolerance_can_be_saved(tmp_path, numbers):
    estimator = trained(MLPClassifier, numbers, np.arange(40) % 2, tol=1e-30)
    save_model(tmp_path / "m", estimator, information={"best": -np.inf, "rows": np.int64(40), "p": (1, 2)})
    assert load_model(tmp_path / "m").information == {"best": -np.inf, "rows": 40, "p": [1, 2]}


def test_the_same_model_gives_the_same_bytes(tmp_path, model_file):
    model = load_model(model_file)
    save_model(
        tmp_path / "again",
        model.estimator,
        preprocessor=model.preprocessor,
        target=model.target,
        information=model.information,
    )
    assert (tmp_path / "again").read_bytes() == model_file.read_bytes()


def test_the_file_is_plain_safetensors_without_pickle(model_file):
    data = model_file.read_bytes()
    arrays = safetensors.numpy.load(data)
    assert sum(array.size for array in arrays.values()) >= 5 * 11 + 5 + 3 * 5 + 3
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert set(header["__metadata__"]) == {"chainrule"}
    assert json.loads(header["__metadata__"]["chainrule"])["content"]["target"] == "species"
    assert b"pickle" not in data


def test_what_cannot_be_saved_is_refused_and_leaves_no_file(tmp_path, table_model):
    estimator, table = table_model
    with pytest.raises(TypeError, match="can save a module of chainrule.nn, .*; got TablePreprocessor"):
        save_model(tmp_path / "m", table)
    with pytest.raises(TypeError, match="JSON holds no object"):
        save_model(tmp_path / "m", estimator, information={"x": object()})
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------- damage


def test_every_truncation_is_noticed(tmp_path, model_file):
    data = model_file.read_bytes()
    path = tmp_path / "cut"
    header = 8 + int.from_bytes(data[:8], "little")
    size = len(data)
    for length in (0, 1, 7, 8, 9, 100, size // 2, header - 1, header, header + 1, size - 4, size - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="cannot load the model .*(empty|cut short|damaged)"):
            load_model(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(ValueError, match="cannot load the model .*damaged"):
        load_model(path)


def test_flipped_bits_are_noticed_everywhere(tmp_path, model_file, rng):
    data = bytearray(model_file.read_bytes())
    header = 8 + int.from_bytes(data[:8], "little")
    path = tmp_path / "flipped"
    positions = [*range(60), *rng.integers(0, header, 150), *rng.integers(header, len(data), 50)]
    for position in positions:
        flipped = data.copy()
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="cannot load the model"):
            load_model(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"species,island\nAdelie,Dream\n", "not a safetensors file"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00[]", "not a safetensors file"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "not one that chainrule wrote"),
        (safetensors.numpy.save({"w": np.ones(3)}), "not one that chainrule wrote"),
        (safetensors.numpy.save({}, {"chainrule": "{"}), "its description is damaged"),
        (safetensors.numpy.save({}, {"chainrule": "[]"}), "its description is damaged"),
        (safetensors.numpy.save({}, {"chainrule": '{"content": {}}'}), "its checksum does not match"),
        (safetensors.numpy.save({}, {"chainrule": '{"content": {"format_version": 2}}'}), "a later version"),
    ],
)
def test_another_file_is_told_apart(tmp_path, content, message):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_model(path)


def rewritten(path, change):
    """The model file with its content changed and the checksum made right again."""
    content, arrays = unpack(path.read_bytes())
    change(content, arrays)
    path.write_bytes(pack(content, arrays))


@pytest.mark.parametrize(
    "change",
    [
        lambda content, arrays: content.update(estimator="Eval"),
        lambda content, arrays: content.pop("state"),
        lambda content, arrays: content.update(state={}),
        lambda content, arrays: content.update(state=None),
        lambda content, arrays: content["table"]["columns"][0].pop("categories"),
        lambda content, arrays: content["table"]["columns"].pop(),
        lambda content, arrays: arrays.clear(),
    ],
)
def test_content_that_describes_no_model_is_refused(model_file, change):
    rewritten(model_file, change)
    with pytest.raises(ValueError, match="cannot load the model .*(describes no model|its network takes)"):
        load_model(model_file)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none")


# ------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch, step, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*arguments):
        raise error

    monkeypatch.setattr(atomic_files.os, step, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_writing_replaces_the_whole_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a longer old content")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_writing_goes_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_new_file_has_the_usual_permissions(tmp_path):
    write_atomically(tmp_path / "ours", b"")
    (tmp_path / "usual").touch()
    ours, usual = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "usual"))
    assert ours == usual


def test_folders_and_devices_are_not_replaced(tmp_path):
    for path in (tmp_path, os.devnull):
        with pytest.raises(ValueError, match="it is not a file"):
            write_atomically(path, b"")
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "file", b"")


def test_the_table_of_a_model_takes_any_column_order(penguins, model_file):
    model = load_model(model_file)
    reordered = penguins[sorted(penguins.columns)].assign(extra="x")
    pd.testing.assert_series_equal(
        pd.Series(model.predict(reordered)), pd.Series(model.predict(penguins.drop(columns="species")))
    )


# -------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_commas_semicolons_and_tabs_separate_columns(tmp_path, separator):
    lines = ["mass,island,when", "1.5,Dream,a", "NA,,b", '2,"B,;\tC",c']
    quoted = [
        line.replace('"B,;\tC"', "@").replace(",", separator).replace("@", '"B,;\tC"') for line in lines
    ]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(quoted))
    frame, notes = read_table(path)
    assert notes == []
    assert frame["mass"].tolist()[::2] == [1.5, 2.0]
    assert frame.isna().sum().to_dict() == {"mass": 1, "island": 1, "when": 0}
    assert frame["island"][2] == "B,;\tC"


def test_a_compressed_table_and_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress("\ufeffmass,ort\n1,Köln\n".encode()))
    frame, _ = read_table(path)
    assert list(frame.columns) == ["mass", "ort"]
    assert frame["ort"][0] == "Köln"


def test_columns_without_a_name_are_left_out_and_said(tmp_path):
    pd.DataFrame({"a": [5, 6]}, index=[10, 11]).to_csv(tmp_path / "table.csv")
    frame, notes = read_table(tmp_path / "table.csv")
    assert frame.to_dict("list") == {"a": [5, 6]}
    assert notes == ["1 column(s) without a name are left out (a row number?)"]


def test_codes_can_be_kept_as_text(tmp_path):
    (tmp_path / "table.csv").write_text("code,n\n007,1\nNA,2\n")
    frame, _ = read_table(tmp_path / "table.csv", as_text=["code", "not there"])
    assert frame["code"].tolist()[0] == "007"
    assert frame["code"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"a,b,a\n1,2,3\n", "more than one column named 'a'"),
        (b"a,b\n1,2,3\n1,2,3\n", "not a table"),
        (b"a,b\n1,2\n1,2,3\n", "not a table .*line 3"),
        (b"a,b\nK\xf6ln,2\n", "not a table .*UTF-8"),
        (b"a,b\n" + b"1,2\n" * 20_000 + b"K\xf6ln,2\n", "not a table .*utf-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not a text file"),
        (b"\xef\xbb\xbf", "not a table"),
    ],
)
def test_what_is_not_a_table_is_refused(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_table(path)


def test_a_damaged_gzip_file_is_refused(tmp_path):
    path = tmp_path / "table.csv.gz"
    whole = gzip.compress(b"a,b\n" + os.urandom(200_000).hex().encode() + b",2\n")
    flipped = bytearray(whole)
    flipped[100_000] ^= 8
    for content in (b"a,b\n1,2\n", whole[:40], whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="table.csv.gz: not a table"):
            read_table(path)


def test_a_row_with_too_few_values_is_refused_with_its_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('\na;"b\nc"\n1;2\n3\n')
    with pytest.raises(ValueError, match=r"line 5 has 1 value, the header 2 names"):
        read_table(path)
    path.write_text("a;b\n1;\n3;4\n")
    assert read_table(path)[0]["b"].isna().tolist() == [True, False]
