"""A loss that takes the logarithm of 0: found, and mended by one that is computed from logits."""

import numpy as np
import pytest
from tests.health.examples import blobs

from chainrule import nn
from chainrule.health.describe import described
from chainrule.health.evidence import gather
from chainrule.health.examination import checkup
from chainrule.health.prescriptions import PRESCRIPTIONS
from chainrule.optim import SGD

BUDGET = "60s"


def remedy(training):
    return PRESCRIPTIONS["loss_of_logits"].make(training, gather(training, 0.1))


def negative_log(p, y):
    """-ln p_y: infinite where a probability is rounded to 0."""
    return -p[np.arange(len(y)), y].log().mean()


def of_logits(z, y):
    e = z.exp()
    return negative_log(e / e.sum(axis=1, keepdims=True), y)


def overflowing():
    """Logits in the hundreds at the start, so that exp overflows."""
    net = nn.Sequential(nn.Linear(2, 16, rng=0), nn.ReLU(), nn.Linear(16, 3, rng=1))
    net[2].weight = 300 * net[2].weight.data
    return net


def test_of_this_library(recwarn):
    report = checkup(overflowing(), blobs(), loss=of_logits, optimizer=SGD(lr=1e-3), epochs=10, budget=BUDGET)
    assert report.findings[0].code == "non_finite"
    assert report.findings[0].critical
    proofs = {one.code: one for one in report.findings[0].proofs}
    assert proofs["loss_of_logits"].helped
    assert isinstance(proofs["loss_of_logits"].training.loss, nn.CrossEntropyLoss)


def test_of_one_probability():
    X, y = blobs()
    y = (y > 0).astype(np.float32)[:, None]
    net = nn.Sequential(nn.Linear(2, 8, rng=0), nn.Tanh(), nn.Linear(8, 1, rng=1), nn.Sigmoid())

    def loss(p, y):
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()

    made = remedy(described(net, (X, y), loss=loss))
    assert isinstance(made.loss, nn.BCEWithLogitsLoss)
    assert [type(one).__name__ for one in made.module.children()] == ["Linear", "Tanh", "Linear"]


def test_of_a_module_of_pytorch(torch):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3), torch.nn.Softmax(dim=1)
    )
    with torch.no_grad():
        net[2].weight *= 300

    def loss(p, y):
        return -p[torch.arange(len(y)), y].log().mean()

    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    report = checkup(net, blobs(), loss, optimizer, epochs=10, budget=BUDGET)
    assert report.findings[0].code == "non_finite"
    made = next(one for one in report.findings[0].proofs if one.code == "loss_of_logits")
    assert made.helped
    assert isinstance(made.training.loss, torch.nn.CrossEntropyLoss)
    assert not any(isinstance(one, torch.nn.Softmax) for one in report.apply(made).module.modules())


@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", nn.CrossEntropyLoss(), nn.MSELoss(), lambda z, y: (z**2).mean()]
)
def test_other_losses_are_left(loss):
    X, y = blobs()
    if isinstance(loss, nn.MSELoss):
        y = y.astype(np.float32)[:, None]
    net = nn.Sequential(nn.Linear(2, 8, rng=0), nn.ReLU(), nn.Linear(8, 1 if y.ndim > 1 else 3, rng=1))
    assert remedy(described(net, (X, y), loss=loss)) is None


def test_a_step_of_the_users_own_is_left():
    def step(module, optimizer, x, y):
        optimizer.zero_grad()
        value = of_logits(module(x), y)
        value.backward()
        optimizer.step()
        return value

    net = nn.Sequential(nn.Linear(2, 3, rng=0))
    assert remedy(described(net, blobs(), loss=of_logits, step=step)) is None
