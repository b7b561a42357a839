"""Measure chainrule beside scikit-learn, PyTorch, JAX and ONNX Runtime: ``python benchmarks/bench.py``.

What is measured, and why in this way, is in ``README.md`` beside this file.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from floor import measure_peak
from library import FAMILIES, family
from machine import MachineBusy, removed_variables
from parts import PARTS
from peer import DEFAULT, PEERS
from turns import Choice, Measured, Plan

import report

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; wrong names are answered with the right ones."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", metavar="NAMES", default=",".join(PARTS),
        help=f"comma-separated parts ({', '.join(PARTS)}) and libraries ({', '.join((*PEERS, *FAMILIES))}); "
        "without a part, the training steps of those libraries; without a library, the default ones",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=None, help="samples of each (default 7, quick 3)")
    parser.add_argument("--quick", action="store_true", help="3 shorter rounds, only small cases")
    parser.add_argument(
        "--out", type=Path, default=None,
        help="Markdown page to write, with the figure beside it (default docs/benchmarks.md for a complete "
        "run, else none)",
    )  # fmt: skip
    parser.add_argument(
        "--patience", type=float, default=600.0, metavar="SECONDS",
        help="how long to wait for a quiet machine (default 600)",
    )  # fmt: skip
    parser.add_argument(
        "--unchecked", action="store_true", help="do not wait for quiet, keep all samples: NOT valid results"
    )
    options = parser.parse_args(arguments)
    names = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = sorted(set(names) - set(PEERS) - set(FAMILIES) - set(PARTS))
    if unknown or not names:
        known = dict.fromkeys((*PARTS, *PEERS, *FAMILIES))
        parser.error(f"--only: {', '.join(unknown) or 'nothing'} is not among {', '.join(known)}")
    options.libraries = [name for name in names if name not in PARTS]
    options.parts = [part for part in PARTS if part in names] or ["steps"]
    if "steps" in options.parts and options.libraries and not set(options.libraries) & set(PEERS):
        parser.error(f"--only: training steps are measured of {', '.join(PEERS)}")
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds must be at least 1; got {options.rounds}")
    complete = not options.libraries and options.parts == list(PARTS)
    if options.out is None and complete and not (options.quick or options.unchecked):
        options.out = PAGE
    return options


def choice_of(options: argparse.Namespace) -> Choice:
    """What was asked for: the named libraries and how carefully to measure them."""
    default = Plan(rounds=3, seconds=0.3) if options.quick else Plan()
    plan = Plan(options.rounds or default.rounds, default.seconds, not options.unchecked, options.patience)
    named = options.libraries
    return Choice(
        plan=plan,
        peers=tuple(name for name in PEERS if name in named) if named else DEFAULT,
        families=frozenset(map(family, named)) if named else frozenset(FAMILIES),
        quick=options.quick,
    )


def measure(options: argparse.Namespace) -> report.Results:
    """Run the chosen parts."""
    choice = choice_of(options)
    peak = measure_peak(choice.plan)
    results: dict[str, Sequence[Measured]] = {}
    for name in options.parts:
        start = time.monotonic()
        results[name] = PARTS[name].measure_part(choice)
        print(f"part {name}: {time.monotonic() - start:.0f} s")
    return report.Results(choice.plan, _command(), peak, results)


def _command() -> str:
    return shlex.join(["python", "benchmarks/bench.py", *sys.argv[1:]])


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
        print("written:", *report.write(results, options.out))
    return int(results.failed)


if __name__ == "__main__":
    sys.exit(main())
