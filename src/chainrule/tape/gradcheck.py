"""Is this gradient right? Finite differences against the tape, naming the entry that is wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.tape import mode
from chainrule.tape.differentiate import grad
from chainrule.tape.tensor import Tensor

# Random directions of an input that are tried where not every entry is; a wrong gradient that one of them
# misses within its tolerance, another finds.
DIRECTIONS = 4

__all__ = ["GradcheckError", "finite_differences", "gradcheck", "gradgradcheck"]


@dataclass(frozen=True)
class Mismatch:
    """One derivative that differs."""

    output: int
    output_entry: tuple[int, ...]
    input: int
    input_entry: tuple[int, ...] | str
    analytic: float
    numeric: float

    def __str__(self) -> str:
        return (
            f"∂ output {self.output}{list(self.output_entry)} / ∂ input {self.input}"
            f"{self.input_entry if isinstance(self.input_entry, str) else list(self.input_entry)}: "
            f"the tape says {self.analytic:.10g}, finite differences {self.numeric:.10g}, "
            f"apart by {abs(self.analytic - self.numeric):.3g}"
        )


class GradcheckError(RuntimeError):
    """A gradient is wrong; ``worst`` is the derivative that differs most, ``n_wrong`` how many do."""

    def __init__(self, worst: Mismatch, n_wrong: int) -> None:
        super().__init__(f"{n_wrong} wrong, the worst: {worst}")
        self.worst = worst
        self.n_wrong = n_wrong


def finite_differences(function: Callable, inputs: Any, eps: float | None = None) -> Any:
    """Central differences of a function of one number: a gradient without backpropagation (claim 8.1).

    Parameters
    ----------
    function : callable
        Of tensors; returns one number.
    inputs : Tensor, array or sequence of them
    eps : float, optional
        The step; by default the cube root of the precision, times the size of the entry where that is above
        1.

    Returns
    -------
    ndarray, or tuple of ndarray for a sequence

    Examples
    --------
    >>> finite_differences(lambda x: (x**2).sum(), np.array([1.0, 3.0])).round(6)
    array([2., 6.])
    """
    one = isinstance(inputs, Tensor | np.ndarray)
    arrays = [np.array(x.data if isinstance(x, Tensor) else x) for x in ([inputs] if one else inputs)]

    def value() -> float:
        with mode.no_grad():
            output = function(*(Tensor(x) for x in arrays))
        return float(output.data if isinstance(output, Tensor) else output)

    gradients = []
    for x in arrays:
        step = eps or float(np.finfo(x.dtype).eps) ** (1 / 3)
        gradient = np.empty(x.shape, x.dtype)
        for entry in np.ndindex(x.shape):
            before = x[entry]
            e = step if eps else step * max(1.0, abs(float(before)))
            sides = []
            for sign in (1, -1):
                x[entry] = before + sign * e
                sides.append((value(), float(x[entry])))
            x[entry] = before
            gradient[entry] = (sides[0][0] - sides[1][0]) / (sides[0][1] - sides[1][1])
        gradients.append(gradient)
    return gradients[0] if one else tuple(gradients)


def _checked_inputs(inputs: Any) -> list[Tensor]:
    many = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for number, x in enumerate(many):
        if not isinstance(x, Tensor):
            raise TypeError(f"inputs must be Tensors; input {number} is {type(x).__name__}")
        if x.requires_grad and x.dtype != np.float64:
            raise ValueError(
                f"inputs must be float64 to be checked: finite differences of {x.dtype} have no digits to "
                f"compare; input {number} is {x.dtype}"
            )
    if not any(x.requires_grad for x in many):
        raise ValueError("inputs: at least one must require grad")
    return many


def _outputs(function: Callable, inputs: Sequence[Tensor]) -> list[Tensor]:
    found = function(*inputs)
    outputs = [found] if isinstance(found, Tensor) else list(found)
    return [one for one in outputs if one.dtype.kind == "f"]


class _Differences:
    """A function with its inputs moved a little."""

    def __init__(self, function: Callable, inputs: list[Tensor], eps: float) -> None:
        self.function, self.inputs, self.eps = function, inputs, eps

    def along(self, number: int, direction: np.ndarray) -> list[np.ndarray]:
        """The derivative of every output in a direction of one input."""
        sides = []
        for sign in (1, -1):
            moved = [x.detach() for x in self.inputs]
            moved[number] = Tensor(self.inputs[number].data + sign * self.eps * direction)
            # The function may take gradients inside.
            leaves = [m.requires_grad_(x.requires_grad) for m, x in zip(moved, self.inputs, strict=True)]
            sides.append([one.data.copy() for one in _outputs(self.function, leaves)])
        return [(a - b) / (2 * self.eps) for a, b in zip(*sides, strict=True)]


def gradcheck(
    function: Callable,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    full: bool = True,
    raise_exception: bool = True,
    rng: Any = 0,
) -> bool:
    """Compare the gradients that the tape gives with central differences.

    Parameters
    ----------
    function : callable
        Of Tensors; returns a Tensor or several.
    inputs : Tensor or sequence of Tensor
        In float64; those that require grad are checked.
    eps : float
        Step of the differences.
    atol, rtol : float
        How far two derivatives may be apart: atol + rtol · |numeric|.
    full : bool
        Check every entry of the Jacobian; False checks its products with random directions on both sides,
        four of an input, which costs eight calls.
    raise_exception : bool
        Raise where they differ; otherwise return False.
    rng : numpy.random.Generator or int
        Of the directions.

    Returns
    -------
    bool
        True.

    Raises
    ------
    GradcheckError
        Names the input, the output and the entry that is wrong, and by how much.
    ValueError
        If an input is float32, or none requires grad.

    Examples
    --------
    >>> from chainrule.tape import tensor
    >>> x = tensor(np.array([0.3, -1.2]), requires_grad=True)
    >>> gradcheck(lambda x: np.tanh(x) * x, x)
    True
    """
    many = _checked_inputs(inputs)
    differences = _Differences(function, many, eps)
    check = _every_entry if full else _random_directions
    wrong = [
        one
        for one in check(function, many, differences, np.random.default_rng(rng))
        if not abs(one.analytic - one.numeric) <= atol + rtol * abs(one.numeric)
    ]
    if wrong and raise_exception:
        worst = max(wrong, key=lambda one: np.nan_to_num(abs(one.analytic - one.numeric), nan=np.inf))
        raise GradcheckError(worst, len(wrong))
    return not wrong


def _pull(output: Tensor, inputs: list[Tensor], number: int, v: np.ndarray) -> np.ndarray:
    """vᵀJ on the tape, zeros where the output does not depend on the input."""
    if not output.requires_grad:
        return np.zeros(inputs[number].shape)
    (found,) = grad(output, inputs[number], v, retain_graph=True, allow_unused=True)
    return np.zeros(inputs[number].shape) if found is None else found.data


def _every_entry(
    function: Callable, inputs: list[Tensor], differences: _Differences, rng: np.random.Generator
) -> Any:
    outputs = _outputs(function, inputs)
    for i, x in enumerate(inputs):
        if not x.requires_grad:
            continue
        rows = []  # of the Jacobian, by output and entry of it
        for o, output in enumerate(outputs):
            for entry in np.ndindex(output.shape):
                v = np.zeros(output.shape, output.dtype)
                v[entry] = 1
                rows.append((o, entry, _pull(output, inputs, i, v)))
        for place in np.ndindex(x.shape):
            direction = np.zeros(x.shape)
            direction[place] = 1
            numeric = differences.along(i, direction)
            for o, entry, row in rows:
                yield Mismatch(o, entry, i, place, float(row[place]), float(numeric[o][entry]))


def _random_directions(
    function: Callable, inputs: list[Tensor], differences: _Differences, rng: np.random.Generator
) -> Any:
    outputs = _outputs(function, inputs)
    for i, x in enumerate(inputs):
        if not x.requires_grad:
            continue
        for _ in range(DIRECTIONS):
            direction = rng.normal(size=x.shape)
            numeric = differences.along(i, direction)
            for o, output in enumerate(outputs):
                v = rng.normal(size=output.shape)
                analytic = float((_pull(output, inputs, i, v) * direction).sum())
                yield Mismatch(o, (), i, " in a random direction", analytic, float((v * numeric[o]).sum()))


def gradgradcheck(function: Callable, inputs: Any, grad_outputs: Any = None, **options: Any) -> bool:
    """Check second derivatives: ``gradcheck`` of the gradient itself.

    Parameters
    ----------
    function, inputs
        As in ``gradcheck``.
    grad_outputs : Tensor or sequence of Tensor, optional
        The cotangents; random ones by default.
    **options
        See ``gradcheck``.

    Examples
    --------
    >>> from chainrule.tape import tensor
    >>> x = tensor(np.array([0.3, -1.2]), requires_grad=True)
    >>> gradgradcheck(lambda x: np.tanh(x) * x, x)
    True
    """
    many = _checked_inputs(inputs)
    outputs = _outputs(function, many)
    if grad_outputs is None:
        rng = np.random.default_rng(options.get("rng", 0))
        grad_outputs = [Tensor(rng.normal(size=one.shape), requires_grad=True) for one in outputs]
    cotangents = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    n = len(many)

    def gradient(*arguments: Tensor) -> list[Tensor]:
        xs, vs = list(arguments[:n]), list(arguments[n:])
        chosen = [x for x in xs if x.requires_grad]
        found = [
            (output, v) for output, v in zip(_outputs(function, xs), vs, strict=True) if output.requires_grad
        ]
        results = grad(
            [o for o, _ in found], chosen, [v for _, v in found], create_graph=True, allow_unused=True
        )  # fmt: skip
        return [
            x * 0 if g is None else g for x, g in zip(chosen, results, strict=True)
        ]  # fmt: skip

    return gradcheck(gradient, [*many, *cotangents], **options)
