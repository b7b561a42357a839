"""Models as files: ``save`` and ``load``; with a table's preprocessor ``save_model`` and ``load_model``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chainrule import nn
from chainrule.atomic_files import write_atomically
from chainrule.estimators.tables import TablePreprocessor
from chainrule.io.forms import FORMS, form_of
from chainrule.io.model_file import BrokenFileError, pack, unpack

__all__ = ["SavedModel", "load", "load_model", "save", "save_model"]


@dataclass(frozen=True)
class SavedModel:
    """What a model file holds.

    Attributes
    ----------
    estimator : estimator or Module
        Fitted.
    preprocessor : TablePreprocessor or None
        The way from a data frame to the estimator's input; None if it takes arrays.
    target : str or None
        Name of the column that the estimator predicts.
    information : dict
        What else was saved with it, such as the held-out metrics.
    """

    estimator: Any
    preprocessor: TablePreprocessor | None = None
    target: str | None = None
    information: dict[str, Any] = field(default_factory=dict)

    def predict(self, X: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Predict from a data frame (from an array if there is no preprocessor).

        Parameters
        ----------
        X : pandas.DataFrame or array of shape (n_rows, n_columns)
            The rows to predict.

        Returns
        -------
        numpy.ndarray of shape (n_rows,) or (n_rows, n_outputs)
            Classes, or numbers.
        """
        return self.estimator.predict(self._input(X))

    def predict_proba(self, X: pd.DataFrame | np.ndarray) -> np.ndarray:
        """Probability of each class, in the order of ``estimator.classes_``.

        Parameters
        ----------
        X : pandas.DataFrame or array of shape (n_rows, n_columns)
            The rows to predict.

        Returns
        -------
        numpy.ndarray of shape (n_rows, n_classes)

        Raises
        ------
        TypeError
            If the model predicts numbers.
        """
        if not hasattr(self.estimator, "predict_proba"):
            raise TypeError("a model that predicts numbers has no class probabilities")
        return self.estimator.predict_proba(self._input(X))

    def _input(self, X: pd.DataFrame | np.ndarray) -> Any:
        return X if self.preprocessor is None else self.preprocessor.transform(X)


def save_model(
    path: str | os.PathLike[str],
    estimator: Any,
    *,
    preprocessor: TablePreprocessor | None = None,
    target: str | None = None,
    information: dict[str, Any] | None = None,
) -> None:
    """Write a fitted estimator, and what it needs to predict from tables, to one file.

    The file appears whole or not at all: a file of that name stays as it was until the new one is complete.

    Parameters
    ----------
    path : path
        Where to; the usual ending is ``.safetensors``.
    estimator : estimator or Module
        Fitted; see ``save``.
    preprocessor : TablePreprocessor, optional
        Fitted; its output is the estimator's input.
    target : str, optional
        Name of the predicted column.
    information : dict, optional
        Anything else that JSON can hold.

    Raises
    ------
    TypeError
        If the estimator is of another class, or something cannot be written as JSON.
    ValueError
        If the path names something that is not a file.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from chainrule.estimators import MLPClassifier
    >>> network = MLPClassifier((4,), random_state=0, solver="lbfgs", max_iter=200)
    >>> network = network.fit([[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(Path(folder, "model.safetensors"), network, target="level")
    ...     model = load_model(Path(folder, "model.safetensors"))
    >>> model.target, model.predict([[0.0], [3.0]]).tolist()
    ('level', ['low', 'high'])
    """
    name, form = form_of(estimator)
    state, arrays = form.take_apart(estimator)
    content = {
        "estimator": name,
        "state": state,
        "table": None if preprocessor is None else preprocessor.to_dict(),
        "target": target,
        "information": information or {},
    }
    write_atomically(path, pack(content, arrays))


def load_model(path: str | os.PathLike[str]) -> SavedModel:
    """Read a file that `save_model` wrote.

    Parameters
    ----------
    path : path
        The model file.

    Returns
    -------
    SavedModel
        Predicts the same bits as the model that was saved.

    Raises
    ------
    OSError
        If the file is not there or cannot be read.
    ValueError
        If it is not a model file, is damaged, or was written by a later version; the message says which.
    """
    data = Path(path).read_bytes()
    try:
        return _rebuilt(*unpack(data))
    except BrokenFileError as error:
        raise ValueError(f"cannot load the model {os.fspath(path)!r}: {error}") from error


def save(model: Any, path: str | os.PathLike[str], **information: Any) -> None:
    """Write a model to one file: an estimator of this library, fitted, or a module.

    Parameters
    ----------
    model : Module, MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor, ...
        A module is made of the layers of ``chainrule.nn``.
    path : path
        Where to; the usual ending is ``.safetensors``. The file appears whole or not at all.
    **information
        Anything else to keep with it that JSON can hold.

    Raises
    ------
    TypeError
        If the model is of another class.
    ValueError
        If the path names something that is not a file.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from chainrule import nn
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(net, Path(folder, "net.safetensors"))
    ...     again = load(Path(folder, "net.safetensors"))
    >>> again
    Sequential(
      (0): Linear(in_features=4, out_features=8, bias=True)
      (1): ReLU()
      (2): Linear(in_features=8, out_features=3, bias=True)
    )
    """
    save_model(path, model, information=information)


def load(path: str | os.PathLike[str]) -> Any:
    """The model that a file holds; it predicts the same bits as the one that was saved.

    Parameters
    ----------
    path : path

    Returns
    -------
    Module, estimator or SavedModel
        A SavedModel where a preprocessor or the target's name was saved with it.

    Raises
    ------
    OSError
        If the file is not there or cannot be read.
    ValueError
        If it is not a model file, is damaged, or was written by a later version; the message says which.
    """
    saved = load_model(path)
    if saved.preprocessor is None and saved.target is None:
        return saved.estimator
    return saved


def _check_that_it_predicts(model: Any) -> None:
    """One row through it: what a description got wrong comes out now."""
    if isinstance(model, nn.Module):
        width = model.input_width()
        if width is not None:
            model.output_width(width)
        return
    if hasattr(model, "encoder_"):
        model.predict(pd.DataFrame({name: [None] for name in model.encoder_.kinds_}))
        return
    model.predict(np.zeros((1, model.n_features_in_)))


def _rebuilt(content: dict[str, Any], arrays: dict[str, np.ndarray]) -> SavedModel:
    try:
        form = FORMS[content["estimator"]]
        estimator = form.put_together(form.kind, content["state"], arrays)
        table = content["table"]
        preprocessor = None if table is None else TablePreprocessor.from_dict(table)
        target, information = content["target"], content["information"]
        if not isinstance(target, str | None) or not isinstance(information, dict):
            raise TypeError("its target or its information")
        model = SavedModel(estimator, preprocessor, target, information)
        _check_that_it_predicts(estimator)
    except Exception as error:  # whatever a hostile description makes fail, it describes no model
        raise BrokenFileError(f"it describes no model ({type(error).__name__}: {error})") from error
    if preprocessor is not None:
        made, taken = len(preprocessor.feature_names_out), estimator.n_features_in_
        if made != taken:
            raise BrokenFileError(f"its table makes {made} columns, its network takes {taken}")
    return model
