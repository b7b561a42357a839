"""Threads: the same bits from any number of them, and a pool that survives errors, interrupts and forks."""

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from tests.engine.test_parity import linear, norm64, training
from tests.strategies import OPTIMIZERS, deterministic, distance, trainings

from chainrule import nn
from chainrule.engine import EngineExecutor
from chainrule.engine.threads import Pool, available_processors, interrupts_held_back, pool
from chainrule.execution import Penalty
from chainrule.reference import ReferenceExecutor

DTYPES = [np.float32, np.float64]


def big_training(seed=0, **changes):
    """A network with every kind of operation and several panels, over a few ragged batches."""
    block = nn.Sequential(linear(200, 200), norm64(nn.BatchNorm1d, 200), nn.SiLU(), nn.Dropout(0.2))
    module = nn.Sequential(
        linear(70, 200), norm64(nn.LayerNorm, 200), nn.ReLU(), nn.Residual(block), nn.Tanh(),
        linear(200, 130), linear(130, 3),
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    n_rows = 150
    options = {
        "X": rng.normal(size=(n_rows, 70)), "y": rng.integers(0, 3, n_rows),
        "weights": rng.uniform(0.1, 1, n_rows),
        "batch_size": 32, "order": rng.permutation(n_rows), "optimizer": OPTIMIZERS["adam"], "n_runs": 2,
        "changes": {"penalty": Penalty(0.01, 0.001), "clip_norm": 0.5, "telemetry_every": 2},
    }  # fmt: skip
    return training(module, "softmax_cross_entropy", seed, **{**options, **changes})


# -- the same bits ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_threads_gives_the_same_bits(dtype):
    case = big_training()
    first = case.run(EngineExecutor, dtype, n_threads=1)
    assert np.isfinite(first.parameters).all()
    assert (first.parameters != case.parameters.astype(dtype)).any()
    for n_threads in (1, 2, 3, 4, None):
        for _ in range(2):
            assert case.run(EngineExecutor, dtype, n_threads=n_threads).bits() == first.bits(), n_threads


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_and_prediction_too(dtype):
    case = big_training()
    results = set()
    for n_threads in (1, 2, 3, 4):
        engine = case.start(EngineExecutor, dtype, n_threads=n_threads)
        gradient = engine.gradient(case.examples(dtype))[2]
        results.add(gradient.tobytes() + engine.predict(case.examples(dtype).X).tobytes())
    assert len(results) == 1


@settings(deterministic, max_examples=60)
@given(trainings())
def test_random_trainings_give_the_same_bits(case):
    for dtype in DTYPES:
        results = {case.run(EngineExecutor, dtype, n_threads=n).bits() for n in (1, 2, 3, 4, 1)}
        assert len(results) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 63, 129, 191, 257, 300])
def test_odd_widths_give_the_same_bits(dtype, width):
    """Panels that end in the middle of a vector register."""
    module = nn.Sequential(
        linear(5, width), nn.GELU(), norm64(nn.BatchNorm1d, width), nn.Sigmoid(), linear(width, width)
    )
    case = training(
        module, "half_squared_error", optimizer=OPTIMIZERS["adam"], changes={"telemetry_every": 1}
    )
    assert len({case.run(EngineExecutor, dtype, n_threads=n).bits() for n in (1, 2, 3, 4)}) == 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_telemetry_changes_nothing(dtype, n_threads):
    case = big_training()
    outcomes = [
        case.run(EngineExecutor, dtype, {"telemetry_every": every}, n_threads=n_threads)
        for every in (0, 1, 3)
    ]
    for outcome in outcomes:
        np.testing.assert_array_equal(outcome.parameters, outcomes[0].parameters)
        np.testing.assert_array_equal(outcome.buffers, outcomes[0].buffers)
        np.testing.assert_array_equal(outcome.state, outcomes[0].state)
        assert [r.loss for r in outcome.reports] == [r.loss for r in outcomes[0].reports]
    assert outcomes[0].reports[0].operations.shape == (0, len(case.plan.operations), 5)
    assert [len(r.telemetry_steps) for r in outcomes[1].reports] == [5, 5]
    np.testing.assert_array_equal(outcomes[2].reports[1].telemetry_steps, [6, 9])


@pytest.mark.parametrize("make", [EngineExecutor, ReferenceExecutor])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_run_in_pieces_is_the_same_run(make, dtype):
    """Cut at multiples of the batch size, with the steps counted on: masks, telemetry and all."""
    case = big_training(n_runs=1)
    whole = case.run(make, dtype)
    executor, instructions = case.start(make, dtype), case.instructions(dtype)
    size, reports, step = case.batch_size, [], 0
    for first_batch, last_batch in ((0, 1), (1, 4), (4, 5)):
        order = case.order[first_batch * size : last_batch * size]
        piece = replace(
            instructions,
            order=order,
            first_step=step,
            coefficients=instructions.coefficients[first_batch:last_batch],
        )
        reports.append(executor.run(case.examples(dtype), piece))
        step += reports[-1].n_steps
    np.testing.assert_array_equal(executor.parameters, whole.parameters)
    np.testing.assert_array_equal(executor.buffers, whole.buffers)
    np.testing.assert_array_equal(instructions.state, whole.state)
    assert sum(r.n_rows for r in reports) == whole.reports[0].n_rows
    assert sum(r.loss for r in reports) == pytest.approx(whole.reports[0].loss, rel=1e-12)
    np.testing.assert_array_equal(
        np.concatenate([r.operations for r in reports]), whole.reports[0].operations
    )
    np.testing.assert_array_equal(np.concatenate([r.telemetry_steps for r in reports]), [0, 2, 4])


