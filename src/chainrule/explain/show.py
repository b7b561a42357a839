"""What can be shown: as text, as Markdown, as LaTeX, and in a notebook."""

from __future__ import annotations

from abc import ABC, abstractmethod

from chainrule.explain.html import page_html
from chainrule.explain.latex import page_latex
from chainrule.explain.markdown import page_markdown
from chainrule.explain.text import page_text
from chainrule.explain.writing import Page

__all__ = ["Shown"]


class Shown(ABC):
    """An object that can be written as a page."""

    @abstractmethod
    def page(self) -> Page:
        """What is shown."""

    def to_text(self, digits: int = 4) -> str:
        """Plain text, numbers to so many significant digits."""
        return page_text(self.page(), _checked(digits))

    def to_markdown(self, digits: int = 4) -> str:
        """Markdown with LaTeX formulas, as notebooks and repositories show it."""
        return page_markdown(self.page(), _checked(digits))

    def to_latex(self, digits: int = 4, *, document: bool = True) -> str:
        """LaTeX: a document to compile, or only its body, which needs the package amsmath."""
        return page_latex(self.page(), _checked(digits), document=document)

    def __str__(self) -> str:
        return self.to_text()

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        return page_html(self.page(), 4)


def _checked(digits: int) -> int:
    if isinstance(digits, bool) or not isinstance(digits, int) or not 1 <= digits <= 17:
        raise ValueError(f"digits must be a whole number from 1 to 17; got {digits!r}")
    return digits
