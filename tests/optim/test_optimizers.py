"""Optimizers with parameters of their own, against PyTorch's; groups, state, and descriptions for ``fit``."""

import copy
import itertools
import math
import pickle

import numpy as np
import pytest
from tests.optim.problems import give, gradients, leaf, quadratic, rosenbrock, start

from chainrule import optim
from chainrule.optim import SGD, Adam, AdamW, Optimizer, RMSprop

# -- parity with PyTorch ---------------------------------------------------------------------------

SHAPES = {"matrix": (4, 5), "vector": (9,), "number": ()}


def options():
    """Every combination of options."""
    for momentum, decay, maximize in itertools.product((0.0, 0.9), (0.0, 0.1), (False, True)):
        shared = {"weight_decay": decay, "maximize": maximize}
        for dampening, nesterov in ((0.0, False), (0.3, False), (0.0, True)):
            if momentum or not nesterov:
                yield "SGD", shared | {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        for centered in (False, True):
            yield "RMSprop", shared | {"momentum": momentum, "centered": centered, "alpha": 0.9, "eps": 1e-4}
    for decay, maximize, amsgrad, decoupled in itertools.product((0.0, 0.1), *[(False, True)] * 3):
        settings = {"weight_decay": decay, "maximize": maximize, "amsgrad": amsgrad}
        name, further = ("AdamW", {}) if decoupled else ("Adam", {"betas": (0.8, 0.95), "eps": 1e-4})
        yield name, settings | further
    yield "Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}
    for name in ("SGD", "Adam", "AdamW", "RMSprop"):
        yield name, {}


def pieces(vector):
    """A vector of 30 numbers as arrays of ``SHAPES``."""
    first = 0
    for shape in SHAPES.values():
        size = math.prod(shape)
        yield vector[first : first + size].reshape(shape)
        first += size


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="parity with PyTorch needs torch")


def both(torch, name, settings):
    """Our optimizer and theirs, each with its parameters."""
    ours = [leaf(piece) for piece in pieces(start())]
    theirs = [torch.nn.Parameter(torch.tensor(piece.copy())) for piece in pieces(start())]
    return (
        ours, getattr(optim, name)(ours, **settings), theirs, getattr(torch.optim, name)(theirs, **settings)
    )  # fmt: skip


def step_both(torch, ours, optimizer, theirs, their_optimizer, table, rates):
    """Steps with the same gradients; in every third the first parameter has none."""
    for number, (rate, g) in enumerate(zip(rates, table, strict=True)):
        optimizer.param_groups[0]["lr"] = their_optimizer.param_groups[0]["lr"] = rate
        for our, their, piece in zip(ours, theirs, pieces(g), strict=True):
            give(our, piece.copy())
            their.grad = torch.tensor(piece.copy())
        if number % 3 == 1:
            ours[0].grad = theirs[0].grad = None
        optimizer.step()
        their_optimizer.step()
        for our, their in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(our.data, their.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("name", "settings"), list(options()))
def test_torch(torch, name, settings):
    case = both(torch, name, settings | {"lr": 0.05})
    step_both(torch, *case, gradients(), np.linspace(0.05, 0.01, 50))
    steps = [kept["step"] for kept in case[1].state.values()]
    assert steps == [33, 50, 50]  # each parameter's own


@pytest.mark.parametrize(("name", "settings"), list(options()))
def test_state_goes_from_torch_to_us_and_back(torch, name, settings):
    """In the middle of a training, into optimizers that were made with other settings."""
    ours, optimizer, theirs, their_optimizer = both(torch, name, settings | {"lr": 0.05})
    rates = np.full(10, 0.05)
    step_both(torch, ours, optimizer, theirs, their_optimizer, gradients(10), rates)
    ours_after, theirs_after = getattr(optim, name)(ours), getattr(torch.optim, name)(theirs)
    ours_after.load_state_dict(their_optimizer.state_dict())
    saved = optimizer.state_dict()
    for kept in saved["state"].values():
        for key, value in kept.items():
            kept[key] = torch.tensor(value, dtype=torch.float32 if key == "step" else None)
    theirs_after.load_state_dict(saved)
    for key, value in optimizer.param_groups[0].items():
        assert ours_after.param_groups[0][key] == value, key
    step_both(torch, ours, ours_after, theirs, theirs_after, gradients(10, seed=3), rates)


