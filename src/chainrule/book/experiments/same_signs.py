"""Section 6: how likely it is that all eigenvalues of a random symmetric matrix share a sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

__all__ = ["SameSigns", "gaussian_orthogonal", "same_sign_shares", "same_signs"]

# Dean & Majumdar 2006: the chance of one sign is exp(-c d²) for large d.
DEAN_MAJUMDAR = float(np.log(3) / 4)


def gaussian_orthogonal(d: int, n: int, rng: np.random.Generator) -> np.ndarray:
    """Matrices of the Gaussian orthogonal ensemble: variance 1 off the diagonal and 2 on it.

    Parameters
    ----------
    d, n : int
        Size of a matrix, and how many.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n, d, d)

    Examples
    --------
    >>> H = gaussian_orthogonal(3, 2, np.random.default_rng(0))
    >>> H.shape, bool((H == H.swapaxes(1, 2)).all())
    ((2, 3, 3), True)
    """
    entries = rng.standard_normal((n, d, d))
    return (entries + entries.swapaxes(1, 2)) / np.sqrt(2)


def counted_share(d: int, n: int, seed: int) -> float:
    """The share of `n` random matrices whose eigenvalues, computed, share a sign.

    Examples
    --------
    >>> counted_share(1, 10, seed=0)
    1.0
    """
    eigenvalues = np.linalg.eigvalsh(gaussian_orthogonal(d, n, np.random.default_rng(seed)))
    return float(np.mean((eigenvalues[:, 0] > 0) | (eigenvalues[:, -1] < 0)))


def same_sign_shares(largest: int, n: int, seed: int) -> np.ndarray:
    """The share of random matrices whose eigenvalues share a sign, of every size up to `largest`.

    A matrix is positive definite if its leading part is, A = L Lᵀ, and its last diagonal entry a exceeds
    cᵀ A⁻¹ c, c the rest of its last column. Given that, a is normal: its chance to do so is known, and of
    all matrices those that would be indefinite need not be drawn. Matrices of every size are drawn again
    with that chance, and grow by a column (sequential Monte Carlo). What counts is that shares too small to
    be met with by chance are found without a bias.

    Parameters
    ----------
    largest : int
    n : int
        Matrices of each size.
    seed : int

    Returns
    -------
    ndarray of shape (largest,)
        For d = 1, 2, ...: twice the chance of positive eigenvalues alone.

    Raises
    ------
    ValueError
        If `largest` or `n` is less than 1.

    Examples
    --------
    The second is 1 − 1/√2.

    >>> same_sign_shares(2, 100_000, seed=0).round(2)
    array([1.  , 0.29])
    """
    if largest < 1 or n < 1:
        raise ValueError(f"largest and n must be at least 1, got {largest} and {n}")
    rng = np.random.default_rng(seed)
    L = np.sqrt(np.abs(rng.normal(0, np.sqrt(2), (n, 1, 1))))
    shares = [1.0]
    for d in range(1, largest):
        z = np.linalg.solve(L, rng.standard_normal((n, d, 1)))[..., 0]  # L z = c
        least = (z**2).sum(axis=1)  # cᵀ A⁻¹ c
        chance = ndtr(-least / np.sqrt(2))  # that a, of variance 2, exceeds it
        shares.append(shares[-1] * float(chance.mean()))
        drawn = rng.choice(n, n, p=chance / chance.sum())
        a = -np.sqrt(2) * ndtri(chance[drawn] * (1 - rng.random(n)))  # normal, given that it does
        grown = np.zeros((n, d + 1, d + 1))
        grown[:, :d, :d], grown[:, d, :d] = L[drawn], z[drawn]
        grown[:, d, d] = np.sqrt(np.maximum(a - least[drawn], np.finfo(float).tiny))
        L = grown
    return np.array(shares)


@dataclass(frozen=True)
class SameSigns:
    """How the share falls with the size of the matrix.

    Attributes
    ----------
    d : ndarray of shape (n_sizes,)
    shares : ndarray of shape (n_seeds, n_sizes)
        From growing matrices.
    counted_d, counted : ndarray of shape (n_counted,)
        From the eigenvalues of independent matrices, for small d.
    n_counted : int
        How many those were, of each size.
    """

    d: np.ndarray
    shares: np.ndarray
    counted_d: np.ndarray
    counted: np.ndarray
    n_counted: int

    @property
    def rates(self) -> np.ndarray:
        """ln of the factor by which one more dimension divides the share, (n_seeds, n_sizes − 1).

        If the share fell exponentially these would be equal.
        """
        return -np.diff(np.log(self.shares), axis=1)

    @property
    def quadratic(self) -> np.ndarray:
        """The c of exp(−c d²) for each seed: half of what a dimension adds to the rate."""
        middle = (self.d[:-1] + self.d[1:]) / 2
        return np.array([np.polyfit(middle, one, 1)[0] / 2 for one in self.rates])


def same_signs(
    *, largest: int, n: int, seeds: Sequence[int], counted_to: int = 5, n_counted: int = 200_000
) -> SameSigns:
    """Measure the share of random matrices whose eigenvalues share a sign.

    Parameters
    ----------
    largest : int
        The largest d.
    n : int
        Growing matrices.
    seeds : sequence of int
    counted_to : int
        Up to this d independent matrices' eigenvalues are counted as well.
    n_counted : int

    Returns
    -------
    SameSigns

    Examples
    --------
    >>> found = same_signs(largest=6, n=2000, seeds=[0, 1], counted_to=2, n_counted=100)
    >>> bool((np.diff(found.rates) > 0).all())                          # faster than exponentially
    True
    """
    small = np.arange(1, counted_to + 1)
    return SameSigns(
        np.arange(1, largest + 1),
        np.array([same_sign_shares(largest, n, seed) for seed in seeds]),
        small,
        np.array([counted_share(int(d), n_counted, int(d)) for d in small]),
        n_counted,
    )
