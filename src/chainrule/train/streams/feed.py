"""What a training is fed: all examples of a stream once an epoch, mixed, in whole batches."""

from collections.abc import Callable, Iterator

import numpy as np

from chainrule.execution import Examples
from chainrule.train.streams.shuffling import gathered, in_order, shuffled, whole_batches

__all__ = ["Feed"]


class Feed:
    """All examples once, each time it is called; see ``StreamTrainer``.

    Where the shuffle buffer holds all of them, they are read once and stay there: further epochs are those of
    arrays in memory.

    Parameters
    ----------
    examples : callable
        ``examples(random)`` gives them piece by piece: in their order, or in blocks whose order ``random``
        draws.
    n_rows : int
        How many there are.
    capacity : int
        How many the shuffle buffer holds.
    batch_size : int
    """

    def __init__(
        self,
        examples: Callable[[np.random.Generator | None], Iterator[Examples]],
        n_rows: int,
        capacity: int,
        batch_size: int,
    ) -> None:
        self._examples = examples
        self._n_rows = n_rows
        self._capacity = capacity
        self._batch_size = batch_size
        self._kept: Examples | None = None

    def __call__(self, random: np.random.Generator | None) -> Iterator[Examples]:
        """All examples in an order that ``random`` draws, or in their own."""
        return whole_batches(self._mixed(random), self._batch_size)

    def _mixed(self, random: np.random.Generator | None) -> Iterator[Examples]:
        if self._capacity < self._n_rows:
            pieces = self._counted(self._examples(random))
            return pieces if random is None else shuffled(pieces, self._capacity, random)
        if self._kept is None:
            self._kept = gathered(self._counted(self._examples(None)), self._n_rows)
        return in_order(
            self._kept, np.arange(self._n_rows) if random is None else random.permutation(self._n_rows)
        )

    def _counted(self, pieces: Iterator[Examples]) -> Iterator[Examples]:
        """The same pieces; ValueError if there are more or fewer rows than there were."""
        seen = 0
        for examples in pieces:
            seen += len(examples)
            if seen > self._n_rows:
                break
            yield examples
        if seen != self._n_rows:
            raise ValueError(
                f"the stream gave {'more' if seen > self._n_rows else seen} rows in this pass, and "
                f"{self._n_rows} in the first: every pass must give the same rows. A generator gives its "
                "rows once; a list of chunks, or a function that makes a new generator, gives them again"
            )
