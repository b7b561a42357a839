"""The figures of a checkup's page, from what was measured to SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape

import numpy as np

from chainrule.health.gates import Sweep
from chainrule.health.jacobians import JacobianSpectrum, Spectrum
from chainrule.health.proof import WORST_SCORE, Proof
from chainrule.health.telemetry import LayerState, Snapshot
from chainrule.health.text import before_and_after, number
from chainrule.report.svg import WIDTH, Axis, Canvas, Plot, PowerAxis, number_text, round_ticks, shortened

__all__ = [
    "SIGNAL",
    "UNITS",
    "gradient_flow",
    "heat_map",
    "loss_curve",
    "proof_bars",
    "spectra",
    "sweep_curve",
]

# Deeper networks are drawn by as many of their layers.
MOST_LAYERS = 40
MOST_VALUES = 60
# How strong a cell's colour can be with its number still easy to read.
STRONGEST = 0.6
# Three powers of ten are as strong a colour as any.
DECADES = 3.0
SMALLEST, LARGEST = 1e-30, 1e30
# What the three moments are drawn with.
MOMENTS = {"start": "muted", "early": "second", "end": "accent"}


@dataclass(frozen=True)
class LayerAxis(Axis):
    """An axis of whole numbers, at most eight of them written."""

    def ticks(self) -> list[float]:
        """1, 2, ... as often as there is room."""
        first, last = math.ceil(self.low), math.floor(self.high)
        return [float(one) for one in range(first, last + 1, max(1, math.ceil((last - first + 1) / 8)))]


def log_axis(label: str, values: Iterable[float]) -> PowerAxis | None:
    """A logarithmic axis around the positive values; None if there is none."""
    found = [min(max(one, SMALLEST), LARGEST) for one in values if math.isfinite(one) and one > 0]
    if not found:
        return None
    low, high = min(found), max(found)
    if high < 4 * low:
        middle = math.sqrt(low * high)
        low, high = middle / 2.2, middle * 2.2
    return PowerAxis(label, low / 1.15, high * 1.15, log=True)


# ------------------------------------------------------------------------------------------------- heat map


@dataclass(frozen=True)
class Measurement:
    """A column of the heat map.

    Attributes
    ----------
    title : str
    value : callable
        Of a layer.
    shade : callable
        ``shade(value, reference)`` from -1, the second colour, to 1, the accent.
    share : bool
        Whether it is written in percent.
    """

    title: str
    value: Callable[[LayerState], float]
    shade: Callable[[float, float], float]
    share: bool = False


def _ratio(value: float, reference: float) -> float:
    """How many powers of ten beside a reference."""
    if not (value > 0 and reference > 0):
        return -1.0
    return max(-1.0, min(1.0, math.log10(value / reference) / DECADES))


SIGNAL = (
    Measurement("h RMS", lambda layer: layer.h_rms, lambda value, _: _ratio(value, 1.0)),
    Measurement("δ RMS", lambda layer: layer.delta_rms, _ratio),
    Measurement("‖∂ℒ/∂W‖", lambda layer: layer.gradient_norm, _ratio),
)
UNITS = (
    Measurement("dead", lambda layer: layer.dead, lambda value, _: -value, share=True),
    Measurement("saturated", lambda layer: layer.saturated, lambda value, _: -value, share=True),
    Measurement(
        "spread", lambda layer: layer.spread, lambda value, _: -((1 - min(value, 1.0)) ** 3), share=True
    ),
)


def heat_map(
    title: str, measurements: Sequence[Measurement], snapshots: dict[str, Snapshot | None]
) -> str | None:
    """Layers from top to bottom, and for each measurement a column at the start, early and at the end.

    Parameters
    ----------
    title : str
    measurements : sequence of Measurement
    snapshots : dict of str to Snapshot or None
        Those that are None have no column.

    Returns
    -------
    str or None
        None where there is nothing to show.
    """
    shown = {name: one for name, one in snapshots.items() if one is not None and one.layers}
    if not shown:
        return None
    layers = next(iter(shown.values())).layers
    names = [layer.name or "the layer" for layer in layers]
    rows = _some(len(names), MOST_LAYERS)
    labels = [shortened(name, 9) for name in names]
    if len(set(labels)) < len(labels):
        # Names that differ where they are cut off: numbers, and the whole names are in the cells' titles.
        labels = [str(l) for l in range(1, len(names) + 1)]
    left = 12 + 6.7 * max(len(labels[row]) for row in rows)
    canvas = Canvas(title, 36 + 20.0 * len(rows) + 4)
    width = (WIDTH - left - 2 * (len(measurements) - 1)) / (len(measurements) * len(shown))
    for place, row in enumerate(rows):
        canvas.words(left - 6, 36 + 20 * place + 14, labels[row], anchor="end")
    for group, one in enumerate(measurements):
        x = left + group * (len(shown) * width + 2)
        canvas.words(x + len(shown) * width / 2, 12, one.title, anchor="middle")
        # What a value is compared with: the last layer's at the start.
        reference = one.value(layers[-1])
        for column, (moment, snapshot) in enumerate(shown.items()):
            at = x + column * width
            canvas.words(at + width / 2, 29, moment, "cellnumber muted", anchor="middle")
            for place, row in enumerate(rows):
                if row < len(snapshot.layers):
                    box = (at, 36 + 20.0 * place, width, f"layer {names[row]}, {one.title}, {moment}")
                    _cell(canvas, box, one, one.value(snapshot.layers[row]), reference)
    return canvas.svg()


def _cell(
    canvas: Canvas, box: tuple[float, float, float, str], one: Measurement, value: float, reference: float
) -> None:
    x, y, width, what = box
    shade = one.shade(value, reference) if math.isfinite(value) else -1.0
    shade = shade if math.isfinite(shade) else -1.0
    exact = f"{100 * value:.4g} %" if one.share and math.isfinite(value) else number(value)
    canvas.parts.append(f"<g><title>{escape(what)}: {escape(exact)}</title>")
    canvas.rectangle(x + 0.5, y + 0.5, width - 1, 19, "cell")
    canvas.rectangle(
        x + 0.5, y + 0.5, width - 1, 19, "accent" if shade > 0 else "second", STRONGEST * abs(shade)
    )
    words = cell_text(100 * value) if one.share else cell_text(value)
    size = "small" if len(words) > 4 else "cellnumber"
    canvas.words(x + width / 2, y + 14, words, size, anchor="middle")
    canvas.parts.append("</g>")


def cell_text(value: float) -> str:
    """A number in five characters at most.

    Examples
    --------
    >>> [cell_text(one) for one in (0.0, 0.0123, 0.5, 1.25, 99.6, 1234.0, 1.4e-7, float("nan"))]
    ['0', '.012', '.5', '1.2', '100', '1e3', '1e-7', '–']
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    if value == 0:
        return "0"
    if 0.01 <= abs(value) < 999.5:
        words = f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.2g}"
        return words.replace("0.", ".", 1) if abs(value) < 1 else words
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


