"""``fit``: what it learns, what it keeps, why it stops."""

import time

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_digits

from chainrule import EarlyStopping, fit, nn, optim, predict
from chainrule.execution import prepare
from chainrule.plan import flatten, lower
from chainrule.reference import ReferenceExecutor

QUIET = {"verbose": 0}
SOFTMAX = "softmax_cross_entropy"


@pytest.fixture(scope="module")
def digits():
    """400 digits, scaled, and 200 others."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    return X[:400], y[:400], X[400:600], y[400:600]


@pytest.fixture
def blobs():
    """Three noisy classes in the plane: small, and not perfectly separable."""
    rng = np.random.default_rng(7)
    y = np.arange(120) % 3
    return rng.normal(size=(120, 2)) + 1.5 * np.array([[0, 1], [1, -1], [-1, -1]])[y], y


def digit_net(dtype=np.float32):
    return nn.Sequential(
        nn.Linear(64, 24, rng=0, dtype=dtype), nn.ReLU(), nn.Linear(24, 10, rng=1, dtype=dtype)
    )


def small_net(n_out=3, dtype=np.float64):
    return nn.Sequential(
        nn.Linear(2, 8, rng=0, dtype=dtype), nn.Tanh(), nn.Linear(8, n_out, rng=1, dtype=dtype)
    )


def bits(module):
    return b"".join(array.tobytes() for array in module.state_dict().values())


def overfit(net, X, y, **options):
    """Train on 15 rows with steps so large that the validation loss soon rises."""
    return fit(
        net, X[:15], y[:15], loss=SOFTMAX, optimizer=optim.Adam(lr=0.1), batch_size=5,
        validation=(X[15:], y[15:]), **QUIET, **options,
    )  # fmt: skip


def weight_norm(module):
    return sum((one.data**2).sum() for name, one in module.named_parameters() if "weight" in name)


# -- learning --------------------------------------------------------------------------------------


def test_the_loss_falls_and_unseen_digits_are_told_apart(digits):
    X, y, X_test, y_test = digits
    net = digit_net()
    history = fit(net, X, y, loss=nn.CrossEntropyLoss(), optimizer=optim.Adam(lr=0.01), epochs=12, **QUIET)
    assert history["loss"][-1] < 0.2 < 1.5 < history["loss"][0]
    accuracy = (predict(net, X_test).argmax(axis=1) == y_test).mean()
    assert accuracy > 0.8  # chance is 0.1
    assert not net.training
    np.testing.assert_allclose(net(X_test.astype(np.float32)), predict(net, X_test), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "optimizer", ["sgd", "adam", "adamw", optim.SGD(lr=0.1, momentum=0.9, nesterov=True)]
)
def test_the_engine_agrees_with_the_textbook(blobs, optimizer):
    X, y = blobs
    nets = {}
    for executor in ("engine", "reference"):
        net = nn.Sequential(
            nn.Linear(2, 6, rng=0, dtype=np.float64), nn.BatchNorm1d(6, dtype=np.float64), nn.GELU(),
            nn.Dropout(0.3), nn.Linear(6, 3, rng=1, dtype=np.float64),
        )  # fmt: skip
        history = fit(
            net, X, y, loss=nn.CrossEntropyLoss(label_smoothing=0.1), optimizer=optimizer, epochs=3,
            batch_size=25, l2=0.01, l1=0.001, clip_norm=0.5, validation=0.2, seed=5, executor=executor,
            **QUIET,
        )  # fmt: skip
        assert history.executor == executor
        nets[executor] = net.state_dict(), history
    for name, array in nets["reference"][0].items():
        np.testing.assert_allclose(nets["engine"][0][name], array, rtol=1e-7, atol=1e-9, err_msg=name)
    for column in ("loss", "penalty", "validation_loss"):
        np.testing.assert_allclose(nets["engine"][1][column], nets["reference"][1][column], rtol=1e-9)


def test_regression_and_sparse_rows(rng):
    dense = rng.normal(size=(200, 5)) * (rng.random((200, 5)) < 0.5)
    y = dense @ [1.0, -2.0, 0.0, 0.5, 3.0] + 1
    nets = []
    for X in (dense, scipy.sparse.csr_matrix(dense)):
        net = nn.Sequential(nn.Linear(5, 1, rng=0, dtype=np.float64))
        fit(net, X, y, loss=nn.MSELoss(), optimizer=optim.Adam(lr=0.1), epochs=30, **QUIET)
        nets.append(net)
    np.testing.assert_allclose(nets[0][0].weight.data[0], [1, -2, 0, 0.5, 3], atol=0.05)
    np.testing.assert_allclose(nets[0][0].weight.data, nets[1][0].weight.data, rtol=1e-9, atol=1e-12)


def test_dtype_is_that_of_the_computation(blobs):
    X, y = blobs
    single, double = small_net(dtype=np.float32), small_net(dtype=np.float32)
    fit(single, X, y, loss=SOFTMAX, epochs=2, **QUIET)
    fit(double, X, y, loss=SOFTMAX, epochs=2, dtype=np.float64, **QUIET)
    assert single[0].weight.dtype == np.float32
    np.testing.assert_allclose(double[0].weight.data, single[0].weight.data, rtol=1e-3, atol=1e-5)
    assert (double[0].weight != single[0].weight).any()


# -- randomness ------------------------------------------------------------------------------------


def test_one_seed_one_result_whatever_the_number_of_threads(blobs):
    X, y = blobs

    def run(**options):
        net = nn.Sequential(
            nn.Linear(2, 64, rng=0), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 3, rng=1)
        )
        history = fit(net, X, y, loss=SOFTMAX, epochs=3, validation=0.2, **QUIET, **options)
        return bits(net) + np.array(history["loss"] + history["validation_loss"]).tobytes()

    first = run(seed=3)
    assert run(seed=3) == first
    assert run(seed=3, n_jobs=1) == run(seed=3, n_jobs=2) == run(seed=3, n_jobs=-1) == first
    assert run(seed=4) != first


def test_the_seed_orders_the_rows_and_shuffle_can_be_off(blobs):
    X, y = blobs
    nets = {}
    for shuffle in (True, False):
        for seed in (0, 1):
            net = small_net()
            fit(net, X, y, loss=SOFTMAX, epochs=2, shuffle=shuffle, seed=seed, **QUIET)
            nets[shuffle, seed] = bits(net)
    assert nets[True, 0] != nets[True, 1]
    assert nets[False, 0] == nets[False, 1] != nets[True, 0]


# -- validation and early stopping -----------------------------------------------------------------


def loss_of(module, X, y):
    plan = lower(module, "softmax_cross_entropy")
    state = module.state_dict()
    vectors = flatten(state, plan.parameters, np.float64), flatten(state, plan.buffers, np.float64)
    return ReferenceExecutor(plan, *vectors).loss(prepare(plan, X, y, dtype=np.float64))


@pytest.mark.parametrize(
    "stopping", [4, EarlyStopping(patience=4), EarlyStopping(4, monitor="validation_loss")]
)
def test_early_stopping_gives_back_the_best_weights(blobs, stopping):
    X, y = blobs
    net = small_net()
    history = overfit(net, X, y, epochs=200, early_stopping=stopping)
    assert history.stopped == "early stopping"
    losses = history["validation_loss"]
    assert history.best_epoch == int(np.argmin(losses)) + 1
    assert len(history) == history.best_epoch + 4
    assert losses[-1] > min(losses)  # there was something to go back from
    assert loss_of(net, X[15:], y[15:]) == pytest.approx(min(losses), rel=1e-12)
    assert history.best["validation_loss"] == min(losses)


def test_validation_data_alone_keeps_the_best_epoch(blobs):
    X, y = blobs
    net = small_net()
    history = overfit(net, X, y, epochs=30)
    assert history.stopped == "finished"
    assert history.monitor == "validation_loss"
    assert history.best_epoch < 30
    assert loss_of(net, X[15:], y[15:]) == pytest.approx(min(history["validation_loss"]), rel=1e-12)


def test_best_weights_come_with_their_running_statistics(blobs):
    X, y = blobs
    net = nn.Sequential(
        nn.Linear(2, 9, rng=0, dtype=np.float64), nn.BatchNorm1d(9, dtype=np.float64), nn.ReLU()
    )
    net.append(nn.Linear(9, 3, rng=1, dtype=np.float64))
    history = fit(
        net, X[:30], y[:30], loss=SOFTMAX, optimizer=optim.Adam(lr=0.1), epochs=25, batch_size=10,
        validation=(X[30:], y[30:]), **QUIET,
    )  # fmt: skip
    assert history.best_epoch < 25
    assert net[1].num_batches_tracked == 3 * history.best_epoch
    assert loss_of(net, X[30:], y[30:]) == pytest.approx(min(history["validation_loss"]), rel=1e-12)


def test_a_share_is_held_out_and_not_trained_on(blobs):
    X, y = blobs
    seen = []

    def rows(y, prediction):
        seen.append(len(y))
        return 0.0

    fit(small_net(), X, y, loss=SOFTMAX, epochs=1, validation=0.25, metrics=[rows], **QUIET)
    assert seen == [30]
    # Absurd values in the held-out rows, the first of the seed's permutation, leave the weights alone.
    spoilt = X.copy()
    held_out = np.random.default_rng(0).permutation(120)[:30]
    spoilt[held_out] = 1e3
    nets = [small_net(), small_net()]
    for net, data in zip(nets, (X, spoilt), strict=True):
        fit(
            net, data, y, loss=SOFTMAX, epochs=1, validation=0.25,
            early_stopping=EarlyStopping(monitor="loss"), **QUIET,
        )  # fmt: skip
    assert bits(nets[0]) == bits(nets[1])


def test_validation_weights_are_used(blobs):
    X, y = blobs
    weights = np.where(y == 0, 1.0, 0.0)
    both = []
    for validation in ((X, y, weights), (X[y == 0], y[y == 0])):
        history = fit(small_net(), X, y, loss=SOFTMAX, epochs=2, validation=validation, **QUIET)
        both.append(history["validation_loss"])
    np.testing.assert_allclose(both[0], both[1], rtol=1e-12)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (0.0, "validation must leave rows on both sides: a share of 0.0 of 120"),
        (1.0, "validation must leave rows on both sides"),
        (0.001, "validation must leave rows on both sides"),
        (True, "validation must be"),
        ((np.ones((3, 2)),), "validation must be"),
        ("auto", "validation must be"),
        ((np.ones((3, 5)), [0, 1, 2]), r"^validation X must have shape \(n, 2\); got \(3, 5\)"),
        ((np.ones((3, 2)), [0, 1, 9]), "^validation y must hold class indices from 0 to 2, .* got 0 to 9"),
        ((np.full((3, 2), np.nan), [0, 1, 2]), "^validation X contains NaN"),
    ],
)
def test_validation_data_is_checked(blobs, validation, message):
    with pytest.raises(ValueError, match=message):
        fit(small_net(), *blobs, loss=SOFTMAX, validation=validation, **QUIET)


def test_a_monitor_that_is_not_recorded_is_named(blobs):
    with pytest.raises(
        ValueError, match="early_stopping monitors 'validation_loss', which is not among epoch, loss"
    ):
        fit(
            small_net(), *blobs, loss=SOFTMAX,
            early_stopping=EarlyStopping(monitor="validation_loss"), **QUIET,
        )  # fmt: skip


# -- reasons to stop -------------------------------------------------------------------------------


def test_callbacks_hear_of_every_epoch_and_can_stop(blobs):
    heard, weights = [], []

    def listen(event):
        heard.append((event.epoch, event.record["epoch"], len(event.history), event.report))
        weights.append(event.module[0].weight.data.copy())

    net = small_net()
    history = fit(
        net, *blobs, loss=SOFTMAX, epochs=9,
        callbacks=[lambda event: event.epoch == 3, listen], **QUIET,
    )  # fmt: skip
    assert heard == [(1, 1, 1, None), (2, 2, 2, None), (3, 3, 3, None)]
    assert history.stopped == "callback"
    assert (weights[0] != weights[1]).any()
    np.testing.assert_array_equal(weights[-1], net[0].weight.data)


def test_ctrl_c_keeps_the_best_weights(blobs):
    X, y = blobs

    def interrupt(event):
        if event.epoch == 25:
            raise KeyboardInterrupt

    net = small_net()
    history = overfit(net, X, y, epochs=200, callbacks=[interrupt])
    assert history.stopped == "interrupted"
    assert len(history) == 25
    assert history.best_epoch < 25
    assert loss_of(net, X[15:], y[15:]) == pytest.approx(min(history["validation_loss"]), rel=1e-12)
    assert not net.training


def test_ctrl_c_without_validation_keeps_the_last_weights(blobs):
    kept = []

    def interrupt(event):
        kept.append(bits(event.module))
        if event.epoch == 4:
            raise KeyboardInterrupt

    net = small_net()
    history = fit(net, *blobs, loss=SOFTMAX, epochs=9, callbacks=[interrupt], **QUIET)
    assert history.stopped == "interrupted"
    assert history.best_epoch == 4
    assert bits(net) == kept[-1] != kept[-2]


def test_another_exception_passes_but_loses_nothing(blobs):
    def fail(event):
        raise RuntimeError("out of paper")

    net, before = small_net(), bits(small_net())
    with pytest.raises(RuntimeError, match="out of paper"):
        fit(net, *blobs, loss=SOFTMAX, callbacks=[fail], **QUIET)
    assert bits(net) != before
    assert not net.training


def test_max_time(blobs):
    began = time.monotonic()
    history = fit(
        small_net(), *blobs, loss=SOFTMAX, epochs=10**6, max_time=0.2, **QUIET
    )  # fmt: skip
    assert history.stopped == "time limit"
    assert time.monotonic() - began < 5
    assert 1 <= len(history) < 10**6
    assert history["seconds"] == sorted(history["seconds"])


def test_a_diverged_training_says_so(blobs):
    X, y = blobs
    history = fit(
        small_net(1), X, y * 1e3, loss="half_squared_error", optimizer=optim.SGD(lr=1e3), epochs=50, **QUIET
    )
    assert history.stopped == "not finite"
    assert len(history) < 50


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        ("constant", lambda t: 1.0),
        ("invscaling", lambda t: 1 / np.sqrt(t + 1)),
        (optim.StepDecay(every=2, factor=0.5), lambda t: 0.5 ** (t // 4 // 2)),
        (optim.CosineWarmup(warmup=0.0), lambda t: 0.5 * (1 + np.cos(np.pi * t / 24))),
        (
            optim.OneCycle(rise=0.25, start=10, end=100),
            lambda t: (
                0.1 + 0.9 * 0.5 * (1 - np.cos(np.pi * t / 6))
                if t < 6
                else 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * (t - 6) / 17))
            ),
        ),
    ],
)
def test_schedules_set_the_recorded_rate(blobs, schedule, factor):
    history = fit(
        small_net(), *blobs, loss=SOFTMAX, optimizer=optim.SGD(lr=0.3), epochs=6, batch_size=30,
        schedule=schedule, **QUIET,
    )  # fmt: skip
    last_steps = 4 * np.arange(1, 7) - 1  # counted from 0
    np.testing.assert_allclose(history["learning_rate"], [0.3 * factor(t) for t in last_steps], rtol=1e-12)


def test_a_schedule_acts_on_the_weights(blobs):
    """With the step decay's second half at a rate of next to nothing, nothing moves in it."""
    kept = []
    fit(
        small_net(), *blobs, loss=SOFTMAX, optimizer=optim.SGD(lr=0.3), epochs=4,
        schedule=optim.StepDecay(every=2, factor=1e-30), callbacks=[lambda e: kept.append(bits(e.module))],
        **QUIET,
    )  # fmt: skip
    assert kept[0] != kept[1] == kept[2] == kept[3]


