"""scikit-learn: ``MLPClassifier.fit`` with as many iterations as there are epochs, and ``predict_proba``."""

import warnings

import numpy as np
from machine import blas_facts
from peer import Peer
from predictor import Predictor
from problem import BETAS, EPSILON, LEARNING_RATE, Weights
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier


class SklearnPeer(Peer):
    """One ``fit`` a sample, so that checking the input is spread over many epochs.

    It trains in float32 because X is float32. For two classes it has one logistic output where the others
    have two softmax outputs, which is slightly less work.
    """

    distributions = ("scikit-learn", "numpy", "scipy")

    def setup(self, sizes: tuple[int, ...], batch: int, X: np.ndarray, y: np.ndarray) -> None:
        self.settings = {
            "hidden_layer_sizes": sizes[1:-1],
            "batch_size": batch,
            "alpha": 0.0,
            "learning_rate_init": LEARNING_RATE,
            "beta_1": BETAS[0],
            "beta_2": BETAS[1],
            "epsilon": EPSILON,
            "n_iter_no_change": 10**9,  # never stop early
            "random_state": 0,
        }
        self.X, self.y, self.batch = X, y, batch
        self.reset()

    def reset(self) -> None:
        self.network: MLPClassifier | None = None  # every fit begins anew

    def epoch(self) -> int:
        return self.epochs(1)

    def epochs(self, n: int) -> int:
        self.network = MLPClassifier(**self.settings, max_iter=n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.network.fit(self.X, self.y)
        if self.network.n_iter_ != n:
            raise RuntimeError(f"scikit-learn stopped after {self.network.n_iter_} of {n} epochs")
        return n * -(-len(self.X) // self.batch)

    def weights(self) -> Weights:
        if self.network is None:
            raise RuntimeError("the network has no weights before the first epoch")
        return list(zip(self.network.coefs_, self.network.intercepts_, strict=True))

    def facts(self) -> str:
        return f"matrix products by NumPy's {blas_facts('numpy')}"


class SklearnPredictor(Predictor):
    """``predict_proba``, which checks its input and applies the softmax."""

    distributions = ("scikit-learn", "numpy")
    returns_probabilities = True

    def setup(self, weights: Weights, X: np.ndarray) -> None:
        n_classes = len(weights[-1][1])
        labels = np.arange(max(len(X), n_classes)) % n_classes
        self.X = X
        self.network = MLPClassifier(tuple(len(b) for _, b in weights[:-1]), max_iter=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.network.fit(np.resize(X, (len(labels), X.shape[1])), labels)
        if n_classes == 2:  # it has one logistic output: the difference of two outputs of a softmax
            W, b = weights[-1]
            weights = [*weights[:-1], (W[:, 1:] - W[:, :1], b[1:] - b[:1])]
        self.network.coefs_ = [W for W, _ in weights]
        self.network.intercepts_ = [b for _, b in weights]

    def call(self) -> np.ndarray:
        return self.network.predict_proba(self.X)

    def facts(self) -> str:
        return f"matrix products by NumPy's {blas_facts('numpy')}"
