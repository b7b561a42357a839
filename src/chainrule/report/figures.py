"""The report's figures, from plain numbers to SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.report.evaluation import CalibrationBin
from chainrule.report.importance import Importance
from chainrule.report.svg import WIDTH, Axis, Canvas, Plot, number_text, round_ticks, shortened

__all__ = [
    "bars",
    "best_epoch",
    "calibration_curve",
    "confusion_matrix",
    "error_histogram",
    "histogram",
    "importance_bars",
    "loss_curves",
    "predicted_and_true",
]

# More points than this add ink, not information.
_MOST_POINTS = 800
MOST_CLASSES = 12


def best_epoch(validation: Sequence[float]) -> int:
    """The epoch, counted from 1, after which the held-back rows were predicted best."""
    return int(np.nanargmin(validation)) + 1


def loss_curves(training: Sequence[float], validation: Sequence[float] | None) -> str:
    """The loss of each epoch, on the rows trained on and on those held back to say when to stop."""
    curves = {"training": (list(training), "accent")}
    if validation:
        curves["validation"] = (list(validation), "second")
    everything = np.array([value for values, _ in curves.values() for value in values])
    finite = everything[np.isfinite(everything)]
    low, high = float(finite.min()), float(finite.max())
    log = low > 0 and high > 10 * low
    low, high = (low, high) if log else (min(low, 0.0), high)
    longest = max(len(values) for values, _ in curves.values())
    y = Axis("loss (log scale)" if log else "loss", low, high, log)
    plot = Plot("Loss by epoch", Axis("epoch", 1, max(longest, 2)), y, right=74)
    heights: list[float] = []
    for name, (values, colour) in curves.items():
        points = [plot.at(epoch, one) for epoch, one in enumerate(values, 1) if np.isfinite(one)]
        plot.path(points, f"{colour} stroke")
        end_x, end_y = points[-1]
        if heights and abs(end_y - heights[0]) < 14:
            end_y = heights[0] + (14 if end_y >= heights[0] else -14)
        heights.append(end_y)
        plot.words(end_x + 5, end_y + 4, name, colour)
    if validation:
        best = best_epoch(validation)
        plot.circle(*plot.at(best, validation[best - 1]), 4, "second")
    return plot.svg()


def confusion_matrix(classes: Sequence[Any], confusion: np.ndarray) -> str:
    """Rows by true and predicted class; the shade is the share of the true class."""
    names = [str(name) for name in classes]
    longest = max(len(shortened(name, 12)) for name in names)
    left = 30 + 7.0 * longest
    cell = min((WIDTH - left - 6) / len(names), 64.0)
    slanted = 7.5 * longest > cell
    below = 30 + (6.0 * longest if slanted else 0)
    canvas = Canvas("Confusion matrix", 8 + cell * len(names) + below)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    for i, name in enumerate(names):
        y = 8 + i * cell
        canvas.words(left - 6, y + cell / 2 + 4, shortened(name, 12), anchor="end")
        for j in range(len(names)):
            x, share = left + j * cell, float(shares[i, j])
            colour = "accent" if i == j else "second"
            canvas.rectangle(x + 1, y + 1, cell - 2, cell - 2, "cell")
            canvas.rectangle(x + 1, y + 1, cell - 2, cell - 2, colour, 0.75 * share)
            count = int(confusion[i, j])
            small = "small" if cell < 34 or count > 9999 else ""
            canvas.words(x + cell / 2, y + cell / 2 + 4, f"{count}" if count else "·", small, anchor="middle")
    floor = 8 + cell * len(names)
    for j, name in enumerate(names):
        x = left + (j + 0.5) * cell
        if slanted:
            canvas.words(x + 4, floor + 12, shortened(name, 12), anchor="end", turned=-45)
        else:
            canvas.words(x, floor + 14, name, anchor="middle")
    canvas.words(left + cell * len(names) / 2, canvas.height - 2, "predicted class", "muted", anchor="middle")
    canvas.words(11, 8 + cell * len(names) / 2, "true class", "muted", anchor="middle", turned=-90)
    return canvas.svg()


def calibration_curve(bins: Sequence[CalibrationBin], event: str) -> str:
    """How often what was given a probability came true, with Wilson's 95 % intervals."""
    plot = Plot(
        "Calibration",
        Axis(f"probability given to {shortened(event, 24)}", 0, 1),
        Axis("share that came true", 0, 1),
        height=260,
    )
    plot.line(*plot.at(0, 0), *plot.at(1, 1), "dashed")
    plot.words(*_beside(plot.at(0.3, 0.3), 6, -8), "calibrated", "muted", anchor="end")
    most = max(one.count for one in bins)
    for one in bins:
        x, y = plot.at(one.predicted, one.observed)
        plot.line(x, plot.at(0, one.low)[1], x, plot.at(0, one.high)[1], "accent stroke")
        # The area grows with the number of rows.
        plot.circle(x, y, 2 + 5 * (one.count / most) ** 0.5, "accent")
    return plot.svg()


