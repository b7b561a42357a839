"""Fixtures that tests of several rooms share."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def penguins_path() -> Path:
    return Path(__file__).parents[1] / "examples" / "penguins.csv"


@pytest.fixture
def penguins(penguins_path: Path) -> pd.DataFrame:
    """344 rows: numbers, strings, missing values in both."""
    return pd.read_csv(penguins_path)
