"""Loss functions: section 3, one record a function.

Every loss takes the raw output z of the network, not a probability: the link that turns z into a
prediction is part of the record, which is what keeps the pairs of equation (4) exact and stable for
outputs as large as 1e4 in single precision. A value is one number an example, summed over outputs;
averaging over the batch is the caller's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chainrule.functions import special
from chainrule.functions._lookup import lookup

__all__ = ["LOSSES", "Loss", "get_loss", "softmax"]


@dataclass(frozen=True)
class Loss:
    """One loss ℒ(z, y) with its gradient with respect to z, equation (3).

    Attributes
    ----------
    name : str
        The name by which everything else refers to it.
    formula, latex : str
        ℒ of one example, as plain text and as LaTeX; z is the raw output, ŷ = link(z).
    gradient_formula, gradient_latex : str
        ∂ℒ/∂z likewise.
    value : callable
        ``value(z, y, setting)``: array (n,) of losses from z (n, d) and y. y is (n, d); for the
        softmax cross-entropy it may also be (n,) class indices.
    gradient : callable
        ``gradient(z, y, setting)``: array (n, d).
    link_name, link
        The canonical output link, and ``link(z)`` that applies it: (n, d) to (n, d).
    check_targets : callable
        ``check_targets(y, n_outputs)`` returns y as the executors take it, or raises ValueError.
    source : str
        Where the function comes from.
    setting_name, setting
        Name and default of its one parameter; None and 0 for a loss without a parameter.
    element : callable or None
        ``element(z, y, setting) -> (value, slope)`` on one number, for a loss that is a sum over
        outputs, in the subset of Python that Numba compiles.
    row, class_row : callable or None
        ``row(z, y, slope, setting) -> value`` on one example, for a loss that couples the outputs:
        it fills ``slope``. ``class_row`` takes a class index in place of y.
    side_by_side : callable or None
        ``side_by_side(z, y, slope, losses, room, setting)``: what ``row`` does, for several examples at
        once, one to a column of z, y and slope. ``room`` is for three numbers an example. It comes with
        ``row`` and is many times as fast where there are few outputs.
    """

    name: str
    formula: str
    latex: str
    gradient_formula: str
    gradient_latex: str
    value: Callable[..., np.ndarray]
    gradient: Callable[..., np.ndarray]
    link_name: str
    link: Callable[[np.ndarray], np.ndarray]
    check_targets: Callable[[object, int], np.ndarray]
    source: str
    setting_name: str | None = None
    setting: float = 0.0
    element: Callable | None = None
    row: Callable | None = None
    class_row: Callable | None = None
    side_by_side: Callable | None = None


# -- targets ---------------------------------------------------------------------------------------


def _dense_targets(y, n_outputs):
    """y as a finite float array (n, n_outputs); a vector becomes one column."""
    y = np.asarray(y)
    if y.dtype.kind not in "fiub":
        raise ValueError(f"y must be numeric for this loss; got dtype {y.dtype}")
    y = y.reshape(-1, 1) if y.ndim == 1 else y
    if y.ndim != 2 or y.shape[1] != n_outputs:
        raise ValueError(f"y must have shape (n, {n_outputs}), one column an output; got {y.shape}")
    y = np.ascontiguousarray(y, dtype=y.dtype if y.dtype in (np.float32, np.float64) else np.float64)
    if not np.isfinite(y).all():
        raise ValueError("y contains NaN or infinity; every target must be finite")
    return y


def _unit_interval_targets(y, n_outputs):
    y = _dense_targets(y, n_outputs)
    if y.size and (y.min() < 0 or y.max() > 1):
        raise ValueError(f"y must lie in [0, 1] for this loss; got [{y.min()}, {y.max()}]")
    return y


def _count_targets(y, n_outputs):
    y = _dense_targets(y, n_outputs)
    if y.size and y.min() < 0:
        raise ValueError(f"y must be non-negative for the Poisson loss; got {y.min()}")
    return y


def _class_targets(y, n_outputs):
    """Class indices (n,) as int64, or one row of non-negative class weights an example."""
    y = np.asarray(y)
    if y.ndim == 2 and not (y.shape[1] == 1 and n_outputs != 1):
        y = _dense_targets(y, n_outputs)
        if y.size and y.min() < 0:
            raise ValueError(f"y as class probabilities must be non-negative; got {y.min()}")
        return y
    y = y.reshape(-1)
    if y.dtype.kind not in "iub":
        raise ValueError(f"y must be integer class indices or an (n, {n_outputs}) array; got dtype {y.dtype}")
    if y.size and (y.min() < 0 or y.max() >= n_outputs):
        raise ValueError(
            f"y must hold class indices from 0 to {n_outputs - 1}, one an output; got {y.min()} to {y.max()}"
        )
    return y.astype(np.int64)


# -- half squared error ----------------------------------------------------------------------------


def _half_squared_error(z, y, setting=0.0):
    return 0.5 * ((z - y) ** 2).sum(axis=1)


def _half_squared_error_gradient(z, y, setting=0.0):
    return z - y


def _half_squared_error_element(z, y, setting):
    residual = z - y
    return 0.5 * residual * residual, residual


# -- softmax cross-entropy -------------------------------------------------------------------------


def softmax(z: np.ndarray) -> np.ndarray:
    """Row-wise softmax of z (n, d), shifted by the row's maximum so that nothing overflows.

    Examples
    --------
    >>> softmax(np.array([[0.0, 0.0], [1e4, -1e4]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    raised = np.exp(z - z.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _smoothed(z, y, label_smoothing):
    """Targets as rows t: one-hot for class indices, mixed with the uniform distribution."""
    n_classes = z.shape[1]
    if y.ndim == 1:
        y = (y[:, None] == np.arange(n_classes)).astype(z.dtype)
    return ((1 - label_smoothing) * y + label_smoothing / n_classes).astype(z.dtype)


def _softmax_cross_entropy(z, y, setting=0.0):
    # −Σ t log ŷ with log ŷ = z − log Σ eᶻ: no logarithm of an underflowed probability. The row's
    # maximum comes off both terms before they are subtracted, or large ones would cancel.
    shifted = z - z.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(axis=1))
    if y.ndim == 1 and setting == 0:
        return log_total - shifted[np.arange(len(z)), y]
    negative_log = log_total[:, None] - shifted
    return (_smoothed(z, y, setting) * negative_log).sum(axis=1)


def _softmax_cross_entropy_gradient(z, y, setting=0.0):
    # Equation (4), ŷ − t, for rows that sum to one; weighted rows scale ŷ by their sum.
    if y.ndim == 1 and setting == 0:
        gradient = softmax(z)
        gradient[np.arange(len(z)), y] -= 1
        return gradient
    targets = _smoothed(z, y, setting)
    return targets.sum(axis=1, keepdims=True) * softmax(z) - targets


def _softmax_row(z, y, slope, setting):
    n_classes = z.size
    largest = z[0]
    for c in range(1, n_classes):
        largest = z[c] if z[c] > largest else largest  # a NaN that is passed over here comes back in the sum
    total = 0.0
    weight = 0.0
    loss = 0.0
    for c in range(n_classes):
        shifted = z[c] - largest
        target = (1.0 - setting) * y[c] + setting / n_classes
        slope[c] = math.exp(shifted)
        total += slope[c]
        weight += target
        loss -= target * shifted
    for c in range(n_classes):
        target = (1.0 - setting) * y[c] + setting / n_classes
        slope[c] = slope[c] * (weight / total) - target
    return loss + weight * math.log(total)


def _softmax_class_row(z, label, slope, setting):
    n_classes = z.size
    largest = z[0]
    for c in range(1, n_classes):
        largest = z[c] if z[c] > largest else largest
    total = 0.0
    sum_of_shifted = 0.0
    for c in range(n_classes):
        shifted = z[c] - largest
        slope[c] = math.exp(shifted)
        total += slope[c]
        sum_of_shifted += shifted
    loss = math.log(total) - (1.0 - setting) * (z[label] - largest)
    uniform = setting / n_classes
    if setting > 0.0:
        loss -= uniform * sum_of_shifted
    scale = 1.0 / total
    for c in range(n_classes):
        slope[c] = slope[c] * scale - uniform
    slope[label] -= 1.0 - setting
    return loss


def _softmax_side_by_side(z, y, slope, losses, room, setting):
    # ``_softmax_row``, line by line, with a loop over the examples in place of each line.
    n_classes, n = z.shape
    largest, total, weight = room
    for i in range(n):
        largest[i] = z[0, i]
        total[i] = 0.0
        weight[i] = 0.0
        losses[i] = 0.0
    for c in range(1, n_classes):
        for i in range(n):
            largest[i] = z[c, i] if z[c, i] > largest[i] else largest[i]
    for c in range(n_classes):
        for i in range(n):
            shifted = z[c, i] - largest[i]
            target = (1.0 - setting) * y[c, i] + setting / n_classes
            slope[c, i] = math.exp(shifted)
            total[i] += slope[c, i]
            weight[i] += target
            losses[i] -= target * shifted
    for i in range(n):
        losses[i] += weight[i] * math.log(total[i])
        total[i] = weight[i] / total[i]
    for c in range(n_classes):
        for i in range(n):
            target = (1.0 - setting) * y[c, i] + setting / n_classes
            slope[c, i] = slope[c, i] * total[i] - target


# -- binary cross-entropy on logits ----------------------------------------------------------------


def _binary_cross_entropy(z, y, setting=0.0):
    # −y log σ(z) − (1 − y) log(1 − σ(z)) = log(1 + eᶻ) − y z = max(z, 0) − y z + log(1 + e^{−|z|}),
    # without subtracting two large numbers where y is 1 and z is large.
    hinge = np.where(z > 0, z * (1 - y), -y * z)
    return (hinge + np.log1p(np.exp(-np.abs(z)))).sum(axis=1)


def _binary_cross_entropy_gradient(z, y, setting=0.0):
    return special.expit(z) - y


def _binary_cross_entropy_element(z, y, setting):
    decay = math.exp(-abs(z))
    probability = 1.0 / (1.0 + decay) if z >= 0.0 else decay / (1.0 + decay)
    hinge = z * (1.0 - y) if z > 0.0 else -y * z
    return hinge + math.log1p(decay), probability - y


# -- absolute error, Huber, quantile ---------------------------------------------------------------


def _absolute_error(z, y, setting=0.0):
    return np.abs(z - y).sum(axis=1)


def _absolute_error_gradient(z, y, setting=0.0):
    return np.sign(z - y)


def _absolute_error_element(z, y, setting):
    residual = z - y
    if residual > 0.0:
        return residual, 1.0
    if residual < 0.0:
        return -residual, -1.0
    return residual, residual  # zero, or NaN, which must not be lost


def _huber(z, y, setting=1.0):
    size = np.abs(z - y)
    return np.where(size <= setting, 0.5 * size * size, setting * (size - 0.5 * setting)).sum(axis=1)


def _huber_gradient(z, y, setting=1.0):
    return np.clip(z - y, -setting, setting)


def _huber_element(z, y, setting):
    residual = z - y
    size = abs(residual)
    if size > setting:
        return setting * (size - 0.5 * setting), setting if residual > 0.0 else -setting
    return 0.5 * residual * residual, residual


def _quantile(z, y, setting=0.5):
    residual = y - z
    return np.maximum(setting * residual, (setting - 1) * residual).sum(axis=1)


def _quantile_gradient(z, y, setting=0.5):
    return (np.where(z > y, 1 - setting, 0) - np.where(z < y, setting, 0)).astype(z.dtype)


def _quantile_element(z, y, setting):
    residual = y - z
    if residual > 0.0:
        return setting * residual, -setting
    if residual < 0.0:
        return (setting - 1.0) * residual, 1.0 - setting
    return residual, residual


# -- Poisson ---------------------------------------------------------------------------------------


def _poisson(z, y, setting=1.0):
    with np.errstate(over="ignore"):
        loss = np.exp(z) - y * z
    if setting:
        loss = loss + special.xlogy(y, y) - y
    return loss.sum(axis=1)


def _poisson_gradient(z, y, setting=1.0):
    with np.errstate(over="ignore"):
        return np.exp(z) - y


def _poisson_element(z, y, setting):
    rate = math.exp(z)
    loss = rate - y * z
    if setting > 0.0 and y > 0.0:
        loss += y * math.log(y) - y
    return loss, rate - y


def _identity_link(z):
    return z


def _exponential_link(z):
    with np.errstate(over="ignore"):
        return np.exp(z)


_RECORDS = (
    Loss(
        "half_squared_error", "1/2 sum (z - y)^2", r"\tfrac12 \lVert z - y \rVert^2", "z - y", r"z - y",
        _half_squared_error, _half_squared_error_gradient, "identity", _identity_link, _dense_targets,
        "Gauss 1809; the chapter's section 3", element=_half_squared_error_element,
    ),
    Loss(
        "softmax_cross_entropy", "-sum_c t_c log softmax(z)_c", r"-\sum_c t_c \log \mathrm{softmax}(z)_c",
        "softmax(z) - t", r"\mathrm{softmax}(z) - t",
        _softmax_cross_entropy, _softmax_cross_entropy_gradient, "softmax", softmax, _class_targets,
        "Bridle 1990; label smoothing Szegedy et al. 2016", "label_smoothing", 0.0,
        row=_softmax_row, class_row=_softmax_class_row, side_by_side=_softmax_side_by_side,
    ),
    Loss(
        "binary_cross_entropy", "sum log(1 + exp(z)) - y z", r"\sum \log(1 + e^z) - y z",
        "sigmoid(z) - y", r"\sigma(z) - y",
        _binary_cross_entropy, _binary_cross_entropy_gradient, "sigmoid", special.expit,
        _unit_interval_targets, "Cox 1958", element=_binary_cross_entropy_element,
    ),
    Loss(
        "absolute_error", "sum |z - y|", r"\sum |z - y|", "sign(z - y)", r"\mathrm{sign}(z - y)",
        _absolute_error, _absolute_error_gradient, "identity", _identity_link, _dense_targets,
        "Laplace 1774", element=_absolute_error_element,
    ),
    Loss(
        "huber", "sum r^2/2 if |r| <= delta else delta (|r| - delta/2), r = z - y",
        r"\sum \begin{cases} \tfrac12 r^2 & |r| \le \delta \\"
        r" \delta(|r| - \tfrac12\delta) & |r| > \delta \end{cases}",
        "clip(z - y, -delta, delta)", r"\mathrm{clip}(z - y, -\delta, \delta)",
        _huber, _huber_gradient, "identity", _identity_link, _dense_targets,
        "Huber 1964", "delta", 1.0, element=_huber_element,
    ),
    Loss(
        "quantile", "sum max(q (y - z), (q - 1) (y - z))", r"\sum \max(q (y - z), (q - 1)(y - z))",
        "(1 - q) if z > y, -q if z < y", r"(1 - q)\,\mathbf{1}[z > y] - q\,\mathbf{1}[z < y]",
        _quantile, _quantile_gradient, "identity", _identity_link, _dense_targets,
        "Koenker & Bassett 1978", "q", 0.5, element=_quantile_element,
    ),
    Loss(
        "poisson", "sum exp(z) - y z + (y log y - y)", r"\sum e^z - y z + (y \log y - y)",
        "exp(z) - y", r"e^z - y",
        _poisson, _poisson_gradient, "exp", _exponential_link, _count_targets,
        "Nelder & Wedderburn 1972 (half the deviance)", "deviance", 1.0, element=_poisson_element,
    ),
)  # fmt: skip

LOSSES: dict[str, Loss] = {record.name: record for record in _RECORDS}

_ALIASES = {
    "squared_error": "half_squared_error",
    "cross_entropy": "softmax_cross_entropy",
    "log_loss": "softmax_cross_entropy",
}


def get_loss(name: str) -> Loss:
    """Return the record of a loss by name.

    Parameters
    ----------
    name : str
        A key of ``LOSSES``, or an alias: ``"squared_error"``, ``"cross_entropy"``, ``"log_loss"``.

    Raises
    ------
    ValueError
        If there is no loss of that name; the message lists those there are.

    Examples
    --------
    >>> loss = get_loss("softmax_cross_entropy")
    >>> z = np.array([[2.0, 0.0, -2.0]])
    >>> loss.gradient(z, np.array([0])).round(4)          # equation (4): softmax(z) - y
    array([[-0.1332,  0.1173,  0.0159]])
    """
    return lookup("loss", name, LOSSES, _ALIASES)
