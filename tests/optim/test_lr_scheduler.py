"""Learning-rate schedulers against PyTorch's and against their formulas."""

import math
import pickle

import numpy as np
import pytest
from tests.optim.problems import leaf

from chainrule import optim
from chainrule.optim import Adaptive, Schedule, StepDecay, lr_scheduler

N_STEPS = 100


def sgd(*rates, momentum=0.5):
    """An optimizer with a parameter group for each rate."""
    return optim.SGD([{"params": [leaf([0.0])], "lr": rate} for rate in rates], momentum=momentum)


def rates_of(scheduler, optimizer, n_steps=N_STEPS, measures=None):
    """The rates at each step, and the momenta."""
    table = []
    for step in range(n_steps):
        assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups]
        table.append(
            [(group["lr"], group.get("momentum"), group.get("betas")) for group in optimizer.param_groups]
        )
        scheduler.step(*(() if measures is None else (measures[step],)))
    return table


# -- parity with PyTorch ---------------------------------------------------------------------------

CASES = {
    "lambda": ("LambdaLR", {"lr_lambda": lambda step: 0.95**step}),
    "lambdas": ("LambdaLR", {"lr_lambda": [lambda step: 1 / (step + 1), lambda step: 0.5]}),
    "step": ("StepLR", {"step_size": 7}),
    "step, gamma": ("StepLR", {"step_size": 30, "gamma": 0.7}),
    "milestones": ("MultiStepLR", {"milestones": [50, 3, 20, 20], "gamma": 0.5}),
    "exponential": ("ExponentialLR", {"gamma": 0.9}),
    "cosine": ("CosineAnnealingLR", {"T_max": 99}),
    "cosine, again and again": ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.01}),
    "linear": ("LinearLR", {}),
    "linear, down": ("LinearLR", {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 60}),
    "one cycle": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 100}),
    "one cycle, by epochs": (
        "OneCycleLR", {"max_lr": [0.5, 1.0], "epochs": 11, "steps_per_epoch": 10, "pct_start": 0.1},
    ),
    "one cycle, three phases": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 120, "three_phase": True}),
    "one cycle, lines": (
        "OneCycleLR", {
            "max_lr": 0.5, "total_steps": 101, "anneal_strategy": "linear", "div_factor": 10.0,
            "final_div_factor": 50.0, "base_momentum": [0.1, 0.2], "max_momentum": 0.7,
        },
    ),
    "one cycle, momentum stays": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 100, "cycle_momentum": False}),
}  # fmt: skip


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="parity with PyTorch needs torch")


def their_sgd(torch, *rates, momentum=0.5):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, momentum=momentum)


def check(ours, theirs):
    for our, their in zip(ours, theirs, strict=True):
        for (rate, momentum, betas), (their_rate, their_momentum, their_betas) in zip(
            our, their, strict=True
        ):
            assert rate == pytest.approx(their_rate, rel=1e-10, abs=1e-15)
            assert momentum == (None if their_momentum is None else pytest.approx(their_momentum, rel=1e-12))
            assert betas == (None if their_betas is None else pytest.approx(their_betas, rel=1e-12))


@pytest.mark.parametrize("case", CASES)
def test_torch(torch, case):
    name, settings = CASES[case]
    ours, theirs = sgd(0.1, 0.3), their_sgd(torch, 0.1, 0.3)
    scheduler, their_scheduler = (
        getattr(one, name)(optimizer, **settings)
        for one, optimizer in ((lr_scheduler, ours), (torch.optim.lr_scheduler, theirs))
    )
    theirs.step()
    check(rates_of(scheduler, ours), rates_of(their_scheduler, theirs))
    assert scheduler.last_epoch == their_scheduler.last_epoch == N_STEPS


def test_torch_one_cycle_of_beta(torch):
    ours, theirs = optim.Adam([leaf([0.0])]), torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    settings = {"max_lr": 0.1, "total_steps": 100}
    scheduler = lr_scheduler.OneCycleLR(ours, **settings)
    their_scheduler = torch.optim.lr_scheduler.OneCycleLR(theirs, **settings)
    theirs.step()
    found = rates_of(scheduler, ours)
    check(found, rates_of(their_scheduler, theirs))
    assert {betas[1] for ((_, _, betas),) in found} == {0.999}


PLATEAUS = {
    "as it is": {},
    "impatient": {"patience": 0, "factor": 0.5},
    "upwards": {"mode": "max", "patience": 2},
    "upwards, absolute": {"mode": "max", "patience": 2, "threshold": 0.2, "threshold_mode": "abs"},
    "absolute": {"patience": 3, "threshold": 0.1, "threshold_mode": "abs", "cooldown": 4},
    "bounded": {"patience": 1, "factor": 0.3, "min_lr": [0.01, 0.1], "cooldown": 1},
    "coarse": {"patience": 1, "factor": 0.9, "eps": 0.005},
}


