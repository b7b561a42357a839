"""A model as one readable Python file that needs nothing but NumPy."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.exports.model import Exported, exported
from chainrule.exports.numpy_expressions import EXPRESSIONS, HELPERS
from chainrule.plan import Operation

__all__ = ["to_numpy_source"]

# Up to so many numbers an array is written out, beyond that as base64.
_WRITTEN_OUT = 50
_LINE = 100

_ARRAY = '''
def array(text, dtype, shape):
    """The numbers of a base64 text, little-endian."""
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape).astype(dtype[1:])
'''


def to_numpy_source(model: Any, n_inputs: int | None = None) -> str:
    """Write a model as one Python file that needs nothing but NumPy.

    The file holds the weights and one function, ``predict(X)``, that reads as the equations do; a
    classifier's holds ``predict_proba(X)`` as well.

    Parameters
    ----------
    model : Module, MLPClassifier, MLPRegressor or SavedModel
        A module made of the library's layers; ``predict(X)`` gives its output in evaluation mode, of shape
        (n, n_outputs). A fitted estimator; ``predict(X)`` gives labels, or numbers in the target's own units.
        What ``chainrule.io.load_model`` gives, if its table has numeric columns only; X is then the raw
        numbers, one column for each of the table's in its order, NaN where there is none.
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
        If the number of inputs is not known, or a table has columns that are not numeric.

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
    """The parts of one file, collected while the operations are walked through."""

    def __init__(self, model: Exported) -> None:
        self.model = model
        self.constants: dict[str, np.ndarray] = {}
        self.helpers: list[str] = []
        self.names = _value_names(model)

    def text(self) -> str:
        """The whole file."""
        functions = self._functions()
        body = "".join(f"\n{part}" for part in [*map(HELPERS.__getitem__, self.helpers), *functions])
        assigned = "\n".join(f"{name} = {_literal(array)}" for name, array in self.constants.items())
        packed = "array(" in assigned.replace("np.array(", "")
        imports = ["import base64"] * packed + ["import math"] * ("math." in body) + ["import numpy as np"]
        # The standard library's imports and NumPy's stand apart, as every linter asks.
        head = "\n".join(imports[:-1]) + "\n\n" * (len(imports) > 1) + imports[-1]
        reads = f"\n{_ARRAY}\n\n" if packed else "\n"
        return f'"""{self._title()}"""\n\n{head}\n{reads}{assigned}\n{body}'.rstrip("\n") + "\n"

    def _title(self) -> str:
        model = self.model
        inputs, outputs = _counted(model.n_inputs, "input"), _counted(model.n_outputs, "output")
        title = f"A neural network: {inputs}, {outputs}, {model.dtype}. Needs NumPy only."
        if model.numeric_input is None:
            return title
        columns = "\n".join(f"{k}: {name!r}" for k, name in enumerate(model.numeric_input.names))
        # Names are a table's own text: whatever they hold stays inside the docstring.
        columns = columns.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
        return f"{title}\n\nThe columns of X:\n{columns}\n"

    def _functions(self) -> list[str]:
        kind, n, d = self.model.kind, self.model.n_inputs, self.model.n_outputs
        lines = [*self._input(), *self._forward()]
        z = self.names[self.model.output]
        if kind == "module":
            return [
                _function(
                    "predict", f"The output of each row of X, (n, {n}): (n, {d}).", [*lines, f"return {z}"]
                )
            ]
        if kind == "regressor":
            shape = "(n,)" if d == 1 else f"(n, {d})"
            lines += [*self._regression(z), f"return y{'[:, 0]' if d == 1 else ''}"]
            return [_function("predict", f"The prediction for each row of X, (n, {n}): {shape}.", lines)]
        width = d if kind == "labels" else max(d, 2)
        doc = f"The probability of each class for the rows of X, (n, {n}): (n, {width})."
        labels = "0 or 1 for each label" if kind == "labels" else "The label"
        return [
            _function("predict_proba", doc, [*lines, *self._probabilities(z)]),
            _function("predict", f"{labels} of each row of X, (n, {n}).", self._labels()),
        ]

    def _input(self) -> Iterator[str]:
        n, table = self.model.n_inputs, self.model.numeric_input
        yield f'X = np.asarray(X, "{self.model.input_dtype}")'
        yield f"if X.ndim != 2 or X.shape[1] != {n}:"
        yield f'    raise ValueError(f"X must have shape (n, {n}); got {{X.shape}}")'
        if table is not None:
            self.constants |= {"median": table.median, "mean": table.mean, "scale": table.scale}
            yield "X = np.where(np.isnan(X), median, X)"
            cast = "" if self.model.dtype == self.model.input_dtype else f'.astype("{self.model.dtype}")'
            yield f"X = ((X - mean) / scale){cast}"

    def _forward(self) -> Iterator[str]:
        """One line for each operation; matrices and the like are numbered layer by layer."""
        layers: Counter[str] = Counter()
        for operation, made in zip(self.model.operations, self.model.makes, strict=True):
            layers[operation.kind] += 1
            name = self.names[made]
            value = getattr(self, f"_{operation.kind}")(operation, layers[operation.kind])
            if value != name:  # as it is where the identity reads h
                yield f"{name} = {value}"

    def _constant(self, name: str, array: np.ndarray | None) -> str:
        if array is not None:
            self.constants[name] = array
        return name

    def _helper(self, *names: str) -> None:
        self.helpers += [name for name in names if name not in self.helpers]

    def _linear(self, operation: Operation, layer: int) -> str:
        weight, bias = self.model.affine(operation)
        product = f"{self.names[operation.source]} @ {self._constant(f'W{layer}', weight)}.T"
        return product if bias is None else f"{product} + {self._constant(f'b{layer}', bias)}"

    def _activation(self, operation: Operation, layer: int) -> str:
        expression = EXPRESSIONS[operation.activation]
        self._helper(*expression.helpers)
        return expression.text.format(z=self.names[operation.source], alpha=repr(operation.alpha))

    def _batch_norm(self, operation: Operation, layer: int) -> str:
        mean, deviation = self.model.running(operation)
        names = self._constant(f"mean{layer}", mean), self._constant(f"deviation{layer}", deviation)
        normalized = f"({self.names[operation.source]} - {names[0]}) / {names[1]}"
        return self._scaled(normalized, operation, f"{layer}")

    def _layer_norm(self, operation: Operation, layer: int) -> str:
        h = self.names[operation.source]
        mean, variance = (f"{h}.{moment}(axis=1, keepdims=True)" for moment in ("mean", "var"))
        normalized = f"({h} - {mean}) / np.sqrt({variance} + {operation.epsilon!r})"
        return self._scaled(normalized, operation, f"_row{layer}")

    def _scaled(self, normalized: str, operation: Operation, ending: str) -> str:
        gamma, beta = self.model.affine(operation)
        if gamma is not None:
            normalized += f" * {self._constant(f'gamma{ending}', gamma)}"
        return normalized if beta is None else f"{normalized} + {self._constant(f'beta{ending}', beta)}"

    def _add(self, operation: Operation, layer: int) -> str:
        return f"{self.names[operation.source]} + {self.names[operation.second]}"

    def _regression(self, z: str) -> Iterator[str]:
        if self.model.link == "exp":
            yield f"y = np.exp({z})"
        elif self.model.target_scale is not None and self.model.target_mean is not None:
            self.constants |= {"target_scale": self.model.target_scale, "target_mean": self.model.target_mean}
            yield f'y = ({z} * target_scale + target_mean).astype("{self.model.dtype}")'
        else:
            yield f"y = {z}"

    def _probabilities(self, z: str) -> Iterator[str]:
        self._helper("softmax" if self.model.link == "softmax" else "sigmoid")
        if self.model.link == "softmax" or self.model.kind == "labels":
            yield f"return {'softmax' if self.model.link == 'softmax' else 'sigmoid'}({z})"
            return
        yield f"p = sigmoid({z})"
        yield "return np.hstack([1 - p, p])"

    def _labels(self) -> Iterator[str]:
        if self.model.kind == "labels":
            yield "return (predict_proba(X) > 0.5).astype(int)"
            return
        if self.model.classes is not None:
            self.constants["classes"] = self.model.classes
        if self.model.link == "softmax":
            yield "return classes[predict_proba(X).argmax(axis=1)]"
        else:
            yield "return classes[(predict_proba(X)[:, 1] > 0.5).astype(int)]"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def _value_names(model: Exported) -> dict[int, str]:
    """What each value is called: X, z after a linear layer, else h; numbered where it is read again later."""
    reads = [{operation.source, operation.second} for operation in model.operations] + [{model.output}]
    names = {0: "X"}
    for k, (operation, made) in enumerate(zip(model.operations, model.makes, strict=True)):
        letter = "z" if operation.kind == "linear" else "h"
        is_read_later = any(made in read for read in reads[k + 2 :])
        names[made] = f"{letter}{k + 1}" if is_read_later else letter
    return names


def _function(name: str, doc: str, lines: Any) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f'\ndef {name}(X):\n    """{doc}"""\n{body}'


def _literal(values: np.ndarray) -> str:
    """An array as Python writes it; a long one of numbers as base64."""
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
