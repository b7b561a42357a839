"""Reported sums, norms and the factor of clipping, against NumPy in double precision."""

import numpy as np
import pytest
from tests.engine.calling import DTYPES, call, cuts, empty, is_untouched, padded, stride_of

from chainrule.engine import telemetry
from chainrule.engine.layout import BLOCK
from chainrule.engine.telemetry import SATURATED

every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
every_width = pytest.mark.parametrize("width", [1, 16, 75])
ROWS = 9
L2, L1, FACTOR = 0.5, 0.25, 0.125


def blocks_of(width):
    return [slice(first, min(first + BLOCK, width)) for first in range(0, width, BLOCK)]


def same_for_every_cut(width, compute):
    """The result of ``compute(cut)``, which must not depend on the cut by a single bit."""
    results = [compute(cut) for cut in [[(0, width)], *cuts(width)]]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    return results[0]


@every_dtype
@every_width
def test_value_sums(rng, dtype, width):
    h, delta = (padded(rng.normal(size=(ROWS, width)), dtype) for _ in range(2))
    h[::2, ::3] = 0.0
    h[1, 0], h[3, 0] = np.nan, np.inf
    delta[2, width - 1] = -np.inf
    n_blocks = len(blocks_of(width)) + 2

    def compute(cut):
        sums = np.full((3, n_blocks, 5), -1.0)
        for first, count in cut:
            call(
                telemetry.value_sums(dtype), {"n_rows": ROWS, "sample": 2}, h=h, delta=delta,
                stride=stride_of(h), first=first, count=count, sums=sums, first_block=1, n_blocks=n_blocks,
            )  # fmt: skip
        return sums

    sums = same_for_every_cut(width, compute)
    for block, columns in enumerate(blocks_of(width)):
        x, slope = h[:, columns].astype(np.float64), delta[:, columns].astype(np.float64)
        own = sums[2, 1 + block]
        np.testing.assert_allclose(own[:2], [(x**2).sum(), (slope**2).sum()], rtol=1e-14)
        assert own[2] == (x == 0).sum()
        assert own[SATURATED] == -1.0
        assert own[4] == (~np.isfinite(x)).sum() + (~np.isfinite(slope)).sum()
    sums[2, 1:-1] = -1.0
    assert (sums == -1.0).all()


def penalised_gradient(w, g, penalised):
    if not penalised:
        return g.astype(np.float64)
    return g + FACTOR * (L2 * w + L1 * np.sign(w)).astype(np.float64)


def parameters(rng, dtype, width):
    w, g = (padded(rng.normal(size=(ROWS, width)), dtype) for _ in range(2))
    w[0, 0] = 0.0
    return w, g


STEP = {"factor": FACTOR, "l2": L2, "l1": L1, "sample": 1}


@every_dtype
@every_width
@pytest.mark.parametrize("penalised", [0, 1])
def test_squared_norms(rng, dtype, width, penalised):
    w, g = parameters(rng, dtype, width)

    def compute(cut):
        norms = np.full(len(blocks_of(width)) + 1, -1.0)
        for first, count in cut:
            call(
                telemetry.squared_norms(dtype), STEP, parameters=w, gradient=g, stride=stride_of(w),
                rows=ROWS, first=first, count=count, penalised=penalised, norms=norms,
            )  # fmt: skip
        return norms

    norms = same_for_every_cut(width, compute)
    slope = penalised_gradient(w, g, penalised)
    expected = [(slope[:, columns] ** 2).sum() for columns in blocks_of(width)]
    np.testing.assert_allclose(norms, [*expected, -1.0], rtol=10 * np.finfo(dtype).eps)
    assert is_untouched(w, g)


@every_dtype
@every_width
@pytest.mark.parametrize("penalised", [0, 1])
def test_parameter_sums(rng, dtype, width, penalised):
    w, g = parameters(rng, dtype, width)
    before_update, n_blocks = w.copy(), len(blocks_of(width)) + 2
    after_update = padded(w + rng.normal(size=w.shape).astype(dtype), dtype)

    def compute(cut):
        sums, previous = np.full((2, n_blocks, 3), -1.0), empty(w.shape, dtype)
        for before, now in ((1, w), (0, after_update)):
            for first, count in cut:
                call(
                    telemetry.parameter_sums(dtype), STEP, before=before, parameters=now, gradient=g,
                    previous=previous, stride=stride_of(w), rows=ROWS, first=first, count=count,
                    penalised=penalised, sums=sums, first_block=1, n_blocks=n_blocks,
                )  # fmt: skip
        np.testing.assert_array_equal(previous, before_update)
        assert is_untouched(w, g, previous)
        return sums

    sums = same_for_every_cut(width, compute)
    slope, change = penalised_gradient(w, g, penalised), after_update.astype(np.float64) - w
    for block, columns in enumerate(blocks_of(width)):
        expected = [(one[:, columns].astype(np.float64) ** 2).sum() for one in (slope, w, change)]
        np.testing.assert_allclose(sums[1, 1 + block], expected, rtol=10 * np.finfo(dtype).eps)
    sums[1, 1:-1] = -1.0
    assert (sums == -1.0).all()


@pytest.mark.parametrize(("limit", "clip"), [(2.0, 2.0 / 5.0), (5.0, 1.0), (9.0, 1.0)])
def test_clip_factor(limit, clip):
    norms = np.array([9.0, 0.0, 16.0])
    step = call(telemetry.clip_factor(), {"clip_norm": limit}, norms=norms, n_blocks=3)
    assert step["clip"] == clip


def test_a_gradient_that_is_not_finite_is_not_clipped():
    """The factor of a norm that is NaN is 1: the update shows what happened."""
    assert (
        call(telemetry.clip_factor(), {"clip_norm": 1.0}, norms=np.array([np.nan]), n_blocks=1)["clip"] == 1.0
    )
