"""Parity with PyTorch: hooks, the order in which they are called, and retained gradients."""

import numpy as np
import pytest
from tests.tape.parity import Programs, check

HOOKS = Programs()


def noting(seen, name):
    """A hook that notes its name and the gradient, and changes nothing."""

    def hook(gradient):
        seen.append(name)
        seen.append(gradient.clone())

    return hook


@HOOKS.walk((3,))
def hook_on_a_leaf(xp, x):
    seen = []
    x.register_hook(noting(seen, "x"))
    (x * x).sum().backward()
    return seen


@HOOKS.walk((3,))
def leaf_used_twice_calls_once(xp, x):
    seen = []
    x.register_hook(noting(seen, "x"))
    (x * x + x.exp()).sum().backward()
    return seen


@HOOKS.walk((3,))
def hook_on_a_leaf_replaces(xp, x):
    x.register_hook(lambda g: g * 10)
    (x * x).sum().backward()
    (x * x).sum().backward()


@HOOKS.walk((3,))
def hook_on_a_result_replaces(xp, x):
    y = x * 2
    y.register_hook(lambda g: -g)
    (y * y).sum().backward()


@HOOKS.walk((3,))
def several_hooks_in_order(xp, x):
    seen = []
    y = x * 2
    y.register_hook(noting(seen, "first"))
    y.register_hook(lambda g: g + 1)
    y.register_hook(noting(seen, "second"))
    y.register_hook(lambda g: g * 3)
    (y * y).sum().backward()
    return seen


@HOOKS.walk((3,))
def hook_removed(xp, x):
    handle = x.register_hook(lambda g: g * 0)
    (x * x).sum().backward()
    handle.remove()
    handle.remove()
    (x * x).sum().backward()


@HOOKS.walk((3,))
def one_of_two_hooks_removed(xp, x):
    y = x * 2
    handle = y.register_hook(lambda g: g * 100)
    y.register_hook(lambda g: g + 1)
    handle.remove()
    y.sum().backward()


@HOOKS.walk((3,))
def hook_removes_itself(xp, x):
    seen = []

    def once(gradient):
        seen.append(gradient)
        handle.remove()

    handle = x.register_hook(once)
    x.sum().backward()
    x.sum().backward()
    return seen


@HOOKS.walk((3,), raises=True)
def hook_returns_another_shape(xp, x):
    y = x * 2
    y.register_hook(lambda g: g[:2])
    y.sum().backward()


@HOOKS.walk((3,), raises=True)
def hook_returns_another_precision(xp, x):
    y = x * 2
    y.register_hook(lambda g: g.float())
    y.sum().backward()


@HOOKS.walk((3,), raises=True)
def hook_on_what_needs_no_gradient(xp, x):
    x.detach().register_hook(lambda g: g)


@HOOKS.walk((3,), raises=True)
def hook_raises(xp, x):
    def hook(gradient):
        raise RuntimeError("stop")

    x.register_hook(hook)
    x.sum().backward()


@HOOKS.walk((3,))
def order_in_a_chain(xp, x):
    seen = []
    a = x * 2
    b = a.exp()
    c = b + a
    for name, one in (("x", x), ("a", a), ("b", b), ("c", c)):
        one.register_hook(noting(seen, name))
    c.sum().backward()
    return seen


@HOOKS.walk((3,), (3,))
def leaves_are_reached_as_soon_as_they_are_known(xp, x, y):
    seen = []
    a = x * 2
    b = a * y
    for name, one in (("x", x), ("y", y), ("a", a), ("b", b)):
        one.register_hook(noting(seen, name))
    b.sum().backward()
    return seen


@HOOKS.walk((2,), (2,), (2,))
def leaves_of_three_layers(xp, u, v, w):
    seen = []
    h = (u * 1.5).tanh()
    h2 = (h * v).tanh()
    out = h2 * w + h
    for name, one in (("u", u), ("v", v), ("w", w), ("h", h), ("h2", h2)):
        one.register_hook(noting(seen, name))
    out.sum().backward()
    return seen


@HOOKS.walk((2,), (2,))
def shared_leaf_waits_for_its_last_use(xp, w, x):
    seen = []
    a = x * w
    b = a.sin() * w
    c = b.cos() * w
    for name, one in (("w", w), ("x", x), ("a", a), ("b", b), ("c", c)):
        one.register_hook(noting(seen, name))
    c.sum().backward()
    return seen


