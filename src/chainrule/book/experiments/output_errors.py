"""Section 3: equation (4), where it holds, and pairs of output and loss where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.functions import get_loss
from chainrule.tape import Tensor, finite_differences, jacobian

__all__ = ["PAIRS", "Confidence", "Pair", "PairError", "confidently_wrong", "output_errors"]


def _linear(z: Any) -> Any:
    return z


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def _softmax(z: Any) -> Any:
    raised = np.exp(z)
    return raised / raised.sum()


def _cross_entropy(p: Any, y: np.ndarray) -> Any:
    return -(y * np.log(p)).sum()


def _binary_cross_entropy(p: Any, y: np.ndarray) -> Any:
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum()


def _half_squared_error(p: Any, y: np.ndarray) -> Any:
    return 0.5 * ((p - y) ** 2).sum()


@dataclass(frozen=True)
class Pair:
    """What becomes of z at the output, and the loss of it, as the chapter writes them, of one example.

    Attributes
    ----------
    name : str
    link : callable
        ŷ of z.
    loss : callable
        ℒ of ŷ and y.
    targets : str
        "numbers", "shares" between 0 and 1, "distribution" (they sum to 1), or "weights" (to 2).
    record : str
        The library's own loss of z for the pair; "" where it has none.
    in_chapter : bool
        Whether the chapter gives (4) for it.
    """

    name: str
    link: Callable[[Any], Any]
    loss: Callable[[Any, np.ndarray], Any]
    targets: str
    record: str = ""
    in_chapter: bool = False


PAIRS = (
    Pair(
        "softmax, cross-entropy", _softmax, _cross_entropy, "distribution", "softmax_cross_entropy", True
    ),
    Pair("linear, ½ squared error", _linear, _half_squared_error, "numbers", "half_squared_error", True),
    Pair(
        "sigmoid, binary cross-entropy", _sigmoid, _binary_cross_entropy, "shares",
        "binary_cross_entropy", True,
    ),
    Pair("sigmoid, ½ squared error", _sigmoid, _half_squared_error, "shares"),
    Pair("softmax, ½ squared error", _softmax, _half_squared_error, "distribution"),
    Pair("tanh, ½ squared error", np.tanh, _half_squared_error, "numbers"),
    Pair("softmax, binary cross-entropy", _softmax, _binary_cross_entropy, "distribution"),
    Pair("softmax, cross-entropy, targets that sum to 2", _softmax, _cross_entropy, "weights"),
)  # fmt: skip


@dataclass(frozen=True)
class PairError:
    """How far ŷ − y is from ∂ℒ/∂z^(L), as shares of the largest entry of the latter.

    Attributes
    ----------
    name : str
        Of the pair.
    in_chapter : bool
        Whether the chapter gives (4) for it.
    differences : tuple of float
        By central differences of the loss as a function of z; one a seed.
    derived : tuple of float
        By the chain rule, (∂ŷ/∂z)ᵀ ∂ℒ/∂ŷ, with the whole Jacobian matrix of the link.
    library : tuple of float
        By the library's own loss of z; empty where it has none.
    """

    name: str
    in_chapter: bool
    differences: tuple[float, ...]
    derived: tuple[float, ...]
    library: tuple[float, ...]


def output_errors(
    pairs: tuple[Pair, ...] = PAIRS, d: int = 4, seeds: tuple[int, ...] = tuple(range(5))
) -> tuple[PairError, ...]:
    """Hold equation (4) against three other ways to δ^(L), for pairs of output and loss.

    Parameters
    ----------
    pairs : tuple of Pair
    d : int
        Outputs.
    seeds : tuple of int
        Each draws an output z and a target.

    Returns
    -------
    tuple of PairError

    Examples
    --------
    >>> first, *_, last = output_errors(d=3, seeds=(0,))
    >>> max(first.derived) < 1e-12, min(last.derived) > 0.1
    (True, True)
    """
    found = []
    for pair in pairs:
        errors: list[tuple[float, float, float]] = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            z, y = rng.normal(0, 1.5, d), _targets(pair.targets, d, rng)
            claimed = np.asarray(pair.link(z)) - y  # (4)
            ways = (by_differences(pair, z, y), by_chain_rule(pair, z, y), by_library(pair, z, y))
            errors.append(tuple(_distance(claimed, one) for one in ways))  # type: ignore[arg-type]
        differences, derived, library = zip(*errors, strict=True)
        found.append(
            PairError(pair.name, pair.in_chapter, differences, derived, library if pair.record else ())
        )
    return tuple(found)


def _targets(kind: str, d: int, rng: np.random.Generator) -> np.ndarray:
    """Targets as the pair's loss takes them."""
    shares = rng.uniform(0.05, 0.95, d)
    if kind == "numbers":
        return rng.normal(0, 1, d)
    if kind == "shares":
        return shares
    return shares / shares.sum() * (1 if kind == "distribution" else 2)


def _distance(claimed: np.ndarray, found: np.ndarray) -> float:
    return float(np.abs(claimed - found).max() / np.abs(found).max())


def by_differences(pair: Pair, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """∂ℒ/∂z, equation (3), by central differences."""
    return np.asarray(finite_differences(lambda at: pair.loss(pair.link(at), y), z))


def by_chain_rule(pair: Pair, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """∂ℒ/∂z = (∂ŷ/∂z)ᵀ ∂ℒ/∂ŷ, with the Jacobian matrix of the link written out."""
    matrix = np.asarray(jacobian(lambda at: pair.link(at) * 1, z))
    prediction = Tensor(np.asarray(pair.link(z)), requires_grad=True)
    pair.loss(prediction, y).backward()
    assert prediction.grad is not None
    return np.asarray(matrix.T @ prediction.grad.data)


def by_library(pair: Pair, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """∂ℒ/∂z as the library's record of the loss has it."""
    if not pair.record:
        return np.full_like(z, np.nan)
    record = get_loss(pair.record)
    return np.asarray(record.gradient(z[None, :], y[None, :], record.setting)[0])


@dataclass(frozen=True, eq=False)
class Confidence:
    """|δ| of a sigmoid output whose target is 1, against its z.

    Attributes
    ----------
    z : ndarray
    cross_entropy, squared_error : ndarray
        |δ| with binary cross-entropy, and with ½ squared error.
    """

    z: np.ndarray
    cross_entropy: np.ndarray
    squared_error: np.ndarray


def confidently_wrong(reach: float = 8.0, n: int = 161) -> Confidence:
    """How strongly an output is corrected, the surer it is of the wrong answer.

    Examples
    --------
    >>> found = confidently_wrong()
    >>> found.cross_entropy[0].round(3), found.squared_error[0].round(4)       # at z = -8
    (np.float64(1.0), np.float64(0.0003))
    """
    z = np.linspace(-reach, reach, n)
    prediction = _sigmoid(z)
    return Confidence(z, np.abs(prediction - 1), np.abs((prediction - 1) * prediction * (1 - prediction)))
