"""Section 8, claim 5: starts from which a deep ReLU network may or may not recover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chainrule import nn
from chainrule.book.experiments.digits import digits_in_halves
from chainrule.optim import SGD, Adam, Optimizer, RMSprop
from chainrule.tape import Tensor
from chainrule.train import Job, fit_many

__all__ = [
    "STARTS",
    "TRAININGS",
    "Budget",
    "Recovery",
    "Start",
    "first_gradient",
    "network",
    "try_to_recover",
]


@dataclass(frozen=True)
class Start:
    """How a deep ReLU network begins.

    Attributes
    ----------
    name : str
    gain : float
        Multiplies He's weights; 0 makes them all zero.
    bias : float
        Of every hidden unit. A large negative one switches all units off for all examples.
    batch_norm : bool
        Whether pre-activations are normalized.
    """

    name: str
    gain: float = 1.0
    bias: float = 0.0
    batch_norm: bool = False


STARTS = (
    Start("He's weights"),
    Start("all zero", gain=0.0),
    Start("all units off", bias=-20.0),
    Start("0.01 × He", gain=0.01),
    Start("0.3 × He", gain=0.3),
    Start("2 × He", gain=2.0),
    Start("100 × He", gain=100.0),
)

# Each with rates from cautious to bold: a start is lost where all of them fail.
TRAININGS: dict[str, tuple[Callable[..., Optimizer], dict[str, float], float]] = {
    "SGD 0.01": (SGD, {"lr": 0.01, "momentum": 0.9}, 0.0),
    "SGD 0.1": (SGD, {"lr": 0.1, "momentum": 0.9}, 0.0),
    "SGD 0.01, clipped": (SGD, {"lr": 0.01, "momentum": 0.9}, 1.0),
    "RMSprop 0.001": (RMSprop, {"lr": 0.001}, 0.0),
    "Adam 0.001": (Adam, {"lr": 0.001}, 0.0),
    "Adam 0.01": (Adam, {"lr": 0.01}, 0.0),
}


@dataclass(frozen=True)
class Budget:
    """What each training may spend.

    Attributes
    ----------
    depth, width : int
        Layers with weights; units of a hidden one.
    epochs : int
    seeds : tuple of int
    """

    depth: int = 12
    width: int = 48
    epochs: int = 12
    seeds: tuple[int, ...] = (0, 1)


def network(start: Start, sizes: Sequence[int], seed: int) -> nn.Sequential:
    """A ReLU network with this start.

    Parameters
    ----------
    start : Start
    sizes : sequence of int
        Inputs, units of the hidden layers, outputs.
    seed : int

    Returns
    -------
    Sequential

    Examples
    --------
    >>> net = network(Start("off", bias=-20.0), [2, 3, 3, 2], seed=0)
    >>> net[0].bias.detach().numpy()
    array([-20., -20., -20.], dtype=float32)
    """
    rng = np.random.default_rng(seed)
    modules: list[nn.Module] = []
    for number in range(len(sizes) - 1):
        linear = nn.Linear(sizes[number], sizes[number + 1], rng=rng)
        modules.append(linear.initialize("he_normal", rng, gain=start.gain))
        if number < len(sizes) - 2:
            linear.bias = np.full(sizes[number + 1], start.bias)
            modules.extend([nn.BatchNorm1d(sizes[number + 1])] if start.batch_norm else [])
            modules.append(nn.ReLU())
    return nn.Sequential(*modules)


def first_gradient(start: Start, budget: Budget) -> float:
    """The largest slope that any weight has at the start: the tape's, over all training examples.

    Parameters
    ----------
    start : Start
    budget : Budget

    Returns
    -------
    float
        0 where nothing can move but the output's biases.

    Examples
    --------
    >>> first_gradient(Start("off", bias=-20.0), Budget(depth=3, width=4))
    0.0
    """
    X, y, training, _ = digits_in_halves()
    net = network(start, _sizes(budget, X), budget.seeds[0])
    with np.errstate(all="ignore"):
        nn.CrossEntropyLoss()(net(Tensor(X[training])), y[training]).backward()
    slopes = [one.weight.grad.numpy() for one in net if isinstance(one, nn.Linear)]
    return float(max(np.abs(slope).max() for slope in slopes))


@dataclass(frozen=True)
class Recovery:
    """What trainings made of a start.

    Attributes
    ----------
    start : Start
    accuracy : dict of str to ndarray of shape (n_seeds,)
        Of each training, on examples that were held out.
    """

    start: Start
    accuracy: dict[str, np.ndarray]

    @property
    def all(self) -> np.ndarray:
        """Of all trainings and seeds."""
        return np.concatenate(list(self.accuracy.values()))

    @property
    def best(self) -> float:
        """The best training's median over the seeds."""
        return max(float(np.median(one)) for one in self.accuracy.values())


def try_to_recover(starts: Sequence[Start], budget: Budget) -> list[Recovery]:
    """Train from each start with each optimizer, on half of the digits.

    Parameters
    ----------
    starts : sequence of Start
    budget : Budget

    Returns
    -------
    list of Recovery

    Examples
    --------
    >>> [found] = try_to_recover([Start("zero", gain=0.0)], Budget(depth=3, width=4, epochs=1, seeds=(0,)))
    >>> found.best < 0.2
    True
    """
    X, y, training, held_out = digits_in_halves()
    jobs = [
        Job(
            network(start, _sizes(budget, X), seed),
            X,
            y,
            optimizer=kind(**settings),
            clip_norm=clip,
            rows=training,
            validation_rows=held_out,
            loss="softmax_cross_entropy",
            metrics=["accuracy"],
            epochs=budget.epochs,
            batch_size=64,
            seed=seed,
        )
        for start in starts
        for kind, settings, clip in TRAININGS.values()
        for seed in budget.seeds
    ]
    # One thread: the book's sections run side by side.
    histories = fit_many(jobs, n_jobs=1, progress=False)
    shape = (len(starts), len(TRAININGS), len(budget.seeds))
    accuracy = np.array([one["accuracy"][-1] for one in histories]).reshape(shape)
    return [
        Recovery(start, dict(zip(TRAININGS, rows, strict=True)))
        for start, rows in zip(starts, accuracy, strict=True)
    ]


def _sizes(budget: Budget, X: np.ndarray) -> list[int]:
    return [X.shape[1], *[budget.width] * (budget.depth - 1), 10]
