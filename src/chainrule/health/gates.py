"""Gates before alarms: three short experiments that say whether a network fails to learn at all.

A measurement that looks odd is no illness. G1: it cannot even memorise 32 examples. G2: no learning rate
makes the loss fall. G3: it does as well when the inputs are dealt out to the wrong targets. A network that
passes all of them can learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.health.backends import backend_of
from chainrule.health.telemetry import dropouts
from chainrule.health.trainings import Run, Training, baseline_loss, measure, run

__all__ = ["InputBlind", "Memorised", "Sweep", "input_blind", "memorise", "sweep"]

MEMORISED_ROWS, MEMORISED_STEPS = 32, 300
# A network that has memorised has a loss below this share of the baseline's.
MEMORISED_SHARE = 0.1
SWEEP_STEPS = 40
# Half decades around the rates that anyone uses.
SWEEP_RATES = tuple(float(10.0 ** (k / 2)) for k in range(-12, 3))
# Below this D* no rate helps, so that the cause is in the structure.
LEAST_GAIN = 0.25
BLIND_STEPS = 300
# Points of accuracy or R² by which real inputs must do better than shuffled ones.
BLIND_MARGIN = 0.05


@dataclass(frozen=True)
class Memorised:
    """G1.

    Attributes
    ----------
    baseline, loss : float
        Of the best constant on the 32 examples, and of the network after 300 steps on them.
    """

    baseline: float
    loss: float

    @property
    def share(self) -> float:
        """The loss that is left, as a share of the baseline's."""
        return self.loss / max(abs(self.baseline), 1e-12)

    @property
    def passed(self) -> bool:
        """Whether the network can fit a handful of examples."""
        return bool(np.isfinite(self.loss)) and self.share <= MEMORISED_SHARE


@dataclass(frozen=True)
class Sweep:
    """G2.

    Attributes
    ----------
    rates, losses : tuple of float
        Learning rates, and the loss after 40 steps with each; infinity where it was no number.
    start, baseline : float
        The loss before, and of the best constant.
    rate : float
        The training's own.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    start: float
    baseline: float
    rate: float

    @property
    def reference(self) -> float:
        """min(L₀, baseline): what has to be beaten."""
        return min(self.start, self.baseline)

    def gain(self, loss: float) -> float:
        """D = 1 − loss/reference."""
        return 1.0 - loss / max(abs(self.reference), 1e-12) if np.isfinite(loss) else -np.inf

    @property
    def best_gain(self) -> float:
        """D*: what the best rate brings."""
        return self.gain(min(self.losses))

    @property
    def best_rate(self) -> float:
        """lr*, the rate with the least loss."""
        return self.rates[int(np.argmin(self.losses))]

    @property
    def good_rates(self) -> tuple[float, ...]:
        """Those that bring at least half of what the best does."""
        least = max(0.5 * self.best_gain, 0.0)
        found = tuple(r for r, loss in zip(self.rates, self.losses, strict=True) if self.gain(loss) >= least)
        return found or (self.best_rate,)

    @property
    def ratio(self) -> float:
        """r: how far above (> 1) or below (< 1) the good rates the training's own rate is; 1 among them."""
        low, high = min(self.good_rates), max(self.good_rates)
        if self.rate > high:
            return self.rate / high
        return self.rate / low if self.rate < low else 1.0

    @property
    def passed(self) -> bool:
        """Whether some rate makes the loss fall, or it has fallen already."""
        return self.start < 0.5 * self.baseline or self.best_gain >= LEAST_GAIN


@dataclass(frozen=True)
class InputBlind:
    """G3.

    Attributes
    ----------
    real, shuffled : float
        The score on rows held out, after training on the real inputs and on inputs dealt out anew.
    constant : float
        That of the best constant.
    """

    real: float
    shuffled: float
    constant: float

    @property
    def passed(self) -> bool:
        """Whether what the network learned depends on the inputs."""
        return bool(self.real >= max(self.shuffled, self.constant) + BLIND_MARGIN)


def without_dropout(module: Any) -> Any:
    """A copy whose dropout layers drop nothing."""
    made = backend_of(module).copied(module)
    for one in dropouts(made):
        one.p = 0.0
    return made


def memorise(training: Training, seed: int = 0) -> Memorised:
    """G1: 300 steps on 32 examples, without dropout, with the training's own optimizer."""
    rows = np.random.default_rng([seed, 3]).permutation(len(training.X))[:MEMORISED_ROWS]
    small = training.altered(
        module=without_dropout(training.module), X=training.X[rows], y=training.y[rows],
        batch_size=len(rows), epochs=MEMORISED_STEPS, validation=None, options={},
    )  # fmt: skip
    # Batch normalisation is judged as it trains, by the batch's own statistics; this is one batch.
    result = run(small, seed=seed)
    return Memorised(baseline_loss(small), min(result.after.loss, _last(result)))


def _last(result: Run) -> float:
    return result.losses[-1] if result.losses and np.isfinite(result.losses[-1]) else np.inf


def sweep(training: Training, rates: tuple[float, ...] = SWEEP_RATES, seed: int = 0) -> Sweep:
    """G2: 40 steps with each rate, from the same start and over the same rows."""
    plain = training.altered(validation=None, options=_steady(training))
    losses = []
    for rate in rates:
        result = run(plain, SWEEP_STEPS, seed=seed, learning_rate=rate)
        loss = min(result.after.loss, _last(result)) if result.is_finite else np.inf
        losses.append(float(loss))
    start = measure(training, training.module).loss
    return Sweep(tuple(rates), tuple(losses), start, baseline_loss(training), training.learning_rate)


def _steady(training: Training) -> dict:
    """The options without what belongs to a whole training."""
    whole = ("schedule", "early_stopping", "max_time")
    return {name: value for name, value in training.options.items() if name not in whole}


def input_blind(training: Training, learning_rate: float | None = None, seed: int = 0) -> InputBlind:
    """G3: train on four fifths of the rows, once as they are and once with inputs dealt out anew."""
    random = np.random.default_rng([seed, 4])
    order = random.permutation(len(training.X))
    cut = max(1, len(order) // 5)
    held_out, kept = order[:cut], order[cut:]
    scores = []
    for given in (kept, random.permutation(kept)):
        one = training.altered(
            X=training.X[given], y=training.y[kept], options=_steady(training),
            validation=(training.X[held_out], training.y[held_out]),
        )  # fmt: skip
        result = run(one, BLIND_STEPS, seed=seed, learning_rate=learning_rate)
        scores.append(result.validation.score if result.validation else float("nan"))
    real, shuffled = (float(score) if np.isfinite(score) else -np.inf for score in scores)
    return InputBlind(real, shuffled, training.constant_score)
