"""What a section of the book is made of. Plain data: drawing and writing HTML is done elsewhere.

Words are written with ``$...$`` around mathematics (LaTeX), `` `...` `` around code and ``**...**`` around
what is stressed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from chainrule.book.verdict import Verdict

__all__ = ["Block", "Check", "Code", "Equation", "Example", "Figure", "Section", "Table", "Words"]


@dataclass(frozen=True)
class Words:
    """A paragraph, or a list where there are several."""

    text: str | tuple[str, ...]


@dataclass(frozen=True)
class Equation:
    """A displayed equation in LaTeX, with the chapter's number if it has one, such as "(5)"."""

    latex: str
    number: str = ""


@dataclass(frozen=True)
class Code:
    """Code of the library as its file has it: a function, a method or a class.

    Attributes
    ----------
    source : callable
        Anything of which ``inspect`` finds the source; a compiled function stands for its Python.
    note : str
        What to look at in it.
    """

    source: Callable[..., Any]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure that was drawn from what was computed.

    Attributes
    ----------
    name : str
        By which it is found: lower case, hyphens.
    title : str
    svg : str
    caption : str
        What to see in it.
    wide : bool
        Whether it takes the width of the page on a screen.
    """

    name: str
    title: str
    svg: str
    caption: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under a header; the last `numeric` columns are set flush right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: int = 0
    caption: str = ""


@dataclass(frozen=True)
class Check:
    """An equation held against another way to compute the same.

    Attributes
    ----------
    what : str
        Which two things are compared, such as "equation (6) against central differences".
    error : float
        The largest difference that was found.
    tolerance : float
        The largest that rounding, or chance, explains.
    """

    what: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the equation holds; an error that is not a number does not."""
        return math.isfinite(self.error) and self.error <= self.tolerance


@dataclass(frozen=True)
class Example:
    """A command to do the same for one's own network, and what it printed for ours."""

    command: str
    output: str
    note: str = ""


Block: TypeAlias = Words | Equation | Code | Figure | Table | Check | Example | Verdict


@dataclass(frozen=True)
class Section:
    """A section of the book.

    Attributes
    ----------
    name : str
        By which it is asked for: lower case, hyphens.
    title : str
    chapter : str
        The chapter's section it reproduces, such as "3".
    blocks : tuple of blocks
        In the order in which they are read.
    data : mapping of str to anything
        What the experiments returned.
    """

    name: str
    title: str
    chapter: str
    blocks: tuple[Block, ...]
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Its verdicts, in the order of the page."""
        return tuple(one for one in self.blocks if isinstance(one, Verdict))

    @property
    def checks(self) -> tuple[Check, ...]:
        """Its equations' checks, in the order of the page."""
        return tuple(one for one in self.blocks if isinstance(one, Check))

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Its figures, in the order of the page."""
        return tuple(one for one in self.blocks if isinstance(one, Figure))
