"""Numbers and dates as the inputs of a network: robust, of about unit size, and nothing lost.

Both transformers learn on float64 columns in which NaN is a gap, and are taken apart into plain numbers
(``learned``) for a model's file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

__all__ = ["DateParts", "RobustNumbers", "check_learned", "middle_ranks", "smoothly_clipped"]

# Quartiles of the normal distribution lie 1/0.7413 standard deviations apart.
_QUARTILES_TO_DEVIATION = 0.7413
# How skewed a column must be, after clipping, for its ranks to be given too.
_SKEWNESS = 0.5
# How many points a column's ranks are interpolated between.
_KNOTS = 100
# Uniform numbers in [-√3, √3] have variance 1.
_UNIFORM = float(np.sqrt(3.0))

_SECONDS_A_DAY = 86_400.0
# The cycles of a date: the period in days, and over how many days dates must reach to show it.
CYCLES: dict[str, tuple[float, float]] = {"day": (1.0, 0.0), "week": (7.0, 2.0), "year": (365.2425, 60.0)}


class _Columns(TransformerMixin, BaseEstimator, ABC):
    """One description of plain values for each column, in ``learned``."""

    learned: dict[str, dict[str, Any]]

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Learn from the columns, float64 with NaN for a gap."""
        self.learned = {name: self._learn(X[name].to_numpy()) for name in X.columns}
        return self

    @classmethod
    def of(cls, learned: Mapping[str, dict[str, Any]]) -> Self:
        """The fitted transformer that learned this."""
        made = cls()
        made.learned = dict(learned)
        return made

    def transform(self, X: pd.DataFrame) -> np.ndarray:
        """The columns as the network takes them: (n_rows, len(feature names))."""
        parts = [self._parts(X[name].to_numpy(), known) for name, known in self.learned.items()]
        return np.column_stack([part for each in parts for part in each])

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """The name of each column of the output."""
        names = [f"{name}{part}" for name, known in self.learned.items() for part in self._names(known)]
        return np.asarray(names, dtype=object)

    @abstractmethod
    def _learn(self, values: np.ndarray) -> dict[str, Any]:
        """What there is to know of a column."""

    @abstractmethod
    def _parts(self, values: np.ndarray, known: dict[str, Any]) -> list[np.ndarray]:
        """The inputs that a column becomes."""

    @abstractmethod
    def _names(self, known: dict[str, Any]) -> list[str]:
        """What each of them is called, after the column's name."""


def _centre_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Median, and the standard deviation that the quartiles say; where they agree, the deviation itself."""
    low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
    scale = (high - low) * _QUARTILES_TO_DEVIATION
    if not scale > 0:
        scale = values.std()
    return float(centre), float(scale) if scale > 0 else 1.0


def smoothly_clipped(z: np.ndarray) -> np.ndarray:
    """z / √(1 + (z/3)²): z where it is small, and never beyond ±3 (Holzmüller et al. 2024)."""
    return z / np.hypot(1.0, z / 3.0)


class RobustNumbers(_Columns):
    """Numbers about their median, in units of their quartiles, outliers clipped smoothly.

    - z = (x − median) / scale, then z / √(1 + (z/3)²): an outlier stays the largest and moves nothing else.
    - A column that is still skewed after that also gives its rank, from −√3 to √3 as a uniform variable of
      variance 1 lies: a network tells a thousand from a million by it.
    - A gap becomes the median; where there were gaps in ``fit``, one more column says which rows have one.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"mass": [1.0, 2.0, 3.0, float("nan"), 1e9]})
    >>> numbers = RobustNumbers().fit(frame)
    >>> list(numbers.get_feature_names_out())
    ['mass', 'mass rank', 'mass missing']
    >>> numbers.transform(frame).round(2)
    array([[-0.  , -1.3 ,  0.  ],
           [-0.  , -0.43,  0.  ],
           [ 0.  ,  0.43,  0.  ],
           [ 0.  ,  0.  ,  1.  ],
           [ 2.62,  1.3 ,  0.  ]])
    """

    def _learn(self, values: np.ndarray) -> dict[str, Any]:
        gaps = np.isnan(values)
        values = values[~gaps]
        centre, scale = _centre_and_scale(values)
        known: dict[str, Any] = {"centre": centre, "scale": scale, "missing": bool(gaps.any())}
        z = smoothly_clipped((values - centre) / scale)
        z = z - z.mean()
        spread = z.std()
        is_skewed = spread > 0 and abs((z**3).mean()) > _SKEWNESS * spread**3
        known["knots"], known["ranks"] = _ranks(values) if is_skewed else ([], [])
        return known

    def _parts(self, values: np.ndarray, known: dict[str, Any]) -> list[np.ndarray]:
        gaps = np.isnan(values)
        values = np.where(gaps, known["centre"], values)
        parts = [smoothly_clipped((values - known["centre"]) / known["scale"])]
        if known["knots"]:
            parts.append(np.interp(values, known["knots"], known["ranks"]))
        if known["missing"]:
            parts.append(gaps.astype(np.float64))
        return parts

    def _names(self, known: dict[str, Any]) -> list[str]:
        return ["", *([" rank"] if known["knots"] else []), *([" missing"] if known["missing"] else [])]


def _ranks(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Points to interpolate a column's ranks between: some of its different values, and their mid-ranks."""
    ordered = np.sort(values)
    knots = np.unique(ordered)
    if len(knots) > _KNOTS:
        knots = np.unique(np.quantile(knots, np.linspace(0, 1, _KNOTS), method="nearest"))
    return knots.tolist(), (_UNIFORM * (2 * middle_ranks(knots, ordered) / len(ordered) - 1)).tolist()


