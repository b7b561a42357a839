"""Two trainings at once, in two processes, against one alone: what sharing a machine costs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from floor import Peak
from library import Library
from machine import busy_seconds, contaminated
from problem import Network
from session import Failed, Worker
from table import Table, measured_table, times
from turns import Choice, Measured, in_turns

__all__ = ["NETWORK", "measure_part", "slowdown", "tables"]

NETWORK = Network((784, 128, 10), 32)
LIBRARIES = {"alone": Library("one training"), "together": Library("two at once, each")}


def measure_part(choice: Choice) -> list[Measured]:
    """Both processes do the same work, begun at the same moment, with chainrule's own choice of threads."""
    result = Measured(NETWORK.name, LIBRARIES)
    choice.say(f"two trainings at once: {NETWORK.name}")
    with Worker() as first, Worker() as second:
        try:
            for worker in (first, second):
                worker(
                    "setup", timer="timer:StepTimer", where="peer_chainrule:ChainrulePeer", settings={},
                    network=asdict(NETWORK),
                )  # fmt: skip
                # Twice the usual length: the moment in which only one is at work weighs less.
                repeats = worker("calibrate", seconds=2 * choice.plan.seconds)["repeats"]
        except Failed as failure:
            result.failures["together"] = str(failure)
            return [result]
        samplers = {
            "alone": lambda: first("sample", repeats=repeats),
            "together": lambda: _together([first, second], repeats),
        }
        result.series = in_turns(samplers, choice.plan)
    return [result]


def _together(workers: Sequence[Worker], repeats: int) -> dict[str, Any]:
    """The mean of what several processes measure at once. To each of them the others are a disturbance;
    whether there was another one is known only here.
    """
    busy = busy_seconds()
    for worker in workers:
        worker.ask("sample", repeats=repeats)
    answers = [worker.answer() for worker in workers]
    foreign = busy_seconds() - busy - sum(one["processor_seconds"] for one in answers)
    seconds = max(one["seconds"] for one in answers)
    return {
        "value": sum(one["value"] for one in answers) / len(answers),
        "contaminated": contaminated(seconds, foreign),
    }


def slowdown(result: Measured) -> float | None:
    """How many times longer a step takes while another training runs; 2 is a fair share of the machine."""
    return result.times_faster_than("alone", "together")


def tables(results: Sequence[Measured], peak: Peak | None) -> list[Table]:
    """One table."""

    def longer(result: Measured, name: str) -> str:
        return times(slowdown(result) if name == "together" else 1.0)

    title = "Two trainings at once (chainrule, microseconds a step)"
    return [measured_table(title, ("network", "training"), results, "", {"as long as alone": longer})]
