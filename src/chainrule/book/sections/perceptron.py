"""The perceptron: its plane, its rule, and the theorem that bounds its mistakes."""

from __future__ import annotations

import numpy as np

from chainrule.book.blocks import Check, Code, Equation, Figure, Section, Words
from chainrule.book.experiments.perceptron import (
    Bound,
    Run,
    bound_of,
    bounds_of_many_sets,
    hardest_set,
    run_of_the_rule,
    separable_set,
    subgradient_descent,
    updates,
)
from chainrule.book.plots import Curve, Scale, curves, points
from chainrule.book.verdict import Effort, Judgement, Verdict, spread_of
from chainrule.estimators import Perceptron, maximum_margin
from chainrule.estimators.perceptron_rule import Unit

__all__ = ["section"]

# The bound and the two quantities are computed in floating point; a violation beyond this is none of it.
ROUNDING = 1e-9


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    found = bounds_of_many_sets(effort.choose(full=200, quick=40), effort.choose(full=5, quick=3))
    hardest = [bound_of(*hardest_set(order)) for order in (4, 8, 16, 32, 64)]
    run = run_of_the_rule(*separable_set(2, 40, gap=0.03, seed=5))
    runs = [
        run_of_the_rule(*separable_set(2 + seed % 9, 30, gap=0.05, seed=seed))
        for seed in range(effort.choose(full=100, quick=20))
    ]
    return Section(
        "perceptron",
        "The perceptron",
        "1",
        (
            Words(
                "A perceptron answers on which side of a plane a point lies; a point on the plane itself "
                "counts as positive. It learns from its mistakes alone: each one moves the plane towards "
                "the point that was on the wrong side."
            ),
            Equation(r"\hat y = \mathrm{sign}(w^\top x + b), \qquad \mathrm{sign}(0) = +1"),
            Equation(r"w \leftarrow w + \eta\, y_i x_i, \qquad b \leftarrow b + \eta\, y_i"),
            Code(Unit.update, "The rule, on a row that was a mistake."),
            Figure(
                "perceptron-plane",
                "Two classes and two planes",
                _plane(run),
                f"The perceptron came to rest after {len(run.weights) - 1} mistakes on {len(run.y)} points: "
                "its plane parts the classes, and need not be the one that is farthest from both.",
            ),
            *_descent(run),
            *_theorem(found, hardest),
            *_proof(run, runs),
        ),
        {"bounds": found, "hardest": hardest, "run": run, "runs": runs},
    )


def _plane(run: Run) -> str:
    (left, floor), (right, top) = run.X.min(axis=0) - 0.2, run.X.max(axis=0) + 0.2
    positive, negative = (run.X[run.y == label].T.tolist() for label in (1, -1))
    places = np.linspace(left, right, 400)

    def line(weights: np.ndarray) -> list[float]:
        """Where wᵀx + b = 0 in two dimensions."""
        return [float(one) for one in -(weights[0] * places + weights[2]) / weights[1]]

    groups = [
        Curve("y = +1", positive[0], positive[1], colour="accent", line=False),
        Curve("y = −1", negative[0], negative[1], colour="second", line=False),
        Curve("perceptron", places.tolist(), line(run.weights[-1]), colour="ink"),
        Curve("greatest margin", places.tolist(), line(run.best), colour="third", dashed=True),
    ]
    return points(
        "Points of two classes, and planes between them",
        groups,
        Scale("x₁", float(left), float(right)),
        Scale("x₂", float(floor), float(top)),
    )


def _descent(run: Run) -> tuple[Words | Equation | Check, ...]:
    """The rule against the tape's gradient, and against the estimator that has it."""
    rows = [row for row, _ in updates(run.X, run.y, 100_000)]
    path = subgradient_descent(run.X, run.y, rows, rate=1.0)
    fitted = Perceptron(tol=None, shuffle=False, max_iter=100_000).fit(run.X, run.y)
    end = np.append(fitted.coef_[0], fitted.intercept_)
    return (
        Words(
            "It is stochastic subgradient descent on the sum of what the misclassified points are on the "
            "wrong side by: the gradient of a point's term is $-y_i x_i$ by $w$ and $-y_i$ by $b$."
        ),
        Equation(r"\mathcal{L} = \sum_{i \in M} -y_i (w^\top x_i + b)"),
        Check(
            f"The rule against SGD on the tape's gradient of $-y_i(w^\\top x_i + b)$, after each of "
            f"{len(rows)} mistakes",
            float(np.abs(path - run.weights[1:]).max()),
            1e-12,
        ),
        Check(
            "The rule row by row against `Perceptron`, which looks for the next mistake among many rows",
            float(np.abs(run.weights[-1] - end).max()),
            1e-12,
        ),
    )


