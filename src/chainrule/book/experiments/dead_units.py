"""Section 8, claim 3: units of a ReLU layer that are 0 for every example, and whether they stay so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from chainrule import nn
from chainrule.optim import SGD, Adam, Optimizer
from chainrule.tape import Tensor
from chainrule.train import Job, fit, fit_many

__all__ = [
    "DATA",
    "TRAININGS",
    "Deaths",
    "Frozen",
    "Way",
    "count_deaths",
    "digits",
    "frozen_unit",
    "network",
    "silent_units",
]

# Beyond this many examples a unit that is 0 for all of them is called dead.
LEAST_EXAMPLES = 500
DATA = ("digits, 8 × 8", "digits, 28 × 28")


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes
    ----------
    name : str
    kind : callable
        The optimizer's class.
    rate : float
    momentum : float
        Of SGD.
    initializer : str
    """

    name: str
    kind: Callable[..., Optimizer]
    rate: float
    momentum: float = 0.0
    initializer: str = "he_normal"

    def optimizer(self) -> Optimizer:
        """An optimizer of its own for each training."""
        settings = {"momentum": self.momentum} if self.kind is SGD else {}
        return self.kind(lr=self.rate, **settings)


def _ways() -> tuple[Way, ...]:
    plain = [Way(f"SGD {rate:g}", SGD, rate) for rate in (0.01, 0.03, 0.1, 0.3, 1.0)]
    heavy = [Way(f"SGD {rate:g}, momentum", SGD, rate, 0.9) for rate in (0.003, 0.01, 0.03, 0.1)]
    adam = [Way(f"Adam {rate:g}", Adam, rate) for rate in (0.0003, 0.001, 0.003, 0.01, 0.03)]
    xavier = [Way("Adam 0.001, Xavier", Adam, 0.001, initializer="xavier_uniform")]
    return (*plain, *heavy, *adam, *xavier)


TRAININGS = _ways()


def digits(name: str) -> tuple[np.ndarray, np.ndarray]:
    """1,797 digits as they come with scikit-learn, or enlarged to the size of MNIST's.

    Parameters
    ----------
    name : str
        One of ``DATA``.

    Returns
    -------
    X : ndarray of shape (1797, 64) or (1797, 784)
        From 0 to 1.
    y : ndarray of shape (1797,)

    Raises
    ------
    ValueError
        For any other name.
    """
    if name not in DATA:
        raise ValueError(f"name must be one of {', '.join(DATA)}; got {name!r}")
    X, y = load_digits(return_X_y=True)
    images = X.reshape(-1, 8, 8) / 16.0
    if name == DATA[1]:
        images = zoom(images, (1.0, 3.5, 3.5), order=1)
    return images.reshape(len(images), -1).astype(np.float32), y


def network(sizes: Sequence[int], seed: int, initializer: str = "he_normal") -> nn.Sequential:
    """A ReLU network of these widths, biases 0."""
    rng = np.random.default_rng(seed)
    modules: list[nn.Module] = []
    for number in range(len(sizes) - 1):
        linear = nn.Linear(sizes[number], sizes[number + 1], rng=rng).initialize(initializer, rng)
        linear.bias = np.zeros(sizes[number + 1])
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def silent_units(net: nn.Sequential, X: np.ndarray) -> list[np.ndarray]:
    """Which units of each ReLU layer are 0, or no number, for every example.

    Parameters
    ----------
    net : Sequential
    X : ndarray of shape (n, d)
        At least 500 examples.

    Returns
    -------
    list of ndarray of bool, one of shape (width,) a ReLU layer

    Raises
    ------
    ValueError
        Of fewer examples: a unit that is only rarely positive would be called dead.

    Examples
    --------
    >>> net = network([2, 3, 2], seed=0)
    >>> net[0].bias = np.array([0.0, -50.0, 0.0])
    >>> silent_units(net, np.random.default_rng(0).standard_normal((500, 2)))
    [array([False,  True, False])]
    """
    if len(X) < LEAST_EXAMPLES:
        raise ValueError(f"X must have at least {LEAST_EXAMPLES} examples, got {len(X)}")
    found, h = [], np.asarray(X, np.float32)
    with np.errstate(all="ignore"):  # where a training diverged
        for module in net:
            h = module(h)
            if isinstance(module, nn.ReLU):
                found.append(~(h > 0).any(axis=0))
    return found


@dataclass(frozen=True)
class Frozen:
    """What training did to a unit of the first layer that was off for every example.

    Attributes
    ----------
    gradient : float
        The largest entry of ∂ℒ/∂(w, b) of its row at the start.
    change : float
        How far the largest entry of its weights and bias moved in training.
    others : float
        How far those of the other units moved.
    """

    gradient: float
    change: float
    others: float