# ------------------------------------------------------------------------------------------------- curves


def gradient_flow(snapshots: dict[str, Snapshot | None]) -> str | None:
    """RMS of δ^(l) layer by layer at the three moments; None of fewer than two layers.

    A δ that is 0 has its point on the floor.
    """
    curves = {
        name: [layer.delta_rms for layer in one.layers]
        for name, one in snapshots.items()
        if one is not None and len(one.layers) > 1
    }
    y = log_axis("RMS of δ (log scale)", [value for values in curves.values() for value in values])
    if y is None:
        return None
    if any(value == 0 for values in curves.values() for value in values):
        # Room for zeros below the smallest.
        y = replace(y, low=y.low / 10)
    x = LayerAxis("layer l, from the inputs to the output", 1, max(map(len, curves.values())))
    plot = Plot("The error signal by layer", x, y, right=44)
    ends = []
    for name, values in curves.items():
        points = [(l, _within(y, value)) for l, value in enumerate(values, 1) if math.isfinite(value)]
        _line(plot, points, MOMENTS.get(name, "accent"))
        for l, _ in (one for one in points if values[one[0] - 1] == 0):
            at = plot.at(l, y.low)
            plot.words(at[0] + 5, at[1] - 5, "0", f"{MOMENTS.get(name, 'accent')} halo")
        if points:
            ends.append((plot.at(*points[-1]), name))
    _ends(plot, ends)
    return plot.svg()


def _line(plot: Plot, values: Sequence[tuple[float, float]], style: str) -> None:
    points = [plot.at(*value) for value in values]
    plot.path(points, f"{style} stroke")
    if len(points) <= MOST_VALUES:
        for x, y in points:
            plot.circle(x, y, 2.6, style)


