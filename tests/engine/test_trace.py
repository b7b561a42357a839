"""Rules as programs: what they compute is what the rule computes, and what cannot be one is refused."""

import math
from math import sqrt

import numpy as np
import pytest

from chainrule.engine.trace import INPUTS, trace
from chainrule.optim import RULES, UpdateRule


class Arrays:
    """The instructions of a program, on NumPy's arrays of doubles."""

    splat = staticmethod(np.float64)
    add, subtract = staticmethod(np.add), staticmethod(np.subtract)
    multiply, divide = staticmethod(np.multiply), staticmethod(np.divide)
    negate, absolute, sqrt = staticmethod(np.negative), staticmethod(np.abs), staticmethod(np.sqrt)
    less, less_equal = staticmethod(np.less), staticmethod(np.less_equal)
    equal, not_equal = staticmethod(np.equal), staticmethod(np.not_equal)
    select = staticmethod(np.where)

    @staticmethod
    def multiply_add(a, b, c):
        return a * b + c


def rule(scalar_update, name="mine"):
    return UpdateRule(name, "", "", None, scalar_update)


def inputs(seed=0, n=200):
    """Parameters, moments, gradients and coefficients; every fifth parameter is 0."""
    rng = np.random.default_rng(seed)
    w, first, g = rng.normal(size=(3, n))
    w[::5] = 0
    return w, first, rng.uniform(0, 1, n), g, rng.uniform(0.1, 1, 8)


def by_program(scalar_update, seed=0):
    program = trace(rule(scalar_update))
    *numbers, c = inputs(seed)
    values = [*numbers, *c]
    return np.array([np.broadcast_to(x, 200) for x in program.run(Arrays, values, {})])


def by_numbers(scalar_update, seed=0):
    *numbers, c = inputs(seed)
    c = tuple(c.tolist())
    return np.array([scalar_update(*row, c) for row in np.transpose(numbers).tolist()]).T


LIMIT = 0.25


def _sign(x):
    return 1.0 if x > 0 else (-1.0 if x < 0 else 0.0)


def signed(w, first, second, g, c):
    """Conditions in a function called by name, one within the other."""
    return w - c[6] * _sign(first + g), c[2] * first + c[3] * g, second


def largest(w, first, second, g, c):
    """The built-in max and min, and a comparison that is not a branch of its own."""
    second = max(c[4] * second, g * g)
    first = min(max(first, -LIMIT), LIMIT)
    return w - c[6] * first / (math.sqrt(second) + c[7]), first, second


def branches(w, first, second, g, c):
    if g >= 0 and w != 0:
        first = first + 1
    elif abs(g) <= LIMIT or w != w:
        first = 2 - first
    for _ in range(3):
        first = first / 2
    return w, first, -second


def powers(w, first, second, g, c):
    return w**2 - g**3, sqrt(second), math.fabs(g) / np.sqrt(second) * np.float64(2)


def constants(w, first, second, g, c):
    return 0, 1.5, math.pi * c[0] + math.sqrt(2.0)


def products(w, first, second, g, c):
    """Every way in which a product is added or taken away."""
    a = w * g - first
    b = first - w * g
    d = w * g + first * second - (2.0 - w * g)
    return a * b + d, w * g - first * second, 1.0 - (3 - w)


PLAIN = [signed, largest, branches, powers, constants, products]


@pytest.mark.parametrize("function", [*(one.scalar_update for one in RULES.values()), *PLAIN])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_program_computes_what_the_rule_does(function, seed):
    np.testing.assert_allclose(by_program(function, seed), by_numbers(function, seed), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [0.0, 1.0])
@pytest.mark.parametrize("name", RULES)
def test_a_program_computes_what_the_definition_does(name, momentum, nesterov):
    w, first, second, g, c = inputs()
    c[2], c[5] = momentum, nesterov if name == "sgd" else c[5]
    program = trace(RULES[name])
    results = program.run(Arrays, [w, first, second, g, *c], {})
    state = np.array([first, second])
    RULES[name].update(w, state, g, c)
    np.testing.assert_allclose(results, [w, *state], rtol=1e-12, atol=1e-14)


