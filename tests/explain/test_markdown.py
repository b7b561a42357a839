"""Markdown and HTML of pages: tables and tags are well formed, and the numbers are there."""

import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from tests.explain.networks import NETWORKS, data, linear, network
from tests.explain.reading import check_latex, printed, tables

from chainrule import nn
from chainrule.explain import derive, explain_step, worked_example
from chainrule.functions import ACTIVATIONS, LOSSES
from chainrule.plan import LossTerm


def pages():
    x, y = data("half_squared_error", 3, 3, 2)
    for name in NETWORKS:
        yield explain_step(network(name), x, y, "half_squared_error", 0.1)
        yield derive(network(name), nn.HuberLoss(), 3)


def check_markdown(source: str) -> int:
    """Tables have as many cells in each row, every formula is balanced; returns the number of tables."""
    found = tables(source)
    for table in found:
        assert len(table) > 1
        assert {len(row) for row in table} == {len(table[0])}
    rows = [line for line in source.split("\n") if line.startswith("|")]
    for one, two in pairwise(source.split("\n")):
        if one.startswith("|") and two.startswith("|"):  # a parser drops cells beyond the header's
            assert one.replace("\\|", "").count("|") == two.replace("\\|", "").count("|")
    assert sum(len(table) for table in found) == len(rows) - len(found)  # without the rules
    formulas = re.findall(r"\$\$\n(.*?)\n\$\$|(?<!\\)\$(.+?)(?<!\\)\$", source, re.DOTALL)
    assert formulas
    for displayed, inline in formulas:
        check_latex(displayed or inline)
    return len(found)


def test_worked_example_is_tables():
    source = worked_example().to_markdown()
    assert check_markdown(source) == 6
    layers, given, forward, backward, update, again = tables(source)
    assert layers[0] == ["layer", "module", "what it is", "reads"]
    assert layers[1] == ["1", "0", "linear 1 → 1, sigmoid", "the input"]
    assert given[1] == ["", "$x = 1$"]
    assert forward[1] == ["(1)", r"$z_{1} = w_{1}\, x + b_{1} = 0.5 \cdot 1 + 0 = 0.5$"]
    assert [row[0] for row in backward[1:]] == ["(4)", "(6)", "(7)", "(5)", "(5)", "(6)", "(7)"]
    assert len(update) == 5
    assert again[5][1].endswith("= 0.009182$")
    assert "A misprint" in source
    assert worked_example()._repr_markdown_() == source


def test_networks_with_matrices_are_displayed_formulas():
    for page in pages():
        check_markdown(page.to_markdown())
    x, y = data("half_squared_error", 3, 3, 2)
    step = explain_step(network("deep"), x, y, "half_squared_error", 0.1)
    rows = r" \\ ".join(" & ".join(row) for row in printed(step.layers[0].z))
    assert rf"= \begin{{bmatrix}} {rows} \end{{bmatrix}} \tag{{1}}" in step.to_markdown()


@pytest.mark.parametrize("name", [*ACTIVATIONS, *LOSSES])
def test_a_bar_in_a_formula_does_not_end_a_cell(name):
    is_loss = name in LOSSES
    activation, loss = ("tanh", name) if is_loss else (name, "half_squared_error")
    module = nn.Sequential(linear(1, 1, 0), nn.activation_module(activation), linear(1, 1, 1))
    y = 0 if LOSSES[loss].class_row else 1.0
    check_markdown(explain_step(module, 0.8, y, LossTerm(loss, LOSSES[loss].setting, 2.0), 0.3).to_markdown())
    check_markdown(derive(module, loss).to_markdown())


class Tags(HTMLParser):
    """Checks that tags are closed in order."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read_html(source: str) -> Tags:
    parser = Tags()
    parser.feed(source)
    parser.close()
    assert parser.open == []
    return parser


def test_html_is_well_formed_and_says_what_the_text_says():
    for page in (worked_example(), *pages()):
        parser = read_html(page._repr_html_())
        assert {"div", "h3", "h4", "p", "table", "pre"} <= parser.seen
        shown = "".join(parser.text)
        equations = [line.strip() for line in page.to_text().split("\n") if re.match(r" ?\(\d", line)]
        assert equations
        assert all(line in shown for line in equations)


def test_names_in_html_are_text():
    module = nn.Sequential({"<script>": linear(2, 1, 0)})
    source = explain_step(module, np.ones((1, 2)), [[1.0]], "half_squared_error", 0.1)._repr_html_()
    assert "<script>" not in source
    assert "&lt;script&gt;" in source
