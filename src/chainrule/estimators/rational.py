"""Exact answers about points and planes: floats are fractions, so a proof about them needs no tolerance.

Everything here takes points as float64 and computes with whole numbers or fractions of any length.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["EPSILON", "Plane", "common_point_or_plane", "margins", "rows_below_one"]

# w and b of the plane w·x + b = 0: floats, or fractions in an array of objects.
Plane = tuple[np.ndarray, Any]

EPSILON = float(np.finfo(np.float64).eps)


def margins(X: np.ndarray, sign: np.ndarray, plane: Plane) -> list[Fraction]:
    """yᵢ(w·xᵢ + b) of each row, exactly. Everything given must be finite."""
    weight, bias = [Fraction(one) for one in plane[0].tolist()], Fraction(plane[1])
    return [
        int(y) * sum((w * Fraction(value) for w, value in zip(weight, row, strict=True)), start=bias)
        for row, y in zip(X.tolist(), sign, strict=True)
    ]


def rows_below_one(X: np.ndarray, sign: np.ndarray, plane: Plane) -> np.ndarray:
    """Numbers of the rows with yᵢ(w·xᵢ + b) < 1, exactly.

    A float plane is tried in floating point first. A sum of d + 1 products is off by at most
    (d + 1)·ε·Σ|terms| (Higham 2002, equation 3.4), or, where products underflow, by less than ε. That decides
    most rows; the others are computed in fractions. Of a plane that is not finite, all rows are below.
    """
    weight, bias = plane
    below, unsure = np.zeros(len(X), dtype=bool), np.ones(len(X), dtype=bool)
    if weight.dtype != object:
        if not (np.isfinite(weight).all() and np.isfinite(bias)):
            return np.arange(len(X))
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            value = sign * (X @ weight + bias)
            error = (X.shape[1] + 8) * EPSILON * (np.abs(X) @ np.abs(weight) + abs(bias) + 1)
            below = value + error < 1
            unsure = ~below & ~(value - error >= 1)
    below[unsure] = [margin < 1 for margin in margins(X[unsure], sign[unsure], plane)]
    return np.flatnonzero(below)


def common_point_or_plane(X: np.ndarray, sign: np.ndarray) -> tuple[list[Fraction] | None, Plane | None]:
    """A point common to the convex hulls of the two classes, or a plane between them: one of the two exists.

    The first phase of the simplex method on

        λ ≥ 0,  Σ₊ λᵢ = 1,  Σ₋ λᵢ = 1,  Σ₊ λᵢ xᵢ = Σ₋ λᵢ xᵢ

    with Bland's rule, which cannot cycle, on a tableau of whole numbers (Edmonds 1967; Bareiss 1968): its
    entries are determinants over a common denominator, the last pivot, so each division leaves no remainder.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    sign : ndarray of shape (n,)
        +1 or −1, both of which must be there.

    Returns
    -------
    combination : list of Fraction or None
        λ.
    plane : (ndarray of Fraction, Fraction) or None
        With yᵢ(w·xᵢ + b) ≥ 2 on every row.
    """
    n, d = X.shape
    points, scale = _as_integers(X)
    columns = np.vstack([(points * sign.astype(int).astype(object)[:, None]).T, sign > 0, sign < 0])
    columns = np.array(columns.tolist(), dtype=object).reshape(d + 2, n) + 0  # True becomes 1
    right = np.array([0] * d + [1, 1], dtype=object)
    identity = np.array(np.eye(d + 2, dtype=int).tolist(), dtype=object)
    tableau = np.column_stack([columns, identity, right])
    # Cost 1 for each artificial variable, reduced by the basis, which is all of them.
    cost = -tableau.sum(axis=0)
    cost[n:-1] = 0
    tableau, basis, denominator = _minimise(np.vstack([tableau, cost]), n)
    if tableau[-1, -1] == 0:
        combination = [Fraction(0)] * n
        for row, column in enumerate(basis):
            if column < n:
                combination[column] = Fraction(tableau[row, -1], denominator)
        return combination, None
    # The dual: u·column ≤ 0 for every point, and u·right > 0. So w = −u parts the classes.
    dual = [1 - Fraction(value, denominator) for value in tableau[-1, n:-1]]
    *normal, positive, negative = dual
    stretch = Fraction(4) / (positive + negative)
    weight = np.array([-u * s * stretch for u, s in zip(normal, scale, strict=True)], dtype=object)
    return None, (weight, (negative - positive) / 2 * stretch)


def _as_integers(X: np.ndarray) -> tuple[np.ndarray, list[Fraction]]:
    """X, each column multiplied by what makes it whole numbers without a common divisor."""
    columns, scale = [], []
    for column in X.T.tolist():
        fractions = [Fraction(value) for value in column]
        denominator = max(one.denominator for one in fractions)  # all of them are powers of two
        whole = [int(one * denominator) for one in fractions]
        divisor = math.gcd(*whole) or 1
        columns.append([one // divisor for one in whole])
        scale.append(Fraction(denominator, divisor))
    return np.array(columns, dtype=object).reshape(X.shape[::-1]).T, scale


def _minimise(tableau: np.ndarray, n: int) -> tuple[np.ndarray, list[int], int]:
    """Pivot until no cost among the first n columns is negative, or the objective is 0."""
    basis = list(range(n, n + len(tableau) - 1))
    denominator = 1
    while tableau[-1, -1] != 0:
        entering = next((j for j in range(n) if tableau[-1, j] < 0), None)
        if entering is None:
            break
        column = tableau[:, entering]  # an array of Python's own whole numbers, as NumPy's would overflow
        rows = [i for i in range(len(basis)) if column[i] > 0]
        leaving = min(
            rows,
            key=lambda i: (Fraction(int(tableau[i, -1]), int(column[i])), basis[i]),
        )
        pivot_row, pivot = tableau[leaving].copy(), column[leaving]
        tableau = (pivot * tableau - np.multiply.outer(column, pivot_row)) // denominator
        tableau[leaving] = pivot_row
        basis[leaving], denominator = entering, pivot
    return tableau, basis, denominator
