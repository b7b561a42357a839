"""A pool of threads that run one compiled function side by side.

The engine's threads are persistent and pinned one to a processor while there are as many processors.
They wait for work on queues; how they wait for each other inside a stretch of training is in
``worker.py``.
"""

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

__all__ = ["Pool", "available_processors", "interrupts_held_back", "pool", "pool_held", "processor_quota"]


# Work of fewer multiply-adds than this takes less than about 60 microseconds on one thread, and waiting for
# a second one costs more than it saves.
MULTIPLY_ADDS_FOR_THREADS = 4_000_000


def _limit_of(group: Path) -> float:
    """How many processors' time a control group may use; infinity for no limit."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf


@cache
def processor_quota() -> float:
    """How many processors' time this process's control groups allow it; infinity for no limit."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return math.inf
    limits = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = Path("/sys/fs/cgroup", controllers)
        group = mount / path.lstrip("/")
        limits += [_limit_of(folder) for folder in (group, *group.parents) if folder.is_relative_to(mount)]
    return min(limits)


def available_processors() -> int:
    """Processors this process may use: its affinity mask, capped by the quota of its control groups and by
    OMP_NUM_THREADS where that is set.

    joblib sets that variable in its workers so that nested libraries share the machine.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = math.ceil(min(count, processor_quota()))
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(count, int(limit))) if limit.isdigit() and int(limit) > 0 else max(1, count)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C wait until the end of the context; only the main thread ever meets one.

    In the middle of handing work to the pool, or of waiting for it, it would leave threads behind that
    write to arrays of the caller.
    """
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return
    held: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if held:
            previous(*held[0])


class Pool:
    """``n_threads`` threads that run a function of their number together.

    An exception in one is raised to the caller once all are done. The caller holds interrupts back.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self.busy = threading.Lock()
        self._function: Callable[[int], None] | None = None
        self._errors: list[BaseException] = []
        self._start: list[SimpleQueue[None]] = [SimpleQueue() for _ in range(n_threads)]
        self._done: SimpleQueue[None] = SimpleQueue()
        processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        pin = n_threads == len(processors)
        for number in range(n_threads):
            processor = processors[number] if pin else None
            threading.Thread(
                target=self._serve, args=(number, processor), name=f"chainrule-{number}", daemon=True
            ).start()

    def _serve(self, number: int, processor: int | None) -> None:
        if processor is not None:
            try:
                os.sched_setaffinity(0, {processor})
            except OSError:
                pass  # a processor may have been taken away meanwhile; unpinned is only slower
        while True:
            self._start[number].get()
            try:
                assert self._function is not None
                self._function(number)
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                self._errors.append(error)
            self._done.put(None)

    def run(self, function: Callable[[int], None]) -> None:
        """Run ``function(0)`` ... ``function(n_threads - 1)`` at once and wait for all."""
        self._function = function
        self._errors.clear()
        for start in self._start:
            start.put(None)
        for _ in range(self.n_threads):
            self._done.get()
        self._function = None
        if self._errors:
            raise self._errors[0]


class _Pools:
    """The process's pools by size."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_size: dict[int, Pool] = {}


_pools = _Pools()


def pool(n_threads: int) -> Pool:
    """The process's pool of this size, made when first asked for."""
    with _pools.lock:
        if n_threads not in _pools.by_size:
            _pools.by_size[n_threads] = Pool(n_threads)
        return _pools.by_size[n_threads]


@contextmanager
def pool_held(n_threads: int) -> Iterator[Pool | None]:
    """The process's pool of this size for the caller alone, or None where another one holds it.

    Interrupts wait until the end of the context.
    """
    workers = pool(n_threads)
    with interrupts_held_back():
        if not workers.busy.acquire(blocking=False):
            yield None
            return
        try:
            yield workers
        finally:
            workers.busy.release()


if hasattr(os, "register_at_fork"):
    # In a forked child the parent's threads do not exist: start anew.
    os.register_at_fork(after_in_child=_pools.__init__)  # type: ignore[misc]
