"""The error signal at the output, equation (4), and pairs for which it does not hold."""

from __future__ import annotations

import numpy as np

from chainrule.book.blocks import Check, Code, Equation, Example, Figure, Section, Table, Words
from chainrule.book.experiments.multilayer import multilayer
from chainrule.book.experiments.output_errors import (
    Confidence,
    PairError,
    by_chain_rule,
    by_differences,
    confidently_wrong,
    output_errors,
)
from chainrule.book.plots import Curve, Scale, curves
from chainrule.book.verdict import Effort, Verdict, judged, spread_of
from chainrule.explain import derive
from chainrule.explain.output import is_canonical
from chainrule.functions import get_loss

__all__ = ["section"]

# What central differences and what the chain rule leave to rounding, as shares of the largest entry.
_DIFFERENCES, _ROUNDING = 1e-6, 1e-10


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    seeds = tuple(range(effort.choose(full=50, quick=5)))
    found = output_errors(seeds=seeds)
    confidence = confidently_wrong()
    ours = [one for one in found if one.in_chapter]
    return Section(
        "output-errors",
        "The error at the output",
        "3",
        (
            Words(
                "Backpropagation begins at the last layer, with the error signal there. The chapter gives "
                "one form of it for three pairs of what the output is and what loss is taken of it."
            ),
            Equation(r"\delta^{(L)} = \frac{\partial \mathcal{L}}{\partial z^{(L)}} = \hat y - y", "(4)"),
            Words(
                (
                    "softmax with cross-entropy: $\\partial\\mathcal{L}/\\partial\\hat{y}_c = "
                    "-y_c/\\hat{y}_c$ and $\\partial\\hat{y}_c/\\partial z_k = \\hat{y}_c (1[c=k] - "
                    "\\hat{y}_k)$; summed over c this is $\\hat{y}_k \\sum_c y_c - y_k$, and the targets "
                    "sum to 1;",
                    "linear with half the squared error: $\\partial\\hat{y}/\\partial z = 1$;",
                    "sigmoid with binary cross-entropy: $\\partial\\mathcal{L}/\\partial\\hat{y} = "
                    "(\\hat{y} - y)/(\\hat{y} (1-\\hat{y}))$, of which $\\partial\\hat{y}/\\partial z = "
                    "\\hat{y} (1-\\hat{y})$ cancels the denominator.",
                )
            ),
            Check(
                "Equation (4) for the three pairs against central differences of the loss",
                max(max(one.differences) for one in ours),
                _DIFFERENCES,
            ),
            Check(
                "Equation (4) for the three pairs against the chain rule with the link's whole Jacobian "
                "matrix, (∂ŷ/∂z)ᵀ ∂ℒ/∂ŷ",
                max(max(one.derived) for one in ours),
                _ROUNDING,
            ),
            Check(
                "Equation (4) for the three pairs against the library's losses, which take z",
                max(max(one.library) for one in ours),
                _ROUNDING,
            ),
            Code(by_differences),
            Code(by_chain_rule),
            Code(
                get_loss("softmax_cross_entropy").gradient,
                "What training uses: ŷ − y, without a logarithm of ŷ or a division by it.",
            ),
            _verdict(ours),
            Words(
                "It is a property of the pair, not of backpropagation. The table puts other pairs to the "
                "same test; so does the softmax with targets that do not sum to 1, which is where the "
                "derivation above uses that they do."
            ),
            _table(found),
            _figure(confidence),
            Code(is_canonical, "How the library finds out whether a loss of its own has (4)."),
            _example(),
        ),
        {"pairs": found, "confidence": confidence},
    )


def _verdict(ours: list[PairError]) -> Verdict:
    right = [max(one.differences) < _DIFFERENCES and max(one.derived) < _ROUNDING for one in ours]
    verdict = judged(right)
    return Verdict(
        claim="δ at the output is ŷ − y for softmax with cross-entropy, for linear with ½ squared error, "
        "and for sigmoid with binary cross-entropy",
        section="3",
        expected="the difference from ∂ℒ/∂z is rounding",
        measured="; ".join(f"{one.name}: {max(one.differences):.1e} of δ" for one in ours),
        spread=spread_of([value for one in ours for value in one.differences], "outputs and targets"),
        verdict=verdict,
    )


def _table(found: tuple[PairError, ...]) -> Table:
    return Table(
        ("output and loss", "(4)", "off by, share of δ"),
        tuple(
            (
                one.name,
                "holds" if max(one.differences) < _DIFFERENCES else "does not",
                f"{min(one.differences):.2g} to {max(one.differences):.2g}",
            )
            for one in found
        ),
        numeric=1,
        caption=f"The largest difference between ŷ − y and the derivative of the loss, as a share of the "
        f"latter's largest entry; the least and the greatest over {len(found[0].differences)} random "
        "outputs.",
    )


def _figure(found: Confidence) -> Figure:
    z = found.z.tolist()
    return Figure(
        "confidently-wrong",
        "Why the pair matters: a sigmoid whose target is 1",
        curves(
            "The error signal of a sigmoid output with two losses, against its z",
            [
                Curve("with binary cross-entropy: 1 − ŷ", z, found.cross_entropy.tolist()),
                Curve("with ½ squared error: (1 − ŷ) ŷ (1 − ŷ)", z, found.squared_error.tolist(), "second"),
            ],
            Scale("z, from surely wrong to surely right"),
            Scale("|δ|", low=0),
        ),
        f"At z = {z[0]:g} the output is sure of the wrong answer. With cross-entropy δ is "
        f"{found.cross_entropy[0]:.3f}, the whole error; with the squared error it is "
        f"{found.squared_error[0]:.1e}, and nothing is learnt: σ′ is left over in it. The squared error "
        f"corrects most at z = {z[int(np.argmax(found.squared_error))]:.1f}.",
    )


def _example() -> Example:
    shown = derive(multilayer((4, 3), [], seed=0), "binary_cross_entropy").to_text()
    return Example(
        "chainrule derive --layers 4,3 --loss binary_cross_entropy",
        shown.rstrip("\n"),
        "The derivation for a network and a loss of your own: it says why (4) holds of the pair, or "
        "writes δ by (3) where it does not, as with `--loss huber`.",
    )
