"""The one interface of all that predicts, and what times it."""

from abc import ABC, abstractmethod
from importlib import metadata
from typing import Any

import numpy as np
from library import make
from problem import Weights, initial_weights, raw_outputs
from timer import Timer

__all__ = ["CallTimer", "Predictor"]


class Predictor(ABC):
    """A trained network, called from Python with a NumPy array of float32.

    Attributes
    ----------
    distributions : tuple of str
        Installed packages whose versions belong to the result.
    """

    distributions: tuple[str, ...]

    @abstractmethod
    def setup(self, weights: Weights, X: np.ndarray) -> None:
        """Build the network with these weights, ready to be called with these rows."""

    @abstractmethod
    def call(self) -> np.ndarray:
        """Predict all the rows; returns a NumPy array when it is done.

        Raw outputs z (rows, classes), unless ``returns_probabilities``.
        """

    returns_probabilities = False

    def facts(self) -> str:
        """What of the configuration a reader should know."""
        return ""

    def versions(self) -> dict[str, str]:
        """Versions of ``distributions``."""
        return {name: metadata.version(name) for name in self.distributions}


def softmax(z: np.ndarray) -> np.ndarray:
    """Probabilities of the classes."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class CallTimer(Timer):
    """Calls one predictor again and again; a unit is a call.

    Raises
    ------
    RuntimeError
        If it does not predict what the textbook's formula does.
    """

    def __init__(self, where: str, settings: dict[str, Any], sizes: list[int], rows: int) -> None:
        weights = initial_weights(tuple(sizes))
        X = np.random.default_rng(0).standard_normal((rows, sizes[0]), dtype=np.float32)
        self.predictor: Predictor = make(where, settings)
        self.predictor.setup(weights, X)
        expected, found = raw_outputs(weights, X), np.asarray(self.predictor.call(), np.float64)
        if self.predictor.returns_probabilities:
            expected = softmax(expected)
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=1e-3, atol=1e-3):
            raise RuntimeError(f"{where} predicts something else than the formula")

    def repeat(self, n: int) -> int:
        call = self.predictor.call
        for _ in range(n):
            call()
        return n

    def versions(self) -> dict[str, str]:
        return self.predictor.versions()

    def facts(self) -> str:
        return self.predictor.facts()
