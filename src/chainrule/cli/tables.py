"""What the commands refuse of a table that they could read."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check_one_type"]

# With a larger share of text among its numbers, a column is taken for one of text.
_MOST_TEXT = 0.25


def check_one_type(features: pd.DataFrame, text: Collection[str]) -> None:
    """Refuse a column that is mostly numbers with a little text in it.

    Such a column would be read as text, each number a category of its own.
    """
    import pandas as pd

    for name in features.columns:
        column = features[name].dropna()
        if name in text or pd.api.types.is_numeric_dtype(column) or len(column) == 0:
            continue
        words = column.astype(object).map(str)
        is_text = pd.to_numeric(words, errors="coerce").isna()
        # A number that begins with 0 is a code.
        are_codes = words.str.match(r"\s*0\d").any()
        if is_text.any() and is_text.mean() < _MOST_TEXT and not are_codes:
            found = words[is_text]
            raise ValueError(
                f"column {name!r} mixes numbers and text: {len(words) - len(found)} numbers, but "
                f"{found.iloc[0]!r} in row {found.index[0]}; correct it, or say --text {name} if they are "
                f"codes, or --drop {name}"
            )
