"""Parity with PyTorch: ``grad`` and its options, derivatives of derivatives."""

import numpy as np
import pytest
from tests.tape.parity import Programs, check

HIGHER = Programs()

FUNCTIONS = {
    "polynomial": lambda x: x**4 - 2 * x**3,
    "rational": lambda x: x / (1 + x * x),
    "exponential": lambda x: (x * 0.5).exp() * x,
    "logarithm": lambda x: (x * x + 1).log(),
    "sines": lambda x: x.sin() * (2 * x).cos(),
    "tanh": lambda x: (x * 2).tanh(),
    "sigmoid": lambda x: x.sigmoid() * x,
    "root": lambda x: (x * x + 1).sqrt(),
    "softmax": lambda x: x.softmax(dim=0) * x,
    "log_softmax": lambda x: x.log_softmax(dim=0) ** 2,
    "logsumexp": lambda x: x.logsumexp(dim=0),
    "variance": lambda x: x.var() * x,
    "norm": lambda x: x.norm() * x,
    "prod": lambda x: x.prod() * x,
    "cumsum": lambda x: x.cumsum(dim=0) ** 3,
    "max": lambda x: x.amax() ** 3,
    "parts": lambda x: x[1:] * x[:-1] ** 2,
    "rows by integers": lambda x: x[[0, 0, 2]] ** 3,
    "outer product": lambda x: (x.unsqueeze(1) @ x.unsqueeze(0)) ** 2,
    "matrix product": lambda x: (x.reshape(2, 2) @ x.reshape(2, 2)) ** 2,
    "transposed": lambda x: x.reshape(2, 2).T ** 3,
    "expanded": lambda x: x.expand(3, 4) ** 3,
    "clamped": lambda x: x.clamp(-0.5, 0.5) * x * x,
    "erf": lambda x: x.erf(),
    "abs": lambda x: x.abs() ** 3,
}


def third(xp, x, function):
    """The first three derivatives, each summed over the entries of the one before."""
    found = function(x)
    seen = []
    for _ in range(3):
        (found,) = xp.grad(found.sum(), x, create_graph=True)
        seen.append(found)
        if not found.requires_grad:
            break
    return seen


for _name, _function in FUNCTIONS.items():
    HIGHER.add(
        f"three derivatives, {_name}", lambda xp, x, _f=_function: third(xp, x, _f), (4,), backward=False
    )
    HIGHER.add(
        f"gradient penalty, {_name}",
        lambda xp, x, _f=_function: (
            _f(x).sum() + (xp.grad(_f(x).sum(), x, create_graph=True)[0].norm() - 1) ** 2
        ),
        (4,),
    )


@HIGHER.walk((4,), (4,))
def grad_leaves_grads_alone(xp, x, y):
    return [*xp.grad((x * y).sum(), [x, y]), x.grad, y.grad]


@HIGHER.walk((4,), (4,), raises=True)
def grad_of_an_unused_input(xp, x, y):
    xp.grad((x * x).sum(), [x, y])


@HIGHER.walk((4,), (4,))
def grad_allowing_unused(xp, x, y):
    return xp.grad((x * x).sum(), [y, x], allow_unused=True)


@HIGHER.walk((4,), raises=True)
def grad_of_an_input_without_requires_grad(xp, x):
    xp.grad((x * x).sum(), x.detach())


@HIGHER.walk((4,), raises=True)
def grad_of_an_output_without_requires_grad(xp, x):
    xp.grad(x.detach().sum(), x)


@HIGHER.walk((4,), raises=True)
def grad_of_many_entries(xp, x):
    xp.grad(x * x, x)


@HIGHER.walk((4,), (4,))
def grad_with_grad_outputs(xp, x, y):
    return xp.grad([x * y, x.sin()], [x, y], grad_outputs=[xp.tensor(np.arange(4.0)), xp.tensor(np.ones(4))])


@HIGHER.walk((4,))
def grad_with_some_grad_outputs(xp, x):
    return xp.grad([x * x, x.sum()], [x], grad_outputs=[xp.tensor(np.arange(4.0)), None])


@HIGHER.walk((4,), raises=True)
def grad_with_grad_outputs_of_another_shape(xp, x):
    xp.grad(x * x, x, grad_outputs=xp.tensor(np.ones(3)))


@HIGHER.walk((4,))
def grad_with_respect_to_a_result(xp, x):
    y = x * 2
    z = y.exp()
    return xp.grad((z * y).sum(), [z, y, x])


@HIGHER.walk((4,))
def grad_with_respect_to_itself(xp, x):
    y = (x * x).sum()
    return xp.grad(y, [y, x])


@HIGHER.walk((4,))
def grad_of_one_input_twice(xp, x):
    return xp.grad((x * x).sum(), [x, x])


@HIGHER.walk((4,), raises=True)
def grad_frees_the_graph(xp, x):
    y = (x * x).sum()
    xp.grad(y, x)
    xp.grad(y, x)


