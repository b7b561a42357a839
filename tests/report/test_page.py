"""The page: complete in itself, well formed, with every section, whatever the data."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from chainrule.report import evaluate_classes, evaluate_numbers
from chainrule.report.importance import Importance
from chainrule.report.page import Report, report_html, verdict


def classes(rng, n_classes, n_rows=120):
    names = [f"class <{number}>" for number in range(n_classes)]
    probabilities = rng.dirichlet(np.ones(n_classes), n_rows)
    y = np.array([names[rng.choice(n_classes, p=row)] for row in probabilities])
    predicted = np.array(names)[probabilities.argmax(axis=1)]
    return y, evaluate_classes(y, predicted, probabilities, names, n_resamples=50)


def report(y, evaluation, **others):
    given = {
        "target": "kind & size",
        "measured_on": "120 rows",
        "baseline": {"accuracy": 0.1, "RMSE": 5.0},
        "columns": [{"name": "<b>", "kind": "numeric", "missing": 3, "holds": "1 to 2"}],
        "training": [1.0, 0.1, 0.01],
        "validation": [1.1, 0.2, 0.3],
        "importances": [Importance("<b>", 0.5, 0.1), Importance("c", -0.1, 0.0)],
        "network": {"layers": [1, 2, 3]},
        "notes": ["a <note>"],
    }
    return Report(y=y, evaluation=evaluation, **{**given, **others})


class Balance(HTMLParser):
    """Every tag is closed by its own."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(params=[2, 3, 30, "numbers"])
def page(request, rng):
    if request.param == "numbers":
        y = rng.normal(1e5, 1e4, 120)
        return report_html(report(y, evaluate_numbers(y, y + rng.normal(size=120), n_resamples=50)))
    return report_html(report(*classes(rng, request.param)))


def test_the_page_asks_for_nothing_and_is_well_formed(page):
    reader = Balance()
    reader.feed(page)
    assert reader.open == []
    assert not {"script", "link", "img", "iframe"} & set(reader.tags)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "url(" not in page
    assert "@import" not in page
    # Names of the user's are text, never tags.
    assert "<note>" not in page
    assert "a &lt;note&gt;" in page
    assert "kind &amp; size" in page


def test_every_section_is_there_and_every_figure_is_sound(page):
    for title in ("Result", "Data", "Training", "Errors", "What the predictions hang on", "Notes"):
        assert f"<h2>{title}</h2>" in page
    drawings = re.findall(r"<svg.*?</svg>", page)
    assert len(drawings) >= 4
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        width, height = map(float, root.get("viewBox").split()[2:])
        for element in root.iter():
            assert "nan" not in " ".join(element.attrib.values())
            for name, most in (("x", width), ("y", height), ("cx", width), ("cy", height)):
                assert -1 <= float(element.get(name, 0)) <= most + 1
        assert root.get("aria-label")
    # Wide tables have a box of their own to scroll in.
    assert page.count("<table>") == page.count('<div class="scroll"><table>')


def test_what_was_not_recorded_is_left_out(rng):
    y, evaluation = classes(rng, 2)
    page = report_html(report(y, evaluation, training=(), validation=None, importances=(), notes=()))
    assert "<h2>Training</h2>" not in page
    assert "<h2>Notes</h2>" not in page
    assert "<h2>Errors</h2>" in page


def test_losses_that_end_in_no_number_or_do_not_change(rng):
    y, evaluation = classes(rng, 2)
    for training in ([1.0, float("nan"), 0.5], [1.0], [2.0, 2.0], [-1.0, -2.0]):
        page = report_html(report(y, evaluation, training=training, validation=None))
        assert "nan" not in re.findall(r"<svg.*?</svg>", page)[1]


@pytest.mark.parametrize(
    ("baseline", "said"),
    [(0.2, "Better than a guess: accuracy"), (0.5, "Not better than a guess, as far as 100 rows can tell"),
     (0.9, "Worse than a guess")],
)  # fmt: skip
def test_the_verdict_compares_the_interval_with_the_guess(baseline, said):
    y = np.array(["a", "b"] * 50)
    probabilities = np.tile([0.6, 0.4], (100, 1))
    evaluation = evaluate_classes(y, np.full(100, "a"), probabilities, ["a", "b"])
    assert verdict(evaluation, {"accuracy": baseline}).startswith(said)
    assert "95 % interval" in verdict(evaluation, {})


def test_the_verdict_of_numbers_is_better_when_the_error_is_smaller():
    evaluation = evaluate_numbers(np.arange(50.0), np.arange(50.0) + 1)
    assert verdict(evaluation, {"RMSE": 2.0}).startswith("Better than a guess: RMSE 1 (")
    assert verdict(evaluation, {"RMSE": 0.5}).startswith("Worse than a guess")
