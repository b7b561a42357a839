"""Remedies for vanishing and exploding gradients."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule import nn
from chainrule.book.blocks import Block, Code, Equation, Figure, Section, Table, Words
from chainrule.book.experiments.remedies import (
    PATIENTS,
    REMEDIES,
    Budget,
    Outcome,
    deep_network,
    try_remedies,
)
from chainrule.book.plots import bars
from chainrule.book.verdict import Effort, Judgement, Verdict, spread_of

__all__ = ["section"]

# Ten classes: chance is a tenth, with a standard error of 1 % on the examples held out.
LEARNS, TRAINS = 0.15, 0.8
SIGMOID, SMALL, LARGE = PATIENTS
FIGURES = {SIGMOID: "remedies-sigmoid", SMALL: "remedies-small-weights", LARGE: "remedies-large-weights"}


def section(effort: Effort) -> Section:
    """Compute the section; see ``chainrule.book.section``."""
    budget = effort.choose(
        full=Budget(epochs=40, rates=(0.002, 0.005, 0.03, 0.1), seeds=tuple(range(5))),
        quick=Budget(epochs=12, rates=(0.005, 0.03), seeds=(0, 1)),
    )
    found = {(one.patient, one.remedy): one for one in try_remedies(budget)}
    blocks: tuple[Block, ...] = (
        Words(
            f"Three networks of {budget.depth} layers that do not learn: in the first two the gradient "
            "vanishes, by the sigmoid's slopes and by small weights (those a linear layer gets by default, "
            "here as in PyTorch); in the third it explodes. Each is trained as it is, and with one thing "
            "changed."
        ),
        Equation(r"h^{(l)} = h^{(l-1)} + F(h^{(l-1)})"),
        Code(nn.Residual.forward, "A residual connection."),
        Equation(r"g \leftarrow \frac{c}{\lVert g \rVert} \, g \quad \text{if} \quad \lVert g \rVert > c"),
        Code(nn.utils.clip_grad_norm_, "Gradient clipping."),
        Code(deep_network, "All designs are made here."),
        *(_figure(patient, [found[patient, remedy] for remedy in REMEDIES], budget) for patient in PATIENTS),
        _table(found),
        *(
            _verdict(
                f"{name} a remedy for vanishing and exploding gradients",
                [found[patient, remedy] for patient in PATIENTS],
            )
            for remedy, name in {
                "ReLU": "The ReLU is",
                "residual connections": "Residual connections are",
                "batch normalization": "Batch normalization is",
                "proper initialization": "Proper initialization is",
            }.items()
        ),
        _clipping_verdict({patient: found[patient, "gradient clipping"] for patient in PATIENTS}),
        _vanishing_verdict([found[patient, "residual connections"] for patient in (SIGMOID, SMALL)]),
    )
    return Section("remedies", "Remedies", "4", blocks, {"outcomes": list(found.values())})


def _figure(patient: str, outcomes: Sequence[Outcome], budget: Budget) -> Figure:
    return Figure(
        FIGURES[patient],
        f"{patient[0].upper()}{patient[1:]}, {budget.depth} layers",
        bars(
            "accuracy on held-out digits",
            [one.remedy for one in outcomes],
            [one.median for one in outcomes],
            whiskers=[float(one.accuracy.max() - one.accuracy.min()) / 2 for one in outcomes],
        ),
        f"Median of {len(budget.seeds)} trainings of {budget.epochs} epochs at the better learning rate; the "
        "lines are as long as their range. Chance is 0.1.",
    )


def _table(found: dict[tuple[str, str], Outcome]) -> Table:
    rows = tuple(
        (remedy, *(f"{found[patient, remedy].median:.0%}" for patient in PATIENTS)) for remedy in REMEDIES
    )
    return Table(
        ("remedy", *PATIENTS),
        rows,
        numeric=3,
        caption="Each column is a network. The ReLU by itself changes nothing where there was one, nor do "
        "Xavier's weights where they were Xavier's.",
    )


def _verdict(claim: str, outcomes: Sequence[Outcome]) -> Verdict:
    medians = [one.median for one in outcomes]
    trains = all(median >= TRAINS for median in medians)
    learns = any(median >= LEARNS for median in medians)
    return Verdict(
        claim=claim,
        section="4",
        expected=f"an accuracy of {TRAINS:.0%} for each of the three networks, by itself",
        measured="; ".join(f"{one.patient}: {one.median:.0%}" for one in outcomes),
        spread="; ".join(spread_of(one.accuracy) for one in outcomes),
        verdict=Judgement.holds if trains else Judgement.depends if learns else Judgement.fails,
    )


def _clipping_verdict(clipped: dict[str, Outcome]) -> Verdict:
    large = clipped[LARGE]
    others = [one for patient, one in clipped.items() if patient != LARGE]
    helps, elsewhere = large.median >= LEARNS, max(one.median for one in others)
    right = helps and elsewhere < LEARNS
    return Verdict(
        claim="Gradient clipping is a remedy for exploding gradients, and none for vanishing ones",
        section="4",
        expected=f"beyond chance, at {LEARNS:.0%}, where gradients explode, and not where they vanish",
        measured=f"{large.median:.0%} where they explode, at most {elsewhere:.0%} where they vanish: what is "
        "small is not made larger",
        spread=spread_of(large.accuracy),
        verdict=Judgement.holds if right else Judgement.depends if helps else Judgement.fails,
    )


def _vanishing_verdict(outcomes: Sequence[Outcome]) -> Verdict:
    worst = min(float(one.accuracy.min()) for one in outcomes)
    return Verdict(
        claim="Residual connections are enough where gradients vanish",
        section="4",
        expected=f"an accuracy of {TRAINS:.0%} in every training of the two networks",
        measured=" and ".join(f"{one.median:.0%}" for one in outcomes),
        spread="; ".join(spread_of(one.accuracy) for one in outcomes),
        verdict=Judgement.holds if worst >= TRAINS else Judgement.fails,
    )
