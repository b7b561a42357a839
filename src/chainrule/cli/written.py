"""The formats in which a network is explained."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from chainrule.explain import Derivation, Step

__all__ = ["Format", "write"]


class Format(StrEnum):
    """What ``--format`` takes."""

    text = "text"
    markdown = "markdown"
    latex = "latex"


def write(shown: Step | Derivation, format: Format) -> None:
    """Print it."""
    make = {Format.text: shown.to_text, Format.markdown: shown.to_markdown, Format.latex: shown.to_latex}
    typer.echo(make[format]().rstrip("\n"))
