"""The curvature of the loss at one place: its Hessian's eigenvalues, their density and signs (section 6).

The Hessian has P² entries, which for all but the smallest networks are too many. What is estimated needs
products H v alone, each about twice the cost of a gradient (Pearlmutter 1994).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.health.arguments import check_size, generator
from chainrule.health.differentiable import Differentiable, HessianProducts
from chainrule.health.lanczos import Product, extreme_eigenvalues, lanczos
from chainrule.health.threads import on_one_thread

__all__ = ["Curvature", "SpectralDensity", "curvature", "hutch_plus_plus", "spectral_density"]

# Up to so many parameters the Hessian is built: it takes as many products as the estimates would.
DENSE_UP_TO = 1024
# Eigenvalues closer to zero than this times the largest are flat directions, and have no sign.
FLAT = 1e-8
GRID_POINTS = 512
# Width of the Gaussian that each eigenvalue is drawn as, relative to the range of the spectrum.
_WIDTH = 0.01
_MARGIN = 4.0  # of the grid beyond the spectrum, in such widths


@dataclass(frozen=True)
class SpectralDensity:
    """How eigenvalues are distributed: each drawn as a Gaussian of standard deviation ``width``.

    Attributes
    ----------
    grid, density : ndarray of shape (n_points,)
        The integral of the density over the grid is 1.
    width : float
    nodes, weights : ndarray of shape (n_nodes,)
        What was smoothed: ascending eigenvalues, or where they are not all known the quadrature's nodes, and
        the share of the spectrum that each stands for.
    negative_share, negative_share_standard_error : float
        The share of eigenvalues below zero (beyond `FLAT`), not smoothed, and its error over the random
        vectors; 0 where all eigenvalues are known.
    """

    grid: np.ndarray
    density: np.ndarray
    width: float
    nodes: np.ndarray
    weights: np.ndarray
    negative_share: float
    negative_share_standard_error: float


@dataclass(frozen=True)
class Curvature:
    """The Hessian of the loss at the model's parameters.

    Attributes
    ----------
    n_parameters : int
        P.
    loss, gradient_norm_squared : float
        ℒ and ‖∇ℒ‖²: at a critical point the second is 0.
    top, top_residuals : ndarray of shape (n_values,)
        The largest eigenvalues, descending; each is within its residual of one.
    lowest, lowest_residuals : ndarray of shape (n_values,)
        The smallest, ascending.
    trace, trace_standard_error : float
        The sum of all eigenvalues; the error is 0 where it is exact.
    spectrum : SpectralDensity
    eigenvalues : ndarray of shape (P,) or None
        All of them, ascending, where P is at most `DENSE_UP_TO`.
    n_products : int
        How many products H v were computed.
    """

    n_parameters: int
    loss: float
    gradient_norm_squared: float
    top: np.ndarray
    top_residuals: np.ndarray
    lowest: np.ndarray
    lowest_residuals: np.ndarray
    trace: float
    trace_standard_error: float
    spectrum: SpectralDensity
    eigenvalues: np.ndarray | None
    n_products: int

    @property
    def is_exact(self) -> bool:
        """Whether the Hessian was built and all eigenvalues are known."""
        return self.eigenvalues is not None

    @property
    def index(self) -> float:
        """The share of negative eigenvalues: 0 at a minimum, between 0 and 1 at a saddle (Dauphin 2014)."""
        return self.spectrum.negative_share

    @property
    def largest_stable_learning_rate(self) -> float:
        """2 / λ_max: above it gradient descent diverges along the top eigenvector; inf without curvature.

        Training at a constant rate drives λ_max towards 2 / rate (Cohen et al. 2021).
        """
        return 2.0 / float(self.top[0]) if self.top[0] > 0 else float("inf")


@on_one_thread
def curvature(
    module: Any,
    X: Any,
    y: Any,
    loss: Any,
    *,
    n_values: int = 5,
    n_vectors: int = 5,
    n_steps: int = 64,
    seed: int = 0,
) -> Curvature:
    """Extreme eigenvalues, trace, spectral density and index of the loss's Hessian (section 6).

    With at most `DENSE_UP_TO` parameters the Hessian is built and everything is exact. Otherwise the extreme
    eigenvalues come from Lanczos' process, the trace from Hutch++ (Meyer et al. 2021) and the density from
    stochastic Lanczos quadrature (Ghorbani, Krishnan & Xiao 2019), with ``n_vectors`` · (``n_steps`` + 3) +
    ``n_steps`` products H v at most. The model is not changed; it is measured in evaluation mode, in double
    precision, with X as one batch.

    Parameters
    ----------
    module : chainrule.nn.Module or torch.nn.Module
        Frozen parameters are constants.
    X : array-like of shape (n, ...)
    y : array-like of shape (n,) or (n, outputs)
    loss : loss module, str or callable
        As in `Differentiable`.
    n_values : int, default=5
        Eigenvalues at each end of the spectrum.
    n_vectors : int, default=5
        Random vectors for trace and density, at least 2.
    n_steps : int, default=64
        Steps of each of Lanczos' processes. More find eigenvalues that lie closer together, and keep
        ``n_steps`` · P numbers.
    seed : int, default=0

    Returns
    -------
    Curvature

    Raises
    ------
    TypeError
        If ``module`` or ``loss`` is of neither library, or X or y is not numeric.
    ValueError
        If the model has nothing to train, or loss or gradient is not finite.

    References
    ----------
    Pearlmutter 1994; Meyer, Musco, Musco & Woodruff 2021 (arXiv:2010.09649); Ghorbani, Krishnan & Xiao 2019
    (arXiv:1901.10159); Dauphin et al. 2014 (arXiv:1406.2572).

    Examples
    --------
    Of half the squared error of a linear model the Hessian is XᵀX / n.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> X, y = np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([1.0, 1.0])
    >>> found = curvature(nn.Linear(2, 1, bias=False), X, y, nn.HalfSquaredErrorLoss())
    >>> found.eigenvalues, found.trace, found.index
    (array([2., 8.]), 10.0, 0.0)
    """
    n_values = check_size("n_values", n_values)
    n_vectors, n_steps = check_size("n_vectors", n_vectors, low=2), check_size("n_steps", n_steps, low=2)
    rng = generator(seed)
    model = Differentiable(module, loss)
    products = model.hessian(model.parameters, X, y)
    if not np.isfinite(products.loss) or not np.isfinite(products.gradient).all():
        raise ValueError(
            f"module must have a finite loss and gradient on X and y; the loss is {products.loss}, and "
            f"{int((~np.isfinite(products.gradient)).sum())} entries of the gradient are not finite"
        )
    if model.n_parameters <= DENSE_UP_TO:
        return _dense(products, n_values)
    size = model.n_parameters
    extreme = extreme_eigenvalues(products, size, n_values, n_steps, rng)
    trace, trace_error = hutch_plus_plus(products, size, n_vectors, rng)
    spectrum = spectral_density(products, size, n_vectors, n_steps, rng)
    return Curvature(
        size,
        products.loss,
        float(products.gradient @ products.gradient),
        extreme.top,
        extreme.top_residuals,
        extreme.lowest,
        extreme.lowest_residuals,
        trace,
        trace_error,
        spectrum,
        None,
        products.n_products,
    )


def _dense(products: HessianProducts, n_values: int) -> Curvature:
    """Everything from the whole Hessian."""
    size = len(products.gradient)
    hessian = np.stack([products(unit) for unit in np.eye(size)])
    # Symmetric but for rounding, of which eigvalsh would see one half.
    eigenvalues = np.linalg.eigvalsh((hessian + hessian.T) / 2)
    n_values = min(n_values, size)
    weights = np.full(size, 1 / size)
    return Curvature(
        size,
        products.loss,
        float(products.gradient @ products.gradient),
        eigenvalues[: -n_values - 1 : -1],
        np.zeros(n_values),
        eigenvalues[:n_values],
        np.zeros(n_values),
        float(np.trace(hessian)),
        0.0,
        _density([eigenvalues], [weights]),
        eigenvalues,
        products.n_products,
    )


def hutch_plus_plus(
    product: Product, size: int, n_vectors: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The trace of a symmetric matrix and its standard error, by 3 · ``n_vectors`` products (Hutch++).

    What the leading directions contribute is computed exactly, and only the rest estimated by E vᵀH v over
    random signs v (Hutchinson 1990), whose error then no longer depends on the few large eigenvalues.

    Parameters
    ----------
    product : callable
        v → H v, (P,) to (P,).
    size : int
        P.
    n_vectors : int
        At least 2.
    rng : numpy.random.Generator

    Returns
    -------
    trace, standard_error : float

    Examples
    --------
    >>> H = np.diag([5.0, 3.0] + [0.0] * 98)
    >>> trace, error = hutch_plus_plus(lambda v: H @ v, 100, 4, np.random.default_rng(0))
    >>> round(trace, 9), round(error, 9)
    (8.0, 0.0)
    """
    n_leading = min(n_vectors, size)
    sketch = np.stack([product(v) for v in rng.choice([-1.0, 1.0], (n_leading, size))], axis=1)
    leading, _ = np.linalg.qr(sketch)
    exact = sum(float(q @ product(q)) for q in leading.T)
    if n_leading == size:
        return exact, 0.0
    estimates = []
    for v in rng.choice([-1.0, 1.0], (n_vectors, size)):
        rest = v - leading @ (leading.T @ v)
        estimates.append(float(rest @ product(rest)))
    return exact + float(np.mean(estimates)), float(np.std(estimates, ddof=1) / np.sqrt(n_vectors))


