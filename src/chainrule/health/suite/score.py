"""How good the checkup is: its verdicts on the benchmark's trainings, counted.

A fault is detected if the checkup is not ``ok``; a control is alarmed if it is not. The right cause of a case
is the planted one, or any whose remedy brings the training back: with ``whole_menu`` every remedy is run to
find out. A remedy restores if the training then ends within 2 points of its healthy twin.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.health.examination import Checkup, examine
from chainrule.health.prescriptions import PRESCRIPTIONS
from chainrule.health.rules import RULES
from chainrule.health.suite.admission import admitted_names, points
from chainrule.health.suite.cases import CASES, Case, half_of
from chainrule.health.suite.controls import CONTROLS

__all__ = ["Outcome", "judge", "summary"]

# Points below its twin at which a training is as good as healthy.
RESTORED_WITHIN = 2.0
SEEDS = (0, 1, 2)
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
        The causes that count as right.
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
    remedy: str
    twin: float
    before: float
    after: float
    seconds: float

    @property
    def restored(self) -> bool:
        """Whether the remedy brought the training back."""
        return bool(self.remedy) and self.after >= self.twin - RESTORED_WITHIN

    def names_within(self, n: int) -> bool:
        """Whether a right cause is among the first n."""
        return any(one in self.right for one in self.named[:n])


def judge(case: Case, *, whole_menu: bool = False, budget: float = BUDGET) -> Outcome:
    """Examine a case as it is at seed 0.

    Examples
    --------
    >>> from chainrule.health import suite
    >>> found = judge(suite.CASES[0])
    >>> found.alarmed, found.names_within(1), found.restored
    (True, True, True)
    """
    began = time.perf_counter()
    report = examine(case.training(0), budget)
    seconds = time.perf_counter() - began
    critical = [one for one in report.findings if one.critical]
    remedy = next((one.proofs[0].code for one in critical[:1] if one.proofs), "")
    if case.edit is None:
        return Outcome(
            case.name, case.family, half_of(case), not report.ok, [one.code for one in critical], [], remedy,
            0.0, 0.0, 0.0, seconds,
        )  # fmt: skip
    twin = _mean(case, [case.twin(seed) for seed in SEEDS])
    before = _mean(case, [case.training(seed) for seed in SEEDS])
    after = _with_remedy(case, report, remedy) if remedy else before
    right = list(case.causes)
    if whole_menu:
        right += _equivalent(case, report, twin)
    return Outcome(
        case.name, case.family, half_of(case), not report.ok, [one.code for one in critical], right, remedy,
        twin, before, after, seconds,
    )  # fmt: skip


def _mean(case: Case, trainings: Sequence[Any]) -> float:
    return float(np.mean([points(case, one, seed) for seed, one in zip(SEEDS, trainings, strict=True)]))


def _with_remedy(case: Case, report: Checkup, code: str) -> float:
    """Points with a remedy, made for each seed's start; those without where it does not apply."""
    made = [PRESCRIPTIONS[code].make(case.training(seed), report.evidence) for seed in SEEDS]
    trainings = [case.training(seed) if one is None else one for seed, one in zip(SEEDS, made, strict=True)]
    return _mean(case, trainings)


def _equivalent(case: Case, report: Checkup, twin: float) -> list[str]:
    """The causes one of whose remedies brings the training back."""
    restores = {code for code in PRESCRIPTIONS if _with_remedy(case, report, code) >= twin - RESTORED_WITHIN}
    return [
        code for code, rule in RULES.items()
        if code not in case.causes and any(one in restores for one in rule.prescriptions)
    ]  # fmt: skip


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
        "restored": sum(one.restored for one in faults) / n,
        "controls alarmed": sum(one.alarmed for one in controls) / max(1, len(controls)),
        "seconds a checkup": float(np.mean([one.seconds for one in outcomes])) if outcomes else 0.0,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge the checkup on every admitted case, print the shares, write the outcomes."""
    parser = argparse.ArgumentParser(description="Judge the checkup on its benchmark.")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument(
        "--whole-menu", action="store_true", help="find equivalent causes by running every remedy"
    )
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the names to judge")
    chosen = parser.parse_args(arguments)
    admitted = admitted_names()
    outcomes = []
    for case in (*CASES, *CONTROLS):
        if case.name in admitted and any(part in case.name for part in chosen.only):
            outcomes.append(judge(case, whole_menu=chosen.whole_menu))
            sys.stdout.write(line(outcomes[-1]) + "\n")
    sys.stdout.write(table(summary(outcomes)) + "\n")
    if chosen.out is not None:
        written = {"summary": summary(outcomes), "outcomes": [asdict(one) for one in outcomes]}
        chosen.out.write_text(json.dumps(written, indent=1) + "\n")


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


if __name__ == "__main__":
    main()
