"""The figure: time of a training step against the number of parameters, a line a library."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from floor import Peak, step_operations
from part_steps import Steps

__all__ = ["STYLES", "draw", "note"]

# Okabe and Ito's colours, which people who see few colours tell apart too, each with a marker of its own.
STYLES = {
    "chainrule": ("#D55E00", "o", "-"),
    "chainrule-1": ("#E69F00", "s", "-"),
    "chainrule-float64": ("#CC79A7", "D", "-"),
    "chainrule-bf16": ("#882255", "P", "-"),
    "chainrule-bf16x3": ("#882255", "p", ":"),
    "jax": ("#0072B2", "^", "-"),
    "jax-1": ("#0072B2", "^", ":"),
    "torch": ("#009E73", "v", "-"),
    "torch-1": ("#009E73", "v", ":"),
    "torch-compile": ("#56B4E9", "<", "-"),
    "torch-autocast": ("#B8A800", ">", "-"),
    "sklearn": ("#000000", "X", "-"),
}
SETTINGS: Any = {
    "svg.hashsalt": "chainrule",  # the same results give the same file
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def _lines(steps: Sequence[Steps]) -> tuple[list[Steps], list[Steps]]:
    """The networks that the lines join, by size, and those beside: the same widths with a larger batch."""
    joined: dict[tuple[int, ...], Steps] = {}
    beside = []
    for result in sorted(steps, key=lambda one: (one.network.parameters, one.network.batch)):
        if result.network.sizes in joined:
            beside.append(result)
        else:
            joined[result.network.sizes] = result
    return list(joined.values()), beside


def _points(results: Sequence[Steps], name: str) -> tuple[list[int], list[float]]:
    """Parameters and microseconds of the networks on which a library was measured."""
    found = [(one.network.parameters, median) for one in results if (median := one.median(name)) is not None]
    return [parameters for parameters, _ in found], [median for _, median in found]


def _in_thousands(units: tuple[str, ...]) -> Callable[[float, Any], str]:
    """Writes numbers with the unit that leaves fewer than four digits."""

    def written(value: float, place: Any) -> str:
        step = 0
        while value >= 1000 and step < len(units) - 1:
            value, step = value / 1000, step + 1
        return f"{value:g}{units[step]}"

    return written


def _draw_libraries(axes: Any, steps: Sequence[Steps]) -> None:
    joined, beside = _lines(steps)
    labels = {name: library.label for one in steps for name, library in one.libraries.items()}
    for name, (colour, marker, line) in STYLES.items():
        x, y = _points(joined, name)
        if not x:
            continue
        ours = name == "chainrule"
        axes.plot(
            x, y, line, color=colour, marker=marker, label=labels[name], markersize=6.5,
            linewidth=2.6 if ours else 1.4, zorder=4 if ours else 3,
        )  # fmt: skip
        axes.plot(*_points(beside, name), color=colour, marker=marker, markersize=6.5, fillstyle="none",
                  linestyle="none", zorder=3)  # fmt: skip


def _draw_floor(axes: Any, steps: Sequence[Steps], peak: Peak | None) -> None:
    if peak is None:
        return
    joined, _ = _lines(steps)
    x = [one.network.parameters for one in joined]
    y = [step_operations(one.network.sizes, one.network.batch) / peak.all * 1e6 for one in joined]
    axes.plot(x, y, "--", color="#777777", linewidth=1.4, label="float32 floor", zorder=2)


def _name_networks(axes: Any, steps: Sequence[Steps]) -> None:
    """What the networks are, above the axes where their points stand."""
    for result in _lines(steps)[0]:
        widths = "-".join(map(str, result.network.sizes))
        axes.axvline(result.network.parameters, color="#e4e4e4", linewidth=0.8, zorder=1)
        axes.annotate(
            f"{widths}, batch {result.network.batch}", (result.network.parameters, 1.0),
            xycoords=("data", "axes fraction"), xytext=(-2, 4), textcoords="offset points",
            rotation=28, rotation_mode="anchor", ha="left", va="bottom", fontsize=8.5, color="#444444",
        )  # fmt: skip


def note(steps: Sequence[Steps]) -> str:
    """What the hollow markers are, if there are any."""
    beside = "; ".join(result.title for result in _lines(steps)[1])
    return f"Hollow markers: {beside}." if beside else ""


def draw(steps: Sequence[Steps], peak: Peak | None, path: Path) -> None:
    """Write the figure as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.5, 6.6), layout="constrained")
        axes = figure.add_subplot()
        axes.set(xscale="log", yscale="log", xlabel="parameters", ylabel="time of a training step")
        axes.xaxis.set_major_formatter(_in_thousands(("", "k", "M", "G")))
        axes.yaxis.set_major_formatter(_in_thousands((" µs", " ms", " s")))
        _draw_libraries(axes, steps)
        _draw_floor(axes, steps, peak)
        _name_networks(axes, steps)
        axes.grid(axis="y", color="#e4e4e4", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, **_legend_order(axes))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _legend_order(axes: Any) -> dict[str, Any]:
    """Entries as the lines end on the right, the slowest first."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(handles)), key=lambda i: -handles[i].get_ydata()[-1])
    return {"handles": [handles[i] for i in order], "labels": [labels[i] for i in order]}
