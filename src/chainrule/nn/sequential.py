"""Modules one after another."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

from chainrule.nn.builder import Builder
from chainrule.nn.module import Module, dotted
from chainrule.tape import Tensor

__all__ = ["Sequential"]


class Sequential(Module):
    """A chain: each module's output is the next one's input.

    Parameters
    ----------
    *modules : Module
        In order, named "0", "1", ...; or one ordered mapping of names to modules.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import nn
    >>> net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    >>> net(np.zeros((32, 784), dtype=np.float32)).shape
    (32, 10)
    >>> net
    Sequential(
      (0): Linear(in_features=784, out_features=128, bias=True)
      (1): ReLU()
      (2): Linear(in_features=128, out_features=10, bias=True)
    )
    >>> len(net), net[-1].out_features, len(net[:2])
    (3, 10, 2)
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: list[tuple[str, Any]] = list(modules[0].items())
        else:
            named = [(str(index), module) for index, module in enumerate(modules)]
        for name, module in named:
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        """Equations (1) and (2), layer after layer."""
        h = x
        for module in self:
            h = module(h)
        return h

    def lower(self, build: Builder, source: int, path: str) -> int:
        """Lower each module on the value of the one before."""
        value = source
        for name, child in self._modules.items():
            value = child.lower(build, value, dotted(path, name))
        return value

    def input_width(self) -> int | None:
        """What the first module that is particular about it takes: those before it change nothing."""
        widths = (module.input_width() for module in self)
        return next((width for width in widths if width is not None), None)

    def output_width(self, input_width: int) -> int:
        """Follow the width through the chain; ValueError names the module that does not fit."""
        width = input_width
        for name, child in self._modules.items():
            try:
                width = child.output_width(width)
            except ValueError as error:
                raise ValueError(f"module {name}: {error}") from None
        return width

    def append(self, module: Module) -> Self:
        """Add a module at the end, named by its position. Returns self."""
        self.add_module(str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index: int | slice) -> Any:
        """The module at a position; of a slice, a Sequential that shares its modules."""
        items = list(self._modules.items())
        if isinstance(index, slice):
            return Sequential(dict(items[index]))
        try:
            return items[index][1]
        except IndexError:
            raise IndexError(f"index {index} is out of range for {len(self)} modules") from None
