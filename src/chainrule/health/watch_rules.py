"""Rules on what a watch sees: a few steps of a training, and neither its data nor what it is to learn.

A mistake that is one in itself (gradients not zeroed, an optimizer of other parameters) is critical. What a
network may have and learn all the same (dead units, a weak error signal) is critical where it lasts, and the
loss, if it was recorded, does not fall.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from chainrule.health.rules import RULES
from chainrule.health.telemetry import Snapshot
from chainrule.health.watch_layers import LayerView
from chainrule.health.watch_report import WatchFinding

__all__ = ["Look", "findings_of", "update_ratios"]

# Rows of which a unit must be 0 for each to be called dead.
DEAD_ROWS = 500
# A loss that has come below this share of its first values falls.
FALLEN = 0.7


@dataclass
class Look:
    """A looked-at step.

    Attributes
    ----------
    step : int
    loss : float or None
        None where it was not recorded.
    views : tuple of LayerView
    n_rows : int
    trained, frozen, disconnected : names of parameters
        Those in the optimizer, those that do not ask for a gradient, and those that ask and got none.
    detached : tuple of str
        Disconnected ones that are in the optimizer, and whose module gave something that was differentiated.
    arrived : int
        How many parameters got a gradient.
    stale : tuple of str
        Parameters whose gradient holds that of an earlier step.
    outside : tuple of str
        Parameters that got a gradient and are not in the optimizer.
    foreign : int
        How many tensors of the optimizer are not in the model.
    rates : tuple of float
        Learning rate of each parameter group.
    evaluated : str
        Whether dropout and batch normalisation were in evaluation mode: "all", "some", or empty.
    non_finite : str
    changed : bool
        Whether the step changed any number.
    ratios : dict
        ‖ΔW‖/‖W‖ of each parameter.
    """

    step: int
    loss: float | None = None
    views: tuple[LayerView, ...] = ()
    n_rows: int = 0
    trained: frozenset[str] = frozenset()
    frozen: tuple[str, ...] = ()
    disconnected: tuple[str, ...] = ()
    detached: tuple[str, ...] = ()
    arrived: int = 0
    stale: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    foreign: int = 0
    rates: tuple[float, ...] = ()
    evaluated: str = ""
    non_finite: str = ""
    changed: bool = True
    ratios: dict[str, float] = field(default_factory=dict)

    def snapshot(self) -> Snapshot:
        """The same in the schema of the other measurements."""
        return Snapshot(
            step=self.step,
            loss=math.nan if self.loss is None else self.loss,
            layers=tuple(view.state for view in self.views),
            frozen=self.frozen,
            disconnected=self.disconnected,
            non_finite=self.non_finite,
            n_rows=self.n_rows,
        )

    @property
    def linear(self) -> list[LayerView]:
        """Layers that compute (1) and were seen to; without embeddings."""
        return [view for view in self.views if view.n_rows and not view.is_embedding]

    @property
    def hidden(self) -> list[LayerView]:
        """All of these but the last."""
        return self.linear[:-1]


def update_ratios(looks: list[Look]) -> dict[str, list[tuple[int, float]]]:
    """Of each parameter, step and ‖ΔW‖/‖W‖."""
    found: dict[str, list[tuple[int, float]]] = {}
    for look in looks:
        for name, ratio in look.ratios.items():
            found.setdefault(name, []).append((look.step, ratio))
    return found


@dataclass
class _Held:
    """A rule that holds."""

    step: int
    where: str
    detail: str
    critical: bool
    measured: float = 1.0
    limit: float = 0.0


@dataclass(frozen=True)
class _Rule:
    code: str
    symptom: str
    equation: str
    test: Callable[[list[Look]], _Held | None]
    consequences: tuple[str, ...] = ()


def findings_of(looks: list[Look], unmoved: tuple[str, ...]) -> list[WatchFinding]:
    """Findings, critical ones first, in the order of cause and effect.

    Parameters
    ----------
    looks : list of Look
    unmoved : tuple of str
        Parameters that got gradients, are not in the optimizer, and were not changed by anything else.
    """
    found: list[WatchFinding] = []
    if not looks:
        return found
    for rule in _RULES:
        held = rule.test(looks)
        if held is not None:
            found.append(_finding(rule, held))
    left_out = _left_out(looks, unmoved)
    if left_out is not None:
        found.append(_finding(_LEFT_OUT, left_out))
    order = [*[rule.code for rule in _RULES[:4]], _LEFT_OUT.code, *[rule.code for rule in _RULES[4:]]]
    return _under_causes(sorted(found, key=lambda one: (not one.critical, order.index(one.code))))


def _finding(rule: _Rule, held: _Held) -> WatchFinding:
    known = RULES.get(rule.code)
    return WatchFinding(
        rule.code, rule.symptom or (known.symptom if known else ""), held.critical, held.where, held.step,
        held.detail, rule.equation or (known.equation if known else ""), held.measured, held.limit,
    )  # fmt: skip


def _under_causes(findings: list[WatchFinding]) -> list[WatchFinding]:
    """What a critical finding is known to bring about goes under it."""
    own = {rule.code: rule.consequences for rule in (*_RULES, _LEFT_OUT)}
    left, causes = list(findings), []
    while left:
        cause = left.pop(0)
        known = RULES[cause.code].consequences if cause.code in RULES else ()
        follows = (*own[cause.code], *known) if cause.critical else ()
        cause.consequences = [one for one in left if one.code in follows]
        left = [one for one in left if one.code not in follows]
        causes.append(cause)
    return causes


def _learns(looks: list[Look]) -> bool:
    """Whether a loss that was recorded falls."""
    losses = [look.loss for look in looks if look.loss is not None and math.isfinite(look.loss)]
    return len(losses) > 3 and float(np.median(losses[-3:])) < FALLEN * float(np.median(losses[:2]))


def _named(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def _first(looks: list[Look], holds: Callable[[Look], bool]) -> Look | None:
    return next((look for look in looks if holds(look)), None)


# ------------------------------------------------------------------------------------- mistakes in the loop


def _stale_parameters(looks: list[Look]) -> _Held | None:
    look = looks[-1]
    if not look.foreign:
        return None
    none = not look.trained
    what = "none is in the model" if none else "the others are in the model"
    detail = f"the optimizer changes {look.foreign} tensors that are not in the model; {what}"
    return _Held(look.step, "the optimizer", detail, critical=none, measured=look.foreign)


def _not_zeroed(looks: list[Look]) -> _Held | None:
    # At the first step it may be what is left of something before the training.
    bad = [look for look in looks if look.stale and look.step > 1]
    if not bad:
        return None
    names, first = bad[0].stale, bad[0]
    detail = f"when the gradient of this step came, that of an earlier one was still in {_named(names)}"
    return _Held(first.step, names[0], detail, critical=True, measured=len(bad))


def _zero_rate(looks: list[Look]) -> _Held | None:
    rates = [look.rates for look in looks if look.rates]
    always = (
        [all(one[k] == 0 for one in rates if k < len(one)) for k in range(len(rates[0]))] if rates else []
    )
    # A warm-up begins with 0, so one look says nothing.
    if len(rates) < 2 or not any(always):
        return None
    which = "" if all(always) else f" of parameter group {always.index(True)}"
    return _Held(looks[0].step, "the learning rate", f"the learning rate{which} is 0", critical=all(always))


def _disconnected(looks: list[Look]) -> _Held | None:
    if not any(look.arrived for look in looks):
        return _nothing_arrived(looks)
    names = [name for name in looks[-1].disconnected if all(name in look.disconnected for look in looks)]
    if not names:
        return None
    cut = [name for name in names if all(name in look.detached for look in looks)]
    what = "whose layers take part in the forward pass" if cut else "which no loss depends on"
    detail = f"no gradient comes to {_named(cut or names)}, {what}"
    return _Held(looks[0].step, (cut or names)[0], detail, critical=bool(cut), measured=len(names))


def _nothing_arrived(looks: list[Look]) -> _Held | None:
    if any(look.changed for look in looks) or not looks[0].disconnected:
        return None
    names = looks[0].disconnected
    detail = f"no gradient comes to any parameter: not to {_named(names)}"
    return _Held(looks[0].step, names[0], detail, critical=True, measured=len(names))


def _frozen(looks: list[Look]) -> _Held | None:
    names = [name for name in looks[-1].frozen if all(name in look.frozen for look in looks)]
    if not names:
        return None
    every = not any(look.arrived or look.disconnected for look in looks)
    return _Held(looks[0].step, names[0], f"{_named(names)} do not ask for a gradient", critical=every,
                 measured=len(names))  # fmt: skip


def _eval_mode(looks: list[Look]) -> _Held | None:
    look = _first(looks, lambda one: one.evaluated == "all")
    if look is not None:
        detail = (
            "model.eval() is on while gradients are computed: dropout and batch normalisation do not work"
        )
        return _Held(look.step, "the model", detail, critical=True)
    look = _first(looks, lambda one: one.evaluated == "some")
    if look is None:
        return None
    return _Held(look.step, "", "some dropout or batch normalisation is in evaluation mode", critical=False)


def _no_update(looks: list[Look]) -> _Held | None:
    still = [look for look in looks if not look.changed and look.trained]
    if not still:
        return None
    detail = f"{len(still)} of {len(looks)} steps that were looked at changed no number"
    return _Held(still[0].step, "the optimizer", detail, len(still) == len(looks) > 1, len(still))


def _left_out(looks: list[Look], unmoved: tuple[str, ...]) -> _Held | None:
    names = [name for name in looks[-1].outside if name in unmoved]
    if not names:
        return None
    detail = f"{_named(names)} get gradients, are not in the optimizer and never change"
    first = _first(looks, lambda look: names[0] in look.outside)
    return _Held(first.step if first else 1, names[0], detail, len(looks) > 1, len(names))


# ------------------------------------------------------------------------------------------------- numbers


def _non_finite(looks: list[Look]) -> _Held | None:
    look = _first(looks, lambda one: bool(one.non_finite))
    if look is None:
        return None
    before = max([0, *(one.step for one in looks if one.step < look.step)])
    since = f"; at step {before} everything was finite" if before else ""
    return _Held(look.step, look.non_finite, f"{look.non_finite} is not finite{since}", critical=True)


def _symmetry(looks: list[Look]) -> _Held | None:
    worst = max(looks[-1].hidden, key=lambda view: view.state.duplicates, default=None)
    # NaN, where it was not measured, is not above the limit.
    if worst is None or not worst.state.duplicates > 0.5 or len(looks) < 2:
        return None
    share, name = worst.state.duplicates, worst.state.name
    detail = f"{share:.0%} of layer {name}'s units have the weights and the gradient of another"
    return _Held(looks[0].step, name, detail, critical=True, measured=share, limit=0.5)


def _dead_relu(looks: list[Look]) -> _Held | None:
    worst, where, step = 0.0, "", 0
    for view in looks[-1].hidden:
        share, first = _dead_share(looks, view.state.name)
        if share > worst:
            worst, where, step = share, view.state.name, first
    if worst <= 0.5:
        return None
    detail = f"{worst:.0%} of layer {where}'s ReLUs gave 0 for every row in the last looks"
    return _Held(step, where, detail, not _learns(looks), worst, 0.5)


def _dead_share(looks: list[Look], name: str) -> tuple[float, int]:
    """Units that gave 0 in the last looks, two at least and 500 rows; and the first step of these."""
    rows, n_looks, zero = 0, 0, None
    for look in reversed(looks):
        view = next((one for one in look.views if one.state.name == name), None)
        if view is None or view.zero_units is None:
            continue
        if zero is not None and zero.shape != view.zero_units.shape:
            break
        zero = view.zero_units if zero is None else zero & view.zero_units
        rows, n_looks = rows + view.n_rows, n_looks + 1
        if rows >= DEAD_ROWS and n_looks >= 2:
            return float(zero.mean()), look.step
    return 0.0, 0


def _saturation(looks: list[Look]) -> _Held | None:
    shares = [{view.state.name: view.state.saturated for view in look.hidden} for look in looks]
    worst = max(shares[-1], key=lambda name: shares[-1][name], default="")
    share = shares[-1].get(worst, 0.0)
    if not share > 0.5:
        return None
    early = all(one.get(worst, 0.0) > 0.5 for one in shares[:2])
    detail = f"σ' is below 5 % of its maximum for {share:.0%} of layer {worst}'s values"
    first = next(look.step for look, one in zip(looks, shares, strict=True) if one.get(worst, 0.0) > 0.5)
    return _Held(first, worst, detail, early and len(looks) > 1 and not _learns(looks), share, 0.5)


def _flow(look: Look, over: Callable[[list[float]], float]) -> float:
    """‖δ‖ in the first third of the layers, over that of the last: by (5) a product of Jacobians."""
    norms = [view.delta_norm for view in look.linear]
    if len(norms) < 3 or not all(math.isfinite(one) for one in norms) or not norms[-1] > 0:
        return math.nan
    return over(norms[: max(1, len(norms) // 3)]) / norms[-1]


def _vanishing(looks: list[Look]) -> _Held | None:
    flows = [(_flow(look, max), look) for look in looks if len(look.linear) > 3]
    weak = [(flow, look) for flow, look in flows if flow < 0.01]
    if not weak or 2 * len(weak) <= len(flows):
        return None
    flow, look = min(weak, key=lambda pair: pair[0])
    ratio = math.inf if flow == 0 else 1 / flow
    detail = f"‖δ‖ is {ratio:.3g} times smaller in the first of {len(look.linear)} layers than in the last"
    return _Held(weak[0][1].step, look.linear[0].state.name, detail, not _learns(looks), ratio, 100)


def _exploding(looks: list[Look]) -> _Held | None:
    flows = [(_flow(look, min), look) for look in looks]
    strong = [(flow, look) for flow, look in flows if flow > 100]
    if not strong:
        return None
    flow, look = max(strong, key=lambda pair: pair[0])
    detail = f"‖δ‖ grows {flow:.3g} times on its way back through {len(look.linear)} layers"
    critical = 2 * len(strong) > len(flows) and not _learns(looks)
    return _Held(strong[0][1].step, look.linear[0].state.name, detail, critical, flow, 100)


def _typical_update(looks: list[Look]) -> float:
    """The median of ‖ΔW‖/‖W‖ over steps and matrices."""
    names = {view.state.name for look in looks for view in look.views}
    ratios = [
        ratio for look in looks for name, ratio in look.ratios.items()
        if name.rpartition(".")[0] in names and "weight" in name
    ]  # fmt: skip
    return float(np.median(ratios)) if ratios else math.nan


def _rate_high(looks: list[Look]) -> _Held | None:
    typical = _typical_update(looks)
    return _of_rate(looks, typical, 0.1) if typical > 0.1 else None


def _rate_low(looks: list[Look]) -> _Held | None:
    typical = _typical_update(looks)
    return _of_rate(looks, typical, 1e-6) if typical < 1e-6 else None


def _of_rate(looks: list[Look], typical: float, limit: float) -> _Held:
    detail = f"a step changes the weights by {typical:.2g} of themselves"
    return _Held(looks[0].step, "the learning rate", detail, False, typical, limit)


_LEFT_OUT = _Rule(
    "not_in_optimizer", "parameters that the optimizer does not change", "(6)", lambda looks: None
)

_RULES = (
    _Rule("stale_parameters", "an optimizer of other parameters", "(6)", _stale_parameters,
          ("not_in_optimizer", "no_update", "rate_low", "not_zeroed")),
    _Rule("zero_rate", "a learning rate of 0", "", _zero_rate, ("no_update", "rate_low")),
    _Rule("disconnected", "parameters that get no gradient", "(6)", _disconnected, ("no_update",)),
    _Rule("frozen", "", "", _frozen, ("no_update",)),
    _Rule("not_zeroed", "", "", _not_zeroed),
    _Rule("eval_mode", "evaluation mode while training", "section 9.4", _eval_mode),
    _Rule("symmetry", "", "", _symmetry),
    _Rule("exploding", "an error signal that explodes", "(5)", _exploding),
    _Rule("non_finite", "", "", _non_finite, ("no_update", "rate_high", "rate_low")),
    _Rule("dead_relu", "", "", _dead_relu, ("no_update",)),
    _Rule("saturation", "", "", _saturation),
    _Rule("vanishing", "", "", _vanishing),
    _Rule("no_update", "steps that change nothing", "", _no_update, ("rate_low",)),
    _Rule("rate_high", "updates that are large for the weights", "", _rate_high),
    _Rule("rate_low", "updates that are small for the weights", "", _rate_low),
)  # fmt: skip
