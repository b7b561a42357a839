"""``chainrule derive``: the gradients of a network in symbols, with shapes and costs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainrule.cli.application import errors_in_one_line
from chainrule.cli.options import AsJson, Network
from chainrule.cli.single import load_single_network
from chainrule.cli.written import Format, write

if TYPE_CHECKING:
    from chainrule import nn

__all__ = ["derive"]

# A network is made to be derived, weights and all.
_MOST_WEIGHTS = 100_000_000


@errors_in_one_line
def derive(
    model: Annotated[Path | None, typer.Argument(help="A model that `chainrule train` saved.")] = None,
    layers: Annotated[
        str | None, typer.Option(help="Widths of a network instead of a model: 784,128,10.")
    ] = None,
    activation: Annotated[str, typer.Option(help="Activation of its hidden layers.")] = "relu",
    loss: Annotated[str, typer.Option(help="Its loss.")] = "half_squared_error",
    network: Network = None,
    format: Annotated[Format, typer.Option(help="How to write it.")] = Format.text,
    as_json: AsJson = False,
) -> None:
    """Print the equations of a network's gradients, their shapes, and what they cost."""
    from chainrule.explain import derive as derivation_of

    if (model is None) == (layers is None):
        raise ValueError("give either a model that `chainrule train` saved, or --layers such as 784,128,10")
    if model is not None:
        single = load_single_network(model, network)
        write(derivation_of(single.module, single.loss), format, as_json)
    else:
        write(derivation_of(_network(_widths(layers or ""), activation), loss), format, as_json)


def _widths(text: str) -> tuple[int, ...]:
    sizes = [size.strip() for size in text.split(",")]
    if len(sizes) < 2 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ValueError(f"--layers must be two or more widths such as 784,128,10, got {text!r}")
    widths = tuple(map(int, sizes))
    weights = sum(a * b for a, b in pairwise(widths))
    if weights > _MOST_WEIGHTS:
        raise ValueError(f"--layers must have at most {_MOST_WEIGHTS:,} weights, got {weights:,}")
    return widths


def _network(widths: tuple[int, ...], activation: str) -> nn.Sequential:
    """Linear layers with the activation between them."""
    from chainrule import nn

    modules: list[nn.Module] = []
    for d_in, d_out in pairwise(widths):
        modules += [nn.Linear(d_in, d_out, rng=0), nn.activation_module(activation)]
    return nn.Sequential(*modules[:-1])
