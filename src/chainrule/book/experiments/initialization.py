"""Section 5: what each way to draw the weights does to signals and gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.book.experiments.vanishing import Recipe, forward
from chainrule.functions import get_activation, get_initializer
from chainrule.functions.losses import softmax
from chainrule.textbook import backprop

__all__ = [
    "DrawnWeights",
    "SameStart",
    "VarianceRule",
    "Variances",
    "drawn_weights",
    "layer_variances",
    "train_from_equal_weights",
    "variance_rule",
]

# How many standard errors an estimate may be off; beyond that chance explains one case in two million.
STANDARD_ERRORS = 5.0


@dataclass(frozen=True)
class DrawnWeights:
    """A draw of an initializer beside its formula.

    Attributes
    ----------
    name : str
    formula : float
        Var(w) of the chapter.
    variance : float
        Of the draw.
    tolerance : float
        Five standard errors of the variance's estimate.
    bound : float
        Of a uniform rule, where the formula ends; inf of a normal one.
    largest : float
        The largest |w| of the draw.
    """

    name: str
    formula: float
    variance: float
    tolerance: float
    bound: float
    largest: float


def drawn_weights(name: str, shape: tuple[int, int], *, seed: int, alpha: float = 0.0) -> DrawnWeights:
    """Draw a matrix by one of the chapter's rules, and state its variance by the chapter's formula.

    Parameters
    ----------
    name : {"xavier_uniform", "xavier_normal", "he_uniform", "he_normal"}
    shape : tuple of int
        (n_out, n_in).
    seed : int
    alpha : float
        The slope of a leaky ReLU.

    Returns
    -------
    DrawnWeights

    Examples
    --------
    >>> found = drawn_weights("he_normal", (300, 200), seed=0)
    >>> found.formula, abs(found.variance - found.formula) < found.tolerance
    (0.01, True)
    """
    n_out, n_in = shape
    # Written out here, and not taken from the initializer, which is what is tested.
    xavier = name.startswith("xavier")
    formula = 2 / (n_in + n_out) if xavier else 2 / ((1 + alpha**2) * n_in)  # (8), (9)
    weights = get_initializer(name).draw(shape, np.random.default_rng(seed), alpha=alpha)
    uniform = name.endswith("uniform")
    # An estimated variance has the relative variance (kurtosis − 1) / n; the kurtosis is 9/5 or 3.
    error = math.sqrt((0.8 if uniform else 2.0) / weights.size)
    return DrawnWeights(
        name,
        formula,
        float(np.mean(weights**2)),
        STANDARD_ERRORS * error * formula,
        math.sqrt(3 * formula) if uniform else math.inf,
        float(np.abs(weights).max()),
    )


# -- the rule for a sum ------------------------------------------------------------------------------


@dataclass(frozen=True)
class VarianceRule:
    """Var(z) over the draws of a layer's weights, relative to what is predicted.

    Attributes
    ----------
    activation : str
        Of the layer below.
    by_variance : ndarray of shape (n_seeds,)
        Var(z) / (n_in Var(w) Var(h)), the chapter's rule.
    by_mean_square : ndarray of shape (n_seeds,)
        Var(z) / (n_in Var(w) E[h²]).
    """

    activation: str
    by_variance: np.ndarray
    by_mean_square: np.ndarray


def variance_rule(activation: str, *, n_in: int, n_out: int, seeds: Sequence[int]) -> VarianceRule:
    """Measure the variance of z where h = σ(Z) with standard normal Z.

    Parameters
    ----------
    activation : str
    n_in, n_out : int
        Many units out are many draws of a row of weights.
    seeds : sequence of int

    Returns
    -------
    VarianceRule

    Examples
    --------
    >>> found = variance_rule("relu", n_in=400, n_out=4000, seeds=[0])
    >>> bool(abs(found.by_mean_square[0] - 1) < 0.1), bool(found.by_variance[0] > 1.3)
    (True, True)
    """
    function, rows = get_activation(activation), []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        h = function.value(rng.standard_normal(n_in), function.default_alpha)
        z = rng.standard_normal((n_out, n_in)) @ h  # Var(w) = 1
        rows.append((z.var() / (n_in * h.var()), z.var() / (n_in * np.mean(h**2))))
    by_variance, by_mean_square = np.array(rows).T
    return VarianceRule(activation, by_variance, by_mean_square)


# -- layer after layer -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variances:
    """The variances in each layer of random networks.

    Attributes
    ----------
    recipe : Recipe
    signal : ndarray of shape (n_seeds, L)
        Var(z^(l)) over units and examples.
    gradient : ndarray of shape (n_seeds, L)
        Var(δ^(l)), where δ^(L) is of independent normal numbers of variance 1.
    saturated : ndarray of shape (n_seeds,)
        The share of slopes in all layers that are below a hundredth of the largest.
    """

    recipe: Recipe
    signal: np.ndarray
    gradient: np.ndarray
    saturated: np.ndarray

    @property
    def kept_forward(self) -> np.ndarray:
        """Var(z^(L)) / Var(z^(1)) of each network."""
        return self.signal[:, -1] / self.signal[:, 0]

    @property
    def kept_back(self) -> np.ndarray:
        """Var(δ^(1)) / Var(δ^(L)) of each network."""
        return self.gradient[:, 0] / self.gradient[:, -1]


def layer_variances(
    recipe: Recipe, *, width: int, depth: int, seeds: Sequence[int], inputs: float = 1.0, n_examples: int = 50
) -> Variances:
    """Measure the variances of signals and gradients, layer after layer.

    Parameters
    ----------
    recipe : Recipe
    width, depth : int
    seeds : sequence of int
        One network each.
    inputs : float
        The inputs' standard deviation.
    n_examples : int

    Returns
    -------
    Variances

    Examples
    --------
    >>> he = Recipe("ReLU, He", "relu", "he_normal")
    >>> layer_variances(he, width=10, depth=4, seeds=[0, 1]).signal.shape
    (2, 4)
    """
    function = recipe.function
    signal, gradient, saturated = [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        weights = recipe.weights(width, depth, rng)
        z = forward(weights, inputs * rng.standard_normal((width, n_examples)), function)
        slopes = [function.derivative(one, function.default_alpha) for one in z]
        delta = [rng.standard_normal((width, n_examples))]
        for l in range(depth - 1, 0, -1):
            delta.append((weights[l].T @ delta[-1]) * slopes[l - 1])  # (5)
        signal.append([float(one.var()) for one in z])
        gradient.append([float(one.var()) for one in reversed(delta)])
        saturated.append(float(np.mean(np.array(slopes) < 0.01 * function.derivative_max)))
    return Variances(recipe, np.array(signal), np.array(gradient), np.array(saturated))


# -- a start from which symmetry does not break ------------------------------------------------------


@dataclass(frozen=True)
class SameStart:
    """A training from hidden units that are all the same, or not.

    Attributes
    ----------
    start : str
    apart : float
        The largest difference between two units' incoming weights after training.
    moved : float
        How far the hidden layer's weights have come from where they were, at most.
    accuracy : float
        On the training examples.
    """

    start: str
    apart: float
    moved: float
    accuracy: float


def train_from_equal_weights(
    start: str, activation: str, X: np.ndarray, y: np.ndarray, *, hidden: int = 16, steps: int = 300
) -> SameStart:
    """Gradient descent with the chapter's ``backprop`` on one hidden layer.

    Parameters
    ----------
    start : {"zeros", "equal", "xavier"}
        All zeros; the same small number in every weight; Xavier's rule.
    activation : str
    X : ndarray of shape (d, n)
        Columns as examples.
    y : ndarray of shape (n,)
        Class indices.
    hidden, steps : int

    Returns
    -------
    SameStart

    Raises
    ------
    ValueError
        If the start is none of the three.

    Examples
    --------
    >>> X, y = np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]]), np.array([0, 1, 1, 0])
    >>> found = train_from_equal_weights("zeros", "relu", X, y, hidden=4, steps=20)
    >>> found.apart, found.moved, found.accuracy
    (0.0, 0.0, 0.5)
    """
    rules = {"zeros": ("zeros", {}), "equal": ("constant", {"value": 0.1}), "xavier": ("xavier_uniform", {})}
    if start not in rules:
        raise ValueError(f"start must be one of {', '.join(rules)}, got {start!r}")
    name, settings = rules[start]
    rng, rule, classes = np.random.default_rng(0), get_initializer(name), int(y.max()) + 1
    W = [rule.draw(shape, rng, **settings) for shape in ((hidden, len(X)), (classes, hidden))]
    b = [np.zeros(hidden), np.zeros(classes)]
    first = W[0].copy()
    for _ in range(steps):
        grad_W, grad_b = backprop(X, y, W, b, [activation])
        W = [one - 0.5 * slope for one, slope in zip(W, grad_W, strict=True)]
        b = [one - 0.5 * slope for one, slope in zip(b, grad_b, strict=True)]
    function = get_activation(activation)
    h = function.value(W[0] @ X + b[0][:, None], function.default_alpha)
    output = softmax((W[1] @ h + b[1][:, None]).T)
    return SameStart(
        start,
        float(np.ptp(W[0], axis=0).max()),
        float(np.abs(W[0] - first).max()),
        float(np.mean(output.argmax(axis=1) == y)),
    )
