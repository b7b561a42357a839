"""Spectra of matrices that are known by their products with vectors only.

Lanczos' process for symmetric matrices and that of Golub & Kahan for any, both with full
reorthogonalisation: each new vector is made orthogonal to all before it, twice, which is enough
(Parlett 1998, §6.9). Without it rounding brings back copies of eigenvalues that were found already.

References
----------
Golub & Van Loan 2013, Matrix Computations, §10.1-10.4; Parlett 1998, The Symmetric Eigenvalue Problem.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh_tridiagonal

__all__ = [
    "ExtremeEigenvalues",
    "SingularValues",
    "Tridiagonal",
    "extreme_eigenvalues",
    "golub_kahan",
    "lanczos",
]

Product = Callable[[np.ndarray], np.ndarray]

# A new direction shorter than this times the matrix is rounding: the space found so far is invariant.
_INVARIANT = 1e-12
# Ritz values with residuals below this times the matrix are taken as found.
_FOUND = 1e-9
# Steps between two looks at whether they are.
_STRIDE = 8


@dataclass(frozen=True)
class Tridiagonal:
    """T = Q H Qᵀ after m steps, Q with orthonormal rows.

    Attributes
    ----------
    diagonal : ndarray of shape (m,)
    off_diagonal : ndarray of shape (m - 1,)
    remainder : float
        Norm of what the next step would add; 0 where the rows of Q span an invariant space.
    """

    diagonal: np.ndarray
    off_diagonal: np.ndarray
    remainder: float

    def ritz(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues of T, ascending; squares of the first entries of its eigenvectors; residuals.

        The squares are the weights of the Gauss quadrature that belongs to the start vector (Golub & Welsch
        1969), and a residual ‖H x − θ x‖ says how far θ is from an eigenvalue of H at most.
        """
        values, vectors = eigh_tridiagonal(self.diagonal, self.off_diagonal)
        return values, vectors[0] ** 2, self.remainder * np.abs(vectors[-1])


class _Process:
    """Lanczos' process, step by step."""

    def __init__(self, product: Product, start: np.ndarray, n_steps: int) -> None:
        self.product = product
        self.basis = np.empty((min(n_steps, len(start)), len(start)))
        self.basis[0] = start / np.linalg.norm(start)
        self.diagonal: list[float] = []
        self.off_diagonal: list[float] = []
        self.rest = start
        self.remainder = 0.0
        self.scale = 0.0

    @property
    def n_done(self) -> int:
        return len(self.diagonal)

    @property
    def is_full(self) -> bool:
        return self.n_done == len(self.basis)

    def step(self) -> None:
        """Multiply by the newest vector, and split the product into what is known of it and the rest."""
        newest = self.basis[self.n_done]
        product = self.product(newest)
        self.diagonal.append(float(newest @ product))
        self.rest = _orthogonal(product, self.basis[: self.n_done])
        self.remainder = float(np.linalg.norm(self.rest))
        self.scale = max(self.scale, float(np.linalg.norm(product)))
        if self.remainder <= _INVARIANT * self.scale:
            self.remainder = 0.0

    def go_on(self, rng: np.random.Generator | None) -> bool:
        """Take the rest as the next vector, or a random one where nothing is left; False without either."""
        if self.remainder == 0.0:
            if rng is None:
                return False
            self.rest = _orthogonal(rng.standard_normal(len(self.rest)), self.basis[: self.n_done])
        self.off_diagonal.append(self.remainder)
        self.basis[self.n_done] = self.rest / np.linalg.norm(self.rest)
        return True

    def tridiagonal(self) -> Tridiagonal:
        return Tridiagonal(
            np.array(self.diagonal), np.array(self.off_diagonal[: self.n_done - 1]), self.remainder
        )


def _orthogonal(vector: np.ndarray, basis: np.ndarray) -> np.ndarray:
    for _ in range(2):
        vector = vector - (basis @ vector) @ basis
    return vector


