"""The walk over tiles: any shape, any stride, with and without copies, and whole trainings on every unit."""

import os
import subprocess
import sys
from collections import namedtuple

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.test_tiles import runs_here

from chainrule.engine import products, tiles
from chainrule.engine._jit import OPTIONS
from chainrule.engine.memory import address, aligned
from chainrule.engine.objects import UNITS, tile_table, vector_unit

# What a product needs to know of a run.
Run = namedtuple("Run", "tiles lanes tallest widest itemsize gemm zero one")


@numba.njit(**OPTIONS)
def call(m, family, shape, left, right, result, what, scratch):
    products.product(m, family, shape, left, right, result, what, scratch)


@numba.njit(**OPTIONS)
def call_with_transpose(m, shape, left, right, result, row, scratch):
    products.product_with_transpose(m, shape, left, right, result, row, scratch)


def run_of(dtype):
    table = tile_table(dtype)
    lanes = vector_unit().lanes(dtype)
    one = np.dtype(dtype).type(1)
    return Run(
        address(table.addresses),
        lanes,
        table.tallest,
        table.widest,
        np.dtype(dtype).itemsize,
        0,
        one - one,
        one,
    )


def matrix(rng, rows, columns, dtype, gap):
    """A matrix whose rows are ``gap`` numbers further apart than they are long."""
    return rng.normal(size=(rows, columns + gap)).astype(dtype)[:, :columns]


shapes = st.tuples(st.integers(1, 70), st.integers(1, 150), st.integers(1, 90))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(shapes, st.sampled_from([np.float32, np.float64]), st.integers(0, 9), st.booleans(), st.booleans())
def test_products(shape, dtype, gap, transposed, adds):
    rows, columns, n_terms = shape
    rng = np.random.default_rng(0)
    a = matrix(rng, n_terms, rows, dtype, gap) if transposed else matrix(rng, rows, n_terms, dtype, gap)
    b, c = matrix(rng, n_terms, columns, dtype, gap), matrix(rng, rows, columns, dtype, gap)
    expected = (a.T if transposed else a) @ b + (c if adds else 0)
    around = c.base.copy()
    scratch = aligned(n_terms * 64, dtype)
    call(
        run_of(dtype), products.TRANSPOSED if transposed else products.NORMAL, shape,
        (a.ctypes.data, a.strides[0]), (b.ctypes.data, b.strides[0]), (c.ctypes.data, c.strides[0]),
        tiles.ACCUMULATE if adds else tiles.SET, address(scratch),
    )  # fmt: skip
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(c, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(c.base[:, columns:], around[:, columns:])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(shapes, st.sampled_from([np.float32, np.float64]), st.integers(0, 9), st.booleans())
def test_products_with_a_transpose(shape, dtype, gap, adds):
    rows, columns, n_terms = shape
    rng = np.random.default_rng(0)
    a, b = matrix(rng, rows, n_terms, dtype, gap), matrix(rng, columns, n_terms, dtype, gap)
    c, row = matrix(rng, rows, columns, dtype, gap), rng.normal(size=columns).astype(dtype)
    around = c.base.copy()
    scratch = aligned(n_terms * 64, dtype)
    call_with_transpose(
        run_of(dtype), shape, (a.ctypes.data, a.strides[0]), (b.ctypes.data, b.strides[0]),
        (c.ctypes.data, c.strides[0]), row.ctypes.data if adds else 0, address(scratch),
    )  # fmt: skip
    tolerance = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(c, a @ b.T + (row if adds else 0), rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(c.base[:, columns:], around[:, columns:])


def test_a_right_factor_that_is_copied_gives_the_same_bits():
    """2,048 terms a page apart are copied together; the same numbers close by are not."""
    rng = np.random.default_rng(0)
    rows, columns, n_terms = 40, 100, 2048
    a = rng.normal(size=(rows, n_terms)).astype(np.float32)
    near = rng.normal(size=(n_terms, columns)).astype(np.float32)
    far = np.zeros((n_terms, 1024), np.float32)
    far[:, :columns] = near
    assert near.nbytes < products.BYTES_FOR_A_COPY < far.nbytes
    scratch = aligned(n_terms * 64, np.float32)
    results = []
    for b in (near, far):
        c = np.empty((rows, columns), np.float32)
        call(
            run_of(np.float32), products.NORMAL, (rows, columns, n_terms), (a.ctypes.data, a.strides[0]),
            (b.ctypes.data, b.strides[0]), (c.ctypes.data, c.strides[0]), tiles.SET, address(scratch),
        )  # fmt: skip
        results.append(c)
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], a @ near, rtol=1e-3, atol=1e-2)


TRAINING = """
import numpy as np
from chainrule import nn
from chainrule.train import fit
rng = np.random.default_rng(0)
X, y = rng.normal(size=(200, 21)), rng.integers(0, 3, 200)
losses = []
for dtype in (np.float32, np.float64):
    net = nn.Sequential(nn.Linear(21, 70, rng=0), nn.Tanh(), nn.Linear(70, 3, rng=1)).to(dtype)
    history = fit(net, X, y, loss="softmax_cross_entropy", epochs=3, verbose=0, n_jobs=2)
    losses.append(history["loss"][-1])
print(*losses)
"""


def losses_under(**environment):
    result = subprocess.run(
        [sys.executable, "-c", TRAINING], env={**os.environ, **environment}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return [float(word) for word in result.stdout.split()]


@pytest.mark.parametrize("unit", [name for name, unit in UNITS.items() if runs_here(unit)])
def test_a_training_on_every_unit(unit):
    single, double = losses_under(CHAINRULE_ISA=unit)
    by_blas = losses_under(CHAINRULE_BLAS="scipy")
    assert single == pytest.approx(by_blas[0], rel=1e-4)
    assert double == pytest.approx(by_blas[1], rel=1e-10)
