"""A page as Markdown: formulas in LaTeX between dollar signs, equations without matrices as a table."""

from __future__ import annotations

from chainrule.explain.latex import expression_latex, steps_latex
from chainrule.explain.writing import Equations, Heading, Line, Page, Paragraph, Prose, Table, joined

__all__ = ["page_markdown"]


def _in_cell(latex: str) -> str:
    """A formula in a table, where a vertical bar would end the cell."""
    return latex.replace(r"\|", r"\Vert ").replace("|", r"\vert ")


def _escaped(words: str) -> str:
    """Words with the signs that Markdown takes for commands."""
    words = words.replace("->", "→")
    return "".join(f"\\{sign}" if sign in "\\`*_<>|$[]" else sign for sign in words)


def _prose(prose: Prose, digits: int) -> str:
    return joined(prose, _escaped, lambda one: f"${_in_cell(expression_latex(one, digits))}$")


def _chain(line: Line, digits: int) -> str:
    left, *steps = steps_latex(line, digits)
    return f"{left} {line.relation.latex.strip()} " + " = ".join(steps)


def _equations(block: Equations, digits: int) -> str:
    """A table where every line fits in one, else one displayed formula each."""
    if any(line.has_matrix for line in block.lines):
        return "\n\n".join(_displayed(line, digits) for line in block.lines)
    has_shapes = any(line.shape for line in block.lines)
    header = ["", "equation", *(["shapes"] if has_shapes else [])]
    rows = [header, ["---"] * len(header)]
    for line in block.lines:
        formula = f"${_in_cell(_chain(line, digits))}$"
        remark = f", {_prose(line.remark, digits)}" if line.remark else ""
        shape = [f"${expression_latex(line.shape, digits)}$" if line.shape else ""] if has_shapes else []
        rows.append([f"({_escaped(line.tag)})" if line.tag else "", formula + remark, *shape])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _displayed(line: Line, digits: int) -> str:
    tag = rf" \tag{{{line.tag}}}" if line.tag else ""
    remark = f"\n\n{_prose(line.remark, digits)}" if line.remark else ""
    return f"$$\n{_chain(line, digits)}{tag}\n$${remark}"


def _table(table: Table, digits: int) -> str:
    rule = ["---", *["---:" if table.numeric else "---"] * (len(table.header) - 1)]
    rows = [list(table.header), rule, *([_prose(cell, digits) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def page_markdown(page: Page, digits: int) -> str:
    """The page, its title a heading of the second level."""
    parts = [f"## {page.title}"]
    for block in page.blocks:
        if isinstance(block, Heading):
            parts.append(f"### {_prose(block.words, digits)}")
        elif isinstance(block, Paragraph):
            parts.append(_prose(block.words, digits))
        elif isinstance(block, Table):
            parts.append(_table(block, digits))
        elif block.lines:
            parts.append(_equations(block, digits))
    return "\n\n".join(parts) + "\n"