@HOOKS.walk((2,), (2,))
def branches_from_the_youngest_to_the_oldest(xp, x, y):
    seen = []
    parts = {"left": x * 2, "right": y * 3, "late": x + y}
    for name, one in parts.items():
        one.register_hook(noting(seen, name))
    sum(parts.values()).sum().backward()
    return seen


@HOOKS.walk((3,))
def hook_on_a_view(xp, x):
    seen = []
    y = x * 2
    view = y[1:]
    view.register_hook(noting(seen, "view"))
    y.register_hook(noting(seen, "y"))
    (view * view).sum().backward()
    return seen


@HOOKS.walk((3,))
def hook_sees_the_mode(xp, x):
    seen = []
    x.register_hook(lambda g: seen.append((xp.is_grad_enabled(), g.requires_grad)))
    (x * x).sum().backward()
    (x * x).sum().backward(create_graph=True)
    x.grad = x.grad.detach()
    return [list(one) for one in seen]


@HOOKS.walk((3,))
def hooks_during_grad(xp, x):
    seen = []
    y = x * 2
    x.register_hook(lambda g: g * 10)
    y.register_hook(noting(seen, "y"))
    found = xp.grad((y * y).sum(), x)
    return [*seen, found[0], x.grad]


@HOOKS.walk((3,))
def hook_on_a_result_asked_for_by_grad(xp, x):
    y = x * 2
    y.register_hook(lambda g: g * 10)
    return xp.grad((y * y).sum(), y)


@HOOKS.walk((3,))
def hooks_outside_the_asked_way_are_silent(xp, x):
    seen = []
    y = xp.tensor(np.ones(3), requires_grad=True)
    z = y * 2
    z.register_hook(noting(seen, "z"))
    y.register_hook(noting(seen, "y"))
    return [*xp.grad((z * x).sum(), x), seen]


@HOOKS.walk((3,))
def hook_before_a_change_in_place(xp, x):
    seen = []
    y = x * 2
    y.register_hook(noting(seen, "before"))
    y *= 3
    y.register_hook(noting(seen, "after"))
    y.sum().backward()
    return seen


@HOOKS.walk((3,))
def graph_dropped_with_hooks(xp, x):
    y = x * 2
    y.register_hook(lambda g: g * 10)
    del y
    x.sum().backward()


# -- retained gradients ----------------------------------------------------------------------------


@HOOKS.walk((3,))
def retained(xp, x):
    y = x * 2
    y.retain_grad()
    y.retain_grad()
    (y * y).sum().backward()
    return [y.grad]


@HOOKS.walk((3,))
def retained_on_a_leaf(xp, x):
    x.retain_grad()
    (x * x).sum().backward()


@HOOKS.walk((3,))
def retained_twice_backward(xp, x):
    y = x * 2
    y.retain_grad()
    z = (y * y).sum()
    z.backward(retain_graph=True)
    z.backward()
    return [y.grad]


@HOOKS.walk((3,))
def retained_after_hooks(xp, x):
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 7)
    (y * y).sum().backward()
    return [y.grad]


@HOOKS.walk((3,), raises=True)
def retained_without_requires_grad(xp, x):
    x.detach().retain_grad()


@HOOKS.walk((3,))
def retained_before_a_change_in_place(xp, x):
    y = x * 2
    y.retain_grad()
    y *= 3
    (y * y).sum().backward()
    return [y.grad]


@HOOKS.walk((3,))
def retained_view_before_a_change_of_the_base(xp, x):
    y = x * 2
    view = y[0:1]
    view.retain_grad()
    y *= 3
    (view * view).sum().backward()
    return [view.grad]


@HOOKS.walk((3,))
def retained_base_before_a_change_of_a_view(xp, x):
    y = x * 2
    y.retain_grad()
    view = y[0:1]
    view *= 3
    (y * y).sum().backward()
    return [y.grad]


@HOOKS.walk((3,))
def retained_during_grad(xp, x):
    y = x * 2
    y.retain_grad()
    found = xp.grad((y * y).sum(), x)
    return [found[0], y.grad, x.grad]


@HOOKS.walk((3,))
def retained_view(xp, x):
    y = x * 2
    view = y[1:]
    view.retain_grad()
    y.retain_grad()
    (view * view).sum().backward()
    return [view.grad, y.grad]


@HOOKS.walk((3,))
def retained_output_itself(xp, x):
    y = (x * x).sum()
    y.retain_grad()
    y.backward()
    return [y.grad]


# PyTorch warns that x and x.grad then refer to each other.
@pytest.mark.filterwarnings("ignore:Using backward:UserWarning")
@HOOKS.cases()
def test_hooks(program):
    check(program)
