"""Checkups that the tests of their text, page and JSON share, each made once."""

import functools
import itertools
from dataclasses import replace

import numpy as np

from chainrule import nn, optim
from chainrule.health.describe import described
from chainrule.health.diagnosis import Finding, diagnose
from chainrule.health.evidence import Clock, gather
from chainrule.health.examination import Checkup, checkup
from chainrule.health.gates import InputBlind, Memorised, Sweep
from chainrule.health.proof import Proof
from chainrule.health.rules import RULES, Candidate
from chainrule.health.trainings import Measured

RNG = np.random.default_rng(11)
Y = np.arange(240) % 3
X = (RNG.standard_normal((240, 6)) + 3.5 * np.eye(3, 6)[Y]).astype(np.float32)
BUDGET = "20s"


def net(widths=(6, 12, 3), activation=nn.ReLU):
    modules = []
    for seed, (width_in, width_out) in enumerate(itertools.pairwise(widths)):
        modules += [nn.Linear(width_in, width_out, rng=seed), activation()]
    return nn.Sequential(*modules[:-1])


def _checked(module, data=(X, Y), optimizer=None, budget=BUDGET, **settings):
    optimizer = optimizer or optim.Adam(lr=1e-2)
    return checkup(module, data, optimizer=optimizer, budget=budget, epochs=8, **settings)


def _zero():
    module = net((6, 8, 8, 3))
    for one in module.modules():
        if isinstance(one, nn.Linear):
            one.weight = np.zeros(one.weight.shape)
    return _checked(module)


def _flipped():
    loss = nn.CrossEntropyLoss()
    return _checked(net(), optimizer=optim.SGD(lr=1e-2), loss=lambda outputs, y: -loss(outputs, y))


def _not_finite():
    """NaN in the inputs: nothing can be trained, and here no remedy is tried."""
    holed = X.copy()
    holed[3, 2], holed[5, 0] = np.nan, np.inf
    evidence = gather(described(net(), (holed, Y)), 1.0)
    return Checkup(evidence, diagnose(evidence, Clock(1e-9)))


def _numbers():
    targets = (X @ np.arange(6.0)[:, None]).astype(np.float32)
    return _checked(net((6, 8, 1)), (X, 1e4 * targets), optimizer=optim.SGD(lr=1e-2))


MAKERS = {
    "healthy": lambda: _checked(net()),
    "zero": _zero,
    "deep sigmoid": lambda: _checked(net((6,) + (10,) * 8 + (3,), nn.Sigmoid), optimizer=optim.SGD(lr=0.1)),
    "rate x 1000": lambda: _checked(net((6, 16, 16, 3)), optimizer=optim.Adam(lr=10.0)),
    "unscaled": lambda: _checked(net(), (1e4 * X, Y), optimizer=optim.SGD(lr=0.1)),
    "not finite": _not_finite,
    "flipped": _flipped,
    "one layer": lambda: _checked(nn.Linear(6, 3, rng=0)),
    "no budget": lambda: _checked(net(), budget="0.01s"),
    "numbers": _numbers,
}


@functools.cache
def case(name):
    with np.errstate(all="ignore"):
        return MAKERS[name]()


def finding(code="vanishing", critical=True, **candidate):
    rule = RULES[code]
    given = {"measured": 250.0, "limit": 100.0, "where": "0", "detail": "δ is small", **candidate}
    return Finding(code, rule.symptom, critical, Candidate(**given), rule.equation, rule.formula, rule.source)


def proof(before=(0.11, 0.13), after=(0.96, 0.98), code="relu_he", title="ReLU & <He>'s rule"):
    return Proof(code, title, before, after, case("healthy").evidence.training)


def altered(findings=(), name="healthy", **changes):
    """A checkup with other findings and other evidence."""
    return Checkup(replace(case(name).evidence, **changes), list(findings))


def nothing_is_a_number():
    """A checkup in which every number that can be is infinite or NaN."""
    bad, worse = float("nan"), float("inf")
    evidence = case("healthy").evidence
    layers = tuple(
        replace(one, h_rms=bad, delta_rms=worse, gradient_norm=bad, dead=bad, saturated=worse, spread=bad)
        for one in evidence.start.layers
    )
    start = replace(evidence.start, loss=bad, layers=layers)
    ran = replace(
        evidence.ran, losses=[bad, worse], after=Measured(worse, bad), before=Measured(bad, bad),
        validation=Measured(bad, bad),
    )  # fmt: skip
    return altered(
        [finding(measured=bad, limit=worse), finding("no_signal", False, measured=-worse, where="y")],
        start=start, early=start, end=start, ran=ran, baseline=bad, perfect_loss=bad, constant_loss=worse,
        memorised=Memorised(bad, worse), swept=Sweep((0.1, 1.0), (worse, worse), bad, bad, bad),
        blind=InputBlind(-worse, -worse, 0.3),
    )  # fmt: skip
