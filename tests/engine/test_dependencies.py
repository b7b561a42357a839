"""Who waits for whom, against an oracle that knows nothing of how waits are found.

``HappensBefore`` follows a few steps of all threads' programs, calls, posts and waits, and notes for every
call which others have certainly ended when it begins. There is a race where two calls of different threads
touch one entry, one of them writes, and neither is certain to come first. ``test_schedule.py`` asks it the
same of real networks.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import deterministic

from chainrule.engine.dependencies import Access, Call, Wait, waits
from chainrule.engine.worker import PLACES

N_STEPS = 3


# -- the oracle ------------------------------------------------------------------------------------


class Event(NamedTuple):
    """What a thread does next: call number ``number``, post place ``number`` or wait for another's."""

    kind: str
    number: int
    thread: int = -1


Program = list[Event]


def programs_of(waiting: Sequence[Sequence[Sequence[Wait]]]) -> list[Program]:
    """Each thread's program, if it posts after every call."""
    programs = []
    for rows in waiting:
        program = []
        for number, before in enumerate(rows):
            for wait in before:
                program.append(Event("wait", wait.call + 1 - (PLACES if wait.before else 0), wait.thread))
            program += [Event("call", number), Event("post", number + 1)]
        programs.append(program)
    return programs


class HappensBefore:
    """Which calls have certainly ended when another begins: sets of calls, as the bits of an integer.

    Threads are followed in any order: what a wait tells depends on the first post that satisfies it alone.
    """

    def __init__(self, programs: Sequence[Program]) -> None:
        self._bits: dict[tuple[int, int, int], int] = {}
        self._ended: dict[tuple[int, int, int], int] = {}
        self._posts: list[list[tuple[int, int]]] = [[] for _ in programs]
        self._known = [0] * len(programs)
        threads = [self._follow(thread, program) for thread, program in enumerate(programs)]
        self.deadlock = not _run_all(threads)

    def _follow(self, thread, program):
        """A generator that yields whether it came any further."""
        for step in range(N_STEPS):
            for kind, number, other in program:
                if kind == "wait":
                    while not self._passes(thread, other, step * PLACES + number):
                        yield False
                elif kind == "post":
                    assert not self._posts[thread] or self._posts[thread][-1][0] < step * PLACES + number
                    self._posts[thread].append((step * PLACES + number, self._known[thread]))
                else:
                    call = (step, thread, number)
                    self._bits[call] = 1 << len(self._bits)
                    self._ended[call] = self._known[thread]
                    self._known[thread] |= self._bits[call]
                yield True

    def _passes(self, thread, other, place):
        known = 0 if place <= 0 else next((known for at, known in self._posts[other] if at >= place), None)
        if known is None:
            return False
        self._known[thread] |= known
        return True

    def __call__(self, one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
        """Whether one call, (step, thread, number), has ended when the other begins."""
        return bool(self._ended[other] & self._bits[one])


def _run_all(threads):
    """Run generators until all are done; False if none gets further."""
    running = list(threads)
    while running:
        progress = False
        for one in list(running):
            came_further = next(one, None)
            if came_further is None:
                running.remove(one)
            progress |= came_further is not False
        if not progress:
            return False
    return True


def accesses_of(one: Call) -> list[tuple[bool, Access]]:
    """All that a call touches, and whether it writes there."""
    return [(False, read) for read in one.reads] + [(True, write) for write in one.writes]


def overlap(one: Access, other: Access) -> bool:
    """Whether two rectangles of an array have an entry in common."""
    common = [
        range(max(mine[0], theirs[0]), min(mine[1], theirs[1]))
        for mine, theirs in zip(one[1:], other[1:], strict=True)
    ]
    return all(common)


def conflicts(phases):
    """Pairs of calls, (thread, number), that must not overtake each other, the earlier one first."""
    numbers = [0] * len(phases[0])
    touched = defaultdict(list)
    pairs = set()
    for by_thread in phases:
        for thread, calls in enumerate(by_thread):
            for one in calls:
                mine = (thread, numbers[thread])
                numbers[thread] += 1
                for writes, rectangle in accesses_of(one):
                    for theirs, they_write, other in touched[rectangle.array]:
                        if (writes or they_write) and theirs[0] != thread and overlap(rectangle, other):
                            pairs.add((theirs, mine))
                    touched[rectangle.array].append((mine, writes, rectangle))
    return pairs


def races(pairs, programs):
    """The pairs of conflicting calls whose order is left to chance."""
    order = HappensBefore(programs)
    assert not order.deadlock
    found = set()
    for one, other in pairs:
        # Of steps further apart, a thread's own order says the rest.
        in_step = all(order((step, *one), (step, *other)) for step in range(N_STEPS))
        across = all(order((step, *other), (step + 1, *one)) for step in range(N_STEPS - 1))
        if not (in_step and across):
            found.add((one, other))
    return found


def without_one_wait(programs):
    """The programs with each of their waits left out in turn."""
    for thread, program in enumerate(programs):
        for place, event in enumerate(program):
            if event.kind == "wait":
                yield [*programs[:thread], program[:place] + program[place + 1 :], *programs[thread + 1 :]]


# -- schedules with known answers ------------------------------------------------------------------


def access(array, rows=(0, 1), columns=(0, 1)):
    return Access(array, rows, columns)


def call(reads="", writes=""):
    """A call that reads and writes whole arrays, each named by a letter."""
    return Call(None, {}, tuple(map(access, reads)), tuple(map(access, writes)))


def in_turn(*calls):
    """A phase for each (thread, call), of two threads."""
    return [[[one] if thread == t else [] for t in range(2)] for thread, one in calls]


def test_a_reader_waits_for_the_writer_and_the_writer_for_the_last_step_s_reader():
    phases = in_turn((0, call(writes="a")), (1, call(reads="a")))
    assert waits(phases) == [[[Wait(1, 0, True)]], [[Wait(0, 0, False)]]]


def test_a_reader_before_the_writer_waits_for_the_last_step_s_writer():
    phases = in_turn((0, call(reads="a")), (1, call(writes="a")))
    assert waits(phases) == [[[Wait(1, 0, True)]], [[Wait(0, 0, False)]]]


def test_two_writers_wait_for_each_other():
    phases = in_turn((0, call(writes="a")), (1, call(writes="a")))
    assert waits(phases) == [[[Wait(1, 0, True)]], [[Wait(0, 0, False)]]]


def test_readers_do_not_wait():
    assert waits(in_turn((0, call(reads="a")), (1, call(reads="a")))) == [[[]], [[]]]


def test_other_arrays_are_not_waited_for():
    assert waits(in_turn((0, call(writes="a")), (1, call(reads="b")))) == [[[]], [[]]]


@pytest.mark.parametrize(
    ("rows", "columns", "meets"),
    [((0, 1), (0, 4), False), ((0, 2), (0, 2), False), ((1, 2), (2, 3), True), ((0, 9), (0, 9), True)],
)
def test_only_rectangles_that_meet_are_waited_for(rows, columns, meets):
    write = Call(None, {}, (), (access("a", rows, columns),))
    read = Call(None, {}, (access("a", (1, 3), (2, 4)),))
    assert access("a", rows, columns).meets(read.reads[0]) == meets
    assert waits(in_turn((0, write), (1, read)))[1] == ([[Wait(0, 0, False)]] if meets else [[]])


def test_one_waits_for_the_last_of_several():
    phases = in_turn((0, call(writes="a")), (0, call(writes="b")), (0, call("c")), (1, call(reads="ab")))
    assert waits(phases)[1] == [[Wait(0, 1, False)]]


def test_what_comes_in_this_step_says_more_than_what_came_in_the_last():
    # Thread 1 reads what thread 0 writes before and after: the later write, of the last step, is long past.
    phases = in_turn((0, call(writes="a")), (1, call(reads="ab")), (0, call(writes="b")))
    assert waits(phases)[1] == [[Wait(0, 0, False)]]


def test_nothing_is_waited_for_twice():
    phases = in_turn((0, call(writes="ab")), (1, call(reads="a")), (1, call(reads="b")), (1, call(reads="a")))
    assert waits(phases)[1] == [[Wait(0, 0, False)], [], []]


def test_a_later_call_is_waited_for_again():
    phases = in_turn((0, call(writes="a")), (1, call(reads="a")), (0, call(writes="b")), (1, call(reads="b")))
    assert waits(phases)[1] == [[Wait(0, 0, False)], [Wait(0, 1, False)]]


def test_what_was_known_at_the_end_of_a_step_is_known_in_the_next():
    # Thread 1 must not overwrite b before thread 0 has read it; waiting for a it has seen thread 0 past that.
    phases = in_turn((1, call(writes="b")), (0, call("b")), (0, call(writes="a")), (1, call("a")))
    assert waits(phases)[1] == [[], [Wait(0, 1, False)]]


def test_what_was_not_known_at_the_end_of_a_step_is_waited_for_in_the_next():
    phases = in_turn((1, call(writes="b")), (0, call(writes="a")), (0, call("b")), (1, call("a")))
    assert waits(phases)[1] == [[Wait(0, 1, True)], [Wait(0, 0, False)]]


def test_each_thread_is_waited_for_by_itself():
    phases = [[[call(writes="a")], [call(writes="b")], []], [[], [], [call("ab")]]]
    assert waits(phases)[2] == [[Wait(0, 0, False), Wait(1, 0, False)]]
    assert waits(phases)[:2] == [[[Wait(2, 0, True)]], [[Wait(2, 0, True)]]]


def test_one_thread_waits_for_nobody():
    assert waits([[[call(writes="a"), call("a")]], [[call("a")]]]) == [[[], [], []]]
    assert waits([]) == []


@pytest.mark.parametrize("calls", [("a", "", "", "a"), ("", "a", "a", ""), ("", "a", "", "a")])
def test_threads_that_meet_in_a_phase_are_an_error(calls):
    phase = [[call(*calls[:2])], [call(*calls[2:])]]
    with pytest.raises(AssertionError, match="two threads meet at Access.* in phase 1"):
        waits([[[], []], phase])


def test_a_thread_may_meet_itself():
    assert waits([[[call(writes="a"), call("a")], []]]) == [[[], []], []]


# -- random schedules ------------------------------------------------------------------------------

ranges = st.tuples(st.integers(0, 3), st.integers(1, 3)).map(lambda drawn: (drawn[0], sum(drawn)))
rectangles = st.lists(st.builds(Access, st.sampled_from("abc"), ranges, ranges), max_size=2)
numbers_of_threads = st.integers(2, 4)


def meet(one, other):
    """Whether two calls must not be in one phase."""
    return any(
        (writes or they_write) and mine.array == theirs.array and overlap(mine, theirs)
        for writes, mine in accesses_of(one)
        for they_write, theirs in accesses_of(other)
    )


@st.composite
def schedules(draw, threads=numbers_of_threads):
    """Phases in which no two threads meet."""
    n_threads = draw(threads)
    phases = []
    for _ in range(draw(st.integers(1, 6))):
        phase = [[] for _ in range(n_threads)]
        for thread in draw(st.lists(st.integers(0, n_threads - 1), max_size=5)):
            one = Call(None, {}, tuple(draw(rectangles)), tuple(draw(rectangles)))
            others = [other for t, calls in enumerate(phase) if t != thread for other in calls]
            if not any(meet(one, other) for other in others):
                phase[thread].append(one)
        phases.append(phase)
    return phases


@settings(deterministic, max_examples=400)
@given(schedules())
def test_every_conflict_is_decided(phases):
    assert races(conflicts(phases), programs_of(waits(phases))) == set()


@settings(deterministic, max_examples=200)
@given(schedules(threads=st.just(2)))
def test_of_two_threads_no_wait_is_for_nothing(phases):
    """Of more than two, one may learn from another where a third one is; that is not made use of."""
    pairs = conflicts(phases)
    for programs in without_one_wait(programs_of(waits(phases))):
        assert races(pairs, programs)


def entries(one):
    return [(one.array, row, column) for row in range(*one.rows) for column in range(*one.columns)]


class Interpreter:
    """Threads that run their programs a piece at a time, with numbers that show in which order they came.

    A call's reads and its writes are two pieces, so that another thread may come between.
    """

    def __init__(self, phases, programs):
        self.calls = [[one for phase in phases for one in phase[t]] for t in range(len(programs))]
        self.memory = defaultdict(int)
        self.progress = [0] * len(programs)
        self.running = {thread: self.run(thread, program) for thread, program in enumerate(programs)}

    def run(self, thread, program):
        """A generator that yields whether it can go on."""
        for step in range(N_STEPS):
            for kind, number, other in program:
                if kind == "wait":
                    while self.progress[other] < step * PLACES + number:
                        yield False
                elif kind == "post":
                    self.progress[thread] = step * PLACES + number
                else:
                    one = self.calls[thread][number]
                    seen = tuple(self.memory[entry] for read in one.reads for entry in entries(read))
                    yield True
                    for entry in (entry for write in one.writes for entry in entries(write)):
                        self.memory[entry] = hash((self.memory[entry], step, thread, number, seen))
                yield True

    def play(self, rng):
        """What is in memory when all are done."""
        while self.running:
            # A thread runs for a while, so that some get far ahead of others.
            ready = list(self.running)
            rng.shuffle(ready)
            advanced = [self.advance(thread, rng.randrange(1, 20)) for thread in ready]
            assert any(advanced), "deadlock"
        return dict(self.memory)

    def advance(self, thread, n_pieces):
        """Whether the thread did anything."""
        for piece in range(n_pieces):
            went_on = next(self.running[thread], None)
            if went_on is None:
                del self.running[thread]
                return True
            if not went_on:
                return piece > 0
        return True


def played_in_sequence(phases):
    """What is in memory if one thread goes through all calls, phase after phase."""
    n_threads = len(phases[0])
    interpreter = Interpreter(phases, [[]] * n_threads)
    for step in range(N_STEPS):
        numbers = [0] * n_threads
        for phase in phases:
            for thread, calls in enumerate(phase):
                for one in calls:
                    seen = tuple(interpreter.memory[entry] for read in one.reads for entry in entries(read))
                    for entry in (entry for write in one.writes for entry in entries(write)):
                        old = interpreter.memory[entry]
                        interpreter.memory[entry] = hash((old, step, thread, numbers[thread], seen))
                    numbers[thread] += 1
    return dict(interpreter.memory)


@settings(deterministic, max_examples=150)
@given(schedules(), st.integers(0, 2**32))
def test_any_interleaving_ends_as_the_sequence_does(phases, seed):
    expected = played_in_sequence(phases)
    rng = random.Random(seed)
    for _ in range(5):
        assert Interpreter(phases, programs_of(waits(phases))).play(rng) == expected


def test_the_interpreter_shows_a_missing_wait():
    phases = in_turn((0, call(writes="a")), (1, call("a", "b")))
    expected = played_in_sequence(phases)
    for programs in without_one_wait(programs_of(waits(phases))):
        outcomes = [Interpreter(phases, programs).play(random.Random(seed)) for seed in range(30)]
        assert any(outcome != expected for outcome in outcomes)


def test_the_oracle_sees_a_deadlock():
    programs = [[Event("wait", 1, other), Event("call", 0), Event("post", 1)] for other in (1, 0)]
    assert HappensBefore(programs).deadlock
