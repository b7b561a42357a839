"""A model and a table that several commands are tried on."""

import pandas as pd
import pytest
from tests.cli.calling import QUICK, succeed


@pytest.fixture
def model_file(tmp_path, penguins_path):
    path = tmp_path / "model.safetensors"
    succeed("train", penguins_path, "--target", "species", "--out", path, *QUICK)
    return path


@pytest.fixture
def houses(tmp_path, rng):
    """A price to predict, far from 0 and 1."""
    area = rng.uniform(30, 200, 300).round(1)
    price = (3000 * area + 20_000 + rng.normal(0, 5_000, 300)).round(2)
    path = tmp_path / "houses.csv"
    pd.DataFrame({"area": area, "garden": rng.random(300) < 0.5, "price": price}).to_csv(path, index=False)
    return path
