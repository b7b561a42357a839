"""Optimizers and schedules against their formulas, PyTorch and scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from chainrule.optim import (
    OPTIMIZERS,
    RULES,
    SCHEDULES,
    SGD,
    Adam,
    AdamW,
    Adaptive,
    Constant,
    CosineWarmup,
    InverseScaling,
    OneCycle,
    StepDecay,
    make_optimizer,
    make_schedule,
)

N = 30


def gradients(n_steps=50, seed=0):
    """Gradients as a training's might be: a few entries are zero throughout, the sizes differ."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(n_steps, N)) * 10.0 ** rng.integers(-4, 2, N)
    table[:, :3] = 0.0
    return table


def start(seed=1):
    return np.random.default_rng(seed).normal(size=N)


def run(optimizer, w, table, rates=None):
    """All steps by the array rule; returns the parameters after each."""
    w, state, after = w.copy(), np.zeros((2, len(w))), []
    rates = np.full(len(table), optimizer.lr) if rates is None else rates
    coefficients = optimizer.coefficients(rates, 0)
    assert coefficients.shape == (len(table), 8)
    for row, g in zip(coefficients, table, strict=True):
        before = g.copy()
        optimizer.rule.update(w, state, g, row)
        np.testing.assert_array_equal(g, before)
        after.append(w.copy())
    return np.array(after)


VARIANTS = {
    "sgd": SGD(0.1),
    "momentum": SGD(0.1, 0.9),
    "nesterov": SGD(0.1, 0.9, 0.01, True),
    "decoupled": SGD(0.1, 0.9, decoupled_weight_decay=0.3),
    "rate in velocity": SGD(0.1, 0.9, nesterov=True, rate_in_velocity=True),
    "adam": Adam(0.1),
    "adam, decay": Adam(0.1, (0.8, 0.95), 1e-3, 0.1),
    "epsilon hat": Adam(0.1, epsilon_hat=True),
    "adamw": AdamW(0.1),
}


