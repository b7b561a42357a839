"""The parent's side: worker processes, and measuring them in turns until every one has its samples."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from machine import clean_environment, wait_until_quiet

__all__ = ["Failed", "Plan", "Series", "Worker", "in_turns"]


class Failed(RuntimeError):
    """A library could not be measured; the message says why."""


class Worker:
    """A child process running ``worker.py``; call it with a request's name and arguments.

    Raises
    ------
    Failed
        If the request raises there, or the process dies.
    """

    def __init__(self) -> None:
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, text=True,
            env=clean_environment(),
        )  # fmt: skip

    def __call__(self, do: str, **arguments: Any) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            print(json.dumps({"do": do, **arguments}), file=stdin, flush=True)
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            self._stderr.seek(0)
            last = self._stderr.read().strip().splitlines()[-1:] or ["no message"]
            raise Failed(f"the process ended with code {self._process.returncode}: {last[0]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Plan:
    """How carefully to measure.

    Attributes
    ----------
    rounds : int
        Samples of each library.
    seconds : float
        Length of a sample of training steps.
    checked : bool
        Wait for a quiet machine before a sample and discard those that others disturbed.
    patience : float
        Seconds to wait for a quiet machine before giving up.
    attempts : int
        Times to repeat a disturbed sample before that round goes without.
    """

    rounds: int = 7
    seconds: float = 0.7
    checked: bool = True
    patience: float = 600.0
    attempts: int = 10


@dataclass
class Series:
    """The samples of one library, one a round: a number, or None where none was clean.

    ``discarded`` counts disturbed samples, ``last`` is the last answer, ``failure`` says why it broke off.
    """

    values: list[float | None] = field(default_factory=list)
    discarded: int = 0
    last: dict[str, Any] = field(default_factory=dict)
    failure: str = ""

    @property
    def clean(self) -> list[float]:
        """Samples that count."""
        return [value for value in self.values if value is not None]

    @property
    def median(self) -> float | None:
        """Median of the clean samples, if there are any."""
        return statistics.median(self.clean) if self.clean else None

    @property
    def spread(self) -> tuple[float, float, float] | None:
        """Minimum, first and third quartile of the clean samples, if there are any."""
        clean = self.clean
        if not clean:
            return None
        if len(clean) == 1:
            return (clean[0],) * 3
        lower, _, upper = statistics.quantiles(clean, n=4, method="inclusive")
        return min(clean), lower, upper

    def times_faster_than(self, other: "Series") -> float | None:
        """Median over the rounds of the other's time divided by this one's in the same round."""
        pairs = zip(self.values, other.values, strict=False)
        ratios = [theirs / ours for ours, theirs in pairs if ours is not None and theirs is not None]
        return statistics.median(ratios) if ratios else None


def in_turns(measures: Mapping[str, Callable[[], dict[str, Any]]], plan: Plan) -> dict[str, Series]:
    """Measure A B C A B C ...: whatever drifts on the machine meets all of them alike.

    Parameters
    ----------
    measures : mapping
        Each returns a dictionary with ``value`` and ``contaminated``.
    plan : Plan

    Returns
    -------
    dict of Series

    Raises
    ------
    MachineBusy
        If the machine does not become quiet within ``plan.patience`` seconds.
    """
    series = {name: Series() for name in measures}
    for _ in range(plan.rounds):
        for name, measure in measures.items():
            one = series[name]
            value = None
            if not one.failure:
                try:
                    value = _clean_sample(measure, one, plan)
                except Failed as failure:
                    one.failure = str(failure)
            one.values.append(value)
    return series


def _clean_sample(measure: Callable[[], dict[str, Any]], series: Series, plan: Plan) -> float | None:
    """Measure until nobody disturbs it, or the attempts are used up."""
    for _ in range(plan.attempts):
        if plan.checked:
            wait_until_quiet(plan.patience)
        series.last = measure()
        if not (plan.checked and series.last["contaminated"]):
            return float(series.last["value"])
        series.discarded += 1
    return None
