"""Depth against width: linear pieces, counted."""

from __future__ import annotations

import numpy as np

from chainrule.book.blocks import Check, Code, Equation, Figure, Section, Words
from chainrule.book.experiments.depth import (
    PieceCounts,
    count_pieces,
    linear_pieces,
    pieces_by_depth,
    pieces_by_width,
    shallow_tent,
    tent_network,
)
from chainrule.book.plots import Curve, Scale, curves
from chainrule.book.verdict import Effort, Judgement, Verdict, spread_of

__all__ = ["section"]

WIDTH = 8
DRAWN = 4


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    depths = tuple(range(1, effort.choose(full=13, quick=11)))
    deep = [count_pieces(tent_network(depth), 0, 1) for depth in depths]
    seeds = effort.choose(full=50, quick=10)
    wide = pieces_by_width((1, 2, 4, 8, 16, 32, 64), seeds)
    shapes = pieces_by_depth(WIDTH, (1, 2, 3, 4, 6, 8), seeds)
    return Section(
        "depth",
        "Depth against width",
        "2",
        (
            Words(
                "A ReLU network of one input is a chain of straight pieces. A unit of the first layer adds "
                "one kink; a unit of a later layer adds one wherever the chain below it crosses zero. "
                "The pieces are counted exactly, in fractions."
            ),
            Code(linear_pieces),
            *_tent(depths, deep),
            *_shallow(depths, deep, wide),
            *_typical(shapes),
        ),
        {"depths": depths, "deep": deep, "wide": wide, "shapes": shapes},
    )


def _tent(depths: tuple[int, ...], deep: list[int]) -> tuple[Words | Equation | Code | Figure | Verdict, ...]:
    x = np.arange(2**DRAWN + 1) / 2**DRAWN
    places = np.linspace(0, 1, 2**DRAWN * 4 + 1)
    once, often = (tent_network(depth)(places[:, None])[:, 0] for depth in (1, DRAWN))
    wrong = [depth for depth, count in zip(depths, deep, strict=True) if count != 2**depth]
    return (
        Words(
            "The tent map folds the unit interval once. Composed with itself it folds what is folded already."
        ),
        Equation(r"t(x) = 2 \max(0, x) - 4 \max(0, x - \tfrac12), \qquad t \circ t \circ \cdots \circ t"),
        Code(tent_network),
        Figure(
            "composed-tent",
            "The tent map, folded again and again",
            curves(
                "The composed tent map",
                [
                    Curve(f"L = {DRAWN}", places.tolist(), often.tolist()),
                    Curve("L = 1", places.tolist(), once.tolist(), colour="second"),
                ],
                Scale("x"),
                Scale("value"),
            ),
            f"{DRAWN} hidden layers of two units each, {len(x) - 1} straight pieces.",
        ),
        Verdict(
            claim="The tent map composed $L$ times has $2^L$ linear pieces",
            section="2",
            expected="as many at each depth, counted exactly",
            measured=f"{', '.join(map(str, deep[:4]))}, ... {deep[-1]:,} at L = {depths[-1]}",
            spread="exact",
            verdict=Judgement.fails if wrong else Judgement.holds,
        ),
    )


