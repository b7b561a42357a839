"""Trainings of PyTorch's modules, on its own autograd and on the CPU."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.health import torch_surgery
from chainrule.health.backends import as_number, by_hand
from chainrule.health.libraries import pytorch
from chainrule.health.torch_course import Course
from chainrule.health.torch_optimizers import TorchOptimizer

if TYPE_CHECKING:
    from chainrule.health.trainings import Training

__all__ = ["BACKEND", "left_alone"]

# Numbers of the inputs that are sent through at once.
MOST_AT_ONCE = 1 << 20
# PyTorch's losses that take classes, not one target for each output.
OF_CLASSES = ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss", "MultiLabelMarginLoss")
# What they are called here.
LOSS_RECORDS = {"BCEWithLogitsLoss": "binary_cross_entropy", "CrossEntropyLoss": "softmax_cross_entropy"}


@contextlib.contextmanager
def left_alone(model: Any) -> Iterator[None]:
    """Put a module's numbers and gradients back as they were.

    A loss, a step or a forward of the user's own may hold the model itself, and not the copy that is trained.
    """
    torch = pytorch()
    lazy = torch.nn.parameter.UninitializedTensorMixin
    tensors = [one for one in (*model.parameters(), *model.buffers()) if not isinstance(one, lazy)]
    kept = [
        (one, one.detach().clone(), one.grad, None if one.grad is None else one.grad.clone())
        for one in tensors
        if one.is_leaf
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for one, numbers, gradient, slope in kept:
                if not torch.equal(one, numbers):
                    one.copy_(numbers)
                if slope is not None and not torch.equal(gradient, slope):
                    gradient.copy_(slope)
                one.grad = gradient


class TorchBackend:
    """See ``Backend``."""

    surgery: Any = torch_surgery
    # Batch normalisation takes no batch of one row.
    least_rows = 2

    def copied(self, module: Any) -> Any:
        return torch_surgery.copied(module)

    @contextlib.contextmanager
    def session(self, seed: int) -> Iterator[None]:
        torch = pytorch()
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            # The CPU's alone: torch.manual_seed would start those of other devices too.
            torch.default_generator.manual_seed(seed)
            yield

    def tensor(self, X: np.ndarray) -> Any:
        return pytorch().tensor(X)

    def targets(self, y: Any) -> Any:
        torch = pytorch()
        return y if isinstance(y, torch.Tensor) else torch.tensor(np.asarray(y))

    def logarithm(self, outputs: Any) -> Any:
        return outputs.clamp_min(1e-30).log()

    def outputs(self, module: Any, X: np.ndarray) -> np.ndarray:
        torch = pytorch()
        was_training = module.training
        at_once = max(1, MOST_AT_ONCE // max(1, int(np.prod(X.shape[1:]))))
        with self.session(0), torch.no_grad():
            module.eval()
            parts = [module(self.tensor(X[start : start + at_once])) for start in range(0, len(X), at_once)]
            module.train(was_training)
        outputs: np.ndarray = torch.cat(parts).reshape(len(X), -1).numpy()
        return outputs

    def loss(self, training: Training) -> Callable[[Any, Any], Any]:
        loss = training.loss
        is_of_numbers = self.knows_loss(loss) and type(loss).__name__ not in OF_CLASSES

        def mean(outputs: Any, y: Any) -> Any:
            y = self.targets(y)
            if is_of_numbers and y.numel() == outputs.numel():
                y = y.to(outputs.dtype).reshape(outputs.shape)
            value = loss(outputs, y)
            return value.mean() if value.ndim else value

        return mean

    def loss_of(self, training: Training, outputs: np.ndarray, y: np.ndarray) -> float:
        torch = pytorch()
        shape = outputs.shape[1:] if training.output_shape is None else training.output_shape
        with self.session(0), torch.no_grad():
            try:
                return as_number(self.loss(training)(self.tensor(outputs).reshape(-1, *shape), y))
            except (RuntimeError, ValueError, IndexError):
                # A loss may refuse some outputs: that of a probability takes none beyond 0 and 1.
                return float("nan")

    def knows_loss(self, loss: Any) -> bool:
        return type(loss).__module__ == "torch.nn.modules.loss"

    def loss_of_logits(self, n_outputs: int) -> Any:
        losses = pytorch().nn
        return losses.BCEWithLogitsLoss() if n_outputs == 1 else losses.CrossEntropyLoss()

    def loss_record(self, loss: Any, n_outputs: int) -> str | None:
        if type(loss).__name__ == "PoissonNLLLoss":
            return "poisson" if loss.log_input else None
        return LOSS_RECORDS.get(type(loss).__name__) if self.knows_loss(loss) else None

    def takes(self, training: Training, option: str) -> bool:
        if option in ("early_stopping", "schedule"):  # between the epochs, whoever wrote the step
            return True
        is_weighable = option == "class_weight" and type(training.loss).__name__ == "CrossEntropyLoss"
        return training.step is None and (
            option == "clip_norm" or (is_weighable and training.loss.weight is None)
        )

    def bound(self, optimizer: TorchOptimizer, module: Any) -> Any:
        return optimizer.bound(module)

    def usual_step(self, training: Training) -> Callable[[Any, Any, Any, Any], Any]:
        torch = pytorch()
        loss, clip = self.loss(_weighted(training)), training.options.get("clip_norm")
        step_of = inspect.signature(training.optimizer.kind.step).parameters.get("closure")
        needs_closure = step_of is not None and step_of.default is inspect.Parameter.empty

        def step(module: Any, optimizer: Any, x: Any, y: Any) -> Any:
            def backward() -> Any:
                optimizer.zero_grad()
                value = loss(module(x), y)
                if value.requires_grad:
                    value.backward()
                if clip is not None:
                    torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
                return value

            if needs_closure:
                return optimizer.step(backward)
            value = backward()
            optimizer.step()
            return value

        return step

    def epochs(self, training: Training, module: Any, seed: int) -> list[float]:
        course = Course(training, module, seed)
        losses = by_hand(course.training, module, seed, course)
        course.finish()
        return losses


def _weighted(training: Training) -> Training:
    """The training with the classes' weights in its loss, as it learns; it is measured without."""
    if training.options.get("class_weight") is None:
        return training
    loss = copy.deepcopy(training.loss)
    n_classes = int(np.prod(training.output_shape or (training.y.max() + 1,)))
    counts = np.maximum(np.bincount(training.y, minlength=n_classes), 1)
    weights = len(training.y) / (np.count_nonzero(np.bincount(training.y)) * counts)
    dtype = next(training.module.parameters()).dtype
    loss.weight = pytorch().tensor(weights, dtype=dtype)
    return training.altered(loss=loss)


BACKEND = TorchBackend()
