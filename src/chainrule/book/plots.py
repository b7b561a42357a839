"""The kinds of figures the book draws: curves, points, bars, and a surface seen from above.

Like those of `chainrule.report` they are 340 units wide and take their colours from the page. A line has one
of the five colours of ``COLOURS`` and is named above the plot, where a phone has room for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule.report.svg import WIDTH, Axis, Canvas, Plot, PowerAxis, number_text, round_ticks, shortened

__all__ = ["COLOURS", "Curve", "Mark", "Scale", "bars", "curves", "points", "surface"]

COLOURS = ("accent", "second", "third", "fourth", "fifth")

_LETTER = 6.9  # an average letter's width, in units
_LINE = 16.0


@dataclass(frozen=True)
class Curve:
    """A line through points, or the points alone.

    Attributes
    ----------
    name : str
        What the legend says; "" leaves it out of the legend.
    x, y : sequence of float
        Values that are not finite, or not positive on a logarithmic scale, break the line.
    colour : str
        One of ``COLOURS``, "ink" or "muted".
    dashed : bool
        For what theory says beside what was measured.
    dots : bool
        Whether each point has a dot.
    line : bool
        Whether there is a line.
    low, high : sequence of float
        A band from the least to the greatest of the repetitions; empty for none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = "accent"
    dashed: bool = False
    dots: bool = False
    line: bool = True
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class Mark:
    """A straight line across the plot, upright at x or level at y, with words beside it."""

    words: str
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True)
class Scale:
    """One of the two scales: what is measured, where it begins and ends, how it goes.

    Attributes
    ----------
    label : str
    low, high : float or None
        From what is drawn if None.
    log : bool
    """

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False

    def axis(self, values: Sequence[float], *, margin: bool = False) -> Axis:
        """The axis around values."""
        found = [float(one) for one in values if math.isfinite(one) and (one > 0 or not self.log)]
        low = self.low if self.low is not None else min(found, default=1.0 if self.log else 0.0)
        high = self.high if self.high is not None else max(found, default=1.0)
        if self.log:
            high = max(high, low * 2)
            room = 1.15 if margin else 1.0
            return PowerAxis(
                self.label,
                low / room if self.low is None else low,
                high * room if self.high is None else high,
                log=True,
            )
        if high <= low:
            low, high = low - 0.5, high + 0.5
        room = 0.04 * (high - low) if margin else 0.0
        return Axis(
            self.label,
            low - room if self.low is None else low,
            high + room if self.high is None else high,
        )


class _Named(Plot):
    """A plot under a legend, which takes as many lines as it needs."""

    def __init__(self, title: str, x: Axis, y: Axis, names: Sequence[tuple[str, str]], height: float) -> None:
        places: list[tuple[float, float, str, str]] = []
        left, row = 4.0, 0
        for name, style in names:
            width = 24 + _LETTER * len(name)
            if places and left + width > WIDTH:
                left, row = 4.0, row + 1
            places.append((left, 12 + _LINE * row, name, style))
            left += width + 8
        self.top = 10 + (_LINE * (row + 1) if names else 0)
        # The last tick's words stand half beyond the end of the axis.
        right = 8 + _LETTER / 2 * max((len(number_text(tick)) for tick in x.ticks()[-1:]), default=1)
        super().__init__(title, x, y, right=right, height=height + self.top - 10)
        for left, floor, name, style in places:
            self.line(left, floor - 4, left + 16, floor - 4, f"{style} stroke")
            self.words(left + 20, floor, name)


def curves(
    title: str,
    shown: Sequence[Curve],
    x: Scale,
    y: Scale,
    *,
    marks: Sequence[Mark] = (),
    height: float = 240.0,
) -> str:
    """Curves over one another.

    Parameters
    ----------
    title : str
        What is shown, for those who hear the page.
    shown : sequence of Curve
    x, y : Scale
    marks : sequence of Mark
    height : float

    Returns
    -------
    str
        An SVG element.

    Examples
    --------
    >>> curves("A line", [Curve("y = x", [0, 1], [0, 1])], Scale("x"), Scale("y")).count("<polyline")
    1
    """
    across = [value for one in shown for value in one.x] + [one.x for one in marks if one.x is not None]
    up = [value for one in shown for value in (*one.y, *one.low, *one.high)]
    up += [one.y for one in marks if one.y is not None]
    names = [(one.name, _style(one)) for one in shown if one.name]
    plot = _Named(title, x.axis(across), y.axis(up, margin=True), names, height)
    for mark in marks:
        _draw_mark(plot, mark)
    for one in shown:
        _draw_curve(plot, one, 2.4)
    return plot.svg()


def points(title: str, groups: Sequence[Curve], x: Scale, y: Scale, *, marks: Sequence[Mark] = ()) -> str:
    """Points in the plane, a colour for each group; a group with a line is drawn as one."""
    return curves(title, groups, x, y, marks=marks, height=280.0)


