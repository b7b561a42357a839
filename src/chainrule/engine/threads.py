"""A pool of threads that run one compiled function side by side.

The engine's threads are persistent and pinned one to a processor while there are as many processors.
They wait for work on queues; how they wait for each other inside a stretch of training is in
``worker.py``.
"""

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Pool", "available_processors", "pool"]


def available_processors() -> int:
    """Processors this process may use: its affinity mask, capped by OMP_NUM_THREADS where that is set.

    joblib sets that variable in its workers so that nested libraries share the machine.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(count, int(limit))) if limit.isdigit() and int(limit) > 0 else count


class Pool:
    """``n_threads`` threads that run a function of their number together.

    An exception in one is raised to the caller once all are done; an interrupt of the caller is held
    back until then, since the threads write to the caller's arrays.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self.busy = threading.Lock()
        self._function: Callable[[int], None] | None = None
        self._errors: list[BaseException] = []
        # Queues, not semaphores: those may come out of an interrupted wait with their lock undone.
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
        interrupt: BaseException | None = None
        for _ in range(self.n_threads):
            while True:
                try:
                    self._done.get()
                    break
                except KeyboardInterrupt as error:
                    interrupt = error
        self._function = None
        if self._errors:
            raise self._errors[0]
        if interrupt is not None:
            raise interrupt


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


if hasattr(os, "register_at_fork"):
    # In a forked child the parent's threads do not exist: start anew.
    os.register_at_fork(after_in_child=_pools.__init__)  # type: ignore[misc]
