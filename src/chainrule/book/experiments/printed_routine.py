"""Section 3: the routine as the chapter prints it, its two faults included, against the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.book.experiments.backpropagation import weights_and_biases
from chainrule.book.experiments.multilayer import classes_of, multilayer
from chainrule.functions import get_activation
from chainrule.functions.losses import softmax
from chainrule.tape import Tensor, finite_differences
from chainrule.textbook import backprop

__all__ = ["CASES", "Case", "Descents", "RoutineErrors", "compare_routines", "descend", "printed_backprop"]


def printed_backprop(
    X: np.ndarray,
    y: np.ndarray,
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    activations: Sequence[str],
    softmax_slope: str = "diagonal",
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The gradients as the chapter's printed routine computes them, which are not right.

    ``chainrule.backprop`` is the routine without its faults.

    Parameters
    ----------
    X : ndarray of shape (d_0, n)
        One column an example.
    y : ndarray of shape (n,)
        Class indices.
    weights, biases : sequences of L arrays
    activations : sequence of L str
        Of every layer, the output's included, which is a softmax whatever its name here.
    softmax_slope : {"diagonal", "one"}
        What the derivative of a softmax by the table is: ŷ (1 − ŷ), the diagonal of its Jacobian, or 1.

    Returns
    -------
    grad_W, grad_b : lists of ndarray

    Examples
    --------
    >>> one = [np.eye(2)], [np.zeros(2)]
    >>> printed_backprop(np.eye(2), np.array([0, 1]), *one, ["softmax"])[1]       # summed over the batch
    [array([0., 0.])]
    """
    L = len(weights)
    h, z = [X], []
    for l in range(L):
        z.append(weights[l] @ h[l] + biases[l][:, None])  # (1)
        h.append(softmax(z[l].T).T if l == L - 1 else _value(activations[l], z[l]))  # (2)
    delta = h[L] - (np.arange(len(h[L]))[:, None] == y)  # (4)
    grad_W, grad_b = [np.empty(0)] * L, [np.empty(0)] * L
    for l in range(L - 1, -1, -1):
        grad_W[l] = delta @ h[l].T  # (6), summed over the batch
        grad_b[l] = delta.sum(axis=1)  # (7), summed over the batch
        if l > 0:
            # (5) needs the derivative of activations[l - 1] here: z[l - 1] went through that one.
            delta = (weights[l].T @ delta) * _slope(activations[l], z[l - 1], softmax_slope)
    return grad_W, grad_b


def _value(name: str, z: np.ndarray) -> np.ndarray:
    sigma = get_activation(name)
    return sigma.value(z, sigma.default_alpha)


def _slope(name: str, z: np.ndarray, softmax_slope: str) -> np.ndarray:
    if name != "softmax":
        sigma = get_activation(name)
        return sigma.derivative(z, sigma.default_alpha)
    if softmax_slope == "one":
        return np.ones_like(z)
    shares = softmax(z.T).T
    return np.asarray(shares * (1 - shares))


@dataclass(frozen=True)
class Case:
    """A list of activations to call the routines with.

    Attributes
    ----------
    name : str
    hidden : tuple of str
    last : str
        What the list has for the output.
    """

    name: str
    hidden: tuple[str, ...]
    last: str


CASES = (
    Case("equal, and named for the output too", ("tanh", "tanh", "tanh"), "tanh"),
    Case("equal, then softmax", ("tanh", "tanh", "tanh"), "softmax"),
    Case("mixed, the last named twice", ("tanh", "sigmoid", "gelu"), "gelu"),
    Case("mixed, then softmax", ("tanh", "sigmoid", "gelu"), "softmax"),
)


@dataclass(frozen=True, eq=False)
class RoutineErrors:
    """The two routines on one list of activations.

    Attributes
    ----------
    case : Case
    n : int
        Rows of the batch.
    printed, ours : ndarray of shape (seeds, L)
        ‖g − ∇‖ / ‖∇‖ of each layer's weights and biases together, ∇ by central differences of the summed
        loss. Of the printed routine the better of the two readings of a softmax's derivative.
    angles : ndarray of shape (seeds,)
        Between the printed routine's whole gradient and ∇, in degrees.
    scales : dict of str to ndarray of shape (seeds,)
        By what factor the last layer's gradient, which all agree on in direction, is that of the mean loss.
    """

    case: Case
    n: int
    printed: np.ndarray
    ours: np.ndarray
    angles: np.ndarray
    scales: dict[str, np.ndarray]


def compare_routines(
    cases: Sequence[Case] = CASES,
    widths: Sequence[int] = (6, 8, 7, 6, 4),
    n: int = 10,
    seeds: Sequence[int] = (0, 1, 2),
) -> tuple[RoutineErrors, ...]:
    """Hold the printed routine and the library's against central differences.

    Parameters
    ----------
    cases : sequence of Case
    widths : sequence of int
        d_0 ... d_L.
    n : int
        Rows of the batch.
    seeds : sequence of int
        Each draws a network and a batch.

    Returns
    -------
    tuple of RoutineErrors
        One a case.

    Examples
    --------
    >>> cases = Case("right", ("tanh",), "tanh"), Case("wrong", ("tanh",), "softmax")
    >>> right, wrong = compare_routines(cases, widths=(2, 3, 2), n=4, seeds=[0])
    >>> right.printed.max() < 1e-6, wrong.printed[0, 0] > 0.1, wrong.ours.max() < 1e-6
    (np.True_, np.True_, np.True_)
    """
    found = []
    for case in cases:
        compared = [_compare(case, widths, n, seed) for seed in seeds]
        printed, ours, angles, scales = zip(*compared, strict=True)
        found.append(
            RoutineErrors(
                case,
                n,
                np.array(printed),
                np.array(ours),
                np.array(angles),
                {name: np.array([one[name] for one in scales]) for name in scales[0]},
            )
        )
    return tuple(found)


