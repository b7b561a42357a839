"""Section 4: a gradient on its way back through random networks of growing depth.

All networks here are random and untrained, of one width, without biases, and in double precision. A recipe is
an activation and a way to draw the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule import nn
from chainrule.functions import Activation, get_activation, get_initializer

__all__ = [
    "RECIPES",
    "GradientSizes",
    "OverflowDepth",
    "Recipe",
    "RepeatedMatrix",
    "SigmoidBound",
    "depth_at_overflow",
    "first_gradient_as_product",
    "forward",
    "gradient_sizes",
    "repeated_matrix",
    "send_back",
    "sigmoid_bound",
]


@dataclass(frozen=True)
class Recipe:
    """An activation, and how the weights are drawn.

    Attributes
    ----------
    name : str
    activation : str
    initializer : str
    gain : float
        Multiplies the weights that are drawn.
    """

    name: str
    activation: str
    initializer: str
    gain: float = 1.0

    def weights(self, width: int, depth: int, rng: np.random.Generator) -> list[np.ndarray]:
        """W^(1) ... W^(depth), all square."""
        rule, alpha = get_initializer(self.initializer), self.function.default_alpha
        return [rule.draw((width, width), rng, self.gain, alpha) for _ in range(depth)]

    @property
    def function(self) -> Activation:
        """The activation's record."""
        return get_activation(self.activation)


# The chapter's three curves, and three more that it mentions. "Unscaled" is N(0, 1) whatever the width.
RECIPES = (
    Recipe("sigmoid, Xavier", "sigmoid", "xavier_normal"),
    Recipe("tanh, Xavier", "tanh", "xavier_normal"),
    Recipe("ReLU, He", "relu", "he_normal"),
    Recipe("leaky ReLU, He", "leaky_relu", "he_normal"),
    Recipe("ReLU, unscaled", "relu", "normal"),
    Recipe("ReLU, too small", "relu", "normal", 0.05),
)


def forward(weights: Sequence[np.ndarray], x: np.ndarray, function: Activation) -> list[np.ndarray]:
    """z^(1) ... z^(L) of equations (1) and (2).

    Parameters
    ----------
    weights : sequence of L ndarrays
    x : ndarray of shape (width, n)
        Columns as examples.
    function : Activation

    Returns
    -------
    list of L ndarrays of shape (width, n)

    Examples
    --------
    >>> W = 2 * np.eye(2)
    >>> [z.ravel() for z in forward([W, W], np.array([[1.0], [-1.0]]), get_activation("relu"))]
    [array([ 2., -2.]), array([4., 0.])]
    """
    h, found = x, []
    for W in weights:
        found.append(W @ h)  # (1)
        h = function.value(found[-1], function.default_alpha)  # (2)
    return found


def send_back(
    weights: Sequence[np.ndarray], z: Sequence[np.ndarray], delta: np.ndarray, function: Activation
) -> np.ndarray:
    """δ^(1) from δ^(L): equation (5), layer after layer.

    Parameters
    ----------
    weights : sequence of L ndarrays
        W^(1) ... W^(L); W^(1) is not needed on the way to δ^(1).
    z : sequence of L ndarrays of shape (width, n)
        Columns as examples.
    delta : ndarray of shape (width, n)
        δ^(L).
    function : Activation

    Returns
    -------
    ndarray of shape (width, n)

    Examples
    --------
    >>> W, z = 2 * np.eye(2), np.array([[1.0], [-1.0]])
    >>> send_back([W, W], [z, z], np.ones((2, 1)), get_activation("relu")).ravel()
    array([2., 0.])
    """
    for l in range(len(weights) - 1, 0, -1):
        delta = (weights[l].T @ delta) * function.derivative(z[l - 1], function.default_alpha)  # (5)
    return delta


