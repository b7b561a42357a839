"""The progress bars: of the epochs of a training, of the networks of many, of anything else."""

import sys
from typing import Any, Self

__all__ = ["EpochProgress", "NetworkProgress", "StepProgress"]


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
