"""One program, two libraries: PyTorch and the tape.

A program is a function of ``xp``, a namespace with PyTorch's names, and of leaves: float64, of given shapes,
the same numbers in both. It is run with both, and what it returns and the gradients of its leaves must
agree, or both libraries must raise RuntimeError.
"""

import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from chainrule import tape

DOMAINS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "any": lambda x: x,
    "positive": lambda x: np.abs(x) + 0.5,
    "above one": lambda x: np.abs(x) + 1.5,
    "unit": lambda x: np.tanh(x) * 0.9,
}


class Program(NamedTuple):
    """A function to be run with both libraries.

    ``backward``: whether the harness goes back from what it returns, or the program does so by itself.
    ``raises``: whether both libraries are to raise RuntimeError; otherwise neither may.
    """

    name: str
    function: Callable
    shapes: tuple
    backward: bool
    raises: bool
    domain: str


class Programs(dict):
    """Programs by name."""

    def add(
        self, name: str, function: Callable, *shapes: tuple, backward: bool = True, raises: bool = False,
        domain: str = "any",
    ) -> None:  # fmt: skip
        assert name not in self, name
        self[name] = Program(name, function, shapes, backward, raises, domain)

    def loss(self, *shapes: tuple, domain: str = "any", raises: bool = False) -> Callable:
        """A program whose results the harness sums with weights, and goes backward from."""
        return self._decorator(shapes, domain=domain, raises=raises)

    def walk(self, *shapes: tuple, domain: str = "any", raises: bool = False) -> Callable:
        """A program that goes backward by itself and returns what it saw."""
        return self._decorator(shapes, domain=domain, raises=raises, backward=False)

    def _decorator(self, shapes: tuple, **options: Any) -> Callable:
        def register(function: Callable) -> Callable:
            self.add(function.__name__.strip("_"), function, *shapes, **options)
            return function

        return register

    def cases(self) -> Any:
        return pytest.mark.parametrize("program", self.values(), ids=[*self])


def libraries() -> tuple[SimpleNamespace, SimpleNamespace]:
    """PyTorch and the tape, by PyTorch's names."""
    torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
    names = (
        "tensor", "no_grad", "enable_grad", "set_grad_enabled", "is_grad_enabled", "where", "cat", "stack",
        "einsum", "maximum", "minimum", "float32", "float64", "int64",
    )  # fmt: skip
    reference = SimpleNamespace(grad=torch.autograd.grad, **{name: getattr(torch, name) for name in names})
    ours = SimpleNamespace(
        tensor=tape.tensor, grad=tape.grad, no_grad=tape.no_grad, enable_grad=tape.enable_grad,
        set_grad_enabled=tape.set_grad_enabled, is_grad_enabled=tape.is_grad_enabled, where=np.where,
        cat=lambda parts, dim=0: np.concatenate(parts, axis=dim),
        stack=lambda parts, dim=0: np.stack(parts, axis=dim),
        einsum=np.einsum, maximum=np.maximum, minimum=np.minimum,
        float32=np.float32, float64=np.float64, int64=np.int64,
    )  # fmt: skip
    return reference, ours


class Outcome(NamedTuple):
    values: Any
    gradients: list
    error: RuntimeError | None


def run(xp: SimpleNamespace, program: Program) -> Outcome:
    rng = np.random.default_rng(zlib.crc32(program.name.encode()))
    leaves = [
        xp.tensor(DOMAINS[program.domain](rng.normal(size=shape)), requires_grad=True)
        for shape in program.shapes
    ]
    values, error = None, None
    try:
        values = program.function(xp, *leaves)
        if program.backward:
            _loss(xp, values, rng).backward()
    except RuntimeError as raised:
        error = raised
    return Outcome(observed(values), [observed(leaf.grad) for leaf in leaves], error)


def _loss(xp: SimpleNamespace, values: Any, rng: np.random.Generator) -> Any:
    """The results, weighted at random and summed."""
    parts = [
        (value * xp.tensor(rng.normal(size=tuple(value.shape)))).sum()
        for value in (values if isinstance(values, tuple | list) else [values])
        if value.requires_grad
    ]
    return sum(parts[1:], parts[0])


def observed(value: Any) -> Any:
    """What can be compared: arrays in place of tensors."""
    if isinstance(value, tuple | list):
        return [observed(item) for item in value]
    if hasattr(value, "detach"):
        options = (
            {"force": True} if type(value).__module__.startswith("torch") else {}
        )  # of zeros that take no memory
        return np.array(value.detach().numpy(**options))
    return value


def assert_same(theirs: Any, ours: Any) -> None:
    if isinstance(theirs, np.ndarray):
        assert isinstance(ours, np.ndarray)
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        tolerance = 1e-5 if theirs.dtype == np.float32 else 1e-10
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    elif isinstance(theirs, list):
        assert isinstance(ours, list)
        assert len(ours) == len(theirs)
        for one, other in zip(theirs, ours, strict=True):
            assert_same(one, other)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-10, abs=1e-10)
    else:
        assert ours == theirs


def check(program: Program) -> None:
    """Both libraries come to the same."""
    theirs, ours = (run(xp, program) for xp in libraries())
    assert (theirs.error is not None) == program.raises, f"PyTorch: {theirs.error}"
    assert (ours.error is not None) == program.raises, f"chainrule: {ours.error}"
    if not program.raises:
        assert_same(theirs.values, ours.values)
        assert_same(theirs.gradients, ours.gradients)
