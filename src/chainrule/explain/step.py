"""One step of gradient descent, with every number of it: the chapter's worked example for any small network.

The numbers are the reference executor's, in float64. Nothing is differentiated here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.execution import Examples, prepare
from chainrule.explain.layers import Layer, layers_of
from chainrule.explain.output import target_rows
from chainrule.explain.show import Shown
from chainrule.explain.step_page import step_page
from chainrule.explain.sweep import Normalisation, Sweep
from chainrule.explain.writing import Page, Prose
from chainrule.functions import get_loss
from chainrule.nn import Module
from chainrule.plan import LossTerm, Plan, flatten, lower

__all__ = ["MOST_NUMBERS", "LayerStep", "Step", "explain_step"]

# Parameters and values of a network that is still explained number by number.
MOST_NUMBERS = 1_000_000


@dataclass(frozen=True, eq=False)
class LayerStep:
    """The numbers of one layer.

    Attributes
    ----------
    layer : Layer
        Which one, what it is and what it reads.
    z, h : ndarray of shape (n, d)
        (1) and (2); h is z where there is no activation.
    slope : ndarray of shape (n, d)
        σ'(z); 1 where there is no activation.
    signal, delta : ndarray of shape (n, d)
        ∂ℒ/∂h and δ = ∂ℒ/∂z, (3), of the mean loss over the rows.
    parameters, gradients, updated : dict of str to ndarray
        ``"weight"`` and ``"bias"``, as far as the layer has them (W and b, or γ and β): before the step,
        their gradients (6) and (7), and after the step.
    z_after, h_after : ndarray of shape (n, d)
        The forward pass again.
    normalisation, normalisation_after : Normalisation or None
        Mean, variance and so on, before and after the step.
    """

    layer: Layer
    z: np.ndarray
    h: np.ndarray
    slope: np.ndarray
    signal: np.ndarray
    delta: np.ndarray
    parameters: Mapping[str, np.ndarray]
    gradients: Mapping[str, np.ndarray]
    updated: Mapping[str, np.ndarray]
    z_after: np.ndarray
    h_after: np.ndarray
    normalisation: Normalisation | None = None
    normalisation_after: Normalisation | None = None

    @property
    def name(self) -> str:
        """Dotted name of the module that makes z."""
        return self.layer.name

    @property
    def kind(self) -> str:
        """Kind of the operation that makes z: ``"linear"``, ``"batch_norm"``, ..."""
        return self.layer.kind


@dataclass(frozen=True, eq=False, repr=False)
class Step(Shown):
    """One step of gradient descent, explained; ``str`` is the text, a notebook shows it typeset.

    Attributes
    ----------
    layers : tuple of LayerStep
        In the order of the forward pass.
    plan : Plan
    x : ndarray of shape (n, d_0)
        The batch, one row an example.
    y : ndarray
        The targets as the loss takes them: (n,) class indices, or (n, d_L).
    targets : ndarray of shape (n, d_L)
        The targets as (4) takes them; class indices are one-hot rows.
    shares : ndarray of shape (n,)
        Each row's share of the mean: 1/n, or its class's weight as a part of the sum of them.
    lr : float
        The learning rate η.
    training : bool
        Whether batch normalisation took the mean and the variance of the batch.
    prediction, prediction_after : ndarray of shape (n, d_L)
        ŷ, before and after the step.
    losses, losses_after : ndarray of shape (n,)
        Of each row.
    loss, loss_after : float
        Their mean.
    remarks : tuple
        What is to be said at the end.
    """

    layers: tuple[LayerStep, ...]
    plan: Plan
    x: np.ndarray
    y: np.ndarray
    targets: np.ndarray
    shares: np.ndarray
    lr: float
    training: bool
    prediction: np.ndarray
    losses: np.ndarray
    loss: float
    prediction_after: np.ndarray
    losses_after: np.ndarray
    loss_after: float
    remarks: tuple[Prose, ...] = field(default=())

    def __repr__(self) -> str:
        return f"Step(loss={self.loss:.4g}, loss_after={self.loss_after:.4g}, layers={len(self.layers)})"

    @property
    def drop(self) -> float:
        """How many times smaller the loss is after the step: loss / loss_after."""
        if self.loss_after == 0:
            return math.inf if self.loss else 1.0
        return self.loss / self.loss_after

    @property
    def is_scalar(self) -> bool:
        """Whether every value is a single number, so that all can be written as by hand."""
        return len(self.x) == 1 and set(self.plan.widths) == {1}

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """Every parameter before the step, by its name in the module's ``state_dict``."""
        return self._named("parameters")

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """The gradient of every parameter, (6) and (7)."""
        return self._named("gradients")

    @property
    def updated(self) -> dict[str, np.ndarray]:
        """Every parameter after the step; ``module.load_state_dict(step.updated, strict=False)`` takes it."""
        return self._named("updated")

    def _named(self, what: str) -> dict[str, np.ndarray]:
        return {
            slot.name: getattr(one, what)[name]
            for one in self.layers
            for name, slot in one.layer.slots.items()
        }

    def layer(self, name: str) -> LayerStep:
        """The layer of a module, by its dotted name.

        Raises
        ------
        KeyError
            If no layer has that name; the message lists those there are.
        """
        names = [one.name for one in self.layers]
        if name not in names:
            raise KeyError(f"no layer {name!r}; the layers are {', '.join(map(repr, names))}")
        return self.layers[names.index(name)]

    def page(self) -> Page:
        """What is shown."""
        return step_page(self)


