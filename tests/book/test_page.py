"""The page: complete in itself, everything on it, nothing unescaped."""

import re
from html.parser import HTMLParser

import pytest
from tests.book.sections import one_of_each

from chainrule.book.blocks import Section
from chainrule.book.page import book_html

VERSIONS = {"chainrule": "1", "Python": "3"}
# Elements that have no end.
VOID = {"meta", "circle", "line", "rect", "polyline", "polygon", "path", "mspace", "br"}


class Nesting(HTMLParser):
    """Checks that every element that is begun is ended, in order."""

    def __init__(self):
        super().__init__()
        self.open, self.names, self.links = [], set(), set()

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names.add(found.get("id"))
        if tag == "a":
            self.links.add(found["href"])
        assert not {"src", "onclick", "onload"} & set(found)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


@pytest.fixture
def page():
    return book_html([one_of_each()], quick=True, versions=VERSIONS)


def test_is_well_nested_and_its_links_lead_somewhere(page):
    parser = Nesting()
    parser.feed(page)
    assert parser.open == []
    assert parser.links == {"#by-hand"}
    assert {link[1:] for link in parser.links} <= parser.names
    assert {"verdicts", "figure-one", "figure-two"} <= parser.names


def test_asks_for_nothing(page):
    assert "<script" not in page
    assert "<link" not in page
    assert "@import" not in page
    assert "url(" not in page
    addresses = set(re.findall(r"https?://[^\s\"<]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math/MathML"}


def test_shows_each_block(page):
    for shown in (
        "<li>first</li><li>second</li>",
        '<span class="tag">(1)</span>',
        "chainrule/book/listing.py, line",
        "What is shown is what runs.",
        '<figure class="wide" id="figure-two">',
        "&lt;b&gt;",
        "equation (1) against a loop: <span",
        "does not hold",
        "z1 = W1 x &lt; b1",
        "Claim: a is b",
        'class="word fails">fails',
        "This is the quick edition",
        "Computed with chainrule 1, Python 3.",
    ):
        assert shown in page, shown


def test_figures_stand_beside_one_another(page):
    group = page[page.index('<div class="figures">') :]
    assert group.index("figure-two") < group.index("</div>")


def test_the_full_edition_does_not_call_itself_quick():
    page = book_html([Section("by-hand", "Empty", "3", ())], quick=False, versions={})
    assert "quick edition" not in page
    assert "The claims, judged" not in page
