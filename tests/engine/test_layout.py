"""Who computes what: every entry of a value by one thread, or all of it by each; edges and strides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import architectures, deterministic

from chainrule import nn
from chainrule.engine.layout import BLOCK, PANEL, Part, blocks, column_parts, lay_out, needs_gathering, padded
from chainrule.plan import lower

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
widths = st.one_of(st.integers(1, 300), st.sampled_from([512, 784, 1000, 1024, 4096, 6600]))
numbers_of_threads = st.integers(1, 9)


def plan_of(*modules, n_inputs=None):
    return lower(nn.Sequential(*modules), "half_squared_error", n_inputs)


def columns_of(part):
    return range(part.first, part.first + part.count)


# -- strides and blocks ----------------------------------------------------------------------------


@settings(deterministic)
@given(widths, st.sampled_from(DTYPES))
def test_strides(width, dtype):
    stride = padded(width, dtype.itemsize)
    n_bytes = stride * dtype.itemsize
    assert n_bytes % 64 == 0  # every row begins on a cache line
    assert n_bytes % 1024 != 0  # and rows do not share a set of the cache
    assert width <= stride < width + 2 * 64 // dtype.itemsize


def test_strides_known():
    assert [padded(width, 8) for width in (1, 8, 9, 120, 121, 128, 200)] == [8, 8, 16, 120, 136, 136, 200]
    assert [padded(width, 4) for width in (1, 16, 17, 240, 241, 256, 784)] == [16, 16, 32, 240, 272, 272, 784]


def test_blocks_known():
    assert [blocks(width) for width in (1, 15, 16, 17, 32, 200)] == [1, 1, 1, 2, 2, 13]


# -- columns ---------------------------------------------------------------------------------------


@settings(deterministic, max_examples=300)
@given(widths, numbers_of_threads)
def test_every_column_is_one_thread_s(width, n_threads):
    parts = column_parts(width, n_threads)
    assert len(parts) == n_threads
    assert [j for part in parts for j in columns_of(part)] == list(range(width))
    assert all((part.part, part.parts) == (0, 1) for part in parts)


@settings(deterministic, max_examples=300)
@given(widths, numbers_of_threads)
def test_edges_between_threads(width, n_threads):
    parts = column_parts(width, n_threads)
    unit = PANEL if width >= PANEL * n_threads else BLOCK
    assert unit % BLOCK == BLOCK % 16 == 0
    assert all(part.first % unit == 0 or part.first == width for part in parts)
    # Nobody has more than one unit more than another, but for the columns that the last one is short of.
    counts = [part.count for part in parts]
    assert max(counts) - min(counts) < 2 * unit
    if unit == PANEL:
        assert min(counts[:-1], default=PANEL) >= PANEL


def test_columns_known():
    def edges(width, n_threads):
        return [part.first for part in column_parts(width, n_threads)] + [width]

    assert edges(200, 1) == [0, 200]
    assert edges(200, 2) == [0, 128, 200]  # panels of 64
    assert edges(130, 3) == [0, 48, 96, 130]  # too narrow for three panels: vectors of 16
    assert edges(784, 4) == [0, 192, 384, 576, 784]
    assert edges(20, 3) == [0, 0, 16, 20]


# -- whole networks --------------------------------------------------------------------------------


def times_computed(layout, n_rows):
    """How often each entry of a batch is computed, all threads together."""
    counts = np.zeros((n_rows, layout.width), int)
    for part in layout.parts:
        rows = slice(n_rows * part.part // part.parts, n_rows * (part.part + 1) // part.parts)
        counts[rows, columns_of(part)] += 1
    return counts


@settings(deterministic, max_examples=150)
@given(architectures(), numbers_of_threads, st.sampled_from([1, 7, 40, 1000]), st.sampled_from(DTYPES))
def test_every_entry_is_computed_once_or_by_everyone(drawn, n_threads, capacity, dtype):
    plan = lower(drawn[0], "half_squared_error", drawn[1])
    layouts = lay_out(plan, n_threads, capacity, dtype)
    assert [layout.width for layout in layouts] == list(plan.widths)
    for layout in layouts:
        assert layout.stride == padded(layout.width, dtype.itemsize)
        assert len(layout.parts) == n_threads
        for n_rows in (1, min(capacity, 5)):
            assert (times_computed(layout, n_rows) == (n_threads if layout.private else 1)).all()


@settings(deterministic, max_examples=150)
@given(architectures(), numbers_of_threads, st.sampled_from([1, 7, 40, 1000]))
def test_private_is_what_is_cheap_or_narrow_and_what_comes_of_it(drawn, n_threads, capacity):
    plan = lower(drawn[0], "half_squared_error", drawn[1])
    private = [layout.private for layout in lay_out(plan, n_threads, capacity, np.float64)]
    assert not private[0]  # X is everyone's
    for op, found in zip(plan.operations, private[1:], strict=True):
        if op.kind == "linear":
            cheap = capacity * op.width_in * op.width_out < 150_000
            assert found == (n_threads > 1 and (cheap or op.width_out < 32))
        else:
            assert found == all(private[value] for value in (op.source, op.second) if value >= 0)


@settings(deterministic, max_examples=150)
@given(architectures(), numbers_of_threads, st.sampled_from([1, 7, 40, 1000]))
def test_shared_values_are_cut_as_their_operation_runs(drawn, n_threads, capacity):
    plan = lower(drawn[0], "half_squared_error", drawn[1])
    layouts = lay_out(plan, n_threads, capacity, np.float64)
    by_rows = [Part(t, n_threads, 0, plan.n_inputs) for t in range(n_threads)]
    assert layouts[0].parts == tuple(by_rows)
    for op, layout in zip(plan.operations, layouts[1:], strict=True):
        if layout.private:
            assert set(layout.parts) == {Part(0, 1, 0, op.width_out)}
        elif op.kind in ("linear", "batch_norm"):
            assert layout.parts == column_parts(op.width_out, n_threads)
        elif op.kind == "layer_norm":
            assert [part.part for part in layout.parts] == list(range(n_threads))
            assert {part.parts for part in layout.parts} == {n_threads}
        else:
            # What is done to single numbers is done where they are.
            sources = [layouts[value] for value in (op.source, op.second) if value >= 0]
            assert layout.parts in [source.parts for source in sources if not source.private]


def test_a_network_by_hand():
    narrow = nn.Sequential(nn.Linear(256, 20), nn.ReLU(), nn.Linear(20, 256))
    plan = plan_of(nn.Linear(130, 256), nn.Residual(narrow), nn.LayerNorm(256), nn.Linear(256, 3))
    kinds = ["linear", "linear", "activation", "linear", "add", "layer_norm", "linear"]
    assert [op.kind for op in plan.operations] == kinds
    layouts = lay_out(plan, 2, 64, np.float64)
    # A layer of 20 outputs, and what is made of it, is everyone's own; so is the last, of 3.
    assert [layout.private for layout in layouts] == [False, False, True, True, False, False, False, True]
    rows, columns = (Part(0, 2, 0, 256), Part(1, 2, 0, 256)), (Part(0, 1, 0, 128), Part(0, 1, 128, 128))
    assert [layouts[value].parts for value in (1, 4, 5, 6)] == [columns, columns, columns, rows]
    assert [layout.stride for layout in layouts] == [136, 264, 24, 24, 264, 264, 264, 8]


def test_alone_a_thread_has_everything():
    plan = plan_of(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 2))
    for layout in lay_out(plan, 1, 9, np.float32)[1:]:
        assert not layout.private
        assert layout.parts == (Part(0, 1, 0, layout.width),)


@pytest.mark.parametrize(("capacity", "private"), [(4, True), (5, False)])
def test_a_small_layer_is_not_worth_waiting_for(capacity, private):
    plan = plan_of(nn.Linear(150, 200))  # 4 · 150 · 200 = 120 000 multiply-adds
    assert lay_out(plan, 2, capacity, np.float64)[1].private == private
    assert not lay_out(plan, 1, capacity, np.float64)[1].private


@pytest.mark.parametrize(("width", "private"), [(31, True), (32, False)])
def test_a_narrow_layer_is_not_worth_waiting_for(width, private):
    plan = plan_of(nn.Linear(1000, width))
    assert lay_out(plan, 2, 1000, np.float64)[1].private == private


# -- the batch -------------------------------------------------------------------------------------


GATHERED = {
    "activation first": [nn.Tanh(), nn.Linear(3, 3)],
    "batch norm first": [nn.BatchNorm1d(3), nn.Linear(3, 3)],
    "layer norm first": [nn.LayerNorm(3), nn.Linear(3, 3)],
    "dropout first": [nn.Dropout(), nn.Linear(3, 3)],
    "residual first": [nn.Residual(nn.Linear(3, 3))],
    "batch norm in a branch": [
        nn.Residual(nn.Linear(3, 2), nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)))
    ],
}
POINTED_TO = {
    "linear first": [nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Residual(nn.Linear(3, 3))],
    "two linear layers on the inputs": [nn.Residual(nn.Linear(3, 2), nn.Linear(3, 2))],
}


@pytest.mark.parametrize("name", GATHERED)
def test_only_products_take_rows_where_they_lie(name):
    assert needs_gathering(plan_of(*GATHERED[name], n_inputs=3), sparse=False)


@pytest.mark.parametrize("name", POINTED_TO)
def test_products_take_rows_where_they_lie_unless_they_are_sparse(name):
    assert not needs_gathering(plan_of(*POINTED_TO[name]), sparse=False)
    assert needs_gathering(plan_of(*POINTED_TO[name]), sparse=True)