def lanczos(product: Product, start: np.ndarray, n_steps: int) -> Tridiagonal:
    """Run up to ``n_steps`` steps of Lanczos' process; fewer where the space becomes invariant.

    Parameters
    ----------
    product : callable
        v → H v for a symmetric H, (P,) to (P,).
    start : ndarray of shape (P,)
        Not zero.
    n_steps : int

    Returns
    -------
    Tridiagonal

    Examples
    --------
    >>> H = np.diag([1.0, 2.0, 4.0])
    >>> values, weights, residuals = lanczos(lambda v: H @ v, np.ones(3), 3).ritz()
    >>> values.round(12), weights.round(12)
    (array([1., 2., 4.]), array([0.33333333, 0.33333333, 0.33333333]))
    """
    process = _Process(product, np.asarray(start, np.float64), n_steps)
    process.step()
    while not process.is_full and process.go_on(None):
        process.step()
    return process.tridiagonal()


@dataclass(frozen=True)
class ExtremeEigenvalues:
    """The largest and smallest eigenvalues.

    Attributes
    ----------
    top, top_residuals : ndarray of shape (n_values,)
        Descending; each is within its residual of an eigenvalue.
    lowest, lowest_residuals : ndarray of shape (n_values,)
        Ascending.
    n_steps : int
        How many products it took.
    """

    top: np.ndarray
    top_residuals: np.ndarray
    lowest: np.ndarray
    lowest_residuals: np.ndarray
    n_steps: int


def extreme_eigenvalues(
    product: Product, size: int, n_values: int, n_steps: int, rng: np.random.Generator
) -> ExtremeEigenvalues:
    """Both ends of the spectrum of a symmetric matrix, by one run of Lanczos' process.

    It stops as soon as all ``n_values`` at both ends are found to nine digits of the largest. Where a space
    is invariant it goes on from a random vector orthogonal to it, which finds eigenvalues that occur more
    than once.

    Parameters
    ----------
    product : callable
        v → H v, (P,) to (P,).
    size : int
        P.
    n_values : int
        At each end; at most P.
    n_steps : int
        At most so many products.
    rng : numpy.random.Generator
        What the process starts from.

    Returns
    -------
    ExtremeEigenvalues

    Examples
    --------
    >>> H = np.diag(np.arange(50.0))
    >>> found = extreme_eigenvalues(lambda v: H @ v, 50, 2, 50, np.random.default_rng(0))
    >>> found.top.round(6), found.lowest.round(6) + 0.0
    (array([49., 48.]), array([0., 1.]))
    """
    n_values = min(n_values, size)
    process = _Process(product, rng.standard_normal(size), max(n_steps, n_values))
    process.step()
    while not process.is_full:
        looks = process.n_done >= 2 * n_values and process.n_done % _STRIDE == 0
        # An invariant space leaves residuals of zero, but not that every eigenvalue has been met.
        if looks and process.remainder and _are_found(process.tridiagonal(), n_values):
            break
        process.go_on(rng)
        process.step()
    values, _, residuals = process.tridiagonal().ritz()
    return ExtremeEigenvalues(
        values[: -n_values - 1 : -1],
        residuals[: -n_values - 1 : -1],
        values[:n_values],
        residuals[:n_values],
        process.n_done,
    )


def _are_found(tridiagonal: Tridiagonal, n_values: int) -> bool:
    values, _, residuals = tridiagonal.ritz()
    ends = np.concatenate([residuals[:n_values], residuals[-n_values:]])
    return bool((ends <= _FOUND * np.abs(values).max()).all())


@dataclass(frozen=True)
class SingularValues:
    """The leading singular values of each of n matrices.

    Attributes
    ----------
    values, residuals : ndarray of shape (n, n_values)
        Descending; each is within its residual of a singular value.
    """

    values: np.ndarray
    residuals: np.ndarray


