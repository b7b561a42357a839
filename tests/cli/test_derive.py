"""``chainrule derive``: of a saved model, or of a network described by its widths."""

import json

import pytest
from tests.cli.calling import QUICK, fail, run, succeed

from chainrule import nn
from chainrule.cli.single import load_single_network
from chainrule.explain import derive


def described():
    return nn.Sequential(nn.Linear(784, 128, rng=0), nn.ReLU(), nn.Linear(128, 10, rng=0))


def test_a_network_by_its_widths():
    text = succeed(
        "derive", "--layers", "784,128,10", "--activation", "relu", "--loss", "softmax_cross_entropy"
    )
    assert text == derive(described(), "softmax_cross_entropy").to_text() + "\n"
    assert "(4)  Δ2 = (Ŷ - T) / n" in text


def test_options_have_defaults_and_spaces_are_no_matter():
    assert succeed("derive", "--layers", "784, 128 ,10") == succeed(
        "derive", "--layers", "784,128,10", "--activation", "relu", "--loss", "half_squared_error"
    )
    assert "gelu'(z)" in succeed("derive", "--layers", "3,2,1", "--activation", "gelu")
    assert "linear 3 → 1" in succeed("derive", "--layers", "3,1")


@pytest.mark.parametrize("name", ["markdown", "latex"])
def test_formats(name):
    derivation = derive(described(), "poisson")
    expected = derivation.to_markdown() if name == "markdown" else derivation.to_latex()
    text = succeed("derive", "--layers", "784,128,10", "--loss", "poisson", "--format", name)
    assert text.rstrip("\n") == expected.rstrip("\n")


def test_a_saved_model(tmp_path, penguins_path, model_file, houses):
    module = load_single_network(model_file).module
    assert succeed("derive", model_file) == derive(module, "softmax_cross_entropy").to_text() + "\n"
    succeed("train", penguins_path, "--target", "sex", "--out", tmp_path / "two", *QUICK)
    assert "softmax with softmax_cross_entropy is a canonical" in " ".join(
        succeed("derive", tmp_path / "two").split()
    )
    succeed("train", houses, "--target", "price", "--out", tmp_path / "price", *QUICK)
    derived = " ".join(succeed("derive", tmp_path / "price").split())
    assert "identity with half_squared_error is a canonical pair" in derived


def test_each_network_of_an_ensemble(tmp_path, penguins_path):
    path = tmp_path / "four"
    succeed("train", penguins_path, "--target", "sex", "--out", path, *QUICK, "--ensemble", 2)
    first, second = (succeed("derive", path, "--network", number) for number in (1, 2))
    assert succeed("derive", path) == first
    # Every other network normalises by the batch.
    assert "batch normalisation" in first
    assert "batch normalisation" not in second
    said = fail("derive", path, "--network", 3)
    assert said == "--network must be from 1 to 2, the model's networks; got 3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give either a model that `chainrule train` saved, or --layers such as 784,128,10"),
        (("--layers", "784"), "--layers must be two or more widths such as 784,128,10, got '784'"),
        (("--layers", "784,x"), "--layers must be two or more widths such as 784,128,10, got '784,x'"),
        (("--layers", "784,0,1"), "--layers must be two or more widths such as 784,128,10, got '784,0,1'"),
        (
            ("--layers", "1000000,1000000"),
            "--layers must have at most 100,000,000 weights, got 1,000,000,000,000",
        ),
        (("nowhere",), "nowhere: No such file or directory"),
    ],
)
def test_what_cannot_be_derived(options, message):
    assert fail("derive", *options) == message


def test_unknown_names_are_answered_with_those_there_are():
    assert "'nonsense'" in fail("derive", "--layers", "3,2", "--loss", "nonsense")
    assert "half_squared_error" in fail("derive", "--layers", "3,2", "--loss", "nonsense")
    assert "'relux'" in fail("derive", "--layers", "3,2,1", "--activation", "relux")


def test_a_model_and_widths_at_once(model_file):
    assert "give either a model" in fail("derive", model_file, "--layers", "3,2")


def test_help():
    result = run("derive", "--help")
    assert result.exit_code == 0
    for option in ("--layers", "--activation", "--loss", "--format"):
        assert option in result.stdout


def test_json_holds_the_same_text():
    arguments = ("derive", "--layers", "3,2", "--format", "markdown")
    told = json.loads(succeed(*arguments, "--json"))
    assert told == {"format": "markdown", "content": succeed(*arguments).rstrip("\n")}
    told = json.loads(succeed("explain", "--worked-example", "--json"))
    assert told == {"format": "text", "content": succeed("explain", "--worked-example").rstrip("\n")}
