"""Tables of text, and how numbers are written in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from turns import Measured, Series

__all__ = ["Table", "count", "facts", "measured_table", "number", "percent", "spread", "times"]

NOTHING = "–"


@dataclass
class Table:
    """A title, column heads, rows of text, and remarks below."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def number(value: float | None) -> str:
    """Three significant digits, and no more decimals than they need."""
    if value is None:
        return NOTHING
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(ratio: float | None) -> str:
    """As in ``2.50×``."""
    return NOTHING if ratio is None else f"{number(ratio)}×"


def percent(share: float | None) -> str:
    """As in ``51 %``; one decimal where the whole percents say little."""
    if share is None:
        return NOTHING
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def spread(series: Series) -> tuple[str, str]:
    """The minimum, and the range from the first to the third quartile."""
    if series.spread is None:
        return NOTHING, NOTHING
    low, lower, upper = series.spread
    return number(low), f"{number(lower)}–{number(upper)}"


def count(series: Series) -> str:
    """Samples that count + those discarded."""
    return f"{len(series.clean)} + {series.discarded}"


# What else a table tells of a library in one of the results.
Extra = Callable[[Measured, str], str]


def measured_table(
    title: str,
    heads: tuple[str, str],
    results: Sequence[Measured],
    reference: str,
    extras: Mapping[str, Extra],
) -> Table:
    """One row a result and library: median, minimum, quartiles, samples, the ratio to ``reference``, extras.

    ``heads`` are those of the results and of the libraries; an empty one leaves the results' titles out.
    What could not be measured is told below.
    """
    label = next((one.libraries[reference].label for one in results if reference in one.series), "")
    versus = f"vs {label.split(',')[0]}" if label else ""
    named = [head for head in heads if head]
    columns = [*named, "median", "min", "quartiles", "samples", *([versus] if versus else [])]
    table = Table(title, (*columns, *extras))
    for result in results:
        for name, series in result.series.items():
            ratio = [times(result.times_faster_than(name, reference))] if versus else []
            table.rows.append(
                (
                    *(result.title, result.libraries[name].label)[-len(named) :],
                    number(series.median),
                    *spread(series),
                    count(series),
                    *ratio,
                    *(extra(result, name) for extra in extras.values()),
                )
            )
    table.remarks = facts(results) + _left_out(results)
    return table


def facts(results: Sequence[Measured]) -> list[str]:
    """Versions and configuration, each once, after the libraries (and results) for which they hold."""
    holders: dict[str, list[str]] = {}
    for name, library in _all_libraries(results).items():
        titles: dict[str, list[str]] = {}
        for result in results:
            if result.about.get(name):
                titles.setdefault(result.about[name], []).append(result.title)
        for fact, where in titles.items():
            label = library.label if len(titles) == 1 else f"{library.label} on {' and '.join(where)}"
            holders.setdefault(fact, []).append(label)
    return [f"{'; '.join(labels)}: {fact}" for fact, labels in holders.items()]


def _all_libraries(results: Sequence[Measured]) -> dict:
    return {name: library for result in results for name, library in result.libraries.items()}


def _left_out(results: Sequence[Measured]) -> list[str]:
    """Why some libraries have no row: each reason once, failures with what they failed on."""
    absent = {
        f"{result.libraries[name].label}: not measured, {reason}": None
        for result in results
        for name, reason in result.unavailable.items()
    }
    failed = [
        f"{result.libraries[name].label}: failed on {result.title}, {reason}"
        for result in results
        for name, reason in result.all_failures.items()
    ]
    return [*absent, *failed]
