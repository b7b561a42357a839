"""Section 3: what gradients cost, counted in multiply-adds and measured in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from chainrule import nn
from chainrule.engine import EngineExecutor
from chainrule.execution import prepare
from chainrule.explain import derive
from chainrule.plan import flatten, lower
from chainrule.tape import Tensor, finite_differences, no_grad
from chainrule.tape.primitives.products import linear

__all__ = [
    "Counted",
    "Growth",
    "PassesInFull",
    "Timed",
    "counted_products",
    "exponent",
    "growth_of_cost",
    "passes_in_full",
    "products_of_a_sweep",
    "times_of_a_sweep",
    "times_of_the_engine",
]


@dataclass
class Products:
    """Multiply-adds of the matrix products that ran."""

    forward: int = 0
    backward: int = 0


@contextmanager
def counted_products() -> Iterator[Products]:
    """Count the matrix products of linear layers as the tape makes them.

    While this lasts, the tape's one primitive of a linear layer is watched: its forward product (1), the
    product in (5), and (6). A sum over rows, as (7) is, multiplies nothing.

    Examples
    --------
    >>> with counted_products() as found:
    ...     nn.Linear(4, 3)(Tensor(np.ones((2, 4), np.float32))).sum().backward()
    >>> found                                                   # the input wants no gradient
    Products(forward=24, backward=24)
    """
    found = Products()
    forward, vjps = linear.forward, linear.vjps

    def counted_forward(h: Any, weight: Any, *bias: Any) -> Any:
        found.forward += h.shape[0] * weight.size
        return forward(h, weight, *bias)

    def counted(vjp: Callable[..., Any]) -> Callable[..., Any]:
        def product(g: Any, out: Any, h: Any, weight: Any, *bias: Any) -> Any:
            found.backward += g.shape[0] * g.shape[1] * h.shape[1]
            return vjp(g, out, h, weight, *bias)

        return product

    below, weight, bias = vjps
    assert below is not None
    assert weight is not None
    linear.forward, linear.vjps = counted_forward, (counted(below), counted(weight), bias)
    try:
        yield found
    finally:
        linear.forward, linear.vjps = forward, vjps


def layered(widths: Sequence[int], dtype: Any = np.float32, activation: str = "relu") -> nn.Sequential:
    """Linear layers with an activation between them."""
    modules: list[nn.Module] = []
    for number, (d_in, d_out) in enumerate(pairwise(widths)):
        modules += [nn.Linear(d_in, d_out, dtype=dtype, rng=number), nn.activation_module(activation)]
    return nn.Sequential(*modules[:-1])


@dataclass(frozen=True)
class Counted:
    """Multiply-adds of one architecture, for one example.

    Attributes
    ----------
    name : str
    widths : tuple of int
    forward, backward : int
        As they ran on the tape.
    derived_forward, derived_backward : int
        As ``chainrule.derive`` foretells them.
    """

    name: str
    widths: tuple[int, ...]
    forward: int
    backward: int
    derived_forward: int
    derived_backward: int

    @property
    def ratio(self) -> float:
        """Backward against forward."""
        return self.backward / self.forward


# The chapter's own network of section 7 first; then what makes the first layer's share large and small.
ARCHITECTURES = {
    "784-128-10, the chapter's": (784, 128, 10),
    "4-64-64-64-2, few inputs": (4, 64, 64, 64, 2),
    "64-64, one layer": (64, 64),
    **{f"64 units, {layers} layers": (64,) * (layers + 1) for layers in (2, 4, 8, 16)},
}


def products_of_a_sweep(
    architectures: dict[str, tuple[int, ...]] = ARCHITECTURES, n: int = 3
) -> tuple[Counted, ...]:
    """Count the multiply-adds of a forward and a backward pass, live and by formula.

    Parameters
    ----------
    architectures : dict of str to tuple of int
        Widths d_0 ... d_L by name.
    n : int
        Rows of the batch that is counted.

    Returns
    -------
    tuple of Counted

    Examples
    --------
    >>> (one,) = products_of_a_sweep({"small": (4, 3, 2)})
    >>> one.forward, one.backward                            # 4*3 + 3*2, and 4*3 + 2 * 3*2
    (18, 24)
    """
    found = []
    for name, widths in architectures.items():
        net = layered(widths)
        X = Tensor(np.ones((n, widths[0]), np.float32))
        with counted_products() as products:
            nn.HalfSquaredErrorLoss()(net(X), np.zeros((n, widths[-1]), np.float32)).backward()
        derivation = derive(net, "half_squared_error")
        found.append(
            Counted(
                name,
                widths,
                products.forward // n,
                products.backward // n,
                derivation.forward_multiply_adds,
                derivation.backward_multiply_adds,
            )
        )
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Timed:
    """Processor seconds of passes through equal layers, by their width.

    Attributes
    ----------
    widths : tuple of int
    layers : int
    forward, backward : ndarray of shape (widths, repetitions)
        Both of the tape, the forward pass recording.
    counted : float
        Multiply-adds backward against forward, the same at every width.
    """

    widths: tuple[int, ...]
    layers: int
    forward: np.ndarray
    backward: np.ndarray
    counted: float

    @property
    def ratios(self) -> np.ndarray:
        """Of the medians."""
        return np.asarray(np.median(self.backward, axis=1) / np.median(self.forward, axis=1))


def times_of_a_sweep(
    widths: Sequence[int] = (64, 128, 256, 512), layers: int = 4, n: int = 512, repetitions: int = 9
) -> Timed:
    """Time forward and backward passes on the tape.

    By the processor's time of the one thread that works, which what else the machine does leaves alone.

    Parameters
    ----------
    widths : sequence of int
    layers : int
    n : int
        Rows of the batch.
    repetitions : int

    Returns
    -------
    Timed

    Examples
    --------
    >>> times_of_a_sweep((8,), layers=2, n=4, repetitions=3).forward.shape
    (1, 3)
    """
    forward, backward = (np.empty((len(widths), repetitions)) for _ in range(2))
    for row, width in enumerate(widths):
        net = layered((width,) * (layers + 1))
        rng = np.random.default_rng(width)
        X, y = Tensor(rng.normal(size=(n, width)).astype(np.float32)), np.zeros((n, width), np.float32)
        with threadpool_limits(1):
            for number in range(-2, repetitions):  # the first two warm up
                net.zero_grad()
                begin = time.thread_time()
                loss = nn.HalfSquaredErrorLoss()(net(X), y)
                middle = time.thread_time()
                loss.backward()
                end = time.thread_time()
                if number >= 0:
                    forward[row, number], backward[row, number] = middle - begin, end - middle
    return Timed(tuple(widths), layers, forward, backward, 2 - 1 / layers)


def times_of_the_engine(
    widths: Sequence[int] = (64, 128, 256, 512), layers: int = 4, n: int = 512, repetitions: int = 9
) -> Timed:
    """Time the compiled engine, which trains: its loss, and its gradient, of which the loss is a part.

    What the gradient takes beyond the median of the loss is the backward pass. Parameters as in
    ``times_of_a_sweep``; one thread works.

    Examples
    --------
    >>> times_of_the_engine((8,), layers=2, n=4, repetitions=3).forward.shape
    (1, 3)
    """
    forward, whole = (np.empty((len(widths), repetitions)) for _ in range(2))
    for row, width in enumerate(widths):
        net = layered((width,) * (layers + 1))
        plan = lower(net, "half_squared_error")
        parameters = flatten(net.state_dict(), plan.parameters, np.float32)
        engine = EngineExecutor(plan, parameters, np.empty(0, np.float32), n_threads=1)
        X = np.random.default_rng(width).normal(size=(n, width))
        examples = prepare(plan, X, np.zeros((n, width)))
        forward[row] = _seconds(partial(engine.loss, examples), repetitions)
        whole[row] = _seconds(partial(engine.gradient, examples), repetitions)
    backward = whole - np.median(forward, axis=1, keepdims=True)
    return Timed(tuple(widths), layers, forward, backward, 2 - 1 / layers)


@dataclass(frozen=True, eq=False)
class Growth:
    """What all gradients cost, by one sweep and by passes for each parameter, as networks grow.

    Attributes
    ----------
    parameters : ndarray
        P of each network.
    sweep, passes : ndarray
        Multiply-adds for one example: of a forward and a backward pass; and of two forward passes for each
        parameter.
    sweep_seconds : ndarray
        Medians, of processor time.
    passes_seconds : ndarray
        2 P times the median of one forward pass: they are all alike, so not all are made.
    """

    parameters: np.ndarray
    sweep: np.ndarray
    passes: np.ndarray
    sweep_seconds: np.ndarray
    passes_seconds: np.ndarray


# Three layers, wider and wider.
WIDER = tuple((width,) * 4 for width in (32, 64, 128, 256, 512))


def growth_of_cost(
    architectures: Sequence[Sequence[int]] = WIDER,
    n: int = 256,
    repetitions: int = 7,
) -> Growth:
    """Count and time both ways to all gradients, for networks of several sizes.

    A pass for each parameter is a central difference: the loss with the parameter a little larger, and a
    little smaller. The products of one such pass are counted live, as those of the sweep are.

    Parameters
    ----------
    architectures : sequence of sequence of int
        Widths d_0 ... d_L of each network.
    n : int
        Rows of the batch that is timed.
    repetitions : int

    Returns
    -------
    Growth

    Examples
    --------
    >>> found = growth_of_cost(((4, 4), (8, 8)), n=2, repetitions=1)
    >>> found.parameters, found.sweep, found.passes            # P = d² + d; 2 d²; 2 P d²
    (array([20, 72]), array([ 32, 128]), array([ 640, 9216]))
    """
    rows = [_both_ways(widths, n, repetitions) for widths in architectures]
    parameters, sweep, passes, sweep_seconds, pass_seconds = (
        np.array(one) for one in zip(*rows, strict=True)
    )
    return Growth(parameters, sweep, passes, sweep_seconds, 2 * parameters * pass_seconds)


def _both_ways(widths: Sequence[int], n: int, repetitions: int) -> tuple[float, ...]:
    net = layered(widths)
    P = sum(one.size for one in net.parameters())
    X = Tensor(np.random.default_rng(P).normal(size=(n, widths[0])).astype(np.float32))
    y = np.zeros((n, widths[-1]), np.float32)

    def loss() -> Any:
        return nn.HalfSquaredErrorLoss()(net(X), y)

    def one_pass() -> None:
        with no_grad():
            loss()

    def sweep() -> None:
        net.zero_grad()
        loss().backward()

    with counted_products() as swept:
        sweep()
    with counted_products() as passed:
        one_pass()
    counts = (swept.forward + swept.backward) // n, 2 * P * (passed.forward // n)
    seconds = (float(np.median(_seconds(action, repetitions))) for action in (sweep, one_pass))
    return P, *counts, *seconds


@dataclass(frozen=True)
class PassesInFull:
    """All gradients of a small network by two passes for each parameter, none left out.

    Attributes
    ----------
    parameters : int
    counted, foretold : int
        Multiply-adds as they ran, and 2 P times those of one forward pass.
    error : float
        The largest difference from the gradients of one sweep, as a share of the largest entry.
    """

    parameters: int
    counted: int
    foretold: int
    error: float


def passes_in_full(widths: Sequence[int] = (5, 7, 6, 3), n: int = 4, seed: int = 0) -> PassesInFull:
    """Make every pass of the central differences of a small network, and count what they multiply.

    Examples
    --------
    >>> found = passes_in_full((2, 3, 1))
    >>> found.parameters, found.counted == found.foretold, found.error < 1e-6
    (13, True, True)
    """
    rng = np.random.default_rng(seed)
    net = layered(widths, np.float64, activation="tanh")
    X, y = rng.normal(size=(n, widths[0])), rng.normal(size=(n, widths[-1]))
    parameters = list(net.parameters())
    nn.HalfSquaredErrorLoss()(net(Tensor(X)), y).backward()
    swept = [one.grad.data for one in parameters if one.grad is not None]

    def loss(*changed: Tensor) -> Any:
        h: Any = X
        for number in range(0, len(changed), 2):
            h = linear(h if number == 0 else h.tanh(), *changed[number : number + 2])
        return nn.HalfSquaredErrorLoss()(h, y)

    with counted_products() as products:
        found = finite_differences(loss, parameters)
    P = sum(one.size for one in parameters)
    one_pass = n * sum(a * b for a, b in pairwise(widths))
    largest = max(float(np.abs(one).max()) for one in swept)
    error = max(float(np.abs(one - other).max()) for one, other in zip(found, swept, strict=True)) / largest
    return PassesInFull(P, products.forward, 2 * P * one_pass, error)


def _seconds(action: Callable[[], Any], repetitions: int) -> list[float]:
    """Processor seconds of the one thread that works."""
    seconds = []
    with threadpool_limits(1):
        for number in range(-2, repetitions):  # the first two warm up
            begin = time.thread_time()
            action()
            if number >= 0:
                seconds.append(time.thread_time() - begin)
    return seconds


def exponent(x: np.ndarray, y: np.ndarray) -> float:
    """The k for which y grows most nearly like xᵏ, by least squares of the logarithms.

    Examples
    --------
    >>> round(exponent(np.array([1, 2, 4]), np.array([3, 12, 48])), 6)
    2.0
    """
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
