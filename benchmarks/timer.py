"""What a process times: something that it does again and again, for about as long as it is told to."""

import time
from abc import ABC, abstractmethod
from typing import Any

from library import make
from machine import Stopwatch
from peer import Peer
from problem import Network, guessing_loss, mean_loss, teacher_data

__all__ = ["StepTimer", "Timer"]


class Timer(ABC):
    """Microseconds of a unit of work: a training step, a call, a product."""

    @abstractmethod
    def repeat(self, n: int) -> int:
        """Do it ``n`` times; returns how many units that was."""

    def begin(self) -> None:  # noqa: B027 - most have nothing to do
        """Called before each sample, and not timed."""

    def versions(self) -> dict[str, str]:
        """Versions of the packages that matter."""
        return {}

    def facts(self) -> str:
        """What of the configuration a reader should know."""
        return ""

    def about(self) -> dict[str, Any]:
        """Versions and facts."""
        return {"versions": self.versions(), "facts": self.facts()}

    def calibrate(self, seconds: float) -> dict[str, int]:
        """Warm up for a moment; how many repetitions take about ``seconds``."""
        self.begin()
        self.repeat(1)
        start = time.perf_counter()
        done, more = 0, 1
        while done == 0 or time.perf_counter() - start < 0.3 * seconds:
            self.repeat(more)
            done += more
            more = done  # twice as many in all: short things are not timed one by one
        return {"repeats": max(1, round(seconds * done / (time.perf_counter() - start)))}

    def sample(self, repeats: int) -> dict[str, Any]:
        """Microseconds a unit, and how many processors were at work on the average."""
        self.begin()
        with Stopwatch.running() as watch:
            units = self.repeat(repeats)
        return {
            "value": watch.seconds / units * 1e6,
            "contaminated": watch.contaminated,
            "seconds": watch.seconds,
            "processor_seconds": watch.own,
        }


class StepTimer(Timer):
    """Trains one network with one peer; a repetition is an epoch, a unit a step."""

    def __init__(self, where: str, settings: dict[str, Any], network: dict[str, Any]) -> None:
        shape = Network(**network | {"sizes": tuple(network["sizes"])})
        self.X, self.y = teacher_data(shape)
        self.peer: Peer = make(where, settings)
        self.peer.setup(shape.sizes, shape.batch, self.X, self.y)

    def begin(self) -> None:
        self.peer.reset()

    def repeat(self, n: int) -> int:
        return self.peer.epochs(n)

    def versions(self) -> dict[str, str]:
        return self.peer.versions()

    def facts(self) -> str:
        return self.peer.facts()

    def learns(self, epochs: int) -> dict[str, Any]:
        """Loss of guessing, and of the network after some epochs from the start."""
        self.peer.reset()
        self.peer.epochs(epochs)
        loss = mean_loss(self.peer.weights(), self.X, self.y)
        guessing = guessing_loss(self.y)
        return {"guessing": guessing, "loss": loss, "learned": bool(loss < 0.9 * guessing)}
