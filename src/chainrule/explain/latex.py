"""A page as LaTeX, for amsmath: equations in align*, each with its number in the chapter as its tag."""

from __future__ import annotations

import math

import numpy as np

from chainrule.explain.writing import (
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

__all__ = ["escaped", "expression_latex", "page_latex", "steps_latex"]

# Letters of LaTeX beyond which a line is broken at its equality signs.
_LONG = 200
_DOTS = r"\cdots", r"\vdots"
_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\^{}",
    "~": r"\~{}",
    "<": "$<$",
    ">": "$>$",
    "→": r"$\to$",
}
_DOCUMENT = r"""\documentclass{{article}}
\usepackage{{amsmath}}
\usepackage{{amssymb}}
\allowdisplaybreaks
\begin{{document}}
{body}
\end{{document}}
"""


def escaped(words: str) -> str:
    """Words with the signs that LaTeX takes for commands."""
    return "".join(_SIGNS.get(sign, sign) for sign in words.replace("->", "→"))


def _number(value: float, digits: int) -> str:
    if not math.isfinite(value):
        return r"\mathrm{nan}" if math.isnan(value) else r"\infty" if value > 0 else r"-\infty"
    mantissa, _, exponent = number(value, digits).partition("e")
    return rf"{mantissa} \cdot 10^{{{int(exponent)}}}" if exponent else mantissa


def _matrix(matrix: np.ndarray, digits: int) -> str:
    cells = entries(matrix, lambda value: _number(value, digits), _DOTS)
    return r"\begin{bmatrix} " + r" \\ ".join(" & ".join(row) for row in cells) + r" \end{bmatrix}"


def expression_latex(expression: Expression, digits: int) -> str:
    """A formula, without the signs that begin and end mathematics."""
    written = ""
    for token in expression:
        if not isinstance(token, Value):
            written += _written(token, digits)
        elif isinstance(token.value, np.ndarray):
            written += _matrix(token.value, digits)
        else:
            put = _number(token.value, digits)
            written += f"({put})" if needs_brackets(written, token.value) else put
    return written.strip()


def _written(token: Mark | Symbol | Filled, digits: int) -> str:
    if not isinstance(token, Filled):
        return token.latex
    return one_line(token, lambda one: _put_in(one, digits), latex=True)


def _put_in(one: Symbol | Value, digits: int) -> str:
    return one.latex if isinstance(one, Symbol) else _number(float(one.value), digits)


def steps_latex(line: Line, digits: int) -> list[str]:
    """What stands between the equality signs; a value that is the formula again is not said twice."""
    steps: list[str] = []
    for step in line.steps:
        written = expression_latex(step, digits)
        if not steps[1:] or written != steps[-1]:
            steps.append(written)
    return steps


def prose_latex(prose: Prose, digits: int) -> str:
    """Words and formulas."""
    return joined(prose, escaped, lambda one: f"${expression_latex(one, digits)}$")


def _line(line: Line, digits: int) -> str:
    """Aligned at the equality sign; where there are matrices, one below the other."""
    left, *steps = steps_latex(line, digits)
    relation = line.relation.latex.strip()
    breaks = "\\\\\n  &= " if line.has_matrix or sum(map(len, steps)) > _LONG else " = "
    written = f"{left} &{relation} " + breaks.join(steps)
    if line.shape:
        written += rf" && {expression_latex(line.shape, digits)}"
    if line.remark:
        written += rf" \quad \text{{{prose_latex(line.remark, digits)}}}"
    return f"  {written}" + (rf" \tag{{{line.tag}}}" if line.tag else "")


def _table(table: Table, digits: int) -> str:
    columns = "l" + ("r" if table.numeric else "l") * (len(table.header) - 1)
    rows = [" & ".join(map(escaped, table.header)) + r" \\ \hline"]
    rows += [" & ".join(prose_latex(cell, digits) for cell in row) + r" \\" for row in table.rows]
    body = "\n  ".join(rows)
    return f"\\begin{{center}}\\begin{{tabular}}{{{columns}}}\n  {body}\n\\end{{tabular}}\\end{{center}}"


def page_latex(page: Page, digits: int, *, document: bool) -> str:
    """The page: a whole document, or what stands in one."""
    parts = [rf"\section*{{{escaped(page.title)}}}"]
    for block in page.blocks:
        if isinstance(block, Heading):
            parts.append(rf"\subsection*{{{prose_latex(block.words, digits)}}}")
        elif isinstance(block, Paragraph):
            parts.append(prose_latex(block.words, digits))
        elif isinstance(block, Table):
            parts.append(_table(block, digits))
        elif block.lines:
            lines = " \\\\\n".join(_line(line, digits) for line in block.lines)
            parts.append(f"\\begin{{align*}}\n{lines}\n\\end{{align*}}")
    body = "\n\n".join(parts)
    return _DOCUMENT.format(body=body) if document else body + "\n"
