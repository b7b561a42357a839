"""One network of a saved model, whose steps and gradients can be written out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chainrule.estimators.tables import TablePreprocessor
    from chainrule.io import SavedModel
    from chainrule.nn import Module

__all__ = ["SingleNetwork", "load_single_network"]


@dataclass(frozen=True)
class SingleNetwork:
    """A network with the loss that it was trained on, and the way to it from a table.

    Attributes
    ----------
    saved : SavedModel
        What it is of.
    module : Module
    loss : str or loss module
    number, of : int
        Which of an ensemble it is, from 1; 1 of 1 where there is no other.
    """

    saved: SavedModel
    module: Module
    loss: Any
    number: int = 1
    of: int = 1

    @property
    def estimator(self) -> Any:
        """The estimator that the network belongs to."""
        return self.saved.estimator

    @property
    def reader(self) -> TablePreprocessor | None:
        """What makes the network's input of a table; None if the model takes arrays."""
        reader: TablePreprocessor | None = self.saved.preprocessor or getattr(
            self.estimator, "encoder_", None
        )
        return reader

    @property
    def name(self) -> str:
        """Which network of the ensemble; empty where there is one only."""
        return "" if self.of == 1 else f"Network {self.number} of {self.of}. "

    @property
    def n_inputs(self) -> int:
        """Width of the input."""
        reader = self.reader
        return int(self.estimator.n_features_in_) if reader is None else len(reader.feature_names_out)

    def inputs(self, features: pd.DataFrame) -> np.ndarray:
        """Rows of a table as the network takes them, dense."""
        if self.reader is None:
            raise ValueError("the model takes arrays, not tables")
        inputs = self.reader.transform(features)
        return inputs.toarray() if hasattr(inputs, "toarray") else inputs

    def targets_of_classes(self, labels: list[Any]) -> Any:
        """Classes that the model knows, as its loss takes them."""
        import numpy as np

        classes = self.estimator.classes_.tolist()
        if hasattr(self.estimator, "networks_"):
            return np.array([classes.index(label) for label in labels])
        one_hot = np.array([[label == one for one in classes] for label in labels])
        return self.estimator._targets(one_hot[:, 1:] if self.estimator.n_outputs_ == 1 else one_hot)

    def targets_of_numbers(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers to predict, (n, n_outputs), as the loss takes them: scaled as in training."""
        from chainrule.estimators.tabular.targets import transformed

        if hasattr(self.estimator, "networks_"):
            return transformed(numbers, self.estimator.target_)
        targets: np.ndarray = self.estimator._targets(numbers)
        return targets

    @property
    def target_scaling(self) -> str:
        """What was done to the numbers to predict: "standard", "log", "rank", or nothing."""
        scaling = getattr(self.estimator, "target_scaling", None)
        return scaling or getattr(self.estimator, "target_transform", None) or ""

    def middle_target(self) -> np.ndarray:
        """The numbers, (1, n_outputs), that scaled targets of 0 stand for."""
        import numpy as np

        from chainrule.estimators.tabular.targets import restored

        zeros = np.zeros((1, self.estimator.n_outputs_))
        if hasattr(self.estimator, "networks_"):
            return restored(zeros, self.estimator.target_)
        return zeros + self.estimator.target_mean_ if self.target_scaling else zeros


def load_single_network(model: Path, number: int | None = None) -> SingleNetwork:
    """A network of a model file; of an ensemble the first, or that of `number`, which counts from 1.

    Raises
    ------
    ValueError
        If there is no such network, or the model is no network whose gradients the chapter has.
    """
    from chainrule.io import load_model

    saved = load_model(model)
    estimator = saved.estimator
    networks = getattr(estimator, "networks_", None)
    n_networks = 1 if networks is None else len(networks)
    if number is not None and not 1 <= number <= n_networks:
        raise ValueError(f"--network must be from 1 to {n_networks}, the model's networks; got {number}")
    if networks is not None:
        number = number or 1
        return SingleNetwork(saved, networks[number - 1], estimator._loss(), number, n_networks)
    if not hasattr(estimator, "to_module"):
        name = type(estimator).__name__
        raise ValueError(f"{model}: a {name} is more than one network; only a single one can be written out")
    return SingleNetwork(saved, estimator.to_module(), estimator._output()[1])
