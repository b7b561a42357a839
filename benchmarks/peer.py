"""The one interface of all that trains a network, and the list of them."""

from abc import ABC, abstractmethod
from importlib import metadata

import numpy as np
from library import Library
from problem import Weights

__all__ = ["DEFAULT", "PEERS", "Peer"]


class Peer(ABC):
    """One library's training loop, written as its own users would write a fast one.

    Attributes
    ----------
    distributions : tuple of str
        Installed packages whose versions belong to the result.
    n_threads : int or None
        None leaves the choice to the library.
    """

    distributions: tuple[str, ...]

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = n_threads

    @abstractmethod
    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        """Take the data and build everything, ready for ``epoch``."""

    @abstractmethod
    def reset(self) -> None:
        """Go back to initial weights, zero moments and step 0."""

    @abstractmethod
    def epoch(self) -> int:
        """Train on all rows once, in a new random order, and return the number of steps made.

        Returns when the work is done, not when it has been queued.
        """

    def epochs(self, n: int) -> int:
        """Train for ``n`` epochs and return the number of steps made."""
        return sum(self.epoch() for _ in range(n))

    @abstractmethod
    def weights(self) -> Weights:
        """Current weights (inputs, outputs) and biases of each layer, as NumPy arrays."""

    def facts(self) -> str:
        """What of the library's configuration a reader should know, beside its version."""
        return ""

    def versions(self) -> dict[str, str]:
        """Versions of ``distributions``."""
        return {name: metadata.version(name) for name in self.distributions}


_OURS = "peer_chainrule:ChainrulePeer"
_TORCH = "peer_torch:TorchPeer"

PEERS: dict[str, Library] = {
    "chainrule": Library("chainrule", _OURS),
    "chainrule-1": Library("chainrule, 1 thread", _OURS, settings={"n_threads": 1}),
    "chainrule-float64": Library("chainrule, float64", _OURS, settings={"dtype": "float64"}),
    "chainrule-bf16": Library('chainrule, precision="bf16"', _OURS, settings={"precision": "bf16"}),
    "chainrule-bf16x3": Library('chainrule, precision="bf16x3"', _OURS, settings={"precision": "bf16x3"}),
    "sklearn": Library("scikit-learn", "peer_sklearn:SklearnPeer", ("sklearn",)),
    "torch": Library("PyTorch, fused Adam", _TORCH, ("torch",)),
    "torch-compile": Library("PyTorch, compiled", "peer_torch:TorchCompiled", ("torch",)),
    "torch-autocast": Library("PyTorch, autocast to bfloat16", _TORCH, ("torch",), {"autocast": True}),
    "torch-1": Library("PyTorch, 1 thread", _TORCH, ("torch",), {"n_threads": 1}),
    "jax": Library("JAX, scan", "peer_jax:JaxPeer", ("jax",)),
    "jax-1": Library("JAX, 1 thread", "peer_jax:JaxPeer", ("jax",), {"n_threads": 1}),
}
DEFAULT = tuple(name for name in PEERS if name not in ("torch-1", "jax-1"))
