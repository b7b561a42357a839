"""The multilayer network: its architecture, and the forward pass."""

from __future__ import annotations

import numpy as np

from chainrule.book import diagrams
from chainrule.book.blocks import Check, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.network import (
    ForwardPass,
    Kept,
    by_the_equations,
    forward_pass,
    slope_from_value,
)
from chainrule.book.verdict import Effort, Judgement, Verdict
from chainrule.functions.losses import softmax
from chainrule.nn import Linear
from chainrule.reference import ReferenceExecutor

__all__ = ["section"]

# σ' of two z with the same h differ by rounding and the grid, or by a good part of σ' itself.
_TELLS_APART = 0.01

_ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu", "gelu", "swish")


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    found = forward_pass()
    # Every activation of the table, in one network.
    mixed = forward_pass((4, 7, 6, 5, 6, 7, 6, 3), _ACTIVATIONS, n=50, seed=1)
    kept = slope_from_value(_ACTIVATIONS)
    d = found.widths
    return Section(
        "network",
        "The multilayer network",
        "2",
        (
            Words(
                f"A network of L = {len(d) - 1} layers takes d₀ = {d[0]} numbers to {d[-1]}. Each layer is "
                "an affine map and then, number by number, an activation σ; the last one has none, for what "
                "becomes of its z belongs to the loss."
            ),
            _architecture(found),
            Equation(r"z^{(l)} = W^{(l)} h^{(l-1)} + b^{(l)}", "(1)"),
            Equation(r"h^{(l)} = \sigma(z^{(l)}), \qquad h^{(0)} = x", "(2)"),
            Words(
                "The equations speak of one example, a column. A batch is stored one row an example, so that "
                "(1) reads $Z = H W^T + b$: the same numbers, transposed, in one product a layer."
            ),
            Code(
                by_the_equations, "Equations (1) and (2), one example at a time: what the others must match."
            ),
            Code(Linear.forward, "Equation (1) on the tape."),
            Code(ReferenceExecutor.values, "The whole forward pass, with every value kept."),
            _flow(found),
            Check(
                f"Equations (1) and (2), one example at a time, against {', '.join(found.outputs)}: "
                "the outputs of one batch, as a share of the largest",
                max(found.errors.values()),
                1e-13,
            ),
            Check(
                f"The same of a network of {len(mixed.z)} layers with every activation of the table: "
                f"{', '.join(mixed.activations)}",
                max(mixed.errors.values()),
                1e-13,
            ),
            Words(
                "The forward pass keeps what the way back will read: $h^{(l-1)}$, which equation (6) "
                "multiplies by, and $z^{(l)}$, at which equation (5) takes σ′. Whether both are needed is "
                "a question to the activation: where σ′ can be told from h, z may be forgotten. "
                "So we look for two z with the same h and different slopes."
            ),
            _kept_table(kept),
            _kept_verdict(kept),
        ),
        {"forward": found, "mixed": mixed, "kept": kept},
    )


def _architecture(found: ForwardPass) -> Figure:
    parameters = sum((a + 1) * b for a, b in zip(found.widths, found.widths[1:], strict=False))
    return Figure(
        "architecture",
        "The architecture of a multilayer network",
        diagrams.architecture(
            f"A network of widths {', '.join(map(str, found.widths))}",
            found.widths,
            ["x", *found.activations, "z⁽ᴸ⁾"],
        ),
        "A circle is a unit, a line a weight, and every circle that is not an input has a bias besides: "
        f"{parameters} parameters. Every unit of a layer reads every unit of the layer before.",
    )


def _flow(found: ForwardPass) -> Figure:
    last = len(found.z)
    stations = [diagrams.Station("X", found.X.shape, _numbers(found.X))]
    for l, z in enumerate(found.z, 1):
        before = f"H{diagrams.raised(l - 1)}" if l > 1 else "X"
        made_by = f"{before} W{diagrams.raised(l)}ᵀ + b{diagrams.raised(l)}"
        stations.append(diagrams.Station(f"Z{diagrams.raised(l)}", z.shape, _numbers(z), made_by))
        if l < last:
            h = found.h[l - 1]
            stations.append(
                diagrams.Station(
                    f"H{diagrams.raised(l)}",
                    h.shape,
                    _numbers(h),
                    f"{found.activations[l - 1]}, each by itself",
                )
            )
    prediction = softmax(found.z[-1])
    stations.append(diagrams.Station("Ŷ", prediction.shape, _numbers(prediction), "softmax of each row"))
    n, d = found.X.shape
    return Figure(
        "forward-flow",
        "The forward flow, with shapes",
        diagrams.forward_flow("The arrays of a forward pass", stations),
        f"A batch of {n} examples of {d} numbers. The number of rows stays {n} all the way; the columns "
        "become the width of each layer. The numbers are the first example's.",
    )


def _numbers(rows: np.ndarray) -> str:
    """The first row's first numbers."""
    shown = ", ".join(f"{value:.2f}".replace("-", "−") for value in rows[0, :5])
    return shown + (", …" if rows.shape[1] > 5 else "")


def _kept_table(kept: tuple[Kept, ...]) -> Table:
    return Table(
        ("activation", "σ′ differs by", "keep z?"),
        tuple((one.name, f"{one.gap:.2g}", "yes" if one.gap > _TELLS_APART else "no") for one in kept),
        numeric=2,
        caption="How much the slopes of two z with one h differ. GELU and Swish fall and rise again: they "
        "take the same value at two places, with slopes of "
        "different signs.",
    )


def _kept_verdict(kept: tuple[Kept, ...]) -> Verdict:
    needs = [one.name for one in kept if one.gap > _TELLS_APART]
    others = [one.name for one in kept if one.gap <= _TELLS_APART]
    verdict = Judgement.depends
    if not needs or not others:
        verdict = Judgement.holds if needs else Judgement.fails
    return Verdict(
        claim="The way back needs h and z of every layer kept",
        section="2",
        expected="for every activation two z with the same h and different σ′",
        measured=f"such z for {', '.join(needs) or 'none'}; none for {', '.join(others) or 'none'}, "
        "of which h alone will do",
        spread=f"exact to the grid, over {len(kept)} activations",
        verdict=verdict,
    )
