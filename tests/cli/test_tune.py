"""``chainrule tune``: what it tries, what it reports, and that it saves what it found."""

import json

import pytest
from tests.cli.calling import fail, succeed

from chainrule.estimators import TabularClassifier
from chainrule.io import load_model

BUDGET = ("--budget", 4, "--epochs", 5, "--ensemble", 2)


@pytest.fixture
def tuned(tmp_path, penguins_path):
    def tune(name, *options, target="species"):
        out = tmp_path / name
        return out, succeed("tune", penguins_path, "--target", target, "--out", out, *BUDGET, *options)

    return tune


def test_json_tells_what_was_tried_and_the_winner_is_saved(tuned):
    out, text = tuned("m", "--json", "--no-report")
    told = json.loads(text)
    search = told["search"]
    assert search["configurations"] == 4
    assert [rung["epochs"] for rung in search["rungs"]] == [3, 81]
    assert search["rungs"][0]["configurations"] == 4
    assert set(told["default"]) == set(told["metrics"]) >= {"accuracy", "log loss"}
    assert told["rows"] == {"training": 275, "test": 69, "without target": 0}
    settings = load_model(out).estimator.get_params()
    recipe = TabularClassifier().get_params()
    for name in ("width", "depth", "learning_rate", "dropout", "weight_decay"):
        assert settings[name] == search["best"].get(name, recipe[name])
    assert (settings["ensemble"], settings["max_epochs"]) == (2, 5)
    assert load_model(out).information["metrics"] == told["metrics"]


def test_the_same_seed_gives_the_same_file_with_any_number_of_threads(tuned):
    first, second, other = (
        tuned(name, "--no-report", *options)[0].read_bytes()
        for name, options in (("a", ("--jobs", 1)), ("b", ("--jobs", 2)), ("c", ("--seed", 5)))
    )
    assert first == second
    assert first != other


def test_text_shows_the_rungs_and_the_default_beside_the_winner(tuned):
    out, text = tuned("m", target="body_mass_g")
    for expected in (
        "4 configurations tried",
        "that neither search nor training saw",
        "default settings",
        "R2",
    ):
        assert expected in text
    assert f"Report {out}.html" in text
    assert (out.parent / "m.html").read_text().startswith("<!DOCTYPE html>")
    assert tuned("n", "--quiet")[1] == ""


def test_a_time_as_budget(tuned):
    told = json.loads(tuned("m", "--json", "--no-report", "--budget", "1s")[1])
    assert told["search"]["configurations"] >= 27
    assert told["search"]["rungs"][0]["configurations"] >= 2


@pytest.mark.parametrize("budget", ["0", "x", "-3", "5d", "1.5"])
def test_a_budget_that_is_none(tmp_path, penguins_path, budget):
    said = fail("tune", penguins_path, "--target", "species", "--out", tmp_path / "m", f"--budget={budget}")
    assert said == (f"--budget must be a number of configurations or a time such as 60s, got {budget!r}")
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_cannot_be_learned_from(tmp_path, penguins_path):
    said = fail("tune", penguins_path, "--target", "specie", "--out", tmp_path / "m")
    assert said.startswith("the table has no column 'specie', did you mean 'species'?")
