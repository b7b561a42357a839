"""torchmortem itself, where it is installed, on the benchmark's trainings as a loop in PyTorch has them.

The tool is github.com/sebseager/torchmortem, a package of that name. What it is run with is its default.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from chainrule.health.libraries import pytorch
from chainrule.health.suite.torch_cases import in_torch, of_any_targets
from chainrule.health.torch_backend import BACKEND
from chainrule.health.trainings import Training

__all__ = ["NAMED_CAUSES", "findings", "is_installed"]

# The causes that a finding names, in our words and with good will; one that is not here names none.
NAMED_CAUSES: Mapping[str, tuple[str, ...]] = {
    "dead units": ("dead_relu",),
    "vanishing gradients detected": ("vanishing", "init_small"),
    "exploding gradients detected": ("exploding", "non_finite", "rate_high"),
    "gradient stalling": ("vanishing", "frozen"),
    "training divergence detected": ("rate_high", "non_finite", "exploding", "loss_sign"),
    "rank collapse": ("symmetry",),
    "activation saturation": ("saturation",),
    "update ratio too low": ("rate_low", "frozen"),
    "update ratio too high": ("rate_high",),
    "weight norm explosion": ("rate_high", "exploding"),
    "stagnant weight norms": ("rate_low", "frozen"),
    "inter-layer weight norm imbalance": ("init_small", "init_large", "output_scale"),
}


def is_installed() -> bool:
    """Whether torchmortem, and PyTorch, can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "torchmortem"))


def findings(training: Training, seed: int = 0) -> list[str]:
    """Titles of its warnings and critical findings, without the layers that they are about.

    It watches every step of the whole training. What it only informs of, such as a plateau, does not count.
    """
    torchmortem = importlib.import_module("torchmortem")
    logging.getLogger("torchmortem").setLevel(logging.CRITICAL)
    parts = in_torch(training)
    step = parts.step or _usual_step(_weighted(parts.loss, training), training)
    schedule = _schedule(parts.optimizer, training)
    autopsy = torchmortem.Autopsy(parts.module, optimizer=parts.optimizer)
    with _session(seed), autopsy:
        for x, y in _batches(training, seed):
            loss = step(parts.module, parts.optimizer, x, y)
            schedule()
            autopsy.step(loss=loss.item())
    atexit.unregister(autopsy._atexit_handler)  # or all that it has seen is kept until the process ends
    serious = [one for one in autopsy.get_report().findings if one.severity >= torchmortem.Severity.WARNING]
    return sorted({one.title.split(" in ")[0].lower() for one in serious})


@contextlib.contextmanager
def _session(seed: int) -> Iterator[None]:
    """Dropout starts from the seed; hooks on frozen layers, and numbers that overflow, are not warned of."""
    with BACKEND.session(seed), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _batches(training: Training, seed: int) -> Iterator[tuple[Any, Any]]:
    """Shuffled rows, epoch by epoch; a rest of one row, which batch normalisation refuses, is left out."""
    torch, random = pytorch(), np.random.default_rng(seed)
    X, y = torch.tensor(training.X), torch.tensor(training.y)
    for _ in range(training.epochs):
        for rows in torch.tensor(random.permutation(len(X))).split(training.batch_size):
            if len(rows) > 1:
                yield X[rows], y[rows]


def _weighted(loss: Any, training: Training) -> Any:
    """The loss with the classes weighed, where the training has them so."""
    if training.options.get("class_weight") != "balanced":
        return loss
    torch, counts = pytorch(), np.bincount(training.y)
    weights = len(training.y) / (len(counts) * counts)
    return torch.nn.CrossEntropyLoss(weight=torch.tensor(weights, dtype=torch.float32))


def _usual_step(loss: Any, training: Training) -> Callable[..., Any]:
    """A step with the penalties, and the bound on the gradient, that the training has."""
    l2, l1, clip = (training.options.get(name, 0.0) for name in ("l2", "l1", "clip_norm"))
    loss = of_any_targets(loss)

    def step(module: Any, optimizer: Any, x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        value = loss(module(x), y)
        if l2 or l1:
            weights = [one for one in module.parameters() if one.ndim > 1]
            value = value + sum(l2 / 2 * (one**2).sum() + l1 * one.abs().sum() for one in weights)
        value.backward()
        if clip:
            pytorch().nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        return value

    return step


def _schedule(optimizer: Any, training: Training) -> Callable[[], Any]:
    """What is done after each step: the only schedule of the benchmark is a cosine."""
    if training.options.get("schedule") != "cosine":
        return lambda: None
    return pytorch().optim.lr_scheduler.CosineAnnealingLR(optimizer, training.n_steps).step
