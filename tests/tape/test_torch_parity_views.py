"""Parity with PyTorch: parts, views, and what puts tensors together."""

import numpy as np
import pytest
from tests.tape.parity import Programs, check

VIEWS = Programs()

ONE_INPUT = {
    "row": lambda x: x[1],
    "entry": lambda x: x[1, 2, 3],
    "last": lambda x: x[-1],
    "slice": lambda x: x[:, 1:],
    "slice with a step": lambda x: x[:, ::2, 1:4:2],
    "ellipsis": lambda x: x[..., 0],
    "new axis": lambda x: x[:, None, 1],
    "list of rows": lambda x: x[[0, 1, 0]],
    "pairs of integer arrays": lambda x: x[:, [0, 2, 2], [1, 1, 1]],
    "mask": lambda x: x[x > 0],
    "mask of rows": lambda x: x[x.sum(dim=(1, 2)) > -1e9],
    "reshape": lambda x: x.reshape(4, -1),
    "reshape of a tuple": lambda x: x.reshape((6, 4)),
    "view": lambda x: x.view(-1, 2),
    "flatten": lambda x: x.flatten(),
    "flatten from 1": lambda x: x.flatten(1),
    "flatten to 1": lambda x: x.flatten(0, 1),
    "ravel": lambda x: x.ravel(),
    "transpose": lambda x: x.transpose(0, 2),
    "transpose of negative": lambda x: x.transpose(-1, 1),
    "permute": lambda x: x.permute(2, 0, 1),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "mT": lambda x: x.mT,
    "t": lambda x: x[0].t(),
    "T": lambda x: x[1].T,
    "squeeze": lambda x: x[:, :1].squeeze(1),
    "squeeze all": lambda x: x[:1, :, :1].squeeze(),
    "squeeze of a long axis": lambda x: x.squeeze(0),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "unsqueeze at the end": lambda x: x.unsqueeze(-1),
    "expand": lambda x: x[:, :1].expand(2, 5, 4),
    "expand in front": lambda x: x.expand(3, -1, -1, -1),
    "repeat": lambda x: x.repeat(2, 1, 3),
    "repeat with an axis more": lambda x: x.repeat(2, 1, 1, 2),
    "flip": lambda x: x.flip(0, 2),
    "split": lambda x: x.split(2, dim=1),
    "chunk": lambda x: x.chunk(3, dim=2),
    "unbind": lambda x: x.unbind(1),
    "iterated": lambda x: [*x],
    "view of view of view": lambda x: x[1].T[1:].reshape(-1)[::2],
    "transposed slice reshaped": lambda x: x[:, 1:].transpose(1, 2).reshape(2, -1),
    "overlapping parts": lambda x: x[0] * x[1] + x[:, 0].sum(),
    "contiguous of transposed": lambda x: x.transpose(0, 1).contiguous().view(-1),
}
for _name, _function in ONE_INPUT.items():
    VIEWS.add(_name, lambda xp, x, _f=_function: _f(x), (2, 3, 4))


@VIEWS.loss((2, 3), (2, 1))
def cat_of_columns(xp, x, y):
    return xp.cat([x, y, x], dim=1)


@VIEWS.loss((2, 3), (2, 3))
def stack_in_the_middle(xp, x, y):
    return xp.stack([x, y], dim=1)


@VIEWS.loss((3, 4))
def gather_with_repeats(xp, x):
    return x.gather(1, xp.tensor(np.array([[0, 0, 1], [3, 2, 3], [1, 1, 1]])))


@VIEWS.loss((5, 3))
def rows_by_a_tensor_of_integers(xp, x):
    return x[xp.tensor(np.array([[0, 4], [4, 4]]))]


@VIEWS.loss((5, 3))
def rows_and_columns_by_tensors(xp, x):
    return x[xp.tensor(np.array([0, 1, 4])), xp.tensor(np.array([2, 0, 2]))]


@VIEWS.loss((4, 3))
def mask_as_a_tensor(xp, x):
    return x[xp.tensor(np.array([True, False, True, True]))]


@VIEWS.walk((2, 3), raises=True)
def view_that_needs_a_copy(xp, x):
    x.T.view(6)


@VIEWS.walk((2, 3, 4))
def what_views_are(xp, x):
    y = x * 1
    parts = [x[0], y[0], y.permute(2, 0, 1)[0].detach(), y.reshape(-1)]
    return [[p.requires_grad, p.is_leaf, tuple(p.shape), p.grad_fn is None] for p in parts]


@VIEWS.walk((2, 3))
def views_count_versions_together(xp, x):
    y = x * 1
    view, detached = y[0], y.detach()
    y += 1
    view[0] = 2
    detached *= 2
    copied = y.clone()
    copied += 1
    return [y._version, view._version, detached._version, copied._version, x._version]


@VIEWS.walk((2, 3))
def memory_is_shared_with_views(xp, x):
    y = x.detach()
    y.reshape(-1)[2] = 7.0
    y.T[0] = -1.0
    z = y.clone()
    z[0] = 0.0
    return [x, y]


@VIEWS.cases()
def test_views(program):
    check(program)


def test_lengths_and_iteration_of_a_number_are_type_errors():
    from chainrule import tape

    with pytest.raises(TypeError, match="no length"):
        len(tape.tensor(1.0))
    with pytest.raises(TypeError, match="no dimensions"):
        iter(tape.tensor(1.0))
