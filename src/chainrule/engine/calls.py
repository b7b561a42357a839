"""How compiled code is called: a kernel takes two addresses, of its arguments and of the step's record.

A step of training is a list of calls that Python writes once for a network (``schedule.py``); compiled code
goes through the list, step after step (``worker.py``). A call's arguments, addresses mostly, never change:
they lie in the list. What changes from step to step, the number of rows, the examples' order, the optimizer's
coefficients, lies in the step's record, which every thread has for itself.

Both are rows of 64-bit words: integers and addresses as they are, real numbers as the bits of a double.
"""

import ctypes
import struct
from collections.abc import Sequence
from typing import Any

__all__ = ["STEP", "STEP_REALS", "WORDS", "call_type", "pack", "place_in_step", "word"]

# The step's record: integers and addresses, then reals.
STEP = (
    "n_rows",  # rows of this batch
    "order",  # address of the row numbers of this batch, int64
    "start",  # rows of the call that came before this batch
    "number",  # steps taken since training began: what dropout masks depend on
    "turn",  # steps of this call that came before this one: what waiting compares
    "sample",  # which sample of telemetry this step takes
    "X", "sparse_columns", "sparse_starts",  # the examples; for sparse ones X is the address of the values
    "targets", "weights",  # of all examples; weights 0 for none
    "output",  # where predictions go
    "coefficients",  # address of the optimizer's eight numbers for this step, in the run's dtype
    "seed",
)  # fmt: skip
STEP_REALS = (
    "total_weight",  # what a batch's summed loss is divided by; 0 for the weight of the batch itself
    "loss_scale",
    "share",  # loss_scale / total weight
    "factor",  # what the penalties are multiplied by
    "l2", "l1",
    "clip_norm",
    "clip",  # what the gradient is multiplied by
)  # fmt: skip

# A kernel as Python calls it.
call_type = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64)

# Words of a call: the kernel's address and its arguments.
WORDS = 24


def place_in_step(name: str) -> int:
    """Which word of the step's record holds this."""
    return (STEP + STEP_REALS).index(name)


def word(value: Any) -> int:
    """One 64-bit word: an integer, or the bits of a real."""
    if isinstance(value, float):
        return int(struct.unpack("<q", struct.pack("<d", value))[0])
    return int(value)


def pack(fields: Sequence[str], reals: frozenset[str], values: dict[str, Any]) -> list[int]:
    """A call's arguments, in the order of the kernel's fields.

    Raises
    ------
    TypeError
        If a field is missing, or a value is for no field.
    """
    if set(fields) != set(values):
        raise TypeError(f"arguments must be {', '.join(fields)}; got {', '.join(values)}")
    return [word(float(values[name]) if name in reals else int(values[name])) for name in fields]
