"""The activations beside their derivatives, and the table's remarks put to the test."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.book.blocks import Check, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.activations import (
    SIX,
    Curves,
    difference_from_quotients,
    difference_of_compiled_derivative,
    gelu_forms,
    largest_derivative,
    mean_output,
    saturates_beyond,
    value_and_derivative,
)
from chainrule.book.verdict import Effort, Judgement, Verdict
from chainrule.functions import get_activation
from chainrule.functions.activations import Activation
from chainrule.report.svg import WIDTH, Canvas, number_text

__all__ = ["section"]

_TITLES = dict(zip(SIX, ("sigmoid", "tanh", "ReLU", "leaky ReLU", "GELU", "Swish (SiLU)"), strict=True))

# A central difference with a step of 1e-5 leaves about ten digits of a derivative.
QUOTIENT_ROUNDING = 1e-9


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    count = effort.choose(full=10_000, quick=1000)
    shown = [value_and_derivative(name) for name in SIX]
    tops = {name: largest_derivative(name) for name in SIX}
    means = {name: mean_output(name) for name in SIX}
    flat = {name: saturates_beyond(name) for name in SIX}
    compiled = [difference_of_compiled_derivative(name) for name in SIX]
    return Section(
        "activations",
        "Activations and their derivatives",
        "2",
        (
            Words(
                "Without a function between them, two linear layers are one. Its value is what a layer hands "
                "on, equation (2); its derivative is what backpropagation multiplies by, equation (5)."
            ),
            Equation(r"h^{(l)} = \sigma(z^{(l)})", "(2)"),
            Code(Activation, "All that the library knows of an activation is one such record."),
            Figure(
                "activations",
                "Six activations beside their derivatives",
                _panels(shown),
                "Value (solid) and derivative (dashed). Where the dashed line lies on zero, nothing is "
                "learned.",
            ),
            *(
                Check(
                    f"{_TITLES[name]}, $\\sigma'(z) = {get_activation(name).derivative_latex}$, "
                    "against central differences",
                    difference_from_quotients(name, count=count),
                    QUOTIENT_ROUNDING,
                )
                for name in SIX
            ),
            Check(
                "$\\sigma'$ on arrays against the $\\sigma'$ of one number that is compiled, all six",
                max(compiled),
                1e-14,
            ),
            _table(tops, means, flat),
            *_remarks(tops, means, flat),
            *_gelu(),
        ),
        {"curves": shown, "largest": tops, "means": means, "saturation": flat},
    )


def _table(
    tops: dict[str, tuple[float, float]], means: dict[str, float], flat: dict[str, tuple[float, float]]
) -> Table:
    rows = tuple(
        (
            _TITLES[name],
            f"{tops[name][1]:.4f}",
            f"{means[name]:.4f}",
            *(("never" if abs(end) == float("inf") else f"{end:+.2f}") for end in flat[name]),
        )
        for name in SIX
    )
    return Table(
        ("", "largest σ′", "mean", "flat left of", "flat right of"),
        rows,
        numeric=4,
        caption="The mean is that of $\\sigma(Z)$ for a standard normal $Z$; flat is where $\\sigma'$ is "
        "below 1 % of its largest value.",
    )


def _remarks(
    tops: dict[str, tuple[float, float]], means: dict[str, float], flat: dict[str, tuple[float, float]]
) -> tuple[Verdict, ...]:
    where, top = tops["sigmoid"]
    quarter = abs(top - 0.25) < 1e-12 and abs(where) < 1e-4
    centred = abs(means["tanh"]) < 1e-9 and abs(means["sigmoid"]) > 0.1
    ends = flat["tanh"]
    relu, leaky = value_and_derivative("relu"), value_and_derivative("leaky_relu")
    slopes = sorted(set(relu.derivative.tolist()))
    leaks = sorted(set(leaky.derivative.tolist()))
    exactly = bool((relu.derivative == (relu.z > 0)).all())
    return (
        _verdict(
            "The sigmoid's derivative is at most 0.25",
            "a largest value of 0.25, at 0",
            f"{top:.12f} at z = {where:.1e}",
            quarter,
        ),
        _verdict(
            "Tanh is zero-centred, which the sigmoid is not",
            "on standard normal inputs a mean of 0 for tanh, and not for the sigmoid",
            f"{abs(means['tanh']):.1e} for tanh, {means['sigmoid']:.4f} for the sigmoid",
            centred,
        ),
        _verdict(
            "Tanh still saturates",
            "beyond some $|z|$ a derivative below 1 % of its largest value, on both sides",
            f"beyond {ends[0]:+.2f} and {ends[1]:+.2f}",
            max(map(abs, ends)) < 50,
        ),
        _verdict(
            "ReLU's derivative is exactly 1 where it is active, and 0 elsewhere",
            "no other value than 0 and 1",
            f"the values {', '.join(map(number_text, slopes))}",
            exactly,
        ),
        _verdict(
            "A leaky ReLU does not die: its derivative is never 0",
            "no value but $\\alpha$ and 1",
            f"the values {', '.join(map(number_text, leaks))}",
            min(leaks) > 0,
        ),
    )


def _gelu() -> tuple[Words | Verdict, ...]:
    found = gelu_forms()
    exact = found.from_definition < 1e-13 and found.from_tanh > 1e-5
    return (
        Words(
            "GELU has an approximation by tanh, which many programs compute in its stead. The two are "
            f"{found.from_tanh:.1e} apart at most, at $|z| = {found.where:.2f}$: a network trained with the "
            "one should not be run with the other."
        ),
        _verdict(
            "GELU is the exact $z \\Phi(z)$, not the approximation by tanh",
            "equal to $z\\Phi(z)$ but for rounding, and apart from the approximation",
            f"{found.from_definition:.1e} from the one, {found.from_tanh:.1e} from the other",
            exact,
        ),
    )


def _verdict(claim: str, expected: str, measured: str, holds: bool) -> Verdict:
    return Verdict(claim, "2", expected, measured, "exact", Judgement.holds if holds else Judgement.fails)


def _panels(shown: Sequence[Curves]) -> str:
    """Two columns of small plots, each with a frame of its own."""
    width, height, gap = 152.0, 112.0, 14.0
    rows = -(-len(shown) // 2)
    canvas = Canvas("Six activations and their derivatives", rows * (height + 22) + 2)
    for number, one in enumerate(shown):
        left = 10 + (number % 2) * (width + gap)
        _panel(canvas, one, left, 16 + (number // 2) * (height + 22), min(width, WIDTH - left), height)
    return canvas.svg()


def _panel(canvas: Canvas, one: Curves, left: float, top: float, width: float, height: float) -> None:
    low, high = -1.1, 2.0

    def place(z: float, value: float) -> tuple[float, float]:
        across = left + (z - one.z[0]) / (one.z[-1] - one.z[0]) * width
        return across, top + (high - value) / (high - low) * height

    def line(values: Sequence[float], style: str) -> None:
        within = [place(z, v) for z, v in zip(one.z.tolist(), values, strict=True) if low <= v <= high]
        canvas.path(within, style)

    canvas.words(left, top - 4, _TITLES[one.name])
    for value in (-1.0, 0.0, 1.0, 2.0):
        (begin, y), (end, _) = place(one.z[0], value), place(one.z[-1], value)
        canvas.line(begin, y, end, y, "axis" if value == 0 else "grid")
        canvas.words(begin + 2, y - 2 if value < 2 else y + 10, number_text(value), "muted")
    across, floor = place(0.0, low)
    canvas.line(across, top, across, floor, "grid")
    line(one.derivative.tolist(), "second dash stroke")
    line(one.value.tolist(), "accent stroke")
