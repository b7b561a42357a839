"""The start of a process: the first fit, and the first training step after the import."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from floor import Peak
from library import Library
from machine import Stopwatch, clean_environment
from session import Failed
from table import NOTHING, Table, measured_table, number
from turns import Choice, Measured, in_turns

__all__ = ["PROGRAMS", "measure_part", "tables"]

IMPORT = "import sklearn.neural_network, numpy as np\n"
FIT = """
X = np.random.default_rng(0).normal(size=(64, 4))
MLPClassifier(max_iter=3, random_state=0).fit(X, (X[:, 0] > 0).astype(int))
"""
# Prints the seconds from where the import is done to where the first step is.
STEP = """
import time
import numpy as np
from chainrule import fit, nn
start = time.perf_counter()
X = np.random.default_rng(0).normal(size=(32, 20)).astype(np.float32)
network = nn.Sequential(nn.Linear(20, 64, rng=0), nn.ReLU(), nn.Linear(64, 2, rng=0))
fit(network, X, (X[:, 0] > 0).astype(int), loss="softmax_cross_entropy", epochs=1, verbose=0)
print(time.perf_counter() - start)
"""
# Those named "cold" find no kernels and compile them; the others find what an earlier process kept.
PROGRAMS = {
    "import": IMPORT,
    "sklearn": IMPORT + "from sklearn.neural_network import MLPClassifier" + FIT,
    "warm": IMPORT + "from chainrule.estimators import MLPClassifier" + FIT,
    "warm-step": STEP,
    "cold": IMPORT + "from chainrule.estimators import MLPClassifier" + FIT,
    "cold-step": STEP,
}
LIBRARIES = {
    "import": Library("import sklearn.neural_network"),
    "sklearn": Library("the same, and a tiny fit of scikit-learn"),
    "warm": Library("the same, and a tiny fit of chainrule, kernels kept from an earlier process"),
    "cold": Library("the same, and a tiny fit of chainrule, nothing kept: compiles its kernels"),
    "warm-step": Library("from chainrule import fit, nn done → first step done, kernels kept"),
    "cold-step": Library("from chainrule import fit, nn done → first step done, nothing kept"),
}
# Compiling takes seconds, which a few samples know well enough.
COLD_ROUNDS = 3


def _run(program: str, cache: str) -> dict[str, Any]:
    """Seconds of a process, or those that it prints."""
    with Stopwatch.running() as watch:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program], check=False, text=True,
            capture_output=True, env=clean_environment(CHAINRULE_CACHE_DIR=cache),
        )  # fmt: skip
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or ["no message"])[-1])
    return {"value": float(done.stdout or watch.seconds), "contaminated": watch.contaminated}


def measure_part(choice: Choice) -> list[Measured]:
    """Time the processes, in turns."""
    choice.say("start of a process: import, fit and step with kept kernels, fit and step without")
    result = Measured("start", LIBRARIES)
    with tempfile.TemporaryDirectory(prefix="chainrule-bench-") as folder:
        kept = str(Path(folder, "kept"))

        def sampler(name: str) -> Callable[[], dict[str, Any]]:
            if name.startswith("cold"):
                return lambda: _run(PROGRAMS[name], tempfile.mkdtemp(dir=folder))
            return lambda: _run(PROGRAMS[name], kept)

        warm = {name: sampler(name) for name in PROGRAMS if not name.startswith("cold")}
        cold = {name: sampler(name) for name in PROGRAMS if name.startswith("cold")}
        for name, sample in warm.items():  # fills the kept cache and the system's file cache
            try:
                sample()
            except Failed as failure:
                result.failures[name] = str(failure)
        few = replace(choice.plan, rounds=min(1 if choice.quick else COLD_ROUNDS, choice.plan.rounds))
        result.series = in_turns(warm, choice.plan) | in_turns(cold, few)
    result.series = {name: result.series[name] for name in LIBRARIES}
    return [result]


def tables(results: Sequence[Measured], peak: Peak | None) -> list[Table]:
    """One table."""

    def beyond(result: Measured, name: str) -> str:
        median, base = result.median(name), result.median("import")
        whole = name in ("sklearn", "warm", "cold")
        return NOTHING if median is None or base is None or not whole else number(median - base)

    title = "The start of a process (seconds; the whole process, or from one point to another)"
    return [measured_table(title, ("", "process"), results, "", {"beyond the import": beyond})]
