"""Every primitive against NumPy, and its derivatives against finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.tape.examples import (
    BINARY_DOMAINS,
    CUBE,
    DOMAINS,
    UNARY_DOMAINS,
    X,
    Y,
    all_entries,
    differentiable,
    numbers,
)

from chainrule.functions import ACTIVATIONS, LOSSES
from chainrule.tape import PRIMITIVES, Tensor, gradcheck, gradgradcheck, tensor
from chainrule.tape.primitives import ACTIVATION_PRIMITIVES, LOSS_PRIMITIVES, products, shapes

ENTRIES = all_entries()
EVERY = [
    pytest.param(entry, example, id=f"{name}-{number}".replace(" ", "_"))
    for name, (entry, examples) in ENTRIES.items()
    for number, example in enumerate(examples)
]
WITH_DERIVATIVE = [case for case in EVERY if differentiable(*case.values)]


def on_tape(entry, example):
    """The primitive as a function of the inputs that have a derivative, and these as leaves."""
    wanted = differentiable(entry, example)

    def function(*leaves):
        inputs = list(example.inputs)
        for place, x in zip(wanted, leaves, strict=True):
            inputs[place] = x
        return entry(*inputs, **example.options)

    return function, [tensor(example.inputs[place], requires_grad=True) for place in wanted]


@pytest.mark.parametrize("name", ENTRIES)
def test_has_an_example(name):
    assert ENTRIES[name][1], f"tests/tape/examples.py has no example for the primitive {name!r}"
    assert repr(ENTRIES[name][0]).startswith(f"Primitive({name}: ")


@pytest.mark.parametrize(("entry", "example"), EVERY)
def test_value(entry, example):
    expected = example.reference(*example.inputs, **example.options)
    on_arrays = entry(*example.inputs, **example.options)
    np.testing.assert_allclose(on_arrays, expected, rtol=1e-12, atol=1e-14)
    on_tensors = entry(
        *(tensor(x) if isinstance(x, np.ndarray) else x for x in example.inputs), **example.options
    )
    assert isinstance(on_tensors, Tensor)
    assert on_tensors.dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(on_tensors.data, on_arrays)
    assert not on_tensors.requires_grad


@pytest.mark.parametrize(("entry", "example"), WITH_DERIVATIVE)
def test_gradient(entry, example):
    function, leaves = on_tape(entry, example)
    assert function(*leaves).requires_grad
    assert gradcheck(function, leaves)


@pytest.mark.parametrize(("entry", "example"), WITH_DERIVATIVE)
def test_a_gradient_shows_no_memory_that_the_walk_did_not_hand_in(entry, example):
    # What is not the incoming gradient's may become a leaf's grad and be added to in place.
    out = entry.forward(*example.inputs, **example.options)
    g = np.ones_like(out)
    for place in differentiable(entry, example):
        below = entry.vjps[place](g, out, *example.inputs, **example.options)
        kept = [x for x in (out, *example.inputs, *example.options.values()) if isinstance(x, np.ndarray)]
        assert not any(np.may_share_memory(below, x) for x in kept)


@pytest.mark.parametrize(("entry", "example"), WITH_DERIVATIVE)
def test_second_derivative(entry, example):
    assert gradgradcheck(*on_tape(entry, example), full=False)


@pytest.mark.parametrize(("entry", "example"), WITH_DERIVATIVE)
def test_float32_stays(entry, example):
    def single(x):
        return x.astype(np.float32) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x

    if "dtype" in example.options:
        pytest.skip("astype is asked for another precision")
    wanted = differentiable(entry, example)
    inputs = [
        tensor(single(x), requires_grad=True) if place in wanted else single(x)
        for place, x in enumerate(example.inputs)
    ]
    options = {name: single(value) for name, value in example.options.items()}
    with np.errstate(all="ignore"):
        out = entry(*inputs, **options)
    double = "float_power" in entry.name  # as NumPy says
    assert out.dtype == (np.float64 if double else np.float32)
    out.backward(np.ones(out.shape), create_graph=True)
    function, leaves = on_tape(entry, example)
    exact = function(*leaves)
    exact.backward(np.ones(exact.shape))
    for place, leaf in zip(wanted, leaves, strict=True):
        assert inputs[place].grad.dtype == np.float32
        np.testing.assert_allclose(inputs[place].grad.data, leaf.grad.data, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", [name for name, entry in PRIMITIVES.items() if not any(entry.vjps)])
def test_without_a_derivative_nothing_requires_grad(name):
    for example in ENTRIES[name][1]:
        inputs = [tensor(x, requires_grad=x.dtype.kind == "f") for x in example.inputs]
        out = ENTRIES[name][0](*inputs, **example.options)
        assert not out.requires_grad
        assert out.is_leaf


def test_astype_brings_the_gradient_back_in_the_precision_of_the_input():
    x = tensor(X.astype(np.float32), requires_grad=True)
    PRIMITIVES["astype"](x, dtype=np.dtype(np.float64)).sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad.data, np.ones((3, 4)))


# -- broadcasting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BINARY_DOMAINS)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3), st.integers(0, 99)
)
def test_broadcasting(name, both, seed):
    domains = BINARY_DOMAINS[name]
    arrays = [
        numbers(shape, domain, 2 * seed + index)
        for index, (shape, domain) in enumerate(zip(both.input_shapes, domains, strict=True))
    ]
    leaves = [tensor(x, requires_grad=True) for x in arrays]
    out = PRIMITIVES[name](*leaves)
    assert out.shape == both.result_shape
    assert gradcheck(PRIMITIVES[name], leaves, full=False)
    out.backward(np.ones(out.shape))
    assert [x.grad.shape for x in leaves] == [x.shape for x in arrays]


@pytest.mark.parametrize("name", UNARY_DOMAINS)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,)])
def test_shapes_of_no_entries_and_no_dimensions(name, shape):
    x = tensor(numbers(shape, UNARY_DOMAINS[name]), requires_grad=True)
    out = PRIMITIVES[name](x)
    if name == "contiguous" and shape == ():
        assert out.size == 1  # as NumPy makes it
    else:
        assert out.shape == shape
    out.sum().backward()
    assert x.grad.shape == shape
    assert gradcheck(PRIMITIVES[name], x)


@pytest.mark.parametrize("shape", [(0,), (2, 0, 3), (0, 4)])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "prod"])
def test_reductions_of_nothing(name, shape, axis, keepdims):
    x = tensor(np.ones(shape), requires_grad=True)
    out = PRIMITIVES[name](x, axis=axis, keepdims=keepdims)
    expected = getattr(np, name)(x.data, axis=axis, keepdims=keepdims)
    np.testing.assert_array_equal(out.data, expected)
    assert out.shape == expected.shape
    out.sum().backward()
    assert x.grad.shape == shape


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "logsumexp", "norm", "variance"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_of_a_number(name, keepdims):
    x = tensor(np.array(1.5), requires_grad=True)
    out = PRIMITIVES[name](x, keepdims=keepdims)
    assert out.shape == ()
    (gradient,) = (out.backward(), x.grad)[1:]
    assert gradient.item() == (0.0 if name == "variance" else 1.0)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "logsumexp", "norm", "variance"])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=3),
    st.data(),
    st.booleans(),
    st.integers(0, 99),
)
def test_reductions_over_any_axes(name, shape, data, keepdims, seed):
    axis = data.draw(hnp.valid_tuple_axes(len(shape), min_size=1) | st.none())
    x = tensor(numbers(shape, seed=seed), requires_grad=True)

    def function(x):
        return PRIMITIVES[name](x, axis=axis, keepdims=keepdims)

    assert function(x).shape == np.sum(x.data, axis=axis, keepdims=keepdims).shape
    assert gradcheck(function, x, full=False)


# -- points where a formula could fail ---------------------------------------------------------------


def gradient_of(function, *values):
    leaves = [tensor(np.array(value), requires_grad=True) for value in values]
    function(*leaves).sum().backward()
    return [leaf.grad.data.tolist() for leaf in leaves]


def test_ties_share_the_gradient():
    assert gradient_of(np.maximum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [[0.5, 0, 1], [0.5, 1, 0]]
    assert gradient_of(np.minimum, [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]) == [[0.5, 1, 0], [0.5, 0, 1]]
    assert gradient_of(np.max, [1.0, 3.0, 3.0]) == [[0, 0.5, 0.5]]


def test_powers_at_zero():
    assert gradient_of(lambda x: x**2, [0.0, -2.0]) == [[0, -4]]
    assert gradient_of(lambda x: x**0, [0.0, 1.0]) == [[0, 0]]
    assert gradient_of(np.power, [0.0], [0.0]) == [[0], [0]]
    assert gradient_of(np.power, [0.0], [2.0]) == [[0], [0]]
    assert gradient_of(np.prod, [0.0, 2.0, 3.0]) == [[6, 0, 0]]
    assert gradient_of(np.prod, [0.0, 0.0, 3.0]) == [[0, 0, 0]]


def test_norm_at_zero_and_of_large_numbers():
    for order in (1.0, 2.0, 3.0, np.inf):
        assert gradient_of(lambda x, p=order: x.norm(p), [0.0, 0.0]) == [[0, 0]]
    assert gradient_of(lambda x: x.norm(), [3e200, 4e200]) == [pytest.approx([0.6, 0.8])]


def test_softmax_and_logsumexp_of_large_numbers():
    for x in ([1e4, -1e4], [1e300, 0.0]):
        assert gradient_of(lambda x: x.logsumexp(), x) == [[1, 0]]
        assert gradient_of(lambda x: x.log_softmax(-1)[1], x) == [[-1, 1]]
    assert gradient_of(np.logaddexp, [1000.0], [-1000.0]) == [[1], [0]]


# -- records -------------------------------------------------------------------------------------------


def test_every_record_has_a_primitive():
    assert list(ACTIVATION_PRIMITIVES) == list(ACTIVATIONS)
    assert list(LOSS_PRIMITIVES) == list(LOSSES)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_by_name(name):
    z = tensor(X, requires_grad=True)
    h = z.activation(name)
    record = ACTIVATIONS[name]
    np.testing.assert_allclose(h.data, record.value(X, record.default_alpha), rtol=1e-12)
    h.sum().backward()
    np.testing.assert_allclose(z.grad.data, record.derivative(X, record.default_alpha), rtol=1e-12)
    if name != "identity":
        np.testing.assert_array_equal(getattr(z, name)().data, h.data)


# -- several arrays, einsum ------------------------------------------------------------------------------

EINSUMS = [
    ("ij,jk->ik", (3, 4), (4, 2)),
    ("ij,jk", (3, 4), (4, 2)),
    ("ij,ij->", (3, 4), (3, 4)),
    ("ij->ji", (3, 4)),
    ("ij->i", (3, 4)),
    ("ij->", (3, 4)),
    ("ii->i", (3, 3)),
    ("ii", (3, 3)),
    ("ii->", (3, 3)),
    ("iij->ij", (3, 3, 2)),
    ("iji->j", (3, 2, 3)),
    ("iii->i", (2, 2, 2)),
    ("ba", (3, 4)),
    ("i,j->ij", (3,), (4,)),
    ("i,i,i->i", (3,), (3,), (3,)),
    ("ij,jk,kl->il", (2, 3), (3, 2), (2, 4)),
    ("...ij,...jk->...ik", (2, 3, 4), (2, 4, 2)),
    ("...ij,jk->...ik", (2, 3, 4), (4, 2)),
    ("...i,...i", (2, 3), (2, 3)),
    ("...", (2, 3)),
    ("i...->...", (2, 3)),
    ("...i,...i->...", (1, 3), (2, 3)),
    ("...i,i->...", (2, 3), (3,)),
    ("bqd,bkd->bqk", (2, 3, 2), (2, 2, 2)),
    ("ii,i->i", (3, 3), (3,)),
    ("ij,k->ik", (2, 3), (2,)),
    (" i j , j k -> i k ", (3, 4), (4, 2)),
    (",->", (), ()),
    ("i,->i", (3,), ()),
    ("i,i->", (3,), (1,)),
    ("i,i->i", (1,), (3,)),
    ("...ii,...i->...", (2, 3, 3), (1, 3)),
]


@pytest.mark.parametrize(("subscripts", "sizes"), [(s, z) for s, *z in EINSUMS], ids=[s for s, *_ in EINSUMS])
def test_einsum(subscripts, sizes):
    arrays = [numbers(shape, seed=20 + index) for index, shape in enumerate(sizes)]
    leaves = [tensor(x, requires_grad=True) for x in arrays]
    out = np.einsum(subscripts, *leaves)
    np.testing.assert_allclose(out.data, np.einsum(subscripts, *arrays), rtol=1e-12)

    def function(*tensors):
        return np.einsum(subscripts, *tensors)

    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves, full=False)


def test_einsum_says_what_is_wrong():
    x = tensor(X, requires_grad=True)
    with pytest.raises(TypeError, match="subscripts must be a string; got"):
        products.einsum(x, [0, 1])
    with pytest.raises(ValueError, match=r"'ij,jk' are for 2 arrays; got 1"):
        np.einsum("ij,jk", x)
    with pytest.raises(ValueError, match="'ijk' are for 3 axes; the array has 2"):
        np.einsum("ijk->i", x)


@pytest.mark.parametrize("axes", [0, 1, 2, ([0], [1]), ([0, 1], [0, 1]), (1, 1), ([-1], [-1])])
def test_tensordot(axes):
    x, y = (numbers((3, 3), seed=seed) for seed in (21, 22))
    leaves = [tensor(one, requires_grad=True) for one in (x, y)]

    def function(x, y):
        return np.tensordot(x, y, axes)

    np.testing.assert_allclose(function(*leaves).data, np.tensordot(x, y, axes), rtol=1e-12)
    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves, full=False)


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_concatenate(axis):
    leaves = [tensor(x, requires_grad=True) for x in (X, Y, X * 2)]

    def function(*parts):
        return np.concatenate([parts[0], X, *parts[1:], parts[0]], axis=axis)

    expected = np.concatenate([X, X, Y, X * 2, X], axis=axis)
    np.testing.assert_array_equal(function(*leaves).data, expected)
    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves, full=False)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_stack(axis):
    leaves = [tensor(x, requires_grad=True) for x in (X, Y)]
    np.testing.assert_array_equal(np.stack(leaves, axis=axis).data, np.stack([X, Y], axis=axis))
    assert gradcheck(lambda *parts: np.stack(parts, axis=axis), leaves)


def test_several_arrays_say_what_is_wrong():
    x = tensor(X, requires_grad=True)
    with pytest.raises(ValueError, match="concatenate needs at least one array"):
        shapes.concatenate([])
    with pytest.raises(ValueError, match=r"stack needs arrays of one shape; got \[\(3, 4\), \(4,\)\]"):
        np.stack([x, x[0]])
    with pytest.raises(ValueError, match="axis must lie between -3 and 2; got 3"):
        np.stack([x, x], axis=3)


def test_split_puts_together_again():
    x = tensor(CUBE, requires_grad=True)
    for parts in (np.split(x, [1, 3], axis=-1), x.split(3, dim=2), x.chunk(2, dim=2)):
        np.testing.assert_array_equal(np.concatenate(parts, axis=2).data, CUBE)
    assert gradcheck(lambda x: list(np.split(x, 2, axis=2)), x)
    assert gradcheck(lambda x: list(x.split(3, dim=2)), x)
    with pytest.raises(ValueError, match="3 entries cannot be split into 2 equal parts"):
        np.split(x, 2, axis=1)


@pytest.mark.parametrize("name", DOMAINS)
def test_domains_keep_away_from_their_borders(name):
    x = numbers((100,), name, 1)
    assert np.isfinite(x).all()
    assert len(np.unique(x)) == 100
