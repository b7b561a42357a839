"""``docs/exports.md``: its Python prints what it says.

``python -m tests.exports.test_page`` puts what the Python prints now into the page.
"""

from tests.test_docs import BLOCK, DOCS, printed, rewrite

PAGE = DOCS / "exports.md"


def test_the_python_of_the_page_prints_what_it_says(monkeypatch):
    monkeypatch.chdir(DOCS.parent)
    space = {"__name__": PAGE.stem}
    blocks = list(BLOCK.finditer(PAGE.read_text(encoding="utf-8")))
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        code, text = block.groups()
        assert text
        assert printed(code, space, f"{PAGE.name}, block {number}") == text


if __name__ == "__main__":
    rewrite(PAGE)
