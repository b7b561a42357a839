"""Parity with PyTorch: backward, the graph and its freeing, detaching, modes, precision."""

import copy

import numpy as np
from tests.tape.parity import Programs, check

AUTOGRAD = Programs()

# -- shapes of graphs ------------------------------------------------------------------------------


@AUTOGRAD.loss((3,))
def diamond(xp, x):
    y = x * 2
    return y.sin() * y.cos() + y


@AUTOGRAD.loss((3,))
def nested_diamonds(xp, x):
    for _ in range(6):
        x = x.sin() + x * 0.5
    return x


@AUTOGRAD.loss((3,))
def used_many_times(xp, x):
    return sum((x * k).tanh() for k in range(1, 30))


@AUTOGRAD.loss((3,))
def both_operands(xp, x):
    return x * x + x / x - (x - x)


@AUTOGRAD.loss((3,), (3,))
def one_leaf_unused(xp, x, y):
    return x * 2


@AUTOGRAD.loss((3,), (3,))
def detached_branch(xp, x, y):
    return x * (y * x).detach() + y


@AUTOGRAD.loss((3,))
def fan_out_and_in(xp, x):
    parts = [x * k for k in range(5)]
    return xp.stack(parts).prod(dim=0) + xp.cat(parts).sum()


@AUTOGRAD.loss((3,))
def several_outputs(xp, x):
    y = x.exp()
    return y, y * x, x.sum()


@AUTOGRAD.loss((2, 3))
def broadcast_at_every_use(xp, x):
    return x[0] * x + x[:, :1] - x.sum() / x.mean(dim=0)


# -- backward --------------------------------------------------------------------------------------


@AUTOGRAD.walk((3,))
def accumulation(xp, x):
    seen = []
    for k in range(3):
        (x * x * k).sum().backward()
        seen.append(x.grad.clone())
    return seen


@AUTOGRAD.walk((3,))
def grad_set_to_none_between(xp, x):
    x.exp().sum().backward()
    first = x.grad
    x.grad = None
    x.sin().sum().backward()
    return [first, x.grad]


@AUTOGRAD.walk((3,))
def grad_is_the_same_object_after_accumulation(xp, x):
    x.sum().backward()
    first = x.grad
    (x * x).sum().backward()
    return [first is x.grad, first, first.requires_grad, first.is_leaf]


@AUTOGRAD.walk((3,))
def grad_zeroed_in_place(xp, x):
    x.sum().backward()
    x.grad.zero_()
    (x * x).sum().backward()
    return [x.grad]


@AUTOGRAD.walk((2, 3))
def gradient_given(xp, x):
    y = x * x
    y.backward(xp.tensor(np.arange(6.0).reshape(2, 3)))
    return [y]


@AUTOGRAD.walk((2, 3))
def gradient_by_keyword(xp, x):
    (x * x)[0].backward(gradient=xp.tensor(np.array([1.0, -1.0, 2.0])))


@AUTOGRAD.walk((2, 3), raises=True)
def gradient_of_another_shape(xp, x):
    (x * x).backward(xp.tensor(np.ones(3)))


@AUTOGRAD.walk((2, 3), raises=True)
def backward_of_many_entries(xp, x):
    (x * x).backward()


@AUTOGRAD.walk((1, 1))
def backward_of_one_entry_in_two_axes(xp, x):
    (x * x).backward()


@AUTOGRAD.walk((3,), raises=True)
def backward_without_requires_grad(xp, x):
    x.detach().sum().backward()


@AUTOGRAD.walk((3,), raises=True)
def backward_of_what_no_grad_made(xp, x):
    with xp.no_grad():
        y = (x * x).sum()
    y.backward()


@AUTOGRAD.walk(())
def backward_of_a_leaf(xp, x):
    x.backward()
    x.backward(xp.tensor(np.array(2.0)))


@AUTOGRAD.walk((3,), raises=True)
def second_backward(xp, x):
    y = (x * x).sum()
    y.backward()
    y.backward()


@AUTOGRAD.walk((3,), raises=True)
def second_backward_through_a_shared_part(xp, x):
    shared = x * x
    shared.sum().backward()
    (shared * 2).sum().backward()


@AUTOGRAD.walk((3,))
def second_backward_through_what_keeps_nothing(xp, x):
    shared = x + 1
    shared.sum().backward()
    (shared * 2).sum().backward()


@AUTOGRAD.walk((3,))
def second_backward_of_a_sum(xp, x):
    y = x.sum()
    y.backward()
    y.backward()


@AUTOGRAD.walk((3,), raises=True)
def second_backward_of_exp(xp, x):
    y = x.exp().sum()
    y.backward()
    y.backward()


def walked_twice(operation):
    def program(xp, x):
        y = operation(xp, x).sum()
        y.backward()
        y.backward()

    return program


