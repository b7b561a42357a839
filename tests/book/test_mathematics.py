"""LaTeX to MathML."""

import xml.etree.ElementTree as ET

import pytest

from chainrule.book.mathematics import inline, math


@pytest.mark.parametrize(
    "latex",
    [
        r"\delta^{(l)} = \left(W^{(l+1)\top} \delta^{(l+1)}\right) \odot \sigma'(z^{(l)})",
        r"\frac{\partial\mathcal{L}}{\partial W^{(l)}} = \delta^{(l)} h^{(l-1)\top}",
        r"\operatorname{Var}(w) = \frac{2}{n_\text{in} + n_\text{out}}",
        r"\prod_{l=2}^{L} W^{(l)\top} \operatorname{diag}(\sigma'(z^{(l-1)})) < 1",
    ],
)
def test_what_comes_out_is_well_formed_and_can_be_heard(latex):
    element = ET.fromstring(math(latex, display=True))
    assert element.tag == "{http://www.w3.org/1998/Math/MathML}math"
    assert element.get("alttext") == latex
    assert element.get("display") == "block"
    # Nothing of LaTeX is left over.
    assert "\\" not in "".join(element.itertext())


def test_a_prime_is_as_large_as_its_letter():
    assert "<msup><mi>&#x003C3;</mi>" not in math(r"\sigma'(z)")
    assert "<mrow><mi>&#x003C3;</mi><mo>&#x02032;</mo></mrow>" in math(r"\sigma'(z)")


def test_words_are_escaped_and_marked():
    assert inline("1 < 2 & `a<b` **very**") == "1 &lt; 2 &amp; <code>a&lt;b</code> <strong>very</strong>"
    assert inline("**all $x$**").startswith("<strong>all <math ")
    assert inline("no mathematics for 5 $") == "no mathematics for 5 $"
