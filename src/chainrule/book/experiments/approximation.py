"""Section 2: what one hidden layer of ReLUs can fit, by construction and by descent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chainrule import nn
from chainrule.optim import Adam
from chainrule.train import Job, fit_many

__all__ = [
    "TARGETS",
    "Fit",
    "Ramp",
    "Target",
    "fit_by_descent",
    "interpolant",
    "interpolation_error",
    "ramp",
    "ramp_errors",
    "units_for",
]


@dataclass(frozen=True)
class Target:
    """A function on [−1, 1] to be fitted.

    Attributes
    ----------
    name : str
    value : callable
    extent : float
        Its greatest value less its least.
    jump : bool
        Whether it jumps from 0 to 1 at 0.
    """

    name: str
    value: Callable[[np.ndarray], np.ndarray]
    extent: float
    jump: bool = False


TARGETS = {
    "wave": Target("wave", lambda x: np.sin(2 * np.pi * x), 2.0),
    "|x|": Target("|x|", np.abs, 1.0),
    "step": Target("step", lambda x: np.where(x > 0, 1.0, 0.0), 1.0, jump=True),
}


@dataclass(frozen=True)
class Fit:
    """Networks of one width that were trained on one target from several seeds.

    Attributes
    ----------
    target : str
    units : int
    x : ndarray of shape (n,)
    outputs : ndarray of shape (seeds, n)
    """

    target: str
    units: int
    x: np.ndarray
    outputs: np.ndarray

    @property
    def largest_errors(self) -> np.ndarray:
        """sup |g − f| of each seed. At a jump, g comes as near to both of its ends as it can."""
        one = TARGETS[self.target]
        apart = np.abs(self.outputs - one.value(self.x))
        if one.jump:
            # The limits of f from either side, with the g of the place between them: g is continuous.
            at = self.outputs[:, np.argmin(np.abs(self.x))]
            apart = np.column_stack([apart, np.abs(at), np.abs(at - 1)])
        return np.asarray(apart.max(axis=1))

    @property
    def explained(self) -> np.ndarray:
        """The share of the target's variance that each seed explains: R²."""
        f = TARGETS[self.target].value(self.x)
        return np.asarray(1 - ((self.outputs - f) ** 2).mean(axis=1) / f.var())

    @property
    def typical_errors(self) -> np.ndarray:
        """The root of the mean square error of each seed."""
        f = TARGETS[self.target].value(self.x)
        return np.asarray(np.sqrt(((self.outputs - f) ** 2).mean(axis=1)))


@dataclass(frozen=True)
class Ramp:
    """Two ReLUs that climb a step within 2ε.

    Attributes
    ----------
    half_width : float
        ε.
    largest, typical : float
        sup |g − f|, and the root of the mean square over [−1, 1].
    """

    half_width: float
    largest: float
    typical: float


def fit_by_descent(target: str, units: int, seeds: int, steps: int = 8000, rate: float = 0.03) -> Fit:
    """Train one hidden layer of ReLUs by Adam, the rate falling along a cosine, on 257 places.

    Parameters
    ----------
    target : {"wave", "|x|", "step"}
    units : int
        M.
    seeds : int
        How many networks, each from weights of its own.
    steps : int
        Batches of 64.
    rate : float
        Adam's first learning rate.

    Returns
    -------
    Fit

    Raises
    ------
    ValueError
        If the target is none of the three.

    Examples
    --------
    >>> fit_by_descent("|x|", 8, seeds=2, steps=100).largest_errors.shape
    (2,)
    """
    if target not in TARGETS:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {target!r}")
    x = np.linspace(-1, 1, 257)
    y, batch, passes = TARGETS[target].value(x), 64, 10
    # The places several times over: an epoch is many steps.
    epochs = max(1, round(steps * batch / (passes * len(x))))
    rows = np.tile(np.arange(len(x)), passes)
    jobs = []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        first, last = nn.Linear(1, units, rng=random), nn.Linear(units, 1, rng=random)
        settings = {"schedule": "cosine", "epochs": epochs, "batch_size": batch, "seed": seed, "rows": rows}
        net = nn.Sequential(first, nn.ReLU(), last)
        jobs.append(
            Job(net, x[:, None], y[:, None], loss="half_squared_error", optimizer=Adam(lr=rate), **settings)
        )
    fit_many(jobs, progress=False)
    outputs = [job.module(x[:, None].astype(np.float32))[:, 0] for job in jobs]
    return Fit(target, units, x, np.array(outputs, dtype=np.float64))


