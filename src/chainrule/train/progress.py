"""The progress bar of a training."""

import sys
from typing import Any

__all__ = ["EpochProgress"]


class EpochProgress:
    """A rich progress bar over epochs on standard error; nothing where that is not a terminal.

    Parameters
    ----------
    epochs : int
        How many there will be at most.
    verbose : int
        0 for silence.
    """

    def __init__(self, epochs: int, verbose: int) -> None:
        self._epochs = epochs
        self._shown = bool(verbose) and sys.stderr.isatty()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "EpochProgress":
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("epoch"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=self._epochs)
        return self

    def advance(self, record: dict[str, float]) -> None:
        """Show an epoch's losses and metrics."""
        if self._bar is not None:
            hidden = ("epoch", "penalty", "learning_rate", "seconds")
            text = "  ".join(
                f"{key.replace('_', ' ')} {value:.4g}" for key, value in record.items() if key not in hidden
            )
            self._bar.update(self._task, advance=1, description=text)

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
