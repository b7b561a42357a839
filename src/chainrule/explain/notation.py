"""How quantities are named: z, w, δ in a network of single numbers; else Z, W, Δ, one row an example."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.explain.layers import Layer
from chainrule.explain.writing import Mark, Symbol

__all__ = ["Notation", "activation_name"]

# Of each quantity of a layer its letter as text and as LaTeX: for one number, for a matrix.
_LETTERS = {
    "z": (("z", "z"), ("Z", "Z")),
    "h": (("h", "h"), ("H", "H")),
    "delta": (("δ", r"\delta"), ("Δ", r"\Delta")),
    "weight": (("w", "w"), ("W", "W")),
    "bias": (("b", "b"), ("b", "b")),
    "scale": (("γ", r"\gamma"), ("γ", r"\gamma")),
    "shift": (("β", r"\beta"), ("β", r"\beta")),
    "mean": (("μ", r"\mu"), ("μ", r"\mu")),
    "variance": (("v", "v"), ("v", "v")),
    "normal": (("ĥ", r"\hat{h}"), ("Ĥ", r"\hat{H}")),
    "below": (("g", "g"), ("G", "G")),
    "mask": (("m", "m"), ("M", "M")),
}
# Of the whole network.
_GLOBAL = {
    "x": (("x", "x"), ("X", "X")),
    "y": (("y", "y"), ("Y", "Y")),
    "t": (("t", "t"), ("T", "T")),
    "prediction": (("ŷ", r"\hat{y}"), ("Ŷ", r"\hat{Y}")),
    "loss": (("ℒ", r"\mathcal{L}"), ("ℒ", r"\mathcal{L}")),
    "losses": (("ℓ", r"\ell"), ("ℓ", r"\ell")),
    "share": (("s", "s"), ("s", "s")),
    "rate": (("η", r"\eta"), ("η", r"\eta")),
}


def activation_name(name: str) -> Mark:
    """The name of an activation as that of a function."""
    return Mark(name, rf"\mathrm{{{name}}}".replace("_", r"\_"))


class Notation:
    """The symbols of one network, with their values or their shapes.

    Parameters
    ----------
    layers : tuple of Layer
    scalar : bool
        Whether every value of the network is one number.
    values : mapping of (str, int) to array-like, optional
        What the symbols stand for, by quantity and layer; 0 for what belongs to no layer.
    """

    def __init__(
        self,
        layers: tuple[Layer, ...],
        scalar: bool,
        values: Mapping[tuple[str, int], Any] | None = None,
    ) -> None:
        self.layers = layers
        self.scalar = scalar
        self.values = values

    # -- of the whole network ----------------------------------------------------------------------

    def quantity(self, name: str) -> Symbol:
        """One of x, y, t, prediction, loss, losses, share, rate."""
        text, latex = _GLOBAL[name][not self.scalar]
        width = {"x": self.layers[0].width_in, "losses": 1, "share": 1}.get(name, self.layers[-1].width_out)
        shape = None if name in ("loss", "rate") else ("n", width)
        return Symbol(text, latex, self._value(name, 0), shape)

    # -- of one layer ------------------------------------------------------------------------------

    def of(self, name: str, layer: Layer) -> Symbol:
        """A quantity of a layer: z, delta, mean, ... or weight and bias, W and b or γ and β."""
        letter = name
        if layer.is_normalisation:
            letter = {"weight": "scale", "bias": "shift"}.get(name, name)
        text, latex = _LETTERS[letter][not self.scalar]
        latex += f"_{{{layer.number}}}" if self.scalar else f"^{{({layer.number})}}"
        return Symbol(f"{text}{layer.number}", latex, self._value(name, layer.number), _shape(name, layer))

    def h(self, layer: Layer) -> Symbol:
        """What a layer hands on: h, or z where it has no activation."""
        return self.of("z" if layer.activation is None else "h", layer)

    def read(self, layer: Layer, which: int = 0) -> Symbol:
        """What a layer reads: x, or the h of an earlier layer."""
        number = layer.reads[which]
        return self.h(self.layers[number - 1]) if number else self.quantity("x")

    def slope(self, layer: Layer) -> Symbol:
        """σ'(z)."""
        name, z = self._activation(layer), self.of("z", layer)
        value = self._value("slope", layer.number)
        return Symbol(f"{name.text}'({z.text})", f"{name.latex}'({z.latex})", value, _shape("z", layer))

    def transposed(self, symbol: Symbol) -> Symbol:
        """The transpose of a matrix."""
        value = symbol.value.T if isinstance(symbol.value, np.ndarray) else symbol.value
        shape = None if symbol.shape is None else symbol.shape[::-1]
        return Symbol(f"{symbol.text}ᵀ", rf"{{{symbol.latex}}}^{{\top}}", value, shape)

    def derivative(self, symbol: Symbol, value: Any = None) -> Symbol:
        """∂ℒ/∂ of a quantity, of the same shape."""
        loss = self.quantity("loss")
        latex = rf"\frac{{\partial {loss.latex}}}{{\partial {symbol.latex}}}"
        return Symbol(f"∂{loss.text}/∂{symbol.text}", latex, self.plain(value), symbol.shape)

    def gradient(self, name: str, layer: Layer) -> Symbol:
        """∂ℒ/∂ of a layer's weight, bias, normal or h."""
        symbol = self.h(layer) if name == "h" else self.of(name, layer)
        value = None if self.values is None else self.values.get((f"d_{name}", layer.number))
        return self.derivative(symbol, value)

    def _activation(self, layer: Layer) -> Mark:
        assert layer.activation is not None
        return activation_name(layer.activation.activation)

    def _value(self, name: str, number: int) -> Any:
        return None if self.values is None else self.plain(self.values.get((name, number)))

    def plain(self, value: Any) -> Any:
        """A value as it is written: one number, or a matrix in which a vector is a row."""
        if value is None:
            return None
        array = np.asarray(value, dtype=np.float64)
        return float(array.reshape(-1)[0]) if self.scalar or array.ndim == 0 else np.atleast_2d(array)


def _shape(name: str, layer: Layer) -> tuple[int | str, ...]:
    """The shape of a quantity for a batch of n rows."""
    if name in layer.slots:
        return layer.slots[name].shape
    if name in ("mean", "variance"):
        return (layer.width_in,) if layer.kind == "batch_norm" else ("n", 1)
    return "n", layer.width_out  # a normalisation is as wide as what it reads
