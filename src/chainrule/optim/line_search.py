"""A step length that satisfies the strong Wolfe conditions (Nocedal & Wright 2006, algorithms 3.5 and 3.6).

φ(t) is the loss at x + t d. Wanted is a t with enough decrease, φ(t) ≤ φ(0) + c₁ t φ'(0), at a place that
is flat enough, |φ'(t)| ≤ c₂ |φ'(0)|. First the steps grow until such a t is found or lies between two of
them; then the bracket is narrowed. Where the book leaves a choice, it is PyTorch's, so that iterates agree.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

__all__ = ["Trial", "strong_wolfe"]

# c₁ and c₂ of the conditions.
DECREASE, CURVATURE = 1e-4, 0.9
# A step grows by this share of the last increase at least, and to this multiple of itself at most.
SMALLEST_GROWTH, LARGEST_GROWTH = 0.01, 10.0
# How near to an end of the bracket a trial is taken to make little progress, as a share of its length.
MARGIN = 0.1


class Trial(NamedTuple):
    """What is known of the loss at a step length t: φ(t), the gradient there, φ'(t)."""

    t: float
    loss: float
    gradient: np.ndarray
    slope: float


class _Conditions(NamedTuple):
    """The strong Wolfe conditions, for a start."""

    start: Trial

    def decreases(self, trial: Trial) -> bool:
        return not trial.loss > self.start.loss + DECREASE * trial.t * self.start.slope

    def flat(self, trial: Trial) -> bool:
        return abs(trial.slope) <= -CURVATURE * self.start.slope


class _Bracket:
    """Two trials with a t that satisfies the conditions between them; the lower one counts."""

    def __init__(self, first: Trial, second: Trial) -> None:
        self.ends = [first, second]
        self.sort()

    def sort(self) -> None:
        self.lower = 0 if self.ends[0].loss <= self.ends[1].loss else 1

    @property
    def low(self) -> Trial:
        return self.ends[self.lower]

    @property
    def high(self) -> Trial:
        return self.ends[1 - self.lower]

    @property
    def limits(self) -> tuple[float, float]:
        first, second = (end.t for end in self.ends)
        return min(first, second), max(first, second)

    def narrow(self, trial: Trial, conditions: _Conditions) -> bool:
        """Put a trial in the place of an end; whether it satisfies the conditions."""
        if not conditions.decreases(trial) or trial.loss >= self.low.loss:
            self.ends[1 - self.lower] = trial
            self.sort()
            return False
        found = conditions.flat(trial)
        if not found and trial.slope * (self.high.t - self.low.t) >= 0:
            self.ends[1 - self.lower] = self.low  # the minimum lies on its other side
        self.ends[self.lower] = trial
        return found


def strong_wolfe(
    evaluate: Callable[[float], Trial], start: Trial, t: float, *, most_trials: int, shortest: float
) -> Trial:
    """Search from the step length ``t``.

    Parameters
    ----------
    evaluate : callable
        φ at a step length.
    start : Trial
        φ at 0.
    t : float
    most_trials : int
        After so many further ones than the first, the best is taken.
    shortest : float
        A bracket of less length is narrowed no further.

    Returns
    -------
    Trial
    """
    conditions = _Conditions(start)
    before, trial = start, evaluate(t)
    for number in range(most_trials):
        # The first two trials may be higher than the one before as long as they decrease enough.
        too_high = not conditions.decreases(trial) or (number > 1 and trial.loss >= before.loss)
        if not too_high and conditions.flat(trial):
            return trial
        if too_high or trial.slope >= 0:
            return _zoom(evaluate, conditions, _Bracket(before, trial), most_trials - number, shortest)
        growth = trial.t + SMALLEST_GROWTH * (trial.t - before.t), LARGEST_GROWTH * trial.t
        before, trial = trial, evaluate(_minimum_of_cubic(before, trial, growth))
    return _Bracket(start, trial).low


def _zoom(
    evaluate: Callable[[float], Trial],
    conditions: _Conditions,
    bracket: _Bracket,
    most_trials: int,
    shortest: float,
) -> Trial:
    """Narrow a bracket until its lower end satisfies the conditions."""
    hesitated = False
    for _ in range(most_trials):
        lower, upper = bracket.limits
        if upper - lower < shortest:
            break
        t = _minimum_of_cubic(bracket.ends[0], bracket.ends[1], (lower, upper))
        margin = MARGIN * (upper - lower)
        if min(upper - t, t - lower) >= margin:
            hesitated = False
        elif hesitated or t >= upper or t <= lower:
            # Twice near an end, or on it: go some way inwards.
            t = upper - margin if abs(t - upper) < abs(t - lower) else lower + margin
            hesitated = False
        else:
            hesitated = True
        if bracket.narrow(evaluate(t), conditions):
            break
    return bracket.low


def _minimum_of_cubic(one: Trial, other: Trial, limits: tuple[float, float]) -> float:
    """The minimum of the cubic through two values and slopes (equation 3.59), kept within limits."""
    left, right = (one, other) if one.t <= other.t else (other, one)
    middle = (limits[0] + limits[1]) / 2
    if left.t == right.t:
        return middle
    d1 = left.slope + right.slope - 3 * (left.loss - right.loss) / (left.t - right.t)
    square = d1 * d1 - left.slope * right.slope
    if not square >= 0:  # none, or not a number
        return middle
    d2 = math.sqrt(square)
    divisor = right.slope - left.slope + 2 * d2
    if divisor == 0:
        return middle
    t = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / divisor)
    return min(max(t, limits[0]), limits[1])
