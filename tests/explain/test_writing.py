"""Formulas with numbers in place of their variables."""

import math
import re

import numpy as np
import pytest

from chainrule.explain.rules import record_formula
from chainrule.explain.writing import Filled, Symbol, Value, entries, needs_brackets, number, one_line
from chainrule.functions import ACTIVATIONS

FUNCTIONS = {
    "exp": math.exp,
    "log": math.log,
    "tanh": math.tanh,
    "max": max,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "softplus": lambda z: math.log1p(math.exp(z)),
    "Phi": lambda z: 0.5 * math.erfc(-z / math.sqrt(2)),
    "phi": lambda z: math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
    "truth": float,
}
FACTOR = r"[\w.)]"
WORDS = r"(?!if\b|else\b)"


def computed(text: str, names: dict[str, float]) -> float:
    """The value of a formula as records write them: products without a sign, 1[z > 0], powers with ^."""
    text = re.sub(r"1\[(.*?)\]", r"truth(\1)", text).replace("^", "**")
    text = re.sub(rf"(?<=[\d)]) {WORDS}(?=[\w(])|(?<=\bt) {WORDS}(?=[\w(])", " * ", text)
    return eval(text, {}, FUNCTIONS | names)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("z", [-1.25, 0.75])
@pytest.mark.parametrize("what", ["value", "derivative"])
def test_a_filled_formula_is_the_function(name, z, what):
    record = ACTIVATIONS[name]
    written = (record.formula, record.latex)
    if what == "derivative":
        written = (record.derivative_formula, record.derivative_latex)
    alpha = record.default_alpha
    (main,), where = record_formula(*written, {"z": Value(z), "alpha": Value(alpha)})

    def put(one):
        return repr(one.value)

    names = {}
    if where:
        left, right = one_line(where[1], put, latex=False).split(" = ")
        names[left] = computed(right, {})
    expected = getattr(record, what)(np.array([z]), alpha)[0]
    filled = one_line(main, put, latex=False)
    assert not re.search(r"\b(z|alpha)\b", filled)
    assert computed(filled, names) == pytest.approx(expected, rel=1e-4)  # SELU's constants have five digits


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("z", [-1.25, 0.75])
def test_no_variable_is_left_in_the_latex(name, z):
    record = ACTIVATIONS[name]
    for latex in (record.latex, record.derivative_latex):
        token = Filled("", latex, {"z": Value(z), "alpha": Value(2.0)})
        filled = one_line(token, lambda one: f"{one.value:g}", latex=True)
        assert filled.count("{") == filled.count("}")
        assert not re.search(
            r"(?<![\\A-Za-z])z(?![A-Za-z])|\\alpha", re.sub(r"\\[a-z]+\{cases\}", "", filled)
        ) or (
            name == "selu" and r"\alpha" in latex  # whose α is a constant of its own
        )


def test_symbols_are_put_in_as_they_are():
    token = Filled("a z^2 - y", r"\alpha z^2 - y", {"z": Symbol("z3", "z_{3}"), "y": Symbol("y", "y")})
    assert one_line(token, lambda one: one.text, latex=False) == "a z3^2 - y"
    assert one_line(token, lambda one: one.latex, latex=True) == r"\alpha z_{3}^2 - y"


@pytest.mark.parametrize(
    ("text", "latex", "in_text", "in_latex"),
    [
        ("y z", "y z", "2 * (-3)", r"2 \cdot (-3)"),
        ("y - z", "y - z", "2 - (-3)", "2 - (-3)"),
        ("z - y", "z - y", "-3 - 2", "-3 - 2"),
        ("f(z, y)", "f(z, y)", "f(-3, 2)", "f(-3, 2)"),
        ("exp(-z)", "e^{-z}", "exp(-(-3))", "e^{-(-3)}"),
        ("exp(z)", "e^z", "exp(-3)", "e^{-3}"),
        ("1 if z > y else z", r"\begin{cases} 1 & z > y \end{cases}", "1 if -3 > 2 else -3",
         r"\begin{cases} 1 & -3 > 2 \end{cases}"),
        ("|z| y", "|z| y", "|-3| 2", "|-3| 2"),
        ("(1 - z) y", "(1 - z) y", "(1 - (-3)) * 2", r"(1 - (-3)) \cdot 2"),
        ("t_z log y_z", r"t_z \log y_z", "t_z log y_z", r"t_z \log y_z"),
        ("softmax(z)", r"\mathrm{softmaxz}(z)", "softmax(-3)", r"\mathrm{softmaxz}(-3)"),
    ],
)  # fmt: skip
def test_numbers_get_the_brackets_and_signs_that_they_need(text, latex, in_text, in_latex):
    token = Filled(text, latex, {"y": Value(2.0), "z": Value(-3.0)})

    def put(one):
        return f"{one.value:g}"

    assert one_line(token, put, latex=False) == in_text
    assert one_line(token, put, latex=True) == in_latex


def test_brackets():
    assert needs_brackets("2 * ", -1.0)
    assert needs_brackets(r"2 \cdot ", -1.0)
    assert not needs_brackets("2 * ", 1.0)
    assert not needs_brackets("", -1.0)
    assert not needs_brackets("f(", -1.0)
    assert not needs_brackets(" = ", -1.0)


def test_numbers():
    assert [number(x, 4) for x in (0.0, -0.0, 12345.678, 1e-7, math.inf, math.nan)] == [
        "0", "0", "1.235e+04", "1e-07", "inf", "nan",
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(20, 10), (21, 1), (1, 11), (21, 11), (1, 1)])
def test_matrices_are_abbreviated_beyond_20_rows_or_10_columns(shape):
    matrix = np.arange(shape[0] * shape[1], dtype=float).reshape(shape)
    cells = entries(matrix, lambda value: f"{value:g}", ("…", "⋮"))
    assert len(cells) == (7 if shape[0] > 20 else shape[0])
    assert {len(row) for row in cells} == {7 if shape[1] > 10 else shape[1]}
    assert cells[0][0] == "0"
    assert cells[-1][-1] == f"{matrix[-1, -1]:g}"
    if shape[0] > 20:
        assert set(cells[3]) == {"⋮"}
    if shape[1] > 10:
        assert cells[0][3] == "…"
