"""Many small networks trained side by side: microseconds of a step of one network."""

from collections.abc import Sequence
from dataclasses import replace

from floor import Peak
from library import Library, chosen
from part_steps import measure_training, training_table
from problem import Network
from table import Table
from turns import Choice, Measured

__all__ = ["LIBRARIES", "NETWORK", "measure_part", "tables"]

COUNT = 100
NETWORK = Network((20, 64, 64, 2), 32, rows=4096)
REFERENCE = "torch-bmm"

LIBRARIES = {
    "chainrule": Library(
        "chainrule, a network a thread", "peer_chainrule:ChainruleMany", settings={"networks": COUNT}
    ),
    "torch-bmm": Library(
        "PyTorch, stacked networks", "peer_torch:TorchStacked", ("torch",), {"networks": COUNT}
    ),
    # A loop takes as long for each: a few of the networks are enough to know it.
    "torch-loop": Library("PyTorch, one by one", "peer_torch:TorchLoop", ("torch",), {"networks": 4}),
    "jax-vmap": Library("JAX, vmap of scan", "peer_jax:JaxVmap", ("jax",), {"networks": COUNT}),
}


def measure_part(choice: Choice) -> list[Measured]:
    """One network, many times; fewer rows for a glance."""
    network = replace(NETWORK, rows=1024) if choice.quick else NETWORK
    result = measure_training(
        chosen(LIBRARIES, choice.families), network, choice.plan, choice.say,
        check_epochs=15, title=f"{COUNT} × {network.name}",
    )  # fmt: skip
    return [result]


def tables(results: Sequence[Measured], peak: Peak | None) -> list[Table]:
    """One table."""
    title = "Many networks at once (microseconds a step of one network)"
    return [training_table(title, results, REFERENCE, peak)]
