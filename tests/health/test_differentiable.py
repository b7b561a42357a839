"""Parameters, layers and derivatives of models, against finite differences and one another."""

import numpy as np
import pytest
from hypothesis import given, settings
from tests.health.networks import (
    CLASSES,
    RECORDS,
    TARGETS,
    X,
    close,
    differences,
    every_kind,
    linear,
    mlp,
)
from tests.strategies import architectures, deterministic

from chainrule import nn
from chainrule.exports import to_torch
from chainrule.health import Differentiable, parameter_vector
from chainrule.health.differentiable import Linearization
from chainrule.health.libraries import library_of
from chainrule.tape import tensor as tape_tensor

# -- parameters ----------------------------------------------------------------------------------------


def test_the_vector_is_the_parameters_in_order():
    network = mlp(dtype=np.float32)
    vector = parameter_vector(network)
    assert vector.dtype == np.float64
    expected = np.concatenate([one.data.ravel() for one in network.parameters()])
    np.testing.assert_array_equal(vector, expected)
    model = Differentiable(network)
    np.testing.assert_array_equal(model.parameters, vector)
    assert [slot.name for slot in model.slots] == [name for name, _ in network.named_parameters()]
    for slot, one in zip(model.slots, network.parameters(), strict=True):
        np.testing.assert_array_equal(slot.view(vector), one.data)


def test_parameters_can_be_set():
    model = Differentiable(mlp())
    other = np.arange(model.n_parameters) / 10.0
    model.parameters = other
    np.testing.assert_array_equal(model.parameters, other)
    with pytest.raises(ValueError, match=r"parameters must have shape \(79,\); got \(3,\)"):
        model.parameters = np.zeros(3)


def test_frozen_parameters_are_constants():
    network = mlp()
    network[0].requires_grad_(False)
    model = Differentiable(network, nn.MSELoss())
    assert [slot.name for slot in model.slots] == ["2.weight", "2.bias", "4.weight", "4.bias"]
    assert len(parameter_vector(network)) == model.n_parameters
    gradient = model.gradient(model.parameters, X, TARGETS)
    close(gradient, differences(lambda w: model.loss(w, X, TARGETS), model.parameters)[0])
    network.requires_grad_(False)
    assert parameter_vector(network).shape == (0,)
    with pytest.raises(ValueError, match="module has no parameter that requires a gradient"):
        Differentiable(network, nn.MSELoss()).gradient(np.empty(0), X, TARGETS)


# -- derivatives ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", RECORDS)
def test_gradient_and_hessian_by_finite_differences(record):
    network = mlp(record)
    model = Differentiable(network, nn.CrossEntropyLoss())
    w = model.parameters
    gradient = model.gradient(w, X, CLASSES)
    close(gradient, differences(lambda v: model.loss(v, X, CLASSES), w)[0])
    hessian = model.hessian(w, X, CLASSES)
    close(hessian.gradient, gradient, 1e-15)
    assert hessian.loss == pytest.approx(nn.CrossEntropyLoss()(network(X), CLASSES), rel=1e-14)
    v = np.random.default_rng(1).standard_normal(len(w))
    product = hessian(v)
    along = differences(lambda t: model.gradient(w + t[0] * v, X, CLASSES), np.zeros(1))[:, 0]
    close(product, along, 1e-6)


def test_the_gradient_is_that_of_backward():
    network = every_kind().eval()
    model = Differentiable(network, "half_squared_error")
    gradient = model.gradient(model.parameters, X, TARGETS)
    nn.HalfSquaredErrorLoss()(network(tape_tensor(X)), TARGETS).backward()
    close(gradient, np.concatenate([one.grad.data.ravel() for one in network.parameters()]), 1e-14)


