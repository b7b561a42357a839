"""Section 9, exercise 3: what the noise of batch normalization's statistics does by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule import nn
from chainrule.book.experiments.digits import digits_in_halves
from chainrule.optim import SGD
from chainrule.tape import Tensor, no_grad

__all__ = ["GroupedNetwork", "NoiseEffects", "noise_effects"]


class GroupedNetwork(nn.Module):
    """Two hidden layers whose pre-activations are normalized within groups of a batch.

    The gradient is always that of the whole batch; only the examples that share a mean and a variance are
    fewer, and so these are noisier, the smaller a group is.

    Parameters
    ----------
    n_in, width, n_out : int
    seed : int

    Examples
    --------
    >>> net = GroupedNetwork(3, 4, 2, seed=0)
    >>> net.outputs(Tensor(np.ones((6, 3), np.float32)), group=2).shape
    (6, 2)
    """

    def __init__(self, n_in: int, width: int, n_out: int, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.first = nn.Linear(n_in, width, rng=rng)
        self.second = nn.Linear(width, width, rng=rng)
        self.last = nn.Linear(width, n_out, rng=rng)

    def outputs(self, X: Tensor, group: int) -> Tensor:
        """z^(L) of a batch whose size is a multiple of ``group``."""
        h = np.maximum(_normalized(self.first(X), group), 0.0)
        h = np.maximum(_normalized(self.second(h), group), 0.0)
        outputs: Tensor = self.last(h)
        return outputs


def _normalized(z: Tensor, group: int) -> Tensor:
    """About zero mean and unit variance within each group of rows."""
    grouped = z.reshape(-1, group, z.shape[1])
    centred = grouped - grouped.mean(axis=1, keepdims=True)
    variance = (centred**2).mean(axis=1, keepdims=True)
    return (centred / np.sqrt(variance + 1e-5)).reshape(*z.shape)


@dataclass(frozen=True)
class NoiseEffects:
    """Losses after trainings that differ in the size of the groups only.

    Attributes
    ----------
    groups : tuple of int
    training, held_out : ndarray of shape (n_groups, n_seeds)
        Cross-entropy in the end; the statistics are those of all training examples.
    """

    groups: tuple[int, ...]
    training: np.ndarray
    held_out: np.ndarray


def noise_effects(
    groups: Sequence[int], seeds: Sequence[int], *, n: int = 256, batch: int = 128, steps: int = 300
) -> NoiseEffects:
    """Train on the same batches with statistics of smaller and smaller groups.

    Parameters
    ----------
    groups : sequence of int
        Each divides ``batch``.
    seeds : sequence of int
    n : int
        Examples to learn from; few, so that there is something to regularize.
    batch, steps : int

    Returns
    -------
    NoiseEffects

    Raises
    ------
    ValueError
        If a group does not divide the batch.
    """
    for group in groups:
        if batch % group:
            raise ValueError(f"groups must divide the batch of {batch}, got {group}")
    ends = np.array([[_train(group, seed, n, batch, steps) for seed in seeds] for group in groups])
    return NoiseEffects(tuple(groups), ends[..., 0], ends[..., 1])


def _train(group: int, seed: int, n: int, batch: int, steps: int) -> tuple[float, float]:
    """The losses on the examples learned and on those held out."""
    X, y, training, held_out = digits_in_halves()
    rng = np.random.default_rng(seed)
    rows = rng.permutation(training)[:n]
    net, loss = GroupedNetwork(X.shape[1], 64, 10, seed), nn.CrossEntropyLoss()
    optimizer = SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(steps):
        chosen = rng.permutation(rows)[:batch]
        optimizer.zero_grad()
        loss(net.outputs(Tensor(X[chosen]), group), y[chosen]).backward()
        optimizer.step()
    return _loss(net, X, y, rows, rows), _loss(net, X, y, rows, held_out)


def _loss(net: GroupedNetwork, X: np.ndarray, y: np.ndarray, known: np.ndarray, rows: np.ndarray) -> float:
    """Of rows by themselves, with the mean and the variance that the known ones have at each layer."""
    with no_grad():
        h, reference = Tensor(X[rows]), Tensor(X[known])
        for layer in (net.first, net.second):
            z = layer(reference).numpy()
            mean, deviation = z.mean(axis=0), np.sqrt(z.var(axis=0) + 1e-5)
            h = Tensor(np.maximum((layer(h).numpy() - mean) / deviation, 0))
            reference = Tensor(np.maximum((z - mean) / deviation, 0))
        return float(nn.CrossEntropyLoss()(net.last(h), y[rows]).item())
