"""The whole book, done quickly: no figure is missing, every equation holds, no verdict has changed; and its
page in a browser.

What is expected stands in ``expected/<section>.json``: the names of the figures, how many checks there
are, and of each claim the verdict.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chainrule.book import NAMES

EXPECTED = Path(__file__).parent / "expected"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# What stands out of the page at the right without a box of its own to scroll in.
OUTSIDE = """() => [...document.querySelectorAll("main *")].filter(one => {
  if (one.getBoundingClientRect().right <= document.documentElement.clientWidth + 0.5) return false;
  for (let box = one; box; box = box.parentElement) {
    if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return false;
  }
  return true;
}).map(one => one.outerHTML.slice(0, 120))"""
# Words of a figure that are cut off at its edge.
CUT_OFF = """() => [...document.querySelectorAll("svg text")].filter(one => {
  const words = one.getBoundingClientRect(), figure = one.closest("svg").getBoundingClientRect();
  return words.left < figure.left - 2 || words.right > figure.right + 2 ||
    words.top < figure.top - 2 || words.bottom > figure.bottom + 2;
}).map(one => one.closest("figure").id + ": " + one.textContent)"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The folder that ``chainrule book --quick`` writes; a warning is an error."""
    out = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-W", "error", "-m", "chainrule", "book", "--quick", "--quiet", "--out"]
    done = subprocess.run([*command, str(out)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def sections(book):
    return json.loads((book / "verdicts.json").read_text())["sections"]


def expected_of(name):
    return json.loads((EXPECTED / f"{name}.json").read_text())


# One worker computes the book, once.
@pytest.mark.xdist_group("book")
class TestQuickBook:
    def test_has_every_section(self, sections):
        assert list(sections) == list(NAMES)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_section_is_as_it_was(self, sections, name):
        found, expected = sections[name], expected_of(name)
        assert found["figures"] == expected["figures"]
        assert {one["claim"]: one["verdict"] for one in found["verdicts"]} == expected["verdicts"]

    @pytest.mark.parametrize("name", NAMES)
    def test_its_equations_hold(self, sections, name):
        checks = sections[name]["checks"]
        assert len(checks) == expected_of(name)["checks"]
        assert [check for check in checks if not check["passed"]] == []

    def test_its_figures_are_on_the_page(self, book, sections):
        page = (book / "index.html").read_text()
        figures = [figure for one in sections.values() for figure in one["figures"]]
        assert len(set(figures)) == len(figures)
        assert [one for one in figures if f'id="figure-{one}"' not in page] == []


@pytest.fixture(scope="module")
def browser():
    """A browser without a window; skipped where there is none to be driven."""
    playwright = pytest.importorskip("playwright.sync_api", reason="opening the book needs playwright")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"opening the book needs a browser: {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.xdist_group("book")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(book, browser, tmp_path, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    address = (book / "index.html").as_uri()
    page.goto(address)
    picture = tmp_path / f"book-{width}-{scheme}.png"
    page.screenshot(path=picture, full_page=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
    # Nothing leaves the page, and nothing is wrong with it.
    assert asked == [address]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(CUT_OFF) == []
    page.close()


@pytest.mark.parametrize("name", NAMES)
def test_the_documentation_says_the_same(name):
    page = (EXPECTED.parents[2] / "docs" / "book.md").read_text()
    for claim, verdict in expected_of(name)["verdicts"].items():
        cell = claim.replace("|", r"\|")
        row = next(line for line in page.splitlines() if f"| {cell} |" in line)
        assert row.endswith(f"| **{verdict}** |")


def test_nothing_is_expected_of_a_section_that_is_not_there():
    assert {path.stem for path in EXPECTED.glob("*.json")} == set(NAMES)
