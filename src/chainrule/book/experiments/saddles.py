"""Section 6: the critical points of a small network, and a saddle that descent has to leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.functions.losses import softmax
from chainrule.tape import Tensor, grad
from chainrule.textbook import backprop

__all__ = [
    "CriticalPoints",
    "Escapes",
    "escape",
    "find_critical_points",
    "rank_correlation",
]


@dataclass(frozen=True, eq=False)
class CriticalPoints:
    """Distinct critical points that were found of one small network's loss.

    Attributes
    ----------
    loss : ndarray of shape (k,)
    index : ndarray of shape (k,)
        How many eigenvalues of the Hessian are negative.
    gradient_norm : ndarray of shape (k,)
    n_parameters : int
    n_starts : int
    """

    loss: np.ndarray
    index: np.ndarray
    gradient_norm: np.ndarray
    n_parameters: int
    n_starts: int


def _one(gradients: tuple[Tensor | None, ...]) -> Tensor:
    """The only gradient; there is one, for every loss here depends on all parameters."""
    (found,) = gradients
    assert found is not None
    return found


class _ManyNetworks:
    """The loss of many small networks on one problem at once: the rows of θ are networks."""

    def __init__(self, seed: int, width: int, n: int = 20, decay: float = 0.01) -> None:
        self.X = np.random.default_rng(seed).standard_normal((n, 2))
        self.y = np.sign(self.X[:, 0] * self.X[:, 1])
        self.width, self.decay, self.n_parameters = width, decay, 4 * width + 1

    def losses(self, theta: Tensor | np.ndarray) -> Tensor | np.ndarray:
        """½ MSE and a little weight decay, without which there are critical points at infinity."""
        k = self.width
        W1, b1 = theta[:, : 2 * k].reshape(-1, k, 2), theta[:, 2 * k : 3 * k].reshape(-1, k, 1)
        w2, b2 = theta[:, 3 * k : 4 * k].reshape(-1, 1, k), theta[:, 4 * k :].reshape(-1, 1, 1)
        outputs = w2 @ np.tanh(W1 @ self.X.T + b1) + b2
        fit = ((outputs - self.y) ** 2).sum(axis=2).reshape(-1) / (2 * len(self.y))
        return fit + (theta**2).sum(axis=1) * (self.decay / 2)

    def derivatives(self, theta: np.ndarray, hessians: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """∇ℒ and the Hessian of every network, the Hessian by one product H v a column."""
        leaf = Tensor(theta.copy(), requires_grad=True)
        slope = _one(grad(self.losses(leaf).sum(), leaf, create_graph=hessians))
        columns = []
        for unit in np.eye(self.n_parameters) if hessians else ():
            column = _one(grad(slope, leaf, np.tile(unit, (len(theta), 1)), retain_graph=True))
            columns.append(column.numpy())
        return slope.detach().numpy().copy(), np.stack(columns, axis=2) if columns else np.empty(0)


def find_critical_points(
    seed: int, n_starts: int = 120, n_steps: int = 100, width: int = 3, descent: int = 1000
) -> CriticalPoints:
    """Minimise ‖∇ℒ‖² from many starts: it is zero at minima, saddles and maxima alike.

    Half of the starts are random; the others lie along paths of gradient descent (Dauphin et al. 2014).

    Parameters
    ----------
    seed : int
        Of the data and of the starts.
    n_starts : int
    n_steps : int
        Of Levenberg's method.
    width : int
    descent : int
        The greatest number of steps of gradient descent before.

    Returns
    -------
    CriticalPoints
    """
    nets, rng = _ManyNetworks(seed, width), np.random.default_rng(seed + 1000)
    theta = rng.standard_normal((n_starts, nets.n_parameters)) * rng.uniform(0.1, 2, (n_starts, 1))
    steps = np.where(np.arange(n_starts) % 2, rng.integers(0, descent + 1, n_starts), 0)
    for step in range(descent):
        moving = steps > step
        if moving.any():
            theta[moving] -= 0.3 * nets.derivatives(theta[moving], hessians=False)[0]
    theta, slope, curved = _levenberg(nets, theta, n_steps)
    norms = np.linalg.norm(slope, axis=1)
    losses, eigenvalues = np.asarray(nets.losses(theta)), np.linalg.eigvalsh(curved)
    distinct: dict[tuple[float, ...], int] = {}  # units in another order make the same critical point
    for i in np.flatnonzero(norms < 1e-8):
        distinct.setdefault(tuple(np.round((losses[i], eigenvalues[i, 0], eigenvalues[i, -1]), 5)), int(i))
    kept = list(distinct.values())
    index = (eigenvalues[kept] < -1e-7).sum(axis=1)
    return CriticalPoints(losses[kept], index, norms[kept], nets.n_parameters, n_starts)


def _levenberg(
    nets: _ManyNetworks, theta: np.ndarray, n_steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps -(H² + μ)⁻¹ H ∇ℒ, kept where ‖∇ℒ‖ falls; μ by how it goes."""
    mu = np.full(len(theta), 0.01)
    slope, curved = nets.derivatives(theta)
    for _ in range(n_steps):
        values, vectors = np.linalg.eigh(curved)
        along = np.einsum("spk,sp->sk", vectors, slope) * values / (values**2 + mu[:, None])
        moved = theta - np.einsum("spk,sk->sp", vectors, along)
        new_slope, new_curved = nets.derivatives(moved)
        better = (new_slope**2).sum(axis=1) < (slope**2).sum(axis=1)
        theta[better], slope[better], curved[better] = moved[better], new_slope[better], new_curved[better]
        mu = np.clip(np.where(better, mu * 0.3, mu * 4), 1e-14, 1e4)
    return theta, slope, curved


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; nan where one of the two does not vary.

    Parameters
    ----------
    a, b : ndarray of shape (n,)

    Returns
    -------
    float

    Examples
    --------
    >>> round(rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([1, 2, 9])), 12)
    1.0
    """
    from scipy.stats import spearmanr

    if len(set(a.tolist())) < 2 or len(set(b.tolist())) < 2:
        return float("nan")
    return float(spearmanr(a, b).statistic)


@dataclass(frozen=True, eq=False)
class Escapes:
    """The loss of descents that begin on a saddle, (seeds, n_steps + 1).

    Attributes
    ----------
    whole : ndarray
        With the gradient of all examples.
    batches : ndarray
        With mini-batches.
    twins : ndarray
        With mini-batches, all weights zero: a saddle that every example shares.
    """

    whole: np.ndarray
    batches: np.ndarray
    twins: np.ndarray


def escape(seeds: Sequence[int], n_steps: int = 600, width: int = 8, batch: int = 8) -> Escapes:
    """Descend from saddles of a two-class network.

    The data are symmetric, x and −x in one class, and the network's output weights and biases zero. Then
    the gradient of all examples is zero, for x and −x cancel, and a batch's is not.

    Parameters
    ----------
    seeds : sequence of int
    n_steps, width, batch : int

    Returns
    -------
    Escapes
    """
    return Escapes(
        np.array([_descend(seed, n_steps, width, None, False) for seed in seeds]),
        np.array([_descend(seed, n_steps, width, batch, False) for seed in seeds]),
        np.array([_descend(seed, n_steps, width, batch, True) for seed in seeds]),
    )


def _descend(seed: int, n_steps: int, width: int, batch: int | None, zeros: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((2, 32))
    X = np.concatenate([half, -half], axis=1)
    y = (X[0] * X[1] > 0).astype(int)
    weights = [np.zeros((width, 2)) if zeros else rng.standard_normal((width, 2)), np.zeros((2, width))]
    biases = [np.zeros(width), np.zeros(2)]
    losses = []
    for _ in range(n_steps + 1):
        p = softmax((weights[1] @ np.tanh(weights[0] @ X + biases[0][:, None]) + biases[1][:, None]).T)
        losses.append(-np.log(p[np.arange(len(y)), y]).mean())
        rows = np.arange(len(y)) if batch is None else rng.permutation(len(y))[:batch]
        grad_W, grad_b = backprop(X[:, rows], y[rows], weights, biases, ["tanh"])
        # Zero output biases stay: with them the classes' shares in a batch alone would move the loss.
        weights = [W - 0.1 * g for W, g in zip(weights, grad_W, strict=True)]
        biases = [biases[0] - 0.1 * grad_b[0], biases[1]]
    return np.array(losses)
