"""``watch`` on this library's loops: what it leaves behind, what it sees, what it calls a mistake."""

import copy
import json
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits

from chainrule import nn, optim, tensor
from chainrule.health.telemetry import recorded
from chainrule.health.watching import watch


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def mlp(activation=nn.ReLU, depth=1, width=32):
    layers, n = [], 64
    for k in range(depth):
        layers += [nn.Linear(n, width, rng=k), activation()]
        n = width
    return nn.Sequential(*layers, nn.Linear(n, 10, rng=99))


def train(net, optimizer, data, steps=60, batch=32, zero=True, watched=None):
    X, y = data
    losses = []
    for k in range(steps):
        rows = np.arange(k * batch, (k + 1) * batch) % len(X)
        if zero:
            optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(net(tensor(X[rows])), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if watched is not None:
            watched.loss(loss)
    return losses


def watched(net, optimizer, data, every=10, **how):
    with watch(net, optimizer, every=every) as w:
        train(net, optimizer, data, **how)
    return w.report()


def codes(report):
    return [one.code for one in report.findings]


def critical(report):
    return [one.code for one in report.findings if one.critical]


# --------------------------------------------------------------------------------- what is left behind


def attributes(net, optimizer):
    hooks = [(dict(m._forward_hooks), dict(m._forward_pre_hooks), sorted(vars(m))) for m in net.modules()]
    return hooks, [p._hooks for p in net.parameters()], sorted(vars(optimizer))


@pytest.mark.parametrize("fails", [False, True])
def test_leaves_nothing_behind(digits, fails):
    net = mlp()
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    before = attributes(net, optimizer)
    try:
        with watch(net, optimizer, every=1):
            train(net, optimizer, digits, steps=3)
            assert attributes(net, optimizer) != before
            if fails:
                raise KeyError("of the user's")
    except KeyError:
        assert fails
    assert attributes(net, optimizer) == before
    assert optimizer.step.__func__ is type(optimizer).step


def test_no_hooks_between_looks(digits):
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    clean = attributes(net, optimizer)[:2]
    with watch(net, optimizer, every=10) as w:
        train(net, optimizer, digits, steps=3)
        assert attributes(net, optimizer)[:2] == clean
        train(net, optimizer, digits, steps=6)  # the next is the tenth
        assert attributes(net, optimizer)[:2] != clean
    assert w.n_steps == 9


@pytest.mark.parametrize("make", [
    lambda p: optim.Adam(p, lr=1e-2),
    lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3),
])  # fmt: skip
def test_training_is_the_same_to_the_bit(digits, make):
    nets = [mlp(depth=2), mlp(depth=2)]
    optimizers = [make(net.parameters()) for net in nets]
    plain = train(nets[0], optimizers[0], digits)
    with watch(nets[1], optimizers[1], every=3):
        seen = train(nets[1], optimizers[1], digits)
    assert plain == seen
    for key, value in nets[0].state_dict().items():
        assert np.array_equal(value, nets[1].state_dict()[key])
    one, other = (optimizer.state_dict()["state"] for optimizer in optimizers)
    assert all(np.array_equal(one[k][name], other[k][name]) for k in one for name in one[k])


def test_copies_made_in_the_loop_are_not_watched(digits):
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer, every=1) as w:
        train(net, optimizer, digits, steps=2)
        twin, twin_optimizer = copy.deepcopy((net, optimizer))
        stored = pickle.loads(pickle.dumps(net))
        before = twin.state_dict()["0.weight"]
        train(twin, twin_optimizer, digits, steps=2)
        train(stored, optim.SGD(stored.parameters(), lr=0.1), digits, steps=2)
        assert w.n_steps == 2
        assert not np.array_equal(before, twin.state_dict()["0.weight"])
    assert len(w.report().snapshots) == 2


def test_scheduler_and_nested_watches(digits):
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer, every=5) as outer:
        scheduler = optim.lr_scheduler.StepLR(optimizer, 2)
        with watch(net, optimizer, every=1) as inner:
            train(net, optimizer, digits, steps=4)
            scheduler.step()
        train(net, optimizer, digits, steps=2)
    assert (outer.n_steps, inner.n_steps) == (6, 4)
    assert [one.step for one in outer.report().snapshots] == [1, 2, 5]
    assert "step" not in vars(optimizer)
    assert all(one._hooks is None for one in net.parameters())


