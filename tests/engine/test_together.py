"""The engine beside others: joblib, OpenMP, few processors, forks; and it leaves no trace.

All of it runs in other processes, so that nothing is left behind in this one.
"""

import inspect
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from tests.engine.guard import Child
from tests.engine.test_threads import big_training
from threadpoolctl import threadpool_info

import chainrule
from chainrule.engine import EngineExecutor
from chainrule.engine.threads import available_processors

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks, signals and quotas are POSIX")

# What a new process may need to compile the engine on a busy machine.
LIMIT = 300.0
PROCESSORS = available_processors()


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
