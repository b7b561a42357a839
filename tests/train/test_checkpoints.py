"""Checkpoints: on to the same bits after a stop, a kill, a failure; never with another training's file."""

import errno
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chainrule
from chainrule import Job, fit_many, nn, optim
from chainrule.sealed_files import unpack
from chainrule.train import EarlyStopping, checkpoints

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 6)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def network(dtype="float32", dropout=0.2, batch_norm=True, seed=0):
    rng = np.random.default_rng(seed)
    layers = [nn.Linear(6, 8, rng=rng, dtype=dtype)]
    layers += [nn.BatchNorm1d(8, dtype=dtype)] if batch_norm else []
    layers += [nn.Tanh(), *([nn.Dropout(dropout)] if dropout else []), nn.Linear(8, 2, rng=rng, dtype=dtype)]
    return nn.Sequential(*layers)


def trained(module=None, epochs=6, **options):
    """The module after training, and the history."""
    module = network() if module is None else module
    settings = {"loss": "softmax_cross_entropy", "batch_size": 16, "verbose": 0, "seed": 3, **options}
    return module, chainrule.fit(module, X, Y, epochs=epochs, **settings)


def stop_after(epoch):
    return lambda event: event.epoch == epoch


def interrupt_after(epoch):
    def callback(event):
        if event.epoch == epoch:
            raise KeyboardInterrupt
        return False

    return callback


def assert_same(found, expected):
    """Bit for bit, but for the time that it took."""
    (module, history), (wanted, whole) = found, expected
    expected = wanted.state_dict()
    for name, ours in module.state_dict().items():
        assert np.asarray(ours).tobytes() == np.asarray(expected[name]).tobytes(), name
    rows = [[{**row, "seconds": 0} for row in one.epochs] for one in (history, whole)]
    assert repr(rows[0]) == repr(rows[1])
    assert (history.stopped, history.best_epoch, history.monitor) == (
        whole.stopped, whole.best_epoch, whole.monitor,
    )  # fmt: skip


CONFIGURATIONS = {
    "plain": {},
    "sgd": {"optimizer": optim.SGD(lr=0.1, momentum=0.9)},
    "plain sgd": {"optimizer": optim.SGD(lr=0.1)},
    "amsgrad": {"optimizer": optim.Adam(lr=0.01, amsgrad=True), "executor": "reference"},
    "validation": {"validation": 0.2, "metrics": ["accuracy"]},
    "patience": {"validation": 0.2, "early_stopping": EarlyStopping(2), "optimizer": optim.Adam(lr=0.2)},
    "one cycle": {"schedule": "one_cycle"},
    "adaptive": {"schedule": optim.Adaptive(patience=1), "optimizer": optim.Adam(lr=0.5)},
    "in order": {"shuffle": False},
    "weights": {"sample_weight": np.linspace(0, 1, 90), "class_weight": "balanced"},
    "penalties": {"l2": 0.01, "l1": 0.001, "clip_norm": 0.5},
    "tape": {"executor": "tape"},
    "reference": {"executor": "reference"},
    "rows": {"rows": np.arange(50), "validation_rows": np.arange(50, 90)},
    "telemetry": {"telemetry_every": 2},
}


@pytest.mark.parametrize("stop", [stop_after, interrupt_after])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_on_to_the_same_bits(name, stop, tmp_path):
    options = CONFIGURATIONS[name]
    path = tmp_path / "checkpoint"
    whole = trained(**options)
    _, history = trained(**options, checkpoint=path, callbacks=[stop(2)])
    assert len(history) == 2
    # With another start: what the file holds counts, not what the module holds.
    assert_same(trained(network(seed=9), **options, checkpoint=path, resume="auto"), whole)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(["float32", "float64"]), st.sampled_from([0.0, 0.3]), st.booleans(),
    st.sampled_from(["sgd", "adam", "adamw", "rmsprop"]), st.sampled_from(["constant", "cosine", "adaptive"]),
    st.integers(1, 40), st.lists(st.integers(1, 5), max_size=3), st.sampled_from([None, 0.25]),
    st.integers(1, 3),
)  # fmt: skip
def test_whatever_the_settings_and_however_often(
    tmp_path, dtype, dropout, batch_norm, optimizer, schedule, batch_size, stops, validation, every
):
    path = tmp_path / "checkpoint"
    path.unlink(missing_ok=True)
    options = {
        "optimizer": optimizer, "schedule": schedule, "batch_size": batch_size, "validation": validation,
    }  # fmt: skip

    def module(seed):
        return network(dtype, dropout, batch_norm, seed)

    whole = trained(module(0), **options)
    trained(module(0), **options, checkpoint=path, every=every, callbacks=[stop_after(1)])
    for seed, epoch in enumerate(stops):
        trained(
            module(seed), **options, checkpoint=path, every=every, resume=path, callbacks=[stop_after(epoch)]
        )
    assert_same(trained(module(7), **options, checkpoint=path, resume=True), whole)


