"""Measure chainrule beside scikit-learn, PyTorch and JAX: ``python benchmarks/bench.py``.

What is measured, and why in this way, is in ``README.md`` beside this file.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import report
from machine import MachineBusy, removed_variables
from parts import Digits, StartUp, Steps, estimators_exist, measure_digits, measure_start_up, measure_steps
from peer import DEFAULT, PEERS, installed, missing
from problem import NETWORKS, Network
from session import Failed, Plan

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
PARTS = ("steps", "startup", "digits")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; wrong names are answered with the right ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", metavar="NAMES", default=",".join((*DEFAULT, *PARTS)),
        help=f"comma-separated parts ({', '.join(PARTS)}) and libraries ({', '.join(PEERS)}); "
        "without a part, the training steps of those libraries; without a library, the default ones",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=None, help="samples of each (default 7, quick 3)")
    parser.add_argument("--quick", action="store_true", help="3 shorter rounds, the two smallest networks")
    parser.add_argument(
        "--out", type=Path, default=None,
        help="Markdown page to write (default docs/benchmarks.md for a complete run, else none)",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=float, default=600.0, metavar="SECONDS",
        help="how long to wait for a quiet machine (default 600)",
    )  # fmt: skip
    parser.add_argument(
        "--unchecked", action="store_true", help="do not wait for quiet, keep all samples: NOT valid results"
    )
    options = parser.parse_args(arguments)
    chosen = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = sorted(set(chosen) - set(PEERS) - set(PARTS))
    if unknown or not chosen:
        parser.error(f"--only: {', '.join(unknown) or 'nothing'} is not among {', '.join((*PARTS, *PEERS))}")
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds must be at least 1; got {options.rounds}")
    options.parts = [part for part in PARTS if part in chosen] or ["steps"]
    options.libraries = [name for name in PEERS if name in chosen] or list(DEFAULT)
    complete = set(chosen) >= {*DEFAULT, *PARTS} and not (options.quick or options.unchecked)
    if options.out is None and complete:
        options.out = PAGE
    return options


def measure(options: argparse.Namespace, networks: Sequence[Network] = NETWORKS) -> report.Results:
    """Run the chosen parts."""
    default = Plan(rounds=3, seconds=0.3) if options.quick else Plan()
    plan = Plan(options.rounds or default.rounds, default.seconds, not options.unchecked, options.patience)
    names = installed(tuple(options.libraries))
    skipped = [
        f"{PEERS[name][0]}: not measured, {missing(name)} is not installed"
        for name in options.libraries
        if name not in names
    ]
    steps: list[Steps] = []
    if "steps" in options.parts:
        steps = measure_steps(names, plan, networks[:2] if options.quick else networks)
    start_up, digits = None, None
    if set(options.parts) & {"startup", "digits"}:
        start_up, digits = _measure_fits(options.parts, plan, skipped)
    return report.Results(plan, _command(), steps, start_up, digits, skipped)


def _measure_fits(
    parts: Sequence[str], plan: Plan, skipped: list[str]
) -> tuple[StartUp | None, Digits | None]:
    """The parts that need the estimators; where those are missing, ``skipped`` says so."""
    if not estimators_exist():
        skipped.append("First fit and digits: not measured, chainrule.estimators has no MLPClassifier here")
        return None, None
    start_up, digits = None, None
    if "startup" in parts:
        try:
            start_up = measure_start_up(plan)
        except Failed as failure:
            skipped.append(f"First fit: failed, {failure}")
    if "digits" in parts:
        digits = measure_digits(("chainrule", "chainrule-float32", "sklearn"), plan)
    return start_up, digits


def _command() -> str:
    return shlex.join(["python", "benchmarks/bench.py", *sys.argv[1:]])


def failed(results: report.Results) -> bool:
    """Whether something installed could not be measured, or a network did not learn."""
    everything = [result.series for result in results.steps]
    everything += [part.series for part in (results.start_up, results.digits) if part is not None]
    return (
        any(result.failures for result in results.steps)
        or any(not one.learned for result in results.steps for one in result.learning.values())
        or (results.digits is not None and bool(results.digits.failures))
        or any(not one.clean or one.failure for series in everything for one in series.values())
        or any("failed" in line for line in results.skipped)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show, write; 0 if all went well, 1 if something failed, 2 if the machine was busy."""
    options = parse(arguments)
    removed = removed_variables()
    if removed:
        print(f"left out of the environment of what is measured: {', '.join(removed)}")
    try:
        results = measure(options)
    except MachineBusy as busy:
        print(
            f"{busy}; nothing written. --unchecked measures anyway, for trying the script.", file=sys.stderr
        )
        return 2
    report.show(results)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(report.markdown(results), encoding="utf-8")
        print(f"written: {options.out}")
    return int(failed(results))


if __name__ == "__main__":
    sys.exit(main())
