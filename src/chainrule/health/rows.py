"""Jacobians of a function that computes each row by itself: one matrix a row, all rows at once."""

from collections.abc import Callable, Iterator

import numpy as np

from chainrule.health.differentiable import Linearization
from chainrule.health.lanczos import SingularValues, golub_kahan

__all__ = ["RowJacobians"]

Linearize = Callable[[np.ndarray], Linearization]

# Rows in a pass: each row is there as many times as there are unit vectors multiplied at once.
_ROWS_AT_ONCE = 512


class RowJacobians:
    """n matrices J of shape (rows, columns), known by their products.

    Parameters
    ----------
    linearize : callable
        Gives the function's `Linearization` at any number of rows.
    x : ndarray of shape (n, ...)
        Where.
    value : ndarray of shape (n, ...)
        The function's value there.

    Examples
    --------
    >>> from chainrule import nn
    >>> from chainrule.health import Differentiable
    >>> model, x = Differentiable(nn.ReLU()), np.array([[1.0, -2.0], [3.0, 4.0]])
    >>> RowJacobians(model.linearized, x, model.outputs(x)).build().tolist()
    [[[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]]
    """

    def __init__(self, linearize: Linearize, x: np.ndarray, value: np.ndarray) -> None:
        self.linearize = linearize
        self.x = x
        self.shape = len(x), value.size // len(x), x.size // len(x)

    @property
    def smaller_side(self) -> int:
        """Of each matrix; it has as many singular values."""
        return min(self.shape[1:])

    def part(self, rows: slice) -> "RowJacobians":
        """Some of the matrices."""
        x = self.x[rows]
        return RowJacobians(self.linearize, x, np.empty((len(x), self.shape[1])))

    def build(self) -> np.ndarray:
        """The matrices themselves, (n, rows, columns)."""
        J = np.empty(self.shape)
        for place, block in self._blocks():
            J[place] = block
        return J

    def squared_norm(self) -> float:
        """Σ ‖J‖_F² over the n matrices, which need not fit in memory."""
        return sum(float((block**2).sum()) for _, block in self._blocks())

    def squared_norm_estimates(self, n_vectors: int, rng: np.random.Generator) -> np.ndarray:
        """Independent estimates of ``squared_norm``: E‖Jᵀu‖² for u of random signs (Hutchinson 1990)."""
        linear = self.linearize(self.x)
        signs = (rng.choice([-1.0, 1.0], linear.value.shape) for _ in range(n_vectors))
        return np.array([float((linear.vjp(u) ** 2).sum()) for u in signs])

    def singular_values(self) -> np.ndarray:
        """All of them, descending, (n, smaller side); nan for a matrix that is not finite."""
        J = self.build()
        broken = ~np.isfinite(J).all(axis=(1, 2))
        J[broken] = 0.0
        values: np.ndarray = np.linalg.svd(J, compute_uv=False)
        values[broken] = np.nan
        return values

    def leading_singular_values(self, n_values: int, rng: np.random.Generator) -> SingularValues:
        """The largest ones, by products alone."""
        linear, n = self.linearize(self.x), len(self.x)
        return golub_kahan(
            lambda v: linear.jvp(v.reshape(linear.point_shape)).reshape(n, -1),
            lambda u: linear.vjp(u.reshape(linear.value.shape)).reshape(n, -1),
            self.shape,
            n_values,
            rng,
        )

    def _blocks(self) -> Iterator[tuple[tuple, np.ndarray]]:
        """The matrices in blocks of rows, or of columns, and the place of each block.

        A product uᵀJ with a unit vector is a row of J, J v a column. Several at once are one pass over
        copies of the rows of x, which makes large matrix products of many small ones.
        """
        n, n_rows, n_columns = self.shape
        # J v is made of the gradient's own gradient, about twice a backward pass.
        by_rows = n_rows <= 2 * n_columns
        side = n_rows if by_rows else n_columns
        copies = min(side, max(1, _ROWS_AT_ONCE // n))
        linear = self.linearize(np.repeat(self.x, copies, axis=0))
        shape = linear.value.shape if by_rows else linear.point_shape
        for start in range(0, side, copies):
            here = min(copies, side - start)
            units = np.zeros((n, copies, side))
            units[:, range(here), range(start, start + here)] = 1.0
            place = slice(start, start + here)
            if by_rows:
                block = linear.vjp(units.reshape(shape)).reshape(n, copies, n_columns)[:, :here]
                yield (slice(None), place), block
            else:
                block = linear.jvp(units.reshape(shape)).reshape(n, copies, n_rows)[:, :here]
                yield (slice(None), slice(None), place), block.transpose(0, 2, 1)
