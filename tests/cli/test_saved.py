"""Saved models as the commands see them, those that read tables themselves too."""

import json

import pytest
from tests.cli.calling import fail, succeed

from chainrule import io
from chainrule.cli import saved
from chainrule.estimators import MLPClassifier, OneVsOneMLPClassifier, TabularClassifier
from chainrule.io import SavedModel, save_model


@pytest.fixture
def tabular(penguins, monkeypatch):
    """A model without a preprocessor, as if it had been loaded."""
    features = penguins.drop(columns="species")
    estimator = TabularClassifier(ensemble=2, width=8, depth=1, max_epochs=3, random_state=0)
    model = SavedModel(estimator.fit(features, penguins["species"].to_numpy(dtype=str)), None, "species")
    monkeypatch.setattr(io, "load_model", lambda path: model)
    return model


def test_what_a_tabular_estimator_is(tabular):
    network = saved.network_of(tabular)
    n_inputs, hidden, n_outputs = network["layers"]
    assert (hidden, n_outputs, network["networks"]) == (8, 3, 2)
    # One of the two networks has batch normalisation, with its scale and shift.
    assert network["parameters"] == 2 * (n_inputs * 8 + 8 + 8 * 3 + 3) + 2 * 8
    assert list(saved.kinds_of(tabular)) == list(tabular.estimator.feature_names_in_)
    assert saved.epochs_of(tabular) == 3
    assert [len(curve) for curve in saved.curves_of(tabular)] == [3, 3]


def test_the_commands_take_a_tabular_estimator(tmp_path, penguins, penguins_path, tabular):
    some_file = tmp_path / "m"
    some_file.write_bytes(b"1234")
    lines = succeed("predict", some_file, penguins_path).splitlines()
    assert lines[1:] == tabular.predict(penguins).tolist()
    told = json.loads(succeed("info", some_file, "--json"))
    assert (told["bytes"], told["network"]["networks"], told["training"]["epochs"]) == (4, 2, 3)
    page = tmp_path / "page.html"
    told = json.loads(succeed("evaluate", some_file, penguins_path, "--json", "--report", page))
    assert told["metrics"]["accuracy"] == (tabular.predict(penguins) == penguins["species"]).mean()
    assert page.read_text().count("<svg") == 5


def test_only_a_single_network_can_be_written_out(tmp_path):
    pairs = OneVsOneMLPClassifier(MLPClassifier((2,), solver="lbfgs", max_iter=500, random_state=0))
    save_model(tmp_path / "m", pairs.fit([[0.0], [1.0], [2.0]], ["a", "b", "c"]), target="letter")
    for command in ("explain", "derive"):
        said = fail(command, tmp_path / "m")
        assert said == (
            f"{tmp_path / 'm'}: a OneVsOneMLPClassifier is more than one network; "
            "only a single one can be written out"
        )
