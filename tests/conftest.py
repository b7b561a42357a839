"""Fixtures that tests of several rooms share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard() -> Iterator[None]:
    """Ctrl-C is not ignored, as it is by what a shell starts in its background."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