def test_defaults_are_those_of_torch(torch):
    for name in ("SGD", "Adam", "AdamW", "RMSprop"):
        ours, theirs = getattr(optim, name)(), getattr(torch.optim, name)([torch.zeros(1)])
        for setting, value in ours.defaults.items():
            assert theirs.defaults.get(setting, value) == value, (name, setting)
        further = {"foreach", "fused", "capturable", "differentiable"}
        assert set(theirs.defaults) - further <= set(ours.defaults), name


@pytest.mark.parametrize("momenta", [(0.0, 0.9), (0.9, 0.0, 0.9)])
@pytest.mark.parametrize("name", ["SGD", "RMSprop"])
def test_momentum_may_change_on_the_way(torch, name, momenta):
    """What an earlier stretch did not need is not there afterwards."""
    ours, optimizer, theirs, their_optimizer = both(torch, name, {"lr": 0.05})
    for momentum in momenta:
        for group in (optimizer.param_groups[0], their_optimizer.param_groups[0]):
            group["momentum"] = momentum
        if name == "RMSprop" and momentum and "momentum_buffer" not in optimizer.state[ours[0]]:
            for their in theirs:  # PyTorch makes the buffer at the first step only, and then fails without
                if their_optimizer.state[their]:
                    their_optimizer.state[their]["momentum_buffer"] = torch.zeros_like(their)
        step_both(torch, ours, optimizer, theirs, their_optimizer, gradients(6), np.full(6, 0.05))


# -- steps -----------------------------------------------------------------------------------------

MAKE = {
    "sgd": lambda p: SGD(p, lr=0.01, momentum=0.9),
    "adam": lambda p: Adam(p, lr=0.1),
    "amsgrad": lambda p: Adam(p, lr=0.1, amsgrad=True),
    "adamw": lambda p: AdamW(p, lr=0.1),
    "rmsprop": lambda p: RMSprop(p, lr=0.01, momentum=0.9),
    "centered": lambda p: RMSprop(p, lr=0.01, momentum=0.9, centered=True),
}


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_quadratic_is_brought_down(name, dtype):
    w = leaf(np.ones(6), dtype)
    optimizer = MAKE[name]([w])
    for _ in range(300):
        give(w, quadratic(w.data)[1])
        optimizer.step()
    assert w.data.dtype == dtype
    assert quadratic(w.data)[0] < 1e-3
    assert all(kept.dtype == dtype for key, kept in optimizer.state[w].items() if key != "step")


def test_step_changes_the_array_in_place_and_says_so():
    w, still = leaf([1.0, 2.0]), leaf([3.0])
    optimizer = SGD([w, still], lr=0.5)
    give(w, [1.0, 0.0])
    array = w.data
    assert optimizer.step() is None
    assert w.data is array
    np.testing.assert_array_equal(array, [0.5, 2.0])
    np.testing.assert_array_equal(w.grad.data, [1.0, 0.0])
    assert (w._version, still._version) == (1, 0)  # no gradient, no step
    assert dict(optimizer.state) == {w: {"step": 1}}


@pytest.mark.parametrize("name", MAKE)
def test_a_step_at_rate_zero_changes_nothing(name):
    w = leaf(start())
    optimizer = MAKE[name]([w])
    optimizer.param_groups[0]["lr"] = 0.0
    give(w, gradients()[0])
    optimizer.step()
    np.testing.assert_array_equal(w.data, start())


def test_step_calls_a_closure_first():
    from chainrule.tape import is_grad_enabled, no_grad

    w = leaf([1.0])
    optimizer = SGD([w], lr=0.5)

    def closure():
        assert is_grad_enabled()
        give(w, 2 * w.data)
        return float(w.data[0] ** 2)

    with no_grad():
        assert optimizer.step(closure) == 1.0
        assert optimizer.step(closure) == 0.0


@pytest.mark.parametrize("order", ["C", "F"])
def test_state_lies_as_its_parameter_does(order):
    w = leaf(0)
    w.data = np.array(np.ones((3, 4)), order=order)
    optimizer = Adam([w])
    give(w, np.ones((3, 4)))
    optimizer.step()
    restored = Adam([w])
    restored.load_state_dict(optimizer.state_dict())
    for state in (optimizer.state[w], restored.state[w]):
        assert {state[name].strides for name in ("exp_avg", "exp_avg_sq")} == {w.data.strides}


