"""``watch`` on PyTorch's loops."""

import copy
import io

import numpy as np
import pytest
from sklearn.datasets import load_digits

from chainrule.health.watching import watch


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


@pytest.fixture
def nn(torch):
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # nets as small as these only wait for each other
    yield torch.nn
    torch.set_num_threads(threads)


def mlp(nn):
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def deep(nn):
    layers = [module for _ in range(5) for module in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def normalised(nn):
    return nn.Sequential(
        nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(64, 10)
    )


def cnn(nn):
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def functional_cnn(nn):
    from torch.nn import functional as F

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2, self.fc = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3), nn.Linear(64, 10)

        def forward(self, x):
            x = F.relu(self.conv1(x.reshape(-1, 1, 8, 8)))
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            return self.fc(F.dropout(x.flatten(1), 0.2, self.training))

    return Net()


def transformer(nn):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(8, 32)
            self.position = nn.Parameter(0.02 * self.embed.weight.new_ones(8, 32))
            layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(32, 10)

        def forward(self, x):
            return self.head(self.encoder(self.embed(x.reshape(-1, 8, 8)) + self.position).mean(1))

    return Net()


def lstm(nn):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(8, 32, batch_first=True), nn.Linear(32, 10)

        def forward(self, x):
            return self.head(self.lstm(x.reshape(-1, 8, 8))[0][:, -1])

    return Net()


