"""Training on streams: the same rows, the same bits, in whatever form they come."""

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.streaming import SOURCES, all_of, as_chunks, as_parquet_file, as_two_files, bits, table

import chainrule
from chainrule import fit, nn, optim, predict
from chainrule.engine import EngineExecutor
from chainrule.execution import Examples
from chainrule.train.streams.shuffling import shuffled, whole_batches

QUIET = {"verbose": 0}
SOFTMAX = "softmax_cross_entropy"
N = 311

pytestmark = pytest.mark.usefixtures("small_pieces")


@pytest.fixture
def data(rng):
    """Three classes in the plane; the first column identifies the row."""
    y = rng.integers(0, 3, N)
    X = rng.normal(size=(N, 3)) + np.eye(3)[y]
    X[:, 0] = np.arange(N) / N
    return X, y


@pytest.fixture
def visited(monkeypatch):
    """The identifiers of the rows that the engine is given to learn from, in its order."""
    rows = []
    run = EngineExecutor.run

    def watched(self, examples, instructions):
        order = slice(None) if instructions.order is None else instructions.order
        rows.extend(np.rint(examples.X[order, 0] * N).astype(int).tolist())
        return run(self, examples, instructions)

    monkeypatch.setattr(EngineExecutor, "run", watched)
    return rows


def net(dtype=np.float64, n_inputs=3, n_outputs=3):
    return nn.Sequential(
        nn.Linear(n_inputs, 8, rng=0, dtype=dtype), nn.Tanh(), nn.Dropout(0.2),
        nn.Linear(8, n_outputs, rng=1, dtype=dtype),
    )  # fmt: skip


def trained(*arguments, module=None, **options):
    module = module or net()
    history = fit(module, *arguments, **{"loss": SOFTMAX, "epochs": 3, "batch_size": 25, **QUIET, **options})
    return module, history


# -- the same training -------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("shuffle", [True, False])
def test_what_fits_in_the_buffer_trains_to_the_same_bits_as_arrays(tmp_path, data, source, shuffle):
    options = {"seed": 4, "shuffle": shuffle, "schedule": "one_cycle", "metrics": ["accuracy"], "l2": 0.01}
    module, history = trained(SOURCES[source](tmp_path, *data), **options)
    other, expected = trained(*data, **options)
    assert bits(module) == bits(other)
    assert not module.training
    assert history.stopped == expected.stopped == "finished"
    for column in ("learning_rate", "accuracy"):
        assert history[column] == expected[column]
    for column in ("loss", "penalty"):
        np.testing.assert_allclose(history[column], expected[column], rtol=1e-12)


@pytest.mark.parametrize("source", SOURCES)
def test_every_row_once_an_epoch(tmp_path, data, source, visited):
    stream = SOURCES[source](tmp_path, *data, buffer_rows=30)
    trained(stream, epochs=2)
    first, second = visited[:N], visited[N:]
    assert sorted(first) == sorted(second) == list(range(N))
    assert first != second


@pytest.mark.parametrize("source", SOURCES)
def test_a_small_buffer_is_training_on_the_order_it_gives(tmp_path, data, source, visited):
    module, history = trained(SOURCES[source](tmp_path, *data, buffer_rows=40), epochs=1, batch_size=7)
    order, X, y = np.array(visited), *data
    assert (order != np.arange(N)).mean() > 0.9
    other, expected = trained(X[order], y[order], epochs=1, batch_size=7, shuffle=False)
    assert bits(module) == bits(other)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-12)


def test_the_order_is_mixed_beyond_the_buffer(tmp_path, data, visited):
    """Blocks come in a random order: early rows are not all visited early."""
    trained(as_two_files(tmp_path, *data, buffer_rows=20), epochs=1)
    places = np.empty(N)
    places[visited] = np.arange(N)
    assert abs(np.corrcoef(places, np.arange(N))[0, 1]) < 0.3


def test_one_seed_one_result_whatever_the_number_of_threads(tmp_path, data):
    stream = as_parquet_file(tmp_path, *data, buffer_rows=50)
    results = [bits(trained(stream, seed=seed, n_jobs=n)[0]) for seed, n in ((1, 1), (1, 2), (2, 1))]
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize("executor", ["reference", "tape"])
def test_other_executors_take_streams(tmp_path, data, executor):
    module, history = trained(as_chunks(tmp_path, *data), executor=executor, epochs=1)
    other, _ = trained(*data, epochs=1)
    assert history.executor == executor
    for name, array in other.state_dict().items():
        np.testing.assert_allclose(module.state_dict()[name], array, rtol=1e-9, atol=1e-12)


def test_a_module_without_a_plan(tmp_path, data):
    class Squares(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3, rng=0, dtype=np.float64)

        def forward(self, x):
            return self.linear(x**2)

    module, history = trained(as_chunks(tmp_path, *data), module=Squares())
    other, _ = trained(*data, module=Squares())
    assert history.executor == "tape"
    assert bits(module) == bits(other)
    stream = as_chunks(tmp_path, *data).standardized()
    trained(stream, module=Squares(), validation=0.3, epochs=1)
    np.testing.assert_allclose(all_of(stream.split(0.3)[0])[0].mean(axis=0), 0, atol=1e-12)
    outputs = list(predict(module, as_chunks(tmp_path, *data)))
    np.testing.assert_array_equal(np.concatenate(outputs), predict(module, data[0]))


