"""A page as HTML that needs no scripts: the text of the equations between headings and tables."""

from __future__ import annotations

from html import escape

from chainrule.explain.text import equations_text, prose_text
from chainrule.explain.writing import Heading, Page, Paragraph, Table

__all__ = ["page_html"]


def _table(table: Table, digits: int) -> str:
    align = ' style="text-align: right"' if table.numeric else ' style="text-align: left"'
    head = "".join(f"<th{align}>{escape(name)}</th>" for name in table.header)
    rows = [
        "".join(f"<td{align}>{escape(prose_text(cell, digits))}</td>" for cell in row) for row in table.rows
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def page_html(page: Page, digits: int) -> str:
    """The page as one ``div``."""
    parts = [f"<h3>{escape(page.title)}</h3>"]
    for block in page.blocks:
        if isinstance(block, Heading):
            parts.append(f"<h4>{escape(prose_text(block.words, digits))}</h4>")
        elif isinstance(block, Paragraph):
            parts.append(f"<p>{escape(prose_text(block.words, digits))}</p>")
        elif isinstance(block, Table):
            parts.append(_table(block, digits))
        else:
            parts.append(f"<pre>{escape(equations_text(block, digits))}</pre>")
    return "<div>" + "\n".join(parts) + "</div>"
