"""From a module of PyTorch's, with its loss and its optimizer, to a `Training`.

Where all three have counterparts in this library they become those, which run on its engine; else all three
stay as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import nn, optim
from chainrule.exports import from_torch
from chainrule.health.describe import OWN_SETTINGS, check_pair, plain, read_targets
from chainrule.health.libraries import pytorch
from chainrule.health.one_output import OneOutput, is_of_rows, places
from chainrule.health.torch_backend import BACKEND, OF_CLASSES
from chainrule.health.torch_course import check_schedule
from chainrule.health.torch_optimizers import TorchOptimizer, torch_optimizer
from chainrule.health.torch_surgery import copied
from chainrule.health.trainings import Training

__all__ = ["converted", "own_loss", "torch_training"]

# Settings of an optimizer that say how it computes, not what.
HOW = ("foreach", "capturable", "differentiable", "fused", "initial_lr")
OPTIONS = ("clip_norm", "early_stopping", "schedule")


# ------------------------------------------------------------------------------------- to this library


def converted(model: Any, loss: Any, optimizer: Any) -> tuple[Any, Any, Any] | None:
    """The three in this library, or None where one has no counterpart.

    A function of the user's is one of PyTorch's tensors, and has none.
    """
    torch = pytorch()
    is_function = callable(loss) and not isinstance(loss, torch.nn.Module | nn.LossModule)
    own = own_loss(loss) if isinstance(loss, torch.nn.Module) else loss
    described = optimizer
    if isinstance(optimizer, torch.optim.Optimizer):
        described = _own_optimizer(optimizer, model)
    if is_function or (own is None) != (loss is None) or (described is None) != (optimizer is None):
        return None
    try:
        return from_torch(model), own, described
    except (TypeError, ValueError):
        return None


def own_loss(loss: Any) -> nn.LossModule | None:
    """The loss of this library that computes the same; None where there is none."""
    torch = pytorch()
    made: dict[str, Callable[[], nn.LossModule]] = {
        "CrossEntropyLoss": lambda: nn.CrossEntropyLoss(label_smoothing=loss.label_smoothing),
        "MSELoss": nn.MSELoss,
        "BCEWithLogitsLoss": nn.BCEWithLogitsLoss,
        "L1Loss": nn.L1Loss,
        "HuberLoss": lambda: nn.HuberLoss(delta=loss.delta),
        "SmoothL1Loss": lambda: nn.HuberLoss(delta=loss.beta),
    }
    name = type(loss).__name__
    is_usual = type(loss) is getattr(torch.nn, name, None) and loss.reduction == "mean"
    weights = [getattr(loss, weight, None) for weight in ("weight", "pos_weight")]
    if name not in made or not is_usual or any(one is not None for one in weights):
        return None
    # Huber's loss and its smooth twin differ by a factor, delta.
    if getattr(loss, "beta", 1.0) != 1.0 or getattr(loss, "ignore_index", -100) != -100:
        return None
    return made[name]()


def _own_optimizer(optimizer: Any, model: Any) -> Any:
    """The description in this library of an optimizer of one rate over all that is trained."""
    kind = type(optimizer)
    own = getattr(optim, kind.__name__, None)
    if own is None or kind is not getattr(pytorch().optim, kind.__name__, None):
        return None
    if inspect.signature(own).parameters["params"].default is inspect.Parameter.empty:
        return None  # no description without parameters
    described = torch_optimizer(optimizer, model)
    trained = {name for name, one in model.named_parameters() if one.requires_grad}
    settings = dict(described.groups[0][1])
    accepted = inspect.signature(own).parameters
    usual = {name: one.default for name, one in inspect.signature(kind).parameters.items()}
    foreign = [name for name in settings if name not in accepted and name in usual and name not in HOW]
    if (
        trained & set(described.left_out)
        or any(other != settings for _, other in described.groups[1:])
        or any(settings[name] != usual[name] for name in foreign)
    ):
        return None
    return own(**{name: value for name, value in settings.items() if name in accepted})


# -------------------------------------------------------------------------------------- as they are


def torch_training(
    model: Any, loss: Any, optimizer: Any, data: Any, validation: Any, settings: dict[str, Any]
) -> Training:
    """A training that runs on PyTorch: its module is a copy of the user's, on the CPU.

    Parameters
    ----------
    model : torch.nn.Module
    loss : torch.nn.Module, callable (outputs, y) or None
    optimizer : as in `torch_optimizer`
    data, validation : (X, y)
    settings : dict
        ``batch_size``, ``epochs``, ``step``, ``clip_norm``, ``early_stopping`` and ``schedule``.
    """
    options = {name: value for name, value in settings.items() if name not in OWN_SETTINGS}
    if unknown := sorted(set(options) - set(OPTIONS)):
        raise ValueError(
            "a module that runs on PyTorch takes the settings "
            f"{', '.join(sorted((*OWN_SETTINGS, *OPTIONS)))}; a penalty is the optimizer's weight_decay, or "
            f"in the loss; got {', '.join(unknown)}"
        )
    check_schedule(options.get("schedule"))
    description: TorchOptimizer = torch_optimizer(optimizer, getattr(model, "_orig_mod", model))
    module = copied(model)
    X, y, classes = _read("data", data)
    X, outputs = _as_taken(module, X)
    notes = _moved(model)
    if not isinstance(outputs, pytorch().Tensor):
        notes += (_chosen(module, outputs, settings.get("step")),)
        X, outputs = _as_taken(module, X)
    shape = tuple(outputs.shape[1:])
    n_outputs = int(np.prod(shape))
    loss = _loss(loss, y, n_outputs)
    if n_outputs == 1 and y.dtype == np.int64 and y.max() > 1:
        y = y.astype(np.float32)  # numbers, as there is one output for more than two classes
    _check_targets(y, shape, loss)
    if validation is not None:
        held_X, held_y, _ = _read("validation", validation, classes)
        validation = (held_X.astype(X.dtype), held_y.astype(y.dtype))
    own = {name: settings[name] for name in OWN_SETTINGS if name in settings}
    return Training(
        module=module, X=X, y=y, loss=loss, optimizer=description, validation=validation, options=options,
        output_shape=shape, notes=notes, **own,
    )  # fmt: skip


def _read(name: str, data: Any, classes: Any = None) -> tuple[np.ndarray, np.ndarray, Any]:
    check_pair(name, data)
    X, (y, classes) = plain(data[0]), read_targets(plain(data[1]), classes)
    if X.ndim < 1 or len(X) != len(y) or len(X) < 2:
        raise ValueError(
            f"{name} must be X (n, ...) and y (n, ...) of two rows or more; got {X.shape}, {y.shape}"
        )
    whole = X.dtype.kind in "iu"
    return np.ascontiguousarray(X, dtype=np.int64 if whole else np.float32), y, classes


def _moved(model: Any) -> tuple[str, ...]:
    """A note where the model is on a device."""
    devices = sorted({str(one.device) for one in model.parameters()} - {"cpu"})
    return (f"examined as a copy on the CPU: the model is on {', '.join(devices)}",) if devices else ()


def _chosen(module: Any, outputs: Any, step: Any) -> str:
    """Have a module give one of its outputs alone; what is to be said of it."""
    hook = OneOutput(2, outputs)
    if step is not None:
        raise ValueError(
            "model must give one tensor where the step is the user's own, which reads what it gives; got "
            f"{type(outputs).__name__}"
        )
    module.register_forward_hook(hook)
    return f"of the {type(outputs).__name__} that the model gives, {hook.place!r} is taken for its outputs"


def _as_taken(module: Any, X: np.ndarray) -> tuple[np.ndarray, Any]:
    """X in the dtype that the module takes, whole numbers if it takes those, and its outputs for two rows."""
    torch = pytorch()
    kinds = {one.dtype for one in module.parameters() if one.dtype.is_floating_point}
    floating = np.float64 if kinds == {torch.float64} else np.float32
    dtypes = ([np.int64] if X.dtype == np.int64 else []) + [floating]
    for dtype in dtypes:
        taken = X.astype(dtype)
        try:
            outputs = _outputs(module, taken[:2])
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            if dtype is not dtypes[-1]:
                continue
            raise ValueError(f"model cannot be run on X of shape {X.shape} and {X.dtype}: {error}") from error
        if is_of_rows(outputs, 2) or any(is_of_rows(one, 2) for _, one in places(outputs)):
            return taken, outputs
        got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise ValueError(
            f"model must give one tensor with a row for each row of X; of two rows it gave {got}"
        )
    raise AssertionError("not reached")


def _outputs(module: Any, X: np.ndarray) -> Any:
    was_training = module.training
    with BACKEND.session(0), pytorch().no_grad():
        try:
            return module.eval()(BACKEND.tensor(np.nan_to_num(X)))
        finally:
            module.train(was_training)


def _loss(loss: Any, y: np.ndarray, n_outputs: int) -> Any:
    torch = pytorch()
    if loss is None:
        if y.dtype != np.int64:
            return torch.nn.MSELoss()
        return torch.nn.CrossEntropyLoss() if n_outputs > 1 else torch.nn.BCEWithLogitsLoss()
    if isinstance(loss, torch.nn.Module):
        return copied(loss)
    if isinstance(loss, str | nn.Module) or not callable(loss):
        raise TypeError(
            "loss must be one of PyTorch, as the model is that it is for: a torch.nn.Module or a function "
            f"(outputs, y) of tensors; got {loss!r}"
        )
    return loss


def _check_targets(y: np.ndarray, shape: tuple[int, ...], loss: Any) -> None:
    if y.dtype == np.int64 and len(shape) > 1:
        raise ValueError(f"model must give outputs (n, k) for classes; got (n, {', '.join(map(str, shape))})")
    if y.ndim > 1 and type(loss).__name__ in OF_CLASSES and y.shape[1:] != shape:
        raise ValueError(f"y must be class indices of shape (n,) for this loss; got {y.shape}")
