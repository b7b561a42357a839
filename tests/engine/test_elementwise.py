"""Residual joins and dropout, against NumPy and the reference's masks."""

import numpy as np
import pytest
from tests.engine.calling import DTYPES, WHOLE, call, cuts, empty, is_untouched, padded, row_parts, stride_of

from chainrule.engine import elementwise
from chainrule.reference import dropout_keeps

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
ROWS, WIDTH = 7, 75
PIECES = [
    [{**WHOLE, "first": 0, "count": WIDTH}],
    [{**parts, "first": 0, "count": WIDTH} for parts in row_parts(3)],
    *[[{**WHOLE, "first": first, "count": count} for first, count in cut] for cut in cuts(WIDTH)],
]
every_cut = pytest.mark.parametrize("pieces", PIECES)
every_padding = pytest.mark.parametrize("padding", [0, 5])


def matrices(rng, dtype, padding, n):
    return [padded(rng.normal(size=(ROWS, WIDTH)), dtype, padding) for _ in range(n)]


@every_dtype
@every_cut
@every_padding
def test_add(rng, dtype, pieces, padding):
    one, two = matrices(rng, dtype, padding, 2)
    out = empty((ROWS, WIDTH), dtype, padding)
    for piece in pieces:
        kernel = elementwise.add(dtype)
        call(kernel, {"n_rows": ROWS}, one=one, two=two, out=out, stride=stride_of(one), **piece)
    np.testing.assert_array_equal(out, one + two)
    assert is_untouched(one, two, out)


@every_dtype
@every_cut
@every_padding
@pytest.mark.parametrize("accumulate", [0, 1])
def test_pass_delta(rng, dtype, pieces, padding, accumulate):
    above, below = matrices(rng, dtype, padding, 2)
    expected = above + (below if accumulate else 0)
    arguments = {"above": above, "below": below, "stride": stride_of(above), "accumulate": accumulate}
    for piece in pieces:
        call(elementwise.pass_delta(dtype), {"n_rows": ROWS}, **arguments, **piece)
    np.testing.assert_array_equal(below, expected)
    assert is_untouched(above, below)


def drop(above, below, probability, accumulate=0, training=1, place=(3, 5, 2), pieces=PIECES[0]):
    seed, number, operation = place
    for piece in pieces:
        call(
            elementwise.dropout(above.dtype), {"n_rows": ROWS, "seed": seed, "number": number},
            above=above, below=below, stride=stride_of(above), **piece, accumulate=accumulate,
            training=training, operation=operation, probability=probability,
        )  # fmt: skip


@every_dtype
@every_cut
@every_padding
@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 0.999, 1.0])
def test_dropout(rng, dtype, pieces, padding, accumulate, probability):
    above, below = matrices(rng, dtype, padding, 2)
    keeps = dropout_keeps(3, 5, 2, ROWS, WIDTH, float(dtype.type(probability)))
    scale = 0 if probability == 1 else 1 / (1 - probability)
    expected = np.where(keeps, above * dtype.type(scale), 0) + (below if accumulate else 0)
    drop(above, below, probability, accumulate, pieces=pieces)
    np.testing.assert_allclose(below, expected, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)
    assert is_untouched(above, below)


@every_dtype
@pytest.mark.parametrize("probability", [2.0**-20, 0.1, 0.25, 1 / 3, 0.5, 0.7, 1 - 2.0**-20])
def test_masks_are_exactly_those_of_the_reference(dtype, probability):
    """Over many seeds, steps and operations, large ones too."""
    above = np.ones((ROWS, WIDTH), dtype)
    for seed, number, operation in [(0, 0, 0), (2**63 - 1, 10**9, 50), (12345, 7, 1), (2**32, 1, 0)]:
        below = np.empty_like(above)
        drop(above, below, probability, place=(seed, number, operation))
        keeps = dropout_keeps(seed, number, operation, ROWS, WIDTH, float(dtype.type(probability)))
        np.testing.assert_array_equal(below != 0, keeps)


@every_dtype
@pytest.mark.parametrize("accumulate", [0, 1])
def test_dropout_without_training_is_a_copy(rng, dtype, accumulate):
    above, below = matrices(rng, dtype, 5, 2)
    expected = above + (below if accumulate else 0)
    drop(above, below, 0.5, accumulate, training=0)
    np.testing.assert_array_equal(below, expected)
    assert is_untouched(above, below)


@every_dtype
def test_a_dropped_nan_is_gone_and_a_kept_one_stays(dtype):
    above = np.full((ROWS, WIDTH), np.nan, dtype)
    below = np.empty_like(above)
    drop(above, below, 0.5)
    keeps = dropout_keeps(3, 5, 2, ROWS, WIDTH, 0.5)
    np.testing.assert_array_equal(np.isnan(below), keeps)
    assert (below[~keeps] == 0).all()
