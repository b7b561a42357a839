"""The report about a model: one HTML file that asks for nothing else, needs no script, and prints well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from chainrule.report import figures
from chainrule.report.evaluation import ClassEvaluation, Evaluation
from chainrule.report.importance import Importance
from chainrule.report.pieces import figures_of, section, table_of
from chainrule.report.style import STYLE
from chainrule.report.svg import number_text

__all__ = ["Report", "report_html", "verdict"]

_MOST_COLUMNS = 100
_MOST_IMPORTANCES = 15


@dataclass(frozen=True)
class Report:
    """What a report is made of.

    Attributes
    ----------
    target : str
        Name of the predicted column.
    measured_on : str
        Which rows the metrics are of, as in "69 rows not trained on".
    evaluation : Evaluation
    baseline : dict of str to float
        The metrics of a guess; empty if unknown.
    y : numpy.ndarray of shape (n_rows,)
        The target of all rows of the table.
    columns : list of dict
        name, kind, missing (a count) and holds of each column.
    training, validation : list of float
        The loss of each epoch.
    importances : list of Importance
    importance_metric : str
        The loss that they are measured in.
    network, settings, versions : dict of str to anything
        Shown as they are.
    notes : list of str
    """

    target: str
    measured_on: str
    evaluation: Evaluation
    baseline: dict[str, float]
    y: np.ndarray
    columns: list[dict[str, Any]]
    training: Sequence[float] = ()
    validation: Sequence[float] | None = None
    importances: Sequence[Importance] = ()
    importance_metric: str = "loss"
    network: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


def verdict(evaluation: Evaluation, baseline: Mapping[str, float]) -> str:
    """Whether the model is better than a guess, in a sentence.

    Parameters
    ----------
    evaluation : Evaluation
    baseline : mapping of str to float

    Returns
    -------
    str
    """
    classify = isinstance(evaluation, ClassEvaluation)
    name, guess = ("accuracy", "the most frequent class") if classify else ("RMSE", "the mean")
    found = evaluation.metrics[name]
    value = _share(found.value) if classify else number_text(found.value)
    interval = (
        f"{_share(found.low)} to {_share(found.high)}"
        if classify
        else f"{number_text(found.low)} to {number_text(found.high)}"
    )
    measured = f"{name} {value} (95 % interval {interval})"
    if name not in baseline:
        return f"{measured[0].upper()}{measured[1:]}."
    other = _share(baseline[name]) if classify else number_text(baseline[name])
    better = found.low > baseline[name] if classify else found.high < baseline[name]
    worse = found.high < baseline[name] if classify else found.low > baseline[name]
    said = (
        "Better than a guess" if better
        else "Worse than a guess" if worse
        else f"Not better than a guess, as far as {evaluation.n_rows:,} rows can tell"
    )  # fmt: skip
    return f"{said}: {measured}; always saying {guess} has {other}."


def report_html(report: Report) -> str:
    """The whole page.

    Parameters
    ----------
    report : Report

    Returns
    -------
    str
        A document that is complete in itself.
    """
    title = escape(f"Predicting {report.target}")
    sections = [
        section("Result", _result(report)),
        section("Data", _data(report)),
        section("Training", _training(report)),
        section("Errors", _errors(report)),
        section("What the predictions hang on", _importances(report)),
        section("The network, settings and versions", _record(report)),
        section("Notes", _notes(report)),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        # Says to the browser, too, that the page asks for nothing.
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>"
        + "\n".join(sections)
        + "</main></body></html>\n"
    )


# ---------------------------------------------------------------------------------------- sections


def _result(report: Report) -> str:
    rows = []
    for name, one in report.evaluation.metrics.items():
        guess = report.baseline.get(name)
        row = [name, number_text(one.value), f"{number_text(_4(one.low))} to {number_text(_4(one.high))}"]
        rows.append([*row, "" if guess is None else number_text(_4(guess))])
    guess_name = "most frequent class" if isinstance(report.evaluation, ClassEvaluation) else "mean"
    header = ["metric", "this network", "95 % interval", f"guess: {guess_name}"]
    return (
        f'<p class="verdict">{escape(verdict(report.evaluation, report.baseline))}</p>'
        + table_of(header, rows, numeric=3)
        + f"<p>Measured on {escape(report.measured_on)}. The intervals are percentiles of 1,000 bootstrap "
        "resamples of these rows: they tell how far another sample of as many rows might differ, not how "
        "another training would.</p>"
    )


def _data(report: Report) -> str:
    n_rows = len(report.y)
    rows = [
        [
            column["name"],
            column["kind"],
            column["holds"],
            _share(column["missing"] / n_rows) if column["missing"] else "0",
        ]
        for column in report.columns[:_MOST_COLUMNS]
    ]
    more = len(report.columns) - _MOST_COLUMNS
    if more > 0:
        rows.append([f"and {more} more", "", "", ""])
    classify = isinstance(report.evaluation, ClassEvaluation)
    if classify:
        figure = _class_bars(report.y, report.target)
    else:
        figure = figures.histogram(report.y, report.target)
    words = f"<p>{n_rows:,} rows with a target, {len(report.columns)} columns to predict it from.</p>"
    table = table_of(["column", "kind", "holds", "missing"], rows, numeric=1)
    return words + figures_of([(f"How {report.target} is distributed", figure)]) + table


def _class_bars(y: np.ndarray, target: str) -> str:
    labels, counts = np.unique(y, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    names, numbers = [str(labels[i]) for i in order], [int(counts[i]) for i in order]
    most = figures.MOST_CLASSES
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} others"]
        numbers = [*numbers[:most], sum(numbers[most:])]
    return figures.bars(names, numbers, f"rows by {target}")


def _training(report: Report) -> str:
    if not len(report.training):
        return ""
    title = "Loss after each epoch"
    if report.validation:
        title += f" (best on the validation rows after epoch {figures.best_epoch(report.validation)})"
    return figures_of([(title, figures.loss_curves(report.training, report.validation))])


def _errors(report: Report) -> str:
    found = report.evaluation
    if not isinstance(found, ClassEvaluation):
        return figures_of(
            [
                (
                    "Predicted and true",
                    figures.predicted_and_true(found.truth, found.predicted, report.target),
                ),
                ("Errors", figures.error_histogram(found.truth, found.predicted, report.target)),
            ]
        )
    event = str(found.classes[1]) if len(found.classes) == 2 else "the predicted class"
    shown = [("Calibration, with 95 % intervals", figures.calibration_curve(found.calibration, event))]
    if len(found.classes) <= figures.MOST_CLASSES:
        matrix = figures.confusion_matrix(found.classes, found.confusion)
        return figures_of([("Rows by true and predicted class", matrix), *shown])
    return figures_of(shown) + _confused_pairs(found)


def _confused_pairs(found: ClassEvaluation) -> str:
    """Of many classes, those that are most often taken for another."""
    wrong = found.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_IMPORTANCES]
    pairs = [np.unravel_index(one, wrong.shape) for one in order]
    rows = [
        [str(found.classes[i]), str(found.classes[j]), f"{wrong[i, j]:,}"] for i, j in pairs if wrong[i, j]
    ]
    return table_of(["true class", "taken for", "rows"], rows, numeric=1) if rows else ""


def _importances(report: Report) -> str:
    if not report.importances:
        return ""
    shown = report.importances[:_MOST_IMPORTANCES]
    figure = figures.importance_bars(shown, report.importance_metric)
    words = (
        "<p>A column that can be shuffled without harm is not needed, or is told by others too. A whisker is "
        "one standard deviation over the shuffles.</p>"
    )
    return figures_of([("Permutation importance of the columns", figure)]) + words


def _record(report: Report) -> str:
    groups = (("network", report.network), ("settings", report.settings), ("versions", report.versions))
    rows = [[group, name, _plain(value)] for group, values in groups for name, value in values.items()]
    return table_of(["", "what", "value"], rows, numeric=0) if rows else ""


def _notes(report: Report) -> str:
    return f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in report.notes)}</ul>" if report.notes else ""


# ------------------------------------------------------------------------------------------ pieces


def _share(value: float) -> str:
    """A share in percent.

    Examples
    --------
    >>> _share(0.971), _share(1.0)
    ('97.1 %', '100 %')
    """
    return f"{100 * value:.3g} %"


def _4(value: float) -> float:
    return float(f"{value:.3g}")


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
