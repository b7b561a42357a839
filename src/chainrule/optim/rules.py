"""Update rules: what one step of an optimizer does to a parameter.

A rule is written twice, side by side: ``update`` on arrays is the definition, ``scalar_update`` on one
parameter is what the engine compiles, and parity tests hold them together. Both read a row of eight
coefficients, of which the first two mean the same to every rule: the decoupled decay (learning rate × weight
decay) and the coupled one, λ of g ← g + λ w.

A rule that keeps three arrays for each parameter has no scalar form: the engine's kernels have room for two.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["N_COEFFICIENTS", "RULES", "RULES_OF_THREE", "UpdateRule"]

N_COEFFICIENTS = 8

State = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True)
class UpdateRule:
    """How one step changes a parameter.

    Attributes
    ----------
    name, formula, source : str
    update : callable
        ``update(w, state, g, c)``: changes in place the array ``w`` and those of ``state``, an array with
        one row for each or a sequence of them; of whatever shape.
    scalar_update : callable or None
        ``scalar_update(w, first, second, g, c) -> (w, first, second)`` on numbers, compilable; None for a
        rule that the engine does not run.
    n_states : int
        How many arrays the state consists of, each as large as ``w``.
    """

    name: str
    formula: str
    source: str
    update: Callable[[np.ndarray, Any, np.ndarray, np.ndarray], None]
    scalar_update: Callable | None
    n_states: int = 2


# -- stochastic gradient descent -------------------------------------------------------------------
# c = decay, coupled decay, momentum, gradient scale, step scale, Nesterov (0 or 1)


def _sgd_update(w: np.ndarray, state: State, g: np.ndarray, c: np.ndarray) -> None:
    decay, coupled, momentum, gradient_scale, step_scale, nesterov = c[:6]
    g = g + coupled * w
    velocity = state[0]
    velocity *= momentum
    velocity += gradient_scale * g
    step = momentum * velocity + gradient_scale * g if nesterov else velocity
    w -= decay * w
    w += step_scale * step


def _sgd_scalar_update(
    w: float, first: float, second: float, g: float, c: tuple[float, ...]
) -> tuple[float, float, float]:
    scaled = c[3] * (g + c[1] * w)
    first = c[2] * first + scaled
    step = c[2] * first + scaled if c[5] > 0.0 else first
    return w - c[0] * w + c[4] * step, first, second


# -- Adam ------------------------------------------------------------------------------------------
# c = decay, coupled decay, β₁, 1 − β₁, β₂, 1 − β₂, step size, ε


def _adam_update(w: np.ndarray, state: State, g: np.ndarray, c: np.ndarray) -> None:
    first, second = state
    _adam_moments(w, first, second, g, c)
    _adam_step(w, first, second, c)


def _amsgrad_update(w: np.ndarray, state: State, g: np.ndarray, c: np.ndarray) -> None:
    first, second, largest = state
    _adam_moments(w, first, second, g, c)
    np.maximum(largest, second, out=largest)
    _adam_step(w, first, largest, c)


def _adam_moments(w: np.ndarray, first: np.ndarray, second: np.ndarray, g: np.ndarray, c: np.ndarray) -> None:
    _, coupled, beta_1, one_minus_beta_1, beta_2, one_minus_beta_2, _, _ = c
    g = g + coupled * w
    first *= beta_1
    first += one_minus_beta_1 * g
    second *= beta_2
    second += one_minus_beta_2 * g * g


def _adam_step(w: np.ndarray, first: np.ndarray, second: np.ndarray, c: np.ndarray) -> None:
    decay, step_size, epsilon = c[0], c[6], c[7]
    w -= decay * w
    w -= step_size * first / (np.sqrt(second) + epsilon)


def _adam_scalar_update(
    w: float, first: float, second: float, g: float, c: tuple[float, ...]
) -> tuple[float, float, float]:
    g = g + c[1] * w
    first = c[2] * first + c[3] * g
    second = c[4] * second + c[5] * (g * g)
    return w - c[0] * w - c[6] * first / (math.sqrt(second) + c[7]), first, second


# -- RMSprop ---------------------------------------------------------------------------------------
# c = decay, coupled decay, momentum, gradient scale, α, 1 − α, step size, ε


def _rmsprop_update(w: np.ndarray, state: State, g: np.ndarray, c: np.ndarray) -> None:
    velocity, square = state
    g = g + c[1] * w
    _follow(square, g * g, c)
    velocity *= c[2]
    velocity += _scaled_by_root(g, square, c)
    _rmsprop_step(w, velocity, c)


def _centered_update(w: np.ndarray, state: State, g: np.ndarray, c: np.ndarray) -> None:
    mean, square = state
    g = g + c[1] * w
    _rmsprop_step(w, _centered(g, mean, square, c), c)


def _centered_momentum_update(w: np.ndarray, state: State, g: np.ndarray, c: np.ndarray) -> None:
    velocity, mean, square = state
    g = g + c[1] * w
    velocity *= c[2]
    velocity += _centered(g, mean, square, c)
    _rmsprop_step(w, velocity, c)


def _centered(g: np.ndarray, mean: np.ndarray, square: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The gradient over the root of its running variance, E g² − (E g)², which rounding may make negative."""
    _follow(mean, g, c)
    _follow(square, g * g, c)
    return _scaled_by_root(g, np.maximum(square - mean * mean, 0), c)