def test_several_outputs_and_single_precision(tmp_path, rng):
    X = rng.normal(size=(100, 3)).astype(np.float32)
    y = np.stack([X[:, 0] + X[:, 1], X[:, 2]], axis=1)
    options = {"loss": nn.MSELoss(), "metrics": ["r2", "root_mean_squared_error", "mean_absolute_error"]}
    module, history = trained(as_two_files(tmp_path, X, y), module=net(np.float32, 3, 2), **options)
    other, expected = trained(X, y, module=net(np.float32, 3, 2), **options)
    assert bits(module) == bits(other)
    for column in options["metrics"]:
        np.testing.assert_allclose(history[column], expected[column], rtol=1e-5)


# -- weights -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 1: 0.0}, [1.0, 2.0, 3.0]])
@pytest.mark.parametrize("loss_weight", [None, [1.0, 2.0, 0.5]])
def test_weights_of_classes_and_rows(data, rng, class_weight, loss_weight):
    X, y = data
    weights = rng.integers(0, 3, N).astype(float)
    options = {"class_weight": class_weight, "loss": nn.CrossEntropyLoss(weight=loss_weight)}
    module, _ = trained(chainrule.stream(X, y, weight=weights), **options)
    other, _ = trained(X, y, sample_weight=weights, **options)
    np.testing.assert_allclose(predict(module, X), predict(other, X), rtol=1e-9)
    if class_weight is None or loss_weight is None:
        assert bits(module) == bits(other)


def test_a_column_of_weights(tmp_path, data, rng):
    X, y = data
    weights = rng.random(N)
    expected, _ = trained(X, y, sample_weight=weights)
    pyarrow.parquet.write_table(table(X, y, importance=weights), tmp_path / "rows.parquet")
    module, _ = trained(chainrule.stream(tmp_path / "rows.parquet", target="y", weight="importance"))
    assert bits(module) == bits(expected)
    module, _ = trained(chainrule.stream(np.column_stack([X, weights, y]), target=-1, weight=3))
    assert bits(module) == bits(expected)


# -- validation --------------------------------------------------------------------------------------


def test_a_share_of_the_rows_is_held_out(tmp_path, data, visited):
    stream = as_parquet_file(tmp_path, *data)
    training, held_out = stream.split(0.25, seed=3)
    (X, y), (X_held, y_held) = all_of(training), all_of(held_out)
    assert sorted(np.concatenate([X, X_held])[:, 0]) == sorted(data[0][:, 0])
    assert 0.15 * N < held_out.n_rows == len(X_held) < 0.35 * N
    assert training.n_rows == len(X)
    assert not np.array_equal(all_of(stream.split(0.25, seed=4)[1])[0], X_held)

    names = ["accuracy", lambda y, p: (p.argmax(axis=1) == y).mean()]
    module, history = trained(stream, validation=0.25, seed=3, metrics=names)
    assert set(visited) == {round(one) for one in X[:, 0] * N}
    other, expected = trained(X, y, validation=(X_held, y_held), seed=3, metrics=names)
    assert bits(module) == bits(other)
    assert history.best_epoch == expected.best_epoch
    assert history["accuracy"] == history["<lambda>"] == expected["accuracy"]
    np.testing.assert_allclose(history["validation_loss"], expected["validation_loss"], rtol=1e-12)


def test_validation_on_arrays_and_on_another_stream(tmp_path, data):
    X, y = data
    held_out = X[200:], y[200:]
    _, expected = trained(X[:200], y[:200], validation=held_out)
    stream = as_chunks(tmp_path, X[:200], y[:200])
    for validation in (held_out, as_two_files(tmp_path, *held_out)):
        _, history = trained(stream, validation=validation)
        np.testing.assert_allclose(history["validation_loss"], expected["validation_loss"], rtol=1e-12)


def test_validation_with_weights(tmp_path, data):
    X, y = data
    weights = np.where(np.arange(N) % 2, 1.0, 0.0)
    _, expected = trained(X, y, validation=(X, y, weights))
    for validation in ((X, y, weights), chainrule.stream(X, y, weight=weights)):
        _, history = trained(as_chunks(tmp_path, X, y), validation=validation)
        np.testing.assert_allclose(history["validation_loss"], expected["validation_loss"], rtol=1e-12)


def test_early_stopping_goes_back_to_the_best_weights(tmp_path, data):
    X, y = data
    options = {
        "optimizer": optim.Adam(lr=0.3),
        "epochs": 40,
        "early_stopping": 2,
        "validation": (X[9:], y[9:]),
    }
    module, history = trained(as_chunks(tmp_path, X[:9], y[:9]), **options)
    other, expected = trained(X[:9], y[:9], **options)
    assert history.stopped == expected.stopped == "early stopping"
    assert history.best_epoch == expected.best_epoch < len(history)
    assert bits(module) == bits(other)


