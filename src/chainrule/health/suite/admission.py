"""Which cases are in the benchmark: those whose fault costs what it should, measured.

``python -m chainrule.health.suite.admission --out admitted.json`` measures all, prints a table and writes
the numbers. Undoing the edit of a case gives its twin back by construction, as the edit is made of the twin.
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

from chainrule.health.suite.cases import CASES, Case, half_of
from chainrule.health.suite.controls import CONTROLS
from chainrule.health.trainings import Run, Training, outputs_of, run

__all__ = ["Admission", "admit", "admitted_names", "constant_points", "healthy_points", "points"]

# Points that a fault must cost in the mean over the seeds.
LEAST_COST = 5.0
# A healthy training gets, at every seed, this share of the way from the best constant to a perfect score.
LEAST_LEARNED = 0.25
SEEDS = range(5)
ADMITTED = Path(__file__).with_name("admitted.json")


@dataclass(frozen=True)
class Admission:
    """What was measured of a case.

    Attributes
    ----------
    case : str
        Its name.
    twin_scores, edited_scores : list of float
        Points of the whole training on the validation rows, a number a seed; the latter is empty for a
        control.
    constant : float
        Points of the best constant.
    cost : float
        The mean difference of the two; 0 for a control.
    admitted : bool
    why_not : str
        Empty if admitted.
    seconds : float
        Of one training with the fault, or of a control, in the mean.
    """

    case: str
    twin_scores: list[float]
    edited_scores: list[float]
    constant: float
    cost: float
    admitted: bool
    why_not: str
    seconds: float


def admit(case: Case, seeds: Iterable[int] = SEEDS) -> Admission:
    """Measure a case at several seeds, each of another start and another order of the rows.

    A fault is admitted if its twin learns and it costs at least 5 points; a control if it learns: at every
    seed a quarter of the way from the best constant to a perfect score.

    Examples
    --------
    >>> from chainrule.health import suite
    >>> found = admit(suite.CASES[0], seeds=[0, 1])
    >>> found.admitted, found.cost > 50
    (True, True)
    """
    seeds = list(seeds)
    twins = [points(case, case.twin(seed), seed) for seed in seeds]
    began = time.perf_counter()
    edited = [] if case.edit is None else [points(case, case.training(seed), seed) for seed in seeds]
    if case.edit is None:
        points(case, case.twin(seeds[0]), seeds[0])
    seconds = (time.perf_counter() - began) / max(1, len(edited))
    constant = constant_points(case, case.twin(seeds[0]))
    cost = float(np.mean(twins) - np.mean(edited)) if edited else 0.0
    why_not = _why_not(case, twins, constant, cost)
    return Admission(
        case.name, _rounded(twins), _rounded(edited), round(constant, 2), round(cost, 2),
        not why_not, why_not, round(seconds, 3),
    )  # fmt: skip


def _rounded(numbers: Sequence[float]) -> list[float]:
    return [round(number, 2) for number in numbers]


def _why_not(case: Case, twins: Sequence[float], constant: float, cost: float) -> str:
    if min(twins) < constant + LEAST_LEARNED * (100 - constant):
        return "the healthy training does not learn"
    if case.edit is not None and cost < LEAST_COST:
        return f"the fault costs less than {LEAST_COST:g} points"
    return ""


def points(case: Case, training: Training, seed: int) -> float:
    """100 times the validation score of a training, run to its end.

    A training that ends in numbers that are not finite, or that ``fit`` refuses, is worth as much as the best
    constant, and so is an R² below 0.
    """
    constant = constant_points(case, training)
    try:
        with np.errstate(all="ignore"):
            ran = run(training, seed=seed)
    except ValueError:
        return constant
    score = 100 * _score(case, training, ran)
    if not np.isfinite(score):
        return constant
    return score if training.classify else max(score, constant)


def _score(case: Case, training: Training, ran: Run) -> float:
    assert ran.validation is not None
    assert training.validation is not None
    if case.scored == "score":
        return ran.validation.score
    X, y = training.validation
    outputs = outputs_of(ran.module, X)
    predicted = outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(y.dtype)
    return float(np.mean([(predicted[y == label] == label).mean() for label in np.unique(y)]))


def constant_points(case: Case, training: Training) -> float:
    """Points of the best constant, by the targets to learn from: the most frequent class, or the mean."""
    assert training.validation is not None
    y = training.validation[1]
    if not training.classify:
        return 0.0
    if case.scored == "balanced_accuracy":
        return 100.0 / len(np.unique(y))
    return 100.0 * float((y == np.bincount(training.y).argmax()).mean())


def admitted_names() -> set[str]:
    """Names of the cases and controls that the shipped measurement has admitted."""
    found = json.loads(ADMITTED.read_text())
    return {one["case"] for kind in ("cases", "controls") for one in found[kind] if one["admitted"]}


def healthy_points(name: str, seeds: Sequence[int]) -> float:
    """Mean points of the healthy twin of a case, by name, at some of the seeds of the shipped measurement."""
    found = json.loads(ADMITTED.read_text())
    record = next(one for one in found["cases"] if one["case"] == name)
    return float(np.mean([record["twin_scores"][found["seeds"].index(seed)] for seed in seeds]))


# -------------------------------------------------------------------------------------------- command line


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases, print a table, write the numbers."""
    parser = argparse.ArgumentParser(description="Admit the cases of the benchmark.")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the names to measure")
    chosen = parser.parse_args(arguments)
    found: dict[str, list[dict[str, Any]]] = {"cases": [], "controls": []}
    for kind, cases in (("cases", CASES), ("controls", CONTROLS)):
        for case in cases:
            if any(part in case.name for part in chosen.only):
                admission = admit(case)
                sys.stdout.write(_line(case, admission) + "\n")
                found[kind].append(_record(case, admission))
    sys.stdout.write(_summary(found) + "\n")
    if chosen.out is not None:
        chosen.out.write_text(json.dumps({"seeds": list(SEEDS), **found}, indent=1) + "\n")


def _record(case: Case, admission: Admission) -> dict[str, Any]:
    described = {"family": case.family, "data": case.data, "half": half_of(case), "causes": list(case.causes)}
    return {**asdict(admission), **described, "scored": case.scored}


def _line(case: Case, admission: Admission) -> str:
    twins, edited = admission.twin_scores, admission.edited_scores
    numbers = f"{np.mean(twins):6.1f} ({min(twins):5.1f})"
    if edited:
        numbers += f" {np.mean(edited):6.1f} {admission.cost:6.1f} ({np.subtract(twins, edited).min():6.1f})"
    verdict = "admitted" if admission.admitted else admission.why_not
    described = f"{case.name:28} {case.family:17} {half_of(case):8}"
    return f"{described} {numbers:38} {admission.seconds:5.2f} s  {verdict}"


def _summary(found: dict[str, list[dict[str, Any]]]) -> str:
    lines = []
    for kind, records in found.items():
        admitted = [one for one in records if one["admitted"]]
        halves = {half: sum(one["half"] == half for one in admitted) for half in ("tuning", "held_out")}
        families = len({one["family"] for one in admitted})
        lines.append(f"{kind}: {len(admitted)} of {len(records)} admitted, {families} families, {halves}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
