"""Training steps: every library on every network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from floor import Peak, step_operations
from library import Library
from peer import PEERS
from problem import NETWORKS, Network
from session import Worker
from table import NOTHING, Table, measured_table, percent
from turns import Choice, Measured, Plan, Sampler, measure, ready

__all__ = ["Learning", "Steps", "cores", "floor_share", "measure_part", "measure_training", "tables"]

REFERENCE = "torch"
# Steps that a network is given to learn something before it is timed; whole epochs, at least three.
CHECKED_STEPS, CHECKED_EPOCHS = 60, 3
GLANCE_ROWS = 2048


@dataclass(frozen=True)
class Learning:
    """What a library's network had learned before it was timed."""

    loss: float
    guessing: float
    learned: bool


@dataclass(kw_only=True)
class Steps(Measured):
    """One network: microseconds a step of each library, and what they learned."""

    network: Network
    learning: dict[str, Learning] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether something could not be measured, or does not learn."""
        return super().failed or any(not one.learned for one in self.learning.values())


def measure_training(
    libraries: Mapping[str, Library],
    network: Network,
    plan: Plan,
    say: Callable[[str], None] = print,
    check_epochs: int | None = None,
    title: str = "",
) -> Steps:
    """Microseconds a step of each library on one network."""
    result = Steps(title or network.name, libraries, network=network)
    epochs = check_epochs or max(CHECKED_EPOCHS, -(-CHECKED_STEPS // network.steps))

    def prepare(worker: Worker, name: str) -> Sampler:
        library = libraries[name]
        sampler = ready(
            result, worker, name, plan,
            timer="timer:StepTimer", where=library.where, settings=dict(library.settings),
            network=asdict(network),
        )  # fmt: skip
        learned = result.learning[name] = Learning(**worker("learns", epochs=epochs))
        say(
            f"  {library.label}: loss {learned.loss:.3f} after {epochs} epochs, "
            f"{learned.guessing:.3f} by guessing" + ("" if learned.learned else ": DOES NOT LEARN")
        )
        return sampler

    measure(result, prepare, plan, say)
    return result


def measure_part(choice: Choice, networks: Sequence[Network] = NETWORKS) -> list[Measured]:
    """All the networks; the two smallest, with few rows, for a glance."""
    libraries = {name: PEERS[name] for name in choice.peers}
    if choice.quick:
        networks = [replace(network, rows=GLANCE_ROWS) for network in networks[:2]]
    return [measure_training(libraries, network, choice.plan, choice.say) for network in networks]


def cores(result: Measured, name: str) -> float | None:
    """Processors that were at work on the average of the last sample."""
    last = result.series[name].last
    return last["processor_seconds"] / last["seconds"] if "processor_seconds" in last else None


def floor_share(result: Measured, name: str, peak: Peak | None) -> float | None:
    """The time that a step's multiply-adds take at the machine's peak, as a share of the time of a step."""
    median = result.median(name)
    if peak is None or median is None or not isinstance(result, Steps):
        return None
    double = result.libraries[name].settings.get("dtype") == "float64"
    operations = step_operations(result.network.sizes, result.network.batch)
    return operations / peak.of(cores(result, name), double) / (median * 1e-6)


def written_cores(result: Measured, name: str) -> str:
    """Processors at work, with one decimal."""
    used = cores(result, name)
    return NOTHING if used is None else f"{used:.1f}"


def training_table(title: str, results: Sequence[Measured], reference: str, peak: Peak | None) -> Table:
    """Times, processors at work, and the share of the floor."""
    return measured_table(
        title, ("network", "library"), results, reference,
        {
            "processors": written_cores,
            "% of floor": lambda result, name: percent(floor_share(result, name, peak)),
        },
    )  # fmt: skip


def tables(results: Sequence[Measured], peak: Peak | None) -> list[Table]:
    """The steps, and that they all learn."""
    return [
        training_table("Training steps (microseconds a step)", results, REFERENCE, peak),
        _learning_table([result for result in results if isinstance(result, Steps)]),
    ]


def _learning_table(steps: Sequence[Steps]) -> Table:
    """One row a network, one column a library."""
    names = [name for name in PEERS if any(name in result.learning for result in steps)]
    table = Table(
        "They all learn (training loss before the timing)",
        ("network", "by guessing", *(PEERS[name].label for name in names)),
    )
    for result in steps:
        guessing = [f"{one.guessing:.3f}" for one in result.learning.values()][:1]
        losses = [_written_loss(result.learning.get(name)) for name in names]
        table.rows.append((result.title, *(guessing or [NOTHING]), *losses))
    return table


def _written_loss(one: Learning | None) -> str:
    if one is None:
        return NOTHING
    return f"{one.loss:.3f}" + ("" if one.learned else " NOT LEARNED")
