"""Python's operators on tensors, each an entry of the table."""

from typing import Any

import numpy as np

from chainrule.tape.primitive import PRIMITIVES
from chainrule.tape.primitives import elementwise, products, shapes

__all__ = ["Operators"]


def _plain_index(index: Any) -> Any:
    """An index with arrays in place of tensors and lists."""
    if isinstance(index, tuple):
        return tuple(_plain_index(item) for item in index)
    if isinstance(index, Operators):
        index = index.data
    # A copy: the way back reads the index again, and no version would tell that it was changed.
    return np.array(index) if isinstance(index, list | np.ndarray) else index


def _as_operand(value: Any) -> Any:
    return value if isinstance(value, Operators | np.ndarray | np.generic | int | float | bool) else None


def _forward(entry: Any) -> Any:
    def operator(self: Any, other: Any) -> Any:
        return NotImplemented if _as_operand(other) is None else entry(self, other)

    operator.__doc__ = entry.formula
    return operator


def _reflected(entry: Any) -> Any:
    def operator(self: Any, other: Any) -> Any:
        return NotImplemented if _as_operand(other) is None else entry(other, self)

    operator.__doc__ = entry.formula
    return operator


def _in_place(entry: Any) -> Any:
    def operator(self: Any, other: Any) -> Any:
        return NotImplemented if _as_operand(other) is None else self._in_place(entry, (other,))

    operator.__doc__ = f"{entry.formula}, in place"
    return operator


def _alone(entry: Any) -> Any:
    def operator(self: Any) -> Any:
        return entry(self)

    operator.__doc__ = entry.formula
    return operator


class Operators:
    """What Python's operators do."""

    __slots__ = ()

    __add__, __radd__ = _forward(elementwise.add), _reflected(elementwise.add)
    __sub__, __rsub__ = _forward(elementwise.subtract), _reflected(elementwise.subtract)
    __mul__, __rmul__ = _forward(elementwise.multiply), _reflected(elementwise.multiply)
    __truediv__, __rtruediv__ = _forward(elementwise.divide), _reflected(elementwise.divide)
    __pow__, __rpow__ = _forward(elementwise.power), _reflected(elementwise.power)
    __mod__, __rmod__ = _forward(elementwise.remainder), _reflected(elementwise.remainder)
    __floordiv__, __rfloordiv__ = _forward(PRIMITIVES["floor_divide"]), _reflected(PRIMITIVES["floor_divide"])
    __matmul__, __rmatmul__ = _forward(products.matmul), _reflected(products.matmul)
    __and__, __rand__ = _forward(PRIMITIVES["bitwise_and"]), _reflected(PRIMITIVES["bitwise_and"])
    __or__, __ror__ = _forward(PRIMITIVES["bitwise_or"]), _reflected(PRIMITIVES["bitwise_or"])
    __xor__, __rxor__ = _forward(PRIMITIVES["bitwise_xor"]), _reflected(PRIMITIVES["bitwise_xor"])
    __neg__, __pos__, __abs__ = (
        _alone(elementwise.negative), _alone(elementwise.positive), _alone(elementwise.absolute)
    )  # fmt: skip
    __invert__ = _alone(PRIMITIVES["invert"])

    __lt__, __le__ = _forward(PRIMITIVES["less"]), _forward(PRIMITIVES["less_equal"])
    __gt__, __ge__ = _forward(PRIMITIVES["greater"]), _forward(PRIMITIVES["greater_equal"])
    __eq__, __ne__ = _forward(PRIMITIVES["equal"]), _forward(PRIMITIVES["not_equal"])
    __hash__ = object.__hash__  # tensors are told apart as objects, as in PyTorch

    __iadd__, __isub__ = _in_place(elementwise.add), _in_place(elementwise.subtract)
    __imul__, __itruediv__ = _in_place(elementwise.multiply), _in_place(elementwise.divide)
    __ipow__ = _in_place(elementwise.power)

    data: np.ndarray

    def __getitem__(self, index: Any) -> Any:
        """A part: a view for slices and numbers, a copy for arrays of indices or booleans."""
        return shapes.getitem(self, index=_plain_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        """Put values into a part, in place."""
        index = _plain_index(index)
        values = value.data if isinstance(value, Operators) else value

        def write(array: np.ndarray) -> None:
            array[index] = values

        value = value if isinstance(value, Operators) else np.asarray(value)
        self._in_place(shapes.put, (value,), {"index": index}, write)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        if not self.data.ndim:
            raise TypeError("a tensor of no dimensions has no length")
        return len(self.data)

    def __iter__(self) -> Any:
        if not self.data.ndim:
            raise TypeError("a tensor of no dimensions cannot be walked through")
        return (self[index] for index in range(len(self.data)))

    def __contains__(self, value: Any) -> bool:
        return value in self.data

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.data.item())

    def __int__(self) -> int:
        return int(self.data.item())

    def __index__(self) -> int:
        return self.data.__index__()
