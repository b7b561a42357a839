"""``chainrule export``: writes what the exporters make, and says what is missing."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tests.cli.calling import QUICK, fail, run, succeed


@pytest.fixture
def exporters(monkeypatch):
    """Exporters that write down what they were given."""
    module = ModuleType("chainrule.exports")
    module.to_onnx = lambda model: SimpleNamespace(
        SerializeToString=lambda: b"onnx of " + model.target.encode()
    )
    module.to_numpy_source = lambda model: f"# predicts {model.target}\n"
    monkeypatch.setitem(sys.modules, "chainrule.exports", module)
    return module


def test_each_form_is_written_whole(tmp_path, model_file, exporters):
    out = tmp_path / "made"
    assert succeed("export", model_file, "--to", "numpy", "--out", out) == f"Wrote 19 bytes to {out}\n"
    assert out.read_text() == "# predicts species\n"
    told = json.loads(succeed("export", model_file, "--to", "onnx", "--out", out, "--json"))
    assert told == {"model": str(model_file), "format": "onnx", "file": str(out), "bytes": 15}
    assert out.read_bytes() == b"onnx of species"
    assert succeed("export", model_file, "--to", "onnx", "--out", out, "--quiet") == ""


def test_what_is_missing_is_said_and_nothing_written(tmp_path, model_file, exporters, monkeypatch):
    out = tmp_path / "made"

    def without_onnx(model):
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    exporters.to_onnx = without_onnx
    said = fail("export", model_file, "--to", "onnx", "--out", out)
    assert said == "--to onnx: it needs onnx (No module named 'onnx')"

    def refused(model):
        raise TypeError("text columns cannot be exported")

    exporters.to_onnx = refused
    said = fail("export", model_file, "--to", "onnx", "--out", out)
    assert said == "--to onnx: text columns cannot be exported"
    monkeypatch.setitem(sys.modules, "chainrule.exports", None)
    assert "cannot export" in fail("export", model_file, "--to", "numpy", "--out", out)
    assert not out.exists()


def test_options_that_cannot_be_followed(tmp_path, model_file):
    assert "is the input" in fail("export", model_file, "--to", "numpy", "--out", model_file)
    assert run("export", model_file, "--to", "tensorflow", "--out", tmp_path / "m").exit_code == 2


def test_a_package_that_is_not_installed_is_named_once(tmp_path, houses, monkeypatch):
    model, out = tmp_path / "model", tmp_path / "made"
    succeed("train", houses, "--target", "price", "--out", model, "--no-report", *QUICK)
    monkeypatch.setitem(sys.modules, "onnx", None)
    said = fail("export", model, "--to", "onnx", "--out", out)
    assert said == "--to onnx: onnx is not installed: pip install 'chainrule[onnx]'"
    assert "def predict(X)" in succeed_and_read(model, out)


def succeed_and_read(model, out):
    succeed("export", model, "--to", "numpy", "--out", out)
    return out.read_text()


def test_an_ensemble_for_tables(tmp_path, houses):
    model, out, answers = tmp_path / "model", tmp_path / "made", tmp_path / "answers.csv"
    succeed("train", houses, "--target", "price", "--ensemble", "2", "--out", model, "--no-report")
    space = {}
    exec(succeed_and_read(model, out), space)
    table = pd.read_csv(houses)
    succeed("predict", model, houses, "--out", answers)
    told = pd.read_csv(answers).iloc[:, -1]
    found = space["predict"](table[["area", "garden"]].astype(float).to_numpy())
    np.testing.assert_allclose(found, told, rtol=1e-6)


def test_columns_that_cannot_be_exported_are_named(tmp_path, model_file):
    pytest.importorskip("onnx", reason="ONNX models need onnx")
    out = tmp_path / "made"
    said = fail("export", model_file, "--to", "onnx", "--out", out)
    assert said.startswith(
        "--to onnx: only tables of numeric and boolean columns can be exported; got 'island'"
    )
    assert not out.exists()
    assert "one_hot(" in succeed_and_read(model_file, out)
