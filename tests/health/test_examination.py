"""The checkup: silent on what learns, and planted faults by name, each with a remedy that helps."""

import json
import re

import numpy as np
import pytest
from tests.health.examples import blobs, chain, classes, numbers

from chainrule import nn, optim
from chainrule.estimators import MLPClassifier
from chainrule.health.diagnosis import candidates
from chainrule.health.evidence import gather
from chainrule.health.examination import checkup, examine, seconds_of
from chainrule.health.prescriptions import PRESCRIPTIONS
from chainrule.health.rules import RULES
from chainrule.health.trainings import run

BUDGET = 60.0


def scaled(module: nn.Sequential, factor: float) -> nn.Sequential:
    for one in module:
        if isinstance(one, nn.Linear):
            one.weight = np.asarray(one.weight.data * factor)
    return module


def dead(module: nn.Sequential) -> nn.Sequential:
    module[0].bias = np.full(module[0].out_features, -50.0, np.float32)
    return module


def negative(z, y):
    return -nn.CrossEntropyLoss()(z, y)


def accumulating(module, optimizer, x, y):
    value = nn.MSELoss()(module(x), y)
    value.backward()
    optimizer.step()
    return value


def frozen(module: nn.Sequential) -> nn.Sequential:
    """Only the biases learn."""
    for parameter in module.parameters():
        parameter.requires_grad = parameter.ndim == 1
    return module


def unrelated() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"X": rng.normal(size=(240, 30)).astype(np.float32), "y": rng.integers(0, 3, 240)}


X, Y = blobs()
FAULTS = {
    "symmetry": classes(scaled(chain(2, 16, 16, 3), 0.0)),
    "dead_relu": classes(dead(chain(2, 16, 3))),
    "init_small": classes(scaled(chain(2, 16, 16, 16, 3), 1e-3), epochs=6),
    "init_large": numbers(scaled(chain(2, 24, 24, 1, activation="tanh"), 30.0)),
    "vanishing": classes(chain(2, *[12] * 8, 3, activation="sigmoid")),
    "rate_high": numbers(optimizer=optim.Adam(lr=3.0)),
    "rate_low": classes(optimizer=optim.Adam(lr=1e-6)),
    "loss_sign": classes(loss=negative),
    "not_zeroed": numbers(step=accumulating, optimizer=optim.SGD(lr=0.1, momentum=0.9), epochs=8),
    "output_range": numbers(nn.Sequential(*chain(2, 24, 24, 1, activation="tanh"), nn.Sigmoid())),
    "no_activation": numbers(nn.Sequential(nn.Linear(2, 16, rng=0), nn.Linear(16, 1, rng=1))),
    "unscaled_inputs": classes(X=(1e4 * X + 3e4).astype(np.float32)),
    "unscaled_targets": numbers(y=(1e4 * numbers().y + 2e4).astype(np.float32)),
    "over_regularised": classes(options={"l2": 10.0}),
    "no_signal": classes(chain(30, 32, 3), **unrelated()),
    "non_finite": classes(X=np.where(np.arange(480).reshape(240, 2) == 7, np.nan, X).astype(np.float32)),
    "frozen": classes(frozen(chain(2, 16, 3))),
}  # fmt: skip


@pytest.mark.parametrize("code", FAULTS)
def test_a_planted_fault_is_the_first_cause(code):
    training = FAULTS[code]
    before = {name: np.array(array) for name, array in training.module.state_dict().items()}
    report = examine(training, BUDGET)
    assert not report.ok
    critical = [one.code for one in report.findings if one.critical]
    assert critical[0] == code
    finding = report.findings[0]
    if code != "no_signal":
        assert finding.proofs[0].helped
        assert finding.proofs[0].gain > 0.05
    assert all((training.module.state_dict()[name] == array).all() for name, array in before.items())


@pytest.mark.parametrize(
    "training",
    [
        classes(), numbers(), classes(optimizer=optim.SGD(lr=0.1, momentum=0.9)), classes(chain(2, 3)),
        classes(chain(2, *[16] * 6, 3)), numbers(chain(2, 24, 24, 1, activation="gelu")),
        classes(nn.Sequential(*chain(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), *chain(16, 3))),
        classes(run(classes()).module),
    ],
)  # fmt: skip
def test_silent_on_what_learns(training):
    report = examine(training, BUDGET)
    assert report.ok, [(one.code, one.critical) for one in report.findings]


