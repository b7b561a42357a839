"""The page of a checkup: complete in itself, well formed, every number in it, whatever was measured."""

import math
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.health.checkups import MAKERS, X, altered, case, finding, nothing_is_a_number, proof

from chainrule.health import figures, jacobian_spectrum
from chainrule.health.gates import Sweep
from chainrule.health.page import to_page
from chainrule.health.text import number, verdict_sentence, with_consequences

SVG = "{http://www.w3.org/2000/svg}"


class Balance(HTMLParser):
    """Every tag is closed by its own; the words."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.words, self.attributes = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [name for name, _ in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(page):
    reader = Balance()
    reader.feed(page)
    assert reader.open == []
    return reader


def drawings(page):
    return [ElementTree.fromstring(one) for one in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def sound(root):
    """All shapes have places, inside the figure."""
    width, height = map(float, root.get("viewBox").split()[2:])
    assert root.get("aria-label")
    for element in root.iter():
        attributes = " ".join(element.attrib.values())
        assert "nan" not in attributes
        assert "inf" not in attributes
        for name, most in (("x", width), ("y", height), ("cx", width), ("cy", height), ("x2", width)):
            assert -1 <= float(element.get(name, 0)) <= most + 1
        for x, y in (point.split(",") for point in element.get("points", "").split()):
            assert -1 <= float(x) <= width + 1
            assert -1 <= float(y) <= height + 1
    return root


def titles(page):
    return re.findall(r"<figcaption>(.*?)</figcaption>", page)


@pytest.mark.parametrize("name", MAKERS)
def test_the_page_is_well_formed_asks_for_nothing_and_has_every_number(name):
    checkup = case(name)
    page = to_page(checkup)
    reader = read(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    assert not {"src", "href", "onclick", "onload"} & set(reader.attributes)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    assert "url(" not in page
    assert "@import" not in page
    assert 'name="viewport"' in page
    assert "prefers-color-scheme:dark" in page
    words = "".join(reader.words)
    assert verdict_sentence(checkup) in words
    for one in with_consequences(checkup.findings):
        assert one.symptom[1:] in words
        assert f"{number(one.candidate.measured)} " in words
        assert f" {number(one.candidate.limit)} (limit)" in words
        assert one.formula in words
    for note in checkup.evidence.notes:
        assert note in words
    for root in drawings(page):
        sound(root)
    assert page.count("<table>") == page.count('<div class="scroll"><table>')


def test_a_network_that_was_trained_has_every_figure():
    checkup = case("deep sigmoid")
    page = to_page(checkup, [proof()])
    assert titles(page) == [
        "Before and after", "Loss after each epoch", "Loss after 40 steps with each learning rate",
        "Signal, error signal and gradient", "Units, in percent", "How the error signal flows back",
        "Jacobian spectrum",
    ]  # fmt: skip
    for root in drawings(page):
        sound(root)


def test_the_heat_map_has_a_cell_for_each_layer_measurement_and_moment():
    checkup = case("deep sigmoid")
    evidence = checkup.evidence
    page = to_page(checkup)
    hints = [one.text for root in drawings(page) for one in root.iter(f"{SVG}title")]
    assert len(hints) == len(evidence.start.layers) * 6 * 3
    last = evidence.start.layers[-1]
    assert f"layer {last.name}, δ RMS, start: {number(last.delta_rms)}" in hints
    assert f"layer {last.name}, spread, end: {100 * evidence.end.layers[-1].spread:.4g} %" in hints


def test_colours_say_smaller_or_larger():
    evidence = case("deep sigmoid").evidence
    root = sound(ElementTree.fromstring(figures.heat_map("h", figures.SIGNAL, {"start": evidence.start})))
    shades = {
        cell.find(f"{SVG}title").text.rsplit(":", 1)[0]: cell.findall(f"{SVG}rect")[1]
        for cell in root.iter(f"{SVG}g")
    }
    first = shades[f"layer {evidence.start.layers[0].name}, δ RMS, start"]
    # δ vanishes: three powers of ten below the last layer's, as strong as it gets.
    assert first.get("class") == "second"
    assert float(first.get("fill-opacity")) == figures.STRONGEST
    last = shades[f"layer {evidence.start.layers[-1].name}, δ RMS, start"]
    assert float(last.get("fill-opacity")) == 0


def test_the_sweep_marks_its_own_rate_the_good_ones_and_what_is_off_the_scale():
    swept = Sweep((0.01, 0.1, 1.0, 10.0), (2.0, 0.5, 0.6, math.inf), 2.0, 2.1, 0.03)
    root = sound(ElementTree.fromstring(figures.sweep_curve(swept)))
    words = [one.text for one in root.iter(f"{SVG}text")]
    assert "own: 0.03" in words
    assert "best constant" in words
    assert words.count("×") == 1
    band = root.find(f"{SVG}rect")
    assert float(band.get("width")) > 0
    assert figures.sweep_curve(replace(swept, losses=(math.inf,) * 4)) is None
    nothing = figures.sweep_curve(Sweep((0.01, 0.1), (2.0, 2.0), 2.0, 2.0, 0.0))
    assert "own" not in nothing
    sound(ElementTree.fromstring(nothing))


@pytest.mark.parametrize(
    ("losses", "before", "baseline"),
    [
        ([1.0, 0.1, 0.01], 2.0, 1.5),
        ([1.0], 2.0, 1e9),
        ([math.nan, 1.0], 1.0, math.nan),
        ([1e300, 1e-300], 1.0, 1.0),
        ([-1.0, -1e6], -0.5, -2.0),
        ([2.0, 2.0], 2.0, 2.0),
        ([0.0, 0.0], 0.0, 0.0),
        ([1e19] * 60, 1.0, 2.0),
    ],
)
def test_loss_curves_of_any_numbers(losses, before, baseline):
    sound(ElementTree.fromstring(figures.loss_curve(losses, before, baseline)))
    assert figures.loss_curve([], before, baseline) is None


def test_an_error_signal_of_zero_is_on_the_floor():
    evidence = case("healthy").evidence
    layers = (replace(evidence.start.layers[0], delta_rms=0.0), *evidence.start.layers[1:])
    root = sound(
        ElementTree.fromstring(figures.gradient_flow({"end": replace(evidence.start, layers=layers)}))
    )
    assert "0" in [one.text for one in root.iter(f"{SVG}text") if "halo" in one.get("class", "")]
    assert figures.gradient_flow({"start": case("one layer").evidence.start, "end": None}) is None


def test_a_deep_network_is_drawn_by_some_of_its_layers():
    start = case("healthy").evidence.start
    names = [f"blocks.{place}.linear" for place in range(150)]
    deep = replace(start, layers=tuple(replace(start.layers[0], name=name) for name in names))
    page = to_page(altered(start=deep, early=None, end=deep))
    for root in drawings(page):
        sound(root)
    assert page.count("<title>layer") == figures.MOST_LAYERS * 6 * 2


def test_bars_of_proofs():
    svg = figures.proof_bars([proof(), proof(before=(), after=())], 0.33, "accuracy")
    words = [one.text for one in sound(ElementTree.fromstring(svg)).iter(f"{SVG}text")]
    assert "0.12" in words
    assert "0.97" in words
    assert words.count("before") == 1
    assert figures.proof_bars([], 0.3, "R²") is None
    numbers = replace(proof((-1.0,), (0.4,)), training=case("numbers").evidence.training)
    words = figures.proof_bars([numbers], 0.0, "R²")
    assert "-1 or less" in words
    sound(ElementTree.fromstring(words))


def test_spectra_of_layers_and_of_nothing():
    spectrum = jacobian_spectrum(case("healthy").evidence.training.module, X)
    root = sound(ElementTree.fromstring(figures.spectra(spectrum)))
    n_values = sum(one.singular_values.shape[1] for one in (*spectrum.layers, spectrum.end_to_end))
    assert len(root.findall(f"{SVG}circle")) == n_values
    lost = replace(spectrum.end_to_end, singular_values=np.full((2, 3), np.nan))
    sound(ElementTree.fromstring(figures.spectra(replace(spectrum, layers=(), end_to_end=lost))))


def test_names_are_text_and_never_tags():
    bad = '<b onload="x">&amp;</b>'
    one = finding(where=bad, detail=bad)
    one.proofs = [proof(title=bad)]
    start = case("healthy").evidence.start
    named = replace(start, layers=tuple(replace(layer, name=bad) for layer in start.layers))
    page = to_page(altered([one], start=named, notes=[bad]), [proof(title=bad)])
    assert bad not in page
    assert escape(bad) in page
    assert "b" not in read(page).tags
    for root in drawings(page):
        sound(root)


def test_numbers_that_are_not_finite():
    page = to_page(nothing_is_a_number(), [proof(before=(-1.0,), after=(-1.0,))])
    for root in drawings(page):
        sound(root)
    words = " ".join(read(page).words)
    assert not re.search(r"\bnan\b|\binf\b", words)
    assert "no number = infinite (limit)" in words


def test_what_was_not_measured_has_no_section():
    page = to_page(case("not finite"))
    assert "Loss after" not in page
    assert "<h2>What could not be measured</h2>" in page
    assert "<h2>What could not be measured</h2>" not in to_page(altered(notes=[]))
    assert "<p>None.</p>" in to_page(altered())
    assert "To try, not run: standardise the inputs" in page
