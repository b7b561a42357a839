"""The benchmark as a whole: the checkup judged on every training, beside the rules of other tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chainrule.health.suite import torchmortem_peer
from chainrule.health.suite.admission import admitted_names
from chainrule.health.suite.cases import CASES, Case, half_of
from chainrule.health.suite.controls import CONTROLS
from chainrule.health.suite.peers import NAMED_CAUSES, PEERS, fired
from chainrule.health.suite.recorder import record
from chainrule.health.suite.score import Outcome, judge, line, summary, table
from chainrule.health.trainings import Training

__all__ = ["TITLES", "Verdict", "compared", "comparison", "run", "verdicts_of_peers"]

TITLES = {
    "chainrule": "chainrule",
    "sagemaker": "SageMaker Debugger",
    "autotrainer": "AutoTrainer",
    "deepdiagnosis": "DeepDiagnosis",
    "torchmortem": "torchmortem",
}
HALVES = ("tuning", "held_out")


@dataclass(frozen=True)
class Verdict:
    """What one tool says of one training.

    Attributes
    ----------
    tool : str
        A key of ``TITLES``.
    case, half : str
    faulty : bool
        Whether the training has a fault; else it is a control.
    rules : list of str
        That fired.
    named : bool
        Whether one of them names the planted cause.
    """

    tool: str
    case: str
    half: str
    faulty: bool
    rules: list[str]
    named: bool


def run(
    *,
    change: Callable[[Training], Training] | None = None,
    peers: bool = True,
    parts: Sequence[str] = ("",),
    say: Callable[[str], Any] = lambda text: None,
) -> dict[str, Any]:
    """Judge the checkup, and the other tools, on every admitted case.

    Parameters
    ----------
    change : callable, optional
        Makes of each training what the checkup is given: ``torch_cases.through_torch``, say.
    peers : bool
        Run the other tools' rules too. They see the training as it is here, once an epoch; torchmortem, where
        it is installed, sees every step of it in PyTorch.
    parts : sequence of str
        Only cases with one of these in their names.
    say : callable
        Is given a line of text a case, and the tables at the end.

    Returns
    -------
    dict
        Plain data: ``summary``, ``comparison``, and every ``outcome`` and ``verdict``.
    """
    admitted = admitted_names()
    cases = [
        case for case in (*CASES, *CONTROLS)
        if case.name in admitted and any(part in case.name for part in parts)
    ]  # fmt: skip
    outcomes: list[Outcome] = []
    verdicts: list[Verdict] = []
    for case in cases:
        outcomes.append(judge(case, change=change))
        verdicts.append(_ours(outcomes[-1]))
        verdicts += verdicts_of_peers(case) if peers else []
        say(line(outcomes[-1]))
    say(f"\n{table(summary(outcomes))}\n\n{compared(comparison(verdicts))}")
    return {
        "summary": summary(outcomes),
        "comparison": comparison(verdicts),
        "outcomes": [asdict(one) for one in outcomes],
        "verdicts": [asdict(one) for one in verdicts],
    }


def _ours(outcome: Outcome) -> Verdict:
    return Verdict(
        "chainrule", outcome.case, outcome.half, outcome.family != "control", outcome.named,
        outcome.names_within(1),
    )  # fmt: skip


def verdicts_of_peers(case: Case) -> list[Verdict]:
    """What the other tools say of a case as it is at seed 0; of torchmortem only where it is installed."""
    training = case.training(0)
    recording = record(training)
    found: dict[str, tuple[list[str], Mapping[str, tuple[str, ...]]]] = {
        peer: (fired(peer, recording), NAMED_CAUSES) for peer in PEERS
    }
    if torchmortem_peer.is_installed():
        found["torchmortem"] = (torchmortem_peer.findings(training), torchmortem_peer.NAMED_CAUSES)
    return [
        Verdict(
            peer, case.name, half_of(case), case.edit is not None, rules,
            any(cause in case.causes for rule in rules for cause in causes.get(rule, ())),
        )
        for peer, (rules, causes) in found.items()
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------------- counts


def comparison(verdicts: Iterable[Verdict]) -> dict[str, dict[str, dict[str, int]]]:
    """By tool and half: faults where a rule fires, where one names the cause, controls where one fires."""
    verdicts = list(verdicts)
    tools = dict.fromkeys(one.tool for one in verdicts)
    return {
        tool: {
            half: _counts([one for one in verdicts if (one.tool, one.half) == (tool, half)])
            for half in HALVES
        }
        for tool in tools
    }


def _counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    faults = [one for one in verdicts if one.faulty]
    controls = [one for one in verdicts if not one.faulty]
    return {
        "faults": len(faults),
        "detected": sum(bool(one.rules) for one in faults),
        "named": sum(one.named for one in faults),
        "controls": len(controls),
        "alarmed": sum(bool(one.rules) for one in controls),
    }


def compared(found: dict[str, dict[str, dict[str, int]]]) -> str:
    """The counts as a table of text, a line a tool, the tuning half before the half held out."""
    titles = ("faults detected", "causes named", "controls alarmed")
    rows = [
        f"{'rules':20}" + "".join(f"{title:>20}" for title in titles),
        f"{'':20}" + f"{'tuning':>10}{'held out':>10}" * len(titles),
    ]
    for tool, halves in found.items():
        numbers = [
            f"{halves[half][count]} of {halves[half][total]}"
            for count, total in (("detected", "faults"), ("named", "faults"), ("alarmed", "controls"))
            for half in HALVES
        ]
        rows.append(f"{TITLES[tool]:20}" + "".join(f"{number:>10}" for number in numbers))
    if len(found) > 1 and "torchmortem" not in found:
        rows.append(f"{TITLES['torchmortem']:20}{'not installed':>20}")
    return "\n".join(rows)