def frozen_unit(epochs: int, seed: int = 0) -> Frozen:
    """Switch one unit off for every digit, and train.

    Parameters
    ----------
    epochs : int
    seed : int

    Returns
    -------
    Frozen

    Examples
    --------
    >>> found = frozen_unit(epochs=1)
    >>> found.gradient, found.change, found.others > 0
    (0.0, 0.0, True)
    """
    X, y = digits(DATA[0])
    net = network([64, 16, 10], seed)
    bias = np.zeros(16)
    bias[0] = -50.0
    net[0].bias = bias
    loss = nn.CrossEntropyLoss()(net(Tensor(X)), y)
    loss.backward()
    gradient = np.column_stack([net[0].weight.grad.numpy(), net[0].bias.grad.numpy()])
    before = _rows_of(net[0])
    fit(net, X, y, loss="softmax_cross_entropy", optimizer=SGD(lr=0.1), epochs=epochs, seed=seed, verbose=0)
    moved = np.abs(_rows_of(net[0]) - before)
    return Frozen(float(np.abs(gradient[0]).max()), float(moved[0].max()), float(moved[1:].max()))


def _rows_of(linear: nn.Linear) -> np.ndarray:
    """A unit's weights and bias in a row."""
    return np.column_stack([linear.weight.detach().numpy(), linear.bias.detach().numpy()]).copy()


def _accuracy(net: nn.Sequential, X: np.ndarray, y: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        return float((net(X).argmax(axis=1) == y).mean())


@dataclass(frozen=True)
class Deaths:
    """How many units died in trainings of one way on one set of data.

    Attributes
    ----------
    way : Way
    data : str
    share : ndarray of shape (n_seeds,)
        Of all hidden units those that were not silent at the start and are after the first epochs.
    accuracy : ndarray of shape (n_seeds,)
        On held-out digits, after those epochs.
    dead : ndarray of int of shape (n_seeds, n_layers)
        Silent units after the first epochs.
    revived : ndarray of int of shape (n_seeds, n_layers)
        Those of them that were not silent any more after as many epochs again.
    """

    way: Way
    data: str
    share: np.ndarray
    accuracy: np.ndarray
    dead: np.ndarray
    revived: np.ndarray


def count_deaths(
    ways: Sequence[Way],
    data: str,
    seeds: Sequence[int],
    *,
    hidden: Sequence[int] = (64, 64, 64),
    epochs: int = 3,
) -> list[Deaths]:
    """Train in each way and look which units are silent at the start, after some epochs, and later.

    Parameters
    ----------
    ways : sequence of Way
    data : str
        One of ``DATA``.
    seeds : sequence of int
    hidden : sequence of int
        Units of the hidden layers.
    epochs : int
        The first few.

    Returns
    -------
    list of Deaths

    Examples
    --------
    >>> [found] = count_deaths(TRAININGS[2:3], DATA[0], [0], hidden=(16,), epochs=1)
    >>> found.share.shape, found.dead.shape
    ((1,), (1, 1))
    """
    X, y = digits(data)
    order = np.random.default_rng(0).permutation(len(y))
    training, held_out = order[: len(y) // 2], order[len(y) // 2 :]
    sizes = [X.shape[1], *hidden, 10]
    cases = [(way, seed) for way in ways for seed in seeds]
    nets = [network(sizes, seed, way.initializer) for way, seed in cases]
    # Dead is what no example of either half switches on.
    start = [silent_units(net, X) for net in nets]

    def train(n_epochs: int) -> None:
        jobs = [
            Job(
                net, X, y, rows=training, loss="softmax_cross_entropy", optimizer=way.optimizer(),
                epochs=n_epochs, batch_size=32, seed=seed,
            )
            for net, (way, seed) in zip(nets, cases, strict=True)
        ]  # fmt: skip
        with np.errstate(all="ignore"):
            fit_many(jobs, on_error="return", progress=False)

    train(epochs)
    early = [silent_units(net, X) for net in nets]
    accuracy = [_accuracy(net, X[held_out], y[held_out]) for net in nets]
    train(epochs)
    late = [silent_units(net, X) for net in nets]
    n_units = sum(hidden)
    died = [
        sum(int((after & ~before).sum()) for before, after in zip(a, b, strict=True)) / n_units
        for a, b in zip(start, early, strict=True)
    ]
    dead = [[int(one.sum()) for one in layers] for layers in early]
    revived = [
        [int((before & ~after).sum()) for before, after in zip(a, b, strict=True)]
        for a, b in zip(early, late, strict=True)
    ]
    shape = (len(ways), len(seeds))
    parts = zip(
        np.reshape(died, shape), np.reshape(accuracy, shape), np.reshape(dead, (*shape, -1)),
        np.reshape(revived, (*shape, -1)), strict=True,
    )  # fmt: skip
    return [Deaths(way, data, *part) for way, part in zip(ways, parts, strict=True)]
