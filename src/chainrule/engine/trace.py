"""Optimizer rules, which are plain Python on numbers, as straight-line programs on vectors.

A rule's ``scalar_update`` is run once on ``Traced`` numbers that write down what is done with them. What
comes out is a list of instructions, ``Program``, which is then run on whatever has such instructions: vectors
of an ``Emitter``, or arrays in a test. Where the rule decides between two things (``a if c > 0 else b``,
``max``), it is run once for each answer, and the results are selected by the answer, lane by lane.

Whether a·b + c is one instruction is decided here, once: a product that is added to something, or from which
something is subtracted, is fused with that. A kernel that follows the program therefore computes the same
bits wherever it does so.
"""

import math
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["COEFFICIENTS", "INPUTS", "Program", "trace"]

COEFFICIENTS = 8
INPUTS = ("w", "first", "second", "g", *(f"c[{k}]" for k in range(COEFFICIENTS)))

# A rule that decides more often is one whose loop would never end.
MOST_DECISIONS = 8

ALLOWED = "+, -, *, /, whole powers, abs, comparisons, min, max and math.sqrt"


@dataclass(frozen=True)
class Program:
    """Instructions in order, each (name, operands): "input" and "constant", else numbers of earlier ones.

    Attributes
    ----------
    instructions : tuple of tuple
    results : tuple of int
        Which instructions give the new w, first and second.
    """

    instructions: tuple[tuple, ...]
    results: tuple[int, int, int]

    def run(self, machine: Any, inputs: Sequence[Any], known: dict[int, Any]) -> tuple[Any, Any, Any]:
        """Follow the program with the instructions of ``machine``, except for values known already."""
        values = dict(known)
        for place, instruction in enumerate(self.instructions):
            if place not in values:
                values[place] = _follow(machine, instruction, inputs, values)
        first, second, third = (values[place] for place in self.results)
        return first, second, third

    def settle(self, machine: Any, inputs: Sequence[Any]) -> dict[int, Any]:
        """The values that are the same for every parameter: of the coefficients and constants alone."""
        values: dict[int, Any] = {}
        for place, (name, *operands) in enumerate(self.instructions):
            settled = operands[0] >= len(INPUTS) - COEFFICIENTS if name == "input" else name == "constant"
            if settled or (name != "input" and all(operand in values for operand in operands)):
                values[place] = _follow(machine, (name, *operands), inputs, values)
        return values


def _follow(machine: Any, instruction: tuple, inputs: Sequence[Any], values: dict[int, Any]) -> Any:
    name, *operands = instruction
    if name == "input":
        return inputs[operands[0]]
    if name == "constant":
        return machine.splat(operands[0])
    return getattr(machine, name)(*(values[operand] for operand in operands))


def trace(rule: Any) -> Program:
    """The program of an ``UpdateRule``'s ``scalar_update``.

    Raises
    ------
    TypeError
        If the rule does something that has no instruction.
    """
    recorder = _Recorder()
    function = _with_traced_math(rule.scalar_update, {})
    try:
        results = recorder.explore(function, {})
    except Exception as error:
        raise TypeError(
            f"the optimizer rule {rule.name!r} cannot be compiled, {type(error).__name__}: {error}; "
            f"scalar_update may use {ALLOWED}"
        ) from error
    return recorder.program(results)


class _Undecided(BaseException):
    """Raised to leave a rule where it asks for an answer that it has not been given."""

    def __init__(self, condition: int) -> None:
        self.condition = condition


class _Recorder:
    """Writes instructions down; the same instruction is written once."""

    def __init__(self) -> None:
        self.written: list[tuple] = []
        self.places: dict[tuple, int] = {}
        self.answers: dict[int, bool] = {}

    def record(self, name: str, *operands: Any) -> int:
        """The place of an instruction, written if it has not been."""
        instruction = (name, *operands)
        if instruction not in self.places:
            self.places[instruction] = len(self.written)
            self.written.append(instruction)
        return self.places[instruction]

    def number(self, value: Any) -> int:
        """The place of a traced number, or of a constant."""
        if isinstance(value, Traced):
            return value.place
        if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
            raise TypeError(f"a number was expected; got {type(value).__name__}")
        return self.record("constant", float(value))

    def explore(self, function: Callable, answers: dict[int, bool]) -> tuple[int, ...]:
        """The places of the results, over all answers that have not been given."""
        self.answers = answers
        inputs = [Traced(self, self.record("input", k)) for k in range(len(INPUTS))]
        try:
            results = function(*inputs[:-COEFFICIENTS], tuple(inputs[-COEFFICIENTS:]))
        except _Undecided as question:
            condition = question.condition
        else:
            if not isinstance(results, tuple) or len(results) != 3:
                raise TypeError(f"it must return (w, first, second); got {results!r}")
            return tuple(self.number(result) for result in results)
        if len(answers) >= MOST_DECISIONS:
            raise ValueError(f"it decides more than {MOST_DECISIONS} times what to do")
        yes, no = (self.explore(function, {**answers, condition: answer}) for answer in (True, False))
        return tuple(
            a if a == b else self.record("select", condition, a, b) for a, b in zip(yes, no, strict=True)
        )

    def program(self, results: tuple[int, ...]) -> Program:
        """What the results need, numbered anew."""
        written, needed = self.written, set()

        def need(place: int) -> None:
            if place not in needed:
                needed.add(place)
                name, *operands = written[place]
                if name not in ("input", "constant"):
                    for operand in operands:
                        need(operand)

        for place in results:
            need(place)
        numbers = {place: number for number, place in enumerate(sorted(needed))}

        def renumbered(name: str, *operands: Any) -> tuple:
            plain = name in ("input", "constant")
            return (name, *(operand if plain else numbers[operand] for operand in operands))

        w, first, second = (numbers[place] for place in results)
        return Program(tuple(renumbered(*written[place]) for place in sorted(needed)), (w, first, second))


