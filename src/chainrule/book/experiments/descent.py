"""Section 8, claim 1: backpropagation gives a gradient; what is done with it is another matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chainrule import nn
from chainrule.functions.losses import softmax
from chainrule.optim import LBFGS, SGD, Adam, Optimizer
from chainrule.tape import Tensor, tensor
from chainrule.textbook import backprop
from chainrule.train import fit

__all__ = ["Descent", "Paths", "consumers", "path_of_weights", "paths_apart", "two_moons"]


@dataclass(frozen=True)
class Descent:
    """What one consumer of the gradient made of it.

    Attributes
    ----------
    name : str
    first_gradient : ndarray
        The first gradient that it was handed, flat.
    gradients : int
        How many it asked for.
    losses : ndarray
        At each of them.
    """

    name: str
    first_gradient: np.ndarray
    losses: np.ndarray

    @property
    def gradients(self) -> int:
        """How many gradients it asked for."""
        return len(self.losses)


@dataclass(frozen=True)
class Paths:
    """Two paths of the weights from one start, after each epoch.

    Attributes
    ----------
    distances : ndarray of shape (epochs,)
        ‖w − w'‖.
    length : float
        Of the first path: the sum of its steps between epochs.
    """

    distances: np.ndarray
    length: float

    @property
    def relative(self) -> float:
        """The greatest distance, as a share of the path's length."""
        return float(self.distances.max() / self.length)


def two_moons(rows: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw two half circles that reach into one another.

    Parameters
    ----------
    rows : int
    seed : int

    Returns
    -------
    X : ndarray of shape (rows, 2)
    y : ndarray of int, shape (rows,)

    Examples
    --------
    >>> two_moons(10)[0].shape
    (10, 2)
    """
    random = np.random.default_rng(seed)
    y = np.arange(rows) % 2
    angle = np.pi * random.uniform(size=rows)
    X = np.column_stack([np.cos(angle), np.sin(angle)])
    X[y == 1] = np.array([1.0, 0.5]) - X[y == 1]
    return X + 0.1 * random.standard_normal(X.shape), y


def _weights(seed: int, units: int) -> list[np.ndarray]:
    """W⁽¹⁾, b⁽¹⁾, W⁽²⁾, b⁽²⁾ of a tanh network with two inputs and two classes."""
    random = np.random.default_rng(seed)
    first = random.normal(0, np.sqrt(1 / 2), (units, 2))
    last = random.normal(0, np.sqrt(1 / units), (2, units))
    return [first, np.zeros(units), last, np.zeros(2)]


def _loss(X: np.ndarray, y: np.ndarray, weights: list[np.ndarray]) -> float:
    first, b1, last, b2 = weights
    z = np.tanh(X @ first.T + b1) @ last.T + b2
    return float(-np.log(softmax(z)[np.arange(len(y)), y]).mean())


def consumers(seed: int = 0, units: int = 8, gradients: int = 200) -> list[Descent]:
    """Hand the gradient of one and the same routine, ``chainrule.backprop``, to three consumers of it.

    Parameters
    ----------
    seed : int
        Of the first weights, the same for all three.
    units : int
    gradients : int
        About how many each may ask for.

    Returns
    -------
    list of Descent
        SGD, Adam and L-BFGS.

    Examples
    --------
    >>> [one.name for one in consumers(gradients=5)]
    ['SGD', 'Adam', 'L-BFGS']
    """
    X, y = two_moons()
    makers: dict[str, Callable[[list[Tensor]], Optimizer]] = {
        "SGD": lambda w: SGD(w, lr=0.5),
        "Adam": lambda w: Adam(w, lr=0.05),
        "L-BFGS": lambda w: LBFGS(w, max_iter=1, max_eval=25, line_search_fn="strong_wolfe"),
    }
    found = []
    for name, make in makers.items():
        parameters = [tensor(one, requires_grad=True) for one in _weights(seed, units)]
        optimizer = make(parameters)
        losses: list[float] = []
        handed: list[np.ndarray] = []

        def closure(parameters: list = parameters, losses: list = losses, handed: list = handed) -> Tensor:
            """Set each parameter's gradient by equations (3) to (7), and give the loss."""
            first, b1, last, b2 = (one.data for one in parameters)
            grad_W, grad_b = backprop(X.T, y, [first, last], [b1, b2], ["tanh"])
            for one, gradient in zip(parameters, (grad_W[0], grad_b[0], grad_W[1], grad_b[1]), strict=True):
                one.grad = tensor(gradient)
            handed.append(np.concatenate([one.grad.data.ravel() for one in parameters]))
            losses.append(_loss(X, y, [first, b1, last, b2]))
            return tensor(losses[-1], requires_grad=True)

        while len(losses) < gradients:
            asked = len(losses)
            optimizer.step(closure)
            if len(losses) == asked:
                break
        found.append(Descent(name, handed[0], np.array(losses[:gradients])))
    return found


def path_of_weights(
    executor: str, optimizer: str, seed: int = 0, units: int = 8, epochs: int = 20, rate: float = 0.1
) -> np.ndarray:
    """Train in double precision and keep the weights after each epoch.

    Parameters
    ----------
    executor : {"reference", "finite_differences", ...}
        Where the gradient comes from.
    optimizer : {"sgd", "adam"}
    seed : int
        Of weights and shuffling.
    units : int
    epochs : int
        Of four batches each.
    rate : float

    Returns
    -------
    ndarray of shape (epochs + 1, n_parameters)

    Examples
    --------
    >>> path_of_weights("reference", "sgd", epochs=2).shape
    (3, 42)
    """
    X, y = two_moons(seed=seed)
    random = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.Linear(2, units, dtype=np.float64, rng=random),
        nn.Tanh(),
        nn.Linear(units, 2, dtype=np.float64, rng=random),
    )

    def flat() -> np.ndarray:
        return np.concatenate([np.asarray(one.data).ravel() for one in net.parameters()])

    path = [flat()]
    update = SGD(lr=rate) if optimizer == "sgd" else Adam(lr=rate)
    options = {
        "executor": executor,
        "seed": seed,
        "verbose": 0,
        "callbacks": [lambda event: path.append(flat())],
    }
    fit(net, X, y, loss="softmax_cross_entropy", optimizer=update, epochs=epochs, batch_size=25, **options)
    return np.array(path)


def paths_apart(first: np.ndarray, second: np.ndarray) -> Paths:
    """Measure how far two paths are from each other.

    Parameters
    ----------
    first, second : ndarray of shape (epochs + 1, n_parameters)

    Returns
    -------
    Paths

    Examples
    --------
    >>> paths_apart(np.array([[0.0], [2.0]]), np.array([[0.0], [1.0]])).relative
    0.5
    """
    steps = np.linalg.norm(np.diff(first, axis=0), axis=1)
    return Paths(np.linalg.norm(first - second, axis=1)[1:], float(steps.sum()))
