"""Loss modules: PyTorch's names and reductions over the records of ``chainrule.functions.LOSSES``.

A record gives one number an example, summed over the outputs. A module here says which record, with
which settings, times which factor makes PyTorch's loss, and whether that is averaged over the outputs.
"""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from chainrule.functions.losses import get_loss
from chainrule.nn._checks import check_flag, check_number, check_one_of, check_only, check_positive
from chainrule.nn.module import Module
from chainrule.tape import Tensor, as_tensor
from chainrule.tape.primitives import LOSS_PRIMITIVES, TOTAL_LOSS_PRIMITIVES

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HalfSquaredErrorLoss",
    "HuberLoss",
    "L1Loss",
    "LossModule",
    "MSELoss",
    "PoissonNLLLoss",
    "QuantileLoss",
]


class LossModule(Module):
    """The loss of raw outputs z (n, d) against targets y; ``loss(z, y)`` computes it.

    Of a tensor z it is a tensor to call ``backward`` on, of an array a float.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default="mean"
        Average, sum, or one number for each entry of z (for each example, where ``averages_outputs`` is
        False). ``chainrule.fit`` minimizes means.

    Attributes
    ----------
    record : str
        A key of ``chainrule.functions.LOSSES``.
    settings : tuple of float
        What is passed to the record after z and y.
    factor : float
        PyTorch's loss is this times the record's.
    averages_outputs : bool
        Whether the mean is over examples and outputs; otherwise over the examples.

    Raises
    ------
    ValueError
        If z is not two-dimensional, or the targets do not fit it.

    Examples
    --------
    >>> z, y = np.array([[3.0, 1.0]]), np.array([[1.0, 0.0]])
    >>> MSELoss()(z, y), MSELoss(reduction="sum")(z, y)
    (2.5, 5.0)
    >>> MSELoss(reduction="none")(z, y)
    array([[4., 1.]])
    """

    record: ClassVar[str]
    factor: ClassVar[float] = 1.0
    averages_outputs: ClassVar[bool] = True
    settings: tuple[float, ...] = ()

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = check_one_of("reduction", reduction, ("mean", "sum", "none"))

    def scale(self, n_outputs: int) -> float:
        """What the record's value is multiplied by in the mean over the batch."""
        return self.factor / n_outputs if self.averages_outputs else self.factor

    def targets(self, y: ArrayLike, n_outputs: int) -> np.ndarray:
        """The targets as the record takes them; ValueError if they do not fit."""
        return get_loss(self.record).check_targets(y, n_outputs)

    def total_weight(self, y: ArrayLike, n_outputs: int) -> float:
        """What the sum over the batch is divided by: the number of examples, one for each entry of y."""
        return float(len(np.asarray(y)))

    def forward(self, z: Any, y: Any) -> Tensor:
        """The loss of the batch: a tensor without axes, unless ``reduction`` is "none"."""
        z = as_tensor(z)
        if isinstance(y, Tensor):
            if y.requires_grad:
                raise RuntimeError(
                    "y requires grad, but a loss has no derivative with respect to its targets"
                )
            y = y.data
        if z.ndim != 2 or 0 in z.shape:
            raise ValueError(f"z must have shape (n, outputs), neither of them 0; got {z.shape}")
        n_outputs = z.shape[1]
        targets = self.targets(y, n_outputs)
        if len(targets) != len(z):
            raise ValueError(f"y must have one row for each of the {len(z)} rows of z; got {len(targets)}")
        setting = self.settings[0] if self.settings else get_loss(self.record).setting
        shape = z.shape if self.averages_outputs else z.shape[:1]
        if self.reduction == "none" and self.averages_outputs:
            z, targets = z.reshape(-1, 1), targets.reshape(-1, 1)
        if self.reduction == "none":
            losses: Tensor = LOSS_PRIMITIVES[self.record](z, targets, setting=setting)
            return losses.reshape(shape) * self.factor
        share = self.factor
        if self.reduction == "mean":
            share = self.scale(n_outputs) / self.total_weight(y, n_outputs)
        total: Tensor = TOTAL_LOSS_PRIMITIVES[self.record](z, targets, setting=setting, share=share)
        return total


class HalfSquaredErrorLoss(LossModule):
    """½‖z − y‖², the chapter's: summed over the outputs, averaged over the batch.

    Examples
    --------
    >>> HalfSquaredErrorLoss()(np.array([[3.0, 1.0]]), np.array([[1.0, 0.0]]))
    2.5
    """

    record = "half_squared_error"
    averages_outputs = False


class MSELoss(LossModule):
    """(z − y)² averaged over outputs and batch, PyTorch's: 2/outputs times the chapter's.

    Examples
    --------
    >>> MSELoss()(np.array([[3.0, 1.0]]), np.array([[1.0, 0.0]]))
    2.5
    >>> MSELoss()(np.array([[3.0]]), np.array([1.0]))
    4.0
    """

    record = "half_squared_error"
    factor = 2.0  # undoes the half


class L1Loss(LossModule):
    """|z − y| averaged over outputs and batch.

    Examples
    --------
    >>> L1Loss()(np.array([[3.0, 1.0]]), np.array([[1.0, 0.0]]))
    1.5
    """

    record = "absolute_error"


