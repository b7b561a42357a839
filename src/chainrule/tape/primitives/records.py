"""Primitives for each record of ``functions``: activations, and losses of raw outputs."""

import numpy as np

from chainrule.functions import ACTIVATIONS, LOSSES
from chainrule.tape.primitive import Primitive

__all__ = ["ACTIVATION_PRIMITIVES", "LOSS_PRIMITIVES", "TOTAL_LOSS_PRIMITIVES"]


def _activation(record):
    def forward(z, *, alpha):
        return record.value(z, alpha)  # (2)

    def vjp(g, _out, z, alpha):
        return g * record.derivative(z, alpha)  # the gate of (5)

    return Primitive(f"activation {record.name}", forward, (vjp,), record.formula)


def _loss(record):
    def forward(z, y, *, setting):
        return record.value(z, y, setting)

    def vjp(g, _out, z, y, setting):
        return g.reshape(-1, 1) * record.gradient(z, y, setting)  # (3)

    return Primitive(f"loss {record.name}", forward, (vjp, None), record.formula)


def _total_loss(record):
    """The losses summed, each times its share, a number for all or one for each: in the mean it is 1/n."""

    def forward(z, y, *, setting, share):
        return np.sum(share * record.value(z, y, setting))

    def vjp(g, _out, z, y, setting, share):
        return g * np.reshape(share, (-1, 1)) * record.gradient(z, y, setting)  # (3)

    formula = f"sum_i share_i ({record.formula})"
    return Primitive(f"total loss {record.name}", forward, (vjp, None), formula)


ACTIVATION_PRIMITIVES = {name: _activation(record) for name, record in ACTIVATIONS.items()}
LOSS_PRIMITIVES = {name: _loss(record) for name, record in LOSSES.items()}
TOTAL_LOSS_PRIMITIVES = {name: _total_loss(record) for name, record in LOSSES.items()}