def _ends(plot: Plot, ends: Sequence[tuple[tuple[float, float], str]]) -> None:
    """Names at the right ends of lines, one under another where they would touch."""
    last = -math.inf
    for (x, y), name in sorted(ends):
        last = max(y + 4, last + 13)
        plot.words(x + 6, last, name, MOMENTS.get(name, "accent"))


def loss_curve(losses: Sequence[float], before: float, baseline: float) -> str | None:
    """The loss of each epoch, from the start, beside that of the best constant; None where no epoch ran."""
    values = [(epoch, loss) for epoch, loss in enumerate([before, *losses]) if math.isfinite(loss)]
    if len(values) < 2:
        return None
    y = _loss_axis([loss for _, loss in values], baseline)
    plot = Plot("Loss by epoch", LayerAxis("epoch", 0, len(losses)), y, right=14)
    _line(plot, [(epoch, _within(y, loss)) for epoch, loss in values], "accent")
    _constant(plot, baseline)
    return plot.svg()


def _loss_axis(losses: Sequence[float], baseline: float) -> Axis:
    everything = [*losses, *([baseline] if math.isfinite(baseline) else [])]
    low, high = min(everything), max(everything)
    if low > 0 and high > 10 * low:
        axis = log_axis("loss (log scale)", everything)
        if axis is not None:
            return axis
    if low == high:
        low, high = low - 0.5, high + 0.5
    room = 0.05 * (high - low)
    return Axis("loss", low - room if low < 0 else max(0.0, low - room), high + room)


def _within(axis: Axis, value: float) -> float:
    return min(max(value, axis.low), axis.high)


def _constant(plot: Plot, baseline: float) -> None:
    """The best constant's loss, if it is on the plot."""
    if plot.y.low <= baseline <= plot.y.high:
        (x1, y), (x2, _) = plot.at(plot.x.low, baseline), plot.at(plot.x.high, baseline)
        plot.line(x1, y, x2, y, "dashed")
        plot.words(x2, y - 5 if y > 30 else y + 14, "best constant", "muted halo", anchor="end")


def sweep_curve(swept: Sweep) -> str | None:
    """The loss after 40 steps against the rate; × where it is off the plot or no number."""
    finite = [loss for loss in swept.losses if math.isfinite(loss)]
    rates = [rate for rate in (*swept.rates, swept.rate) if rate > 0 and math.isfinite(rate)]
    if not finite or not rates:
        return None
    references = [one for one in (swept.start, swept.baseline) if math.isfinite(one)]
    least = min([*references, max(finite)])
    # Losses that are far above what has to be beaten, or far below where there is no bottom, are cut off.
    shown = [one for one in finite if abs(one - least) <= 2 * abs(least)] or [least]
    y = _loss_axis(shown, swept.baseline)
    x = PowerAxis("learning rate (log scale)", min(rates) / 1.5, max(rates) * 1.5, log=True)
    plot = Plot("Loss by learning rate", x, y, right=16, height=250)
    if swept.best_gain > 0:
        low, high = min(swept.good_rates) / 1.4, max(swept.good_rates) * 1.4
        (x1, top), (x2, floor) = plot.at(max(low, x.low), y.high), plot.at(min(high, x.high), y.low)
        plot.rectangle(x1, top, x2 - x1, floor - top, "accent", 0.16)
    inside = [(r, loss) for r, loss in zip(swept.rates, swept.losses, strict=True) if y.low <= loss <= y.high]
    _line(plot, inside, "accent")
    for rate, loss in zip(swept.rates, swept.losses, strict=True):
        if not y.low <= loss <= y.high:
            place = plot.at(rate, y.low if loss < y.low else y.high)
            plot.words(place[0], place[1] + (-3 if loss < y.low else 5), "×", "second", anchor="middle")
    _constant(plot, swept.baseline)
    if swept.rate > 0 and math.isfinite(swept.rate):
        _own_rate(plot, swept.rate)
    return plot.svg()


def _own_rate(plot: Plot, rate: float) -> None:
    (x, top), (_, floor) = plot.at(rate, plot.y.high), plot.at(rate, plot.y.low)
    plot.line(x, top, x, floor, "second stroke")
    late = x > WIDTH / 2
    anchor, beside = ("end", x - 5) if late else ("start", x + 5)
    plot.words(beside, top + 12, f"own: {number(rate)}", "second halo", anchor=anchor)


