"""Training loops on the tape: forward, backward, clip, step, schedule; beside PyTorch's own."""

import numpy as np
import pytest

from chainrule import optim
from chainrule.optim import lr_scheduler
from chainrule.tape import Tensor, tensor

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 2))
START = {"w1": RNG.normal(size=(5, 3)), "b1": np.zeros(5), "w2": RNG.normal(size=(2, 5)), "b2": np.zeros(2)}


def network():
    return {name: tensor(array, requires_grad=True) for name, array in START.items()}


def loss_of(p, X, Y):
    """The mean squared error of two layers, in operations that both libraries have."""
    h = (X @ p["w1"].T + p["b1"]).tanh()
    return ((h @ p["w2"].T + p["b2"] - Y) ** 2).mean()


@pytest.fixture
def torch():
    """On one thread: its two wait for each other where another process has one of the processors."""
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(n_threads)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        ("Adam", {"lr": 0.01, "amsgrad": True}),
        ("AdamW", {"lr": 0.01}),
        ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5}),
    ],
)
def test_a_loop_is_torch_s_line_by_line(torch, name, settings):
    def train(optim, schedulers, clip, parameters, X, Y):
        optimizer = getattr(optim, name)(parameters.values(), **settings)
        scheduler = schedulers.CosineAnnealingLR(optimizer, 60)
        for _ in range(50):
            optimizer.zero_grad()
            loss_of(parameters, X, Y).backward()
            clip(parameters.values(), 0.5)
            optimizer.step()
            scheduler.step()

    ours = network()
    train(optim, lr_scheduler, optim.clip_grad_norm_, ours, Tensor(X), Tensor(Y))
    theirs = {key: torch.tensor(array, requires_grad=True) for key, array in START.items()}
    clip = torch.nn.utils.clip_grad_norm_
    train(torch.optim, torch.optim.lr_scheduler, clip, theirs, torch.tensor(X), torch.tensor(Y))
    for key, parameter in ours.items():
        np.testing.assert_allclose(parameter.data, theirs[key].detach().numpy(), rtol=1e-10, atol=1e-10)


def test_lbfgs_is_torch_s_too(torch):
    def train(make, parameters, X, Y):
        optimizer = make(parameters.values(), max_iter=8, line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = loss_of(parameters, X, Y)
            loss.backward()
            return loss

        return [optimizer.step(closure).item() for _ in range(3)]

    ours, theirs = network(), {key: torch.tensor(array, requires_grad=True) for key, array in START.items()}
    losses = train(optim.LBFGS, ours, Tensor(X), Tensor(Y))
    expected = train(torch.optim.LBFGS, theirs, torch.tensor(X), torch.tensor(Y))
    np.testing.assert_allclose(losses, expected, rtol=1e-10)
    assert losses[-1] < 0.5 * losses[0]
    for key, parameter in ours.items():
        np.testing.assert_allclose(parameter.data, theirs[key].detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [4, 200])
def test_a_step_between_forward_and_backward_is_noticed(size):
    """By NumPy's step, and by that of the kernel."""
    w = tensor(np.ones((size, size)), requires_grad=True)
    optimizer = optim.Adam([w])
    (w * w).sum().backward()
    loss = (w * w).sum()
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an in-place operation"):
        loss.backward()


def test_gradients_add_up_until_they_are_forgotten():
    w = tensor([1.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.25)
    for _ in range(2):
        (w * 2.0).sum().backward()
    optimizer.step()
    assert w.item() == 0.0
    optimizer.zero_grad()
    assert w.grad is None
    assert w.requires_grad
    assert w.is_leaf


def test_the_clipped_norm_is_on_no_tape():
    w = tensor([3.0, 4.0], requires_grad=True)
    (0.5 * w * w).sum().backward()
    total = optim.clip_grad_norm_([w], 1.0)
    assert type(total) is Tensor
    assert not total.requires_grad
    np.testing.assert_allclose(w.grad.numpy(), [0.6, 0.8], rtol=1e-6)
