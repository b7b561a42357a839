"""Parity with PyTorch: small trainings written out by hand, 20 steps each."""

import numpy as np
from tests.tape.parity import Programs, check

TRAINING = Programs()
STEPS = 20


def batch(xp, columns, seed=0, rows=16):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, columns))
    return xp.tensor(x), xp.tensor(x @ rng.normal(size=columns) + 0.1 * rng.normal(size=rows)), rng


def descend(xp, parameters, rate):
    with xp.no_grad():
        for p in parameters:
            p -= rate * p.grad
            p.grad = None


@TRAINING.walk((5,), ())
def linear_regression(xp, w, b):
    x, y, _ = batch(xp, 5)
    losses = []
    for _ in range(STEPS):
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        descend(xp, [w, b], 0.05)
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    return [*losses, w, b]


@TRAINING.walk((4, 8), (8,), (8, 3), (3,))
def two_layers_with_softmax_cross_entropy(xp, w1, b1, w2, b2):
    x, _, rng = batch(xp, 4)
    labels = xp.tensor(rng.integers(0, 3, 16))
    rows = xp.tensor(np.arange(16))
    losses = []
    for _ in range(STEPS):
        z = (x @ w1 + b1).relu() @ w2 + b2
        shifted = z - z.detach().amax(dim=1, keepdim=True)
        log_p = shifted - shifted.exp().sum(dim=1, keepdim=True).log()
        loss = -log_p[rows, labels].mean()
        loss.backward()
        descend(xp, [w1, b1, w2, b2], 0.2)
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    return [*losses, w1, b1, w2, b2]


@TRAINING.walk((4, 6), (6, 1))
def momentum_and_weight_decay(xp, w1, w2):
    x, y, _ = batch(xp, 4, seed=1)
    velocity = [xp.tensor(np.zeros((4, 6))), xp.tensor(np.zeros((6, 1)))]
    losses = []
    for _ in range(STEPS):
        loss = (((x @ w1).tanh() @ w2).squeeze(1) - y).square().mean()
        loss.backward()
        with xp.no_grad():
            for p, v in zip([w1, w2], velocity, strict=True):
                v.mul_(0.9).add_(p.grad + 0.01 * p)
                p -= 0.02 * v
                p.grad.zero_()
        losses.append(loss.item())
    return [*losses, w1, w2, *velocity]


@TRAINING.walk((3, 3), (2, 3), (3,))
def recurrent_net_through_time(xp, hidden, inner, out):
    x = xp.tensor(np.random.default_rng(2).normal(size=(6, 4, 2)))
    losses = []
    for _ in range(STEPS):
        h = xp.tensor(np.zeros((4, 3)))
        for t in range(6):
            h = (h @ hidden + x[t] @ inner).tanh()
        loss = ((h @ out - 1) ** 2).mean()
        loss.backward()
        descend(xp, [hidden, inner, out], 0.1)
        losses.append(loss.item())
    return [*losses, hidden, inner, out]


@TRAINING.walk((6, 3), (3,))
def embedding_of_integers(xp, table, w):
    words = xp.tensor(np.array([[0, 1, 1], [5, 2, 0], [3, 3, 3]]))
    losses = []
    for _ in range(STEPS):
        loss = ((table[words].mean(dim=1) @ w - 1) ** 2).sum()
        loss.backward()
        descend(xp, [table, w], 0.05)
        losses.append(loss.item())
    return [*losses, table, w]


@TRAINING.walk((4, 5), (5,))
def gradient_penalty_in_the_loss(xp, w, v):
    x, y, _ = batch(xp, 4, seed=3)
    losses = []
    for _ in range(STEPS):
        points = x.clone().requires_grad_()
        out = (points @ w).tanh() @ v
        (g,) = xp.grad(out.sum(), points, create_graph=True)
        loss = ((out - y) ** 2).mean() + 0.1 * ((g.norm(dim=1) - 1) ** 2).mean()
        loss.backward()
        descend(xp, [w, v], 0.05)
        losses.append(loss.item())
    return [*losses, w, v]


@TRAINING.walk((4,))
def accumulated_over_small_batches(xp, w):
    x, y, _ = batch(xp, 4, seed=4)
    for _ in range(STEPS):
        for start in range(0, 16, 4):
            part = slice(start, start + 4)
            (((x[part] @ w - y[part]) ** 2).sum() / 16).backward()
        descend(xp, [w], 0.1)
    return [w]


@TRAINING.walk((3,))
def newton_steps(xp, x):
    values = []
    for _ in range(STEPS):
        y = (x.exp() + (x - 1) ** 2).sum()
        (g,) = xp.grad(y, x, create_graph=True)
        (h,) = xp.grad(g.sum(), x)
        with xp.no_grad():
            x -= 0.5 * g / h
        values.append(y.item())
    return values


@TRAINING.walk((4, 3), (3,), (3,))
def batch_statistics_written_out(xp, w, gain, shift):
    x, y, _ = batch(xp, 4, seed=5)
    running = xp.tensor(np.zeros(3))
    for _ in range(STEPS):
        z = x @ w
        mean, var = z.mean(dim=0), z.var(dim=0, correction=0)
        with xp.no_grad():
            running *= 0.9
            running += 0.1 * mean
        h = (z - mean) / (var + 1e-5).sqrt() * gain + shift
        ((h.sum(dim=1) - y) ** 2).mean().backward()
        descend(xp, [w, gain, shift], 0.05)
    return [w, gain, shift, running]


@TRAINING.cases()
def test_training(program):
    check(program)
