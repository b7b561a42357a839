"""``fit_many``: the very results of ``fit``, side by side."""

import io
import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
import scipy.sparse

from chainrule import Job, JobError, fit, fit_many, nn, optim
from chainrule.train import many

SOFTMAX = "softmax_cross_entropy"


@pytest.fixture
def blobs():
    """Three noisy classes in four dimensions."""
    rng = np.random.default_rng(7)
    y = np.arange(150) % 3
    centres = np.array([[0, 1, 0, 1], [1, -1, 0, 0], [-1, -1, 1, 0]])
    return rng.normal(size=(150, 4)) + 1.5 * centres[y], y


def net(seed=0, width=8, dtype=np.float32):
    return nn.Sequential(
        nn.Linear(4, width, rng=seed, dtype=dtype),
        nn.ReLU(),
        nn.Linear(width, 3, rng=seed + 100, dtype=dtype),
    )


def normalised_net(seed=0):
    return nn.Sequential(
        nn.Linear(4, 8, rng=seed), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 3, rng=seed)
    )


def bits(module):
    return b"".join(array.tobytes() for array in module.state_dict().values())


def numbers(history):
    """A history without what differs from run to run."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in history.epochs]
    return rows, history.stopped, history.best_epoch, history.monitor


# Shapes, settings and seeds of very different kinds, each made anew for each training.
MAKERS = [
    lambda: (net(1), {"seed": 1, "epochs": 3}),
    lambda: (net(2, width=33), {"seed": 2, "epochs": 5, "batch_size": 7, "optimizer": "sgd", "l2": 0.01}),
    lambda: (net(3, dtype=np.float64), {"seed": 3, "epochs": 2, "validation": 0.2, "metrics": ["accuracy"]}),
    lambda: (normalised_net(4), {"seed": 4, "epochs": 4, "schedule": "cosine", "early_stopping": 2}),
    lambda: (normalised_net(5), {"seed": 5, "epochs": 3, "class_weight": "balanced", "clip_norm": 0.5}),
    lambda: (net(6), {"seed": 6, "epochs": 3, "shuffle": False, "executor": "reference"}),
    lambda: (net(7), {"optimizer": optim.AdamW(lr=0.01), "rows": np.arange(0, 150, 2), "telemetry_every": 3}),
]


@pytest.mark.parametrize("n_jobs", [1, 2, 20, None])
def test_every_network_is_the_one_that_fit_gives(blobs, n_jobs):
    X, y = blobs
    alone, jobs = [], []
    for make in MAKERS:
        module, settings = make()
        history = fit(module, X, y, loss=SOFTMAX, n_jobs=1, verbose=0, **settings)
        alone.append((bits(module), numbers(history)))
        module, settings = make()
        jobs.append(Job(module, X, y, loss=SOFTMAX, **settings))
    histories = fit_many(jobs, n_jobs=n_jobs)
    for job, history, (weights, course) in zip(jobs, histories, alone, strict=True):
        assert bits(job.module) == weights
        assert numbers(history) == course
        assert not job.module.training
    assert len({bits(job.module) for job in jobs}) == len(jobs)  # they did learn, each its own way


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "extra", [{}, {"metrics": ["accuracy"]}, {"validation": 0.25, "metrics": ["accuracy"]}]
)
def test_rows_are_a_fold_without_a_copy(blobs, sparse, extra):
    X, y = blobs
    weights = np.linspace(0.5, 2, len(y))
    rows = np.random.default_rng(0).integers(0, len(y), 100)  # some of them several times
    settings = {"loss": SOFTMAX, "class_weight": "balanced", "seed": 3, "epochs": 3, **extra}
    X = scipy.sparse.csr_matrix(X) if sparse else X
    one, other = net(), net()
    expected = fit(one, X[rows], y[rows], sample_weight=weights[rows], verbose=0, **settings)
    (found,) = fit_many([Job(other, X, y, sample_weight=weights, rows=rows, **settings)])
    assert bits(one) == bits(other)
    assert numbers(found) == numbers(expected)


def test_folds_share_one_x(blobs, monkeypatch):
    X, y = blobs
    seen = []
    check = many.check_features
    monkeypatch.setattr(many, "check_features", lambda X, dtype: seen.append(dtype) or check(X, dtype))
    folds = [np.arange(len(y)) % 5 == fold for fold in range(5)]
    jobs = [
        Job(net(), X, y, loss=SOFTMAX, rows=~fold, validation_rows=fold, metrics=["accuracy"])
        for fold in folds
    ]
    histories = fit_many(jobs)
    assert seen == [np.float32]  # once, not five times
    for fold, job, history in zip(folds, jobs, histories, strict=True):
        module = net()
        expected = fit(
            module, X[~fold], y[~fold], loss=SOFTMAX, validation=(X[fold], y[fold]),
            metrics=["accuracy"], verbose=0,
        )  # fmt: skip
        assert bits(job.module) == bits(module)
        assert numbers(history) == numbers(expected)


def test_what_is_converted_is_given_up_after_its_last_use(blobs):
    X, y = blobs
    other = X.copy()
    jobs = [Job(net(), X, y, loss=SOFTMAX, epochs=1), Job(net(), other, y, loss=SOFTMAX, epochs=1)]
    shared = many._SharedFeatures(jobs * 2)
    first = shared.take(X, np.float32)
    assert shared.take(X, np.float32) is first
    assert shared.take(X, np.float64) is not first
    assert shared.take(other, np.float32) is not first
    shared.give_back(X)
    assert shared.take(X, np.float32) is first
    shared.give_back(X)
    assert shared._converted[id(X)] == {}
    assert shared._converted[id(other)] != {}


def test_the_largest_begin_first(blobs):
    X, y = blobs
    begun = []

    def job(name, **settings):
        width = settings.pop("width", 8)
        note = [lambda event: begun.append(name) and False]
        return Job(net(width=width), X, y, loss=SOFTMAX, callbacks=note, **{"epochs": 1, **settings})

    jobs = [
        job("few rows", rows=np.arange(10)), job("small"), job("mask", rows=np.arange(150) < 5),
        job("wide", width=200), job("long", epochs=3),
    ]  # fmt: skip
    fit_many(jobs, n_jobs=1)
    assert begun == ["wide", "long", "long", "long", "small", "few rows", "mask"]


def test_two_networks_train_at_the_same_time(blobs):
    X, y = blobs
    both = threading.Barrier(2, timeout=60)

    def meet(event):
        both.wait()  # for ever, and so in vain, were the other not at the same epoch

    jobs = [Job(net(seed), X, y, loss=SOFTMAX, epochs=3, callbacks=[meet]) for seed in range(2)]
    histories = fit_many(jobs, n_jobs=2)
    assert [len(history) for history in histories] == [3, 3]


def test_one_object_of_an_optimizer_or_a_schedule_serves_all(blobs):
    X, y = blobs
    optimizer, schedule = optim.Adam(lr=0.05), optim.Adaptive(patience=1)
    settings = {"loss": SOFTMAX, "optimizer": optimizer, "schedule": schedule, "epochs": 20}
    alone = []
    for seed in range(3):
        module = net(seed)
        fit(module, X, y, seed=seed, verbose=0, **settings)
        alone.append(bits(module))
    jobs = [Job(net(seed), X, y, seed=seed, **settings) for seed in range(3)]
    fit_many(jobs)
    assert [bits(job.module) for job in jobs] == alone


# -- errors ----------------------------------------------------------------------------------------


def test_a_job_that_fails(blobs):
    X, y = blobs
    jobs = [Job(net(), X, y, loss=SOFTMAX, epochs=2), Job(net(), X[:, :3], y, loss=SOFTMAX)]
    with pytest.raises(JobError, match=r"job 1 failed: ValueError: X must have shape \(n, 4\)") as raised:
        fit_many(jobs)
    assert isinstance(raised.value.__cause__, ValueError)
    history, error = fit_many(jobs, on_error="return")
    assert history.stopped == "finished"
    assert isinstance(error, ValueError)


def test_data_that_is_wrong_fails_in_every_job_that_uses_it(blobs):
    X, y = blobs
    X[0, 0] = np.nan
    errors = fit_many([Job(net(), X, y, loss=SOFTMAX) for _ in range(3)], on_error="return")
    assert ["X contains NaN" in str(error) for error in errors] == [True] * 3
    odd = [Job(net(), X, y, loss=SOFTMAX, **one) for one in ({"epochs": "three"}, {"rows": 7})]
    errors = fit_many(odd, on_error="return")
    assert ["epochs must be" in str(errors[0]), "X contains NaN" in str(errors[1])] == [True, True]


def test_two_jobs_cannot_train_one_module(blobs):
    X, y = blobs
    module, other = net(), net()
    with pytest.raises(ValueError, match="jobs 0 and 2 train the same module"):
        fit_many([Job(one, X, y, loss=SOFTMAX) for one in (module, other, module)])
    within = nn.Sequential(*module)
    with pytest.raises(ValueError, match="jobs 0 and 1 train the same module"):
        fit_many([Job(one, X, y, loss=SOFTMAX) for one in (module, within)])


def test_a_job_knows_its_settings(blobs):
    X, y = blobs
    with pytest.raises(TypeError, match="fit got an unknown option 'epoch'"):
        Job(net(), X, y, loss=SOFTMAX, epoch=3)
    with pytest.raises(TypeError, match="loss"):
        Job(net(), X, y)
    with pytest.raises(ValueError, match="l2 must be zero or positive"):
        Job(net(), X, y, loss=SOFTMAX, l2=-1)
    assert repr(Job(net(), X, y, loss="mse", seed=1)) == "Job(Sequential, loss='mse', seed=1)"
    with pytest.raises(TypeError, match="module must be a Module of chainrule.nn; got str"):
        Job("net", X, y, loss=SOFTMAX)
    assert fit_many([]) == []
    with pytest.raises(ValueError, match="n_jobs must not be 0"):
        fit_many([], n_jobs=0)


# -- interrupts and warnings -----------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interrupt_stops_all_and_loses_nothing(blobs, n_jobs):
    X, y = blobs
    begun = set()

    def job(number):
        def interrupt(event):
            begun.add(number)
            if event.epoch == 3 and len(begun) == n_jobs and not sent:
                sent.append(number)
                os.kill(os.getpid(), signal.SIGINT)

        return Job(net(number), X, y, loss=SOFTMAX, epochs=10**6, callbacks=[interrupt])

    sent = []
    jobs = [job(number) for number in range(4)]
    before = [bits(job.module) for job in jobs]
    if n_jobs == 2:  # both must be at work, whoever is faster
        both = threading.Barrier(2, timeout=60)
        for one in jobs:
            one.settings["callbacks"].append(
                lambda event: both.wait() and False if event.epoch == 1 else False
            )
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fit_many(jobs, n_jobs=n_jobs)
    assert time.monotonic() - began < 60  # and not the hours that a million epochs take
    for number, (one, weights) in enumerate(zip(jobs, before, strict=True)):
        assert (bits(one.module) != weights) == (number in begun)
    assert len(begun) == n_jobs
    assert all(np.isfinite(w.data).all() for one in jobs for w in one.module.parameters())


def test_warnings_reach_the_caller(blobs):
    X, y = blobs

    def doubtful(y, prediction):
        warnings.warn("a doubtful metric", UserWarning, stacklevel=1)
        return 0.0

    def jobs():
        return [Job(net(), X, y, loss=SOFTMAX, epochs=1, metrics=[doubtful]) for _ in range(3)]

    with pytest.warns(UserWarning, match="doubtful") as seen:
        fit_many(jobs())
    assert len(seen) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(JobError, match="UserWarning: a doubtful metric"):
            fit_many(jobs())


def test_a_bar_on_a_terminal_and_nothing_elsewhere(blobs, monkeypatch, capfd):
    X, y = blobs

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def jobs():
        return [Job(net(), X, y, loss=SOFTMAX, epochs=epochs, verbose=1) for epochs in (1, 2, 4)]

    fit_many(jobs())
    capfd.readouterr()
    fit_many(jobs())
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("TERM", "xterm")
    for progress, shown in ((True, True), (False, False)):
        screen = Terminal()
        monkeypatch.setattr("sys.stderr", screen)
        fit_many(jobs(), progress=progress)
        assert ("epoch" in screen.getvalue()) == shown
        assert ("7/7" in screen.getvalue()) == shown