# ---------------------------------------------------------------------------------------- what is seen


def test_layer_states_are_those_of_telemetry(digits):
    X, y = digits
    net = nn.Sequential(
        nn.Linear(64, 32, rng=0), nn.BatchNorm1d(32), nn.Tanh(), nn.Linear(32, 16, rng=1), nn.ReLU(),
        nn.Linear(16, 10, rng=2),
    )  # fmt: skip
    twin = net.copy()
    with recorded(twin) as recording:
        nn.CrossEntropyLoss()(twin(tensor(X[:32])), y[:32]).backward()
        expected = recording.layers()
    report = watched(net, optim.SGD(net.parameters(), lr=0.1), digits, steps=1)
    for ours, theirs in zip(report.snapshots[0].layers, expected, strict=True):
        for name, value in vars(theirs).items():
            got = getattr(ours, name)
            assert (
                got == value
                if isinstance(value, str | None)
                else got == pytest.approx(value, rel=1e-4, abs=1e-6, nan_ok=True)
            ), name
    assert report.snapshots[0].n_rows == 32


def test_update_ratio_is_of_the_weights(digits):
    net = mlp()
    before = net[0].weight.data.copy()
    report = watched(net, optim.SGD(net.parameters(), lr=0.1), digits, steps=1)
    change = np.linalg.norm(net[0].weight.data - before) / np.linalg.norm(before)
    assert report.update_ratios["0.weight"] == [(1, pytest.approx(change, rel=1e-4))]


