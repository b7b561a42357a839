"""Saddles: how many critical points are some, which they are in a network, and how descent leaves them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule.book.blocks import Check, Code, Equation, Figure, Section, Words
from chainrule.book.experiments.saddles import (
    CriticalPoints,
    Escapes,
    escape,
    find_critical_points,
    rank_correlation,
)
from chainrule.book.experiments.same_signs import DEAN_MAJUMDAR, SameSigns, same_sign_shares, same_signs
from chainrule.book.plots import COLOURS, Curve, Mark, Scale, curves, points
from chainrule.book.verdict import Effort, Judgement, Verdict, judged, spread_of

__all__ = ["section"]

# An exponential law has one factor a dimension; beyond this ratio of the last to the first it has not.
_OTHER_LAW = 1.5
# Saddles dominate where they are this share of the critical points; the index rises with the loss from
# this rank correlation on.
_DOMINANT, _RISES = 0.75, 0.5
# A descent has left when its loss is below this share of the saddle's.
_LEFT = 0.95


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    signs = same_signs(
        largest=effort.choose(full=16, quick=10),
        n=effort.choose(full=50_000, quick=5_000),
        seeds=range(effort.choose(full=5, quick=3)),
        n_counted=effort.choose(full=1_000_000, quick=100_000),
    )
    found = [
        find_critical_points(seed, effort.choose(full=400, quick=120))
        for seed in range(effort.choose(full=5, quick=2))
    ]
    escapes = escape(range(effort.choose(full=20, quick=6)), n_steps=1200)
    return Section(
        "saddles",
        "Saddles",
        "6",
        (
            Words(
                "Where the gradient is zero, the signs of the Hessian's eigenvalues say what is there: all "
                "positive a minimum, all negative a maximum, some of each a saddle. If they were those of "
                "a random symmetric matrix, how often would they agree?"
            ),
            Code(same_sign_shares, "Shares that are too small to be met with by chance, found all the same."),
            Check(
                "the share counted for two dimensions against 1 − 1/√2, in standard errors",
                _standard_errors(signs.counted[1], 1 - 1 / np.sqrt(2), signs.n_counted),
                5.0,
            ),
            Check(
                "the shares against counting eigenvalues of independent matrices, to five dimensions, "
                "in standard errors of the count",
                _against_counts(signs),
                5.0,
            ),
            *_sign_figures(signs),
            _law_verdict(signs),
            Equation(r"\mathcal{L}(w) = \frac{1}{2n} \sum_i (f(x_i) - y_i)^2 + \frac{\lambda}{2} \|w\|^2"),
            Words(
                "A network's Hessian is no random matrix. So we look for the critical points of a network "
                f"of {found[0].n_parameters} parameters with a little weight decay: "
                "$\\|\\nabla\\mathcal{L}\\|^2$ is minimised from "
                f"{found[0].n_starts} places, random ones and others along paths of descent. It is zero at a "
                "minimum, a saddle and a maximum alike. What differs only in the order of the units is "
                "counted once."
            ),
            Code(find_critical_points),
            Check(
                "the gradient at the critical points against zero",
                max(float(one.gradient_norm.max()) for one in found),
                1e-8,
            ),
            _index_figure(found),
            _dominate_verdict(found),
            _index_verdict(found),
            Words(
                "Now two saddles to begin at. On data that are symmetric, with x and −x in one class, the "
                "slopes of the output weights cancel over all examples where these weights are zero, but not "
                "over a batch. Where all weights are zero, every example's slope is zero by itself."
            ),
            _escape_figure(escapes),
            _escape_verdict(escapes),
        ),
        {"signs": signs, "critical": found, "escapes": escapes},
    )


def _standard_errors(counted: float, expected: float, n: int) -> float:
    """How far a share that was counted is from the expected one."""
    return float(abs(counted - expected) / np.sqrt(expected * (1 - expected) / n))


def _against_counts(signs: SameSigns) -> float:
    grown = signs.shares.mean(axis=0)
    pairs = list(zip(signs.counted, grown, strict=False))[1:]  # of one dimension both are 1
    return max(_standard_errors(counted, share, signs.n_counted) for counted, share in pairs)


def _sign_figures(signs: SameSigns) -> tuple[Figure, Figure]:
    d, share = signs.d.tolist(), signs.shares.mean(axis=0)
    middle = ((signs.d[:-1] + signs.d[1:]) / 2).tolist()
    rates = signs.rates
    first = float(rates.mean(axis=0)[0])
    return (
        Figure(
            "same-sign",
            "All eigenvalues of one sign",
            curves(
                "Share of random symmetric matrices with eigenvalues of one sign against the dimensions",
                [
                    Curve("random matrices", d, share.tolist(), dots=True),
                    Curve("counted", signs.counted_d.tolist(), signs.counted.tolist(), "second", line=False),
                    Curve(
                        "one factor a dimension",
                        d,
                        np.exp(-first * (signs.d - 1.0)).tolist(),
                        "muted",
                        dashed=True,
                    ),
                ],
                Scale("dimensions d"),
                Scale("share", log=True),
            ),
            f"At {d[-1]} dimensions one matrix in {1 / share[-1]:.1e}. The dashed line goes on as it began.",
        ),
        Figure(
            "same-sign-rate",
            "What one more dimension costs",
            curves(
                "Logarithm of the factor that a dimension divides the share by",
                [
                    Curve(
                        "measured",
                        middle,
                        rates.mean(axis=0).tolist(),
                        dots=True,
                        low=rates.min(axis=0).tolist(),
                        high=rates.max(axis=0).tolist(),
                    ),
                    Curve("if exponential", middle, [first] * len(middle), "muted", dashed=True),
                ],
                Scale("dimensions d"),
                Scale("ln of the factor", low=0.0),
            ),
            f"A straight line that rises by {2 * signs.quadratic.mean():.3f} a dimension: the share goes "
            f"like exp(−c d²) with c = {signs.quadratic.mean():.3f}; theory has ln 3 / 4 = "
            f"{DEAN_MAJUMDAR:.3f} for large d (Dean and Majumdar 2006).",
        ),
    )


def _law_verdict(signs: SameSigns) -> Verdict:
    rates = signs.rates.mean(axis=0)
    factors = np.exp(rates)
    return Verdict(
        claim="The chance that all eigenvalues share a sign falls exponentially with the dimensions",
        section="6",
        expected="each dimension divides the share by the same factor",
        measured=f"by {factors[0]:.2g} at first and {factors[-1]:.2g} in the end: it falls faster still, "
        f"like exp(−{signs.quadratic.mean():.2f} d²)",
        spread=f"c {spread_of(signs.quadratic)}",
        verdict=Judgement.fails if rates[-1] > _OTHER_LAW * rates[0] else Judgement.holds,
    )


def _index_figure(found: Sequence[CriticalPoints]) -> Figure:
    total = sum(len(one.loss) for one in found)
    deepest = max(float((one.index / one.n_parameters).max()) for one in found)
    return Figure(
        "loss-and-index",
        "Critical points of a network",
        points(
            "Loss against the share of negative eigenvalues",
            [
                Curve(
                    f"task {number}",
                    (one.index / one.n_parameters).tolist(),
                    one.loss.tolist(),
                    colour,
                    line=False,
                )
                for number, (one, colour) in enumerate(zip(found, COLOURS, strict=False), 1)
            ],
            Scale("share of negative eigenvalues", low=0.0),
            Scale("loss"),
        ),
        f"{total} critical points. On the left are the minima; the higher the loss, the more directions lead "
        f"down. {'None is' if deepest < 1 else 'Some are'} a maximum.",
    )


def _dominate_verdict(found: Sequence[CriticalPoints]) -> Verdict:
    shares = [float((one.index > 0).mean()) for one in found]
    saddles, total = sum(int((one.index > 0).sum()) for one in found), sum(len(one.loss) for one in found)
    good = [share >= _DOMINANT for share in shares]
    return Verdict(
        claim="Saddles dominate the critical points",
        section="6",
        expected=f"{_DOMINANT:.0%} of a network's critical points or more, in each task",
        measured=f"{saddles} of {total} that were found",
        spread=spread_of(shares, "tasks"),
        verdict=judged(good),
    )


def _index_verdict(found: Sequence[CriticalPoints]) -> Verdict:
    ranks = [rank_correlation(one.loss, one.index) for one in found]
    good = [rank >= _RISES for rank in ranks]
    return Verdict(
        claim="The higher the loss of a critical point, the more directions lead down from it",
        section="6",
        expected=f"a rank correlation of {_RISES:g} or more between loss and index, in each task",
        measured=f"{np.mean(ranks):.2f} in the mean",
        spread=spread_of(ranks, "tasks"),
        verdict=judged(good),
    )


def _escape_figure(escapes: Escapes) -> Figure:
    steps = list(range(escapes.whole.shape[1]))
    named = (
        ("all examples", escapes.whole, "accent"),
        ("batches", escapes.batches, "second"),
        ("batches, all weights zero", escapes.twins, "third"),
    )
    return Figure(
        "leaving-a-saddle",
        "Leaving a saddle",
        curves(
            "Loss of descents that begin at a saddle",
            [
                Curve(
                    name,
                    steps,
                    np.median(losses, axis=0).tolist(),
                    colour,
                    dashed=name.endswith("zero"),
                    low=losses.min(axis=0).tolist(),
                    high=losses.max(axis=0).tolist(),
                )
                for name, losses, colour in named
            ],
            Scale("steps"),
            Scale("loss of all examples", low=0.0),
            marks=[Mark("the saddle", y=float(escapes.whole[0, 0]))],
        ),
        f"Median, least and greatest of {len(escapes.whole)} starts. Gradient descent on all examples stays, "
        "and so does every descent from weights that are all zero.",
    )


def _escape_verdict(escapes: Escapes) -> Verdict:
    def left(losses: np.ndarray) -> np.ndarray:
        return np.asarray(losses[:, -1] < _LEFT * losses[:, 0])

    whole, batches, twins = left(escapes.whole), left(escapes.batches), left(escapes.twins)
    stalls = not whole.any()
    most = batches.mean() >= 0.8
    judgement = Judgement.fails
    if stalls and most:
        judgement = Judgement.holds if twins.mean() >= 0.8 else Judgement.depends
    return Verdict(
        claim="SGD's noise escapes saddles at which gradient descent stalls",
        section="6",
        expected=f"a loss below {_LEFT:.0%} of the saddle's by batches, and not by all examples",
        measured=f"by batches {batches.sum()} of {len(batches)}, by all examples {whole.sum()}; from weights "
        f"that are all zero, where no example has a slope, {twins.sum()}: noise needs examples that differ",
        spread=f"last losses by batches {spread_of(escapes.batches[:, -1])}",
        verdict=judgement,
    )
