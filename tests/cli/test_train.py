"""``chainrule train``: what it learns, reports and writes, and what it says to a mistake."""

import json

import numpy as np
import pandas as pd
import pytest
from tests.cli.calling import QUICK, fail, run, succeed, write

from chainrule.io import load_model


def test_training_on_penguins_learns_and_saves(tmp_path, penguins_path):
    out = tmp_path / "model.safetensors"
    text = succeed("train", penguins_path, "--target", "species", "--out", out)
    for expected in (
        "penguins.csv: species (3 classes) is learned from 7 columns",
        "Biscoe, Dream, Torgersen",
        "32.1 to 59.6",
        "4 networks 15 → 192 → 192 → 192 → 3, silu",
        "Trained on 275 rows",
        "on 69 rows not trained on",
        "balanced accuracy",
        "Saved",
    ):
        assert expected in text
    model = load_model(out)
    assert model.target == "species"
    assert model.information["metrics"]["accuracy"] > 0.95
    assert model.information["baseline"]["accuracy"] == pytest.approx(30 / 69)
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "model.safetensors.html"}


def test_json_is_one_object_with_everything(tmp_path, penguins_path):
    out = tmp_path / "m"
    report = json.loads(succeed("train", penguins_path, "--target", "sex", "--out", out, "--json", *QUICK))
    assert report["task"] == "classification"
    assert report["classes"] == ["female", "male"]
    assert report["rows"] == {"training": 266, "test": 67, "without target": 11}
    assert [column["name"] for column in report["columns"]][:2] == ["species", "island"]
    assert report["columns"][0] == {
        "name": "species",
        "kind": "categorical",
        "missing": 0,
        "holds": "Adelie, Gentoo, Chinstrap",
    }
    # species and island have 3 categories each, and 5 columns are numbers: 11 inputs, 8 hidden units, which
    # are normalised, and 2 outputs.
    assert report["network"] == {
        "layers": [11, 8, 2],
        "activation": "silu",
        "parameters": 11 * 8 + 8 + 2 * 8 + 8 * 2 + 2,
        "dtype": "float32",
        "networks": 1,
    }
    assert report["epochs"] == 3
    names = ["accuracy", "balanced accuracy", "log loss", "macro F1", "ROC AUC", "calibration error"]
    assert list(report["metrics"]) == list(report["baseline"]) == list(report["intervals"]) == names
    assert report["baseline"]["balanced accuracy"] == 0.5
    assert "rows left out because they have no value in the target column: 11" in report["notes"]
    assert (report["model"], report["report"]) == (str(out), f"{out}.html")


def test_regression_learns_a_price_far_from_unit_size(tmp_path, houses):
    out = tmp_path / "m"
    report = json.loads(succeed("train", houses, "--target", "price", "--out", out, "--json"))
    assert report["task"] == "regression"
    assert report["metrics"]["R2"] > 0.98
    assert report["metrics"]["MAE"] <= report["metrics"]["RMSE"] < 15_000
    assert report["baseline"]["R2"] == pytest.approx(0, abs=0.1)
    assert report["baseline"]["RMSE"] > 100_000
    predicted = pd.read_csv(write(tmp_path / "p.csv", succeed("predict", out, houses)))["price"]
    assert np.corrcoef(predicted, pd.read_csv(houses)["price"])[0, 1] > 0.99


def test_the_task_can_be_chosen(tmp_path, penguins_path):
    arguments = ("train", penguins_path, "--target", "year", "--out", tmp_path / "m", "--json", *QUICK)
    assert json.loads(succeed(*arguments))["classes"] == [2007, 2008, 2009]
    assert "R2" in json.loads(succeed(*arguments, "--task", "regression"))["metrics"]


def test_columns_can_be_left_out(tmp_path, penguins_path):
    arguments = ("train", penguins_path, "--target", "species", "--out", tmp_path / "m", "--json", *QUICK)
    report = json.loads(succeed(*arguments, "--drop", "island", "--drop", "year"))
    assert "island" not in [column["name"] for column in report["columns"]]
    assert len(report["columns"]) == 5


def test_the_same_seed_gives_the_same_file(tmp_path, penguins_path):
    arguments = ("train", penguins_path, "--target", "species", *QUICK, "--out")
    for name, seed in (("first", 3), ("second", 3), ("third", 4)):
        succeed(*arguments, tmp_path / name, "--seed", seed)
    first, second, third = ((tmp_path / name).read_bytes() for name in ("first", "second", "third"))
    assert first == second
    assert first != third


