"""Section 2: the forward pass, equations (1) and (2), computed in several ways; and what it must keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.book.experiments.multilayer import multilayer
from chainrule.engine import EngineExecutor
from chainrule.functions import get_activation
from chainrule.plan import flatten, lower
from chainrule.reference import ReferenceExecutor

__all__ = ["ForwardPass", "Kept", "by_the_equations", "forward_pass", "slope_from_value"]


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """A batch sent through a network.

    Attributes
    ----------
    widths : tuple of int
        d_0 ... d_L.
    activations : tuple of str
        Of the hidden layers.
    X : ndarray of shape (n, d_0)
    z, h : tuple of ndarray
        z^(1) ... z^(L), and h^(1) ... h^(L-1): what the reference executor kept.
    outputs : dict of str to ndarray
        z^(L) by the name of what computed it.
    errors : dict of str to float
        The largest difference of each from equations (1) and (2) written in NumPy, as a share of the largest
        output.
    """

    widths: tuple[int, ...]
    activations: tuple[str, ...]
    X: np.ndarray
    z: tuple[np.ndarray, ...]
    h: tuple[np.ndarray, ...]
    outputs: Mapping[str, np.ndarray]
    errors: Mapping[str, float]


def forward_pass(
    widths: Sequence[int] = (4, 6, 5, 3),
    activations: Sequence[str] = ("tanh", "tanh"),
    n: int = 8,
    seed: int = 0,
) -> ForwardPass:
    """Compute the outputs of a network by the engine, the reference executor, the tape, and in plain NumPy.

    Parameters
    ----------
    widths : sequence of int
        d_0 ... d_L.
    activations : sequence of str
        Of the hidden layers.
    n : int
        Rows of the batch.
    seed : int
        Draws the network and the batch.

    Returns
    -------
    ForwardPass

    Examples
    --------
    >>> found = forward_pass((2, 3, 1), ["tanh"], n=4)
    >>> [z.shape for z in found.z], max(found.errors.values()) < 1e-12
    ([(4, 3), (4, 1)], True)
    """
    net = multilayer(widths, activations, seed)
    X = np.random.default_rng(seed + 1).normal(size=(n, widths[0]))
    plan = lower(net, "softmax_cross_entropy")
    parameters = flatten(net.state_dict(), plan.parameters, np.float64)
    reference = ReferenceExecutor(plan, parameters, np.empty(0))
    values = reference.values(X, training=False)
    outputs = {
        "the engine": EngineExecutor(plan, parameters, np.empty(0)).predict(X),
        "the reference executor": values[-1],
        "the tape": np.asarray(net(X)),
    }
    weights = [parameter.data for name, parameter in net.named_parameters() if name.endswith("weight")]
    biases = [parameter.data for name, parameter in net.named_parameters() if name.endswith("bias")]
    expected = by_the_equations(X, weights, biases, activations)
    largest = float(np.abs(expected).max())
    errors = {name: float(np.abs(found - expected).max()) / largest for name, found in outputs.items()}
    return ForwardPass(
        tuple(widths), tuple(activations), X, tuple(values[1::2]), tuple(values[2::2]), outputs, errors
    )


def by_the_equations(
    X: np.ndarray, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], activations: Sequence[str]
) -> np.ndarray:
    """z^(L) of each example by itself, a column, as equations (1) and (2) are written."""
    outputs = []
    for x in X:
        h = z = x
        for W, b, name in zip(weights, biases, (*activations, "identity"), strict=True):
            z = W @ h + b  # (1)
            sigma = get_activation(name)
            h = sigma.value(z, sigma.default_alpha)  # (2)
        outputs.append(z)
    return np.stack(outputs)


@dataclass(frozen=True)
class Kept:
    """Whether σ'(z) can be told from h = σ(z), so that z need not be kept.

    Attributes
    ----------
    name : str
        Of the activation.
    gap : float
        The largest difference of σ' between two z with the same h.
    """

    name: str
    gap: float


def slope_from_value(
    names: Sequence[str] = ("sigmoid", "tanh", "relu", "leaky_relu", "gelu", "swish"),
    reach: float = 6.0,
    n: int = 200_001,
    alike: float = 1e-7,
) -> tuple[Kept, ...]:
    """Look for two z with one h and different σ'.

    Parameters
    ----------
    names : sequence of str
        Activations.
    reach : float
        z goes from -reach to reach on a grid.
    n : int
        Points of the grid.
    alike : float
        How near two values are that count as one: much nearer than two points of the grid.

    Returns
    -------
    tuple of Kept

    Examples
    --------
    >>> tanh, gelu = slope_from_value(("tanh", "gelu"))
    >>> tanh.gap < 0.01 < gelu.gap
    True
    """
    z = np.linspace(-reach, reach, n)
    found = []
    for name in names:
        sigma = get_activation(name)
        h, slope = (f(z, sigma.default_alpha) for f in (sigma.value, sigma.derivative))
        order = np.argsort(h, kind="stable")  # what has one value then stands side by side
        same = np.diff(h[order]) <= alike
        found.append(Kept(name, float(np.abs(np.diff(slope[order]))[same].max(initial=0.0))))
    return tuple(found)
