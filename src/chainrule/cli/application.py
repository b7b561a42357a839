"""The program itself: its name, its general options, and what it says to a mistake."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from chainrule.version import __version__

__all__ = ["app", "check_output", "errors_in_one_line", "main"]

app = typer.Typer(
    name="chainrule",
    help="Neural networks for tables: train on a CSV file, predict with the saved model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line."""
    app()


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"chainrule {__version__}")
        raise typer.Exit()


@app.callback()
def _general_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def errors_in_one_line(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what a user got wrong into one line on stderr and exit code 2."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except BrokenPipeError:
            raise  # the reader of our output has had enough, as in `chainrule predict ... | head`
        except (OSError, ValueError) as error:
            message = str(error)
            if isinstance(error, OSError) and error.strerror:
                message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
            typer.echo(f"chainrule: {' '.join(message.split())}", err=True)
            raise typer.Exit(2) from error

    return run


def check_output(out: Path, *inputs: Path, option: str = "--out") -> None:
    """Find out before the work, not after it, that a result cannot be written."""
    if out.is_dir():
        raise ValueError(f"{option}: {out} is a folder")
    if not out.parent.is_dir():
        raise ValueError(f"{option}: there is no folder {out.parent}")
    if out.exists() and any(path.exists() and out.samefile(path) for path in inputs):
        raise ValueError(f"{option}: {out} is the input, which would be overwritten")