def test_options_reach_the_network(tmp_path, penguins_path):
    out = tmp_path / "m"
    options = ("--width", 5, "--depth", 2, "--ensemble", 3, "--batch-size", 32, "--learning-rate", 0.01)
    more = ("--activation", "tanh", "--epochs", 2, "--test-size", 0.5, "--seed", 7)
    succeed("train", penguins_path, "--target", "species", "--out", out, *options, *more)
    model = load_model(out)
    settings = model.estimator.get_params()
    assert (settings["width"], settings["depth"], settings["ensemble"]) == (5, 2, 3)
    assert (settings["batch_size"], settings["learning_rate"]) == (32, 0.01)
    assert (settings["activation"], settings["max_epochs"], settings["random_state"]) == ("tanh", 2, 7)
    assert model.information["rows"] == {"training": 172, "test": 172, "without target": 0}


def test_names_in_brackets_are_shown_as_they_are(tmp_path, rng):
    frame = pd.DataFrame(
        {"size [mm]": rng.normal(size=40), "[bold]": rng.normal(size=40), "y": ["a", "b"] * 20}
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    text = succeed("train", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m", *QUICK)
    assert "size [mm]" in text
    assert "[bold]" in text


def test_a_wide_table_is_listed_in_part(tmp_path, rng):
    frame = pd.DataFrame(rng.normal(size=(40, 30)), columns=[f"x{i}" for i in range(30)])
    frame.assign(y=["a", "b"] * 20).to_csv(tmp_path / "t.csv", index=False)
    text = succeed("train", tmp_path / "t.csv", "--target", "y", "--out", tmp_path / "m", *QUICK)
    assert "x19" in text
    assert "x20" not in text
    assert "and 10 more" in text


# --------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "{data}: the file is empty"),
        ("species,x\n", "the table has no rows to learn from"),
        (
            "Species,x\na,1\n",
            "the table has no column 'species', did you mean 'Species'? Its columns: Species, x",
        ),
        ("species,x,x\na,1,1\n", "{data}: the table has more than one column named 'x'"),
        ("species\na\nb\n", "the table has no column beside the target 'species' to learn from"),
        ("species,x\na,1\na,2\n", "target column 'species' has one value only, 'a': nothing to tell apart"),
        ("species,x\n,1\n,2\n", "target column 'species' has no value in any row"),
        (
            "species,x\na,1\na,2\nb,3\n",
            "target column 'species': class 'b' is in one row only; every class needs two or more, to learn "
            "from and to test on (if the column holds amounts, give --task regression)",
        ),
        (
            "species,x\na,1\na,2\nb,3\nb,3\n",
            "4 rows with a target are too few: with --test-size 0.2 there are 3 to train and 1 to test on, "
            "and either needs 2 or more",
        ),
        (
            "species,x\n" + "a,\nb,\n" * 10,
            "no value in any row of column 'x': nothing to learn from, leave it out",
        ),
        (
            "species,x\n" + "a,1\nb,inf\n" * 10,
            "column 'x' must hold finite numbers, got inf in row",
        ),
    ],
)
def test_a_table_that_cannot_be_learned_from(tmp_path, table, message):
    data = write(tmp_path / "t.csv", table)
    said = fail("train", data, "--target", "species", "--out", tmp_path / "m")
    assert said.startswith(message.format(data=data))
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--test-size", "1"), "--test-size must be between 0 and 1, got 1"),
        (("--learning-rate", "0"), "--learning-rate must be a positive number, got 0"),
        (("--learning-rate", "nan"), "--learning-rate must be a positive number, got nan"),
        (
            ("--drop", "islands"),
            "--drop: the table has no column 'islands', did you mean 'island'? Its columns: ",
        ),
        (("--target", "body_mass"), "the table has no column 'body_mass', did you mean 'body_mass_g'?"),
        (("--task", "regression"), "column 'species' must hold numbers, got 'Adelie' in row 0"),
        (
            ("--target", "bill_length_mm", "--task", "classification"),
            "target column 'bill_length_mm' holds fractions",
        ),
    ],
)
def test_an_option_that_cannot_be_followed(tmp_path, penguins_path, options, message):
    said = fail("train", penguins_path, "--target", "species", "--out", tmp_path / "m", *options)
    assert said.startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_a_training_that_diverges_saves_nothing(tmp_path, houses):
    out = tmp_path / "m"
    result = run("train", houses, "--target", "price", "--out", out, "--learning-rate", "1e30")
    assert result.exit_code == 2
    assert result.stderr == "chainrule: the training diverged: try a smaller --learning-rate\n"
    assert not out.exists()


def test_an_unknown_activation_is_named(tmp_path, penguins_path):
    result = run(
        "train", penguins_path, "--target", "species", "--out", tmp_path / "m", "--activation", "relux"
    )
    assert result.exit_code == 2
    assert "activation" in result.stderr
    assert "'relux'" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [("--epochs", "0"), ("--width", "0"), ("--batch-size", "-1"), ("--task", "both"), ("--seed", "x")],
)
def test_an_option_of_the_wrong_kind_is_refused(penguins_path, options):
    result = run("train", penguins_path, "--target", "species", *options)
    assert result.exit_code == 2
    assert options[0] in result.stderr


