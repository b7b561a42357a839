"""The perceptron's experiments against what is known by hand."""

import numpy as np
import pytest

from chainrule.book.experiments.perceptron import (
    bound_of,
    bounds_of_many_sets,
    hardest_set,
    run_of_the_rule,
    separable_set,
    subgradient_descent,
    updates,
)


def test_orthogonal_rows_cost_a_mistake_each():
    # R² = n, and w* = Σ yᵢxᵢ / n has norm 1 and margin 1: the bound is n. Only the positive row is spared.
    found = bound_of(*hardest_set(16))
    assert found.mistakes == 15
    assert found.bound == pytest.approx(16, rel=1e-9)


def test_the_rule_on_and_by_hand():
    X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([-1, -1, -1, 1])
    steps = list(updates(X, y, 1))
    # z = 0 counts as +1, so the first row is a mistake and the next two are none.
    assert [row for row, _ in steps] == [0, 3]
    assert steps[-1][1].tolist() == [1.0, 1.0, 0.0]


def test_the_rule_is_subgradient_descent():
    X, y = separable_set(3, 25, gap=0.05, seed=1)
    steps = list(updates(X, y, 1000))
    path = subgradient_descent(X, y, [row for row, _ in steps], rate=1.0)
    np.testing.assert_allclose(path, [weights for _, weights in steps], atol=1e-12)


def test_a_run_that_keeps_the_theorem_has_no_violation_and_another_has():
    run = run_of_the_rule(*separable_set(2, 30, gap=0.1, seed=0))
    assert run.violation < 1e-12
    broken = type(run)(run.X, run.y, 3 * run.weights, run.best, run.margin, run.radius)
    assert broken.violation > 0.01


def test_many_sets_come_to_rest():
    found = bounds_of_many_sets(5, orders=2, seed=3)
    assert all(one.converged and one.mistakes <= one.bound for one in found)
    assert len({one.dimension for one in found}) > 1


def test_points_keep_the_distance():
    X, y = separable_set(2, 50, gap=0.5, seed=2)
    assert run_of_the_rule(X, y).margin > 0
    assert set(y) == {-1, 1}


@pytest.mark.parametrize(("wrong", "named"), [({"rows": 1}, "rows"), ({"gap": 0.0}, "gap")])
def test_wrong_arguments_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        separable_set(**{"dimension": 2, "rows": 5, "gap": 0.1, **wrong})
