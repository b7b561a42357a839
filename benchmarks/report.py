"""The results as tables, on the terminal and in Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from machine import description
from parts import Digits, StartUp, Steps
from peer import PEERS
from session import Plan, Series

__all__ = ["Results", "Table", "markdown", "tables"]

REFERENCE = "torch"


@dataclass
class Table:
    """A title, column heads, rows of text, and remarks below."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass
class Results:
    """All that was measured, and how."""

    plan: Plan
    command: str
    steps: Sequence[Steps] = ()
    start_up: StartUp | None = None
    digits: Digits | None = None
    skipped: Sequence[str] = ()


def _number(value: float | None) -> str:
    """Three significant digits, and no more decimals than they need."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _decimals(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def _spread(series: Series) -> tuple[str, str]:
    """The minimum, and the range from the first to the third quartile."""
    if series.spread is None:
        return "–", "–"
    low, lower, upper = series.spread
    return _number(low), f"{_number(lower)}–{_number(upper)}"


def _count(series: Series) -> str:
    return f"{len(series.clean)} + {series.discarded}"


def _failures(series: Mapping[str, Series]) -> dict[str, str]:
    return {name: one.failure for name, one in series.items() if one.failure}


def tables(results: Results) -> list[Table]:
    """The tables of the report, those of parts that were not run left out."""
    made = []
    if results.steps:
        made += [_steps_table(results.steps), _learning_table(results.steps)]
    if results.start_up is not None:
        made.append(_start_up_table(results.start_up))
    if results.digits is not None:
        made.append(_digits_table(results.digits))
    return made


def _steps_table(steps: Sequence[Steps]) -> Table:
    table = Table(
        "Training steps (microseconds a step)",
        ("network", "library", "median", "min", "quartiles", "samples", "vs PyTorch"),
    )
    for result in steps:
        for name, series in result.series.items():
            ratio = series.times_faster_than(result.series[REFERENCE]) if REFERENCE in result.series else None
            table.rows.append(
                (
                    result.network.name,
                    PEERS[name][0],
                    _number(series.median),
                    *_spread(series),
                    _count(series),
                    "–" if ratio is None else f"{_number(ratio)}×",
                )
            )
        failures = result.failures | _failures(result.series)
        table.remarks += [
            f"{PEERS[name][0]} failed on {result.network.name}: {reason}" for name, reason in failures.items()
        ]
    return table


def _learning_table(steps: Sequence[Steps]) -> Table:
    table = Table(
        "They all learn (training loss before the timing)",
        ("network", "library", "by guessing", "after training", "learned"),
    )
    for result in steps:
        for name, one in result.learning.items():
            table.rows.append(
                (
                    result.network.name,
                    PEERS[name][0],
                    f"{one.guessing:.3f}",
                    f"{one.loss:.3f}",
                    "yes" if one.learned else "NO",
                )
            )
    return table


def _start_up_table(start_up: StartUp) -> Table:
    base = start_up.series["import"].median
    labels = {
        "import": "import sklearn.neural_network",
        "sklearn": "the same, and a tiny fit of scikit-learn",
        "warm": "the same, and a tiny fit of chainrule, kernels kept from an earlier process",
        "cold": "the same, and a tiny fit of chainrule, nothing kept: compiles its kernels",
    }
    table = Table(
        "The first fit of a process (seconds, the whole process)",
        ("process", "median", "min", "quartiles", "samples", "beyond the import"),
    )
    for name, series in start_up.series.items():
        median = series.median
        beyond = "–" if median is None or base is None or name == "import" else _number(median - base)
        table.rows.append((labels[name], _number(median), *_spread(series), _count(series), beyond))
    failures = _failures(start_up.series)
    table.remarks += [f"{labels[name]} failed: {reason}" for name, reason in failures.items()]
    return table


def _digits_table(digits: Digits) -> Table:
    labels = {
        "chainrule": "chainrule (float64, as scikit-learn)",
        "chainrule-float32": 'chainrule, dtype="float32"',
        "sklearn": "scikit-learn",
    }
    table = Table(
        "MLPClassifier(random_state=0).fit on the digits (seconds)",
        ("library", "median", "min", "quartiles", "samples", "vs scikit-learn",
         "epochs", "training loss", "test accuracy"),
    )  # fmt: skip
    for name, series in digits.series.items():
        ratio = series.times_faster_than(digits.series["sklearn"]) if "sklearn" in digits.series else None
        last = series.last
        table.rows.append(
            (
                labels[name],
                _number(series.median),
                *_spread(series),
                _count(series),
                "–" if ratio is None else f"{_number(ratio)}×",
                str(last.get("epochs", "–")),
                _decimals(last.get("loss"), 4),
                _decimals(last.get("accuracy"), 3),
            )
        )
    failures = digits.failures | _failures(digits.series)
    table.remarks += [f"{labels[name]} failed: {reason}" for name, reason in failures.items()]
    return table


def remarks(results: Results) -> list[str]:
    """What a reader must know to judge the numbers."""
    lines = []
    if not results.plan.checked:
        lines.append("NOT VALID: measured without checking that the machine was quiet.")
    lines += description()
    return lines + _library_facts(results.steps) + list(results.skipped)


def _library_facts(steps: Sequence[Steps]) -> list[str]:
    """Versions and configuration of each library; one line a network where they differ."""
    lines = []
    for name, (label, *_) in PEERS.items():
        facts = {result.network.name: result.libraries[name] for result in steps if name in result.libraries}
        if len(set(facts.values())) == 1:
            lines.append(f"{label}: {next(iter(facts.values()))}")
        else:
            lines += [f"{label}, {network}: {fact}" for network, fact in facts.items()]
    return lines


def markdown(results: Results) -> str:
    """The whole report, as the page ``docs/benchmarks.md``."""
    plan = results.plan
    lines = [
        "# Benchmarks", "",
        f"Made by `{results.command}`; what is measured and how is told in `benchmarks/README.md`. "
        f"{plan.rounds} rounds, the libraries in turns, warm-up excluded. *Samples*: those that count + "
        "those discarded because other processes computed meanwhile. *vs*: how many times faster, the "
        "median over the rounds of this run; it says more than the absolute times, which move "
        "with the machine.", "",
    ]  # fmt: skip
    lines += [f"- {line}" for line in remarks(results)]
    for table in tables(results):
        lines += ["", f"## {table.title}", "", "| " + " | ".join(table.columns) + " |"]
        lines.append("|---" * len(table.columns) + "|")
        lines += ["| " + " | ".join(row) + " |" for row in table.rows]
        if table.remarks:
            lines += ["", *(f"- {remark}" for remark in table.remarks)]
    return "\n".join(lines) + "\n"


def show(results: Results) -> None:
    """The report on the terminal."""
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console(highlight=False)
    if not console.is_terminal:  # a file or a pipe has no width to keep to
        console = Console(highlight=False, width=140)
    for line in remarks(results):
        console.print(line, markup=False)
    for table in tables(results):
        rich = RichTable(title=table.title, title_justify="left")
        for number, column in enumerate(table.columns):
            rich.add_column(column, justify="left" if number == 0 or column == "library" else "right")
        previous = ""
        for row in table.rows:
            if previous and row[0] != previous and table.columns[1] == "library":
                rich.add_section()
            previous = row[0]
            rich.add_row(*row)
        console.print(rich)
        for remark in table.remarks:
            console.print(remark, markup=False)
