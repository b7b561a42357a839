"""The progress bars: of the epochs of a training, of the networks of many, of anything else."""

import sys
from typing import Any, Self

__all__ = ["EpochProgress", "EpochsOfOne", "NetworkProgress", "SharedEpochProgress", "StepProgress"]


class _Progress:
    """A rich progress bar on standard error; nothing where that is not a terminal."""

    unit = ""

    def __init__(self, total: int, shown: bool) -> None:
        self._total = total
        self._shown = shown and sys.stderr.isatty()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn(self.unit),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total)
        return self

    def _advance(self, text: str, steps: int = 1) -> None:
        if self._bar is not None:
            self._bar.update(self._task, advance=steps, description=text)

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()


class EpochProgress(_Progress):
    """A bar over epochs.

    Parameters
    ----------
    epochs : int
        How many there will be at most.
    verbose : int
        0 for silence.
    """

    unit = "epoch"

    def __init__(self, epochs: int, verbose: int) -> None:
        super().__init__(epochs, bool(verbose))

    def advance(self, record: dict[str, float]) -> None:
        """Show an epoch's losses and metrics."""
        if self._bar is not None:
            hidden = ("epoch", "penalty", "learning_rate", "seconds")
            shown = {name: value for name, value in record.items() if name not in hidden}
            self._advance("  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items()))


class SharedEpochProgress(_Progress):
    """One bar over the epochs of several trainings at once.

    Parameters
    ----------
    total : int
        How many epochs there are, of all of them.
    shown : bool
    """

    unit = "epoch"

    def part(self, epochs: int) -> "EpochsOfOne":
        """What one of the trainings, of so many epochs, tells of."""
        return EpochsOfOne(self, epochs)

    def advance(self, epochs: int = 1) -> None:
        """So many more are over; called from any thread."""
        self._advance("", epochs)


class EpochsOfOne:
    """The share of one training in a `SharedEpochProgress`; used as `EpochProgress` is."""

    def __init__(self, whole: SharedEpochProgress, epochs: int) -> None:
        self._whole, self._left = whole, epochs

    def __enter__(self) -> Self:
        return self

    def advance(self, record: dict[str, float]) -> None:
        """An epoch is over."""
        self._left -= 1
        self._whole.advance()

    def __exit__(self, *exception: object) -> None:
        # A training that stops early leaves epochs that nobody will wait for.
        self._whole.advance(self._left)


class NetworkProgress(_Progress):
    """A bar over networks.

    Parameters
    ----------
    total : int
        How many there are.
    shown : bool
    """

    unit = "network"

    def advance(self) -> None:
        """One more is trained."""
        self._advance("")


class StepProgress(_Progress):
    """A bar over steps of any kind.

    Parameters
    ----------
    unit : str
        What a step is.
    total : int
        How many there are.
    shown : bool
    """

    def __init__(self, unit: str, total: int, shown: bool) -> None:
        super().__init__(total, shown)
        self.unit = unit

    def advance(self, steps: int = 1) -> None:
        """So many more are done."""
        self._advance("", steps)
