"""The one interface of all that is measured, and the list of them."""

from abc import ABC, abstractmethod
from importlib import import_module, metadata, util

import numpy as np
from problem import Weights

__all__ = ["DEFAULT", "PEERS", "Peer", "installed", "make", "missing"]


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


# Name: (label, module that must be installed, where the class is, threads).
PEERS: dict[str, tuple[str, str, str, int | None]] = {
    "chainrule": ("chainrule", "chainrule", "peer_chainrule:ChainrulePeer", None),
    "chainrule-1": ("chainrule, 1 thread", "chainrule", "peer_chainrule:ChainrulePeer", 1),
    "sklearn": ("scikit-learn", "sklearn", "peer_sklearn:SklearnPeer", None),
    "torch": ("PyTorch, fused Adam", "torch", "peer_torch:TorchPeer", 2),
    "torch-1": ("PyTorch, 1 thread", "torch", "peer_torch:TorchPeer", 1),
    "jax": ("JAX, scan", "jax", "peer_jax:JaxPeer", None),
    "jax-1": ("JAX, 1 thread", "jax", "peer_jax:JaxPeer", 1),
}
DEFAULT = ("chainrule", "chainrule-1", "sklearn", "torch", "jax")


def missing(name: str) -> str | None:
    """The module that is not installed and that the peer needs, if so."""
    module = PEERS[name][1]
    if module == "chainrule":  # measured from the sources beside this folder
        return None
    return module if util.find_spec(module) is None else None


def installed(names: tuple[str, ...] = DEFAULT) -> list[str]:
    """Those of ``names`` whose library is installed."""
    return [name for name in names if missing(name) is None]


def make(name: str) -> Peer:
    """A new peer; imports its library."""
    _, _, where, n_threads = PEERS[name]
    module, kind = where.split(":")
    return getattr(import_module(module), kind)(n_threads)
