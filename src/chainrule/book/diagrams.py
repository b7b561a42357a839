"""Drawings of a network: its architecture, what flows forward, what flows back, and the tape's record.

Nothing is computed here: names, shapes and numbers come from a network that ran. Like all figures a drawing
is 340 units wide, which a phone shows without scaling, so a flow runs down the page and not across it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.report.svg import WIDTH, Canvas

__all__ = [
    "Recorded",
    "Signal",
    "Station",
    "architecture",
    "backward_flow",
    "forward_flow",
    "raised",
    "record",
]

_MOST_UNITS = 8  # circles of a layer that are drawn; of a wider one the middle is left out
_RAISED = str.maketrans("0123456789()-Ll", "⁰¹²³⁴⁵⁶⁷⁸⁹⁽⁾⁻ᴸˡ")


def raised(layer: int | str) -> str:
    """The number of a layer as the chapter sets it, high and in parentheses.

    Examples
    --------
    >>> "W" + raised(2)
    'W⁽²⁾'
    """
    return f"({layer})".translate(_RAISED)


def _arrow(
    canvas: Canvas, begin: tuple[float, float], end: tuple[float, float], style: str = "muted"
) -> None:
    """A line with a head at its end."""
    canvas.path([begin, end], f"{style} stroke")
    along = math.atan2(end[1] - begin[1], end[0] - begin[0])
    sides = [
        (end[0] - 6 * math.cos(along + turn), end[1] - 6 * math.sin(along + turn)) for turn in (0.45, -0.45)
    ]
    canvas.path([sides[0], end, sides[1]], f"{style} stroke")


# -- architecture ----------------------------------------------------------------------------------


def architecture(title: str, widths: Sequence[int], names: Sequence[str]) -> str:
    """The units of a multilayer network as circles, and every weight as a line.

    Parameters
    ----------
    title : str
    widths : sequence of int
        d_0 ... d_L.
    names : sequence of str
        What stands under each layer, as many as there are widths.

    Returns
    -------
    str
        An SVG element.

    Examples
    --------
    >>> architecture("A network", (2, 3, 1), ("x", "tanh", "ŷ")).count("<line")   # 2 * 3 + 3 * 1 weights
    9
    """
    height = 26.0 * min(max(widths), _MOST_UNITS + 1) + 62
    canvas = Canvas(title, height)
    columns = [_units(width, height - 62) for width in widths]
    places = [34 + number * (WIDTH - 68) / (len(widths) - 1) for number in range(len(widths))]
    for left, right, x, following in zip(columns, columns[1:], places, places[1:], strict=False):
        for start in left:
            for end in right:
                canvas.line(x, start, following, end, "grid")
    for number, (x, units, width, name) in enumerate(zip(places, columns, widths, names, strict=True)):
        style = "muted" if number == 0 else "second" if number == len(widths) - 1 else "accent"
        for y in units:
            canvas.circle(x, y, 8, style)
        if width > len(units):
            canvas.words(
                x, (units[len(units) // 2 - 1] + units[len(units) // 2]) / 2 + 4, "⋮", anchor="middle"
            )
        canvas.words(x, height - 34, f"{width}", anchor="middle")
        canvas.words(x, height - 16, name, "muted", anchor="middle")
    return canvas.svg()


def _units(width: int, height: float) -> list[float]:
    """Where the circles of a layer are, about the middle; of too many a gap stands for those between."""
    drawn = min(width, _MOST_UNITS)
    gap = drawn // 2 if width > drawn else drawn
    slots = [number + (number >= gap) for number in range(drawn)]
    first = height / 2 + 6 - 13.0 * slots[-1]
    return [first + 26.0 * slot for slot in slots]


# -- forward ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Station:
    """An array that the forward pass makes.

    Attributes
    ----------
    name : str
    shape : tuple of int
    numbers : str
        Some of its entries.
    made_by : str
        How it is made of the one before.
    """

    name: str
    shape: tuple[int, ...]
    numbers: str = ""
    made_by: str = ""


def forward_flow(title: str, stations: Sequence[Station]) -> str:
    """The arrays of a forward pass from top to bottom, with their shapes.

    Parameters
    ----------
    title : str
    stations : sequence of Station

    Returns
    -------
    str
        An SVG element.

    Examples
    --------
    >>> drawn = forward_flow("Forward", [Station("X", (8, 2)), Station("Z", (8, 3), made_by="X Wᵀ + b")])
    >>> "(8, 3)" in drawn
    True
    """
    step, box = 68.0, 40.0
    canvas = Canvas(title, step * len(stations) - (step - box) + 8)
    for number, one in enumerate(stations):
        top = 4 + step * number
        canvas.rectangle(8, top, WIDTH - 16, box, "cell")
        canvas.words(18, top + 17, one.name)
        canvas.words(WIDTH - 18, top + 17, str(one.shape), "accent", anchor="end")
        canvas.words(18, top + 33, one.numbers, "muted")
        if number:
            _arrow(canvas, (28, top - step + box + 2), (28, top - 3))
            canvas.words(42, top - 10, one.made_by)
    return canvas.svg()


# -- backward --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signal:
    """The error signal of a layer, and the gradients that are made of it.

    Attributes
    ----------
    name : str
    shape : tuple of int
    norm : float
    made_by : str
        How it is made of the one above it in the network.
    gradients : tuple of (str, tuple of int, float)
        Name, shape and norm.
    """

    name: str
    shape: tuple[int, ...]
    norm: float
    made_by: str
    gradients: tuple[tuple[str, tuple[int, ...], float], ...]


def backward_flow(title: str, signals: Sequence[Signal]) -> str:
    """δ from the last layer, at the foot, up to the first; to the right the gradients made of each.

    Parameters
    ----------
    title : str
    signals : sequence of Signal
        Of layers 1 ... L.

    Returns
    -------
    str
        An SVG element.

    Examples
    --------
    >>> one = Signal("δ¹", (8, 3), 0.5, "", (("∂W¹", (3, 2), 0.25),))
    >>> "0.25" in backward_flow("Backward", [one])
    True
    """
    step, box, middle = 122.0, 80.0, 122.0
    last = len(signals) - 1
    canvas = Canvas(title, step * last + box + 44)
    for number, one in enumerate(signals):
        top = 4 + step * number
        canvas.rectangle(8, top, middle - 8, box, "cell")
        canvas.words(18, top + 18, one.name, "second")
        canvas.words(18, top + 40, str(one.shape), "accent")
        canvas.words(18, top + 62, f"norm {one.norm:.3g}", "muted")
        for place, (name, shape, norm) in enumerate(one.gradients):
            y = top + 42 * place
            _arrow(canvas, (middle + 2, y + 19), (middle + 26, y + 19))
            canvas.rectangle(middle + 30, y, WIDTH - middle - 38, 38, "cell")
            canvas.words(middle + 38, y + 16, name)
            canvas.words(WIDTH - 16, y + 16, str(shape), "accent", anchor="end")
            canvas.words(middle + 38, y + 32, f"norm {norm:.3g}", "muted")
        _arrow(
            canvas, (40, top + step - 3 if number < last else top + box + 24), (40, top + box + 3), "second"
        )
        canvas.words(54, top + box + 26, one.made_by)
    return canvas.svg()


# -- the record of the tape ------------------------------------------------------------------------


@dataclass(frozen=True)
class Recorded:
    """A node of the tape's record: an operation, or a leaf.

    Attributes
    ----------
    name : str
    detail : str
        What stands under the name.
    inputs : tuple of int
        Places in the list of those that it was computed from.
    is_leaf : bool
    """

    name: str
    detail: str
    inputs: tuple[int, ...]
    is_leaf: bool


def record(title: str, nodes: Sequence[Recorded]) -> str:
    """What was recorded, each operation under what it was computed from.

    Parameters
    ----------
    title : str
    nodes : sequence of Recorded
        Every node after its inputs.

    Returns
    -------
    str
        An SVG element.

    Examples
    --------
    >>> nodes = [Recorded("x", "", (), True), Recorded("sin", "", (0,), False)]
    >>> record("sin x", nodes).count("<rect")
    2
    """
    rows, lanes = _rows(nodes), _lanes(nodes)
    step, box, lane = 70.0, 40.0, WIDTH / (1 + max(lanes))
    canvas = Canvas(title, step * max(rows) + box + 8)
    places = [(lane * (at + 0.5), 4 + step * row) for at, row in zip(lanes, rows, strict=True)]
    wide = min(104.0, lane - 10)
    for number, one in enumerate(nodes):
        x, top = places[number]
        for index in one.inputs:
            above, ends = places[index]
            _arrow(canvas, (above, ends + box), (x + (above - x) * 0.12, top - 2))
    for (x, top), one in zip(places, nodes, strict=True):
        canvas.rectangle(x - wide / 2, top, wide, box, "cell")
        canvas.words(x, top + 16, one.name, "second" if one.is_leaf else "accent", anchor="middle")
        canvas.words(x, top + 33, one.detail, "muted", anchor="middle")
    return canvas.svg()


def _rows(nodes: Sequence[Recorded]) -> list[int]:
    """How far down each node stands: just above the first that reads it, the last one at the foot."""
    above = [0] * len(nodes)  # rows above the foot
    for number in range(len(nodes) - 1, -1, -1):
        for index in nodes[number].inputs:
            above[index] = max(above[index], above[number] + 1)
    return [max(above) - one for one in above]


def _lanes(nodes: Sequence[Recorded]) -> list[int]:
    """In which column each node stands: under its first input where that has no column yet, so in chains."""
    lanes = [-1] * len(nodes)
    for number in range(len(nodes) - 1, -1, -1):
        if lanes[number] < 0:
            lanes[number] = max(lanes) + 1
        for place, index in enumerate(nodes[number].inputs):
            if lanes[index] < 0:
                lanes[index] = lanes[number] if place == 0 else max(lanes) + 1
    return lanes
