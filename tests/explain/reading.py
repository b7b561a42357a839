"""Reading a page back: the numbers of its text, and whether its LaTeX and its Markdown are well formed."""

import re

import numpy as np
from markdown_it import MarkdownIt

NUMBER = r"-?(?:\d+\.?\d*(?:e[+-]\d+)?|inf|nan)"
_ROW = re.compile(rf"\[ +({NUMBER}|…|⋮)(?: +(?:{NUMBER}|…|⋮))* +\]")


def chunks(text: str) -> list[list[str]]:
    """The lines of a text, in groups between empty lines."""
    return [chunk.split("\n") for chunk in text.split("\n\n")]


def matrices(chunk: list[str]) -> list[tuple[int, int, list[list[str]]]]:
    """Every matrix that is drawn in a group of lines: its first line, its column, its rows of cells."""
    found: list[tuple[int, int, list[list[str]]]] = []
    open_at: dict[tuple[int, int], int] = {}  # where a matrix of the line above stood
    for i, line in enumerate(chunk):
        above, open_at = open_at, {}
        if i and line.lstrip().startswith("=") and chunk[i - 1].lstrip().startswith("="):
            above = {}  # one equality below another
        for row in _ROW.finditer(line):
            place = above.get(row.span())
            if place is None:
                place = len(found)
                found.append((i, row.start(), []))
            found[place][2].append(row[0][1:-1].split())
            open_at[row.span()] = place
    return found


def result(lines: list[str], name: str) -> list[list[str]]:
    """The matrix at the end of the line of equations that begins with a name, and may go on below."""
    begins = re.compile(rf" ?(?:\(\d\*?\))? +{re.escape(name)} [=←]")
    first = last = next(i for i, line in enumerate(lines) if begins.match(line))
    while last + 1 < len(lines) and re.match(r" +=| {9}|$", lines[last + 1]):
        last += 1
    while first and re.match(r" {9}", lines[first - 1]):
        first -= 1
    part = lines[first : last + 1]
    level = max(i for i, line in enumerate(part) if re.search(r"[=←] \[", line))
    ends = [one for one in matrices(part) if one[0] <= level < one[0] + len(one[2])]
    return max(ends, key=lambda one: one[1])[2]


def printed(value, digits: int = 4) -> list[list[str]]:
    """The cells of an array as they should be printed."""
    return [[shown(float(x), digits) for x in row] for row in np.atleast_2d(value)]


def shown(value: float, digits: int = 4) -> str:
    return "0" if value == 0 else f"{value:.{digits}g}"


def check_latex(source: str) -> None:
    """Braces and environments are closed in order, mathematics is not left open, and all is ASCII."""
    assert source.isascii()
    open_environments: list[str] = []
    depth, in_math = 0, False
    for token in re.findall(r"\\(?:begin|end)\{[^}]*\}|\\[A-Za-z]+|\\.|[{}$]", source, re.DOTALL):
        if token.startswith("\\begin{"):
            open_environments.append(token[7:-1])
        elif token.startswith("\\end{"):
            assert open_environments.pop() == token[5:-1]
        elif token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            assert depth >= 0
        elif token == "$":
            in_math = not in_math
    assert open_environments == []
    assert depth == 0
    assert not in_math


def tables(markdown: str) -> list[list[list[str]]]:
    """The cells of every table, by a parser of Markdown."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and found and token.level >= 3:
            found[-1][-1].append(token.content)
    return found
