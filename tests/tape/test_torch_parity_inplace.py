"""Parity with PyTorch: changes in place of tensors and views, and when they make the gradient impossible."""

import numpy as np
from tests.tape.parity import Programs, check

INPLACE = Programs()

# -- of a tensor -----------------------------------------------------------------------------------


@INPLACE.loss((3, 4), (4,))
def add_then_multiply(xp, x, y):
    z = x * 2
    z += y
    z *= x
    return z


@INPLACE.loss((3,), (3,))
def named_methods(xp, x, y):
    return (x * 1).add_(y).mul_(y).sub_(x).div_(y * y + 1)


@INPLACE.loss((3,))
def leaf_without_gradient_becomes_a_result(xp, x):
    z = xp.tensor(np.ones(3))
    z *= x
    z += x
    return z


@INPLACE.loss((3, 4), (4,))
def slice_assigned(xp, x, y):
    z = x * 2
    z[1] = y
    z[:, 1:3] = 5.0
    return z


@INPLACE.loss((4, 3), (2, 3))
def rows_assigned_by_integers(xp, x, y):
    z = x * x
    z[[3, 1]] = y
    return z * x


@INPLACE.loss((4, 3), (4,))
def entries_assigned_by_pairs_of_integers(xp, x, y):
    z = x * 2
    z[xp.tensor(np.array([0, 1, 2, 3])), xp.tensor(np.array([0, 2, 1, 0]))] = y
    return z


@INPLACE.loss((4, 3), ())
def mask_assigned(xp, x, y):
    z = x * 2
    z[z > 0] = y
    return z


@INPLACE.loss((4, 3))
def mask_multiplied(xp, x):
    z = x * 2
    z[x > 0] *= 3
    return z


@INPLACE.loss((4, 3))
def slice_added_to(xp, x):
    z = x * 2
    z[1:3] += z[0:2].clone()
    return z


@INPLACE.loss((3,), raises=True)
def assigned_from_a_product_of_its_own_parts(xp, x):
    z = x * 1
    z[0] = z[1] * z[2]
    return z


@INPLACE.loss((3,))
def assigned_from_a_sum_of_its_own_parts(xp, x):
    z = x * 1
    z[0] = z[1] + z[2]
    return z * x


@INPLACE.loss((3, 2), (3, 2))
def copy_and_fill(xp, x, y):
    z = x * 1
    z.copy_(y)
    w = x * 1
    w[0].fill_(2.0)
    return z + w


@INPLACE.loss((4,))
def running_sum_in_a_buffer(xp, x):
    out = xp.tensor(np.zeros(4))
    total = x[0] * 0
    for i in range(4):
        total = total + x[i]
        out[i] = total
    return out


@INPLACE.loss((3, 4))
def buffer_filled_by_rows(xp, x):
    out = xp.tensor(np.zeros((3, 4)))
    for i in range(3):
        out[i] = x[i] * (i + 1)
    return out * x


# -- of views --------------------------------------------------------------------------------------


@INPLACE.loss((3, 4))
def view_changed_base_used(xp, x):
    z = x * 2
    view = z[1]
    view *= 3
    return z


@INPLACE.loss((3, 4))
def base_changed_view_used(xp, x):
    z = x * 2
    view = z[1]
    z *= x
    return view


@INPLACE.loss((3, 4), (4,))
def view_and_base_changed_by_turns(xp, x, y):
    z = x * 2
    view = z[1]
    view += y
    z *= 2
    view *= y
    z[0] = view
    return z + view


@INPLACE.loss((3, 4))
def view_of_view_changed(xp, x):
    z = x * 1
    inner = z.T[1:3][0]
    inner *= x[:, 0]
    return z


@INPLACE.loss((3, 4))
def reshaped_view_changed(xp, x):
    z = x * 1
    flat = z.reshape(-1)
    flat[5] = 0.0
    flat[::3] *= 2
    return z


@INPLACE.loss((3, 4))
def two_views_changed(xp, x):
    z = x * 1
    a, b = z[0], z[:, 0]
    a *= 2
    b *= 3
    return a.sum() + (b * z[:, 1]).sum()


@INPLACE.loss((3, 4))
def sibling_view_sees_the_change(xp, x):
    z = x * 1
    a, b = z[0:2], z[1:3]
    a *= x[0]
    return b


@INPLACE.loss((3, 1))
def squeezed_view_changed(xp, x):
    z = x * 1
    z.squeeze(1)[0] = 4.0
    z.unsqueeze(0).mul_(3.0)
    return z * x


@INPLACE.loss((2, 3), (3,))
def value_put_into_view_of_plain_buffer(xp, x, y):
    buffer = xp.tensor(np.zeros((2, 3)))
    view = buffer[0]
    view += y
    buffer[1] = x[1]
    view *= y
    return buffer


@INPLACE.loss((3, 4))
def view_taken_after_the_change(xp, x):
    z = x * 1
    z[0] *= 2
    view = z[0]
    view += 1
    return z[0] * x[0] + view


@INPLACE.walk((2, 2), (2, 2))
def history_of_the_base_of_a_changed_view(xp, x, y):
    buffer = xp.tensor(np.zeros((2, 2)))
    view = buffer[0]
    seen = [buffer.requires_grad, buffer.is_leaf]
    view += y[0]
    return [*seen, buffer.requires_grad, buffer.is_leaf, view.requires_grad, view.is_leaf]


@INPLACE.loss((3,), raises=True)
def expanded_changed(xp, x):
    z = (x * 1).expand(2, 3)
    z += 1
    return z


@INPLACE.cases()
def test_in_place(program):
    check(program)