@HIGHER.walk((4,))
def grad_retaining_the_graph(xp, x):
    y = (x * x).sum()
    return [*xp.grad(y, x, retain_graph=True), *xp.grad(y, x)]


@HIGHER.walk((4,))
def grad_creating_a_graph_retains_it(xp, x):
    y = (x**3).sum()
    (first,) = xp.grad(y, x, create_graph=True)
    (again,) = xp.grad(y, x)
    return [first, again, first.requires_grad, again.requires_grad]


@HIGHER.walk((4,), (4,))
def grad_goes_only_where_it_must(xp, x, y):
    z = y.exp()
    z += 1  # so that there is no way back to y, but to x there is
    return xp.grad((z + x).sum(), x)


@HIGHER.walk((4,))
def grad_within_no_grad(xp, x):
    y = (x**3).sum()
    with xp.no_grad():
        (found,) = xp.grad(y, x)
    return [found, found.requires_grad]


@HIGHER.walk((4,))
def grad_of_a_view_of_the_input(xp, x):
    view = x[1:3]
    return xp.grad((view * x[0:2]).sum(), [x, view], allow_unused=True)


@HIGHER.walk((3, 3), (3,), (3,))
def hessian_vector_product(xp, m, x, v):
    y = ((m @ x).tanh() * x).sum()
    (g,) = xp.grad(y, x, create_graph=True)
    return xp.grad((g * v.detach()).sum(), x)


@HIGHER.walk((3,), (3,))
def hessian_vector_product_by_grad_outputs(xp, x, v):
    (g,) = xp.grad((x**3).sum() * x.prod(), x, create_graph=True)
    return xp.grad(g, x, grad_outputs=v)


@HIGHER.walk((3,), (3,))
def forward_product_by_two_backwards(xp, x, v):
    u = xp.tensor(np.zeros(3), requires_grad=True)
    (g,) = xp.grad(x.sin() * x.flip(0), x, grad_outputs=u, create_graph=True)
    return xp.grad(g, u, grad_outputs=v)


@HIGHER.walk((3,))
def hessian_by_rows(xp, x):
    (g,) = xp.grad((x.prod() * x).sum(), x, create_graph=True)
    return [xp.grad(g[i], x, retain_graph=True)[0] for i in range(3)]


@HIGHER.walk((3, 2), (2, 4))
def mixed_second_derivative(xp, w, v):
    (g,) = xp.grad(((w @ v).tanh() ** 2).sum(), w, create_graph=True)
    return xp.grad((g * g).sum(), [v, w])


@HIGHER.walk((3,))
def backward_creating_a_graph(xp, x):
    (x**3).sum().backward(create_graph=True)
    first = x.grad
    x.grad = None
    (first * first).sum().backward()
    return [first, first.requires_grad]


@HIGHER.walk((3,))
def backward_creating_a_graph_accumulates(xp, x):
    (x**3).sum().backward(create_graph=True)
    (x**2).sum().backward(create_graph=True)
    total = x.grad
    x.grad = None
    total.sum().backward()
    return [total]


@HIGHER.walk((3,), (3,))
def gradients_of_one_graph_are_apart(xp, x, y):
    (x + y).sum().backward(create_graph=True)
    x.grad.detach().mul_(5.0)
    return [x.grad is y.grad, x.grad, y.grad]


@HIGHER.walk((3,))
def step_by_the_gradient_differentiated(xp, x):
    fast = x
    for _ in range(3):
        (g,) = xp.grad(((fast - 1) ** 4).sum(), fast, create_graph=True)
        fast = fast - 0.1 * g
    fast.sum().backward()
    return [fast]


@HIGHER.walk((3,))
def derivative_through_a_change_in_place(xp, x):
    y = x * 2
    y[0] = y[1].clone() * y[2].clone()
    y[1:] *= 3
    (g,) = xp.grad((y**3).sum(), x, create_graph=True)
    return [g, *xp.grad((g * g).sum(), x)]


@HIGHER.walk((3,))
def derivative_through_a_product_in_place(xp, x):
    y = x.sin()
    z = x * 1
    z *= y
    (g,) = xp.grad((z**2).sum(), x, create_graph=True)
    return [g, *xp.grad(g.sum(), x)]


@HIGHER.walk((2, 2), raises=True)
def leaf_changed_between_first_and_second_derivative(xp, x):
    (g,) = xp.grad((x**3).sum(), x, create_graph=True)
    with xp.no_grad():
        x += 1
    g.sum().backward()


@HIGHER.walk((4,), raises=True)
def gradient_that_is_constant_has_no_derivative(xp, x):
    (g,) = xp.grad((x * 3).sum(), x, create_graph=True)
    xp.grad(g.sum(), x)


# PyTorch warns that x and x.grad then refer to each other.
@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
@HIGHER.cases()
def test_higher(program):
    check(program)
