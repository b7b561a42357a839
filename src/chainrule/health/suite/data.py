"""The data sets of the benchmark: small ones, which scikit-learn ships or makes.

Each is split once, by a fixed seed, and standardised by what the rows to learn from say, as a careful person
would. The columns as they came are kept too: leaving them so is one of the faults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from sklearn import datasets

__all__ = ["NAMES", "Data", "load"]

Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Data:
    """Rows to learn from and rows to measure on.

    Attributes
    ----------
    name : str
    train, validation : (X, y)
        X float32 with columns of mean 0 and standard deviation 1 on the rows to learn from; y int64 class
        indices (n,), or float32 numbers (n, k), standardised too unless they are counts.
    raw : pair of arrays
        X of the rows to learn from and to measure on, as it came.
    n_outputs : int
        Classes, or columns of numbers.
    """

    name: str
    train: Arrays
    validation: Arrays
    raw: Arrays
    n_outputs: int

    @property
    def classify(self) -> bool:
        """Whether the targets are classes."""
        return self.train[1].ndim == 1

    @property
    def n_inputs(self) -> int:
        """Columns of X."""
        return int(self.train[0].shape[1])


def standardised(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Columns shifted and scaled to mean 0 and standard deviation 1 of ``by``; a constant one is shifted."""
    deviation = by.std(axis=0)
    scaled: np.ndarray = (values - by.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return scaled.astype(np.float32)


# -------------------------------------------------------------------------------------------- classification


def _digits() -> Arrays:
    return datasets.load_digits(return_X_y=True)


def _digits_odd() -> Arrays:
    X, y = _digits()
    return X, y % 2


def _digits_noisy() -> Arrays:
    """One label in five is drawn anew, of the rows to learn from alone: see ``load``."""
    return _digits()


def _digits_half() -> Arrays:
    """The first five digits."""
    X, y = _digits()
    return X[y < 5], y[y < 5]


def _digits_rare() -> Arrays:
    """One digit against the others, in 25 to one: what is rare can be told apart well."""
    X, y = _digits()
    random = np.random.default_rng(8)
    rare = random.permutation(np.flatnonzero(y == 0))[:72]
    rows = np.concatenate([np.flatnonzero(y != 0), rare])
    return X[rows], (y[rows] == 0).astype(np.int64)


def _cancer() -> Arrays:
    return datasets.load_breast_cancer(return_X_y=True)


def _wine() -> Arrays:
    return datasets.load_wine(return_X_y=True)


def _iris() -> Arrays:
    return datasets.load_iris(return_X_y=True)


def _moons() -> Arrays:
    return datasets.make_moons(900, noise=0.15, random_state=0)


def _circles() -> Arrays:
    return datasets.make_circles(900, noise=0.08, factor=0.5, random_state=0)


def _xor() -> Arrays:
    """The sign of a product: section 1's example, with space between the classes."""
    random = np.random.default_rng(3)
    X = random.uniform(-1, 1, (900, 2))
    return X, (X[:, 0] * X[:, 1] > 0).astype(np.int64)


def _spirals() -> Arrays:
    """Two arms, wound around each other."""
    random = np.random.default_rng(4)
    turn = np.sqrt(random.uniform(0.02, 1, 1000)) * 2.5 * np.pi
    y = random.integers(0, 2, 1000)
    arm = np.stack([np.cos(turn + np.pi * y), np.sin(turn + np.pi * y)], axis=1)
    return turn[:, None] * arm + random.normal(0, 0.3, (1000, 2)), y


def _clusters() -> Arrays:
    return datasets.make_classification(
        1200, 20, n_informative=8, n_redundant=4, n_classes=4, n_clusters_per_class=1, class_sep=1.5,
        random_state=0,
    )  # fmt: skip


def _wide() -> Arrays:
    """More columns than rows to learn from."""
    return datasets.make_classification(
        300, 400, n_informative=30, n_redundant=0, class_sep=3.0, n_clusters_per_class=1, random_state=2
    )


def _imbalanced() -> Arrays:
    """One row in fifty is of the second class, and hard to tell by its place alone."""
    return datasets.make_classification(
        1800, 10, n_informative=6, n_redundant=0, weights=[0.96], flip_y=0, class_sep=1.0,
        n_clusters_per_class=1, random_state=5,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ regression


def _diabetes() -> Arrays:
    return datasets.load_diabetes(return_X_y=True, scaled=False)


def _friedman() -> Arrays:
    return datasets.make_friedman1(1000, noise=1.0, random_state=0)


def _plane() -> Arrays:
    """Two linear functions of ten columns."""
    return datasets.make_regression(600, 10, n_informative=6, n_targets=2, noise=10.0, random_state=0)


def _ceiling() -> Arrays:
    """A linear function under as much noise: no model gets R² far above one half."""
    X, y = datasets.make_regression(900, 8, n_informative=5, noise=0.0, random_state=1)
    return X, y + np.random.default_rng(1).normal(0, y.std(), len(y))


def _wave() -> Arrays:
    """A smooth wave on a line, as in the chapter's universal approximation."""
    random = np.random.default_rng(2)
    x = random.uniform(-1, 1, (700, 1))
    return x, np.sin(2 * np.pi * x[:, 0]) + random.normal(0, 0.1, 700)


def _product() -> Arrays:
    """The product of two columns, beside four that say nothing."""
    random = np.random.default_rng(6)
    X = random.normal(0, 1, (1000, 6))
    return X, X[:, 0] * X[:, 1] + random.normal(0, 0.1, 1000)


def _counts() -> Arrays:
    """Poisson counts whose expectation is the exponential of a smooth function."""
    random = np.random.default_rng(7)
    X = random.uniform(-1, 1, (1200, 5))
    return X, random.poisson(np.exp(1.0 + 1.2 * X[:, 0] - X[:, 1] + X[:, 2] ** 2)).astype(float)


_CLASSES: dict[str, Callable[[], Any]] = {
    "digits": _digits,
    "digits_odd": _digits_odd,
    "digits_noisy": _digits_noisy,
    "digits_half": _digits_half,
    "digits_rare": _digits_rare,
    "cancer": _cancer,
    "wine": _wine,
    "iris": _iris,
    "moons": _moons,
    "circles": _circles,
    "xor": _xor,
    "spirals": _spirals,
    "clusters": _clusters,
    "wide": _wide,
    "imbalanced": _imbalanced,
}
_NUMBERS: dict[str, Callable[[], Any]] = {
    "diabetes": _diabetes,
    "friedman": _friedman,
    "plane": _plane,
    "ceiling": _ceiling,
    "wave": _wave,
    "product": _product,
    "counts": _counts,
}
# New ones go to the end: which half of the benchmark a case is in depends on the place of its data here.
NAMES = (*_CLASSES, *_NUMBERS)
_VALIDATED = 1 / 3


@cache
def load(name: str) -> Data:
    """A data set by name, one of ``NAMES``; the arrays are shared, and read-only.

    Examples
    --------
    >>> wine = load("wine")
    >>> wine.train[0].shape, wine.validation[0].shape, wine.n_outputs
    ((119, 13), (59, 13), 3)
    """
    X, y = {**_CLASSES, **_NUMBERS}[name]()
    order = np.random.default_rng(3).permutation(len(X))
    X, y = X[order].astype(np.float64), y[order]
    n_train = len(X) - round(len(X) * _VALIDATED)
    raw = X[:n_train].astype(np.float32), X[n_train:].astype(np.float32)
    y = _targets(name, y, n_train)
    n_outputs = int(y.max()) + 1 if y.ndim == 1 else int(y.shape[1])
    scaled = standardised(X, by=X[:n_train])
    for array in (scaled, y, *raw):
        array.flags.writeable = False
    return Data(name, (scaled[:n_train], y[:n_train]), (scaled[n_train:], y[n_train:]), raw, n_outputs)


def _targets(name: str, y: np.ndarray, n_train: int) -> np.ndarray:
    if name in _CLASSES:
        y = y.astype(np.int64)
        if name == "digits_noisy":
            random = np.random.default_rng(20)
            noisy = random.random(n_train) < 0.2
            y[:n_train][noisy] = random.integers(0, 10, noisy.sum())
        return y
    y = y.reshape(len(y), -1).astype(np.float64)
    return y.astype(np.float32) if name == "counts" else standardised(y, by=y[:n_train])