def train(torch, net, optimizer, data, steps=60, batch=32, zero=True):
    X, y = (torch.from_numpy(one) for one in data)
    losses = []
    for k in range(steps):
        rows = torch.arange(k * batch, (k + 1) * batch) % len(X)
        if zero:
            optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(X[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def watched(torch, net, optimizer, data, every=10, **how):
    with watch(net, optimizer, every=every) as w:
        train(torch, net, optimizer, data, **how)
    return w.report()


def critical(report):
    return [one.code for one in report.findings if one.critical]


# --------------------------------------------------------------------------------- what is left behind


def attributes(net, optimizer):
    hooks = [{name: dict(value) for name, value in vars(m).items() if "hooks" in name} for m in net.modules()]
    names = [sorted(vars(m)) for m in net.modules()]
    own = {name: dict(value) for name, value in vars(optimizer).items() if "hooks" in name}
    return hooks, names, own, sorted(vars(optimizer)), [p._backward_hooks for p in net.parameters()]


@pytest.mark.parametrize("make", [mlp, normalised, cnn])
@pytest.mark.parametrize("fails", [False, True])
def test_leaves_nothing_behind(torch, nn, digits, make, fails):
    net = make(nn)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    before = attributes(net, optimizer)
    try:
        with watch(net, optimizer, every=1):
            train(torch, net, optimizer, digits, steps=3)
            assert attributes(net, optimizer) != before
            if fails:
                raise KeyError("of the user's")
    except KeyError:
        assert fails
    assert attributes(net, optimizer) == before


@pytest.mark.parametrize("make", [mlp, normalised, cnn, functional_cnn, lstm])
def test_training_is_the_same_to_the_bit(torch, nn, digits, make):
    ran = []
    for looks in (False, True):
        torch.manual_seed(1)
        net = make(nn)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        if looks:
            with watch(net, optimizer, every=3):
                losses = train(torch, net, optimizer, digits, steps=20)
        else:
            losses = train(torch, net, optimizer, digits, steps=20)
        ran.append((losses, net.state_dict(), torch.rand(3)))
    assert ran[0][0] == ran[1][0]
    assert all(torch.equal(value, ran[1][1][key]) for key, value in ran[0][1].items())
    assert torch.equal(ran[0][2], ran[1][2])


def test_copies_and_files_made_in_the_loop(torch, nn, digits):
    net = mlp(nn)
    optimizer = torch.optim.Adam(net.parameters())
    with watch(net, optimizer, every=1) as w:
        train(torch, net, optimizer, digits, steps=2)
        file = io.BytesIO()
        torch.save((net, optimizer), file)
        file.seek(0)
        stored, _ = torch.load(file, weights_only=False)
        for twin in (stored, copy.deepcopy(net)):
            train(torch, twin, torch.optim.Adam(twin.parameters()), digits, steps=2)
    assert w.n_steps == 2
    assert len(w.report().snapshots) == 2


# ---------------------------------------------------------------------------------------- healthy ones


@pytest.mark.parametrize(("make", "notes"), [
    (mlp, 0), (deep, 0), (normalised, 0), (cnn, 0), (functional_cnn, 0), (transformer, 0), (lstm, 1),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["adam", "momentum"])
def test_healthy_training_has_no_critical_finding(torch, nn, digits, make, notes, kind):
    net = make(nn)
    adam = kind == "adam"
    optimizer = (
        torch.optim.AdamW(net.parameters(), lr=2e-3)
        if adam
        else torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    )
    report = watched(torch, net, optimizer, digits, steps=80, every=4)
    assert report.ok, str(report)
    assert len(report.notes) == notes, report.notes
    assert max(map(len, str(report).splitlines())) <= 100


def test_what_is_seen(torch, nn, digits):
    net = cnn(nn)
    report = watched(torch, net, torch.optim.SGD(net.parameters(), lr=0.1), digits, steps=2)
    names = [(one.name, one.activation, one.fan_in, one.width) for one in report.snapshots[0].layers]
    assert names == [
        ("1", "relu", 9, 16),
        ("5", "relu", 144, 32),
        ("7", "relu", 288, 32),
        ("11", None, 32, 10),
    ]
    assert all(np.isfinite(one.delta_rms) and one.z_std > 0 for one in report.snapshots[0].layers)


def test_gradient_accumulation_schedules_and_subclasses(torch, nn, digits):
    class Mine(torch.optim.Adam):
        def step(self, closure=None):
            return super().step(closure)

    X, y = (torch.from_numpy(one) for one in digits)
    net = mlp(nn)
    torch.optim.Adam(net.parameters())  # makes PyTorch hook the step of the base class too
    optimizer = Mine(net.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1.0, k / 5))  # from 0
    with watch(net, optimizer, every=3) as w:
        for k in range(20):
            for part in range(3):
                rows = slice(32 * part, 32 * part + 32)
                (torch.nn.functional.cross_entropy(net(X[rows]), y[rows]) / 3).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad(set_to_none=k % 2 == 0)
    report = w.report()
    assert report.ok, str(report)
    assert [one.code for one in report.findings] == ["no_update"]  # the first step of the warm-up
    assert w.n_steps == 20


def test_lbfgs(torch, nn, digits):
    X, y = (torch.from_numpy(one[:200]) for one in digits)
    net = mlp(nn)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=4)

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(X), y)
        loss.backward()
        return loss

    with watch(net, optimizer, every=2) as w:
        for _ in range(5):
            optimizer.step(closure)
    assert w.report().ok
    assert len(w.report().snapshots[-1].layers) == 2


@pytest.mark.parametrize("fused", [False, True])
def test_scaled_gradients(torch, nn, digits, fused):
    X, y = (torch.from_numpy(one) for one in digits)
    norms = []
    for scaled in (False, True):
        torch.manual_seed(0)
        net = mlp(nn)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        with watch(net, optimizer, every=3, scaler=scaler) as w:
            for k in range(8):
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(net(X[:32]), y[:32])
                if scaled and k == 4:
                    loss = loss * float("inf")  # a step that the scaler leaves out
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
        assert w.report().ok, str(w.report())
        norms.append([(one.gradient_norm, one.delta_rms) for one in w.report().snapshots[1].layers])
    np.testing.assert_allclose(norms[1], norms[0], rtol=1e-4)


# ------------------------------------------------------------------------------------ planted mistakes


def test_mistakes(torch, nn, digits):
    def run(net, optimizer=None, **how):
        optimizer = optimizer or torch.optim.Adam(net.parameters(), lr=1e-3)
        return critical(watched(torch, net, optimizer, digits, **how))

    assert run(mlp(nn), zero=False) == ["not_zeroed"]
    assert run(cnn(nn).eval()) == ["eval_mode"]
    assert run(mlp(nn).eval()) == []
    assert run(mlp(nn), torch.optim.Adam(mlp(nn).parameters()))[0] == "stale_parameters"
    net = mlp(nn)
    assert run(net, torch.optim.SGD(net.parameters(), lr=0.0)) == ["zero_rate"]
    net = mlp(nn)
    optimizer = torch.optim.Adam(net.parameters())
    net[2] = nn.Linear(32, 10)
    assert run(net, optimizer) == ["not_in_optimizer"]


