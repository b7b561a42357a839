"""``chainrule export``: a saved model in a form that other programs run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.application import check_output, errors_in_one_line
from chainrule.cli.options import AsJson, Quiet
from chainrule.cli.show import print_json

if TYPE_CHECKING:
    from chainrule.io import SavedModel

__all__ = ["ExportFormat", "export"]


class ExportFormat(StrEnum):
    """What ``--to`` takes."""

    onnx = "onnx"
    numpy = "numpy"


@errors_in_one_line
def export(
    model: Annotated[Path, typer.Argument(help="A model that `chainrule train` saved.")],
    to: Annotated[
        ExportFormat, typer.Option(help="An ONNX file, or Python source that needs NumPy and nothing else.")
    ],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a model as ONNX or as NumPy source. (For PyTorch, call chainrule.exports.to_torch in Python.)"""
    from chainrule.io import load_model, write_atomically

    check_output(out, model)
    content = _content(_exported(load_model(model), to))
    write_atomically(out, content)
    if as_json:
        print_json({"model": str(model), "format": to.value, "file": str(out), "bytes": len(content)})
    elif not quiet:
        typer.echo(f"Wrote {len(content):,} bytes to {out}")


def _exported(saved: SavedModel, to: ExportFormat) -> Any:
    """What the exporter makes of the estimator, and of the way from a table to it if there is one."""
    try:
        from chainrule.exports import to_numpy_source, to_onnx

        return to_onnx(saved) if to is ExportFormat.onnx else to_numpy_source(saved)
    except ImportError as error:
        if error.name is None:  # an exporter's own words, which say what to install
            raise ValueError(f"--to {to.value}: {error}") from error
        missing = error.name.split(".")[0]
        what = "this version of chainrule cannot export" if missing == "chainrule" else f"it needs {missing}"
        raise ValueError(f"--to {to.value}: {what} ({error})") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"--to {to.value}: {error}") from error


def _content(exported: Any) -> bytes:
    """The bytes of a file: of ONNX's own object, of text, or those given."""
    if isinstance(exported, str):
        return exported.encode()
    return exported if isinstance(exported, bytes) else exported.SerializeToString()