def explain_step(module: Module, x: Any, y: Any, loss: Any, lr: float, *, training: bool = False) -> Step:
    """One step of gradient descent, w ← w − η ∂ℒ/∂w, with every number of it.

    Section 3's worked example for any network that can be lowered to a plan: z, h, δ and the gradients of
    every layer, the updated parameters, and the forward pass again. The module is not changed.

    Parameters
    ----------
    module : Module
    x : array-like of shape (n, d_0), (d_0,) or ()
        A batch of one row an example, or one example.
    y : array-like
        (n,) class indices or values, or (n, d_L); for one example also one class index or (d_L,) values.
    loss : str or loss module
        ``"half_squared_error"``, ``nn.CrossEntropyLoss()``, ... The loss is the mean over the rows.
    lr : float
        The learning rate η.
    training : bool, default=False
        Whether batch normalisation takes the mean and the variance of the batch. By default everything is
        as in evaluation: it takes the running ones, and dropout changes nothing.

    Returns
    -------
    Step

    Raises
    ------
    ValueError
        If shapes do not fit, ``lr`` is no positive number, ``training`` meets a dropout or a batch of one
        row for a batch normalisation, or the network has more than 1,000,000 numbers.
    NotImplementedError
        If a layer cannot be lowered to a plan.

    Examples
    --------
    >>> from chainrule import nn
    >>> net = nn.Sequential(nn.Linear(1, 1), nn.Sigmoid(), nn.Linear(1, 1))
    >>> state = {"0.weight": [[0.5]], "0.bias": [0.0], "2.weight": [[-1.0]], "2.bias": [0.1]}
    >>> net.load_state_dict(state)
    IncompatibleKeys(missing_keys=[], unexpected_keys=[])
    >>> step = explain_step(net, 1.0, 0.0, "half_squared_error", lr=0.5)
    >>> step.layers[0].delta.round(4), step.layers[1].gradients["weight"].round(4)
    (array([[0.1228]]), array([[-0.3252]]))
    >>> round(step.loss, 4), round(step.loss_after, 5), round(step.drop, 1)
    (0.1365, 0.00918, 14.9)
    """
    if not isinstance(module, Module):
        raise TypeError(f"module must be a Module of chainrule.nn; got {type(module).__name__}")
    if isinstance(lr, bool) or not isinstance(lr, int | float | np.number) or not 0 < lr < math.inf:
        raise ValueError(f"lr must be a positive number; got {lr!r}")
    x = np.atleast_2d(np.array(x))  # a copy, which the step keeps
    plan = lower(module, loss, None if module.input_width() is not None else x.shape[-1])
    examples = _examples(plan, loss, x, _one_row(y, x, plan))
    _check(plan, examples, training)
    state = module.state_dict()
    parameters = flatten(state, plan.parameters, np.float64)
    buffers = flatten(state, plan.buffers, np.float64)

    before = Sweep(plan, parameters, buffers, examples, training=training)
    updated = parameters - lr * before.gradient  # the step
    after = Sweep(plan, updated, buffers, examples, training=training)
    vectors = {"parameters": parameters, "gradients": before.gradient, "updated": updated}

    record, term = get_loss(plan.loss.name), plan.loss
    weights = np.ones(len(examples)) if examples.weights is None else examples.weights
    return Step(
        layers=tuple(_layer_step(layer, before, after, vectors) for layer in layers_of(plan)),
        plan=plan,
        x=examples.X,
        y=examples.y,
        targets=target_rows(record, term, examples.y, plan.n_outputs),
        shares=weights / weights.sum(),
        lr=float(lr),
        training=training,
        prediction=record.link(before.output),
        losses=_losses(term, before.output, examples.y),
        loss=before.loss,
        prediction_after=record.link(after.output),
        losses_after=_losses(term, after.output, examples.y),
        loss_after=after.loss,
    )