@pytest.mark.parametrize("case", PLATEAUS)
@pytest.mark.parametrize("seed", [0, 1])
def test_torch_plateau(torch, case, seed):
    ours, theirs = sgd(0.1, 0.3), their_sgd(torch, 0.1, 0.3)
    scheduler = lr_scheduler.ReduceLROnPlateau(ours, **PLATEAUS[case])
    their_scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **PLATEAUS[case])
    rng = np.random.default_rng(seed)
    measures = 3 * np.exp(-np.arange(N_STEPS) / 20) + 0.3 * rng.normal(size=N_STEPS)
    measures[50] = np.nan  # which is no improvement
    found = rates_of(scheduler, ours, measures=measures)
    check(found, rates_of(their_scheduler, theirs, measures=measures))
    assert len({row[0][0] for row in found}) > 1
    assert scheduler.best == their_scheduler.best


# -- formulas --------------------------------------------------------------------------------------


def test_known_rates():
    def first(make, n_steps):
        optimizer = sgd(8.0)
        return [row[0][0] for row in rates_of(make(optimizer), optimizer, n_steps)]

    assert first(lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5), 5) == [8, 8, 4, 4, 2]
    assert first(lambda o: lr_scheduler.MultiStepLR(o, [1, 3], gamma=0.5), 5) == [8, 4, 4, 2, 2]
    assert first(lambda o: lr_scheduler.ExponentialLR(o, 0.5), 4) == [8, 4, 2, 1]
    assert first(lambda o: lr_scheduler.LinearLR(o, 0.25, 0.75, 2), 4) == [2, 4, 6, 6]
    assert first(lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)), 3) == [8, 4, 8 / 3]
    found = first(lambda o: lr_scheduler.CosineAnnealingLR(o, 4, eta_min=2.0), 9)
    expected = [5 + 3 * math.cos(math.pi * step / 4) for step in range(9)]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    found = first(lambda o: lr_scheduler.OneCycleLR(o, 8.0, 11, pct_start=0.5, anneal_strategy="linear"), 11)
    assert found[0] == pytest.approx(8 / 25)
    assert found[-1] == pytest.approx(8 / 25 / 1e4)
    assert (found[4] + found[5]) / 2 == pytest.approx(8.0, rel=0.1)  # the peak is at 4.5


def test_a_cycle_that_begins_at_its_peak_or_ends_there():
    for pct_start, peak in ((0.1, 0), (0.0, 0), (1.0, 9)):
        optimizer = sgd(1.0)
        scheduler = lr_scheduler.OneCycleLR(optimizer, 8.0, 10, pct_start=pct_start)
        rates = [row[0][0] for row in rates_of(scheduler, optimizer, 10)]
        assert rates[peak] == pytest.approx(8.0, rel=0.1), pct_start
        assert np.argmax(rates) == peak


def test_no_rounding_adds_up():
    """The rate at a step is a function of the step."""
    optimizer = sgd(0.1)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, 10)
    found = rates_of(scheduler, optimizer, 2001)
    assert found[0] == found[2000]
    assert found[1000][0][0] == 0.1
    assert found[1010][0][0] == 0.0


# -- our own schedules -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", optim.SCHEDULES)
def test_our_schedules_in_a_loop(name):
    optimizer = sgd(0.1, 0.3)
    scheduler = lr_scheduler.ScheduleLR(optimizer, name, total_steps=N_STEPS, steps_per_epoch=10)
    found = [[rate for rate, _, _ in row] for row in rates_of(scheduler, optimizer)]
    factors = optim.SCHEDULES[name]().factors(np.arange(N_STEPS), N_STEPS, 10)
    np.testing.assert_allclose(found, np.outer(factors, [0.1, 0.3]), rtol=1e-14)


def test_a_schedule_that_is_told_how_epochs_went():
    optimizer, schedule = sgd(1.0), Adaptive(patience=1, divisor=4.0, minimum=0.1)
    scheduler = lr_scheduler.ScheduleLR(optimizer, schedule, total_steps=10)
    rates, ended = [], []
    for improved in (True, False, True, False):
        ended.append(scheduler.epoch_ended(improved))
        scheduler.step()
        rates += scheduler.get_last_lr()
    assert rates == [1.0, 0.25, 0.25, 0.0625]
    assert ended == [False, False, False, True]
    assert schedule.factors(np.arange(1), 10, 1) == 1.0  # a copy was used


