"""What a training leaves behind."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from chainrule import History, fit, nn
from chainrule.execution import OPERATION_FIELDS, SLOT_FIELDS
from chainrule.optim import SGD

mpl.use("Agg")

ROWS = [
    {"epoch": 1, "loss": 0.9, "validation_loss": 0.8, "accuracy": 0.5, "learning_rate": 0.1},
    {"epoch": 2, "loss": 0.5, "validation_loss": 0.6, "accuracy": 0.7, "learning_rate": 0.1},
    {"epoch": 3, "loss": 0.4, "validation_loss": 0.7, "accuracy": 0.6, "learning_rate": 0.1},
]


@pytest.fixture
def history():
    return History([dict(row) for row in ROWS], "early stopping", best_epoch=2, monitor="validation_loss")


@pytest.fixture
def axes():
    import matplotlib.pyplot as plt

    yield plt.subplots()[1]
    plt.close("all")


def test_columns_rows_and_the_best(history):
    assert len(history) == 3
    assert history["loss"] == [0.9, 0.5, 0.4]
    assert history.best == ROWS[1]
    with pytest.raises(
        KeyError, match="no column 'val_loss' in this history; there are epoch, loss, validation"
    ):
        history["val_loss"]


def test_an_empty_history():
    empty = History()
    assert len(empty) == 0
    assert empty["loss"] == []
    assert empty.best == {}
    assert empty.to_frame().empty
    assert repr(empty) == "History(no epochs, stopped: finished)"


def test_a_frame_is_indexed_by_epoch(history):
    frame = history.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.tolist() == [1, 2, 3]
    assert frame.index.name == "epoch"
    assert frame.columns.tolist() == ["loss", "validation_loss", "accuracy", "learning_rate"]
    assert frame.loc[2, "accuracy"] == 0.7


def test_repr_says_how_it_ended(history):
    assert repr(history) == (
        "History(3 epochs, stopped: early stopping, best epoch 2; "
        "last: loss=0.4, validation_loss=0.7, accuracy=0.6, learning_rate=0.1)"
    )


def test_plot_draws_losses_metrics_and_the_best_epoch(history, axes):
    assert history.plot(axes) is axes
    assert [line.get_label() for line in axes.lines] == ["loss", "validation loss", "best epoch"]
    np.testing.assert_array_equal(axes.lines[1].get_xydata(), [[1, 0.8], [2, 0.6], [3, 0.7]])
    assert axes.lines[2].get_xdata()[0] == 2
    (right,) = (other for other in axes.figure.axes if other is not axes)
    assert [line.get_label() for line in right.lines] == ["accuracy"]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["loss", "validation loss", "accuracy", "best epoch"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss")


def test_plot_makes_its_own_axes_and_takes_an_empty_history(axes):
    lone = History([{"epoch": 1, "loss": 1.0}]).plot()
    assert [line.get_label() for line in lone.lines] == ["loss"]
    assert lone.figure is not axes.figure
    assert list(History().plot(axes).lines) == []


def test_the_history_of_a_training():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), np.arange(30) % 2
    net = nn.Sequential(nn.Linear(3, 2, rng=0))
    history = fit(net, X, y, loss="softmax_cross_entropy", epochs=4, metrics="accuracy", verbose=0)
    assert history["epoch"] == [1, 2, 3, 4]
    assert (history.stopped, history.best_epoch, history.monitor, history.executor) == (
        "finished", 4, "", "engine",
    )  # fmt: skip
    assert list(history.epochs[0]) == ["epoch", "loss", "penalty", "learning_rate", "seconds", "accuracy"]
    assert {type(value) for row in history.epochs for value in row.values()} == {int, float}


def test_the_loss_is_the_mean_over_batches_each_before_its_step():
    """With a rate of next to nothing it is the loss of the initial weights, a ragged batch by its rows."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(23, 3)), rng.normal(size=23)
    net = nn.Sequential(nn.Linear(3, 1, rng=0, dtype=np.float64))
    expected = np.mean((net(X)[:, 0] - y) ** 2)
    history = fit(net, X, y, loss=nn.MSELoss(), optimizer=SGD(lr=1e-14), epochs=1, batch_size=10, verbose=0)
    assert history["loss"] == pytest.approx([expected], rel=1e-9)


def test_telemetry_is_recorded_where_asked_for(rng):
    X, y = rng.normal(size=(120, 2)), np.arange(120) % 3
    net = nn.Sequential(nn.Linear(2, 8, rng=0), nn.Tanh(), nn.Linear(8, 3, rng=1))
    reports = []
    history = fit(
        net, X, y, loss="softmax_cross_entropy", epochs=3, batch_size=30, telemetry_every=3,
        callbacks=[lambda event: reports.append(event.report)], verbose=0,
    )  # fmt: skip
    assert [list(one.telemetry_steps) for one in history.telemetry] == [[0, 3], [6], [9]]
    assert history.telemetry[0].operations.shape == (2, 3, len(OPERATION_FIELDS))
    assert history.telemetry[0].slots.shape == (2, 4, len(SLOT_FIELDS))
    assert (history.telemetry[0].slots[..., SLOT_FIELDS.index("gradient_norm")] > 0).all()
    assert all(a is b for a, b in zip(reports, history.telemetry, strict=True))
    assert fit(net, X, y, loss="softmax_cross_entropy", epochs=1, verbose=0).telemetry == []
