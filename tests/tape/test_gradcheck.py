"""gradcheck finds every wrong derivative that is planted, and says where it is."""

import numpy as np
import pytest
from tests.tape.examples import EXAMPLES, all_entries, differentiable

from chainrule.tape import (
    PRIMITIVES,
    GradcheckError,
    Primitive,
    Tensor,
    finite_differences,
    gradcheck,
    gradgradcheck,
    tensor,
)
from chainrule.tape.graph import sum_to_shape

# -- wrong derivatives -------------------------------------------------------------------------------


def _largest_missing(right, _inputs):
    wrong = np.array(right)
    if wrong.size:
        wrong[np.unravel_index(np.abs(wrong).argmax(), wrong.shape)] = 0
    return wrong


MISTAKES = {
    "scaled": lambda right, _inputs: 1.01 * right,
    "sign": lambda right, _inputs: -right,
    "zeroed": lambda right, _inputs: 0 * right,
    "missing term": _largest_missing,
    "extra term": lambda right, _inputs: right + 0.1,
    "shifted": lambda right, _inputs: np.roll(right, 1),
    "reversed": lambda right, _inputs: np.ravel(right)[::-1].reshape(np.shape(right)),
    "transposed": lambda right, _inputs: (
        np.swapaxes(right, -1, -2) if np.ndim(right) > 1 and right.shape[-1] == right.shape[-2] else right
    ),
}


def planted(entry, number, mistake):
    """The primitive with one wrong vector-Jacobian product."""
    right = entry.vjps[number]

    def wrong(g, out, *inputs, **options):
        if mistake == "operands swapped":
            return right(g, out, inputs[1], inputs[0], *inputs[2:], **options)
        return MISTAKES[mistake](np.asarray(right(g, out, *inputs, **options)), inputs)

    vjps = tuple(wrong if index == number else vjp for index, vjp in enumerate(entry.vjps))
    return Primitive(entry.name, entry.forward, vjps, entry.formula, entry.is_view)


def changes_something(entry, example, number, mistake):
    """Whether this is a mistake at all: a derivative of 0 stays right whatever its sign."""
    out = np.asarray(entry.forward(*example.inputs, **example.options))
    g = np.random.default_rng(0).normal(size=out.shape)
    right = np.asarray(entry.vjps[number](g, out, *example.inputs, **example.options))
    if mistake == "operands swapped":
        x, y = example.inputs[:2]
        if not (np.shape(x) == np.shape(y) and isinstance(x, np.ndarray) and isinstance(y, np.ndarray)):
            return False
    with np.errstate(all="ignore"):
        wrong = planted(entry, number, mistake).vjps[number](g, out, *example.inputs, **example.options)
    # What broadcasting copied is summed: entries that end in one sum may change places.
    right, wrong = (sum_to_shape(np.asarray(one), np.shape(example.inputs[number])) for one in (right, wrong))
    return not np.allclose(wrong, right, rtol=5e-3, atol=1e-4)


def cases():
    for name, (entry, examples) in all_entries().items():
        for example in examples[:1]:
            for number in differentiable(entry, example):
                for mistake in (*MISTAKES, "operands swapped"):
                    if mistake == "operands swapped" and len(example.inputs) < 2:
                        continue
                    if changes_something(entry, example, number, mistake):
                        yield pytest.param(
                            entry, example, number, mistake, id=f"{name}-{number}-{mistake}".replace(" ", "_")
                        )


CASES = list(cases())


def tensors(entry, example):
    wanted = differentiable(entry, example)
    return [
        tensor(x, requires_grad=True) if number in wanted else x for number, x in enumerate(example.inputs)
    ]


def call(entry, example):
    """The primitive as a function of the inputs that have a derivative, and these."""
    inputs = tensors(entry, example)
    places = [number for number, x in enumerate(inputs) if isinstance(x, Tensor)]

    def function(*given):
        arguments = list(inputs)
        for place, x in zip(places, given, strict=True):
            arguments[place] = x
        return entry(*arguments, **example.options)

    return function, [inputs[place] for place in places]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what a mistake computes may overflow
@pytest.mark.parametrize("full", [True, False], ids=["full", "random"])
@pytest.mark.parametrize(("entry", "example", "number", "mistake"), CASES)
def test_finds_a_planted_mistake(entry, example, number, mistake, full):
    function, inputs = call(planted(entry, number, mistake), example)
    with pytest.raises(GradcheckError) as error:
        gradcheck(function, inputs, full=full)
    assert error.value.worst.input == differentiable(entry, example).index(number)
    assert not gradcheck(function, inputs, full=full, raise_exception=False)


@pytest.mark.parametrize("name", [name for name, entry in PRIMITIVES.items() if any(entry.vjps)])
def test_every_primitive_has_an_example_and_mistakes(name):
    assert EXAMPLES.get(name), f"tests/tape/examples.py has no example for the primitive {name!r}"
    entry = PRIMITIVES[name]
    tried = {(case.values[2], case.values[3]) for case in CASES if case.values[0] is entry}
    # Every input that has a derivative is tampered with, in more than one way.
    for number in differentiable(entry, EXAMPLES[name][0]):
        assert len([one for one in tried if one[0] == number]) >= 2 - (name in STEPS)
    assert differentiable(entry, EXAMPLES[name][0]) == [i for i, vjp in enumerate(entry.vjps) if vjp]


