"""The three parts of the benchmark: training steps, the first fit of a process, and a whole fit."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import Stopwatch, clean_environment
from peer import PEERS
from problem import NETWORKS, Network
from session import Failed, Plan, Series, Worker, in_turns

__all__ = ["Digits", "Learning", "StartUp", "Steps", "estimators_exist", "measure_digits", "measure_start_up",
           "measure_steps"]  # fmt: skip


@dataclass(frozen=True)
class Learning:
    """What a library's network had learned before it was timed."""

    loss: float
    guessing: float
    learned: bool


@dataclass
class Steps:
    """One network: microseconds a step of each library, what they learned, and who could not be set up."""

    network: Network
    series: dict[str, Series] = field(default_factory=dict)
    learning: dict[str, Learning] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)  # versions and facts
    failures: dict[str, str] = field(default_factory=dict)


def measure_steps(
    names: Sequence[str],
    plan: Plan,
    networks: Sequence[Network] = NETWORKS,
    check_epochs: int = 3,
    say: Callable[[str], None] = print,
) -> list[Steps]:
    """Microseconds a step of each library on each network.

    Each library lives in a process of its own for as long as a network is measured; the processes take
    turns and wait for input in between.
    """
    results = []
    for network in networks:
        say(f"{network.name}: preparing {', '.join(names)}")
        result = Steps(network)
        with ExitStack() as stack:
            samples = {}
            for name in names:
                try:
                    samples[name] = _prepare(stack.enter_context(Worker()), name, result, plan, check_epochs)
                except Failed as failure:
                    result.failures[name] = str(failure)
                    say(f"  {PEERS[name][0]}: failed, {failure}")
                    continue
                learned = result.learning[name]
                say(
                    f"  {PEERS[name][0]}: loss {learned.loss:.3f} after {check_epochs} epochs, "
                    f"{learned.guessing:.3f} by guessing" + ("" if learned.learned else ": DOES NOT LEARN")
                )
            say(f"  {plan.rounds} rounds of {len(samples)} samples ...")
            result.series = in_turns(samples, plan)
        results.append(result)
    return results


def _prepare(
    worker: Worker, name: str, result: Steps, plan: Plan, check_epochs: int
) -> Callable[[], dict[str, Any]]:
    """Set a worker up, see that it learns, warm it up; returns what takes a sample."""
    network = result.network
    about = worker("setup", name=name, sizes=network.sizes, batch=network.batch, rows=network.rows)
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    result.libraries[name] = versions + (f"; {about['facts']}" if about["facts"] else "")
    result.learning[name] = Learning(**worker("learns", epochs=check_epochs))
    epochs = worker("calibrate", seconds=plan.seconds)["epochs"]
    return lambda: worker("sample", epochs=epochs)


# -- the first fit of a process --------------------------------------------------------------------

_IMPORT = "import sklearn.neural_network, numpy as np\n"
_FIT = """
X = np.random.default_rng(0).normal(size=(64, 4))
MLPClassifier(max_iter=3, random_state=0).fit(X, (X[:, 0] > 0).astype(int))
"""
PROGRAMS = {
    "import": _IMPORT,
    "sklearn": _IMPORT + "from sklearn.neural_network import MLPClassifier" + _FIT,
    "warm": _IMPORT + "from chainrule.estimators import MLPClassifier" + _FIT,
}


@dataclass
class StartUp:
    """Wall-clock seconds of whole processes, by what they do: ``PROGRAMS``, and ``cold``."""

    series: dict[str, Series]


def estimators_exist() -> bool:
    """Whether chainrule has its ``MLPClassifier`` and can import it."""
    program = "from chainrule.estimators import MLPClassifier"
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean_environment(), capture_output=True, check=False
    )
    return done.returncode == 0


def measure_start_up(plan: Plan, say: Callable[[str], None] = print) -> StartUp:
    """Time processes that import scikit-learn, that also fit, with kept kernels and without any."""
    say("first fit of a process: import, fit with kept kernels, fit without")
    with tempfile.TemporaryDirectory(prefix="chainrule-bench-") as folder:
        kept = str(Path(folder, "kept"))

        def run(program: str, cache: str) -> dict[str, Any]:
            with Stopwatch.running() as watch:
                done = subprocess.run(
                    [sys.executable, "-W", "ignore", "-c", program], check=False, text=True,
                    capture_output=True, env=clean_environment(CHAINRULE_CACHE_DIR=cache),
                )  # fmt: skip
            if done.returncode:
                raise Failed((done.stderr.strip().splitlines() or ["no message"])[-1])
            return {"value": watch.seconds, "contaminated": watch.contaminated}

        def cold() -> dict[str, Any]:
            return run(PROGRAMS["warm"], tempfile.mkdtemp(dir=folder))

        for program in PROGRAMS.values():  # fills the kept cache and the system's file cache
            run(program, kept)
        measures: dict[str, Callable[[], dict[str, Any]]] = {
            name: lambda program=program: run(program, kept)  # type: ignore[misc]
            for name, program in PROGRAMS.items()
        }
        return StartUp(in_turns(measures | {"cold": cold}, plan))


# -- a whole fit -----------------------------------------------------------------------------------


@dataclass
class Digits:
    """Seconds of a whole fit, and its epochs, loss and accuracy in ``Series.last``."""

    series: dict[str, Series]
    failures: dict[str, str]


def measure_digits(
    names: Sequence[str], plan: Plan, say: Callable[[str], None] = print, **settings: Any
) -> Digits:
    """``MLPClassifier(random_state=0).fit`` on the digits, in one process a library, in turns."""
    say(f"MLPClassifier().fit on the digits: {', '.join(names)}")
    failures: dict[str, str] = {}
    with ExitStack() as stack:
        measures = {}
        for name in names:
            worker = stack.enter_context(Worker())
            try:
                worker("fit_digits", name=name, **settings)  # warm-up
            except Failed as failure:
                failures[name] = str(failure)
                say(f"  {name}: failed, {failure}")
                continue
            measures[name] = lambda worker=worker, name=name: worker("fit_digits", name=name, **settings)
        return Digits(in_turns(measures, plan), failures)
