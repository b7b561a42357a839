"""Section 2: how many linear pieces a ReLU network has on a line, counted in fractions."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from chainrule import nn

__all__ = [
    "Layers",
    "Piece",
    "PieceCounts",
    "count_pieces",
    "layers_of",
    "linear_pieces",
    "pieces_by_depth",
    "pieces_by_width",
    "random_network",
    "shallow_tent",
    "tent_network",
]

# One layer's W and b in fractions.
Layers = list[tuple[list[list[Fraction]], list[Fraction]]]


@dataclass(frozen=True)
class Piece:
    """Where a network is straight: from `start` on, each of its values is slope · x + offset.

    Attributes
    ----------
    start : Fraction or float
        −∞ for the first piece of the whole line.
    slopes, offsets : tuple of Fraction
    """

    start: Fraction | float
    slopes: tuple[Fraction, ...]
    offsets: tuple[Fraction, ...]


@dataclass(frozen=True)
class PieceCounts:
    """How many pieces random networks of one shape have on the line.

    Attributes
    ----------
    depth : int
        Hidden layers.
    width : int
        Units of each.
    counts : ndarray of int, shape (seeds,)
    """

    depth: int
    width: int
    counts: np.ndarray


def layers_of(network: nn.Sequential) -> Layers:
    """Take the weights of linear layers with ReLUs between them, exactly: a float is a fraction.

    Parameters
    ----------
    network : Sequential
        Linear, ReLU, ..., Linear.

    Returns
    -------
    list

    Raises
    ------
    ValueError
        If the network has another layer, or does not end with a linear one.
    """
    kinds = [nn.Linear if number % 2 == 0 else nn.ReLU for number in range(len(network))]
    if len(kinds) % 2 == 0 or any(type(one) is not kind for one, kind in zip(network, kinds, strict=True)):
        raise ValueError("network must be linear layers with a ReLU between each two")
    return [
        (
            [[Fraction(float(w)) for w in row] for row in np.asarray(layer.weight.data)],
            [Fraction(float(b)) for b in np.asarray(layer.bias.data)],
        )
        for layer in network
        if isinstance(layer, nn.Linear)
    ]


def linear_pieces(
    network: nn.Sequential, low: Fraction | float = -np.inf, high: Fraction | float = np.inf
) -> list[Piece]:
    """Find the pieces on which a ReLU network of one input is straight, by exact arithmetic.

    A linear layer leaves the pieces as they are, equation (1). A ReLU breaks a piece where a unit's z is 0,
    and sets z to 0 where it is negative, equation (2). Neighbours that are the same line are one piece.

    Parameters
    ----------
    network : Sequential
        Linear, ReLU, ..., Linear, with one input.
    low, high : Fraction or float
        The stretch of the line that is looked at.

    Returns
    -------
    list of Piece

    Examples
    --------
    >>> [float(piece.start) for piece in linear_pieces(tent_network(2), 0, 1)]
    [0.0, 0.25, 0.5, 0.75]
    """
    layers = layers_of(network)
    pieces = [Piece(low, (Fraction(1),), (Fraction(0),))]
    for number, (weight, bias) in enumerate(layers):
        pieces = [_through_linear(piece, weight, bias) for piece in pieces]
        if number < len(layers) - 1:
            ends = [one.start for one in pieces[1:]] + [high]
            pieces = [
                part for piece, end in zip(pieces, ends, strict=True) for part in _through_relu(piece, end)
            ]
    merged = pieces[:1]
    for piece in pieces[1:]:
        if (piece.slopes, piece.offsets) != (merged[-1].slopes, merged[-1].offsets):
            merged.append(piece)
    return merged


def _through_linear(piece: Piece, weight: list[list[Fraction]], bias: list[Fraction]) -> Piece:
    def combined(values: tuple[Fraction, ...]) -> list[Fraction]:
        return [sum((w * v for w, v in zip(row, values, strict=True)), Fraction(0)) for row in weight]

    offsets = (value + b for value, b in zip(combined(piece.offsets), bias, strict=True))
    return Piece(piece.start, tuple(combined(piece.slopes)), tuple(offsets))


def _through_relu(piece: Piece, end: Fraction | float) -> list[Piece]:
    lines = list(zip(piece.slopes, piece.offsets, strict=True))
    zeros = {-offset / slope for slope, offset in lines if slope}
    starts = [piece.start, *sorted(zero for zero in zeros if piece.start < zero < end)]
    parts = []
    for start, stop in zip(starts, [*starts[1:], end], strict=True):
        inside = _between(start, stop)
        active = [slope * inside + offset > 0 for slope, offset in lines]
        slopes = (slope if on else Fraction(0) for slope, on in zip(piece.slopes, active, strict=True))
        offsets = (offset if on else Fraction(0) for offset, on in zip(piece.offsets, active, strict=True))
        parts.append(Piece(start, tuple(slopes), tuple(offsets)))
    return parts


def _between(start: Fraction | float, stop: Fraction | float) -> Fraction:
    """A place within a stretch, which may be without an end."""
    if start == -np.inf:
        return Fraction(0) if stop == np.inf else Fraction(stop) - 1
    return Fraction(start) + 1 if stop == np.inf else (Fraction(start) + Fraction(stop)) / 2


def count_pieces(
    network: nn.Sequential, low: Fraction | float = -np.inf, high: Fraction | float = np.inf
) -> int:
    """Count the pieces of ``linear_pieces``.

    Examples
    --------
    >>> count_pieces(tent_network(5), 0, 1)
    32
    """
    return len(linear_pieces(network, low, high))


def tent_network(depth: int) -> nn.Sequential:
    """Compose the tent map t(x) = 2 max(0, x) − 4 max(0, x − ½) with itself, two ReLUs a layer.

    Parameters
    ----------
    depth : int
        L: hidden layers, and times that the map is applied.

    Returns
    -------
    Sequential

    Examples
    --------
    >>> tent_network(2)(np.array([[0.0], [0.25], [0.5], [0.75], [1.0]]))[:, 0].tolist()
    [0.0, 1.0, 0.0, 1.0, 0.0]
    """
    layers: list[nn.Module] = []
    for number in range(depth):
        first = number == 0
        weight = [[1.0], [1.0]] if first else [[2.0, -4.0], [2.0, -4.0]]
        layers += [_linear(weight, [0.0, -0.5]), nn.ReLU()]
    return nn.Sequential(*layers, _linear([[2.0, -4.0]], [0.0]))


def shallow_tent(depth: int) -> nn.Sequential:
    """Build the same function on [0, 1] with one hidden layer, of a unit for each of its 2^L pieces.

    Parameters
    ----------
    depth : int
        L.

    Returns
    -------
    Sequential

    Examples
    --------
    >>> shallow_tent(2)(np.array([[0.0], [0.25], [0.5], [0.75], [1.0]]))[:, 0].tolist()
    [0.0, 1.0, 0.0, 1.0, 0.0]
    """
    units = 2**depth
    kinks = np.arange(units) / units
    slopes = np.where(np.arange(units) % 2, -2.0, 2.0) * units
    slopes[0] = units
    return nn.Sequential(
        _linear(np.ones((units, 1)), -kinks), nn.ReLU(), _linear(slopes[None, :], np.zeros(1))
    )


def _linear(weight: object, bias: object) -> nn.Linear:
    rows = np.asarray(weight)
    layer = nn.Linear(rows.shape[1], rows.shape[0], dtype=np.float64)
    layer.weight, layer.bias = rows, bias
    return layer


def random_network(depth: int, width: int, seed: int) -> nn.Sequential:
    """Draw a ReLU network of one input and one output: He's weights, equation (9), and normal biases.

    Parameters
    ----------
    depth : int
        Hidden layers.
    width : int
    seed : int

    Returns
    -------
    Sequential
        Its numbers are rounded to multiples of 2⁻¹⁰, which keeps exact arithmetic fast.

    Examples
    --------
    >>> len(random_network(2, 4, seed=0))
    5
    """
    random = np.random.default_rng(seed)
    widths = [1, *[width] * depth, 1]
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        weight = random.normal(0, np.sqrt(2 / n_in), (n_out, n_in))
        bias = random.normal(0, 1, n_out)
        layers += [_linear(np.round(weight * 1024) / 1024, np.round(bias * 1024) / 1024), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def pieces_by_width(widths: tuple[int, ...], seeds: int) -> list[PieceCounts]:
    """Count the pieces of random networks of one hidden layer.

    Parameters
    ----------
    widths : tuple of int
    seeds : int

    Returns
    -------
    list of PieceCounts

    Examples
    --------
    >>> found = pieces_by_width((3,), seeds=4)[0]
    >>> int(found.counts.max()) <= 4
    True
    """
    return [_counts(1, width, seeds) for width in widths]


def pieces_by_depth(width: int, depths: tuple[int, ...], seeds: int) -> list[PieceCounts]:
    """Count the pieces of random networks with more and more layers of one width.

    Parameters
    ----------
    width : int
    depths : tuple of int
    seeds : int

    Returns
    -------
    list of PieceCounts

    Examples
    --------
    >>> [(one.depth, one.width) for one in pieces_by_depth(3, (1, 2), seeds=1)]
    [(1, 3), (2, 3)]
    """
    return [_counts(depth, width, seeds) for depth in depths]


def _counts(depth: int, width: int, seeds: int) -> PieceCounts:
    counts = [count_pieces(random_network(depth, width, seed)) for seed in range(seeds)]
    return PieceCounts(depth, width, np.array(counts))