# -- state -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_going_on_from_a_saved_state(case):
    name, settings = CASES[case]

    def make():
        optimizer = sgd(0.1, 0.3)
        return optimizer, getattr(lr_scheduler, name)(optimizer, **settings)

    optimizer, scheduler = make()
    rates_of(scheduler, optimizer, 20)
    again, restored = make()
    again.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    restored.load_state_dict(pickle.loads(pickle.dumps(scheduler.state_dict())))
    assert rates_of(restored, again, 50) == rates_of(scheduler, optimizer, 50)


def test_going_on_from_the_optimizer_s_state_alone():
    optimizer = sgd(0.1)
    rates_of(lr_scheduler.StepLR(optimizer, 3), optimizer, 10)
    again = sgd(7.0)
    with pytest.raises(ValueError, match="last_epoch=9 needs 'initial_lr' in parameter group 0"):
        lr_scheduler.StepLR(again, 3, last_epoch=9)
    again.load_state_dict(optimizer.state_dict())
    scheduler = lr_scheduler.StepLR(again, 3, last_epoch=9)
    assert scheduler.last_epoch == 10
    assert scheduler.get_last_lr() == [pytest.approx(1e-4)]


def test_state_of_a_plateau_and_of_a_schedule():
    optimizer = sgd(1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
    for measure in (1.0, 2.0, 2.0):
        scheduler.step(measure)
    restored = lr_scheduler.ReduceLROnPlateau(optimizer)
    restored.load_state_dict(scheduler.state_dict())
    restored.step(leaf(2.0))
    assert restored.get_last_lr() == [0.1]
    optimizer = sgd(1.0)
    adaptive = lr_scheduler.ScheduleLR(optimizer, Adaptive(patience=1), total_steps=10)
    adaptive.epoch_ended(False)
    saved = adaptive.state_dict()
    assert not any(isinstance(value, Schedule) for value in saved.values())
    restored = lr_scheduler.ScheduleLR(optimizer, Adaptive(patience=1), total_steps=10)
    restored.load_state_dict(saved)
    restored.step()
    assert restored.get_last_lr() == [0.2]


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda o: lr_scheduler.StepLR(o.param_groups, 3), TypeError, "must be an Optimizer .*; got list"),
        (lambda o: lr_scheduler.StepLR(optim.SGD(lr=0.1), 3), ValueError, "got a description for"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(optim.SGD()), ValueError, "got a description"),
        (lambda o: lr_scheduler.StepLR(o, 0), ValueError, "step_size must be a whole number .* got 0"),
        (lambda o: lr_scheduler.StepLR(o, 1.5), ValueError, "step_size must be a whole number"),
        (lambda o: lr_scheduler.ExponentialLR(o, -1), ValueError, "gamma must be zero or a positive"),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 0), ValueError, "T_max must be a whole number"),
        (lambda o: lr_scheduler.LinearLR(o, 0.0), ValueError, "start_factor must be above 0"),
        (lambda o: lr_scheduler.LinearLR(o, 0.5, 2.0), ValueError, r"end_factor must lie in \[0, 1\]"),
        (lambda o: lr_scheduler.LambdaLR(o, [abs, abs]), ValueError, "lr_lambda .* group, 1; got 2"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1), ValueError, "total_steps must be given, or both epochs"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, epochs=3), ValueError, "total_steps must be given"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, 10, pct_start=2), ValueError, "pct_start must lie"),
        (
            lambda o: lr_scheduler.OneCycleLR(o, 0.1, 10, anneal_strategy="exp"), ValueError,
            "anneal_strategy must be 'cos' or 'linear'; got 'exp'",
        ),
        (
            lambda o: lr_scheduler.OneCycleLR(optim.LBFGS([leaf([0.0])]), 0.1, 10), ValueError,
            "cycle_momentum=True needs an optimizer with momentum or betas; got LBFGS",
        ),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, "least"), ValueError, "mode must be .* got 'least'"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "threshold_mode"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), ValueError, r"factor must lie in \[0, 1\)"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, min_lr=[0, 0]), ValueError, "min_lr .* group, 1; got 2"),
        (lambda o: lr_scheduler.ScheduleLR(o, "cosinus", 10), ValueError, "schedule must be one of"),
        (lambda o: lr_scheduler.ScheduleLR(o, StepDecay(), 0), ValueError, "total_steps must be a whole"),
    ],
)  # fmt: skip
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(sgd(0.1))


def test_a_cycle_ends():
    optimizer = sgd(0.1)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=3)
    for _ in range(3):
        scheduler.step()
    with pytest.raises(ValueError, match=r"the cycle has 3 steps; step\(\) was called once more"):
        scheduler.step()
