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

# What the columns of a table may hold.
_KINDS = ("numeric", "boolean", "categorical")


def to_numpy_source(model: Any, n_inputs: int | None = None) -> str:
    """Write a model as one Python file that needs nothing but NumPy.

    The file holds the weights and one function, ``predict(X)``, that reads as the equations do; a
    classifier's holds ``predict_proba(X)`` as well, or ``decision_function(X)`` where networks vote. Of
    several networks each has a function of its own.

    Parameters
    ----------
    model : Module, MLP..., Tabular..., OneVsOneMLPClassifier or SavedModel
        A module made of the library's layers; ``predict(X)`` gives its output in evaluation mode, of shape
        (n, n_outputs). A fitted estimator; ``predict(X)`` gives labels, or numbers in the target's own units.
        What ``chainrule.io.load_model`` gives. A table must have numeric, boolean and categorical columns
        only; X is then its rows, with one value for each column in the table's order, NaN or None where
        there is none.
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
        If the number of inputs is not known, or a table has columns of dates; the message names them.
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
    return _Writer(exported(model, n_inputs, _KINDS)).text()


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
        several = "votes" if model.kind == "votes" else "mean"
        what = "A neural network" if n_networks == 1 else f"The {several} of {n_networks} neural networks"
        inputs, outputs = _counted(model.n_columns, "input"), _counted(model.n_outputs, "output")
        title = f"{what}: {inputs}, {outputs}, {model.dtype}. Needs NumPy only."
        if model.table is None:
            return title
        columns = "\n".join(f"{k}: {name!r}" for k, name in enumerate(model.table.names))
        # Names are a table's own text: whatever they hold stays inside the docstring.
        columns = columns.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
        return f"{title}\n\nThe columns of X:\n{columns}\n"

    def _functions(self) -> list[str]:
        before = list(input_lines(self.model, self.parts))
        networks, forward, z = self._networks()
        name, doc, after = self._answer(z)
        functions = [*networks, _function(name, doc, [*before, *forward, *after])]
        if name == "predict":
            return functions
        labels = "0 or 1 for each label" if self.model.kind == "labels" else "The label"
        doc = f"{labels} of each row of X, (n, {self.model.n_columns})."
        return [*functions, _function("predict", doc, self._labels(f"{name}(X)"))]

    def _answer(self, z: str) -> tuple[str, str, Iterable[str]]:
        """The function that the networks are called in: name, docstring, and what it makes of their z."""
        kind, n, d = self.model.kind, self.model.n_columns, self.model.n_outputs
        if kind == "module":
            return "predict", f"The output of each row of X, (n, {n}): (n, {d}).", [f"return {z}"]
        if kind == "regressor":
            shape, y = ("(n,)", "y[:, 0]") if d == 1 else (f"(n, {d})", "y")
            doc = f"The prediction for each row of X, (n, {n}): {shape}."
            return "predict", doc, [*self._regression(z), f"return {y}"]
        if kind == "votes":
            doc = f"Votes for each class, and how sure they are, for the rows of X, (n, {n})."
            return "decision_function", doc, self._votes(z)
        width = d if kind == "labels" else max(d, 2)
        doc = f"The probability of each class for the rows of X, (n, {n}): (n, {width})."
        return "predict_proba", doc, self._probabilities(z)

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
        calls = [f"    network_{number}(X)," for number in range(1, len(functions) + 1)]
        return functions, ["outputs = [", *calls, "]"], "outputs"

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

    def _votes(self, z: str) -> Iterator[str]:
        """From a list of z, one for each pair of classes, to what scikit-learn makes of their votes."""
        self.parts.helper("sigmoid")
        pairs = self.model.pairs
        self.parts.constant("pairs", pairs)
        n_classes = pairs.max() + 1
        yield f"p = np.hstack([sigmoid(z) for z in {z}])  # of the second of two classes"
        yield f"first, second = np.eye({n_classes})[pairs[:, 0]], np.eye({n_classes})[pairs[:, 1]]"
        yield "votes = (p <= 0.5) @ first + (p > 0.5) @ second"
        yield "confidence = p @ (second - first)"
        yield "return votes + confidence / (3 * (np.abs(confidence) + 1))"

    def _labels(self, found: str) -> Iterator[str]:
        """From what the other function says to labels."""
        if self.model.kind == "labels":
            yield f"return ({found} > 0.5).astype(int)"
            return
        if self.model.classes is not None:
            self.parts.constant("classes", self.model.classes)
        if self.model.kind == "votes" or self.model.link == "softmax":
            yield f"return classes[{found}.argmax(axis=1)]"
        else:
            yield f"return classes[({found}[:, 1] > 0.5).astype(int)]"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _function(name: str, doc: str, lines: Iterable[str]) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f'\ndef {name}(X):\n    """{doc}"""\n{body}'