def golub_kahan(
    jvp: Product, vjp: Product, shape: tuple[int, int, int], n_values: int, rng: np.random.Generator
) -> SingularValues:
    """Leading singular values of n matrices J at once, by bidiagonalisation (Golub & Kahan 1965).

    A V = U B with B upper bidiagonal: α on the diagonal, β above it.

    Parameters
    ----------
    jvp, vjp : callable
        V → J V, (n, columns) to (n, rows), matrix by matrix; and U → Jᵀ U, back.
    shape : tuple of three int
        (n, rows, columns).
    n_values : int
    rng : numpy.random.Generator
        What the process starts from.

    Returns
    -------
    SingularValues
        nan for a matrix that is not finite.

    Examples
    --------
    >>> J = np.zeros((1, 40, 50))
    >>> J[0, range(40), range(40)] = np.arange(40.0)
    >>> found = golub_kahan(
    ...     lambda v: np.einsum("nij,nj->ni", J, v), lambda u: np.einsum("nij,ni->nj", J, u), J.shape, 2,
    ...     np.random.default_rng(0),
    ... )
    >>> found.values.round(6)
    array([[39., 38.]])
    """
    n, n_rows, n_columns = shape
    most = min(n_rows, n_columns)
    n_values = min(n_values, most)
    steps = min(most, 10 * n_values + 40)
    left, right = _Bases(n, steps, n_rows, rng), _Bases(n, steps, n_columns, rng)
    B = np.zeros((n, steps, steps))
    right.start()
    for j in range(steps):
        B[:, j, j] = left.append(jvp(right.newest))
        pulled = vjp(left.newest)
        if j + 1 == steps or (j % _STRIDE == _STRIDE - 1 and j >= 2 * n_values):
            found = _leading(B[:, : j + 1, : j + 1], right.rest(pulled), n_values)
            if (found.residuals <= _FOUND * found.values[:, :1]).all():
                break
        if j + 1 < steps:
            B[:, j, j + 1] = right.append(pulled)
    broken = left.broken | right.broken
    found.values[broken] = found.residuals[broken] = np.nan
    return found


def _leading(B: np.ndarray, remainder: np.ndarray, n_values: int) -> SingularValues:
    left, values, _ = np.linalg.svd(B)
    return SingularValues(values[:, :n_values].copy(), remainder[:, None] * np.abs(left[:, -1, :n_values]))


class _Bases:
    """n growing sets of orthonormal vectors."""

    def __init__(self, n: int, most: int, size: int, rng: np.random.Generator) -> None:
        self.vectors = np.empty((n, most, size))
        self.n_done = 0
        self.rng = rng
        self.scale = np.zeros(n)
        self.broken = np.zeros(n, bool)

    @property
    def newest(self) -> np.ndarray:
        """(n, size)."""
        return self.vectors[:, self.n_done - 1]

    def append(self, given: np.ndarray) -> np.ndarray:
        """Add what is new in products with J; its length, which is 0 where a random vector was added."""
        given = self._finite(given)
        self.scale = np.maximum(self.scale, np.linalg.norm(given, axis=1))
        rest = self._orthogonal(given)
        length = np.linalg.norm(rest, axis=1)
        empty = length <= _INVARIANT * self.scale
        if empty.any():
            rest[empty] = self._random()[empty]
        self._add(rest)
        return np.where(empty, 0.0, length)

    def start(self) -> None:
        """Begin with random vectors."""
        self._add(self._random())

    def rest(self, given: np.ndarray) -> np.ndarray:
        """How long what is new in the given vectors is, (n,)."""
        return np.linalg.norm(self._orthogonal(self._finite(given)), axis=1)

    def _add(self, vectors: np.ndarray) -> None:
        self.vectors[:, self.n_done] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.n_done += 1

    def _random(self) -> np.ndarray:
        n, _, size = self.vectors.shape
        return self._orthogonal(self.rng.standard_normal((n, size)))

    def _finite(self, given: np.ndarray) -> np.ndarray:
        """Zeros in place of what is not finite, which is noted: the other matrices are measured still."""
        finite = np.isfinite(given).all(axis=1)
        self.broken |= ~finite
        return np.where(finite[:, None], given, 0.0)

    def _orthogonal(self, given: np.ndarray) -> np.ndarray:
        basis = self.vectors[:, : self.n_done]
        for _ in range(2):
            given = given - np.einsum("nj,njk->nk", np.einsum("njk,nk->nj", basis, given), basis)
        return given
