"""The commands on tables that are read piece by piece."""

import json

import numpy as np
import pandas as pd
import pytest
from tests.cli.calling import QUICK, fail, succeed

from chainrule.cli import streamed
from chainrule.io import load_model

pytest.importorskip("pyarrow")


def fruit(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size, colour = rng.normal(10, 3, n), rng.choice(["red", "green"], n)
    apple = (size > 10) == (colour == "red")
    return pd.DataFrame({
        "size": size, "colour": colour, "kind": np.where(apple, "apple", "plum"), "sweet": apple,
        "price": 3 * size + 5 * (colour == "red"), "number": np.arange(n) % 3,
    })  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "rows"
    path.mkdir()
    for part in range(2):
        fruit(400, part).to_parquet(path / f"{part}.parquet", row_group_size=100)
    return path


def train(data, target, out, *options):
    more = ("--epochs", 25, "--width", 16, "--depth", 1, "--ensemble", 2, "--no-report")
    return json.loads(succeed("train", data, "--target", target, "--out", out, "--json", *more, *options))


@pytest.mark.parametrize("few", [False, True])
def test_a_directory_of_parquet_files(tmp_path, folder, monkeypatch, few):
    if few:
        monkeypatch.setattr(streamed, "MOST_IN_MEMORY", 100)
    out = tmp_path / "m"
    told = train(folder, "kind", out, "--drop", "sweet", "--drop", "price")
    assert told["classes"] == ["apple", "plum"]
    assert [column["name"] for column in told["columns"]] == ["size", "colour", "number"]
    # About a fifth of the rows is held out, the same ones each time.
    assert 600 < told["rows"]["training"] < 680
    assert told["rows"]["test"] == (100 if few else 800 - told["rows"]["training"])
    assert any("sample of 100 of" in note for note in told["notes"]) is few
    assert told["metrics"]["accuracy"] > 0.9
    later = fruit(500, 7)
    later.to_parquet(tmp_path / "later.parquet")
    later.to_csv(tmp_path / "later.csv", index=False)
    predicted = succeed("predict", out, tmp_path / "later.parquet", "--proba")
    assert predicted == succeed("predict", out, tmp_path / "later.csv", "--proba")
    assert predicted == succeed("predict", out, tmp_path / "later.csv", "--proba", "--stream")
    lines = predicted.splitlines()
    assert (lines[0], len(lines)) == ("kind,P(apple),P(plum)", 501)
    evaluated = json.loads(succeed("evaluate", out, tmp_path / "later.parquet", "--json"))
    assert evaluated["rows"] == (100 if few else 500)
    assert evaluated["metrics"]["accuracy"] > 0.9


def test_predictions_are_written_part_by_part(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(streamed, "_ROWS_AT_A_TIME", 150)
    train(folder, "price", tmp_path / "m")
    told = json.loads(succeed("predict", tmp_path / "m", folder, "--out", tmp_path / "p.csv", "--json"))
    assert told == {"rows": 800, "predictions": str(tmp_path / "p.csv")}
    predicted = pd.read_csv(tmp_path / "p.csv")["price"]
    expected = pd.concat([fruit(400, part) for part in range(2)])["price"]
    assert np.corrcoef(predicted, expected)[0, 1] > 0.98
    printed = json.loads(succeed("predict", tmp_path / "m", folder, "--json"))
    assert printed["price"] == pytest.approx(predicted.tolist())


def test_truth_values_are_classes(tmp_path, folder):
    told = train(folder, "sweet", tmp_path / "m", "--drop", "kind")
    assert told["classes"] == ["False", "True"]
    assert told["metrics"]["accuracy"] > 0.9
    assert set(succeed("predict", tmp_path / "m", folder).split()) == {"sweet", "False", "True"}


def test_whole_numbers_are_classes(tmp_path, folder):
    assert train(folder, "number", tmp_path / "m", *QUICK)["classes"] == [0, 1, 2]


def test_a_csv_file_on_request(tmp_path):
    data = tmp_path / "t.csv"
    fruit(600).to_csv(data, index=False)
    told = train(data, "kind", tmp_path / "m", "--stream", "--drop", "sweet")
    assert told["metrics"]["accuracy"] > 0.9
    said = fail("train", data, "--target", "kind", "--stream", "--text", "number", "--out", tmp_path / "n")
    assert said.startswith("--text cannot be used with a stream")


def test_an_array(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    data = tmp_path / "rows.npy"
    np.save(data, np.column_stack([X, 100 * X[:, 0] - 50 * X[:, 2]]))
    told = train(data, "-1", tmp_path / "m")
    assert told["metrics"]["R2"] > 0.9
    assert [column["name"] for column in told["columns"]] == ["x0", "x1", "x2"]
    np.save(tmp_path / "later.npy", X[:50])
    with_target = pd.read_csv(pd.io.common.StringIO(succeed("predict", tmp_path / "m", data)))
    without = pd.read_csv(pd.io.common.StringIO(succeed("predict", tmp_path / "m", tmp_path / "later.npy")))
    assert with_target["-1"][:50].to_numpy() == pytest.approx(without["-1"].to_numpy())
    assert json.loads(succeed("evaluate", tmp_path / "m", data, "--json"))["metrics"]["R2"] > 0.9
    said = fail("train", data, "--target", "last", "--out", tmp_path / "n")
    assert said == (
        "--target of a .npy file must be the number of a column, such as -1 for the last; got 'last'"
    )
    assert "cannot be left out" in fail(
        "train", data, "--target", "-1", "--drop", "x0", "--out", tmp_path / "n"
    )


def test_a_search_on_a_sample(tmp_path, folder):
    options = ("--budget", 3, "--epochs", 5, "--ensemble", 1, "--drop", "sweet", "--no-report", "--json")
    told = json.loads(succeed("tune", folder, "--target", "kind", "--out", tmp_path / "m", *options))
    assert told["search"]["configurations"] == 3
    assert load_model(tmp_path / "m").estimator.max_epochs == 5


def test_what_is_refused(tmp_path, folder):
    said = fail("train", folder, "--target", "kind", "--drop", "colours", "--out", tmp_path / "m")
    assert said == f"--drop: {folder} has no column 'colours'"
    assert "kinds" in fail("train", folder, "--target", "kinds", "--out", tmp_path / "m")
    (tmp_path / "t.parquet").write_bytes(b"no table")
    assert "t.parquet" in fail("train", tmp_path / "t.parquet", "--target", "x", "--out", tmp_path / "m")
    assert not (tmp_path / "m").exists()
