"""A whole fit of a classifier on scikit-learn's digits, timed in a process of its own."""

import importlib
import warnings
from typing import Any

from machine import Stopwatch

__all__ = ["DigitsFit"]


class DigitsFit:
    """Seconds of ``MLPClassifier(random_state=0).fit`` on three quarters of the digits, and its quality.

    Parameters
    ----------
    module : str
        Where the classifier is.
    **settings
        What its constructor is given beside the random state.
    """

    def __init__(self, module: str, **settings: Any) -> None:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        self.classifier = importlib.import_module(module).MLPClassifier
        self.settings = settings
        X, y = load_digits(return_X_y=True)
        self.data = train_test_split(X / 16, y, random_state=0, stratify=y)

    def about(self) -> dict[str, Any]:
        """Nothing that other parts do not tell."""
        return {"versions": {}, "facts": ""}

    def sample(self) -> dict[str, Any]:
        """One fit."""
        X_train, X_test, y_train, y_test = self.data
        network = self.classifier(random_state=0, **self.settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged after 200 epochs is not the subject
            with Stopwatch.running() as watch:
                network.fit(X_train, y_train)
        return {
            "value": watch.seconds,
            "contaminated": watch.contaminated,
            "epochs": int(network.n_iter_),
            "loss": float(network.loss_),
            "accuracy": float(network.score(X_test, y_test)),
        }