def test_dead_units_of_a_functional_relu(torch, nn, digits):
    net = functional_cnn(nn)
    with torch.no_grad():
        net.conv2.bias.fill_(-10)
    report = watched(torch, net, torch.optim.SGD(net.parameters(), lr=0.01), digits, steps=200)
    assert critical(report) == ["dead_relu"]
    assert report.findings[0].where == "conv2"


def test_non_finite(torch, nn, digits):
    class Log(nn.Module):
        def forward(self, x):
            return (x - 1e3).log()

    net = nn.Sequential(nn.Linear(64, 32), Log(), nn.Linear(32, 10))
    report = watched(torch, net, torch.optim.SGD(net.parameters(), lr=0.01), digits)
    assert critical(report) == ["non_finite"]
    assert (report.findings[0].step, report.findings[0].where) == (1, "the output of 1")


# ---------------------------------------------------------------------------- what cannot be looked at


def test_scripted_modules_are_seen_by_their_weights(torch, nn, digits):
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    with pytest.warns(DeprecationWarning, match="script"):
        net = torch.jit.script(net)
    report = watched(torch, net, torch.optim.Adam(net.parameters()), digits)
    assert report.ok
    assert any("ScriptModule" in note for note in report.notes)
    assert [one.width for one in report.snapshots[-1].layers] == [32, 10]


def test_lazy_modules_and_parametrized_ones(torch, nn, digits):
    net = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(64, 32)), nn.ReLU(),
        nn.utils.parametrizations.weight_norm(nn.Linear(32, 32)), nn.ReLU(), nn.LazyLinear(10),
    )  # fmt: skip
    report = watched(torch, net, torch.optim.Adam(net.parameters()), digits)
    assert report.ok, str(report)
    assert [one.name for one in report.snapshots[-1].layers] == ["0", "2", "4"]


def test_dicts_and_layers_made_in_forward(torch, nn, digits):
    class Odd(nn.Module):
        def forward(self, x):
            return {"h": x.relu_(), "name": "odd"}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.odd, self.last = nn.Linear(64, 32), Odd(), None

        def forward(self, x):
            h = self.odd(self.first(x))["h"]
            self.last = self.last or nn.Linear(32, 10)
            return self.last(h)

    net = Net()
    report = watched(torch, net, torch.optim.Adam(net.parameters(), lr=1e-3), digits)
    assert critical(report) == ["not_in_optimizer"]
    assert any("odd gives a dict" in note for note in report.notes)


def test_tied_weights_and_sparse_gradients(torch, nn):
    class Words(nn.Module):
        def __init__(self, sparse):
            super().__init__()
            self.embed, self.out = nn.Embedding(50, 16, sparse=sparse), nn.Linear(16, 50, bias=False)
            if not sparse:
                self.out.weight = self.embed.weight

        def forward(self, x):
            return self.out(self.embed(x).mean(1))

    for sparse in (True, False):
        net = Words(sparse)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        with watch(net, optimizer, every=5) as w:
            for _ in range(20):
                optimizer.zero_grad()
                x = torch.randint(0, 50, (32, 4))
                torch.nn.functional.cross_entropy(net(x), x[:, 0]).backward()
                optimizer.step()
        assert w.report().ok, str(w.report())
        assert not w.notes


def test_wrong_library(torch, nn):
    from chainrule import nn as ours
    from chainrule import optim

    net = mlp(nn)
    with pytest.raises(
        TypeError, match="optimizer must be one of torch.optim, as the model is; got chainrule.optim"
    ):
        watch(net, optim.SGD(ours.Linear(2, 2).parameters(), lr=0.1))
    with pytest.raises(TypeError, match="optimizer must be one of chainrule.optim"):
        watch(ours.Linear(2, 2), torch.optim.SGD(net.parameters(), lr=0.1))
