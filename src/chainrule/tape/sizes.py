"""Shapes as PyTorch's functions take them."""

import numpy as np

__all__ = ["as_sizes"]


def as_sizes(sizes: tuple) -> tuple:
    """Sizes given one by one, or as one sequence.

    Examples
    --------
    >>> as_sizes((2, 3)), as_sizes(([2, 3],))
    ((2, 3), (2, 3))
    """
    return tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int | np.integer) else sizes