class Traced:
    """A number that writes down what is done with it."""

    def __init__(self, recorder: _Recorder, place: int) -> None:
        self.recorder, self.place = recorder, place

    def _then(self, name: str, *operands: Any) -> "Traced":
        places = [self.recorder.number(operand) for operand in operands]
        return Traced(self.recorder, self.recorder.record(name, *places))

    def _factors(self) -> "tuple[Traced, Traced] | None":
        """The two factors of a product."""
        name, *operands = self.recorder.written[self.place]
        if name != "multiply":
            return None
        a, b = (Traced(self.recorder, operand) for operand in operands)
        return a, b

    def __add__(self, other: Any) -> "Traced":
        if factors := self._factors():
            return self._then("multiply_add", *factors, other)
        if isinstance(other, Traced) and (factors := other._factors()):
            return self._then("multiply_add", *factors, self)
        return self._then("add", self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> "Traced":
        if factors := self._factors():
            return self._then("multiply_add", *factors, -other)
        if isinstance(other, Traced) and (factors := other._factors()):
            a, b = factors
            return self._then("multiply_add", -a, b, self)
        return self._then("subtract", self, other)

    def __rsub__(self, other: Any) -> "Traced":
        return Traced(self.recorder, self.recorder.number(other)) - self

    def __mul__(self, other: Any) -> "Traced":
        return self._then("multiply", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Traced":
        return self._then("divide", self, other)

    def __rtruediv__(self, other: Any) -> "Traced":
        return self._then("divide", other, self)

    def __pow__(self, exponent: int) -> "Traced":
        if not isinstance(exponent, int) or exponent < 1:
            raise TypeError(f"a power must be a whole number of at least 1; got {exponent!r}")
        return self if exponent == 1 else self ** (exponent - 1) * self

    def __neg__(self) -> "Traced":
        return self._then("negate", self)

    def __pos__(self) -> "Traced":
        return self

    def __abs__(self) -> "Traced":
        return self._then("absolute", self)

    def sqrt(self) -> "Traced":
        """√x; NumPy's ``sqrt`` looks for this method."""
        return self._then("sqrt", self)

    def __lt__(self, other: Any) -> "_Condition":
        return self._compare("less", self, other)

    def __le__(self, other: Any) -> "_Condition":
        return self._compare("less_equal", self, other)

    def __gt__(self, other: Any) -> "_Condition":
        return self._compare("less", other, self)

    def __ge__(self, other: Any) -> "_Condition":
        return self._compare("less_equal", other, self)

    def __eq__(self, other: Any) -> "_Condition":  # type: ignore[override]
        return self._compare("equal", self, other)

    def __ne__(self, other: Any) -> "_Condition":  # type: ignore[override]
        return self._compare("not_equal", self, other)

    __hash__ = None  # type: ignore[assignment]

    def _compare(self, name: str, a: Any, b: Any) -> "_Condition":
        return _Condition(self.recorder, self._then(name, a, b).place)

    def __bool__(self) -> bool:
        return bool(self != 0.0)


class _Condition:
    """A comparison: true in some lanes, false in others."""

    def __init__(self, recorder: _Recorder, place: int) -> None:
        self.recorder, self.place = recorder, place

    def __bool__(self) -> bool:
        if self.place not in self.recorder.answers:
            raise _Undecided(self.place)
        return self.recorder.answers[self.place]


# -- the module math -------------------------------------------------------------------------------

_TRACED_MATH: dict[Any, Callable] = {math.sqrt: Traced.sqrt, math.fabs: Traced.__abs__}


class _TracedMath:
    """Stands for the module ``math`` in a rule."""

    def __getattr__(self, name: str) -> Any:
        return _traced_function(getattr(math, name))


def _traced_function(function: Any) -> Any:
    """A function of ``math`` that takes traced numbers too; constants as they are."""
    if not callable(function):
        return function

    def call(*arguments: Any) -> Any:
        if not any(isinstance(argument, Traced) for argument in arguments):
            return function(*arguments)
        if function not in _TRACED_MATH:
            raise TypeError(f"math.{function.__name__} has no instruction")
        return _TRACED_MATH[function](*arguments)

    return call


def _with_traced_math(function: Callable, made: dict[Callable, Callable]) -> Callable:
    """A twin of a function, and of every one it calls by name, that finds the traced functions of math."""
    if not isinstance(function, types.FunctionType):
        return function
    if function not in made:
        plain: Any = function
        names = dict(plain.__globals__)
        twin = types.FunctionType(
            plain.__code__, names, plain.__name__, plain.__defaults__, plain.__closure__
        )
        twin.__kwdefaults__ = plain.__kwdefaults__
        made[function] = twin
        for name in plain.__code__.co_names:
            value = names.get(name)
            if value is math:
                names[name] = _TracedMath()
            elif isinstance(value, types.FunctionType):
                names[name] = _with_traced_math(value, made)
            elif isinstance(value, types.BuiltinFunctionType) and value.__module__ == "math":
                names[name] = _traced_function(value)
    return made[function]