def test_the_adaptive_rate_falls_and_ends_the_training(blobs):
    X, y = blobs
    history = fit(
        small_net(), X[:15], y[:15], loss=SOFTMAX, optimizer=optim.SGD(lr=1.0), epochs=500,
        schedule=optim.Adaptive(patience=1, divisor=10, minimum=0.05), validation=(X[15:], y[15:]), **QUIET,
    )  # fmt: skip
    assert history.stopped == "learning rate"
    rates = history["learning_rate"]
    assert set(np.round(rates, 12)) == {1.0, 0.1}


def test_a_schedule_object_serves_many_trainings(blobs):
    schedule, rates = optim.Adaptive(patience=1, minimum=0.5), []
    for _ in range(2):
        history = fit(
            small_net(),
            *blobs,
            loss=SOFTMAX,
            optimizer=optim.SGD(lr=5.0),
            epochs=50,
            schedule=schedule,
            **QUIET,
        )
        assert history.stopped == "learning rate"
        rates.append(history["learning_rate"])
    assert rates[0] == rates[1]


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_penalties_shrink_the_weights(blobs, penalty):
    norms, history = {}, None
    for strength in (0.0, 0.001, 0.1):
        net = small_net()
        history = fit(
            net, *blobs, loss=SOFTMAX, optimizer=optim.Adam(lr=0.01), epochs=40,
            **{penalty: strength}, **QUIET,
        )  # fmt: skip
        norms[strength] = weight_norm(net)
        assert (history["penalty"][0] > 0) == (strength > 0)
    assert norms[0.1] < 0.5 * norms[0.001] < norms[0.001] < norms[0.0]


