"""Derivatives as functions: ``grad``, products with Jacobians and Hessians, and whole ones."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.tape import mode
from chainrule.tape.graph import walk_back
from chainrule.tape.primitive import history
from chainrule.tape.tensor import Tensor, _edge_of_output, _start

__all__ = ["grad", "hessian", "hvp", "jacobian", "jvp", "vjp"]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of outputs with respect to inputs, without touching anyone's ``grad``.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
        Several outputs are summed, each times its ``grad_outputs``.
    grad_outputs : array_like or sequence of array_like, optional
        The gradient with respect to each output; 1 for outputs of one entry.
    retain_graph : bool, optional
        Keep the graph for another pass; by default as ``create_graph``.
    create_graph : bool
        Record this pass, so that the results can be differentiated again.
    allow_unused : bool
        Give None for an input that the outputs do not depend on, instead of an error.

    Returns
    -------
    tuple of Tensor

    Raises
    ------
    RuntimeError
        If an input requires no gradient or is not used; and as in ``Tensor.backward``.

    Examples
    --------
    The third derivative of x⁴ at 2 is 24 x = 48.

    >>> from chainrule.tape import tensor
    >>> x = tensor(2.0, requires_grad=True)
    >>> y = x**4
    >>> for _ in range(3):
    ...     (y,) = grad(y, x, create_graph=True)
    >>> y.item()
    48.0
    """
    many_outputs = _listed("outputs", outputs)
    many_inputs = _listed("inputs", inputs)
    starts = [None] * len(many_outputs) if grad_outputs is None else grad_outputs
    if isinstance(starts, Tensor | np.ndarray) or not isinstance(starts, Sequence):
        starts = [starts]
    if len(starts) != len(many_outputs):
        raise ValueError(f"grad_outputs must be as many as outputs, {len(many_outputs)}; got {len(starts)}")
    edges = []
    for number, one in enumerate(many_inputs):
        edge = history(one)
        if edge is None:
            raise RuntimeError(f"input {number} does not require grad")
        edges.append(edge)
    roots = [
        (_edge_of_output(output), _start(output, start, create_graph))
        for output, start in zip(many_outputs, starts, strict=True)
    ]
    keep = create_graph if retain_graph is None else retain_graph
    found = walk_back(roots, keep=keep, create_graph=create_graph, inputs=edges)
    missing = [number for number, one in enumerate(found) if one is None]
    if missing and not allow_unused:
        raise RuntimeError(
            f"input {missing[0]} was not used in computing the outputs; allow_unused=True gives None for it"
        )
    return tuple(
        one if one is None or isinstance(one, Tensor) else Tensor._bare(np.array(one)) for one in found
    )


def _listed(name: str, tensors: Any) -> list[Tensor]:
    many = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for one in many:
        if not isinstance(one, Tensor):
            raise TypeError(f"{name} must be Tensors; got {type(one).__name__}")
    return many


def _fresh(inputs: Any) -> list[Tensor]:
    """What to differentiate by: leaves, or new names of tensors that require a gradient."""
    many = [inputs] if isinstance(inputs, Tensor | np.ndarray) else list(inputs)
    made = []
    for one in many:
        one = one if isinstance(one, Tensor) else Tensor(np.asarray(one))
        if one.dtype.kind != "f":
            raise TypeError(f"inputs must be float32 or float64; got {one.dtype}")
        if one.requires_grad and mode.state.recording:
            made.append(one.reshape(one.shape))
        else:
            made.append(one.detach().requires_grad_())
    return made


def _values(function: Callable, inputs: list[Tensor]) -> Tensor:
    with mode.enable_grad():
        output = function(*inputs)
    if not isinstance(output, Tensor):
        raise TypeError(f"function must return a Tensor; got {type(output).__name__}")
    return output


def _like(gradients: Sequence[Tensor | None], inputs: list[Tensor]) -> list[Tensor]:
    """Zeros where the output does not depend on an input."""
    return [
        Tensor(np.zeros(x.shape, x.dtype)) if g is None else g for g, x in zip(gradients, inputs, strict=True)
    ]


def _as_given(results: list, inputs: Any) -> Any:
    return results[0] if isinstance(inputs, Tensor | np.ndarray) else tuple(results)


def _pulled_back(output: Tensor, inputs: list[Tensor], v: Any, create_graph: bool) -> list[Tensor]:
    if not output.requires_grad:
        return _like([None] * len(inputs), inputs)
    found = grad(output, inputs, v, retain_graph=True, create_graph=create_graph, allow_unused=True)
    return _like(found, inputs)


