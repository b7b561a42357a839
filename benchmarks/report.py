"""The results on the terminal, and as the page and the figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import plot
from bars import bars_table
from floor import Peak
from machine import description
from part_steps import Steps
from parts import PARTS
from table import Table
from turns import Measured, Plan

__all__ = ["Results", "markdown", "show", "tables", "write"]


@dataclass
class Results:
    """All that was measured, by the names of the parts, and how."""

    plan: Plan
    command: str
    peak: Peak | None = None
    parts: Mapping[str, Sequence[Measured]] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether something that exists could not be measured, or a network did not learn."""
        return any(result.failed for results in self.parts.values() for result in results)

    @property
    def steps(self) -> list[Steps]:
        """The training steps, if they were measured."""
        return [result for result in self.parts.get("steps", ()) if isinstance(result, Steps)]


def tables(results: Results) -> list[Table]:
    """The tables of the report, those of parts that were not run left out."""
    against = bars_table(results.parts, results.peak)
    made = [] if against is None else [against]
    for name, part in PARTS.items():
        if name in results.parts:
            made += part.tables(results.parts[name], results.peak)
    return made


def remarks(results: Results) -> list[str]:
    """What a reader must know to judge the numbers."""
    lines = []
    if not results.plan.checked:
        lines.append("NOT VALID: measured without checking that the machine was quiet.")
    lines += description()
    if results.peak is not None:
        one, every = results.peak.one / 1e9, results.peak.all / 1e9
        lines.append(
            f"Peak of fused multiply-adds in float32: {one:.0f} GFLOP/s on one processor, {every:.0f} on all"
        )
    return lines


def _explanation(results: Results) -> list[str]:
    return [
        f"Made by `{results.command}`; what is measured and how is told in `benchmarks/README.md`. "
        f"{results.plan.rounds} rounds, the libraries in turns, warm-up excluded. *Samples*: those that "
        "count + those discarded because other processes computed meanwhile. *vs*: how many times faster, "
        "the median over the rounds of this run; it says more than the absolute times, which move "
        "with the machine. *% of floor*: the time that the multiplications and additions of a step take at "
        "the peak of as many processors as were at work (*processors*), as a share of the median."
    ]


def _markdown_table(table: Table) -> list[str]:
    lines = ["", f"## {table.title}", "", "| " + " | ".join(table.columns) + " |"]
    lines.append("|---" * len(table.columns) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in table.rows]
    if table.remarks:
        lines += ["", *(f"- {remark}" for remark in table.remarks)]
    return lines


def markdown(results: Results, figure: str = "") -> str:
    """The whole report, as the page ``docs/benchmarks.md``; ``figure`` is the plot's file beside it."""
    lines = ["# Benchmarks", "", *_explanation(results), "", *(f"- {line}" for line in remarks(results))]
    if figure:
        caption = "Time of a training step against the number of parameters"
        lines += ["", f"![{caption}]({figure})", "", plot.note(results.steps)]
    for table in tables(results):
        lines += _markdown_table(table)
    return "\n".join(lines) + "\n"


def write(results: Results, page: Path) -> list[Path]:
    """Write the page and, where training steps were measured, the figure beside it; returns the files."""
    page.parent.mkdir(parents=True, exist_ok=True)
    figure = page.with_suffix(".svg")
    if results.steps:
        plot.draw(results.steps, results.peak, figure)
    page.write_text(markdown(results, figure.name if results.steps else ""), encoding="utf-8")
    return [page, figure] if results.steps else [page]


def show(results: Results) -> None:
    """The report on the terminal."""
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console(highlight=False)
    if not console.is_terminal:  # a file or a pipe has no width to keep to
        console = Console(highlight=False, width=150)
    for line in remarks(results):
        console.print(line, markup=False)
    for table in tables(results):
        rich = RichTable(title=table.title, title_justify="left")
        for place, column in enumerate(table.columns):
            text = place == 0 or column in ("library", "training", "recorded", "verdict")
            rich.add_column(column, justify="left" if text else "right")
        previous = ""
        for row in table.rows:
            if previous and row[0] != previous and table.columns[1] == "library":
                rich.add_section()
            previous = row[0]
            rich.add_row(*row)
        console.print(rich)
        for remark in table.remarks:
            console.print(remark, markup=False)