def test_files_that_are_not_there(tmp_path, penguins_path):
    there = tmp_path / "none.csv"
    assert (
        fail("train", there, "--target", "x", "--out", tmp_path / "m")
        == f"{there}: No such file or directory"
    )
    said = fail("train", tmp_path, "--target", "x", "--out", tmp_path / "m")
    assert said.endswith(f"{tmp_path} has nothing of the kind")
    said = fail("train", penguins_path, "--target", "species", "--out", tmp_path / "none" / "m")
    assert said == f"--out: there is no folder {tmp_path / 'none'}"
    assert (
        fail("train", penguins_path, "--target", "species", "--out", tmp_path)
        == f"--out: {tmp_path} is a folder"
    )


def test_the_table_is_never_overwritten(tmp_path, penguins_path, model_file):
    data = tmp_path / "penguins.csv"
    data.write_bytes(penguins_path.read_bytes())
    assert "is the input" in fail("train", data, "--target", "species", "--out", data)
    assert "is the input" in fail("predict", model_file, data, "--out", data)
    assert "is the input" in fail("predict", model_file, data, "--out", model_file)
    assert data.read_bytes() == penguins_path.read_bytes()


def test_a_failure_while_saving_leaves_the_old_model(monkeypatch, penguins_path, model_file):
    before = model_file.read_bytes()

    def disk_full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", disk_full)
    result = run("train", penguins_path, "--target", "sex", "--out", model_file, *QUICK)
    assert result.exit_code == 2
    assert result.stderr == "chainrule: No space left on device\n"
    assert model_file.read_bytes() == before
    assert {path.name for path in model_file.parent.iterdir()} == {model_file.name, f"{model_file.name}.html"}


# ---------------------------------------------------------------------------------------- report


def test_the_report_goes_where_it_is_asked_for_or_nowhere(tmp_path, penguins_path):
    common = ("train", penguins_path, "--target", "species", "--out", tmp_path / "m", *QUICK)
    succeed(*common, "--no-report")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    text = succeed(*common, "--report", tmp_path / "page.html")
    assert f"Report {tmp_path / 'page.html'}" in text
    assert {path.name for path in tmp_path.iterdir()} == {"m", "page.html"}
    assert fail(*common, "--report", tmp_path / "x", "--no-report") == "give either --report or --no-report"
    assert "is the file of the model" in fail(*common, "--report", tmp_path / "m")
    assert "is the input" in fail(*common, "--report", penguins_path)


def test_quiet_prints_nothing(tmp_path, penguins_path):
    result = run("train", penguins_path, "--target", "species", "--out", tmp_path / "m", "--quiet", *QUICK)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "m").exists()


def test_dropout_and_weight_decay_reach_the_network(tmp_path, penguins_path):
    options = ("--dropout", 0.2, "--weight-decay", 0.05, "--no-report", *QUICK)
    succeed("train", penguins_path, "--target", "species", "--out", tmp_path / "m", *options)
    settings = load_model(tmp_path / "m").estimator.get_params()
    assert (settings["dropout"], settings["weight_decay"]) == (0.2, 0.05)


# ------------------------------------------------------------------------------------ what was saved


def test_an_ensemble_reads_the_table_itself(tmp_path, penguins_path):
    out = tmp_path / "m"
    options = ("--target", "species", "--ensemble", 2, "--out", out, "--json")
    told = json.loads(succeed("train", penguins_path, *options))
    assert told["metrics"]["accuracy"] > 0.9
    assert told["network"]["networks"] == 2
    saved = load_model(out)
    assert type(saved.estimator).__name__ == "TabularClassifier"
    assert saved.preprocessor is None
    page = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "alternate" in page
    predicted = succeed("predict", out, penguins_path, "--proba").splitlines()
    assert predicted[0] == "species,P(Adelie),P(Chinstrap),P(Gentoo)"
    assert len(predicted) == 345
    assert "2 network" in succeed("info", out)
    evaluated = json.loads(succeed("evaluate", out, penguins_path, "--json"))
    assert evaluated["metrics"]["accuracy"] > 0.95


def test_an_ensemble_of_numbers(tmp_path, houses):
    out = tmp_path / "m"
    told = json.loads(succeed("train", houses, "--target", "price", "--ensemble", 2, "--out", out, "--json"))
    assert told["metrics"]["R2"] > 0.95
    assert type(load_model(out).estimator).__name__ == "TabularRegressor"
