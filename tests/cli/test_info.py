"""``chainrule info``: what it tells of a saved model."""

import json

from tests.cli.calling import fail, succeed

from chainrule import MLPRegressor
from chainrule.io import save_model


def test_json_tells_everything(penguins_path, model_file):
    told = json.loads(succeed("info", model_file, "--json"))
    assert told["bytes"] == model_file.stat().st_size
    assert (told["task"], told["target"]) == ("classification", "species")
    assert told["classes"] == ["Adelie", "Chinstrap", "Gentoo"]
    assert told["columns"][0] == {"name": "island", "kind": "categorical"}
    # island has 3 categories, sex 2 and the missing one; 5 columns are numbers, of which 4 have gaps and so
    # an indicator of them: 15 inputs, 8 hidden units, which are normalised.
    assert told["network"] == {
        "layers": [15, 8, 3],
        "activation": "silu",
        "parameters": 15 * 8 + 8 + 2 * 8 + 8 * 3 + 3,
        "dtype": "float32",
        "networks": 1,
    }
    assert told["settings"]["max_epochs"] == 3
    assert told["training"]["epochs"] == 3
    assert told["training"]["rows"]["training"] == 275
    assert set(told["training"]["versions"]) >= {"chainrule", "Python", "numpy"}


def test_text_tells_it_to_people(model_file):
    text = succeed("info", model_file)
    for expected in ("species (classification)", "15 → 8 → 3", "bill_depth_mm", "chainrule 0.", "accuracy"):
        assert expected in text


def test_a_model_of_arrays_without_a_record(tmp_path):
    network = MLPRegressor(hidden_layer_sizes=(2,), solver="lbfgs", random_state=0).fit(
        [[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0]
    )
    save_model(tmp_path / "m", network)
    told = json.loads(succeed("info", tmp_path / "m", "--json"))
    assert (told["columns"], told["target"], told["network"]["dtype"]) == ([], None, "float64")
    assert "1 → 2 → 1" in succeed("info", tmp_path / "m")


def test_a_file_that_is_no_model(penguins_path):
    assert fail("info", penguins_path).startswith(f"cannot load the model '{penguins_path}'")