def test_callbacks_telemetry_and_interrupts(tmp_path, data):
    stream = as_chunks(tmp_path, *data)
    _, history = trained(stream, callbacks=[lambda event: event.epoch == 2], telemetry_every=5)
    assert (history.stopped, len(history)) == ("callback", 2)
    steps = np.concatenate([report.telemetry_steps for report in history.telemetry])
    np.testing.assert_array_equal(steps, np.arange(0, 26, 5))

    def interrupt(event):
        raise KeyboardInterrupt

    module, history = trained(stream, callbacks=[interrupt])
    assert (history.stopped, len(history)) == ("interrupted", 1)
    assert bits(module) == bits(trained(*data, epochs=1)[0])


def test_a_time_limit_ends_within_an_epoch(tmp_path, data, visited):
    _, history = trained(as_chunks(tmp_path, *data), epochs=10**6, max_time=1e-9, shuffle=False)
    assert (history.stopped, len(history)) == ("time limit", 1)
    assert 0 < len(visited) < N


# -- prediction --------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
def test_prediction_in_chunks(tmp_path, data, source):
    module, _ = trained(*data)
    outputs = list(predict(module, SOURCES[source](tmp_path, *data)))
    assert len(outputs) > 1
    np.testing.assert_array_equal(np.concatenate(outputs), predict(module, data[0]))


# -- the buffer and the batches ----------------------------------------------------------------------


def numbered(sizes):
    first = np.cumsum([0, *sizes])
    for start, size in zip(first, sizes, strict=False):
        rows = np.arange(start, start + size)
        yield Examples(rows[:, None].astype(np.float32), rows, rows + 0.5)


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12), capacity=st.integers(1, 60),
    batch_size=st.integers(1, 50), seed=st.integers(0, 9),
)  # fmt: skip
@settings(deadline=None)
def test_nothing_is_lost_and_nothing_comes_twice(sizes, capacity, batch_size, seed):
    n = sum(sizes)
    capacity = max(1, min(capacity, n))
    mixed = shuffled(numbered(sizes), capacity, np.random.default_rng(seed))
    chunks = list(whole_batches(mixed, batch_size))
    order = np.concatenate([chunk.y for chunk in chunks]) if chunks else np.arange(0)
    assert sorted(order) == list(range(n))
    assert all(len(chunk) % batch_size == 0 for chunk in chunks[:-1])
    for chunk in chunks:
        np.testing.assert_array_equal(chunk.X[:, 0], chunk.y)
        np.testing.assert_array_equal(chunk.weights, chunk.y + 0.5)
    if capacity == n:
        np.testing.assert_array_equal(order, np.random.default_rng(seed).permutation(n))


def test_a_buffer_holds_no_more_than_its_capacity():
    """Row k is given out only once all but ``capacity`` of the rows before it have been."""
    mixed = shuffled(numbered([10] * 30), 25, np.random.default_rng(0))
    order = np.concatenate([part.y for part in mixed])
    assert (order - np.arange(300) < 25 + 10).all()
    assert np.abs(order - np.arange(300)).mean() > 8


# --------------------------------------------------------------------------------- parts, samples, all rows


def test_a_part_can_be_split_again():
    X = np.arange(4000.0)[:, None]
    training, testing = chainrule.stream(X, X[:, 0]).split(0.25, seed=3)
    inner, validation = training.split(0.25, seed=3)
    parts = [np.concatenate([x[:, 0] for x, _, _ in part]) for part in (inner, validation, testing)]
    assert sorted(np.concatenate(parts).tolist()) == X[:, 0].tolist()
    # A quarter of three quarters, although share and seed are those of the split before.
    assert [len(part) / 4000 for part in parts] == pytest.approx([0.5625, 0.1875, 0.25], abs=0.03)


def test_a_sample_is_of_all_rows_and_the_same_each_time(tmp_path):
    X = np.arange(6000.0).reshape(3000, 2)
    frame = table(X, X[:, 0]).to_pandas()
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=200)
    rows = chainrule.stream(tmp_path / "t.parquet", target=frame.columns[-1])
    X, y = rows.sample(100)
    assert list(X.columns) == list(frame.columns[:-1]) == rows.columns
    assert len(X) == len(y) == 100
    assert (y == rows.sample(100)[1]).all()
    assert len(rows.sample()[1]) == 3000
    whole = np.concatenate([part[rows.columns[0]] for part in rows.stored(500)])
    assert (whole == frame[rows.columns[0]]).all()
    assert [len(part) for part in rows.stored(3000)] == [3000]


def test_targets_may_be_made_into_others():
    X = np.arange(8.0)[:, None]
    rows = chainrule.stream(X, X[:, 0])

    class Doubled:
        learned_ = True

        def fit(self, X):
            return self

        def transform(self, X):
            return 2 * X

    prepared = rows.prepared(Doubled(), targets=lambda y: y + 1)
    doubled, more, _ = next(iter(prepared))
    assert (doubled == 2 * X).all()
    assert (more == X[:, 0] + 1).all()
