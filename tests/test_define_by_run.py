"""Modules that only the tape can run: through the same ``fit``, held to the engine where both can."""

import numpy as np
import pytest

import chainrule
from chainrule import nn
from chainrule.define_by_run import outline
from chainrule.tape import Tensor

QUIET = {"verbose": 0, "seed": 3}


class Branching(nn.Module):
    """A forward that no table of operations can say: it depends on the values."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 16, rng=0)
        self.scale = nn.Parameter(np.ones(16, np.float32))
        self.outer = nn.Linear(16, 2, rng=1)

    def forward(self, x):
        h = np.tanh(self.inner(x)) * self.scale
        for _ in range(2 if float(h.data.mean()) > 0 else 3):
            h = h + 0.1 * np.sin(h)
        return self.outer(h)


class Written(nn.Module):
    """A Sequential written out by hand, without a ``lower``."""

    def __init__(self, chain):
        super().__init__()
        self.chain = chain

    def forward(self, x):
        for layer in self.chain:
            x = layer(x)
        return x


@pytest.fixture
def moons():
    from sklearn.datasets import make_moons

    return make_moons(200, noise=0.1, random_state=0)


def chain(seed=0):
    return nn.Sequential(
        nn.Linear(2, 12, rng=seed), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2),
        nn.Residual(nn.Sequential(nn.Linear(12, 12, rng=seed + 1), nn.GELU())), nn.LayerNorm(12),
        nn.Linear(12, 2, rng=seed + 2),
    )  # fmt: skip


def test_a_module_with_any_forward_trains(moons):
    X, y = moons
    net = Branching()
    history = chainrule.fit(
        net,
        X,
        y,
        loss=nn.CrossEntropyLoss(),
        epochs=60,
        optimizer=chainrule.optim.Adam(lr=0.01),
        metrics=["accuracy"],
        **QUIET,
    )
    assert history.executor == "tape"
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["accuracy"][-1] > 0.9
    predicted = chainrule.predict(net, X)
    np.testing.assert_allclose(predicted, net(X.astype(np.float32)), rtol=1e-6)


def test_the_engine_runs_what_it_can(moons):
    history = chainrule.fit(chain(), *moons, loss=nn.CrossEntropyLoss(), epochs=1, **QUIET)
    assert history.executor == "engine"


def test_tape_and_engine_take_the_same_path(moons):
    """Batch norm, dropout and a ragged last batch included: masks depend on seed, step, layer, row, unit."""
    X, y = moons
    nets = {}
    for executor in ("tape", "engine", "reference"):
        nets[executor] = chain().to(np.float64)
        history = chainrule.fit(
            nets[executor], X, y, loss=nn.CrossEntropyLoss(), epochs=3, batch_size=33, l2=0.01, clip_norm=1.0,
            executor=executor, **QUIET,
        )  # fmt: skip
        assert history.executor == executor
    expected = nets["reference"].state_dict()
    for executor in ("tape", "engine"):
        found = nets[executor].state_dict()
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-7, atol=1e-9, err_msg=f"{executor} {name}")


def test_written_by_hand_is_the_same(moons):
    """Without a plan the layers have other numbers, and so other masks; without dropout nothing differs."""
    X, y = moons
    results = []
    for make in (lambda net: net, Written):
        net = nn.Sequential(*[layer for layer in chain() if not isinstance(layer, nn.Dropout)]).to(np.float64)
        history = chainrule.fit(make(net), X, y, loss=nn.CrossEntropyLoss(), epochs=3, **QUIET)
        results.append((history.executor, history["loss"], net.state_dict()))
    assert [executor for executor, _, _ in results] == ["engine", "tape"]
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-9)
    for name, array in results[0][2].items():
        np.testing.assert_allclose(results[1][2][name], array, rtol=1e-7, atol=1e-9)


def test_one_seed_gives_one_result(moons):
    nets = [Written(chain()) for _ in range(2)]
    for net in nets:
        chainrule.fit(net, *moons, loss=nn.CrossEntropyLoss(), epochs=2, **QUIET)
    for first, second in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        np.testing.assert_array_equal(first.data, second.data)


def test_frozen_parameters_stay(moons):
    net = chain()
    net[0].requires_grad_(False)
    before, other = net[0].weight.data.copy(), net[-1].weight.data.copy()
    history = chainrule.fit(net, *moons, loss=nn.CrossEntropyLoss(), epochs=2, l2=0.1, **QUIET)
    assert history.executor == "tape"
    np.testing.assert_array_equal(net[0].weight.data, before)
    assert (net[-1].weight.data != other).all()
    with pytest.raises(NotImplementedError, match=r"Linear \(0\): weight requires no gradient"):
        chainrule.fit(net, *moons, loss=nn.CrossEntropyLoss(), executor="engine", **QUIET)


def test_hooks_are_called(moons):
    net, seen = chain(), []
    handle = net[2].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    history = chainrule.fit(net, *moons, loss=nn.CrossEntropyLoss(), epochs=1, batch_size=50, **QUIET)
    assert history.executor == "tape"
    assert seen.count((50, 12)) == 4
    handle.remove()
    assert chainrule.fit(net, *moons, loss=nn.CrossEntropyLoss(), epochs=1, **QUIET).executor == "engine"


def test_a_subclass_with_a_forward_of_its_own_is_not_lowered(moons):
    class Doubled(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    net = Doubled(nn.Linear(2, 2, rng=0))
    history = chainrule.fit(net, *moons, loss=nn.CrossEntropyLoss(), epochs=1, **QUIET)
    assert history.executor == "tape"
    X = moons[0].astype(np.float32)
    np.testing.assert_allclose(chainrule.predict(net, X), 2 * net[0](X), rtol=1e-6)


def test_shared_layers_train(moons):
    layer = nn.Linear(2, 2, rng=0)
    net = nn.Sequential(layer, nn.Tanh(), layer)
    history = chainrule.fit(net, *moons, loss=nn.CrossEntropyLoss(), epochs=5, **QUIET)
    assert history.executor == "tape"
    assert net[0] is net[2]
    assert history["loss"][-1] < history["loss"][0]


def test_finite_differences_take_the_same_path(moons):
    """Claim 8.1: backpropagation is not gradient descent, which needs a gradient from wherever."""
    X, y = moons
    results = {}
    for executor in ("reference", "finite_differences"):
        for optimizer in ("sgd", "adam"):
            net = nn.Sequential(nn.Linear(2, 6, rng=0), nn.Tanh(), nn.Linear(6, 2, rng=1)).to(np.float64)
            chainrule.fit(
                net, X[:60], y[:60], loss=nn.CrossEntropyLoss(), epochs=2, optimizer=optimizer,
                executor=executor, **QUIET,
            )  # fmt: skip
            results[executor, optimizer] = np.concatenate([p.data.ravel() for p in net.parameters()])
    for optimizer in ("sgd", "adam"):
        exact = results["reference", optimizer]
        np.testing.assert_allclose(results["finite_differences", optimizer], exact, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (
            lambda self, x: x.sum() * self.w,
            r"module must give shape \(2, outputs\) for two rows of X; got \(1,\)",
        ),
        (lambda self, x: x.data, "forward must return a Tensor; got ndarray"),
    ],
)
def test_what_is_wrong_is_named(forward, message):
    module = type("Wrong", (nn.Module,), {"forward": forward})()
    module.w = nn.Parameter(np.ones(1))
    with pytest.raises((ValueError, TypeError), match=message):
        outline(module, "half_squared_error", np.zeros((3, 2)))


def test_nothing_to_train():
    module = type("Nothing", (nn.Module,), {"forward": lambda self, x: x})()
    with pytest.raises(ValueError, match="there is nothing to train"):
        chainrule.fit(module, np.zeros((3, 1)), np.zeros(3), loss="half_squared_error", **QUIET)


def test_a_gradient_through_the_chapters_example():
    """Section 3's numbers, on the tape through modules."""
    net = nn.Sequential(nn.Linear(1, 1, dtype=np.float64), nn.Sigmoid(), nn.Linear(1, 1, dtype=np.float64))
    net.load_state_dict({"0.weight": [[0.5]], "0.bias": [0.0], "2.weight": [[-1.0]], "2.bias": [0.1]})
    loss = nn.HalfSquaredErrorLoss()
    value = loss(net(Tensor(np.array([[1.0]]))), np.array([[0.0]]))
    value.backward()
    found = {name: parameter.grad.item() for name, parameter in net.named_parameters()}
    assert value.item() == pytest.approx(0.1365, abs=5e-5)
    assert found == pytest.approx(
        {"0.weight": 0.1228, "0.bias": 0.1228, "2.weight": -0.3252, "2.bias": -0.5225}, abs=5e-5
    )
    optimizer = chainrule.optim.SGD(net.parameters(), lr=0.5)
    optimizer.step()
    after = net(np.array([[1.0]])).item()
    assert after == pytest.approx(-0.1355, abs=5e-5)
    assert loss(net(np.array([[1.0]])), np.array([[0.0]])) == pytest.approx(0.00918, abs=5e-6)