@dataclass(frozen=True)
class GradientSizes:
    """What is left of a unit gradient at the first layer.

    Attributes
    ----------
    recipe : Recipe
    width : int
    depths : ndarray of shape (n_depths,)
        L, the number of layers.
    sizes : ndarray of shape (n_depths, n_seeds)
        Root mean square over the examples of ‖δ^(1)‖, where ‖δ^(L)‖ = 1.
    spectral_norm : float
        The mean of the largest singular values of the networks' first matrices.
    """

    recipe: Recipe
    width: int
    depths: np.ndarray
    sizes: np.ndarray
    spectral_norm: float

    @property
    def median(self) -> np.ndarray:
        """Over the seeds, at each depth."""
        return np.median(self.sizes, axis=1)

    @property
    def rate(self) -> float:
        """By how much a layer multiplies the median, from the first depth to the last."""
        steps = self.depths[-1] - self.depths[0]
        return float((self.median[-1] / self.median[0]) ** (1 / steps))

    def at(self, depth: int) -> np.ndarray:
        """The sizes of all seeds at one of the depths."""
        return self.sizes[int(np.flatnonzero(self.depths == depth)[0])]


def gradient_sizes(
    recipe: Recipe, *, width: int, depths: Sequence[int], seeds: Sequence[int], n_examples: int = 8
) -> GradientSizes:
    """Send a unit gradient back through random networks of growing depth.

    Parameters
    ----------
    recipe : Recipe
    width : int
    depths : sequence of int
        Ascending. The network of a smaller depth is the beginning of that of a larger one.
    seeds : sequence of int
        One network each.
    n_examples : int
        Inputs, of independent normal numbers; each has a gradient of its own direction.

    Returns
    -------
    GradientSizes

    Raises
    ------
    ValueError
        If a depth is less than 1.

    Examples
    --------
    >>> found = gradient_sizes(RECIPES[0], width=20, depths=[1, 11], seeds=[0, 1])
    >>> found.sizes.shape, bool((found.at(11) < 0.3**10).all())
    ((2, 2), True)
    """
    if min(depths) < 1:
        raise ValueError(f"depths must be at least 1, got {min(depths)}")
    sizes, norms = np.empty((len(depths), len(seeds))), []
    for column, seed in enumerate(seeds):
        rng = np.random.default_rng(seed)
        weights = recipe.weights(width, max(depths), rng)
        norms.append(np.linalg.norm(weights[0], 2))
        z = forward(weights, rng.standard_normal((width, n_examples)), recipe.function)
        delta = rng.standard_normal((width, n_examples))
        delta /= np.linalg.norm(delta, axis=0)
        for row, depth in enumerate(depths):
            back = send_back(weights[:depth], z[:depth], delta, recipe.function)
            sizes[row, column] = np.sqrt(np.mean(np.linalg.norm(back, axis=0) ** 2))
    return GradientSizes(recipe, width, np.asarray(depths), sizes, float(np.mean(norms)))


# -- the product of the chapter, and its bound -------------------------------------------------------


def _end_to_end(weights: Sequence[np.ndarray], z: Sequence[np.ndarray], function: Activation) -> np.ndarray:
    """Π_{l=2}^{L} diag σ'(z^(l-1)) W^(l)ᵀ at one example: the matrix that takes δ^(L) to δ^(1)."""
    columns = len(weights[-1])
    repeated = [np.repeat(one.reshape(-1, 1), columns, axis=1) for one in z]
    return send_back(weights, repeated, np.eye(columns), function)


