"""Section 4: deep networks that do not learn, and what each remedy alone does for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.book.experiments.digits import digits_in_halves
from chainrule.optim import SGD
from chainrule.train import Job, fit_many

__all__ = ["PATIENTS", "REMEDIES", "Budget", "Design", "Outcome", "deep_network", "try_remedies"]

_LAYERS = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}


@dataclass(frozen=True)
class Design:
    """A deep network, and how it is trained.

    Attributes
    ----------
    activation : {"sigmoid", "relu"}
    initializer : str
    gain : float
        Multiplies the weights that are drawn.
    residual : bool
        Whether each hidden layer is added to what comes in.
    batch_norm : bool
        Whether pre-activations are normalized.
    clip : float
        The largest norm of a gradient; 0 leaves it as it is.
    """

    activation: str
    initializer: str
    gain: float = 1.0
    residual: bool = False
    batch_norm: bool = False
    clip: float = 0.0


# None of them learns. The library's and PyTorch's default rule for weights is the second one's.
PATIENTS = {
    "sigmoid": Design("sigmoid", "xavier_uniform"),
    "ReLU, weights too small": Design("relu", "lecun_uniform", 3**-0.5),
    "ReLU, weights too large": Design("relu", "he_normal", 1.5),
}


def _properly_initialized(design: Design) -> Design:
    rule = "xavier_uniform" if design.activation == "sigmoid" else "he_normal"
    return replace(design, initializer=rule, gain=1.0)


REMEDIES = {
    "none": lambda design: design,
    "ReLU": lambda design: replace(design, activation="relu"),
    "residual connections": lambda design: replace(design, residual=True),
    "batch normalization": lambda design: replace(design, batch_norm=True),
    "gradient clipping": lambda design: replace(design, clip=1.0),
    "proper initialization": _properly_initialized,
    "ReLU and He's weights": lambda design: _properly_initialized(replace(design, activation="relu")),
}


def deep_network(design: Design, sizes: Sequence[int], seed: int) -> nn.Sequential:
    """A network by a design.

    Parameters
    ----------
    design : Design
    sizes : sequence of int
        Inputs, units of the hidden layers, outputs.
    seed : int

    Returns
    -------
    Sequential

    Examples
    --------
    >>> net = deep_network(Design("relu", "he_normal", residual=True), [8, 4, 4, 2], seed=0)
    >>> [type(one).__name__ for one in net]
    ['Linear', 'ReLU', 'Residual', 'Linear']
    """
    rng = np.random.default_rng(seed)
    modules: list[nn.Module] = []
    for number, (n_in, n_out) in enumerate(pairwise(sizes[:-1])):
        body: list[nn.Module] = [_linear(design, n_in, n_out, rng)]
        if design.batch_norm:
            body.append(nn.BatchNorm1d(n_out))
        body.append(_LAYERS[design.activation]())
        # h + F(h) wants as many units out as in: the first layer stays as it is.
        if design.residual and number > 0:
            modules.append(nn.Residual(nn.Sequential(*body)))
        else:
            modules.extend(body)
    return nn.Sequential(*modules, _linear(design, sizes[-2], sizes[-1], rng))


def _linear(design: Design, n_in: int, n_out: int, rng: np.random.Generator) -> nn.Linear:
    return nn.Linear(n_in, n_out, rng=rng).initialize(design.initializer, rng, gain=design.gain)


@dataclass(frozen=True)
class Budget:
    """What each training may spend.

    Attributes
    ----------
    depth, width : int
        Layers with weights; units of a hidden one.
    epochs : int
    rates : tuple of float
        Learning rates, each of which is tried.
    seeds : tuple of int
    """

    depth: int = 16
    width: int = 64
    epochs: int = 20
    rates: tuple[float, ...] = (0.005, 0.03)
    seeds: tuple[int, ...] = (0, 1)


@dataclass(frozen=True)
class Outcome:
    """What became of one patient under one remedy.

    Attributes
    ----------
    patient, remedy : str
    rate : float
        The learning rate with the lowest median loss on the training examples.
    accuracy : ndarray of shape (n_seeds,)
        On examples that were held out, at that rate.
    """

    patient: str
    remedy: str
    rate: float
    accuracy: np.ndarray

    @property
    def median(self) -> float:
        """Over the seeds."""
        return float(np.median(self.accuracy))


def try_remedies(budget: Budget, cases: Sequence[tuple[str, str]] | None = None) -> list[Outcome]:
    """Train each patient with each remedy alone, on half of the digits.

    By stochastic gradient descent with momentum: an optimizer such as Adam, which takes steps of one size
    whatever the gradient's, would be a remedy of its own.

    Parameters
    ----------
    budget : Budget
    cases : sequence of (patient, remedy), optional
        All by default. A remedy that changes nothing in a patient has the outcome of none.

    Returns
    -------
    list of Outcome

    Raises
    ------
    ValueError
        If a patient or a remedy is unknown.

    Examples
    --------
    >>> small = Budget(depth=4, width=8, epochs=1, rates=(0.05,), seeds=(0,))
    >>> [found] = try_remedies(small, [("sigmoid", "ReLU")])
    >>> found.remedy, found.accuracy.shape
    ('ReLU', (1,))
    """
    asked = [(one, other) for one in PATIENTS for other in REMEDIES] if cases is None else list(cases)
    for patient, remedy in asked:
        if patient not in PATIENTS or remedy not in REMEDIES:
            raise ValueError(f"cases must name a patient and a remedy, got {patient!r} and {remedy!r}")
    designs = {case: REMEDIES[case[1]](PATIENTS[case[0]]) for case in asked}
    trained = _train(list(dict.fromkeys(designs.values())), budget)
    outcomes = []
    for (patient, remedy), design in designs.items():
        loss, accuracy = trained[design]
        best = int(np.argmin(np.median(loss, axis=1)))
        outcomes.append(Outcome(patient, remedy, budget.rates[best], accuracy[best]))
    return outcomes


def _train(designs: list[Design], budget: Budget) -> dict[Design, tuple[np.ndarray, np.ndarray]]:
    """The loss and the accuracy of each design, (n_rates, n_seeds)."""
    X, y, training, held_out = digits_in_halves()
    sizes = [X.shape[1], *[budget.width] * (budget.depth - 1), 10]
    settings: dict[str, Any] = {
        "rows": training,
        "validation_rows": held_out,
        "loss": "softmax_cross_entropy",
        "metrics": ["accuracy"],
        "epochs": budget.epochs,
        "batch_size": 64,
    }
    jobs = [
        Job(
            deep_network(design, sizes, seed),
            X,
            y,
            optimizer=SGD(lr=rate, momentum=0.9),
            seed=seed,
            clip_norm=design.clip,
            **settings,
        )
        for design in designs
        for rate in budget.rates
        for seed in budget.seeds
    ]
    shape = (len(designs), len(budget.rates), len(budget.seeds))
    # One thread: the book's sections run side by side.
    histories = fit_many(jobs, n_jobs=1, progress=False)
    loss = np.array([one["loss"][-1] for one in histories]).reshape(shape)
    accuracy = np.array([one["accuracy"][-1] for one in histories]).reshape(shape)
    # A training that ended in infinities is the worst.
    loss = np.where(np.isfinite(loss), loss, np.inf)
    return {design: (loss[number], accuracy[number]) for number, design in enumerate(designs)}
