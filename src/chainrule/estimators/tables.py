"""From a data frame to the input of a network.

A network takes an array of real numbers of about unit size. A table holds numbers of any size, dates, yes/no
columns, text, and gaps. `TablePreprocessor` learns the way from one to the other on the training rows.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted

from chainrule.estimators.columns import (
    KINDS,
    Kind,
    checked_frame,
    column_kind,
    date_column,
    near_match,
    number_column,
    refuse_mixture,
    text_column,
    truth_column,
)
from chainrule.estimators.numbers import DateParts, RobustNumbers, check_learned

__all__ = ["TablePreprocessor"]

NUMBERS = ("standard", "robust")

# What describes a column of each kind, beside its name; dates and robust numbers describe themselves.
_NUMERIC_FIELDS = ("median", "mean", "variance", "scale")
_FIELDS: dict[str, tuple[str, ...]] = {
    "numeric": _NUMERIC_FIELDS,
    "date": (),
    "boolean": ("fill",),
    "categorical": ("categories",),
}
_DTYPE: dict[str, Any] = {
    "numeric": np.float64,
    "date": np.float64,
    "boolean": np.float64,
    "categorical": object,
}
# A sparse matrix is given where less than this share of it is not zero.
_SPARSE_BELOW = 0.1
# Stands for every category that is not among those kept; no text of a table holds this character.
_RARE = "\0rare"


class TablePreprocessor(TransformerMixin, BaseEstimator):
    """Turn the columns of a data frame into the real numbers that a network takes.

    - A numeric column: missing values become the column's median; then it is standardised, (x − mean) /
      standard deviation; or, robust, what `RobustNumbers` makes of it.
    - A column of dates: the time gone by and the place in the day, week and year; see `DateParts`.
    - A yes/no column: 0 or 1; missing values become the more frequent of the two.
    - A column of text, or of pandas' categorical type: one column per category, 1 where the row has that
      category and 0 elsewhere (one-hot). Missing is a category of its own. A category that was not there in
      `fit` gives a row of zeros; or counts as rare, where some were too rare to have a column of their own.
      The weights that a network's first layer has for such a column are the category's learned embedding.

    Medians, means and categories are those of the frame given to `fit`, so fit on the training rows only.
    `transform` looks columns up by name: their order does not matter and further columns are ignored.

    Parameters
    ----------
    max_categories : int, default=100
        A text column with more categories keeps its most frequent ones; the others share one column.
        `notes_` then says so.
    rare : float, default=0.0
        So do categories with a smaller share of the rows than this, where there are two of them or more.
    numbers : {"standard", "robust"}, default="standard"
        How numeric columns are scaled.
    sparse : bool, default=False
        Give a sparse matrix where most of a wide array would be zeros.

    Attributes
    ----------
    kinds_ : dict of str to {"numeric", "date", "boolean", "categorical"}
        The columns used, in the frame's order, and what each was taken for.
    notes_ : list of str
        What a user should know about how the columns were read.
    n_features_in_ : int
        Number of columns used.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"mass": [1.0, None, 3.0], "island": ["Dream", "Biscoe", None]})
    >>> table = TablePreprocessor().fit(frame)
    >>> table.feature_names_out
    ['mass', 'island=Biscoe', 'island=Dream', 'island missing']
    >>> table.transform(frame).round(3)
    array([[-1.225,  0.   ,  1.   ,  0.   ],
           [ 0.   ,  1.   ,  0.   ,  0.   ],
           [ 1.225,  0.   ,  0.   ,  1.   ]])
    """

    def __init__(
        self,
        max_categories: int = 100,
        rare: float = 0.0,
        numbers: str = "standard",
        sparse: bool = False,
    ) -> None:
        self.max_categories = max_categories
        self.rare = rare
        self.numbers = numbers
        self.sparse = sparse

    def fit(self, X: pd.DataFrame, y: object = None) -> Self:
        """Learn medians, means, scales and categories.

        Parameters
        ----------
        X : pandas.DataFrame of shape (n_rows, n_columns)
            The training rows, without the column to predict.
        y : object
            Not used; there because scikit-learn's pipelines pass it.

        Returns
        -------
        TablePreprocessor
            This object.

        Raises
        ------
        TypeError
            If `X` is not a data frame.
        ValueError
            If the table is empty, two columns have one name, a column has no value at all, holds an infinite
            value, or holds something that is neither number, date, truth value nor text.
        """
        if not isinstance(self.max_categories, int) or self.max_categories < 1:
            got = repr(self.max_categories)
            raise ValueError(f"max_categories must be a whole number of 1 or more, got {got}")
        if not 0 <= self.rare < 1:
            raise ValueError(f"rare must be a share of the rows in [0, 1), got {self.rare!r}")
        if self.numbers not in NUMBERS:
            raise ValueError(f"numbers must be one of {', '.join(map(repr, NUMBERS))}, got {self.numbers!r}")
        frame = checked_frame(X)
        if frame.shape[1] == 0:
            raise ValueError("the table has no columns to learn from")
        if len(frame) == 0:
            raise ValueError("the table has no rows to learn from")
        empty = [name for name in frame.columns if frame[name].isna().all()]
        if empty:
            raise ValueError(f"no value in any row of {_columns(empty)}: nothing to learn from, leave it out")

        for name in frame.columns:
            refuse_mixture(frame[name])
        self.notes_: list[str] = []
        self.kinds_: dict[str, Kind] = {name: column_kind(frame[name]) for name in frame.columns}
        self._with_rare: dict[str, set[str | None]] = {}
        ready = self._canonical(frame)
        categories = {name: self._categories(ready[name]) for name in self._of_kind("categorical")}
        ready = self._with_rare_named(ready)
        # Numbers of about 1e160 and more have a variance that does not fit; said below, by name.
        with np.errstate(over="ignore", invalid="ignore"):
            self._transformer = self._build(categories).fit(ready)
        for name, mean, variance in zip(self._of_kind("numeric"), *self._moments(), strict=False):
            if not (np.isfinite(mean) and np.isfinite(variance)):
                raise ValueError(f"column {name!r}: its values are too large to standardise in float64")
        self.n_features_in_ = len(self.kinds_)
        return self

    def transform(self, X: pd.DataFrame) -> Any:
        """Turn a table into an array.

        Parameters
        ----------
        X : pandas.DataFrame of shape (n_rows, any number of columns)
            Has every column that `fit` saw.

        Returns
        -------
        numpy.ndarray or scipy.sparse.csr_array of shape (n_rows, len(feature_names_out)), float64
            Without missing or infinite values.

        Raises
        ------
        TypeError
            If `X` is not a data frame.
        ValueError
            If a column is missing, or holds text or an infinite value where `fit` saw finite numbers.
        """
        check_is_fitted(self, "kinds_")
        frame = checked_frame(X)
        missing = [name for name in self.kinds_ if name not in frame.columns]
        if missing:
            hint = near_match(missing[0], frame.columns)
            raise ValueError(f"the table lacks {_columns(missing)}, seen in training{hint}")
        ready = self._with_rare_named(self._canonical(frame))
        if len(ready) == 0:
            return np.empty((0, len(self.feature_names_out)))
        with np.errstate(over="ignore"):
            array = self._transformer.transform(ready)
        if sparse.issparse(array):
            array = array.tocsr()
            overflowed = array.indices[~np.isfinite(array.data)]
        else:
            array = np.ascontiguousarray(array, dtype=np.float64)
            overflowed = np.flatnonzero(~np.isfinite(array).all(axis=0))
        if len(overflowed):
            name = self.feature_names_out[int(overflowed[0])]
            raise ValueError(f"column {name!r}: its values are too large beside those seen in training")
        return array

    @property
    def feature_names_out(self) -> list[str]:
        """The name of each column of the array that `transform` returns."""
        check_is_fitted(self, "kinds_")
        names: list[str] = []
        for kind in ("numeric", "date"):
            describes = self._describing(kind)
            names += self._of_kind(kind) if describes is None else describes.get_feature_names_out().tolist()
        names += self._of_kind("boolean")
        endings = {None: " missing", _RARE: " rare"}
        for name, categories in self._learned_categories().items():
            names += [f"{name}{endings.get(text, f'={text}')}" for text in categories]
        return names

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """The same names in the form that scikit-learn's pipelines ask for.

        Parameters
        ----------
        input_features : object
            Not used; there because pipelines pass it.

        Returns
        -------
        numpy.ndarray of str objects
        """
        return np.asarray(self.feature_names_out, dtype=object)

    def to_dict(self) -> dict[str, Any]:
        """Everything learned, as JSON can hold it.

        Returns
        -------
        dict
            For each column its name and kind; for a numeric one the median, mean, variance and scale (or what
            `RobustNumbers` learned), for a yes/no one the value that replaces a gap, for text the categories
            (None is the missing one) and whether rare ones share a column.

        Examples
        --------
        >>> import pandas as pd
        >>> table = TablePreprocessor().fit(pd.DataFrame({"ok": [True, True, False]}))
        >>> table.to_dict()
        {'max_categories': 100, 'rare': 0.0, 'numbers': 'standard', 'sparse': False,
         'columns': [{'name': 'ok', 'kind': 'boolean', 'fill': 1.0}]}
        """
        check_is_fitted(self, "kinds_")
        learned: dict[str, dict[str, Any]] = {}
        for name, categories in self._learned_categories().items():
            has_rare = name in self._with_rare
            learned[name] = {"categories": categories[:-1] if has_rare else categories, "rare": has_rare}
        for kind in ("numeric", "date"):
            if describes := self._describing(kind):
                learned |= describes.learned
        if (numeric := self._of_kind("numeric")) and self.numbers == "standard":
            imputer, scaler = self._numeric_steps()
            moments = zip(imputer.statistics_, scaler.mean_, scaler.var_, scaler.scale_, strict=True)
            for name, numbers in zip(numeric, moments, strict=True):
                learned[name] = dict(zip(_NUMERIC_FIELDS, map(float, numbers), strict=True))
        if boolean := self._of_kind("boolean"):
            fills = self._transformer.named_transformers_["boolean"].statistics_
            for name, fill in zip(boolean, fills, strict=True):
                learned[name] = {"fill": float(fill)}
        columns = [{"name": name, "kind": kind, **learned[name]} for name, kind in self.kinds_.items()]
        settings = {name: getattr(self, name) for name in ("max_categories", "rare", "numbers", "sparse")}
        return {**settings, "columns": columns}

    @classmethod
    def from_dict(cls, description: dict[str, Any]) -> Self:
        """The fitted preprocessor that `to_dict` described; its transform gives the same bits.

        Parameters
        ----------
        description : dict
            From `to_dict`, directly or by way of JSON.

        Returns
        -------
        TablePreprocessor

        Raises
        ------
        ValueError
            If the description is not one that `to_dict` writes.
        """
        columns, settings = _checked_description(description)
        table = cls(**settings)
        table.notes_ = []
        table.kinds_ = {column["name"]: column["kind"] for column in columns}
        table.n_features_in_ = len(columns)
        of = {kind: [column for column in columns if column["kind"] == kind] for kind in KINDS}

        # scikit-learn's objects are fitted on one row, the witness, made so that they learn what is
        # described: the median of one number is that number, and the categories are given. Only mean and
        # scale need more than one row to be learned, so they are set afterwards.
        standard = of["numeric"] if table.numbers == "standard" else []
        witness: dict[str, Any] = {
            column["name"]: [0.0] for kind in ("numeric", "date") for column in of[kind]
        }
        witness |= {column["name"]: [column["median"]] for column in standard}
        witness |= {column["name"]: [column["fill"]] for column in of["boolean"]}
        witness |= {column["name"]: [column["categories"][0]] for column in of["categorical"]}
        frame = table._typed(witness)
        rare = [column for column in of["categorical"] if column.get("rare")]
        table._with_rare = {column["name"]: set(column["categories"]) for column in rare}
        categories = {column["name"]: column["categories"] for column in of["categorical"]}
        table._transformer = table._build(categories).fit(frame)
        for kind in ("numeric", "date"):
            if describes := table._describing(kind):
                describes.learned = {column["name"]: column for column in of[kind]}
        if standard:
            _, scaler = table._numeric_steps()
            for attribute, field in (("mean_", "mean"), ("var_", "variance"), ("scale_", "scale")):
                setattr(scaler, attribute, np.array([column[field] for column in standard]))
        return table

    def _of_kind(self, kind: Kind) -> list[str]:
        return [name for name, its_kind in self.kinds_.items() if its_kind == kind]

    def _canonical(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The columns used, each as the one type of its kind: float64, or text with None for missing."""
        read: dict[Kind, Any] = {
            "numeric": number_column,
            "date": date_column,
            "boolean": truth_column,
            "categorical": text_column,
        }
        columns = {name: read[kind](frame[name]) for name, kind in self.kinds_.items()}
        return self._typed(columns)

    def _with_rare_named(self, ready: pd.DataFrame) -> pd.DataFrame:
        """The frame with the rare categories of a column as one."""
        named = {
            name: pd.Series([text if text in kept else _RARE for text in ready[name]], ready.index, object)
            for name, kept in self._with_rare.items()
        }
        return ready.assign(**named) if named else ready

    def _typed(self, columns: Mapping[str, Any]) -> pd.DataFrame:
        return pd.DataFrame(
            {name: pd.Series(columns[name], dtype=_DTYPE[kind]) for name, kind in self.kinds_.items()}
        )

    def _categories(self, column: pd.Series) -> list[str | None]:
        """The categories of a text column in alphabetical order, missing last, at most `max_categories`.

        Missing is among them only if it was seen: a column of zeros would leave its weights untrained, and
        the first gap met later would then be multiplied by the numbers the weights started from.
        """
        counts = Counter(column)
        most_frequent = sorted(counts, key=lambda text: (-counts[text], text is None, text or ""))
        often = [text for text in most_frequent if counts[text] >= self.rare * len(column)]
        if len(often) == len(counts) - 1:
            often = most_frequent  # one rare category by itself is no group
        kept = (often or most_frequent[:1])[: self.max_categories]
        if len(kept) < len(counts):
            self.notes_.append(
                f"column {column.name!r} has {len(counts)} different values; "
                f"the {len(kept)} most frequent are used, the others count as one"
            )
            self._with_rare[str(column.name)] = set(kept)
        return sorted(kept, key=lambda text: (text is None, text or ""))

    def _build(self, categories: dict[str, list[str | None]]) -> ColumnTransformer:
        """scikit-learn's transformers for the columns of each kind, not fitted yet."""
        numeric: Any = RobustNumbers()
        if self.numbers == "standard":
            imputer = SimpleImputer(strategy="median")
            numeric = Pipeline([("impute", imputer), ("standardise", StandardScaler())])
        boolean = SimpleImputer(strategy="most_frequent")
        one_hot = OneHotEncoder(
            categories=[
                np.array([*values, _RARE] if name in self._with_rare else values, dtype=object)
                for name, values in categories.items()
            ],
            handle_unknown="ignore",
            sparse_output=self.sparse,
        )
        steps = zip(KINDS, (numeric, DateParts(), boolean, one_hot), strict=True)
        return ColumnTransformer(
            [(kind, step, self._of_kind(kind)) for kind, step in steps if self._of_kind(kind)],
            sparse_threshold=_SPARSE_BELOW if self.sparse else 0,
        )

    def _describing(self, kind: Kind) -> Any:
        """The transformer of numbers or dates, where it is one that describes what it has learned."""
        if not self._of_kind(kind) or (kind == "numeric" and self.numbers == "standard"):
            return None
        return self._transformer.named_transformers_[kind]

    def _numeric_steps(self) -> tuple[SimpleImputer, StandardScaler]:
        steps = self._transformer.named_transformers_["numeric"].named_steps
        return steps["impute"], steps["standardise"]

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        if not self._of_kind("numeric") or self.numbers != "standard":
            return np.empty(0), np.empty(0)
        _, scaler = self._numeric_steps()
        return scaler.mean_, scaler.var_

    def _learned_categories(self) -> dict[str, list[str | None]]:
        names = self._of_kind("categorical")
        if not names:
            return {}
        learned = self._transformer.named_transformers_["categorical"].categories_
        return {name: list(values) for name, values in zip(names, learned, strict=True)}


