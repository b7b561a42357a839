import sys

import numpy as np
import pytest
from hypothesis import given, settings
from tests.exports.models import DTYPES, RECORDS, X, every_kind, fitted, random_networks
from tests.strategies import deterministic, module_classes

from chainrule import nn
from chainrule.exports import from_torch, to_torch
from chainrule.exports.torch_modules import _TO

TOLERANCE = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-6}


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="parity with PyTorch needs torch")


def outputs(torch, module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def test_every_layer_has_a_counterpart():
    assert set(_TO) == module_classes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("record", RECORDS)
def test_there_and_back(torch, record, dtype):
    network = every_kind(dtype, record)
    there = to_torch(network)
    x = X.astype(dtype)
    # Normalising a sigmoid's small outputs magnifies what single precision rounds away: by that much the
    # library itself is off the same network in double precision.
    rounding = np.abs(network(x) - network.copy().to(np.float64)(x.astype(np.float64))).max()
    tolerance = TOLERANCE[np.dtype(dtype)] + rounding
    np.testing.assert_allclose(outputs(torch, there, x), network(x), rtol=0, atol=tolerance)
    assert list(there.state_dict()) == list(network.state_dict())
    back = from_torch(there)
    assert repr(back) == repr(network)
    np.testing.assert_array_equal(back(x), network(x))
    assert not back.training


@pytest.mark.parametrize("record", RECORDS)
def test_activations_in_their_tails(torch, record):
    network = nn.activation_module(record)
    z = np.linspace(-60, 60, 1201)[:, None]
    np.testing.assert_allclose(outputs(torch, to_torch(network), z), network(z), rtol=1e-12, atol=1e-12)


@settings(deterministic, max_examples=60)
@given(random_networks())
def test_random_networks(case):
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    network, x = case
    there = to_torch(network)
    expected = network(x)
    tolerance = TOLERANCE[x.dtype] * max(1, np.abs(expected).max())
    np.testing.assert_allclose(outputs(torch, there, x), expected, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(from_torch(there)(x), expected)


def test_nothing_is_shared_and_no_random_number_is_drawn(torch):
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = torch.get_rng_state()
    there = to_torch(network)
    assert torch.equal(torch.get_rng_state(), before)
    assert there.training
    nn.manual_seed(3)
    drawn = nn.randn(2).numpy()
    nn.manual_seed(3)
    back = from_torch(there)
    np.testing.assert_array_equal(nn.randn(2).numpy(), drawn)
    weight = network.state_dict()["0.weight"].copy()
    with torch.no_grad():
        there[0].weight += 1
    np.testing.assert_array_equal(network.state_dict()["0.weight"], weight)
    np.testing.assert_array_equal(back.state_dict()["0.weight"], weight)


def test_frozen_and_shared_layers(torch):
    shared = nn.Linear(2, 2)
    network = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(2, 1).requires_grad_(False))
    there = to_torch(network)
    assert there[0] is there[2]
    assert [one.requires_grad for one in there.parameters()] == [True, True, False, False]
    back = from_torch(there)
    assert back[0] is back[2]
    assert [one.requires_grad for one in back.parameters()] == [True, True, False, False]


def test_an_estimator_gives_its_network(torch):
    estimator = fitted("multiclass", np.float64)
    z = torch.softmax(to_torch(estimator)(torch.from_numpy(X)), dim=1).detach().numpy()
    np.testing.assert_allclose(z, estimator.predict_proba(X), rtol=0, atol=1e-12)


class Squared(nn.Linear):
    def forward(self, x):
        return x * x


def test_what_has_no_counterpart(torch):
    with pytest.raises(TypeError, match=r"Squared \(0.body\) has no counterpart in PyTorch"):
        to_torch(nn.Sequential(nn.Residual(Squared(2, 2))))
    with pytest.raises(TypeError, match="model must be a chainrule.nn module"):
        to_torch(torch.nn.Linear(2, 2))
    with pytest.raises(TypeError, match="module must be a torch.nn.Module; got Linear"):
        from_torch(nn.Linear(2, 2))
    for layer, name in (
        (torch.nn.Conv1d(1, 1, 1), "Conv1d"),
        (torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2)), "ParametrizedLinear"),
        (type("Linear", (torch.nn.Linear,), {})(2, 2), "Linear"),
    ):
        with pytest.raises(TypeError, match=rf"{name} \(0\) has no counterpart in chainrule.nn"):
            from_torch(torch.nn.Sequential(layer))
    with pytest.raises(TypeError, match=r"Linear: weight must be float32 or float64; got torch.float16"):
        from_torch(torch.nn.Linear(2, 2).half())
    with pytest.raises(TypeError, match=r"BatchNorm1d: running_mean must be .* got torch.bfloat16"):
        from_torch(torch.nn.BatchNorm1d(2, affine=False).to(torch.bfloat16))


def test_settings_that_are_not_supported(torch):
    refused = (
        torch.nn.GELU(approximate="tanh"),
        torch.nn.Softplus(beta=2.0),
        torch.nn.Softplus(threshold=3.0),
        torch.nn.BatchNorm1d(2, momentum=None),
        torch.nn.BatchNorm1d(2, track_running_stats=False),
        torch.nn.LayerNorm((2, 3)),
    )
    for layer in refused:
        with pytest.raises(ValueError, match=type(layer).__name__):
            from_torch(layer)
    hooked = torch.nn.ReLU()
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="ReLU has forward hooks"):
        from_torch(hooked)


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for convert in (to_torch, from_torch):
        with pytest.raises(ImportError, match=r"chainrule\[torch\]"):
            convert(nn.ReLU())
