"""Schedules against their formulas."""

import math

import numpy as np
import pytest

from chainrule.optim import (
    SCHEDULES,
    Adaptive,
    Constant,
    CosineWarmup,
    InverseScaling,
    OneCycle,
    StepDecay,
    make_schedule,
)

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


def test_make_by_name():
    schedule = Constant()
    assert make_schedule(schedule) is schedule
    with pytest.raises(ValueError, match=r"schedule must be one of adaptive, constant, .*; got 3\."):
        make_schedule(3)


def test_repr():
    assert repr(Adaptive()) == "Adaptive(patience=2, divisor=5.0, minimum=0.001)"
    assert repr(Constant()) == "Constant()"


@pytest.mark.parametrize(
    ("make", "message"),
    [
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
