"""Which sections there are, and the running of them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from chainrule.book.blocks import Section
from chainrule.book.verdict import Effort
from chainrule.engine.threads import available_processors

__all__ = ["NAMES", "TIMED", "check_names", "run", "section"]

# In the order of the page; each is a module of `chainrule.book.sections` with a function `section`.
NAMES = (
    "perceptron",
    "exclusive-or",
    "network",
    "activations",
    "approximation",
    "depth",
    "output-errors",
    "backpropagation",
    "by-hand",
    "cost",
    "vanishing",
    "jacobians",
    "remedies",
    "initialization",
    "landscape",
    "saddles",
    "minima",
    "tape",
    "descent",
    "dead-units",
    "double-descent",
    "bad-start",
    "exercises",
)

# These measure time, and have the machine to themselves.
TIMED = ("cost",)


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names in the order of the page.

    Raises
    ------
    ValueError
        Where one is none of the book's.
    """
    asked = tuple(names)
    for name in asked:
        if name not in NAMES:
            raise ValueError(f"the book has no section {name!r}; it has {', '.join(NAMES)}")
    return tuple(name for name in NAMES if name in asked)


def section(name: str, effort: Effort | None = None) -> Section:
    """Compute one section of the book.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    effort : Effort, optional
        The whole of it by default.

    Returns
    -------
    Section

    Examples
    --------
    >>> found = section("by-hand", Effort(quick=True))
    >>> [one.verdict.value for one in found.verdicts]
    ['fails']
    """
    check_names([name])
    module = importlib.import_module(f"chainrule.book.sections.{name.replace('-', '_')}")
    made: Callable[[Effort], Section] = module.section
    return made(effort or Effort())


def _use_one_processor() -> None:
    """In a process of its own, a section leaves the other processors to the other sections."""
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = "1"
    threadpool_limits(1)


def run(
    names: Iterable[str] = NAMES, effort: Effort | None = None, jobs: int | None = None
) -> Iterator[Section]:
    """Compute sections, as many at once as there are processors, and hand each out as it is done.

    Parameters
    ----------
    names : iterable of str
    effort : Effort, optional
    jobs : int, optional
        How many processes; 1 computes in this one.

    Yields
    ------
    Section
        In the order in which they are done.

    Raises
    ------
    ValueError
        Where a name is none of the book's, or `jobs` is not positive.
    """
    asked = check_names(names)
    jobs = jobs if jobs is not None else available_processors()
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    alone = [name for name in asked if name in TIMED or jobs == 1]
    together = [name for name in asked if name not in alone]
    for name in alone:
        yield section(name, effort)
    if together:
        # Not forked: a compiled network's threads would not live on in a fork.
        workers, context = min(jobs, len(together)), get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_use_one_processor) as pool:
            pending = [pool.submit(section, name, effort) for name in together]
            try:
                for done in as_completed(pending):
                    yield done.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