class Functional(nn.Module):
    """A ReLU that no module computes, a layer used twice, and more than one output."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.last = (
            nn.Linear(64, 32, rng=0),
            nn.Linear(32, 32, rng=1),
            nn.Linear(32, 10, rng=2),
        )

    def forward(self, x):
        h = np.maximum(self.first(x), 0)
        h = np.maximum(self.again(h), 0)
        h = np.maximum(self.again(h), 0)
        return self.last(h)


def test_relu_shows_in_the_gradients(digits):
    net = Functional()
    report = watched(net, optim.Adam(net.parameters(), lr=1e-3), digits)
    last = report.snapshots[-1]
    assert [(one.name, one.activation) for one in last.layers] == [
        ("first", "relu"), ("again", "relu"), ("last", None),
    ]  # fmt: skip
    assert not critical(report)


def test_evaluation_passes_are_ignored(digits):
    X, _ = digits
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer, every=1) as w:
        for k in range(3):
            train(net, optimizer, digits, steps=1)
            net(X)  # arrays: nothing is recorded
            net(tensor(X[: 100 + k])).sum()  # recorded, and no gradient is asked for
    report = w.report()
    assert [one.n_rows for one in report.snapshots] == [32, 32, 32]
    assert report.ok


def test_loss_is_optional(digits):
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer, every=10) as w:
        losses = train(net, optimizer, digits, steps=20, watched=w)
    assert [one.loss for one in w.report().snapshots] == [losses[k - 1] for k in (1, 2, 10, 20)]
    assert np.isnan(watched(net, optimizer, digits, steps=1).snapshots[0].loss)


def test_report_is_plain(digits):
    net = mlp()
    report = watched(net, optim.SGD(net.parameters(), lr=0.0), digits)
    text = str(report)
    assert "CRITICAL" in text
    assert max(map(len, text.splitlines())) <= 100
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["ok"] is False


# ---------------------------------------------------------------------------------------- healthy ones

HEALTHY = {
    "adam": (mlp, lambda p: optim.Adam(p, lr=1e-3)),
    "momentum": (lambda: mlp(depth=2), lambda p: optim.SGD(p, lr=0.05, momentum=0.9)),
    "tanh": (lambda: mlp(nn.Tanh, depth=2), lambda p: optim.Adam(p, lr=3e-3)),
    "batch norm": (
        lambda: nn.Sequential(
            nn.Linear(64, 64, rng=0), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10, rng=1)
        ),
        lambda p: optim.SGD(p, lr=0.1),
    ),
    "dropout": (
        lambda: nn.Sequential(nn.Linear(64, 64, rng=0), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10, rng=1)),
        lambda p: optim.AdamW(p, lr=3e-3),
    ),
    "deep": (lambda: mlp(depth=6, width=64), lambda p: optim.Adam(p, lr=1e-3)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_training_has_no_critical_finding(digits, name):
    make, optimizer = HEALTHY[name]
    net = make()
    report = watched(net, optimizer(net.parameters()), digits, steps=500, every=25)
    assert report.ok, str(report)
    assert not report.notes


def test_gradient_accumulation_is_no_mistake(digits):
    X, y = digits
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer, every=3) as w:
        for k in range(20):
            for part in range(3):
                rows = slice(32 * part, 32 * part + 32)
                (nn.CrossEntropyLoss()(net(tensor(X[rows])), y[rows]) / 3).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=k % 2 == 0)
    assert w.report().findings == []


def test_gradients_of_another_loss_that_are_zeroed_are_no_mistake(digits):
    X, y = digits
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer, every=3) as w:
        for _ in range(6):
            net(tensor(X[:8])).sum().backward()  # a generator's, say
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(net(tensor(X[:32])), y[:32]).backward()
            optimizer.step()
    assert w.report().ok


def test_lbfgs_with_a_closure(digits):
    X, y = digits
    net = mlp()
    optimizer = optim.LBFGS(net.parameters(), max_iter=4)

    def closure():
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(net(tensor(X[:200])), y[:200])
        loss.backward()
        return loss

    with watch(net, optimizer, every=2) as w:
        for _ in range(6):
            optimizer.step(closure)
    report = w.report()
    assert report.ok, str(report)
    assert [one.step for one in report.snapshots] == [1, 2, 4, 6]
    assert len(report.snapshots[0].layers) == 2


# ------------------------------------------------------------------------------------ planted mistakes


def test_not_zeroed(digits):
    net = mlp()
    report = watched(net, optim.SGD(net.parameters(), lr=0.01), digits, zero=False)
    assert critical(report) == ["not_zeroed"]
    assert report.findings[0].step == 2


def test_learning_rate_zero(digits):
    net = mlp()
    report = watched(net, optim.Adam(net.parameters(), lr=0.0), digits)
    assert critical(report) == ["zero_rate"]
    assert [one.code for one in report.findings[0].consequences] == ["no_update", "rate_low"]


def test_optimizer_of_another_model(digits):
    net = mlp()
    report = watched(net, optim.Adam(mlp().parameters(), lr=1e-3), digits)
    assert critical(report)[0] == "stale_parameters"
    assert "not_in_optimizer" in [one.code for one in report.findings[0].consequences]


def test_a_layer_replaced_after_the_optimizer_was_made(digits):
    net = Functional()
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    net.last = nn.Linear(32, 10, rng=5)
    report = watched(net, optimizer, digits)
    assert critical(report) == ["not_in_optimizer"]
    assert report.findings[0].where == "last.weight"
    assert "stale_parameters" in codes(report)


def test_two_optimizers_of_one_model(digits):
    X, y = digits
    net = mlp()
    one, other = optim.Adam(net[0].parameters(), lr=1e-3), optim.SGD(net[2].parameters(), lr=0.1)
    with watch(net, one, every=5) as w:
        for _ in range(20):
            net.zero_grad()
            nn.CrossEntropyLoss()(net(tensor(X[:32])), y[:32]).backward()
            one.step()
            other.step()
    assert w.report().findings == []


class Detached(Functional):
    def forward(self, x):
        return self.last(np.maximum(self.again(np.maximum(self.first(x), 0)).detach(), 0))


def test_disconnected(digits):
    net = Detached()
    report = watched(net, optim.Adam(net.parameters(), lr=1e-3), digits)
    assert critical(report) == ["disconnected"]
    assert report.findings[0].where == "first.weight"
    assert report.snapshots[0].disconnected == ("first.weight", "first.bias", "again.weight", "again.bias")


def test_unused_and_frozen_parameters_are_notes(digits):
    net = Functional()
    net.unused = nn.Linear(3, 3)
    net.first.requires_grad_(False)
    report = watched(net, optim.Adam(net.parameters(), lr=1e-3), digits)
    assert report.ok
    assert {"disconnected", "frozen"} <= set(codes(report))


def test_eval_mode(digits):
    net = HEALTHY["batch norm"][0]()
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    with watch(net, optimizer, every=5) as w:
        train(net, optimizer, digits, steps=7)
        net.eval()
        train(net, optimizer, digits, steps=7)
    report = w.report()
    assert critical(report) == ["eval_mode"]
    assert report.findings[0].step == 10
    net = mlp().eval()  # nothing in it has modes
    assert watched(net, optim.Adam(net.parameters()), digits).ok


def test_non_finite(digits):
    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    X, y = digits
    with watch(net, optimizer, every=5) as w:
        train(net, optimizer, digits, steps=9)
        bad = X.copy()
        bad[3, 5] = np.nan
        train(net, optimizer, (bad, y), steps=5)
    report = w.report()
    assert critical(report)[0] == "non_finite"
    assert (report.findings[0].step, report.findings[0].where) == (10, "the input of 0")


def test_exploding_rate(digits):
    net = mlp(depth=3)
    with np.errstate(all="ignore"):
        report = watched(net, optim.SGD(net.parameters(), lr=1e6), digits, steps=20, every=1)
    assert "non_finite" in critical(report)


def test_symmetry(digits):
    net = mlp()
    for layer in (net[0], net[2]):
        layer.weight, layer.bias = np.zeros(layer.weight.shape), np.zeros(layer.bias.shape)
    report = watched(net, optim.SGD(net.parameters(), lr=0.1), digits)
    assert critical(report) == ["symmetry"]


def test_dead_relu(digits):
    net = mlp()
    net[0].bias = np.full(32, -20.0)
    report = watched(net, optim.SGD(net.parameters(), lr=0.1), digits, steps=200)
    assert "dead_relu" in critical(report)
    short = watched(net, optim.SGD(net.parameters(), lr=0.1), digits, steps=100)  # 12 looks of 32 rows
    assert "dead_relu" not in codes(short)


def test_saturation(digits):
    net = mlp(nn.Tanh)
    net[0].weight = 50 * net[0].weight.data
    report = watched(net, optim.SGD(net.parameters(), lr=0.01), digits)
    assert critical(report) == ["saturation"]


def test_vanishing(digits):
    net = mlp(nn.Sigmoid, depth=8)
    report = watched(net, optim.SGD(net.parameters(), lr=0.1), digits)
    assert critical(report) == ["vanishing"]


def test_exploding(digits):
    net = mlp(depth=8)
    for layer in list(net)[2:-1:2]:
        layer.weight = 12 * layer.weight.data
    report = watched(net, optim.SGD(net.parameters(), lr=1e-12), digits)
    assert "exploding" in critical(report)


@pytest.mark.parametrize(("rate", "code"), [(1e-7, "rate_low"), (5.0, "rate_high")])
def test_rate_is_a_note(digits, rate, code):
    net = nn.Sequential(nn.Linear(64, 10, rng=0))
    report = watched(net, optim.SGD(net.parameters(), lr=rate), digits)
    assert codes(report) == [code]
    assert report.ok


# ------------------------------------------------------------------------------------------- arguments


def test_goes_on_where_it_stopped(digits):
    net = mlp()
    optimizer = optim.Adam(net.parameters())
    w = watch(net, optimizer, every=4)
    for _ in range(2):
        with w:
            train(net, optimizer, digits, steps=4)
    assert [one.step for one in w.report().snapshots] == [1, 2, 4, 8]


def test_a_step_that_fails_is_none(digits):
    def closure():
        raise KeyError("of the user's")

    net = mlp()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with watch(net, optimizer, every=2) as w:
        for _ in range(3):
            with pytest.raises(KeyError):
                optimizer.step(closure)
            train(net, optimizer, digits, steps=1)
    assert [one.step for one in w.report().snapshots] == [1, 2]
    assert w.report().ok


def test_a_failing_hook_is_a_note(digits, monkeypatch):
    def broken(*_arguments):
        raise ArithmeticError("planted")

    monkeypatch.setattr("chainrule.health.watch_hooks.squares", broken)
    monkeypatch.setattr("chainrule.health.watch_layers.fingerprints", broken)
    net = mlp()
    report = watched(net, optim.Adam(net.parameters()), digits)
    assert any("planted" in note for note in report.notes)
