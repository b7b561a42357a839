"""Whatever can be saved comes back bit for bit."""

import numpy as np
import pytest
from tests.io.saved import models, predicted

import chainrule
from chainrule import nn
from chainrule.io.forms import FORMS, form_of
from chainrule.io.model_file import pack, unpack
from chainrule.io.modules import LAYERS, from_module_state, to_module_state

NAMES = list(models())


def test_there_is_a_model_of_every_form():
    assert {form_of(model)[0] for model, _ in models().values()} == set(FORMS)


@pytest.mark.parametrize("name", NAMES)
def test_comes_back_bit_for_bit(name, tmp_path):
    model, rows = models()[name]
    chainrule.save(model, tmp_path / "model", note="first")
    again = chainrule.load(tmp_path / "model")
    assert type(again) is type(model)
    assert predicted(again, rows).tobytes() == predicted(model, rows).tobytes()
    chainrule.save(again, tmp_path / "again", note="first")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
    if not isinstance(model, nn.Module):
        for parameter, value in model.get_params(deep=False).items():
            assert repr(getattr(again, parameter)) == repr(value)
        assert again.n_features_in_ == model.n_features_in_
        if hasattr(model, "classes_"):
            np.testing.assert_array_equal(again.classes_, model.classes_)


@pytest.mark.parametrize("name", NAMES)
def test_content_and_arrays_survive_their_bytes(name):
    model, _ = models()[name]
    _, form = form_of(model)
    state, arrays = form.take_apart(model)
    content, back = unpack(pack({"state": state}, arrays))
    assert set(back) == set(arrays)
    for key, array in arrays.items():
        assert back[key].dtype == array.dtype
        np.testing.assert_array_equal(back[key], array)
    assert form.take_apart(form.put_together(form.kind, content["state"], back))[0].keys() == state.keys()


def test_every_layer_has_a_description():
    layers = {
        kind
        for name in nn.__all__
        if isinstance(kind := getattr(nn, name), type)
        and issubclass(kind, nn.Module)
        and not issubclass(kind, nn.LossModule)
    }
    described = {kind for kind, _ in LAYERS.values()} | {nn.Sequential, nn.Residual}
    assert layers - {nn.Module, nn.ActivationModule} == described


@pytest.mark.parametrize("training", [True, False])
def test_a_module_keeps_its_mode(training):
    module = nn.Sequential(nn.Dropout(0.3)).train(training)
    again = from_module_state(nn.Module, *to_module_state(module))
    assert [one.training for one in again.modules()] == [training, training]
    assert again[0].p == 0.3


def test_a_module_of_a_users_own_is_refused_with_a_way_out(tmp_path):
    class Mine(nn.Linear):
        pass

    with pytest.raises(TypeError, match=r"Mine is none of them: save module.state_dict\(\)"):
        chainrule.save(nn.Sequential(Mine(2, 2)), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def described(kind, **arguments):
    return {"layers": {"kind": kind, "arguments": arguments}, "training": False}


def linear(a, b, bias=True):
    return described("Linear", in_features=a, out_features=b, bias=bias, dtype="float32")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (linear(10**9, 10**9), "numbers or more"),
        (linear(-1, -1), "in_features must be"),
        (described("BatchNorm1d", num_features=10**9, eps=1e-5, momentum=0.1, affine=False), "numbers"),
        (
            described("LayerNorm", normalized_shape=[10**9], eps=1e-5, elementwise_affine=False, bias=False),
            "has no place in a network",
        ),
        (described("ReLU", rng=0), r"ReLU has the arguments \[\], got \['rng'\]"),
        ({"layers": {"kind": "Sequential", "children": [["a", {"kind": "ReLU", "arguments": {}}]] * 2},
          "training": True}, "two modules have one name"),
    ],
)  # fmt: skip
def test_a_description_that_does_not_fit_is_refused(state, message):
    with pytest.raises(ValueError, match=message):
        from_module_state(nn.Module, state, {"weight": np.zeros((2, 2), np.float32)})


def test_a_body_that_needs_a_projection_does_not_get_one_made():
    layers = [linear(100, 1, False)["layers"], linear(1, 90, False)["layers"]]
    body = {"kind": "Sequential", "children": [["0", layers[0]], ["1", layers[1]]]}
    state = {"layers": {"kind": "Residual", "body": body, "projection": None}, "training": True}
    arrays = {"body.0.weight": np.zeros((1, 100), np.float32), "body.1.weight": np.zeros((90, 1), np.float32)}
    with pytest.raises(ValueError, match="needs its projection"):
        from_module_state(nn.Module, state, arrays)


def test_modules_in_modules_end_somewhere():
    layers = {"kind": "ReLU", "arguments": {}}
    for _ in range(200):
        layers = {"kind": "Sequential", "children": [["0", layers]]}
    with pytest.raises(ValueError, match="more than 50 deep"):
        from_module_state(nn.Module, {"layers": layers, "training": True}, {})
