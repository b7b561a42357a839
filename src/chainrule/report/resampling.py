"""How far a metric may be off because the rows are a sample: the bootstrap over rows.

A resample draws as many rows as there are, with replacement. Which rows it drew matters only through how
often it drew each, so a resample is a row of whole-number weights, and a metric that knows weights is
computed for hundreds of resamples in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate", "bootstrap", "wilson_interval"]

# A block of weights takes 0.8 MB, which stays in the cache, or one resample's room if that is more.
_MOST_WEIGHTS = 100_000

Measure = Callable[[np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Estimate:
    """A metric on the rows, and the ends of its confidence interval.

    Attributes
    ----------
    value, low, high : float
    """

    value: float
    low: float
    high: float


def bootstrap(
    measure: Measure,
    n_rows: int,
    *,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Estimate]:
    """Metrics with percentile intervals (Efron and Tibshirani 1993, chapter 13).

    Parameters
    ----------
    measure : callable
        Takes weights of shape (n_resamples, n_rows), each row of which sums to n_rows, and gives for each
        metric an array of shape (n_resamples,): NaN where the metric is not defined.
    n_rows : int
    n_resamples : int, default=1000
    confidence : float, default=0.95
    seed : int, default=0
    progress : callable, optional
        Told how many more resamples are done.

    Returns
    -------
    dict of str to Estimate
        Metrics that are not defined on the rows themselves are left out.

    Raises
    ------
    ValueError
        If there is no row, or the confidence is not between 0 and 1.

    Examples
    --------
    >>> numbers = np.arange(100.0)
    >>> mean = bootstrap(lambda weights: {"mean": weights @ numbers / 100}, 100)["mean"]
    >>> mean.value, round(mean.low), round(mean.high)
    (49.5, 44, 55)
    """
    if n_rows < 1:
        raise ValueError(f"n_rows must be 1 or more, got {n_rows}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence:g}")
    values = measure(np.ones((1, n_rows)))
    known = [name for name, value in values.items() if np.isfinite(value[0])]
    blocks: dict[str, list[np.ndarray]] = {name: [] for name in known}
    for weights in resample_weights(n_rows, n_resamples, seed):
        measured = measure(weights)
        for name in known:
            blocks[name].append(measured[name])
        if progress is not None:
            progress(len(weights))
    ends = 50 * (1 - confidence), 50 * (1 + confidence)
    intervals = {name: np.nanpercentile(np.concatenate(blocks[name]), ends) for name in known}
    return {
        name: Estimate(float(values[name][0]), float(low), float(high))
        for name, (low, high) in intervals.items()
    }


def resample_weights(n_rows: int, n_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each resample draws each row: blocks of shape (resamples of the block, n_rows)."""
    generator = np.random.default_rng(seed)
    block = max(1, min(n_resamples, _MOST_WEIGHTS // n_rows))
    for begin in range(0, n_resamples, block):
        size = min(block, n_resamples - begin)
        drawn = generator.integers(0, n_rows, (size, n_rows))
        # Numbered through, so that one count serves all resamples of the block.
        drawn += n_rows * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * n_rows)
        yield counts.reshape(size, n_rows).astype(np.float64)


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share: Wilson's score interval, good for few trials and for shares near 0 and 1.

    Parameters
    ----------
    successes, trials : int
    confidence : float, default=0.95

    Returns
    -------
    low, high : float

    Raises
    ------
    ValueError
        If there is no trial, or there are more successes than trials.

    Examples
    --------
    >>> low, high = wilson_interval(9, 10)
    >>> round(low, 3), round(high, 3)
    (0.596, 0.982)
    """
    from scipy.special import ndtri

    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"successes must be from 0 to trials (1 or more), got {successes} of {trials}")
    z = float(ndtri((1 + confidence) / 2))
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    half = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    # The formula's rounding must not move a share of 0 or 1 out of its own interval.
    low = 0.0 if successes == 0 else float((centre - half) / scale)
    high = 1.0 if successes == trials else float((centre + half) / scale)
    return low, high
