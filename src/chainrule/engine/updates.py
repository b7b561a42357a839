"""The kernels that change parameters: one step of an optimizer's rule.

``gradient_update`` sums a tile of the weight gradient (6) and applies the rule to it while it is in the first
cache, so that no gradient is ever stored; ``update`` applies it to a gradient that was. In one module, both
call the same functions for that (``steps.py``): they give the same bits.

A kernel is made for a rule (``trace.py``) and for one of three ``VARIANTS``: without penalty, with ½ l2 Σw²,
and with l1 Σ|w| besides.
"""

from typing import Any

from llvmlite import ir

from chainrule.engine.emit import VectorUnit, constant
from chainrule.engine.layout import CACHE_LINE
from chainrule.engine.narrow import VECTORS, SumTo, in_blocks_of_inputs, may_be_narrow
from chainrule.engine.steps import STATE, VARIANTS, Rule, Step
from chainrule.engine.tiles import columns_of, rows_of_right, sum_of_products
from chainrule.engine.walks import Panel, down_the_rows, emit_over_columns

__all__ = ["FIELDS", "VARIANTS", "Rule", "emit_gradient_update", "emit_update"]

# The arguments of each kernel, in order: addresses, and strides and offsets in bytes.
FIELDS = {
    "gradient_update": (
        "left", "left_offset", "rows", "right", "right_stride", "columns", "weights", "first", "second",
        "stride", "decays", "penalised", "penalties",
    ),
    "update": (
        "rows", "columns", "weights", "first", "second", "gradient", "stride", "decays", "penalised",
        "penalties",
    ),
}  # fmt: skip


def emit_gradient_update(module: ir.Module, rule: Rule, dtype: Any, unit: VectorUnit) -> None:
    """The sum of ``gradient``, and instead of storing it one step of the rule."""

    def down(panel: Panel) -> None:
        e, words = panel.e, panel.words
        step = Step(panel, rule)
        together = step.begin_together(words["rows"]) if panel.group.masked else None
        n_rows = e.from_step(panel.step, "n_rows")
        tallest = panel.group.heights(e.unit)[0]
        row_bytes = panel.group.vectors * e.unit.vector_bytes
        slopes = e.room((VECTORS * e.lanes if may_be_narrow(panel) else tallest) * row_bytes)
        stride = constant(row_bytes)
        if together is not None:
            stride = e.builder.select(together, words["stride"], stride)

        def tile(row: ir.Value, height: int) -> None:
            def ahead(i: ir.Value) -> None:
                """Ask for what the step will change in row i: no processor foresees rows far apart."""
                for field in rule.written:
                    place = panel.row(STATE[field], "stride", e.builder.add(row, i))
                    for line in range(0, row_bytes, CACHE_LINE):
                        e.prefetch(e.at(place, line))

            left = columns_of(panel, row)
            shape, hook = (height, panel.group.vectors), ahead if height == tallest else None
            sums = sum_of_products(e, shape, n_rows, left, rows_of_right(panel), hook)
            for i, values in enumerate(sums):  # a row may reach into the next, which is stored after it
                e.store_row(values, e.at_row(slopes, stride, i))
            step.take(row, constant(height), slopes, stride, together)

        def block(first: ir.Value, n: ir.Value, sum_to: SumTo) -> None:
            sum_to(slopes, stride)
            step.take(first, n, slopes, stride, together)

        down_the_rows(panel, in_blocks_of_inputs(panel, block), words["rows"], tile)
        step.report_penalties()

    emit_over_columns(module, "gradient_update", FIELDS["gradient_update"], dtype, unit, down)


def emit_update(module: ir.Module, rule: Rule, dtype: Any, unit: VectorUnit) -> None:
    """One step of the rule with a gradient that was stored, multiplied by the step's ``clip``."""

    def down(panel: Panel) -> None:
        e, words = panel.e, panel.words
        step = Step(panel, rule, clip=e.rounded(e.double_from_step(panel.step, "clip")))
        together = step.begin_together(words["rows"]) if panel.group.masked else None
        step.take(constant(0), words["rows"], panel.column("gradient"), words["stride"], together)
        step.report_penalties()

    emit_over_columns(module, "update", FIELDS["update"], dtype, unit, down)
