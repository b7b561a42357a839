"""Schedules of real networks: no two threads race, and a step ends alike however it is cut.

Races are looked for in the assembled words, by the oracle of ``test_dependencies.py``; that each call touches
what it says it touches is made sure of in ``test_declarations.py``.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.one_step import LEARNS, NETWORKS, OPTIMIZERS, PURPOSES, Step, plan_of, residual
from tests.engine.test_dependencies import Event, conflicts, races, without_one_wait
from tests.strategies import architectures, deterministic

from chainrule import nn
from chainrule.engine import worker
from chainrule.engine.bfloat16 import PRECISIONS, available
from chainrule.engine.calls import WORDS
from chainrule.engine.layout import CACHE_LINE
from chainrule.engine.memory import address
from chainrule.engine.schedule import assemble
from chainrule.plan import lower

# -- no two threads race ---------------------------------------------------------------------------


def programs_of_words(phases, progress):
    """What the assembled words say that each thread does, in the order in which it does it."""
    programs = []
    n_threads = len(phases[0])
    for thread, words in enumerate(assemble(phases, progress)):
        calls = [call for phase in phases for call in phase[thread]]
        program = []
        n_calls = 0
        for row in words.tolist():
            kernel, where, place = row[:3]
            if kernel == worker.wait_for().address:
                other, offset = divmod(where - progress, CACHE_LINE)
                assert offset == 0
                assert other in set(range(n_threads)) - {thread}
                program.append(Event("wait", place, other))
            elif kernel == worker.post().address:
                assert where == progress + thread * CACHE_LINE
                program.append(Event("post", place))
            else:
                call = calls[n_calls]
                arguments = call.kernel.pack(**call.arguments)
                assert row == [call.kernel.address, *arguments, *[0] * (WORDS - 1 - len(arguments))]
                program.append(Event("call", n_calls))
                n_calls += 1
        assert n_calls == len(calls)
        programs.append(program)
    return programs


def programs_and_conflicts(plan, purpose, n_threads, **options):
    step = Step(plan, purpose, n_threads, **options)
    return programs_of_words(step.phases, address(step.memory.progress)), conflicts(step.phases)


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("network", NETWORKS)
def test_no_two_threads_race(network, purpose):
    plan = plan_of(*NETWORKS[network]())
    for n_threads in (2, 3, 4):
        programs, pairs = programs_and_conflicts(plan, PURPOSES[purpose], n_threads)
        assert races(pairs, programs) == set()


@pytest.mark.skipif(not available(), reason="this processor has no instructions for bf16")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_two_threads_race_over_packed_factors(precision):
    plan = plan_of(nn.Linear(130, 200), nn.ReLU(), residual(nn.Linear(200, 200)), nn.Linear(200, 3))
    for n_threads in (2, 3, 4):
        purpose = LEARNS._replace(precision=precision)
        programs, pairs = programs_and_conflicts(plan, purpose, n_threads, dtype=np.float32)
        assert races(pairs, programs) == set()


@settings(deterministic, max_examples=100)
@given(
    architectures(), st.sampled_from(sorted(PURPOSES)), st.integers(2, 4), st.sampled_from([1, 10, 300]),
    st.booleans(),
)  # fmt: skip
def test_no_two_threads_race_in_random_networks(drawn, purpose, n_threads, capacity, sparse):
    plan = lower(drawn[0], "half_squared_error", drawn[1])
    options = {"capacity": capacity, "n_rows": 1, "sparse": sparse}
    programs, pairs = programs_and_conflicts(plan, PURPOSES[purpose], n_threads, **options)
    assert races(pairs, programs) == set()


@pytest.mark.parametrize("n_threads", [2, 3, 4])
@pytest.mark.parametrize("purpose", ["learn", "watch and clip"])
@pytest.mark.parametrize("network", NETWORKS)
def test_no_wait_is_for_nothing(network, purpose, n_threads):
    plan = plan_of(*NETWORKS[network]())
    programs, pairs = programs_and_conflicts(plan, PURPOSES[purpose], n_threads)
    for fewer in without_one_wait(programs):
        assert races(pairs, fewer)


# -- one step, however it is cut -------------------------------------------------------------------


def end_of(step, n_turns=2):
    """Everything that is left of a step, taken again and again on the same batch."""
    for _ in range(n_turns):
        for thread, call in step.calls():
            step.run(thread, call)
    step.close()
    left = (step.parameters, step.state, step.buffers, step.memory.loss, step.memory.penalties)
    return b"".join(array.tobytes() for array in left)


@pytest.mark.parametrize("variant", ["none", "l2", "l1"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gradients_in_registers_and_in_memory_end_alike(optimizer, variant):
    """Also in any number of threads; clipping at 1e9 multiplies by 1."""
    block = residual(nn.Linear(40, 20), nn.BatchNorm1d(20), nn.Tanh(), nn.Linear(20, 40), nn.Dropout(0.2))
    plan = plan_of(
        nn.Linear(130, 40), nn.LayerNorm(40), block, nn.SiLU(), nn.Linear(40, 70), nn.Linear(70, 2)
    )
    fused = LEARNS._replace(rule=OPTIMIZERS[optimizer].rule, variant=variant)
    ends = {
        end_of(Step(plan, fused._replace(clips=clips, watches=watches), n_threads, clip_norm=1e9))
        for clips in (False, True)
        for watches in (False, True)
        for n_threads in (1, 2, 3, 4)
    }
    ends |= {end_of(Step(plan, fused._replace(packs=True), n_threads)) for n_threads in (1, 2, 3, 4)}
    assert len(ends) == 1
    assert end_of(Step(plan, fused._replace(clips=True), 2, clip_norm=0.1)) not in ends
    step = Step(plan, fused, 2)
    before = step.parameters.copy()
    assert end_of(step) in ends
    assert (step.parameters != before).all()


def accumulations(plan):
    """(value, whether it is added to what is there) of every δ that is handed down, in order."""
    step = Step(plan, PURPOSES["gradient"], 1)
    deltas = {matrix.address(0): v for v, matrix in enumerate(step.memory.deltas) if matrix is not None}
    found = []
    for _, call in step.calls():
        arguments = call.arguments
        target = arguments.get("result", arguments.get("below", arguments.get("delta_in")))
        if target in deltas:
            found.append((deltas[target], arguments.get("accumulate", arguments.get("adds"))))
    return found


def test_accumulation_by_hand():
    plan = plan_of(nn.Linear(4, 4), residual(nn.Linear(4, 4), nn.Tanh()))
    # 0 linear: X -> 1;  1 linear: 1 -> 2;  2 tanh: 2 -> 3;  3 add: 1 + 3 -> 4
    assert [(op.kind, op.source, op.second) for op in plan.operations] == [
        ("linear", 0, -1), ("linear", 1, -1), ("activation", 2, -1), ("add", 1, 3),
    ]  # fmt: skip
    # Walking back: the join sets δ of 1 and of 3; the linear layer of the body then adds to δ of 1.
    assert accumulations(plan) == [(1, 0), (3, 0), (2, 0), (1, 1)]


def test_a_residual_connection_around_nothing_adds_twice():
    plan = plan_of(nn.Linear(4, 4), nn.Residual(nn.Sequential()))
    assert [(op.source, op.second) for op in plan.operations[1:]] == [(1, 1)]
    assert accumulations(plan) == [(1, 0), (1, 1)]


@settings(deterministic, max_examples=60)
@given(architectures())
def test_every_delta_is_set_once_and_then_added_to(drawn):
    plan = lower(drawn[0], "half_squared_error", drawn[1])
    expected, seen = [], set()
    for op in plan.operations[::-1]:
        for source in (op.source, op.second):
            if source > 0:
                expected.append((source, int(source in seen)))
                seen.add(source)
    assert [one for one in accumulations(plan) if one[1] is not None] == expected