def test_identity_order_and_the_same_order_spelled_out():
    case = big_training(order=None)
    spelled = replace(case, order=np.arange(len(case.X)))
    assert case.run(EngineExecutor).bits() == spelled.run(EngineExecutor).bits()


# -- the pool --------------------------------------------------------------------------------------


def numbers_seen(workers):
    seen = []
    workers.run(seen.append)
    return sorted(seen)


def test_every_thread_runs_once():
    workers = Pool(3)
    for _ in range(50):
        assert numbers_seen(workers) == [0, 1, 2]


def test_an_error_reaches_the_caller_and_the_pool_lives_on():
    workers = Pool(3)
    finished = []

    def fail(number):
        if number == 1:
            raise RuntimeError("thread 1 failed")
        time.sleep(0.05)
        finished.append(number)

    for _ in range(2):
        finished.clear()
        with pytest.raises(RuntimeError, match="thread 1 failed"):
            workers.run(fail)
        assert sorted(finished) == [0, 2]  # the error waited for the others
        assert numbers_seen(workers) == [0, 1, 2]


def test_an_interrupt_waits_for_the_threads():
    workers = Pool(2)
    finished = []

    def work(number):
        if number == 0:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
        finished.append(number)

    with pytest.raises(KeyboardInterrupt), interrupts_held_back():
        workers.run(work)
    assert sorted(finished) == [0, 1]
    assert numbers_seen(workers) == [0, 1]


def test_an_interrupted_training_leaves_an_executor_that_works(monkeypatch):
    case = big_training()
    expected = case.run(EngineExecutor, n_threads=2).bits()
    workers, real = pool(2), pool(2).run

    def run_then_interrupt(function):
        real(function)
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "run", run_then_interrupt)
    with pytest.raises(KeyboardInterrupt):
        case.run(EngineExecutor, n_threads=2)
    monkeypatch.undo()
    assert not workers.busy.locked()
    assert case.run(EngineExecutor, n_threads=2).bits() == expected


def test_one_pool_for_each_size():
    assert pool(2) is pool(2)
    assert pool(2) is not pool(3)
    assert pool(3).n_threads == 3


def test_two_trainings_at_once():
    cases = [big_training(seed) for seed in range(4)]
    expected = [case.run(EngineExecutor, n_threads=1).bits() for case in cases]
    results = {}

    def work(number):
        results[number] = [cases[number].run(EngineExecutor, n_threads=2).bits() for _ in range(3)]

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == {number: [bits] * 3 for number, bits in enumerate(expected)}


def train_in_child(case, connection):
    connection.send(case.run(EngineExecutor, n_threads=2).bits())
    connection.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_can_train():
    case = big_training()
    expected = case.run(EngineExecutor, n_threads=2).bits()  # so that the parent has threads to lose
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    child = context.Process(target=train_in_child, args=(case, theirs))
    child.start()
    try:
        assert mine.poll(60), "the child hangs"
        assert mine.recv() == expected
    finally:
        child.join(5)
        if child.is_alive():
            child.kill()
    assert child.exitcode == 0


# -- how many threads ------------------------------------------------------------------------------


def test_available_processors_honours_the_environment(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for value, expected in [("", 8), ("3", 3), ("1", 1), ("64", 8), ("0", 8), ("many", 8), ("4,2", 8)]:
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert available_processors() == expected
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert available_processors() == 8


def test_available_processors_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_processors() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_processors() == 1


def test_small_steps_run_on_one_thread_and_large_ones_on_all(monkeypatch):
    case = big_training()
    engine = case.start(EngineExecutor)
    monkeypatch.setattr("chainrule.engine.executor.available_processors", lambda: 5)
    per_row = 3 * case.plan.multiply_adds
    assert engine._threads_for(1) == 1
    assert engine._threads_for(4_000_000 // per_row + 1) == 5
    engine.n_threads = 3
    assert engine._threads_for(1) == 3


def test_wrong_arguments():
    case = big_training()
    with pytest.raises(ValueError, match="n_threads must be at least 1; got 0"):
        case.start(EngineExecutor, n_threads=0)
    with pytest.raises(TypeError, match="both be float32 or both float64; got float16 and float16"):
        case.start(EngineExecutor, np.float16)
    with pytest.raises(TypeError, match="got float64 and float32"):
        EngineExecutor(case.plan, case.parameters, case.buffers.astype(np.float32))


def test_the_engine_agrees_with_the_book_on_it():
    case = big_training()
    outcome, expected = case.run(EngineExecutor, n_threads=2), case.run(ReferenceExecutor)
    assert distance(outcome.parameters, expected.parameters) < 1e-9
