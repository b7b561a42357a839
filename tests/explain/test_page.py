"""``docs/explain.md``: its Python prints what it says.

``python -m tests.explain.test_page`` puts what the Python prints now into the page.
"""

from tests.test_docs import DOCS, check_all_print, rewrite

PAGE = DOCS / "explain.md"


def test_the_python_of_the_page_prints_what_it_says():
    check_all_print(PAGE, 6)


if __name__ == "__main__":
    rewrite(PAGE)
