"""The figures of ``docs/engine.md`` that show what happens inside a kernel; ``engine.py`` writes them."""

from drawing import (
    GREEN,
    GREY,
    ORANGE,
    PALE,
    PALE_BLUE,
    PALE_GREEN,
    PALE_ORANGE,
    arrow,
    box,
    canvas,
    heading,
    remark,
    text,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# -- the register tile -----------------------------------------------------------------------------

CELL_WIDTH, CELL_HEIGHT, SPACE = 76, 24, 4


def draw_tile() -> Figure:
    """Six rows by four vectors of sums, and where the numbers of one term come from."""
    figure, axes = canvas(800, 440)
    x, y = 250, 130
    text(
        axes, x, 28, "one row of the right factor: four vectors of 16 numbers", 9.5, ha="left", weight="bold"
    )
    for q in range(4):
        left = x + q * (CELL_WIDTH + SPACE)
        box(axes, left, 42, CELL_WIDTH, CELL_HEIGHT, PALE_ORANGE)
        text(axes, left + CELL_WIDTH / 2, 42 + CELL_HEIGHT / 2, f"$b_{q}$", 10)
        arrow(axes, (left + CELL_WIDTH / 2, 70), (left + CELL_WIDTH / 2, y - 5), color=ORANGE)
    text(
        axes,
        x + 2 * (CELL_WIDTH + SPACE) - 2,
        95,
        "loaded once a term, used by six rows",
        8.5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )
    for i in range(6):
        top = y + i * (CELL_HEIGHT + SPACE)
        middle = top + CELL_HEIGHT / 2
        box(axes, x - 96, top, 40, CELL_HEIGHT, PALE_GREEN)
        text(axes, x - 76, middle, f"$a_{i}$", 10)
        arrow(axes, (x - 52, middle), (x - 5, middle), color=GREEN)
        for q in range(4):
            left = x + q * (CELL_WIDTH + SPACE)
            box(axes, left, top, CELL_WIDTH, CELL_HEIGHT, PALE_BLUE)
            text(axes, left + CELL_WIDTH / 2, middle, f"$c_{{{i}{q}}}$", 9)
    middle = y + 3 * (CELL_HEIGHT + SPACE)
    text(
        axes,
        20,
        middle,
        "six numbers of the\nleft factor, each\ncopied into all\nlanes of a vector",
        9,
        ha="left",
    )
    words = (
        "24 vectors of sums\nstay in registers from\nthe first term to the\nlast. A term is\n\n"
        "$c_{iq} \\leftarrow a_i b_q + c_{iq}$\n\n24 times"
    )
    remark(axes, x + 4 * (CELL_WIDTH + SPACE) + 10, middle - 2, words)
    _left_factor(axes, 20, 340, "family N: the same place in six rows", down=True)
    _left_factor(axes, 425, 340, "family T: six neighbours in one row", down=False)
    return figure


def _left_factor(axes: Axes, x: float, y: float, title: str, down: bool) -> None:
    """Where the six left numbers of a term lie: rows of examples, and the table of their addresses."""
    heading(axes, x, y, title)
    top, size, columns = y + 12, 12, 12
    for i in range(6):
        box(axes, x, top + i * size, 40, size, PALE, linewidth=0.4, edgecolor=GREY)
        arrow(
            axes,
            (x + 42, top + (i + 0.5) * size),
            (x + 64, top + (i + 0.5) * size),
            color=GREY,
            linewidth=0.6,
        )
        for j in range(columns):
            chosen = j == 3 if down else i == 1 and 3 <= j <= 8
            fill = GREEN if chosen else "white"
            box(axes, x + 66 + j * 14, top + i * size, 14, size, fill, linewidth=0.4, edgecolor=GREY)
    text(axes, x, top + 82, "addresses", 8, color=GREY, ha="left")
    if down:
        arrow(axes, (x + 115, top + 82), (x + 232, top + 82), color=GREEN)
        remark(axes, x + 244, top + 36, "the next term is\none place to the right")
    else:
        arrow(axes, (x + 244, top + 18), (x + 244, top + 72), color=GREEN)
        remark(axes, x + 256, top + 36, "the next term\nis one row down")


def draw_walk() -> Figure:
    """How tiles cover the results of (1): 32 x 128 and 32 x 10 numbers."""
    figure, axes = canvas(800, 285)
    scale, y = 6, 55
    heading(axes, 20, 22, "32 rows, 128 columns: two groups of four vectors")
    number = 0
    for group in range(2):
        row = 0
        for height in (6, 6, 6, 6, 4, 4):
            number += 1
            x = 20 + group * 225
            box(axes, x, y + row * scale, 220, height * scale, PALE_BLUE)
            for q in range(1, 4):
                axes.plot(
                    [x + 55 * q] * 2,
                    [y + row * scale, y + (row + height) * scale],
                    color="white",
                    linewidth=0.8,
                )
            text(
                axes,
                x + 110,
                y + (row + height / 2) * scale,
                f"{number}",
                9,
                weight="bold",
                bbox={"facecolor": PALE_BLUE, "edgecolor": "none", "pad": 1},
            )
            if group == 0:
                text(axes, x - 4, y + (row + height / 2) * scale, f"{height}", 8, color=GREY, ha="right")
            row += height
    text(
        axes,
        20,
        y + 212,
        "tiles in the order in which they are computed; their heights in grey",
        8.5,
        ha="left",
    )
    x = 520
    heading(axes, x, 22, "32 rows, 10 columns: one vector")
    lane = 12
    for i in range(4):
        top, height = y + i * 8 * scale, 8 * scale
        for j in range(16):
            there = j < 10
            box(
                axes,
                x + j * lane,
                top,
                lane,
                height,
                PALE_BLUE if there else "white",
                linewidth=0.4,
                edgecolor=GREY,
                linestyle="-" if there else ":",
            )
        box(axes, x, top, 10 * lane, height, "none")
        text(
            axes,
            x + 60,
            top + height / 2,
            f"{i + 1}",
            9,
            weight="bold",
            bbox={"facecolor": PALE_BLUE, "edgecolor": "none", "pad": 1},
        )
    text(
        axes,
        x + 13 * lane,
        y + 96,
        "masked:\nneither\nread nor\nwritten",
        8.5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )
    remark(axes, x, y + 212, "a narrow tile has more rows", 8.5)
    return figure


# -- the optimizer in the epilogue -----------------------------------------------------------------


def draw_update() -> Figure:
    """A gradient that is used while it is in the first cache, and one that is stored."""
    figure, axes = canvas(800, 285)
    _update(axes, 20, "fused", stored=False)
    _update(axes, 415, "stored", stored=True)
    return figure


def _update(axes: Axes, x: float, title: str, stored: bool) -> None:
    heading(axes, x, 20, title)
    for y, words in ((150, "first cache"), (225, "second\ncache, or\nmemory")):
        box(axes, x, y, 365, 52, "white", edgecolor=GREY, linestyle=":")
        text(axes, x + 8, y + 26, words, 8.5, color=GREY, ha="left")
    box(axes, x + 85, 40, 115, 56, PALE_BLUE)
    text(axes, x + 142, 68, "a tile of (6):\n$\\sum_r h_{ri}\\,δ_{rj}$")
    box(axes, x + 230, 40, 130, 56, PALE_GREEN)
    text(axes, x + 295, 68, "the rule, a vector\nof weights at a time")
    level = 239 if stored else 164
    box(axes, x + 85, level, 115, 24, PALE_ORANGE)
    text(axes, x + 142, level + 12, "the gradient" if stored else "the tile")
    arrow(axes, (x + 125, 98), (x + 125, level - 2), color=ORANGE)
    arrow(axes, (x + 185, level - 2), (x + 250, 98), color=ORANGE)
    box(axes, x + 250, 239, 100, 24, PALE_ORANGE)
    text(axes, x + 300, 251, "$w,\\ m,\\ v$", 10)
    arrow(axes, (x + 282, 237), (x + 282, 98))
    arrow(axes, (x + 328, 98), (x + 328, 237))
    numbers = [(282, "12"), (328, "12"), *([(125, "4"), (240, "4")] if stored else [])]
    for place, number in numbers:
        text(axes, x + place, 125, number, 8.5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
