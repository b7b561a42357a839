"""The two libraries that a training may run on, behind one protocol: what running and looking at one needs.

Everything else of this room, gates, rules, proofs, is written once, for both.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chainrule.health.libraries import library_of

if TYPE_CHECKING:
    from chainrule.health.trainings import Training

__all__ = ["Backend", "as_number", "backend_of", "by_hand"]


class Backend(Protocol):
    """A library, as a training sees it. Tensors are of that library, arrays are NumPy's.

    Attributes
    ----------
    surgery : module
        Changes of a network's description, see ``surgery.py``.
    least_rows : int
        A rest of a pass over the rows that is smaller is left out.
    """

    surgery: Any
    least_rows: int

    @property
    def logarithm(self) -> Callable[[Any], Any] | None:
        """ln of a tensor of probabilities; None where a softmax is a module, which can be taken out."""

    def copied(self, module: Any) -> Any:
        """A module of its own to train, with the same numbers."""

    def session(self, seed: int) -> contextlib.AbstractContextManager[None]:
        """Compute in here: the library's generators start from the seed, and are put back afterwards."""

    def tensor(self, X: np.ndarray) -> Any:
        """Rows as forward takes them."""

    def targets(self, y: np.ndarray) -> Any:
        """Targets as the loss, and a step of the user's own, take them."""

    def outputs(self, module: Any, X: np.ndarray) -> np.ndarray:
        """Raw outputs in evaluation mode, (n, k)."""

    def loss(self, training: Training) -> Callable[[Any, Any], Any]:
        """The loss as a function of outputs, a tensor, and targets, an array or what ``targets`` gave."""

    def loss_of(self, training: Training, outputs: np.ndarray, y: np.ndarray) -> float:
        """The mean loss of raw outputs (n, k)."""

    def knows_loss(self, loss: Any) -> bool:
        """Whether the loss is one of the library's, which cannot be turned round."""

    def loss_of_logits(self, n_outputs: int) -> Any:
        """Cross-entropy that is computed from logits: of two classes for one output, else of several."""

    def loss_record(self, loss: Any, n_outputs: int) -> str | None:
        """The name of the loss in ``chainrule.functions.LOSSES``; None of others."""

    def takes(self, training: Training, option: str) -> bool:
        """Whether the loop that runs the training heeds an option of that name."""

    def bound(self, optimizer: Any, module: Any) -> Any:
        """An optimizer as described, over the parameters of a module."""

    def usual_step(self, training: Training) -> Callable[[Any, Any, Any, Any], Any]:
        """Zero the gradients, go forward and back, and update."""

    def epochs(self, training: Training, module: Any, seed: int) -> list[float]:
        """Train the module; the mean loss of each epoch."""


def backend_of(module: Any) -> Backend:
    """The library that a module runs on.

    Raises
    ------
    TypeError
        If it is a module of neither.

    Examples
    --------
    >>> from chainrule import nn
    >>> type(backend_of(nn.Linear(2, 1))).__name__
    'TapeBackend'
    """
    made: Backend
    if library_of(module).name == "torch":
        from chainrule.health.torch_backend import BACKEND as made
    else:
        from chainrule.health.tape_backend import BACKEND as made
    return made


def by_hand(training: Training, module: Any, seed: int, course: Any = None) -> list[float]:
    """Epochs of steps, as anyone would write them; the mean loss of each.

    ``course``, where there is one, is told of the optimizer and of each epoch's end, where it may stop.
    """
    backend = training.backend
    optimizer = backend.bound(training.optimizer, module)
    if course is not None:
        course.begin(optimizer)
    step = training.step or backend.usual_step(training)
    random = np.random.default_rng(seed)
    losses = []
    module.train()
    with np.errstate(all="ignore"):
        for _ in range(training.epochs):
            order = random.permutation(len(training.X))
            total, n_rows = 0.0, 0
            for start in range(0, len(order), training.batch_size):
                rows = order[start : start + training.batch_size]
                if len(rows) < min(backend.least_rows, training.batch_size, len(order)):
                    continue
                x, y = backend.tensor(training.X[rows]), backend.targets(training.y[rows])
                total += len(rows) * as_number(step(module, optimizer, x, y))
                n_rows += len(rows)
            losses.append(total / n_rows)
            if not np.isfinite(losses[-1]) or (course is not None and course.epoch_ended(losses[-1])):
                break
    return losses


def as_number(value: Any) -> float:
    """A loss as a number, tensor or not."""
    return float(np.asarray(getattr(value, "data", value)))