def spectral_density(
    product: Product, size: int, n_vectors: int, n_steps: int, rng: np.random.Generator
) -> SpectralDensity:
    """How the eigenvalues of a symmetric matrix are distributed, by stochastic Lanczos quadrature.

    Each random vector gives a Gauss quadrature of the distribution: the eigenvalues of Lanczos' T with the
    squares of its eigenvectors' first entries as weights (Golub & Welsch 1969; Lin, Saad & Yang 2016).

    Parameters
    ----------
    product : callable
        v → H v, (P,) to (P,).
    size : int
        P.
    n_vectors, n_steps : int
    rng : numpy.random.Generator

    Returns
    -------
    SpectralDensity

    Examples
    --------
    >>> H = np.diag(np.repeat([-1.0, 1.0, 3.0], [20, 60, 20]))
    >>> found = spectral_density(lambda v: H @ v, 100, 20, 10, np.random.default_rng(0))
    >>> abs(found.negative_share - 0.2) < 3 * found.negative_share_standard_error
    True
    """
    nodes, weights = [], []
    for _ in range(n_vectors):
        values, shares, _ = lanczos(product, rng.standard_normal(size), n_steps).ritz()
        nodes.append(values)
        weights.append(shares)
    return _density(nodes, weights)


def _density(nodes: list[np.ndarray], weights: list[np.ndarray]) -> SpectralDensity:
    """The mean of several weighted sets of eigenvalues, smoothed on a grid; and what of it is negative."""
    everything, shares = np.concatenate(nodes), np.concatenate(weights) / len(nodes)
    order = np.argsort(everything)
    everything, shares = everything[order], shares[order]
    low, high = float(everything[0]), float(everything[-1])
    largest = max(abs(low), abs(high))
    # A spectrum of one point still has to have a width.
    width = _WIDTH * (high - low if high - low > 1e-6 * largest else largest or 1.0)
    grid = np.linspace(low - _MARGIN * width, high + _MARGIN * width, GRID_POINTS)
    density = np.exp(-0.5 * ((grid[:, None] - everything) / width) ** 2) @ shares
    density /= np.trapezoid(density, grid)
    negative = [
        float(share[values < -FLAT * largest].sum()) for values, share in zip(nodes, weights, strict=True)
    ]
    error = float(np.std(negative, ddof=1) / np.sqrt(len(negative))) if len(negative) > 1 else 0.0
    return SpectralDensity(grid, density, width, everything, shares, float(np.mean(negative)), error)