def test_a_gradient_of_another_shape_is_refused():
    w = leaf([1.0, 2.0])
    optimizer = SGD([w])
    give(w, [1.0])
    with pytest.raises(ValueError, match=r"a gradient must have its parameter's shape, \(2,\); got \(1,\)"):
        optimizer.step()


def test_zero_grad():
    w, none = leaf([1.0]), leaf([1.0])
    optimizer = SGD([w, none])
    give(w, [2.0])
    gradient = w.grad
    optimizer.zero_grad(set_to_none=False)
    assert w.grad.data is gradient.data
    assert (gradient.data, w.grad._version) == (0.0, 1)
    assert none.grad is None
    optimizer.zero_grad()
    assert w.grad is None


# -- parameter groups ------------------------------------------------------------------------------


def test_groups_have_settings_of_their_own():
    a, b, c = leaf([1.0]), leaf([1.0]), leaf([1.0])
    optimizer = SGD([{"params": [a]}, {"params": iter([b]), "lr": 0.5, "name": "head"}], lr=0.25)
    optimizer.add_param_group({"params": c, "momentum": 0.5})
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.5, 0.25]
    assert [group["params"] for group in optimizer.param_groups] == [[a], [b], [c]]
    assert optimizer.param_groups[1]["name"] == "head"
    for _ in range(2):
        for one in (a, b, c):
            give(one, [1.0])
        optimizer.step()
    assert [one.data.item() for one in (a, b, c)] == [0.5, 0.0, 1 - 0.25 - 0.25 * 1.5]
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step()
    assert a.data.item() == -0.5
    del optimizer.param_groups[0]["params"][0]
    optimizer.step()
    assert a.data.item() == -0.5
    assert set(optimizer.state_dict()["state"]) == {0, 1}


def test_the_given_dict_is_left_alone():
    group = {"params": [leaf([1.0])], "lr": 0.5}
    SGD([group])
    assert set(group) == {"params", "lr"}


def test_names():
    w, b = leaf([1.0]), leaf([1.0])
    optimizer = Adam([("weight", w), ("bias", b)])
    assert optimizer.param_groups[0]["params"] == [w, b]
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match="params must have names in all parameter groups, or in none"):
        optimizer.add_param_group({"params": [leaf([1.0])]})
    with pytest.raises(ValueError, match="params must have names for all of its parameters, or for none"):
        Adam([("weight", w), b])


SHARED = leaf([1.0])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(0.1), TypeError, r"iterable of Tensors, or None; got 0.1: write SGD\(lr=0.1\)"),
        (lambda: Adam(1), TypeError, r"write Adam\(lr=1\)"),
        (lambda: SGD(leaf([1.0])), TypeError, "iterable of Tensors in an order, .*; got Parameter"),
        (lambda: SGD({leaf([1.0])}), TypeError, "in an order, .*; got set"),
        (lambda: SGD([np.ones(2)]), TypeError, "changes Tensors; one of params is of type ndarray"),
        (lambda: SGD([("w", np.ones(2))]), TypeError, "of type ndarray"),
        (lambda: SGD([{"params": [leaf([1.0])]}, [leaf([1.0])]]), TypeError, "must be a dict; got list"),
        (lambda: SGD([]), ValueError, "params is empty"),
        (lambda: SGD(iter(())), ValueError, "params is empty"),
        (lambda: SGD([{"lr": 0.1}]), ValueError, "must have 'params'; got 'lr'"),
        (lambda: SGD([2 * leaf([1.0])]), ValueError, "can't optimize a non-leaf Tensor"),
        (lambda: SGD([SHARED, SHARED]), ValueError, "a parameter appears more than once"),
        (lambda: SGD([{"params": [SHARED]}, {"params": SHARED}]), ValueError, "appears more than once"),
        (lambda: SGD([{"params": [leaf([1.0])], "momentum": -1}]), ValueError, "momentum must lie"),
    ],
)  # fmt: skip
def test_wrong_parameters(make, error, message):
    with pytest.raises(error, match=message):
        make()