def first_gradient_as_product(module: nn.Sequential, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """∂ℒ/∂W^(1) as the chapter's product of matrices, times δ^(L), times h^(0)ᵀ.

    Parameters
    ----------
    module : Sequential
        Linear layers with one kind of activation between them.
    x : ndarray of shape (d_0,)
    slope : ndarray of shape (d_L,)
        δ^(L).

    Returns
    -------
    ndarray of the shape of W^(1)

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
    >>> net[0].weight, net[0].bias, net[2].weight = [[2.0]], [0.0], [[3.0]]
    >>> first_gradient_as_product(net, np.array([5.0]), np.array([1.0]))          # 3 · 1 · 5
    array([[15.]])
    """
    layers = [one for one in module if isinstance(one, nn.Linear)]
    name = next(type(one).__name__.lower() for one in module if not isinstance(one, nn.Linear))
    function = get_activation(name)
    product, h = np.eye(len(layers[0].weight)), x
    for number, layer in enumerate(layers[:-1]):
        z = layer.weight.detach().numpy() @ h + layer.bias.detach().numpy()  # (1)
        h = function.value(z, function.default_alpha)  # (2)
        derivative = np.diag(function.derivative(z, function.default_alpha))
        product = product @ derivative @ layers[number + 1].weight.detach().numpy().T
    return np.outer(product @ slope, x)  # (6)


@dataclass(frozen=True)
class SigmoidBound:
    """What a deep sigmoid network leaves of the gradient in its best direction.

    Attributes
    ----------
    name : str
        How the weights were drawn.
    depth : int
    largest : ndarray of shape (n_seeds,)
        The largest singular value of the product of the Jacobians: no gradient is multiplied by more.
    spectral_norm : float
        The mean one of the weight matrices.
    """

    name: str
    depth: int
    largest: np.ndarray
    spectral_norm: float

    @property
    def chapter_bound(self) -> float:
        """0.25^{L-1}."""
        return 0.25 ** (self.depth - 1)

    @property
    def bound(self) -> float:
        """(0.25 ‖W‖)^{L-1}, what follows from σ' ≤ 0.25 for this spectral norm."""
        return (0.25 * self.spectral_norm) ** (self.depth - 1)

    @property
    def share_within(self) -> float:
        """The share of networks that stay within the chapter's bound."""
        return float(np.mean(self.largest <= self.chapter_bound * (1 + 1e-9)))


def sigmoid_bound(
    kind: str, *, norm: float | None, width: int, depth: int, seeds: Sequence[int], centred: bool = False
) -> SigmoidBound:
    """Measure the largest factor between δ^(L) and δ^(1) in a sigmoid network.

    Parameters
    ----------
    kind : str
        An initializer.
    norm : float or None
        Every weight matrix is scaled to this spectral norm; None leaves it.
    width, depth : int
    seeds : sequence of int
    centred : bool
        Whether biases make every z zero, where σ' is 0.25: the worst case.

    Returns
    -------
    SigmoidBound

    Examples
    --------
    >>> found = sigmoid_bound("orthogonal", norm=1.0, width=5, depth=3, seeds=[0], centred=True)
    >>> float(found.largest[0].round(6)), found.chapter_bound
    (0.0625, 0.0625)
    """
    recipe = Recipe(kind, "sigmoid", kind)
    largest: list[float] = []
    norms: list[float] = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        weights = recipe.weights(width, depth, rng)
        found = [float(np.linalg.norm(W, 2)) for W in weights]
        if norm is not None:
            weights = [W * (norm / one) for W, one in zip(weights, found, strict=True)]
            found = [norm] * depth
        norms.append(float(np.mean(found)))
        z = forward(weights, rng.standard_normal((width, 1)), recipe.function)
        if centred:
            z = [np.zeros_like(one) for one in z]
        largest.append(float(np.linalg.norm(_end_to_end(weights, z, recipe.function), 2)))
    return SigmoidBound(kind, depth, np.array(largest), float(np.mean(norms)))


# -- overflow --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OverflowDepth:
    """After how many layers a growing gradient is no longer a finite number.

    Attributes
    ----------
    recipe : Recipe
    width : int
    single, double : ndarray of shape (n_seeds,)
        Layers gone through in single and in double precision; inf where the gradient was finite to the end,
        or zero.
    at_most : int
        After how many layers the search ended.
    """

    recipe: Recipe
    width: int
    single: np.ndarray
    double: np.ndarray
    at_most: int


def depth_at_overflow(recipe: Recipe, *, width: int, seeds: Sequence[int], at_most: int) -> OverflowDepth:
    """Send a unit gradient back through a ReLU network until it overflows.

    Parameters
    ----------
    recipe : Recipe
        With a ReLU: without biases, its derivative does not depend on the size of z, so that z can be
        kept finite on the way forward, and all overflow is the gradient's.
    width : int
    seeds : sequence of int
    at_most : int
        Layers of the network.

    Returns
    -------
    OverflowDepth

    Raises
    ------
    ValueError
        If the recipe's activation is not the ReLU.

    Examples
    --------
    >>> doubled = Recipe("doubled", "relu", "he_normal", 2.0)
    >>> found = depth_at_overflow(doubled, width=64, seeds=[0], at_most=200)
    >>> bool(120 < found.single[0] < 136), found.double                          # 2^128 is single's end
    (True, array([inf]))
    """
    if recipe.activation != "relu":
        raise ValueError(f"recipe must have the ReLU, got {recipe.activation!r}")
    found = [_steps_to_overflow(recipe, width, seed, at_most) for seed in seeds]
    single, double = np.array(found).T
    return OverflowDepth(recipe, width, single, double, at_most)


def _steps_to_overflow(recipe: Recipe, width: int, seed: int, at_most: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    weights, gates = [], []
    h = rng.standard_normal(width)
    for _ in range(at_most):
        (W,) = recipe.weights(width, 1, rng)
        weights.append(W.astype(np.float32))  # of which there are thousands
        z = W @ h
        gates.append(z > 0)
        size = np.linalg.norm(z * gates[-1])
        if size == 0:
            return np.inf, np.inf  # every unit is off: nothing comes through, whatever the weights
        h = z * gates[-1] / size
    delta = rng.standard_normal(width)
    delta /= np.linalg.norm(delta)
    return _overflow(weights, gates, delta.astype(np.float32)), _overflow(weights, gates, delta)


def _overflow(weights: list[np.ndarray], gates: list[np.ndarray], delta: np.ndarray) -> float:
    """After how many layers δ, in the precision in which it comes, is infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        for l in range(len(weights) - 1, 0, -1):
            delta = (weights[l].T @ delta) * gates[l - 1]  # (5)
            if not np.isfinite(delta).all():
                return float(len(weights) - l)
    return np.inf


# -- the same matrix, T times ------------------------------------------------------------------------


@dataclass(frozen=True)
class RepeatedMatrix:
    """Growth rates of a gradient through one matrix many times, and through independent ones.

    Attributes
    ----------
    recurrent : ndarray of shape (n_seeds,)
        ln of the factor a step, the same matrix at every step.
    independent : ndarray of shape (n_seeds,)
        The same for a matrix of its own at every step.
    radius : ndarray of shape (n_seeds,)
        ln of the spectral radius of the matrix that is repeated.
    norm : ndarray of shape (n_seeds,)
        ln of its spectral norm.
    """

    recurrent: np.ndarray
    independent: np.ndarray
    radius: np.ndarray
    norm: np.ndarray


def repeated_matrix(*, width: int, steps: int, seeds: Sequence[int]) -> RepeatedMatrix:
    """Compare a linear recurrent network with a feedforward one of the same weight variance, 1/n.

    The rates are measured over the second half of the steps, when the beginning is forgotten.

    Parameters
    ----------
    width, steps : int
    seeds : sequence of int

    Returns
    -------
    RepeatedMatrix

    Examples
    --------
    >>> found = repeated_matrix(width=20, steps=400, seeds=[0, 1, 2])
    >>> bool(np.abs(found.recurrent - found.radius).max() < 0.02)
    True
    """
    rule, shape = get_initializer("lecun_normal"), (width, width)
    rows = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        matrix, delta = rule.draw(shape, rng), rng.standard_normal(width)
        rows.append(
            (
                _rate([matrix] * steps, delta),
                _rate([rule.draw(shape, rng) for _ in range(steps)], delta),
                np.log(np.abs(np.linalg.eigvals(matrix)).max()),
                np.log(np.linalg.norm(matrix, 2)),
            )
        )
    return RepeatedMatrix(*np.array(rows).T)


def _rate(matrices: Sequence[np.ndarray], delta: np.ndarray) -> float:
    """ln ‖δ‖ gained a step in the second half; δ is kept of size 1 on the way."""
    gained = []
    for matrix in matrices:
        delta = matrix.T @ delta
        size = np.linalg.norm(delta)
        gained.append(np.log(size))
        delta = delta / size
    return float(np.mean(gained[len(gained) // 2 :]))