def predicted_and_true(truth: np.ndarray, predicted: np.ndarray, target: str) -> str:
    """Predicted beside true numbers; on the line they agree."""
    rows = _some(len(truth))
    low = float(min(truth.min(), predicted.min()))
    high = float(max(truth.max(), predicted.max()))
    name = shortened(target, 24)
    plot = Plot(
        "Predicted and true numbers",
        Axis(f"true {name}", low, high),
        Axis(f"predicted {name}", low, high),
        height=260,
    )
    for i in rows:
        plot.circle(*plot.at(truth[i], predicted[i]), 2.2, "accent", 0.45)
    plot.line(*plot.at(low, low), *plot.at(high, high), "dashed")
    plot.words(*_beside(plot.at(high, high), -26, 6), "equal", "muted", anchor="end")
    return plot.svg()


def error_histogram(truth: np.ndarray, predicted: np.ndarray, target: str) -> str:
    """How far the predictions are off, in the target's unit."""
    return histogram(predicted - truth, f"predicted − true {shortened(target, 20)}", marked=0.0)


def histogram(values: np.ndarray, label: str, marked: float | None = None) -> str:
    """How many rows hold which numbers."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(values, bins=min(30, max(8, int(len(values) ** 0.5))), range=(low, high))
    plot = Plot(label, Axis(label, low, high), Axis("rows", 0, float(counts.max())))
    for count, begin, end in zip(counts, edges[:-1], edges[1:], strict=True):
        x, y = plot.at(begin, count)
        right, floor = plot.at(end, 0)
        plot.rectangle(x + 0.5, y, right - x - 1, floor - y, "accent", 0.8)
    if marked is not None and low < marked < high:
        plot.line(*plot.at(marked, 0), *plot.at(marked, counts.max()), "dashed")
    return plot.svg()


def bars(names: Sequence[str], counts: Sequence[int], label: str) -> str:
    """One bar a name, longest first as they are given, with its count."""
    return _horizontal(
        label, [(name, float(count), 0.0, f"{count:,}") for name, count in zip(names, counts, strict=True)]
    )


def importance_bars(importances: Sequence[Importance], metric: str) -> str:
    """How much worse the metric becomes without each column; a whisker is one standard deviation."""
    rows = [(one.name, one.mean, one.deviation, number_text(float(f"{one.mean:.2g}"))) for one in importances]
    return _horizontal(f"rise of the {metric} when the column is shuffled", rows)


def _horizontal(label: str, rows: Sequence[tuple[str, float, float, str]]) -> str:
    """Bars from left to right: name, length, whisker, text."""
    longest = max(len(shortened(name, 18)) for name, *_ in rows)
    left, right = 14 + 6.7 * longest, 50.0
    low = min(0.0, *(length for _, length, *_ in rows))
    high = max(*(length + whisker for _, length, whisker, _ in rows), low + 1e-12)
    canvas = Canvas(label, 22.0 * len(rows) + 40)
    floor = 22.0 * len(rows) + 6

    def place(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - left - right)

    for tick in round_ticks(low, high, 3):
        canvas.line(place(tick), 4, place(tick), floor, "grid")
        canvas.words(place(tick), floor + 14, number_text(tick), "muted", anchor="middle")
    for number, (name, length, whisker, text) in enumerate(rows):
        y = 6 + 22.0 * number
        begin, end = sorted((place(0), place(length)))
        canvas.words(left - 6, y + 14, shortened(name, 18), anchor="end")
        canvas.rectangle(begin, y + 3, end - begin, 14, "accent", 0.8)
        if whisker:
            canvas.line(place(max(length - whisker, low)), y + 10, place(length + whisker), y + 10, "axis")
        canvas.words(max(place(length + whisker), place(0)) + 5, y + 14, text, "muted")
    canvas.words(WIDTH / 2, floor + 30, label, anchor="middle")
    return canvas.svg()


def _some(n_rows: int) -> np.ndarray:
    """All rows, or as many as can be told apart, evenly spaced."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, _MOST_POINTS)).astype(int))


def _beside(point: tuple[float, float], right: float, down: float) -> tuple[float, float]:
    return point[0] + right, point[1] + down
