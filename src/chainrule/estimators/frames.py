"""Tables of any library as pandas data frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

__all__ = ["as_column", "as_frame", "has_names"]


def as_frame(X: Any, name: str = "X") -> pd.DataFrame:
    """A table as a pandas data frame.

    Parameters
    ----------
    X : pandas, polars or other data frame, pyarrow Table, or array-like of shape (n_rows, n_columns)
        Of an array the columns are named x0, x1, ...
    name : str
        What errors call it.

    Raises
    ------
    TypeError
        If it is a sparse matrix.
    ValueError
        If it has another number of dimensions, or complex numbers.

    Examples
    --------
    >>> as_frame([[1, "a"], [2, "b"]])
      x0 x1
    0  1  a
    1  2  b
    """
    if isinstance(X, pd.DataFrame):
        return X
    if sparse.issparse(X):
        raise TypeError(
            f"{name} is a sparse matrix, and a table of columns is expected: give {name}.toarray(), or use "
            "an estimator of arrays such as MLPClassifier"
        )
    if hasattr(X, "collect_schema") and hasattr(X, "collect"):  # polars, not computed yet
        X = X.collect()
    if hasattr(X, "to_pandas"):  # pyarrow
        return _from_polars(X) if hasattr(X, "get_columns") else X.to_pandas()
    array = X if isinstance(X, np.ndarray) else _array_of(X)
    if array.ndim != 2:
        raise ValueError(
            f"{name} must have two dimensions, one row an example; got shape {array.shape}. Reshape your "
            "data either using array.reshape(-1, 1) if it has a single feature or array.reshape(1, -1) if it "
            "contains a single sample."
        )
    if array.dtype.kind == "c":
        raise ValueError(f"{name}: Complex data not supported")
    frame = pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])])
    return frame.infer_objects() if array.dtype == object else frame


def has_names(X: Any) -> bool:
    """Whether the columns have names of their own, by which they are found; those of an array have places."""
    return isinstance(X, pd.DataFrame) or hasattr(X, "to_pandas") or hasattr(X, "collect_schema")


def _array_of(X: Any) -> np.ndarray:
    """Rows as an array; of several types they stay what they are."""
    array = np.asarray(X)
    return np.array(X, dtype=object) if array.dtype.kind in "US" else array


def _from_polars(X: Any) -> pd.DataFrame:
    """Column by column, which needs no pyarrow."""
    return pd.DataFrame({column.name: _from_polars_column(column) for column in X.get_columns()})


def _from_polars_column(column: Any) -> Any:
    if column.dtype.is_numeric() or column.dtype.is_temporal():
        return column.to_numpy()
    return np.array(column.to_list(), dtype=object)


def as_column(y: Any) -> Any:
    """Targets of any library as pandas or NumPy has them."""
    if isinstance(y, pd.Series | pd.DataFrame | np.ndarray):
        return y
    if hasattr(y, "to_list") and hasattr(y, "to_numpy"):  # polars
        return np.array(y.to_list())
    if hasattr(y, "to_pandas"):
        return y.to_pandas()
    return y
