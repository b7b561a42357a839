"""Between scikit-learn's lists of arrays and the engine's flat vector.

``coefs_[l]`` is scikit-learn's (in, out) matrix; the engine keeps W^(l) as (out, in) in one flat vector.
A ``Network`` holds that vector and hands out transposed views of it, so that training changes ``coefs_``
in place and an entry that the user writes to is seen by the next prediction.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule import nn
from chainrule.functions import get_activation
from chainrule.plan import LossTerm, Plan, flatten, lower
from chainrule.train import make_executor
from chainrule.train.side_by_side import n_threads_allowed

__all__ = ["Architecture", "Network"]


@dataclass(frozen=True)
class Architecture:
    """What the estimator's parameters describe.

    Attributes
    ----------
    units : tuple of int
        d_0 ... d_L.
    activations, dropout : tuple
        One entry a hidden layer.
    batch_norm : bool
        Normalise between each hidden layer's matrix product and its activation.
    residual : bool
        Add its input to each hidden layer's output where the widths are equal.
    """

    units: tuple[int, ...]
    activations: tuple[str, ...]
    dropout: tuple[float, ...]
    batch_norm: bool = False
    residual: bool = False

    def module(self) -> nn.Sequential:
        """The network as a module of ``chainrule.nn``, with zero weights to be filled in."""
        layers: list[nn.Module] = []
        for number, (d_in, d_out) in enumerate(pairwise(self.units)):
            linear = _zero_linear(d_in, d_out)
            if number == len(self.units) - 2:
                layers.append(linear)
                break
            record = get_activation(self.activations[number])
            block: list[nn.Module] = [linear]
            if self.batch_norm:
                block.append(nn.BatchNorm1d(d_out))
            block.append(nn.activation_module(record.name))
            if self.dropout[number]:
                block.append(nn.Dropout(self.dropout[number]))
            joined = self.residual and d_in == d_out
            layers.extend([nn.Residual(nn.Sequential(*block))] if joined else block)
        return nn.Sequential(*layers)


def _zero_linear(d_in: int, d_out: int) -> nn.Linear:
    linear = nn.Linear(d_in, d_out, rng=0)
    linear.bind({"weight": np.zeros((d_out, d_in)), "bias": np.zeros(d_out)})
    return linear


class Network:
    """A plan with its numbers, as an estimator holds it.

    Attributes
    ----------
    plan : Plan
    parameters, buffers : ndarray
        The flat vectors.
    coefs, intercepts : list of ndarray
        (in, out) and (out,) views into ``parameters``.
    """

    def __init__(
        self, architecture: Architecture, plan: Plan, parameters: np.ndarray, buffers: np.ndarray
    ) -> None:
        self.architecture = architecture
        self.plan = plan
        self.parameters = parameters
        self.buffers = buffers
        self.coefs: list[np.ndarray] = []
        self.intercepts: list[np.ndarray] = []
        for op in plan.operations:
            if op.kind == "linear":
                matrix = parameters[op.weight : op.weight + op.width_in * op.width_out]
                self.coefs.append(matrix.reshape(op.width_in, op.width_out))
                self.intercepts.append(parameters[op.bias : op.bias + op.width_out])
        self._executors: dict[Any, Any] = {}

    @classmethod
    def build(cls, architecture: Architecture, loss: LossTerm, dtype: Any) -> "Network":
        """A network with zero weights, unit normalisations and fresh running statistics."""
        module = architecture.module()
        plan = lower(module, loss)
        state = module.state_dict()
        return cls(
            architecture, plan, flatten(state, plan.parameters, dtype), flatten(state, plan.buffers, dtype)
        )

    def load(self, coefs: list, intercepts: list) -> None:
        """Copy lists of arrays in; ValueError where a shape does not fit."""
        pairs = [("coefs_", self.coefs, coefs), ("intercepts_", self.intercepts, intercepts)]
        for name, views, arrays in pairs:
            if len(arrays) != len(views):
                raise ValueError(f"{name} must have {len(views)} arrays, one a layer; got {len(arrays)}")
            for number, (view, array) in enumerate(zip(views, arrays, strict=True)):
                if view is array:
                    continue
                values = np.asarray(array)
                if values.shape != view.shape:
                    raise ValueError(f"{name}[{number}] must have shape {view.shape}; got {values.shape}")
                view[...] = values

    def take_over(self, other: "Network | None") -> "Network":
        """Take the numbers of a network of the same layout (γ, β, running statistics too); returns itself."""
        mine = [slot.shape for slot in (*self.plan.parameters, *self.plan.buffers)]
        if other is not None and mine == [
            slot.shape for slot in (*other.plan.parameters, *other.plan.buffers)
        ]:
            self.parameters[:], self.buffers[:] = other.parameters, other.buffers
        return self

    def holds(self, coefs: list, intercepts: list) -> bool:
        """Whether the lists are this network's own views, so that there is nothing to copy."""
        mine = [*self.coefs, *self.intercepts]
        theirs = [*coefs, *intercepts]
        return len(mine) == len(theirs) and all(a is b for a, b in zip(mine, theirs, strict=True))

    def copy(self, dtype: Any = None) -> "Network":
        """An independent network with the same numbers, in another dtype if asked for."""
        dtype = dtype or self.parameters.dtype
        return Network(
            self.architecture, self.plan, self.parameters.astype(dtype), self.buffers.astype(dtype)
        )

    def with_loss(self, loss: LossTerm) -> "Network":
        """The same numbers (shared) under another loss."""
        if loss == self.plan.loss:
            return self
        return Network(self.architecture, replace(self.plan, loss=loss), self.parameters, self.buffers)

    def executor(self, n_jobs: int | None, precision: str = "full") -> Any:
        """The engine on these numbers."""
        key = n_threads_allowed(n_jobs), precision
        if key not in self._executors:
            self._executors[key] = make_executor("engine", self.plan, self.parameters, self.buffers, *key)
        return self._executors[key]

    # The views would be pickled as copies, and an executor holds addresses: keep the vectors alone.

    def __getstate__(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "plan": self.plan,
            "parameters": self.parameters,
            "buffers": self.buffers,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
