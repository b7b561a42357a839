"""Code as the library has it, so that what is shown is what runs."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Listing", "highlighted", "listing_of"]


@dataclass(frozen=True)
class Listing:
    """Lines of a file of the library: where they are, and what they say without the docstring."""

    name: str
    file: str
    line: int
    text: str


def listing_of(source: Callable[..., Any]) -> Listing:
    """Find the code of a function, a method or a class.

    Parameters
    ----------
    source : callable

    Returns
    -------
    Listing

    Examples
    --------
    >>> found = listing_of(listing_of)
    >>> found.file, found.text.splitlines()[0]
    ('chainrule/book/listing.py', 'def listing_of(source: Callable[..., Any]) -> Listing:')
    """
    # A compiled function keeps the one it was made of, and a wrapped one what it wraps.
    source = inspect.unwrap(getattr(source, "py_func", source))
    lines, line = inspect.getsourcelines(source)
    path = Path(inspect.getsourcefile(source) or "")
    root = Path(__file__).parents[2]
    file = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    text = textwrap.dedent("".join(lines)).rstrip()
    return Listing(source.__qualname__, file, line, _without_docstrings(text))


def _without_docstrings(text: str) -> str:
    """The lines that run; the words about them stand in the book."""
    lines = text.splitlines()
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or ast.get_docstring(node) is None:
            continue
        docstring = node.body[0]
        # What is nothing but a docstring keeps it: a body must not be empty.
        if len(node.body) > 1 and docstring.end_lineno is not None:
            end = docstring.end_lineno
            blank = end < len(lines) and not lines[end].strip()
            left_out.update(range(docstring.lineno, end + 1 + blank))
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in left_out)


def highlighted(text: str) -> str:
    r"""Python as HTML, its words marked by kind for the page's style to colour.

    Examples
    --------
    >>> '<span class="k">return</span>' in highlighted("def one():\n    return 1")
    True
    """
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return str(highlight(text, PythonLexer(), HtmlFormatter(nowrap=True))).rstrip()