def test_a_stream_goes_on_as_well(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)

    def run(**options):
        stream = chainrule.stream(tmp_path / "X.npy", tmp_path / "y.npy", buffer_rows=32)
        module = network()
        settings = {"loss": "softmax_cross_entropy", "epochs": 5, "batch_size": 16, "verbose": 0, **options}
        return module, chainrule.fit(module, stream, **settings)

    path = tmp_path / "checkpoint"
    whole = run()
    run(checkpoint=path, callbacks=[stop_after(2)])
    assert_same(run(checkpoint=path, resume="auto"), whole)


def test_a_training_that_has_ended_is_not_trained_again(tmp_path):
    path = tmp_path / "checkpoint"
    whole = trained(checkpoint=path)
    calls = []
    again = trained(network(seed=5), resume=path, callbacks=[calls.append])
    assert_same(again, whole)
    assert calls == []
    stopped = {"validation": 0.2, "early_stopping": 1, "optimizer": optim.Adam(lr=1.0), "epochs": 50}
    ended = trained(**stopped, checkpoint=path)
    assert ended[1].stopped == "early stopping"
    assert_same(trained(network(seed=5), **stopped, resume=path), ended)


def test_more_epochs_where_the_schedule_does_not_ask_how_many(tmp_path):
    path = tmp_path / "checkpoint"
    trained(epochs=3, checkpoint=path)
    assert_same(trained(network(seed=5), epochs=6, resume=path), trained(epochs=6))
    trained(epochs=3, schedule="cosine", checkpoint=path)
    with pytest.raises(ValueError, match="it was made with epochs=3; this call has 6"):
        trained(epochs=6, schedule="cosine", resume=path)


def test_auto_begins_where_there_is_no_file(tmp_path):
    path = tmp_path / "checkpoint"
    assert_same(trained(checkpoint=path, resume="auto"), trained())
    assert path.exists()
    with pytest.raises(FileNotFoundError):
        trained(resume=tmp_path / "none")


def test_a_time_limit_within_an_epoch_leaves_the_end_of_the_one_before(tmp_path):
    path = tmp_path / "checkpoint"
    whole = trained()
    _, history = trained(checkpoint=path, max_time=1e-9)
    assert history.stopped == "time limit"
    assert_same(trained(network(seed=5), checkpoint=path, resume="auto"), whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 32}, "it was made with batch_size=16; this call has 32"),
        ({"optimizer": optim.Adam(lr=0.5)}, r"it was made with optimizer=Adam\(lr=0.001"),
        ({"seed": 4}, "it was made with seed=3; this call has 4"),
        ({"l2": 0.1}, "l2=0.0; this call has 0.1"),
        ({"executor": "reference"}, "executor=engine; this call has reference"),
        ({"sample_weight": np.ones(90)}, "it was made with other data"),
        ({"validation": 0.1}, "it was made with other data"),
        ({"schedule": "cosine"}, "schedule="),
        ({"metrics": ["accuracy"]}, "metrics="),
        ({"early_stopping": 3}, "early_stopping=None"),
    ],
)
def test_another_training_is_told_apart(options, message, tmp_path):
    path = tmp_path / "checkpoint"
    trained(checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        trained(**options, checkpoint=path, resume="auto")
    assert path.read_bytes() == before


def test_another_network_is_told_apart(tmp_path):
    path = tmp_path / "checkpoint"
    trained(checkpoint=path)
    with pytest.raises(ValueError, match="it was made with network="):
        trained(network(batch_norm=False), resume=path)
    chainrule.save(network(), path)
    with pytest.raises(ValueError, match="it is a model, not a checkpoint of a training"):
        trained(resume=path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"every": 0},
            ValueError,
            "every must be a number of epochs, or a time such as .*; got 0",
        ),
        ({"every": "often"}, ValueError, "got 'often'"),
        ({"every": True}, ValueError, "got True"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a path; got int"),
        ({"resume": "auto"}, ValueError, "resume='auto' continues the file that checkpoint names"),
        ({"resume": 1.5}, TypeError, "resume must be a path, 'auto' or None; got float"),
    ],
)
def test_options_are_checked(options, error, message):
    with pytest.raises(error, match=message):
        trained(**options)


def test_two_jobs_do_not_write_one_file(tmp_path):
    jobs = [
        Job(network(), X, Y, loss="softmax_cross_entropy", checkpoint=tmp_path / name)
        for name in ("a", "./a")
    ]
    with pytest.raises(
        ValueError, match="two jobs write their checkpoints to .*: give each a file of its own"
    ):
        fit_many(jobs)


