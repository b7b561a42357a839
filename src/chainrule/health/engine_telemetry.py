"""What `chainrule.fit` measured while it trained, as layers: the third source of ``LayerState``.

The executors keep sums over each operation's value and each parameter array (``telemetry_every``), never the
values; what needs those, means, single units, is NaN here. z^(l) is what the activation reads, as in
``watch_layers.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from chainrule.execution import OPERATION_FIELDS, SLOT_FIELDS, Report
from chainrule.health.arguments import check_size
from chainrule.health.telemetry import BOUNDED, LayerState
from chainrule.health.watch_layers import LayerView
from chainrule.health.watch_report import WatchReport
from chainrule.health.watch_rules import Look, findings_of, update_ratios
from chainrule.nn.module import Module
from chainrule.plan import LossTerm, Operation, Plan, lower
from chainrule.train import History

__all__ = ["watched"]

NAN = float("nan")
RMS, DELTA_RMS, ZERO_FRACTION, SATURATED_FRACTION = map(
    OPERATION_FIELDS.index, ("rms", "delta_rms", "zero_fraction", "saturated_fraction")
)
GRADIENT_NORM, NORM, UPDATE_NORM = map(SLOT_FIELDS.index, ("gradient_norm", "norm", "update_norm"))
NORMALISATIONS = ("batch_norm", "layer_norm")
SUMS_ONLY = (
    "fit keeps sums, not values: the mean and the spread of z, equal units, single dead units are not seen, "
    "and the loss of a step is the mean of its epoch"
)
NO_OPERATIONS = "the module's own forward was run: only its weights and their gradients were looked at"


def watched(history: History, module: Module, batch_size: int = 32) -> WatchReport:
    """What a training by `chainrule.fit` with ``telemetry_every`` shows, by the rules of `watch`.

    Parameters
    ----------
    history : History
        What ``fit`` gave back.
    module : Module
        The one that was trained.
    batch_size : int
        That of ``fit``.

    Returns
    -------
    WatchReport

    Raises
    ------
    TypeError
        If the history or the module is something else.
    ValueError
        If nothing was measured, or the module or the batch size is not that of the training.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from chainrule import fit, nn
    >>> X, y = load_digits(return_X_y=True)
    >>> layers = [part for k in range(8) for part in (nn.Linear(64, 64, rng=k), nn.Sigmoid())]
    >>> net = nn.Sequential(*layers, nn.Linear(64, 10, rng=9))
    >>> history = fit(net, X / 16, y, loss=nn.CrossEntropyLoss(), epochs=3, telemetry_every=32, verbose=0)
    >>> report = watched(history, net)
    >>> [one.code for one in report.findings if one.critical]
    ['vanishing']
    >>> [one.step for one in report.snapshots]
    [1, 33, 65, 97, 129, 161]
    """
    _check(history, module)
    batch_size = check_size("batch_size", batch_size)
    network = _Network.of(module, history.executor)
    looks: list[Look] = []
    ends = list(accumulate(report.n_steps for report in history.telemetry))
    for report, end, epoch in zip(history.telemetry, ends, history.epochs, strict=True):
        looks += network.looks(report, _Epoch(end - report.n_steps, batch_size, epoch))
    return WatchReport(
        [look.snapshot() for look in looks],
        update_ratios(looks),
        findings_of(looks, ()),
        [SUMS_ONLY if network.operations else NO_OPERATIONS],
        ends[-1],
    )


def _check(history: Any, module: Any) -> None:
    if not isinstance(history, History):
        raise TypeError(f"history must be what chainrule.fit gave back; got {type(history).__name__}")
    if not isinstance(module, Module):
        raise TypeError(f"module must be a module of chainrule.nn; got {type(module).__name__}")
    if len(history.telemetry) != len(history.epochs) or not history.telemetry:
        raise ValueError(
            "history must hold telemetry of every epoch, as fit(..., telemetry_every=64) keeps it; got "
            f"that of {len(history.telemetry)} of {len(history.epochs)} epochs"
        )


@dataclass(frozen=True)
class _Epoch:
    """What a report leaves out: the number of its first step, the rows of a batch, the row of the history."""

    first_step: int
    batch_size: int
    record: dict[str, float]

    def n_rows(self, report: Report, step: int) -> int:
        """Rows of the batch of a step; the last batch has what is left."""
        batch_size = min(self.batch_size, report.n_rows)
        if -(-report.n_rows // batch_size) != report.n_steps:
            raise ValueError(
                f"batch_size must be that of the training, {report.n_rows} rows in {report.n_steps} steps; "
                f"got {self.batch_size}"
            )
        return min(batch_size, report.n_rows - batch_size * (step - self.first_step))


@dataclass(frozen=True)
class _Group:
    """A layer's operations, by their places in the plan: the linear one, what z is of, and the activation."""

    linear: int
    z: int
    activation: int | None


