"""The LaTeX of pages: balanced, in ASCII, with the numbers of the text, and compiled where TeX is at hand."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.explain.networks import NETWORKS, data, linear, network
from tests.explain.reading import check_latex, printed
from tests.strategies import architectures, deterministic, targets_for

from chainrule import nn
from chainrule.explain import derive, explain_step, worked_example
from chainrule.explain.latex import escaped
from chainrule.functions import ACTIVATIONS, LOSSES
from chainrule.plan import LossTerm, lower


def test_worked_example():
    source = worked_example().to_latex()
    for line in (
        r"z_{1} &= w_{1}\, x + b_{1} = 0.5 \cdot 1 + 0 = 0.5 \tag{1}",
        r"h_{1} &= \mathrm{sigmoid}(z_{1}) = \frac{1}{1 + e^{-0.5}} = 0.6225 \tag{2}",
        r"\delta_{2} &= \hat{y} - y = -0.5225 - 0 = -0.5225 \tag{4}",
        r"\delta_{1} &= w_{2}\, \delta_{2}\, \mathrm{sigmoid}'(z_{1}) = -1 \cdot (-0.5225) \cdot 0.235 =",
        r"\frac{\partial \mathcal{L}}{\partial w_{2}} = -1 - 0.5 \cdot (-0.3252) = -0.8374",
    ):
        assert line in source
    check_latex(source)
    assert source.startswith(r"\documentclass{article}")
    body = worked_example().to_latex(document=False)
    assert body.strip() in source
    assert "documentclass" not in body


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_layer(name):
    x, y = data("half_squared_error", 3, 3, 2)
    step = explain_step(network(name), x, y, "half_squared_error", 0.1)
    source = step.to_latex()
    check_latex(source)
    for one in step.layers:
        for array in (one.z, one.delta, one.z_after, *one.gradients.values(), *one.updated.values()):
            rows = r" \\ ".join(" & ".join(map(in_latex, row)) for row in printed(array))
            assert rf"\begin{{bmatrix}} {rows} \end{{bmatrix}}" in source
    check_latex(derive(network(name), "half_squared_error", 3).to_latex())


def in_latex(cell: str) -> str:
    return re.sub(r"e([+-])0*(\d+)", lambda one: rf" \cdot 10^{{{one[1].strip('+')}{one[2]}}}", cell)


@pytest.mark.parametrize("name", [*ACTIVATIONS, *LOSSES])
@pytest.mark.parametrize("weight", [0.9, -0.9])
def test_every_record_filled_in(name, weight):
    is_loss = name in LOSSES
    activation, loss = ("tanh", name) if is_loss else (name, "half_squared_error")
    module = nn.Sequential(linear(1, 1, 0), nn.activation_module(activation), linear(1, 1, 1))
    module.load_state_dict({"0.weight": [[weight]]}, strict=False)
    y = 0 if LOSSES[loss].class_row else 1.0
    step = explain_step(module, 0.8, y, LossTerm(loss, LOSSES[loss].setting, 2.0), 0.3)
    source = step.to_latex()
    check_latex(source)
    assert not re.search(r"[+*/] -|\\cdot -|\d \d", source)
    check_latex(derive(module, loss).to_latex())


@settings(deterministic, max_examples=15)
@given(architectures(), st.sampled_from(sorted(LOSSES)))
def test_any_network(architecture, name):
    module, n_inputs = architecture
    rng = np.random.default_rng(0)
    y = targets_for(LOSSES[name], 2, lower(module, name, n_inputs).n_outputs, rng)
    check_latex(explain_step(module, rng.normal(size=(2, n_inputs)), y, name, 0.01).to_latex())
    check_latex(derive(module, name, n_inputs).to_latex())


def test_words_are_escaped():
    assert escaped(r"50% of a_b & c^2 {x} \y #1 $ ~ <") == (
        r"50\% of a\_b \& c\^{}2 \{x\} \textbackslash{}y \#1 \$ \~{} $<$"
    )


@pytest.mark.parametrize("broken", [r"\begin{align*}", "{", "}", "$x", r"\begin{a}\end{b}", "é"])
def test_the_check_can_fail(broken):
    with pytest.raises((AssertionError, IndexError)):
        check_latex(broken)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="compiling LaTeX needs pdflatex")
def test_pages_compile(tmp_path):
    """All records and kinds of layers in two documents."""
    x, y = data("softmax_cross_entropy", 3, 3, 2)
    parts = [worked_example().to_latex(document=False)]
    for name in NETWORKS:
        step = explain_step(network(name), x, y, nn.CrossEntropyLoss(weight=[1.0, 2.0]), 0.1)
        parts += [
            step.to_latex(document=False),
            derive(network(name), nn.HuberLoss(), 3).to_latex(document=False),
        ]
    for name in ACTIVATIONS:
        module = nn.Sequential(linear(1, 1, 0), nn.activation_module(name), linear(1, 1, 1))
        parts.append(explain_step(module, 0.8, 1.0, "poisson", 0.3).to_latex(document=False))
    for name in LOSSES:
        target = 0 if LOSSES[name].class_row else 1.0
        parts.append(explain_step(linear(1, 1, 0), 0.8, target, name, 0.3).to_latex(document=False))
    before, after = worked_example().to_latex().split(parts[0].strip())
    (tmp_path / "page.tex").write_text(before + "\n\n".join(parts) + after)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "page.pdf").stat().st_size > 10_000
