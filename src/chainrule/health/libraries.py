"""The two libraries that a model may come from, behind one protocol.

The tape has PyTorch's semantics, so that the little that a measurement asks for (leaves, gradients of
gradients, a copy of the module) is written twice here and nowhere else. PyTorch is imported only where the
model is one of its modules.
"""

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from chainrule import nn
from chainrule.functions.losses import get_loss
from chainrule.nn.random import as_generator
from chainrule.plan import LossTerm, loss_term
from chainrule.tape import Tensor, enable_grad, grad, no_grad
from chainrule.tape.primitives import TOTAL_LOSS_PRIMITIVES

__all__ = ["Library", "library_of", "pytorch"]


class Library(Protocol):
    """What a measurement asks of a library. Tensors are of that library, arrays are NumPy's in float64."""

    name: str

    def own_copy(self, module: Any) -> Any:
        """A module to measure in place of the one given: float64, evaluation mode, without hooks."""

    def trainable(self, module: Any) -> list[tuple[str, Any]]:
        """The parameters that require a gradient, with their dotted names."""

    def leaf(self, array: np.ndarray) -> Any:
        """A tensor to differentiate by."""

    def array(self, tensor: Any) -> np.ndarray:
        """The numbers of a tensor."""

    def assign(self, tensor: Any, array: np.ndarray) -> None:
        """Other numbers for a parameter."""

    def gradients(
        self, outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Any], create_graph: bool
    ) -> list[Any]:
        """Σ cotangentᵀ ∂output/∂input for every input, a tensor; None where there is no dependence."""

    def session(self, record: bool) -> contextlib.AbstractContextManager[None]:
        """Compute in here: recorded or not, and the generators that forward draws from are put back."""

    def is_chain(self, module: Any) -> bool:
        """Whether the module passes its input through its children, in order, and does nothing else."""

    def is_follower(self, module: Any) -> bool:
        """Whether the module belongs to the layer before it: an activation, a normalisation, dropout."""

    def is_idle(self, module: Any) -> bool:
        """Whether the module does nothing to the numbers of a row in evaluation."""

    def loss(self, loss: Any) -> Callable[[Any, Any], Any]:
        """A function of raw outputs, a tensor, and targets, an array; it returns a tensor."""


def library_of(module: Any) -> Library:
    """The library of a module.

    Raises
    ------
    TypeError
        If it is a module of neither.

    Examples
    --------
    >>> library_of(nn.Linear(2, 1)).name
    'chainrule'
    """
    if isinstance(module, nn.Module):
        return Tape()
    torch = sys.modules.get("torch")  # a module of PyTorch's cannot be there without PyTorch
    if torch is not None and isinstance(module, torch.nn.Module):
        return Torch(torch)
    raise TypeError(f"module must be a chainrule.nn.Module or a torch.nn.Module; got {type(module).__name__}")


def pytorch() -> Any:
    """PyTorch, where a module of it is there."""
    import torch

    return torch


class Tape:
    """Modules of this library, on the tape."""

    name = "chainrule"

    def own_copy(self, module: Any) -> Any:
        made = copy.deepcopy(module, _without_history(module, Tensor)).to(np.float64).eval()
        for one in made.modules():
            # A hook may write down what it sees, and what a measurement sends through is not for it.
            one._forward_hooks.clear()
            one._forward_pre_hooks.clear()
        return made

    def trainable(self, module: Any) -> list[tuple[str, Any]]:
        return [(name, one) for name, one in module.named_parameters() if one.requires_grad]

    def leaf(self, array: np.ndarray) -> Any:
        return Tensor(np.array(array, np.float64), requires_grad=True)

    def array(self, tensor: Any) -> np.ndarray:
        array: np.ndarray = tensor.data
        return array

    def assign(self, tensor: Any, array: np.ndarray) -> None:
        tensor.data[...] = array
        tensor.bump_version()

    def gradients(
        self, outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Any], create_graph: bool
    ) -> list[Any]:
        return list(grad(outputs, inputs, cotangents, True, create_graph, allow_unused=True))

    @contextlib.contextmanager
    def session(self, record: bool) -> Iterator[None]:
        bits: Any = as_generator().bit_generator
        before = bits.state
        try:
            # A network that overflows is measured like any other: infinities are what there is to see.
            with enable_grad() if record else no_grad(), np.errstate(all="ignore"):
                yield
        finally:
            bits.state = before

    def is_chain(self, module: Any) -> bool:
        return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward

    def is_follower(self, module: Any) -> bool:
        return isinstance(module, nn.ActivationModule | nn.BatchNorm1d | nn.LayerNorm | nn.Dropout)

    def is_idle(self, module: Any) -> bool:
        return isinstance(module, nn.Identity | nn.Dropout)

    def loss(self, loss: Any) -> Callable[[Any, Any], Any]:
        if isinstance(loss, str | LossTerm):
            return _loss_by_name(loss)
        if isinstance(loss, nn.Module):
            return self.own_copy(loss)
        return _callable_loss(loss)


def _loss_by_name(loss: str | LossTerm) -> Callable[[Any, Any], Any]:
    """The mean over the batch of a record of ``chainrule.functions.LOSSES``."""
    record = get_loss(loss if isinstance(loss, str) else loss.name)

    def mean(outputs: Any, y: Any) -> Any:
        term = loss_term(loss, outputs.shape[1])
        targets = record.check_targets(y, outputs.shape[1])
        share = term.scale / len(outputs.data)
        return TOTAL_LOSS_PRIMITIVES[term.name](outputs, targets, setting=term.setting, share=share)

    return mean


