"""How good the checkup is: its verdicts on the benchmark's trainings, counted.

A fault is detected if the checkup is not ``ok``; a control is alarmed if it is not. The right cause of a case
is the planted one; an equivalent one is any whose remedy brings the training back, see ``equivalence.py``. A
remedy restores if the training then ends within 2 points of its healthy twin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.health.examination import Checkup, examine
from chainrule.health.prescriptions import PRESCRIPTIONS
from chainrule.health.suite.admission import points
from chainrule.health.suite.cases import Case, half_of
from chainrule.health.suite.equivalence import RESTORED_WITHIN, SEEDS, equivalent_causes
from chainrule.health.trainings import Training

__all__ = ["Outcome", "judge", "line", "summary", "table"]

BUDGET = 20.0


@dataclass(frozen=True)
class Outcome:
    """What the checkup made of a case.

    Attributes
    ----------
    case, family, half : str
    alarmed : bool
        Whether it found something critical.
    named : list of str
        The critical causes in their order.
    right : list of str
        The planted cause, and those that are the same by construction.
    equivalent : list of str
        The causes one of whose remedies restores the case.
    remedy : str
        Code of the best remedy of the first cause; empty if there is none.
    twin, before, after : float
        Points of the healthy twin, of the training, and with the remedy, means over three seeds.
    seconds : float
        That the checkup took.
    """

    case: str
    family: str
    half: str
    alarmed: bool
    named: list[str]
    right: list[str]
    equivalent: list[str]
    remedy: str
    twin: float
    before: float
    after: float
    seconds: float

    @property
    def restored(self) -> bool:
        """Whether the remedy brought the training back."""
        return bool(self.remedy) and self.after >= self.twin - RESTORED_WITHIN

    def names_within(self, n: int, or_equivalent: bool = False) -> bool:
        """Whether a right cause, or one that is equivalent, is among the first n."""
        accepted = {*self.right, *(self.equivalent if or_equivalent else ())}
        return not accepted.isdisjoint(self.named[:n])


def judge(
    case: Case, *, change: Callable[[Training], Training] | None = None, budget: float = BUDGET
) -> Outcome:
    """Examine a case as it is at seed 0.

    Parameters
    ----------
    case : Case
    change : callable, optional
        Makes of each of the case's trainings what is examined, such as the same in PyTorch.
    budget : float
        Seconds.

    Examples
    --------
    >>> from chainrule.health import suite
    >>> found = judge(suite.CASES[0])
    >>> found.alarmed, found.names_within(1), found.restored
    (True, True, True)
    """

    def training(seed: int) -> Training:
        made = case.training(seed)
        return made if change is None else change(made)

    given = training(0)
    began = time.perf_counter()
    with np.errstate(all="ignore"):  # the logarithm of 0 is one of the faults
        report = examine(given, budget)
    seconds = time.perf_counter() - began
    critical = [one for one in report.findings if one.critical]
    remedy = next((one.proofs[0].code for one in critical[:1] if one.proofs), "")
    twin = before = after = 0.0
    equivalent: list[str] = []
    if case.edit is not None:
        twin = _mean(case, [case.twin(seed) for seed in SEEDS])
        before = _mean(case, [case.training(seed) for seed in SEEDS])
        after = _with_remedy(case, [training(seed) for seed in SEEDS], report, remedy) if remedy else before
        equivalent = equivalent_causes(case.name)
    return Outcome(
        case.name, case.family, half_of(case), not report.ok, [one.code for one in critical],
        list(case.causes), equivalent, remedy, twin, before, after, seconds,
    )  # fmt: skip


def _mean(case: Case, trainings: Sequence[Any]) -> float:
    return float(np.mean([points(case, one, seed) for seed, one in zip(SEEDS, trainings, strict=True)]))


def _with_remedy(case: Case, trainings: Sequence[Training], report: Checkup, code: str) -> float:
    """Points with a remedy, made for each seed's start; those without where it does not apply."""
    made = [PRESCRIPTIONS[code].make(one, report.evidence) for one in trainings]
    return _mean(case, [one or given for one, given in zip(made, trainings, strict=True)])


def summary(outcomes: Iterable[Outcome]) -> dict[str, dict[str, float]]:
    """The shares, by half: of faults detected, named right and restored, and of controls alarmed."""
    outcomes = list(outcomes)
    return {half: _shares([one for one in outcomes if one.half == half]) for half in ("tuning", "held_out")}


def _shares(outcomes: list[Outcome]) -> dict[str, float]:
    faults = [one for one in outcomes if one.family != "control"]
    controls = [one for one in outcomes if one.family == "control"]
    n = max(1, len(faults))
    return {
        "faults": len(faults),
        "controls": len(controls),
        "detected": sum(one.alarmed for one in faults) / n,
        "first cause right": sum(one.names_within(1) for one in faults) / n,
        "first two causes right": sum(one.names_within(2) for one in faults) / n,
        "first cause equivalent": sum(one.names_within(1, or_equivalent=True) for one in faults) / n,
        "first two equivalent": sum(one.names_within(2, or_equivalent=True) for one in faults) / n,
        "restored": sum(one.restored for one in faults) / n,
        "controls alarmed": sum(one.alarmed for one in controls) / max(1, len(controls)),
        "seconds a checkup": float(np.mean([one.seconds for one in outcomes])) if outcomes else 0.0,
    }


def line(one: Outcome) -> str:
    """An outcome in one line."""
    if one.family == "control":
        said = f"ALARM {one.named}" if one.alarmed else "silent"
        return f"{one.case:28} {'control':17} {one.half:8} {said}"
    verdict = "missed" if not one.alarmed else ("right" if one.names_within(1) else f"named {one.named[:2]}")
    numbers = f"{one.before:6.1f} -> {one.after:6.1f} of {one.twin:5.1f}"
    return f"{one.case:28} {one.family:17} {one.half:8} {numbers} {one.remedy:24} {verdict}"


def table(shares: dict[str, dict[str, float]]) -> str:
    """The shares of both halves, as text."""
    rows = [f"{'':24}{'tuning':>10}{'held out':>10}"]
    for name in next(iter(shares.values())):
        rows.append(f"{name:24}" + "".join(f"{_written(name, shares[half][name]):>10}" for half in shares))
    return "\n".join(rows)


def _written(name: str, value: float) -> str:
    if name in ("faults", "controls"):
        return f"{value:g}"
    return f"{value:.2f}" if name.startswith("seconds") else f"{100 * value:.1f} %"
