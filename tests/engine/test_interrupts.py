"""Ctrl-C and the end of a process: a training stops soon, and the engine works afterwards.

All of it runs in other processes, so that nothing is left behind in this one.
"""

import itertools
import linecache
import os
import signal
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest
from tests.engine.guard import ChildFailure
from tests.engine.test_threads import big_training
from tests.engine.test_together import LIMIT, data, train

import chainrule
from chainrule import nn
from chainrule.engine import EngineExecutor
from chainrule.engine.threads import pool

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")


def interrupt_soon(delay):
    threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    return time.monotonic() + delay


def interrupted_steps():
    """Seconds from Ctrl-C to KeyboardInterrupt, whether the numbers are finite, and a training after it."""
    case = big_training()
    executor, instructions, examples = (
        case.start(EngineExecutor, np.float32, n_threads=2), case.instructions(np.float32),
        case.examples(np.float32),
    )  # fmt: skip
    executor.run(examples, instructions)
    at = interrupt_soon(0.3)
    try:
        while True:
            executor.run(examples, instructions)
    except KeyboardInterrupt:
        elapsed = time.monotonic() - at
    return elapsed, bool(np.isfinite(executor.parameters).all()), train(2)


def interrupted_fit():
    """The same of ``fit``, which ends cleanly: seconds, what the history says, whether finite."""
    X, y = data(5000)
    net = nn.Sequential(nn.Linear(20, 300, rng=0), nn.ReLU(), nn.Linear(300, 2, rng=1))
    options = {"loss": nn.CrossEntropyLoss(), "verbose": 0, "n_jobs": 2}
    chainrule.fit(net, X, y, epochs=1, **options)  # compiles what is needed
    at = interrupt_soon(0.5)
    history = chainrule.fit(net, X, y, epochs=10**6, **options)
    elapsed = time.monotonic() - at
    return elapsed, history.stopped, all(np.isfinite(one.data).all() for one in net.parameters())


def test_an_interrupt_ends_a_training(child):
    elapsed, finite, bits = child.call(interrupted_steps, limit=LIMIT)
    assert elapsed < 2
    assert finite
    assert bits == train(1)
    elapsed, stopped, finite = child.call(interrupted_fit, limit=LIMIT)
    assert elapsed < 2
    assert stopped == "interrupted"
    assert finite


def train_until_interrupted():
    train(2)
    interrupt_soon(0.3)
    while True:
        train(2, n_runs=20)


def test_an_interrupt_ends_the_process(alone):
    with pytest.raises(ChildFailure, match=r"ended by SIGINT\n(.|\n)*KeyboardInterrupt"):
        alone.call(train_until_interrupted, limit=LIMIT)


class InterruptAtLine:
    """Sends Ctrl-C when this thread is about to run a certain line of the executor, counted from the first.

    The third time that a line is met does not count, nor do lines with ``with``: they are met again on the
    way out, where Python itself lets no signal in.
    """

    def __init__(self, number):
        self.left = number
        # Where the pool is taken, used and given back.
        self.files = {sys.modules[f"chainrule.engine.{name}"].__file__ for name in ("executor", "threads")}
        self.met = Counter()

    def __call__(self, frame, event, argument):
        file, line = frame.f_code.co_filename, frame.f_lineno
        if file not in self.files:
            return None
        if event == "line" and not linecache.getline(file, line).lstrip().startswith("with "):
            self.met[file, line] += 1
            self.left -= self.met[file, line] <= 2
            if self.left == -1:
                self.left -= 1
                signal.raise_signal(signal.SIGINT)
        return self


def interrupt_at_every_line():
    """Interrupt a training at one line after another, and train again each time; how many there were."""
    case = big_training(n_runs=1)
    expected = case.run(EngineExecutor, np.float32, n_threads=2).bits()
    for number in itertools.count():
        interrupt = InterruptAtLine(number)
        sys.settrace(interrupt)
        try:
            case.run(EngineExecutor, np.float32, n_threads=2)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        if interrupt.left >= 0:
            return number
        assert not pool(2).busy.locked(), f"after line {number} the pool is lost"
        assert case.run(EngineExecutor, np.float32, n_threads=2).bits() == expected


def test_an_interrupt_at_any_line_leaves_an_engine_that_works(child):
    assert child.call(interrupt_at_every_line, limit=60) > 20


def leave_while_training():
    """End the process with a thread in the middle of a training."""
    started = threading.Event()

    def go_on():
        while True:
            train(2)
            started.set()

    threading.Thread(target=go_on, daemon=True).start()
    started.wait()


def test_a_process_ends_while_a_thread_trains(alone):
    alone.call(leave_while_training, limit=LIMIT)
    process = alone._process
    written = alone.close()
    assert process.returncode == 0, written
