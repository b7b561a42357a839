"""The table of primitives: what can be recorded, and how to go back."""

from chainrule.tape.primitive import PRIMITIVES, Primitive
from chainrule.tape.primitives import elementwise, products, records, reductions, shapes
from chainrule.tape.primitives.records import (
    ACTIVATION_PRIMITIVES,
    LOSS_PRIMITIVES,
    TOTAL_LOSS_PRIMITIVES,
)

__all__ = [
    "ACTIVATION_PRIMITIVES",
    "LOSS_PRIMITIVES",
    "PRIMITIVES",
    "TOTAL_LOSS_PRIMITIVES",
    "Primitive",
    "elementwise",
    "products",
    "records",
    "reductions",
    "shapes",
]
