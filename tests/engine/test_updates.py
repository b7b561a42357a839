"""Kernels that change parameters, against the rules' definitions, for every vector unit that runs here."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.test_tiles import (
    CASES,
    MULTIPLIES,
    SPILLS,
    addresses,
    assembly,
    call,
    gradient,
    loops_of_products,
    step_record,
    surrounded,
    untouched,
    widths,
)  # fmt: skip
from tests.engine.test_trace import largest, rule, signed

from chainrule.engine import objects
from chainrule.engine.objects import UNITS, update_kernels, vector_unit
from chainrule.engine.trace import trace
from chainrule.engine.updates import FIELDS, VARIANTS, Rule
from chainrule.engine.walks import groups
from chainrule.optim import RULES, SGD, Adam, AdamW, RMSprop

FACTOR, L2, L1, CLIP = 0.5, 0.3, 0.2, 0.7

OPTIMIZERS = {
    "sgd": SGD(lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True, decoupled_weight_decay=0.1),
    "adam": Adam(lr=0.01, weight_decay=0.01),
    "adamw": AdamW(lr=0.01, weight_decay=0.1),
    "rmsprop": RMSprop(lr=0.01, momentum=0.9, weight_decay=0.01),
    # A large ε: where the variance is near zero, its rounding decides the length of the step.
    "rmsprop, centered": RMSprop(lr=0.01, eps=0.1, centered=True),
}


def kernels_of(rule, variant, dtype, unit):
    return objects._update_kernels(Rule(trace(rule), variant), np.dtype(dtype), unit)


class Layer:
    """A weight matrix with its moments among canaries, and the rule's coefficients of a step."""

    def __init__(self, optimizer, shape, dtype, *, n_rows=5, close=False):
        rng = np.random.default_rng(0)
        self.optimizer, self.dtype = OPTIMIZERS[optimizer], np.dtype(dtype)
        self.c = self.optimizer.coefficients(np.array([self.optimizer.lr]), 3)[0].astype(dtype)
        self.close = close
        self.outer, self.w = self._surrounded(rng, shape, dtype)
        self.first_outer, self.first = self._surrounded(rng, shape, dtype)
        self.second_outer, self.second = self._surrounded(rng, shape, dtype)
        self.second[...] = self.second**2
        self.w[:, ::3] = 0
        self.penalties_outer, self.penalties = surrounded(rng, (1, shape[1]), np.float64)
        self.reported = self.penalties.copy()
        self.n_rows = n_rows

    def _surrounded(self, rng, shape, dtype):
        """Rows far apart, or close together as in the flat vector of parameters."""
        if not self.close:
            return surrounded(rng, shape, dtype)
        outer, inner = surrounded(rng, (1, shape[0] * shape[1]), dtype)
        return outer, inner.reshape(shape)

    def like(self, g):
        """A copy of a gradient with its rows as far apart as those of the layer."""
        return g.copy() if self.close else np.pad(g, ((0, 0), (0, 40)))[:, : g.shape[1]]

    def arguments(self, *, decays=True, penalised=True, columns=slice(None)):
        return {
            "weights": self.w[:, columns], "first": self.first[:, columns],
            "second": self.second[:, columns], "stride": self.w.strides[0],
            "rows": len(self.w), "columns": self.w[:, columns].shape[1],
            "decays": decays, "penalised": penalised,
            "penalties": self.penalties[:, columns] if penalised else 0,
        }  # fmt: skip

    def step(self, clip=1.0):
        return step_record(
            n_rows=self.n_rows, coefficients=self.c.ctypes.data, factor=FACTOR, l2=L2, l1=L1, clip=clip
        )

    def update(self, kernels, g, clip=1.0, columns=slice(None), **flags):
        arguments = self.arguments(columns=columns, **flags)
        call(kernels["update"], self.step(clip), gradient=g[:, columns], **arguments)

    def gradient_update(self, kernels, a, b, offset=0, columns=slice(None), **flags):
        table = addresses(a)
        call(
            kernels["gradient_update"], self.step(), left=table, left_offset=offset * a.itemsize,
            right=b[:, columns], right_stride=b.strides[0], **self.arguments(columns=columns, **flags),
        )  # fmt: skip

    def expected(self, g, variant, clip=1.0, *, decays=True, penalised=True):
        """New weights, moments and penalties, in doubles."""
        w, first, second = (x.astype(np.float64) for x in (self.w, self.first, self.second))
        l2 = L2 if variant != "none" and penalised else 0
        l1 = L1 if variant == "l1" and penalised else 0
        c = self.c.astype(np.float64)
        c[0] = c[0] if decays else 0
        penalty = FACTOR * (0.5 * l2 * w**2 + l1 * np.abs(w)).sum(axis=0) * self.n_rows
        slope = clip * (g.astype(np.float64) + FACTOR * (l2 * w + l1 * np.sign(w)))
        state = np.array([first, second])
        self.optimizer.rule.update(w, state, slope, c)
        return w, *state, self.reported + penalty

    def check(self, expected, rtol):
        for actual, exact in zip((self.w, self.first, self.second, self.penalties), expected, strict=True):
            np.testing.assert_allclose(actual, exact, rtol=rtol, atol=rtol)
        for outer, inner in (
            (self.outer, self.w), (self.first_outer, self.first), (self.second_outer, self.second)
        ):  # fmt: skip
            assert untouched(outer, inner.reshape(1, -1) if self.close else inner)
        assert untouched(self.penalties_outer, self.penalties)

    def bits(self):
        return [x.tobytes() for x in (self.w, self.first, self.second, self.penalties)]


