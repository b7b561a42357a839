"""The progress bar: on a terminal, and nowhere else."""

import io

import numpy as np
import pytest

from chainrule import fit, nn
from chainrule.train.progress import EpochProgress

RECORD = {
    "epoch": 1,
    "loss": 0.51239,
    "penalty": 0.0,
    "learning_rate": 0.1,
    "seconds": 1.0,
    "val_accuracy": 0.25,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def train(verbose):
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 2, rng=0))
    fit(
        net,
        rng.normal(size=(20, 3)),
        np.arange(20) % 2,
        loss="softmax_cross_entropy",
        epochs=3,
        verbose=verbose,
    )


@pytest.mark.parametrize("verbose", [0, 1])
def test_nothing_is_printed_where_there_is_no_terminal(capfd, verbose):
    train(0)  # kernels that have to be compiled first say so, once
    capfd.readouterr()
    train(verbose)
    assert capfd.readouterr() == ("", "")


def test_verbose_0_prints_nothing_on_a_terminal(monkeypatch, capfd):
    train(0)
    capfd.readouterr()
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    train(0)
    assert screen.getvalue() == ""
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_losses_and_metrics(monkeypatch, capfd):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with EpochProgress(2, verbose=1) as progress:
        progress.advance(RECORD)
        progress.advance({**RECORD, "loss": 0.25})
    shown = screen.getvalue()
    assert "epoch" in shown
    assert "loss 0.25" in shown
    assert "val accuracy 0.25" in shown
    assert "2/2" in shown
    for hidden in ("penalty", "learning rate", "seconds"):
        assert hidden not in shown
    assert capfd.readouterr().out == ""


def test_a_whole_training_on_a_terminal(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    train(1)
    assert "3/3" in screen.getvalue()


def test_the_bar_is_taken_down_when_training_fails(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    progress = EpochProgress(2, verbose=1)
    with pytest.raises(RuntimeError, match="paper"), progress:
        raise RuntimeError("out of paper")
    assert progress._bar.finished or not progress._bar.live.is_started