def test_consequences_are_under_their_cause():
    report = examine(FAULTS["init_large"], BUDGET)
    first = report.findings[0]
    assert first.code == "init_large"
    codes = {one.code for one in report.findings} | {one.code for one in first.consequences}
    assert first.consequences
    assert {one.code for one in first.consequences} <= set(RULES["init_large"].consequences)
    assert codes == {rule.code for rule, _ in candidates(report.evidence)}


def test_prescriptions_are_proved_over_seeds_and_ranked():
    report = examine(FAULTS["symmetry"], BUDGET)
    proofs = report.prescribe(budget="60s")
    assert proofs
    assert [proof.gain for proof in proofs] == sorted((proof.gain for proof in proofs), reverse=True)
    assert all(len(proof.before) == len(proof.after) == 3 and proof.helped for proof in proofs)
    made = report.apply(proofs[0])
    assert run(made).after.score > 0.9
    assert made.module is not proofs[0].training.module
    unproved = report.prescribe(verify=False)
    assert {proof.code for proof in proofs} <= {proof.code for proof in unproved}
    with pytest.raises(TypeError, match="apply takes one of what prescribe"):
        report.apply("relu_he")


def test_nothing_helped_is_an_answer():
    assert examine(FAULTS["no_signal"], BUDGET).prescribe(budget="30s") == []


def test_modules_estimators_and_names():
    X, y = blobs()
    labels = np.array(["red", "green", "blue"])[y]
    report = checkup(
        chain(2, 16, 3), (X, labels), optimizer=0.01, validation=(X[:50], labels[:50]), budget=BUDGET
    )
    assert report.ok
    assert report.evidence.training.validation[1].dtype == np.int64
    network = MLPClassifier((16,), solver="lbfgs", max_iter=500, random_state=0).fit(X, y)
    assert checkup(network, (X, y), optimizer="adam", budget=BUDGET).ok
    regression = checkup(chain(2, 16, 1), (X, X[:, 0]), epochs=30, batch_size=16, budget=BUDGET)
    assert regression.evidence.training.y.shape == (240, 1)
    assert (regression.evidence.training.epochs, regression.evidence.training.batch_size) == (30, 16)


def test_pytorch_modules():
    torch = pytest.importorskip("torch")
    X, y = blobs()
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    data = (torch.tensor(X), torch.tensor(y))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, betas=(0.8, 0.9))
    report = checkup(net, data, loss=torch.nn.CrossEntropyLoss(), optimizer=optimizer, budget=BUDGET)
    assert report.ok
    assert report.evidence.training.optimizer.defaults["betas"] == (0.8, 0.9)
    assert all((net.state_dict()[name] == tensor).all() for name, tensor in before.items())
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    report = checkup(net, data, optimizer=optimizer, budget=BUDGET)
    assert next(one.code for one in report.findings if one.critical) == "symmetry"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "model must be a chainrule.nn.Module"),
        ({"data": X}, "data must be (X, y)"),
        ({"data": (X, Y[:5])}, "data must be X (n, d) and y (n, ...)"),
        ({"loss": 3}, "loss must be a name"),
        ({"optimizer": object()}, "optimizer must be one of chainrule.optim"),
        ({"budget": "soon"}, "budget must be a time such as '5s'"),
        ({"budget": -1}, "budget must be a time"),
    ],
)
def test_what_is_refused(arguments, message):
    given = {"model": chain(2, 4, 3), "data": (X, Y), **arguments}
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}"):
        checkup(given.pop("model"), given.pop("data"), **given)


def test_times():
    times = {"5s": 5, "1.5m": 90, "2min": 120, "1h": 3600, "7": 7, 3: 3, 0.5: 0.5}
    assert [seconds_of(one) for one in times] == list(times.values())


def test_little_time_is_said_and_nothing_is_made_up():
    report = examine(classes(), 1e-6)
    assert report.ok
    assert any("no time left" in note for note in report.evidence.notes)


def test_every_rule_has_remedies_that_are_there():
    for rule in RULES.values():
        assert set(rule.prescriptions) <= set(PRESCRIPTIONS)
        assert set(rule.consequences) <= set(RULES) - {rule.code}
        assert rule.formula
        assert rule.source
    used = {code for rule in RULES.values() for code in rule.prescriptions}
    assert used == set(PRESCRIPTIONS)


def test_the_same_seed_gives_the_same_evidence():
    first, second = (gather(classes(), BUDGET) for _ in range(2))
    assert (first.memorised, first.swept, first.blind) == (second.memorised, second.swept, second.blind)
    assert (first.start, first.end, first.ran.losses) == (second.start, second.end, second.ran.losses)
    assert json.dumps(first.notes) == json.dumps(second.notes) == "[]"
