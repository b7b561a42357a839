"""Section 9: the five exercises, each with something to measure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.datasets import load_digits

from chainrule import nn
from chainrule.functions.initializers import get_initializer
from chainrule.optim import SGD
from chainrule.tape import tensor
from chainrule.textbook import backprop
from chainrule.train import Job, fit_many

__all__ = [
    "Dropouts",
    "ErrorSignal",
    "Gains",
    "RateScan",
    "average_over_masks",
    "error_signal",
    "gains_of_a_layer",
    "normalized_moments",
    "scan_rates",
    "slope_of_a_unit",
]

_INITIALIZERS = {"sigmoid": "xavier_normal", "relu": "he_normal"}


@dataclass(frozen=True)
class ErrorSignal:
    """‖δ⁽ˡ⁾‖ of each hidden layer, from the first to the last, as shares of the last one's.

    Attributes
    ----------
    activation : str
    norms : ndarray of shape (seeds, layers)
    """

    activation: str
    norms: np.ndarray

    @property
    def factors(self) -> np.ndarray:
        """By what factor a layer changes the norm on its way back, in the geometric mean, of each seed."""
        return np.asarray(self.norms[:, 0] ** (1 / (self.norms.shape[1] - 1)))


@dataclass(frozen=True)
class RateScan:
    """Which learning rates train a network.

    Attributes
    ----------
    normalized : bool
        Whether there is a batch normalization before each activation.
    rates : ndarray of shape (n_rates,)
    losses : ndarray of shape (seeds, n_rates)
        At the end of training; infinite where it diverged.
    """

    normalized: bool
    rates: np.ndarray
    losses: np.ndarray

    def largest(self, loss: float) -> np.ndarray:
        """The greatest rate of each seed that ends below a loss; 0 if none does."""
        return np.asarray(np.where(self.losses < loss, self.rates, 0.0).max(axis=1))


@dataclass(frozen=True)
class Dropouts:
    """The output of a network over all masks of dropout against its output in evaluation.

    Attributes
    ----------
    averaged_plain, averaged_inverted : float
        Over all masks, each with its probability: plain dropout, and inverted dropout.
    scaled : float
        All units kept, and multiplied by 1 − p: what plain dropout does at test time.
    unchanged : float
        All units kept as they are: what inverted dropout does.
    """

    averaged_plain: float
    averaged_inverted: float
    scaled: float
    unchanged: float


@dataclass(frozen=True)
class Gains:
    """What a linear layer does to the mean square of a signal and of a gradient.

    Attributes
    ----------
    rule : str
    forward, backward : ndarray of shape (seeds,)
    """

    rule: str
    forward: np.ndarray
    backward: np.ndarray


def slope_of_a_unit(x: float, w: float, b: float, step: float = 1e-5) -> tuple[float, float, float]:
    """Compute ∂y/∂w of y = σ(wx + b) in three ways (exercise 1).

    Parameters
    ----------
    x, w, b : float
    step : float
        Of the central difference.

    Returns
    -------
    (float, float, float)
        σ(1 − σ) x, the tape's, and the central difference.

    Examples
    --------
    >>> [round(one, 6) for one in slope_of_a_unit(1.0, 0.5, 0.0)]
    [0.235004, 0.235004, 0.235004]
    """
    sigma = float(expit(w * x + b))
    weight: Any = tensor(w, dtype=np.float64, requires_grad=True)
    (1 / (1 + np.exp(-(weight * x + b)))).backward()
    quotient = float(expit((w + step) * x + b) - expit((w - step) * x + b)) / (2 * step)
    return sigma * (1 - sigma) * x, float(weight.grad.data), quotient


def error_signal(activation: str, layers: int = 20, width: int = 64, seeds: int = 10) -> ErrorSignal:
    """Send one example's error back through a deep network (exercise 2).

    Parameters
    ----------
    activation : {"sigmoid", "relu"}
        Which also chooses the initializer, equation (8) or (9).
    layers : int
        Hidden layers.
    width : int
    seeds : int

    Returns
    -------
    ErrorSignal

    Raises
    ------
    ValueError
        If the activation is none of the two.

    Examples
    --------
    >>> bool(error_signal("sigmoid", layers=5, seeds=2).factors.max() < 0.5)
    True
    """
    if activation not in _INITIALIZERS:
        raise ValueError(f"activation must be 'sigmoid' or 'relu', got {activation!r}")
    rule, norms = get_initializer(_INITIALIZERS[activation]), []
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        shapes = [(width, width)] * layers + [(10, width)]
        weights = [rule.draw(shape, random) for shape in shapes]
        biases = [np.zeros(len(one)) for one in weights]
        X = random.standard_normal((width, 1))
        # δ⁽ˡ⁾ is the gradient of the bias, equation (7).
        _, deltas = backprop(X, [seed % 10], weights, biases, [activation] * layers)
        lengths = np.array([np.linalg.norm(one) for one in deltas[:-1]])
        norms.append(lengths / lengths[-1])
    return ErrorSignal(activation, np.array(norms))


def normalized_moments(rows: int = 64, width: int = 8, seed: int = 0) -> tuple[float, float]:
    """Normalize columns of unequal mean and scale (exercise 3).

    Parameters
    ----------
    rows, width : int
    seed : int

    Returns
    -------
    (float, float)
        The largest |mean| of a column, and the largest |variance − v / (v + ε)|, v the variance before.

    Examples
    --------
    >>> max(normalized_moments()) < 1e-12
    True
    """
    random = np.random.default_rng(seed)
    x = random.uniform(-5, 5, width) + random.uniform(0.5, 3, width) * random.standard_normal((rows, width))
    norm = nn.BatchNorm1d(width, dtype=np.float64)
    y, before = norm(x), x.var(axis=0)
    return float(np.abs(y.mean(axis=0)).max()), float(
        np.abs(y.var(axis=0) - before / (before + norm.eps)).max()
    )


def scan_rates(normalized: bool, rates: np.ndarray, seeds: int, epochs: int = 10) -> RateScan:
    """Train a network of four hidden layers on the digits by SGD with one rate after the other.

    Parameters
    ----------
    normalized : bool
        Whether a batch normalization stands before each ReLU.
    rates : ndarray
    seeds : int
    epochs : int

    Returns
    -------
    RateScan

    Examples
    --------
    >>> scan_rates(False, np.array([0.05]), seeds=1, epochs=1).losses.shape
    (1, 1)
    """
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    jobs = []
    for seed in range(seeds):
        for rate in rates:
            random = np.random.default_rng(seed)
            layers: list[nn.Module] = []
            for n_in in (64, 32, 32, 32):
                layers.append(nn.Linear(n_in, 32).initialize("he_normal", rng=random))
                layers += [nn.BatchNorm1d(32)] if normalized else []
                layers.append(nn.ReLU())
            net = nn.Sequential(*layers, nn.Linear(32, 10).initialize("xavier_normal", rng=random))
            jobs.append(
                Job(net, X, y, loss="softmax_cross_entropy", optimizer=SGD(lr=float(rate)), epochs=epochs,
                    batch_size=32, seed=seed)
            )  # fmt: skip
    histories = fit_many(jobs, on_error="return", progress=False)
    losses = [
        np.inf if isinstance(one, Exception) or not np.isfinite(one["loss"][-1]) else float(one["loss"][-1])
        for one in histories
    ]
    return RateScan(normalized, np.asarray(rates, dtype=float), np.array(losses).reshape(seeds, len(rates)))


def average_over_masks(p: float, units: int = 10, *, relu_after: bool = False, seed: int = 0) -> Dropouts:
    """Average a layer's output over every mask of dropout, each with its probability (exercise 4).

    Parameters
    ----------
    p : float
        Probability of a unit's being dropped, in (0, 1).
    units : int
        There are 2^units masks.
    relu_after : bool
        Whether a ReLU follows the linear layer, so that the output is not linear in the units.
    seed : int

    Returns
    -------
    Dropouts

    Raises
    ------
    ValueError
        If p is not between 0 and 1.

    Examples
    --------
    >>> found = average_over_masks(0.5, units=4)
    >>> abs(found.averaged_plain - found.scaled) < 1e-12
    True
    """
    if not 0 < p < 1:
        raise ValueError(f"p must lie between 0 and 1, got {p}")
    random = np.random.default_rng(seed)
    h, weight = random.uniform(0, 1, units), random.standard_normal((8, units)) / np.sqrt(units)
    out = random.uniform(0.5, 1.5, 8)
    masks = np.array(list(product([0.0, 1.0], repeat=units)))
    kept = masks.sum(axis=1)
    chances = (1 - p) ** kept * p ** (units - kept)

    def output(values: np.ndarray) -> np.ndarray:
        z = values @ weight.T
        return np.asarray((np.maximum(z, 0) if relu_after else z) @ out)

    return Dropouts(
        float(chances @ output(masks * h)),
        float(chances @ output(masks * h / (1 - p))),
        float(output((1 - p) * h)),
        float(output(h)),
    )


def gains_of_a_layer(n_in: int, n_out: int, seeds: int = 20) -> list[Gains]:
    """Measure a layer's gain going forward and going back for three variances (exercise 5).

    Parameters
    ----------
    n_in, n_out : int
    seeds : int

    Returns
    -------
    list of Gains
        Of Var(w) = 1/n_in, 1/n_out and 2/(n_in + n_out).

    Examples
    --------
    >>> [one.rule for one in gains_of_a_layer(10, 20, seeds=1)]
    ['1 / n_in', '1 / n_out', '2 / (n_in + n_out)']
    """
    lecun, xavier = get_initializer("lecun_normal"), get_initializer("xavier_normal")
    draws = {
        "1 / n_in": lambda random: lecun.draw((n_out, n_in), random),
        "1 / n_out": lambda random: lecun.draw((n_in, n_out), random).T,
        "2 / (n_in + n_out)": lambda random: xavier.draw((n_out, n_in), random),
    }
    found = []
    for rule, draw in draws.items():
        gains = []
        for seed in range(seeds):
            random = np.random.default_rng(seed)
            weight = draw(random)
            h, delta = random.standard_normal((200, n_in)), random.standard_normal((200, n_out))
            forward = ((h @ weight.T) ** 2).mean() / (h**2).mean()
            gains.append((forward, ((delta @ weight) ** 2).mean() / (delta**2).mean()))
        forwards, backwards = np.array(gains).T
        found.append(Gains(rule, forwards, backwards))
    return found
