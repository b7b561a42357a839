"""``chainrule book``: the chapter, reproduced by computation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli.application import errors_in_one_line
from chainrule.cli.options import AsJson, Quiet
from chainrule.cli.show import print_json, show_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from chainrule.book import Section

__all__ = ["book"]

# How a terminal shows what the page writes in LaTeX.
_LETTERS = {
    r"\|": "‖",
    r"^\top": "ᵀ",
    r"\sqrt": "√",
    r"\gamma": "γ",
    r"\delta": "δ",
    r"\varepsilon": "ε",
    r"\sigma": "σ",
    r"\Phi": "Φ",
    r"\nabla": "∇",
    r"\mathcal{L}": "ℒ",
}


@errors_in_one_line
def book(
    out: Annotated[Path, typer.Option(help="The folder to write index.html and verdicts.json into.")] = Path(
        "book"
    ),
    only: Annotated[
        list[str] | None, typer.Option(help="A section to compute; may be given more than once.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Fewer seeds and smaller sizes: minutes instead of a quarter hour."),
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(help="How many sections at once; by default one a processor.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compute the book and write it as one page; exit with code 1 if an equation does not hold."""
    from chainrule.book import NAMES, Effort, run, write_book
    from chainrule.book.contents import check_names
    from chainrule.book.writing import as_record, check_can_write
    from chainrule.train.progress import StepProgress

    if out.exists() and not out.is_dir():
        raise ValueError(f"--out: {out} is a file, not a folder")
    names = check_names(only or NAMES)
    try:
        check_can_write()
    except ImportError as error:
        raise ValueError(str(error)) from error
    sections: list[Section] = []
    with StepProgress("section", len(names), not quiet) as bar:
        for section in run(names, Effort(quick), jobs):
            sections.append(section)
            bar.advance()
    page, record = write_book(sections, out, quick=quick)
    sections.sort(key=lambda one: NAMES.index(one.name))
    failed = [check.what for one in sections for check in one.checks if not check.passed]
    if as_json:
        print_json(as_record(sections, quick=quick))
    elif not quiet:
        show_table(_verdicts(sections))
        checks = sum(len(one.checks) for one in sections)
        typer.echo(f"Equations: {checks - len(failed)} of {checks} checks hold")
        typer.echo(f"Book {page}\nVerdicts {record}")
    for what in failed:
        typer.echo(f"chainrule: does not hold: {what}", err=True)
    if failed:
        raise typer.Exit(1)


def _verdicts(sections: Sequence[Section]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("section", "claim", "measured", "spread", "verdict", title="The claims, judged")
    colours = {"holds": "green", "fails": "red", "depends": "yellow"}
    for section in sections:
        for one in section.verdicts:
            words = (section.name, one.claim, one.measured, one.spread)
            table.add_row(*(_plain(word) for word in words), Text(one.verdict, colours[one.verdict]))
    return table


def _plain(words: str) -> str:
    """Words for a terminal: mathematics in letters, without the signs of code and stress."""
    from rich.markup import escape

    for latex, letter in _LETTERS.items():
        words = words.replace(latex, letter)
    return escape(re.sub(r"\\mathrm\{(\w+)\}|[$`{}]|\*\*|\\[ ,]?", r"\1", words))