def test_jobs_side_by_side_each_have_their_file(tmp_path):
    def jobs(**options):
        return [
            Job(network(seed=k), X, Y, loss="softmax_cross_entropy", epochs=4, seed=k,
                **({"checkpoint": tmp_path / str(k), "resume": "auto"} | options))
            for k in range(3)
        ]  # fmt: skip

    fit_many(jobs(callbacks=[stop_after(2)]), progress=False)
    resumed = jobs()
    histories = fit_many(resumed, progress=False)
    whole = jobs(checkpoint=None, resume=None)
    expected = fit_many(whole, progress=False)
    for job, history, other, wanted in zip(resumed, histories, whole, expected, strict=True):
        assert_same((job.module, history), (other.module, wanted))


# -- when ------------------------------------------------------------------------------------------------


@pytest.fixture
def written(monkeypatch):
    """The epochs of the checkpoints that are written."""
    epochs = []
    write = checkpoints.write_atomically

    def noting(path, data):
        epochs.append(unpack(data)[0]["course"]["epoch"])
        write(path, data)

    monkeypatch.setattr(checkpoints, "write_atomically", noting)
    return epochs


@pytest.mark.parametrize(
    ("every", "expected"),
    [(1, [0, 1, 2, 3, 4, 5, 6]), (4, [0, 4, 6]), ("1h", [0, 6]), ("0s", list(range(7)))],
)
def test_as_often_as_asked_and_at_the_end(every, expected, written, tmp_path):
    trained(checkpoint=tmp_path / "checkpoint", every=every)
    assert written == expected


def test_an_interrupt_writes_the_end_of_the_last_epoch(written, tmp_path):
    trained(checkpoint=tmp_path / "checkpoint", every="1h", callbacks=[interrupt_after(4)])
    assert written == [0, 3]


# -- failures ---------------------------------------------------------------------------------------------


def test_a_path_that_cannot_be_written_is_known_before_training(tmp_path):
    calls = []
    with pytest.raises(OSError, match="none"):
        trained(checkpoint=tmp_path / "none" / "checkpoint", callbacks=[calls.append])
    assert calls == []


def test_a_disk_that_fills_up_costs_no_training(monkeypatch, tmp_path):
    path = tmp_path / "checkpoint"
    write, attempts = checkpoints.write_atomically, []

    def filling(where, data):
        attempts.append(len(attempts))
        if attempts[-1] in (2, 3):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(where, data)

    monkeypatch.setattr(checkpoints, "write_atomically", filling)
    with pytest.warns(
        RuntimeWarning, match="cannot be written .*No space left.*; training goes on"
    ) as warned:
        found = trained(checkpoint=path)
    assert len(warned) == 1
    assert_same(found, trained())
    assert unpack(path.read_bytes())[0]["course"]["epoch"] == 6
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            trained(checkpoint=tmp_path / "checkpoint")
    finally:
        tmp_path.chmod(0o700)


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "checkpoint"
    trained(checkpoint=path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        place = int(rng.integers(len(whole)))
        damaged = bytearray(whole)
        if rng.random() < 0.3:
            damaged = damaged[:place]
        else:
            damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="cannot resume from .*checkpoint"):
            trained(resume=path)


# -- killed at any moment ---------------------------------------------------------------------------------

KILLS = 50
EPOCHS = 400


def long_training(path):
    module = network()
    chainrule.fit(
        module, X, Y, loss="softmax_cross_entropy", epochs=EPOCHS, batch_size=16, verbose=0, seed=3, n_jobs=1,
        checkpoint=path, resume="auto" if path else None,
    )  # fmt: skip
    return module


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_killed_fifty_times_at_random_moments_it_ends_where_it_would_have(tmp_path):
    path = tmp_path / "checkpoint"
    began = time.monotonic()
    expected = long_training(None)
    seconds = time.monotonic() - began
    context = multiprocessing.get_context("fork")
    rng = np.random.default_rng(0)
    killed = 0
    while killed < KILLS:
        process = context.Process(target=long_training, args=(path,))
        process.start()
        process.join(float(rng.uniform(0, 0.15 + seconds / 10)))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            killed += 1
        else:
            assert process.exitcode == 0
            path.unlink()  # it came to its end: begin anew
        if path.exists():
            content, _ = unpack(path.read_bytes())  # whole, whenever it was killed
            assert 0 <= content["course"]["epoch"] <= EPOCHS
    module = long_training(path)
    for ours, theirs in zip(module.state_dict().values(), expected.state_dict().values(), strict=True):
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]
