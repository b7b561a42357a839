"""Parity with PyTorch: changes in place after use, and of leaves: which are errors, and which are not."""

import numpy as np
from tests.tape.parity import Programs, check

VERSIONS = Programs()

# -- after use -------------------------------------------------------------------------------------


@VERSIONS.loss((3,), raises=True)
def factor_changed_after_use(xp, x):
    z = x * 2
    w = z * x
    z += 1
    return w


@VERSIONS.loss((3,))
def summand_changed_after_use(xp, x):
    z = x * 2
    w = z + x
    z *= 5
    return w


@VERSIONS.loss((3,), raises=True)
def output_of_exp_changed(xp, x):
    z = x.exp()
    z += 1
    return z


@VERSIONS.loss((3,))
def input_of_exp_changed(xp, x):
    z = x * 1
    w = z.exp()
    z += 1
    return w


@VERSIONS.loss((3,), raises=True)
def input_of_sin_changed(xp, x):
    z = x * 1
    w = z.sin()
    z.zero_()
    return w


@VERSIONS.loss((3,), raises=True)
def output_of_tanh_multiplied(xp, x):
    z = x.tanh()
    z *= 2
    return z


@VERSIONS.loss((3,), raises=True)
def output_of_sigmoid_changed_through_a_view(xp, x):
    z = x.sigmoid()
    z[0] = 0.0
    return z


@VERSIONS.loss((3,), raises=True)
def base_changed_after_use_of_a_view(xp, x):
    z = x * 2
    w = z[0] * x
    z[1] = 1.0
    return w


@VERSIONS.loss((3,), raises=True)
def view_changed_after_use_of_the_base(xp, x):
    z = x * 2
    w = z * z
    z[0:1] += 1
    return w


@VERSIONS.loss((3,), raises=True)
def constant_factor_changed(xp, x):
    c = xp.tensor(np.ones(3))
    w = x * c
    c += 1
    return w


@VERSIONS.loss((3,), raises=True)
def detached_changed_after_use(xp, x):
    z = x * 2
    w = z * x
    z.detach().add_(1)
    return w


@VERSIONS.loss((3,), raises=True)
def changed_within_no_grad_after_use(xp, x):
    z = x * 2
    w = z * z
    with xp.no_grad():
        z += 1
    return w


@VERSIONS.loss((3,))
def changed_within_no_grad_before_use(xp, x):
    z = x * 2
    with xp.no_grad():
        z += 1
    return z * x


@VERSIONS.loss((2, 3), (3, 2), raises=True)
def factor_of_matmul_changed(xp, x, y):
    z = x * 1
    w = z @ y
    z += 1
    return w


@VERSIONS.loss((2, 3))
def factor_of_constant_matmul_changed(xp, x):
    z = x * 1
    w = z @ xp.tensor(np.ones((3, 2)))
    z += 1
    return w


@VERSIONS.loss((3,), raises=True)
def multiplied_in_place_by_itself(xp, x):
    z = x * 1
    z *= z
    return z


@VERSIONS.loss((3,))
def added_in_place_to_itself(xp, x):
    z = x * 1
    z += z
    return z


@VERSIONS.loss((3,), raises=True)
def multiplied_in_place_by_a_part_of_itself(xp, x):
    z = x * 1
    z *= z[0:1]
    return z


@VERSIONS.loss((3,), raises=True)
def factor_changed_after_in_place_product(xp, x):
    z, w = x * 1, x * 2
    z *= w
    w += 1
    return z


@VERSIONS.loss((3,))
def summand_changed_after_in_place_sum(xp, x):
    z, w = x * 1, x * 2
    z += w
    w += 1
    return z


@VERSIONS.loss((3,))
def power_in_place(xp, x):
    z = x * 1
    z **= 2
    z /= 3
    return z * x


@VERSIONS.loss((2, 3), raises=True)
def part_of_softmax_changed(xp, x):
    z = x.softmax(dim=1)
    z[0] = 0.5
    return z


@VERSIONS.loss((2, 3))
def mean_then_changed(xp, x):
    z = x * 2
    m = z.mean(dim=0)
    z += 1
    return m * 2


@VERSIONS.loss((2, 3))
def detached_copy_may_be_changed(xp, x):
    z = x * 2
    c = z.detach().clone()
    w = z * x
    c += 100
    return w


# -- of leaves -------------------------------------------------------------------------------------


@VERSIONS.loss((3,), raises=True)
def leaf_added_to(xp, x):
    x += 1
    return x


@VERSIONS.loss((3,), raises=True)
def leaf_assigned(xp, x):
    x[0] = 1.0
    return x


@VERSIONS.loss((3, 2), raises=True)
def view_of_leaf_changed(xp, x):
    view = x[0]
    view *= 2
    return x


@VERSIONS.loss((3, 2), raises=True)
def view_of_view_of_leaf_changed(xp, x):
    x.T[0][1:].zero_()
    return x


@VERSIONS.loss((3,), raises=True)
def leaf_cleared_by_method(xp, x):
    x.zero_()
    return x


@VERSIONS.loss((3,))
def leaf_changed_within_no_grad(xp, x):
    with xp.no_grad():
        x += 1
        x[0] = 2.0
        x[1:].mul_(3.0)
    return x * x


@VERSIONS.loss((3,), raises=True)
def view_made_within_no_grad_changed_outside(xp, x):
    with xp.no_grad():
        view = x[0:2]
    view *= x[0]
    return x


@VERSIONS.loss((3,), raises=True)
def view_of_leaf_made_within_no_grad_changed_by_a_number(xp, x):
    with xp.no_grad():
        view = x[0:2]
    view += 1
    return x


@VERSIONS.loss((3,), raises=True)
def view_of_result_made_within_no_grad_changed_outside(xp, x):
    y = x * 2
    with xp.no_grad():
        view = y[0:2]
    view += x[0]
    return y


@VERSIONS.loss((3,))
def view_of_constant_made_within_no_grad_changed_by_a_number(xp, x):
    constant = xp.tensor(np.ones(3))
    with xp.no_grad():
        view = constant[0:2]
    view += 1
    return x * constant


@VERSIONS.loss((3,))
def detached_leaf_changed_before_use(xp, x):
    x.detach().mul_(2.0)
    return x * x


@VERSIONS.walk((3,), raises=True)
def step_between_forward_and_backward(xp, p):
    loss = (p * p).sum()
    loss.backward(retain_graph=True)
    with xp.no_grad():
        p -= 0.1 * p.grad
    loss.backward()


@VERSIONS.walk((3,))
def step_after_backward(xp, p):
    for _ in range(3):
        p.grad = None
        loss = (p * p).sum()
        loss.backward()
        with xp.no_grad():
            p -= 0.1 * p.grad
    return [p, p.requires_grad, p.is_leaf, loss]


@VERSIONS.walk((3,), (3,))
def step_of_one_while_the_other_waits(xp, p, q):
    loss = (p + q.exp()).sum()
    with xp.no_grad():
        p -= 1.0
    loss.backward()
    return [p, q]


@VERSIONS.cases()
def test_versions(program):
    check(program)
