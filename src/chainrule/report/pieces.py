"""What the HTML pages are put together from: parts with a title, tables, figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["figures_of", "section", "table_of"]


def section(title: str, content: str) -> str:
    """A part of a page; nothing where it has no content."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def table_of(header: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: int) -> str:
    """A table in a scroll box of its own; the last `numeric` columns are set flush right.

    Without a word in the header there is none.
    """
    first = len(header) - numeric

    def row(tag: str, cells: Sequence[str]) -> str:
        kinds = ("" if place < first else ' class="number"' for place in range(len(cells)))
        return "".join(
            f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True)
        )

    head = f"<thead><tr>{row('th', header)}</tr></thead>" if any(header) else ""
    body = "".join(f"<tr>{row('td', cells)}</tr>" for cells in rows)
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


def figures_of(shown: Iterable[tuple[str, str | None]]) -> str:
    """Figures with their titles; those that have nothing to show are left out."""
    parts = [f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>" for title, svg in shown if svg]
    return f'<div class="figures">{"".join(parts)}</div>' if parts else ""
