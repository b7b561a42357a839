"""A model as one readable Python file that needs nothing but NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from chainrule.exports.model import Exported, Target, exported
from chainrule.exports.numpy_expressions import HELPERS
from chainrule.exports.numpy_literals import ARRAY, literal
from chainrule.exports.numpy_network import NetworkLines, Parts
from chainrule.exports.numpy_table import input_lines
from chainrule.exports.tables import Curve

__all__ = ["to_numpy_source"]


def to_numpy_source(model: Any, n_inputs: int | None = None) -> str:
    """Write a model as one Python file that needs nothing but NumPy.

    The file holds the weights and one function, ``predict(X)``, that reads as the equations do; a
    classifier's holds ``predict_proba(X)`` as well. Of an ensemble each network has a function of its own.

    Parameters
    ----------
    model : Module, MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor or SavedModel
        A module made of the library's layers; ``predict(X)`` gives its output in evaluation mode, of shape
        (n, n_outputs). A fitted estimator; ``predict(X)`` gives labels, or numbers in the target's own units.
        What ``chainrule.io.load_model`` gives. A table must have numeric and boolean columns only; X is then
        the raw numbers, one column for each of the table's in its order, NaN where there is none.
    n_inputs : int, optional
        Number of features, where no layer of a module states it.

    Returns
    -------
    str
        The file's text. It computes in the dtype of the model's parameters.

    Raises
    ------
    TypeError
        If the model is of another kind, or has a layer with a ``forward`` of its own; the message names it.
    ValueError
        If the number of inputs is not known, or a table has columns that are neither numeric nor boolean;
        the message names them.
    sklearn.exceptions.NotFittedError
        If an estimator has not been fitted.

    Examples
    --------
    >>> from chainrule import nn
    >>> layer = nn.Linear(2, 1)
    >>> layer.weight, layer.bias = [[1.0, -1.0]], [0.5]
    >>> print(to_numpy_source(nn.Sequential(layer, nn.ReLU())))
    \"\"\"A neural network: 2 inputs, 1 output, float32. Needs NumPy only.\"\"\"
    <BLANKLINE>
    import numpy as np
    <BLANKLINE>
    W1 = np.array([[1.0, -1.0]], "float32")
    b1 = np.array([0.5], "float32")
    <BLANKLINE>
    <BLANKLINE>
    def predict(X):
        \"\"\"The output of each row of X, (n, 2): (n, 1).\"\"\"
        X = np.asarray(X, "float32")
        if X.ndim != 2 or X.shape[1] != 2:
            raise ValueError(f"X must have shape (n, 2); got {X.shape}")
        z = X @ W1.T + b1
        h = np.maximum(z, 0)
        return h
    <BLANKLINE>
    """
    return _Writer(exported(model, n_inputs)).text()


class _Writer:
    """The parts of one file, collected while the model is walked through."""

    def __init__(self, model: Exported) -> None:
        self.model = model
        self.parts = Parts()

    def text(self) -> str:
        """The whole file."""
        functions = self._functions()
        body = "".join(f"\n{part}" for part in [*map(HELPERS.__getitem__, self.parts.helpers), *functions])
        assigned = "\n".join(f"{name} = {literal(value)}" for name, value in self.parts.constants.items())
        packed = "array(" in assigned.replace("np.array(", "")
        imports = ["import base64"] * packed + ["import math"] * ("math." in body) + ["import numpy as np"]
        # The standard library's imports and NumPy's stand apart, as every linter asks.
        head = "\n".join(imports[:-1]) + "\n\n" * (len(imports) > 1) + imports[-1]
        reads = f"\n{ARRAY}\n\n" if packed else "\n"
        return f'"""{self._title()}"""\n\n{head}\n{reads}{assigned}\n{body}'.rstrip("\n") + "\n"

    def _title(self) -> str:
        model, n_networks = self.model, len(self.model.networks)
        what = "A neural network" if n_networks == 1 else f"The mean of {n_networks} neural networks"
        inputs, outputs = _counted(model.n_columns, "input"), _counted(model.n_outputs, "output")
        title = f"{what}: {inputs}, {outputs}, {model.dtype}. Needs NumPy only."
        if model.table is None:
            return title
        columns = "\n".join(f"{k}: {name!r}" for k, name in enumerate(model.table.names))
        # Names are a table's own text: whatever they hold stays inside the docstring.
        columns = columns.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
        return f"{title}\n\nThe columns of X:\n{columns}\n"

    def _functions(self) -> list[str]:
        kind, n, d = self.model.kind, self.model.n_columns, self.model.n_outputs
        before = list(input_lines(self.model, self.parts))
        networks, forward, z = self._networks()
        lines = [*before, *forward]
        if kind == "module":
            doc = f"The output of each row of X, (n, {n}): (n, {d})."
            return [_function("predict", doc, [*lines, f"return {z}"])]
        if kind == "regressor":
            shape = "(n,)" if d == 1 else f"(n, {d})"
            lines += [*self._regression(z), f"return y{'[:, 0]' if d == 1 else ''}"]
            return [
                *networks,
                _function("predict", f"The prediction for each row of X, (n, {n}): {shape}.", lines),
            ]
        width = d if kind == "labels" else max(d, 2)
        doc = f"The probability of each class for the rows of X, (n, {n}): (n, {width})."
        labels = "0 or 1 for each label" if kind == "labels" else "The label"
        return [
            *networks,
            _function("predict_proba", doc, [*lines, *self._probabilities(z)]),
            _function("predict", f"{labels} of each row of X, (n, {n}).", self._labels()),
        ]

    def _networks(self) -> tuple[list[str], list[str], str]:
        """Functions of several networks; the lines of `predict` that call them; what those assign z to."""
        if len(self.model.networks) == 1:
            lines = NetworkLines(self.model.networks[0], self.parts)
            return [], list(lines), lines.output
        functions = []
        for number, network in enumerate(self.model.networks, start=1):
            lines = NetworkLines(network, self.parts, f"_{number}")
            doc = f"The output of one of the networks: (n, {self.model.n_outputs})."
            functions.append(_function(f"network_{number}", doc, [*lines, f"return {lines.output}"]))
        calls = ", ".join(f"network_{number}(X)" for number in range(1, len(functions) + 1))
        return functions, [f"outputs = [{calls}]"], "outputs"

    def _regression(self, z: str) -> Iterator[str]:
        """From z, or a list of them, to y."""
        if len(self.model.networks) > 1:
            yield f'z = np.mean({z}, axis=0, dtype="float64")'
            z = "z"
        target = self.model.target
        if self.model.link == "exp":
            yield f"y = np.exp({z})"
        elif target is None:
            yield f"y = {z}"
        elif isinstance(target, Curve):
            self.parts.constants |= {"target_places": target.x, "target_knots": target.y}
            yield f"y = np.interp({z}, target_places, target_knots)"
        else:
            yield from self._unscaled(z, target)

    def _unscaled(self, z: str, target: Target) -> Iterator[str]:
        self.parts.constants |= {"target_scale": target.scale, "target_mean": target.mean}
        y = f"{z} * target_scale + target_mean"
        if target.is_logarithm:
            y = f"np.expm1(np.maximum({y}, 0))"
        yield f"y = {y}" if self.model.answers_in_double else f'y = ({y}).astype("{self.model.dtype}")'

    def _probabilities(self, z: str) -> Iterator[str]:
        """From z, or a list of them, to probabilities."""
        link = "softmax" if self.model.link == "softmax" else "sigmoid"
        self.parts.helper(link)
        if self.model.temperature is not None:
            self.parts.constant("temperature", self.model.temperature)
        scaled = "" if self.model.temperature is None else '.astype("float64") / temperature'
        if len(self.model.networks) > 1:
            yield f"return np.mean([{link}(z{scaled}) for z in {z}], axis=0)"
        elif link == "softmax" or self.model.kind == "labels":
            yield f"return {link}({z}{scaled})"
        else:
            yield f"p = sigmoid({z})"
            yield "return np.hstack([1 - p, p])"

    def _labels(self) -> Iterator[str]:
        if self.model.kind == "labels":
            yield "return (predict_proba(X) > 0.5).astype(int)"
            return
        if self.model.classes is not None:
            self.parts.constant("classes", self.model.classes)
        if self.model.link == "softmax":
            yield "return classes[predict_proba(X).argmax(axis=1)]"
        else:
            yield "return classes[(predict_proba(X)[:, 1] > 0.5).astype(int)]"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _function(name: str, doc: str, lines: Iterable[str]) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f'\ndef {name}(X):\n    """{doc}"""\n{body}'
