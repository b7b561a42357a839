"""Weight initializers: section 5, one record a rule.

Six of the rules are one idea. A sum of n_in products has the variance

    Var(z) = n_in Var(w) Var(h),

so a signal keeps its size going forward when Var(w) = 1/n_in (LeCun), its gradient keeps its size
going back when Var(w) = 1/n_out, 2/(n_in + n_out) is the compromise (Xavier, equation (8)), and a
ReLU, which halves the mean square, asks for twice as much, 2/n_in (He, equation (9)). Each of the
three variances is drawn from a normal or from a uniform distribution.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.functions._lookup import lookup

__all__ = ["INITIALIZERS", "Initializer", "get_initializer"]

Shape = tuple[int, int]


@dataclass(frozen=True)
class Initializer:
    """One rule for drawing the weights (n_out, n_in) of a linear layer.

    Attributes
    ----------
    name : str
        The name by which everything else refers to it.
    formula, latex : str
        The distribution of one weight, as plain text and as LaTeX, for gain 1.
    source : str
        Where the rule comes from.
    sample : callable
        ``sample(shape, rng, alpha, **settings)``: the draw for gain 1, without checks.
    variance : callable
        ``variance(shape, alpha, **settings)``: Var(w) of that draw.
    settings : mapping of str to float
        Names and defaults of the rule's own settings, such as the normal's mean and std.

    Examples
    --------
    >>> he = get_initializer("he_normal")
    >>> weights = he.draw((100, 50), np.random.default_rng(0))
    >>> weights.shape, he.variance((100, 50), 0.0)          # equation (9): 2 / 50
    ((100, 50), 0.04)
    """

    name: str
    formula: str
    latex: str
    source: str
    sample: Callable[..., np.ndarray]
    variance: Callable[..., float]
    settings: Mapping[str, float] = field(default_factory=dict)

    def draw(
        self, shape: Shape, rng: np.random.Generator, gain: float = 1.0, alpha: float = 0.0, **settings: float
    ) -> np.ndarray:
        """Draw a weight matrix.

        Parameters
        ----------
        shape : tuple of int
            (n_out, n_in), both positive.
        rng : numpy.random.Generator
            Where the random numbers come from; it advances.
        gain : float, default=1
            Multiplies the draw, so that Var(w) is multiplied by gain².
        alpha : float, default=0
            Slope of the leaky ReLU that follows. Only the He rules use it: 2/((1 + α²) n_in).
        **settings : float
            The rule's own settings, see ``settings``.

        Returns
        -------
        numpy.ndarray of float64
            An array of that shape.

        Raises
        ------
        TypeError
            If ``rng`` is not a Generator, or a setting is not one of the rule's.
        ValueError
            If a value is out of its range.

        Examples
        --------
        >>> get_initializer("constant").draw((1, 3), np.random.default_rng(0), value=0.5)
        array([[0.5, 0.5, 0.5]])
        """
        _check_shape(shape)
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng must be a numpy.random.Generator; got {type(rng).__name__}")
        unknown = settings.keys() - self.settings.keys()
        if unknown:
            known = ", ".join(self.settings) or "none"
            raise TypeError(f"{self.name} has no setting {sorted(unknown)[0]!r}; its settings: {known}")
        for name, value in {"gain": gain, "alpha": alpha, **settings}.items():
            _check_finite(name, value)
        settings = {**self.settings, **settings}
        if settings.get("std", 0.0) < 0:
            raise ValueError(f"std must be at least 0; got {settings['std']}")
        if settings.get("low", 0.0) > settings.get("high", 0.0):
            raise ValueError(f"low must not exceed high; got {settings['low']} and {settings['high']}")
        return gain * self.sample(tuple(shape), rng, alpha, **settings)


def _check_shape(shape: Any) -> None:
    valid = isinstance(shape, tuple | list) and len(shape) == 2
    if not valid or not all(isinstance(size, int | np.integer) and size > 0 for size in shape):
        raise ValueError(f"shape must be (n_out, n_in), two positive integers; got {shape!r}")


def _check_finite(name: str, value: Any) -> None:
    if not isinstance(value, int | float | np.integer | np.floating) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number; got {value!r}")


# -- the three variances of section 5 ----------------------------------------------------------------


def _xavier_variance(shape: Shape, alpha: float) -> float:
    n_out, n_in = shape
    return 2.0 / (n_in + n_out)  # equation (8)


def _he_variance(shape: Shape, alpha: float) -> float:
    _, n_in = shape
    return 2.0 / ((1.0 + alpha * alpha) * n_in)  # equation (9), corrected for a leaky ReLU


def _lecun_variance(shape: Shape, alpha: float) -> float:
    _, n_in = shape
    return 1.0 / n_in


def _normal_with(variance: Callable[[Shape, float], float]) -> Callable[..., np.ndarray]:
    def sample(shape: Shape, rng: np.random.Generator, alpha: float) -> np.ndarray:
        return rng.normal(0.0, math.sqrt(variance(shape, alpha)), shape)

    return sample


def _uniform_with(variance: Callable[[Shape, float], float]) -> Callable[..., np.ndarray]:
    def sample(shape: Shape, rng: np.random.Generator, alpha: float) -> np.ndarray:
        # U(−b, b) has the variance b²/3.
        bound = math.sqrt(3.0 * variance(shape, alpha))
        return rng.uniform(-bound, bound, shape)

    return sample


# -- the plain distributions and the orthogonal matrix -----------------------------------------------


def _orthogonal(shape: Shape, rng: np.random.Generator, alpha: float) -> np.ndarray:
    n_out, n_in = shape
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    # QR leaves the signs of Q's columns to the implementation; making R's diagonal positive fixes
    # them, and only then is Q uniform over the orthogonal matrices (Mezzadri 2007).
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)
    return q if n_out >= n_in else q.T


_XAVIER = "Glorot & Bengio 2010, equation (8)"
_HE = "He, Zhang, Ren & Sun 2015, equation (9)"
_LECUN = "LeCun, Bottou, Orr & Müller 1998"

_RECORDS = (
    Initializer(
        "zeros", "0", r"0", "symmetry never breaks: section 5's warning",
        lambda shape, rng, alpha: np.zeros(shape), lambda shape, alpha: 0.0,
    ),
    Initializer(
        "constant", "value", r"c", "symmetry never breaks: section 5's warning",
        lambda shape, rng, alpha, value: np.full(shape, float(value)), lambda shape, alpha, value=0.0: 0.0,
        {"value": 0.0},
    ),
    Initializer(
        "normal", "N(mean, std^2)", r"\mathcal{N}(\mu, s^2)", "the caller's own scale",
        lambda shape, rng, alpha, mean, std: rng.normal(mean, std, shape),
        lambda shape, alpha, mean=0.0, std=1.0: std**2, {"mean": 0.0, "std": 1.0},
    ),
    Initializer(
        "uniform", "U(low, high)", r"\mathcal{U}(a, b)", "the caller's own scale",
        lambda shape, rng, alpha, low, high: rng.uniform(low, high, shape),
        lambda shape, alpha, low=0.0, high=1.0: (high - low) ** 2 / 12.0, {"low": 0.0, "high": 1.0},
    ),
    Initializer(
        "xavier_uniform", "U(-b, b), b = sqrt(6 / (n_in + n_out))",
        r"\mathcal{U}(-b, b),\; b = \sqrt{6 / (n_\mathrm{in} + n_\mathrm{out})}", _XAVIER,
        _uniform_with(_xavier_variance), _xavier_variance,
    ),
    Initializer(
        "xavier_normal", "N(0, 2 / (n_in + n_out))",
        r"\mathcal{N}(0,\; 2 / (n_\mathrm{in} + n_\mathrm{out}))", _XAVIER,
        _normal_with(_xavier_variance), _xavier_variance,
    ),
    Initializer(
        "he_uniform", "U(-b, b), b = sqrt(6 / ((1 + alpha^2) n_in))",
        r"\mathcal{U}(-b, b),\; b = \sqrt{6 / ((1 + \alpha^2)\, n_\mathrm{in})}", _HE,
        _uniform_with(_he_variance), _he_variance,
    ),
    Initializer(
        "he_normal", "N(0, 2 / ((1 + alpha^2) n_in))",
        r"\mathcal{N}(0,\; 2 / ((1 + \alpha^2)\, n_\mathrm{in}))", _HE,
        _normal_with(_he_variance), _he_variance,
    ),
    Initializer(
        "lecun_uniform", "U(-b, b), b = sqrt(3 / n_in)",
        r"\mathcal{U}(-b, b),\; b = \sqrt{3 / n_\mathrm{in}}", _LECUN,
        _uniform_with(_lecun_variance), _lecun_variance,
    ),
    Initializer(
        "lecun_normal", "N(0, 1 / n_in)", r"\mathcal{N}(0,\; 1 / n_\mathrm{in})", _LECUN,
        _normal_with(_lecun_variance), _lecun_variance,
    ),
    Initializer(
        "orthogonal", "W^T W = I if n_out >= n_in, else W W^T = I",
        r"W^\top W = I \;\text{or}\; W W^\top = I", "Saxe, McClelland & Ganguli 2014",
        _orthogonal, lambda shape, alpha: 1.0 / max(shape),
    ),
)  # fmt: skip

INITIALIZERS: dict[str, Initializer] = {record.name: record for record in _RECORDS}

_ALIASES = {
    "glorot_uniform": "xavier_uniform",
    "glorot_normal": "xavier_normal",
    "kaiming_uniform": "he_uniform",
    "kaiming_normal": "he_normal",
    "lecun": "lecun_normal",
}


def get_initializer(name: str) -> Initializer:
    """Return the record of an initializer by name.

    Parameters
    ----------
    name : str
        A key of ``INITIALIZERS``, or an alias: ``"glorot_*"`` is Xavier, ``"kaiming_*"`` is He,
        ``"lecun"`` is LeCun's normal rule.

    Raises
    ------
    ValueError
        If there is no initializer of that name; the message lists those there are.

    Examples
    --------
    >>> get_initializer("glorot_uniform").formula
    'U(-b, b), b = sqrt(6 / (n_in + n_out))'
    """
    return lookup("initializer", name, INITIALIZERS, _ALIASES)
