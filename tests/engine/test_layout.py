"""The layout: panels, accumulation flags, and that the barriers keep the threads out of each other's way.

``races`` below is a model of what each thread reads and writes in two consecutive steps, cell by
cell. Between two barriers no thread may touch a cell that another one writes.
"""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from tests.strategies import LAYERS, architectures, deterministic

from chainrule import nn
from chainrule.engine import layout
from chainrule.engine.layout import MAX_PANELS, make_tables, panel_edges
from chainrule.plan import KINDS, lower

N_ROWS = 5


# -- the model -------------------------------------------------------------------------------------


class Interval:
    """The cells that one thread touches between two barriers: array name -> mask."""

    def __init__(self):
        self.reads, self.writes = defaultdict(list), defaultdict(list)


class Model:
    """One thread walking through a step, in the engine's order."""

    def __init__(self, plan, tables, thread, n_threads):
        self.plan, self.tables, self.thread, self.n_threads = plan, tables, thread, n_threads
        self.intervals = [Interval()]

    def barrier(self):
        self.intervals.append(Interval())

    def columns(self, value):
        panels = int(self.tables.n_panels[value])
        first, last = panels * self.thread // self.n_threads, panels * (self.thread + 1) // self.n_threads
        mask = np.zeros((N_ROWS, self.plan.widths[value]), bool)
        mask[:, self.tables.edges[value, first] : self.tables.edges[value, last]] = True
        return mask

    def rows(self, value):
        mask = np.zeros((N_ROWS, self.plan.widths[value]), bool)
        first = N_ROWS * self.thread // self.n_threads
        mask[first : N_ROWS * (self.thread + 1) // self.n_threads] = True
        return mask

    def everything(self, value):
        return np.ones((N_ROWS, self.plan.widths[value]), bool)

    def read(self, name, mask):
        self.intervals[-1].reads[name].append(mask)

    def write(self, name, mask):
        self.intervals[-1].writes[name].append(mask)

    def step(self, gathers):
        flags = self.tables.integers
        if gathers:
            self.write("value 0", self.rows(0))
        for k, op in enumerate(self.plan.operations):
            if flags[k, layout.BARRIER_FORWARD]:
                self.barrier()
            self.forward(k, op)
        last = len(self.plan.operations)
        if self.tables.loss_barrier:
            self.barrier()
        self.read(f"value {last}", self.rows(last))
        self.write(f"delta {last}", self.rows(last))
        self.write("row losses", self.rows(last)[:, :1])
        for k in range(last - 1, -1, -1):
            if flags[k, layout.BARRIER_BACKWARD]:
                self.barrier()
            self.backward(k, self.plan.operations[k])
        if self.thread == 0:
            self.read("row losses", np.ones((N_ROWS, 1), bool))
        self.telemetry()
        self.barrier()
        for k, op in enumerate(self.plan.operations):
            if op.weight >= 0 or op.bias >= 0:
                self.read(f"gradient {k}", self.columns(k + 1))
                self.write(f"parameters {k}", self.columns(k + 1))

    def forward(self, k, op):
        cells = {"linear": self.everything, "layer_norm": self.rows}.get(op.kind, self.columns)
        for source in {op.source, op.second} - {-1}:
            self.read(f"value {source}", cells(source))
        own = self.rows(k + 1) if op.kind == "layer_norm" else self.columns(k + 1)
        if op.weight >= 0 or op.bias >= 0:
            shared = op.kind == "layer_norm"  # every row needs the whole of γ and β
            self.read(f"parameters {k}", self.everything(k + 1) if shared else own)
        if op.kind in ("batch_norm", "layer_norm"):
            self.write(f"statistics {k}", own)
        self.write(f"value {k + 1}", own)

    def backward(self, k, op):
        own, delta = self.columns(k + 1), f"delta {k + 1}"
        if op.kind == "linear":
            self.read(delta, own)
            self.read(f"value {op.source}", self.everything(op.source))
        if op.kind == "batch_norm":
            self.read(delta, own)
            self.read(f"value {op.source}", self.columns(op.source))
            self.write("column sums", self.scratch(own))
        if op.kind == "layer_norm" and op.weight >= 0:
            self.read(delta, own)
            self.read(f"value {op.source}", self.columns(op.source))
            self.read(f"statistics {k}", self.everything(k + 1))
        if op.weight >= 0 or op.bias >= 0:
            self.write(f"gradient {k}", own)
        for source in {op.source, op.second} - {-1, 0}:
            self.delta_of_source(k, op, source)

    def delta_of_source(self, k, op, source):
        if op.kind == "linear":
            self.read(f"delta {k + 1}", self.everything(k + 1))
            self.read(f"parameters {k}", self.everything(k + 1))
        elif op.kind == "layer_norm":
            self.read(f"delta {k + 1}", self.rows(k + 1))
            self.read(f"value {source}", self.rows(source))
            if op.weight >= 0:
                self.read(f"parameters {k}", self.everything(k + 1))
        else:
            self.read(f"delta {k + 1}", self.columns(k + 1))
            self.read(f"value {source}", self.columns(source))
            self.read(f"value {k + 1}", self.columns(k + 1))
        self.write(f"delta {source}", (self.rows if op.kind == "layer_norm" else self.columns)(source))

    def scratch(self, own):
        """Columns of the sums that all batch normalisations share, however wide each is."""
        mask = np.zeros((1, max(self.plan.widths)), bool)
        mask[0, : own.shape[1]] = own[0]
        return mask

    def telemetry(self):
        for k in range(len(self.plan.operations)):
            self.read(f"value {k + 1}", self.columns(k + 1))
            self.read(f"delta {k + 1}", self.columns(k + 1))


def races(plan, tables, n_threads, gathers=True):
    """Names of the arrays over which two threads race in two consecutive steps."""
    models = [Model(plan, tables, thread, n_threads) for thread in range(n_threads)]
    for model in models:
        model.step(gathers)
        model.step(gathers)
    found = set()
    for intervals in zip(*[model.intervals for model in models], strict=True):
        for one, interval in enumerate(intervals):
            for name, masks in interval.writes.items():
                written = np.logical_or.reduce(masks)
                for other, theirs in enumerate(intervals):
                    touched = [*theirs.reads.get(name, ()), *theirs.writes.get(name, ())]
                    if other != one and any((written & mask).any() for mask in touched):
                        found.add(name)
    return found


def all_races(plan):
    tables = make_tables(plan, np.dtype(np.float64))
    return {
        name
        for n_threads in (2, 3, 4)
        for gathers in (True, False)
        for name in races(plan, tables, n_threads, gathers)
    }


def plan_of(*modules, n_inputs=None):
    return lower(nn.Sequential(*modules), "half_squared_error", n_inputs)


RACE_FREE = {
    "linear": [nn.Linear(130, 200), nn.ReLU(), nn.Linear(200, 3)],
    "batch norm": [
        nn.BatchNorm1d(130),
        nn.Linear(130, 200),
        nn.BatchNorm1d(200),
        nn.Tanh(),
        nn.Linear(200, 2),
    ],
    "layer norm": [nn.Linear(130, 200), nn.LayerNorm(200), nn.LayerNorm(200), nn.ReLU(), nn.Linear(200, 3)],
    "layer norm last": [nn.Linear(130, 200), nn.LayerNorm(200)],
    "residual": [
        nn.Residual(
            nn.Sequential(nn.LayerNorm(130, elementwise_affine=False), nn.Linear(130, 130), nn.Dropout())
        )
    ],
    "projection": [nn.Linear(5, 130), nn.Residual(nn.Sequential(nn.Linear(130, 200), nn.BatchNorm1d(200)))],
}


@pytest.mark.parametrize("name", RACE_FREE)
def test_no_two_threads_meet(name):
    assert all_races(plan_of(*RACE_FREE[name])) == set()


def test_layer_norm_on_the_inputs_waits_for_the_update():
    # Its γ is read whole by every thread, right after the last step's update by the owners.
    assert all_races(plan_of(nn.LayerNorm(130), nn.Linear(130, 2))) == set()


def test_batch_norms_of_two_branches_do_not_share_their_sums():
    shortcut = nn.Sequential(nn.BatchNorm1d(130), nn.Linear(130, 256))
    body = nn.Sequential(nn.Linear(130, 256), nn.BatchNorm1d(256))
    assert all_races(plan_of(nn.Linear(3, 130), nn.Residual(body, shortcut))) == set()


@settings(deterministic, max_examples=250)
@given(architectures())
def test_no_two_threads_meet_in_random_networks(drawn):
    module, n_inputs = drawn
    assert all_races(lower(module, "half_squared_error", n_inputs)) == set()


@pytest.mark.parametrize("column", [layout.BARRIER_FORWARD, layout.BARRIER_BACKWARD])
def test_a_missing_barrier_is_noticed(column):
    plan = plan_of(nn.Linear(130, 200), nn.ReLU(), nn.Linear(200, 130), nn.LayerNorm(130))
    tables = make_tables(plan, np.dtype(np.float64))
    present = np.flatnonzero(tables.integers[:, column])
    assert len(present) >= 2
    for k in present:
        tables.integers[k, column] = 0
        assert races(plan, tables, 2), f"the barrier at operation {k} is not needed"
        tables.integers[k, column] = 1
    assert not races(plan, tables, 2)


def test_a_missing_loss_barrier_is_noticed():
    plan = plan_of(nn.Linear(130, 200))
    tables = make_tables(plan, np.dtype(np.float64))
    assert tables.loss_barrier == 1
    assert races(plan, tables._replace(loss_barrier=0), 2)


def test_threads_that_own_the_same_columns_do_not_wait():
    plan = plan_of(nn.Linear(130, 200), nn.BatchNorm1d(200), nn.ReLU(), nn.Dropout(), nn.Linear(200, 3))
    flags = make_tables(plan, np.dtype(np.float64)).integers
    # Forward: the batch, and all of h for the second product. Backward: δ of the loss, written by
    # rows, and all of δ for the product into the first layer's weights; the first has no δ to hand on.
    assert flags[:, layout.BARRIER_FORWARD].tolist() == [1, 0, 0, 0, 1]
    assert flags[:, layout.BARRIER_BACKWARD].tolist() == [0, 0, 0, 0, 1]


# -- panels, flags, tables -------------------------------------------------------------------------


@pytest.mark.parametrize("width", [*range(1, 300), 512, 513, 784, 1000, 4096])
def test_panels_cover_the_width(width):
    edges = panel_edges(width)
    assert edges[0] == 0
    assert edges[-1] == width
    assert (np.diff(edges) > 0).all()
    assert len(edges) - 1 <= MAX_PANELS
    assert len(edges) == 2 or np.diff(edges).min() >= layout.PANEL_WIDTH


def test_panels_known():
    assert panel_edges(127).tolist() == [0, 127]
    assert panel_edges(130).tolist() == [0, 65, 130]
    assert panel_edges(200).tolist() == [0, 66, 133, 200]
    assert len(panel_edges(10_000)) - 1 == MAX_PANELS


def expected_accumulation(plan):
    """An operation adds to the δ of a source that an operation after it reads as well."""
    seen, flags = set(), []
    for op in plan.operations[::-1]:
        first = op.source in seen
        seen.add(op.source)
        second = op.second in seen
        seen.add(op.second)
        flags.append((first, second))
    return flags[::-1]


def test_accumulation_by_hand():
    block = nn.Residual(nn.Sequential(nn.Linear(4, 4), nn.Tanh()))
    plan = plan_of(nn.Linear(4, 4), block)
    # 0 linear: X -> 1;  1 linear: 1 -> 2;  2 tanh: 2 -> 3;  3 add: 1 + 3 -> 4
    assert [(op.kind, op.source, op.second) for op in plan.operations] == [
        ("linear", 0, -1), ("linear", 1, -1), ("activation", 2, -1), ("add", 1, 3),
    ]  # fmt: skip
    flags = make_tables(plan, np.dtype(np.float64)).integers
    # Walking back: the join sets δ of 1 and of 3; the linear layer of the body then adds to δ of 1.
    assert flags[:, layout.ACCUMULATE].tolist() == [0, 1, 0, 0]
    assert flags[3, layout.ACCUMULATE_SECOND] == 0


def test_a_residual_connection_around_nothing_adds_twice():
    flags = make_tables(plan_of(nn.Linear(4, 4), nn.Residual(nn.Sequential())), np.dtype(np.float64)).integers
    assert flags[1, [layout.SOURCE, layout.SECOND]].tolist() == [1, 1]
    assert flags[1, [layout.ACCUMULATE, layout.ACCUMULATE_SECOND]].tolist() == [0, 1]


@settings(deterministic, max_examples=30)
@given(architectures())
def test_tables_repeat_the_plan(drawn):
    module, n_inputs = drawn
    plan = lower(module, "half_squared_error", n_inputs)
    tables = make_tables(plan, np.dtype(np.float32))
    assert tables.reals.dtype == np.float32
    for k, (op, flags) in enumerate(zip(plan.operations, expected_accumulation(plan), strict=True)):
        row = tables.integers[k]
        assert KINDS[row[layout.KIND]] == op.kind
        assert tuple(row[[layout.SOURCE, layout.SECOND]]) == (op.source, op.second)
        assert tuple(row[[layout.WIDTH_IN, layout.WIDTH_OUT]]) == (op.width_in, op.width_out)
        assert tuple(row[[layout.WEIGHT, layout.BIAS]]) == (op.weight, op.bias)
        assert row[layout.ACCUMULATE] == flags[0]
        for column, offset in ((layout.WEIGHT_SLOT, op.weight), (layout.BIAS_SLOT, op.bias)):
            assert (row[column] == -1) if offset < 0 else (plan.parameters[row[column]].offset == offset)
        assert (row[layout.ACTIVATE] > 0) == (op.kind == "activation")
    # Values lie one after another, without gaps, in units of rows of the batch.
    assert tables.value_at[0] == 0
    assert tables.value_at[1:].tolist() == np.concatenate([[0], np.cumsum(plan.widths[1:])]).tolist()
    norms = [k for k, op in enumerate(plan.operations) if op.kind == "batch_norm"]
    begins = tables.integers[norms, layout.STATISTICS]
    ends = begins + 2 * np.array([plan.operations[k].width_in for k in norms], dtype=np.int64)
    assert (begins[1:] >= ends[:-1]).all()  # each has a mean and a scale of its own for every unit


def test_codes_follow_the_kinds():
    codes = [
        layout.LINEAR,
        layout.ACTIVATION,
        layout.BATCH_NORM,
        layout.LAYER_NORM,
        layout.DROPOUT,
        layout.ADD,
    ]
    names = ["linear", "activation", "batch_norm", "layer_norm", "dropout", "add"]
    assert [KINDS[code] for code in codes] == names
    assert len(LAYERS) > len(KINDS)