def interpolant(target: str, units: int) -> nn.Sequential:
    """Build the network that meets the target at `units` + 1 equally spaced places, and is straight between.

    Its kinks are at the places, g(x) = f(−1) + Σⱼ vⱼ max(0, x − tⱼ), and vⱼ is by how much the slope changes.

    Parameters
    ----------
    target : {"wave", "|x|", "step"}
    units : int
        M.

    Returns
    -------
    Sequential

    Examples
    --------
    >>> interpolant("|x|", 2)(np.array([[-1.0], [-0.5], [0.0], [1.0]]))[:, 0].tolist()
    [1.0, 0.5, 0.0, 1.0]
    """
    places = np.linspace(-1, 1, units + 1)
    values = TARGETS[target].value(places)
    slopes = np.diff(values) / np.diff(places)
    return _relus(places[:-1], np.diff(slopes, prepend=0.0), float(values[0]))


def ramp(half_width: float) -> nn.Sequential:
    """Build the two ReLUs that climb from 0 at −ε to 1 at ε.

    Parameters
    ----------
    half_width : float
        ε.

    Returns
    -------
    Sequential

    Examples
    --------
    >>> ramp(0.5)(np.array([[-1.0], [0.0], [1.0]]))[:, 0].tolist()
    [0.0, 0.5, 1.0]
    """
    slope = 0.5 / half_width
    return _relus(np.array([-half_width, half_width]), np.array([slope, -slope]), 0.0)


def _relus(kinks: np.ndarray, slopes: np.ndarray, offset: float) -> nn.Sequential:
    """g(x) = c + Σⱼ vⱼ max(0, x − tⱼ) as a network."""
    first = nn.Linear(1, len(kinks), dtype=np.float64)
    last = nn.Linear(len(kinks), 1, dtype=np.float64)
    first.weight, first.bias = np.ones((len(kinks), 1)), -kinks
    last.weight, last.bias = slopes[None, :], [offset]
    return nn.Sequential(first, nn.ReLU(), last)


def interpolation_error(target: str, units: int, places: int = 64) -> float:
    """Measure sup |g − f| of the interpolant, at some places between each two neighbouring kinks.

    Parameters
    ----------
    target : {"wave", "|x|"}
    units : int
    places : int

    Returns
    -------
    float

    Examples
    --------
    >>> interpolation_error("|x|", 2)
    0.0
    """
    x = np.linspace(-1, 1, places * units + 1)
    return float(np.abs(interpolant(target, units)(x[:, None])[:, 0] - TARGETS[target].value(x)).max())


def units_for(target: str, epsilon: float, most: int = 2**12) -> int:
    """Find the first power of two of units whose interpolant is nowhere farther than ε from the target.

    Parameters
    ----------
    target : {"wave", "|x|"}
    epsilon : float
    most : int

    Returns
    -------
    int
        0 if `most` units are not enough.

    Examples
    --------
    >>> units_for("wave", 0.1)
    16
    """
    units = 2
    while units <= most:
        if interpolation_error(target, units) <= epsilon:
            return units
        units *= 2
    return 0


def ramp_errors(half_widths: Sequence[float]) -> list[Ramp]:
    """Measure how far ramps are from the step.

    Parameters
    ----------
    half_widths : sequence of float
        ε of each ramp, below 1.

    Returns
    -------
    list of Ramp

    Examples
    --------
    >>> found = ramp_errors([0.12])[0]
    >>> round(found.largest, 9), round(found.typical, 9)  # a half, and √(ε / 12)
    (0.5, 0.1)
    """
    nodes, weights = np.polynomial.legendre.leggauss(8)
    found = []
    for half_width in half_widths:
        net = ramp(half_width)
        # On each side of the jump the error is a straight line within ε, and nothing beyond.
        inside = half_width * (nodes + 1) / 2
        squares = [
            half_width / 2 * float(weights @ (net((side * inside)[:, None])[:, 0] - limit) ** 2)
            for side, limit in ((-1, 0.0), (1, 1.0))
        ]
        at = float(net(np.zeros((1, 1)))[0, 0])
        found.append(Ramp(half_width, max(at, 1 - at), float(np.sqrt(sum(squares) / 2))))
    return found
