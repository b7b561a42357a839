"""From sections to files."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from chainrule.atomic_files import write_atomically
from chainrule.book.blocks import Check, Section
from chainrule.book.contents import NAMES
from chainrule.book.page import book_html
from chainrule.version import __version__

__all__ = ["as_record", "check_can_write", "write_book"]


def check_can_write() -> None:
    """Find out before the work, not after it, that the page cannot be written.

    Raises
    ------
    ImportError
        Where a package that it needs is not installed, with the way to install it.
    """
    missing = [name for name in ("latex2mathml", "pygments") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"the book is written with {' and '.join(missing)}, which this Python does not have: "
            "pip install 'chainrule[book]'"
        )


def write_book(sections: Sequence[Section], out: Path, *, quick: bool = False) -> tuple[Path, Path]:
    """Write sections as one page, and their verdicts and checks as JSON beside it.

    Parameters
    ----------
    sections : sequence of Section
        In any order; the page has its own.
    out : Path
        A folder, which is made if it is not there.
    quick : bool
        Whether they were computed with less effort, which the page says.

    Returns
    -------
    tuple of two Path
        ``index.html`` and ``verdicts.json``, each written whole or not at all.

    Raises
    ------
    ImportError
        Where a package that it needs is not installed, with the way to install it.
    """
    check_can_write()
    ordered = sorted(sections, key=lambda one: NAMES.index(one.name))
    out.mkdir(parents=True, exist_ok=True)
    page, record = out / "index.html", out / "verdicts.json"
    versions = {
        "chainrule": __version__,
        "Python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "numba", "scipy", "scikit-learn")},
    }
    write_atomically(page, book_html(ordered, quick=quick, versions=versions).encode())
    write_atomically(record, json.dumps(as_record(ordered, quick=quick), indent=2).encode())
    return page, record


def as_record(sections: Sequence[Section], *, quick: bool) -> dict[str, Any]:
    """What was found, as plain values: verdicts, checks and figures of each section.

    Parameters
    ----------
    sections : sequence of Section
    quick : bool

    Returns
    -------
    dict
    """
    return {
        "quick": quick,
        "sections": {
            one.name: {
                "title": one.title,
                "verdicts": [asdict(verdict) for verdict in one.verdicts],
                "checks": [_as_plain(check) for check in one.checks],
                "figures": [figure.name for figure in one.figures],
            }
            for one in sections
        },
    }


def _as_plain(check: Check) -> dict[str, Any]:
    """A check whose error is no number has none: JSON knows only finite numbers."""
    error = check.error if math.isfinite(check.error) else None
    return {"what": check.what, "error": error, "tolerance": check.tolerance, "passed": check.passed}
