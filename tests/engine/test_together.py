"""The engine beside others: joblib, OpenMP, few processors, forks, Ctrl-C; and it leaves no trace.

All of it runs in other processes, so that nothing is left behind in this one.
"""

import inspect
import itertools
import linecache
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from tests.engine.guard import Child, ChildFailure
from tests.engine.test_threads import big_training
from threadpoolctl import threadpool_info

import chainrule
from chainrule import nn
from chainrule.engine import EngineExecutor
from chainrule.engine.threads import available_processors, pool

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks, signals and quotas are POSIX")

# What a new process may need to compile the engine on a busy machine.
LIMIT = 300.0
PROCESSORS = available_processors()


@pytest.fixture
def alone():
    """A process in which nothing has run."""
    one = Child()
    yield one
    one.close()


@pytest.fixture(scope="module")
def child():
    """A process in which other tests of this file run, too."""
    one = Child()
    yield one
    one.close()


def train(n_threads, seed=0, n_runs=2):
    """The bits of a training with every kind of operation."""
    return big_training(seed, n_runs=n_runs).run(EngineExecutor, np.float32, n_threads=n_threads).bits()


def data(n_rows=400):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 20)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] ** 2 > 1).astype(int)


def classifier():
    return chainrule.MLPClassifier(hidden_layer_sizes=(70, 70), max_iter=8, random_state=0, n_jobs=2)


def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few epochs do not converge
        return classifier().fit(*data())


# -- joblib ----------------------------------------------------------------------------------------


def train_by_joblib(backend):
    import joblib

    try:
        return joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(train)(2, seed) for seed in range(4))
    finally:
        joblib.externals.loky.get_reusable_executor().shutdown(wait=True)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_trainings_by_joblib(child, backend):
    expected = [train(1, seed) for seed in range(4)]
    assert child.call(train_by_joblib, backend, limit=LIMIT) == expected


def search(n_jobs):
    """Scores of a grid search, after a training in the parent, so that it has threads."""
    import joblib
    from sklearn.model_selection import GridSearchCV

    train(2)
    # A few epochs do not converge: here, and in joblib's workers.
    with warnings.catch_warnings(), mock.patch.dict(os.environ, PYTHONWARNINGS="ignore"):
        warnings.simplefilter("ignore")
        one = GridSearchCV(classifier(), {"alpha": [1e-4, 1e-2]}, cv=2, n_jobs=n_jobs).fit(*data())
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)
    return one.cv_results_["mean_test_score"].tolist(), one.predict_proba(data()[0]).tobytes()


def test_grid_search_in_two_processes(child):
    assert child.call(search, 2, limit=LIMIT) == child.call(search, 1, limit=LIMIT)


# -- OpenMP ----------------------------------------------------------------------------------------


def boost():
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(*data()).predict_proba(data()[0])


def multiply():
    import torch

    torch.set_num_threads(2)
    a = torch.arange(250_000, dtype=torch.float32).reshape(500, 500) / 250_000
    return (a @ a).numpy()


def alternate(other, first):
    """Train and run the other, in turns; the results of the trainings, and whether the other's were equal."""
    bits, results = [], []
    for turn in range(4):
        if (turn % 2 == 0) == (first == "engine"):
            bits.append(train(2))
        else:
            results.append(other())
    return bits, np.array_equal(*results)


@pytest.mark.parametrize("first", ["engine", "other"])
@pytest.mark.parametrize("other", [boost, multiply])
def test_in_turns_with_openmp(alone, other, first):
    if other is multiply:
        pytest.importorskip("torch")
    bits, others_are_equal = alone.call(alternate, other, first, limit=LIMIT)
    assert bits == [train(1)] * 2
    assert others_are_equal


def train_beside(other):
    """Train while another thread runs the other."""
    with ThreadPoolExecutor(2) as executor:
        trainings = executor.submit(lambda: [train(2, n_runs=10) for _ in range(5)])
        others = executor.submit(lambda: [other() for _ in range(5)])
        results = others.result()
        return set(trainings.result()), all(np.array_equal(one, results[0]) for one in results)


def test_beside_openmp(child):
    bits, others_are_equal = child.call(train_beside, boost, limit=LIMIT)
    assert bits == {train(1, n_runs=10)}
    assert others_are_equal


