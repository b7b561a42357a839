"""A step by the engine's kernel is the rule's, in every layout; and when it is not the kernel's."""

import numpy as np
import pytest
from tests.optim.problems import give, leaf

from chainrule.optim import SGD, Adam, AdamW, RMSprop, compiled
from chainrule.optim.compiled import LARGE, take_step

OPTIMIZERS = {
    "sgd": SGD(lr=0.1, weight_decay=0.01),
    "momentum": SGD(lr=0.1, momentum=0.9, nesterov=True, decoupled_weight_decay=0.1),
    "adam": Adam(lr=0.1, weight_decay=0.01, maximize=True),
    "adamw": AdamW(lr=0.1),
    "rmsprop": RMSprop(lr=0.1, momentum=0.9),
    "rmsprop, centered": RMSprop(lr=0.01, eps=0.1, centered=True),
}
SHAPES = {"vector": (LARGE + 3,), "matrix": (200, 129), "stack": (3, 100, 70)}


def arrays(optimizer, shape, dtype, order="C", gradient_order="C"):
    """A parameter, its state, a gradient and the coefficients of a step."""
    rng = np.random.default_rng(0)
    w, g = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    w, g = np.array(w, order=order), np.array(g, order=gradient_order)
    state = [
        np.array(rng.random(shape), dtype, order=order) for _ in optimizer.state_names(optimizer.defaults)
    ]
    if optimizer.defaults.get("centered"):
        state[0] *= 0.1  # a mean whose square is below the mean of squares
        state[1] += 0.1
    return w, state, g, optimizer.coefficients(np.array([optimizer.lr]), 3)[0].astype(dtype)


@pytest.fixture
def kernels_called(monkeypatch):
    """The sizes of the steps that a kernel takes."""
    sizes, kernel = [], compiled._kernel

    def noted(rule, dtype):
        def update(n, *addresses):
            sizes.append(n)
            kernel(rule, dtype)(n, *addresses)

        return update

    monkeypatch.setattr(compiled, "_kernel", noted)
    return sizes


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_is_the_rule_s(name, dtype, shape, kernels_called):
    optimizer, tolerance = OPTIMIZERS[name], 1e-5 if dtype == np.float32 else 1e-13
    orders = [("C", "C")] if shape == "vector" else [("C", "C"), ("F", "F"), ("F", "C"), ("C", "F")]
    for order, gradient_order in orders:
        w, state, g, c = arrays(optimizer, SHAPES[shape], dtype, order, gradient_order)
        expected, moments = w.astype(np.float64), [one.astype(np.float64) for one in state]
        optimizer.rule.update(expected, moments, g.astype(np.float64), c.astype(np.float64))
        before = g.copy()
        take_step(optimizer.rule, w, state, g, c)
        for found, exact in zip((w, *state), (expected, *moments), strict=True):
            np.testing.assert_allclose(found, exact, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(g, before)
    assert kernels_called == [w.size] * len(orders)


def test_nothing_beside_the_arrays_is_written(kernels_called):
    for n in range(LARGE, LARGE + 40):
        outer = np.full((4, n + 2), 7.0, np.float32)
        outer[3] = 3.0
        w, first, second, g = outer[:, 1:-1]
        c = Adam().coefficients(np.array([0.1]), 0)[0].astype(np.float32)
        take_step(Adam().rule, w, (first, second), g, c)
        assert (outer[:3, [0, -1]] == 7.0).all()
        assert (outer[3] == 3.0).all()
        assert (outer[:3, 1:-1] != 7.0).all()
    assert len(kernels_called) == 40


def with_gaps(w, state, g):
    return w.reshape(2, -1)[:, ::2], [one.reshape(2, -1)[:, ::2] for one in state], g.reshape(2, -1)[:, ::2]


def small(w, state, g):
    return w[: LARGE - 1], [one[: LARGE - 1] for one in state], g[: LARGE - 1]


def state_laid_otherwise(w, state, g):
    return w.reshape(2, -1), [np.asfortranarray(one.reshape(2, -1)) for one in state], g.reshape(2, -1)


def state_of_another_precision(w, state, g):
    return w, [one.astype(np.float64) for one in state], g


@pytest.mark.parametrize("change", [with_gaps, small, state_laid_otherwise, state_of_another_precision])
def test_other_arrays_are_for_numpy(change, kernels_called):
    w, state, g, c = arrays(Adam(), (3 * LARGE,), np.float32)
    w, state, g = change(w, state, g)
    expected, moments = w.copy(), [one.copy() for one in state]
    Adam().rule.update(expected, moments, g, c)
    take_step(Adam().rule, w, state, g, c)
    np.testing.assert_array_equal(w, expected)
    np.testing.assert_array_equal(state, moments)
    assert kernels_called == []


def test_a_rule_of_three_arrays_is_for_numpy(kernels_called):
    optimizer = Adam(amsgrad=True)
    w, state, g, c = arrays(optimizer, (LARGE,), np.float64)
    before = w.copy()
    take_step(optimizer.rule, w, state, g, c)
    assert (w != before).all()
    assert kernels_called == []


@pytest.mark.parametrize("make", [SGD, Adam, AdamW, RMSprop])
def test_an_optimizer_s_steps(make, kernels_called):
    """Of a weight matrix stored by columns, and of a bias that is too small for the kernel."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=(130, 140))
    weight, bias, small = leaf(0), leaf(start[0]), leaf(start[:10])
    weight.data = np.asfortranarray(start)
    optimizer = make([weight, bias], lr=0.01)
    other = make([small], lr=0.01)
    for step in range(20):
        g = rng.normal(size=start.shape)
        give(weight, g)
        give(bias, g[0])
        give(small, g[:10])
        optimizer.step()
        other.step()
        assert weight._version == step + 1
    assert kernels_called == [start.size] * 20
    np.testing.assert_allclose(weight.data[:10], small.data, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(bias.data, small.data[0])


def test_what_is_not_a_number_is_seen():
    w, state, g, c = arrays(Adam(), (LARGE,), np.float32)
    g[5], g[77] = np.nan, np.inf
    take_step(Adam().rule, w, state, g, c)
    assert np.flatnonzero(np.isnan(w)).tolist() == [5, 77]
