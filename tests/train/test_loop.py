"""The loop: where a stretch ends changes nothing, and a deadline is kept."""

import time

import numpy as np
import pytest

from chainrule import nn, optim
from chainrule.engine.threads import available_processors
from chainrule.execution import Penalty, prepare
from chainrule.plan import flatten, lower
from chainrule.train import Trainer, loop, make_executor

N_ROWS = 203


@pytest.fixture
def trainer():
    """Makes trainers of one network with all that could depend on the step: masks, moments, statistics."""
    module = nn.Sequential(
        nn.Linear(4, 8, rng=0), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3, rng=1)
    )
    plan = lower(module, "softmax_cross_entropy")
    rng = np.random.default_rng(0)
    examples = prepare(plan, rng.normal(size=(N_ROWS, 4)), rng.integers(0, 3, N_ROWS))

    def make(executor="engine", batch_size=2, **changes):
        state = module.state_dict()
        parameters = flatten(state, plan.parameters, np.float32)
        buffers = flatten(state, plan.buffers, np.float32)
        settings = {"penalty": Penalty(l2=0.01), "clip_norm": 1.0, "seed": 5, "telemetry_every": 7, **changes}
        return Trainer(
            make_executor(executor, plan, parameters, buffers),
            examples,
            optim.AdamW(lr=0.01, eps=1e-2),
            batch_size,
            **settings,
        )

    return make


def outcome(run, orders):
    rates = np.linspace(0.01, 0.001, run.steps_per_epoch)
    reports = [run.epoch(order, rates) for order in orders]
    executor = run.executor
    arrays = [executor.parameters, executor.buffers, run.state]
    for report in reports:
        arrays += [report.telemetry_steps, report.operations, report.slots]
    return b"".join(array.tobytes() for array in arrays), reports


@pytest.mark.parametrize("shuffled", [True, False])
def test_the_length_of_a_stretch_does_not_change_a_bit(monkeypatch, trainer, shuffled):
    rng = np.random.default_rng(1)
    orders = [rng.permutation(N_ROWS).astype(np.int64) if shuffled else None for _ in range(3)]
    results = {}
    for seconds in (1e-9, 0.1, 1e9):
        monkeypatch.setattr(loop, "STRETCH_SECONDS", seconds)
        run = trainer()
        results[seconds] = outcome(run, orders)
        assert run.step == 3 * run.steps_per_epoch
        # The setting had an effect: one step at a time, or whole epochs.
        assert (run._stretch == 1) == (seconds == 1e-9)
        assert run._stretch > 102 or seconds != 1e9
    bits = {one for one, _ in results.values()}
    assert len(bits) == 1
    for _, reports in results.values():
        assert [report.n_rows for report in reports] == [N_ROWS] * 3
        assert [report.n_steps for report in reports] == [102] * 3
        np.testing.assert_allclose([r.loss for r in reports], [r.loss for r in results[1e9][1]], rtol=1e-12)


def test_the_reference_goes_the_same_way(trainer):
    order = np.random.default_rng(2).permutation(N_ROWS).astype(np.int64)
    runs = [trainer(executor, batch_size=50) for executor in ("engine", "reference")]
    rates = np.full(5, 0.01)  # the large ε keeps Adam from making steps of rounding noise
    engine, reference = (run.epoch(order, rates) for run in runs)
    np.testing.assert_allclose(runs[0].executor.parameters, runs[1].executor.parameters, rtol=1e-3, atol=1e-5)
    assert engine.loss == pytest.approx(reference.loss, rel=1e-4)
    assert (engine.n_rows, engine.n_steps) == (reference.n_rows, reference.n_steps) == (N_ROWS, 5)


def test_a_deadline_that_has_passed_lets_one_stretch_through(trainer):
    run = trainer(telemetry_every=0)
    run._stretch = 16
    report = run.epoch(None, np.full(102, 0.01), deadline=time.monotonic() - 1)
    assert report.n_steps == 16
    assert report.n_rows == 2 * report.n_steps
    assert run.step == report.n_steps
    rest = run.epoch(None, np.full(102, 0.01))
    assert rest.n_steps == 102


def test_a_deadline_in_the_middle_of_an_epoch(trainer):
    class Slow:
        """An executor of which every step takes a while."""

        def __init__(self, inner):
            self.inner, self.parameters = inner, inner.parameters

        def run(self, examples, instructions):
            time.sleep(0.02)
            return self.inner.run(examples, instructions)

    run = trainer(telemetry_every=0)
    run.executor = Slow(run.executor)
    run._stretch = 1
    began = time.monotonic()
    report = run.epoch(None, np.full(102, 0.01), deadline=began + 0.05)
    assert report.n_steps < 102
    assert time.monotonic() - began < 2


def test_the_last_batch_takes_what_is_left(trainer):
    run = trainer(batch_size=50)
    assert run.steps_per_epoch == 5
    assert trainer(batch_size=N_ROWS).steps_per_epoch == 1
    assert run.epoch(None, np.full(5, 0.01)).n_rows == N_ROWS


def test_threads_are_counted_as_scikit_learn_counts_them(trainer):
    plan = trainer().executor.plan
    vectors = np.zeros(plan.n_parameters), np.zeros(plan.n_buffers)

    def threads(n_jobs):
        return make_executor("engine", plan, *vectors, n_jobs).n_threads

    assert threads(None) is None
    assert threads(3) == 3
    assert threads(-1) == available_processors()
    assert threads(-available_processors()) == 1
    assert threads(-1000) == 1
    with pytest.raises(ValueError, match="n_jobs must not be 0: give a number of threads"):
        threads(0)
    with pytest.raises(
        ValueError,
        match="executor must be one of auto, engine, tape, reference, finite_differences; got 'cuda'",
    ):
        make_executor("cuda", plan, *vectors)
