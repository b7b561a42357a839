"""Section 7's experiments: each can come out the other way, and comes out as it should."""

import numpy as np
import pytest

from chainrule.book.experiments.tape import (
    _early,
    _paths,
    chapter_snippet,
    doubled,
    memory_of_a_walk,
    random_walk,
    small_graph,
    snippet_error,
)
from chainrule.book.experiments.tape_promises import (
    accumulate,
    behind_the_tape,
    change_in_place,
    second_passes,
)


def test_the_snippet_has_the_chapters_shapes_and_the_gradients_of_backprop():
    found = chapter_snippet(n=4, dtype=np.float64)
    assert found.shapes == {
        "0.weight": (128, 784), "0.bias": (128,), "2.weight": (10, 128), "2.bias": (10,),
    }  # fmt: skip
    assert snippet_error(found) < 1e-12
    found.gradients["0.weight"][0, 0] += 1
    assert snippet_error(found) > 0.1


@pytest.mark.parametrize("seed", range(5))
def test_a_random_expression_is_walked_once(seed):
    found = random_walk(seed, operations=12)
    assert found.visits == found.visited == found.nodes
    assert found.early == 0
    assert found.error < 1e-12


def test_paths_are_counted_and_early_visits_seen():
    diamond = {0: (), 1: (0,), 2: (0,), 3: (1, 2)}
    assert _paths(3, diamond) == 2
    assert _early([3, 2, 1, 0], diamond, {0, 1, 2, 3}) == 0
    assert _early([3, 1, 0, 2], diamond, {0, 1, 2, 3}) == 1


def test_many_paths_over_few_operations():
    y, (x, *_) = doubled(30)
    y.backward()
    assert x.grad.item() == 2.0**30


def test_the_jacobians_would_be_far_larger():
    found = memory_of_a_walk(d=100, n=8)
    assert found[0].jacobian == 8 * (8 * 100) ** 2
    assert all(one.peak < one.jacobian / 10 for one in found)


def test_the_small_graph_has_the_gradients_of_the_formula():
    w, b, *_, loss = small_graph()
    h = 1 / (1 + np.exp(-(0.8 * 1.5 - 0.3)))
    assert b.gradient == pytest.approx((h - 1) * h * (1 - h))
    assert w.gradient == pytest.approx((h - 1) * h * (1 - h) * 1.5 + 0.8)
    assert loss.value == pytest.approx(0.5 * (h - 1) ** 2 + 0.5 * 0.8**2)


def test_gradients_accumulate():
    found = accumulate(3)
    assert found.passes == pytest.approx((1, 2, 3))
    assert found.after_zero_grad == pytest.approx(1)


def test_only_what_kept_nothing_is_walked_twice():
    found = {one.name: one for one in second_passes()}
    assert [name for name, one in found.items() if not one.message] == ["sum of x + x"]
    assert all(one.retained_times == pytest.approx(2) for one in found.values())


def test_changes_in_place_are_refused_where_the_value_is_read():
    refused = {(one.name, one.changed) for one in change_in_place() if one.message}
    assert {("sin", "input"), ("exp", "output"), ("matmul", "input"), ("sqrt", "output")} <= refused
    assert not refused & {("add", "input"), ("sum", "output"), ("sin", "output"), ("exp", "input")}
    assert all(one.is_safe for one in change_in_place())


def test_a_change_behind_the_tape_would_be_found_out():
    found = behind_the_tape()
    assert found.message == ""
    assert not found.is_safe
