"""What every thread runs: a schedule of calls, played step after step, and waiting for the others.

The chapter's equations are in ``schedule.py``; here is only the drum that it is played on. One specialisation
serves every network and both precisions.
"""

from functools import cache

from chainrule.engine._intrinsics import (
    add_atomically,
    call_address,
    cpu_pause,
    flush_denormals,
    futex_wait,
    futex_wake,
    load_atomically,
    restore_denormals,
    store_atomically,
)
from chainrule.engine._jit import Kernel, device, inlined
from chainrule.engine.calls import WORDS, place_in_step
from chainrule.engine.layout import CACHE_LINE
from chainrule.engine.parts import integers

__all__ = ["play", "play_one", "post", "wait_for"]

N_ROWS, ORDER, START = (place_in_step(name) for name in ("n_rows", "order", "start"))
NUMBER, TURN, SAMPLE = (place_in_step(name) for name in ("number", "turn", "sample"))
COEFFICIENTS = place_in_step("coefficients")
STEP_WORDS = COEFFICIENTS + 1

# About 20 microseconds of pauses before a waiting thread goes to sleep.
SPINS = 1500

# A thread's progress is two words: how far it is, and how many sleep until it is further.
SLEEPERS = 8


# Places in a step are numbered from 1; the first of the next step lies this much further on.
PLACES = 1 << 16


@inlined
def go_to(progress, place):
    """Say how far this thread is."""
    store_atomically(progress, place)
    if load_atomically(progress + SLEEPERS) > 0:
        futex_wake(progress)


@inlined
def wait_until(progress, place):
    """Wait until the thread whose progress is at an address has come to a place."""
    spins = 0
    seen = load_atomically(progress)
    while seen < place:
        spins += 1
        if spins < SPINS:
            cpu_pause()
        else:
            add_atomically(progress + SLEEPERS, 1)
            # The kernel compares again before it sleeps, so a store in between is not missed.
            seen = load_atomically(progress)
            if seen < place:
                futex_wait(progress, seen)
            add_atomically(progress + SLEEPERS, -1)
        seen = load_atomically(progress)


@inlined
def meet(progress, thread, n_threads, place):
    """Wait until all threads are at a place."""
    go_to(progress + thread * CACHE_LINE, place)
    for other in range(n_threads):
        wait_until(progress + other * CACHE_LINE, place)


@device
def play_calls(call, n_calls, step):
    """One call after the other."""
    for _ in range(n_calls):
        call_address(integers(call, 0, 1)[0], (call + 8, step))
        call += 8 * WORDS


@cache
def play() -> Kernel:
    """Go through the batches of ``n_all`` rows; all threads call this together.

    ``calls`` is the address of a schedule of ``n_calls``; ``watched`` and ``n_watched`` another one, for
    the steps that take a sample of telemetry, where ``every`` is not 0. ``opening`` and ``closing`` are
    played before the first step and after the last, and the other way round about a step with telemetry.
    ``progress`` is the address of all threads' progress.
    """

    def play_schedule(
        step, opening, n_opening, calls, n_calls, watched, n_watched, closing, n_closing,
        n_all, batch_size, first_step, every, first_order, first_coefficients, coefficient_bytes,
        progress, thread, n_threads,
    ):  # fmt: skip
        control = flush_denormals()
        record = integers(step, 0, STEP_WORDS)
        n_samples = 0
        play_calls(opening, n_opening, step)
        if n_threads > 1:  # what others copied in the opening is there from now on
            meet(progress, thread, n_threads, 0)
        for turn in range((n_all + batch_size - 1) // batch_size):
            start = turn * batch_size
            number = first_step + turn
            watching = every > 0 and number % every == 0
            if watching:  # its schedule works on the flat vectors
                play_calls(closing, n_closing, step)
            if n_threads > 1 and every > 0 and (watching or (number - 1) % every == 0):
                # From one schedule to another: what to wait for does not reach across.
                meet(progress, thread, n_threads, turn * PLACES)
            record[N_ROWS] = min(batch_size, n_all - start)
            record[START] = start
            record[ORDER] = first_order + start * 8
            record[NUMBER] = number
            record[TURN] = turn
            record[SAMPLE] = n_samples if watching else -1
            record[COEFFICIENTS] = first_coefficients + turn * coefficient_bytes
            n_samples += watching
            if watching:
                play_calls(watched, n_watched, step)
                play_calls(opening, n_opening, step)
            else:
                play_calls(calls, n_calls, step)
        play_calls(closing, n_closing, step)
        restore_denormals(control)

    return Kernel(play_schedule, ("play",))


@cache
def play_one() -> Kernel:
    """Make the one call at address ``call``."""

    def play_one_call(step, call):
        control = flush_denormals()
        play_calls(call, 1, step)
        restore_denormals(control)

    return Kernel(play_one_call, ("one",))


@cache
def post() -> Kernel:
    """Say that this thread has come to place ``place`` of the step."""

    def post_progress(turn, progress, place):
        go_to(progress, turn * PLACES + place)

    return Kernel(post_progress, ("post",))


@cache
def wait_for() -> Kernel:
    """Wait until another thread is at place ``place`` of the step; one below 0 is of the step before."""

    def wait_for_progress(turn, progress, place):
        wait_until(progress, turn * PLACES + place)

    return Kernel(wait_for_progress, ("wait",))