# -- fewer processors than threads -----------------------------------------------------------------


def processors_and_bits():
    return available_processors(), [train(n_threads) for n_threads in (None, 1, 2)]


@pytest.mark.skipif(shutil.which("taskset") is None, reason="there is no taskset here")
def test_on_one_processor():
    processor = str(min(os.sched_getaffinity(0)))
    child = Child(["taskset", "-c", processor])
    try:
        count, bits = child.call(processors_and_bits, limit=LIMIT)
    finally:
        child.close()
    assert count == 1
    assert bits == [train(1)] * 3


def change_affinity():
    """Train, lose a processor, train, get it back, train."""
    processors = os.sched_getaffinity(0)
    bits = [train(2)]
    for mask in ({min(processors)}, processors):
        os.sched_setaffinity(0, mask)
        bits += [train(2), train(None)]
    return bits


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_a_processor_is_taken_away(alone):
    assert alone.call(change_affinity, limit=LIMIT) == [train(1)] * 5


def make_cgroup(share):
    """A control group with that share of one processor's time, or a skip where that is not allowed."""
    root = Path("/sys/fs/cgroup")
    name = f"chainrule-test-{uuid.uuid4().hex[:8]}"
    for folder, file, quota in (
        (root / "cpu" / name, "cpu.cfs_quota_us", f"{int(share * 100_000)}"),
        (root / name, "cpu.max", f"{int(share * 100_000)} 100000"),
    ):
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            (folder / file).write_text(quota)
            return folder
        except OSError:
            folder.rmdir()
    return pytest.skip("this machine does not let the tests create a control group with a quota")


def enter(cgroup):
    (Path(cgroup) / "cgroup.procs").write_text(str(os.getpid()))


def test_under_a_quota(alone):
    cgroup = make_cgroup(0.5)
    try:
        alone.call(enter, str(cgroup))
        assert alone.call(processors_and_bits, limit=LIMIT)[1] == [train(1)] * 3
    finally:
        alone.close()
        cgroup.rmdir()


def train_at_once(counts):
    """Trainings of several numbers of threads from several threads at once."""
    with ThreadPoolExecutor(len(counts)) as executor:
        return list(executor.map(train, counts))


def test_more_threads_than_processors(child):
    expected = train(1)
    for n_threads in (2 * PROCESSORS, 2 * PROCESSORS + 1):
        assert child.call(train, n_threads, limit=LIMIT) == expected
    counts = (2, 3, 4, 5, 2, 3)
    assert child.call(train_at_once, counts, limit=LIMIT) == [expected] * len(counts)


def test_several_processes_at_once():
    children = [Child() for _ in range(3)]
    try:
        with ThreadPoolExecutor(len(children)) as executor:
            calls = [
                executor.submit(child.call, train_at_once, (2, PROCESSORS, 2 * PROCESSORS), limit=LIMIT)
                for child in children
            ]
        assert [call.result() for call in calls] == [[train(1)] * 3] * len(children)
    finally:
        for child in children:
            child.close()


def predict_at_once(n_threads):
    """Whether one classifier predicts for several threads what it predicts for one."""
    one = fitted().set_params(n_jobs=n_threads)
    X = data(1500)[0]
    parts = [X[:700], X[700:], X[:1], X[200:900]]
    expected = [one.predict_proba(part).tobytes() for part in parts]

    def predict(number):
        return {one.predict_proba(parts[number]).tobytes() for _ in range(100)} == {expected[number]}

    with ThreadPoolExecutor(len(parts)) as executor:
        return all(executor.map(predict, range(len(parts))))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_one_classifier_predicts_for_several_threads(child, n_threads):
    child.call(train_and_compare, limit=LIMIT)  # compiles what is needed
    assert child.call(predict_at_once, n_threads, limit=10)


# -- forks -----------------------------------------------------------------------------------------


