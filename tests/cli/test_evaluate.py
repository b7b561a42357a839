"""``chainrule evaluate``: metrics of a saved model on a table, its exit codes, and what it refuses."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from tests.cli.calling import QUICK, fail, run, succeed

from chainrule.io import load_model


def test_json_holds_the_metrics_of_scikit_learn(penguins, penguins_path, model_file):
    told = json.loads(succeed("evaluate", model_file, penguins_path, "--json"))
    model = load_model(model_file)
    y, predicted, probabilities = penguins["species"], model.predict(penguins), model.predict_proba(penguins)
    assert told["rows"] == 344
    assert told["metrics"]["accuracy"] == pytest.approx(metrics.accuracy_score(y, predicted))
    assert told["metrics"]["macro F1"] == pytest.approx(metrics.f1_score(y, predicted, average="macro"))
    assert told["metrics"]["log loss"] == pytest.approx(metrics.log_loss(y, probabilities), rel=1e-6)
    area = metrics.roc_auc_score(y, probabilities.astype(float), multi_class="ovr")
    assert told["metrics"]["ROC AUC"] == pytest.approx(area)
    assert told["confusion"] == metrics.confusion_matrix(y, predicted).tolist()
    assert sum(one["count"] for one in told["calibration"]) == 344
    assert told["baseline"]["accuracy"] == pytest.approx(152 / 344)
    for name, (low, high) in told["intervals"].items():
        assert low <= high, name


def test_the_same_seed_gives_the_same_intervals(penguins_path, model_file):
    first, second, other = (
        json.loads(succeed("evaluate", model_file, penguins_path, "--json", "--seed", seed))["intervals"]
        for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other


def test_text_shows_metrics_confusion_and_calibration(penguins_path, model_file):
    text = succeed("evaluate", model_file, penguins_path)
    for expected in (
        "on 344 rows of penguins.csv",
        "balanced accuracy",
        "95 % interval",
        "Chinstrap",
        "came true",
    ):
        assert expected in text


def test_numbers(tmp_path, houses):
    succeed("train", houses, "--target", "price", "--out", tmp_path / "m", *QUICK)
    told = json.loads(succeed("evaluate", tmp_path / "m", houses, "--json"))
    frame = pd.read_csv(houses)
    predicted = load_model(tmp_path / "m").predict(frame)
    assert told["metrics"]["R2"] == pytest.approx(metrics.r2_score(frame["price"], predicted))
    assert told["metrics"]["median absolute error"] == pytest.approx(
        metrics.median_absolute_error(frame["price"], predicted)
    )
    assert "confusion" not in told
    assert "median absolute error" in succeed("evaluate", tmp_path / "m", houses)


def test_a_threshold_decides_the_exit_code(tmp_path, penguins_path, houses, model_file):
    assert run("evaluate", model_file, penguins_path, "--min-accuracy", 0).exit_code == 0
    result = run("evaluate", model_file, penguins_path, "--min-accuracy", 1.01, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["check"] == {"metric": "accuracy", "at least": 1.01, "passed": False}
    assert result.stderr.startswith("chainrule: the accuracy is 0.")
    assert result.stderr.endswith("below the 1.01 asked for\n")
    assert "predicts classes" in fail("evaluate", model_file, penguins_path, "--min-r2", 0.5)
    succeed("train", houses, "--target", "price", "--out", tmp_path / "m", *QUICK)
    assert run("evaluate", tmp_path / "m", houses, "--min-r2", 1, "--quiet").exit_code == 1
    assert "predicts numbers" in fail("evaluate", tmp_path / "m", houses, "--min-accuracy", 0.5)


def test_the_report_of_other_rows(tmp_path, penguins, model_file):
    data, page = tmp_path / "other.csv", tmp_path / "page.html"
    penguins.iloc[::2].to_csv(data, index=False)
    assert f"Report {page}" in succeed("evaluate", model_file, data, "--report", page)
    assert "172 rows of other.csv" in page.read_text()


def test_rows_without_a_target_are_left_out_and_counted(tmp_path, penguins, model_file):
    penguins.loc[:9, "species"] = None
    penguins.to_csv(tmp_path / "t.csv", index=False)
    told = json.loads(succeed("evaluate", model_file, tmp_path / "t.csv", "--json"))
    assert told["rows"] == 334
    assert told["notes"] == ["rows left out because they have no value in the target column: 10"]


def test_truth_values_and_codes_as_target(tmp_path, rng):
    x = rng.normal(size=80)
    frame = pd.DataFrame({"x": x, "up": x > 0, "code": np.where(x > 0, "007", "08x")})
    frame.to_csv(tmp_path / "t.csv", index=False)
    for target in ("up", "code"):
        succeed("train", tmp_path / "t.csv", "--target", target, "--out", tmp_path / "m", *QUICK)
        frame[x > 0].to_csv(tmp_path / "half.csv", index=False)
        told = json.loads(succeed("evaluate", tmp_path / "m", tmp_path / "half.csv", "--json"))
        assert "ROC AUC" not in told["metrics"]  # there is one class only
        assert np.sum(told["confusion"][1 - (target == "code")]) == told["rows"]


def test_what_cannot_be_evaluated(tmp_path, penguins, penguins_path, model_file):
    penguins.drop(columns="species").to_csv(tmp_path / "t.csv", index=False)
    said = fail("evaluate", model_file, tmp_path / "t.csv")
    assert said.startswith("the table has no column 'species'. It is the model's target. Its columns: island")
    penguins.assign(species=None).to_csv(tmp_path / "t.csv", index=False)
    assert (
        fail("evaluate", model_file, tmp_path / "t.csv") == "target column 'species' has no value in any row"
    )
    penguins.assign(species="Emperor").to_csv(tmp_path / "t.csv", index=False)
    assert fail("evaluate", model_file, tmp_path / "t.csv") == (
        "target column 'species': 'Emperor' is no class that the model knows; it knows 'Adelie', "
        "'Chinstrap', 'Gentoo'"
    )
    penguins.drop(columns="sex").to_csv(tmp_path / "t.csv", index=False)
    assert (
        fail("evaluate", model_file, tmp_path / "t.csv") == "the table lacks column 'sex', seen in training."
    )
    assert "--report" in fail("evaluate", model_file, penguins_path, "--report", model_file)
