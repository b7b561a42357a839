"""Healthy trainings by description: what the faults are planted into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.health.suite.data import load
from chainrule.health.trainings import Training
from chainrule.optim import Adam, Optimizer

__all__ = ["Prepared", "Twin"]


@dataclass(frozen=True)
class Twin:
    """A training of a feedforward network on one of the data sets; call it with a seed.

    Attributes
    ----------
    data : str
        A name of ``suite.data``.
    hidden : tuple of int
        Widths.
    activation : str
    init : str or None
        An initializer by name; None leaves PyTorch's default.
    optimizer : Optimizer
    loss : loss module, optional
        By default cross-entropy for classes, the mean squared error for numbers.
    epochs, batch_size : int
    norm, residual : bool
        Batch normalization before each activation; shortcuts around layers as wide as what they read.
    dropout : float
        After each activation.
    n_outputs : int, optional
        One for two classes with the binary loss.
    options : mapping
        Of ``Training``.
    """

    data: str
    hidden: tuple[int, ...] = (32,)
    activation: str = "relu"
    init: str | None = "he_normal"
    optimizer: Optimizer = field(default_factory=lambda: Adam(lr=3e-3))
    loss: Any = None
    epochs: int = 20
    batch_size: int = 32
    norm: bool = False
    residual: bool = False
    dropout: float = 0.0
    n_outputs: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, seed: int) -> Training:
        """The training, with a start drawn by the seed."""
        data = load(self.data)
        loss = self.loss or (nn.CrossEntropyLoss() if data.classify else nn.MSELoss())
        return Training(
            self.network(seed), *data.train, loss, optimizer=self.optimizer, batch_size=self.batch_size,
            epochs=self.epochs, validation=data.validation, options=dict(self.options),
        )  # fmt: skip

    def network(self, seed: int) -> nn.Sequential:
        """The module at its start."""
        data = load(self.data)
        random = np.random.default_rng(seed)
        width = data.n_inputs
        modules: list[nn.Module] = []
        for wanted in self.hidden:
            block = self._block(width, wanted, random)
            if self.residual and width == wanted:
                block = [nn.Residual(nn.Sequential(*block))]
            modules += block
            width = wanted
        made = nn.Sequential(*modules, nn.Linear(width, self.n_outputs or data.n_outputs, rng=random))
        return made if self.init is None else made.initialize(self.init, rng=random)

    def _block(self, width: int, wanted: int, random: np.random.Generator) -> list[nn.Module]:
        """A hidden layer."""
        block: list[nn.Module] = [nn.Linear(width, wanted, rng=random)]
        if self.norm:
            block.append(nn.BatchNorm1d(wanted))
        block.append(nn.activation_module(self.activation))
        if self.dropout:
            # A generator of its own: a loop of one's own steps is reproducible then, as ``fit`` is anyway.
            block.append(nn.Dropout(self.dropout, rng=int(random.integers(2**31))))
        return block


@dataclass(frozen=True)
class Prepared:
    """A twin with something more done to it, which is healthy too; call it with a seed."""

    twin: Callable[[int], Training]
    change: Callable[[Training], Training]

    def __call__(self, seed: int) -> Training:
        """The changed training."""
        return self.change(self.twin(seed))
