"""SciPy's special functions, also where SciPy wraps them for other array libraries."""

import os
import subprocess
import sys

import numpy as np
import pytest

from chainrule.functions import special

CURVED = """
import numpy as np
from chainrule import nn, tensor
from chainrule.health import curvature
net = nn.Sequential(nn.Linear(2, 3, rng=0), nn.GELU(), nn.Linear(3, 1, rng=1))
X = np.random.default_rng(0).standard_normal((8, 2))
found = curvature(net, X, (X[:, :1] > 0).astype(float), nn.BCEWithLogitsLoss())
assert np.isfinite(found.top).all()
assert np.exp(tensor([0.0])).numpy() == 1
"""


@pytest.mark.parametrize("name", special.__all__)
def test_each_is_a_ufunc(name):
    assert isinstance(getattr(special, name), np.ufunc)


@pytest.mark.parametrize("wrapped", ["0", "1"])
def test_tensors_go_through_them_whatever_scipy_does(wrapped):
    environment = {**os.environ, "SCIPY_ARRAY_API": wrapped}
    done = subprocess.run(
        [sys.executable, "-c", CURVED], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
