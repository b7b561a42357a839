"""Numbers, and the measurements of section 4 and 6, in words: the same in the text and on the page."""

from __future__ import annotations

import math

import numpy as np

from chainrule.health.curvature import Curvature
from chainrule.health.jacobians import JacobianSpectrum

__all__ = ["curvature_rows", "flow_words", "number"]


def number(value: float) -> str:
    """A number as people read it.

    Examples
    --------
    >>> number(14100662.3), number(0.5), number(-0.0), number(1234.0)
    ('1.41e+07', '0.5', '0', '1,234')
    >>> number(float("inf")), number(float("nan"))
    ('infinite', 'no number')
    """
    if math.isnan(value):
        return "no number"
    if math.isinf(value):
        return "infinite" if value > 0 else "-infinite"
    if value == round(value) and abs(value) < 1e6:
        return f"{value + 0.0:,.0f}"
    return f"{value:.3g}"


def flow_words(spectrum: JacobianSpectrum | None) -> str:
    """By what δ is multiplied from a layer to the one before, (5): a factor of W, and one of σ'.

    Means over the layers are geometric, since the factors multiply. Empty where they are not all positive.
    """
    if spectrum is None or spectrum.flow is None or not len(spectrum.flow.ratio):
        return ""
    flow = spectrum.flow
    factors = np.array([flow.ratio, flow.weight_factor, flow.derivative_factor])
    if not (np.isfinite(factors) & (factors > 0)).all():
        return ""
    ratio, weights, slopes = (number(float(one)) for one in np.exp(np.log(factors).mean(axis=1)))
    return (
        f"each layer back multiplies δ by {ratio}: weights {weights} times slopes {slopes} "
        f"(mean of {factors.shape[1]})"
    )


def curvature_rows(found: Curvature, learning_rate: float) -> list[tuple[str, str]]:
    """Name and value of what the Hessian says of the end of a training (section 6)."""
    top, lowest = (", ".join(number(float(one)) for one in ends[:3]) for ends in (found.top, found.lowest))
    error = "" if found.is_exact else f" ± {number(found.trace_standard_error)}"
    kind = "a minimum, as far as can be seen" if found.index < 1e-6 else "the share of eigenvalues below 0"
    return [
        ("largest eigenvalues of the Hessian", top),
        ("smallest", lowest),
        ("trace", number(found.trace) + error),
        ("index", f"{number(found.index)}, {kind}"),
        ("length of the gradient", number(math.sqrt(found.gradient_norm_squared))),
        (
            "rate at which plain gradient descent is just stable, 2/λ",
            f"{number(found.largest_stable_learning_rate)} (the optimizer's is {number(learning_rate)})",
        ),
    ]