def _theorem(
    found: list[Bound], hardest: list[Bound]
) -> tuple[Words | Equation | Code | Figure | Verdict, ...]:
    shares = [one.mistakes / one.bound for one in (*found, *hardest)]
    broken = [
        one for one in (*found, *hardest) if not one.converged or one.mistakes > one.bound * (1 + ROUNDING)
    ]
    tightest = max(hardest, key=lambda one: one.mistakes / one.bound)
    typical = [one.mistakes / one.bound for one in found]
    return (
        Words(
            "On separable data the number of mistakes is bounded, whatever the order of the points and "
            "whatever $\\eta$ is. $R$ is the length of the longest point and $\\gamma$ the least "
            "$y_i {w^*}^\\top x_i$, the bias counted as one more weight. The bound is least for the plane of "
            "greatest margin, which is the solution of a quadratic program."
        ),
        Equation(r"k \le \frac{\|w^*\|^2 R^2}{\gamma^2}"),
        Code(maximum_margin),
        Figure(
            "mistakes-against-bound",
            "Mistakes against the bound",
            _mistakes(found, hardest),
            f"Each point is a data set, with the most mistakes of any order tried; {len(broken) or 'none'} "
            "above the line. Random sets stay far below it; rows that are orthogonal to one another come up "
            "to it, but for one mistake.",
        ),
        Words(
            f"A random set takes {np.median(typical):.1%} of its bound in the median, {max(typical):.1%} at "
            f"most. Hardly any better bound is to be had, though: on {tightest.rows} rows of a Hadamard "
            f"matrix no mistake helps with another, and there are {tightest.mistakes} mistakes of "
            f"{tightest.bound:.0f} possible ones."
        ),
        Verdict(
            claim="On separable data a perceptron makes at most $\\|w^*\\|^2 R^2 / \\gamma^2$ updates",
            section="1",
            expected="it comes to rest on every set, with no more mistakes than that",
            measured=f"{len(broken)} of {len(shares)} sets break it; the most mistakes are "
            f"{max(shares):.3f} of the bound",
            spread=f"a share of {spread_of(shares, 'sets')}",
            verdict=Judgement.fails if broken else Judgement.holds,
        ),
    )


def _mistakes(found: list[Bound], hardest: list[Bound]) -> str:
    ends = [2.0, 2 * max(one.bound for one in (*found, *hardest))]
    shown = [
        Curve("as many as the bound", ends, ends, colour="ink", dashed=True),
        Curve(
            "random sets", [one.bound for one in found], [max(one.mistakes, 1) for one in found], line=False
        ),
        Curve(
            "orthogonal rows",
            [one.bound for one in hardest],
            [one.mistakes for one in hardest],
            colour="second",
            line=False,
        ),
    ]
    return points(
        "Mistakes of the perceptron against the bound on them",
        shown,
        Scale("bound", ends[0], ends[1], log=True),
        Scale("mistakes", 1.0, ends[1], log=True),
    )


def _proof(run: Run, runs: list[Run]) -> tuple[Words | Equation | Figure | Verdict, ...]:
    violations = [one.violation for one in runs]
    k = np.arange(1, len(run.weights))
    most = (run.radius / run.margin) ** 2
    until = np.geomspace(1, most, 100)
    shown = [
        Curve("√k R", until.tolist(), (np.sqrt(until) * run.radius).tolist(), colour="second", dashed=True),
        Curve("‖wₖ‖", k.tolist(), run.norms[1:].tolist(), colour="second"),
        Curve("wₖᵀw*", k.tolist(), run.along_best[1:].tolist(), colour="accent"),
        Curve("kγ", until.tolist(), (until * run.margin).tolist(), colour="accent", dashed=True),
    ]
    return (
        Words(
            "Why: with $\\|w^*\\| = 1$, each mistake adds at least $\\gamma$ to $w_k^\\top w^*$, and at most "
            "$R^2$ to $\\|w_k\\|^2$, because it had $y_i w_k^\\top x_i \\le 0$. A product with a unit vector "
            "is no longer than the vector, so the line cannot grow past the root."
        ),
        Equation(r"k\gamma \;\le\; w_k^\top w^* \;\le\; \|w_k\| \;\le\; \sqrt{k}\, R"),
        Figure(
            "proof-quantities",
            "The proof, in one run",
            curves(
                "The two quantities of the proof after each mistake",
                shown,
                Scale("mistakes k", log=True),
                Scale("length", log=True),
                height=270,
            ),
            f"The dashed lines meet at k = {most:,.0f}, the bound; between them the two quantities are "
            f"caught. This run ended after {k[-1]} mistakes.",
        ),
        Verdict(
            claim="$w_k^\\top w^*$ grows at least linearly in $k$, and $\\|w_k\\|$ at most like $\\sqrt k$",
            section="1",
            expected="after every mistake $w_k^\\top w^* \\ge k\\gamma$ and $\\|w_k\\| \\le \\sqrt k R$",
            measured=f"the worst violation is {max(violations):.1e} of $R$, in "
            f"{sum(len(one.weights) - 1 for one in runs):,} mistakes",
            spread=spread_of(violations, "runs"),
            verdict=Judgement.holds if max(violations) <= ROUNDING else Judgement.fails,
        ),
    )