def test_both_libraries_agree(torch):
    network = every_kind().eval()
    mine = Differentiable(network, nn.CrossEntropyLoss())
    theirs = Differentiable(to_torch(network), torch.nn.CrossEntropyLoss())
    assert [slot.name for slot in mine.slots] == [slot.name for slot in theirs.slots]
    assert [layer.name for layer in mine.layers] == [layer.name for layer in theirs.layers]
    assert [layer.kinds for layer in mine.layers] == [layer.kinds for layer in theirs.layers]
    w, v = mine.parameters, np.random.default_rng(2).standard_normal(mine.n_parameters)
    np.testing.assert_array_equal(w, theirs.parameters)
    close(mine.outputs(X), theirs.outputs(X), 1e-12)
    assert mine.loss(w, X, CLASSES) == pytest.approx(theirs.loss(w, X, CLASSES), rel=1e-12)
    close(mine.gradient(w, X, CLASSES), theirs.gradient(w, X, CLASSES), 1e-12)
    close(mine.hessian_vector(w, X, CLASSES, v), theirs.hessian_vector(w, X, CLASSES, v), 1e-11)


def test_a_whole_hessian_of_torch(torch):
    network = to_torch(mlp("gelu"))
    loss = torch.nn.CrossEntropyLoss()
    model = Differentiable(network, loss)
    names = [name for name, _ in network.named_parameters()]
    shapes = [one.shape for one in network.parameters()]
    sizes = [one.numel() for one in network.parameters()]

    def of_vector(w):
        parts = [part.reshape(shape) for part, shape in zip(w.split(sizes), shapes, strict=True)]
        state = dict(zip(names, parts, strict=True))
        return loss(torch.func.functional_call(network, state, torch.tensor(X)), torch.tensor(CLASSES))

    expected = torch.autograd.functional.hessian(of_vector, torch.tensor(model.parameters)).numpy()
    products = model.hessian(model.parameters, X, CLASSES)
    close(np.stack([products(unit) for unit in np.eye(model.n_parameters)]), expected, 1e-12)
    assert products.n_products == model.n_parameters


@pytest.mark.parametrize("of", ["chainrule", "torch"])
def test_products_with_the_jacobian(of, request):
    network = every_kind()
    module = network if of == "chainrule" else request.getfixturevalue("torch") and to_torch(network)
    model = Differentiable(module)
    linear_map = model.linearized(X)
    close(linear_map.value, network.copy().eval()(X), 1e-13)
    rng = np.random.default_rng(3)
    u, v = rng.standard_normal((12, 3)), rng.standard_normal((12, 5))
    assert (u * linear_map.jvp(v)).sum() == pytest.approx((linear_map.vjp(u) * v).sum(), rel=1e-12)
    along = differences(lambda t: model.outputs(X + t[0] * v), np.zeros(1))
    close(linear_map.jvp(v).ravel(), along[:, 0])


@pytest.mark.parametrize("of", ["chainrule", "torch"])
def test_functions_without_much_of_a_jacobian(of, request):
    module = nn.Linear(2, 2)
    module = module if of == "chainrule" else request.getfixturevalue("torch") and to_torch(module)
    library = library_of(module)
    x = np.array([[1.0, 2.0]])
    identity = Linearization(library, lambda h: h, x)
    np.testing.assert_array_equal(identity.value, x)
    np.testing.assert_array_equal(identity.vjp(3 * x), 3 * x)
    np.testing.assert_array_equal(identity.jvp(3 * x), 3 * x)
    for constant in (lambda h: library.leaf(np.ones((1, 3))), lambda h: (h * 0.0).detach()):
        flat = Linearization(library, constant, x)
        assert not flat.vjp(np.ones(flat.value.shape)).any()
        assert not flat.jvp(x).any()
        assert flat.jvp(x).shape == flat.value.shape


@pytest.mark.parametrize("of", ["chainrule", "torch"])
def test_a_loss_that_is_linear_in_the_parameters(of, request):
    module = linear(2, 1, 0)
    module = module if of == "chainrule" else request.getfixturevalue("torch") and to_torch(module)
    model = Differentiable(module, lambda z, y: z.sum())
    products = model.hessian(model.parameters, X[:, :2], np.zeros(12))
    close(products.gradient, [*X[:, :2].sum(axis=0), 12.0], 1e-14)
    assert not products(np.ones(3)).any()


