"""Activation functions: the table of section 2, one record a function.

A record holds everything the library knows of an activation: how it is written, its value and its
derivative on arrays (the definition, used by the reference executor), the same pair on one number
(what the engine compiles), its range, and the gain that an initializer needs. A new activation is a
new record at the end of this file; every executor and every parity test finds it in ``ACTIVATIONS``.

Where two formulas are equal on paper, the one written here is the one that neither overflows nor
cancels for inputs as large as 1e4 in single precision.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chainrule.functions import special
from chainrule.functions._lookup import lookup

__all__ = ["ACTIVATIONS", "Activation", "get_activation"]

ArrayFunction = Callable[[np.ndarray, float], np.ndarray]

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772


@dataclass(frozen=True)
class Activation:
    """One activation function h = σ(z), equation (2), with its derivative σ'(z), used in (5).

    Attributes
    ----------
    name : str
        The name by which everything else refers to it.
    formula, latex : str
        σ(z) as plain text and as LaTeX.
    derivative_formula, derivative_latex : str
        σ'(z) likewise.
    value, derivative : callable
        ``value(z, alpha)`` and ``derivative(z, alpha)`` on arrays of any shape; the result has the
        dtype of ``z``.
    scalar_value, scalar_derivative : callable
        ``scalar_value(z, alpha)`` and ``scalar_derivative(z, h, alpha)`` on one number, in the
        subset of Python that Numba compiles. ``h`` is the value already computed going forward.
    output_range : tuple of float
        The closure of the set of values, for the default ``alpha``.
    derivative_max : float
        The largest value of σ', for the default ``alpha``: what saturation is measured against.
    gain : callable
        ``gain(alpha)``: the g for which Var(w) = g² / n_in keeps the mean square of a unit normal
        signal: g² = 1 / E[σ(Z)²] with Z ~ N(0, 1). It is √2 for ReLU, equation (9).
    source : str
        Where the function comes from.
    alpha : float or None
        Default of its one parameter; None for a function without a parameter.
    """

    name: str
    formula: str
    latex: str
    derivative_formula: str
    derivative_latex: str
    value: ArrayFunction
    derivative: ArrayFunction
    scalar_value: Callable[[float, float], float]
    scalar_derivative: Callable[[float, float, float], float]
    output_range: tuple[float, float]
    derivative_max: float
    gain: Callable[[float], float]
    source: str
    alpha: float | None = None

    @property
    def default_alpha(self) -> float:
        """The parameter to use where none is given (0 for a function without one)."""
        return 0.0 if self.alpha is None else self.alpha


def _constant_gain(gain: float) -> Callable[[float], float]:
    def constant(alpha: float = 0.0) -> float:
        return gain

    return constant


# -- identity --------------------------------------------------------------------------------------


def _identity(z, alpha):
    return z.copy()


def _identity_derivative(z, alpha):
    return np.ones_like(z)


def _scalar_identity(z, alpha):
    return z


def _scalar_identity_derivative(z, h, alpha):
    return 1.0


# -- sigmoid ---------------------------------------------------------------------------------------


def _sigmoid(z, alpha):
    return special.expit(z)


def _sigmoid_derivative(z, alpha):
    # σ(z) σ(−z), not σ(1 − σ): the difference is zero in floating point for z > 17 (37 in double).
    return special.expit(z) * special.expit(-z)


def _scalar_sigmoid(z, alpha):
    # e^{-|z|} is at most 1, so neither branch overflows.
    decay = math.exp(-abs(z))
    return 1.0 / (1.0 + decay) if z >= 0.0 else decay / (1.0 + decay)


def _scalar_sigmoid_derivative(z, h, alpha):
    decay = math.exp(-abs(z))
    return decay / ((1.0 + decay) * (1.0 + decay))


# -- tanh ------------------------------------------------------------------------------------------


def _tanh(z, alpha):
    return np.tanh(z)


def _tanh_derivative(z, alpha):
    return 1 - np.tanh(z) ** 2


def _scalar_tanh(z, alpha):
    return math.tanh(z)


def _scalar_tanh_derivative(z, h, alpha):
    return 1.0 - h * h


# -- relu and leaky relu ---------------------------------------------------------------------------


def _relu(z, alpha):
    return np.maximum(z, 0)


def _relu_derivative(z, alpha):
    return (z > 0).astype(z.dtype)


def _scalar_relu(z, alpha):
    # Written so that NaN stays NaN: a comparison with NaN is false.
    return 0.0 if z <= 0.0 else z


def _scalar_relu_derivative(z, h, alpha):
    return 1.0 if z > 0.0 else 0.0


def _leaky_relu(z, alpha):
    return np.where(z > 0, z, alpha * z).astype(z.dtype)


def _leaky_relu_derivative(z, alpha):
    return np.where(z > 0, 1, alpha).astype(z.dtype)


def _scalar_leaky_relu(z, alpha):
    return z if z > 0.0 else alpha * z


def _scalar_leaky_relu_derivative(z, h, alpha):
    return 1.0 if z > 0.0 else alpha


def _leaky_relu_gain(alpha=0.01):
    return math.sqrt(2.0 / (1.0 + alpha * alpha))


# -- elu and selu ----------------------------------------------------------------------------------


def _elu(z, alpha):
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))).astype(z.dtype)


def _elu_derivative(z, alpha):
    return np.where(z > 0, 1, alpha * np.exp(np.minimum(z, 0))).astype(z.dtype)


def _scalar_elu(z, alpha):
    return z if z > 0.0 else alpha * math.expm1(z)


def _scalar_elu_derivative(z, h, alpha):
    return 1.0 if z > 0.0 else alpha * math.exp(z)


def _elu_gain(alpha=1.0):
    # E[(e^Z − 1)²; Z < 0] by completing the square in the exponent.
    negative_half = math.exp(2.0) * special.ndtr(-2.0) - 2.0 * math.exp(0.5) * special.ndtr(-1.0) + 0.5
    return 1.0 / math.sqrt(0.5 + alpha * alpha * negative_half)


def _selu(z, alpha):
    return (SELU_SCALE * _elu(z, SELU_ALPHA)).astype(z.dtype)


def _selu_derivative(z, alpha):
    return (SELU_SCALE * _elu_derivative(z, SELU_ALPHA)).astype(z.dtype)


def _scalar_selu(z, alpha):
    return SELU_SCALE * z if z > 0.0 else SELU_SCALE * SELU_ALPHA * math.expm1(z)


def _scalar_selu_derivative(z, h, alpha):
    return SELU_SCALE if z > 0.0 else SELU_SCALE * SELU_ALPHA * math.exp(z)


# -- softplus --------------------------------------------------------------------------------------


def _softplus(z, alpha):
    # Not logaddexp, which warns of a NaN that is only passed on.
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _softplus_derivative(z, alpha):
    return special.expit(z)


def _scalar_softplus(z, alpha):
    tail = math.log1p(math.exp(-abs(z)))
    return z + tail if z > 0.0 else tail


def _scalar_softplus_derivative(z, h, alpha):
    return _scalar_sigmoid(z, alpha)


# -- gelu ------------------------------------------------------------------------------------------


def _normal_density(z):
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _gelu(z, alpha):
    return (z * special.ndtr(z)).astype(z.dtype)


def _gelu_derivative(z, alpha):
    # φ underflows to zero long before z φ(z) matters; clipping keeps z² finite in single precision.
    clipped = np.clip(z, -1e4, 1e4)
    return (special.ndtr(z) + clipped * _normal_density(clipped)).astype(z.dtype)


def _scalar_gelu(z, alpha):
    # Φ(z) = erfc(−z/√2)/2 keeps its relative accuracy in the left tail, 1 + erf does not.
    return 0.5 * z * math.erfc(-z * 0.7071067811865476)


def _scalar_gelu_derivative(z, h, alpha):
    # h = z Φ(z) is known, so Φ costs a division instead of a second erfc.
    distribution = h / z if abs(z) > 1e-30 else 0.5
    return distribution + z * (0.3989422804014327 * math.exp(-0.5 * z * z))


# -- silu ------------------------------------------------------------------------------------------


def _silu(z, alpha):
    return z * special.expit(z)


def _silu_derivative(z, alpha):
    return special.expit(z) * (1 + z * special.expit(-z))


def _scalar_silu(z, alpha):
    return z * _scalar_sigmoid(z, alpha)


def _scalar_silu_derivative(z, h, alpha):
    return _scalar_sigmoid(z, alpha) * (1.0 + z * _scalar_sigmoid(-z, alpha))


# -- mish ------------------------------------------------------------------------------------------


def _mish(z, alpha):
    return z * np.tanh(_softplus(z, alpha))


def _mish_derivative(z, alpha):
    gate = np.tanh(_softplus(z, alpha))
    return gate + z * (1 - gate * gate) * special.expit(z)


def _scalar_mish(z, alpha):
    return z * math.tanh(_scalar_softplus(z, alpha))


def _scalar_mish_derivative(z, h, alpha):
    gate = math.tanh(_scalar_softplus(z, alpha))
    return gate + z * (1.0 - gate * gate) * _scalar_sigmoid(z, alpha)


_RECORDS = (
    Activation(
        "identity", "z", r"z", "1", r"1",
        _identity, _identity_derivative, _scalar_identity, _scalar_identity_derivative,
        (-math.inf, math.inf), 1.0, _constant_gain(1.0), "the linear unit",
    ),
    Activation(
        "sigmoid", "1 / (1 + exp(-z))", r"\frac{1}{1 + e^{-z}}",
        "sigmoid(z) (1 - sigmoid(z))", r"\sigma(z)\,(1 - \sigma(z))",
        _sigmoid, _sigmoid_derivative, _scalar_sigmoid, _scalar_sigmoid_derivative,
        (0.0, 1.0), 0.25, _constant_gain(1.8462285453386054), "Rumelhart, Hinton & Williams 1986",
    ),
    Activation(
        "tanh", "tanh(z)", r"\tanh z", "1 - tanh(z)^2", r"1 - \tanh^2 z",
        _tanh, _tanh_derivative, _scalar_tanh, _scalar_tanh_derivative,
        (-1.0, 1.0), 1.0, _constant_gain(1.5925374197228312), "LeCun, Bottou, Orr & Müller 1998",
    ),
    Activation(
        "relu", "max(0, z)", r"\max(0, z)", "1[z > 0]", r"\mathbf{1}[z > 0]",
        _relu, _relu_derivative, _scalar_relu, _scalar_relu_derivative,
        (0.0, math.inf), 1.0, _constant_gain(math.sqrt(2.0)), "Nair & Hinton 2010",
    ),
    Activation(
        "leaky_relu", "max(alpha z, z)", r"\max(\alpha z, z)",
        "1 if z > 0 else alpha", r"\begin{cases} 1 & z > 0 \\ \alpha & z \le 0 \end{cases}",
        _leaky_relu, _leaky_relu_derivative, _scalar_leaky_relu, _scalar_leaky_relu_derivative,
        (-math.inf, math.inf), 1.0, _leaky_relu_gain, "Maas, Hannun & Ng 2013", alpha=0.01,
    ),
    Activation(
        "elu", "z if z > 0 else alpha (exp(z) - 1)",
        r"\begin{cases} z & z > 0 \\ \alpha (e^z - 1) & z \le 0 \end{cases}",
        "1 if z > 0 else alpha exp(z)", r"\begin{cases} 1 & z > 0 \\ \alpha e^z & z \le 0 \end{cases}",
        _elu, _elu_derivative, _scalar_elu, _scalar_elu_derivative,
        (-1.0, math.inf), 1.0, _elu_gain, "Clevert, Unterthiner & Hochreiter 2016", alpha=1.0,
    ),
    Activation(
        "selu", "1.0507 (z if z > 0 else 1.6733 (exp(z) - 1))",
        r"\lambda \begin{cases} z & z > 0 \\ \alpha (e^z - 1) & z \le 0 \end{cases}",
        "1.0507 (1 if z > 0 else 1.6733 exp(z))",
        r"\lambda \begin{cases} 1 & z > 0 \\ \alpha e^z & z \le 0 \end{cases}",
        _selu, _selu_derivative, _scalar_selu, _scalar_selu_derivative,
        (-SELU_SCALE * SELU_ALPHA, math.inf), SELU_SCALE * SELU_ALPHA, _constant_gain(1.0),
        "Klambauer, Unterthiner, Mayr & Hochreiter 2017",
    ),
    Activation(
        "softplus", "log(1 + exp(z))", r"\log(1 + e^z)", "sigmoid(z)", r"\frac{1}{1 + e^{-z}}",
        _softplus, _softplus_derivative, _scalar_softplus, _scalar_softplus_derivative,
        (0.0, math.inf), 1.0, _constant_gain(1.0418668355353016), "Dugas et al. 2001",
    ),
    Activation(
        "gelu", "z Phi(z)", r"z\,\Phi(z)", "Phi(z) + z phi(z)", r"\Phi(z) + z\,\varphi(z)",
        _gelu, _gelu_derivative, _scalar_gelu, _scalar_gelu_derivative,
        (-0.16997120747990363, math.inf), 1.128904145185155, _constant_gain(1.5335304411955353),
        "Hendrycks & Gimpel 2016 (the exact form)",
    ),
    Activation(
        "silu", "z sigmoid(z)", r"z\,\sigma(z)",
        "sigmoid(z) + z sigmoid(z) (1 - sigmoid(z))", r"\sigma(z) + z\,\sigma(z)\,(1 - \sigma(z))",
        _silu, _silu_derivative, _scalar_silu, _scalar_silu_derivative,
        (-0.2784645427610738, math.inf), 1.099839320128867, _constant_gain(1.6765324703310913),
        "Elfwing, Uchibe & Doya 2018; Ramachandran, Zoph & Le 2017 (Swish)",
    ),
    Activation(
        "mish", "z tanh(log(1 + exp(z)))", r"z \tanh(\log(1 + e^z))",
        "t + z (1 - t^2) sigmoid(z), t = tanh(softplus(z))",
        r"t + z\,(1 - t^2)\,\sigma(z),\; t = \tanh(\log(1 + e^z))",
        _mish, _mish_derivative, _scalar_mish, _scalar_mish_derivative,
        (-0.30884341301725043, math.inf), 1.088498161251728, _constant_gain(1.4868475812732078),
        "Misra 2019",
    ),
)  # fmt: skip

ACTIVATIONS: dict[str, Activation] = {record.name: record for record in _RECORDS}

ALIASES = {"swish": "silu", "logistic": "sigmoid", "linear": "identity"}


def get_activation(name: str) -> Activation:
    """Return the record of an activation by name.

    Parameters
    ----------
    name : str
        A key of ``ACTIVATIONS``, or an alias: ``"swish"`` is SiLU, ``"logistic"`` the sigmoid,
        ``"linear"`` the identity.

    Raises
    ------
    ValueError
        If there is no activation of that name; the message lists those there are.

    Examples
    --------
    >>> import numpy as np
    >>> relu = get_activation("relu")
    >>> relu.value(np.array([-1.0, 0.0, 2.0]), 0.0)
    array([0., 0., 2.])
    >>> get_activation("swish").formula
    'z sigmoid(z)'
    """
    return lookup("activation", name, ACTIVATIONS, ALIASES)