def middle_ranks(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """How many of the ordered numbers lie below each value, those equal to it counted half.

    Examples
    --------
    >>> middle_ranks(np.array([1.0, 2.0, 5.0]), np.array([1.0, 2.0, 2.0, 3.0]))
    array([0.5, 2. , 4. ])
    """
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


class DateParts(_Columns):
    """Dates, in seconds since 1970, as the time that has gone by and the place in the day, week and year.

    The time gone by is scaled as a number is (``RobustNumbers``). A cycle that the dates show is given by
    sine and cosine of once and twice its angle, so that December lies beside January. A gap is zero
    everywhere; where there were gaps in ``fit``, one more column says which rows have one.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.DataFrame({"sold": 86400.0 * np.arange(10)})
    >>> DateParts().fit(days).get_feature_names_out().tolist()
    ['sold', 'sold week sin 1', 'sold week cos 1', 'sold week sin 2', 'sold week cos 2']
    """

    def _learn(self, values: np.ndarray) -> dict[str, Any]:
        gaps = np.isnan(values)
        days = values[~gaps] / _SECONDS_A_DAY
        centre, scale = _centre_and_scale(days)
        reach = float(np.ptp(days))
        cycles = [
            name
            for name, (period, needed) in CYCLES.items()
            if reach > needed and np.ptp(days % period) > 1e-3 * period
        ]
        return {"centre": centre, "scale": scale, "missing": bool(gaps.any()), "cycles": cycles}

    def _parts(self, values: np.ndarray, known: dict[str, Any]) -> list[np.ndarray]:
        gaps = np.isnan(values)
        days = np.where(gaps, known["centre"], values / _SECONDS_A_DAY)
        parts = [smoothly_clipped((days - known["centre"]) / known["scale"])]
        for name in known["cycles"]:
            angle = 2 * np.pi * days / CYCLES[name][0]
            parts += [np.where(gaps, 0.0, wave(k * angle)) for k in (1, 2) for wave in (np.sin, np.cos)]
        if known["missing"]:
            parts.append(gaps.astype(np.float64))
        return parts

    def _names(self, known: dict[str, Any]) -> list[str]:
        names = [""]
        for name in known["cycles"]:
            names += [f" {name} {wave} {k}" for k in (1, 2) for wave in ("sin", "cos")]
        return names + ([" missing"] if known["missing"] else [])


def check_learned(kind: str, known: Mapping[str, Any], is_number: Any) -> str | None:
    """The field of a described column of numbers or dates that is wrong, None where all is well."""
    lists: Sequence[str] = ("knots", "ranks") if kind == "numeric" else ()
    for field in ("centre", "scale"):
        if not is_number(known.get(field)):
            return field
    if not known["scale"] > 0:
        return "scale"
    if not isinstance(known.get("missing"), bool):
        return "missing"
    for field in lists:
        if not isinstance(known.get(field), list) or not all(map(is_number, known[field])):
            return field
    if kind == "numeric":
        knots = known["knots"]
        if len(knots) != len(known["ranks"]) or any(a >= b for a, b in pairwise(knots)):
            return "knots"
        return None
    cycles = known.get("cycles")
    good = isinstance(cycles, list) and all(isinstance(one, str) and one in CYCLES for one in cycles)
    return None if good else "cycles"
