"""Eager training steps: the tape beside PyTorch's, in the loop that its users write."""

from collections.abc import Sequence

from floor import Peak
from library import Library, chosen
from part_steps import measure_training
from problem import Network
from table import Table, measured_table
from turns import Choice, Measured

__all__ = ["LIBRARIES", "measure_part", "tables"]

NETWORK = Network((784, 128, 10), 32)
LIBRARIES = {
    "chainrule": Library("chainrule, tape", "peer_tape:TapePeer"),
    "torch-fused": Library("PyTorch eager, fused Adam", "peer_torch:TorchPeer", ("torch",)),
    "torch": Library("PyTorch eager, Adam as it comes", "peer_torch:TorchPeer", ("torch",), {"fused": False}),
}


def measure_part(choice: Choice) -> list[Measured]:
    """One network."""
    return [measure_training(chosen(LIBRARIES, choice.families), NETWORK, choice.plan, choice.say)]


def tables(results: Sequence[Measured], peak: Peak | None) -> list[Table]:
    """One table."""
    title = "Eager steps on the tape (microseconds a step)"
    return [measured_table(title, ("network", "library"), results, "torch-fused", {})]