@pytest.mark.parametrize("of", ["chainrule", "torch"])
def test_products_at_parameters_that_were_left(of, request):
    module, loss = mlp(), nn.MSELoss()
    if of == "torch":
        module, loss = to_torch(module), request.getfixturevalue("torch").nn.MSELoss()
    model = Differentiable(module, loss)
    products = model.hessian(model.parameters, X, TARGETS)
    model.parameters = 2 * model.parameters
    with pytest.raises(RuntimeError, match="modified by an in-?place operation"):
        products(model.parameters)


# -- layers --------------------------------------------------------------------------------------------


def test_a_chain_is_read_as_layers():
    layers = Differentiable(every_kind()).layers
    assert [(layer.name, layer.kinds) for layer in layers] == [
        ("0", ("Linear", "BatchNorm1d", "Tanh", "Dropout")),
        ("4", ("Residual", "LayerNorm")),
        ("6.0", ("Linear", "GELU")),
        ("7", ("Linear",)),
    ]


def test_what_comes_before_the_first_linear_layer():
    first = Differentiable(nn.Sequential(nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2))).layers
    assert [layer.kinds for layer in first] == [("BatchNorm1d", "Tanh"), ("Linear",)]
    idle = Differentiable(nn.Sequential(nn.Dropout(0.1), nn.Linear(5, 2), nn.ReLU())).layers
    assert [(layer.name, layer.kinds) for layer in idle] == [("1", ("Dropout", "Linear", "ReLU"))]


def test_torch_layers(torch):
    net = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(8, 4),
        torch.nn.PReLU(),
        torch.nn.Identity(),
        torch.nn.Bilinear(4, 4, 2),
    )
    assert [layer.kinds for layer in Differentiable(net).layers] == [
        ("Flatten", "Linear", "PReLU", "Identity"),
        ("Bilinear",),
    ]


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = mlp()

    def forward(self, x):
        return 2.0 * self.inner(x)


class Doubled(nn.Sequential):
    def forward(self, x):
        return 2.0 * super().forward(x)


class Named(nn.Sequential):
    """Another constructor, the same forward."""

    def __init__(self, width):
        super().__init__(nn.Linear(width, 3), nn.Tanh())


def test_only_what_computes_as_a_chain_is_one():
    assert Differentiable(Wrapped()).layers == ()
    assert Differentiable(Doubled(nn.Linear(5, 3))).layers == ()
    assert Differentiable(nn.Linear(5, 3)).layers == ()
    assert [layer.kinds for layer in Differentiable(Named(5)).layers] == [("Linear", "Tanh")]
    inside = Differentiable(nn.Sequential(Doubled(nn.Linear(5, 3)), nn.ReLU(), Wrapped())).layers
    assert [layer.kinds for layer in inside] == [("Doubled", "ReLU"), ("Wrapped",)]


def test_values_of_the_layers():
    network = every_kind()
    values = Differentiable(network).values(X)
    measured = network.copy().eval()
    np.testing.assert_array_equal(values[0][1], X)
    np.testing.assert_array_equal(values[1][0], measured[0](X))
    np.testing.assert_array_equal(values[1][1], measured[:4](X))
    np.testing.assert_array_equal(values[2][0], measured[:5](X))
    np.testing.assert_array_equal(values[-1][1], measured(X))


# -- random networks -----------------------------------------------------------------------------------


