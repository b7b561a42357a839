"""Shuffling in bounded memory, and whole batches of what comes out.

Rows come in blocks, in an order that is drawn anew each epoch. A buffer mixes them further: each piece takes
the places of rows drawn from the buffer, which go to the training.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from chainrule.arrays import zeros
from chainrule.execution import Examples
from chainrule.train.streams.pieces import rows_a_piece

__all__ = ["BUFFER_BYTES", "gathered", "in_order", "shuffled", "whole_batches"]

BUFFER_BYTES = 64 << 20


def row_bytes(examples: Examples) -> float:
    """Bytes that an example takes."""
    arrays = [examples.X, examples.y, *([] if examples.weights is None else [examples.weights])]
    return sum(array.nbytes for array in arrays) / max(1, len(examples))


def taken(examples: Examples, rows: Any) -> Examples:
    """Some of the examples, by a slice or by their places."""
    weights = None if examples.weights is None else examples.weights[rows]
    return Examples(examples.X[rows], examples.y[rows], weights)


def joined(parts: list[Examples]) -> Examples:
    """Examples one after the other."""
    if len(parts) == 1:
        return parts[0]
    weights = None
    if parts[0].weights is not None:
        weights = np.concatenate([part.weights for part in parts if part.weights is not None])
    return Examples(
        np.concatenate([one.X for one in parts]), np.concatenate([one.y for one in parts]), weights
    )


class _Buffer:
    """Room for some examples; ``filled`` of the places are taken."""

    def __init__(self, capacity: int, like: Examples) -> None:
        def room(array: np.ndarray) -> np.ndarray:
            return zeros((capacity, *array.shape[1:]), array.dtype)

        weights = None if like.weights is None else room(like.weights)
        self.examples = Examples(room(like.X), room(like.y), weights)
        self.filled = 0

    def add(self, examples: Examples) -> None:
        """Put examples at the next free places."""
        self.put(slice(self.filled, self.filled + len(examples)), examples)
        self.filled += len(examples)

    def put(self, places: Any, examples: Examples) -> None:
        """Write examples to places."""
        self.examples.X[places] = examples.X
        self.examples.y[places] = examples.y
        if self.examples.weights is not None:
            self.examples.weights[places] = examples.weights


def gathered(pieces: Iterable[Examples], n_rows: int) -> Examples:
    """All of ``n_rows`` examples, in their order."""
    buffer = None
    for piece in pieces:
        if buffer is None:
            buffer = _Buffer(n_rows, piece)
        buffer.add(piece)
    assert buffer is not None
    return buffer.examples


def in_order(examples: Examples, order: np.ndarray) -> Iterator[Examples]:
    """Examples at the places that ``order`` gives, a piece at a time."""
    rows = rows_a_piece(row_bytes(examples))
    for start in range(0, len(order), rows):
        yield taken(examples, order[start : start + rows])


def shuffled(pieces: Iterable[Examples], capacity: int, random: np.random.Generator) -> Iterator[Examples]:
    """The same examples in a random order, of which at most ``capacity`` and a piece are held at a time."""
    buffer = None
    for piece in pieces:
        if buffer is None:
            buffer = _Buffer(capacity, piece)
        room = min(capacity - buffer.filled, len(piece))
        buffer.add(taken(piece, slice(room)))
        for start in range(room, len(piece), capacity):
            incoming = taken(piece, slice(start, start + capacity))
            places = random.choice(capacity, len(incoming), replace=False)
            outgoing = taken(buffer.examples, places)
            buffer.put(places, incoming)
            yield outgoing
    if buffer is not None:
        yield from in_order(buffer.examples, random.permutation(buffer.filled))


def whole_batches(pieces: Iterable[Examples], batch_size: int) -> Iterator[Examples]:
    """The same examples, cut so that only the last part is not a multiple of the batch size."""
    waiting: list[Examples] = []
    n_waiting = 0
    for piece in pieces:
        if not len(piece):
            continue
        waiting.append(piece)
        n_waiting += len(piece)
        whole = n_waiting // batch_size * batch_size
        if whole:
            examples = joined(waiting)
            yield taken(examples, slice(whole))
            n_waiting -= whole
            waiting = [taken(examples, slice(whole, None))] if n_waiting else []
    if waiting:
        yield joined(waiting)
