"""Which causes are equivalent: those whose remedies bring a faulty training back, by running the whole menu.

Two names for one fault are told apart by nothing that a user would notice if the remedy of either mends it:
weights drawn too large, say, and a signal that explodes because of them. So every remedy is run on every case
of the benchmark, and the causes that it belongs to are right as well as the planted one.

``python -m chainrule.health.suite.equivalence --out equivalence.json`` runs all and writes the numbers, which
are shipped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.health.evidence import Evidence, gather
from chainrule.health.prescriptions import PRESCRIPTIONS
from chainrule.health.rules import RULES
from chainrule.health.suite.admission import admitted_names, healthy_points, points
from chainrule.health.suite.cases import CASES, Case

__all__ = ["RESTORED_WITHIN", "SEEDS", "equivalent_causes", "restoring"]

# Points below its twin at which a training is as good as healthy.
RESTORED_WITHIN = 2.0
SEEDS = (0, 1, 2)
# Seconds for the measurements that remedies are made from: the sweep's rate, the gradients' norm.
MEASURING = 10.0
EQUIVALENCE = Path(__file__).with_name("equivalence.json")


def restoring(case: Case) -> dict[str, float]:
    """The remedies of the whole menu that bring a case back, and its mean points with each."""
    evidence = gather(case.training(0), MEASURING, 0)
    least = healthy_points(case.name, SEEDS) - RESTORED_WITHIN
    found = {code: _points_with(case, evidence, code, least) for code in PRESCRIPTIONS}
    return {code: round(reached, 2) for code, reached in found.items() if reached is not None}


def _points_with(case: Case, evidence: Evidence, code: str, least: float) -> float | None:
    """Mean points with a remedy over the seeds; None where it does not apply, or does not reach ``least``."""
    reached: list[float] = []
    for number, seed in enumerate(SEEDS):
        made = PRESCRIPTIONS[code].make(case.training(seed), evidence)
        if made is None:
            return None
        reached.append(points(case, made, seed))
        # No other seed can make up for it: none has more than 100 points.
        if sum(reached) + 100 * (len(SEEDS) - number - 1) < least * len(SEEDS):
            return None
    return float(np.mean(reached))


@cache
def _shipped() -> dict[str, dict[str, float]]:
    found = json.loads(EQUIVALENCE.read_text())
    return {one["case"]: one["restoring"] for one in found["cases"]}


def equivalent_causes(name: str) -> list[str]:
    """Causes one of whose remedies restores the case of this name, by the shipped measurement.

    Examples
    --------
    >>> equivalent_causes("slow-sgd-wine")  # those for which another rate is a remedy
    ['non_finite', 'dead_relu', 'rate_high', 'rate_low']
    """
    restores = _shipped()[name]
    return [code for code, rule in RULES.items() if any(one in restores for one in rule.prescriptions)]


# -------------------------------------------------------------------------------------------- command line


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the whole menu on every admitted case, print what restores it, write it."""
    parser = argparse.ArgumentParser(description="Run every remedy on every case of the benchmark.")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the names to run")
    chosen = parser.parse_args(arguments)
    admitted = admitted_names()
    cases = [case for case in CASES if case.name in admitted and _is_named(case.name, chosen.only)]
    found: list[dict[str, Any]] = []
    for case in cases:
        found.append({"case": case.name, "restoring": restoring(case)})
        sys.stdout.write(f"{case.name:28} {found[-1]['restoring']}\n")
        sys.stdout.flush()
    if chosen.out is not None:
        written = {"seeds": list(SEEDS), "remedies": list(PRESCRIPTIONS), "cases": found}
        chosen.out.write_text(json.dumps(written, indent=1) + "\n")


def _is_named(name: str, parts: Sequence[str]) -> bool:
    return any(part in name for part in parts)


if __name__ == "__main__":
    main()
