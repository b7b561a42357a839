"""Section 8, claim 2: the Jacobians' spectra, in networks of the same depth and width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule import nn
from chainrule.functions import get_activation
from chainrule.health import jacobian_spectrum
from chainrule.tape import Tensor

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "LayerEigenvalues",
    "Spectra",
    "jacobian_by_hand",
    "layer_eigenvalues",
    "random_network",
    "spectra",
]

_LAYERS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


@dataclass(frozen=True)
class Architecture:
    """How a deep network is made.

    Attributes
    ----------
    name : str
    activation : {"sigmoid", "tanh", "relu"}
    initializer : str
    gain : float
        Multiplies the weights that are drawn.
    residual, batch_norm : bool
    inputs : float
        The inputs' standard deviation: tanh is nearly linear at small ones.
    """

    name: str
    activation: str
    initializer: str
    gain: float = 1.0
    residual: bool = False
    batch_norm: bool = False
    inputs: float = 1.0


ARCHITECTURES = (
    Architecture("sigmoid", "sigmoid", "xavier_normal"),
    Architecture("ReLU, He", "relu", "he_normal"),
    Architecture("sigmoid, batch norm", "sigmoid", "xavier_normal", batch_norm=True),
    Architecture("sigmoid, residual", "sigmoid", "xavier_normal", residual=True),
    Architecture("tanh, orthogonal", "tanh", "orthogonal", inputs=0.05),
)


def random_network(
    design: Architecture, width: int, depth: int, seed: int
) -> tuple[nn.Sequential, np.ndarray]:
    """A network of equal widths without biases, and inputs for it.

    Parameters
    ----------
    design : Architecture
    width, depth : int
    seed : int

    Returns
    -------
    Sequential, ndarray of shape (256, width)
        In evaluation mode; the running averages of batch normalization are those of the inputs.

    Examples
    --------
    >>> net, X = random_network(ARCHITECTURES[3], width=4, depth=3, seed=0)
    >>> [type(one).__name__ for one in net], X.shape
    (['Residual', 'Residual', 'Residual'], (256, 4))
    """
    rng = np.random.default_rng(seed)
    modules: list[nn.Module] = []
    for _ in range(depth):
        linear = nn.Linear(width, width, bias=False, dtype=np.float64, rng=rng)
        body: list[nn.Module] = [linear.initialize(design.initializer, rng, gain=design.gain)]
        if design.batch_norm:
            # With the momentum 1 one pass through the inputs leaves their own mean and variance.
            body.append(nn.BatchNorm1d(width, momentum=1.0, dtype=np.float64))
        body.append(_LAYERS[design.activation]())
        modules.extend([nn.Residual(nn.Sequential(*body))] if design.residual else body)
    net = nn.Sequential(*modules)
    X = design.inputs * rng.standard_normal((256, width))
    net.train()
    net(Tensor(X))
    net.eval()
    return net, X


@dataclass(frozen=True)
class Spectra:
    """Singular values in random networks of one architecture.

    Attributes
    ----------
    design : Architecture
    width, depth : int
    layers : ndarray of shape (n_seeds, depth, width)
        Each layer's, descending, the root mean square over the examples.
    end_to_end : ndarray of shape (n_seeds, width)
        Those of the product.
    """

    design: Architecture
    width: int
    depth: int
    layers: np.ndarray
    end_to_end: np.ndarray

    @property
    def measured(self) -> np.ndarray:
        """The root mean square of the end-to-end values: what a random gradient is multiplied by."""
        return np.sqrt(np.mean(self.end_to_end**2, axis=1))

    @property
    def predicted(self) -> np.ndarray:
        """The same from the layers alone: the product of their root mean squares."""
        return np.prod(np.sqrt(np.mean(self.layers**2, axis=2)), axis=1)


def spectra(
    design: Architecture, *, width: int, depth: int, seeds: Sequence[int], n_samples: int = 4
) -> Spectra:
    """Measure the singular values of each layer's Jacobian and of their product.

    Parameters
    ----------
    design : Architecture
    width, depth : int
    seeds : sequence of int
    n_samples : int
        Examples at which each network is measured.

    Returns
    -------
    Spectra

    Examples
    --------
    >>> spectra(ARCHITECTURES[4], width=4, depth=3, seeds=[0], n_samples=1).measured.round(1)
    array([1.])
    """
    layers, ends = [], []
    for seed in seeds:
        net, X = random_network(design, width, depth, seed)
        found = jacobian_spectrum(net, X, n_samples=n_samples)
        squares = [np.mean(one.singular_values**2, axis=0) for one in found.layers]
        layers.append(np.sqrt(squares))
        ends.append(np.sqrt(np.mean(found.end_to_end.singular_values**2, axis=0)))
    return Spectra(design, width, depth, np.array(layers), np.array(ends))


# -- eigenvalues -------------------------------------------------------------------------------------


def jacobian_by_hand(weight: np.ndarray, x: np.ndarray, activation: str, *, residual: bool) -> np.ndarray:
    """∂h/∂x of h = σ(W x), or of h = x + σ(W x), at one example.

    Parameters
    ----------
    weight : ndarray of shape (width, width)
    x : ndarray of shape (width,)
    activation : str
    residual : bool

    Returns
    -------
    ndarray of shape (width, width)

    Examples
    --------
    >>> jacobian_by_hand(np.array([[2.0]]), np.array([1.0]), "relu", residual=True)
    array([[3.]])
    """
    function = get_activation(activation)
    slope = function.derivative(weight @ x, function.default_alpha)
    jacobian = slope[:, None] * weight  # diag(σ'(z)) W
    return jacobian + np.eye(len(weight)) if residual else jacobian


@dataclass(frozen=True)
class LayerEigenvalues:
    """The eigenvalues of layers' Jacobians.

    Attributes
    ----------
    name : str
    values : ndarray of complex, shape (n_seeds, width)
    """

    name: str
    values: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """The mean eigenvalue of each layer, which is real."""
        return self.values.mean(axis=1).real

    @property
    def radius(self) -> np.ndarray:
        """How far the farthest eigenvalue of each layer is from 1."""
        return np.abs(self.values - 1).max(axis=1)


def layer_eigenvalues(
    name: str, activation: str, gain: float, *, residual: bool, width: int, seeds: Sequence[int]
) -> LayerEigenvalues:
    """The eigenvalues of a layer with Xavier's weights times a gain, at a normal input.

    Parameters
    ----------
    name, activation : str
    gain : float
    residual : bool
    width : int
    seeds : sequence of int

    Returns
    -------
    LayerEigenvalues

    Examples
    --------
    >>> layer_eigenvalues("no weights", "tanh", 0.0, residual=True, width=3, seeds=[0]).radius
    array([0.])
    """
    design = Architecture(name, activation, "xavier_normal", gain)
    found = []
    for seed in seeds:
        net, X = random_network(design, width, 1, seed)
        jacobian = jacobian_by_hand(net[0].weight.detach().numpy(), X[0], activation, residual=residual)
        found.append(np.linalg.eigvals(jacobian).astype(complex))
    return LayerEigenvalues(name, np.array(found))
