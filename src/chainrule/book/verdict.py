"""What an experiment says about a claim of the chapter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

__all__ = ["Effort", "Judgement", "Verdict", "judged", "spread_of"]


Size = TypeVar("Size")


class Judgement(StrEnum):
    """Whether a claim was borne out."""

    holds = "holds"
    fails = "fails"
    depends = "depends"


@dataclass(frozen=True)
class Verdict:
    """A claim, and what was found.

    Attributes
    ----------
    claim : str
        What the chapter says, in our words; it holds no number that an experiment computes.
    section : str
        Where the chapter says it, such as "4".
    expected : str
        What would be seen if it were true.
    measured : str
        What was seen.
    spread : str
        How far it varied, and over what: "0.91 to 0.97 over 10 seeds"; "exact" where nothing varies.
    verdict : Judgement
        ``depends`` where it is true under conditions that the chapter does not state.

    Examples
    --------
    >>> one = Verdict("2 + 2 is 4", "1", "4", "4", "exact", Judgement.holds)
    >>> one.verdict.value
    'holds'
    """

    claim: str
    section: str
    expected: str
    measured: str
    spread: str
    verdict: Judgement


@dataclass(frozen=True)
class Effort:
    """How much is spent on an experiment.

    Parameters
    ----------
    quick : bool
        Whether the whole book is to be done in minutes on two cores, with fewer seeds and smaller sizes.

    Examples
    --------
    >>> Effort(quick=True).choose(full=20, quick=3)
    3
    """

    quick: bool = False

    def choose(self, *, full: Size, quick: Size) -> Size:
        """One of two sizes."""
        return quick if self.quick else full


def judged(cases: Iterable[bool]) -> Judgement:
    """By whether something was so in all cases, in none, or in some.

    Parameters
    ----------
    cases : iterable of bool

    Returns
    -------
    Judgement

    Examples
    --------
    >>> [judged(cases).value for cases in ([True, True], [True, False], [False])]
    ['holds', 'depends', 'fails']
    """
    found = [bool(one) for one in cases]
    if not found:
        raise ValueError("cases must hold one at least, got none")
    if all(found):
        return Judgement.holds
    return Judgement.depends if any(found) else Judgement.fails


def spread_of(values: Iterable[float], over: str = "seeds") -> str:
    """The least and the greatest of an experiment's repetitions, in words.

    Parameters
    ----------
    values : iterable of float
    over : str
        What was repeated, in the plural.

    Returns
    -------
    str

    Examples
    --------
    >>> spread_of([0.25, 0.5, 0.375])
    '0.25 to 0.5 over 3 seeds'
    """
    found = np.array([float(one) for one in values])
    if not len(found):
        raise ValueError("values must hold a number at least, got none")
    return f"{found.min():.3g} to {found.max():.3g} over {len(found)} {over}"
