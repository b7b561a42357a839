"""A page as plain text: one line an equation, matrices drawn with brackets."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from chainrule.explain.writing import (
    Equations,
    Expression,
    Filled,
    Heading,
    Line,
    Mark,
    Page,
    Paragraph,
    Prose,
    Symbol,
    Table,
    Value,
    entries,
    joined,
    needs_brackets,
    number,
    one_line,
)

__all__ = ["equations_text", "page_text", "prose_text"]

_WIDTH = 100
_TAG = 6
_DOTS = "…", "⋮"


# -- boxes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Box:
    """Text of one or more rows, all equally long, of which one is level with its neighbours."""

    rows: tuple[str, ...]

    @property
    def width(self) -> int:
        return len(self.rows[0])

    @property
    def level(self) -> int:
        return (len(self.rows) - 1) // 2


def _side_by_side(boxes: list[_Box]) -> _Box:
    above = max(box.level for box in boxes)
    below = max(len(box.rows) - box.level for box in boxes)
    rows = [""] * (above + below)
    for box in boxes:
        first = above - box.level
        for i in range(len(rows)):
            inside = first <= i < first + len(box.rows)
            rows[i] += box.rows[i - first] if inside else " " * box.width
    return _Box(tuple(rows))


def _matrix(matrix: np.ndarray, digits: int) -> _Box:
    cells = entries(matrix, lambda value: number(value, digits), _DOTS)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return _Box(tuple(f"[ {row} ]" for row in rows))


# -- formulas --------------------------------------------------------------------------------------


def _written(token: Mark | Symbol | Filled, digits: int) -> str:
    if not isinstance(token, Filled):
        return token.text
    return one_line(token, lambda one: _put_in(one, digits), latex=False)


def _put_in(one: Symbol | Value, digits: int) -> str:
    return one.text if isinstance(one, Symbol) else number(float(one.value), digits)


def _boxes(expression: Expression, digits: int) -> list[_Box]:
    """One box a token; a negative number after an operator has brackets."""
    boxes: list[_Box] = []
    before = ""
    for token in expression:
        if isinstance(token, Value):
            box = _value(token, before, digits)
        else:
            box = _Box((_written(token, digits),))
        before = box.rows[box.level]
        boxes.append(box)
    return boxes


def _value(token: Value, before: str, digits: int) -> _Box:
    if isinstance(token.value, np.ndarray):
        return _matrix(token.value, digits)
    written = number(token.value, digits)
    return _Box((f"({written})" if needs_brackets(before, token.value) else written,))


def _inline(expression: Expression, digits: int) -> str:
    """A formula amid words."""
    boxes = _boxes(expression, digits)
    return "".join(box.rows[0] for box in boxes).strip()


def prose_text(prose: Prose, digits: int) -> str:
    """Words and formulas."""
    return joined(prose, lambda words: words.replace("->", "→"), lambda one: _inline(one, digits))


# -- lines -----------------------------------------------------------------------------------------


def _pieces(line: Line, digits: int) -> list[list[_Box]]:
    """A line in the pieces between which it may be broken: each begins with its equality sign."""
    relations = [Mark("", ""), line.relation, *[Mark(" = ", " = ")] * (len(line.steps) - 2)]
    steps = zip(relations, line.steps, strict=False)
    pieces = [_boxes((relation, *step), digits) for relation, step in steps]
    kept = pieces[:1]
    for piece in pieces[1:]:
        if piece[1:] != kept[-1][1:]:  # a value that is the formula again is not said twice
            kept.append(piece)
    return kept


def _rows(line: Line, digits: int) -> list[_Box]:
    """The rows of boxes that a line is written in."""
    rows: list[list[_Box]] = [[]]
    pieces = _pieces(line, digits)
    indent = sum(box.width for box in pieces[0])

    def room() -> int:
        return _WIDTH - _TAG - sum(box.width for box in rows[-1])

    for number_of, piece in enumerate(pieces):
        width = sum(box.width for box in piece)
        if number_of and width > room() and len(rows[-1]) > 1:
            rows.append([_Box((" " * min(indent, 20),))])
        for box in piece:
            if box.width > room() and len(rows[-1]) > 1:
                rows.append([_Box((" " * min(indent + 3, 23),))])
            rows[-1].append(box)
    return [_side_by_side(row) for row in rows]


def _line(line: Line, digits: int, shape_column: int) -> str:
    rows = _rows(line, digits)
    lines = [row for box in rows for row in _spaced(box, rows)]
    level = rows[0].level
    tag = f"({line.tag})" if line.tag else ""
    lines = [" " * _TAG + row for row in lines]
    lines[level] = tag.rjust(_TAG - 2) + lines[level][_TAG - 2 :]
    level = len(lines) - 1 - (len(rows[-1].rows) - 1 - rows[-1].level)
    if line.shape:
        shape = "".join(box.rows[0] for box in _boxes(line.shape, digits))
        lines[level] = f"{lines[level]:<{shape_column}}   {shape}"
    if line.remark:
        lines = _with_remark(lines, level, prose_text(line.remark, digits))
    return "\n".join(row.rstrip() for row in lines)


def _spaced(box: _Box, rows: list[_Box]) -> tuple[str, ...]:
    """Matrices below each other have a line between them."""
    return (*box.rows, "") if len(box.rows) > 1 and box is not rows[-1] else box.rows


def _with_remark(lines: list[str], level: int, remark: str) -> list[str]:
    if len(lines[level]) + 3 + len(remark) <= _WIDTH + 10:
        lines[level] = f"{lines[level]}   {remark}"
        return lines
    return [*lines, " " * (_TAG + 4) + remark]


def equations_text(block: Equations, digits: int) -> str:
    """Lines one below the other."""
    widths = [_TAG + row.width for line in block.lines if line.shape for row in _rows(line, digits)]
    written = [_line(line, digits, min(max(widths, default=0), 60)) for line in block.lines]
    text = "".join(written[:1])
    for above, one in pairwise(written):
        # Matrices need air.
        text += ("\n\n" if "\n" in above + one else "\n") + one
    return text


# -- pages -----------------------------------------------------------------------------------------


def _table(table: Table, digits: int) -> str:
    cells = [list(table.header), *([prose_text(cell, digits) for cell in row] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def aligned(row: list[str]) -> str:
        columns = enumerate(zip(row, widths, strict=True))
        return "  ".join(
            cell.rjust(width) if table.numeric and i else cell.ljust(width) for i, (cell, width) in columns
        ).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([aligned(cells[0]), rule, *map(aligned, cells[1:])])


def page_text(page: Page, digits: int) -> str:
    """The page, its sections separated by empty lines."""
    parts = [f"{page.title}\n{'=' * len(page.title)}"]
    for block in page.blocks:
        if isinstance(block, Heading):
            title = prose_text(block.words, digits)
            parts.append(f"{title}\n{'-' * len(title)}")
        elif isinstance(block, Paragraph):
            parts.append(textwrap.fill(prose_text(block.words, digits), _WIDTH, break_long_words=False))
        elif isinstance(block, Table):
            parts.append(_table(block, digits))
        else:
            parts.append(equations_text(block, digits))
    return "\n\n".join(parts)