class HuberLoss(LossModule):
    """Squared for residuals up to delta, absolute beyond, averaged over outputs and batch.

    Parameters
    ----------
    delta : float, default=1.0
        Where the parabola ends.

    Examples
    --------
    >>> HuberLoss()(np.array([[3.0, 1.0]]), np.array([[1.0, 0.0]]))
    1.0
    """

    record = "huber"

    def __init__(self, delta: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.delta = check_positive("delta", delta)
        self.settings = (float(delta),)


class QuantileLoss(LossModule):
    """The pinball loss, whose minimizer is the q-quantile, averaged over outputs and batch.

    Parameters
    ----------
    q : float, default=0.5
        Strictly between 0 and 1; 0.9 punishes too low a prediction nine times as hard as too high a one.

    Examples
    --------
    >>> loss = QuantileLoss(0.75)
    >>> loss(np.array([[0.0]]), np.array([1.0])), loss(np.array([[1.0]]), np.array([0.0]))
    (0.75, 0.25)
    """

    record = "quantile"

    def __init__(self, q: float = 0.5, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.q = check_number("q", q, 0.0, 1.0)
        if q in (0, 1):
            raise ValueError(f"q must lie strictly between 0 and 1; got {q}")
        self.settings = (float(q),)

    def extra_repr(self) -> str:
        """The quantile."""
        return f"q={self.q}"


class BCEWithLogitsLoss(LossModule):
    """−y log σ(z) − (1 − y) log(1 − σ(z)) averaged over outputs and batch, y in [0, 1].

    Examples
    --------
    >>> round(BCEWithLogitsLoss()(np.array([[0.0]]), np.array([1])), 4)
    0.6931
    """

    record = "binary_cross_entropy"


class PoissonNLLLoss(LossModule):
    """e^z − y z averaged over outputs and batch: counts y with the expectation e^z.

    Only PyTorch's defaults ``log_input=True`` and ``full=False`` are supported.

    Examples
    --------
    >>> PoissonNLLLoss()(np.array([[0.0]]), np.array([3]))
    1.0
    """

    record = "poisson"
    settings = (0.0,)  # without the terms in y alone, which full=True approximates

    def __init__(self, log_input: bool = True, full: bool = False, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        check_only("log_input", check_flag("log_input", log_input), True)
        check_only("full", check_flag("full", full), False)


class CrossEntropyLoss(LossModule):
    """−Σ_c y_c log softmax(z)_c averaged over the batch; y is (n,) class indices or (n, d) probabilities.

    Parameters
    ----------
    weight : array_like of shape (d,) or None
        A weight for each class, not negative. For class indices the mean is then a weighted one: it
        divides by the sum of the weights of the batch's classes.
    label_smoothing : float, default=0.0
        ε in [0, 1]: the targets become (1 − ε) y + ε/d.

    Examples
    --------
    >>> z = np.array([[2.0, 0.0], [0.0, 0.0]])
    >>> round(CrossEntropyLoss()(z, np.array([0, 1])), 4)                # (0.1269 + 0.6931) / 2
    0.41
    >>> round(CrossEntropyLoss(weight=[1.0, 3.0])(z, np.array([0, 1])), 4)     # (0.1269 + 3 · 0.6931) / 4
    0.5516
    """

    record = "softmax_cross_entropy"
    averages_outputs = False  # the sum over the classes is one number

    def __init__(
        self, weight: ArrayLike | None = None, label_smoothing: float = 0.0, *, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0.0, 1.0)
        self.register_buffer("weight", None if weight is None else _class_weights(weight))
        # With weights the smoothing is already in ``targets``: PyTorch smooths first, then weighs.
        self.settings = (0.0 if weight is not None else float(label_smoothing),)

    def targets(self, y: ArrayLike, n_outputs: int) -> np.ndarray:
        """Class indices or rows of class probabilities; with class weights, smoothed and weighted rows."""
        targets = super().targets(y, n_outputs)
        if self.weight is None:
            return targets
        self._check_classes(n_outputs)
        rows = np.eye(n_outputs)[targets] if targets.ndim == 1 else targets
        smoothing = self.label_smoothing
        return self.weight * ((1 - smoothing) * rows + smoothing / n_outputs)

    def total_weight(self, y: ArrayLike, n_outputs: int) -> float:
        """The number of examples, or the sum of their classes' weights."""
        if self.weight is None or (targets := super().targets(y, n_outputs)).ndim == 2:
            return super().total_weight(y, n_outputs)
        self._check_classes(n_outputs)
        total = float(self.weight[targets].sum())
        if total == 0:
            raise ValueError("weight is 0 for every class in y: their mean is not defined")
        return total

    def _check_classes(self, n_outputs: int) -> None:
        if len(self.weight) != n_outputs:
            raise ValueError(f"weight must have {n_outputs} numbers, one a class; got {len(self.weight)}")


def _class_weights(weight: Any) -> np.ndarray:
    weight = np.asarray(weight, dtype=np.float64)
    if weight.ndim != 1 or not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(f"weight must be one finite, non-negative number a class; got {weight}")
    return weight
