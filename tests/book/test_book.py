"""The whole book, done quickly: no figure is missing, every equation holds, no verdict has changed.

What is expected stands in ``expected/<section>.json``: the names of the figures, how many checks there
are, and of each claim the verdict.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chainrule.book import NAMES

EXPECTED = Path(__file__).parent / "expected"


def run_book(out: Path, *options: str) -> dict:
    """What ``chainrule book --quick`` finds."""
    command = [sys.executable, "-W", "error", "-m", "chainrule", "book", "--quick", "--quiet", "--out", out]
    done = subprocess.run([*map(str, command), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((out / "verdicts.json").read_text())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run_book(tmp_path_factory.mktemp("book"))


def expected_of(name):
    return json.loads((EXPECTED / f"{name}.json").read_text())


# One worker computes the book, once.
@pytest.mark.xdist_group("book")
class TestQuickBook:
    def test_has_every_section(self, found):
        assert set(found["sections"]) == set(NAMES)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_section_is_as_it_was(self, found, name):
        section, expected = found["sections"][name], expected_of(name)
        assert section["figures"] == expected["figures"]
        assert {one["claim"]: one["verdict"] for one in section["verdicts"]} == expected["verdicts"]

    @pytest.mark.parametrize("name", NAMES)
    def test_its_equations_hold(self, found, name):
        checks = found["sections"][name]["checks"]
        assert len(checks) == expected_of(name)["checks"]
        assert [check for check in checks if not check["passed"]] == []


def test_nothing_is_expected_of_a_section_that_is_not_there():
    assert {path.stem for path in EXPECTED.glob("*.json")} == set(NAMES)
