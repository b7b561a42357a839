"""OneCycleLR: up to a peak and down to almost nothing."""

from collections.abc import Sequence
from itertools import pairwise

from chainrule.optim._checks import fraction, whole
from chainrule.optim.lr_scheduler.base import ClosedFormLR, bound, one_each
from chainrule.optim.lr_scheduler.closed_forms import along_cosine
from chainrule.optim.optimizer import Optimizer

__all__ = ["OneCycleLR"]


def _along_line(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


_CURVES = {"cos": along_cosine, "linear": _along_line}


class OneCycleLR(ClosedFormLR):
    """Up to ``max_lr`` and down to almost nothing, the momentum the other way (Smith & Topin 2018).

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float or list of float
        The peak, for all groups or for each; the rates begin at ``max_lr / div_factor`` and end at that
        over ``final_div_factor``.
    total_steps : int, optional
        Steps in all; otherwise ``epochs`` × ``steps_per_epoch``.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        Share of the steps that go up.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
        Whether to change the momentum, or Adam's β₁, from ``max_momentum`` at low rates to
        ``base_momentum`` at the peak.
    base_momentum, max_momentum : float or list of float
    div_factor, final_div_factor : float
    three_phase : bool
        Come down to the first rate as fast as up, and only then further.
    last_epoch : int

    Raises
    ------
    ValueError
        If the number of steps is not given, the momentum cannot be changed, or more steps are taken.
    """

    def __init__(  # noqa: PLR0913 - PyTorch's constructor
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        groups = bound(optimizer).param_groups
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("total_steps must be given, or both epochs and steps_per_epoch")
            total_steps = whole("epochs", epochs) * whole("steps_per_epoch", steps_per_epoch)
        self.total_steps = whole("total_steps", total_steps)
        if anneal_strategy not in _CURVES:
            raise ValueError(f"anneal_strategy must be 'cos' or 'linear'; got {anneal_strategy!r}")
        self.anneal_strategy, self.cycle_momentum = anneal_strategy, bool(cycle_momentum)
        if cycle_momentum and not {"momentum", "betas"} & set(groups[0]):
            raise ValueError(
                "cycle_momentum=True needs an optimizer with momentum or betas; "
                f"got {type(optimizer).__name__}"
            )
        peaks = [float(one) for one in one_each("max_lr", max_lr, optimizer)]
        firsts = [peak / div_factor for peak in peaks]
        self.corners = [
            self._corners(pct_start, three_phase, first, peak, first / final_div_factor)
            for first, peak in zip(firsts, peaks, strict=True)
        ]
        self.momentum_corners = [
            self._corners(pct_start, three_phase, high, low, high)
            for high, low in zip(
                one_each("max_momentum", max_momentum, optimizer),
                one_each("base_momentum", base_momentum, optimizer),
                strict=True,
            )
        ]
        if last_epoch == -1:
            for group, first in zip(groups, firsts, strict=True):
                group["initial_lr"] = first
        super().__init__(optimizer, last_epoch)

    def _corners(
        self, pct_start: float, three_phase: bool, first: float, peak: float, last: float
    ) -> list[tuple[float, float]]:
        """Where one phase ends and the next begins: (step, value)."""
        up = fraction("pct_start", pct_start, closed=True) * self.total_steps
        corners = [(0.0, first), (up - 1, peak), (self.total_steps - 1.0, last)]
        if three_phase:
            corners.insert(2, (2 * up - 2, first))
        return corners

    def _value(self, step: int, corners: list[tuple[float, float]]) -> float:
        """On the curve between two corners."""
        (begin, start), (until, end) = next(
            (phase for phase in pairwise(corners) if step <= phase[1][0]), (corners[-2], corners[-1])
        )
        share = (step - begin) / (until - begin) if until != begin else 1.0
        return _CURVES[self.anneal_strategy](start, end, share)

    def rates(self, step: int) -> list[float]:
        """See ``ClosedFormLR.rates``."""
        if step > self.total_steps:
            raise ValueError(f"the cycle has {self.total_steps} steps; step() was called once more")
        return [self._value(step, corners) for corners in self.corners]

    def step(self) -> None:
        """Set the rates and momenta of the next step; to be called after the optimizer's."""
        super().step()
        if not self.cycle_momentum:
            return
        for group, corners in zip(self.optimizer.param_groups, self.momentum_corners, strict=True):
            momentum = self._value(self.last_epoch, corners)
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum
