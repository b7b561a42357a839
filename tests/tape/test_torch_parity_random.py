"""Parity with PyTorch: programs put together at random of operations, views and changes in place.

Every choice is drawn from a generator and depends on shapes only, so that both libraries make the same ones.
"""

import numpy as np
import pytest
from tests.tape.parity import Programs, check, libraries, run

RANDOM = Programs()
N_PROGRAMS = 450

ALONE = (
    lambda x: x.sin(),
    lambda x: (x * 0.5).exp(),
    lambda x: x.tanh(),
    lambda x: x.sigmoid(),
    lambda x: x + 1.5,
    lambda x: x * 0.5,
    lambda x: -x,
    lambda x: x.clone(),
    lambda x: x.sum(),
    lambda x: x.mean(dim=0, keepdim=True),
    lambda x: x.abs(),
    lambda x: x**2,
    lambda x: x / 2,
    lambda x: x.detach(),
    lambda x: x.softmax(dim=-1),
)
TOGETHER = (
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: x * y,
    lambda x, y: x / (y * y + 1),
    lambda x, y: x * y.sin(),
)
VIEWS = (
    lambda x: x[0:1],
    lambda x: x[..., 1:],
    lambda x: x.transpose(0, -1),
    lambda x: x.unsqueeze(0),
    lambda x: x[-1],
    lambda x: x.permute(*range(len(x.shape))[::-1]),
    lambda x: x[..., ::2],
    lambda x: x.squeeze(),
)
IN_PLACE_ALONE = (
    lambda x: x.mul_(0.5),
    lambda x: x.add_(1.0),
    lambda x: x.tanh_(),
    lambda x: x.sigmoid_(),
    lambda x: x.neg_(),
    lambda x: x.zero_(),
    lambda x: x.__setitem__(..., 0.5),
    lambda x: x.__setitem__(slice(0, 1), 2.0),
)
IN_PLACE_TOGETHER = (
    lambda x, y: x.add_(y),
    lambda x, y: x.mul_(y),
    lambda x, y: x.sub_(y),
    lambda x, y: x.copy_(y),
    lambda x, y: x.__setitem__(..., y),
    lambda x, y: x.div_(y.detach() * y.detach() + 1),
)


def chosen(rng, options):
    return options[rng.integers(len(options))]


def fits(shape, into):
    try:
        return np.broadcast_shapes(shape, into) == into
    except ValueError:
        return False


def step(xp, rng, pool):
    """One more operation on tensors of the pool."""
    x = chosen(rng, pool)
    shape = tuple(x.shape)
    kind = rng.random()
    if kind < 0.2:
        if shape:  # a number has no axes in NumPy; in PyTorch it may be asked for axis 0
            pool.append(chosen(rng, ALONE)(x))
    elif kind < 0.45:
        others = [y for y in pool if fits(tuple(y.shape), shape)]
        pool.append(chosen(rng, TOGETHER)(x, chosen(rng, others)))
    elif kind < 0.7:
        # Of what requires a gradient: when a constant comes to require one, PyTorch takes the views
        # that it had for leaves, which may not be changed.
        if shape and shape[0] > 0 and shape[-1] > 1 and x.requires_grad:
            pool.append(chosen(rng, VIEWS)(x))
    elif kind < 0.8:
        if shape:
            chosen(rng, IN_PLACE_ALONE)(x)
    elif kind < 0.97:
        # Not of one's own memory: PyTorch copies entry by entry then, in an order that is nobody's promise.
        others = [y for y in pool if fits(tuple(y.shape), shape) and not overlap(x, y)]
        if others:
            chosen(rng, IN_PLACE_TOGETHER)(x, chosen(rng, others))
    else:
        with xp.no_grad():
            pool.append(x * 2)


def overlap(x, y):
    return np.may_share_memory(x.detach().numpy(), y.detach().numpy())


def is_view(pool):
    """Whether the last tensor shows the memory of another."""
    return any(overlap(pool[-1], other) for other in pool[:-1])


def random_program(seed, second=False, hooks=False):
    """``second``: go backward from the gradients squared; ``hooks``: note in which order hooks are called."""

    def program(xp, a, b, c):
        rng = np.random.default_rng(seed)
        pool = [a * 1, b + 0, c.sin(), xp.tensor(rng.normal(size=(3, 4)))]
        seen = []
        for number in range(rng.integers(4, 14)):
            made = len(pool)
            step(xp, rng, pool)
            # Not on views: when such a view is changed in place, PyTorch forgets the hook.
            if hooks and len(pool) > made and pool[-1].requires_grad and not is_view(pool):
                pool[-1].register_hook(lambda g, _number=number: seen.append(_number))
        if hooks:
            for name, leaf in (("a", a), ("b", b), ("c", c)):
                leaf.register_hook(lambda g, _name=name: seen.append(_name))
        total = sum((one * rng.normal()).sum() for one in pool)
        if second:
            found = xp.grad(total, [a, b, c], create_graph=True, allow_unused=True)
            # With the leaves themselves: of what is 0 in any case, PyTorch may give None.
            total = a.sum() + b.sum() + c.sum() + sum((one * one).sum() for one in found if one is not None)
        total.backward()
        return [*pool, seen]

    return program


for _seed in range(N_PROGRAMS):
    _options = ({}, {"second": True}, {"hooks": True})[_seed % 3]
    _name = " ".join(["random", str(_seed), *_options])
    RANDOM.add(_name, random_program(_seed, **_options), (3, 4), (4,), (3, 1), backward=False)


@pytest.mark.parametrize("program", RANDOM.values(), ids=[*RANDOM])
def test_random(program):
    theirs, _ = libraries()
    raises = run(theirs, program).error is not None
    check(program._replace(raises=raises))


def test_some_random_programs_raise_and_most_do_not():
    theirs, _ = libraries()
    raised = sum(run(theirs, program).error is not None for program in RANDOM.values())
    assert 0.05 * N_PROGRAMS < raised < 0.5 * N_PROGRAMS
