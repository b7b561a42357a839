"""Trainings side by side: tasks in a queue, and threads that each take one after the other.

The engine computes without Python's interpreter lock, so that threads are enough. A training that has
neighbours runs on its own thread alone: many networks on one thread each are done sooner than the same
networks one after the other on all threads, which would have to wait for each other at every step.

Python delivers an interrupt to the main thread only. It hands out the work and waits, and passes the
interrupt on: whoever trains asks ``stop_if_told`` before each stretch of about a tenth of a second.
"""

import contextvars
import queue
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from chainrule.engine.threads import available_processors, interrupts_held_back

__all__ = ["JobError", "n_threads_allowed", "run_side_by_side", "stop_if_told"]


class JobError(RuntimeError):
    """One of several trainings failed; its exception is the ``__cause__``.

    Attributes
    ----------
    index : int
        Place of the training in the list that was given.
    error : BaseException
        The exception.
    """

    def __init__(self, index: int, error: BaseException) -> None:
        super().__init__(f"job {index} failed: {type(error).__name__}: {error}")
        self.index = index
        self.error = error

    def __reduce__(self) -> tuple:
        return type(self), (self.index, self.error)


class Stopped(BaseException):
    """Raised in a training that is to end because its neighbours do. No ``Exception``: it is not handled."""


class _Crew:
    """Threads at work on one list of tasks; ``alone`` is the only task that may use several."""

    def __init__(
        self, tasks: Sequence[Callable[[], Any]], order: Sequence[int], *, alone: bool, errors_end_it: bool
    ) -> None:
        self._parent: _Crew | None = _crew.get()
        self._tasks = tasks
        self.alone = alone
        self._errors_end_it = errors_end_it
        self._queue = deque(order)
        self._outcomes: queue.SimpleQueue = queue.SimpleQueue()
        self._told = False

    @property
    def told_to_stop(self) -> bool:
        """Whether this crew, or one that it works for, was told to stop."""
        return self._told or (self._parent is not None and self._parent.told_to_stop)

    def ended_by(self, error: BaseException) -> bool:
        """Whether nothing is begun after this exception."""
        return self._errors_end_it or not isinstance(error, Exception)

    def _work(self) -> None:
        """What each thread does."""
        _crew.set(self)
        while not self.told_to_stop:
            try:
                number = self._queue.popleft()
            except IndexError:
                break
            try:
                self._outcomes.put((number, self._tasks[number](), None))
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                if self.ended_by(error):
                    self._queue.clear()
                self._outcomes.put((number, None, error))
        self._outcomes.put(None)

    def _next_outcome(self) -> Any:
        while True:
            try:
                # With a limit, since a wait without one cannot be interrupted on Windows.
                return self._outcomes.get(timeout=0.2)
            except queue.Empty:
                continue

    def run(self, n_threads: int, note: Callable[[int, Any, BaseException | None], None]) -> None:
        """Run the tasks; ``note(number, result, error)`` is called here as each of them ends."""
        threads = [
            threading.Thread(
                # A copy of the caller's context each: NumPy's error handling, and which crew this is.
                target=contextvars.copy_context().run, args=(self._work,), name=f"chainrule-job-{number}",
                daemon=True,
            )
            for number in range(n_threads)
        ]  # fmt: skip
        try:
            with interrupts_held_back():  # one amid a start leaves a thread that says it was not started
                for thread in threads:
                    thread.start()
            working = n_threads
            while working:
                outcome = self._next_outcome()
                if outcome is None:
                    working -= 1
                else:
                    note(*outcome)
        finally:
            self._told = True
            for thread in threads:
                if thread.ident is not None:  # was started
                    thread.join()


_crew: contextvars.ContextVar[_Crew | None] = contextvars.ContextVar("chainrule_crew", default=None)


def stop_if_told() -> None:
    """Raise ``Stopped`` in a training whose neighbours were interrupted."""
    crew = _crew.get()
    if crew is not None and crew.told_to_stop:
        raise Stopped


def n_threads_allowed(n_jobs: int | None) -> int | None:
    """Threads that a training may use: one where it has neighbours.

    Else what ``n_jobs`` says, as scikit-learn counts; None leaves it to the engine.

    Examples
    --------
    >>> n_threads_allowed(3)
    3
    """
    if n_jobs == 0:
        raise ValueError("n_jobs must not be 0: give a number of threads, -1 for all, or None")
    crew = _crew.get()
    if crew is not None and not crew.alone:
        return 1
    if n_jobs is None:
        return None
    return max(1, available_processors() + 1 + n_jobs) if n_jobs < 0 else int(n_jobs)


def run_side_by_side(
    tasks: Sequence[Callable[[], Any]],
    *,
    n_jobs: int | None = None,
    costs: Sequence[float] | None = None,
    on_error: str = "raise",
    ended: Callable[[], None] | None = None,
) -> list[Any]:
    """Results of functions without arguments, run on several threads.

    Parameters
    ----------
    tasks : sequence of callable
    n_jobs : int, optional
        Threads; by default as many as there are processors. One, within a task of another such call. A
        single task has them for itself.
    costs : sequence of float, optional
        How long each may take, in any unit: the longest are begun first, so that none is left for the end.
    on_error : {"raise", "return"}
        After an exception, begin nothing more, let the rest come to its end and raise ``JobError``; or
        put the exception in the place of the result.
    ended : callable, optional
        Called in this thread whenever a task has ended.

    Returns
    -------
    list
        In the order of ``tasks``.

    Examples
    --------
    >>> run_side_by_side([lambda: 1, lambda: 2])
    [1, 2]
    """
    if on_error not in ("raise", "return"):
        raise ValueError(f"on_error must be 'raise' or 'return'; got {on_error!r}")
    allowed = n_threads_allowed(n_jobs)
    n_threads = min(len(tasks), allowed or available_processors())
    order = list(range(len(tasks)))
    if costs is not None:
        order.sort(key=lambda number: -costs[number])
    alone = len(tasks) == 1 and allowed != 1
    crew = _Crew(tasks, order, alone=alone, errors_end_it=on_error == "raise")
    results: list[Any] = [None] * len(tasks)
    errors: dict[int, BaseException] = {}

    def note(number: int, result: Any, error: BaseException | None) -> None:
        results[number] = result if error is None else error
        if error is not None and crew.ended_by(error):
            errors[number] = error
        if ended is not None:
            ended()

    # Filters for warnings belong to the process: what threads at work in ``catch_warnings`` side by side
    # leave behind is put right at the end.
    with warnings.catch_warnings() if _crew.get() is None else nullcontext():
        crew.run(n_threads, note)
    stop_if_told()
    _raise_first(errors)
    return results


def _raise_first(errors: dict[int, BaseException]) -> None:
    for error in errors.values():
        if not isinstance(error, Exception):
            raise error
    for number, error in sorted(errors.items()):
        raise JobError(number, error) from error