def _follow(average: np.ndarray, value: np.ndarray, c: np.ndarray) -> None:
    """A running average with the decay rate α."""
    average *= c[4]
    average += c[5] * value


def _scaled_by_root(g: np.ndarray, square: np.ndarray, c: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = c[3] * g / (np.sqrt(square) + c[7])
    return scaled


def _rmsprop_step(w: np.ndarray, step: np.ndarray, c: np.ndarray) -> None:
    w -= c[0] * w
    w -= c[6] * step


def _rmsprop_scalar_update(
    w: float, first: float, second: float, g: float, c: tuple[float, ...]
) -> tuple[float, float, float]:
    g = g + c[1] * w
    second = c[4] * second + c[5] * (g * g)
    first = c[2] * first + c[3] * g / (math.sqrt(second) + c[7])
    return w - c[0] * w - c[6] * first, first, second


def _centered_scalar_update(
    w: float, first: float, second: float, g: float, c: tuple[float, ...]
) -> tuple[float, float, float]:
    g = g + c[1] * w
    first = c[4] * first + c[5] * g
    second = c[4] * second + c[5] * (g * g)
    variance = second - first * first
    variance = 0.5 * (variance + abs(variance))  # the larger of it and 0, without a decision
    return w - c[0] * w - c[6] * (c[3] * g / (math.sqrt(variance) + c[7])), first, second


# -- the tables ------------------------------------------------------------------------------------


def _by_name(*rules: UpdateRule) -> dict[str, UpdateRule]:
    return {rule.name: rule for rule in rules}


# Rules that the engine compiles.
RULES = _by_name(
    UpdateRule(
        "sgd", "v = mu v + g; w = w - lr v (Nesterov: w - lr (mu v + g))",
        "Robbins & Monro 1951; Polyak 1964; Nesterov 1983", _sgd_update, _sgd_scalar_update,
    ),
    UpdateRule(
        "adam", "m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w = w - lr m^ / (sqrt(v^) + eps)",
        "Kingma & Ba 2015; decoupled decay Loshchilov & Hutter 2019", _adam_update, _adam_scalar_update,
    ),
    UpdateRule(
        "rmsprop", "s = a s + (1 - a) g^2; v = mu v + g / (sqrt(s) + eps); w = w - lr v",
        "Tieleman & Hinton 2012", _rmsprop_update, _rmsprop_scalar_update,
    ),
    UpdateRule(
        "rmsprop_centered",
        "m = a m + (1 - a) g; s = a s + (1 - a) g^2; w = w - lr g / (sqrt(s - m^2) + eps)",
        "Graves 2013", _centered_update, _centered_scalar_update,
    ),
)  # fmt: skip

# Rules with three arrays of state, which the reference executor and ``Optimizer.step`` run.
RULES_OF_THREE = _by_name(
    UpdateRule(
        "amsgrad", "m, v as in adam; u = max(u, v); w = w - lr m^ / (sqrt(u^) + eps)",
        "Reddi, Kale & Kumar 2018", _amsgrad_update, None, n_states=3,
    ),
    UpdateRule(
        "rmsprop_centered_momentum",
        "m, s as in rmsprop_centered; v = mu v + g / (sqrt(s - m^2) + eps); w = w - lr v",
        "Graves 2013", _centered_momentum_update, None, n_states=3,
    ),
)  # fmt: skip
