"""Drawing a figure as SVG: scales with round ticks, lines, points, bars, words.

Colours are names of the page's style (``ink``, ``muted``, ``accent``, ``second``), so that a figure is light
or dark with its page. A figure is 340 units wide, which a phone shows without scaling its words down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Axis", "Canvas", "Plot", "PowerAxis", "number_text", "round_ticks", "shortened"]

WIDTH = 340.0


def number_text(value: float) -> str:
    """A number as a tick or a table shows it: at most four digits, with separators for thousands.

    Examples
    --------
    >>> number_text(1234567.0), number_text(0.25), number_text(-3.0), number_text(0.000012)
    ('1,234,567', '0.25', '-3', '1.2e-05')
    """
    if value == round(value) and abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"


def shortened(words: str, length: int = 16) -> str:
    """The words, cut where they are too long for their place.

    Examples
    --------
    >>> shortened("flipper_length_mm", 10)
    'flipper_l…'
    """
    return words if len(words) <= length else words[: length - 1] + "…"


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two numbers.

    Examples
    --------
    >>> round_ticks(0, 1), round_ticks(-3, 42)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 10.0, 20.0, 30.0, 40.0])
    """
    if not high > low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda one: abs(math.log(one / rough)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


@dataclass(frozen=True)
class Axis:
    """One of the two scales of a plot.

    Attributes
    ----------
    label : str
        What is measured, with its unit.
    low, high : float
    log : bool
        Whether equal distances are equal ratios.
    """

    label: str
    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1."""
        if self.log:
            span = math.log(self.high / self.low) or 1.0
            return math.log(value / self.low) / span
        return (value - self.low) / ((self.high - self.low) or 1.0)

    def ticks(self) -> list[float]:
        """The values that are written beside the axis."""
        if not self.log:
            return round_ticks(self.low, self.high)
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        few = len(exponents) <= 3
        values = [factor * 10.0**power for power in exponents for factor in ((1, 2, 5) if few else (1,))]
        return [value for value in values if self.low * 0.999 <= value <= self.high * 1.001]


@dataclass(frozen=True)
class PowerAxis(Axis):
    """A logarithmic axis with at most eight ticks, however many powers of ten it has."""

    def ticks(self) -> list[float]:
        """Powers of ten, or their fifths and halves too where they are few."""
        found = super().ticks()
        return found[:: max(1, math.ceil(len(found) / 8))]


class Canvas:
    """Shapes one after the other, and the SVG element around them.

    Parameters
    ----------
    title : str
        What the figure shows, for those who hear the page.
    height : float
    """

    def __init__(self, title: str, height: float) -> None:
        self.title = title
        self.height = height
        self.parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """A straight line."""
        self.parts.append(f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def rectangle(
        self, x: float, y: float, width: float, height: float, style: str, opacity: float = 1.0
    ) -> None:
        """A filled rectangle."""
        self.parts.append(
            f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" '
            f'height="{max(height, 0):.1f}" fill-opacity="{opacity:.3g}"/>'
        )

    def circle(self, x: float, y: float, radius: float, style: str, opacity: float = 1.0) -> None:
        """A filled circle."""
        self.parts.append(
            f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" '
            f'fill-opacity="{opacity:.3g}"/>'
        )

    def path(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """A line through points."""
        steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline class="{style}" points="{steps}"/>')

    def words(
        self, x: float, y: float, text: str, style: str = "", *, anchor: str = "start", turned: float = 0
    ) -> None:
        """Words at a place, turned about it."""
        turn = f' transform="rotate({turned:g} {x:.1f} {y:.1f})"' if turned else ""
        kind = f' class="{style}"' if style else ""
        self.parts.append(
            f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{escape(text)}</text>'
        )

    def svg(self) -> str:
        """The element."""
        title = escape(self.title, quote=True)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {self.height:g}" role="img" '
            f'aria-label="{title}">' + "".join(self.parts) + "</svg>"
        )


class Plot(Canvas):
    """A canvas with two axes; its shapes are placed by their values.

    Parameters
    ----------
    title : str
    x, y : Axis
    right : float
        Room at the right end, for words beside lines.
    height : float
    """

    top, bottom = 10.0, 40.0

    def __init__(self, title: str, x: Axis, y: Axis, *, right: float = 22.0, height: float = 240.0) -> None:
        super().__init__(title, height)
        # Room for the longest tick, and for the label beyond it.
        self.left = 30 + 6.7 * max((len(number_text(tick)) for tick in y.ticks()), default=1)
        self.x, self.y, self.right = x, y, right
        self._axes()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a point."""
        return (
            self.left + self.x.share(x) * (WIDTH - self.left - self.right),
            self.height - self.bottom - self.y.share(y) * (self.height - self.top - self.bottom),
        )

    def _axes(self) -> None:
        floor, end = self.height - self.bottom, WIDTH - self.right
        for value in self.y.ticks():
            _, y = self.at(self.x.low, value)
            self.line(self.left, y, end, y, "grid")
            self.words(self.left - 6, y + 4, number_text(value), "muted", anchor="end")
        ticks = self.x.ticks()
        # Of ticks whose words would touch, every second has words.
        needed = 7.5 * sum(len(number_text(value)) + 1 for value in ticks)
        every = 1 if needed < end - self.left else 2
        for number, value in enumerate(ticks):
            x, _ = self.at(value, self.y.low)
            self.line(x, floor, x, floor + 4, "axis")
            if number % every == 0:
                self.words(x, floor + 16, number_text(value), "muted", anchor="middle")
        self.line(self.left, floor, end, floor, "axis")
        middle = (self.left + end) / 2
        self.words(middle, self.height - 6, self.x.label, anchor="middle")
        self.words(11, (self.top + floor) / 2, self.y.label, anchor="middle", turned=-90)
