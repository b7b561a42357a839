"""What a watch found: findings with their evidence, and the report that holds them."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict, dataclass, field
from typing import Any

from chainrule.health.telemetry import Snapshot

__all__ = ["WatchFinding", "WatchReport"]

WIDTH = 100


@dataclass
class WatchFinding:
    """What was found.

    Attributes
    ----------
    code : str
        Of the rule.
    symptom : str
    critical : bool
        Whether it is a mistake, or keeps the network from learning; else it is a note.
    where : str
        The layer or parameter; empty for the whole network.
    step : int
        Where it was first seen.
    detail : str
        The measurement in words.
    equation : str
        Of the chapter; a section where there is no equation.
    measured, limit : float
        The number and what it is compared with.
    consequences : list of WatchFinding
        What follows from it.
    """

    code: str
    symptom: str
    critical: bool
    where: str
    step: int
    detail: str
    equation: str = ""
    measured: float = float("nan")
    limit: float = float("nan")
    consequences: list[WatchFinding] = field(default_factory=list)


@dataclass(frozen=True)
class WatchReport:
    """What was seen of a training.

    Attributes
    ----------
    snapshots : list of Snapshot
        The steps that were looked at.
    update_ratios : dict of str to list of (int, float)
        Of each parameter that the optimizer changes, the step and ‖ΔW‖/‖W‖.
    findings : list of WatchFinding
        Critical ones first; what follows from a cause is under it.
    notes : list of str
        What could not be looked at, and why.
    n_steps : int
        Steps taken, looked at or not.
    """

    snapshots: list[Snapshot]
    update_ratios: dict[str, list[tuple[int, float]]]
    findings: list[WatchFinding]
    notes: list[str]
    n_steps: int

    @property
    def ok(self) -> bool:
        """Whether nothing critical was found."""
        return not any(one.critical for one in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Everything as dicts, lists, strings and numbers; None for what is not finite."""
        made: dict[str, Any] = _plain({
            "ok": self.ok, "n_steps": self.n_steps, "notes": self.notes,
            "findings": [asdict(one) for one in self.findings],
            "snapshots": [asdict(one) for one in self.snapshots],
            "update_ratios": self.update_ratios,
        })  # fmt: skip
        return made

    def __str__(self) -> str:
        critical = sum(one.critical for one in self.findings)
        lines = [
            f"{self.n_steps} steps, {len(self.snapshots)} looked at: "
            + (f"{critical} critical" if critical else "nothing critical found")
        ]
        for one in self.findings:
            lines += _shown(one, "")
        lines += self._table()
        for note in self.notes:
            lines += _wrapped(note, "note: ", "      ")
        return "\n".join(lines)

    def _table(self) -> list[str]:
        """The layers at the last look."""
        if not self.snapshots or not self.snapshots[-1].layers:
            return []
        last = self.snapshots[-1]
        head = f"{'layer at step ' + str(last.step):<28}{'size':>12}  {'σ':<10}"
        lines = ["", head + "".join(f"{name:>9}" for name in ("|h|", "|δ|", "|∂W|", "|ΔW|/|W|", "off"))]
        for layer in last.layers[:30]:
            updates = self.update_ratios.get(f"{layer.name}.weight" if layer.name else "weight", [])
            ratio = updates[-1][1] if updates and updates[-1][0] == last.step else math.nan
            numbers = (layer.h_rms, layer.delta_rms, layer.gradient_norm, ratio)
            lines.append(
                f"{_short(layer.name or '(model)', 27):<28}{f'{layer.fan_in}-{layer.width}':>12}  "
                f"{layer.activation or '':<10}" + "".join(f"{_number(one):>9}" for one in numbers)
                + f"{max(layer.dead, layer.saturated):>9.0%}"
            )  # fmt: skip
        if len(last.layers) > 30:
            lines.append(f"... and {len(last.layers) - 30} more")
        return lines


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2g}"


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else "…" + name[1 - width :]


def _shown(finding: WatchFinding, indent: str) -> list[str]:
    kind = "follows" if indent else ("CRITICAL" if finding.critical else "note")
    head = f"{indent}{kind}: {finding.symptom} [{finding.code}]"
    equation = f"; see {finding.equation}" if finding.equation else ""
    lines = _wrapped(head, "", indent + "  ")
    lines += _wrapped(f"step {finding.step}: {finding.detail}{equation}", indent + "  ", indent + "  ")
    for one in finding.consequences:
        lines += _shown(one, indent + "  ")
    return lines


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bool | str | int) or value is None:
        return value
    return float(value) if math.isfinite(value) else None
