"""What a call says that it touches is what it touches: on this rests who waits for whom.

The calls of a step are run one by one. Everything that a call does not say it touches is filled with NaN
before it and must still be so after it, and the call must write the same bits as without the NaN.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.one_step import LEARNS, NETWORKS, PURPOSES, Step, name_of, plan_of, residual
from tests.strategies import architectures, deterministic

from chainrule import nn
from chainrule.engine.bfloat16 import PRECISIONS, available
from chainrule.engine.memory import address
from chainrule.plan import lower

# -- what calls say is true ------------------------------------------------------------------------


def bits(array):
    return array.view(f"i{array.itemsize}")


def owners(step):
    """Which thread writes each entry of the arrays that no call declares; -1 for none."""
    found = {name: np.full(array.shape, -1) for name, array in step.owned.items()}
    for thread, call in step.calls():
        before = {name: array.copy() for name, array in step.owned.items()}
        step.run(thread, call)
        for name, array in step.owned.items():
            changed = bits(array) != bits(before[name])
            others = set(found[name][changed]) - {-1, thread}
            assert not others, f"{name_of(call)} of thread {thread} writes to {name} what {others} wrote"
            found[name][changed] = thread
    return found


class Poison:
    """Fills what a call has no business with, and finds out where it has been nevertheless."""

    def __init__(self, step):
        # Whatever the calls compute is not there before.
        for name, array in step.shared.items():
            if name[0] not in ("parameters", "piece"):
                array[...] = np.nan
        start = step.snapshot()
        self.step, self.owner = step, owners(step)
        step.restore(start)
        self.row = np.full(step.plan.n_inputs, np.nan, step.dtype)

    def touched(self, thread, call):
        """By name: the entries that a call may write, and those that it may read."""
        step = self.step
        may = {}
        for name in step.shared:
            writes = step.mask(name, call.writes)
            may[name] = writes, writes | step.mask(name, call.reads)
        for name in step.owned:
            mine = (self.owner[name] == thread) | (self.owner[name] == -1)
            may[name] = mine, mine
        return may

    def nan_for(self, array):
        """NaN, or the bytes of one, or where a row of them is."""
        return {"f": np.nan, "u": 255, "i": address(self.row)}[array.dtype.kind]

    def wrong(self, thread, call):
        """What a call touches without saying so; afterwards it has been run once."""
        step, may = self.step, self.touched(thread, call)
        before = step.snapshot()
        step.run(thread, call)
        clean = step.snapshot()
        step.restore(before)
        for name, (_, reads) in may.items():
            array = step.everything()[name]
            array[~reads] = self.nan_for(array)
        poisoned = step.snapshot()
        step.run(thread, call)
        wrong = set()
        for name, array in step.everything().items():
            writes = may[name][0] if name in may else np.ones(array.shape, bool)
            differs = bits(array) != bits(np.where(writes, clean[name], poisoned[name]))
            if (differs & writes).any():
                wrong.add(f"{name_of(call)} of thread {thread} reads more than it says for {name}")
            # What is added to NaN leaves no trace, so the numbers without NaN are looked at as well.
            changes = bits(clean[name]) != bits(before[name])
            if ((differs | changes) & ~writes).any():
                wrong.add(f"{name_of(call)} of thread {thread} writes to {name}")
        step.restore(clean)
        return wrong


def wrong_declarations(step):
    """Everything that any call touches without saying so."""
    poison = Poison(step)
    data = {name: array.copy() for name, array in step.data.items() if name != "output"}
    wrong = set().union(*(poison.wrong(thread, call) for thread, call in step.calls()))
    for name, array in data.items():
        np.testing.assert_array_equal(step.data[name], array)
    return wrong


# Purposes that differ in what calls touch, each with a number of threads.
TRIALS = [
    ("predict", 2), ("gradient", 3), ("gradient in evaluation", 4), ("learn", 2), ("learn", 3), ("learn", 4),
    ("learn with penalties", 3), ("learn together", 2), ("learn together", 3), ("watch and clip", 4),
]  # fmt: skip


@pytest.mark.parametrize(("purpose", "n_threads"), TRIALS)
@pytest.mark.parametrize("network", NETWORKS)
def test_calls_touch_what_they_say(network, purpose, n_threads):
    plan = plan_of(*NETWORKS[network]())
    assert wrong_declarations(Step(plan, PURPOSES[purpose], n_threads)) == set()


@pytest.mark.parametrize("n_threads", [2, 3])
def test_calls_touch_what_they_say_with_sparse_examples(n_threads):
    plan = plan_of(*NETWORKS["linear"]())
    assert wrong_declarations(Step(plan, LEARNS, n_threads, sparse=True)) == set()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("purpose", ["learn", "clip"])
def test_calls_on_packed_factors_touch_what_they_say(purpose, precision):
    if not available():
        pytest.skip("this processor has no instructions for bf16")
    plan = plan_of(nn.Linear(130, 200), nn.ReLU(), residual(nn.Linear(200, 200)), nn.Linear(200, 3))
    step = Step(plan, PURPOSES[purpose]._replace(precision=precision), 3, np.float32)
    assert any(name_of(call).startswith("pack") for _, call in step.calls())
    assert wrong_declarations(step) == set()


@settings(deterministic, max_examples=40)
@given(architectures(), st.sampled_from(sorted(PURPOSES)), st.integers(2, 4), st.integers(1, 9))
def test_calls_of_random_networks_touch_what_they_say(drawn, purpose, n_threads, n_rows):
    plan = lower(drawn[0], "half_squared_error", drawn[1])
    step = Step(plan, PURPOSES[purpose], n_threads, np.float32, capacity=10, n_rows=n_rows)
    assert wrong_declarations(step) == set()


@pytest.mark.parametrize("purpose", ["learn", "clip"])
def test_what_a_call_does_not_say_is_noticed(purpose):
    step = Step(plan_of(nn.Linear(20, 40), nn.LayerNorm(40), nn.Linear(40, 33)), PURPOSES[purpose], 2)
    poison = Poison(step)
    for thread, call in step.calls():
        before = step.snapshot()
        for kind in ("reads", "writes"):
            accesses = getattr(call, kind)
            for left_out in range(len(accesses)):
                step.restore(before)
                kept = accesses[:left_out] + accesses[left_out + 1 :]
                wrong = poison.wrong(thread, call._replace(**{kind: kept}))
                assert wrong, f"{name_of(call)} need not say that it {kind} {accesses[left_out]}"
        step.restore(before)
        step.run(thread, call)