@pytest.mark.parametrize(("unit", "dtype"), CASES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("close", [False, True], ids=["apart", "close"])
def test_a_step_is_the_rule_s_and_nothing_else_is_written(unit, dtype, optimizer, variant, close):
    """With a stored gradient and with one summed on the way, in every kind of group."""
    kernels = kernels_of(OPTIMIZERS[optimizer].rule, variant, dtype, unit)
    rtol = 2e-5 if dtype == np.float32 else 1e-13
    for columns in widths(unit, dtype):
        for rows in (0, 1, 3, 14, 45):
            rng = np.random.default_rng(1)
            layer = Layer(optimizer, (rows, columns), dtype, close=close)
            g = rng.normal(size=(rows, columns)).astype(dtype)
            expected = layer.expected(g, variant, CLIP)
            layer.update(kernels, layer.like(g), CLIP)
            layer.check(expected, rtol)
            a, b = rng.normal(size=(5, rows + 2)).astype(dtype), rng.normal(size=(5, columns)).astype(dtype)
            layer = Layer(optimizer, g.shape, dtype, close=close)
            expected = layer.expected(a[:, 2:].T.astype(np.float64) @ b.astype(np.float64), variant)
            layer.gradient_update(kernels, a, b, offset=2)
            layer.check(expected, rtol)


@pytest.mark.parametrize(("unit", "dtype"), CASES)
@pytest.mark.parametrize("the_rule", [*RULES.values(), rule(signed), rule(largest)])
@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_update_gives_the_bits_of_gradient_and_update(unit, dtype, the_rule, variant):
    products = objects._product_kernels(dtype, unit)
    kernels = kernels_of(the_rule, variant, dtype, unit)
    rng = np.random.default_rng(2)
    shapes = (
        (13, 37, 9),
        (8, 130, 4),
        (1, 1, 1),
        (20, 64, 32),
        (5, 7, 0),
        (70, 10, 6),
        (150, 2, 3),
        (9, 20, 4),
    )
    for rows, columns, n in shapes:
        a = rng.normal(size=(n, rows + 3)).astype(dtype)
        b = rng.normal(size=(n, columns)).astype(dtype)
        layers = [Layer("adamw", (rows, columns), dtype, n_rows=n, close=i > 2) for i in range(5)]
        g = np.empty((rows, columns), dtype)
        gradient(products, a, b, g)
        for first in (0, 3):
            layers[first].gradient_update(kernels, a, b)
            layers[first + 1].update(kernels, layers[first + 1].like(g))
        for columns_of in (slice(0, 16), slice(16, 48), slice(48, 49), slice(49, columns)):
            if columns > columns_of.start:
                layers[2].gradient_update(kernels, a, b, columns=columns_of)
        assert all(layer.bits() == layers[0].bits() for layer in layers[1:])


shapes = st.tuples(st.integers(0, 140), st.integers(1, 150) | st.integers(1, 12), st.integers(0, 40))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    shapes, st.sampled_from([np.float32, np.float64]), st.sampled_from(sorted(OPTIMIZERS)),
    st.sampled_from(VARIANTS), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_steps(shape, dtype, optimizer, variant, decays, penalised, close):
    rows, columns, n = shape
    kernels = update_kernels(OPTIMIZERS[optimizer].rule, variant, dtype)
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(n, rows)).astype(dtype), rng.normal(size=(n, columns)).astype(dtype)
    layer = Layer(optimizer, (rows, columns), dtype, n_rows=n, close=close)
    flags = {"decays": decays, "penalised": penalised}
    expected = layer.expected(a.T.astype(np.float64) @ b.astype(np.float64), variant, **flags)
    layer.gradient_update(kernels, a, b, **flags)
    layer.check(expected, 1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize(("unit", "dtype"), CASES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_nan_in_a_gradient_stays_where_it_is(unit, dtype, optimizer):
    for variant in VARIANTS:
        kernels = kernels_of(OPTIMIZERS[optimizer].rule, variant, dtype, unit)
        g = np.ones((7, 37), dtype)
        g[3, 5], g[6, 36] = np.nan, np.inf
        layer = Layer(optimizer, g.shape, dtype)
        layer.update(kernels, layer.like(g))
        assert np.isnan(layer.w[3, 5])
        assert not np.isfinite(layer.first[6, 36])
        finite = np.isfinite(layer.w)
        finite[3, 5] = finite[6, 36] = True
        assert finite.all()


def test_nan_in_a_weight_is_seen_in_the_penalty():
    kernels = update_kernels(RULES["sgd"], "l1", np.float64)
    layer = Layer("sgd", (4, 5), np.float64)
    layer.w[2, 3] = np.nan
    layer.update(kernels, np.zeros((4, 45))[:, :5])
    assert np.isnan(layer.w[2, 3])
    assert np.isnan(layer.first[2, 3])
    assert np.isnan(layer.penalties).tolist() == [[False, False, False, True, False]]


def test_kernels_are_made_once_and_know_their_arguments():
    kernels = update_kernels(RULES["adam"], "l2", "float32")
    assert update_kernels(RULES["adam"], "l2", np.float32) is kernels
    assert {name: kernel.fields for name, kernel in kernels.items()} == FIELDS
    other = update_kernels(RULES["adam"], "none", np.float32)
    assert other["update"].address != kernels["update"].address
    with pytest.raises(ValueError, match="variant must be one of none, l2, l1; got 'l3'"):
        update_kernels(RULES["adam"], "l3", np.float32)


def test_a_changed_constant_makes_another_object_file(monkeypatch, tmp_path):
    monkeypatch.setattr(objects, "cache_directory", lambda: tmp_path)

    def with_scale(scale):
        return rule(lambda w, first, second, g, c: (w - scale * g, first, second))

    paths = set()
    for scale in (1.0, 2.0, 2.0):
        paths.add(objects._object_path(("updates", Rule(trace(with_scale(scale)), "none")), vector_unit()))
    assert len(paths) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_accumulator_leaves_the_registers(unit, dtype, variant):
    """The rule's numbers do not push an accumulator out of a loop of products."""
    module = objects.emit_updates(Rule(trace(RULES["adam"]), variant), np.dtype(dtype), unit)
    loops = list(loops_of_products(assembly(module, unit)))
    sums = [loop for loop in loops if not any("sqrt" in line for line in loop)]
    counts = [sum(map(bool, map(MULTIPLIES.search, loop))) for loop in sums]
    widest = groups(unit)[0]
    assert {4 * rows * widest.vectors for rows in widest.heights(unit)} <= set(counts)
    assert not [line for loop in sums for line in loop if SPILLS.search(line)]