# -- update rules ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_scalar_update_equals_update(name):
    optimizer = VARIANTS[name]
    table, w, state = gradients(), start(), np.zeros((2, N))
    numbers = [(one, 0.0, 0.0) for one in w.tolist()]
    for row, g in zip(optimizer.coefficients(np.linspace(0.1, 0.01, 50), 0), table, strict=True):
        optimizer.rule.update(w, state, g, row)
        numbers = [
            optimizer.rule.scalar_update(*one, slope, tuple(row))
            for one, slope in zip(numbers, g.tolist(), strict=True)
        ]
        np.testing.assert_allclose(np.array(numbers).T, np.array([w, *state]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", VARIANTS)
def test_updates_keep_single_precision(name):
    optimizer = VARIANTS[name]
    w, state = start().astype(np.float32), np.zeros((2, N), np.float32)
    row = optimizer.coefficients(np.array([0.1]), 0)[0].astype(np.float32)
    optimizer.rule.update(w, state, gradients()[0].astype(np.float32), row)
    assert w.dtype == state.dtype == np.float32
    assert np.isfinite(w).all()


def test_every_rule_has_a_variant():
    assert {optimizer.rule.name for optimizer in VARIANTS.values()} == set(RULES)
    assert {type(optimizer) for optimizer in VARIANTS.values()} == set(OPTIMIZERS.values())
    assert all(rule.name == name and rule.formula and rule.source for name, rule in RULES.items())


def test_first_steps_by_hand():
    w, g = np.array([1.0]), np.array([[0.5], [0.5]])
    np.testing.assert_allclose(run(SGD(0.1), w, g).ravel(), [0.95, 0.9])
    np.testing.assert_allclose(run(SGD(0.1, 0.9), w, g).ravel(), [0.95, 0.95 - 0.1 * (0.45 + 0.5)])
    # Nesterov: v = 0.5, then w − η (μ v + g)
    np.testing.assert_allclose(run(SGD(0.1, 0.9, nesterov=True), w, g)[0], 1 - 0.1 * (0.45 + 0.5))
    # Adam's first step has the length η whatever the gradient: m̂ = g, v̂ = g².
    np.testing.assert_allclose(run(Adam(0.1), w, g)[0], 0.9, atol=1e-8)
    np.testing.assert_allclose(run(SGD(0.1, weight_decay=0.2), w, g)[0], 1 - 0.1 * (0.5 + 0.2))
    np.testing.assert_allclose(run(SGD(0.1, decoupled_weight_decay=0.2), w, 0 * g)[0], 1 - 0.1 * 0.2)


@pytest.mark.parametrize("name", VARIANTS)
def test_coefficients_count_the_steps_taken(name):
    optimizer, rates = VARIANTS[name], np.linspace(0.1, 0.2, 10)
    whole = optimizer.coefficients(rates, 5)
    np.testing.assert_array_equal(
        np.vstack([optimizer.coefficients(rates[:4], 5), optimizer.coefficients(rates[4:], 9)]), whole
    )
    np.testing.assert_array_equal(whole, optimizer.coefficients(rates, 5))  # the object keeps no state


# -- parity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "name", "arguments"),
    [
        (SGD(0.05), "SGD", {"lr": 0.05}),
        (SGD(0.05, 0.9), "SGD", {"lr": 0.05, "momentum": 0.9}),
        (SGD(0.05, 0.9, 0.1), "SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}),
        (
            SGD(0.05, 0.9, 0.1, True),
            "SGD",
            {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
        ),
        (Adam(0.05), "Adam", {"lr": 0.05}),
        (
            Adam(0.05, (0.8, 0.9), 1e-4, 0.1),
            "Adam",
            {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.1},
        ),
        (AdamW(0.05), "AdamW", {"lr": 0.05}),
        (
            AdamW(0.05, (0.8, 0.9), 1e-4, 0.2),
            "AdamW",
            {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-4, "weight_decay": 0.2},
        ),
    ],
    ids=repr,
)
def test_torch(ours, name, arguments):
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    parameter = torch.nn.Parameter(torch.tensor(start()))
    theirs = getattr(torch.optim, name)([parameter], **arguments)
    rates = np.linspace(0.05, 0.01, 50)  # a rate that changes, as under a schedule
    expected = []
    for rate, g in zip(rates, gradients(), strict=True):
        theirs.param_groups[0]["lr"] = rate
        parameter.grad = torch.tensor(g)
        theirs.step()
        expected.append(parameter.detach().numpy().copy())
    np.testing.assert_allclose(run(ours, start(), gradients(), rates), expected, rtol=1e-12, atol=1e-12)


def test_defaults_are_those_of_torch():
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    for name, ours in {"SGD": SGD(), "Adam": Adam(), "AdamW": AdamW()}.items():
        defaults = getattr(torch.optim, name)([torch.zeros(1)]).defaults
        for setting, value in vars(ours).items():
            assert defaults.get(setting, value) == value, (name, setting)


@pytest.mark.parametrize("nesterov", [False, True])
def test_scikit_learn_sgd(nesterov):
    """Its velocity holds the rate: v ← μ v − η g. The rate changes here, so the form matters."""
    w = start()
    theirs = SGDOptimizer([w], 0.1, "invscaling", momentum=0.9, nesterov=nesterov, power_t=0.5)
    rates = 0.1 / (np.arange(50) + 1.0) ** 0.5
    expected = []
    for rate, g in zip(rates, gradients(), strict=True):
        theirs.learning_rate = rate
        theirs.update_params([w], [g])
        expected.append(w.copy())
    ours = SGD(0.1, 0.9, nesterov=nesterov, rate_in_velocity=True)
    np.testing.assert_allclose(run(ours, start(), gradients(), rates), expected, rtol=1e-12, atol=1e-12)
    outside = SGD(0.1, 0.9, nesterov=nesterov)
    assert np.abs(run(outside, start(), gradients(), rates) - expected).max() > 1e-3


def test_scikit_learn_adam():
    w = start()
    theirs = AdamOptimizer([w], 0.1, 0.8, 0.95, 1e-4)
    expected = []
    for g in gradients():
        theirs.update_params([w], [g])
        expected.append(w.copy())
    found = run(Adam(0.1, (0.8, 0.95), 1e-4, epsilon_hat=True), start(), gradients())
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert np.abs(run(Adam(0.1, (0.8, 0.95), 1e-4), start(), gradients()) - expected).max() > 1e-6


# -- schedules -------------------------------------------------------------------------------------

STEPS, TOTAL, EPOCH = np.arange(100), 100, 10


def factors(schedule, total=TOTAL):
    return schedule.factors(np.arange(total), total, EPOCH)


def test_constant():
    np.testing.assert_array_equal(factors(Constant()), np.ones(100))


def test_inverse_scaling():
    np.testing.assert_allclose(factors(InverseScaling(0.7)), (STEPS + 1.0) ** -0.7, rtol=1e-14)
    assert factors(InverseScaling())[3] == 0.5


def test_step_decay():
    found = factors(StepDecay(every=3, factor=0.5))
    np.testing.assert_array_equal(found, np.repeat([1, 0.5, 0.25, 0.125], [30, 30, 30, 10]))


def test_cosine_warmup():
    found = factors(CosineWarmup(warmup=0.1, final=0.2))
    np.testing.assert_allclose(found[:10], np.arange(1, 11) / 10)
    expected = [0.2 + 0.8 * (1 + math.cos(math.pi * (t - 10) / 90)) / 2 for t in range(10, 100)]
    np.testing.assert_allclose(found[10:], expected, rtol=1e-14)
    assert found[55] == pytest.approx(0.6)  # half-way down
    no_warmup = factors(CosineWarmup(warmup=0.0))
    assert no_warmup[0] == 1.0
    assert no_warmup[50] == pytest.approx(0.5)
    assert 0 < no_warmup[99] < 1e-3


def test_one_cycle():
    found = factors(OneCycle(rise=0.3, start=10.0, end=1000.0))
    expected = [0.1 + 0.9 * (1 - math.cos(math.pi * t / 30)) / 2 for t in range(30)]
    np.testing.assert_allclose(found[:30], expected, rtol=1e-13)
    expected = [1e-3 + 0.999 * (1 + math.cos(math.pi * (t - 30) / 69)) / 2 for t in range(30, 100)]
    np.testing.assert_allclose(found[30:], expected, rtol=1e-13)
    assert found[[0, 15, 30, 99]] == pytest.approx([0.1, 0.55, 1.0, 1e-3])
    assert np.argmax(found) == 30


def test_adaptive():
    schedule = Adaptive(patience=2, divisor=5.0, minimum=0.1)
    ended, seen = [], []
    for improved in [True, False, True, False, False, True, False, False]:
        ended.append(schedule.epoch_ended(improved))
        seen.append(schedule.factors(STEPS[:1], TOTAL, EPOCH)[0])
    # An improvement resets the count; two bad epochs in a row divide; below the minimum it ends.
    np.testing.assert_allclose(seen, [1, 1, 1, 1, 0.2, 0.2, 0.2, 0.04])
    assert ended == [False] * 7 + [True]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("total", [1, 2, 10, 1000])
def test_every_schedule(name, total):
    schedule = make_schedule(name)
    assert type(schedule) is SCHEDULES[name]
    found = factors(schedule, total)
    assert found.shape == (total,)
    assert found.dtype == np.float64
    assert (found > 0).all()
    assert found.max() <= 1.0
    # The same in pieces: only the numbers of the steps count.
    pieces = [
        schedule.factors(np.arange(total)[part], total, EPOCH) for part in (slice(0, 1), slice(1, None))
    ]
    np.testing.assert_array_equal(np.concatenate(pieces), found)
    if name != "adaptive":
        assert schedule.epoch_ended(improved=False) is False


# -- making, printing, errors ----------------------------------------------------------------------


def test_make_by_name():
    assert type(make_optimizer("adamw")) is AdamW
    given = SGD(0.3)
    assert make_optimizer(given) is given
    schedule = Constant()
    assert make_schedule(schedule) is schedule
    with pytest.raises(
        ValueError, match="optimizer must be one of adam, adamw, sgd; got 'adamm'. Did you mean 'adam'"
    ):
        make_optimizer("adamm")
    with pytest.raises(ValueError, match=r"schedule must be one of adaptive, constant, .*; got 3\."):
        make_schedule(3)


def test_repr():
    assert repr(SGD(0.1)) == (
        "SGD(lr=0.1, weight_decay=0.0, momentum=0.0, nesterov=False, decoupled_weight_decay=0.0, "
        "rate_in_velocity=False)"
    )
    assert repr(Adaptive()) == "Adaptive(patience=2, divisor=5.0, minimum=0.001)"
    assert repr(Constant()) == "Constant()"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD(0.0), "lr must be a positive number; got 0.0"),
        (lambda: SGD(-1.0), "lr must be a positive number; got -1.0"),
        (lambda: Adam(math.nan), "lr must be a positive number; got nan"),
        (lambda: AdamW(math.inf), "lr must be a positive number; got inf"),
        (lambda: SGD(momentum=1.1), r"momentum must lie in \[0, 1\]; got 1.1"),
        (lambda: SGD(momentum=-0.1), "momentum must lie"),
        (lambda: SGD(weight_decay=-1), "weight_decay must be zero or a positive number; got -1"),
        (lambda: SGD(decoupled_weight_decay=math.nan), "decoupled_weight_decay must be zero or"),
        (lambda: Adam(betas=(1.0, 0.9)), r"betas\[0\] must lie in \[0, 1\); got 1.0"),
        (lambda: Adam(betas=(0.9, -0.1)), r"betas\[1\] must lie"),
        (lambda: Adam(eps=0), "eps must be a positive number; got 0"),
        (lambda: AdamW(weight_decay=-1), "weight_decay must be"),
        (lambda: InverseScaling(-1), "power must be"),
        (lambda: StepDecay(0), "every must be at least 1 epoch; got 0"),
        (lambda: StepDecay(factor=0), "factor must be"),
        (lambda: CosineWarmup(1.0), r"warmup must lie in \[0, 1\); got 1.0"),
        (lambda: CosineWarmup(final=-1), "final must lie"),
        (lambda: OneCycle(rise=1), "rise must lie"),
        (lambda: OneCycle(start=0), "start must be"),
        (lambda: OneCycle(end=-1), "end must be"),
        (lambda: Adaptive(patience=0), "patience must be at least 1 epoch; got 0"),
        (lambda: Adaptive(divisor=0), "divisor must be"),
        (lambda: Adaptive(minimum=0), "minimum must be"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