def in_fork(function, limit=30.0):
    """What a function gives in a forked process."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that this process has threads is the point
        number = os.fork()
    if number == 0:
        try:
            with open(writing, "wb") as file:
                file.write(function())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    timer = threading.Timer(limit, os.kill, (number, signal.SIGKILL))
    timer.start()
    with open(reading, "rb") as file:
        result = file.read()
    timer.cancel()
    assert os.waitpid(number, 0)[1] == 0, "the fork hangs or crashed"
    return result


def fork_after_training():
    """Train, train in a child and in its child, train on."""
    return [train(2), in_fork(lambda: train(2) + in_fork(lambda: train(2))), train(2)]


def fork_while_training():
    """Fork, several times, while another thread trains."""
    done = threading.Event()
    bits = set()

    def go_on():
        while not done.is_set():
            bits.add(train(2))

    with ThreadPoolExecutor(1) as executor:
        training = executor.submit(go_on)
        time.sleep(0.1)
        forks = {in_fork(lambda: train(2)) for _ in range(5)}
        done.set()
        training.result()
    return bits, forks


def test_forks(child):
    expected = train(1)
    assert child.call(fork_after_training, limit=LIMIT) == [expected, expected * 2, expected]
    assert child.call(fork_while_training, limit=LIMIT) == ({expected}, {expected})


# -- Ctrl-C and the end ----------------------------------------------------------------------------


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
    return elapsed, history.stopped, all(np.isfinite(one).all() for one in net.parameters())


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


# -- no trace --------------------------------------------------------------------------------------


def state_of_the_process():
    """Everything global that a library might touch."""
    smallest = np.array([np.finfo(np.float32).tiny], np.float32)
    return {
        "environment": dict(os.environ),
        "threads of libraries": [(one["filepath"], one["num_threads"]) for one in threadpool_info()],
        "warning filters": list(warnings.filters),
        "NumPy's handling of errors": np.geterr(),
        "half of the smallest normal number": float((smallest / 2)[0]),
        "denormals as inputs": float((smallest / 2 * np.float32(4))[0]),
        "NumPy's random state": repr(np.random.get_state(legacy=False)),  # noqa: NPY002
        "Python's random state": random.getstate(),
        "processors": os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None,
        "signal handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "trace functions": (sys.gettrace(), sys.getprofile(), threading.gettrace()),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
        "limit of recursion": sys.getrecursionlimit(),
        "directory": os.getcwd(),
        "how NumPy prints": repr(np.get_printoptions()),
    }


def changes(before, after):
    return {key: (before[key], after[key]) for key in before if before[key] != after[key]}


# What chainrule imports is imported first: what those libraries do is theirs.
IMPORTING = f"""
import os, random, signal, sys, threading, warnings
import numpy as np, numba, pandas, rich.progress, safetensors.numpy, scipy.sparse, sklearn.neural_network
from threadpoolctl import threadpool_info

{inspect.getsource(state_of_the_process)}
{inspect.getsource(changes)}
before, n_threads = state_of_the_process(), threading.active_count()
import chainrule
from chainrule import MLPClassifier, engine, fit, nn, optim
print(changes(before, state_of_the_process()), threading.active_count() - n_threads)
"""


def test_importing_changes_nothing():
    result = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("{} 0\n", "")


def n_system_threads():
    """Threads of this process, whoever started them; None where that is not known."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else None


def train_and_compare():
    """What trainings changed, in this thread and in another, and how many threads they left."""
    import sklearn.neural_network  # noqa: F401 - what it changes when it is imported is its own affair

    before, n_threads = state_of_the_process(), n_system_threads()
    found = []
    for n in (1, 2, 2):
        train(n)
        fitted()
        found.append(changes(before, state_of_the_process()))
    with ThreadPoolExecutor(1) as executor:
        before_there = executor.submit(state_of_the_process).result()
        executor.submit(train, 2).result()
        found.append(changes(before_there, executor.submit(state_of_the_process).result()))
    denormal = before["half of the smallest normal number"]
    if n_threads is None:
        return found, denormal, 0
    end = time.monotonic() + 5  # a thread that has been joined may take a moment to leave
    while n_system_threads() - n_threads > 2 and time.monotonic() < end:
        time.sleep(0.01)
    return found, denormal, n_system_threads() - n_threads


def test_training_changes_nothing(alone):
    found, denormal, left = alone.call(train_and_compare, limit=LIMIT)
    assert found == [{}] * 4
    assert denormal > 0
    assert left <= 2  # the pool's
