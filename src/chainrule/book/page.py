"""The book as one HTML file: no script, no font, no request; light and dark, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby

from chainrule.book.blocks import Block, Check, Code, Equation, Example, Figure, Section, Table, Words
from chainrule.book.listing import highlighted, listing_of
from chainrule.book.mathematics import inline, math
from chainrule.book.style import BOOK_STYLE
from chainrule.book.verdict import Verdict
from chainrule.report.pieces import table_of

__all__ = ["book_html"]


def book_html(sections: Sequence[Section], *, quick: bool, versions: Mapping[str, str]) -> str:
    """The whole book.

    Parameters
    ----------
    sections : sequence of Section
        In the order of the page.
    quick : bool
        Whether fewer seeds and smaller sizes were used, which the page says.
    versions : mapping of str to str
        What the numbers may depend on.

    Returns
    -------
    str
        A document that is complete in itself.
    """
    body = "".join(
        [
            "<h1>Neural networks and backpropagation, computed</h1>",
            _opening(quick),
            _contents(sections),
            _verdict_table(sections),
            *map(_section, sections),
            _colophon(versions),
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        "<title>Neural networks and backpropagation, computed</title>"
        f"<style>{BOOK_STYLE}</style></head><body><main>{body}</main></body></html>"
    )


def _opening(quick: bool) -> str:
    said = (
        "<p>A textbook chapter's equations, figures and claims, each computed by the library when this page "
        "was written: an equation is held against another way to compute the same, a claim is put to an "
        "experiment and judged. The code shown is the code that ran.</p>"
    )
    if quick:
        said += (
            "<p>This is the quick edition: fewer seeds and smaller sizes than "
            "<code>chainrule book</code> takes.</p>"
        )
    return said


def _contents(sections: Sequence[Section]) -> str:
    entries = "".join(f'<li><a href="#{one.name}">{inline(one.title)}</a></li>' for one in sections)
    return f"<nav><ol>{entries}</ol></nav>"


def _verdict_table(sections: Sequence[Section]) -> str:
    """All claims at a glance; each leads to its experiment."""
    rows = "".join(
        f'<tr><td><a href="#{one.name}">{escape(verdict.section)}</a></td><td>{inline(verdict.claim)}</td>'
        f'<td class="more">{inline(verdict.measured)}</td>'
        f'<td><span class="word {verdict.verdict}">{verdict.verdict}</span></td></tr>'
        for one in sections
        for verdict in one.verdicts
    )
    if not rows:
        return ""
    head = '<tr><th>section</th><th>claim</th><th class="more">measured</th><th>verdict</th></tr>'
    table = f'<div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
    return f'<section id="verdicts"><h2>The claims, judged</h2>{table}</section>'


def _section(section: Section) -> str:
    parts: list[str] = []
    # Figures that follow one another stand beside one another where there is room.
    for is_figure, blocks in groupby(section.blocks, lambda one: isinstance(one, Figure)):
        drawn = "".join(map(_block, blocks))
        parts.append(f'<div class="figures">{drawn}</div>' if is_figure else drawn)
    chapter = f'<span class="chapter">section {escape(section.chapter)}</span>'
    return f'<section id="{section.name}"><h2>{chapter}{inline(section.title)}</h2>{"".join(parts)}</section>'


def _block(block: Block) -> str:
    match block:
        case Words(str() as text):
            return f"<p>{inline(text)}</p>"
        case Words(items):
            return "<ul>" + "".join(f"<li>{inline(item)}</li>" for item in items) + "</ul>"
        case Equation(latex, number):
            tag = f'<span class="tag">{escape(number)}</span>' if number else ""
            return f'<div class="equation">{math(latex, display=True)}{tag}</div>'
        case Code():
            return _code(block)
        case Figure():
            return _figure(block)
        case Table():
            drawn = table_of(block.header, block.rows, numeric=block.numeric)
            return drawn + (f'<p class="caption">{inline(block.caption)}</p>' if block.caption else "")
        case Check():
            return _check(block)
        case Example():
            return _example(block)
        case Verdict():
            return _verdict(block)


def _code(block: Code) -> str:
    found = listing_of(block.source)
    note = f'<p class="caption">{inline(block.note)}</p>' if block.note else ""
    where = f"<code>{escape(found.name)}</code> in {escape(found.file)}, line {found.line}"
    return f"<details><summary>{where}</summary><pre>{highlighted(found.text)}</pre></details>{note}"


def _figure(block: Figure) -> str:
    kind = ' class="wide"' if block.wide else ""
    caption = f'<p class="caption">{inline(block.caption)}</p>' if block.caption else ""
    return (
        f'<figure{kind} id="figure-{block.name}"><figcaption>{inline(block.title)}</figcaption>'
        f"{block.svg}{caption}</figure>"
    )


def _check(block: Check) -> str:
    kind, word = ("holds", "holds") if block.passed else ("fails", "does not hold")
    return (
        f'<p class="check {kind}">{inline(block.what)}: <span class="word">{word}</span> '
        f"(largest difference {block.error:.2g}, "
        f"tolerance {block.tolerance:.2g})</p>"
    )


def _example(block: Example) -> str:
    note = f'<p class="caption">{inline(block.note)}</p>' if block.note else ""
    return (
        f"<details><summary>For your own network: <code>{escape(block.command)}</code></summary>"
        f"<pre>{escape(block.output, quote=False)}</pre></details>{note}"
    )


def _verdict(block: Verdict) -> str:
    rows = {"expected": block.expected, "measured": block.measured, "spread": block.spread}
    listed = "".join(f"<dt>{name}</dt><dd>{inline(text)}</dd>" for name, text in rows.items())
    return (
        f'<div class="claim {block.verdict}"><p>Claim: {inline(block.claim)}</p><dl>{listed}</dl>'
        f'<p>Verdict: <span class="word">{block.verdict}</span></p></div>'
    )


def _colophon(versions: Mapping[str, str]) -> str:
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f'<p class="caption">Computed with {escape(said)}.</p>'
