"""What a page is made of: formulas that can be written as text or as LaTeX, in symbols or in numbers.

A formula is a row of tokens. A ``Symbol`` may carry its value, so that the same formula is written once with
symbols and once, by ``in_numbers``, with what they stand for, as one does by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = [
    "DOT",
    "EQUALS",
    "GETS",
    "HADAMARD",
    "MINUS",
    "MOST_COLUMNS",
    "MOST_ROWS",
    "OVER",
    "PLUS",
    "TIMES",
    "Block",
    "Equations",
    "Expression",
    "Filled",
    "Heading",
    "Line",
    "Mark",
    "Page",
    "Paragraph",
    "Prose",
    "Symbol",
    "Table",
    "Token",
    "Value",
    "entries",
    "formula",
    "holds_matrix",
    "in_numbers",
    "in_shapes",
    "is_abbreviated",
    "needs_brackets",
    "number",
    "one_line",
    "prose_in_numbers",
    "value_of",
]

# A matrix of more rows or columns, so of more than 200 numbers in any case, is shown by its edges.
MOST_ROWS = 20
MOST_COLUMNS = 10
_EDGE = 3
# What a negative number must not follow without brackets.
_OPERATORS = ("+", "-", "*", "/", "^", "⊙", r"\cdot", r"\odot")


# -- tokens ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """Writing that stands for itself: an operator, a bracket, the name of a function."""

    text: str
    latex: str


@dataclass(frozen=True, eq=False)
class Symbol:
    """The name of a quantity, with its value (a float, or a matrix) and its shape where they are known."""

    text: str
    latex: str
    value: float | np.ndarray | None = None
    shape: tuple[int | str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Value:
    """A number or a matrix."""

    value: float | np.ndarray


@dataclass(frozen=True, eq=False)
class Filled:
    """A record's formula with some of its variables replaced, by other symbols or by numbers.

    ``replacements`` goes by the variable's name in the text; a Greek letter is a command in the LaTeX.
    """

    text: str
    latex: str
    replacements: Mapping[str, Symbol | Value]


Token = Mark | Symbol | Value | Filled
Expression = tuple[Token, ...]
# Words, with formulas among them. The words are ASCII.
Prose = tuple[str | Token | Expression, ...]

EQUALS = Mark(" = ", " = ")
GETS = Mark(" ← ", r" \leftarrow ")
PLUS = Mark(" + ", " + ")
MINUS = Mark(" - ", " - ")
OVER = Mark(" / ", " / ")
TIMES = Mark(" ", r"\, ")  # between symbols, where by hand nothing is written
DOT = Mark(" * ", r" \cdot ")  # between numbers
HADAMARD = Mark(" ⊙ ", r" \odot ")


def formula(*parts: str | Token | Expression) -> Expression:
    """One row of tokens; a string, such as a bracket, is written alike in both."""
    tokens: list[Token] = []
    for part in parts:
        if isinstance(part, str):
            tokens.append(Mark(part, part))
        elif isinstance(part, tuple):
            tokens.extend(part)
        else:
            tokens.append(part)
    return tuple(tokens)


def holds_matrix(expression: Expression) -> bool:
    """Whether a matrix is written in it."""
    return any(isinstance(token, Value) and np.ndim(token.value) == 2 for token in expression)


def in_numbers(expression: Expression) -> Expression:
    """The same formula with values in place of symbols."""
    filled = tuple(_in_numbers(token) for token in expression)
    if holds_matrix(filled):
        return filled
    return tuple(DOT if token in (TIMES, HADAMARD) else token for token in filled)


def _in_numbers(token: Token) -> Token:
    if isinstance(token, Filled):
        return replace(token, replacements={name: _value(one) for name, one in token.replacements.items()})
    return _value(token) if isinstance(token, Symbol) else token


def _value(one: Symbol | Value) -> Symbol | Value:
    return Value(one.value) if isinstance(one, Symbol) and one.value is not None else one


def value_of(symbol: Symbol) -> Value:
    """The value of a symbol that has one."""
    assert symbol.value is not None
    return Value(symbol.value)


def prose_in_numbers(prose: Prose) -> Prose:
    """The same words with values in place of the symbols among them."""
    return tuple(one if isinstance(one, str | tuple) else _in_numbers(one) for one in prose)


def joined(prose: Prose, words: Callable[[str], str], formula: Callable[[Expression], str]) -> str:
    """Words and formulas, with a space between them unless a sign of punctuation follows."""
    text = ""
    for one in prose:
        piece = words(one) if isinstance(one, str) else formula(one if isinstance(one, tuple) else (one,))
        text += piece if not text or piece[:1] in ",.;:)" else f" {piece}"
    return text


def in_shapes(expression: Expression) -> Expression:
    """The same formula with shapes in place of symbols: (n, 784) (784, 128) + (128,)."""
    return tuple(_shape_mark(token) if isinstance(token, Symbol) else token for token in expression)


def _shape_mark(symbol: Symbol) -> Token:
    if symbol.shape is None:
        return symbol
    words = ", ".join(map(str, symbol.shape)) + ("," if len(symbol.shape) == 1 else "")
    return Mark(f"({words})", f"({words})")


# -- numbers ---------------------------------------------------------------------------------------


def number(value: float, digits: int) -> str:
    """A number to so many significant digits.

    Examples
    --------
    >>> number(-0.52246, 4), number(784.0, 4), number(-0.0, 4)
    ('-0.5225', '784', '0')
    """
    return "0" if value == 0 else f"{value:.{digits}g}"


def is_abbreviated(value: Any) -> bool:
    """Whether only the edges of a matrix are shown."""
    rows, columns = np.shape(value) if np.ndim(value) == 2 else (1, 1)
    return bool(rows > MOST_ROWS or columns > MOST_COLUMNS)


def entries(matrix: np.ndarray, write: Callable[[float], str], dots: tuple[str, str]) -> list[list[str]]:
    """The entries of a matrix as they are written; ``dots`` stand for columns and for rows left out."""
    rows = _edges(len(matrix), MOST_ROWS)
    columns = _edges(matrix.shape[1], MOST_COLUMNS)
    return [
        [
            dots[1] if i is None else dots[0] if j is None else write(float(matrix[i, j]))
            for j in columns
        ]
        for i in rows
    ]  # fmt: skip


def _edges(length: int, most: int) -> list[int | None]:
    if length <= most:
        return list(range(length))
    return [*range(_EDGE), None, *range(length - _EDGE, length)]


def needs_brackets(before: str, value: float) -> bool:
    """Whether a negative number stands after an operator: 2 * (-1)."""
    return value < 0 and before.rstrip().endswith(_OPERATORS)


# -- a record's formula with its variables replaced ------------------------------------------------

# An argument of LaTeX that is a word, a command, a word, a number, or any other character.
_PIECE = re.compile(
    r"\\(?:begin|end|mathbf|mathrm|operatorname|text)\{[^}]*\}|\\[A-Za-z]+|[A-Za-z]\w*|\d+\.?\d*|\s+|.",
    re.DOTALL,
)
_GREEK = ("alpha", "beta", "gamma", "delta", "epsilon", "lambda")


def one_line(token: Filled, write: Callable[[Symbol | Value], str], *, latex: bool) -> str:
    """A filled formula; ``write`` writes what is put in.

    A number is given what it needs by hand: brackets where it is negative and follows an operator, a sign
    of multiplication where it follows another factor.

    Examples
    --------
    >>> token = Filled("y z - log(z)", "", {"y": Value(2.0), "z": Value(-3.0)})
    >>> one_line(token, lambda one: f"{one.value:g}", latex=False)
    '2 * (-3) - log(-3)'
    """
    names = {
        f"\\{name}" if latex and name in _GREEK else name: one for name, one in token.replacements.items()
    }
    written, after_factor = "", False
    for piece in _pieces(token.latex if latex else token.text, latex):
        one = names.get(piece)
        if isinstance(one, Value):
            if after_factor:
                written = written.rstrip() + (r" \cdot " if latex else " * ")
            written += _bracketed(written, write(one), float(one.value), latex)
        else:
            written += piece if one is None else write(one)
        after_factor = (
            isinstance(one, Value)
            or piece[0].isdigit()
            or piece in (")", "}")
            or (after_factor and piece.isspace())
        )
    return written


def _bracketed(before: str, put: str, value: float, latex: bool) -> str:
    if latex and before.endswith("^"):
        return f"{{{put}}}"
    return f"({put})" if needs_brackets(before, value) else put


def _pieces(source: str, latex: bool) -> list[str]:
    pieces = _PIECE.findall(source)
    # In LaTeX letters that stand together are a product; with an index, y_c, they are no variable y.
    return [part for piece in pieces for part in (list(piece) if latex and piece.isalpha() else [piece])]


# -- pages -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A numbered chain of equalities: what stands left, then one formula after another.

    ``tag`` is the number of the equation in the chapter, without its brackets; "" for none. ``relation``
    stands after the first formula. ``shape`` is the formula in shapes, where it has no numbers.
    """

    tag: str
    steps: tuple[Expression, ...]
    relation: Mark = EQUALS
    remark: Prose = ()
    shape: Expression = ()

    @property
    def has_matrix(self) -> bool:
        """Whether any of its formulas holds a matrix in numbers."""
        return any(holds_matrix(step) for step in self.steps)


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    words: Prose


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    words: Prose


@dataclass(frozen=True)
class Equations:
    """Lines one below the other."""

    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Table:
    """Cells of prose; every column but the first is aligned to the right where ``numeric``."""

    header: tuple[str, ...]
    rows: tuple[tuple[Prose, ...], ...]
    numeric: bool = False


Block = Heading | Paragraph | Equations | Table


@dataclass(frozen=True)
class Page:
    """A title and what is below it."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def is_abbreviated(self) -> bool:
        """Whether any matrix on it is shown by its edges only."""
        return any(
            isinstance(token, Value) and is_abbreviated(token.value)
            for block in self.blocks
            if isinstance(block, Equations)
            for line in block.lines
            for step in line.steps
            for token in step
        )
