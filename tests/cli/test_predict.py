"""``chainrule predict``: its predictions, and what it says to a mistake."""

import numpy as np
import pandas as pd
from tests.cli.calling import QUICK, fail, succeed, write

from chainrule.io import load_model


def test_predictions_are_printed_as_csv_in_the_order_of_the_rows(penguins, penguins_path, model_file):
    lines = succeed("predict", model_file, penguins_path).splitlines()
    assert lines[0] == "species"
    assert lines[1:] == load_model(model_file).predict(penguins).tolist()
    assert len(lines) == 345


def test_predictions_with_probabilities_in_a_file(tmp_path, penguins, penguins_path, model_file):
    out = tmp_path / "predictions.csv"
    text = succeed("predict", model_file, penguins_path, "--out", out, "--proba")
    assert text == f"Wrote 344 predictions to {out}\n"
    table = pd.read_csv(out)
    assert list(table.columns) == ["species", "P(Adelie)", "P(Chinstrap)", "P(Gentoo)"]
    probabilities = table.iloc[:, 1:].to_numpy()
    np.testing.assert_allclose(probabilities, load_model(model_file).predict_proba(penguins), rtol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    names = np.array(["Adelie", "Chinstrap", "Gentoo"])
    assert (names[probabilities.argmax(axis=1)] == table["species"]).all()


def test_reordered_and_further_columns_change_nothing(tmp_path, penguins, penguins_path, model_file):
    changed = penguins[sorted(penguins.columns)].drop(columns="species").assign(remark="x")
    changed.to_csv(tmp_path / "t.csv")
    assert succeed("predict", model_file, tmp_path / "t.csv") == succeed("predict", model_file, penguins_path)


def test_codes_are_text_when_they_were_text_in_training(tmp_path):
    table = write(tmp_path / "t.csv", "code,y\n" + "007,a\n08x,b\n" * 20)
    succeed("train", table, "--target", "y", "--out", tmp_path / "m", "--learning-rate", 0.1, "--epochs", 20)
    later = write(tmp_path / "later.csv", "code\n007\n")
    assert succeed("predict", tmp_path / "m", later).splitlines() == ["y", "a"]


def test_what_cannot_be_predicted(tmp_path, penguins, penguins_path, houses, model_file):
    penguins.drop(columns=["sex", "year"]).to_csv(tmp_path / "lacking.csv", index=False)
    said = fail("predict", model_file, tmp_path / "lacking.csv")
    assert said == "the table lacks columns 'sex', 'year', seen in training."

    penguins.assign(body_mass_g="heavy").to_csv(tmp_path / "text.csv", index=False)
    said = fail("predict", model_file, tmp_path / "text.csv")
    assert said == "column 'body_mass_g' must hold numbers, got 'heavy' in row 0"

    penguins.iloc[:0].to_csv(tmp_path / "empty.csv", index=False)
    assert fail("predict", model_file, tmp_path / "empty.csv").endswith("the table has no rows to predict")

    assert (
        fail("predict", tmp_path / "none", penguins_path) == f"{tmp_path / 'none'}: No such file or directory"
    )
    said = fail("predict", penguins_path, penguins_path)
    assert said.startswith(f"cannot load the model '{penguins_path}': it is not a safetensors file")

    model_file.write_bytes(model_file.read_bytes()[:-1])
    assert fail("predict", model_file, penguins_path).startswith(f"cannot load the model '{model_file}'")

    numbers = tmp_path / "numbers"
    succeed("train", houses, "--target", "price", "--out", numbers, *QUICK)
    assert "predicts numbers, which have no probabilities" in fail("predict", numbers, houses, "--proba")


def test_a_failed_prediction_leaves_the_old_file(tmp_path, penguins, model_file):
    penguins.drop(columns="sex").to_csv(tmp_path / "lacking.csv", index=False)
    out = write(tmp_path / "predictions.csv", "old")
    fail("predict", model_file, tmp_path / "lacking.csv", "--out", out)
    assert out.read_text() == "old"
