"""Where descent ends from many starts."""

import numpy as np
import pytest

from chainrule.book.experiments.minima import (
    TEACHER_WIDTH,
    Ends,
    ends_of_descent,
    network,
    spiral,
    steepness,
    teacher,
    teacher_as_student,
    unexplained,
)


def test_the_teacher_can_be_learned_without_error():
    problem = teacher()
    for width in (TEACHER_WIDTH, TEACHER_WIDTH + 3):
        net = teacher_as_student(width)
        assert unexplained(net, problem.X, problem.y) < 1e-20
        assert unexplained(net, problem.X_held_out, problem.y_held_out) < 1e-20
    with pytest.raises(ValueError, match="width must be at least the teacher's, 4, got 3"):
        teacher_as_student(3)


def test_a_constant_explains_nothing():
    problem = spiral(n=50)
    net = network(3, seed=0)
    net[2].weight = np.zeros((1, 3))
    net[2].bias = np.array([problem.y.mean()])
    assert unexplained(net, problem.X, problem.y) == pytest.approx(1.0, abs=1e-6)


def test_classes_of_the_spiral_are_as_frequent():
    problem = spiral(n=400)
    assert set(problem.y) == {-1.0, 1.0}
    assert abs(problem.y.mean()) < 0.2
    assert problem.X.shape == (400, 2)
    assert len(problem.X_held_out) == 1000


def test_wider_networks_end_lower():
    narrow, wide = ends_of_descent(teacher(), widths=[1, 16], seeds=range(3), steps=1000)
    assert narrow.training.min() > wide.training.max()
    assert wide.training.max() < 0.05
    found = steepness(teacher(), wide, at_most=1)
    assert found.top.shape == (1,)
    assert found.top[0] > found.lowest[0]


def test_who_is_stuck_has_come_to_rest_above_the_best():
    ends = Ends(2, np.array([0.1, 0.3, 0.3]), np.zeros(3), np.array([0.1, 0.3, 0.5]), ())
    assert ends.stuck(0.05).tolist() == [False, True, False]
    assert ends.settled(0.05).tolist() == [True, True, False]


def test_few_steps_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 100, got 50"):
        ends_of_descent(teacher(), widths=[2], seeds=[0], steps=50)
