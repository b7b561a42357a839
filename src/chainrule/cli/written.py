"""The formats in which a network is explained."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from chainrule.cli.show import print_json

if TYPE_CHECKING:
    from chainrule.explain import Derivation, Step

__all__ = ["Format", "write"]


class Format(StrEnum):
    """What ``--format`` takes."""

    text = "text"
    markdown = "markdown"
    latex = "latex"


def write(shown: Step | Derivation, format: Format, as_json: bool = False) -> None:
    """Print it, or one JSON object that holds it."""
    make = {Format.text: shown.to_text, Format.markdown: shown.to_markdown, Format.latex: shown.to_latex}
    text = make[format]().rstrip("\n")
    if as_json:
        print_json({"format": format.value, "content": text})
    else:
        typer.echo(text)
