"""``chainrule explain``: the worked example, and the step of a saved model on rows of a table."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning
from tests.cli.calling import QUICK, fail, run, succeed, write

from chainrule import nn
from chainrule.cli.single import load_single_network
from chainrule.cli.written import Format
from chainrule.estimators import MLPClassifier, MLPRegressor, TabularRegressor
from chainrule.estimators.tables import TablePreprocessor
from chainrule.explain import explain_step, worked_example
from chainrule.io import load_model, save_model


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def price_file(tmp_path, houses):
    path = tmp_path / "price.safetensors"
    succeed("train", houses, "--target", "price", "--out", path, *QUICK)
    return path


# ---------------------------------------------------------------------------------- the worked example


def test_the_worked_example_and_its_misprint():
    text = succeed("explain", "--worked-example")
    assert text == worked_example().to_text() + "\n"
    assert "(1)  z1 = w1 x + b1 = 0.5 * 1 + 0 = 0.5" in text
    assert "by a factor of 14.86" in text
    assert "-0.236" in text
    assert "0.0279" in text
    assert "4.9" in text


@pytest.mark.parametrize("name", Format)
def test_formats(name):
    step = worked_example()
    expected = {"text": step.to_text(), "markdown": step.to_markdown(), "latex": step.to_latex()}[name]
    assert succeed("explain", "--worked-example", "--format", name).rstrip("\n") == expected.rstrip("\n")


def test_an_unknown_format_is_refused():
    result = run("explain", "--worked-example", "--format", "pdf")
    assert result.exit_code == 2
    assert "--format" in result.stderr


# -------------------------------------------------------------------------------------- a saved model


def test_a_row_of_a_classifier(penguins, penguins_path, model_file):
    single = load_single_network(model_file)
    X = single.inputs(penguins.drop(columns="species").iloc[[200]])
    assert penguins["species"][200] == "Gentoo"
    expected = explain_step(single.module, X, [2], "softmax_cross_entropy", 0.05)
    text = succeed("explain", model_file, penguins_path, "--row", 200, "--lr", 0.05)
    body, remark = text.rsplit("\n\n", 1)
    assert body == expected.to_text()
    assert words(remark) == (
        "x is row 200 of penguins.csv, as the model's preprocessor gives it; y is species = Gentoo. "
        "The classes: 0 is Adelie, 1 is Chinstrap, 2 is Gentoo."
    )


def test_several_rows_are_a_batch(penguins, penguins_path, model_file):
    single = load_single_network(model_file)
    X = single.inputs(penguins.drop(columns="species").iloc[[3, 200, 300]])
    classes = [
        single.estimator.classes_.tolist().index(one) for one in penguins["species"].iloc[[3, 200, 300]]
    ]
    expected = explain_step(single.module, X, classes, "softmax_cross_entropy", 0.1)
    text = succeed("explain", model_file, penguins_path, "--row", 3, "--row", 200, "--row", 300)
    assert text.startswith(expected.to_text())
    assert "rows 3, 200, 300 of penguins.csv" in words(text)


def test_the_first_row_is_taken_where_none_is_named(penguins_path, model_file):
    assert succeed("explain", model_file, penguins_path) == succeed(
        "explain", model_file, penguins_path, "--row", 0, "--lr", 0.1
    )


def test_a_class_of_two(tmp_path, penguins, penguins_path):
    path = tmp_path / "m"
    succeed("train", penguins_path, "--target", "sex", "--out", path, *QUICK)
    single = load_single_network(path)
    X = single.inputs(penguins.drop(columns="sex").iloc[[0]])
    assert penguins["sex"][0] == "male"
    expected = explain_step(single.module, X, [1], "softmax_cross_entropy", 0.1)
    text = succeed("explain", path, penguins_path)
    assert text.startswith(expected.to_text())
    assert "y is sex = male. The classes: 0 is female, 1 is male." in words(text)
    assert fail("explain", path, penguins_path, "--row", 3) == "row 3 has no value in the target column 'sex'"


def test_a_number_is_standardised_as_in_training(houses, price_file):
    single = load_single_network(price_file)
    table = pd.read_csv(houses)
    X = single.inputs(table.drop(columns="price").iloc[[5]])
    target = single.estimator.target_
    y = (table["price"][5] - target["mean"]) / target["scale"]
    expected = explain_step(single.module, X, y, nn.MSELoss(), 0.1)
    text = succeed("explain", price_file, houses, "--row", 5)
    assert text.startswith(expected.to_text())
    assert "standardised with the mean and the deviation of the training targets." in words(text)


def test_without_a_table_the_example_is_zeros(model_file, price_file, tmp_path):
    text = succeed("explain", model_file)
    single = load_single_network(model_file)
    zeros = np.zeros((1, single.n_inputs))
    assert text.startswith(explain_step(single.module, zeros, [0], "softmax_cross_entropy", 0.1).to_text())
    assert "x is all zeros, and y is the first class, Adelie." in words(text)
    text = succeed("explain", price_file)
    assert "x is all zeros, and y is the mean of the training targets." in words(text)
    options = {"hidden_layer_sizes": (2,), "random_state": 0, "solver": "lbfgs", "max_iter": 200}
    for model, y, first in (
        (MLPClassifier(**options), ["no", "no", "yes", "yes"], "the first class, no."),
        (MLPRegressor(**options), [0.0, 1.0, 2.0, 3.0], "0."),
    ):
        model.fit(np.arange(4.0)[:, None], y)
        save_model(tmp_path / "arrays", model)
        assert f"x is all zeros, and y is {first}" in words(succeed("explain", tmp_path / "arrays"))


def test_a_network_of_an_ensemble(tmp_path, penguins, penguins_path):
    path = tmp_path / "m"
    succeed("train", penguins_path, "--target", "species", "--out", path, *QUICK, "--ensemble", 2)
    second = load_single_network(path, 2)
    X = second.inputs(penguins.drop(columns="species").iloc[[7]])
    expected = explain_step(second.module, X, [0], "softmax_cross_entropy", 0.1)
    text = succeed("explain", path, penguins_path, "--row", 7, "--network", 2)
    assert text.startswith(expected.to_text())
    assert "Network 2 of 2. x is row 7 of penguins.csv" in words(text)


@pytest.mark.parametrize(
    ("transform", "said"),
    [("log", "its logarithm log(1 + y) standardised"), ("rank", "as the normal quantile of its rank")],
)
def test_how_a_number_is_transformed(tmp_path, houses, transform, said):
    table = pd.read_csv(houses)
    network = TabularRegressor(
        ensemble=1, width=4, depth=1, max_epochs=2, target_transform=transform, random_state=0
    )
    network.fit(table.drop(columns="price"), table["price"])
    save_model(tmp_path / "m", network, target="price")
    assert said in words(succeed("explain", tmp_path / "m", houses))
    assert "y is the middle of the training targets." in words(succeed("explain", tmp_path / "m"))


def test_a_network_behind_a_preprocessor(tmp_path, houses):
    table = pd.read_csv(houses)
    features, price = table.drop(columns="price"), table["price"]
    reader = TablePreprocessor().fit(features)
    network = MLPRegressor(
        hidden_layer_sizes=(3,), max_iter=3, random_state=0, target_scaling="standard", batch_size=30
    )
    with pytest.warns(ConvergenceWarning):
        network.fit(reader.transform(features), price)
    save_model(tmp_path / "m", network, preprocessor=reader, target="price")
    text = succeed("explain", tmp_path / "m", houses, "--row", 5)
    y = (price[5] - network.target_mean_) / network.target_scale_
    X = reader.transform(features.iloc[[5]])
    assert text.startswith(explain_step(network.to_module(), X, y, "half_squared_error", 0.1).to_text())
    assert "standardised with the mean and the deviation of the training targets." in words(text)


# ------------------------------------------------------------------------------------------- mistakes


def test_what_cannot_be_explained(tmp_path, penguins, penguins_path, model_file):
    assert fail("explain") == "give a model that `chainrule train` saved, or --worked-example"
    said = fail("explain", model_file, "--worked-example")
    assert said == "--worked-example takes no model, no --row and no --lr: its numbers are given"
    assert "--worked-example takes no model" in fail("explain", "--worked-example", "--lr", 0.1)
    assert fail("explain", model_file, "--row", 1).startswith("--row needs a table")
    for row in (-1, 344):
        said = fail("explain", model_file, penguins_path, "--row", row)
        assert said == f"--row must be from 0 to 343, the table's rows; got {row}"
    said = fail("explain", model_file, penguins_path, "--lr", 0)
    assert said.startswith("lr must be a positive number; got 0")
    assert fail("explain", tmp_path / "none") == f"{tmp_path / 'none'}: No such file or directory"

    penguins.drop(columns="species").to_csv(tmp_path / "lacking.csv", index=False)
    said = fail("explain", model_file, tmp_path / "lacking.csv")
    assert said.startswith("the table has no column 'species'")
    assert "It is the model's target." in said
    penguins.assign(species="Emperor").to_csv(tmp_path / "other.csv", index=False)
    said = fail("explain", model_file, tmp_path / "other.csv")
    assert said == (
        "target 'Emperor' is no class that the model knows; it knows 'Adelie', 'Chinstrap', 'Gentoo'"
    )
    penguins.iloc[:0].to_csv(tmp_path / "empty.csv", index=False)
    assert "the table has no rows" in fail("explain", model_file, tmp_path / "empty.csv")


def test_a_model_without_a_table_or_a_target(tmp_path, penguins_path, model_file):
    saved = load_model(model_file)
    network = MLPClassifier((2,), solver="lbfgs", max_iter=500, random_state=0)
    save_model(tmp_path / "arrays", network.fit([[0.0], [1.0]], ["a", "b"]), target="species")
    assert "the model takes arrays, not tables" in fail("explain", tmp_path / "arrays", penguins_path)
    save_model(tmp_path / "nameless", saved.estimator)
    assert "without the name of its target" in fail("explain", tmp_path / "nameless", penguins_path)


def test_codes_are_text_when_they_were_text_in_training(tmp_path):
    table = write(tmp_path / "t.csv", "code,y\n" + "007,a\n08x,b\n" * 20)
    succeed("train", table, "--target", "y", "--out", tmp_path / "m", *QUICK)
    later = write(tmp_path / "later.csv", "code,y\n007,a\n")
    assert "y is y = a." in words(succeed("explain", tmp_path / "m", later))


def test_help():
    text = succeed("explain", "--help")
    for option in ("--row", "--lr", "--format", "--worked-example"):
        assert option in text
