"""Section 2: multilayer networks to experiment with, small and in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from chainrule import nn

__all__ = ["classes_of", "multilayer"]


def multilayer(widths: Sequence[int], activations: Sequence[str], seed: int) -> nn.Sequential:
    """A network of linear layers with an activation behind each but the last.

    Parameters
    ----------
    widths : sequence of int
        d_0 ... d_L.
    activations : sequence of str
        Of the L - 1 hidden layers.
    seed : int
        Draws the weights, by equation (9), and the biases, which are not 0, so that a gradient with respect
        to one could not be right by accident.

    Returns
    -------
    nn.Sequential
        In float64.

    Raises
    ------
    ValueError
        Where there is not one activation a hidden layer.

    Examples
    --------
    >>> [parameter.shape for parameter in multilayer((2, 3, 1), ["tanh"], seed=0).parameters()]
    [(3, 2), (3,), (1, 3), (1,)]
    """
    if len(activations) != len(widths) - 2:
        raise ValueError(f"activations must name the {len(widths) - 2} hidden layers; got {activations!r}")
    rng = np.random.default_rng(seed)
    modules: list[nn.Module] = []
    for number, (d_in, d_out) in enumerate(pairwise(widths)):
        linear = nn.Linear(d_in, d_out, dtype=np.float64, rng=rng)
        linear.weight = rng.normal(0, np.sqrt(2 / d_in), (d_out, d_in))
        linear.bias = rng.normal(0, 0.3, d_out)
        modules.append(linear)
        if number < len(activations):
            modules.append(nn.activation_module(activations[number]))
    return nn.Sequential(*modules)


def classes_of(n: int, n_classes: int, seed: int) -> np.ndarray:
    """Class indices drawn at random, of every class one at least where n allows it.

    Examples
    --------
    >>> sorted(set(classes_of(5, 3, seed=0).tolist()))
    [0, 1, 2]
    """
    return np.random.default_rng(seed).permutation(np.arange(n) % n_classes)
