"""What a training leaves behind: one row an epoch, and why it ended."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.execution import Report

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["History"]


@dataclass
class History:
    """The course of a training.

    Attributes
    ----------
    epochs : list of dict
        One an epoch: ``epoch`` (from 1), ``loss`` (the mean over its batches, each taken before its
        step), ``penalty``, ``learning_rate`` (at its last step), ``seconds`` (since the start), with
        validation data ``validation_loss``, and one entry a metric.
    stopped : str
        Why training ended: ``"finished"``, ``"early stopping"``, ``"time limit"``, ``"interrupted"``,
        ``"callback"``, ``"learning rate"`` or ``"not finite"``.
    best_epoch : int
        The epoch whose weights the module has.
    monitor : str
        The column by which the best epoch was chosen; empty where the last one was kept.
    executor : str
        Which executor ran.
    telemetry : list of Report
        Per-layer measurements, where they were asked for.

    Examples
    --------
    >>> history = History([{"epoch": 1, "loss": 0.9}, {"epoch": 2, "loss": 0.5}], "finished", 2)
    >>> history["loss"]
    [0.9, 0.5]
    >>> len(history)
    2
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    stopped: str = "finished"
    best_epoch: int = 0
    monitor: str = ""
    executor: str = ""
    telemetry: list[Report] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.epochs)

    def __getitem__(self, column: str) -> list[float]:
        """One column as a list, an entry an epoch."""
        if self.epochs and column not in self.epochs[0]:
            raise KeyError(f"no column {column!r} in this history; there are {', '.join(self.epochs[0])}")
        return [row[column] for row in self.epochs]

    @property
    def best(self) -> dict[str, float]:
        """The row of the best epoch; empty before the first."""
        return self.epochs[self.best_epoch - 1] if self.best_epoch else {}

    def to_frame(self) -> "pd.DataFrame":
        """The rows as a pandas DataFrame, indexed by epoch."""
        import pandas as pd

        frame = pd.DataFrame(self.epochs)
        return frame.set_index("epoch") if len(frame) else frame

    def plot(self, axes: Any = None) -> "Axes":
        """Draw the loss curves, and the metrics on a second axis; returns the matplotlib axes."""
        import matplotlib.pyplot as plt

        if axes is None:
            axes = plt.subplots()[1]
        columns = list(self.epochs[0]) if self.epochs else []
        epochs = np.arange(1, len(self) + 1)
        losses: list[str] = [name for name in ("loss", "validation_loss") if name in columns]
        for name in losses:
            axes.plot(epochs, self[name], label=name.replace("_", " "))
        others = {"epoch", "penalty", "learning_rate", "seconds", *losses}
        metrics = [name for name in columns if name not in others]
        lines = list(axes.lines)
        if metrics:
            right = axes.twinx()
            for number, name in enumerate(metrics):
                lines += right.plot(
                    epochs, self[name], linestyle="--", color=f"C{len(losses) + number}",
                    label=name.replace("_", " "),
                )  # fmt: skip
            right.set_ylabel("metric")
        if self.monitor and self.best_epoch:
            lines.append(axes.axvline(self.best_epoch, color="0.6", linewidth=1, label="best epoch"))
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel("loss")
        if lines:
            # In the middle, between losses that fall and metrics that rise.
            axes.legend(handles=lines, loc="center right")
        return axes

    def __repr__(self) -> str:
        if not self.epochs:
            return f"History(no epochs, stopped: {self.stopped})"
        last = ", ".join(f"{name}={value:.4g}" for name, value in self.epochs[-1].items() if name != "epoch")
        end = f"stopped: {self.stopped}, best epoch {self.best_epoch}; last: {last}"
        return f"History({len(self)} epochs, {end})"
