"""Who waits for whom: found from what each call reads and writes.

A schedule is a list of phases, in the order in which one thread alone would go through them; in a phase every
thread has calls of its own. A call that touches what another thread's call touches, where one of the two
writes, must not overtake it: it waits until that thread has posted that it is past the call. What lies before
in the step is waited for in the same step, what lies after, in the step before. There are no barriers:
a thread waits only for whom it depends on, and most such waits are long satisfied when they are reached.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

__all__ = ["Access", "Call", "Wait", "waits"]


class Access(NamedTuple):
    """A rectangle of an array: half-open ranges, in whatever unit the array is counted in."""

    array: Hashable
    rows: tuple[int, int]
    columns: tuple[int, int]

    def meets(self, other: "Access") -> bool:
        """Whether the two have an entry in common (of the same array)."""
        return (
            self.rows[0] < other.rows[1]
            and other.rows[0] < self.rows[1]
            and self.columns[0] < other.columns[1]
            and other.columns[0] < self.columns[1]
        )


class Call(NamedTuple):
    """A kernel, its arguments by name, and what it touches of the arrays that threads share."""

    kernel: Any
    arguments: dict[str, Any]
    reads: tuple[Access, ...] = ()
    writes: tuple[Access, ...] = ()


class Wait(NamedTuple):
    """Wait until ``thread`` is past its call number ``call``, in this step or (``before``) the last one."""

    thread: int
    call: int
    before: bool


# Where a thread is: the step relative to this one (0 or -1), and the last call that it is past.
Place = tuple[int, int]
UNKNOWN: Place = (-1, -1)


def waits(phases: Sequence[Sequence[Sequence[Call]]]) -> list[list[list[Wait]]]:
    """For each thread and each of its calls, what to wait for before it.

    Parameters
    ----------
    phases : sequence of phases; a phase holds, for each thread, its calls in order

    Returns
    -------
    list, for each thread, of lists of Wait, one for each of its calls

    Raises
    ------
    AssertionError
        If two threads touch the same entry in one phase and one of them writes.
    """
    n_threads = len(phases[0]) if phases else 0
    if n_threads < 2:
        return [[[] for phase in phases for _ in phase[t]] for t in range(n_threads)]
    touched = _accesses(phases)
    result = []
    for thread in range(n_threads):
        needs = [
            [_needed(call, phase, thread, other, touched) for other in range(n_threads)]
            for phase, calls in enumerate(phases)
            for call in calls[thread]
        ]
        # What is known of the others when a step begins is what was known when the last one ended.
        at_end = _without_repetition(needs, [UNKNOWN] * n_threads)[1]
        at_begin = [(-1, call) if step == 0 else UNKNOWN for step, call in at_end]
        result.append(_without_repetition(needs, at_begin)[0])
    return result


def _accesses(phases: Sequence[Sequence[Sequence[Call]]]) -> list[dict[Hashable, list]]:
    """For each thread and array: (phase, number of the call, whether it writes, what)."""
    touched: list[dict[Hashable, list]] = [defaultdict(list) for _ in phases[0]]
    numbers = [0] * len(phases[0])
    for phase, by_thread in enumerate(phases):
        for thread, calls in enumerate(by_thread):
            for call in calls:
                for writes, accesses in ((False, call.reads), (True, call.writes)):
                    for access in accesses:
                        touched[thread][access.array].append((phase, numbers[thread], writes, access))
                numbers[thread] += 1
    return touched


def _needed(
    call: Call, phase: int, thread: int, other: int, touched: list[dict[Hashable, list]]
) -> Place | None:
    """How far another thread must be before this call."""
    if other == thread:
        return None
    needed: Place | None = None
    for writes, accesses in ((False, call.reads), (True, call.writes)):
        for access in accesses:
            for its_phase, number, it_writes, its_access in touched[other].get(access.array, ()):
                if not (writes or it_writes) or not access.meets(its_access):
                    continue
                assert its_phase != phase, f"two threads meet at {access} in phase {phase}"
                place = (0, number) if its_phase < phase else (-1, number)
                needed = place if needed is None else max(needed, place)
    return needed


def _without_repetition(
    needs: list[list[Place | None]], known: list[Place]
) -> tuple[list[list[Wait]], list[Place]]:
    """Waits that say something new, and what is known of the others at the end."""
    known = list(known)
    result = []
    for row in needs:
        new = []
        for other, place in enumerate(row):
            if place is not None and place > known[other]:
                known[other] = place
                new.append(Wait(other, place[1], place[0] < 0))
        result.append(new)
    return result, known
