"""What telemetry costs: training steps that record it at every step, at some, at none."""

from collections.abc import Sequence

from floor import Peak
from library import Library
from part_steps import measure_training
from problem import Network
from table import Table, measured_table, percent
from turns import Choice, Measured

__all__ = ["LIBRARIES", "measure_part", "overhead", "tables"]

NETWORK = Network((784, 128, 10), 32)


def _recording(label: str, every: int) -> Library:
    return Library(label, "peer_chainrule:ChainrulePeer", settings={"telemetry_every": every})


LIBRARIES = {
    "never": _recording("nothing", 0),
    "100": _recording("every 100th step", 100),
    "10": _recording("every 10th step", 10),
    "1": _recording("every step", 1),
}


def measure_part(choice: Choice) -> list[Measured]:
    """One network."""
    return [measure_training(LIBRARIES, NETWORK, choice.plan, choice.say)]


def overhead(result: Measured, name: str) -> float | None:
    """How much longer a step takes than without telemetry, as a share."""
    ratio = result.times_faster_than("never", name)
    return None if ratio is None else ratio - 1


def tables(results: Sequence[Measured], peak: Peak | None) -> list[Table]:
    """One table."""
    return [
        measured_table(
            "Telemetry (chainrule, microseconds a step)", ("network", "recorded"), results, "",
            {"more than without": lambda result, name: _more(overhead(result, name))},
        )
    ]  # fmt: skip


def _more(share: float | None) -> str:
    return percent(share) if share is None or share >= 0 else f"−{percent(-share)}"