@settings(deterministic, max_examples=40)
@given(architectures())
def test_derivatives_of_random_networks(case):
    """Adjoints, symmetry, and the chain rule: the layers' Jacobians, multiplied, are that of the whole."""
    network, width = case
    rng = np.random.default_rng(0)
    model = Differentiable(network, nn.HalfSquaredErrorLoss())
    x = rng.standard_normal((3, width))
    v = rng.standard_normal(x.shape)
    whole = model.linearized(x)
    u = rng.standard_normal(whole.value.shape)
    forward, back = whole.jvp(v), whole.vjp(u)
    scale = np.linalg.norm(forward) * np.linalg.norm(u) + np.linalg.norm(back) * np.linalg.norm(v)
    assert abs((u * forward).sum() - (back * v).sum()) <= 1e-12 * scale
    assert model.layers
    pushed, pulled = v, u
    values = model.values(x)
    np.testing.assert_array_equal(values[-1][1], whole.value)
    for number in range(1, len(model.layers) + 1):
        pushed = model.linearized_layer(number, values[number - 1][1]).jvp(pushed)
    for number in range(len(model.layers), 0, -1):
        z, before = values[number][0], values[number - 1][1]
        pulled = model.linearized_tail(number, z).vjp(pulled)
        pulled = model.linearized_head(number, before).vjp(pulled)
    np.testing.assert_allclose(pushed, forward, rtol=1e-9, atol=1e-12 * np.abs(forward).max())
    np.testing.assert_allclose(pulled, back, rtol=1e-9, atol=1e-12 * np.abs(back).max())
    products = model.hessian(model.parameters, x, np.zeros(whole.value.shape))
    one, other = rng.standard_normal((2, model.n_parameters))
    left, right = products(other), products(one)
    scale = np.linalg.norm(left) * np.linalg.norm(one) + np.linalg.norm(right) * np.linalg.norm(other)
    assert abs(one @ left - right @ other) <= 1e-10 * scale


# -- losses --------------------------------------------------------------------------------------------


def test_losses_by_name_are_those_of_the_modules():
    network = mlp()
    for name, module, y in (
        ("softmax_cross_entropy", nn.CrossEntropyLoss(), CLASSES),
        ("half_squared_error", nn.HalfSquaredErrorLoss(), TARGETS),
    ):
        model = Differentiable(network, name)
        assert model.loss(model.parameters, X, y) == pytest.approx(module(network(X), y), rel=1e-14)


def test_losses_with_class_weights_and_sums():
    network = mlp(dtype=np.float32)
    double = network.copy().to(np.float64)
    for loss in (nn.CrossEntropyLoss(weight=[1.0, 2.0, 0.5]), nn.CrossEntropyLoss(reduction="sum")):
        model = Differentiable(network, loss)
        assert model.loss(model.parameters, X, CLASSES) == pytest.approx(loss(double(X), CLASSES), rel=1e-13)


def test_functions_as_losses():
    model = Differentiable(mlp(), lambda z, y: ((z - y) ** 2).mean())
    w = model.parameters
    assert model.loss(w, X, TARGETS) == pytest.approx(nn.MSELoss()(mlp()(X), TARGETS))


def test_errors_name_the_argument(torch):
    with pytest.raises(
        TypeError, match=r"module must be a chainrule.nn.Module or a torch.nn.Module; got int"
    ):
        Differentiable(3)
    with pytest.raises(TypeError, match="module must be .* got str"):
        parameter_vector("net")
    with pytest.raises(TypeError, match=r"loss must be a loss module or a function \(outputs, y\); got int"):
        Differentiable(mlp(), 3)
    with pytest.raises(TypeError, match="loss must be a loss of PyTorch, as the module is"):
        Differentiable(to_torch(mlp()), nn.MSELoss())
    with pytest.raises(TypeError, match="loss must be a loss of PyTorch, as the module is"):
        Differentiable(to_torch(mlp()), "half_squared_error")
    with pytest.raises(ValueError, match="half_squared_eror"):
        Differentiable(mlp(), "half_squared_eror")
    model = Differentiable(mlp(), nn.MSELoss(reduction="none"))
    with pytest.raises(ValueError, match=r"loss must return one number.*got shape \(12, 3\)"):
        model.loss(model.parameters, X, TARGETS)
    with pytest.raises(ValueError, match="loss must be given"):
        Differentiable(mlp()).gradient(model.parameters, X, TARGETS)
    with pytest.raises(ValueError, match=r"X must have one row an example, at least one; got shape \(5,\)"):
        model.outputs(X[0])
    with pytest.raises(TypeError, match="X must be numeric; got dtype <U1"):
        model.outputs([["a"]])
    with pytest.raises(TypeError, match="y must be numeric"):
        model.loss(model.parameters, X, ["a"] * 12)
    with pytest.raises(ValueError, match=r"v must have shape \(79,\); got \(2,\)"):
        Differentiable(mlp(), nn.MSELoss()).hessian(model.parameters, X, TARGETS)(np.ones(2))