KEEPS_VALUES = {
    "product with a number": lambda xp, x: x * 2,
    "product with a constant": lambda xp, x: x * xp.tensor(np.ones(3)),
    "square": lambda xp, x: x**2,
    "quotient": lambda xp, x: x / 2,
    "reciprocal": lambda xp, x: 2 / x,
    "relu": lambda xp, x: x.relu(),
    "clamp": lambda xp, x: x.clamp(min=0.0, max=2.0),
    "amax": lambda xp, x: x.amax(dim=0),
    "abs": lambda xp, x: abs(x),
    "prod": lambda xp, x: x.prod(),
    "where": lambda xp, x: xp.where(x > 0, x, xp.tensor(np.zeros(3))),
    "matrix product": lambda xp, x: xp.tensor(np.ones((2, 3))) @ x,
    "softmax": lambda xp, x: x.softmax(dim=0),
    "variance": lambda xp, x: x.var(),
    "product in place": lambda xp, x: (x + 1).mul_(2),
}
KEEPS_NONE = {
    "difference": lambda xp, x: x - 1,
    "sum with a constant": lambda xp, x: xp.tensor(np.ones(3)) + x,
    "slice": lambda xp, x: x[1:],
    "mean": lambda xp, x: x.mean(),
    "clone": lambda xp, x: x.clone(),
    "negative": lambda xp, x: -x,
    "cumsum": lambda xp, x: x.cumsum(dim=0),
    "sign": lambda xp, x: x.sign(),
    "flip": lambda xp, x: x.flip(0),
    "float32": lambda xp, x: x.float(),
    "expand": lambda xp, x: x.expand(2, 3),
    "repeat": lambda xp, x: x.repeat(2),
    "sum in place": lambda xp, x: (x + 1).add_(2),
    "cat": lambda xp, x: xp.cat([x, x[1:]]),
    "stack": lambda xp, x: xp.stack([x, x]),
    "unsqueeze": lambda xp, x: x.unsqueeze(0).T,
}
for _name, _operation in KEEPS_VALUES.items():
    AUTOGRAD.add(f"second backward of {_name}", walked_twice(_operation), (3,), backward=False, raises=True)
for _name, _operation in KEEPS_NONE.items():
    AUTOGRAD.add(f"second backward of {_name}", walked_twice(_operation), (3,), backward=False)


@AUTOGRAD.walk((3,))
def graph_retained(xp, x):
    y = (x * x).exp().sum()
    y.backward(retain_graph=True)
    y.backward(retain_graph=True)
    y.backward()


@AUTOGRAD.walk((3,), raises=True)
def graph_retained_once_only(xp, x):
    y = (x * x).exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    y.backward()


@AUTOGRAD.walk((3,))
def shared_part_retained(xp, x):
    shared = x.exp()
    a, b = shared.sum(), (shared * shared).sum()
    a.backward(retain_graph=True)
    b.backward()


# -- leaves and detaching --------------------------------------------------------------------------


@AUTOGRAD.walk((3,))
def detach_shares_and_forgets(xp, x):
    y = (x * 2).detach()
    return [y.requires_grad, y.is_leaf, y.grad_fn is None, y]


@AUTOGRAD.walk((3,))
def requires_grad_later(xp, x):
    z = xp.tensor(np.ones(3))
    before = (z * 2).requires_grad
    z.requires_grad_()
    (z * z * x).sum().backward()
    return [before, z.grad, z.requires_grad]


@AUTOGRAD.walk((3,))
def requires_grad_switched_off(xp, x):
    z = xp.tensor(np.ones(3), requires_grad=True)
    z.requires_grad_(False)
    (z * x).sum().backward()
    return [z.grad, z.requires_grad]


@AUTOGRAD.walk((3,), raises=True)
def requires_grad_off_on_a_result(xp, x):
    (x * 2).requires_grad_(False)


@AUTOGRAD.walk((3,))
def requires_grad_on_a_result(xp, x):
    y = (x * 2).requires_grad_()
    return [y.requires_grad, y.is_leaf]


@AUTOGRAD.walk((3,), raises=True)
def requires_grad_of_integers(xp, x):
    xp.tensor(np.array([1, 2])).requires_grad_()


@AUTOGRAD.walk((3,))
def requires_grad_as_an_attribute(xp, x):
    x.requires_grad = False
    seen = [(x * 2).requires_grad]
    x.requires_grad = True
    (x * x).sum().backward()
    return seen


@AUTOGRAD.walk((3,))
def leaf_made_within_no_grad(xp, x):
    with xp.no_grad():
        y = x.clone().requires_grad_()
    (y * x).sum().backward()
    return [y.grad, y.is_leaf]


@AUTOGRAD.walk((3,))
def grad_given_before(xp, x):
    x.grad = xp.tensor(np.ones(3))
    (x * x).sum().backward()