def _layer_step(layer: Layer, before: Sweep, after: Sweep, vectors: dict[str, np.ndarray]) -> LayerStep:
    named = {
        what: {name: slot.view(vector) for name, slot in layer.slots.items()}
        for what, vector in vectors.items()
    }
    return LayerStep(
        layer=layer,
        z=before.z(layer),
        h=before.h(layer),
        slope=before.slope(layer),
        signal=before.signal(layer),
        delta=before.delta(layer),
        z_after=after.z(layer),
        h_after=after.h(layer),
        normalisation=before.normalisation(layer),
        normalisation_after=after.normalisation(layer),
        **named,
    )


def _examples(plan: Plan, loss: Any, x: np.ndarray, y: np.ndarray) -> Examples:
    """The batch, checked, with the weights of its classes worked in."""
    if getattr(loss, "weight", None) is None:
        return prepare(plan, x, y, dtype=np.float64)
    from chainrule.train.weighting import weighted_examples  # the room of training brings the compiler

    return weighted_examples(plan, loss, x, y, None, None, dtype=np.float64)


def _one_row(y: Any, x: np.ndarray, plan: Plan) -> np.ndarray:
    """Targets with a dimension for the rows, also where one example is given without one."""
    y = np.array(y)
    if y.ndim == 0:
        return y.reshape(1)
    one_row = len(x) == 1 and y.ndim == 1 and len(y) == plan.n_outputs > 1
    return y[None, :] if one_row else y


def _check(plan: Plan, examples: Examples, training: bool) -> None:
    """What cannot be explained: too many numbers, or what training would draw at random."""
    count = plan.n_parameters + len(examples) * sum(plan.widths)
    if count > MOST_NUMBERS:
        raise ValueError(
            f"explain_step shows networks of at most {MOST_NUMBERS:,} numbers; parameters and values of "
            f"{len(examples)} rows are {count:,} here: give a smaller network or fewer rows"
        )
    if training and any(one.kind == "dropout" and one.probability > 0 for one in plan.operations):
        raise ValueError(
            "training=True would draw the mask of a dropout at random: give training=False, where dropout "
            "changes nothing, or a network without it"
        )
    if training and len(examples) == 1 and plan.uses("batch_norm"):
        raise ValueError(
            "training=True with a batch normalisation needs at least 2 rows, whose mean and variance it "
            "takes; got 1"
        )


def _losses(term: LossTerm, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    each: np.ndarray = term.scale * get_loss(term.name).value(z, y, np.float64(term.setting))
    return each