def _shallow(
    depths: tuple[int, ...], deep: list[int], wide: list[PieceCounts]
) -> tuple[Words | Check | Figure | Verdict, ...]:
    over = max(int(one.counts.max()) - one.width - 1 for one in wide)
    drawn = 2**DRAWN * 8
    places = np.linspace(0, 1, drawn + 1)[:, None]
    apart = max(float(np.abs(tent_network(d)(places) - shallow_tent(d)(places)).max()) for d in (1, 3, 6))
    bounded = all(one.width + 1 >= one.counts.max() for one in wide)
    # With at most M + 1 pieces a layer needs M at least as many as these.
    needed = [count - 1 for count in deep]
    return (
        Words(
            f"One hidden layer of $M$ units has at most $M + 1$ pieces. For the {deep[-1]:,} pieces of the "
            f"{2 * depths[-1]} units of the deep network it needs {needed[-1]:,} units at least."
        ),
        Figure(
            "pieces",
            "Pieces against units",
            curves(
                "Linear pieces against the number of units",
                [
                    Curve("deep, 2 units a layer", [2 * d for d in depths], deep, dots=True),
                    Curve(
                        "one hidden layer",
                        [one.width for one in wide],
                        [float(one.counts.mean()) for one in wide],
                        colour="second",
                        dots=True,
                    ),
                    Curve(
                        "M + 1",
                        [one.width for one in wide],
                        [one.width + 1 for one in wide],
                        colour="ink",
                        dashed=True,
                    ),
                ],
                Scale("units", log=True),
                Scale("pieces", log=True),
            ),
            "The composed tent map doubles its pieces with each two units; a random layer has a kink a unit.",
        ),
        Verdict(
            claim="A one-hidden-layer ReLU network of $M$ units has at most $M + 1$ pieces on a line",
            section="2",
            expected="no network with more",
            measured=f"the most pieces are M + 1 {'and no more' if over <= 0 else f'and {over} more'}",
            spread=f"{sum(len(one.counts) for one in wide)} random networks of 1 to {wide[-1].width} units",
            verdict=Judgement.holds if bounded else Judgement.fails,
        ),
        Check("The composed tent map against one hidden layer of $2^L$ units, on [0, 1]", apart, 1e-12),
        Verdict(
            claim="A network of depth $L$ can express what needs a width of order $2^L$ in a shallow one",
            section="2",
            expected="pieces that double with each layer, against one more piece a unit",
            measured=f"{2 * depths[-1]} units in {depths[-1]} layers against at least {needed[-1]:,} in one",
            spread="exact",
            verdict=Judgement.holds
            if bounded and all(count >= 2**d for d, count in zip(depths, deep, strict=True))
            else Judgement.fails,
        ),
    )


def _typical(shapes: list[PieceCounts]) -> tuple[Words | Figure | Verdict, ...]:
    depths, means = [one.depth for one in shapes], [float(one.counts.mean()) for one in shapes]
    factor, doubled = means[-1] / means[0], 2.0 ** (depths[-1] - depths[0])
    units = depths[-1] * WIDTH
    verdict = Judgement.holds if factor >= doubled else Judgement.depends
    return (
        Words(
            "That is what depth can express. What it does express is another question: random networks of "
            f"{WIDTH} units a layer, with He's weights and normal biases, gain pieces with each layer, too, "
            "but they do not double them."
            if verdict is Judgement.depends
            else f"Random networks of {WIDTH} units a layer double their pieces with each layer as well."
        ),
        Figure(
            "pieces-of-random-networks",
            f"Layers of {WIDTH} units, random weights",
            curves(
                "Linear pieces of random networks against their depth",
                [
                    Curve(
                        "random networks",
                        depths,
                        means,
                        dots=True,
                        low=[float(one.counts.min()) for one in shapes],
                        high=[float(one.counts.max()) for one in shapes],
                    ),
                    Curve(
                        "as many units in one layer",
                        depths,
                        [one.depth * WIDTH + 1 for one in shapes],
                        colour="ink",
                        dashed=True,
                    ),
                ],
                Scale("hidden layers"),
                Scale("pieces", low=0.0),
            ),
            f"Mean of {len(shapes[0].counts)} networks, from the fewest to the most. Doubling with each "
            f"layer would be {means[0] * doubled:,.0f} pieces at the right end.",
        ),
        Verdict(
            claim="Depth beats width: each further layer doubles the linear pieces",
            section="2",
            expected=f"{doubled:,.0f} times as many with {depths[-1]} layers as with one",
            measured=f"{factor:.2g} times as many in random networks, {means[-1]:.3g} where one layer of the "
            f"same {units} units can have {units + 1}; the tent map's weights do double them",
            spread=f"{depths[-1]} layers: {spread_of(shapes[-1].counts, 'networks')} (pieces)",
            verdict=verdict,
        ),
    )