def bars(label: str, names: Sequence[str], values: Sequence[float], *, whiskers: Sequence[float] = ()) -> str:
    """One bar a name, from 0 to its value, with the value beside it.

    Parameters
    ----------
    label : str
        What is measured, under the bars.
    names : sequence of str
    values : sequence of float
    whiskers : sequence of float
        Half the length of a line about each bar's end; empty for none.

    Returns
    -------
    str
    """
    left = 14 + _LETTER * max(len(shortened(name, 26)) for name in names)
    low, high = min(0.0, *values), max(0.0, *values) or 1.0
    canvas = Canvas(label, 22.0 * len(names) + 42)
    floor = 22.0 * len(names) + 6

    def place(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - left - 52)

    for tick in round_ticks(low, high, 3):
        canvas.line(place(tick), 4, place(tick), floor, "grid")
        canvas.words(place(tick), floor + 14, number_text(tick), "muted", anchor="middle")
    for number, (name, value) in enumerate(zip(names, values, strict=True)):
        top = 6 + 22.0 * number
        begin, end = sorted((place(0), place(value)))
        canvas.words(left - 6, top + 14, shortened(name, 26), anchor="end")
        canvas.rectangle(begin, top + 3, end - begin, 14, "accent", 0.8)
        half = whiskers[number] if whiskers else 0.0
        if half:
            canvas.line(place(value - half), top + 10, place(value + half), top + 10, "axis")
        canvas.words(place(value + half) + 5, top + 14, number_text(float(f"{value:.3g}")), "muted")
    canvas.words(WIDTH / 2, floor + 31, label, anchor="middle")
    return canvas.svg()


def surface(
    title: str,
    x_values: Sequence[float],
    y_values: Sequence[float],
    heights: np.ndarray,
    x: Scale,
    y: Scale,
    *,
    over: Sequence[Curve] = (),
    levels: int = 12,
) -> str:
    """A surface seen from above: the higher, the darker; paths and points over it.

    Parameters
    ----------
    title : str
    x_values : sequence of float of length m
    y_values : sequence of float of length n
    heights : ndarray of shape (n, m)
    x, y : Scale
    over : sequence of Curve
        What is drawn over it; each may have a name.
    levels : int
        How many shades.

    Returns
    -------
    str
    """
    from contourpy import contour_generator

    names = [(one.name, _style(one)) for one in over if one.name]
    plot = _Named(title, x.axis(x_values), y.axis(y_values), names, 320.0)
    finite = heights[np.isfinite(heights)]
    steps = np.quantile(finite, np.linspace(0, 1, levels + 1))
    lines = contour_generator(np.asarray(x_values), np.asarray(y_values), heights)
    for level in steps[1:-1]:
        if level < steps[-1]:
            _fill(plot, lines.filled(float(level), float(steps[-1]) + 1e-12))
    for one in over:
        _draw_curve(plot, one, 3.2)
    return plot.svg()


def _fill(plot: Plot, filled: tuple[Any, ...]) -> None:
    """One more shade over everything higher than a level, holes left out."""
    for places, offsets in zip(*filled, strict=True):
        rings = [places[begin:end] for begin, end in pairwise(offsets)]
        drawn = " ".join(
            "M" + " ".join(f"{a:.1f},{b:.1f}" for a, b in (plot.at(*place) for place in ring)) + "Z"
            for ring in rings
        )
        plot.parts.append(f'<path class="height" d="{drawn}"/>')


def _style(curve: Curve) -> str:
    return f"{curve.colour} dash" if curve.dashed else curve.colour


def _draw_curve(plot: Plot, curve: Curve, radius: float) -> None:
    _draw_band(plot, curve)
    for piece in _unbroken(plot, curve.x, curve.y):
        if curve.line and len(piece) > 1:
            plot.path(piece, f"{_style(curve)} stroke")
        if curve.dots or not curve.line or len(piece) == 1:
            for place in piece:
                plot.circle(*place, radius, curve.colour)


def _draw_mark(plot: Plot, mark: Mark) -> None:
    if mark.x is not None:
        (x, top), (_, floor) = plot.at(mark.x, plot.y.high), plot.at(mark.x, plot.y.low)
        plot.line(x, top, x, floor, "dashed")
        near_end = x > WIDTH - _LETTER * len(mark.words) - 14
        plot.words(
            x + (-4 if near_end else 4), top + 11, mark.words, "muted", anchor="end" if near_end else "start"
        )
    if mark.y is not None:
        (left, y), (right, _) = plot.at(plot.x.low, mark.y), plot.at(plot.x.high, mark.y)
        plot.line(left, y, right, y, "dashed")
        plot.words(right, y - 4, mark.words, "muted", anchor="end")


def _draw_band(plot: Plot, curve: Curve) -> None:
    """From the least to the greatest of the repetitions."""
    if not len(curve.low):
        return
    ends = [
        (across, max(low, plot.y.low), min(high, plot.y.high))
        for across, low, high in zip(curve.x, curve.low, curve.high, strict=True)
        if math.isfinite(low) and math.isfinite(high)
    ]
    there = [plot.at(across, high) for across, _, high in ends]
    back = [plot.at(across, low) for across, low, _ in reversed(ends)]
    places = " ".join(f"{a:.1f},{b:.1f}" for a, b in (*there, *back))
    plot.parts.append(f'<polygon class="{curve.colour}" fill-opacity="0.15" points="{places}"/>')


def _unbroken(plot: Plot, x: Sequence[float], y: Sequence[float]) -> list[list[tuple[float, float]]]:
    """The places of the points on the plot, in pieces without a gap."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for across, up in zip(x, y, strict=True):
        if math.isfinite(up) and plot.y.low <= up <= plot.y.high and plot.x.low <= across <= plot.x.high:
            pieces[-1].append(plot.at(across, up))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]
