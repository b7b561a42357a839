"""The model that is passed in stays as it is, whatever it is made of and whoever calls."""

import numpy as np
import pytest
from tests.health.networks import CLASSES, TARGETS, X, close, differences, every_kind, linear, mlp, snapshot

from chainrule import nn
from chainrule.exports import to_torch
from chainrule.health import Differentiable, parameter_vector
from chainrule.tape import no_grad
from chainrule.tape import tensor as tape_tensor


def use(model):
    w = model.parameters
    model.outputs(X)
    model.values(X)
    model.linearized(X).jvp(X)
    for number in range(1, len(model.layers) + 1):
        model.linearized_layer(number, model.values(X)[number - 1][1])
    model.hessian(w, X, CLASSES)(w)
    model.loss(w + 1, X, CLASSES)
    model.parameters = 2 * w


def seen(calls):
    def hook(module, inputs, *output):
        calls.append(module)

    return hook


def test_the_model_is_left_as_it_is():
    network = every_kind()
    network[6].eval()
    nn.CrossEntropyLoss()(network(tape_tensor(X)), CLASSES).backward()
    calls = []
    network[0].register_forward_hook(seen(calls))
    network.register_forward_pre_hook(seen(calls))
    before = snapshot(network)
    nn.manual_seed(5)
    expected = nn.rand(3).numpy()
    nn.manual_seed(5)
    with no_grad():
        use(Differentiable(network, nn.CrossEntropyLoss()))
    assert snapshot(network) == before
    np.testing.assert_array_equal(nn.rand(3).numpy(), expected)
    assert calls == []


def test_a_model_of_torch_is_left_as_it_is(torch):
    network = to_torch(every_kind())
    network[6].eval()
    torch.nn.functional.cross_entropy(network(torch.tensor(X)), torch.tensor(CLASSES)).backward()
    calls = []
    network[0].register_forward_hook(seen(calls))
    network.register_forward_pre_hook(seen(calls))
    network[0].register_full_backward_hook(seen(calls))
    before = snapshot(network)
    random = torch.get_rng_state()
    use(Differentiable(network, torch.nn.CrossEntropyLoss()))
    assert snapshot(network) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert calls == []


class Remembering(nn.Module):
    """Keeps what it computed last, as one does to look at it."""

    def __init__(self):
        super().__init__()
        self.inner = linear(5, 3, 0)

    def forward(self, x):
        self.last = self.inner(x)
        return self.last


def test_a_model_that_keeps_what_it_computed():
    network = Remembering()
    last = network(tape_tensor(X))
    model = Differentiable(network, nn.MSELoss())
    expected = Differentiable(network.inner, nn.MSELoss())
    w = model.parameters
    np.testing.assert_array_equal(model.gradient(w, X, TARGETS), expected.gradient(w, X, TARGETS))
    assert network.last is last
    assert last.requires_grad


class Random(nn.Module):
    """Draws in evaluation too, and may then fail."""

    def __init__(self, fails):
        super().__init__()
        self.fails = fails
        self.scale = nn.Parameter(np.ones(5))

    def forward(self, x):
        noise = nn.randn(*x.shape, dtype=np.float64)
        if self.fails:
            raise KeyError("as planned")
        return x * self.scale + noise


@pytest.mark.parametrize("fails", [False, True])
def test_random_numbers_are_put_back(fails):
    network = Random(fails)
    before = snapshot(network)
    nn.manual_seed(5)
    expected = nn.rand(3).numpy()
    nn.manual_seed(5)
    model = Differentiable(network, nn.MSELoss())
    for measure in (model.outputs, model.linearized, lambda x: model.gradient(np.ones(5), x, X)):
        if fails:
            with pytest.raises(KeyError, match="as planned"):
                measure(X)
        else:
            measure(X)
    assert snapshot(network) == before
    np.testing.assert_array_equal(nn.rand(3).numpy(), expected)


def test_random_numbers_of_torch_are_put_back(torch):
    class Noisy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(5))

        def forward(self, x):
            noise = torch.randn_like(x)
            raise KeyError("as planned") if noise.numel() == 10 else None

    network = Noisy()
    before, random = snapshot(network), torch.get_rng_state()
    model = Differentiable(network)
    with pytest.raises(KeyError, match="as planned"):
        model.outputs(X[:2])
    with pytest.raises(KeyError, match="as planned"):
        model.linearized(X[:2])
    assert snapshot(network) == before
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "autocast"])
def test_modes_that_the_caller_has_set(torch, mode):
    network = to_torch(mlp("gelu"))
    model = Differentiable(network, torch.nn.CrossEntropyLoss())
    w = model.parameters
    expected = model.hessian_vector(w, X, CLASSES, w)
    setting = torch.autocast("cpu", torch.bfloat16) if mode == "autocast" else getattr(torch, mode)()
    with setting:
        model = Differentiable(network, torch.nn.CrossEntropyLoss())
        np.testing.assert_array_equal(model.hessian_vector(w, X, CLASSES, w), expected)
        outputs = model.outputs(X)
    np.testing.assert_array_equal(outputs, network(torch.tensor(X)).detach().numpy())


