"""From what a user gives to a `Training`: modules of two libraries, estimators, data of any kind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import nn, optim
from chainrule.health.trainings import Training, described_optimizer, outputs_of
from chainrule.nn import Module
from chainrule.optim import Adam, Optimizer

__all__ = ["check_pair", "described", "is_torch", "plain", "read_targets"]

OWN_SETTINGS = ("batch_size", "epochs", "step")


def described(
    model: Any, data: Any, *, loss: Any = None, optimizer: Any = None, validation: Any = None, **settings: Any
) -> Training:
    """What is trained, on what, and how; see ``checkup`` for the parameters."""
    if hasattr(model, "encoder_") and hasattr(model, "networks_"):
        return tabular_training(model, data, validation)
    check_pair("data", data)
    if is_torch(model):
        from chainrule.health.describe_torch import converted, torch_training

        given = (model, loss, optimizer)
        parts = converted(*given) if settings.get("step") is None and np.ndim(plain(data[0])) == 2 else None
        if parts is None:
            return torch_training(*given, data, validation, settings)
        model, loss, optimizer = parts
    X, y, classes = _read_data("data", data)
    module = _module_of(model)
    if hasattr(model, "to_module") and not isinstance(model, Module):
        own_optimizer, own = _of_estimator(model, len(X))
        optimizer, settings = optimizer or own_optimizer, {**own, **settings}
    training = Training(
        module=module,
        X=X,
        y=y,
        loss=_loss_of(loss, y, outputs_of(module, np.zeros_like(X[:2])).shape[1]),
        optimizer=_optimizer_of(optimizer),
        validation=None if validation is None else _read_data("validation", validation, classes)[:2],
        **{name: settings.pop(name) for name in OWN_SETTINGS if name in settings},
        options=settings,
    )
    return training


def tabular_training(estimator: Any, data: tuple[Any, Any], validation: Any = None) -> Training:
    """How a fitted TabularClassifier or TabularRegressor trains the first of its networks, from its start.

    Parameters
    ----------
    estimator : TabularClassifier or TabularRegressor
    data, validation : (table, targets)
    """
    from chainrule.estimators.tabular.base import LEAST_HELD_OUT

    def read(given: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
        inputs = estimator.inputs(given[0])
        X = inputs.toarray() if hasattr(inputs, "toarray") else inputs
        return np.ascontiguousarray(X, np.float32), _tabular_targets(estimator, given[1])

    X, y = read(data)
    settings = estimator.settings(len(X), 0, len(X) >= LEAST_HELD_OUT)
    return Training(
        estimator.network(X.shape[1], 0, 0), X, y, settings["loss"], settings["optimizer"],
        settings["batch_size"], settings["epochs"], None if validation is None else read(validation),
        {"schedule": settings["schedule"]},
    )  # fmt: skip


def _tabular_targets(estimator: Any, y: Any) -> np.ndarray:
    if hasattr(estimator, "classes_"):
        return np.searchsorted(estimator.classes_, np.asarray(y)).astype(np.int64)
    from chainrule.estimators.tabular.targets import transformed

    numbers = np.asarray(y, np.float64)
    return transformed(numbers, estimator.target_).astype(np.float32)[:, None]


def _of_estimator(estimator: Any, n_rows: int) -> tuple[Optimizer, dict[str, Any]]:
    """How an MLPClassifier or MLPRegressor trains; Adam in place of L-BFGS, which takes no batches."""
    rate = float(estimator.learning_rate_init)
    batch_size = (
        min(200, n_rows) if estimator.batch_size == "auto" else min(int(estimator.batch_size), n_rows)
    )
    optimizers: dict[str, Callable[[], Optimizer]] = {
        "sgd": lambda: optim.SGD(lr=rate, momentum=estimator.momentum),
        "adam": lambda: Adam(lr=rate, betas=(estimator.beta_1, estimator.beta_2), eps=estimator.epsilon),
        "adamw": lambda: optim.AdamW(lr=rate, weight_decay=estimator.weight_decay),
    }
    made = optimizers.get(estimator.solver, lambda: Adam(lr=1e-2))()
    settings = {"batch_size": batch_size, "epochs": int(estimator.max_iter)}
    # scikit-learn divides its penalty by the rows of the batch.
    return made, settings | ({"l2": estimator.alpha / batch_size} if estimator.alpha else {})


def _read_data(name: str, data: Any, classes: Any = None) -> tuple[np.ndarray, np.ndarray, Any]:
    check_pair(name, data)
    X = np.ascontiguousarray(plain(data[0]), dtype=np.float32)
    y = plain(data[1])
    if X.ndim != 2 or len(X) != len(y) or len(X) < 2:
        raise ValueError(
            f"{name} must be X (n, d) and y (n, ...) of two rows or more; got {X.shape}, {y.shape}"
        )
    y, classes = read_targets(y, classes)
    return X, y if y.ndim == 1 and y.dtype == np.int64 else y.reshape(len(y), -1), classes


def check_pair(name: str, data: Any) -> None:
    """Raise unless it is (X, y)."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError(f"{name} must be (X, y); got {type(data).__name__}")