@dataclass(frozen=True)
class _Network:
    """What the columns of a report are of: operations, none where the tape ran, and parameter arrays."""

    operations: tuple[Operation, ...]
    slots: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, module: Module, executor: str) -> _Network:
        if executor != "tape":
            plan: Plan = lower(
                module, LossTerm("half_squared_error")
            )  # any loss: the operations are the same
            return cls(plan.operations, {slot.name: slot.shape for slot in plan.parameters})
        return cls((), {name: one.shape for name, one in module.named_parameters() if one.requires_grad})

    def looks(self, report: Report, epoch: _Epoch) -> list[Look]:
        """The sampled steps of an epoch."""
        if len(report.telemetry_steps) and report.slots.shape[1] != len(self.slots):
            raise ValueError(
                f"module must be the one that was trained, with {report.slots.shape[1]} parameter arrays; "
                f"got one with {len(self.slots)}"
            )
        samples = zip(report.telemetry_steps.tolist(), report.operations, report.slots, strict=True)
        return [
            self._look(step, epoch.n_rows(report, step), sums, norms, epoch.record)
            for step, sums, norms in samples
        ]

    def _look(
        self, step: int, n_rows: int, sums: np.ndarray, norms: np.ndarray, record: dict[str, float]
    ) -> Look:
        numbers = dict(zip(self.slots, norms.tolist(), strict=True))
        ratios = {name: one[UPDATE_NORM] / one[NORM] for name, one in numbers.items() if one[NORM] > 0}
        changes = norms[:, UPDATE_NORM]
        return Look(
            step=step + 1,  # fit counts from 0, people from 1
            loss=record["loss"],
            views=tuple(self._views(n_rows, sums, numbers)),
            n_rows=n_rows,
            trained=frozenset(self.slots),
            arrived=len(self.slots),
            rates=(record["learning_rate"],),
            non_finite=self._first_non_finite(sums, numbers),
            changed=bool(((changes > 0) | np.isnan(changes)).any()),
            ratios=ratios,
        )

    def _views(self, n_rows: int, sums: np.ndarray, numbers: dict[str, list[float]]) -> list[LayerView]:
        if self.operations:
            return [self._view(group, n_rows, sums, numbers) for group in self._groups()]
        matrices = [(name, shape) for name, shape in self.slots.items() if len(shape) > 1]
        return [LayerView(_state(name.rpartition(".")[0], shape, numbers[name])) for name, shape in matrices]

    def _groups(self) -> list[_Group]:
        """Each linear operation with those after it, up to the next."""
        kinds = [operation.kind for operation in self.operations]
        starts = [place for place, kind in enumerate(kinds) if kind == "linear"]
        groups = []
        for start, end in zip(starts, [*starts[1:], len(kinds)], strict=True):
            places = range(start, end)
            activation = next((place for place in places if kinds[place] == "activation"), None)
            before = range(start, end if activation is None else activation)
            z = max(place for place in before if kinds[place] in ("linear", *NORMALISATIONS))
            groups.append(_Group(start, z, activation))
        return groups

    def _view(
        self, group: _Group, n_rows: int, sums: np.ndarray, numbers: dict[str, list[float]]
    ) -> LayerView:
        """A layer; the executors' δ is of the mean over the rows, that of the schema of one row."""
        linear = self.operations[group.linear]
        name = "identity" if group.activation is None else self.operations[group.activation].activation
        h = sums[group.z if group.activation is None else group.activation].tolist()
        delta_rms = n_rows * float(sums[group.z, DELTA_RMS])
        is_dead = name == "relu" and h[ZERO_FRACTION] == 1.0
        weight = f"{linear.name}.weight" if linear.name else "weight"
        state = _state(
            linear.name,
            self.slots[weight],
            numbers[weight],
            activation=None if name == "identity" else name,
            h_rms=h[RMS],
            delta_rms=delta_rms,
            # Of a ReLU layer it is known only whether all of it is 0.
            dead=1.0 if is_dead else (NAN if name == "relu" else 0.0),
            saturated=h[SATURATED_FRACTION] if name in BOUNDED else 0.0,
            bare=name == "identity",
        )
        zero_units = np.ones(linear.width_out, bool) if is_dead else None
        return LayerView(state, delta_rms * math.sqrt(linear.width_out), zero_units, n_rows)

    def _first_non_finite(self, sums: np.ndarray, numbers: dict[str, list[float]]) -> str:
        """Going forward through the weights and the values, then back, as a watch does."""
        for name, one in numbers.items():
            if not math.isfinite(one[NORM]):
                return name
        named = [(one.name or "the model", values) for one, values in zip(self.operations, sums, strict=True)]
        for name, values in named:
            if not math.isfinite(values[RMS]):
                return f"the output of {name}"
        for name, values in reversed(named):
            if not math.isfinite(values[DELTA_RMS]):
                return f"the gradient of the output of {name}"
        for name, one in numbers.items():
            if not math.isfinite(one[GRADIENT_NORM]):
                return f"the gradient of {name}"
        return ""


def _state(name: str, shape: tuple[int, ...], norms: list[float], **values: Any) -> LayerState:
    """A layer's state from the norms of its W^(l), and what else is known."""
    usual: dict[str, Any] = {
        "activation": None, "h_rms": NAN, "delta_rms": NAN, "dead": NAN, "saturated": NAN, "bare": False,
    }  # fmt: skip
    return LayerState(
        name=name, fan_in=math.prod(shape[1:]), width=shape[0], z_mean=NAN, z_std=NAN,
        weight_norm=norms[NORM], gradient_norm=norms[GRADIENT_NORM], duplicates=NAN, spread=NAN,
        weight_std=NAN, update_ratio=norms[UPDATE_NORM] / norms[NORM] if norms[NORM] > 0 else NAN,
        **{**usual, **values},
    )  # fmt: skip
