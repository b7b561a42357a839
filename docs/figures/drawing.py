"""What the figures are drawn with: a board, boxes, words, arrows, a few colours."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

STYLE = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",  # looks the same wherever it is shown
    "svg.hashsalt": "chainrule",
    "axes.linewidth": 0.8,
}

# Okabe and Ito's colours, told apart by everyone, in print too.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PALE_BLUE, PALE_ORANGE, PALE_GREEN = "#B9D8EA", "#F9E1AE", "#B5E0D2"
INK, GREY, PALE = "#222222", "#777777", "#E9E9E9"
THREADS = ((BLUE, PALE_BLUE), (ORANGE, PALE_ORANGE))


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure that is one drawing board of ``width`` by ``height`` units, 100 units an inch."""
    figure = Figure(figsize=(width / 100, height / 100))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def box(axes: Axes, x: float, y: float, width: float, height: float, fill: str = PALE, **style: Any) -> None:
    """A rectangle by its upper left corner."""
    style = {"edgecolor": INK, "linewidth": 0.8} | style
    axes.add_patch(Rectangle((x, y), width, height, facecolor=fill, **style))


def text(axes: Axes, x: float, y: float, words: str, size: float = 9, **style: Any) -> None:
    """Centred words, unless the style says otherwise."""
    style = {"ha": "center", "va": "center", "color": INK} | style
    axes.text(x, y, words, fontsize=size, **style)


def heading(axes: Axes, x: float, y: float, words: str) -> None:
    """What a part of a figure shows."""
    text(axes, x, y, words, 9.5, ha="left", weight="bold")


def remark(axes: Axes, x: float, y: float, words: str, size: float = 9) -> None:
    """Words that begin at x."""
    text(axes, x, y, words, size, ha="left")


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
    """An arrow from one point to another."""
    style = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0} | style
    axes.annotate("", end, start, arrowprops=style)
