"""Proof: a remedy is run from the same start as the training without it, over several seeds, and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.health.trainings import Training, held_out, measure, redrawn, run

__all__ = ["Proof", "held_out", "prove", "scores"]

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


def prove(
    before: tuple[float, ...],
    remedy: tuple[str, str, Training],
    seeds: Sequence[int],
    n_steps: int | None = None,
) -> Proof:
    """Run a training with a remedy (code, title, training), beside the scores without it."""
    code, title, training = remedy
    return Proof(code, title, before, scores(training, seeds, n_steps), training, n_steps)