def _compare(
    case: Case, widths: Sequence[int], n: int, seed: int
) -> tuple[list[float], list[float], float, dict[str, float]]:
    weights, biases = weights_and_biases(multilayer(widths, case.hidden, seed))
    X = np.random.default_rng(seed + 1).normal(size=(widths[0], n))
    y = classes_of(n, widths[-1], seed + 2)
    L = len(weights)

    def summed_loss(*parameters: Tensor) -> float:
        """−Σ log ŷ of each example's class, in NumPy by itself, examples in columns."""
        h = X
        for l in range(L):
            z = parameters[l].data @ h + parameters[L + l].data[:, None]
            h = softmax(z.T).T if l == L - 1 else _value(case.hidden[l], z)
        return float(-np.log(h[y, np.arange(n)]).sum())

    parts = finite_differences(summed_loss, (*weights, *biases))
    true = _by_layer(list(parts[:L]), list(parts[L:]))
    call = (X, y, weights, biases)
    readings = [
        _by_layer(*printed_backprop(*call, [*case.hidden, case.last], softmax_slope=slope))
        for slope in ("diagonal", "one")
    ]
    printed = min(readings, key=lambda one: max(_errors(one, true)))
    ours, mean = (_by_layer(*backprop(*call, case.hidden, reduction=one)) for one in ("sum", "mean"))
    whole, right = np.concatenate(printed), np.concatenate(true)
    cosine = whole @ right / (np.linalg.norm(whole) * np.linalg.norm(right))
    scales = {
        "the printed routine": _scale(printed[-1], true[-1] / n),
        "`backprop`, as it is called": _scale(mean[-1], true[-1] / n),
        '`backprop` with `reduction="sum"`': _scale(ours[-1], true[-1] / n),
    }
    return _errors(printed, true), _errors(ours, true), float(np.degrees(np.arccos(min(cosine, 1.0)))), scales


def _by_layer(grad_W: list[np.ndarray], grad_b: list[np.ndarray]) -> list[np.ndarray]:
    return [np.concatenate((W.ravel(), b)) for W, b in zip(grad_W, grad_b, strict=True)]


def _errors(found: list[np.ndarray], true: list[np.ndarray]) -> list[float]:
    return [
        float(np.linalg.norm(one - other) / np.linalg.norm(other))
        for one, other in zip(found, true, strict=True)
    ]


def _scale(found: np.ndarray, mean: np.ndarray) -> float:
    """By what factor `found` is `mean`, by least squares."""
    return float(found @ mean / (mean @ mean))


@dataclass(frozen=True, eq=False)
class Descents:
    """Mean losses of gradient descent by either routine, from the same starts with the same learning rate.

    Attributes
    ----------
    ours, printed : ndarray of shape (seeds, steps + 1)
        The printed routine's gradients divided by the number of examples, so that only its gate is at fault.
    """

    ours: np.ndarray
    printed: np.ndarray


def descend(steps: int = 400, lr: float = 0.5, n: int = 90, seeds: Sequence[int] = (0, 1, 2)) -> Descents:
    """Fit three arms of a spiral with a network 2-16-16-3, by the right gradient and by the printed one.

    Parameters
    ----------
    steps : int
        Of gradient descent on the whole set.
    lr : float
    n : int
        Points.
    seeds : sequence of int
        Each draws a set and a start.

    Returns
    -------
    Descents

    Examples
    --------
    >>> found = descend(steps=3, n=9, seeds=[0])
    >>> found.ours.shape, float(found.ours[0, 0] - found.printed[0, 0])
    ((1, 4), 0.0)
    """
    ours, printed = zip(*(_both_descents(steps, lr, n, seed) for seed in seeds), strict=True)
    return Descents(np.array(ours), np.array(printed))


def _both_descents(steps: int, lr: float, n: int, seed: int) -> tuple[list[float], list[float]]:
    X, y = _spiral(n, seed)
    names = ("tanh", "tanh", "softmax")

    def descent(routine: str) -> list[float]:
        weights, biases = weights_and_biases(multilayer((2, 16, 16, 3), names[:2], seed))
        losses = []
        for _ in range(steps + 1):
            losses.append(_mean_loss(X, y, weights, biases))
            if routine == "printed":
                summed = printed_backprop(X, y, weights, biases, names)
                grad_W, grad_b = ([one / n for one in part] for part in summed)
            else:
                grad_W, grad_b = backprop(X, y, weights, biases, names)
            weights = [w - lr * g for w, g in zip(weights, grad_W, strict=True)]
            biases = [b - lr * g for b, g in zip(biases, grad_b, strict=True)]
        return losses

    return descent("ours"), descent("printed")


def _spiral(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points on three arms about the origin, in columns, and which arm each is on."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    radius = np.linspace(0.2, 1.5, n)
    angle = 2.2 * radius + y * 2 * np.pi / 3 + rng.normal(0, 0.12, n)
    return radius * np.stack((np.cos(angle), np.sin(angle))), y


def _mean_loss(
    X: np.ndarray, y: np.ndarray, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]
) -> float:
    h = X
    for W, b in zip(weights[:-1], biases[:-1], strict=True):
        h = _value("tanh", W @ h + b[:, None])
    shares = softmax((weights[-1] @ h + biases[-1][:, None]).T)
    return float(-np.log(shares[np.arange(len(y)), y]).mean())
