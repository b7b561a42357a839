"""Any module of PyTorch's: what has no counterpart here runs on its own autograd, with the same verdicts."""

import copy
import functools

import numpy as np
import pytest
from sklearn.datasets import load_digits
from tests.health.examples import blobs

import chainrule
from chainrule.exports import to_torch
from chainrule.health.describe import described
from chainrule.health.examination import checkup
from chainrule.health.trainings import outputs_of, run

BUDGET = 60.0


@pytest.fixture(autouse=True)
def one_thread(torch):
    """Such small networks are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def digits():
    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X))[:400]
    return (X[rows] / 16).reshape(-1, 1, 8, 8).astype(np.float32), y[rows]


def convolutional(torch, *, softmax=False):
    """A net of two convolutions, of which functions of tensors are a part."""
    nn = torch.nn
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(1, 6, 3, stride=2, padding=1)
            self.second = nn.Conv2d(6, 8, 3, padding=1)
            self.relu, self.head = nn.ReLU(), nn.Linear(32, 10)

        def forward(self, x):
            h = self.relu(self.first(x))
            h = nn.functional.max_pool2d(torch.relu(self.second(h)), 2)
            z = self.head(h.flatten(1))
            return z.softmax(dim=1) if softmax else z

    return Net()


def examined(torch, net, *, optimizer=None, rate=0.05, **settings):
    optimizer = optimizer or torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    settings = {"loss": torch.nn.CrossEntropyLoss(), "epochs": 8, **settings}
    return checkup(net, digits(), optimizer=optimizer, budget=BUDGET, **settings)


def first_cause(report):
    return next((one.code for one in report.findings if one.critical), None)


def test_a_convolutional_net_that_learns_is_ok(torch):
    report = examined(torch, convolutional(torch))
    assert report.ok, report.findings
    assert isinstance(report.evidence.training.module, torch.nn.Module)
    assert [layer.activation for layer in report.evidence.start.layers] == ["relu", "relu", None]
    # On a busy machine the training may not come to its end, which is said; nothing else is missing.
    assert all("no time for more" in note for note in report.evidence.notes)
    assert "SGD" in str(report)
    assert report.to_json()


def with_zeros(torch, net):
    for layer in (net.first, net.second):
        torch.nn.init.zeros_(layer.weight)
    return net


def with_dead(torch, net):
    torch.nn.init.constant_(net.second.bias, -30.0)
    return net


def with_frozen(torch, net):
    """Only the biases learn."""
    for layer in (net.first, net.second, net.head):
        layer.weight.requires_grad = False
    return net


def negative(z, y):
    from torch.nn.functional import cross_entropy

    return -cross_entropy(z, y)


def accumulating(module, optimizer, x, y):
    from torch.nn.functional import cross_entropy

    value = cross_entropy(module(x), y)
    value.backward()
    optimizer.step()
    return value.item()


FAULTS = {
    "symmetry": lambda torch, net: {"net": with_zeros(torch, net)},
    "rate_high": lambda torch, net: {"net": net, "rate": 50.0},
    "dead_relu": lambda torch, net: {"net": with_dead(torch, net)},
    "double_softmax": lambda torch, net: {
        "net": convolutional(torch, softmax=True), "rate": 0.02,
    },
    "frozen": lambda torch, net: {"net": with_frozen(torch, net)},
    "loss_sign": lambda torch, net: {"net": net, "loss": negative},
    "not_zeroed": lambda torch, net: {
        "net": net, "step": accumulating, "rate": 0.1,
    },
}  # fmt: skip


@pytest.mark.parametrize("code", FAULTS)
def test_a_planted_fault_of_a_convolutional_net_is_the_first_cause(torch, code):
    given = FAULTS[code](torch, convolutional(torch))
    report = examined(torch, given.pop("net"), **given)
    assert not report.ok
    assert first_cause(report) == code
    proof = report.findings[0].proofs[0]
    assert proof.helped
    made = report.apply(proof)
    assert isinstance(made.module, torch.nn.Module)


def perceptron(torch, *, custom, seed=0):
    nn = torch.nn
    torch.manual_seed(seed)
    first, second, third = nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = first, second, third

        def forward(self, x):
            return self.third(torch.relu(self.second(torch.relu(self.first(x)))))

    return Net() if custom else nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)


def with_small_weights(torch, net):
    for one in net.parameters():
        one.data *= 1e-3
    return net


def with_dead_biases(torch, net):
    torch.nn.init.constant_(next(iter(net.children())).bias, -50.0)
    return net


def with_all_zero(torch, net):
    for one in net.parameters():
        torch.nn.init.zeros_(one)
    return net


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (lambda torch, net: net, None),
        (with_small_weights, "init_small"),
        (with_dead_biases, "dead_relu"),
        (with_all_zero, "symmetry"),
    ],
)
def test_a_forward_of_the_users_own_has_the_verdict_of_its_converted_twin(torch, fault, code):
    causes = []
    for custom in (True, False):
        net = fault(torch, perceptron(torch, custom=custom))
        report = checkup(
            net, blobs(), optimizer=torch.optim.Adam(net.parameters(), 1e-2), budget=BUDGET, epochs=8
        )
        is_torch = isinstance(report.evidence.training.module, torch.nn.Module)
        assert is_torch == custom
        causes.append(first_cause(report))
        assert report.ok == (code is None)
    assert causes == [code, code]


def test_an_embedding_takes_whole_numbers(torch):
    """Whether two of six tokens are the same one."""
    nn = torch.nn
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    X = rng.integers(0, 12, (400, 5))
    y = (X < 3).any(axis=1).astype(int)

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(12, 8), nn.Linear(40, 2)

        def forward(self, x):
            return self.head(self.table(x).flatten(1))

    report = checkup(Bag(), (X, y), optimizer=0.02, epochs=10, budget=BUDGET)
    training = report.evidence.training
    assert training.X.dtype == np.int64
    assert report.ok
    assert [layer.name for layer in report.evidence.start.layers] == ["head"]
    assert training.optimizer_name == "Adam"


def bits(torch, net, optimizer):
    """All that a checkup must leave as it is."""
    return copy.deepcopy(
        {
            "state": {name: one.numpy().tobytes() for name, one in net.state_dict().items()},
            "grads": [None if one.grad is None else one.grad.numpy().tobytes() for one in net.parameters()],
            "asks": [one.requires_grad for one in net.parameters()],
            "modes": [one.training for one in net.modules()],
            "hooks": [list(one._forward_hooks) for one in net.modules()],
            "groups": [
                {name: value for name, value in group.items() if name != "params"}
                for group in optimizer.param_groups
            ],
            "held": [[id(one) for one in group["params"]] for group in optimizer.param_groups],
            "momenta": [
                {name: np.asarray(value).tobytes() for name, value in kept.items()}
                for kept in optimizer.state.values()
            ],
            "torch": torch.get_rng_state().numpy().tobytes(),
            "threads": torch.get_num_threads(),
            "recorded": torch.is_grad_enabled(),
        }
    )


@pytest.mark.parametrize("breaks", [False, True])
def test_model_optimizer_and_generator_are_left_as_they_are(torch, breaks):
    nn = torch.nn
    torch.manual_seed(0)
    seen = []

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)
            self.drop, self.head = nn.Dropout(0.2), nn.Linear(108, 10)

        def forward(self, x):
            if breaks and self.training and len(x) == 32:
                raise RuntimeError("no more")
            return self.head(self.drop(torch.relu(self.norm(self.conv(x)))).flatten(1))

    X, y = digits()
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    loss = nn.CrossEntropyLoss(weight=torch.ones(10))
    loss(net(torch.tensor(X[:20])), torch.tensor(y[:20])).backward()
    optimizer.step()
    net.head.eval()
    net.conv.register_forward_hook(lambda *given: seen.append(given))
    before = bits(torch, net, optimizer)
    if breaks:
        with pytest.raises(RuntimeError, match="no more"):
            checkup(net, (X, y), loss, optimizer, budget=BUDGET)
    else:
        with torch.no_grad():
            before["recorded"] = False
            report = checkup(net, (X, y), loss, optimizer, budget=BUDGET, epochs=3)
            assert bits(torch, net, optimizer) == before
        before["recorded"] = True
        assert report.ok
    assert bits(torch, net, optimizer) == before
    assert seen == []


def test_the_model_that_a_loss_or_a_step_holds_is_put_back(torch):
    net = perceptron(torch, custom=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.first.weight.grad = torch.ones(16, 2)
    before, gradient = bits(torch, net, optimizer), net.first.weight.grad

    def penalised(z, y):
        size = sum((one**2).sum() for one in net.parameters())
        return torch.nn.functional.cross_entropy(z, y) + 1e-3 * size

    def of_the_outside(module, given, x, y):
        optimizer.zero_grad(set_to_none=False)
        value = penalised(net(x), y)
        value.backward()
        optimizer.step()
        return value

    for settings in ({"loss": penalised}, {"step": of_the_outside}):
        report = checkup(net, blobs(), optimizer=optimizer, budget=2.0, epochs=3, **settings)
        report.prescribe(seeds=(0,), budget=0.5)
        assert bits(torch, net, optimizer) == before
        assert net.first.weight.grad is gradient


def test_groups_keep_their_parameters_settings_and_the_proportion_of_their_rates(torch):
    net = convolutional(torch)
    groups = [
        {"params": net.first.parameters(), "lr": 0.01},
        {"params": net.head.parameters(), "momentum": 0.5},
    ]
    training = described(
        net, digits(), optimizer=torch.optim.SGD(groups, lr=0.1, momentum=0.9), clip_norm=1.0
    )
    assert training.learning_rate == 0.1
    assert training.left_out == ("second.weight", "second.bias")
    optimizer = training.with_rate(1.0).optimizer.bound(training.module)
    assert [(group["lr"], group["momentum"]) for group in optimizer.param_groups] == [(0.1, 0.9), (1.0, 0.5)]
    first, head = optimizer.param_groups
    assert first["params"][0] is training.module.first.weight
    assert head["params"][1] is training.module.head.bias
    ran = run(training, 30)
    assert (ran.module.second.weight == net.second.weight).all()
    assert (ran.module.first.weight != net.first.weight).any()
    report = examined(torch, net, optimizer=torch.optim.SGD([net.first.bias], 0.05, momentum=0.9))
    assert first_cause(report) == "frozen"
    assert "not among the optimizer's" in report.findings[0].candidate.detail


@pytest.mark.parametrize("kind", ["LBFGS", "Adagrad", "RMSprop", "NAdam"])
def test_any_class_of_optimizer(torch, kind):
    net = perceptron(torch, custom=True)
    optimizer = getattr(torch.optim, kind)(net.parameters(), lr=0.1 if kind == "Adagrad" else 0.01)
    batch_size = 240 if kind == "LBFGS" else 32
    training = described(net, blobs(), optimizer=optimizer, epochs=4, batch_size=batch_size)
    ran = run(training)
    assert training.optimizer_name == kind
    assert ran.after.loss < ran.before.loss
    assert ran.losses == run(training).losses


@pytest.mark.parametrize(
    ("settings", "is_torch"),
    [
        ({}, False),
        ({"loss": lambda torch: torch.nn.CrossEntropyLoss()}, False),
        ({"loss": lambda torch: torch.nn.CrossEntropyLoss(weight=torch.ones(3))}, True),
        ({"loss": lambda torch: torch.nn.MultiMarginLoss()}, True),
        ({"loss": lambda torch: torch.nn.functional.cross_entropy}, True),
        ({"step": lambda torch: accumulating}, True),
    ],
)
def test_what_converts_is_converted(torch, settings, is_torch):
    net = perceptron(torch, custom=False)
    training = described(net, blobs(), **{name: make(torch) for name, make in settings.items()})
    assert isinstance(training.module, torch.nn.Module) == is_torch
    ran = run(training.altered(epochs=2))
    assert np.isfinite(ran.after.loss)
    assert ran.after.score > ran.before.score


@pytest.mark.parametrize("width", [(), (1,)])
def test_outputs_with_and_without_an_axis_and_targets_alike(torch, width):
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self, link=None):
            super().__init__()
            self.first, self.last, self.link = nn.Linear(2, 8), nn.Linear(8, 1), link or nn.Identity()

        def forward(self, x):
            return self.link(self.last(torch.tanh(self.first(x)))).reshape(len(x), *width)

    X, y = blobs()
    losses = []
    for targets in (X[:, 0] * 2, X[:, :1] * 2):
        torch.manual_seed(0)
        training = described(Net(), (X, targets), optimizer=0.02)
        ran = run(training)
        assert ran.after.score > 0.9
        losses.append(ran.losses)
    assert losses[0] == losses[1]
    # Classes of one output: a probability, before and after its sigmoid.
    for loss, link in ((None, None), (nn.BCELoss(), nn.Sigmoid())):
        training = described(Net(link), (X, (y == 1).astype(int)), loss=loss, optimizer=0.02)
        assert run(training).after.score > 0.9


def test_a_gradient_is_clipped_and_classes_are_weighed(torch):
    X, y = blobs()
    kept = (y != 0) | (np.arange(len(y)) < 30)
    X, y = X[kept] * 0.3, y[kept]
    net = perceptron(torch, custom=True)
    training = described(net, (X, y), optimizer=torch.optim.SGD(net.parameters(), lr=1.0), epochs=1)
    clipped = run(training.altered(options={"clip_norm": 1e-6}))
    assert abs(clipped.after.loss - clipped.before.loss) < 1e-3
    assert training.takes("class_weight")
    training = described(net, (X, y), optimizer=torch.optim.Adam(net.parameters(), 1e-2), epochs=10)

    def rare(**options):
        outputs = outputs_of(run(training.altered(options=options)).module, X)
        return int((outputs.argmax(axis=1) == 0).sum())

    assert rare(class_weight="balanced") > rare()
    assert not training.altered(step=accumulating).takes("clip_norm")
    assert not training.altered(loss=torch.nn.MultiMarginLoss()).takes("class_weight")


def test_what_is_applied_to_a_converted_module_is_taken_back(torch):
    net = with_all_zero(torch, perceptron(torch, custom=False))
    report = checkup(net, blobs(), optimizer=0.01, epochs=5, budget=BUDGET)
    made = report.apply(report.findings[0].proofs[0])
    assert isinstance(made.module, chainrule.nn.Module)
    assert isinstance(to_torch(made.module), torch.nn.Sequential)


def test_what_is_refused(torch):
    net = convolutional(torch)
    X, y = digits()
    with pytest.raises(ValueError, match="^model cannot be run on X of shape"):
        checkup(net, (X[:, :, :5], y))
    with pytest.raises(ValueError, match="^model must give one tensor with a row for each row of X"):
        checkup(torch.nn.Flatten(0), (X, y))
    with pytest.raises(ValueError, match="takes the settings .* weight_decay.* got l2$"):
        checkup(net, (X, y), l2=0.1)
    with pytest.raises(TypeError, match="^loss must be one of PyTorch"):
        checkup(net, (X, y), loss="softmax_cross_entropy")
    with pytest.raises(TypeError, match="^optimizer must be one of"):
        checkup(net, (X, y), optimizer=object())
    with pytest.raises(ValueError, match=r"^data must be \(X, y\)"):
        checkup(net, X)
