"""The chapter, reproduced by computation, with verdicts.

``chainrule.book.experiments`` holds the experiments: functions that return what they found as plain data.
``section`` puts those of one section of the book together with words, equations, code and figures;
``write_book`` writes them all as one page.

Examples
--------
>>> from chainrule import book
>>> found = book.section("by-hand", book.Effort(quick=True))
>>> found.title, all(check.passed for check in found.checks)
('The worked example, by hand', True)
"""

from chainrule.book.blocks import Section
from chainrule.book.contents import NAMES, run, section
from chainrule.book.verdict import Effort, Judgement, Verdict
from chainrule.book.writing import write_book

__all__ = ["NAMES", "Effort", "Judgement", "Section", "Verdict", "run", "section", "write_book"]
