"""``chainrule checkup``: its verdict, its exit code, and what it writes; ``train --checkup``."""

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest
from tests.cli.calling import QUICK, fail, run, succeed

from chainrule.cli import checkup as command
from chainrule.estimators import MLPClassifier, TabularClassifier
from chainrule.estimators.tables import TablePreprocessor
from chainrule.io import save_model

LEARNS = ("--ensemble", 1, "--width", 16, "--depth", 1, "--epochs", 30, "--no-report")


@pytest.fixture
def good(tmp_path, penguins_path):
    out = tmp_path / "good"
    succeed("train", penguins_path, "--target", "species", "--out", out, *LEARNS)
    return out


@pytest.fixture
def bad(tmp_path, penguins):
    """A network whose learning rate is far too low."""
    path = tmp_path / "bad"
    network = TabularClassifier(
        ensemble=1, width=8, depth=1, max_epochs=30, batch_norm=False, learning_rate=1e-6, random_state=0
    )
    features = penguins.drop(columns="species")
    save_model(path, network.fit(features, penguins["species"]), target="species")
    return path


def test_a_network_that_learns(good, penguins_path, tmp_path):
    text = succeed("checkup", good, penguins_path, "--html", tmp_path / "page.html")
    assert text.startswith("It learns")
    assert f"Report {tmp_path / 'page.html'}" in text
    assert "<svg" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert succeed("checkup", good, penguins_path, "--quiet") == ""


def test_the_hessian_is_measured_on_request(good, penguins_path):
    told = json.loads(succeed("checkup", good, penguins_path, "--json", "--curvature"))
    assert told["curvature"]["top"][0] > 0
    assert 0 <= told["curvature"]["index"] <= 1


def test_a_network_that_does_not(bad, penguins_path):
    result = run("checkup", bad, penguins_path, "--json", "--prescribe")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    critical = [one["code"] for one in told["findings"] if one["critical"]]
    assert critical[0] == "rate_low"
    assert told["proofs"]
    assert run("checkup", bad, penguins_path, "--quiet").stdout == ""


def test_after_a_training(tmp_path, penguins_path):
    arguments = ("train", penguins_path, "--target", "species", "--out", tmp_path / "m", "--checkup", *LEARNS)
    assert "It learns" in succeed(*arguments)
    told = json.loads(succeed(*arguments, "--json"))
    assert told["checkup"]["findings"] == []
    assert told["checkup"]["gates"]


def test_a_model_behind_a_preprocessor(tmp_path, rng):
    table = pd.DataFrame({"x": rng.normal(size=200), "colour": rng.choice(["red", "blue"], 200)})
    y = np.where((table["x"] > 0) == (table["colour"] == "red"), "a", "b")
    reader = TablePreprocessor().fit(table)
    network = MLPClassifier((16,), solver="lbfgs", max_iter=500, random_state=0).fit(
        reader.transform(table), y
    )
    save_model(tmp_path / "m", network, preprocessor=reader, target="y")
    table.assign(y=y).to_csv(tmp_path / "t.csv", index=False)
    assert succeed("checkup", tmp_path / "m", tmp_path / "t.csv").startswith("It learns")


def test_the_benchmark(monkeypatch):
    import chainrule.health.suite.bench as bench

    monkeypatch.setattr(bench, "CASES", [one for one in bench.CASES if one.name == "slow-sgd-wine"])
    monkeypatch.setattr(bench, "CONTROLS", [])
    text = succeed("checkup", "--bench")
    assert "slow-sgd-wine" in text
    assert "first cause right" in text
    assert "SageMaker Debugger" in text
    told = json.loads(succeed("checkup", "--bench", "--no-peers", "--json"))
    assert told["summary"]["tuning"]["first cause right"] == 1
    assert list(told["comparison"]) == ["chainrule"]


def test_the_benchmark_in_pytorch_needs_pytorch(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "--torch needs PyTorch" in fail("checkup", "--bench", "--torch")


def test_what_is_refused(tmp_path, good, penguins_path, penguins):
    assert fail("checkup").startswith("give a model that `chainrule train` saved and a table")
    assert fail("checkup", good).startswith("give a model that `chainrule train` saved and a table")
    assert fail("checkup", good, "--torch") == "--torch is for --bench"
    assert (
        fail("checkup", good, "--bench")
        == "--bench takes no model, no --prescribe, no --curvature and no --html"
    )
    assert "budget must be a time" in fail("checkup", good, penguins_path, "--budget", "soon")
    assert "is the input" in fail("checkup", good, penguins_path, "--html", penguins_path)
    penguins.drop(columns="species").to_csv(tmp_path / "lacking.csv", index=False)
    assert "the table has no column 'species'" in fail("checkup", good, tmp_path / "lacking.csv")
    assert command.checkup.__doc__


def test_streams_are_not_for_it(tmp_path, penguins_path):
    pytest.importorskip("pyarrow")
    pd.read_csv(penguins_path).to_parquet(tmp_path / "p.parquet")
    arguments = ("train", tmp_path / "p.parquet", "--target", "species", "--out", tmp_path / "m", *QUICK)
    assert "It learns" in succeed(*arguments, "--checkup", "--epochs", 60, "--no-report")
