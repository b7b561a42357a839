"""The digits that several experiments learn, half of them held out."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

__all__ = ["digits_in_halves"]


def digits_in_halves() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 digits, each pixel about standardised.

    Returns
    -------
    X : ndarray of shape (1797, 64)
    y : ndarray of shape (1797,)
    training, held_out : ndarray of int
        Every second row, and those between them.

    Examples
    --------
    >>> X, y, training, held_out = digits_in_halves()
    >>> X.shape, len(training), len(held_out)
    ((1797, 64), 899, 898)
    """
    X, y = load_digits(return_X_y=True)
    # The 0.1 keeps the pixels that hardly vary from being blown up.
    X = ((X - X.mean(axis=0)) / (X.std(axis=0) + 0.1)).astype(np.float32)
    return X, y, np.arange(0, len(X), 2), np.arange(1, len(X), 2)
