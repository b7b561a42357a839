"""The pages of ``docs``: their Python prints what they say, and their figures are there.

``python tests/test_docs.py`` puts what the Python prints now into the pages.
"""

import contextlib
import doctest
import io
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = [DOCS / "engine.md", DOCS / "tabular.md"]

# A block of Python and, where it prints something, the block of text after it.
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
FIGURE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")


def printed(code: str, space: dict[str, Any], where: str) -> str:
    """What a block prints; ``space`` holds the names that earlier blocks of the page have made."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, where, "exec"), space)
    return "".join(line.rstrip() + "\n" for line in output.getvalue().rstrip().splitlines())


def check_all_print(page: Path, n_blocks: int) -> None:
    """So many blocks of Python are in a page; each prints something, and what the page says."""
    space: dict[str, Any] = {"__name__": page.stem}
    blocks = list(BLOCK.finditer(page.read_text(encoding="utf-8")))
    assert len(blocks) == n_blocks
    for number, block in enumerate(blocks):
        code, text = block.groups()
        assert text
        assert printed(code, space, f"{page.name}, block {number}") == text


def ids(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_the_python_of_a_page_prints_what_it_says(page):
    space: dict[str, Any] = {"__name__": page.stem}
    blocks = list(BLOCK.finditer(page.read_text(encoding="utf-8")))
    assert blocks
    for number, block in enumerate(blocks):
        code, text = block.groups()
        assert printed(code, space, f"{page.name}, block {number}") == (text or "")


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_the_figures_of_a_page_are_there(page):
    names = FIGURE.findall(page.read_text(encoding="utf-8"))
    assert names or page.stem == "tabular"
    assert [name for name in names if not (page.parent / name).is_file()] == []


@pytest.mark.parametrize(("page", "n_examples"), [("tape.md", 16), ("streams.md", 20), ("checkup.md", 20)])
def test_a_page_with_a_session_says_what_happens(page, n_examples):
    """Its examples are written as a session in the interpreter."""
    text = (DOCS / page).read_text(encoding="utf-8")
    session = "\n".join("" if line.startswith("```") else line for line in text.splitlines())
    test = doctest.DocTestParser().get_doctest(session, {}, page, page, 0)
    told: list[str] = []
    found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=told.append)
    assert found.attempted >= n_examples
    assert found.failed == 0, "".join(told)


def test_figures_are_drawn_from_the_engine_as_it_is(tmp_path, monkeypatch):
    """The script still runs: what it draws is the schedule, which may have changed."""
    figures = DOCS / "figures"
    monkeypatch.setattr(sys, "argv", ["engine.py", str(tmp_path)])
    monkeypatch.syspath_prepend(str(figures))
    runpy.run_path(str(figures / "engine.py"), run_name="__main__")
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in figures.glob("*.svg")}


def rewrite(page: Path) -> None:
    """Put what the Python of a page prints into the page."""
    space: dict[str, Any] = {"__name__": page.stem}

    def with_output(block: re.Match[str]) -> str:
        output = printed(block[1], space, page.name)
        return f"```python\n{block[1]}```\n" + (f"\n```text\n{output}```\n" if output else "")

    page.write_text(BLOCK.sub(with_output, page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    for one in PAGES:
        rewrite(one)
