"""What every executor is given and gives back: examples, instructions, a report.

The reference executor and the engine take the same objects, so that one can stand in for the other
and be held against it.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import scipy.sparse

from chainrule.functions import get_loss
from chainrule.plan import Plan

__all__ = [
    "OPERATION_FIELDS",
    "SLOT_FIELDS",
    "Examples",
    "Executor",
    "Features",
    "Instructions",
    "Penalty",
    "Report",
    "check_features",
    "mean_loss",
    "prepare",
]

# What telemetry holds of one operation's value, and of one parameter array, at one step.
OPERATION_FIELDS = ("rms", "delta_rms", "zero_fraction", "saturated_fraction", "non_finite")
SLOT_FIELDS = ("gradient_norm", "norm", "update_norm")

# A unit is saturated where σ'(z) is below this share of the derivative's maximum.
SATURATION_SHARE = 0.05


@dataclass(frozen=True)
class Examples:
    """Validated training data in an executor's dtype.

    Attributes
    ----------
    X : ndarray or csr_matrix of shape (n, d)
    y : ndarray
        (n,) int64 class indices, or (n, n_outputs) floats.
    weights : ndarray of shape (n,) or None
        Weight of each example; a batch's loss is its weighted mean.
    """

    X: Any
    y: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return self.X.shape[0]


@dataclass(frozen=True)
class Features:
    """A feature matrix that ``check_features`` has passed, so that it need not be looked through again.

    Attributes
    ----------
    values : ndarray or csr_matrix of shape (n, d)
    """

    values: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The matrix's."""
        shape: tuple[int, ...] = self.values.shape
        return shape

    @property
    def ndim(self) -> int:
        """The matrix's."""
        return len(self.shape)


@dataclass(frozen=True)
class Penalty:
    """L2 and L1 penalties ½ l2 ‖W‖² + l1 Σ|w| on the weights (never the biases), added to the mean loss.

    With ``per_example`` the penalty is divided by the batch's total weight, scikit-learn's convention.
    """

    l2: float = 0.0
    l1: float = 0.0
    per_example: bool = False


@dataclass
class Instructions:
    """One stretch of training steps.

    Attributes
    ----------
    order : ndarray of int64 or None
        Rows of X in the order in which to visit them; None for the natural order of all rows.
    batch_size : int
        Consecutive rows of ``order`` to a step; the last step takes what is left.
    rule : object
        The optimizer's update rule (``chainrule.optim``).
    coefficients : ndarray of shape (n_steps, 8)
        What the rule needs at each step: step size, decay rates, ...
    state : ndarray of shape (n_states, n_parameters)
        What the rule keeps of each parameter, changed in place.
    penalty : Penalty
    clip_norm : float
        Gradients with a global norm above it are scaled to it; 0 for none.
    decay_all : bool
        Whether decoupled weight decay acts on biases and normalisation parameters too.
    first_step, seed : int
        Dropout masks depend on (seed, step, operation, row, unit) and on nothing else.
    telemetry_every : int
        Record telemetry at steps whose number is a multiple of it; 0 for never.
    """

    order: np.ndarray | None
    batch_size: int
    rule: Any
    coefficients: np.ndarray
    state: np.ndarray
    penalty: Penalty = field(default_factory=Penalty)
    clip_norm: float = 0.0
    decay_all: bool = False
    first_step: int = 0
    seed: int = 0
    telemetry_every: int = 0


@dataclass
class Report:
    """What a stretch of steps gives back.

    Attributes
    ----------
    loss, penalty : float
        Sum over the steps of (rows in the batch) × (the batch's mean loss, its penalty), before each
        step's update.
    n_rows, n_steps : int
    telemetry_steps : ndarray of shape (k,)
        Numbers of the steps at which telemetry was recorded.
    operations : ndarray of shape (k, n_operations, 5)
        ``OPERATION_FIELDS`` of each operation's value.
    slots : ndarray of shape (k, n_slots, 3)
        ``SLOT_FIELDS`` of each parameter array.
    """

    loss: float
    penalty: float
    n_rows: int
    n_steps: int
    telemetry_steps: np.ndarray
    operations: np.ndarray
    slots: np.ndarray