def read_targets(y: np.ndarray, classes: Any = None) -> tuple[np.ndarray, Any]:
    """Class indices of classes or labels, and what the labels are; numbers as they are."""
    if y.dtype.kind in "iu" and y.ndim == 1:
        return y.astype(np.int64), classes
    if y.dtype.kind in "OUSb" and y.ndim == 1:
        classes = np.unique(y) if classes is None else classes
        return np.searchsorted(classes, y).astype(np.int64), classes
    return y.astype(np.float32), classes


def plain(values: Any) -> np.ndarray:
    """An array of anything array-like; tensors of either library too."""
    if hasattr(values, "detach"):
        values = values.detach()
        values = values.cpu().numpy() if hasattr(values, "cpu") else values
    return np.asarray(getattr(values, "values", values) if hasattr(values, "iloc") else values)


def _module_of(model: Any) -> Module:
    if isinstance(model, Module):
        return model.copy()
    if hasattr(model, "to_module"):
        module: Module = model.to_module()
        module.reset_parameters(0)
        return module
    raise TypeError(
        "model must be a chainrule.nn.Module, a torch.nn.Module, or a fitted MLPClassifier or MLPRegressor; "
        f"got {type(model).__name__}"
    )


def _loss_of(loss: Any, y: np.ndarray, n_outputs: int) -> Any:
    if loss is None:
        if y.ndim > 1:
            return nn.MSELoss()
        return nn.BCEWithLogitsLoss() if n_outputs == 1 else nn.CrossEntropyLoss()
    if is_torch(loss):
        from chainrule.health.describe_torch import own_loss

        made = own_loss(loss)
        if made is None:
            raise TypeError(f"loss: this torch.nn.{type(loss).__name__} has no counterpart in chainrule.nn")
        return made
    if isinstance(loss, str | nn.LossModule) or callable(loss):
        return loss
    raise TypeError(
        f"loss must be a name, a loss module or a function (outputs, y); got {type(loss).__name__}"
    )


def is_torch(model: Any) -> bool:
    """Whether it is a module of PyTorch's."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _optimizer_of(optimizer: Any) -> Optimizer:
    if optimizer is None:
        return Adam()
    if isinstance(optimizer, str):
        return optim.make_optimizer(optimizer)
    if isinstance(optimizer, int | float) and not isinstance(optimizer, bool):
        return Adam(lr=float(optimizer))
    name = type(optimizer).__name__
    known = getattr(optim, name, None)
    if known is None or not hasattr(optimizer, "defaults"):
        raise TypeError(f"optimizer must be one of chainrule.optim or torch.optim; got {name}")
    group = optimizer.param_groups[0] if optimizer.param_groups else optimizer.defaults
    made: Optimizer = described_optimizer(known, {**optimizer.defaults, **group})
    return made