# -- details of torch ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_any_precision_is_measured_in_double(torch, dtype):
    network = to_torch(mlp()).to(getattr(torch, dtype))
    expected = to_torch(mlp()).to(getattr(torch, dtype)).to(torch.float64)
    model = Differentiable(network, torch.nn.CrossEntropyLoss(weight=torch.ones(3)))
    np.testing.assert_array_equal(model.outputs(X), expected(torch.tensor(X)).detach().numpy())
    assert model.gradient(model.parameters, X, CLASSES).dtype == np.float64
    assert next(network.parameters()).dtype == getattr(torch, dtype)


def test_activations_in_place(torch):
    usual, inplace = (
        torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(inplace=flag), torch.nn.Linear(4, 3))
        for flag in (False, True)
    )
    inplace.load_state_dict(usual.state_dict())
    for number in (1, 2):
        maps = [
            Differentiable(one).linearized_tail(number, Differentiable(usual).values(X)[number][0])
            for one in (usual, inplace)
        ]
        u = np.ones(maps[0].value.shape)
        np.testing.assert_array_equal(maps[0].vjp(u), maps[1].vjp(u))
    assert inplace[1].inplace


def test_hooks_that_are_part_of_the_model_are_kept(torch):
    layer = torch.nn.Linear(5, 3)
    plain = layer.weight.detach().clone()
    from torch.nn.utils import parametrizations

    parametrizations.weight_norm(layer)
    model = Differentiable(layer, torch.nn.MSELoss())
    np.testing.assert_allclose(
        model.outputs(X), X @ plain.double().numpy().T + layer.bias.detach().double().numpy(), atol=1e-6
    )
    gradient = model.gradient(model.parameters, X, TARGETS)
    close(gradient, differences(lambda w: model.loss(w, X, TARGETS), model.parameters)[0])


@pytest.mark.parametrize("kept", ["weights of pruning", "an output"])
def test_a_model_of_torch_that_keeps_what_it_computed(torch, kept):
    from torch.nn.utils import prune

    layer = torch.nn.Linear(5, 3).double()
    if kept == "an output":
        layer.last = layer(torch.tensor(X))
    else:
        prune.l1_unstructured(layer, "weight", amount=0.4)
        layer(torch.tensor(X))
    model = Differentiable(layer, torch.nn.MSELoss())
    np.testing.assert_array_equal(model.outputs(X), layer(torch.tensor(X)).detach().numpy())
    gradient = model.gradient(model.parameters, X, TARGETS)
    close(gradient, differences(lambda w: model.loss(w, X, TARGETS), model.parameters)[0])
    assert (np.abs(gradient) > 0).sum() == (3 + 9 if kept == "weights of pruning" else 18)


def test_compiled_models_are_measured_as_written(torch):
    network = to_torch(mlp())
    compiled = torch.compile(network, backend="eager")
    loss = torch.nn.CrossEntropyLoss()
    found, expected = Differentiable(compiled, loss), Differentiable(network, loss)
    w = expected.parameters
    np.testing.assert_array_equal(parameter_vector(compiled), w)
    one, other = (model.hessian_vector(w, X, CLASSES, w) for model in (found, expected))
    np.testing.assert_array_equal(one, other)
    assert [slot.name for slot in found.slots] == [slot.name for slot in expected.slots]


@pytest.mark.parametrize("kind", ["attention", "recurrence"])
def test_kernels_that_are_not_all_derived_twice(torch, kind):
    class Last(torch.nn.Module):
        def __init__(self, encoder):
            super().__init__()
            self.encoder, self.head = encoder, torch.nn.Linear(4, 3)

        def forward(self, x):
            h = self.encoder(x)
            return self.head((h[0] if isinstance(h, tuple) else h)[:, -1])

    torch.manual_seed(0)
    if kind == "attention":
        encoder = torch.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    else:
        encoder = torch.nn.LSTM(4, 4, batch_first=True)
    model = Differentiable(Last(encoder), torch.nn.CrossEntropyLoss())
    rng = np.random.default_rng(0)
    x, y, w = rng.standard_normal((6, 3, 4)), CLASSES[:6], model.parameters
    v = rng.standard_normal(len(w))
    assert model.layers == ()
    product = model.hessian_vector(w, x, y, v)
    close(product, differences(lambda t: model.gradient(w + t[0] * v, x, y), np.zeros(1))[:, 0], 1e-6)
    u = rng.standard_normal((6, 3))
    assert (u * model.linearized(x).jvp(x)).sum() == pytest.approx(
        (model.linearized(x).vjp(u) * x).sum(), rel=1e-10
    )


def test_targets_of_torch(torch):
    network = to_torch(linear(5, 1, 0))
    model = Differentiable(network, torch.nn.BCEWithLogitsLoss())
    truth = (CLASSES > 0)[:, None]
    w = model.parameters
    assert model.loss(w, X, truth) == model.loss(w, torch.tensor(X), torch.tensor(truth, dtype=torch.float32))
