"""The queue and its threads: order, results, errors, interrupts."""

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest

from chainrule.engine.threads import available_processors
from chainrule.train import JobError
from chainrule.train.side_by_side import Stopped, n_threads_allowed, run_side_by_side, stop_if_told


def wait_until_told(limit=30.0):
    """What a training does: works, and asks now and then."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        stop_if_told()
        time.sleep(0.001)
    raise AssertionError("was never told to stop")


@pytest.mark.parametrize("n_jobs", [1, 2, 7, None, -1])
def test_results_come_in_the_order_of_the_tasks(n_jobs):
    tasks = [lambda number=number: number**2 for number in range(5)]
    assert run_side_by_side(tasks, n_jobs=n_jobs) == [0, 1, 4, 9, 16]
    assert run_side_by_side([], n_jobs=n_jobs) == []


def test_two_tasks_run_at_the_same_time():
    both = threading.Barrier(2, timeout=30)
    # Were they run one after the other, the first would wait for ever, and break the barrier.
    assert sorted(run_side_by_side([both.wait, both.wait], n_jobs=2)) == [0, 1]


def test_no_more_threads_than_asked_for():
    running, most = [], []

    def task():
        running.append(1)
        most.append(len(running))
        time.sleep(0.005)
        running.pop()

    run_side_by_side([task] * 12, n_jobs=2)
    assert max(most) <= 2
    names = run_side_by_side([lambda: threading.current_thread().name] * 3, n_jobs=1)
    assert names == ["chainrule-job-0"] * 3


def test_the_longest_begin_first():
    begun = []
    tasks = [lambda number=number: begun.append(number) for number in range(4)]
    run_side_by_side(tasks, n_jobs=1, costs=[2.0, 9.0, 2.0, 5.0])
    assert begun == [1, 3, 0, 2]
    begun.clear()
    run_side_by_side(tasks, n_jobs=1)
    assert begun == [0, 1, 2, 3]


def test_each_end_is_told_in_the_callers_thread():
    told = []
    run_side_by_side(
        [lambda: 1, lambda: 1 / 0, lambda: 3],
        on_error="return",
        ended=lambda: told.append(threading.get_ident()),
    )
    assert told == [threading.get_ident()] * 3


# -- errors ----------------------------------------------------------------------------------------


def fail(message):
    raise ValueError(message)


def test_an_error_names_the_job_and_nothing_more_begins():
    begun = []
    tasks = [lambda: begun.append(0), lambda: fail("no data"), lambda: begun.append(2)]
    with pytest.raises(JobError, match="job 1 failed: ValueError: no data") as raised:
        run_side_by_side(tasks, n_jobs=1)
    assert raised.value.index == 1
    assert raised.value.error is raised.value.__cause__
    assert isinstance(raised.value.__cause__, ValueError)
    assert begun == [0]


def test_what_runs_when_another_fails_comes_to_its_end():
    failing = threading.Event()
    ended = []

    def slow():
        assert failing.wait(30)
        time.sleep(0.02)
        ended.append(True)

    def quick():
        failing.set()
        fail("at once")

    with pytest.raises(JobError, match="job 1"):
        run_side_by_side([slow, quick], n_jobs=2)
    assert ended == [True]


def test_errors_can_be_returned():
    results = run_side_by_side([lambda: 1, lambda: fail("x"), lambda: 3], n_jobs=1, on_error="return")
    assert results[::2] == [1, 3]
    assert isinstance(results[1], ValueError)
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'return'; got 'ignore'"):
        run_side_by_side([], on_error="ignore")


@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_what_is_no_exception_ends_all_and_is_raised_as_it_is(on_error):
    def leave():
        raise SystemExit(3)

    begun = []
    with pytest.raises(SystemExit, match="3"):
        run_side_by_side([leave, lambda: begun.append(1)], n_jobs=1, on_error=on_error)
    assert begun == []


# -- interrupts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupt_stops_all_and_is_raised(n_jobs):
    stopped, begun = [], []
    all_at_work = threading.Barrier(n_jobs, action=lambda: os.kill(os.getpid(), signal.SIGINT), timeout=30)

    def interrupted():
        all_at_work.wait()
        try:
            wait_until_told()
        except Stopped:
            stopped.append(True)
            raise

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([interrupted] * n_jobs + [lambda: begun.append(1)], n_jobs=n_jobs)
    assert stopped == [True] * n_jobs
    assert begun == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chainrule-job")]


def test_an_interrupt_reaches_the_innermost():
    stopped = []

    def innermost():
        if not stopped:
            os.kill(os.getpid(), signal.SIGINT)
        try:
            wait_until_told()
        except Stopped:
            stopped.append(True)
            raise

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([lambda: run_side_by_side([innermost, innermost], n_jobs=1)])
    assert stopped == [True]


def test_nobody_is_told_to_stop_outside():
    stop_if_told()


# -- how many threads a training may use -----------------------------------------------------------


def test_a_training_with_neighbours_has_one_thread():
    assert run_side_by_side([lambda: n_threads_allowed(None), lambda: n_threads_allowed(5)]) == [1, 1]
    assert n_threads_allowed(5) == 5


def test_a_training_without_neighbours_has_all():
    assert run_side_by_side([lambda: n_threads_allowed(None)]) == [None]
    assert run_side_by_side([lambda: n_threads_allowed(-1)], n_jobs=2) == [available_processors()]
    assert run_side_by_side([lambda: n_threads_allowed(-1)], n_jobs=1) == [1]
    nested = run_side_by_side([lambda: run_side_by_side([lambda: n_threads_allowed(3)])])
    assert nested == [[3]]


def test_a_list_within_a_task_takes_no_further_threads():
    def names():
        return run_side_by_side([lambda: threading.current_thread().name] * 4, n_jobs=4)

    assert [set(inner) for inner in run_side_by_side([names, names])] == [{"chainrule-job-0"}] * 2
    assert n_threads_allowed(None) is None


# -- what surrounds the caller ---------------------------------------------------------------------


def test_numpys_error_handling_is_the_callers():
    with np.errstate(divide="raise"):
        results = run_side_by_side([lambda: np.float64(1) / np.float64(0)] * 2, on_error="return")
    assert [type(one) for one in results] == [FloatingPointError] * 2


def test_warnings_reach_the_caller_and_filters_are_left_as_they_were():
    both = threading.Barrier(2, timeout=30)

    def careless():
        with warnings.catch_warnings():
            both.wait()
            warnings.simplefilter("error", ImportWarning)
            both.wait()
        warnings.warn("look", UserWarning, stacklevel=1)

    before = list(warnings.filters)
    with pytest.warns(UserWarning, match="look") as seen:
        run_side_by_side([careless, careless], n_jobs=2)
    assert len(seen) == 2
    assert warnings.filters == before
