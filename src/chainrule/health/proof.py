"""Proof: a remedy is run from the same start as the training without it, over several seeds, and measured."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.health.evidence import Clock, Evidence
from chainrule.health.prescriptions import PRESCRIPTIONS
from chainrule.health.trainings import Training, held_out, measure, redrawn, run

__all__ = ["Proof", "Trial", "scores"]

# R² of predictions that are nowhere near is unbounded below; so much is enough to say so.
WORST_SCORE = -1.0


@dataclass(frozen=True)
class Proof:
    """What a remedy did.

    Attributes
    ----------
    code, title : str
        Of the prescription.
    before, after : tuple of float
        The score on rows not learned from, without and with it, for each seed.
    training : Training
        With the remedy.
    n_steps : int or None
        How much of the training was run; None for all of it.
    """

    code: str
    title: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    training: Training
    n_steps: int | None = None

    @property
    def gain(self) -> float:
        """Mean difference of the scores: 0.05 is five points."""
        return float(np.mean(self.after) - np.mean(self.before))

    @property
    def helped(self) -> bool:
        """Whether every seed gained, and five points on average."""
        pairs = zip(self.after, self.before, strict=True)
        return self.gain >= 0.05 and all(after > before for after, before in pairs)


def scores(training: Training, seeds: Sequence[int], n_steps: int | None = None) -> tuple[float, ...]:
    """The validation score for each seed: 0 is the training's own start, others another draw of it."""
    found = []
    for seed in seeds:
        started = training if seed == 0 else training.altered(module=redrawn(training.module, seed))
        result = run(started, n_steps, seed=seed)
        score = (result.validation or measure(training, result.module)).score
        found.append(max(WORST_SCORE, score) if np.isfinite(score) else WORST_SCORE)
    return tuple(found)


class Trial:
    """Remedies run once each, beside the training without any.

    Parameters
    ----------
    evidence : Evidence
    clock : Clock
        Remedies are run as long as it has time.
    seeds : sequence of int
        That each is run with; of none, remedies are made and not run.
    n_steps : int, optional
        Steps of a run; by default the whole training.
    """

    def __init__(
        self, evidence: Evidence, clock: Clock, seeds: Sequence[int], n_steps: int | None = None
    ) -> None:
        self.evidence, self.clock, self.seeds, self.n_steps = evidence, clock, tuple(seeds), n_steps
        self.training = held_out(evidence.training)
        self._proofs: dict[str, Proof | None] = {}

    @functools.cached_property
    def before(self) -> tuple[float, ...]:
        """The scores without a remedy."""
        return self._scores(self.training)

    def of(self, code: str) -> Proof | None:
        """What a remedy does; None where it does not apply or there is no time."""
        if code not in self._proofs:
            if self.clock.left <= 0:
                return None
            prescription = PRESCRIPTIONS[code]
            remedy = prescription.make(self.training, self.evidence)
            self._proofs[code] = None if remedy is None else Proof(
                code, prescription.title, self.before, self._scores(remedy), remedy, self.n_steps
            )  # fmt: skip
        return self._proofs[code]

    def _scores(self, training: Training) -> tuple[float, ...]:
        with np.errstate(all="ignore"):
            return scores(training, self.seeds, self.n_steps)