@AUTOGRAD.walk((3,))
def detached_in_place_after_being_copied(xp, x):
    y = x * 2
    copy_of_y = y.clone()
    y.detach_()
    (copy_of_y * y).sum().backward()


@AUTOGRAD.walk((3,))
def detached_in_place(xp, x):
    y = x * 2
    y.detach_()
    z = y.requires_grad_()
    (z * x).sum().backward()
    return [z.grad, z.is_leaf]


@AUTOGRAD.walk((3,), raises=True)
def numpy_of_what_requires_grad(xp, x):
    (x * 2).numpy()


@AUTOGRAD.walk((3,), raises=True)
def deepcopy_of_a_result(xp, x):
    copy.deepcopy(x * 2)


@AUTOGRAD.walk((3,))
def deepcopy_of_a_leaf(xp, x):
    x.sum().backward()
    y = copy.deepcopy(x)
    (y * y).sum().backward()
    return [y.grad, y.requires_grad, y.is_leaf]


@AUTOGRAD.walk((3,))
def truncated_recurrence(xp, x):
    h = xp.tensor(np.zeros(3))
    for step in range(6):
        h = (h * 0.5 + x).tanh()
        if step % 2:
            h.sum().backward()
            h = h.detach()
    return [h]


# -- modes -----------------------------------------------------------------------------------------


@AUTOGRAD.walk((3,))
def modes_nested(xp, x):
    seen = [xp.is_grad_enabled()]
    with xp.no_grad():
        seen.append((x * 2).requires_grad)
        with xp.enable_grad():
            y = x * 3
            seen += [y.requires_grad, xp.is_grad_enabled()]
            with xp.set_grad_enabled(False):
                seen.append((y * 2).requires_grad)
        seen += [(x + y).requires_grad, xp.is_grad_enabled()]
    y.sum().backward()
    return [*seen, xp.is_grad_enabled()]


@AUTOGRAD.walk((3,))
def modes_as_decorators(xp, x):
    @xp.no_grad()
    def plain(a):
        return a * 2, xp.is_grad_enabled()

    @xp.enable_grad()
    def recorded(a):
        return a * 2

    with xp.no_grad():
        y = recorded(x)
    made, enabled = plain(x)
    return [made.requires_grad, enabled, y.requires_grad, xp.is_grad_enabled()]


@AUTOGRAD.walk((3,))
def mode_comes_back_after_an_error(xp, x):
    try:
        with xp.no_grad():
            raise KeyError
    except KeyError:
        pass
    return [xp.is_grad_enabled(), (x * 2).requires_grad]


@AUTOGRAD.walk((3,))
def recursive_decorator(xp, x):
    @xp.no_grad()
    def halved(a, times):
        return a if times == 0 else halved(a / 2, times - 1)

    return [halved(x, 3), xp.is_grad_enabled()]


@AUTOGRAD.walk((3,))
def backward_within_no_grad(xp, x):
    y = (x * x).sum()
    with xp.no_grad():
        y.backward()
    return [x.grad.requires_grad]


@AUTOGRAD.loss((3,))
def part_of_the_way_within_no_grad(xp, x):
    with xp.no_grad():
        scale = x.abs().max()
    return x / scale


# -- precision -------------------------------------------------------------------------------------


@AUTOGRAD.walk((3,))
def float32_leaf_with_float64(xp, x):
    w = xp.tensor(np.array([1.0, 2.0, 3.0], np.float32), requires_grad=True)
    y = (w * x).sum()
    y.backward()
    return [y, w.grad]


@AUTOGRAD.walk((3,))
def float32_leaf_used_in_both_precisions(xp, x):
    w = xp.tensor(np.array([1.0, 2.0, 3.0], np.float32), requires_grad=True)
    ((w * w).sum() + (w.double() * x).sum()).backward()
    return [w.grad]


@AUTOGRAD.walk((3,))
def gradient_of_another_precision(xp, x):
    w = xp.tensor(np.array([1.0, 2.0, 3.0], np.float32), requires_grad=True)
    (w * 2).backward(xp.tensor(np.array([1.0, 2.0, 3.0], np.float32)))
    (x * 2).backward(xp.tensor(np.ones(3)))
    return [w.grad]


@AUTOGRAD.walk((3,))
def float64_put_into_float32(xp, x):
    w = xp.tensor(np.zeros(3, np.float32))
    w[1:] = x[:2]
    (w * w).sum().backward()
    return [w]


@AUTOGRAD.walk((3,))
def float64_added_in_place_to_float32(xp, x):
    w = xp.tensor(np.ones(3, np.float32))
    w += x
    w.sum().backward()
    return [w]


@AUTOGRAD.walk((3,), raises=True)
def float_added_in_place_to_integers(xp, x):
    n = xp.tensor(np.array([1, 2, 3]))
    n += 0.5


@AUTOGRAD.cases()
def test_autograd(program):
    check(program)