def _callable_loss(loss: Any) -> Callable[[Any, Any], Any]:
    if not callable(loss):
        raise TypeError(f"loss must be a loss module or a function (outputs, y); got {type(loss).__name__}")
    checked: Callable[[Any, Any], Any] = loss
    return checked


# Modules of torch.nn by the file that defines them; classes of one kind share a file.
_TORCH_FOLLOWERS = frozenset(
    f"torch.nn.modules.{kind}"
    for kind in ("activation", "batchnorm", "dropout", "flatten", "instancenorm", "normalization", "pooling")
)
_TORCH_IDLE = frozenset(f"torch.nn.modules.{kind}" for kind in ("dropout", "flatten"))
_TORCH_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Torch:
    """PyTorch's modules, on its own autograd, on the CPU."""

    name = "torch"

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def own_copy(self, module: Any) -> Any:
        # From the CPU: not every device has double precision.
        return self.plain_copy(module).to(self.torch.float64).eval()

    def plain_copy(self, module: Any) -> Any:
        """The same module on the CPU, without hooks and without history."""
        module = getattr(module, "_orig_mod", module)  # what torch.compile was given: it derives only once
        with self.session(record=True):
            memo = _without_history(module, self.torch.Tensor)
            made = copy.deepcopy(module, memo).to("cpu")
        for one in made.modules():
            for hooks in (getattr(one, name) for name in _TORCH_HOOKS):
                for key in [key for key, hook in hooks.items() if not _is_part_of_the_model(hook)]:
                    del hooks[key]
        return made

    def trainable(self, module: Any) -> list[tuple[str, Any]]:
        return [(name, one) for name, one in module.named_parameters() if one.requires_grad]

    def leaf(self, array: np.ndarray) -> Any:
        return self._tensor(array).requires_grad_()

    def array(self, tensor: Any) -> np.ndarray:
        array: np.ndarray = tensor.detach().cpu().numpy()
        return array

    def assign(self, tensor: Any, array: np.ndarray) -> None:
        with self.torch.no_grad():
            tensor.copy_(self._tensor(array))

    def gradients(
        self, outputs: Sequence[Any], inputs: Sequence[Any], cotangents: Sequence[Any], create_graph: bool
    ) -> list[Any]:
        starts = [
            one if one is None or isinstance(one, self.torch.Tensor) else self._tensor(one)
            for one in cotangents
        ]
        return list(
            self.torch.autograd.grad(
                outputs, inputs, starts, retain_graph=True, create_graph=create_graph, allow_unused=True
            )
        )

    @contextlib.contextmanager
    def session(self, record: bool) -> Iterator[None]:
        torch = self.torch
        from torch.nn.attention import SDPBackend, sdpa_kernel

        with (
            torch.random.fork_rng(devices=[]),
            sdpa_kernel(SDPBackend.MATH),  # the one attention kernel that can be differentiated twice
            torch.inference_mode(False),
            torch.set_grad_enabled(record),
        ):
            yield

    def is_chain(self, module: Any) -> bool:
        sequential = self.torch.nn.Sequential
        return isinstance(module, sequential) and type(module).forward is sequential.forward

    def is_follower(self, module: Any) -> bool:
        if isinstance(module, self.torch.nn.MultiheadAttention):  # shares a file with the activations
            return False
        return self.is_idle(module) or _defined_in(module, _TORCH_FOLLOWERS)

    def is_idle(self, module: Any) -> bool:
        return isinstance(module, self.torch.nn.Identity) or _defined_in(module, _TORCH_IDLE)

    def loss(self, loss: Any) -> Callable[[Any, Any], Any]:
        if isinstance(loss, nn.Module | str):
            raise TypeError(
                "loss must be a loss of PyTorch, as the module is: a torch.nn.Module or a function "
                f"(outputs, y) of tensors; got {loss!r}"
            )
        measured = self.own_copy(loss) if isinstance(loss, self.torch.nn.Module) else _callable_loss(loss)

        def of_arrays(outputs: Any, y: Any) -> Any:
            # Class indices stay integers; anything else is of the outputs' precision.
            return measured(outputs, self._tensor(y, None if np.asarray(y).dtype.kind in "iu" else "float64"))

        return of_arrays

    def _tensor(self, array: Any, dtype: str | None = "float64") -> Any:
        return self.torch.tensor(np.asarray(array), dtype=getattr(self.torch, dtype or "int64"))


def _without_history(module: Any, tensor: type) -> dict[int, Any]:
    """What deepcopy is to put in place of values that a module has kept of a forward pass.

    They have a history, with which they cannot be copied. Weights that a hook computes are such values too.
    """
    values: list[Any] = [value for one in module.modules() for value in vars(one).values()]
    kept: list[Any] = [value for value in values if isinstance(value, tensor)]
    # PyTorch's and this library's tensors are asked alike.
    return {id(value): value.detach() for value in kept if not value.is_leaf}


def _is_part_of_the_model(hook: Any) -> bool:
    """Whether PyTorch itself has put the hook there: weights are computed, or given their shape, in one."""
    is_lazy = getattr(hook, "__name__", "") == "_infer_parameters"
    is_ours = getattr(hook, "is_part_of_the_model", False)
    return is_lazy or is_ours or type(hook).__module__.startswith("torch.nn.utils.")


def _defined_in(module: Any, files: frozenset[str]) -> bool:
    return any(base.__module__ in files for base in type(module).__mro__)