class Executor(Protocol):
    """A way to run a plan. ``parameters`` and ``buffers`` are the flat vectors it works on, in place."""

    plan: Plan
    parameters: np.ndarray
    buffers: np.ndarray

    def predict(self, X: Any) -> np.ndarray:
        """Raw outputs z (n, n_outputs) of the network in evaluation mode."""

    def loss(self, examples: Examples) -> float:
        """Weighted mean loss in evaluation mode, without penalty."""

    def gradient(
        self,
        examples: Examples,
        penalty: Penalty = ...,
        *,
        training: bool = ...,
        step: int = ...,
        seed: int = ...,
    ) -> tuple[float, float, np.ndarray]:
        """Mean loss over all examples, its penalty, and the gradient of their sum."""

    def run(self, examples: Examples, instructions: Instructions) -> Report:
        """Run training steps."""


def mean_loss(plan: Plan, z: np.ndarray, examples: Examples) -> float:
    """Weighted mean loss of raw outputs z (n, n_outputs), without penalty; summed in double."""
    term = plan.loss
    each = get_loss(term.name).value(z, examples.y, z.dtype.type(term.setting))
    return float(term.scale * np.average(each.astype(np.float64), weights=examples.weights))


def _cast(values: Any, dtype: Any) -> np.ndarray:
    """Contiguous and of ``dtype``; what is too large becomes infinite, which the checks then find."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=dtype)


def _converted(X: Any, dtype: Any) -> Any:
    """X in an executor's dtype."""
    if scipy.sparse.issparse(X):
        with np.errstate(over="ignore"):
            return X.tocsr().astype(dtype, copy=False)
    X = np.asarray(X)
    if X.dtype.kind not in "fiub":
        raise ValueError(f"X must be numeric; got dtype {X.dtype}")
    return _cast(X, dtype)


def _check_finite(X: Any) -> None:
    values = X.data if scipy.sparse.issparse(X) else X
    if not np.isfinite(values).all():
        raise ValueError(f"X contains NaN, infinity or a value too large for {values.dtype}")


def check_features(X: Any, dtype: Any) -> Features:
    """Convert a feature matrix, and check that all of it is finite, once for several uses.

    Examples
    --------
    >>> features = check_features([[1, 2]], np.float32)
    >>> features.values
    array([[1., 2.]], dtype=float32)
    >>> check_features(features, np.float32) is features
    True
    """
    if isinstance(X, Features):
        return X
    values = _converted(X, dtype)
    _check_finite(values)
    return Features(values)


def _feature_matrix(X: Any, n_inputs: int, dtype: Any) -> Any:
    values = X.values if isinstance(X, Features) else _converted(X, dtype)
    if values.ndim != 2 or values.shape[1] != n_inputs:
        raise ValueError(f"X must have shape (n, {n_inputs}); got {values.shape}")
    if not isinstance(X, Features):
        _check_finite(values)
    return values


def prepare(
    plan: Plan, X: Any, y: Any, weights: Any = None, *, dtype: Any = np.float32, name: str = ""
) -> Examples:
    """Check training data and bring it into the dtype of an executor.

    Parameters
    ----------
    plan : Plan
    X : array-like, sparse matrix or Features of shape (n, n_inputs)
    y : array-like
        What the plan's loss takes: (n,) class indices or values, (n, n_outputs) values.
    weights : array-like of shape (n,), optional
        Non-negative weights of the examples, not all zero.
    dtype : float32 or float64
    name : str
        Put before the argument's name in errors, as in ``"validation "``.

    Raises
    ------
    ValueError
        If a shape does not fit the plan, the data is empty, or anything is NaN or infinite.
    """
    try:
        X = _feature_matrix(X, plan.n_inputs, dtype)
        if X.shape[0] == 0:
            raise ValueError("X is empty: it must have at least one row")
        y = get_loss(plan.loss.name).check_targets(y, plan.n_outputs)
        if y.shape[0] != X.shape[0]:
            raise ValueError(f"y must have one target a row of X, {X.shape[0]}; got {y.shape[0]}")
        if y.dtype.kind == "f":
            y = _cast(y, dtype)
            if not np.isfinite(y).all():
                raise ValueError(f"y contains a value too large for {np.dtype(dtype)}")
        if weights is not None:
            weights = np.asarray(weights)
            if weights.dtype.kind not in "fiub":
                raise ValueError(f"weights must be numeric; got dtype {weights.dtype}")
            weights = _cast(weights, dtype)
            if weights.shape != (X.shape[0],):
                raise ValueError(f"weights must have shape ({X.shape[0]},); got {weights.shape}")
            if not np.isfinite(weights).all() or weights.min() < 0 or weights.max() == 0:
                raise ValueError("weights must be finite, non-negative and not all zero")
    except ValueError as error:
        if name:
            raise ValueError(f"{name}{error}") from None
        raise
    return Examples(X, y, weights)