# ------------------------------------------------------------------------------------------------- proofs


def proof_bars(proofs: Sequence[Proof], constant: float, score: str) -> str | None:
    """The score of each remedy under that of the training as it is; a point is one start.

    Parameters
    ----------
    proofs : sequence of Proof
        Those that were not run are left out.
    constant : float
        The score of the best constant.
    score : str
        What a score is.
    """
    ran = [proof for proof in proofs if proof.after]
    if not ran:
        return None
    everything = [one for proof in ran for one in (*proof.before, *proof.after)]
    # No accuracy is negative, whatever stands for a training that ended in no number.
    least = 0.0 if ran[0].training.classify else WORST_SCORE
    low, high = max(least, min(0.0, *everything)), max(1.0, *everything)
    left, right, block = 52.0, 60.0, 54.0
    canvas = Canvas("Scores before and after", 8 + block * len(ran) + 34)
    floor = 8 + block * len(ran)

    def place(value: float) -> float:
        return left + (max(value, low) - low) / (high - low) * (WIDTH - left - right)

    for tick in round_ticks(low, high, 4):
        canvas.line(place(tick), 4, place(tick), floor, "grid")
        canvas.words(place(tick), floor + 14, number_text(tick), "muted", anchor="middle")
    canvas.line(place(constant), 4, place(constant), floor, "dashed")
    for count, proof in enumerate(ran):
        y = 8 + block * count
        canvas.words(4, y + 11, shortened(proof.title, 56), "halo")
        said = before_and_after(proof)
        rows = (("before", proof.before, said[0], "muted", 16), ("after", proof.after, said[1], "accent", 33))
        for name, scores, words, style, down in rows:
            mean = float(np.mean(scores))
            begin, end = sorted((place(0.0), place(mean)))
            canvas.words(left - 6, y + down + 11, name, "muted", anchor="end")
            canvas.rectangle(begin, y + down, end - begin, 13, style, 0.75)
            if len(scores) > 1:
                for one in scores:
                    canvas.circle(place(one), y + down + 6.5, 2.2, "ink")
            furthest = max(place(0.0), *(place(one) for one in (mean, *scores)))
            canvas.words(furthest + 5, y + down + 11, words, f"{style} halo")
    canvas.words(WIDTH / 2, floor + 30, f"{score} on rows held out", anchor="middle")
    return canvas.svg()


# ------------------------------------------------------------------------------------------------- spectra


def spectra(spectrum: JacobianSpectrum) -> str | None:
    """Singular values of each layer's Jacobian and of their product, means over the examples."""
    columns = [*spectrum.layers, spectrum.end_to_end]
    values = [_mean_values(one) for one in columns]
    y = log_axis("singular value (log scale)", [1.0, *(value for column in values for value in column)])
    if y is None:
        return None
    n_layers = len(spectrum.layers)
    x = _SpectrumAxis("layer, and end to end", 0.5, n_layers + 1.5)
    plot = Plot("Singular values of the Jacobians", x, y, right=20)
    plot.line(*plot.at(x.low, 1.0), *plot.at(x.high, 1.0), "dashed")
    for place, column in enumerate(values, 1):
        style = "second" if place > n_layers else "accent"
        for value in column[_some(len(column), MOST_VALUES)]:
            plot.circle(*plot.at(place, _within(y, float(value))), 2.4, style, 0.5)
    at, _ = plot.at(n_layers + 1, y.low)
    plot.words(at, plot.height - plot.bottom + 16, "all", "second", anchor="middle")
    return plot.svg()


class _SpectrumAxis(LayerAxis):
    def ticks(self) -> list[float]:
        """The layers; what is right of them is the product."""
        return [] if self.high < 2 else LayerAxis(self.label, 1, self.high - 1.5).ticks()


def _mean_values(spectrum: Spectrum) -> np.ndarray:
    values = spectrum.singular_values[np.isfinite(spectrum.singular_values).all(axis=1)]
    return values.mean(axis=0) if len(values) else np.empty(0)


def _some(count: int, most: int) -> np.ndarray:
    """All places, or as many as are shown, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)) if count else np.empty(0, int)
