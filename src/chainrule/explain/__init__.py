"""Backpropagation shown: one step with every number of it, and the gradients derived in symbols.

``explain_step`` is the chapter's worked example for any small network; ``derive`` writes equations (1)-(7)
for its layers, with shapes and costs. Both print as text, Markdown and LaTeX, and show in a notebook.
"""

from chainrule.explain.costs import Bytes, LayerCost
from chainrule.explain.derivation import Derivation, derive
from chainrule.explain.example import worked_example
from chainrule.explain.layers import Layer
from chainrule.explain.step import LayerStep, Step, explain_step
from chainrule.explain.sweep import Normalisation

__all__ = [
    "Bytes",
    "Derivation",
    "Layer",
    "LayerCost",
    "LayerStep",
    "Normalisation",
    "Step",
    "derive",
    "explain_step",
    "worked_example",
]
