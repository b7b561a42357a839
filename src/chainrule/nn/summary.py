"""What a network is made of, as a table."""

from collections.abc import Iterator
from dataclasses import dataclass

from chainrule.nn._checks import check_size
from chainrule.nn.module import Module, dotted
from chainrule.nn.residual import Residual
from chainrule.nn.sequential import Sequential

__all__ = ["Summary", "SummaryRow", "summary"]


@dataclass(frozen=True)
class SummaryRow:
    """One layer: its dotted name, its class, its columns (None if unknown), and what it costs."""

    name: str
    type: str
    output_width: int | None
    parameters: int
    multiply_adds: int

    def cells(self) -> tuple[str, ...]:
        """The row as it is printed."""
        shape = f"(n, {self.output_width or '?'})"
        return self.name, self.type, shape, f"{self.parameters:,}", f"{self.multiply_adds:,}"


@dataclass(frozen=True, repr=False)
class Summary:
    """The layers of a network in the order in which they compute; ``str`` is the table.

    Attributes
    ----------
    rows : tuple of SummaryRow
        One a layer.
    parameters : int
        Trainable numbers, each counted once also where a module is used twice.
    multiply_adds : int
        Of the matrix products of one example's forward pass. What is done element by element
        (activations, normalization) is not counted: it grows with the width, not its square.
    """

    rows: tuple[SummaryRow, ...]
    parameters: int
    multiply_adds: int

    def __str__(self) -> str:
        header = ("layer", "type", "output shape", "parameters", "multiply-adds")
        lines = [row.cells() for row in self.rows]
        total = ("total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")
        widths = [max(map(len, column)) for column in zip(header, *lines, total, strict=True)]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        table = [_aligned(line, widths) for line in (header, *lines, total)]
        return "\n".join([table[0], rule, *table[1:-1], rule, table[-1]])

    __repr__ = __str__


def summary(module: Module, n_inputs: int | None = None) -> Summary:
    """List the layers of a network: output shapes, parameters and multiply-adds.

    Parameters
    ----------
    module : Module
        The network.
    n_inputs : int or None
        Columns that go in; None asks the network.

    Returns
    -------
    Summary
        Prints as a table.

    Raises
    ------
    ValueError
        If ``n_inputs`` is None and the network takes any width, or the widths do not fit.

    Examples
    --------
    >>> from chainrule import nn
    >>> summary(nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)))
    layer  type    output shape  parameters  multiply-adds
    ------------------------------------------------------
    0      Linear  (n, 128)         100,480        100,352
    1      ReLU    (n, 128)               0              0
    2      Linear  (n, 10)            1,290          1,280
    ------------------------------------------------------
    total                           101,770        101,632
    """
    if not isinstance(module, Module):
        raise TypeError(f"module must be a Module; got {type(module).__name__}")
    width = module.input_width() if n_inputs is None else check_size("n_inputs", n_inputs)
    if width is None:
        raise ValueError("n_inputs must be given: this network takes any number of columns")
    _output_width(module, width)  # names the module that does not fit
    return Summary(tuple(_rows(module, "", width)), _size(module), module.multiply_adds())


def _rows(module: Module, path: str, width: int | None) -> Iterator[SummaryRow]:
    """The rows of a module that ``width`` columns go into."""
    if isinstance(module, Sequential):
        for name, child in module._modules.items():
            yield from _rows(child, dotted(path, name), width)
            width = _output_width(child, width)
    elif isinstance(module, Residual):
        for name, child in module.named_children():
            yield from _rows(child, dotted(path, name), width)
        yield SummaryRow(path, "Residual (sum)", _output_width(module, width), 0, 0)
    else:
        name = type(module).__name__
        yield SummaryRow(path, name, _output_width(module, width), _size(module), module.multiply_adds())


def _output_width(module: Module, width: int | None) -> int | None:
    width = module.input_width() if width is None else width
    try:
        return None if width is None else module.output_width(width)
    except NotImplementedError:  # a module of the user's own need not know
        return None


def _size(module: Module) -> int:
    return sum(array.size for array in module.parameters())


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    words, numbers = cells[:3], cells[3:]
    left = [cell.ljust(width) for cell, width in zip(words, widths[:3], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(numbers, widths[3:], strict=True)]
    return "  ".join(left + right)