# ----------------------------------------------------------------------------------- checks and messages


def _checked_description(description: object) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The columns and the settings of what `to_dict` wrote, or a ValueError that says what is wrong."""
    if not isinstance(description, dict) or not isinstance(description.get("columns"), list):
        raise ValueError("a table's description must be a dict with a list of columns")
    numbers, is_sparse = description.get("numbers", "standard"), description.get("sparse", False)
    rare = description.get("rare", 0.0)
    if numbers not in NUMBERS or not isinstance(is_sparse, bool) or not _is_finite_number(rare):
        raise ValueError(f"a table's settings cannot be {numbers!r}, sparse={is_sparse!r}, rare={rare!r}")
    names = set()
    for column in description["columns"]:
        if not isinstance(column, dict) or not isinstance(column.get("name"), str):
            raise ValueError(f"a described column must have a name, got {column!r}")
        name, kind = column["name"], column.get("kind")
        if not isinstance(kind, str) or kind not in _FIELDS:
            raise ValueError(f"column {name!r}: its kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if name in names:
            raise ValueError(f"column {name!r} is described twice")
        names.add(name)
        if kind == "date" or (kind == "numeric" and numbers == "robust"):
            if wrong := check_learned(kind, column, _is_finite_number):
                raise ValueError(f"column {name!r}: its {wrong} cannot be {column.get(wrong)!r}")
            continue
        for field in _FIELDS[kind]:
            good = _is_category_list if field == "categories" else _is_finite_number
            if not good(column.get(field)):
                raise ValueError(f"column {name!r}: its {field} cannot be {column.get(field)!r}")
    max_categories = description.get("max_categories")
    if not names or not isinstance(max_categories, int):
        raise ValueError("a table's description must have one column or more, and max_categories")
    settings = {"max_categories": max_categories, "rare": rare, "numbers": numbers, "sparse": is_sparse}
    return description["columns"], settings


def _is_finite_number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _is_category_list(value: object) -> bool:
    if not isinstance(value, list) or not value or len(set(map(repr, value))) < len(value):
        return False
    return all(isinstance(text, str) for text in value[:-1]) and isinstance(value[-1], str | None)


def _columns(names: Sequence[str]) -> str:
    return ("column " if len(names) == 1 else "columns ") + ", ".join(map(repr, names))
