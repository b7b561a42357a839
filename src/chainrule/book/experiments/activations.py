"""Section 2: six activations, their derivatives, and what the table remarks about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from chainrule.functions import get_activation

__all__ = [
    "SIX",
    "Curves",
    "GeluForms",
    "difference_from_quotients",
    "difference_of_compiled_derivative",
    "gelu_forms",
    "largest_derivative",
    "mean_output",
    "saturates_beyond",
    "value_and_derivative",
]

# The chapter's table, in its order.
SIX = ("sigmoid", "tanh", "relu", "leaky_relu", "gelu", "silu")

# Where σ' of ReLU and leaky ReLU jumps.
_KINK = 0.0


@dataclass(frozen=True)
class Curves:
    """An activation and its derivative at some places.

    Attributes
    ----------
    name : str
    z, value, derivative : ndarray
    """

    name: str
    z: np.ndarray
    value: np.ndarray
    derivative: np.ndarray


@dataclass(frozen=True)
class GeluForms:
    """The exact GELU against its integral's definition and against the approximation by tanh.

    Attributes
    ----------
    from_definition : float
        The largest difference of ours from z P(Z ≤ z).
    from_tanh : float
        The largest difference of ours from ½z (1 + tanh(√(2/π) (z + 0.044715 z³))).
    where : float
        The z of the latter.
    """

    from_definition: float
    from_tanh: float
    where: float


def value_and_derivative(name: str, ends: float = 5.0, count: int = 401) -> Curves:
    """Compute σ(z) and σ'(z) between −ends and ends.

    Parameters
    ----------
    name : str
        An activation of ``chainrule.functions``.
    ends : float
    count : int

    Returns
    -------
    Curves

    Examples
    --------
    >>> found = value_and_derivative("relu", 1.0, 3)
    >>> found.value.tolist(), found.derivative.tolist()
    ([0.0, 0.0, 1.0], [0.0, 0.0, 1.0])
    """
    sigma, z = get_activation(name), np.linspace(-ends, ends, count)
    alpha = sigma.default_alpha
    return Curves(name, z, sigma.value(z, alpha), sigma.derivative(z, alpha))


def difference_from_quotients(name: str, ends: float = 8.0, count: int = 1000, step: float = 1e-5) -> float:
    """Find the largest |σ'(z) − (σ(z + e) − σ(z − e)) / 2e| between −ends and ends, off the kink at 0.

    Parameters
    ----------
    name : str
    ends : float
    count : int
        Even, so that no place is 0.
    step : float
        e.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the count is odd.

    Examples
    --------
    >>> difference_from_quotients("tanh") < 1e-9
    True
    """
    if count % 2:
        raise ValueError(f"count must be even, so that no place is the kink at 0, got {count}")
    sigma, z = get_activation(name), np.linspace(-ends, ends, count)
    alpha = sigma.default_alpha
    quotient = (sigma.value(z + step, alpha) - sigma.value(z - step, alpha)) / (2 * step)
    return float(np.abs(sigma.derivative(z, alpha) - quotient).max())


def difference_of_compiled_derivative(name: str, ends: float = 8.0, count: int = 1000) -> float:
    """Find the largest difference of σ' on arrays from the σ' of one number that the engine compiles.

    Parameters
    ----------
    name : str
    ends : float
    count : int

    Returns
    -------
    float

    Examples
    --------
    >>> difference_of_compiled_derivative("relu")
    0.0
    """
    sigma, z = get_activation(name), np.linspace(-ends, ends, count)
    alpha = sigma.default_alpha
    one_by_one = [sigma.scalar_derivative(one, sigma.scalar_value(one, alpha), alpha) for one in z.tolist()]
    return float(np.abs(sigma.derivative(z, alpha) - one_by_one).max())


def largest_derivative(name: str, ends: float = 8.0) -> tuple[float, float]:
    """Search for the z at which σ' is largest.

    Parameters
    ----------
    name : str
    ends : float

    Returns
    -------
    (float, float)
        The z, and σ' there.

    Examples
    --------
    >>> where, largest = largest_derivative("sigmoid")
    >>> abs(where) < 1e-6, round(largest, 9)
    (True, 0.25)
    """
    sigma = get_activation(name)

    def negative(z: float) -> float:
        return -float(sigma.derivative(np.array(z), sigma.default_alpha))

    # A coarse search says which of the hills is the highest, a fine one where its top is.
    z = np.linspace(-ends, ends, 1001)
    top = z[np.argmax(sigma.derivative(z, sigma.default_alpha))]
    step = z[1] - z[0]
    found = minimize_scalar(negative, bounds=(top - step, top + step), options={"xatol": 1e-10})
    return float(found.x), -float(found.fun)


def mean_output(name: str) -> float:
    """Integrate σ against the standard normal density: what a unit puts out on the average.

    Parameters
    ----------
    name : str

    Returns
    -------
    float

    Examples
    --------
    >>> round(mean_output("sigmoid"), 9), abs(mean_output("tanh")) < 1e-9
    (0.5, True)
    """
    sigma = get_activation(name)

    def weighted(z: float) -> float:
        return float(sigma.value(np.array(z), sigma.default_alpha)) * float(norm.pdf(z))

    halves = [quad(weighted, *ends, epsabs=1e-12)[0] for ends in ((-12.0, _KINK), (_KINK, 12.0))]
    return float(sum(halves))


def saturates_beyond(name: str, share: float = 0.01) -> tuple[float, float]:
    """Find beyond which z, to the left and to the right, σ' stays below a share of its largest value.

    Parameters
    ----------
    name : str
    share : float

    Returns
    -------
    (float, float)
        Infinite where it does not, up to |z| = 50.

    Examples
    --------
    >>> left, right = saturates_beyond("tanh")
    >>> round(left, 1), round(right, 1)
    (-3.0, 3.0)
    """
    sigma, z = get_activation(name), np.linspace(-50, 50, 100_001)
    slope = np.abs(sigma.derivative(z, sigma.default_alpha))
    steep = z[slope >= share * slope.max()]
    left, right = float(steep[0]), float(steep[-1])
    return (-np.inf if left == z[0] else left, np.inf if right == z[-1] else right)


def gelu_forms(ends: float = 8.0, count: int = 20_001) -> GeluForms:
    """Compare the library's GELU with zΦ(z) and with the approximation by tanh.

    Parameters
    ----------
    ends : float
    count : int

    Returns
    -------
    GeluForms

    Examples
    --------
    >>> found = gelu_forms()
    >>> found.from_definition < 1e-14, found.from_tanh > 1e-4
    (True, True)
    """
    z = np.linspace(-ends, ends, count)
    ours = get_activation("gelu").value(z, 0.0)
    by_tanh = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    apart = np.abs(ours - by_tanh)
    return GeluForms(
        float(np.abs(ours - z * norm.cdf(z)).max()), float(apart.max()), float(abs(z[apart.argmax()]))
    )
