"""A network as lines of NumPy: one for each operation, as the equations have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from chainrule.exports.networks import Network
from chainrule.exports.numpy_expressions import EXPRESSIONS
from chainrule.exports.numpy_literals import Constant
from chainrule.plan import Operation

__all__ = ["NetworkLines", "Parts"]


@dataclass
class Parts:
    """What lines need that stand elsewhere in the file: constants by name, and helper functions."""

    constants: dict[str, Constant] = field(default_factory=dict)
    helpers: list[str] = field(default_factory=list)

    def constant(self, name: str, value: Constant) -> str:
        """Put a constant into the file; returns its name."""
        self.constants[name] = value
        return name

    def helper(self, *names: str) -> None:
        """Put helper functions into the file."""
        self.helpers += [name for name in names if name not in self.helpers]


class NetworkLines:
    """The lines of one network; they read X, and ``output`` is what the last of them assigns.

    Parameters
    ----------
    network : Network
    parts : Parts
        Of the file.
    ending : str
        Of the constants' names, where a file holds several networks.
    """

    def __init__(self, network: Network, parts: Parts, ending: str = "") -> None:
        self.network = network
        self.parts = parts
        self.ending = ending
        self.names = _value_names(network)
        self.output = self.names[network.output]

    def __iter__(self) -> Iterator[str]:
        """One line for each operation; matrices and the like are numbered layer by layer."""
        layers: Counter[str] = Counter()
        for operation, made in zip(self.network.operations, self.network.makes, strict=True):
            layers[operation.kind] += 1
            name = self.names[made]
            value = getattr(self, f"_{operation.kind}")(operation, layers[operation.kind])
            if value != name:  # as it is where the identity reads h
                yield f"{name} = {value}"

    def _constant(self, name: str, array: np.ndarray) -> str:
        return self.parts.constant(name + self.ending, array)

    def _linear(self, operation: Operation, layer: int) -> str:
        weight, bias = self.network.affine(operation)
        assert weight is not None
        product = f"{self.names[operation.source]} @ {self._constant(f'W{layer}', weight)}.T"
        return product if bias is None else f"{product} + {self._constant(f'b{layer}', bias)}"

    def _activation(self, operation: Operation, layer: int) -> str:
        expression = EXPRESSIONS[operation.activation]
        self.parts.helper(*expression.helpers)
        return expression.text.format(z=self.names[operation.source], alpha=repr(operation.alpha))

    def _batch_norm(self, operation: Operation, layer: int) -> str:
        mean, deviation = self.network.running(operation)
        names = self._constant(f"mean{layer}", mean), self._constant(f"deviation{layer}", deviation)
        normalized = f"({self.names[operation.source]} - {names[0]}) / {names[1]}"
        return self._scaled(normalized, operation, f"{layer}")

    def _layer_norm(self, operation: Operation, layer: int) -> str:
        h = self.names[operation.source]
        mean, variance = (f"{h}.{moment}(axis=1, keepdims=True)" for moment in ("mean", "var"))
        normalized = f"({h} - {mean}) / np.sqrt({variance} + {operation.epsilon!r})"
        return self._scaled(normalized, operation, f"_row{layer}")

    def _scaled(self, normalized: str, operation: Operation, ending: str) -> str:
        gamma, beta = self.network.affine(operation)
        if gamma is not None:
            normalized += f" * {self._constant(f'gamma{ending}', gamma)}"
        return normalized if beta is None else f"{normalized} + {self._constant(f'beta{ending}', beta)}"

    def _add(self, operation: Operation, layer: int) -> str:
        return f"{self.names[operation.source]} + {self.names[operation.second]}"


def _value_names(network: Network) -> dict[int, str]:
    """What each value is called: X, z after a linear layer, else h; numbered where it is read again later."""
    reads = [{operation.source, operation.second} for operation in network.operations] + [{network.output}]
    names = {0: "X"}
    for k, (operation, made) in enumerate(zip(network.operations, network.makes, strict=True)):
        letter = "z" if operation.kind == "linear" else "h"
        is_read_later = any(made in read for read in reads[k + 2 :])
        names[made] = f"{letter}{k + 1}" if is_read_later else letter
    return names