STEPS = {"sign", "floor", "ceil", "trunc", "rint"}  # 0: only what is added shows


# -- what it says ------------------------------------------------------------------------------------


def leaf(*values, dtype=np.float64):
    return tensor(np.array(values, dtype), requires_grad=True)


def test_names_the_entry_that_is_wrong():
    def vjp(g, _out, x):
        right = 2 * g * x
        right[2] += 0.5 * g[2]
        return right

    wrong = Primitive("wrong square", np.square, (vjp,), "x^2")
    with pytest.raises(
        GradcheckError, match=r"∂ output 1\[2\] / ∂ input 1\[2\]: the tape says 6\.5"
    ) as error:
        gradcheck(lambda x, y: (x + 1, wrong(y)), (leaf(1.0), leaf(1.0, 2.0, 3.0)))
    worst = error.value.worst
    assert (worst.output, worst.output_entry, worst.input, worst.input_entry) == (1, (2,), 1, (2,))
    assert worst.analytic == 6.5
    assert worst.numeric == pytest.approx(6, abs=1e-6)
    assert error.value.n_wrong == 1


def test_nan_is_wrong():
    nothing = Primitive("nan", np.square, (lambda g, _out, x: g * np.nan,), "x^2")
    assert not gradcheck(nothing, leaf(1.0), raise_exception=False)
    assert not gradcheck(nothing, leaf(1.0), raise_exception=False, full=False)


def test_float32_is_refused():
    with pytest.raises(ValueError, match="inputs must be float64 to be checked.*input 1 is float32"):
        gradcheck(lambda x, y: x * y, (leaf(1.0), leaf(1.0, dtype=np.float32)))


def test_arrays_and_inputs_without_gradient_are_refused():
    with pytest.raises(TypeError, match="input 0 is ndarray"):
        gradcheck(np.sin, [np.ones(2)])
    with pytest.raises(ValueError, match="at least one must require grad"):
        gradcheck(np.sin, tensor(np.ones(2)))


@pytest.mark.parametrize("full", [True, False])
def test_an_unused_input_has_derivative_zero(full):
    assert gradcheck(lambda x, y: x * 2, (leaf(1.0, 2.0), leaf(3.0)), full=full)
    assert gradgradcheck(lambda x, y: np.sin(x), (leaf(1.0, 2.0), leaf(3.0)), full=full)


@pytest.mark.parametrize("full", [True, False])
def test_gradgradcheck_finds_a_wrong_second_derivative(full):
    # The first derivative is right, but cos is taken off the tape, so the second is 0.
    off = Primitive("sin", np.sin, (lambda g, _out, x: g * np.cos(getattr(x, "data", x)),), "sin x")
    x = leaf(0.3, -1.2)
    assert gradcheck(off, x, full=full)
    with pytest.raises(GradcheckError, match="input 0"):
        gradgradcheck(off, x, full=full)
    assert gradgradcheck(np.sin, x, full=full)
    assert gradgradcheck(np.sin, x, tensor(np.array([2.0, 3.0]), requires_grad=True), full=full)


def test_nothing_is_left_behind():
    x = leaf(0.3, -1.2)
    before = x.data.copy()
    gradcheck(np.sin, x)
    gradgradcheck(np.sin, x)
    assert x.grad is None
    np.testing.assert_array_equal(x.data, before)


# -- finite differences --------------------------------------------------------------------------------


def test_finite_differences_of_arrays_and_tensors():
    x, y = np.array([1.0, -2.0]), np.array([[0.5]])
    found = finite_differences(lambda a, b: (a**3).sum() * b.sum(), (x, tensor(y)))
    np.testing.assert_allclose(found[0], 3 * x**2 * 0.5, rtol=1e-8)
    np.testing.assert_allclose(found[1], [[-7.0]], rtol=1e-8)
    np.testing.assert_array_equal(x, [1.0, -2.0])


def test_finite_differences_take_the_step_from_the_precision():
    x = np.array([3.0, 1000.0])
    for dtype, rtol in ((np.float64, 1e-8), (np.float32, 3e-3)):
        found = finite_differences(lambda a: np.sqrt(a).sum(), x.astype(dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, 0.5 / np.sqrt(x), rtol=rtol * 100 if dtype == np.float32 else rtol)
    coarse = finite_differences(lambda a: (a**3).sum(), np.array([1.0]), eps=0.1)
    np.testing.assert_allclose(coarse, [3.01])  # 3 x² + e²


def test_finite_differences_of_one_leaf():
    x = leaf(1.0, 2.0)
    np.testing.assert_allclose(finite_differences(lambda a: (a * a).sum(), x), [2, 4], rtol=1e-8)
