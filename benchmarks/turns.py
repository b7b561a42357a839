"""Measuring in turns until every library has its samples, and what comes of it."""

import statistics
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from library import Library, missing
from machine import wait_until_quiet
from session import Failed, Unavailable, Worker

__all__ = ["Choice", "Measured", "Plan", "Sampler", "Series", "in_turns", "measure", "ready"]


@dataclass(frozen=True)
class Plan:
    """How carefully to measure.

    Attributes
    ----------
    rounds : int
        Samples of each library.
    seconds : float
        Length of a sample.
    checked : bool
        Wait for a quiet machine before a sample and discard those that others disturbed.
    patience : float
        Seconds to wait for a quiet machine before giving up.
    attempts : int
        Times to repeat a disturbed sample before that round goes without.
    """

    rounds: int = 7
    seconds: float = 0.5
    checked: bool = True
    patience: float = 600.0
    attempts: int = 10


@dataclass(frozen=True)
class Choice:
    """What to measure: ``peers`` by name for the training steps, ``families`` of libraries for all else.

    ``quick`` asks for a glance at the smallest cases.
    """

    plan: Plan
    peers: tuple[str, ...]
    families: frozenset[str]
    quick: bool = False
    say: Callable[[str], None] = print


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


# -- one process a library -------------------------------------------------------------------------

Sampler = Callable[[], dict[str, Any]]


@dataclass
class Measured:
    """What was measured in turns; all but the title and the libraries by the libraries' names.

    Attributes
    ----------
    title : str
        What the libraries did, as in ``784-128-10, batch 32``.
    libraries : mapping of Library
        Those that were asked for.
    series : dict of Series
    about : dict of str
        Versions and configuration.
    failures, unavailable : dict of str
        Why a library could not be measured: something went wrong, or it does not exist here.
    """

    title: str
    libraries: Mapping[str, Library]
    series: dict[str, Series] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether something that exists could not be measured."""
        return bool(self.all_failures) or any(not one.clean for one in self.series.values())

    @property
    def all_failures(self) -> dict[str, str]:
        """Failures before the first sample, and those between two."""
        return self.failures | {name: one.failure for name, one in self.series.items() if one.failure}

    def times_faster_than(self, name: str, other: str) -> float | None:
        """How many times faster one library was than another; None where one of them has no samples."""
        if name not in self.series or other not in self.series:
            return None
        return self.series[name].times_faster_than(self.series[other])

    def median(self, name: str) -> float | None:
        """The median of a library, if it has one."""
        return self.series[name].median if name in self.series else None


def measure(
    result: Measured,
    prepare: Callable[[Worker, str], Sampler],
    plan: Plan,
    say: Callable[[str], None] = print,
) -> None:
    """Fill in a result: one process a library, all alive at once, taking turns.

    Parameters
    ----------
    result : Measured
    prepare : callable
        Given a process and a library's name, makes everything ready and returns what takes a sample.
    plan : Plan
    say : callable
        Told what happens.
    """
    say(f"{result.title}: preparing {', '.join(result.libraries)}")
    with ExitStack() as stack:
        samplers = {}
        for name, library in result.libraries.items():
            try:
                if (module := missing(library)) is not None:
                    raise Unavailable(f"{module} is not installed")
                samplers[name] = prepare(stack.enter_context(Worker()), name)
            except Unavailable as reason:
                result.unavailable[name] = str(reason)
            except Failed as failure:
                result.failures[name] = str(failure)
                say(f"  {library.label}: failed, {failure}")
        say(f"  {plan.rounds} rounds of {len(samplers)} samples ...")
        result.series = in_turns(samplers, plan)


def ready(result: Measured, worker: Worker, name: str, plan: Plan, **setup: Any) -> Sampler:
    """The usual preparation: set a timer up (see ``timer.py``), find how often it is to repeat its work."""
    about = worker("setup", **setup)
    result.about[name] = "; ".join(
        filter(None, (", ".join(f"{package} {version}" for package, version in about["versions"].items()),
                      about["facts"]))
    )  # fmt: skip
    repeats = worker("calibrate", seconds=plan.seconds)["repeats"]
    return lambda: worker("sample", repeats=repeats)
