"""What is trained: the networks, learnable synthetic data, common initial weights, and a plain loss."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = [
    "NETWORKS",
    "Network",
    "guessing_loss",
    "initial_weights",
    "mean_loss",
    "raw_outputs",
    "teacher_data",
]

# Adam's settings for everyone; the rest are the values of the paper, which all of them have as defaults.
LEARNING_RATE = 1e-3
BETAS = (0.9, 0.999)
EPSILON = 1e-8

# Share of labels replaced by random ones, so that no network can drive its loss, and with it all
# gradients, to zero.
LABEL_NOISE = 0.1

# A list of (W, b) with W of shape (inputs, outputs).
Weights = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Network:
    """Layer widths, examples a step, and examples altogether (a multiple of those of a step)."""

    sizes: tuple[int, ...]
    batch: int
    rows: int = 16384

    def __post_init__(self) -> None:
        if self.rows % self.batch:
            raise ValueError(f"rows must be a multiple of batch={self.batch}; got {self.rows}")

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return self.rows // self.batch

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def name(self) -> str:
        """As in ``784-128-10, batch 32``."""
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"


NETWORKS = (
    Network((20, 64, 64, 2), 32),
    Network((64, 128, 10), 32),
    Network((784, 128, 10), 32),
    Network((784, 128, 10), 128),
    Network((784, 512, 512, 10), 128),
    Network((784, 2048, 2048, 10), 512, rows=4096),
)


def teacher_data(network: Network, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Normal X (float32) and the classes (int64) that a random linear teacher gives them, some flipped."""
    rng = np.random.default_rng(seed)
    n_inputs, n_classes = network.sizes[0], network.sizes[-1]
    X = rng.standard_normal((network.rows, n_inputs), dtype=np.float32)
    teacher = rng.standard_normal((n_inputs, n_classes), dtype=np.float32)
    y = (X @ teacher).argmax(axis=1)
    flipped = rng.random(network.rows) < LABEL_NOISE
    y[flipped] = rng.integers(0, n_classes, int(flipped.sum()))
    return X, y.astype(np.int64)


def initial_weights(sizes: tuple[int, ...], seed: int = 0) -> Weights:
    """He's normal initialization in float32, zero biases: the common start of all that can be given one."""
    rng = np.random.default_rng(seed)
    return [
        (
            (rng.standard_normal((n_in, n_out)) * np.sqrt(2 / n_in)).astype(np.float32),
            np.zeros(n_out, dtype=np.float32),
        )
        for n_in, n_out in pairwise(sizes)
    ]


def raw_outputs(weights: Weights, X: np.ndarray) -> np.ndarray:
    """The last layer's outputs of a ReLU network, in float64."""
    h = X.astype(np.float64)
    for layer, (W, b) in enumerate(weights):
        h = h @ W.astype(np.float64) + b
        if layer < len(weights) - 1:
            h = np.maximum(h, 0)
    return h


def mean_loss(weights: Weights, X: np.ndarray, y: np.ndarray) -> float:
    """Mean softmax cross-entropy of a ReLU network, in float64.

    One output stands for the log-odds of class 1, as in scikit-learn's network for two classes.
    """
    h = raw_outputs(weights, X)
    if h.shape[1] == 1:
        h = np.hstack([np.zeros_like(h), h])
    highest = h.max(axis=1)
    log_sum = highest + np.log(np.exp(h - highest[:, None]).sum(axis=1))
    return float(np.mean(log_sum - h[np.arange(len(y)), y]))


def guessing_loss(y: np.ndarray) -> float:
    """The loss of whoever looks at no input and always answers the frequencies of the classes."""
    frequency = np.bincount(y) / len(y)
    return float(-np.sum(frequency * np.log(np.maximum(frequency, 1e-300))))