# -- state -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKE)
def test_going_on_from_a_saved_state_gives_the_same_bits(name):
    def steps(w, optimizer, table):
        for g in table:
            give(w, g)
            optimizer.step()

    w = leaf(start())
    optimizer = MAKE[name]([w])
    steps(w, optimizer, gradients(5))
    again = leaf(w.data)
    restored = MAKE[name]([again])
    saved = pickle.loads(pickle.dumps(optimizer.state_dict()))
    restored.load_state_dict(saved)
    copied = copy.deepcopy(optimizer)
    (third,) = copied.param_groups[0]["params"]
    more = gradients(5, seed=2)
    steps(w, optimizer, more)
    steps(again, restored, more)
    steps(third, copied, more)
    np.testing.assert_array_equal(again.data, w.data)
    np.testing.assert_array_equal(third.data, w.data)


def test_a_saved_state_is_plain_and_a_copy():
    w, b = leaf([[1.0, 2.0]]), leaf([3.0])
    optimizer = Adam([{"params": [w]}, {"params": [b], "lr": 0.5}])
    give(b, [1.0])
    optimizer.step()
    saved = optimizer.state_dict()
    assert set(saved["state"]) == {1}
    assert {key: type(value) for key, value in saved["state"][1].items()} == {
        "exp_avg": np.ndarray, "exp_avg_sq": np.ndarray, "step": int,
    }  # fmt: skip
    assert [(group["params"], group["lr"]) for group in saved["param_groups"]] == [([0], 1e-3), ([1], 0.5)]
    saved["state"][1]["exp_avg"][:] = 7.0
    saved["param_groups"][0]["lr"] = 7.0
    np.testing.assert_allclose(optimizer.state[b]["exp_avg"], [0.1])
    assert optimizer.param_groups[0]["lr"] == 1e-3
    optimizer.load_state_dict(saved)
    saved["state"][1]["exp_avg"][:] = 8.0
    assert optimizer.state[b]["exp_avg"] == [7.0]
    assert optimizer.param_groups[0]["lr"] == 7.0


def test_a_loaded_state_takes_the_dtype_of_its_parameter():
    double, single = leaf([1.0]), leaf([1.0], np.float32)
    optimizer = Adam([double])
    give(double, [1.0])
    optimizer.step()
    restored = Adam([single])
    restored.load_state_dict(optimizer.state_dict())
    assert restored.state[single]["exp_avg"].dtype == np.float32


def test_a_state_of_other_parameters_is_refused():
    optimizer, other = Adam([leaf([1.0, 2.0])]), Adam([leaf([1.0])])
    give(optimizer.param_groups[0]["params"][0], [1.0, 1.0])
    optimizer.step()
    saved = optimizer.state_dict()
    with pytest.raises(
        ValueError, match=r"exp_avg in state_dict must have its parameter's shape, \(1,\); got \(2,\)"
    ):
        other.load_state_dict(saved)
    assert dict(other.state) == {}  # as it was
    saved["state"] = {7: {}}
    saved["param_groups"][0]["params"] = [0]
    with pytest.raises(ValueError, match=r"state of parameters that are in no group: \[7\]"):
        other.load_state_dict(saved)
    with pytest.raises(ValueError, match=r"parameter groups of \[1\] parameters; got \[2\]"):
        other.load_state_dict(Adam([leaf([1.0]), leaf([1.0])]).state_dict())
    with pytest.raises(ValueError, match=r"parameter groups of \[1\] parameters; got \[1, 1\]"):
        other.load_state_dict(Adam([{"params": leaf([1.0])}, {"params": leaf([1.0])}]).state_dict())


# -- others ----------------------------------------------------------------------------------------


def test_an_optimizer_of_ones_own():
    """The signature is PyTorch's: parameters, and defaults of the groups."""

    class Sign(Optimizer):
        def step(self, closure=None):
            for group in self.param_groups:
                for tensor in group["params"]:
                    tensor.data -= group["lr"] * np.sign(tensor.grad.data)

    w = leaf([0.25, -0.25])
    optimizer = Sign([w], {"lr": 0.125})
    for _ in range(2):
        give(w, w.data)
        optimizer.step()
    np.testing.assert_array_equal(w.data, [0.0, 0.0])


def test_the_valley_of_rosenbrock():
    w = leaf([-1.0, 1.0])
    optimizer = Adam([w], lr=0.01)
    for _ in range(3000):
        give(w, rosenbrock(w.data)[1])
        optimizer.step()
    np.testing.assert_allclose(w.data, [1.0, 1.0], atol=1e-3)
