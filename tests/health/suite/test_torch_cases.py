"""The benchmark's trainings in PyTorch's classes: the same ones; and torchmortem's loop over them."""

import enum
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from chainrule import nn
from chainrule.health.suite import CASES, CONTROLS, torchmortem_peer
from chainrule.health.suite.score import judge
from chainrule.health.suite.torch_cases import in_torch, of_any_targets, through_torch
from chainrule.health.suite.twins import Twin
from chainrule.health.trainings import Training, loss_of, outputs_of
from chainrule.optim import Adam

torch = pytest.importorskip("torch")

# Those that train a network first are left out: they are of the same kind as the others.
# What has no counterpart in this library; everything else is converted, and runs on the engine.
ON_PYTORCH = ("not-zeroed", "negated-loss", "softmax-twice", "log-of-zero", "poisson", "median")
TRAININGS = {case.name: case for case in (*CASES, *CONTROLS) if not case.name.startswith("converged")}


def made(name):
    return TRAININGS[name].training(0)


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_through_pytorch_is_the_same(name):
    given = made(name)
    got = through_torch(given)
    assert isinstance(got.module, nn.Module) != name.startswith(ON_PYTORCH)
    np.testing.assert_array_equal(got.X, given.X)
    np.testing.assert_array_equal(got.y, given.y)
    assert (got.batch_size, got.epochs, dict(got.options)) == (
        given.batch_size,
        given.epochs,
        dict(given.options),
    )
    assert (got.step is None) == (given.step is None)
    assert got.optimizer_name == given.optimizer_name
    settings = given.optimizer.defaults
    assert {name: got.optimizer.defaults[name] for name in ("lr", "maximize") if name in settings} == {
        name: settings[name] for name in ("lr", "maximize") if name in settings
    }
    trained = [[one.requires_grad for one in module.parameters()] for module in (got.module, given.module)]
    assert trained[0] == trained[1]
    X = np.nan_to_num(given.X[:40])
    with np.errstate(all="ignore"):
        outputs = outputs_of(given.module, X)
        np.testing.assert_allclose(
            outputs_of(got.module, X), outputs, rtol=1e-4, atol=1e-4 * np.abs(outputs).max()
        )
        expected = loss_of(given, outputs, given.y[:40])
        np.testing.assert_allclose(loss_of(got, outputs, given.y[:40]), expected, rtol=1e-4)


def test_the_verdict_is_the_same_through_pytorch():
    found = judge(TRAININGS["slow-sgd-wine"], change=through_torch)
    assert found.named == ["rate_low"]
    assert found.restored


def test_the_parts_are_of_pytorch():
    parts = in_torch(made("clipped"))
    assert isinstance(parts.module, torch.nn.Module)
    assert type(parts.loss) is torch.nn.MSELoss
    assert type(parts.optimizer) is torch.optim.SGD
    assert parts.step is None
    assert type(in_torch(made("huber")).loss) is torch.nn.HuberLoss


def test_the_step_adds_up_gradients():
    training = made("not-zeroed-digits")
    parts = in_torch(training)
    for group in parts.optimizer.param_groups:
        group["lr"] = 0.0
    x, y = torch.tensor(training.X[:8]), torch.tensor(training.y[:8])
    weight = next(parts.module.parameters())
    parts.step(parts.module, parts.optimizer, x, y)
    once = weight.grad.clone()
    parts.step(parts.module, parts.optimizer, x, y)
    torch.testing.assert_close(weight.grad, 2 * once)


def test_targets_take_the_shape_of_the_outputs():
    loss = of_any_targets(torch.nn.MSELoss())
    assert float(loss(torch.zeros(3, 1), torch.tensor([1.0, 2.0, 3.0]))) == pytest.approx(14 / 3)


# ------------------------------------------------------------------------------------------- torchmortem


class Severity(enum.IntEnum):
    INFO = 0
    WARNING = 1
    CRITICAL = 2


@pytest.fixture
def autopsies(monkeypatch):
    """A stand-in that notes the losses it is given, and finds what the test tells it to."""
    seen = []

    class Autopsy:
        findings = ()

        def __init__(self, model, optimizer):
            self.model, self.optimizer, self.losses = model, optimizer, []
            self._atexit_handler = seen.clear
            seen.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def step(self, loss):
            self.losses.append(loss)

        def get_report(self):
            return SimpleNamespace(findings=self.findings)

    module = ModuleType("torchmortem")
    module.Autopsy, module.Severity = Autopsy, Severity
    monkeypatch.setitem(sys.modules, "torchmortem", module)
    return seen


def test_torchmortem_sees_every_step_of_the_training(autopsies):
    training = Twin("iris", (8,), optimizer=Adam(lr=1e-2), batch_size=10, epochs=6)(0)
    assert torchmortem_peer.findings(training) == []
    (autopsy,) = autopsies
    assert len(autopsy.losses) == training.n_steps
    assert np.mean(autopsy.losses[-10:]) < 0.8 * np.mean(autopsy.losses[:10])
    assert autopsy.optimizer.param_groups[0]["lr"] == 1e-2


def test_what_torchmortem_only_informs_of_does_not_count(autopsies):
    findings = (
        SimpleNamespace(title="Dead units in 0.1", severity=Severity.CRITICAL),
        SimpleNamespace(title="Dead units in 0.3", severity=Severity.WARNING),
        SimpleNamespace(title="Loss plateau detected", severity=Severity.INFO),
    )
    sys.modules["torchmortem"].Autopsy.findings = findings
    training = Twin("iris", (8,), batch_size=50, epochs=1)(0)
    assert torchmortem_peer.findings(training) == ["dead units"]


def losses_with(autopsies, **options):
    training: Training = Twin("iris", (8,), batch_size=100, epochs=5, options=options)(0)
    torchmortem_peer.findings(training)
    return autopsies[-1].losses


def test_torchmortem_sees_the_options_of_the_training(autopsies):
    plain = losses_with(autopsies)
    weights = [one.detach() for one in in_torch(Twin("iris", (8,))(0)).module.parameters() if one.ndim > 1]
    for options, added in [
        ({"l2": 2.0}, sum(float((one**2).sum()) for one in weights)),
        ({"l1": 0.5}, 0.5 * sum(float(one.abs().sum()) for one in weights)),
    ]:
        assert losses_with(autopsies, **options)[0] == pytest.approx(plain[0] + added, rel=1e-4)
    assert losses_with(autopsies, schedule="cosine")[-1] > plain[-1]
    assert losses_with(autopsies, class_weight="balanced")[0] == pytest.approx(plain[0], abs=0.1)


def test_causes_of_torchmortem_are_codes_of_rules():
    from chainrule.health.rules import RULES

    assert {cause for causes in torchmortem_peer.NAMED_CAUSES.values() for cause in causes} <= set(RULES)