def test_the_penalty_is_what_it_is_called(blobs):
    net = small_net()
    W = [one.data.copy() for name, one in net.named_parameters() if "weight" in name]
    expected = sum(0.5 * 0.3 * (w**2).sum() + 0.2 * np.abs(w).sum() for w in W)
    history = fit(net, *blobs, loss=SOFTMAX, epochs=1, batch_size=120, l2=0.3, l1=0.2, **QUIET)
    assert history["penalty"] == pytest.approx([expected])


def test_clipping_bounds_the_step(blobs):
    X, y = blobs
    net = small_net(1)
    before = flatten(net.state_dict(), lower(net, "half_squared_error").parameters, np.float64)
    steps = {}
    for clip in (0.0, 0.01, 1e9):
        net = small_net(1)
        fit(
            net, X, 100.0 * y, loss="half_squared_error", optimizer=optim.SGD(lr=0.5), epochs=1,
            batch_size=120, clip_norm=clip, **QUIET,
        )  # fmt: skip
        after = flatten(net.state_dict(), lower(net, "half_squared_error").parameters, np.float64)
        steps[clip] = after - before
    assert np.linalg.norm(steps[0.01]) == pytest.approx(0.5 * 0.01, rel=1e-9)
    assert np.linalg.norm(steps[0.0]) > 1
    np.testing.assert_array_equal(steps[1e9], steps[0.0])
    np.testing.assert_allclose(
        steps[0.01] / 0.005, steps[0.0] / np.linalg.norm(steps[0.0]), rtol=1e-7, atol=1e-12
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"learning_rate": 0.1},
            TypeError,
            "fit got an unknown option 'learning_rate'; it takes sample_weight",
        ),
        ({"earlystopping": True}, TypeError, "unknown option 'earlystopping'"),
        ({"epochs": 0}, ValueError, "^epochs must be a whole number, at least 1; got 0"),
        ({"epochs": 2.5}, ValueError, "^epochs must be"),
        ({"batch_size": True}, ValueError, "^batch_size must be"),
        ({"l2": -1.0}, ValueError, "^l2 must be zero or positive; got -1.0"),
        ({"clip_norm": float("nan")}, ValueError, "^clip_norm must be zero or positive"),
        ({"max_time": 0}, ValueError, "^max_time must be a positive number of seconds; got 0"),
        ({"early_stopping": -1}, ValueError, "patience must be at least 1"),
        ({"optimizer": "adem"}, ValueError, "optimizer.*adem"),
        ({"schedule": "cosin"}, ValueError, "schedule.*cosin"),
        (
            {"executor": "gpu"},
            ValueError,
            "executor must be one of auto, engine, tape, reference, finite_differences; got 'gpu'",
        ),
        ({"n_jobs": 0}, ValueError, "n_jobs must not be 0"),
        ({"loss": "hinge"}, ValueError, "loss.*hinge"),
        ({"loss": 3}, TypeError, "loss must be a name or a loss module"),
        ({"metrics": ["acuracy"]}, ValueError, "metrics must be callables or among .* got 'acuracy'"),
        ({"sample_weight": [1.0]}, ValueError, r"^sample_weight must have shape \(120,\); got \(1,\)"),
        ({"sample_weight": np.full(120, -1.0)}, ValueError, "^sample_weight must be finite, non-negative"),
    ],
)
def test_what_is_wrong_is_named(blobs, options, error, message):
    arguments = {"loss": "softmax_cross_entropy", "epochs": 1, **QUIET, **options}
    with pytest.raises(error, match=message):
        fit(small_net(), *blobs, **arguments)


def test_the_module_must_be_a_module(blobs):
    with pytest.raises(TypeError, match="module must be a Module of chainrule.nn; got list"):
        fit([nn.Linear(2, 3)], *blobs, loss=SOFTMAX)
