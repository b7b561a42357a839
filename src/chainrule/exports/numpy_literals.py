"""Arrays as Python writes them."""

from __future__ import annotations

import base64
from typing import TypeAlias

import numpy as np

__all__ = ["ARRAY", "Constant", "literal"]

# Up to so many numbers an array is written out, beyond that as base64.
_WRITTEN_OUT = 50
_LINE = 100

# What a file needs whose arrays are base64.
ARRAY = '''
def array(text, dtype, shape):
    """The numbers of a base64 text, little-endian."""
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape).astype(dtype[1:])
'''


# What stands at the top of a file: an array, a number, categories.
Constant: TypeAlias = np.ndarray | float | list[str | None]


def literal(values: Constant) -> str:
    """A constant as Python writes it; a long array of numbers as base64."""
    if isinstance(values, list) and len(repr(values)) > _LINE:
        return "[\n" + "".join(f"    {value!r},\n" for value in values) + "]"
    if not isinstance(values, np.ndarray):
        return repr(values)
    if values.dtype.kind not in "f" or values.size <= _WRITTEN_OUT:
        dtype = "object" if values.dtype.kind == "O" else f'"{values.dtype.name}"'
        if values.dtype.kind in "US":
            dtype = f'"{values.dtype.str}"'
        return f"np.array({_written(values)}, {dtype})"
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    text = base64.b64encode(little.tobytes()).decode("ascii")
    lines = "\n".join(f'    "{text[k : k + _LINE]}"' for k in range(0, len(text), _LINE))
    return f'array(\n{lines},\n    "<f{values.itemsize}",\n    {values.shape},\n)'


def _written(values: np.ndarray) -> str:
    """Nested lists of numbers that read back to the same bits; a float32 by as few digits as do."""
    if values.dtype.kind != "f":
        return repr(values.tolist())
    if values.ndim > 1:
        rows = [_written(row) for row in values]
        return f"[{rows[0]}]" if len(rows) == 1 else "[\n    " + ",\n    ".join(rows) + ",\n]"
    return "[" + ", ".join(_number(value) for value in values) + "]"


def _number(value: np.floating) -> str:
    if not np.isfinite(value):
        return f'float("{float(value)}")'
    text = str(value)
    # The shortest digits of a float32 are another double's, which rounds to the same float32.
    return text if any(mark in text for mark in ".en") else f"{text}.0"