def test_a_closure_is_part_of_its_program():
    def with_scale(scale):
        return lambda w, first, second, g, c: (w - scale * g, first, second)

    programs = {trace(rule(with_scale(scale))) for scale in (1.0, 2.0, 2.0)}
    assert len(programs) == 2
    np.testing.assert_array_equal(by_program(with_scale(2.0)), by_numbers(with_scale(2.0)))


def test_values_of_the_coefficients_alone_are_settled_beforehand():
    program = trace(rule(lambda w, first, second, g, c: (w * ((1 - c[0]) / c[1]), first, 3.0)))
    values = [None] * 4 + list(np.arange(1.0, 9.0))
    settled = program.settle(Arrays, values)
    names = [instruction[0] for instruction in program.instructions]
    unsettled = {place for place in range(len(names)) if place not in settled}
    assert {program.instructions[place] for place in unsettled if names[place] == "input"} == {
        ("input", INPUTS.index("w")), ("input", INPUTS.index("first"))
    }  # fmt: skip
    assert [names[place] for place in unsettled].count("multiply") == len(unsettled) - 2 == 1
    w, _, third = program.run(Arrays, [2.0, 0.0, 0.0, 0.0, *values[4:]], settled)
    assert (w, third) == (2.0 * (0.0 / 2.0), 3.0)


def test_what_no_result_needs_is_left_out():
    """Nor is anything selected where both answers lead to the same."""

    def same(w, first, second, g, c):
        return (w, first, second) if abs(g * c[3]) > LIMIT else (w + 0 * 0, first, second)

    def undecided(w, first, second, g, c):
        if abs(g * c[3]) > LIMIT:
            second = second + 0 * w
            return w, first, second
        return w, first, second + 0 * w

    assert len(trace(rule(same)).instructions) > 3
    program = trace(rule(undecided))
    assert [name for name, *_ in program.instructions] == ["input"] * 3 + ["constant", "multiply_add"]
    assert program.results == (0, 1, 4)


def test_a_product_is_fused_with_what_it_is_added_to():
    def instructions(function):
        return [name for name, *_ in trace(rule(function)).instructions if name != "input"]

    def fused(w, first, second, g, c):
        return w - c[0] * w, c[2] * first + c[3] * g, second

    assert instructions(fused) == ["negate", "multiply_add", "multiply", "multiply_add"]


def _forever(w, first, second, g, c):
    while w > 0:
        w = w - 1
    return w, first, second


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda w, m, v, g, c: (w - math.exp(g), m, v), "TypeError: math.exp has no instruction"),
        (lambda w, m, v, g, c: (w % 2, m, v), "TypeError: unsupported operand .* %"),
        (lambda w, m, v, g, c: (w**0.5, m, v), "TypeError: a power must be a whole number .* got 0.5"),
        (lambda w, m, v, g, c: (w - float(g), m, v), "TypeError: float.* argument"),
        (lambda w, m, v, g, c: (w, m), r"TypeError: it must return \(w, first, second\); got"),
        (lambda w, m, v, g, c: (w, m, "v"), "TypeError: a number was expected; got str"),
        (lambda w, m, v, g, c: (w, m, v > 0), "TypeError: a number was expected; got _Condition"),
        (lambda w, m, v, g, c: (w - c[8], m, v), "IndexError: tuple index out of range"),
        (lambda w, m, v, g: (w, m, v), "TypeError: .* takes 4 positional arguments but 5 were given"),
        (_forever, "ValueError: it decides more than 8 times what to do"),
    ],
)
def test_what_cannot_be_compiled_is_named(function, reason):
    with pytest.raises(TypeError, match=f"the optimizer rule 'mine' cannot be compiled, {reason}.*may use"):
        trace(rule(function))
