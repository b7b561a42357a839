"""A process that holds one library and measures when it is told to.

Run by ``session.Worker``: requests and answers are lines of JSON. Between requests it waits for input, so the
libraries' threads sleep while another one is measured.
"""

import importlib
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np
from machine import Stopwatch
from peer import Peer, make
from problem import Network, guessing_loss, mean_loss, teacher_data

__all__ = ["StepTimer", "fit_digits", "main"]


class StepTimer:
    """Trains one network with one peer, and times it."""

    def __init__(self, name: str, network: Network) -> None:
        self.X, self.y = teacher_data(network)
        self.peer: Peer = make(name)
        self.peer.setup(network.sizes, network.batch, self.X, self.y)

    def learns(self, epochs: int) -> dict[str, Any]:
        """Loss of guessing, and of the network after some epochs from the start."""
        self.peer.reset()
        self.peer.epochs(epochs)
        loss = mean_loss(self.peer.weights(), self.X, self.y)
        guessing = guessing_loss(self.y)
        return {"guessing": guessing, "loss": loss, "learned": bool(loss < 0.9 * guessing)}

    def calibrate(self, seconds: float) -> int:
        """Warm up for a moment; the number of epochs that take about ``seconds``."""
        self.peer.epochs(1)
        start = time.perf_counter()
        done = 0
        while done == 0 or time.perf_counter() - start < 0.3 * seconds:
            self.peer.epochs(1)
            done += 1
        return max(1, round(seconds * done / (time.perf_counter() - start)))

    def sample(self, epochs: int) -> dict[str, Any]:
        """Microseconds a step over some epochs from the start."""
        self.peer.reset()
        with Stopwatch.running() as watch:
            steps = self.peer.epochs(epochs)
        return {"value": watch.seconds / steps * 1e6, "contaminated": watch.contaminated}


# Where each library's MLPClassifier is, and what its constructor is given beside the random state.
CLASSIFIERS: dict[str, tuple[str, dict[str, Any]]] = {
    "chainrule": ("chainrule.estimators", {}),
    "chainrule-float32": ("chainrule.estimators", {"dtype": "float32"}),
    "sklearn": ("sklearn.neural_network", {}),
}


def fit_digits(name: str, **settings: Any) -> dict[str, Any]:
    """Seconds of ``MLPClassifier(random_state=0).fit`` on scikit-learn's digits, and how good it became."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    module, own_settings = CLASSIFIERS[name]
    classifier = importlib.import_module(module).MLPClassifier
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0, stratify=y)
    network = classifier(random_state=0, **own_settings, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged after 200 epochs is not the subject
        with Stopwatch.running() as watch:
            network.fit(X_train, y_train)
    return {
        "value": watch.seconds,
        "contaminated": watch.contaminated,
        "epochs": int(network.n_iter_),
        "loss": float(network.loss_),
        "accuracy": float(network.score(X_test, y_test)),
    }


class _Requests:
    """What can be asked for, by name."""

    def __init__(self) -> None:
        self.timer: StepTimer | None = None
        self.actions: dict[str, Callable[..., dict[str, Any]]] = {
            "setup": self.setup,
            "learns": lambda epochs: self._timer().learns(epochs),
            "calibrate": lambda seconds: {"epochs": self._timer().calibrate(seconds)},
            "sample": lambda epochs: self._timer().sample(epochs),
            "fit_digits": fit_digits,
        }

    def _timer(self) -> StepTimer:
        if self.timer is None:
            raise RuntimeError("setup has to come first")
        return self.timer

    def setup(self, name: str, sizes: list[int], batch: int, rows: int) -> dict[str, Any]:
        self.timer = StepTimer(name, Network(tuple(sizes), batch, rows))
        return {"versions": self.timer.peer.versions(), "facts": self.timer.peer.facts()}


def _serve(requests: TextIO, answers: TextIO) -> None:
    handlers = _Requests()
    for line in requests:
        request = json.loads(line)
        try:
            answer = handlers.actions[request.pop("do")](**request)
        except Exception as error:  # noqa: BLE001 - the parent reports it
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer, default=np.generic.item), file=answers, flush=True)


def main() -> None:
    """Answer requests until the input ends."""
    # Libraries print now and then: what they print goes to stderr, the pipe stays ours.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        _serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
