"""Figures: what is drawn stands where it should, and nothing leaves the figure."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.book.plots import COLOURS, Curve, Mark, Scale, bars, curves, points, surface

SVG = "{http://www.w3.org/2000/svg}"


def places(svg, kind="polyline"):
    """The points of the lines, or of other shapes."""
    found = []
    for element in ET.fromstring(svg).iter(f"{SVG}{kind}"):
        if kind == "circle":
            found.append([(float(element.get("cx")), float(element.get("cy")))])
        else:
            found.append([tuple(map(float, one.split(","))) for one in element.get("points").split()])
    return found


def words(svg):
    return [element.text for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_curves_are_drawn_in_their_colours_under_a_legend():
    svg = curves(
        "Two",
        [Curve("first", [0, 1, 2], [0, 1, 4]), Curve("second", [0, 2], [1, 1], "third", dashed=True)],
        Scale("x"),
        Scale("y"),
    )
    styles = [one.get("class") for one in ET.fromstring(svg).iter(f"{SVG}polyline")]
    assert styles == ["accent stroke", "third dash stroke"]
    assert {"first", "second", "x", "y"} <= set(words(svg))
    line = places(svg)[0]
    assert line[0][0] < line[1][0] < line[2][0]
    assert line[0][1] > line[1][1] > line[2][1]


def test_a_logarithmic_scale_makes_powers_a_straight_line():
    depth = np.arange(1, 21)
    svg = curves("Decay", [Curve("", depth, 0.25**depth)], Scale("L"), Scale("norm", log=True))
    (line,) = places(svg)
    steps = np.diff(line, axis=0)
    assert np.abs(steps - steps[0]).max() < 0.11  # places are written with one decimal
    assert len([one for one in words(svg) if "e-" in one]) <= 8


def test_what_is_not_finite_breaks_the_line():
    svg = curves("Broken", [Curve("", range(6), [1, 2, np.nan, 3, np.inf, 2])], Scale("x"), Scale("y"))
    assert [len(one) for one in places(svg)] == [2]
    assert len(places(svg, "circle")) == 2  # those that stand alone
    svg = curves("Log", [Curve("", range(3), [1, 0, 10])], Scale("x"), Scale("y", log=True))
    assert "inf" not in svg
    assert "nan" not in svg


def test_a_band_goes_there_and_back():
    svg = curves("Band", [Curve("", [0, 1], [1, 2], low=[0.5, 1], high=[2, 3])], Scale("x"), Scale("y"))
    (band,) = places(svg, "polygon")
    assert len(band) == 4


def test_marks_have_their_words_inside():
    svg = curves(
        "Marked",
        [Curve("", [0, 1], [0, 1])],
        Scale("x"),
        Scale("y"),
        marks=[Mark("threshold", x=1.0), Mark("chance", y=0.1)],
    )
    ends = [one for one in ET.fromstring(svg).iter(f"{SVG}text") if one.text in ("threshold", "chance")]
    assert [one.get("text-anchor") for one in ends] == ["end", "end"]


def test_points_have_no_line():
    svg = points("Points", [Curve("class 0", [0, 1], [1, 0], line=False)], Scale("x"), Scale("y"))
    assert len(places(svg, "circle")) == 2
    assert places(svg) == []


def test_bars_begin_at_zero():
    svg = bars("accuracy", ["plain", "residual"], [0.25, 0.5])
    shown = [(float(one.get("x")), float(one.get("width"))) for one in ET.fromstring(svg).iter(f"{SVG}rect")]
    assert shown[0][0] == shown[1][0]
    assert shown[1][1] == pytest.approx(2 * shown[0][1], abs=0.2)
    assert {"0.25", "0.5", "plain", "residual", "accuracy"} <= set(words(svg))


def test_bars_of_nothing_and_of_negative_numbers():
    assert "nan" not in bars("nothing", ["a"], [0.0])
    shown = ET.fromstring(bars("change", ["down", "up"], [-1.0, 1.0])).iter(f"{SVG}rect")
    left, right = ((float(one.get("x")), float(one.get("width"))) for one in shown)
    assert left[0] + left[1] == pytest.approx(right[0], abs=0.2)


def test_a_surface_is_darker_where_it_is_higher():
    grid = np.linspace(-1, 1, 21)
    heights = grid[None, :] + 0 * grid[:, None]  # higher to the right
    svg = surface("Slope", grid, grid, heights, Scale("a"), Scale("b"), over=[Curve("path", [-1, 1], [0, 0])])
    shades = [one.get("d") for one in ET.fromstring(svg).iter(f"{SVG}path")]
    assert len(shades) == 11
    lefts = [min(float(one) for one in re.findall(r"[M ]([\d.]+),", shade)) for shade in shades]
    assert lefts == sorted(lefts)
    assert lefts[0] < lefts[-1]
    assert "path" in words(svg)


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=12),
    st.booleans(),
    st.sampled_from(COLOURS),
)
def test_whatever_is_drawn_stays_inside(values, log, colour):
    svg = curves(
        "Any", [Curve("any", range(len(values)), values, colour, dots=True)], Scale("x"), Scale("y", log=log)
    )
    height = float(ET.fromstring(svg).get("viewBox").split()[3])
    for line in places(svg) + places(svg, "circle"):
        for x, y in line:
            assert 0 <= x <= 340
            assert 0 <= y <= height
