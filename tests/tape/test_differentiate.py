"""grad, vjp, jvp, jacobian, hessian and hvp against closed forms and one another."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tape.examples import numbers

from chainrule.tape import (
    Tensor,
    finite_differences,
    grad,
    hessian,
    hvp,
    is_grad_enabled,
    jacobian,
    jvp,
    no_grad,
    tensor,
    vjp,
)

A = numbers((3, 4), seed=40)
S = numbers((4, 4), seed=41)
X = numbers((4,), seed=42)
Y = numbers((3,), seed=43)
V = numbers((4,), seed=44)
W = numbers((3,), seed=45)


def leaf(values):
    return tensor(np.array(values), requires_grad=True)


def close(found, expected):
    assert isinstance(found, Tensor)
    np.testing.assert_allclose(found.data, expected, rtol=1e-10, atol=1e-12)


def mixed(x, y):
    """A vector of both inputs, nowhere linear."""
    return np.tanh(A @ x) * y + np.exp(y) * (x * x).sum()


def scalar(x, y):
    return (mixed(x, y) ** 2).sum()


# -- grad ----------------------------------------------------------------------------------------------


def test_grad_of_a_quadratic_form():
    x = leaf(X)
    (g,) = grad(x @ (S @ x), x)
    close(g, (S + S.T) @ X)
    assert x.grad is None
    assert not g.requires_grad


def test_grad_of_several_outputs_is_their_weighted_sum():
    x, y = leaf(X), leaf(Y)
    gx, gy = grad([A @ x, y * y], [x, y], [W, np.array([1.0, 2.0, 3.0])])
    close(gx, A.T @ W)
    close(gy, 2 * Y * [1, 2, 3])


def test_grad_with_respect_to_something_in_between():
    x = leaf(X)
    h = x * x
    gh, gx = grad((h * h).sum(), [h, x])
    close(gh, 2 * X**2)
    close(gx, 4 * X**3)


def test_grad_of_an_unused_input():
    x, y = leaf(X), leaf(Y)
    with pytest.raises(RuntimeError, match="input 1 was not used.*allow_unused=True"):
        grad(x.sum(), [x, y])
    found = grad(x.sum(), [x, y], allow_unused=True)
    close(found[0], np.ones(4))
    assert found[1] is None


def test_grad_says_what_is_wrong():
    x = leaf(X)
    with pytest.raises(RuntimeError, match="input 0 does not require grad"):
        grad(x.sum(), tensor(Y))
    with pytest.raises(TypeError, match="inputs must be Tensors; got ndarray"):
        grad(x.sum(), [X])
    with pytest.raises(ValueError, match="grad_outputs must be as many as outputs, 2; got 1"):
        grad([x, x], x, [V])
    with pytest.raises(RuntimeError, match="needs a tensor of one entry"):
        grad(x * 2, x)
    with pytest.raises(RuntimeError, match=r"gradient must have the shape of the tensor, \(4,\); got \(3,\)"):
        grad(x * 2, x, W)


def test_grad_again_needs_the_graph():
    x = leaf(X)
    y = (x**3).sum()
    close(grad(y, x, retain_graph=True)[0], 3 * X**2)
    close(grad(y, x)[0], 3 * X**2)
    with pytest.raises(RuntimeError, match="a second time"):
        grad(y, x)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_create_graph_gives_every_derivative(n):
    x = leaf(0.7)
    y = np.sin(x) * np.exp(x)
    for _ in range(n):
        (y,) = grad(y, x, create_graph=True)
    # sin x e^x is the imaginary part of e^((1+i) x).
    assert y.item() == pytest.approx(((1 + 1j) ** n * np.exp((1 + 1j) * 0.7)).imag, rel=1e-12)


# -- products with the Jacobian, and all of it -------------------------------------------------------------


def test_linear_functions_have_constant_jacobians():
    close(jacobian(lambda x: A @ x, X), A)
    close(vjp(lambda x: A @ x, X, W)[1], A.T @ W)
    output, found = jvp(lambda x: A @ x, X, V)
    close(output, A @ X)
    close(found, A @ V)


def test_jacobian_of_a_matrix():
    M = numbers((2, 3), seed=46)
    found = jacobian(lambda m: m.T, M)
    assert found.shape == (3, 2, 2, 3)
    close(found, np.einsum("jl,ik->jikl", np.eye(3), np.eye(2)))


def test_products_are_those_with_the_jacobian():
    jx, jy = jacobian(mixed, (X, Y))
    output, (gx, gy) = vjp(mixed, (X, Y), W)
    close(output, mixed(X, Y))
    close(gx, W @ jx.data)
    close(gy, W @ jy.data)
    output, along = jvp(mixed, (X, Y), (V, W))
    close(output, mixed(X, Y))
    close(along, jx.data @ V + jy.data @ W)
    numeric = finite_differences(lambda x, y: (mixed(x, y) * W).sum(), (X, Y))
    np.testing.assert_allclose(gx.data, numeric[0], rtol=1e-6)
    np.testing.assert_allclose(gy.data, numeric[1], rtol=1e-6)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 999))
def test_the_two_products_are_transposes(n, m, seed):
    M, x, v, w = (numbers(shape, seed=seed + i) for i, shape in enumerate(((m, n), (n,), (n,), (m,))))

    def function(x):
        return np.tanh(M @ x) * x.sum()

    forward = (jvp(function, x, v)[1].data * w).sum()
    backward = (vjp(function, x, w)[1].data * v).sum()
    assert forward == pytest.approx(backward, rel=1e-9, abs=1e-12)


def test_what_does_not_depend_on_an_input_has_derivative_zero():
    jx, jy = jacobian(lambda x, y: x * 2, (X, Y))
    close(jx, 2 * np.eye(4))
    close(jy, np.zeros((4, 3)))
    close(vjp(lambda x, y: x * 2, (X, Y), V)[1][1], np.zeros(3))
    close(jvp(lambda x, y: x * 2, (X, Y), (V, W))[1], 2 * V)
    close(jvp(lambda x: tensor(Y), X, V)[1], np.zeros(3))
    close(jacobian(lambda x: tensor(Y), X), np.zeros((3, 4)))
    close(hessian(lambda x: x.sum(), X), np.zeros((4, 4)))
    close(hvp(lambda x: x.sum(), X, V)[1], np.zeros(4))


def test_no_entries():
    assert jacobian(lambda x: x[:0], X).shape == (0, 4)
    assert jacobian(lambda x: x * 2, np.zeros(0)).shape == (0, 0)


# -- second derivatives ------------------------------------------------------------------------------------


def test_hessian_of_a_quadratic_form():
    close(hessian(lambda x: x @ (S @ x), X), S + S.T)
    value, found = hvp(lambda x: x @ (S @ x), X, V)
    assert value.item() == pytest.approx(X @ S @ X)
    close(found, (S + S.T) @ V)


def test_hessian_of_several_inputs():
    table = hessian(scalar, (X, Y))
    for i, row in enumerate(table):
        for j, block in enumerate(row):
            assert block.shape == ((4, 3)[i], (4, 3)[j])
            close(block, table[j][i].data.T)
    value, products = hvp(scalar, (X, Y), (V, W))
    assert value.item() == pytest.approx(scalar(X, Y))
    for row, product in zip(table, products, strict=True):
        close(product, row[0].data @ V + row[1].data @ W)


def test_hessian_is_the_jacobian_of_the_gradient():
    def gradient(x):
        return vjp(lambda x: scalar(x, Y), x, create_graph=True)[1]

    close(hessian(lambda x: scalar(x, Y), X), jacobian(gradient, X).data)
    close(hvp(lambda x: scalar(x, Y), X, V)[1], jvp(gradient, X, V)[1].data)


@pytest.mark.parametrize("differentiate", [hessian, lambda f, x: hvp(f, x, x)])
def test_a_hessian_is_of_one_number(differentiate):
    with pytest.raises(ValueError, match=r"function must return one number; got shape \(4,\)"):
        differentiate(lambda x: x * x, X)


# -- recorded, or not --------------------------------------------------------------------------------------


def test_create_graph_differentiates_the_derivative():
    x = leaf(X)
    jacobian(lambda x: x**3, x, create_graph=True).sum().backward()
    close(x.grad, 6 * X)
    x = leaf(X)
    vjp(lambda x: x**3, x, V, create_graph=True)[1].sum().backward()
    close(x.grad, 6 * X * V)
    x = leaf(X)
    jvp(lambda x: x**3, x, V, create_graph=True)[1].sum().backward()
    close(x.grad, 6 * X * V)
    x = leaf(X)
    hessian(lambda x: (x**4).sum(), x, create_graph=True).sum().backward()
    close(x.grad, 24 * X)


@pytest.mark.parametrize(
    "differentiate",
    [
        lambda x: jacobian(np.sin, x),
        lambda x: vjp(np.sin, x, V)[1],
        lambda x: jvp(np.sin, x, V)[1],
        lambda x: hessian(lambda x: np.sin(x).sum(), x),
        lambda x: hvp(lambda x: np.sin(x).sum(), x, V)[1],
    ],
)
def test_without_create_graph_nothing_is_recorded(differentiate):
    x = leaf(X)
    expected = differentiate(X).data
    found = differentiate(x)
    assert not found.requires_grad
    assert x.grad is None
    with no_grad():
        close(differentiate(x), expected)
        assert not is_grad_enabled()
    np.testing.assert_array_equal(x.data, X)


def test_what_is_wrong_is_said():
    with pytest.raises(TypeError, match="inputs must be float32 or float64; got int64"):
        jacobian(lambda x: x, np.arange(3))
    with pytest.raises(TypeError, match="function must return a Tensor; got float"):
        vjp(lambda x: 1.0, X)
    with pytest.raises(ValueError, match="v must have a direction for each of the 2 inputs; got 1"):
        jvp(mixed, (X, Y), (V,))


def test_float32_stays_float32():
    x = X.astype(np.float32)
    assert jacobian(np.sin, x).dtype == np.float32
    assert hessian(lambda x: np.sin(x).sum(), x).dtype == np.float32
    assert jvp(np.sin, x, V)[1].dtype == np.float32
