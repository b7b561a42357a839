"""The walk over tiles: any shape, any stride, and the same bits however a product is cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.test_tiles import CASES, gradient, product, surrounded, tolerance, untouched

from chainrule.engine import objects
from chainrule.engine.objects import product_kernels

shapes = st.tuples(st.integers(0, 140), st.integers(1, 150) | st.integers(1, 12), st.integers(0, 90))
dtypes = st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)])


def inputs(shape, dtype, gap):
    """Left and right factor whose rows are ``gap`` numbers further apart than they are long."""
    rows, columns, n_terms = shape
    rng = np.random.default_rng(0)
    a = rng.normal(size=(rows, n_terms + gap)).astype(dtype)[:, :n_terms]
    b = rng.normal(size=(n_terms, columns + gap)).astype(dtype)[:, :columns]
    return rng, a, b


@settings(max_examples=150, deadline=None, derandomize=True)
@given(shapes, dtypes, st.integers(0, 9), st.booleans(), st.booleans())
def test_products(shape, dtype, gap, adds, with_row):
    rng, a, b = inputs(shape, dtype, gap)
    outer, c = surrounded(rng, (shape[0], shape[1]), dtype)
    row = rng.normal(size=shape[1]).astype(dtype)
    expected = a @ b + (row if with_row else 0) + (c if adds else 0)
    product(product_kernels(dtype), a, b, c, row if with_row else None, adds=adds)
    np.testing.assert_allclose(c, expected, rtol=tolerance(dtype), atol=tolerance(dtype))
    assert untouched(outer, c)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(shapes, dtypes, st.integers(0, 9))
def test_gradients(shape, dtype, gap):
    n_inputs, columns, rows = shape
    rng, a, b = inputs((rows, columns, n_inputs), dtype, gap)
    b = rng.normal(size=(rows, columns)).astype(dtype)
    outer, g = surrounded(rng, (n_inputs, columns), dtype)
    gradient(product_kernels(dtype), a, b, g)
    np.testing.assert_allclose(g, a.T @ b, rtol=tolerance(dtype), atol=tolerance(dtype))
    assert untouched(outer, g)


@pytest.mark.parametrize(("unit", "dtype"), CASES)
def test_the_bits_do_not_depend_on_how_a_product_is_cut(unit, dtype):
    """Whole, by rows as threads share them, and by columns, as they own them."""
    kernels = objects._product_kernels(dtype, unit)
    rng, a, b = inputs((29, 150, 61), dtype, 3)
    row = rng.normal(size=150).astype(dtype)
    whole, cut = np.empty((29, 150), dtype), np.full((29, 150), np.nan, dtype)
    product(kernels, a, b, whole, row)
    for shares in (2, 3, 5, 31):
        cut[...] = np.nan
        for share in range(shares):
            product(kernels, a, b, cut, row, share=(share, shares))
        np.testing.assert_array_equal(cut, whole)
    for edges in ((0, 16, 150), (0, 48, 64, 112, 150), (0, 1, 2, 149, 150)):
        cut[...] = np.nan
        for first, last in pairwise(edges):
            product(kernels, a, b[:, first:last], cut[:, first:last], row[first:last])
        np.testing.assert_array_equal(cut, whole)


@pytest.mark.parametrize(("unit", "dtype"), CASES)
def test_the_bits_do_not_depend_on_how_a_gradient_is_cut(unit, dtype):
    kernels = objects._product_kernels(dtype, unit)
    rng, a, _ = inputs((29, 1, 261), dtype, 3)
    b = rng.normal(size=(29, 150)).astype(dtype)
    whole, cut = np.empty((261, 150), dtype), np.full((261, 150), np.nan, dtype)
    gradient(kernels, a, b, whole)
    for edges in ((0, 16, 150), (0, 48, 64, 112, 150), (0, 1, 2, 149, 150)):
        cut[...] = np.nan
        for first, last in pairwise(edges):
            gradient(kernels, a, b[:, first:last], cut[:, first:last])
        np.testing.assert_array_equal(cut, whole)
    for first in range(0, 261, 7):
        gradient(kernels, a, b, cut[first : first + 7], offset=first)
    np.testing.assert_array_equal(cut, whole)
    for columns in range(1, 17):  # those of few units are computed in another way
        cut[...] = np.nan
        gradient(kernels, a, b[:, :columns], cut[:, :columns])
        np.testing.assert_array_equal(cut[:, :columns], whole[:, :columns])


@pytest.mark.parametrize(("unit", "dtype"), CASES)
def test_only_the_share_s_rows_are_written(unit, dtype):
    kernels = objects._product_kernels(dtype, unit)
    _, a, b = inputs((29, 40, 5), dtype, 0)
    c = np.full((29, 40), np.nan, dtype)
    product(kernels, a, b, c, share=(1, 3))
    assert np.isnan(c[:9]).all()
    assert np.isfinite(c[9:19]).all()
    assert np.isnan(c[19:]).all()
