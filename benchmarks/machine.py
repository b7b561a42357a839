"""The machine: is it quiet, what is it, and a clean environment for the processes that are timed.

Times on a shared machine are worth something only if nobody else computes meanwhile. Linux counts the time
each processor was not idle in ``/proc/stat``; what is left of it after subtracting one's own processor time
belongs to somebody else. Elsewhere nothing can be checked, and the report says so.
"""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "MachineBusy",
    "Stopwatch",
    "blas_facts",
    "busy_seconds",
    "can_check",
    "clean_environment",
    "contaminated",
    "description",
    "processors",
    "removed_variables",
    "wait_until_quiet",
]

STAT = Path("/proc/stat")
# Share of all processors' time that must be idle for the machine to count as quiet.
QUIET = 0.97
# A sample is contaminated if others computed for more than this share of it, beyond what the counters can
# resolve (a tick is usually 10 ms, and there is one counter a processor).
FOREIGN_SHARE = 0.02
FOREIGN_SECONDS = 0.02

# Variables that choose a kernel, a number of threads or a mode of a numerical library. They are removed
# for all alike, so that each library runs as its authors ship it.
NUMERICAL_PREFIXES = (
    "ATEN_", "BLIS_", "CHAINRULE_", "DNNL_", "FLEXIBLAS", "GOMP_", "GOTO_", "JAX_", "KMP_", "MKL_", "NPY_",
    "NUMBA_", "NUMEXPR_", "NVPL_", "OMP_", "ONEDNN_", "OPENBLAS_", "ORT_", "PYTORCH_", "TORCHDYNAMO_",
    "TORCHINDUCTOR_", "TORCH_", "VECLIB_", "XLA_",
)  # fmt: skip
# Not settings of the measured code, but where its compiled kernels are kept.
KEPT = ("CHAINRULE_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")


class MachineBusy(RuntimeError):
    """The machine did not become quiet within the time one was ready to wait."""


def can_check() -> bool:
    """Whether this system tells how busy its processors are."""
    return STAT.exists()


def _busy_and_total() -> tuple[float, float]:
    """Seconds of processor time spent not idle, and altogether, since boot, over all processors."""
    fields = STAT.read_text().split("\n", 1)[0].split()[1:]
    ticks = [int(field) for field in fields[:8]]  # guest time, fields 9 and 10, is counted in user time
    total = sum(ticks)
    idle = ticks[3] + ticks[4]  # idle and waiting for a disk
    per_second = os.sysconf("SC_CLK_TCK")
    return (total - idle) / per_second, total / per_second


def wait_until_quiet(patience: float, window: float = 0.3) -> None:
    """Sleep until the processors have been idle for a window of time.

    Parameters
    ----------
    patience : float
        Seconds after which to give up.
    window : float
        Seconds that are looked at together.

    Raises
    ------
    MachineBusy
        If the machine does not become quiet.
    """
    if not can_check():
        return
    deadline = time.monotonic() + patience
    while True:
        busy_before, total_before = _busy_and_total()
        time.sleep(window)
        busy, total = _busy_and_total()
        idle = max(0.0, 1 - (busy - busy_before) / max(total - total_before, 1e-9))
        if idle >= QUIET:
            return
        if time.monotonic() > deadline:
            raise MachineBusy(f"the machine was still busy after {patience:.0f} s ({idle:.0%} idle)")


def busy_seconds() -> float:
    """Seconds that all processors together have not been idle since boot; 0 where that cannot be known."""
    return _busy_and_total()[0] if can_check() else 0.0


def contaminated(seconds: float, foreign: float) -> bool:
    """Whether other processes computed for too large a part of a measurement."""
    return foreign > FOREIGN_SECONDS + FOREIGN_SHARE * seconds


@dataclass
class Stopwatch:
    """What ``Stopwatch.running()`` measured: wall-clock time, and processor time, own and of others."""

    seconds: float = 0.0
    foreign: float = 0.0
    own: float = 0.0

    @property
    def contaminated(self) -> bool:
        """Whether other processes took so much time that the measurement means little."""
        return contaminated(self.seconds, self.foreign)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator["Stopwatch"]:
        """Time the body of a with statement. Children count as own once they have been waited for."""
        watch = cls()
        busy_before = busy_seconds()
        own_before = _own_seconds()
        start = time.perf_counter()
        yield watch
        watch.seconds = time.perf_counter() - start
        watch.own = _own_seconds() - own_before
        watch.foreign = max(0.0, busy_seconds() - busy_before - watch.own)


def _own_seconds() -> float:
    """Processor time of this process, all its threads, and the children it has waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's environment without settings of numerical libraries, and with ``changes``.

    Jax is told to stay on the CPU, and chainrule is found in ``src`` even where it is not installed.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or not name.startswith(NUMERICAL_PREFIXES)
    }
    source = str(Path(__file__).resolve().parents[1] / "src")
    path = environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = source + (os.pathsep + path if path else "")
    environment["JAX_PLATFORMS"] = "cpu"
    return environment | changes


def removed_variables() -> list[str]:
    """Names of the variables that ``clean_environment`` leaves out here."""
    return sorted(set(os.environ) - set(clean_environment()))


def processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def description() -> list[str]:
    """Processor, number of processors, system and Python; nothing that names this machine or the day."""
    lines = [
        f"Processor: {_processor_name()}, {processors()} processors available",
        f"System: {platform.system()} {platform.machine()}, Python {platform.python_version()}",
    ]
    if not can_check():
        lines.append("This system does not tell how busy it is: the samples could not be checked.")
    return lines


def blas_facts(package: str, threads: bool = True) -> str:
    """Name, version, kernels and threads of the BLAS that ``"numpy"`` or ``"scipy"`` has loaded.

    Wheels of the two bring a library each, in a folder named after the package; elsewhere they share one.
    """
    from threadpoolctl import threadpool_info

    loaded = [library for library in threadpool_info() if library["user_api"] == "blas"]
    own = [library for library in loaded if Path(library["filepath"]).parent.name.startswith(package)]
    for library in own or loaded:
        details = [f"{library['architecture']} kernels"] if library.get("architecture") else []
        details += [f"{library['num_threads']} threads by itself"] if threads else []
        return (
            f"{library['internal_api']} {library['version'] or 'of unknown version'} ({', '.join(details)})"
        )
    return "BLAS"


def _processor_name() -> str:
    """Model name, with family and model number since cloud machines report vague names."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict((part.strip() for part in line.split(":", 1)) for line in first.splitlines() if ":" in line)
    name = facts.get("model name", platform.machine())
    if "cpu family" in facts:
        name += f" (family {facts['cpu family']}, model {facts.get('model', '?')})"
    flags = facts.get("flags", facts.get("Features", "")).split()
    wide = [label for label in ("avx2", "avx512f", "amx_tile", "sve", "asimd") if label in flags]
    return f"{name}, {' '.join(wide)}" if wide else name