def vjp(function: Callable, inputs: Any, v: Any = None, create_graph: bool = False) -> tuple[Tensor, Any]:
    """The output, and vᵀJ: the product of a cotangent with the Jacobian, one backward pass.

    Examples
    --------
    >>> vjp(lambda x: x * x, np.array([1.0, 2.0]), np.array([1.0, 10.0]))[1]
    tensor([ 2., 40.], dtype=float64)
    """
    fresh = _fresh(inputs)
    output = _values(function, fresh)
    results = _pulled_back(output, fresh, v, create_graph)
    return (output if create_graph else output.detach()), _as_given(results, inputs)


def jvp(function: Callable, inputs: Any, v: Any, create_graph: bool = False) -> tuple[Tensor, Tensor]:
    """The output, and J v: the derivative in a direction.

    By two backward passes: uᵀJ is linear in u, and its derivative with respect to u, times v, is J v.

    Examples
    --------
    >>> jvp(lambda x: x * x, np.array([1.0, 2.0]), np.array([1.0, 10.0]))[1]
    tensor([ 2., 40.], dtype=float64)
    """
    fresh = _fresh(inputs)
    directions = [v] if isinstance(inputs, Tensor | np.ndarray) else list(v)
    if len(directions) != len(fresh):
        raise ValueError(
            f"v must have a direction for each of the {len(fresh)} inputs; got {len(directions)}"
        )
    output = _values(function, fresh)
    with mode.enable_grad():
        u = Tensor(np.zeros(output.shape, output.dtype), requires_grad=True)
        pulled = _pulled_back(output, fresh, u, create_graph=True)
    used = [(g, d) for g, d in zip(pulled, directions, strict=True) if g.requires_grad]
    if not used:
        return output.detach(), Tensor(np.zeros(output.shape, output.dtype))
    (result,) = grad(
        [g for g, _ in used], u, [d for _, d in used], create_graph=create_graph, allow_unused=True
    )
    result = Tensor(np.zeros(output.shape, output.dtype)) if result is None else result
    return (output if create_graph else output.detach()), result


def jacobian(function: Callable, inputs: Any, create_graph: bool = False) -> Any:
    """∂(output)/∂(input): of shape output.shape + input.shape, a backward pass an entry of the output.

    Examples
    --------
    >>> jacobian(lambda x: np.sin(x) * x[0], np.array([0.0, 1.0])).shape
    (2, 2)
    """
    fresh = _fresh(inputs)
    output = _values(function, fresh)
    rows: list[list[Tensor]] = [[] for _ in fresh]
    for place in range(output.size):
        unit = np.zeros(output.size, output.dtype)
        unit[place] = 1
        pulled = _pulled_back(output, fresh, unit.reshape(output.shape), create_graph)
        for row, one in zip(rows, pulled, strict=True):
            row.append(one)
    results = [
        np.stack(row).reshape(output.shape + x.shape)
        if row else Tensor(np.zeros(output.shape + x.shape, x.dtype))
        for row, x in zip(rows, fresh, strict=True)
    ]  # fmt: skip
    return _as_given(results, inputs)


def _gradient_function(function: Callable, one: bool) -> Callable:
    def gradient(*inputs: Tensor) -> Any:
        output = function(*inputs)
        if output.size != 1:
            raise ValueError(f"function must return one number; got shape {output.shape}")
        with mode.enable_grad():
            found = _pulled_back(output, list(inputs), None, create_graph=True)
        return found[0] if one else found

    return gradient


def hessian(function: Callable, inputs: Any, create_graph: bool = False) -> Any:
    """The second derivatives of a function of one number: of one tensor a matrix, of several a table of them.

    Examples
    --------
    >>> hessian(lambda x: (x**3).sum(), np.array([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]], dtype=float64)
    """
    if isinstance(inputs, Tensor | np.ndarray):
        return jacobian(_gradient_function(function, True), inputs, create_graph)
    inputs = tuple(inputs)
    return tuple(
        jacobian(lambda *x, _i=index: _gradient_function(function, False)(*x)[_i], inputs, create_graph)
        for index in range(len(inputs))
    )


def hvp(function: Callable, inputs: Any, v: Any) -> tuple[Tensor, Any]:
    """The value, and the Hessian times v: two backward passes, no Hessian formed (Pearlmutter 1994).

    Examples
    --------
    >>> hvp(lambda x: (x**3).sum(), np.array([1.0, 2.0]), np.array([1.0, 1.0]))[1]
    tensor([ 6., 12.], dtype=float64)
    """
    fresh = _fresh(inputs)
    directions = [v] if isinstance(inputs, Tensor | np.ndarray) else list(v)
    output = _values(function, fresh)
    gradients = _gradient_function(lambda *_: output, False)(*fresh)
    used = [(g, d) for g, d in zip(gradients, directions, strict=True) if g.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(fresh)
    if used:
        found = grad([g for g, _ in used], fresh, [d for _, d in used], allow_unused=True)
    return output.detach(), _as_given(_like(found, fresh), inputs)
